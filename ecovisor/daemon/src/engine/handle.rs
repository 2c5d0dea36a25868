//! What the rest of the daemon knows of the engine: a view of the state as it was last published, and a bounded queue
//! of questions that the one task which owns the state answers.

use super::overrun::Overruns;
use crate::clock::ClockInfo;
use ecovisor_audit::journal::{Grants, Target};
use ecovisor_core::{Accepted, AppId, AppName, Command, ContainerId, Outcome, Quality, Refusal, Site, Tick};
use ecovisor_units::{Carbon, EnergySum, Power};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Questions that may wait for the engine. A tick's work is some milliseconds; a hundred waiting commands are a burst,
/// a thousand are an attack, and whoever comes then is told to come again.
pub const QUESTIONS_MAX: usize = 256;

/// Ticks a slow reader may fall behind before it loses some; it is told how many.
pub const TICKS_BEHIND_MAX: usize = 64;

/// Who asks, for the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// As the trail shows it: `app:web uid=1000 pid=12`, `operator uid=0 pid=7`, `config`.
    pub name: String,
    /// The door it came through: `uds`, `tls`, `config`, `signal`.
    pub via: &'static str,
    /// The method it called.
    pub method: &'static str,
}

/// What is metered and capped for a container, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Whose.
    pub app: AppId,
    /// What it is.
    pub target: Target,
    /// `None` where its cap is enforced; else why it is only metered.
    pub metered_only: Option<String>,
    /// Why it cannot be read at the moment; `None` where it can.
    pub last_error: Option<String>,
    /// What it has used since the daemon started.
    pub energy: EnergySum,
}

/// What an app has used and caused since its creation, as far back as the ledger goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Its load.
    pub load: EnergySum,
    /// Charged to it.
    pub carbon: Carbon,
}

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// It answers.
    Live,
    /// Its last reading is held.
    Held,
    /// What it says cannot be.
    Implausible,
    /// It does not answer.
    Lost,
}

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRole {
    /// Reads the grid connection.
    GridMeter,
    /// Reads the site's load.
    LoadMeter,
    /// Reads containers.
    ContainerMeter,
    /// Reads solar.
    Solar,
    /// Limits solar.
    Curtailment,
    /// Reads and steers the battery.
    Storage,
    /// Caps containers.
    PowerCap,
    /// Tells the carbon intensity.
    CarbonSignal,
}

/// A device as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// From the configuration.
    pub name: String,
    /// Which driver: `sim`, `trace`, `host`.
    pub driver: &'static str,
    /// What it does.
    pub roles: Vec<DeviceRole>,
    /// How it is.
    pub state: DeviceState,
    /// Age of its latest reading, in ms; `None` before the first.
    pub age_ms: Option<u64>,
    /// Its latest fault.
    pub last_error: Option<String>,
    /// When that was, in ms since the Unix epoch.
    pub last_error_ms: Option<u64>,
    /// Readings so far.
    pub reads: u64,
    /// Readings that failed so far.
    pub failed_reads: u64,
}

/// How the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It meters and steers.
    Normal,
    /// An invariant broke again on restart: it meters and answers, and steers nothing.
    Safe {
        /// Which invariant, in which tick.
        reason: String,
    },
}

/// The state as it was last published: after every tick, and after every accepted command.
#[derive(Clone, Debug)]
pub struct View {
    /// The site's name.
    pub name: Arc<str>,
    /// The core's state, staged commands included where its methods say so.
    pub site: Arc<Site>,
    /// What the last settled tick led to; `None` before the first.
    pub outcome: Option<Arc<Outcome>>,
    /// Apps that were settled in it and have ended since.
    pub departed: Arc<[(AppId, AppName)]>,
    /// The clock the site runs on.
    pub clock: ClockInfo,
    /// When the daemon started, likewise.
    pub started_ms: u64,
    /// How late the last tick came, in real ms.
    pub late_ms: u64,
    /// How often the tick loop did not keep up, and where in the last tick.
    pub overruns: Overruns,
    /// What each container is.
    pub workloads: Arc<BTreeMap<ContainerId, Workload>>,
    /// What each app's owner may attach.
    pub grants: Arc<BTreeMap<AppId, Grants>>,
    /// What each app has used since its creation.
    pub totals: Arc<BTreeMap<AppId, Totals>>,
    /// The devices.
    pub devices: Arc<Vec<Device>>,
    /// How the daemon runs.
    pub mode: Mode,
    /// The configuration as loaded, in TOML, and where from.
    pub config: Arc<LoadedConfig>,
}

/// The configuration as loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedConfig {
    /// Its text; it holds no secrets.
    pub toml: String,
    /// The file.
    pub path: String,
    /// When it was read, in ms since the Unix epoch.
    pub loaded_ms: u64,
}

/// Why the engine did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The core refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The workload cannot be metered: it does not exist, or the daemon has no right to see it.
    #[error("{0}")]
    NoWorkload(String),
    /// The same workload is another container already.
    #[error("{0} is attached already: a workload has one owner")]
    Taken(String),
    /// What is asked needs a site that steers.
    #[error("the site is in safe mode: {0}")]
    SafeMode(String),
    /// The new configuration cannot be loaded.
    #[error("{0}")]
    Config(String),
    /// Too much is waiting.
    #[error("more than {QUESTIONS_MAX} commands are waiting: try again in a moment")]
    Busy,
    /// The daemon is shutting down, or the audit trail or the journal cannot be written.
    #[error("the ecovisor is stopping")]
    Stopping,
}

/// What an accepted question led to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the core accepted, with the tick from which it holds.
    pub accepted: Accepted,
    /// The state as it stands with it; for a dry run, as it would stand.
    pub view: Arc<View>,
    /// Whether it changed anything; a dry run does not.
    pub is_new: bool,
}

/// What reloading the configuration changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The tick from which it holds; `None` for a dry run or where nothing changed.
    pub holds_from: Option<Tick>,
    /// What changed, one line each.
    pub changed: Vec<String>,
    /// What changed in the file but takes a restart to hold.
    pub needs_restart: Vec<String>,
}

/// What is asked of the engine.
#[derive(Clone, Debug)]
pub enum Question {
    /// A command for the core, with grants for an app that is created or changed.
    Command {
        /// What.
        command: Command,
        /// For `CreateApp` and `ChangePolicy`: what the owner may attach.
        grants: Option<Grants>,
        /// Only say what would be.
        dry_run: bool,
    },
    /// Attach a workload that the caller has been found to own.
    Attach {
        /// To whom.
        app: AppId,
        /// Its name.
        name: ecovisor_core::ContainerName,
        /// What.
        target: Target,
    },
    /// Read the configuration again.
    Reload {
        /// Only say what would change.
        dry_run: bool,
    },
}

/// A question on its way.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub actor: Actor,
    /// The arguments, for the audit trail.
    pub arguments: Value,
    /// What.
    pub question: Question,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Reply, AskError>>,
}

/// An answer to a [`Question`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// To `Command` and `Attach`.
    Answer(Answer),
    /// To `Reload`.
    Reloaded(Reloaded),
}

/// A lock-step participant's place: the engine waits for it at every tick.
#[derive(Debug)]
pub struct Lockstep {
    /// Ticks, each to be answered with [`Lockstep::done`].
    pub ticks: mpsc::Receiver<Arc<View>>,
    done: mpsc::Sender<()>,
}

impl Lockstep {
    /// A place and the engine's ends of it.
    pub fn new() -> (Self, mpsc::Sender<Arc<View>>, mpsc::Receiver<()>) {
        let (ticks_in, ticks) = mpsc::channel(1);
        let (done, done_out) = mpsc::channel(1);
        (Self { ticks, done }, ticks_in, done_out)
    }

    /// The next tick may come. Setters asked before this hold in it.
    ///
    /// # Errors
    /// [`AskError::Stopping`] where the simulation has ended.
    pub async fn done(&self) -> Result<(), AskError> {
        self.done.send(()).await.map_err(|_| AskError::Stopping)
    }
}

/// The daemon's handle on the engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    asks: mpsc::Sender<Asked>,
    joins: mpsc::Sender<(AppId, mpsc::Sender<Arc<View>>, mpsc::Receiver<()>)>,
    view: watch::Receiver<Arc<View>>,
    ticks: broadcast::Sender<Arc<View>>,
}

impl Engine {
    /// A handle on an engine's ends.
    pub fn new(
        asks: mpsc::Sender<Asked>,
        joins: mpsc::Sender<(AppId, mpsc::Sender<Arc<View>>, mpsc::Receiver<()>)>,
        view: watch::Receiver<Arc<View>>,
        ticks: broadcast::Sender<Arc<View>>,
    ) -> Self {
        Self { asks, joins, view, ticks }
    }

    /// The state as last published.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// The state whenever it is published: after every tick and every accepted command. Only the latest is seen.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Every tick from the next on, as it is published. A reader that falls more than [`TICKS_BEHIND_MAX`] behind is
    /// told how many it lost.
    #[must_use]
    pub fn ticks(&self) -> broadcast::Receiver<Arc<View>> {
        self.ticks.subscribe()
    }

    /// Asks, and waits for the answer: journaled, audited, and (for a command) accepted or refused.
    ///
    /// # Errors
    /// [`AskError::Busy`] at once where too much is waiting; else whatever the engine says.
    pub async fn ask(&self, actor: Actor, arguments: Value, question: Question) -> Result<Reply, AskError> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { actor, arguments, question, reply };
        self.asks.try_send(asked).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Stopping,
        })?;
        answer.await.map_err(|_| AskError::Stopping)?
    }

    /// [`Engine::ask`] for a command.
    ///
    /// # Errors
    /// As [`Engine::ask`].
    pub async fn command(
        &self,
        actor: Actor,
        arguments: Value,
        command: Command,
    ) -> Result<Answer, AskError> {
        match self.ask(actor, arguments, Question::Command { command, grants: None, dry_run: false }).await? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Reloaded(_) => Err(AskError::Stopping),
        }
    }

    /// Joins the lock step; only simulated sites wait for anybody.
    ///
    /// # Errors
    /// [`AskError::Stopping`] where the engine is gone.
    pub async fn join_lockstep(&self, app: AppId) -> Result<Lockstep, AskError> {
        let (place, ticks, done) = Lockstep::new();
        self.joins.send((app, ticks, done)).await.map_err(|_| AskError::Stopping)?;
        Ok(place)
    }
}

impl View {
    /// The cap in force for a container in mW, and whether it was lowered below its setting.
    #[must_use]
    pub fn effective_cap(&self, container: ContainerId) -> Option<(Power, bool)> {
        self.site.cap_in_force(container)
    }

    /// Whether the last settled tick rests on a held or assumed reading for this app.
    #[must_use]
    pub fn quality_of(&self, container: ContainerId) -> Quality {
        let containers = self.outcome.iter().flat_map(|outcome| outcome.containers.iter());
        containers.filter(|c| c.container == container).map(|c| c.quality).next().unwrap_or_default()
    }
}
