//! A daemon that is killed at any moment goes on where its journal ended. `ECOVISOR_KILLS` asks for more kills per engine than
//! the few of every run.

use crate::configs::NOON;
use crate::outage::{Sent, asked, commands, config, goes_on, some_time};
use ecovisor_hil_tests::balance;
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_powercut::Dice;
use ecovisor_sdk::operator::wire;

/// Kills per engine in every run.
const KILLS: u64 = 10;

/// Kills between two looks at the whole store.
const LOOK_EVERY: u64 = 10;

async fn batch(site: &Site) -> wire::App {
    let operator = site.operator().await.unwrap();
    operator.show_app(wire::ShowAppRequest { app: "batch".into() }).await.unwrap()
}

/// Commands are sent without a pause; the kill comes after any time, whatever is under way.
async fn killed_at_any_moment_it_goes_on(engine: &str) {
    let mut site = Site::start(&config(engine)).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let base = commands(&site).await;
    let (mut sent, mut dice, mut seen) = (Sent::default(), Dice(5), 0);
    for kill in 1..=asked("ECOVISOR_KILLS", KILLS) {
        site.run(&[]).await.unwrap();
        sent.holds(&site).await.unwrap_or_else(|lost| panic!("kill {kill}: {lost}"));
        let mut ticks = site.ticks().await.unwrap();
        let first = next(&mut ticks).await.unwrap();
        assert!(first.tick > seen, "kill {kill}: tick {} was settled once already", first.tick);
        balance::check(&first).unwrap();
        sent.send_for(&site, some_time(&mut dice, 150)).await;
        seen = first.tick;
        site.kill().await.unwrap();
        if kill % LOOK_EVERY == 0 {
            sent.kept(&site, base).await.unwrap_or_else(|lost| panic!("kill {kill}: {lost}"));
        }
    }
    println!("{engine}: {} of {} commands were acknowledged, none is lost", sent.acknowledged, sent.tried);
    assert!(sent.acknowledged > KILLS, "the kills hit a busy daemon: {sent:?}");
    goes_on(&mut site, &sent, base).await;
}

#[tokio::test]
async fn killed_at_any_moment_it_goes_on_from_sled() {
    killed_at_any_moment_it_goes_on("sled").await;
}

#[tokio::test]
async fn killed_at_any_moment_it_goes_on_from_redb() {
    killed_at_any_moment_it_goes_on("redb").await;
}

/// What the operator exports and checks by himself after kills.
#[tokio::test]
async fn a_killed_site_exports_every_tick_once() {
    let mut site = Site::start(NOON).await.unwrap();
    for _ in 0..3 {
        next(&mut site.ticks().await.unwrap()).await.unwrap();
        site.kill().await.unwrap();
        site.run(&[]).await.unwrap();
    }
    let verified = site.ecoctl(&["ledger", "verify"]).await.unwrap();
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    let rows = site.ecoctl(&["--json", "ledger", "export"]).await.unwrap();
    let ticks = rows.stdout.lines().filter(|row| row.contains("\"account\":\"web\"")).map(|row| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["tick"].as_str().unwrap().parse::<u64>().unwrap()
    });
    let ticks: Vec<u64> = ticks.collect();
    // Apps of the configuration are there from the second tick on, as every command holds from the next one.
    let expected: Vec<u64> = (1..=u64::try_from(ticks.len()).unwrap()).collect();
    assert_eq!(ticks, expected, "every tick is in the ledger once");
}

#[tokio::test]
async fn what_the_emulated_battery_held_is_held_after_a_kill() {
    let mut site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..8 {
        next(&mut ticks).await.unwrap();
    }
    let before = batch(&site).await.system.unwrap();
    site.kill().await.unwrap();
    site.run(&[]).await.unwrap();
    let after = batch(&site).await.system.unwrap();
    assert!(after.tick >= before.tick, "{:?} came after {:?}", after.tick, before.tick);
    // 40 W into the battery is the most in a tick of a minute; some ticks lie between the two questions.
    let (was, is) = (before.battery.unwrap().charge_level_uj, after.battery.unwrap().charge_level_uj);
    let ticks_between = after.coming_tick - before.coming_tick + 1;
    assert!(was.abs_diff(is) <= ticks_between * 100_000 * 60_000, "{was} became {is}");
}
