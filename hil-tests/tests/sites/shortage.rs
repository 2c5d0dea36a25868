//! When supply falls short caps are lowered, the app is told, and what was set comes back with the supply.

use crate::configs::{NOON, replaced};
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::{balance, wait};
use ecovisor_sdk::{EventKind, Lease, Notice, Power, Setting, Thresholds};

/// When the night begins, in ms since 1970 UTC.
const NIGHT_MS: u64 = 1_655_798_400_000;

/// At night the grid is away from the 60th to the 80th minute: a tick of a minute takes a tenth of a second, so that
/// there is time to subscribe before.
fn outage() -> String {
    let night = replaced(NOON, "2022-06-21T19:00:00Z", "2022-06-21T08:00:00Z");
    let night = replaced(
        &night,
        "battery_capacity = \"200 Wh\"\ncharge_limit = \"40 W\"\ndischarge_limit = \"100 W\"\n",
        "",
    );
    format!("{night}[[sim.outage]]\nfrom = \"60 min\"\nto = \"80 min\"\n")
}

#[tokio::test]
async fn a_cap_is_lowered_while_supply_is_short_and_restored_afterwards() {
    let site = Site::start(&outage()).await.unwrap();
    let batch = site.app("batch").await.unwrap();
    let cap = Setting::ContainerPowerCap { container: "one".into(), cap: Some(Power::from_watts(50)) };
    batch.apply(&cap, Lease::UntilChanged).await.unwrap();
    let mut events = batch.events(Thresholds::default());
    let mut ticks = site.ticks().await.unwrap();
    let told = async {
        let (mut lowered, mut restored) = (None, None);
        while restored.is_none() {
            let Notice::Event(event) = events.next().await? else { continue };
            match event.kind {
                EventKind::CapLowered { container, cap, effective_cap } => {
                    assert_eq!((container.as_str(), cap), ("one", Some(Power::from_watts(50))));
                    lowered.get_or_insert((event.tick, effective_cap));
                }
                EventKind::CapRestored { cap, .. } if lowered.is_some() => {
                    assert_eq!(cap, Some(Power::from_watts(50)));
                    restored = Some(event.tick);
                }
                _ => {}
            }
        }
        anyhow::Ok((lowered, restored))
    };
    let balanced = async {
        loop {
            let tick = next(&mut ticks).await?;
            balance::check(&tick)?;
            if tick.wall_start_ms > NIGHT_MS + 84 * 60_000 {
                break anyhow::Ok(());
            }
        }
    };
    let (told, balanced) =
        tokio::join!(wait::answer("the events", told), wait::answer("the ticks", balanced));
    balanced.unwrap();
    let (lowered, restored) = told.unwrap();
    let (lowered_in, to) = lowered.expect("the cap was lowered before it was restored");
    assert_eq!(to, Power::ZERO, "an island without sun and battery has nothing to give");
    assert!(lowered_in < restored.unwrap());
    let container = batch.containers().await.unwrap().remove(0);
    assert_eq!(
        (container.cap, container.effective_cap),
        (Some(Power::from_watts(50)), Some(Power::from_watts(50)))
    );
}

#[tokio::test]
async fn a_cap_beyond_the_grid_limit_is_lowered_to_it() {
    let dark = replaced(NOON, "2022-06-21T19:00:00Z", "2022-06-21T08:00:00Z");
    let small = replaced(
        &dark,
        "battery_capacity = \"200 Wh\"\ncharge_limit = \"40 W\"\ndischarge_limit = \"100 W\"\n",
        "",
    );
    let site = Site::start(&small).await.unwrap();
    let batch = site.app("batch").await.unwrap();
    let cap = Setting::ContainerPowerCap { container: "one".into(), cap: Some(Power::from_watts(80)) };
    let accepted = batch.apply(&cap, Lease::UntilChanged).await.unwrap();
    let mut ticks = batch.ticks();
    let settled = async {
        loop {
            let tick = ticks.next().await?;
            if tick.tick > accepted.holds_from_tick {
                break Ok::<_, ecovisor_sdk::Error>(tick);
            }
        }
    };
    let tick = wait::answer("a tick under the cap", settled).await.unwrap();
    assert_eq!(
        tick.containers[0].effective_cap,
        Some(Power::from_watts(60)),
        "the grid limit is 60 W: {tick:?}"
    );
    assert_eq!(tick.load(), Power::from_watts(60));
}
