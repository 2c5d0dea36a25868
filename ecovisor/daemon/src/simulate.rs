//! `ecovisord simulate`: the same daemon on a virtual clock, as fast as it goes, alone or in lock step with apps.

use crate::clock::{self, ClockInfo, ClockKind};
use crate::config::Config;
use crate::doors::{self, DoorSettings};
use crate::engine::{Ended, LastTick, Parts, Runner, recover};
use crate::forecast::{ForecastSource, Forecasts, panels};
use crate::plant::Plant;
use crate::store::{MemoryStore, Store};
use crate::trail::Trail;
use crate::{Failure, read_config};
use anyhow::Context;
use ecovisor_audit::Record;
use ecovisor_audit::books::TickRows;
use ecovisor_audit::table::TableWriter;
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Arguments of `simulate`.
#[derive(clap::Args)]
pub struct SimulateArguments {
    /// The configuration.
    #[arg(long, short, default_value = "/etc/ecovisor/site.toml")]
    config: PathBuf,
    /// How much virtual time to run through, such as `7d`.
    #[arg(long = "for", default_value = "1d")]
    length: Millis,
    /// The directory for the ledger as CSV: `apps.csv` has a row per app and tick, `site.csv` one per tick.
    #[arg(long, short, default_value = "simulated")]
    out: PathBuf,
    /// Wait for that many apps in lock step before the first tick.
    #[arg(long, default_value_t = 0)]
    lockstep: usize,
    /// Where sockets are made for apps in lock step; none are made without this or `--lockstep`.
    #[arg(long)]
    run_dir: Option<PathBuf>,
}

/// Ticks between two lines of progress: about one a second on a small site.
const PROGRESS_TICKS: u64 = 10_000;

/// Ticks of a simulation that apps can still ask about: half a year by the hour, two months by the minute. All of them
/// are in the tables.
const TICKS_KEPT: u64 = 100_000;

/// Runs a simulated site.
pub fn run(arguments: SimulateArguments) -> Result<(), Failure> {
    let (config, loaded) = read_config(&arguments.config).map_err(Failure::Start)?;
    let opened = open(&arguments, config, loaded).map_err(Failure::Start)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime = runtime.context("cannot start the runtime").map_err(Failure::Start)?;
    runtime.block_on(simulate(arguments, opened))
}

/// The two tables that a simulation writes.
struct Tables {
    apps: BufWriter<File>,
    site: BufWriter<File>,
}

fn table(directory: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    let path = directory.join(name);
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(BufWriter::new(File::create(&path).with_context(|| format!("cannot write {}", path.display()))?))
}

struct Opened {
    parts: Parts,
    store: Arc<dyn Store>,
    forecasts: Option<Arc<Forecasts>>,
    out: Tables,
    doors: Option<DoorSettings>,
    scratch: Scratch,
}

/// A directory for what a simulation writes besides its result; removed at its end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's place for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(
    arguments: &SimulateArguments,
    config: Config,
    loaded: crate::engine::handle::LoadedConfig,
) -> anyhow::Result<Opened> {
    let start_ms = config.clock_start_ms()?.unwrap_or_else(clock::wall_ms);
    let plant = Plant::open(&config)?;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let recovered = recover(store.as_ref(), &config.rules()?, LastTick::Replayed)?;
    let scratch = Scratch(std::env::temp_dir().join(format!("ecovisor-simulate-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let out = Tables { apps: table(&arguments.out, "apps.csv")?, site: table(&arguments.out, "site.csv")? };
    let serves = arguments.lockstep > 0 || arguments.run_dir.is_some();
    let doors = serves.then(|| DoorSettings {
        run_dir: arguments.run_dir.clone().unwrap_or_else(|| scratch.0.join("run")),
        operator_gid: config.operator.gid,
        operator_uids: config.operator.uids.clone(),
        site_name: config.site.name.clone(),
        tcp: None,
        limits: None,
    });
    let forecasts = doors
        .as_ref()
        .map(|_| Arc::new(Forecasts::new(panels(&config), plant.ahead(), config.forecast.from_trace)));
    let parts = Parts {
        recovered,
        store: store.clone(),
        trail: Arc::new(Trail::open(&scratch.0.join("audit.jsonl"))?),
        plant,
        metrics: None,
        forecasts: forecasts.clone(),
        // A replay from the beginning costs less than snapshots of every state.
        snapshot_ticks: u64::MAX,
        config,
        loaded,
        applied: None,
        clock: ClockInfo { kind: ClockKind::Simulated, factor: 0 },
        start_ms,
        from_ms: start_ms,
        counters: None,
        fail_at_tick: None,
    };
    Ok(Opened { parts, store, forecasts, out, doors, scratch })
}

async fn simulate(arguments: SimulateArguments, opened: Opened) -> Result<(), Failure> {
    let Opened { parts, store, forecasts, out, doors, scratch } = opened;
    let shutdown = CancellationToken::new();
    let until_ms = parts.start_ms.saturating_add(arguments.length.get());
    let (runner, engine) = Runner::new(parts);
    let doors = match doors {
        None => None,
        Some(settings) => {
            eprintln!("sockets in {}", settings.run_dir.display());
            let forecast = forecasts.map(|forecasts| -> Arc<dyn ForecastSource> { forecasts });
            Some(
                doors::open(settings, engine, store.clone(), forecast, shutdown.clone())
                    .await
                    .map_err(Failure::Start)?,
            )
        }
    };
    let on_signal = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_signal.cancel();
        }
    });
    let (ended_in, ended) = tokio::sync::oneshot::channel();
    let (stop, wait_for) = (shutdown.clone(), arguments.lockstep);
    let kept = store.clone();
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let _ = ended_in.send(run_engine(runner, until_ms, wait_for, stop, out, kept.as_ref()));
    });
    thread.context("cannot start the engine's thread").map_err(Failure::Start)?;
    let ended = ended.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the engine's thread panicked")));
    shutdown.cancel();
    if let Some(doors) = doors {
        doors.closed().await;
    }
    drop(scratch);
    ended.map_err(Failure::Loop)
}

fn run_engine(
    runner: Runner,
    until_ms: u64,
    wait_for: usize,
    stop: CancellationToken,
    out: Tables,
    store: &dyn Store,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut writer = TableWriter::new(out.apps, out.site)?;
    let began_us = clock::boot_us();
    let mut ticks = 0_u64;
    let each = |record: &Record| {
        ticks += 1;
        if ticks.is_multiple_of(PROGRESS_TICKS) {
            let wall = jiff::Timestamp::from_millisecond(
                i64::try_from(record.outcome.wall.get()).unwrap_or(i64::MAX),
            );
            let wall = wall.map_or_else(|_| String::new(), |wall| wall.to_string());
            eprintln!("{ticks} ticks, at {wall}");
            let oldest = record.outcome.tick.0.saturating_sub(TICKS_KEPT);
            store.forget_before(Tick(oldest)).map_err(std::io::Error::other)?;
        }
        writer.write(&TickRows::from(record)).map_err(std::io::Error::other)
    };
    let ended = runtime.block_on(runner.simulate(until_ms, wait_for, stop, each));
    writer.finish()?;
    let took_us = clock::boot_us().saturating_sub(began_us).max(1);
    eprintln!("{ticks} ticks in {}: {} a tick", Millis::new(took_us / 1_000), micros(took_us, ticks));
    ended.map_err(|ended: Ended| anyhow::Error::new(ended))
}

fn micros(took_us: u64, ticks: u64) -> String {
    took_us.checked_div(ticks).map_or_else(|| "no time".to_owned(), |each| format!("{each} µs"))
}
