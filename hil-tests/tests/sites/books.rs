//! The books of a running site add up, seen from outside.

use crate::configs::{NOON, noon_and};
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::{balance, table};

#[tokio::test]
async fn a_site_settles_every_tick_and_every_tick_balances() {
    let site = Site::start(&noon_and("[spill]\nredistribute = true\n")).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let mut before = next(&mut ticks).await.unwrap();
    balance::check(&before).unwrap();
    for _ in 0..20 {
        let tick = next(&mut ticks).await.unwrap();
        balance::check(&tick).unwrap();
        balance::check_batteries(&before, &tick).unwrap();
        let names: Vec<_> = tick.apps.iter().map(|app| app.app.as_str()).collect();
        assert_eq!(names, ["web", "batch", "house"]);
        before = tick;
    }
    let flows = |i: usize| before.apps[i].flows.clone().unwrap();
    assert_eq!(flows(0).load_uj / before.span_ms, 60_000, "web draws 60 W");
    assert!(flows(0).solar_to_load_uj > 0, "the sun shines: {:?}", flows(0));
    let (web, batch) = (flows(0).solar_in_uj, flows(1).solar_in_uj);
    assert!(web.abs_diff(batch * 3) <= 3, "web has three times the weight of batch: {web} and {batch}");
}

#[tokio::test]
async fn every_exported_row_balances() {
    let site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..10 {
        next(&mut ticks).await.unwrap();
    }
    let exported = site.ecoctl(&["ledger", "export"]).await.unwrap();
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    let rows = table::read(&exported.stdout).unwrap();
    let apps: Vec<_> = rows.iter().filter(|row| row["account"] != "(site)").collect();
    // The last tick is committed with the next one, and the apps are there from the second on.
    assert!(apps.len() > 3 * 8, "three accounts in ten ticks: {}", apps.len());
    for row in apps {
        assert_eq!(
            table::figure(row, "load_uj").unwrap(),
            table::sum(row, &table::LOAD_SOURCES).unwrap(),
            "{row:?}"
        );
    }
}

/// An exported ledger and its rows.
async fn export(site: &Site) -> (String, String) {
    let (journal, rows) = (site.path("ledger.eco"), site.path("rows.csv"));
    let [journal, rows] = [journal, rows].map(|path| path.display().to_string());
    let exported = site.ecoctl(&["ledger", "export", "--out", &rows, "--journal", &journal]).await.unwrap();
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    (journal, rows)
}

#[tokio::test]
async fn a_ledger_verifies_without_the_daemon_and_a_tampered_one_does_not() {
    let mut site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..5 {
        next(&mut ticks).await.unwrap();
    }
    let online = site.ecoctl(&["ledger", "verify"]).await.unwrap();
    assert_eq!(online.code, Some(0), "{}{}", online.stdout, online.stderr);
    let (journal, rows) = export(&site).await;
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let verify = ["ledger", "verify", "--file", &journal, "--rows", &rows];
    let whole = site.ecoctl(&verify).await.unwrap();
    assert_eq!(whole.code, Some(0), "{}{}", whole.stdout, whole.stderr);

    let text = std::fs::read_to_string(&rows).unwrap();
    let table = table::read(&text).unwrap();
    let load = &table.iter().find(|row| row["account"] == "web").unwrap()["load_uj"];
    std::fs::write(&rows, text.replacen(load.as_str(), &format!("{load}1"), 1)).unwrap();
    let changed_row = site.ecoctl(&verify).await.unwrap();
    assert_eq!(changed_row.code, Some(6), "{}{}", changed_row.stdout, changed_row.stderr);
    std::fs::write(&rows, text).unwrap();

    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let changed_byte = site.ecoctl(&verify).await.unwrap();
    assert_eq!(changed_byte.code, Some(6), "{}{}", changed_byte.stdout, changed_byte.stderr);
}
