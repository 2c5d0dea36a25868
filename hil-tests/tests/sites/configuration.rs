//! The configuration: refused before anything is bound, changed without a missed tick.

use crate::configs::{NOON, noon_and, replaced};
use ecovisor_hil_tests::site::{Site, ended, next};
use ecovisor_hil_tests::wait;
use ecovisor_sdk::operator::wire;
use rustix::process::Signal;

#[tokio::test]
async fn a_bad_configuration_ends_with_64_names_field_and_value_and_binds_nothing() {
    let with = |old, new| replaced(NOON, old, new);
    for (config, named) in [
        (with("tick = \"60 s\"", "tick = \"10 ms\""), vec!["tick", "10 ms"]),
        (with("peak = \"200 W\"", "peak = \"200\""), vec!["peak", "`200`"]),
        (with("import_limit", "improt_limit"), vec!["improt_limit"]),
        (with("US-CAL-CISO", "XX-NOWHERE"), vec!["carbon.zone", "XX-NOWHERE"]),
        (with("floor = \"432 Wh\"", "floor = \"2 kWh\""), vec!["battery.floor", "2 kWh"]),
        (with("factor = 600", "factor = 0"), vec!["clock.factor", "0"]),
        (with("2022-06-21T19:00:00Z", "noon"), vec!["clock.start", "noon"]),
        (with("name = \"noon\"", "name = \"High Noon\""), vec!["site.name", "High Noon"]),
        (with("grid_limit = \"60 W\"", "grid_limit = \"600 W\""), vec!["app[1]", "batch", "600 W", "400 W"]),
        (
            with("battery_capacity = \"200 Wh\"", "battery_capacity = \"2 kWh\""),
            vec!["app[1]", "batch", "2 kWh"],
        ),
        (noon_and("[metrics]\nlisten = \"0.0.0.0:9\"\n"), vec!["metrics.listen", "0.0.0.0:9"]),
        (
            noon_and("[[sim.fault]]\nmeter = \"moon\"\nkind = \"lie\"\nfrom = \"0 s\"\nto = \"1 s\"\n"),
            vec!["moon"],
        ),
        ("[site".to_owned(), vec!["site.toml"]),
    ] {
        let site = Site::new(&config).unwrap();
        let refused = ended(&mut site.command().unwrap()).await.unwrap();
        assert_eq!(refused.code, Some(64), "{named:?}: {}", refused.stderr);
        for name in named {
            assert!(refused.stderr.contains(name), "{name} is not named:\n{}", refused.stderr);
        }
        assert!(!site.path("run").exists(), "something was bound for {}", refused.stderr);
        assert!(!site.path("state").exists(), "something was opened for {}", refused.stderr);
    }
}

#[tokio::test]
async fn a_reload_changes_a_share_without_a_missed_tick() {
    // 300 ms a tick: a busy machine is late by less than the three ticks that make a gap.
    let config = replaced(NOON, "factor = 600", "factor = 200");
    let site = Site::start(&config).await.unwrap();
    let operator = site.operator().await.unwrap();
    let limit = async || {
        let app = operator.show_app(wire::ShowAppRequest { app: "batch".into() }).await.unwrap();
        app.spec.unwrap().share.unwrap().grid_limit_mw
    };
    let mut ticks = site.ticks().await.unwrap();
    let mut seen = vec![next(&mut ticks).await.unwrap()];

    site.configure(&replaced(&config, "grid_limit = \"60 W\"", "grid_limit = \"61 W\"")).unwrap();
    let dry = operator.reload_config(wire::ReloadConfigRequest { dry_run: true }).await.unwrap();
    assert_eq!((dry.changed.len(), dry.holds_from_tick), (1, None), "{dry:?}");
    assert_eq!(limit().await, 60_000, "a dry run changes nothing");
    let asked = operator.reload_config(wire::ReloadConfigRequest { dry_run: false }).await.unwrap();
    assert!(asked.changed[0].contains("batch") && asked.holds_from_tick.is_some(), "{asked:?}");
    wait::until("the asked-for share holds", async || (limit().await == 61_000).then_some(())).await.unwrap();
    seen.push(next(&mut ticks).await.unwrap());

    site.configure(&replaced(&config, "grid_limit = \"60 W\"", "grid_limit = \"62 W\"")).unwrap();
    site.signal(Signal::HUP).unwrap();
    wait::until("the signalled share holds", async || (limit().await == 62_000).then_some(())).await.unwrap();
    seen.push(next(&mut ticks).await.unwrap());
    while seen.len() < 12 {
        seen.push(next(&mut ticks).await.unwrap());
    }
    for pair in seen.windows(2) {
        let (before, tick) = (&pair[0], &pair[1]);
        assert_eq!((tick.tick, tick.missed), (before.tick + 1, 0));
        assert_eq!(tick.wall_start_ms, before.wall_start_ms + before.span_ms, "no time is lost");
        assert!(
            (1..180_000).contains(&tick.span_ms) && !tick.gap,
            "tick {} took {} ms",
            tick.tick,
            tick.span_ms
        );
    }
}

#[tokio::test]
async fn a_reload_that_does_not_fit_changes_nothing() {
    let site = Site::start(NOON).await.unwrap();
    let operator = site.operator().await.unwrap();
    let both = replaced(NOON, "grid_limit = \"60 W\"", "grid_limit = \"600 W\"");
    site.configure(&replaced(&both, "solar_weight = 3", "solar_weight = 9")).unwrap();
    let refused = operator.reload_config(wire::ReloadConfigRequest { dry_run: false }).await.unwrap_err();
    assert!(refused.to_string().contains("600 W"), "{refused}");
    let app = operator.show_app(wire::ShowAppRequest { app: "web".into() }).await.unwrap();
    assert_eq!(app.spec.unwrap().share.unwrap().solar_weight, 3);
}

#[tokio::test]
async fn check_says_how_a_configuration_is_understood_and_opens_nothing() {
    let site = Site::new(NOON).unwrap();
    let mut command =
        ecovisor_hil_tests::site::command(ecovisor_hil_tests::programs::program("ecovisord").unwrap());
    let checked = ended(command.args(["check", "--config"]).arg(site.path("site.toml"))).await.unwrap();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("app       web: solar weight 3"), "{}", checked.stdout);
    assert!(!site.path("run").exists() && !site.path("state").exists());
}
