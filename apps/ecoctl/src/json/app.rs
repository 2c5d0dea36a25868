//! Apps as JSON: share, settings, energy system.

use super::flows::{battery, capping};
use super::object;
use super::site::{clock, free, freshness};
use crate::show::state;
use ecovisor_sdk::operator::wire;
use serde_json::Value;

/// An app.
pub fn app(app: &wire::App) -> Value {
    object!(app => App {
        name, parent, socket, containers, carbon_mg, load_uj;
        spec: spec.as_ref().map(self::spec),
        state: state::life(*state),
        system: system.as_ref().map(self::system),
    })
}

fn spec(spec: &wire::AppSpec) -> Value {
    object!(spec => AppSpec {
        owner_uid, cgroup_subtree, gpu_indices, tpu_indices;
        share: share.as_ref().map(self::share),
        defaults: defaults.as_ref().map(self::defaults),
        shortfall: state::shortfall(*shortfall),
    })
}

/// A share.
pub fn share(share: &wire::AppShare) -> Value {
    object!(share => AppShare {
        solar_weight, battery_capacity_uj, battery_floor_uj, battery_charge_limit_mw, battery_discharge_limit_mw,
        grid_limit_mw
    })
}

fn defaults(defaults: &wire::DefaultSettings) -> Value {
    object!(defaults => DefaultSettings {
        battery_charge_rate_mw, battery_max_discharge_mw, carbon_rate_mg_per_h, carbon_budget_mg, carbon_window_ms;
        carbon_budget_action: state::budget_action(*carbon_budget_action),
    })
}

/// An app's energy system as it sees it itself.
fn system(system: &wire::EnergySystem) -> Value {
    object!(system => EnergySystem {
        app, tick, coming_tick, tick_span_ms, grid_power_mw, grid_carbon_mg_per_kwh, grid_limit_mw, solar_weight,
        solar_weight_total, supply_mw, load_mw, debt_uj, loans_uj, estimated, site, wall_ms;
        solar: solar.as_ref().map(self::solar),
        battery: self::battery(battery.as_ref()),
        settings: settings.as_ref().map(self::settings),
        freshness: self::freshness(freshness.as_ref()),
        clock: self::clock(clock.as_ref()),
        capping: self::capping(capping.as_ref()),
        state: state::life(*state),
    })
}

fn solar(solar: &wire::Solar) -> Value {
    object!(solar => Solar { power_mw; basis: state::solar_basis(*basis) })
}

fn settings(settings: &wire::SettingsInForce) -> Value {
    object!(settings => SettingsInForce {
        ;
        battery_charge_rate: battery_charge_rate.as_ref().map(power_setting),
        battery_max_discharge: battery_max_discharge.as_ref().map(power_setting),
        carbon_rate: carbon_rate.as_ref().map(self::carbon_rate),
        carbon_budget: carbon_budget.as_ref().map(self::carbon_budget),
    })
}

/// A setting that is a power.
pub fn power_setting(setting: &wire::PowerSetting) -> Value {
    object!(setting => PowerSetting { power_mw, lease_ends_ms, is_default })
}

/// A bound on carbon per hour.
pub fn carbon_rate(setting: &wire::CarbonRateSetting) -> Value {
    object!(setting => CarbonRateSetting { rate_mg_per_h, lease_ends_ms, is_default })
}

/// A bound on carbon per window.
pub fn carbon_budget(setting: &wire::CarbonBudgetSetting) -> Value {
    object!(setting => CarbonBudgetSetting {
        budget_mg, window_ms, spent_mg, window_ends_ms, lease_ends_ms, is_default;
        action: state::budget_action(*action),
    })
}

/// What a change of an app came to.
pub fn change(reply: &wire::AppChangeReply) -> Value {
    object!(reply => AppChangeReply {
        holds_from_tick, to_house_uj;
        free: self::free(free.as_ref()),
        app: app.as_ref().map(self::app),
    })
}
