//! `ecovisord run`: opens everything, runs the engine on a thread of its own, and ends when it ends.

use crate::clock::{self, ClockInfo, ClockKind};
use crate::config::{ClockChoice, Config, Places};
use crate::denied::Denied;
use crate::doors::{self, DoorSettings, TcpDoor};
use crate::engine::handle::{Actor, Engine, LoadedConfig, Mode, Question};
use crate::engine::{Attempts, Ended, Keeping, Parts, RecoverError, Recovered, Runner, recover};
use crate::forecast::metrics::ForecastMetrics;
use crate::forecast::{ForecastSource, Forecasts, panels};
use crate::history::Keeper;
use crate::metrics::{self, Metrics};
use crate::plant::Plant;
use crate::store::{Store, StoreError, WithHistory};
use crate::trail::Trail;
use crate::watchdog::{self, Manager, ManagerPlace};
use crate::{Failure, read_config};
use anyhow::Context;
use ecovisor_audit::history::History;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct RunArguments {
    /// The configuration.
    #[arg(long, short, default_value = "/etc/ecovisor/site.toml")]
    config: PathBuf,
    /// Where sockets are made, instead of where the configuration says.
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// Where state is kept, instead of where the configuration says.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Ends the loop at this tick, to see that the process ends with it.
    #[arg(long, hide = true)]
    fail_at_tick: Option<u64>,
    /// Lets the store take for ever from this tick on, to see that the watchdog is not kicked then.
    #[arg(long, hide = true)]
    stall_at_tick: Option<u64>,
    #[command(flatten)]
    user: UserPlaces,
    #[command(flatten)]
    manager: ManagerPlace,
}

/// Where the user's own files are, when not root.
#[derive(clap::Args)]
pub struct UserPlaces {
    #[arg(long, env = "XDG_RUNTIME_DIR", hide = true)]
    xdg_runtime_dir: Option<PathBuf>,
    #[arg(long, env = "XDG_STATE_HOME", hide = true)]
    xdg_state_home: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

impl UserPlaces {
    /// Where sockets and state are, for the user of this process.
    #[must_use]
    pub fn places(&self) -> Places {
        Places::of(
            rustix::process::geteuid().is_root(),
            self.xdg_runtime_dir.as_deref(),
            self.xdg_state_home.as_deref(),
            self.home.as_deref(),
        )
    }
}

/// Runs a site until it is told to stop.
pub fn run(arguments: RunArguments) -> Result<(), Failure> {
    let (config, loaded) = read_config(&arguments.config).map_err(Failure::Start)?;
    let manager = Manager::at(&arguments.manager).map_err(Failure::Start)?;
    let opened = open(&arguments, config, loaded).map_err(bad_start)?;
    // One thread for all calls: a call is some microseconds of work, and handing it from thread to thread costs as much
    // again (SPECIFICATION.md has the figures). The tick loop has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime").map_err(Failure::Start)?;
    runtime.block_on(serve(opened, manager))
}

/// A damaged store has an exit code of its own: starting again mends nothing.
fn bad_start(error: anyhow::Error) -> Failure {
    let store = error.downcast_ref::<StoreError>().or_else(|| match error.downcast_ref::<RecoverError>() {
        Some(RecoverError::Store(store)) => Some(store),
        Some(RecoverError::Refused(..) | RecoverError::Rules(_)) | None => None,
    });
    match store.is_some_and(StoreError::is_damage) {
        true => Failure::Damaged(
            error.context("`ecovisord store verify` says what is wrong and what can be saved"),
        ),
        false => Failure::Start(error),
    }
}

/// Everything that is open before anything is bound.
struct Opened {
    parts: Parts,
    /// The store with the past beside it, for whoever reads.
    ledger: Arc<dyn Store>,
    keeper: Keeper,
    forecasts: (Arc<Forecasts>, PathBuf),
    metrics: Option<(Arc<Metrics>, std::net::SocketAddr)>,
    doors: DoorSettings,
    denied: Arc<Denied>,
    stall_at_tick: Option<u64>,
}

fn open(arguments: &RunArguments, config: Config, loaded: LoadedConfig) -> anyhow::Result<Opened> {
    let places = arguments.user.places();
    let state_dir = arguments.state_dir.clone().unwrap_or_else(|| config.state_dir(&places));
    let run_dir = arguments.run_dir.clone().unwrap_or_else(|| config.run_dir(&places));
    make_private(&state_dir)?;
    let mut plant = Plant::open(&config)?;
    let store = config.store.engine.open(&state_dir.join(crate::store::DIRECTORY))?;
    let past = state_dir.join(crate::store::PAST);
    let past = Arc::new(
        History::open(&past).with_context(|| format!("cannot open the past in {}", past.display()))?,
    );
    let keeper = Keeper::new(store.clone(), past.clone(), config.retention());
    let ledger: Arc<dyn Store> = Arc::new(WithHistory::new(store.clone(), past));
    let (attempt, last_tick) =
        Attempts::begin(&state_dir).context("cannot write into the state directory")?;
    let recovered =
        recover(store.as_ref(), &config.rules()?, last_tick).context("cannot go on from the store")?;
    // In safe mode the next start leaves the last tick alone too.
    if recovered.mode == Mode::Normal {
        attempt.end().context("cannot write into the state directory")?;
    }
    say_recovered(&recovered, store.as_ref());
    if let Some(level) = recovered.last.as_ref().and_then(|last| last.outcome.metered.level) {
        plant.resume(level);
    }
    let (clock, start_ms, last_end) = start_of(&config, &recovered)?;
    let forecasts = Arc::new(Forecasts::new(panels(&config), plant.ahead(), config.forecast.from_trace));
    let kept = state_dir.join("forecasts.json");
    if let Err(error) = forecasts.recall(&kept) {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, file = %kept.display(), "forecasts begin anew");
    }
    let metrics = config.metrics.as_ref().map(|section| {
        let forecasts = ForecastMetrics(forecasts.clone());
        (Arc::new(Metrics::new().with(Box::new(forecasts))), section.listen)
    });
    let doors = DoorSettings {
        run_dir,
        operator_gid: config.operator.gid,
        operator_uids: config.operator.uids.clone(),
        site_name: config.site.name.clone(),
        tcp: config.tls.as_ref().map(|tls| TcpDoor {
            addr: tls.listen,
            ca: tls.ca.clone(),
            cert: tls.cert.clone(),
            key: tls.key.clone(),
        }),
        limits: Some(config.limits.of(config.factor()?)),
    };
    let audit = state_dir.join("audit.jsonl");
    let trail =
        Trail::open(&audit).with_context(|| format!("cannot write the audit trail {}", audit.display()))?;
    let trail = Arc::new(trail);
    let denied = Denied::new(trail.clone(), metrics.as_ref().map(|(metrics, _)| metrics.clone()));
    let denied = Arc::new(denied);
    let parts = Parts {
        recovered,
        store,
        keeping: Keeping::AtOnce,
        trail: trail.clone(),
        plant,
        metrics: metrics.as_ref().map(|(metrics, _)| metrics.clone()),
        forecasts: Some(forecasts.clone()),
        snapshot_ticks: config.store.snapshot_ticks,
        config,
        loaded,
        applied: Some(state_dir.join("config.applied")),
        clock,
        start_ms,
        from_ms: last_end.map_or(start_ms, |end| end.min(start_ms)),
        counters: Some(state_dir.join("counters")),
        fail_at_tick: arguments.fail_at_tick,
    };
    Ok(Opened {
        parts,
        ledger,
        keeper,
        forecasts: (forecasts, kept),
        metrics,
        doors,
        denied,
        stall_at_tick: arguments.stall_at_tick,
    })
}

/// A directory that only the daemon's user enters.
fn make_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).with_context(|| format!("cannot make the state directory {}", path.display()))
}

fn say_recovered(recovered: &Recovered, store: &dyn Store) {
    match recovered.is_new {
        true => tracing::info!("a new site: the store is empty"),
        false => {
            let (tick, replayed) = (recovered.state.site.tick().0, recovered.replayed);
            let (entries, head) = store.head();
            tracing::info!(tick, replayed, entries, %head, mode = ?recovered.mode, "going on where the journal ended");
        }
    }
}

/// The site's clock, where it starts, and where the last tick ended. A real clock starts at the end of the last tick, so that the time the daemon
/// was away is settled as one gap; a scaled one goes on where it stopped, since it stood still meanwhile.
fn start_of(config: &Config, recovered: &Recovered) -> anyhow::Result<(ClockInfo, u64, Option<u64>)> {
    let factor = config.factor()?;
    let last_end =
        recovered.last.as_ref().map(|last| last.outcome.wall.get().saturating_add(last.outcome.span.get()));
    let now = clock::wall_ms();
    let (kind, start) = match config.clock.kind {
        ClockChoice::Real => {
            if let Some(back_ms) = last_end.and_then(|end| end.checked_sub(now)).filter(|back| *back > 0) {
                let why = "the wall clock lies before the end of the last tick: times in the ledger go back, ticks go on";
                tracing::warn!(back_ms, why);
            }
            (ClockKind::Real, now)
        }
        ClockChoice::Scaled => {
            (ClockKind::Scaled, last_end.unwrap_or(config.clock_start_ms()?.unwrap_or(now)))
        }
    };
    Ok((ClockInfo { kind, factor }, start, last_end))
}

async fn serve(opened: Opened, mut manager: Manager) -> Result<(), Failure> {
    let Opened { parts, ledger, keeper, forecasts: (forecasts, kept), metrics, doors, denied, stall_at_tick } =
        opened;
    let shutdown = CancellationToken::new();
    let signals = Signals::listen().map_err(Failure::Start)?;
    let scraped = match metrics {
        Some((metrics, addr)) => Some((metrics::bind(addr).await.map_err(Failure::Start)?, metrics)),
        None => None,
    };
    let (mut runner, engine) = Runner::new(parts);
    runner.prepare().map_err(|ended| Failure::Loop(ended.into()))?;
    let learning = tokio::spawn(keep_forecasts(forecasts.clone(), kept, shutdown.clone()));
    let judged = crate::reserve::watch::watch(engine.clone(), forecasts.clone(), shutdown.clone());
    let judging = tokio::spawn(judged);
    let forecast: Option<Arc<dyn ForecastSource>> = Some(forecasts);
    let heard = denied.clone();
    let denials = Arc::new(move |actor: &Actor, why: &str| heard.hear(actor, why));
    let summing_up = tokio::spawn(denied.keep(shutdown.clone()));
    let doors = doors::open_audited(doors, engine.clone(), ledger, forecast, denials, shutdown.clone());
    let doors = doors.await.map_err(Failure::Start)?;
    if let Some((listener, metrics)) = scraped {
        let serving = metrics::serve(listener, metrics, shutdown.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "metrics are not served");
            }
        });
    }
    tokio::spawn(keeper.run(shutdown.clone()));
    let (complete_in, complete) = mpsc::channel(watchdog::COMPLETE_AHEAD);
    runner.tell_complete(complete_in);
    if let Some(tick) = stall_at_tick {
        runner.stall_at(tick);
    }
    let period = runner.period();
    let (ended_in, ended) = oneshot::channel();
    let stop = shutdown.clone();
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let ended = run_engine(runner, stop);
        let _ = ended_in.send(ended);
    });
    thread.context("cannot start the engine's thread").map_err(Failure::Start)?;
    tracing::info!(tcp = ?doors.tcp(), "serving");
    manager.ready(period);
    let manager = Arc::new(manager);
    let (kicking, kicked) = (manager.clone(), engine.clone());
    tokio::spawn(async move { watchdog::kick_for_ticks(&kicking, &kicked, complete).await });
    let signalled = tokio::spawn(signals.obey(engine, manager.clone(), shutdown.clone()));
    // The end of the tick loop, by any cause, a panic included, ends the process.
    let ended = ended.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the engine's thread panicked")));
    signalled.abort();
    shutdown.cancel();
    doors.closed().await;
    // Nothing is left to tell where it panicked.
    drop(summing_up.await);
    drop(learning.await);
    drop(judging.await);
    ended.map_err(Failure::Loop)
}

fn run_engine(runner: Runner, stop: CancellationToken) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(runner.run(stop)).map_err(|ended: Ended| anyhow::Error::new(ended))
}

/// Writes what forecasts have learnt after every full hour, and at the end.
async fn keep_forecasts(forecasts: Arc<Forecasts>, file: PathBuf, shutdown: CancellationToken) {
    let mut hours = forecasts.hours();
    loop {
        let ends = tokio::select! {
            () = shutdown.cancelled() => true,
            changed = hours.changed() => changed.is_err(),
        };
        let (kept, at) = (forecasts.clone(), file.clone());
        let written = tokio::task::spawn_blocking(move || kept.keep(&at)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, file = %file.display(), "what forecasts have learnt cannot be kept");
        }
        if ends {
            return;
        }
    }
}

/// The signals that the daemon obeys.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// SIGTERM and SIGINT end the daemon in good order, SIGHUP reads the configuration again.
    async fn obey(mut self, engine: Engine, manager: Arc<Manager>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => {
                    manager.reloading();
                    reload(&engine).await;
                    manager.reloaded();
                }
            }
        }
        tracing::info!("stopping");
        manager.stopping();
        shutdown.cancel();
    }
}

async fn reload(engine: &Engine) {
    let actor = Actor { name: "SIGHUP".to_owned(), via: "signal", method: "ReloadConfig" };
    match engine.ask(actor, json!({}), Question::Reload { dry_run: false }).await {
        Ok(answer) => tracing::info!(?answer, "the configuration was read again"),
        Err(error) => tracing::error!(%error, "the configuration was not read again; the old one holds"),
    }
}
