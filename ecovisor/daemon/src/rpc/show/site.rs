//! The site, its apps and devices as the operator sees them.

use super::{battery, carbon, clock, containers, flows, freshness, nesting, state, system, uj};
use crate::engine::handle::{Device, DeviceRole, DeviceState, Mode, View};
use crate::engine::overrun::Overruns;
use crate::identity::Paths;
use ecovisor_audit::Record;
use ecovisor_core::site::AppOutcome;
use ecovisor_core::{App, AppId, Flows, Metered, Outcome, Rules, Share, Shortfall, SiteFlows, SolarRule};
use ecovisor_proto::v1;
use ecovisor_units::{Carbon, Energy, EnergySum};

/// An app with what is staged for it.
#[must_use]
pub fn app(view: &View, paths: &Paths, app: &App) -> v1::App {
    let count = view.site.containers(true).iter().filter(|container| container.app == app.id).count();
    let totals = view.totals.get(&app.id).copied().unwrap_or_default();
    let socket = paths.app_socket(&app.name).display().to_string();
    v1::App {
        name: app.name.to_string(),
        spec: Some(spec(view, paths, app)),
        state: state(view, app).into(),
        system: Some(system(view, app)),
        socket: if app.id == AppId::HOUSE { String::new() } else { socket },
        containers: u32::try_from(count).unwrap_or(u32::MAX),
        carbon_mg: totals.carbon.to_milligrams().get(),
        load_uj: uj(totals.load),
        parent: nesting::parent(view, app.id),
    }
}

fn spec(view: &View, paths: &Paths, app: &App) -> v1::AppSpec {
    let grants = view.grants.get(&app.id).cloned().unwrap_or_default();
    let subtree = grants.cgroup_subtree.map(|below| paths.cgroup_root.join(below).display().to_string());
    v1::AppSpec {
        share: Some(app_share(nesting::granted(view, app))),
        defaults: Some(v1::DefaultSettings {
            battery_charge_rate_mw: Some(app.policy.charge_rate.get()),
            battery_max_discharge_mw: app.policy.max_discharge.map(|most| most.get()),
            ..v1::DefaultSettings::default()
        }),
        shortfall: shortfall(app.policy.shortfall).into(),
        owner_uid: grants.owner_uid,
        cgroup_subtree: subtree,
        gpu_indices: grants.gpu_indices,
        tpu_indices: grants.tpu_indices,
    }
}

/// A share on the wire.
#[must_use]
pub fn app_share(share: Share) -> v1::AppShare {
    v1::AppShare {
        solar_weight: u64::from(share.solar_weight),
        battery_capacity_uj: share.battery.capacity.get(),
        battery_floor_uj: share.battery.floor.get(),
        battery_charge_limit_mw: share.battery.charge_limit.get(),
        battery_discharge_limit_mw: share.battery.discharge_limit.get(),
        grid_limit_mw: share.grid_limit.get(),
    }
}

fn shortfall(shortfall: Shortfall) -> v1::Shortfall {
    match shortfall {
        Shortfall::Throttle => v1::Shortfall::Throttle,
        Shortfall::Freeze => v1::Shortfall::Freeze,
        Shortfall::Notify => v1::Shortfall::Notify,
    }
}

/// What passes to `house` from an app's claim when `app` (`None`: gone) takes force.
#[must_use]
pub fn to_house(view: &View, id: AppId, app: Option<&App>) -> u64 {
    let stored = view.site.account(id).map_or(Energy::ZERO, |account| account.stored);
    stored.less(app.map_or(Energy::ZERO, |app| app.share.battery.capacity)).get()
}

/// The policies under `rules`.
#[must_use]
pub fn policies(rules: &Rules) -> v1::Policies {
    v1::Policies {
        redistribute: rules.redistribute,
        export: rules.export,
        shortfall: shortfall(Shortfall::default()).into(),
    }
}

/// The site as it stands.
#[must_use]
pub fn site(view: &View, paths: &Paths) -> v1::Site {
    let rules = view.site.rules();
    let (mode, reason) = match &view.mode {
        Mode::Normal => (v1::SiteMode::Normal, String::new()),
        Mode::Safe { reason } => (v1::SiteMode::Safe, reason.clone()),
    };
    let solar_mode = match rules.solar_rule {
        SolarRule::Buffered => v1::SolarMode::Buffered,
        SolarRule::Live { .. } => v1::SolarMode::Live,
    };
    v1::Site {
        name: view.name.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        mode: mode.into(),
        safe_mode_reason: reason,
        clock: Some(clock(view)),
        tick_span_ms: rules.tick.get(),
        started_ms: view.started_ms,
        solar_mode: solar_mode.into(),
        capacity: Some(capacity(rules)),
        free: Some(nesting::free(view, None)),
        policies: Some(policies(rules)),
        freshness: Some(freshness(view)),
        last: tick(view, paths, 0),
        tick_late_ms: view.late_ms,
        overruns: Some(overruns(&view.overruns)),
    }
}

fn overruns(overruns: &Overruns) -> v1::TickOverruns {
    let Overruns { late, gather, work, of_last: _ } = *overruns;
    v1::TickOverruns { late, gather, work }
}

fn capacity(rules: &Rules) -> v1::SiteCapacity {
    let buffer = match rules.solar_rule {
        SolarRule::Buffered => rules.solar_peak.over(rules.longest_span),
        SolarRule::Live { .. } => Energy::ZERO,
    };
    let battery = rules.battery.as_ref();
    v1::SiteCapacity {
        solar_peak_mw: rules.solar_peak.get(),
        battery_capacity_uj: battery.map_or(0, |battery| battery.capacity.get()),
        battery_buffer_uj: buffer.get(),
        battery_charge_limit_mw: battery.map_or(0, |battery| battery.charge_limit.get()),
        battery_discharge_limit_mw: battery.map_or(0, |battery| battery.discharge_limit.get()),
        battery_charge_ppm: battery.map_or(0, |battery| battery.conversion.charge.ppm()),
        battery_discharge_ppm: battery.map_or(0, |battery| battery.conversion.discharge.ppm()),
        grid_limit_mw: rules.grid.map_or(0, |grid| grid.import_limit.get()),
    }
}

/// The last settled tick of the site; `None` before the first.
#[must_use]
pub fn tick(view: &View, paths: &Paths, missed: u64) -> Option<v1::SiteTick> {
    let outcome = view.outcome.as_deref()?;
    let apps = outcome.apps.iter().filter_map(|of| match super::super::find(view, of.app) {
        Some(app) => Some(app_tick(view, paths, app, outcome, of)),
        None => departed_tick(view, of),
    });
    Some(v1::SiteTick {
        tick: outcome.tick.0,
        wall_start_ms: outcome.wall.get(),
        span_ms: outcome.span.get(),
        site: Some(site_flows(outcome, view.site.rules())),
        apps: apps.collect(),
        gap: outcome.gap,
        estimated: outcome.apps.iter().any(|app| app.estimated),
        missed,
    })
}

/// What an app that ended with the tick did in it: without it the parts would not make the whole.
fn departed_tick(view: &View, of: &AppOutcome) -> Option<v1::AppTick> {
    let (_, name) = view.departed.iter().find(|(app, _)| *app == of.app)?;
    Some(v1::AppTick {
        app: name.to_string(),
        flows: Some(flows(&of.flows)),
        state: v1::AppState::Drained.into(),
        estimated: of.estimated,
        ..v1::AppTick::default()
    })
}

fn app_tick(view: &View, paths: &Paths, app: &App, outcome: &Outcome, of: &AppOutcome) -> v1::AppTick {
    let containers = containers(view, paths, app.id);
    let caps: Option<Vec<u64>> = containers.iter().map(|container| container.effective_cap_mw).collect();
    v1::AppTick {
        app: app.name.to_string(),
        flows: Some(flows(&of.flows)),
        battery: battery(view, app, &of.account, Some((outcome, of))),
        debt_uj: uj(of.account.debt),
        loans_uj: uj(of.account.loan),
        supply_mw: of.supply.get(),
        effective_cap_mw: caps.map(|caps| caps.into_iter().fold(0, u64::saturating_add)),
        state: state(view, app).into(),
        estimated: of.estimated,
        containers,
    }
}

/// The site's flows of a tick. What `rules` and the figures say that the site does not have is absent.
#[must_use]
pub fn site_flows(outcome: &Outcome, rules: &Rules) -> v1::SiteFlows {
    let (s, Metered { solar, grid_import, grid_export, battery_in, battery_out, load, level }): (
        &SiteFlows,
        _,
    ) = (&outcome.site, outcome.metered);
    let (has_solar, has_grid, has_battery) =
        (!rules.solar_peak.is_zero(), rules.grid.is_some(), rules.battery.is_some());
    let (carbon_product, carbon_mg) = carbon(site_carbon(outcome));
    v1::SiteFlows {
        solar: metered(has_solar, s.solar_booked, solar, s.solar_over, s.solar_short),
        grid_import: metered(
            has_grid,
            s.grid_import_booked,
            grid_import,
            s.grid_import_over,
            s.grid_import_short,
        ),
        grid_export: metered(
            has_grid,
            s.grid_export_booked,
            grid_export,
            s.grid_export_over,
            s.grid_export_short,
        ),
        battery_in: metered(
            has_battery,
            s.battery_in_booked,
            battery_in,
            s.battery_in_over,
            s.battery_in_short,
        ),
        battery_out: metered(
            has_battery,
            s.battery_out_booked,
            battery_out,
            s.battery_out_over,
            s.battery_out_short,
        ),
        load_booked_uj: uj(s.load_booked),
        load_metered_uj: load.map(Energy::get),
        unmetered_load_uj: uj(s.unmetered_load),
        overbooked_load_uj: uj(s.overbooked_load),
        grid_netting_uj: uj(s.grid_netting),
        netting_gain_uj: uj(s.netting_gain),
        conversion_loss_uj: uj(s.conversion_loss),
        drift_up_uj: uj(s.drift_up),
        drift_down_uj: uj(s.drift_down),
        freed_uj: uj(s.freed),
        buffer_uj: uj(s.buffer),
        deficit_uj: uj(s.deficit),
        battery_level_booked_uj: uj(s.level_booked),
        battery_level_metered_uj: level.map(Energy::get),
        grid_carbon_mg_per_kwh: outcome.intensity.get(),
        carbon_product,
        carbon_mg,
    }
}

/// What was charged to all, less what was credited to `house`: the metered import's carbon (invariant 5).
fn site_carbon(outcome: &Outcome) -> Carbon {
    let sum = |of: fn(&Flows) -> Carbon| outcome.apps.iter().map(|app| of(&app.flows)).sum::<Carbon>();
    sum(|flows| flows.carbon).less(sum(|flows| flows.carbon_credit))
}

fn metered(
    has: bool,
    booked: EnergySum,
    metered: Option<Energy>,
    over: EnergySum,
    short: EnergySum,
) -> Option<v1::MeteredFlow> {
    let moved = metered.is_some() || [booked, over, short].iter().any(|flow| !flow.is_zero());
    (has || moved).then(|| v1::MeteredFlow {
        booked_uj: uj(booked),
        metered_uj: metered.map(Energy::get),
        over_uj: uj(over),
        short_uj: uj(short),
    })
}

/// A record's rows: its apps in their order, then the site. Only those that `wanted` names by the name of that time.
#[must_use]
pub fn rows(record: &Record, rules: &Rules, wanted: Option<&str>) -> Vec<v1::LedgerRow> {
    let outcome = &record.outcome;
    let row = |estimated: bool, account: v1::ledger_row::Account| v1::LedgerRow {
        tick: outcome.tick.0,
        wall_start_ms: outcome.wall.get(),
        span_ms: outcome.span.get(),
        gap: outcome.gap,
        estimated,
        grid_carbon_mg_per_kwh: outcome.intensity.get(),
        account: Some(account),
    };
    let named = outcome.apps.iter().filter_map(|of| Some((record.app_name(of.app)?.as_str(), of)));
    let apps = named.filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name)).map(|(name, of)| {
        let app = v1::AppRow {
            app: name.to_owned(),
            flows: Some(flows(&of.flows)),
            charge_level_uj: of.account.stored.get(),
            debt_uj: uj(of.account.debt),
            loans_uj: uj(of.account.loan),
        };
        row(of.estimated, v1::ledger_row::Account::App(app))
    });
    let site = wanted.is_none().then(|| {
        let estimated = outcome.apps.iter().any(|app| app.estimated);
        row(estimated, v1::ledger_row::Account::Site(site_flows(outcome, rules)))
    });
    apps.chain(site).collect()
}

/// A device.
#[must_use]
pub fn device(device: &Device) -> v1::Device {
    let Device { name, driver, roles, state, age_ms, last_error, last_error_ms, reads, failed_reads } =
        device;
    let state = match state {
        DeviceState::Live => v1::DeviceState::Live,
        DeviceState::Held => v1::DeviceState::Held,
        DeviceState::Implausible => v1::DeviceState::Implausible,
        DeviceState::Lost => v1::DeviceState::Lost,
    };
    v1::Device {
        name: name.clone(),
        driver: (*driver).to_owned(),
        roles: roles.iter().map(|role| self::role(*role).into()).collect(),
        state: state.into(),
        age_ms: *age_ms,
        last_error: last_error.clone(),
        last_error_ms: *last_error_ms,
        reads: *reads,
        failed_reads: *failed_reads,
    }
}

fn role(role: DeviceRole) -> v1::DeviceRole {
    match role {
        DeviceRole::GridMeter => v1::DeviceRole::GridMeter,
        DeviceRole::LoadMeter => v1::DeviceRole::LoadMeter,
        DeviceRole::ContainerMeter => v1::DeviceRole::ContainerMeter,
        DeviceRole::Solar => v1::DeviceRole::Solar,
        DeviceRole::Curtailment => v1::DeviceRole::Curtailment,
        DeviceRole::Storage => v1::DeviceRole::Storage,
        DeviceRole::PowerCap => v1::DeviceRole::PowerCap,
        DeviceRole::CarbonSignal => v1::DeviceRole::CarbonSignal,
    }
}
