//! The program against a daemon that answers always the same: what it prints, what it asks, how it exits. Kept answers
//! are in `tests/golden`; `UPDATE_GOLDEN=1 cargo test -p ecovisor-ecoctl` writes them anew.
#![allow(clippy::unwrap_used)]

mod fake;

use fake::{Daemon, ecoctl};
use std::path::Path;
use std::process::Output;

fn stdout(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn kept(name: &str, given: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, given).unwrap();
    }
    std::fs::read_to_string(&path).unwrap_or_default()
}

/// The answer for people and the one for programs, both as kept. JSON is compared by its meaning.
async fn check(daemon: &Daemon, name: &str, arguments: &[&str]) {
    let text = stdout(&daemon.ecoctl(arguments).await);
    assert_eq!(text, kept(&format!("{name}.txt"), &text), "{name}:\n{text}");
    let json = stdout(&daemon.ecoctl(&[&["--json"], arguments].concat()).await);
    assert_eq!(values(&json), values(&kept(&format!("{name}.json"), &json)), "{name}:\n{json}");
}

fn values(json: &str) -> Vec<serde_json::Value> {
    serde_json::Deserializer::from_str(json).into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn answers_are_as_kept() {
    let daemon = Daemon::start().await;
    let cases: [(&str, &[&str]); 28] = [
        ("site", &["site"]),
        ("site-watch", &["site", "watch"]),
        ("app-list", &["app", "list"]),
        ("app-tree", &["app", "list", "--tree"]),
        ("app-move", &["app", "move", "web", "--to", "org"]),
        ("group-list", &["group", "list"]),
        ("group-show", &["group", "show", "team"]),
        ("group-create", &["group", "create", "team", "--in", "org", "--battery", "600Wh", "--dry-run"]),
        ("app-show", &["app", "show", "web"]),
        ("app-create", &["app", "create", "web", "--solar-weight", "2"]),
        ("app-share", &["app", "share", "web", "--grid-limit", "1kW", "--dry-run"]),
        ("device-list", &["device", "list"]),
        ("container-list", &["container", "list"]),
        ("container-cap", &["container", "cap", "one", "40W", "--lease", "30s", "--app", "web"]),
        ("battery", &["battery"]),
        ("carbon", &["carbon"]),
        ("usage", &["usage", "--app", "web", "--since", "1h", "--step", "5min", "--by-container", "--plot"]),
        ("usage-group", &["usage", "--group", "org", "--since", "1h", "--step", "5min"]),
        ("events", &["events"]),
        ("forecast", &["forecast", "--app", "web", "--horizon", "2h"]),
        ("reservation-list", &["reservation", "list"]),
        ("reservation-cancel", &["reservation", "cancel", "4"]),
        ("forecast-errors", &["forecast", "errors"]),
        ("config", &["config"]),
        ("reload", &["reload", "--dry-run"]),
        ("policy", &["policy", "show"]),
        ("ledger-verify", &["ledger", "verify"]),
        ("store-backup", &["store", "backup", "--to", "/var/lib/ecovisor/backup"]),
    ];
    for (name, arguments) in cases {
        check(&daemon, name, arguments).await;
    }
}

#[tokio::test]
async fn one_frame_of_top_is_plain_text() {
    let daemon = Daemon::start().await;
    let frame = stdout(&daemon.ecoctl(&["top", "--once", "--width", "80", "--height", "24"]).await);
    assert_eq!(frame, kept("top-once.txt", &frame), "{frame}");
}

#[tokio::test]
async fn flags_become_what_is_asked() {
    let daemon = Daemon::start().await;
    let check = async |arguments: &[&str], parts: &[&str]| {
        stdout(&daemon.ecoctl(arguments).await);
        let asked = daemon.last_asked();
        for part in parts {
            assert!(asked.contains(part), "{arguments:?} asked {asked}");
        }
    };
    let create = [
        "app",
        "create",
        "web",
        "--battery",
        "300Wh",
        "--floor",
        "30%",
        "--charge-limit",
        "40W",
        "--discharge-limit",
        "100W",
        "--shortfall",
        "freeze",
        "--owner-uid",
        "1000",
        "--default-carbon-budget",
        "500g",
        "--default-carbon-window",
        "1d",
    ];
    let spec = [
        "battery_capacity_uj: 1080000000000",
        "battery_floor_uj: 324000000000",
        "shortfall: Freeze",
        "owner_uid: Some(1000)",
        "carbon_budget_mg: Some(500000)",
        "carbon_budget_action: Notify",
        "dry_run: false",
    ];
    check(&create, &spec).await;
    let share = ["battery_capacity_uj: 1080000000000", "grid_limit_mw: 1000000", "dry_run: true"];
    check(&["app", "share", "web", "--grid-limit", "1kW", "--dry-run"], &share).await;
    check(&["app", "drain", "web"], &["DrainAppRequest", "app: \"web\""]).await;
    check(
        &["battery", "charge", "web", "0W", "--lease", "1h"],
        &["rate_mw: Some(0)", "lease_ms: Some(3600000)"],
    )
    .await;
    check(&["battery", "discharge", "web", "none"], &["max_mw: None", "lease_ms: None"]).await;
    check(&["container", "cap", "one", "none"], &["app: \"web\"", "container: \"one\"", "cap_mw: None"])
        .await;
    check(&["carbon", "rate", "web", "20g/h"], &["rate_mg_per_h: Some(20000)"]).await;
    let budget = ["budget_mg: Some(500000)", "window_ms: 86400000", "action: BlockGrid"];
    check(&["carbon", "budget", "web", "500g", "--action", "block-grid"], &budget).await;
    check(&["policy", "set", "--export", "yes"], &["export: Some(true)", "redistribute: None"]).await;
    check(
        &["container", "attach", "--app", "web", "--name", "x", "--cgroup", "web/x"],
        &["/sys/fs/cgroup/web/x"],
    )
    .await;
    // An hour before the end of the site's last tick, by the site's own clock.
    check(&["usage", "--app", "web", "--since", "1h"], &["t1_ms: 1767222043000", "t2_ms: None"]).await;
}

#[tokio::test]
async fn failures_have_their_codes_and_say_what_to_do() {
    let daemon = Daemon::start().await;
    let check = async |arguments: &[&str], code: i32, parts: &[&str]| {
        let output = daemon.ecoctl(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    };
    let beyond = ["app", "create", "a", "--battery", "1kWh", "--charge-limit", "1W"];
    check(
        &beyond,
        1,
        &["ecoctl: refused: battery capacity is beyond what is free, 900 Wh; 900 Wh would be accepted"],
    )
    .await;
    check(&["app", "delete", "web"], 1, &["web is active: drain it first"]).await;
    check(&["app", "create", "a", "--battery", "40"], 2, &["`40` is not an energy"]).await;
    check(&["app", "share", "web"], 2, &["no part of the share is named"]).await;
    check(&["app", "show", "secret"], 4, &["uid 7 is no operator"]).await;
    check(&["app", "show", "nobody"], 5, &["no app is named nobody"]).await;
    check(&["container", "cap", "nobody", "1W"], 5, &["no app has a container `nobody`"]).await;
    let json = daemon.ecoctl(&[&["--json"], &beyond[..]].concat()).await;
    let error = &values(&String::from_utf8_lossy(&json.stderr))[0]["error"];
    assert_eq!(error["acceptable_uj"], 3_240_000_000_000_u64);
    assert_eq!((&error["kind"], &error["reason"]), (&"refused".into(), &"exceeds_free".into()));
    let usage = daemon.ecoctl(&["--json", "app", "shwo"]).await;
    assert_eq!(usage.status.code(), Some(2));
    assert_eq!(values(&String::from_utf8_lossy(&usage.stderr))[0]["error"]["kind"], "usage");
}

#[tokio::test]
async fn without_a_daemon_the_socket_that_was_tried_is_named() {
    let nowhere = ecoctl(&["--socket", "/nowhere/ecovisor.sock", "site"]).await;
    assert_eq!(nowhere.status.code(), Some(3));
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(said.contains("no daemon answers at /nowhere/ecovisor.sock: "), "{said}");
    assert!(said.contains("is ecovisord running?"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let incomplete = ecoctl(&["--address", "https://site:7443", "site"]).await;
    assert_eq!(incomplete.status.code(), Some(2));
}

#[tokio::test]
async fn completions_need_no_daemon() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&ecoctl(&["completions", shell]).await);
        assert!(script.contains("ecoctl"), "{shell}");
    }
}
