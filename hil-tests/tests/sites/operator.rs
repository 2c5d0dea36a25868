//! `ecoctl`, end to end.

use crate::configs::NOON;
use ecovisor_hil_tests::site::{Ended, Site, next};
use serde_json::Value;

async fn json(site: &Site, arguments: &[&str]) -> Value {
    let answer = site.ecoctl(&[&["--json"], arguments].concat()).await.unwrap();
    assert_eq!(answer.code, Some(0), "{arguments:?}: {}", answer.stderr);
    serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", answer.stdout))
}

async fn fails(site: &Site, arguments: &[&str], code: i32, says: &str) -> Ended {
    let answer = site.ecoctl(arguments).await.unwrap();
    assert_eq!(answer.code, Some(code), "{arguments:?}: {}{}", answer.stdout, answer.stderr);
    assert!(answer.stderr.contains(says), "{arguments:?}: {}", answer.stderr);
    answer
}

#[tokio::test]
async fn without_a_daemon_it_exits_with_3() {
    let site = Site::new(NOON).unwrap();
    for arguments in [&["site"][..], &["app", "list"], &["ledger", "verify"]] {
        fails(&site, arguments, 3, "no daemon answers").await;
    }
    let said = fails(&site, &["--json", "site"], 3, "unreachable").await;
    let error: Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 3);
}

#[tokio::test]
async fn an_app_lives_from_its_creation_to_its_deletion() {
    let site = Site::start(NOON).await.unwrap();
    let names = async || {
        let apps = json(&site, &["app", "list"]).await;
        let names =
            apps["apps"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let create = ["app", "create", "night", "--grid-limit", "50W", "--solar-weight", "1"];
    let dry = json(&site, &[&create[..], &["--dry-run"]].concat()).await;
    // 500 W less the 160 W of the two apps and the 50 W asked for.
    assert_eq!(dry["free"]["grid_limit_mw"], 290_000, "{dry}");
    assert_eq!(dry["holds_from_tick"], Value::Null);
    assert_eq!(names().await, ["web", "batch", "house"], "a dry run changes nothing");
    let made = json(&site, &create).await;
    assert!(made["holds_from_tick"].is_u64(), "{made}");
    assert_eq!(names().await, ["web", "batch", "night", "house"]);
    assert!(site.app_socket("night").exists());
    fails(&site, &create, 1, "taken").await;

    json(&site, &["app", "share", "night", "--grid-limit", "70W", "--dry-run"]).await;
    let limit =
        async || json(&site, &["app", "show", "night"]).await["spec"]["share"]["grid_limit_mw"].clone();
    assert_eq!(limit().await, 50_000);
    json(&site, &["app", "share", "night", "--grid-limit", "70W"]).await;
    assert_eq!(limit().await, 70_000);
    fails(&site, &["app", "share", "night", "--grid-limit", "1kW"], 1, "would be accepted").await;

    fails(&site, &["app", "delete", "web"], 1, "container").await;
    json(&site, &["app", "drain", "night"]).await;
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..3 {
        next(&mut ticks).await.unwrap();
    }
    json(&site, &["app", "delete", "night"]).await;
    for _ in 0..2 {
        next(&mut ticks).await.unwrap();
    }
    assert_eq!(names().await, ["web", "batch", "house"]);
    assert!(!site.app_socket("night").exists(), "its socket went with it");
    fails(&site, &["app", "show", "night"], 5, "night").await;
}

#[tokio::test]
async fn what_it_shows_is_what_there_is() {
    let site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..5 {
        next(&mut ticks).await.unwrap();
    }
    let shown = json(&site, &["site"]).await;
    assert_eq!(shown["name"], "noon", "{shown}");
    let containers = json(&site, &["container", "list"]).await;
    let containers = containers["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2, "{containers:?}");
    let usage = json(&site, &["usage", "--app", "web", "--by-container"]).await;
    let bucket = &usage["apps"][0]["buckets"][0];
    let of = |key: &str| bucket[key].as_u64().unwrap();
    let sources = ["solar_uj", "battery_uj", "grid_uj", "received_uj", "overdraft_uj"];
    assert_eq!(of("load_uj"), sources.iter().map(|key| of(key)).sum::<u64>(), "{bucket}");
    assert_eq!(of("load_uj"), bucket["containers"][0]["energy_uj"].as_u64().unwrap(), "{bucket}");
    let devices = json(&site, &["device", "list"]).await;
    assert!(devices["devices"].as_array().unwrap().len() >= 5, "{devices}");
    let config = json(&site, &["config"]).await;
    assert_eq!(config["toml"], std::fs::read_to_string(site.path("site.toml")).unwrap());
    let policies = json(&site, &["policy", "show"]).await;
    assert!(policies.is_object(), "{policies}");
    for arguments in
        [&["site"][..], &["app", "list"], &["app", "show", "web"], &["container", "list"], &["usage"]]
    {
        let text = site.ecoctl(arguments).await.unwrap();
        assert_eq!(text.code, Some(0), "{arguments:?}: {}", text.stderr);
        assert!(text.stdout.lines().count() >= 2, "{arguments:?}: {}", text.stdout);
    }
}

#[tokio::test]
async fn a_setting_of_the_operator_is_told_as_an_event_when_its_lease_ends() {
    let site = Site::start(NOON).await.unwrap();
    let listen = ["--json", "events", "--for", "4s"];
    let set = async {
        let mut ticks = site.ticks().await.unwrap();
        next(&mut ticks).await.unwrap();
        json(&site, &["container", "cap", "one", "20W", "--app", "web", "--lease", "5min"]).await
    };
    let (heard, set) = tokio::join!(site.ecoctl(&listen), set);
    assert!(set["lease_ends_ms"].is_u64(), "{set}");
    let heard = heard.unwrap();
    assert_eq!(heard.code, Some(0), "{}", heard.stderr);
    let events: Vec<Value> = heard.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended =
        events.iter().find(|event| event["event"] == "lease_expired").unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!((&ended["app"], &ended["container"]), (&"web".into(), &"one".into()));
}

#[tokio::test]
async fn a_wrong_command_line_exits_with_2_and_what_is_not_there_with_5() {
    let site = Site::start(NOON).await.unwrap();
    fails(&site, &["app", "shred", "web"], 2, "shred").await;
    fails(&site, &["app", "share", "web", "--grid-limit", "7"], 2, "7").await;
    fails(&site, &["app", "share", "web"], 2, "no part of the share").await;
    fails(&site, &["app", "show", "nobody"], 5, "nobody").await;
    fails(&site, &["container", "cap", "none-such", "1W", "--app", "web"], 5, "none-such").await;
}
