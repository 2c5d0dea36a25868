//! Shares that nest: an app gives a part of its own to a child, the operator groups apps; the books add up.

use crate::configs::NOON;
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::wait::until;
use ecovisor_sdk::operator::wire;
use ecovisor_sdk::{Energy, Error, Power, Reason, Share, Target};

/// What `web` gives away: a third of its battery, half of its power, a quarter of its grid connection.
fn part() -> Share {
    Share {
        solar_weight: 1,
        battery_capacity: Energy::from_watt_hours(100),
        charge_limit: Power::from_watts(30),
        discharge_limit: Power::from_watts(50),
        grid_limit: Power::from_watts(25),
        ..Share::default()
    }
}

async fn ticks(site: &Site, count: usize) -> wire::SiteTick {
    let mut ticks = site.ticks().await.unwrap();
    let mut last = next(&mut ticks).await.unwrap();
    for _ in 1..count {
        last = next(&mut ticks).await.unwrap();
    }
    last
}

async fn verified(site: &Site) {
    let verified = site.ecoctl(&["ledger", "verify"]).await.unwrap();
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (Reason, Option<ecovisor_sdk::Figure>) {
    match result {
        Err(Error::Refused(refusal)) => (refusal.reason, refusal.acceptable),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn an_app_divides_its_share_and_its_child_lives_on_it() {
    let site = Site::start(NOON).await.unwrap();
    let web = site.app("web").await.unwrap();
    let too_much = Share { battery_capacity: Energy::from_watt_hours(301), ..part() };
    let (reason, acceptable) = refused(web.divide_share("night", too_much, None).await);
    assert_eq!(reason, Reason::ExceedsFree);
    assert!(format!("{acceptable:?}").contains("1080000000000"), "300 Wh are free: {acceptable:?}");

    let divided = web.divide_share("night", part(), Some(2)).await.unwrap();
    assert_eq!(divided.own.battery_capacity, Energy::from_watt_hours(200));
    assert_eq!((divided.own.grid_limit, divided.own.solar_weight), (Power::from_watts(75), 2));
    let child = divided.child.unwrap();
    assert_eq!((child.name.as_str(), child.share), ("web.night", part()));
    until("the child has its socket", async || child.socket.exists().then_some(())).await.unwrap();
    let night = site.app("web.night").await.unwrap();
    let last = ticks(&site, 6).await;
    let state = night.state().await.unwrap();
    assert_eq!((state.app.as_str(), state.grid_limit), ("web.night", Power::from_watts(25)));
    assert_eq!(state.battery.unwrap().capacity, Energy::from_watt_hours(100));
    assert_eq!((state.solar_weight, state.solar_weight_total), (1, 3));

    let flows =
        |name: &str| last.apps.iter().find(|app| app.app == name).and_then(|app| app.flows.clone()).unwrap();
    let (own, given, batch) =
        (flows("web").solar_in_uj, flows("web.night").solar_in_uj, flows("batch").solar_in_uj);
    assert!(given > 0 && own.abs_diff(given * 2) <= 2, "two parts stay, one goes: {own} and {given}");
    assert!(
        (own + given).abs_diff(batch * 3) <= 3,
        "the place weighs three times batch: {own} {given} {batch}"
    );
    assert!(flows("web.night").solar_to_battery_uj > 0, "it charges its own battery");

    night.attach("mine", Target::this_process()).await.unwrap();
    assert_eq!((night.containers().await.unwrap().len(), web.containers().await.unwrap().len()), (1, 1));
    assert_eq!(refused(web.take_back_share("night").await).0, Reason::NotDrained);
    night.detach("mine").await.unwrap();
    let had = web.children().await.unwrap().1.remove(0).charge_level;
    assert!(had.get() > 0);
    let back = web.take_back_share("night").await.unwrap();
    assert_eq!((back.own.battery_capacity, back.child), (Energy::from_watt_hours(300), None));
    ticks(&site, 3).await;
    assert!(web.children().await.unwrap().1.is_empty());
    assert!(web.state().await.unwrap().battery.unwrap().charge_level >= had, "what it had came back");
    until("its socket went with it", async || (!child.socket.exists()).then_some(())).await.unwrap();
    verified(&site).await;
}

#[tokio::test]
async fn an_app_reaches_its_own_children_and_nobody_elses() {
    let site = Site::start(NOON).await.unwrap();
    let (web, batch) = (site.app("web").await.unwrap(), site.app("batch").await.unwrap());
    web.divide_share("night", part(), None).await.unwrap();
    for name in ["night", "web"] {
        let unknown = batch.take_back_share(name).await.unwrap_err();
        assert!(matches!(unknown, Error::NotFound { reason: Reason::UnknownApp, .. }), "{name}: {unknown}");
    }
    for name in ["web.night", "../web", "", "x.y", "Night"] {
        let invalid = batch.divide_share(name, Share::default(), None).await.unwrap_err();
        assert!(
            matches!(&invalid, Error::Invalid { field: Some(field), .. } if field == "child"),
            "{name}: {invalid}"
        );
    }
    assert!(batch.children().await.unwrap().1.is_empty());
    ticks(&site, 2).await;
    let night = site.app("web.night").await.unwrap();
    let unknown = night.take_back_share("night").await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound { .. }), "a child is not its own parent: {unknown}");
    night
        .divide_share("deep", Share { grid_limit: Power::from_watts(5), ..Share::default() }, None)
        .await
        .unwrap();
    ticks(&site, 2).await;
    let deep = site.app("web.night.deep").await.unwrap();
    let too_deep = deep.divide_share("er", Share::default(), None).await.unwrap_err();
    assert!(too_deep.to_string().contains("at most 4 levels"), "{too_deep}");
    assert_eq!(refused(web.take_back_share("night").await).0, Reason::HasChildren);
    let operator = site.operator().await.unwrap();
    let divided =
        ecovisor_sdk::EnergySystem::connect_to(&ecovisor_sdk::Address::socket(site.socket())).await.unwrap();
    let denied = divided.divide_share("x", Share::default(), None).await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { .. }), "{denied}");
    let app = operator.show_app(wire::ShowAppRequest { app: "web.night.deep".into() }).await.unwrap();
    assert_eq!(app.parent, "web.night");
}

#[tokio::test]
async fn an_operator_groups_apps_and_the_site_keeps_them_over_a_restart() {
    let mut site = Site::start(NOON).await.unwrap();
    let run = async |site: &Site, arguments: &[&str], code: i32| {
        let done = site.ecoctl(arguments).await.unwrap();
        assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.stdout, done.stderr);
        format!("{}{}", done.stdout, done.stderr)
    };
    let battery = ["--battery", "700Wh", "--charge-limit", "60W", "--discharge-limit", "300W"];
    let share = [&battery[..], &["--grid-limit", "300W", "--solar-weight", "3"]].concat();
    // 1008 Wh are usable and 500 Wh of them reserved; 160 W of charge power are left beside the solar buffer's, 100 W
    // of them reserved.
    let beyond = run(&site, &[&["group", "create", "org"], &share[..]].concat(), 1).await;
    assert!(beyond.contains("would be accepted"), "{beyond}");
    run(&site, &["app", "share", "web", "--battery", "100Wh", "--floor", "30Wh"], 0).await;
    run(&site, &["app", "share", "batch", "--battery", "100Wh"], 0).await;
    run(&site, &[&["group", "create", "org"], &share[..]].concat(), 0).await;
    run(
        &site,
        &[
            "group",
            "create",
            "team",
            "--in",
            "org",
            "--battery",
            "300Wh",
            "--charge-limit",
            "60W",
            "--discharge-limit",
            "150W",
            "--grid-limit",
            "200W",
            "--solar-weight",
            "1",
        ],
        0,
    )
    .await;
    run(&site, &["app", "move", "web", "--to", "team"], 0).await;
    let late = ["app", "create", "late", "--group", "team", "--grid-limit"];
    let beyond = run(&site, &[&late[..], &["101W"]].concat(), 1).await;
    assert!(beyond.contains("100 W would be accepted"), "the team has 200 W, web 100 W of them: {beyond}");
    run(&site, &[&late[..], &["100W"]].concat(), 0).await;
    let held = run(&site, &["group", "delete", "team"], 1).await;
    assert!(held.contains("2 shares lie below it"), "{held}");
    let last = ticks(&site, 4).await;
    let flows =
        |name: &str| last.apps.iter().find(|app| app.app == name).and_then(|app| app.flows.clone()).unwrap();
    let (web, batch) = (flows("web").solar_in_uj, flows("batch").solar_in_uj);
    assert!(web.abs_diff(batch * 3) <= 3, "web has all of the organisation's three parts: {web} and {batch}");

    let tree = run(&site, &["app", "list", "--tree"], 0).await;
    let names: Vec<&str> = tree.lines().skip(1).filter_map(|line| line.split("  app").next()).collect();
    assert!(tree.contains("org") && tree.contains("  team") && tree.contains("    web"), "{names:?}\n{tree}");
    site.kill().await.unwrap();
    site.run(&[]).await.unwrap();
    let shown = run(&site, &["--json", "group", "show", "team"], 0).await;
    let group: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&group["parent"], &group["apps"]), (&"org".into(), &serde_json::json!(["web", "late"])));
    assert_eq!(group["free"]["grid_limit_mw"], 0);
    ticks(&site, 2).await;
    verified(&site).await;
}
