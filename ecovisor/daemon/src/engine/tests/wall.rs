//! The wall clock is set while the daemon is away, or while it runs: ticks go on by number, spans by the clock since boot,
//! and only the labels move.

use super::*;

/// A day of a wall clock, in ms.
const DAY_MS: u64 = 86_400_000;

/// A site of three ticks, the store they are in, and when the last one ended.
async fn three_ticks() -> (Arc<dyn Store>, u64) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bench = start(SITE, 3, store.clone());
    let mut place = bench.engine.join_lockstep(AppId::new(1)).await.unwrap();
    while let Some(view) = place.ticks.recv().await {
        if view.site.tick() == Tick(2) {
            let (app, lease) = (bench.app(), Some(Millis::from_secs(150)));
            let command = Command::SetMaxDischarge { app, limit: Power::from_watts(7), lease };
            bench.command(command).await.unwrap();
        }
        place.done().await.unwrap();
    }
    assert!(bench.done.await.unwrap().is_ok());
    let last = store.record(Tick(2)).unwrap().unwrap().outcome;
    (store, last.wall.get() + last.span.get())
}

/// The daemon starts again, on the real clock, when that says `wall_ms`.
fn again(store: &Arc<dyn Store>, end_ms: u64, wall_ms: u64) -> (Runner, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    let config = Config::parse(SITE).unwrap();
    let recovered = recover(store.as_ref(), &config.rules().unwrap(), LastTick::Replayed).unwrap();
    let parts = Parts {
        recovered,
        store: store.clone(),
        trail: Arc::new(Trail::open(&state.path().join("audit.jsonl")).unwrap()),
        plant: Plant::open(&config).unwrap(),
        metrics: None,
        forecasts: None,
        config,
        loaded: LoadedConfig { toml: SITE.to_owned(), path: "site.toml".to_owned(), loaded_ms: 0 },
        applied: None,
        snapshot_ticks: 5,
        clock: ClockInfo { kind: ClockKind::Real, factor: 1 },
        start_ms: wall_ms,
        from_ms: end_ms.min(wall_ms),
        counters: None,
        fail_at_tick: None,
        keeping: Keeping::AtOnce,
    };
    (Runner::new(parts).0, state)
}

impl Runner {
    /// Settles ticks of a minute of the clock since boot, up to that one of its life.
    fn until_minute(&mut self, born_us: u64, last: u64) {
        let first = self.boot_us.map_or(1, |at| (at - born_us) / 60_000_000 + 1);
        for minute in first..=last {
            self.tick_at(born_us + minute * 60_000_000).unwrap();
        }
        // A record is committed with the next tick.
        self.snapshot().unwrap();
    }

    fn discharge_of_web(&self) -> Power {
        self.state.site.find("web").unwrap().settings.max_discharge.value
    }
}

/// Number, start, length and whether it is a gap, of every tick.
fn ticks(store: &Arc<dyn Store>) -> Vec<(u64, u64, u64, bool)> {
    let records = store.records(Tick(0), Tick(100)).map(|record| record.unwrap().outcome);
    records.map(|o| (o.tick.0, o.wall.get(), o.span.get(), o.gap)).collect()
}

#[tokio::test]
async fn a_wall_clock_that_was_set_back_loses_no_tick_and_ends_leases_in_time() {
    let (store, end_ms) = three_ticks().await;
    let (mut runner, _state) = again(&store, end_ms, end_ms - DAY_MS);
    let born_us = clock::boot_us();
    runner.prepare().unwrap();
    runner.until_minute(born_us, 1);
    assert_eq!(runner.discharge_of_web(), Power::from_watts(7), "60 of 150 s");
    runner.until_minute(born_us, 3);
    assert_eq!(runner.discharge_of_web(), Power::MAX, "180 of 150 s: by the site's time, not by the wall");
    let ticks = ticks(&store);
    let numbers: Vec<u64> = ticks.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    let (_, wall, span, gap) = ticks[3];
    assert!(wall.abs_diff(end_ms - DAY_MS) < 5_000 && span.abs_diff(60_000) < 5_000 && !gap, "{ticks:?}");
}

#[tokio::test]
async fn a_wall_clock_that_was_set_forward_leaves_one_gap() {
    for days in [1, 400, 3_000_000] {
        let (store, end_ms) = three_ticks().await;
        let (mut runner, _state) = again(&store, end_ms, end_ms + days * DAY_MS);
        let born_us = clock::boot_us();
        runner.prepare().unwrap();
        assert_eq!(runner.discharge_of_web(), Power::MAX, "the lease has ended in the gap");
        runner.until_minute(born_us, 2);
        let ticks = ticks(&store);
        let (number, wall, span, gap) = ticks[3];
        assert!(gap && number == 3 && wall == end_ms && span.abs_diff(days * DAY_MS) < 5_000, "{ticks:?}");
        assert!(ticks.len() == 6 && !ticks[4].3 && !ticks[5].3, "{ticks:?}");
    }
}

#[test]
fn a_wall_clock_that_is_set_while_the_daemon_runs_moves_nothing() {
    // Only the start asks it: from then on the clock since boot carries the labels.
    let clock = SiteClock::start(ClockInfo { kind: ClockKind::Real, factor: 1 }, 5_000);
    let now_us = clock::boot_us();
    assert_eq!(clock.wall_at(now_us + 2_000_000) - clock.wall_at(now_us), 2_000);
    assert!(clock.wall_at(now_us) - 5_000 < 60_000);
}
