//! The demo plays to its end and its summary adds up.

use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{command, ended};
use serde_json::Value;

#[tokio::test]
async fn the_demo_plays_and_its_summary_adds_up() {
    let mut demo = command(program("ecovisor-demo").unwrap());
    let played = ended(demo.args(["--headless", "--for", "15s", "--json"])).await.unwrap();
    assert_eq!(played.code, Some(0), "{}", played.stderr);
    let summary: Value =
        serde_json::from_str(&played.stdout).unwrap_or_else(|error| panic!("{error}: {}", played.stdout));
    assert_eq!(summary["ledger_verified"], true, "{summary}");
    assert!(summary["ticks"].as_u64().unwrap() > 10, "{summary}");
    let apps = summary["apps"].as_array().unwrap();
    assert!(apps.len() >= 3, "{summary}");
    for app in apps {
        let of = |key: &str| app[key].as_u64().unwrap_or_else(|| panic!("{key} in {app}"));
        let sources = ["solar_uj", "battery_uj", "received_uj", "grid_uj", "overdraft_uj"];
        assert_eq!(of("load_uj"), sources.iter().map(|key| of(key)).sum::<u64>(), "{app}");
        assert!(of("carbon_mg") < u64::MAX && of("carbon_without_mg") < u64::MAX);
    }
}
