//! Meters that fail: what is missing is held, then assumed, and marked; what cannot be is not believed; the books
//! balance all the while.

use crate::configs::{NOON, NOON_MS, noon_and, replaced};
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::{balance, wait};
use ecovisor_sdk::operator::wire;
use wire::event::Kind;

fn fault(meter: &str, kind: &str, from_min: u64, to_min: u64, more: &str) -> String {
    format!(
        "[[sim.fault]]\nmeter = \"{meter}\"\nkind = \"{kind}\"\nfrom = \"{from_min} min\"\nto = \"{to_min} min\"\n{more}"
    )
}

/// Minutes since the site began; a tick is about one.
fn minute(wall_ms: u64) -> u64 {
    (wall_ms - NOON_MS) / 60_000
}

#[tokio::test]
async fn a_silent_meter_is_held_then_assumed_then_heard_again() {
    let site = Site::start(&noon_and(&fault("solar", "silence", 30, 45, ""))).await.unwrap();
    let operator = site.operator().await.unwrap();
    let mut events = operator.watch_all_events(wire::WatchAllEventsRequest::default()).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let told = async {
        let mut told = Vec::new();
        loop {
            let reply = next(&mut events).await?;
            match reply.event.and_then(|event| Some((minute(event.wall_ms), event.kind?))) {
                Some((at, Kind::DeviceDegraded(degraded))) if degraded.device == "solar" => {
                    told.push((at, Some(degraded.quality())));
                }
                Some((at, Kind::DeviceRecovered(recovered))) if recovered.device == "solar" => {
                    told.push((at, None));
                    break anyhow::Ok(told);
                }
                _ => {}
            }
        }
    };
    let watched = async {
        let mut estimated = Vec::new();
        loop {
            let tick = next(&mut ticks).await?;
            balance::check(&tick)?;
            if tick.estimated && !tick.gap {
                estimated.push(minute(tick.wall_start_ms));
            }
            if minute(tick.wall_start_ms) > 55 {
                break anyhow::Ok(estimated);
            }
        }
    };
    let (told, estimated) =
        tokio::join!(wait::answer("the events", told), wait::answer("the ticks", watched));
    let (told, estimated) = (told.unwrap(), estimated.unwrap());
    let qualities: Vec<_> = told.iter().map(|(_, quality)| *quality).collect();
    assert_eq!(qualities, [Some(wire::Quality::Held), Some(wire::Quality::Assumed), None], "{told:?}");
    let (held, recovered) = (told[0].0, told[told.len() - 1].0);
    assert!((28..36).contains(&held) && (43..50).contains(&recovered), "{told:?}");
    assert!(
        estimated.len() >= 8 && estimated.iter().all(|minute| (28..50).contains(minute)),
        "{estimated:?}"
    );
    let devices = operator.list_devices(wire::ListDevicesRequest {}).await.unwrap().devices;
    let solar = devices.iter().find(|device| device.name == "solar").unwrap();
    assert_eq!(solar.state(), wire::DeviceState::Live);
    assert!(solar.failed_reads >= 8 && solar.last_error.is_some(), "{solar:?}");
}

#[tokio::test]
async fn meters_that_lie_jump_wrap_and_restart_leave_the_books_balanced() {
    let faults = [
        fault("load", "lie", 2, 8, "factor_ppm = 2000000\n"),
        fault("solar", "jump", 4, 5, "energy = \"50 kWh\"\n"),
        fault("grid_import", "wrap", 6, 7, ""),
        fault("battery_in", "restart", 8, 9, ""),
        fault("battery_out", "wrap", 9, 10, ""),
        fault("battery_level", "lie", 10, 14, "factor_ppm = 500000\n"),
        fault("battery_level", "jump", 15, 18, "energy = \"200 Wh\"\n"),
        fault("solar_available", "silence", 16, 24, ""),
        fault("solar", "silence", 16, 24, ""),
        fault("grid_import", "lie", 20, 26, "factor_ppm = 0\n"),
        fault("load", "silence", 22, 28, ""),
    ];
    for rule in ["buffered", "live"] {
        let config = replaced(NOON, "peak = \"200 W\"\n", &format!("peak = \"200 W\"\nrule = \"{rule}\"\n"));
        let site = Site::start(&format!("{config}{}", faults.concat())).await.unwrap();
        let mut ticks = site.ticks().await.unwrap();
        let mut before = next(&mut ticks).await.unwrap();
        while before.tick < 40 {
            let tick = next(&mut ticks).await.unwrap();
            balance::check(&tick).unwrap();
            balance::check_batteries(&before, &tick).unwrap();
            before = tick;
        }
        let verified = site.ecoctl(&["ledger", "verify"]).await.unwrap();
        assert_eq!(verified.code, Some(0), "{rule}: {}{}", verified.stdout, verified.stderr);
    }
}
