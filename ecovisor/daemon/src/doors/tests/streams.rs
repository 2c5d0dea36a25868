//! Streams, and lock step.

use super::*;

#[tokio::test]
async fn ticks_are_told_as_they_are_settled_and_the_end_is_a_status() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let mut ticks = web.watch_ticks(v1::WatchTicksRequest {}).await.unwrap().into_inner();
    bench.tick().await;
    bench.tick().await;
    for expected in [1, 2] {
        let tick = ticks.next().await.unwrap().unwrap();
        assert_eq!((tick.tick, tick.missed), (expected, 0));
        assert_eq!(tick.flows.unwrap().solar_in_uj, 5_000_000);
        assert_eq!(tick.coming.unwrap().tick, expected + 1);
    }
    bench.stop.cancel();
    let last = ticks.next().await.unwrap();
    refused(last, Code::Unavailable, "REASON_BUSY");
    assert!(ticks.next().await.is_none());
}

#[tokio::test]
async fn a_slow_reader_of_ticks_is_told_how_many_it_missed() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let mut ticks = web.watch_ticks(v1::WatchTicksRequest {}).await.unwrap().into_inner();
    // The task that follows never runs while this one does not wait, so it finds more than it may be behind.
    let views = bench.engine.ticks();
    drop(views);
    for _ in 0..200 {
        bench.tick().await;
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < 200 {
        let tick = ticks.next().await.unwrap().unwrap();
        seen += 1;
        missed += tick.missed;
        assert_eq!(tick.tick, seen + missed);
    }
}

#[tokio::test]
async fn events_are_told_by_each_subscribers_thresholds() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let request = v1::WatchEventsRequest {
        solar_change_mw: Some(1_000),
        carbon_change_mg_per_kwh: None,
        battery_full_ppm: Some(100_000),
        battery_empty_ppm: None,
    };
    let mut events = web.watch_events(request).await.unwrap().into_inner();
    let mut next = async || events.next().await.unwrap().unwrap().event.unwrap();
    bench.tick().await;
    use v1::event::Kind;
    let first = next().await;
    let changed = v1::SolarChanged { from_mw: 0, to_mw: 5_000 };
    assert_eq!((first.tick, first.kind), (1, Some(Kind::SolarChanged(changed))));
    // 10 % of 100 J are two ticks at 5 W from here.
    bench.tick().await;
    let full = next().await;
    assert_eq!(
        (full.tick, full.kind),
        (2, Some(Kind::BatteryFull(v1::BatteryFull { charge_level_uj: 10_000_000 })))
    );
    bench.tick_with(Power::from_watts(9)).await;
    bench.tick_with(Power::from_watts(6)).await;
    let changed = v1::SolarChanged { from_mw: 5_000, to_mw: 3_000 };
    let told = next().await;
    assert_eq!((told.tick, told.kind), (4, Some(Kind::SolarChanged(changed))));
}

#[tokio::test]
async fn an_ended_lease_is_told_to_the_app_and_to_the_operator() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let mut own = web.watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    let mut operator = bench.operator().await;
    let all = v1::WatchAllEventsRequest { app: Some("web".into()), thresholds: None };
    let mut all = operator.watch_all_events(all).await.unwrap().into_inner();
    let request = v1::SetCarbonRateRequest { rate_mg_per_h: Some(1), lease_ms: Some(1) };
    web.set_carbon_rate(request).await.unwrap();
    for _ in 0..3 {
        bench.tick().await;
    }
    let expected = v1::LeaseExpired { setting: v1::SettingKind::CarbonRate.into(), container: String::new() };
    let expected = Some(v1::event::Kind::LeaseExpired(expected));
    let kind = |event: Option<v1::Event>| event.unwrap().kind;
    assert_eq!(kind(own.next().await.unwrap().unwrap().event), expected);
    let told = all.next().await.unwrap().unwrap();
    // Three ticks at 5 W left the level that counts as empty and did not come back to it.
    assert_eq!((told.app.as_deref(), kind(told.event)), (Some("web"), expected));
}

#[tokio::test]
async fn there_is_no_lock_step_on_a_real_clock() {
    let bench = Bench::new().await;
    let answer = bench.app("web").await.run_lockstep(tokio_stream::once(v1::TickDone::default())).await;
    refused(answer, Code::FailedPrecondition, "REASON_NOT_SIMULATED");
}

#[tokio::test]
async fn the_site_waits_for_a_lock_stepped_app_and_hears_its_setters() {
    let bench = Arc::new(Bench::planned(Plan { kind: ClockKind::Simulated, ..Plan::default() }).await);
    bench.tick().await;
    let (say, said) = tokio::sync::mpsc::channel(1);
    let mut web = bench.app("web").await;
    say.send(v1::TickDone { tick: None, setters: vec![] }).await.unwrap();
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut told = web.run_lockstep(said).await.unwrap().into_inner();
    let ticker = bench.clone();
    let ticking = tokio::spawn(async move {
        for _ in 0..20 {
            ticker.tick().await;
        }
    });
    let first = told.next().await.unwrap().unwrap();
    let number = first.tick.unwrap().tick;
    let setter = |mw| v1::Setter { set: Some(Set::BatteryChargeRate(rate(mw))) };
    let setters = vec![setter(20_001), setter(5_000)];
    say.send(v1::TickDone { tick: Some(number), setters }).await.unwrap();
    let second = told.next().await.unwrap().unwrap();
    assert_eq!(second.tick.unwrap().tick, number + 1);
    assert_eq!(second.refusals.len(), 1);
    let refusal = &second.refusals[0];
    assert_eq!((refusal.index, refusal.reason()), (0, v1::Reason::ExceedsShare));
    assert_eq!(refusal.acceptable, Some(20_000));
    say.send(v1::TickDone { tick: Some(number), setters: vec![] }).await.unwrap();
    let wrong = told.next().await.unwrap();
    refused(wrong, Code::InvalidArgument, "REASON_INVALID");
    drop(say);
    ticking.await.unwrap();
}
