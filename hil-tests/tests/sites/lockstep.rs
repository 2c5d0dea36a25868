//! Lock step: an app's own code, unchanged, through a simulated week.

use crate::configs::NOON;
use crate::simulate::{JULY, rows};
use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Site, command};
use ecovisor_hil_tests::table::figure;
use ecovisor_hil_tests::wait;
use ecovisor_sdk::{Error, Power, Tick, VirtualEnergy};
use std::collections::BTreeMap;
use std::process::Stdio;

/// The app: caps its container at 10 W in even ticks and at 30 W in odd ones. Returns what it saw: ticks with the cap
/// that was to hold in them.
async fn alternate(
    energy: &mut impl VirtualEnergy,
    ticks: usize,
) -> Result<Vec<(Tick, Option<Power>)>, Error> {
    let mut seen: Vec<(Tick, Option<Power>)> = Vec::new();
    let mut holds: BTreeMap<u64, Power> = BTreeMap::new();
    while seen.len() < ticks {
        let Some(tick) = energy.next_tick().await? else { break };
        let of_this = holds.range(..=tick.tick).next_back().map(|(_, cap)| *cap);
        let cap = Power::from_watts(if tick.coming.tick.is_multiple_of(2) { 10 } else { 30 });
        let accepted = energy.set_container_power_cap("one", cap).await?;
        holds.insert(accepted.holds_from_tick, cap);
        seen.push((tick, of_this));
    }
    Ok(seen)
}

#[tokio::test]
async fn in_lock_step_a_setting_holds_in_the_very_next_tick_for_a_week() {
    let site = Site::new(JULY).unwrap();
    let mut simulate = command(program("ecovisord").unwrap());
    simulate.args(["simulate", "--config"]).arg(site.path("site.toml")).args([
        "--for",
        "7d",
        "--lockstep",
        "1",
    ]);
    simulate.arg("--run-dir").arg(site.path("run")).arg("--out").arg(site.path("out"));
    let mut simulation = simulate.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let socket = site.app_socket("web");
    wait::until("the app's socket is there", async || socket.exists().then_some(())).await.unwrap();
    let mut energy = site.app("web").await.unwrap().lockstep();
    let seen = alternate(&mut energy, usize::MAX).await.unwrap();
    drop(energy);
    let status = wait::answer("the simulation ends", simulation.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    let week = 7 * 24 * 12;
    assert!((week - 2..=week).contains(&seen.len()), "{} ticks of {week}", seen.len());
    for (pair, i) in seen.windows(2).zip(0_u64..) {
        assert_eq!(pair[1].0.tick, pair[0].0.tick + 1, "no tick is missed");
        let cap = pair[1].1.expect("a cap was set in the tick before");
        assert_eq!(pair[1].0.load(), cap, "tick {i} draws what it is capped at");
    }
    let loads: Vec<u128> = rows(&site.path("out"), "apps.csv")
        .iter()
        .filter(|row| row["app"] == "web")
        .map(|row| figure(row, "load_uj").unwrap() / 300_000)
        .collect();
    assert_eq!(loads.len(), week - 1, "the app is there from the second tick on");
    assert!(loads[2..].iter().all(|mw| [10_000, 30_000].contains(mw)), "{loads:?}");
}

#[tokio::test]
async fn the_same_app_runs_live() {
    let site = Site::start(NOON).await.unwrap();
    let mut energy = site.app("web").await.unwrap().session().await.unwrap();
    let seen = wait::answer("twelve ticks", alternate(&mut energy, 12)).await.unwrap();
    // The books count a cap from the next tick on; it acts at once, so that the running tick may have it already.
    let loads: Vec<_> = seen.iter().filter(|(_, cap)| cap.is_some()).map(|(tick, _)| tick.load()).collect();
    assert!(
        loads.len() >= 8 && loads.iter().all(|load| [10, 30].map(Power::from_watts).contains(load)),
        "{loads:?}"
    );
    assert!(loads.contains(&Power::from_watts(10)) && loads.contains(&Power::from_watts(30)), "{loads:?}");
}

#[tokio::test]
async fn there_is_no_lock_step_on_a_clock_that_is_not_simulated() {
    let site = Site::start(NOON).await.unwrap();
    let mut energy = site.app("web").await.unwrap().lockstep();
    let refused = energy.next_tick().await.unwrap_err();
    assert!(refused.to_string().contains("simulated clock"), "{refused}");
}
