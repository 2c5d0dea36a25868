//! A daemon that is killed at any moment goes on where its journal ended. `ECOVISOR_KILLS` asks for more kills than the
//! few of every run.

use crate::configs::NOON;
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::{balance, wait};
use ecovisor_sdk::operator::wire;

/// Kills in every run.
const KILLS: u64 = 5;

fn kills() -> u64 {
    let asked = std::env::var_os("ECOVISOR_KILLS");
    asked.map_or(KILLS, |kills| {
        kills.to_str().and_then(|kills| kills.parse().ok()).expect("a number of kills")
    })
}

async fn batch(site: &Site) -> wire::App {
    let operator = site.operator().await.unwrap();
    operator.show_app(wire::ShowAppRequest { app: "batch".into() }).await.unwrap()
}

async fn share_of_batch(site: &Site) -> wire::AppShare {
    batch(site).await.spec.unwrap().share.unwrap()
}

#[tokio::test]
async fn killed_at_any_moment_it_goes_on_where_its_journal_ended() {
    let mut site = Site::start(NOON).await.unwrap();
    let mut seen: Option<wire::SiteTick> = None;
    for kill in 0..kills() {
        let mut ticks = site.ticks().await.unwrap();
        let first = next(&mut ticks).await.unwrap();
        if let Some(seen) = &seen {
            assert!(first.tick > seen.tick, "tick {} was settled once already", first.tick);
        }
        let mut last = first;
        for _ in 0..kill % 4 {
            let tick = next(&mut ticks).await.unwrap();
            balance::check(&tick).unwrap();
            balance::check_batteries(&last, &tick).unwrap();
            last = tick;
        }
        // Nothing is waited for between the answer and the kill.
        let grid_limit_mw = 50_000 + kill;
        let share = Some(wire::AppShare { grid_limit_mw, ..share_of_batch(&site).await });
        let request = wire::ChangeShareRequest { app: "batch".into(), share, dry_run: false };
        site.operator().await.unwrap().change_share(request).await.unwrap();
        site.kill().await.unwrap();
        site.run(&[]).await.unwrap();
        wait::until("the acknowledged share holds", async || {
            (share_of_batch(&site).await.grid_limit_mw == grid_limit_mw).then_some(())
        })
        .await
        .unwrap();
        seen = Some(last);
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
