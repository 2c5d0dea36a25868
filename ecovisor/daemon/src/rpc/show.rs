//! From the state to messages. Figures become `u64` here; carbon is divided here, once, and rounded down.

pub mod nesting;
pub mod site;

use crate::clock::ClockKind;
use crate::engine::handle::{DeviceRole, DeviceState, View, Workload};
use crate::identity::Paths;
use ecovisor_audit::Target;
use ecovisor_core::site::AppOutcome;
use ecovisor_core::{
    Account, App, AppId, BudgetAction, Container, Flows, Leased, Life, Meter, Outcome, Quality, Share,
    SolarRule,
};
use ecovisor_proto::v1;
use ecovisor_units::{Carbon, Energy, EnergySum, Millis, Power};

/// A total as the wire carries it. More than 5.1 GWh in one figure is held at the largest: no site moves so much in a
/// tick, and no ledger of one site has so much in it.
#[must_use]
pub fn uj(total: EnergySum) -> u64 {
    total.narrow_saturating().get()
}

/// The wall time at which the coming tick began, in ms since the Unix epoch.
#[must_use]
pub fn turn_ms(view: &View) -> u64 {
    match &view.outcome {
        Some(outcome) => outcome.wall.saturating_add(outcome.span).get(),
        None => view.started_ms,
    }
}

/// When a lease of the site's own time ends by the wall clock.
#[must_use]
pub fn lease_ends_ms(view: &View, until: Option<Millis>) -> Option<u64> {
    until.map(|until| turn_ms(view).saturating_add(until.less(view.site.now()).get()))
}

/// Of what [`solar_part`] is a part: a billion.
const PART_WHOLE: u32 = 1_000_000_000;

/// The part of the site's solar that is an app's, as advice, to a billionth.
#[must_use]
pub fn solar_part(view: &View, app: &App) -> f64 {
    let whole = Energy::new(u64::from(PART_WHOLE));
    let (parts, house) = view.site.tree(false).solar_parts(whole, view.site.rules().house_weight);
    let own = parts.iter().find(|(id, _)| *id == app.id).map_or(Energy::ZERO, |(_, part)| *part);
    let part = if app.id == AppId::HOUSE { house } else { own };
    f64::from(u32::try_from(part.get()).unwrap_or(PART_WHOLE)) / f64::from(PART_WHOLE)
}

/// What an app is entitled to; `house` to what others leave.
#[must_use]
pub fn share(view: &View, app: &App) -> Share {
    if app.id == AppId::HOUSE { view.site.house_share() } else { app.share }
}

/// The sum of the weights among which an app's own counts: those of its children and its own where it has any, else
/// those of all that lie where it lies.
fn weight_total(view: &View, app: AppId) -> u64 {
    let tree = view.site.tree(false);
    let leaf = tree.leaf(app);
    let divided = leaf.map(|leaf| leaf.id).filter(|&node| tree.taken(Some(node)).shares > 0);
    nesting::weight_total(view, divided.or_else(|| leaf.and_then(|leaf| leaf.parent)), false)
}

/// An app as it stands now; one that is about to be created as it will.
fn now<'a>(view: &'a View, app: &'a App) -> &'a App {
    view.site.apps(false).iter().find(|a| a.id == app.id).unwrap_or(app)
}

/// What the last settled tick led to for an app; `None` before its first.
#[must_use]
pub fn outcome_of(view: &View, app: AppId) -> Option<(&Outcome, &AppOutcome)> {
    let outcome = view.outcome.as_deref()?;
    outcome.apps.iter().find(|a| a.app == app).map(|of| (outcome, of))
}

/// An app's virtual energy system.
#[must_use]
pub fn system(view: &View, app: &App) -> v1::EnergySystem {
    let app = now(view, app);
    let settled = outcome_of(view, app.id);
    let mean = |of: fn(&Flows) -> EnergySum| {
        settled.map_or(0, |(outcome, app)| mean_mw(of(&app.flows), outcome.span))
    };
    let account = view.site.account(app.id).copied().unwrap_or_default();
    v1::EnergySystem {
        app: app.name.to_string(),
        tick: view.outcome.as_ref().map(|outcome| outcome.tick.0),
        coming_tick: view.site.tick().0,
        tick_span_ms: view.site.rules().tick.get(),
        solar: Some(solar(view, settled.map_or(Power::ZERO, |(_, app)| app.coming_solar))),
        grid_power_mw: mean(Flows::grid_drawn),
        grid_carbon_mg_per_kwh: intensity(view),
        battery: battery(view, app, &account, settled),
        settings: Some(settings(view, app)),
        grid_limit_mw: share(view, app).grid_limit.get(),
        solar_weight: u64::from(share(view, app).solar_weight),
        solar_weight_total: weight_total(view, app.id),
        supply_mw: settled.map_or(0, |(_, app)| app.supply.get()),
        load_mw: mean(|flows| flows.load.wide()),
        debt_uj: uj(account.debt),
        loans_uj: uj(account.loan),
        freshness: Some(freshness(view)),
        estimated: settled.is_some_and(|(_, app)| app.estimated),
        clock: Some(clock(view)),
        capping: Some(app_capping(view, app.id)),
        state: state(view, app).into(),
        site: view.name.to_string(),
        wall_ms: turn_ms(view),
    }
}

/// Mean power in mW, rounded down.
fn mean_mw(energy: EnergySum, span: Millis) -> u64 {
    energy.narrow_saturating().mean_power(span).get()
}

fn solar(view: &View, power: Power) -> v1::Solar {
    let basis = match view.site.rules().solar_rule {
        SolarRule::Buffered => v1::SolarBasis::ComingTick,
        SolarRule::Live { .. } => v1::SolarBasis::LastTick,
    };
    v1::Solar { power_mw: power.get(), basis: basis.into() }
}

/// The intensity in force: before the first tick the one that is assumed.
#[must_use]
pub fn intensity(view: &View) -> Option<u64> {
    let rules = view.site.rules();
    rules.grid?;
    Some(view.outcome.as_ref().map_or(rules.intensity_worst, |outcome| outcome.intensity).get())
}

/// An app's battery; `None` where it has none.
fn battery(
    view: &View,
    app: &App,
    account: &Account,
    settled: Option<(&Outcome, &AppOutcome)>,
) -> Option<v1::Battery> {
    let share = share(view, app).battery;
    let mean = |of: fn(&Flows) -> EnergySum| {
        settled.map_or(0, |(outcome, app)| mean_mw(of(&app.flows), outcome.span))
    };
    (!share.capacity.is_zero()).then(|| v1::Battery {
        charge_level_uj: account.stored.get(),
        capacity_uj: share.capacity.get(),
        floor_uj: share.floor.get(),
        charge_limit_mw: share.charge_limit.get(),
        discharge_limit_mw: share.discharge_limit.get(),
        charge_rate_mw: mean(Flows::battery_in),
        discharge_rate_mw: mean(Flows::battery_out),
        carbon_content_mg: account.carbon_content.to_milligrams().get(),
    })
}

/// What the coming tick brings an app, after one that was settled.
#[must_use]
pub fn coming(view: &View, app: &App) -> v1::ComingTick {
    let app = now(view, app);
    let settled = outcome_of(view, app.id);
    let account = view.site.account(app.id).copied().unwrap_or_default();
    v1::ComingTick {
        tick: view.site.tick().0,
        solar: Some(solar(view, settled.map_or(Power::ZERO, |(_, app)| app.coming_solar))),
        grid_carbon_mg_per_kwh: intensity(view),
        battery: battery(view, app, &account, settled),
        supply_mw: settled.map_or(0, |(_, app)| app.supply.get()),
    }
}

/// A settled tick as an app sees it; `None` where the app was not there.
#[must_use]
pub fn tick(view: &View, paths: &Paths, app: &App, missed: u64) -> Option<v1::Tick> {
    let (outcome, of) = outcome_of(view, app.id)?;
    Some(v1::Tick {
        tick: outcome.tick.0,
        wall_start_ms: outcome.wall.get(),
        span_ms: outcome.span.get(),
        flows: Some(flows(&of.flows)),
        coming: Some(coming(view, app)),
        containers: containers(view, paths, app.id),
        gap: outcome.gap,
        estimated: of.estimated,
        missed,
    })
}

fn settings(view: &View, app: &App) -> v1::SettingsInForce {
    let (settings, defaults, battery) = (&app.settings, app.policy.defaults(), share(view, app).battery);
    let power = |is: Leased<Power>, default: Leased<Power>, most: Power| v1::PowerSetting {
        power_mw: Some(is.value.min(most).get()),
        lease_ends_ms: lease_ends_ms(view, is.until),
        is_default: is.until.is_none() && is.value.min(most) == default.value.min(most),
    };
    let has_battery = !battery.capacity.is_zero();
    let charge = power(settings.charge_rate, defaults.charge_rate, battery.charge_limit);
    let discharge = power(settings.max_discharge, defaults.max_discharge, battery.discharge_limit);
    v1::SettingsInForce {
        battery_charge_rate: has_battery.then_some(charge),
        battery_max_discharge: has_battery.then_some(discharge),
        carbon_rate: Some(v1::CarbonRateSetting {
            rate_mg_per_h: settings.carbon_rate.value.map(|rate| rate.get()),
            lease_ends_ms: lease_ends_ms(view, settings.carbon_rate.until),
            is_default: settings.carbon_rate == defaults.carbon_rate,
        }),
        carbon_budget: Some(budget(view, app)),
    }
}

fn budget(view: &View, app: &App) -> v1::CarbonBudgetSetting {
    let (is, default) = (app.settings.carbon_budget, app.policy.defaults().carbon_budget);
    let spent = view.site.spent(app.id).copied().unwrap_or_default();
    let action = is.value.map_or(v1::BudgetAction::Unspecified, |budget| match budget.action {
        BudgetAction::Notify => v1::BudgetAction::Notify,
        BudgetAction::BlockGrid => v1::BudgetAction::BlockGrid,
    });
    let ends = is.value.map(|budget| spent.since.saturating_add(budget.window));
    v1::CarbonBudgetSetting {
        budget_mg: is.value.map(|budget| budget.mass.get()),
        window_ms: is.value.map_or(0, |budget| budget.window.get()),
        action: action.into(),
        spent_mg: is.value.map_or(0, |_| spent.carbon.to_milligrams().get()),
        window_ends_ms: lease_ends_ms(view, ends),
        lease_ends_ms: lease_ends_ms(view, is.until),
        is_default: is == default,
    }
}

/// Age and quality of the readings behind all figures.
#[must_use]
pub fn freshness(view: &View) -> v1::FreshnessSet {
    let of = |role: DeviceRole, quality: Option<Quality>| {
        let devices = view.devices.iter().filter(|device| device.roles.contains(&role));
        let worst = devices.max_by_key(|device| (device.state != DeviceState::Live, device.age_ms))?;
        let by_state = match worst.state {
            DeviceState::Live => Quality::Live,
            DeviceState::Held | DeviceState::Implausible => Quality::Held,
            DeviceState::Lost => Quality::Assumed,
        };
        let quality = self::quality(quality.unwrap_or(by_state));
        Some(v1::Freshness { age_ms: worst.age_ms, quality: quality.into() })
    };
    let site = |meter| Some(view.site.quality(meter));
    let containers = view.outcome.iter().flat_map(|outcome| outcome.containers.iter());
    v1::FreshnessSet {
        solar: of(DeviceRole::Solar, site(Meter::Solar)),
        grid: of(DeviceRole::GridMeter, None),
        battery: of(DeviceRole::Storage, site(Meter::BatteryLevel)),
        grid_carbon: of(DeviceRole::CarbonSignal, site(Meter::Intensity)),
        load: of(DeviceRole::ContainerMeter, containers.map(|container| container.quality).max()),
    }
}

/// What a figure rests on.
#[must_use]
pub fn quality(quality: Quality) -> v1::Quality {
    match quality {
        Quality::Live => v1::Quality::Live,
        Quality::Held => v1::Quality::Held,
        Quality::Assumed => v1::Quality::Assumed,
    }
}

/// The site's clock.
#[must_use]
pub fn clock(view: &View) -> v1::Clock {
    let kind = match view.clock.kind {
        ClockKind::Real => v1::ClockKind::Real,
        ClockKind::Scaled => v1::ClockKind::Scaled,
        ClockKind::Simulated => v1::ClockKind::Simulated,
    };
    v1::Clock { kind: kind.into(), factor: view.clock.factor }
}

/// Where an app stands. Drained is who winds down, has no container left and owes nothing.
#[must_use]
pub fn state(view: &View, app: &App) -> v1::AppState {
    let bare = view.site.containers(false).iter().all(|container| container.app != app.id);
    let debts = view.site.account(app.id).is_some_and(|account| !account.debt.is_zero());
    match app.life {
        Life::Active => v1::AppState::Active,
        Life::Draining if bare && !debts => v1::AppState::Drained,
        Life::Draining => v1::AppState::Draining,
    }
}

fn capping(metered_only: Option<&str>) -> v1::Capping {
    match metered_only {
        None => v1::Capping { kind: v1::CappingKind::Enforced.into(), reason: String::new() },
        Some(why) => v1::Capping { kind: v1::CappingKind::MeteredOnly.into(), reason: why.to_owned() },
    }
}

/// Whether all of an app's containers are held to their caps, or one that it attached would be.
fn app_capping(view: &View, app: AppId) -> v1::Capping {
    let mut own = view.workloads.values().filter(|workload| workload.app == app).peekable();
    if own.peek().is_none() {
        let caps = view.devices.iter().any(|device| device.roles.contains(&DeviceRole::PowerCap));
        return capping((!caps).then_some("the site has no device that caps"));
    }
    capping(own.find_map(|workload| workload.metered_only.as_deref()))
}

/// An app's containers, those just attached included.
#[must_use]
pub fn containers(view: &View, paths: &Paths, app: AppId) -> Vec<v1::Container> {
    let own = view.site.containers(true).iter().filter(|container| container.app == app);
    own.map(|container| self::container(view, paths, container)).collect()
}

/// A container.
#[must_use]
pub fn container(view: &View, paths: &Paths, container: &Container) -> v1::Container {
    let workload: Option<&Workload> = view.workloads.get(&container.id);
    let settled = view.outcome.as_deref().and_then(|outcome| {
        let of = outcome.containers.iter().find(|c| c.container == container.id)?;
        Some((outcome.span, of.energy))
    });
    let (in_force, lowered) = view.effective_cap(container.id).unwrap_or((container.wish(), false));
    let capped = lowered || container.cap.value.is_some();
    v1::Container {
        name: container.name.as_str().to_owned(),
        target: Some(v1::ContainerTarget {
            target: workload.and_then(|workload| target(&workload.target, paths)),
        }),
        power_mw: settled.map_or(0, |(span, energy)| energy.mean_power(span).get()),
        energy_uj: workload.map_or(0, |workload| uj(workload.energy)),
        tick_energy_uj: settled.map_or(0, |(_, energy)| energy.get()),
        cap_mw: container.cap.value.map(Power::get),
        cap_lease_ends_ms: lease_ends_ms(view, container.cap.until),
        effective_cap_mw: capped.then(|| in_force.get()),
        capping: Some(capping(workload.and_then(|workload| workload.metered_only.as_deref()))),
        estimated: view.quality_of(container.id) != Quality::Live,
    }
}

/// What stands behind a container; nothing behind an emulated load, which no client could attach.
fn target(target: &Target, paths: &Paths) -> Option<v1::container_target::Target> {
    use v1::container_target::Target as Wire;
    match target {
        Target::Cgroup(below) => Some(Wire::CgroupPath(paths.cgroup_root.join(below).display().to_string())),
        Target::ProcessTree { pid, start_ticks: _ } => Some(Wire::Pid(*pid)),
        Target::Gpu(index) => Some(Wire::GpuIndex(*index)),
        Target::Tpu(index) => Some(Wire::TpuIndex(*index)),
        Target::Lxc(name) => Some(Wire::LxcName(name.clone())),
        Target::Emulated(_) => None,
    }
}

/// The exact product in decimal, and the same in mg.
#[must_use]
pub fn carbon(carbon: Carbon) -> (String, u64) {
    (carbon.get().to_string(), carbon.to_milligrams().get())
}

/// An app's flows.
#[must_use]
pub fn flows(flows: &Flows) -> v1::Flows {
    let Flows {
        load,
        solar_in,
        solar_to_load,
        solar_to_lenders,
        solar_to_battery,
        spilled,
        given,
        exported,
        curtailed,
        kept,
        spill_to_overdraft,
        received,
        received_to_load,
        received_to_lenders,
        received_to_battery,
        battery_to_load,
        forced_to_load,
        grid_to_load,
        grid_to_lenders,
        grid_to_battery,
        overdraft_grid,
        overdraft_from_spill,
        overdraft_lent,
        lent,
        repaid_in,
        charge_loss,
        discharge_loss,
        adjusted_down,
        debt_incurred,
        debt_repaid,
        loan_granted: _,
        loan_repaid: _,
        carbon: charged,
        carbon_credit: _,
    } = *flows;
    let (carbon_product, carbon_mg) = carbon(charged);
    v1::Flows {
        load_uj: load.get(),
        solar_in_uj: solar_in.get(),
        solar_to_load_uj: solar_to_load.get(),
        solar_to_lenders_uj: solar_to_lenders.get(),
        solar_to_battery_uj: solar_to_battery.get(),
        spilled_uj: spilled.get(),
        given_uj: given.get(),
        exported_uj: exported.get(),
        curtailed_uj: curtailed.get(),
        kept_uj: kept.get(),
        spill_to_overdraft_uj: spill_to_overdraft.get(),
        received_uj: received.get(),
        received_to_load_uj: received_to_load.get(),
        received_to_lenders_uj: received_to_lenders.get(),
        received_to_battery_uj: received_to_battery.get(),
        battery_to_load_uj: battery_to_load.get(),
        forced_to_load_uj: forced_to_load.get(),
        grid_to_load_uj: grid_to_load.get(),
        grid_to_lenders_uj: grid_to_lenders.get(),
        grid_to_battery_uj: grid_to_battery.get(),
        overdraft_grid_uj: overdraft_grid.get(),
        overdraft_from_spill_uj: overdraft_from_spill.get(),
        overdraft_lent_uj: overdraft_lent.get(),
        lent_uj: uj(lent),
        repaid_in_uj: repaid_in.get(),
        charge_loss_uj: charge_loss.get(),
        discharge_loss_uj: uj(discharge_loss),
        adjusted_down_uj: adjusted_down.get(),
        debt_incurred_uj: uj(debt_incurred),
        debt_repaid_uj: uj(debt_repaid),
        carbon_product,
        carbon_mg,
    }
}
