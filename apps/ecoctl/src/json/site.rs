//! The site, its ticks, its devices and its policies as JSON.

use super::flows::{battery, container, flows, site_flows};
use super::object;
use crate::show::state;
use ecovisor_sdk::operator::wire;
use serde_json::{Value, json};

/// The site as it stands.
pub fn site(site: &wire::Site) -> Value {
    object!(site => Site {
        name, version, safe_mode_reason, tick_span_ms, started_ms, tick_late_ms;
        mode: state::site_mode(*mode),
        clock: self::clock(clock.as_ref()),
        solar_mode: state::solar_mode(*solar_mode),
        capacity: capacity.as_ref().map(self::capacity),
        free: self::free(free.as_ref()),
        policies: policies.as_ref().map(self::policies),
        freshness: self::freshness(freshness.as_ref()),
        last: last.as_ref().map(tick),
        overruns: overruns.as_ref().map(self::overruns),
    })
}

fn overruns(overruns: &wire::TickOverruns) -> Value {
    object!(overruns => TickOverruns { late, gather, work })
}

fn capacity(capacity: &wire::SiteCapacity) -> Value {
    object!(capacity => SiteCapacity {
        solar_peak_mw, battery_capacity_uj, battery_buffer_uj, battery_charge_limit_mw, battery_discharge_limit_mw,
        battery_charge_ppm, battery_discharge_ppm, grid_limit_mw
    })
}

/// A settled tick.
pub fn tick(site_tick: &wire::SiteTick) -> Value {
    object!(site_tick => SiteTick {
        tick, wall_start_ms, span_ms, gap, estimated, missed;
        site: site.as_ref().map(site_flows),
        apps: apps.iter().map(app_tick).collect::<Vec<_>>(),
    })
}

fn app_tick(tick: &wire::AppTick) -> Value {
    object!(tick => AppTick {
        app, debt_uj, loans_uj, supply_mw, effective_cap_mw, estimated;
        flows: flows.as_ref().map(self::flows),
        battery: self::battery(battery.as_ref()),
        state: state::life(*state),
        containers: containers.iter().map(container).collect::<Vec<_>>(),
    })
}

/// What of the site is not reserved.
pub fn free(free: Option<&wire::FreeShare>) -> Value {
    free.map_or(Value::Null, |free| {
        object!(free => FreeShare {
            battery_capacity_uj, battery_charge_limit_mw, battery_discharge_limit_mw, grid_limit_mw, solar_weight_total
        })
    })
}

/// The site's clock.
pub fn clock(clock: Option<&wire::Clock>) -> Value {
    clock.map_or(
        Value::Null,
        |wire::Clock { kind, factor }| json!({ "kind": state::clock(*kind), "factor": factor }),
    )
}

/// Age and quality of readings.
pub fn freshness(set: Option<&wire::FreshnessSet>) -> Value {
    set.map_or(Value::Null, |set| {
        object!(set => FreshnessSet {
            ;
            solar: reading(solar.as_ref()),
            grid: reading(grid.as_ref()),
            battery: reading(battery.as_ref()),
            grid_carbon: reading(grid_carbon.as_ref()),
            load: reading(load.as_ref()),
        })
    })
}

fn reading(reading: Option<&wire::Freshness>) -> Value {
    reading.map_or(
        Value::Null,
        |reading| object!(reading => Freshness { age_ms; quality: state::quality(*quality) }),
    )
}

/// Policies.
pub fn policies(policies: &wire::Policies) -> Value {
    object!(policies => Policies { redistribute, export; shortfall: state::shortfall(*shortfall) })
}

/// A device.
pub fn device(device: &wire::Device) -> Value {
    object!(device => Device {
        name, driver, age_ms, last_error, last_error_ms, reads, failed_reads;
        roles: roles.iter().map(|role| state::device_role(*role)).collect::<Vec<_>>(),
        state: state::device_state(*state),
    })
}
