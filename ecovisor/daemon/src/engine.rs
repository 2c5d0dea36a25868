//! The one task that owns the site's state: gather, journal, step, publish, apply.
//!
//! ```text
//!   questions -> [audit, journal] -> staged      tick due -> gather -> journal -> step -> publish -> apply
//!        ^                              |                                          |
//!        +------------------------------+------------------ view ------------------+
//! ```
//! Everything that moves the state goes through [`Snapshot::apply`] and is in the journal before anybody is told. The
//! record of a tick is committed with the entries of the next, since replaying the journal makes it again.

mod answer;
mod counters;
pub mod handle;
mod lockstep;
pub mod overrun;
mod recover;
mod reload;
mod rush;

pub use recover::{Attempts, LastTick, RecoverError, Recovered, recover};

use crate::clock::{self, ClockInfo, ClockKind, SiteClock};
use crate::config::Config;
use crate::forecast::Forecasts;
use crate::metrics::Metrics;
use crate::plant::{Plant, Span};
use crate::store::{Batch, Store};
use crate::trail::{Trail, TrailEntry, TrailOutcome};
use ecovisor_audit::journal::{Entry, Target};
use ecovisor_audit::{Applied, Record, Snapshot};
use ecovisor_core::{Accepted, AppId, AppName, Command, ContainerId, Meter, Outcome, Quality, Refusal, Site};
use ecovisor_units::Millis;
use handle::{Asked, Engine, LoadedConfig, Mode, QUESTIONS_MAX, TICKS_BEHIND_MAX, Totals, View, Workload};
use overrun::{Overruns, Pace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// When what moves the state is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Before anybody is told of it.
    AtOnce,
    /// Commands before anybody is told of them, ticks so many together: a simulation that ends early is run again.
    Grouped(usize),
    /// Never: a simulation whose result are its tables.
    Nothing,
}

/// All that the engine is made of.
pub struct Parts {
    /// The state to go on from.
    pub recovered: Recovered,
    /// Where journal and records go.
    pub store: Arc<dyn Store>,
    /// And when.
    pub keeping: Keeping,
    /// Where questions are audited.
    pub trail: Arc<Trail>,
    /// What is read and steered.
    pub plant: Plant,
    /// What Prometheus scrapes; `None` where nothing does.
    pub metrics: Option<Arc<Metrics>>,
    /// Who learns from every tick what forecasts rest on; `None` where nobody asks for any.
    pub forecasts: Option<Arc<Forecasts>>,
    /// The configuration and its file.
    pub config: Config,
    /// As loaded.
    pub loaded: LoadedConfig,
    /// Where the last applied configuration is remembered; `None` for a simulated site.
    pub applied: Option<PathBuf>,
    /// Ticks between snapshots.
    pub snapshot_ticks: u64,
    /// The clock.
    pub clock: ClockInfo,
    /// When the site's clock starts, in ms since the Unix epoch.
    pub start_ms: u64,
    /// When the last settled tick ended; what lies between is settled as one tick, a gap where it is long.
    pub from_ms: u64,
    /// Where the containers' counters are remembered from tick to tick, for such a gap; `None` for a simulated site.
    pub counters: Option<PathBuf>,
    /// For tests of the process's end: the tick at which the loop fails.
    pub fail_at_tick: Option<u64>,
}

type Join = (AppId, mpsc::Sender<Arc<View>>, mpsc::Receiver<()>);

/// The engine and its ends of the channels.
pub struct Runner {
    state: Snapshot,
    mode: Mode,
    store: Arc<dyn Store>,
    keeping: Keeping,
    trail: Arc<Trail>,
    plant: Plant,
    metrics: Option<Arc<Metrics>>,
    forecasts: Option<Arc<Forecasts>>,
    config: Config,
    loaded: Arc<LoadedConfig>,
    applied: Option<PathBuf>,
    snapshot_ticks: u64,
    site_clock: SiteClock,
    /// The end of the last settled tick, in virtual ms since the Unix epoch.
    wall_ms: u64,
    /// The same in real µs since boot; `None` before the first tick of this run.
    boot_us: Option<u64>,
    started_ms: u64,
    /// How late the tick under way began, in real µs.
    late_us: u64,
    outcome: Option<Arc<Outcome>>,
    /// Apps that were settled in it and have ended since.
    departed: Arc<[(AppId, AppName)]>,
    /// Of ticks that were settled, not in the store yet; the newest last.
    records: Vec<Record>,
    /// Entries that have moved the state and are not in the journal yet: nobody has been told of them.
    unjournaled: Vec<Entry>,
    workloads: BTreeMap<ContainerId, Workload>,
    totals: BTreeMap<AppId, Totals>,
    counters: Option<PathBuf>,
    fail_at_tick: Option<u64>,
    stall_at_tick: Option<u64>,
    overruns: Overruns,
    complete: Option<mpsc::Sender<()>>,
    asks: mpsc::Receiver<Asked>,
    joins: mpsc::Receiver<Join>,
    lockstep: Vec<Join>,
    view: watch::Sender<Arc<View>>,
    ticks: broadcast::Sender<Arc<View>>,
}

/// Why the loop ended, other than because it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// An invariant broke: a bug. The journal holds the tick that broke it.
    #[error("tick {tick}: {broken}: this is a bug; the journal is kept for replay")]
    Broken {
        /// The tick.
        tick: u64,
        /// The invariant.
        #[source]
        broken: ecovisor_core::Broken,
    },
    /// What must be durable cannot be written.
    #[error("cannot go on without the store")]
    Store(#[from] crate::store::StoreError),
    /// For tests.
    #[error("the loop was told to fail at tick {0}")]
    Told(u64),
}

impl Runner {
    /// An engine at rest, and the handle on it.
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Engine) {
        let (asks_in, asks) = mpsc::channel(QUESTIONS_MAX);
        let (joins_in, joins) = mpsc::channel(QUESTIONS_MAX);
        let (ticks, _) = broadcast::channel(TICKS_BEHIND_MAX);
        let Recovered { state, mode, last, .. } = parts.recovered;
        let site_clock = SiteClock::start(parts.clock, parts.start_ms);
        let departed = last.as_ref().map(|record| departed(&state.site, record)).unwrap_or_default();
        let outcome = last.map(|record| Arc::new(record.outcome));
        let first = View {
            name: parts.config.site.name.as_str().into(),
            site: Arc::new(state.site.clone()),
            outcome: outcome.clone(),
            departed: departed.clone(),
            clock: parts.clock,
            started_ms: parts.start_ms,
            late_ms: 0,
            overruns: Overruns::default(),
            workloads: Arc::default(),
            grants: Arc::new(state.grants.clone()),
            totals: Arc::default(),
            devices: Arc::new(parts.plant.devices()),
            mode: mode.clone(),
            config: Arc::new(parts.loaded.clone()),
        };
        let (view, viewed) = watch::channel(Arc::new(first));
        let engine = Engine::new(asks_in, joins_in, viewed, ticks.clone());
        let runner = Self {
            state,
            mode,
            store: parts.store,
            keeping: parts.keeping,
            trail: parts.trail,
            plant: parts.plant,
            metrics: parts.metrics,
            forecasts: parts.forecasts,
            loaded: Arc::new(parts.loaded),
            config: parts.config,
            applied: parts.applied,
            snapshot_ticks: parts.snapshot_ticks.max(1),
            site_clock,
            wall_ms: parts.from_ms,
            boot_us: None,
            started_ms: parts.start_ms,
            late_us: 0,
            outcome,
            departed,
            records: Vec::new(),
            unjournaled: Vec::new(),
            workloads: BTreeMap::new(),
            totals: BTreeMap::new(),
            counters: parts.counters,
            fail_at_tick: parts.fail_at_tick,
            stall_at_tick: None,
            overruns: Overruns::default(),
            complete: None,
            asks,
            joins,
            lockstep: Vec::new(),
            view,
            ticks,
        };
        (runner, engine)
    }

    /// Says to `complete` when a tick is complete: gathered within its deadline, journal synced, invariants held, orders
    /// handed over, published.
    pub fn tell_complete(&mut self, complete: mpsc::Sender<()>) {
        self.complete = Some(complete);
    }

    /// For tests of the watchdog: from this tick on the store takes for ever.
    pub fn stall_at(&mut self, tick: u64) {
        self.stall_at_tick = Some(tick);
    }

    /// Opens the containers, applies the configuration, settles the time in which no daemon ran: before anybody is let
    /// in, so that nobody sees the state from before.
    ///
    /// # Errors
    /// [`Ended`] where it cannot go on.
    pub fn prepare(&mut self) -> Result<(), Ended> {
        self.settle_in()?;
        self.settle_absence()
    }

    /// Runs a prepared engine on the real or scaled clock until `shutdown`: then a last snapshot is made and every cap
    /// lifted.
    ///
    /// # Errors
    /// [`Ended`] where it cannot go on: the process must end then.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Ended> {
        let mut due_us = clock::boot_us().saturating_add(self.period_us());
        self.boot_us = Some(clock::boot_us());
        loop {
            let wait = Duration::from_micros(due_us.saturating_sub(clock::boot_us()));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(wait) => {
                    let now_us = clock::boot_us();
                    self.late_us = now_us.saturating_sub(due_us);
                    self.tick_at(now_us)?;
                    // A late tick is a longer span, never a lost one: the next is due a period after it was due, or
                    // after now where a whole period has been missed.
                    let period = self.period_us();
                    due_us = due_us.saturating_add(period);
                    if due_us <= now_us {
                        due_us = now_us.saturating_add(period);
                    }
                }
                Some(asked) = self.asks.recv() => self.answer(asked)?,
                Some(join) = self.joins.recv() => drop(join),
            }
        }
        self.wind_up()
    }

    /// The real time from tick to tick.
    #[must_use]
    pub fn period(&self) -> Millis {
        Millis::new(self.period_us().div_ceil(1_000))
    }

    fn period_us(&self) -> u64 {
        let tick_us = self.state.site.rules().tick.get().saturating_mul(1_000);
        tick_us.checked_div(u64::from(self.site_clock.info.factor)).unwrap_or(tick_us).max(1_000)
    }

    /// Opens the containers that the state knows of, creates what the configuration asks for.
    fn settle_in(&mut self) -> Result<(), Ended> {
        let targets: Vec<(ContainerId, Target)> =
            self.state.targets.iter().map(|(c, t)| (*c, t.clone())).collect();
        for (container, target) in targets {
            self.open(container, &target);
        }
        self.recall_counters();
        if self.mode == Mode::Normal {
            self.apply_at_start()?;
            self.flush()?;
        }
        self.publish();
        Ok(())
    }

    /// Opens a workload that the books have as a container; one that is gone is detached.
    fn open(&mut self, container: ContainerId, target: &Target) {
        let Some(app) = self.state.site.containers(true).iter().find(|c| c.id == container).map(|c| c.app)
        else {
            return;
        };
        let opened = self.plant.attach(container, target);
        let (metered_only, last_error) = match opened {
            Ok(metered_only) => (metered_only, None),
            Err(error) => (Some("it cannot be read".to_owned()), Some(error.to_string())),
        };
        let workload =
            Workload { app, target: target.clone(), metered_only, last_error, energy: Default::default() };
        self.workloads.insert(container, workload);
    }

    /// A tick that ends at the real time `now_us`.
    fn tick_at(&mut self, now_us: u64) -> Result<(), Ended> {
        let before_us = self.boot_us.replace(now_us).unwrap_or(now_us);
        let now_ms = self.site_clock.wall_at(now_us);
        let length = Millis::new(now_ms.saturating_sub(self.wall_ms));
        self.tick(Span { wall_ms: self.wall_ms, length, real_us: now_us.saturating_sub(before_us) })
    }

    /// Settles the time in which no daemon ran: what counters that survived say of it, and nothing else.
    fn settle_absence(&mut self) -> Result<(), Ended> {
        let now_ms = self.site_clock.wall_at(clock::boot_us());
        let length = Millis::new(now_ms.saturating_sub(self.wall_ms));
        let is_new = self.outcome.is_none();
        if is_new || length.is_zero() || self.site_clock.info.kind != ClockKind::Real {
            self.wall_ms = if is_new { now_ms } else { self.wall_ms };
            return Ok(());
        }
        let real_us = length.get().saturating_mul(1_000);
        let inputs = self.plant.gather_absence(Span { wall_ms: self.wall_ms, length, real_us });
        self.wall_ms = now_ms;
        self.settle(inputs, clock::boot_us())
    }

    /// One tick: gather, journal, step, publish, apply.
    fn tick(&mut self, span: Span) -> Result<(), Ended> {
        let began_us = clock::boot_us();
        self.wall_ms = span.wall_ms.saturating_add(span.length.get());
        let inputs = self.plant.gather(span, self.wall_ms);
        self.settle(inputs, began_us)
    }

    fn settle(&mut self, inputs: ecovisor_core::Inputs, began_us: u64) -> Result<(), Ended> {
        let tick = self.state.site.tick();
        if self.fail_at_tick == Some(tick.0) {
            return Err(Ended::Told(tick.0));
        }
        if self.mode != Mode::Normal {
            self.count_overruns(began_us);
            self.publish();
            self.say_complete();
            return Ok(());
        }
        let entry = Entry::Tick(inputs);
        self.unjournaled.push(entry.clone());
        self.stall_if_told(tick.0);
        self.flush_when_due()?;
        let applied = self.state.apply(&entry).map_err(|broken| Ended::Broken { tick: tick.0, broken })?;
        let Applied::Settled(record) = applied else { return Ok(()) };
        self.note_record(&record);
        self.plant.apply(&record.outcome.orders);
        self.drop_gone();
        let took_us = self.count_overruns(began_us);
        if let Some(metrics) = &self.metrics {
            metrics.observe(&record, Duration::from_micros(self.late_us), Duration::from_micros(took_us));
        }
        if let Some(forecasts) = &self.forecasts {
            let live = |meter| self.state.site.quality(meter) == Quality::Live;
            forecasts.note(&record.outcome, (live(Meter::Solar), live(Meter::Intensity)));
        }
        self.records.push(*record);
        self.remember_counters(tick.0);
        self.detach_lost()?;
        if (tick.0 + 1).is_multiple_of(self.snapshot_ticks) {
            self.snapshot()?;
        }
        self.publish();
        // Nobody may be listening.
        let _ = self.ticks.send(self.view.borrow().clone());
        self.say_complete();
        Ok(())
    }

    /// Counts where the tick that began at `began_us` did not keep up; returns how long it took.
    fn count_overruns(&mut self, began_us: u64) -> u64 {
        let work_us = clock::boot_us().saturating_sub(began_us);
        let period_us = match self.site_clock.info.kind {
            ClockKind::Real | ClockKind::Scaled => self.period_us(),
            ClockKind::Simulated => 0,
        };
        let pace = Pace { late_us: self.late_us, gather_us: self.plant.overdue_us(), work_us, period_us };
        self.overruns.count(self.state.site.tick(), pace);
        for overrun in &self.overruns.of_last {
            tracing::warn!(
                tick = overrun.tick.0,
                stage = overrun.stage.name(),
                took_us = overrun.took_us,
                "overrun"
            );
        }
        if let Some(metrics) = &self.metrics {
            metrics.observe_overruns(&self.overruns);
        }
        work_us
    }

    /// Whoever kicks the watchdog and does not listen any more stands still: then no kick is right.
    fn say_complete(&self) {
        if let Some(complete) = &self.complete {
            let _ = complete.try_send(());
        }
    }

    /// Waits for ever where a test has asked for a store that does.
    fn stall_if_told(&self, tick: u64) {
        while self.stall_at_tick.is_some_and(|stall| tick >= stall) {
            std::thread::park();
        }
    }

    fn note_record(&mut self, record: &Record) {
        add_totals(&mut self.totals, record);
        for used in &record.outcome.containers {
            if let Some(workload) = self.workloads.get_mut(&used.container) {
                workload.energy += used.energy;
            }
        }
        for event in &record.outcome.events {
            tracing::info!(tick = record.outcome.tick.0, ?event, "event");
        }
        self.outcome = Some(Arc::new(record.outcome.clone()));
        self.departed = departed(&self.state.site, record);
    }

    /// Containers that the books no longer have are not metered any more.
    fn drop_gone(&mut self) {
        let kept: Vec<ContainerId> = self.state.site.containers(true).iter().map(|c| c.id).collect();
        let gone: Vec<ContainerId> = self.workloads.keys().copied().filter(|id| !kept.contains(id)).collect();
        for container in gone {
            self.plant.detach(container);
            self.workloads.remove(&container);
        }
        let errors = self.plant.container_errors();
        for (id, workload) in &mut self.workloads {
            workload.last_error = errors.get(id).cloned();
        }
    }

    /// Containers whose processes have ended leave their app.
    fn detach_lost(&mut self) -> Result<(), Ended> {
        for container in self.plant.lost() {
            let command = Command::DetachContainer(container);
            if self.state.site.would(&command).is_ok() {
                tracing::info!(container = container.get(), "its processes have ended; detached");
                if let Err(refusal) = self.commit_command(command, Vec::new())? {
                    tracing::error!(container = container.get(), %refusal, "an ended container was not detached");
                }
            }
        }
        Ok(())
    }

    /// Makes a snapshot, so that a restart replays little.
    fn snapshot(&mut self) -> Result<(), Ended> {
        self.flush()?;
        if self.keeping == Keeping::Nothing {
            return Ok(());
        }
        let records = std::mem::take(&mut self.records);
        let snapshot = Some(self.state.clone());
        self.store.commit(Batch { entries: Vec::new(), records, snapshot })?;
        Ok(())
    }

    /// Ends in good order.
    fn wind_up(&mut self) -> Result<(), Ended> {
        if self.mode == Mode::Normal {
            self.snapshot()?;
        }
        self.plant.release();
        Ok(())
    }

    /// Journals ticks, where it is time to.
    fn flush_when_due(&mut self) -> Result<(), Ended> {
        match self.keeping {
            Keeping::Grouped(ticks) if self.unjournaled.len() < ticks => Ok(()),
            Keeping::AtOnce | Keeping::Grouped(_) | Keeping::Nothing => self.flush(),
        }
    }

    /// Journals what has moved the state since the last time.
    fn flush(&mut self) -> Result<(), Ended> {
        if self.keeping == Keeping::Nothing {
            self.unjournaled.clear();
            self.records.clear();
        }
        if self.unjournaled.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.unjournaled);
        let records = std::mem::take(&mut self.records);
        self.store.commit(Batch { entries, records, snapshot: None })?;
        Ok(())
    }

    /// Moves the state by a command with its notes; they are journaled before anybody is told.
    fn commit_command(
        &mut self,
        command: Command,
        notes: Vec<Entry>,
    ) -> Result<Result<Accepted, Refusal>, Ended> {
        let command = Entry::Command(command);
        let accepted = match self.move_by(command.clone())? {
            Applied::Accepted(accepted) => accepted,
            Applied::Refused(refusal) => return Ok(Err(refusal)),
            Applied::Settled(_) | Applied::Noted => return Ok(Err(Refusal::House)),
        };
        self.unjournaled.push(command);
        for note in notes {
            self.move_by(note.clone())?;
            self.unjournaled.push(note);
        }
        Ok(Ok(accepted))
    }

    fn move_by(&mut self, entry: Entry) -> Result<Applied, Ended> {
        let tick = self.state.site.tick().0;
        self.state.apply(&entry).map_err(|broken| Ended::Broken { tick, broken })
    }

    /// Shows the state to everybody.
    fn publish(&mut self) {
        let view = View {
            name: self.config.site.name.as_str().into(),
            site: Arc::new(self.state.site.clone()),
            outcome: self.outcome.clone(),
            departed: self.departed.clone(),
            clock: self.site_clock.info,
            started_ms: self.started_ms,
            late_ms: self.late_us / 1_000,
            overruns: self.overruns.clone(),
            workloads: Arc::new(self.workloads.clone()),
            grants: Arc::new(self.state.grants.clone()),
            totals: Arc::new(self.totals.clone()),
            devices: Arc::new(self.plant.devices()),
            mode: self.mode.clone(),
            config: self.loaded.clone(),
        };
        self.view.send_replace(Arc::new(view));
    }

    /// Audits something that the daemon does by itself.
    fn audit(&self, method: &'static str, arguments: Value, detail: String) {
        let entry = TrailEntry {
            wall_ms: clock::wall_ms(),
            actor: "ecovisord".to_owned(),
            via: "config".to_owned(),
            method: method.to_owned(),
            arguments,
            outcome: TrailOutcome::Accepted,
            detail,
            holds_from_tick: Some(self.state.site.tick().0 + 1),
        };
        if let Err(error) = self.trail.write(&entry) {
            tracing::error!(%error, "the audit trail cannot be written");
        }
    }
}

/// Apps that were settled in a tick and have ended with it.
fn departed(site: &Site, record: &Record) -> Arc<[(AppId, AppName)]> {
    let gone = record.app_names.iter().filter(|(app, _)| site.account(*app).is_none());
    gone.cloned().collect()
}

/// Adds a tick to what each app has used and caused.
fn add_totals(totals: &mut BTreeMap<AppId, Totals>, record: &Record) {
    for app in &record.outcome.apps {
        let totals = totals.entry(app.app).or_default();
        totals.load += app.flows.load;
        totals.carbon = totals.carbon.saturating_add(app.flows.carbon);
    }
}

#[cfg(test)]
mod tests;
