//! Flows, batteries and containers as JSON.

use super::object;
use crate::show::state;
use ecovisor_sdk::operator::wire;
use serde_json::{Value, json};

/// One app's flows.
pub fn flows(flows: &wire::Flows) -> Value {
    object!(flows => Flows {
        load_uj, solar_in_uj, solar_to_load_uj, solar_to_lenders_uj, solar_to_battery_uj, spilled_uj, given_uj,
        exported_uj, curtailed_uj, kept_uj, spill_to_overdraft_uj, received_uj, received_to_load_uj,
        received_to_lenders_uj, received_to_battery_uj, battery_to_load_uj, forced_to_load_uj, grid_to_load_uj,
        grid_to_lenders_uj, grid_to_battery_uj, overdraft_grid_uj, overdraft_from_spill_uj, overdraft_lent_uj, lent_uj,
        repaid_in_uj, charge_loss_uj, discharge_loss_uj, adjusted_down_uj, debt_incurred_uj, debt_repaid_uj,
        carbon_product, carbon_mg
    })
}

/// The site's flows.
pub fn site_flows(flows: &wire::SiteFlows) -> Value {
    object!(flows => SiteFlows {
        load_booked_uj, load_metered_uj, unmetered_load_uj, overbooked_load_uj, grid_netting_uj, netting_gain_uj,
        conversion_loss_uj, drift_up_uj, drift_down_uj, freed_uj, buffer_uj, deficit_uj, battery_level_booked_uj,
        battery_level_metered_uj, grid_carbon_mg_per_kwh, carbon_product, carbon_mg;
        solar: metered(solar.as_ref()),
        grid_import: metered(grid_import.as_ref()),
        grid_export: metered(grid_export.as_ref()),
        battery_in: metered(battery_in.as_ref()),
        battery_out: metered(battery_out.as_ref()),
    })
}

fn metered(flow: Option<&wire::MeteredFlow>) -> Value {
    flow.map_or(Value::Null, |flow| object!(flow => MeteredFlow { booked_uj, metered_uj, over_uj, short_uj }))
}

/// A virtual battery; null without one.
pub fn battery(battery: Option<&wire::Battery>) -> Value {
    battery.map_or(Value::Null, |battery| {
        object!(battery => Battery {
            charge_level_uj, capacity_uj, floor_uj, charge_limit_mw, discharge_limit_mw, charge_rate_mw,
            discharge_rate_mw, carbon_content_mg
        })
    })
}

/// A container.
pub fn container(container: &wire::Container) -> Value {
    object!(container => Container {
        name, power_mw, energy_uj, tick_energy_uj, cap_mw, cap_lease_ends_ms, effective_cap_mw, estimated;
        target: state::target(target.as_ref()),
        capping: self::capping(capping.as_ref()),
    })
}

/// Whether caps are enforced.
pub fn capping(capping: Option<&wire::Capping>) -> Value {
    capping.map_or(
        Value::Null,
        |wire::Capping { kind, reason }| json!({ "kind": state::capping(*kind), "reason": reason }),
    )
}

/// Usage over one bucket.
pub fn usage(bucket: &wire::UsageBucket) -> Value {
    object!(bucket => UsageBucket {
        start_ms, length_ms, settled_ms, estimated_ms, load_uj, solar_uj, battery_uj, grid_uj, received_uj,
        overdraft_uj, charged_uj, grid_charged_uj, exported_uj, curtailed_uj, given_uj, carbon_mg, carbon_product, coarse;
        level: state::usage_level(*level),
        containers: containers.iter().map(container_usage).collect::<Vec<_>>(),
    })
}

fn container_usage(usage: &wire::ContainerUsage) -> Value {
    object!(usage => ContainerUsage { container, energy_uj, carbon_mg })
}
