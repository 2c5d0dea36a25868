//! Time in which no daemon ran is settled as one entry, and leases that ended in it are over.

use crate::configs::real;
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::wait;
use ecovisor_sdk::operator::wire;
use ecovisor_sdk::{Lease, Millis, Origin, Power, Setting};

#[tokio::test]
async fn an_absence_is_one_gap_and_leases_that_ended_in_it_are_over() {
    let mut site = Site::start(&real()).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    next(&mut ticks).await.unwrap();
    let web = site.app("web").await.unwrap();
    let lease = Lease::For(Millis::from_secs(1));
    web.apply(&Setting::BatteryMaxDischarge(Some(Power::from_watts(7))), lease).await.unwrap();
    let forever = Setting::BatteryChargeRate(Some(Power::from_watts(5)));
    web.apply(&forever, Lease::UntilChanged).await.unwrap();
    let last = next(&mut ticks).await.unwrap();
    site.kill().await.unwrap();
    // What is waited for is time itself: the daemon must be away for more than three ticks.
    wait::until("the wall clock has gone on", async || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        (u64::try_from(now.tv_sec).ok()? * 1_000 > last.wall_start_ms + 4_000).then_some(())
    })
    .await
    .unwrap();
    site.run(&[]).await.unwrap();
    // The gap is settled at the start; a tick is committed with the next one.
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..2 {
        next(&mut ticks).await.unwrap();
    }
    let state = site.app("web").await.unwrap().state().await.unwrap();
    let settings = state.settings;
    assert_eq!(settings.battery_max_discharge.unwrap().origin, Origin::Default, "its lease ended in the gap");
    assert_eq!(
        settings.battery_charge_rate.unwrap().figure,
        Some(Power::from_watts(5)),
        "it holds until changed"
    );

    let operator = site.operator().await.unwrap();
    let request = wire::QueryLedgerRequest { app: Some("web".into()), ..Default::default() };
    let mut rows = operator.query_ledger(request).await.unwrap();
    let mut gaps = Vec::new();
    let mut end = None;
    while let Some(row) = wait::answer("a row", rows.next()).await.unwrap() {
        if let Some(end) = end.replace(row.wall_start_ms + row.span_ms) {
            assert_eq!(row.wall_start_ms, end, "tick {} begins where the one before it ended", row.tick);
        }
        if row.gap && row.span_ms >= 3_000 {
            gaps.push((row.tick, row.span_ms, row.estimated));
        }
    }
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (tick, span_ms, estimated) = gaps[0];
    assert!(tick > last.tick && span_ms >= 3_000, "tick {tick} of {span_ms} ms");
    assert!(estimated, "nothing was read while no daemon ran");
    let verified = site.ecoctl(&["ledger", "verify"]).await.unwrap();
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}
