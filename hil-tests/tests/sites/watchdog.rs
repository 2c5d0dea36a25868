//! The watchdog is kicked for complete ticks and for nothing else: not while the store stands still, and no less where
//! readings are missing or a device hangs.

use crate::configs::{noon_and, real, replaced};
use ecovisor_hil_tests::manager::Manager;
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::{balance, wait};
use ecovisor_sdk::operator::wire;
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use wire::event::Kind;

/// A minute: nobody is restarted in these tests, kicks are counted.
const WATCHDOG_US: u64 = 60_000_000;

fn is_kick(heard: &[String]) -> bool {
    heard.iter().any(|line| line == "WATCHDOG=1")
}

/// A site under a service manager.
async fn managed(config: &str, more: &[&str]) -> (Site, Manager) {
    let mut site = Site::new(config).unwrap();
    let manager = Manager::at(&site.path("notify")).unwrap();
    site.run_with(more, &manager.environment(WATCHDOG_US)).await.unwrap();
    manager.until_heard("READY=1").await.unwrap();
    (site, manager)
}

#[tokio::test]
async fn each_complete_tick_is_one_kick_and_the_manager_hears_of_reloads_and_the_end() {
    let (mut site, manager) = managed(&noon_and(""), &[]).await;
    let mut ticks = site.ticks().await.unwrap();
    // Whatever was kicked before the stream began has been heard when this is over.
    manager.until_heard("WATCHDOG=1").await.unwrap();
    let first = next(&mut ticks).await.unwrap().tick;
    let mut kicks = 0;
    let mut last = first;
    while last < first + 20 {
        tokio::select! {
            tick = next(&mut ticks) => last = tick.unwrap().tick,
            heard = manager.heard() => kicks += u64::from(is_kick(&heard.unwrap())),
        }
    }
    // One may be on its way at either end.
    assert!((18..=22).contains(&kicks), "{kicks} kicks in 20 ticks");
    site.signal(Signal::HUP).unwrap();
    wait::until("the reload is told", async || {
        let heard = manager.heard().await.ok()?;
        (heard.first().is_some_and(|line| line == "RELOADING=1") && heard[1].starts_with("MONOTONIC_USEC="))
            .then_some(())
    })
    .await
    .unwrap();
    manager.until_heard("READY=1").await.unwrap();
    site.signal(Signal::TERM).unwrap();
    manager.until_heard("STOPPING=1").await.unwrap();
    assert_eq!(site.ended().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_store_that_stands_still_is_not_kicked_for_though_calls_are_answered() {
    let mut site = Site::new(&noon_and("")).unwrap();
    let manager = Manager::at(&site.path("notify")).unwrap();
    site.run_with(&["--stall-at-tick", "8"], &manager.environment(WATCHDOG_US)).await.unwrap();
    let heard = manager.until_quiet(Duration::from_secs(2)).await;
    let kicks = heard.iter().filter(|heard| is_kick(heard)).count();
    assert!((1..=8).contains(&kicks), "ticks 0 to 7 are complete, and no other: {heard:?}");
    let shown = site.operator().await.unwrap().get_site(wire::GetSiteRequest {}).await.unwrap();
    assert_eq!(shown.last.map(|tick| tick.tick), Some(7));
    site.kill().await.unwrap();
}

#[tokio::test]
async fn missing_readings_degrade_the_site_and_do_not_stop_the_kicks() {
    let silent = |meter: &str| {
        format!("[[sim.fault]]\nmeter = \"{meter}\"\nkind = \"silence\"\nfrom = \"5 min\"\nto = \"100 h\"\n")
    };
    let all = ["grid_import", "grid_export", "battery_out", "load", "solar", "battery_level"];
    let (site, manager) = managed(&noon_and(&all.map(silent).concat()), &[]).await;
    let operator = site.operator().await.unwrap();
    let mut events = operator.watch_all_events(wire::WatchAllEventsRequest::default()).await.unwrap();
    let mut degraded = Vec::new();
    while !["grid", "battery", "load", "solar"].iter().all(|name| degraded.iter().any(|d| d == name)) {
        if let Some(Kind::DeviceDegraded(of)) = next(&mut events).await.unwrap().event.and_then(|e| e.kind) {
            degraded.push(of.device);
        }
    }
    wait::until("the manager hears what is ill", async || {
        let heard = manager.heard().await.ok()?;
        let ill = "STATUS=degraded: no fresh reading of solar, battery, grid, load";
        heard.iter().any(|line| line == ill).then_some(())
    })
    .await
    .unwrap();
    for _ in 0..10 {
        assert!(is_kick(&manager.heard().await.unwrap()));
    }
}

/// A file that takes for ever to read, as a device does that hangs in the kernel.
fn hangs(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[tokio::test]
async fn a_device_that_hangs_delays_no_tick_by_more_than_50_ms() {
    let config = replaced(&real(), "tick = \"500 ms\"", "tick = \"200 ms\"");
    let config = replaced(&config, "peak = \"60 W\"\n", "peak = \"60 W\"\nproc_root = \"DIR/proc\"\n");
    let mut site = Site::new(&config).unwrap();
    std::fs::create_dir(site.path("proc")).unwrap();
    std::fs::copy("/proc/stat", site.path("proc/stat")).unwrap();
    let manager = Manager::at(&site.path("notify")).unwrap();
    site.run_with(&[], &manager.environment(WATCHDOG_US)).await.unwrap();
    let operator = site.operator().await.unwrap();
    let mut events = operator.watch_all_events(wire::WatchAllEventsRequest::default()).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    hangs(&site.path("proc/hanging"));
    std::fs::rename(site.path("proc/hanging"), site.path("proc/stat")).unwrap();
    let told = wait::answer("the events", async {
        let (mut gather, mut degraded) = (None, false);
        while gather.is_none() || !degraded {
            match next(&mut events).await?.event.and_then(|event| event.kind) {
                Some(Kind::TickOverrun(overrun)) if overrun.stage() == wire::TickStage::Gather => {
                    gather = Some(overrun.took_us);
                }
                Some(Kind::DeviceDegraded(of)) if of.device == "host" => degraded = true,
                _ => {}
            }
        }
        anyhow::Ok(gather.unwrap_or_default())
    });
    let waited_us = told.await.unwrap();
    assert!(waited_us >= 40_000, "it waited for {waited_us} us");
    for _ in 0..10 {
        balance::check(&next(&mut ticks).await.unwrap()).unwrap();
    }
    let shown = operator.get_site(wire::GetSiteRequest {}).await.unwrap();
    let overruns = shown.overruns.unwrap();
    assert_eq!(overruns.gather, 1, "the device is asked once, and not again while it hangs: {overruns:?}");
    assert_eq!(overruns.work, 0, "{overruns:?}");
    manager.until_heard("WATCHDOG=1").await.unwrap();
    let said = site.ecoctl(&["site"]).await.unwrap();
    assert!(said.stdout.contains("1 without a reading in time"), "{}", said.stdout);
    site.kill().await.unwrap();
}
