mod wall;

use super::handle::{Actor, Answer, AskError, Question, Reply};
use super::*;
use crate::store::MemoryStore;
use ecovisor_core::{ContainerName, Quality, Refusal, Tick};
use ecovisor_units::{Energy, Power};
use serde_json::json;

/// A site on the simulated clock: one app with a steady load of 60 W, weight 1, a part of the battery and of the grid.
const SITE: &str = r#"
[site]
name = "try"
tick = "60 s"
[clock]
start = "2022-06-21T12:00:00Z"
[solar]
peak = "300 W"
[battery]
capacity = "1000 Wh"
charge_limit = "500 W"
discharge_limit = "500 W"
[grid]
import_limit = "500 W"
[carbon]
zone = "DE"
[host]
idle = "10 W"
peak = "20 W"
[[app]]
name = "web"
solar_weight = 1
battery_capacity = "300 Wh"
charge_limit = "100 W"
discharge_limit = "100 W"
grid_limit = "100 W"
[sim]
[[sim.load]]
app = "web"
name = "steady"
power = "60 W"
"#;

struct Bench {
    engine: Engine,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
    done: tokio::task::JoinHandle<Result<(), Ended>>,
    _state: tempfile::TempDir,
}

/// Starts a simulated site of `ticks` ticks that waits for one app in lock step.
fn start(text: &str, ticks: u64, store: Arc<dyn Store>) -> Bench {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("site.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::parse(text).unwrap();
    let recovered = recover(store.as_ref(), &config.rules().unwrap(), LastTick::Replayed).unwrap();
    let start_ms = config.clock_start_ms().unwrap().unwrap();
    let from_ms = recovered.last.as_ref().map_or(start_ms, |r| r.outcome.wall.get() + r.outcome.span.get());
    let loaded = LoadedConfig { toml: text.to_owned(), path: path.display().to_string(), loaded_ms: 0 };
    let parts = Parts {
        recovered,
        store: store.clone(),
        keeping: Keeping::AtOnce,
        trail: Arc::new(Trail::open(&state.path().join("audit.jsonl")).unwrap()),
        plant: Plant::open(&config).unwrap(),
        metrics: None,
        forecasts: None,
        config,
        loaded,
        applied: Some(state.path().join("config.applied")),
        snapshot_ticks: 5,
        clock: ClockInfo { kind: ClockKind::Simulated, factor: 0 },
        start_ms,
        from_ms,
        counters: None,
        fail_at_tick: None,
    };
    let (runner, engine) = Runner::new(parts);
    let (shutdown, until) = (CancellationToken::new(), from_ms + ticks * 60_000);
    let done = tokio::spawn(runner.simulate(until, 1, shutdown.clone(), |_, _| Ok(())));
    Bench { engine, store, shutdown, done, _state: state }
}

fn actor() -> Actor {
    Actor { name: "test".to_owned(), via: "uds", method: "Test" }
}

impl Bench {
    async fn command(&self, command: Command) -> Result<Answer, AskError> {
        self.engine.command(actor(), json!({}), command).await
    }

    fn app(&self) -> AppId {
        self.engine.view().site.find("web").unwrap().id
    }
}

#[tokio::test]
async fn a_lock_step_site_waits_and_settings_hold_in_the_next_tick() {
    let bench = start(SITE, 3, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    let mut seen = Vec::new();
    while let Some(view) = place.ticks.recv().await {
        let app = bench.app();
        if view.site.tick() == Tick(1) {
            let rate = Power::from_watts(50);
            let answer = bench.command(Command::SetChargeRate { app, rate, lease: None }).await.unwrap();
            assert_eq!(answer.accepted.holds_from, Tick(2));
        }
        let into = |outcome: &Arc<Outcome>| outcome.apps[0].flows.grid_to_battery;
        seen.push(view.outcome.as_ref().map_or(Energy::ZERO, into));
        place.done().await.unwrap();
    }
    assert!(bench.done.await.unwrap().is_ok());
    // Shown before the first tick, and after each: only tick 2 charges.
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[..3], [Energy::ZERO; 3]);
    assert!(seen[3] > Energy::ZERO);
}

#[tokio::test]
async fn a_refused_command_changes_nothing_and_a_dry_run_neither() {
    let bench = start(SITE, 1, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    place.ticks.recv().await.unwrap();
    let (before, app) = (bench.engine.view(), bench.app());
    let rate = Power::from_watts(101);
    let refused = bench.command(Command::SetChargeRate { app, rate, lease: None }).await.unwrap_err();
    assert_eq!(
        refused,
        AskError::Refused(Refusal::BeyondShare { asked: rate, limit: Power::from_watts(100) })
    );
    let command = Command::DrainApp(app);
    let dry = Question::Command { command, grants: None, dry_run: true };
    let Reply::Answer(answer) = bench.engine.ask(actor(), json!({}), dry).await.unwrap() else { panic!() };
    assert_ne!(answer.view.site, before.site, "it shows what would be");
    assert_eq!(bench.engine.view().site, before.site);
    bench.shutdown.cancel();
    assert!(bench.done.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_emulated_load_is_metered_and_its_cap_caps_at_once() {
    let bench = start(SITE, 3, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    let mut loads = Vec::new();
    while let Some(view) = place.ticks.recv().await {
        let container = view.site.containers(true)[0].id;
        if view.site.tick() == Tick(2) {
            let cap = Some(Power::from_watts(20));
            bench.command(Command::SetContainerCap { container, cap, lease: None }).await.unwrap();
        }
        let used =
            view.outcome.iter().flat_map(|o| o.containers.iter()).map(|c| (c.energy, c.quality)).next();
        loads.push(used);
        place.done().await.unwrap();
    }
    let minute = |watts: u64| Some((Power::from_watts(watts).over(Millis::from_secs(60)), Quality::Live));
    // The container is attached in tick 0 and belongs to the app from tick 1 on.
    assert_eq!(loads, [None, None, minute(60), minute(20)]);
}

#[tokio::test]
async fn one_workload_has_one_owner() {
    let bench = start(SITE, 1, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    place.ticks.recv().await.unwrap();
    let again = |name: &str, target: &str| Question::Attach {
        app: AppId::HOUSE,
        name: ContainerName::new(name).unwrap(),
        target: Target::Emulated(target.to_owned()),
    };
    let taken = bench.engine.ask(actor(), json!({}), again("other", "web/steady")).await.unwrap_err();
    assert!(matches!(taken, AskError::Taken(_)), "{taken}");
    let none = bench.engine.ask(actor(), json!({}), again("other", "web/none")).await.unwrap_err();
    assert!(matches!(none, AskError::NoWorkload(_)), "{none}");
    assert_eq!(bench.engine.view().site.containers(true).len(), 1);
    bench.shutdown.cancel();
    assert!(bench.done.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_reload_is_done_whole_or_not_at_all() {
    let bench = start(SITE, 1, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    place.ticks.recv().await.unwrap();
    let path = bench.engine.view().config.path.clone();
    let reload = |dry_run| bench.engine.ask(actor(), json!({}), Question::Reload { dry_run });

    std::fs::write(&path, SITE.replace("grid_limit = \"100 W\"", "grid_limit = \"200 W\"")).unwrap();
    let Reply::Reloaded(dry) = reload(true).await.unwrap() else { panic!() };
    assert_eq!((dry.changed.as_slice(), dry.holds_from), (["app web: share".to_owned()].as_slice(), None));
    assert_eq!(bench.engine.view().site.find("web").unwrap().share.grid_limit, Power::from_watts(100));
    let Reply::Reloaded(done) = reload(false).await.unwrap() else { panic!() };
    assert_eq!((done.changed, done.holds_from), (dry.changed, Some(Tick(1))));
    assert_eq!(bench.engine.view().site.find("web").unwrap().share.grid_limit, Power::from_watts(200));

    let before = bench.engine.view().site.clone();
    let both = SITE
        .replace("solar_weight = 1", "solar_weight = 7")
        .replace("grid_limit = \"100 W\"", "grid_limit = \"9 kW\"");
    std::fs::write(&path, both).unwrap();
    assert!(matches!(reload(false).await, Err(AskError::Config(_))));
    assert_eq!(bench.engine.view().site, before);
    bench.shutdown.cancel();
    assert!(bench.done.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_an_app_gives_to_its_children_does_not_keep_the_file_from_coming_into_force() {
    let site = SITE.replace("name = \"web\"\n", "name = \"web\"\ncharge_rate = \"50 W\"\n");
    let bench = start(&site, 1, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    place.ticks.recv().await.unwrap();
    let parent = bench.engine.view().site.tree(true).leaf(AppId::new(1)).unwrap().id;
    let mut share = ecovisor_core::Share::default();
    share.battery.charge_limit = Power::from_watts(70);
    let (name, policy) = (ecovisor_core::AppName::new("web.x").unwrap(), Default::default());
    bench.command(Command::CreateAppIn { parent, name, share, policy }).await.unwrap();
    let rate = || bench.engine.view().site.find("web").unwrap().policy.charge_rate;
    assert_eq!(rate(), Power::from_watts(30), "of 100 W the child has 70");

    let path = bench.engine.view().config.path.clone();
    let reload = || bench.engine.ask(actor(), json!({}), Question::Reload { dry_run: false });
    let other = site.replace("grid_limit = \"100 W\"", "grid_limit = \"200 W\"");
    std::fs::write(&path, &other).unwrap();
    let Reply::Reloaded(done) = reload().await.unwrap() else { panic!() };
    assert_eq!(done.changed, ["app web: share"]);
    let more = other.replace("charge_limit = \"100 W\"\ndis", "charge_limit = \"110 W\"\ndis");
    std::fs::write(&path, more).unwrap();
    let Reply::Reloaded(done) = reload().await.unwrap() else { panic!() };
    assert_eq!(done.changed, ["app web: share", "app web: policy"]);
    assert_eq!(rate(), Power::from_watts(40), "of 110 W the child has 70");
    bench.shutdown.cancel();
    assert!(bench.done.await.unwrap().is_ok());
}

#[tokio::test]
async fn groups_of_the_file_come_into_force_in_an_order_that_fits() {
    let bench = start(SITE, 1, Arc::new(MemoryStore::new()));
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    place.ticks.recv().await.unwrap();
    let path = bench.engine.view().config.path.clone();
    let group = |name: &str, inside: &str, grid: u64| {
        format!(
            "[[group]]\nname = \"{name}\"\n{inside}battery_capacity = \"300 Wh\"\ncharge_limit = \"100 W\"\n\
             discharge_limit = \"100 W\"\ngrid_limit = \"{grid} W\"\n"
        )
    };
    let file = |grid: u64| {
        let groups = group("org", "", grid) + &group("team", "in = \"org\"\n", grid);
        let app = SITE.replace("name = \"web\"\n", "name = \"web\"\ngroup = \"team\"\n");
        // The load names its app in another field.
        let app = app.replace("grid_limit = \"100 W\"", &format!("grid_limit = \"{grid} W\""));
        app.replacen("[[app]]", &(groups + "[[app]]"), 1)
    };
    let reload = async |text: String| {
        std::fs::write(&path, text).unwrap();
        match bench.engine.ask(actor(), json!({}), Question::Reload { dry_run: false }).await {
            Ok(Reply::Reloaded(done)) => Ok(done.changed),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused),
        }
    };
    let made = ["group org created", "group team created", "app web moved to group team"];
    assert_eq!(reload(file(100)).await.unwrap(), made);
    let view = bench.engine.view();
    let tree = view.site.tree(true);
    let team = tree.group_named("team").unwrap();
    assert_eq!(team.parent, tree.group_named("org").map(|org| org.id));
    assert_eq!(tree.leaf(AppId::new(1)).unwrap().parent, Some(team.id));
    let inner_first = ["app web: share", "group team: share", "group org: share"];
    assert_eq!(reload(file(50)).await.unwrap(), inner_first);
    let outer_first = ["group org: share", "group team: share", "app web: share"];
    assert_eq!(reload(file(100)).await.unwrap(), outer_first);
    assert!(reload(file(100)).await.unwrap().is_empty(), "what holds already changes nothing");

    let before = bench.engine.view().site.clone();
    let refused = reload(file(600)).await.unwrap_err();
    assert!(matches!(&refused, AskError::Config(why) if why.contains("group[0] (org)")), "{refused:?}");
    assert_eq!(bench.engine.view().site, before);
    bench.shutdown.cancel();
    assert!(bench.done.await.unwrap().is_ok());
}

#[tokio::test]
async fn an_engine_that_ends_and_starts_again_equals_one_that_did_not() {
    async fn run(ticks: u64, store: &Arc<dyn Store>) {
        let bench = start(SITE, ticks, store.clone());
        let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
        while place.ticks.recv().await.is_some() {
            place.done().await.unwrap();
        }
        assert!(bench.done.await.unwrap().is_ok());
        drop(bench.store);
    }
    let (whole, halves): (Arc<dyn Store>, Arc<dyn Store>) =
        (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    run(12, &whole).await;
    run(7, &halves).await;
    run(5, &halves).await;
    assert_eq!(halves.ticks().unwrap(), Some((Tick(0), Tick(11))));
    let walls = |store: &Arc<dyn Store>| -> Vec<_> {
        store
            .records(Tick(0), Tick(12))
            .map(|r| r.unwrap().outcome)
            .map(|o| (o.tick, o.wall, o.span, o.gap))
            .collect()
    };
    assert_eq!(walls(&whole), walls(&halves), "no tick is missed and none is settled twice");
}
