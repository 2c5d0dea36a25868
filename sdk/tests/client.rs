//! The client against a site served on a Unix socket.
#![allow(clippy::unwrap_used, reason = "a test")]

mod site;

use ecovisor_proto::v1;
use ecovisor_proto::v1::setter::Set;
use ecovisor_sdk::{
    Address, BudgetAction, ByContainer, Capping, Carbon, CarbonBudget, CarbonIntensity, CarbonMass,
    CarbonRate, Clock, Energy, EnergySystem, Error, EventKind, Figure, ForecastQuery, Lease, Life, Millis,
    Notice, Origin, Power, Ppm, Quality, Reason, ReserveAnswer, Setting, Share, SolarBasis, Target,
    Thresholds, UsageQuery, VirtualEnergy, Wish,
};
use site::{Served, Site};
use tonic::Code;

struct Rig {
    site: Site,
    served: Option<Served>,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let (site, dir) = (Site::default(), tempfile::tempdir().unwrap());
        let served = Some(site.serve(&dir.path().join("eco.sock")));
        Self { site, served, dir }
    }

    async fn energy(&self) -> EnergySystem {
        EnergySystem::connect_to(&Address::socket(self.dir.path().join("eco.sock"))).await.unwrap()
    }

    /// Breaks every connection and serves again.
    fn restart(&mut self) {
        self.served = None;
        self.served = Some(self.site.serve(&self.dir.path().join("eco.sock")));
    }
}

#[tokio::test]
async fn the_state_comes_in_quantities() {
    let rig = Rig::new();
    let battery =
        v1::Battery { charge_level_uj: 30, capacity_uj: 100, floor_uj: 10, ..v1::Battery::default() };
    rig.site.script().state.battery = Some(battery);
    let state = rig.energy().await.state().await.unwrap();
    assert_eq!((state.app.as_str(), state.tick, state.coming_tick), ("web", Some(6), 7));
    assert_eq!((state.solar.power, state.solar.basis), (Power::from_watts(40), SolarBasis::ComingTick));
    assert_eq!(state.grid_carbon, Some(CarbonIntensity::from_grams_per_kwh(400)));
    let battery = state.battery.unwrap();
    assert_eq!((battery.above_floor().get(), battery.room().get()), (20, 70));
    assert_eq!(state.freshness.solar.unwrap().quality, Quality::Live);
    assert_eq!(state.freshness.grid, None);
    assert_eq!((state.clock, state.capping), (Clock::Real, Capping::Enforced));
    assert_eq!(state.settings.battery_charge_rate.unwrap().origin, Origin::Default);
    assert_eq!(state.settings.carbon_rate.figure, None);
}

#[tokio::test]
async fn each_setting_goes_out_with_its_units_and_lease() {
    let rig = Rig::new();
    let energy = rig.energy().await;
    let lease_ms = Some(5_000);
    let budget = CarbonBudget {
        budget: CarbonMass::new(9),
        window: Millis::from_secs(3_600),
        action: BudgetAction::BlockGrid,
    };
    let cap = Setting::ContainerPowerCap { container: String::from("web"), cap: Some(Power::new(3)) };
    let wire_cap =
        v1::SetContainerPowerCapRequest { container: String::from("web"), cap_mw: Some(3), lease_ms };
    let wire_budget = v1::SetCarbonBudgetRequest {
        budget_mg: Some(9),
        window_ms: 3_600_000,
        action: v1::BudgetAction::BlockGrid.into(),
        lease_ms,
    };
    let cases = [
        (
            Setting::BatteryChargeRate(Some(Power::new(1))),
            Set::BatteryChargeRate(v1::SetBatteryChargeRateRequest { rate_mw: Some(1), lease_ms }),
        ),
        (
            Setting::BatteryMaxDischarge(Some(Power::new(2))),
            Set::BatteryMaxDischarge(v1::SetBatteryMaxDischargeRequest { max_mw: Some(2), lease_ms }),
        ),
        (cap, Set::ContainerPowerCap(wire_cap)),
        (
            Setting::CarbonRate(Some(CarbonRate::new(4))),
            Set::CarbonRate(v1::SetCarbonRateRequest { rate_mg_per_h: Some(4), lease_ms }),
        ),
        (Setting::CarbonBudget(Some(budget)), Set::CarbonBudget(wire_budget)),
    ];
    for (count, (setting, wire)) in (1..).zip(cases) {
        let accepted = energy.apply(&setting, Lease::For(Millis::from_secs(5))).await.unwrap();
        assert_eq!(accepted.holds_from_tick, 7);
        assert_eq!(rig.site.setter(count).await, wire);
    }
}

#[tokio::test]
async fn a_refusal_says_what_would_be_accepted() {
    let rig = Rig::new();
    let metadata = [("limit", "40000"), ("acceptable", "40000"), ("unit", "mw")];
    let refusal = site::refusal(Code::FailedPrecondition, v1::Reason::ExceedsShare, &metadata);
    rig.site.script().refusals.push_back(refusal);
    let mut energy = rig.energy().await.unleased();
    let error = energy.set_battery_charge_rate(Power::from_watts(99)).await.unwrap_err();
    let Error::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!(refusal.reason, Reason::ExceedsShare);
    assert_eq!(refusal.acceptable, Some(Figure::Power(Power::from_watts(40))));
    assert!(rig.site.script().setters.is_empty());
}

#[tokio::test]
async fn containers_are_attached_listed_and_detached() {
    let rig = Rig::new();
    let energy = rig.energy().await;
    let attached = energy.attach("web", Target::this_process()).await.unwrap();
    assert_eq!(attached.target, Target::Pid(std::process::id()));
    assert_eq!(attached.capping, Capping::MeteredOnly { reason: String::from("no cgroup") });
    for target in
        [Target::Cgroup("/sys/fs/cgroup/a".into()), Target::Gpu(0), Target::Tpu(1), Target::Lxc("c".into())]
    {
        assert_eq!(energy.attach("other", target.clone()).await.unwrap().target, target);
    }
    assert_eq!(energy.containers().await.unwrap()[0], attached);
    assert_eq!(energy.detach("other").await.unwrap(), 8);
    assert_eq!(energy.containers().await.unwrap(), [attached]);
}

#[tokio::test]
async fn a_wish_is_granted_or_answered_with_offers_that_are_wishes() {
    let rig = Rig::new();
    let energy = rig.energy().await;
    let wish = Wish {
        power: Power::from_watts(400),
        duration: Millis::from_secs(10_800),
        earliest_start: None,
        latest_start: Some(Millis::new(9)),
        confidence: Ppm::new(900_000),
    };
    let offer = v1::Offer { power_mw: 5, start_ms: 6, duration_ms: 7, confidence_ppm: 900_000 };
    let offers = v1::CounterOffer { most_power: Some(offer), ..v1::CounterOffer::default() };
    let answer = |answer| Some(v1::ReserveReply { answer: Some(answer), holds_from_tick: None });
    rig.site.script().reserve = answer(v1::reserve_reply::Answer::CounterOffer(offers));
    let ReserveAnswer::CounterOffer(offers) = energy.would_reserve(wish).await.unwrap() else {
        panic!("granted")
    };
    let most = offers.most_power.unwrap();
    assert_eq!((most.power, most.earliest_start), (Power::new(5), Some(Millis::new(6))));
    assert_eq!(offers.surest, None);
    let one = v1::Reservation { id: 3, power_mw: 5, confidence_ppm: 900_000, ..v1::Reservation::default() };
    rig.site.script().reserve = answer(v1::reserve_reply::Answer::Reservation(one));
    let ReserveAnswer::Granted(one) = energy.reserve(most).await.unwrap() else { panic!("not granted") };
    assert_eq!((one.id, one.confidence.get()), (3, 900_000));
    assert_eq!(energy.reservations().await.unwrap(), [one]);
    assert_eq!(energy.cancel_reservation(3).await.unwrap(), 5);
    let asked = v1::ReserveRequest {
        power_mw: 400_000,
        duration_ms: 10_800_000,
        latest_start_ms: Some(9),
        confidence_ppm: 900_000,
        dry_run: true,
        ..v1::ReserveRequest::default()
    };
    assert_eq!(rig.site.script().wishes[0], asked);
    assert!(!rig.site.script().wishes[1].dry_run);
}

#[tokio::test]
async fn usage_and_forecast_come_typed() {
    let rig = Rig::new();
    let bucket = v1::UsageBucket {
        load_uj: 5,
        solar_uj: 5,
        carbon_product: String::from("340282366920938463463374607431768211455"),
        ..v1::UsageBucket::default()
    };
    let series = v1::Series {
        source: String::from("trace"),
        steps: vec![v1::Quantiles { p10: 1.0, p50: 2.0, p90: 3.0 }],
        issued_at_ms: 7,
        rests_on: String::from("trace"),
        errors: vec![v1::ForecastErrors { lead_ms: 3_600_000, pairs: 9, mae: 2.5, ..Default::default() }],
    };
    let energy = rig.energy().await;
    assert!(matches!(energy.forecast(ForecastQuery::default()).await, Err(Error::NotSupported { .. })));
    rig.site.script().usage.buckets = vec![bucket];
    rig.site.script().forecast = Some(v1::GetForecastReply {
        step_ms: 60_000,
        solar_mw: Some(series),
        ..v1::GetForecastReply::default()
    });
    let query = UsageQuery {
        from: Millis::new(1),
        to: Some(Millis::new(9)),
        step: None,
        by_container: ByContainer::Yes,
    };
    assert_eq!(energy.usage(query).await.unwrap()[0].carbon, Carbon::MAX);
    let asked = v1::QueryUsageRequest { t1_ms: 1, t2_ms: Some(9), step_ms: 0, by_container: true };
    assert_eq!(rig.site.script().queries, [asked]);
    let forecast = energy.forecast(ForecastQuery::default()).await.unwrap();
    let solar = forecast.solar_mw.unwrap();
    assert_eq!((solar.source.as_str(), forecast.carbon_mg_per_kwh), ("trace", None));
    assert_eq!(
        (solar.issued_at.get(), solar.errors[0].lead, solar.errors[0].mae),
        (7, Millis::from_secs(3_600), 2.5)
    );
}

#[tokio::test]
async fn a_reply_of_another_version_is_unreadable_not_wrong() {
    let rig = Rig::new();
    rig.site.script().state.clock = None;
    let error = rig.energy().await.state().await.unwrap_err();
    assert_eq!(error.to_string(), "unreadable reply: the clock is missing");
    rig.site.script().state = v1::EnergySystem { state: 99, ..site::state() };
    assert!(matches!(rig.energy().await.state().await, Err(Error::Unreadable { .. })));
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_names_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let error = EnergySystem::connect_to(&Address::socket(&socket)).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("none.sock"), "{error}");
}

#[tokio::test]
async fn ticks_go_on_after_the_daemon_restarts_and_say_what_they_missed() {
    let mut rig = Rig::new();
    rig.site.script().ticks.push_back(vec![site::tick(7, 10), v1::Tick { missed: 2, ..site::tick(10, 20) }]);
    let mut ticks = rig.energy().await.ticks();
    let mut told = Vec::new();
    for _ in 0..2 {
        let tick = ticks.next().await.unwrap();
        told.push((tick.tick, tick.missed));
    }
    rig.site.script().ticks.push_back(vec![site::tick(15, 30)]);
    rig.restart();
    let tick = ticks.next().await.unwrap();
    told.push((tick.tick, tick.missed));
    assert_eq!(told, [(7, 0), (10, 2), (15, 4)]);
    assert!(ticks.outages() >= 1);
}

#[tokio::test]
async fn calls_work_again_after_the_daemon_restarts() {
    let mut rig = Rig::new();
    let energy = rig.energy().await;
    energy.state().await.unwrap();
    rig.restart();
    // The first call may find the connection broken; its error says that another attempt is worth while.
    let again = match energy.state().await {
        Err(error) if error.is_passing() => energy.state().await,
        other => other,
    };
    assert_eq!(again.unwrap().app, "web");
}

#[tokio::test]
async fn events_say_what_was_lost_and_that_the_stream_broke() {
    let mut rig = Rig::new();
    let lowered = v1::CapLowered { container: String::from("web"), cap_mw: None, effective_cap_mw: 5 };
    let event = |kind| v1::Event { tick: 3, wall_ms: 4, kind };
    let first =
        v1::WatchEventsReply { event: Some(event(Some(v1::event::Kind::CapLowered(lowered)))), missed: 2 };
    let unknown = v1::WatchEventsReply { event: Some(event(None)), missed: 0 };
    rig.site.script().events.push_back(vec![first, unknown.clone()]);
    let thresholds = Thresholds { battery_full: Ppm::new(900_000), ..Thresholds::default() };
    let mut events = rig.energy().await.events(thresholds);
    assert_eq!(events.next().await.unwrap(), Notice::Missed(2));
    let Notice::Event(event) = events.next().await.unwrap() else { panic!("an event was told") };
    let cap_lowered =
        EventKind::CapLowered { container: String::from("web"), cap: None, effective_cap: Power::new(5) };
    assert_eq!((event.tick, event.wall, event.kind), (3, Millis::new(4), cap_lowered));
    assert!(matches!(events.next().await.unwrap(), Notice::Event(event) if event.kind == EventKind::Unknown));
    rig.site.script().events.push_back(vec![unknown]);
    rig.restart();
    assert_eq!(events.next().await.unwrap(), Notice::Reconnected);
    assert!(matches!(events.next().await.unwrap(), Notice::Event(_)));
    let asked =
        v1::WatchEventsRequest { battery_full_ppm: Some(900_000), ..v1::WatchEventsRequest::default() };
    assert!(rig.site.script().thresholds.iter().all(|thresholds| *thresholds == asked));
}

#[tokio::test]
async fn what_waiting_does_not_repair_is_told_at_once() {
    let rig = Rig::new();
    let mut flows = site::tick(1, 0);
    flows.flows.as_mut().unwrap().carbon_product = String::from("-1");
    rig.site.script().ticks.push_back(vec![flows]);
    let error = rig.energy().await.ticks().next().await.unwrap_err();
    assert_eq!(error.to_string(), "unreadable reply: carbon product `-1`");
}

#[tokio::test]
async fn an_app_divides_its_share_and_takes_it_back() {
    let rig = Rig::new();
    let energy = rig.energy().await;
    let share = Share { solar_weight: 2, battery_capacity: Energy::from_watt_hours(3), ..Share::default() };
    let divided = energy.divide_share("batch", share, Some(4)).await.unwrap();
    assert_eq!((divided.holds_from_tick, divided.own.solar_weight), (Some(8), 4));
    let child = divided.child.unwrap();
    assert_eq!((child.name.as_str(), child.share, child.life), ("web.batch", share, Life::Active));
    assert_eq!(child.socket, std::path::Path::new("/run/ecovisor/app/web.batch.sock"));
    assert_eq!(energy.children().await.unwrap().0.grid_limit, Power::new(5));
    assert_eq!(energy.take_back_share("batch").await.unwrap().child, None);
    let refused = energy.take_back_share("busy").await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.reason == Reason::NotDrained), "{refused:?}");
}
