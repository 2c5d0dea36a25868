//! Simulated weeks: the same daemon on a virtual clock. Its tables balance row by row and are the same every time.

use crate::configs::replaced;
use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Site, command, ended};
use ecovisor_hil_tests::table::{self, Row, figure, sum};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A week of July in North Carolina with the measured weather of its station; a tick is five minutes.
pub const JULY: &str = r#"
[site]
name = "july"
tick = "5 min"

[clock]
start = "2022-07-01T00:00:00Z"

[solar]
peak = "250 W"
rule = "live"
house_weight = 1

[battery]
capacity = "1.44 kWh"
floor = "432 Wh"
charge_limit = "360 W"
discharge_limit = "1440 W"

[grid]
import_limit = "500 W"
export_limit = "500 W"

[spill]
redistribute = true
export = true

[carbon]
zone = "US-CAL-CISO"

[host]
idle = "0 W"
peak = "60 W"

[sim]
seed = 7
sky = "tmy3"
station = "greensboro-nc"

[[sim.load]]
app = "web"
name = "one"
power = "60 W"

[[sim.load]]
app = "batch"
name = "one"
power = "90 W"

[[app]]
name = "web"
solar_weight = 3
battery_capacity = "300 Wh"
battery_floor = "90 Wh"
charge_limit = "60 W"
discharge_limit = "100 W"
grid_limit = "100 W"

[[app]]
name = "batch"
solar_weight = 1
battery_capacity = "200 Wh"
charge_limit = "40 W"
discharge_limit = "100 W"
grid_limit = "100 W"
"#;

fn simulation(site: &Site, length: &str, out: &Path, more: &[&str]) -> tokio::process::Command {
    let mut simulate = command(program("ecovisord").unwrap());
    simulate.args(["simulate", "--config"]).arg(site.path("site.toml"));
    simulate.args(["--for", length, "--out"]).arg(out).args(more);
    simulate
}

async fn simulate(site: &Site, length: &str, out: &Path, more: &[&str]) {
    let done = ended(&mut simulation(site, length, out, more)).await.unwrap();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

/// Simulates and returns where the tables are.
async fn simulated(site: &Site, length: &str, out: &str) -> PathBuf {
    let directory = site.path(out);
    simulate(site, length, &directory, &[]).await;
    directory
}

pub fn rows(directory: &Path, name: &str) -> Vec<Row> {
    table::read(&std::fs::read_to_string(directory.join(name)).unwrap()).unwrap()
}

/// Invariants 1 and 2 of one row.
fn check_row(row: &Row) {
    let whole_and_parts: [(&str, &[&str]); 4] = [
        ("solar_in_uj", &["solar_to_load_uj", "solar_to_lenders_uj", "solar_to_battery_uj", "spilled_uj"]),
        ("spilled_uj", &["given_uj", "exported_uj", "curtailed_uj", "kept_uj", "spill_to_overdraft_uj"]),
        ("received_uj", &["received_to_load_uj", "received_to_lenders_uj", "received_to_battery_uj"]),
        ("load_uj", &table::LOAD_SOURCES),
    ];
    for (whole, parts) in whole_and_parts {
        assert_eq!(figure(row, whole).unwrap(), sum(row, parts).unwrap(), "{whole} in {row:?}");
    }
}

/// Invariant 3 between two rows of one app.
fn check_battery(before: &Row, row: &Row) {
    let came = ["solar_to_battery_uj", "received_to_battery_uj", "grid_to_battery_uj", "repaid_in_uj"];
    let went = [
        "battery_to_load_uj",
        "forced_to_load_uj",
        "lent_uj",
        "charge_loss_uj",
        "discharge_loss_uj",
        "adjusted_down_uj",
    ];
    let came = figure(before, "stored_uj").unwrap() + sum(row, &came).unwrap();
    let is = figure(row, "stored_uj").unwrap() + sum(row, &went).unwrap();
    assert_eq!(came, is, "the battery after {before:?}: {row:?}");
}

#[tokio::test]
async fn a_simulated_week_balances_row_by_row_and_is_the_same_every_time() {
    for rule in ["live", "buffered"] {
        let site = Site::new(&replaced(JULY, "rule = \"live\"", &format!("rule = \"{rule}\""))).unwrap();
        let (first, again) = (simulated(&site, "7d", "first").await, simulated(&site, "7d", "again").await);
        for name in ["apps.csv", "site.csv"] {
            let [first, again] = [&first, &again].map(|run| std::fs::read(run.join(name)).unwrap());
            assert!(first == again, "{name} differs between two runs of one configuration");
        }
        let mut before: BTreeMap<String, Row> = BTreeMap::new();
        let apps = rows(&first, "apps.csv");
        // The two apps are there from the second tick on.
        assert_eq!(apps.len(), 3 * 7 * 24 * 12 - 2);
        for row in apps {
            check_row(&row);
            let app = row["app"].clone();
            if let Some(before) = before.get(&app).filter(|_| app != "house") {
                check_battery(before, &row);
            }
            before.insert(app, row);
        }
        for row in rows(&first, "site.csv") {
            let booked = sum(&row, &["grid_import_booked_uj", "grid_import_over_uj"]).unwrap();
            assert_eq!(
                booked,
                sum(&row, &["metered_grid_import_uj", "grid_import_short_uj"]).unwrap(),
                "{row:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_simulation_that_nobody_watches_writes_what_a_watched_one_does() {
    for rule in ["live", "buffered"] {
        let site = Site::new(&replaced(JULY, "rule = \"live\"", &format!("rule = \"{rule}\""))).unwrap();
        let (alone, store) = (site.path("alone"), site.path("store").display().to_string());
        let run = site.path("run").display().to_string();
        // Long enough for two snapshots on disk. With sockets, every tick goes through what a running site does: views, totals, the journal.
        simulate(&site, "8d", &alone, &[]).await;
        let both = site.path("store-too").display().to_string();
        let ways = [
            &["--run-dir", &run][..],
            &["--run-dir", &run, "--store", "off"],
            &["--store", &store],
            &["--run-dir", &run, "--store", &both],
        ];
        for (way, name) in ways.into_iter().zip(["watched", "unkept", "stored", "both"]) {
            let other = site.path(name);
            simulate(&site, "8d", &other, way).await;
            for table in ["apps.csv", "site.csv"] {
                let [one, other] = [&alone, &other].map(|run| std::fs::read(run.join(table)).unwrap());
                assert!(one == other, "{table} of {way:?} with {rule} solar");
            }
        }
        let again = ended(&mut simulation(&site, "8d", &alone, &["--store", &store])).await.unwrap();
        assert_eq!(again.code, Some(64), "{}", again.stderr);
        assert!(again.stderr.contains("has a ledger already"), "{}", again.stderr);
        [&store, &both].into_iter().for_each(|store| std::fs::remove_dir_all(store).unwrap());
    }
}

/// Solar noon at Greensboro (79.95 degrees west) in the middle of July, when the sun is 6 minutes late: 12:00 + 5:19:48 +
/// 0:06 UTC.
const NOON_MINUTES: f64 = 1_045.8;

#[tokio::test]
async fn in_july_the_sun_peaks_within_half_an_hour_of_solar_noon() {
    let site = Site::new(JULY).unwrap();
    let apps = rows(&simulated(&site, "31d", "july").await, "apps.csv");
    let mut by_minute: BTreeMap<u64, u128> = BTreeMap::new();
    for row in &apps {
        let minute = figure(row, "wall_start_ms").unwrap() / 60_000 % 1_440;
        *by_minute.entry(u64::try_from(minute).unwrap()).or_default() += figure(row, "solar_in_uj").unwrap();
    }
    let (peak, most) = by_minute.iter().max_by_key(|(_, energy)| **energy).unwrap();
    // A tick of five minutes is counted from its middle.
    let peak = f64::from(u32::try_from(*peak).unwrap()) + 2.5;
    assert!((peak - NOON_MINUTES).abs() <= 30.0, "the sun peaks at minute {peak} of the day");
    // 31 days of five minutes at 250 W are 2325 kJ: a station's July never is that clear, and never half as dark.
    assert!((1_162_500_000_000..2_325_000_000_000).contains(most), "{most} uJ");
    assert_eq!(by_minute[&300], 0, "there is no sun at one in the morning");
}
