//! `ecovisord simulate`: the same daemon on a virtual clock, as fast as it goes, alone or in lock step with apps.

mod keep;
mod tables;

use crate::clock::{self, ClockInfo, ClockKind};
use crate::config::Config;
use crate::doors::{self, DoorSettings};
use crate::engine::{Ended, LastTick, Parts, Runner, recover};
use crate::forecast::{ForecastSource, Forecasts, panels};
use crate::plant::Plant;
use crate::trail::Trail;
use crate::{Failure, read_config};
use anyhow::Context;
use ecovisor_core::{AppId, AppName, Outcome};
use ecovisor_units::Millis;
use keep::{Keep, Kept};
use std::path::PathBuf;
use std::sync::Arc;
use tables::Tables;
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
    /// Where journal and records are kept: `off`, `memory` (the last 100,000 ticks, for apps that ask for the past), or a
    /// directory for a store as `run` has it, synced every 1,000 ticks [default: memory where there are sockets, else off].
    #[arg(long, value_name = "off|memory|DIR")]
    store: Option<Keep>,
}

/// Ticks between two looks at the clock and at what may be forgotten.
const PROGRESS_TICKS: u64 = 10_000;

/// µs between two lines of progress, at least.
const PROGRESS_US: u64 = 1_000_000;

/// Ticks of a simulation that apps can still ask about where they are in memory: half a year by the hour, two months by
/// the minute. All of them are in the tables.
const TICKS_KEPT: u64 = 100_000;

/// Runs a simulated site.
pub fn run(arguments: SimulateArguments) -> Result<(), Failure> {
    let (config, loaded) = read_config(&arguments.config).map_err(Failure::Start)?;
    let opened = open(&arguments, config, loaded).map_err(Failure::Start)?;
    // One thread: in lock step the site and its doors wait for each other at every tick, and between two threads each
    // such wait costs a wake-up through the kernel.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime").map_err(Failure::Start)?;
    runtime.block_on(simulate(arguments, opened))
}

struct Opened {
    parts: Parts,
    kept: Kept,
    forecasts: Option<Arc<Forecasts>>,
    tables: Tables,
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
    let serves = arguments.lockstep > 0 || arguments.run_dir.is_some();
    let keep = arguments.store.clone().unwrap_or(if serves { Keep::Memory } else { Keep::Off });
    let kept = keep.open(&config)?;
    let recovered = recover(kept.store.as_ref(), &config.rules()?, LastTick::Replayed)?;
    let scratch = Scratch(std::env::temp_dir().join(format!("ecovisor-simulate-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0)?;
    let tables = Tables::create(&arguments.out)?;
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
        store: kept.store.clone(),
        keeping: kept.keeping,
        trail: Arc::new(Trail::open(&scratch.0.join("audit.jsonl"))?),
        plant,
        metrics: None,
        forecasts: forecasts.clone(),
        snapshot_ticks: kept.snapshot_ticks,
        config,
        loaded,
        applied: None,
        clock: ClockInfo { kind: ClockKind::Simulated, factor: 0 },
        start_ms,
        from_ms: start_ms,
        counters: None,
        fail_at_tick: None,
    };
    Ok(Opened { parts, kept, forecasts, tables, doors, scratch })
}

async fn simulate(arguments: SimulateArguments, opened: Opened) -> Result<(), Failure> {
    let Opened { parts, kept, forecasts, tables, doors, scratch } = opened;
    let shutdown = CancellationToken::new();
    let until_ms = parts.start_ms.saturating_add(arguments.length.get());
    let (runner, engine) = Runner::new(parts);
    let doors = match doors {
        None => {
            // With this handle the last way to the engine goes, and it need not be shown to anybody.
            drop(engine);
            None
        }
        Some(settings) => {
            eprintln!("sockets in {}", settings.run_dir.display());
            if let Some(forecasts) = forecasts.clone() {
                tokio::spawn(crate::reserve::watch::watch(engine.clone(), forecasts, shutdown.clone()));
            }
            let forecast = forecasts.map(|forecasts| -> Arc<dyn ForecastSource> { forecasts });
            Some(
                doors::open(settings, engine, kept.store.clone(), forecast, shutdown.clone())
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
    let run = Run { until_ms, wait_for: arguments.lockstep, stop: shutdown.clone() };
    let ended = run.drive(runner, tables, &kept).await;
    shutdown.cancel();
    if let Some(doors) = doors {
        doors.closed().await;
    }
    drop(scratch);
    ended.map_err(Failure::Loop)
}

/// How far a simulation runs, and with whom.
struct Run {
    until_ms: u64,
    wait_for: usize,
    stop: CancellationToken,
}

impl Run {
    async fn drive(self, runner: Runner, mut tables: Tables, kept: &Kept) -> anyhow::Result<()> {
        let (began_us, cpu_before_us) = (clock::boot_us(), clock::process_cpu_us());
        let (mut ticks, mut said_us) = (0_u64, began_us);
        let each = |outcome: &Outcome, names: &[(AppId, AppName)]| {
            ticks += 1;
            if ticks.is_multiple_of(PROGRESS_TICKS) {
                let now_us = clock::boot_us();
                if now_us.saturating_sub(said_us) >= PROGRESS_US {
                    progress(ticks, outcome);
                    said_us = now_us;
                }
                kept.forget_before(outcome.tick).map_err(std::io::Error::other)?;
            }
            tables.tick(outcome, names)
        };
        let ended = runner.simulate(self.until_ms, self.wait_for, self.stop, each).await;
        tables.finish()?;
        let took_us = clock::boot_us().saturating_sub(began_us).max(1);
        let cpu_us = clock::process_cpu_us().saturating_sub(cpu_before_us);
        eprintln!(
            "{ticks} ticks in {}: {} a tick, CPU {}",
            Millis::new(took_us / 1_000),
            each_took(took_us, ticks),
            each_took(cpu_us, ticks)
        );
        ended.map_err(|ended: Ended| anyhow::Error::new(ended))
    }
}

fn progress(ticks: u64, outcome: &Outcome) {
    let wall = i64::try_from(outcome.wall.get()).unwrap_or(i64::MAX);
    let wall =
        jiff::Timestamp::from_millisecond(wall).map_or_else(|_| String::new(), |wall| wall.to_string());
    eprintln!("{ticks} ticks, at {wall}");
}

/// Hundredths of a microsecond: a site of one app takes two or three of them whole.
fn each_took(took_us: u64, ticks: u64) -> String {
    let hundredths = took_us.saturating_mul(100).checked_div(ticks);
    hundredths.map_or_else(|| "no time".to_owned(), |parts| format!("{}.{:02} µs", parts / 100, parts % 100))
}
