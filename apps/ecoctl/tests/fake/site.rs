//! The site that the daemon for tests shows: an app with a battery, and the house.

use ecovisor_sdk::operator::wire;

/// 2026-01-01T00:00:00Z.
pub const START_MS: u64 = 1_767_225_600_000;

/// Watt hours in µJ.
pub const fn wh(watt_hours: u64) -> u64 {
    watt_hours * 3_600_000_000
}

const fn joules(joules: u64) -> u64 {
    joules * 1_000_000
}

fn battery() -> wire::Battery {
    wire::Battery {
        charge_level_uj: wh(183),
        capacity_uj: wh(300),
        floor_uj: wh(90),
        charge_limit_mw: 40_000,
        discharge_limit_mw: 100_000,
        charge_rate_mw: 25_000,
        discharge_rate_mw: 0,
        carbon_content_mg: 1_234,
    }
}

fn settings() -> wire::SettingsInForce {
    let power = |power_mw, is_default| Some(wire::PowerSetting { power_mw, lease_ends_ms: None, is_default });
    wire::SettingsInForce {
        battery_charge_rate: power(Some(10_000), false),
        battery_max_discharge: power(Some(100_000), true),
        carbon_rate: Some(wire::CarbonRateSetting {
            rate_mg_per_h: Some(20_000),
            lease_ends_ms: Some(START_MS + 60_000),
            is_default: false,
        }),
        carbon_budget: Some(wire::CarbonBudgetSetting {
            budget_mg: Some(500_000),
            window_ms: 86_400_000,
            action: 2,
            spent_mg: 120_000,
            window_ends_ms: Some(START_MS + 86_400_000),
            lease_ends_ms: None,
            is_default: true,
        }),
    }
}

fn freshness() -> wire::FreshnessSet {
    let live = |age_ms| Some(wire::Freshness { age_ms: Some(age_ms), quality: 1 });
    let held = Some(wire::Freshness { age_ms: Some(3_000), quality: 2 });
    wire::FreshnessSet {
        solar: live(200),
        grid: live(150),
        battery: held,
        grid_carbon: live(60_000),
        load: None,
    }
}

fn system() -> wire::EnergySystem {
    wire::EnergySystem {
        app: "web".into(),
        tick: Some(42),
        coming_tick: 43,
        tick_span_ms: 1_000,
        solar: Some(wire::Solar { power_mw: 45_000, basis: 1 }),
        grid_power_mw: 5_000,
        grid_carbon_mg_per_kwh: Some(216_560),
        battery: Some(battery()),
        settings: Some(settings()),
        grid_limit_mw: 200_000,
        solar_weight: 2,
        solar_weight_total: 3,
        supply_mw: 245_000,
        load_mw: 50_000,
        debt_uj: 0,
        loans_uj: wh(1),
        freshness: Some(freshness()),
        estimated: true,
        clock: Some(wire::Clock { kind: 1, factor: 1 }),
        capping: Some(wire::Capping { kind: 1, reason: String::new() }),
        state: 1,
        site: "roof".into(),
        wall_ms: START_MS + 43_000,
    }
}

/// The app `web`.
pub fn web() -> wire::App {
    let share = wire::AppShare {
        solar_weight: 2,
        battery_capacity_uj: wh(300),
        battery_floor_uj: wh(90),
        battery_charge_limit_mw: 40_000,
        battery_discharge_limit_mw: 100_000,
        grid_limit_mw: 200_000,
    };
    let spec = wire::AppSpec {
        share: Some(share),
        defaults: None,
        shortfall: 0,
        owner_uid: Some(1_000),
        cgroup_subtree: Some("/sys/fs/cgroup/web".into()),
        gpu_indices: vec![0],
        tpu_indices: vec![],
    };
    wire::App {
        name: "web".into(),
        spec: Some(spec),
        state: 1,
        system: Some(system()),
        socket: "/run/ecovisor/app/web.sock".into(),
        containers: 1,
        carbon_mg: 1_234_567,
        load_uj: wh(5_678),
        parent: "team".into(),
    }
}

/// A child of `web`.
pub fn child() -> wire::App {
    let share = wire::AppShare { solar_weight: 1, battery_capacity_uj: wh(30), ..wire::AppShare::default() };
    let spec = wire::AppSpec { share: Some(share), ..wire::AppSpec::default() };
    wire::App {
        name: "web.batch".into(),
        spec: Some(spec),
        state: 1,
        parent: "web".into(),
        ..wire::App::default()
    }
}

/// Two groups, one in the other.
pub fn groups() -> Vec<wire::Group> {
    let share = wire::AppShare {
        solar_weight: 3,
        battery_capacity_uj: wh(600),
        battery_charge_limit_mw: 80_000,
        battery_discharge_limit_mw: 200_000,
        grid_limit_mw: 500_000,
        ..wire::AppShare::default()
    };
    let org = wire::Group {
        name: "org".into(),
        share: Some(share),
        free: Some(free()),
        groups: vec!["team".into()],
        load_mw: 140_000,
        charge_level_uj: wh(200),
        load_uj: wh(5_678),
        carbon_mg: 1_234_567,
        ..wire::Group::default()
    };
    let team = wire::Group {
        name: "team".into(),
        parent: "org".into(),
        groups: vec![],
        apps: vec!["web".into()],
        ..org.clone()
    };
    vec![org, team]
}

/// What a change of a group comes to.
pub fn group_change(dry_run: bool) -> wire::GroupChangeReply {
    wire::GroupChangeReply {
        holds_from_tick: (!dry_run).then_some(43),
        free: Some(free()),
        group: groups().pop().filter(|_| !dry_run),
    }
}

/// The house: no battery, no bounds.
pub fn house() -> wire::App {
    let system = wire::EnergySystem {
        app: "house".into(),
        coming_tick: 43,
        tick_span_ms: 1_000,
        grid_carbon_mg_per_kwh: Some(216_560),
        grid_limit_mw: u64::MAX,
        supply_mw: u64::MAX,
        state: 1,
        ..wire::EnergySystem::default()
    };
    wire::App { name: "house".into(), state: 1, system: Some(system), ..wire::App::default() }
}

/// The container `one` of `web`.
pub fn container() -> wire::Container {
    let target = wire::container_target::Target::CgroupPath("/sys/fs/cgroup/web/one".into());
    wire::Container {
        name: "one".into(),
        target: Some(wire::ContainerTarget { target: Some(target) }),
        power_mw: 38_500,
        energy_uj: wh(12),
        tick_energy_uj: joules(38),
        cap_mw: Some(40_000),
        cap_lease_ends_ms: None,
        effective_cap_mw: Some(30_000),
        capping: Some(wire::Capping { kind: 1, reason: String::new() }),
        estimated: false,
    }
}

fn flow(booked: u64, metered: Option<u64>) -> Option<wire::MeteredFlow> {
    let (booked_uj, metered_uj) = (joules(booked), metered.map(joules));
    let over_uj = metered_uj.unwrap_or(booked_uj).saturating_sub(booked_uj);
    Some(wire::MeteredFlow { booked_uj, metered_uj, over_uj, short_uj: 0 })
}

/// A settled tick.
pub fn tick(number: u64) -> wire::SiteTick {
    let site = wire::SiteFlows {
        solar: flow(120, Some(120)),
        grid_import: flow(5, Some(7)),
        grid_export: flow(0, None),
        battery_in: flow(65, Some(65)),
        battery_out: flow(0, Some(0)),
        load_booked_uj: joules(60),
        unmetered_load_uj: joules(10),
        battery_level_booked_uj: wh(880),
        battery_level_metered_uj: Some(wh(881)),
        grid_carbon_mg_per_kwh: 216_560,
        carbon_product: "1515920000000".into(),
        ..wire::SiteFlows::default()
    };
    let flows = wire::Flows {
        load_uj: joules(50),
        solar_in_uj: joules(80),
        solar_to_load_uj: joules(45),
        grid_to_load_uj: joules(5),
        carbon_product: "1082800000000".into(),
        ..wire::Flows::default()
    };
    let web = wire::AppTick {
        app: "web".into(),
        flows: Some(flows),
        battery: Some(battery()),
        supply_mw: 245_000,
        effective_cap_mw: Some(30_000),
        state: 1,
        containers: vec![container()],
        ..wire::AppTick::default()
    };
    let house =
        wire::AppTick { app: "house".into(), supply_mw: u64::MAX, state: 1, ..wire::AppTick::default() };
    wire::SiteTick {
        tick: number,
        wall_start_ms: START_MS + number * 1_000,
        span_ms: 1_000,
        site: Some(site),
        apps: vec![web, house],
        ..wire::SiteTick::default()
    }
}

/// What is left free.
fn free() -> wire::FreeShare {
    wire::FreeShare {
        battery_capacity_uj: wh(900),
        battery_charge_limit_mw: 160_000,
        battery_discharge_limit_mw: 400_000,
        grid_limit_mw: 1_800_000,
        solar_weight_total: 3,
    }
}

/// The site as it stands.
pub fn site() -> wire::Site {
    let capacity = wire::SiteCapacity {
        solar_peak_mw: 600_000,
        battery_capacity_uj: wh(1_440),
        battery_buffer_uj: wh(10),
        battery_charge_limit_mw: 200_000,
        battery_discharge_limit_mw: 500_000,
        battery_charge_ppm: 950_000,
        battery_discharge_ppm: 950_000,
        grid_limit_mw: 2_000_000,
    };
    wire::Site {
        name: "roof".into(),
        version: "0.1.0".into(),
        mode: 1,
        safe_mode_reason: String::new(),
        clock: Some(wire::Clock { kind: 1, factor: 1 }),
        tick_span_ms: 1_000,
        started_ms: START_MS,
        solar_mode: 1,
        capacity: Some(capacity),
        free: Some(free()),
        policies: Some(wire::Policies { redistribute: true, export: false, shortfall: 1 }),
        freshness: Some(freshness()),
        last: Some(tick(42)),
        tick_late_ms: 0,
        overruns: Some(wire::TickOverruns { late: 2, gather: 1, work: 0 }),
    }
}

/// What a change comes to.
pub fn change(dry_run: bool) -> wire::AppChangeReply {
    wire::AppChangeReply {
        holds_from_tick: (!dry_run).then_some(43),
        free: Some(free()),
        app: (!dry_run).then(web),
        to_house_uj: 0,
    }
}

/// Devices, one of them in trouble.
pub fn devices() -> Vec<wire::Device> {
    let inverter = wire::Device {
        name: "inverter".into(),
        driver: "modbus".into(),
        roles: vec![4, 5],
        state: 1,
        age_ms: Some(200),
        reads: 4_711,
        ..wire::Device::default()
    };
    let battery = wire::Device {
        name: "battery".into(),
        driver: "modbus".into(),
        roles: vec![6],
        state: 2,
        age_ms: Some(3_000),
        last_error: Some("register 40149 cannot be 70000".into()),
        last_error_ms: Some(START_MS + 39_000),
        reads: 4_708,
        failed_reads: 3,
    };
    vec![inverter, battery]
}

/// Two buckets of five minutes; of the second only the hour is kept.
pub fn buckets() -> Vec<wire::UsageBucket> {
    let bucket = |start, solar: u64, battery: u64, grid: u64| wire::UsageBucket {
        start_ms: START_MS + start,
        length_ms: 300_000,
        settled_ms: 300_000,
        load_uj: joules(solar + battery + grid),
        solar_uj: joules(solar),
        battery_uj: joules(battery),
        grid_uj: joules(grid),
        charged_uj: joules(600),
        carbon_mg: 90,
        carbon_product: "324840000000000".into(),
        containers: vec![wire::ContainerUsage {
            container: "one".into(),
            energy_uj: joules(solar),
            carbon_mg: 45,
        }],
        level: wire::UsageLevel::Minute.into(),
        ..wire::UsageBucket::default()
    };
    let hour = wire::UsageBucket {
        level: wire::UsageLevel::Hour.into(),
        coarse: true,
        ..bucket(300_000, 4_500, 1_500, 1_500)
    };
    vec![bucket(0, 12_000, 3_000, 0), hour]
}

/// Two events: an app's and the site's.
pub fn events() -> Vec<wire::WatchAllEventsReply> {
    use wire::event::Kind;
    let event = |tick, kind| Some(wire::Event { tick, wall_ms: START_MS + tick * 1_000, kind: Some(kind) });
    let lowered =
        wire::CapLowered { container: "one".into(), cap_mw: Some(40_000), effective_cap_mw: 30_000 };
    let degraded = wire::DeviceDegraded { device: "battery".into(), quality: 2 };
    vec![
        wire::WatchAllEventsReply {
            app: Some("web".into()),
            event: event(42, Kind::CapLowered(lowered)),
            missed: 0,
        },
        wire::WatchAllEventsReply { app: None, event: event(43, Kind::DeviceDegraded(degraded)), missed: 2 },
    ]
}

/// Two hours of sun and carbon, and how far earlier ones were off.
pub fn forecast() -> wire::GetForecastReply {
    let error = |source: &str, hours: u64, mae, bias, coverage| wire::ForecastErrors {
        source: source.into(),
        lead_ms: hours * 3_600_000,
        pairs: 672,
        mae,
        bias,
        coverage,
    };
    let series = |source: &str, rests_on: &str, middles: [f64; 2], errors| wire::Series {
        source: source.into(),
        steps: middles.map(|p50| wire::Quantiles { p10: p50 * 0.5, p50, p90: p50 * 1.5 }).to_vec(),
        issued_at_ms: 1_700_000_000_000,
        rests_on: rests_on.into(),
        errors,
    };
    let sun = vec![error("clear-sky", 1, 5_500.0, -60.0, 0.801), error("clear-sky", 24, 11_000.0, 0.0, 0.79)];
    let carbon = vec![error("persistence", 6, 28_500.4, 10.0, 0.78)];
    wire::GetForecastReply {
        issued_at_ms: 1_700_000_000_000,
        start_ms: 1_700_000_000_000,
        step_ms: 3_600_000,
        solar_mw: Some(series("clear-sky", "hour of day", [40_000.0, 0.0], sun)),
        carbon_mg_per_kwh: Some(series("persistence", "hour of week", [350_000.0, 360_500.0], carbon)),
    }
}

/// Two reservations: one that stands as given, one that a forecast now says is short.
pub fn reservations() -> wire::ListReservationsReply {
    let part = |end_ms, solar_mw, battery_mw| wire::ReservationPart {
        end_ms,
        solar_mw,
        own_grid_mw: 200_000,
        battery_mw,
        site_grid_mw: 0,
    };
    let reservation = |id, app: &str, short_mw, running| wire::Reservation {
        id,
        app: app.into(),
        power_mw: 400_000,
        start_ms: START_MS,
        end_ms: START_MS + 7_200_000,
        confidence_ppm: 950_000,
        parts: vec![part(START_MS + 3_600_000, 50_000, 150_000), part(START_MS + 7_200_000, 0, 200_000)],
        short_mw,
        running,
    };
    let reservations = vec![reservation(4, "web", 0, true), reservation(7, "batch", 12_500, false)];
    wire::ListReservationsReply { reservations }
}
