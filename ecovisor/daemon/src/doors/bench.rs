//! A site for tests: real books behind real doors, with ticks that come when a test says so.

use super::{DoorSettings, Doors, TcpDoor, open_audited};
use crate::clock::{ClockInfo, ClockKind};
use crate::engine::handle::{
    Answer, AskError, Asked, Device, DeviceRole, DeviceState, Engine, LoadedConfig, Mode, Question, Reloaded,
    Reply, View, Workload,
};
use crate::forecast::ForecastSource;
use crate::identity::Paths;
use crate::store::{Batch, MemoryStore, Store};
use ecovisor_audit::{Applied, Entry, Note, Record, Snapshot};
use ecovisor_core::battery::Conversion;
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::{Command, ContainerUse, Efficiency, Inputs, Reading, Readings, Rules, Site, SolarRule};
use ecovisor_proto::v1;
use ecovisor_proto::v1::energy_service_client::EnergyServiceClient;
use ecovisor_proto::v1::operator_service_client::OperatorServiceClient;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis, Power};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};

/// When the site's first tick began.
pub const START_MS: u64 = 1_000_000;

/// A second a tick.
pub const TICK: Millis = Millis::from_secs(1);

/// What each container uses in a tick, in µJ.
pub const LOAD_UJ: u64 = 9_000_000;

/// A user who is nobody on this site.
pub const STRANGER: u32 = 54_321;

/// A site with 10 W of sun, a battery of 1 kJ and 100 W of grid at 360 g/kWh.
fn rules() -> Rules {
    let lossless = Conversion { charge: Efficiency::LOSSLESS, discharge: Efficiency::LOSSLESS };
    Rules {
        tick: TICK,
        battery: Some(SiteBattery {
            capacity: Energy::from_joules(1_000),
            charge_limit: Power::from_watts(100),
            discharge_limit: Power::from_watts(100),
            conversion: lossless,
        }),
        solar_peak: Power::from_watts(10),
        solar_rule: SolarRule::Live { curtailable: true },
        grid: Some(GridConnection { import_limit: Power::from_watts(100), export_limit: Power::ZERO }),
        ..Rules::default()
    }
}

/// The share that apps of tests have.
pub fn share() -> v1::AppShare {
    v1::AppShare {
        solar_weight: 1,
        battery_capacity_uj: 100_000_000,
        battery_floor_uj: 0,
        battery_charge_limit_mw: 20_000,
        battery_discharge_limit_mw: 20_000,
        grid_limit_mw: 40_000,
    }
}

/// An engine that does at once what it is asked.
struct FakeEngine {
    state: Snapshot,
    store: Arc<MemoryStore>,
    view: watch::Sender<Arc<View>>,
    ticks: broadcast::Sender<Arc<View>>,
    places: Vec<(mpsc::Sender<Arc<View>>, mpsc::Receiver<()>)>,
    outcome: Option<Record>,
    workloads: BTreeMap<ecovisor_core::ContainerId, Workload>,
    kind: ClockKind,
    unanswered: Vec<oneshot::Sender<Result<Reply, AskError>>>,
}

/// A tick to be settled with this sun, and word when it is.
type TickNow = (Power, oneshot::Sender<()>);

impl FakeEngine {
    async fn run(
        mut self,
        mut asks: mpsc::Receiver<Asked>,
        mut joins: mpsc::Receiver<(ecovisor_core::AppId, mpsc::Sender<Arc<View>>, mpsc::Receiver<()>)>,
        mut now: mpsc::Receiver<TickNow>,
    ) {
        loop {
            tokio::select! {
                biased;
                Some(asked) = asks.recv() => self.consider(asked),
                Some((_, ticks, done)) = joins.recv() => self.places.push((ticks, done)),
                Some((sun, settled)) = now.recv() => {
                    self.tick(sun);
                    let view = self.view.borrow().clone();
                    let mut places = std::mem::take(&mut self.places);
                    for (ticks, done) in &mut places {
                        if ticks.send(view.clone()).await.is_err() {
                            continue;
                        }
                        loop {
                            tokio::select! {
                                biased;
                                Some(asked) = asks.recv() => self.consider(asked),
                                _ = done.recv() => break,
                            }
                        }
                    }
                    self.places = places;
                    let _ = settled.send(());
                }
                else => return,
            }
        }
    }

    fn consider(&mut self, asked: Asked) {
        let Asked { question, reply, .. } = asked;
        let answer = match question {
            Question::Command { command, dry_run: true, .. } => {
                let mut tried = self.state.clone();
                self.apply_to(&mut tried, command, None)
            }
            Question::Command { command, grants, dry_run: false } => {
                let mut state = self.state.clone();
                let note = |app| grants.map(|grants| Note::Grants { app, grants });
                let answer = self.apply_to(&mut state, command, Some(Box::new(note)));
                self.state = state;
                answer
            }
            Question::Attach { app, name, target } => {
                let mut state = self.state.clone();
                let attach = Command::AttachContainer { app, name, ceiling: Power::from_watts(50) };
                let answer = self.apply_to(&mut state, attach, None);
                if let Some(id) = answer.as_ref().ok().and_then(|answer| answer.accepted.container) {
                    let workload = Workload {
                        app,
                        target,
                        metered_only: None,
                        last_error: None,
                        energy: EnergySum::ZERO,
                    };
                    self.workloads.insert(id, workload);
                }
                self.state = state;
                answer
            }
            // For deadlines: nobody ever hears of it.
            Question::Reload { dry_run: false } => return self.unanswered.push(reply),
            Question::Reload { dry_run: true } => {
                let reloaded = Reloaded { holds_from: None, changed: vec![], needs_restart: vec![] };
                let _ = reply.send(Ok(Reply::Reloaded(reloaded)));
                return;
            }
        };
        self.publish();
        let view = self.view.borrow().clone();
        let answer = answer.map(|answer| match answer.is_new {
            true => Answer { view, ..answer },
            false => answer,
        });
        let _ = reply.send(answer.map(Reply::Answer));
    }

    fn apply_to(
        &self,
        state: &mut Snapshot,
        command: Command,
        note: Option<Box<dyn FnOnce(ecovisor_core::AppId) -> Option<Note> + '_>>,
    ) -> Result<Answer, AskError> {
        let is_new = note.is_some() || matches!(command, Command::AttachContainer { .. });
        let mut entries = vec![Entry::Command(command)];
        let accepted = match state.apply(&entries[0]).unwrap() {
            Applied::Accepted(accepted) => accepted,
            Applied::Refused(refusal) => return Err(refusal.into()),
            other => panic!("{other:?}"),
        };
        entries.extend(note.zip(accepted.app).and_then(|(note, app)| note(app)).map(Entry::Note));
        for entry in &entries[1..] {
            state.apply(entry).unwrap();
        }
        if is_new {
            self.store.commit(Batch { entries, ..Batch::default() }).unwrap();
        }
        Ok(Answer { accepted, view: Arc::new(self.view_of(state)), is_new })
    }

    fn tick(&mut self, sun: Power) {
        let tick = self.state.site.tick().0;
        let inputs = Inputs {
            span: TICK,
            wall: Millis::new(START_MS + tick * TICK.get()),
            grid_lost: false,
            readings: Readings {
                solar: Some(Reading::now(sun.over(TICK))),
                intensity: Some(Reading::now(CarbonIntensity::from_grams_per_kwh(360))),
                ..Readings::default()
            },
            containers: self
                .state
                .site
                .containers(false)
                .iter()
                .map(|container| ContainerUse {
                    container: container.id,
                    used: Some(Reading::now(Energy::new(LOAD_UJ))),
                })
                .collect(),
        };
        let entry = Entry::Tick(inputs);
        let Applied::Settled(record) = self.state.apply(&entry).unwrap() else { panic!("no tick") };
        let batch = Batch { entries: vec![entry], records: vec![(*record).clone()], snapshot: None };
        self.store.commit(batch).unwrap();
        self.outcome = Some(*record);
        self.publish();
        let _ = self.ticks.send(self.view.borrow().clone());
    }

    fn publish(&self) {
        self.view.send_replace(Arc::new(self.view_of(&self.state)));
    }

    fn view_of(&self, state: &Snapshot) -> View {
        let device = |name: &str, role| Device {
            name: name.into(),
            driver: "sim",
            roles: vec![role],
            state: DeviceState::Live,
            age_ms: Some(0),
            last_error: None,
            last_error_ms: None,
            reads: 1,
            failed_reads: 0,
        };
        View {
            name: "site-1".into(),
            site: Arc::new(state.site.clone()),
            outcome: self.outcome.as_ref().map(|record| Arc::new(record.outcome.clone())),
            departed: Arc::default(),
            clock: ClockInfo { kind: self.kind, factor: 1 },
            started_ms: START_MS,
            late_ms: 0,
            overruns: Default::default(),
            workloads: Arc::new(self.workloads.clone()),
            grants: Arc::new(state.grants.clone()),
            totals: Arc::default(),
            devices: Arc::new(vec![device("roof", DeviceRole::Solar), device("caps", DeviceRole::PowerCap)]),
            mode: Mode::Normal,
            config: Arc::new(LoadedConfig { toml: "[site]".into(), path: "x.toml".into(), loaded_ms: 7 }),
        }
    }
}

/// What a test site may differ in.
pub struct Plan {
    pub kind: ClockKind,
    pub operator_uids: Vec<u32>,
    pub operator_gid: Option<u32>,
    pub tls: bool,
    pub forecast: Option<Arc<dyn ForecastSource>>,
}

impl Default for Plan {
    fn default() -> Self {
        let (operator_uids, operator_gid) = (vec![], None);
        Self { kind: ClockKind::Real, operator_uids, operator_gid, tls: false, forecast: None }
    }
}

/// The site.
pub struct Bench {
    pub dir: TempDir,
    pub paths: Paths,
    pub engine: Engine,
    pub denied: Arc<Mutex<Vec<String>>>,
    pub doors: Doors,
    pub stop: CancellationToken,
    now: mpsc::Sender<TickNow>,
}

impl Bench {
    pub async fn new() -> Self {
        Self::planned(Plan::default()).await
    }

    /// A site with the apps `web` and `db`, whose owner is whoever runs the tests.
    pub async fn planned(plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let state = Snapshot::new(Site::new(rules()).unwrap());
        let store = Arc::new(MemoryStore::new());
        store.commit(Batch { snapshot: Some(state.clone()), ..Batch::default() }).unwrap();
        let (asks_in, asks) = mpsc::channel(256);
        let (joins_in, joins) = mpsc::channel(8);
        let (now, now_out) = mpsc::channel(1);
        let (ticks, _) = broadcast::channel(64);
        let fake = FakeEngine {
            state: state.clone(),
            store: store.clone(),
            view: watch::channel(Arc::new(first_view(&state))).0,
            ticks: ticks.clone(),
            places: vec![],
            outcome: None,
            workloads: BTreeMap::new(),
            kind: plan.kind,
            unanswered: vec![],
        };
        fake.publish();
        let engine = Engine::new(asks_in, joins_in, fake.view.subscribe(), ticks);
        tokio::spawn(fake.run(asks, joins, now_out));
        let run_dir = dir.path().join("run");
        let tcp = plan.tls.then(|| {
            let ca = dir.path().join("ca");
            let names = ["web".to_owned(), "ghost".to_owned()];
            crate::ca::make(&ca, "site-1", &names, &["localhost".into(), "127.0.0.1".into()]).unwrap();
            TcpDoor {
                addr: ([127, 0, 0, 1], 0).into(),
                ca: ca.join("ca.pem"),
                cert: ca.join("server.pem"),
                key: ca.join("server.key"),
            }
        });
        let settings = DoorSettings {
            run_dir: run_dir.clone(),
            operator_gid: plan.operator_gid,
            operator_uids: plan.operator_uids,
            site_name: "site-1".into(),
            tcp,
            limits: None,
        };
        let denied: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = denied.clone();
        let stop = CancellationToken::new();
        let denials = Arc::new(move |actor: &crate::engine::handle::Actor, why: &str| {
            heard.lock().unwrap().push(format!("{}: {why}", actor.method));
        });
        let doors = open_audited(settings, engine.clone(), store, plan.forecast, denials, stop.clone());
        let doors = doors.await.unwrap();
        let bench = Self { dir, paths: Paths::new(run_dir), engine, denied, doors, stop, now };
        let mut operator = bench.operator().await;
        for app in ["web", "db"] {
            operator.create_app(create(app)).await.unwrap();
        }
        bench.until_socket("db").await;
        bench
    }

    /// Settles a tick with 10 W of sun.
    pub async fn tick(&self) {
        self.tick_with(Power::from_watts(10)).await;
    }

    pub async fn tick_with(&self, sun: Power) {
        let (settled, done) = oneshot::channel();
        self.now.send((sun, settled)).await.unwrap();
        done.await.unwrap();
    }

    pub async fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(channel(self.paths.operator_socket(), None).await.unwrap())
    }

    pub async fn app(&self, name: &str) -> EnergyServiceClient<Channel> {
        EnergyServiceClient::new(channel(self.socket(name), None).await.unwrap())
    }

    pub fn socket(&self, app: &str) -> PathBuf {
        self.paths.app_socket(&ecovisor_core::AppName::new(app).unwrap())
    }

    pub async fn until_socket(&self, app: &str) {
        until(|| self.socket(app).exists()).await;
    }
}

/// Waits for what another task does.
pub async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never held");
}

/// Asks for an app with the usual share.
pub fn create(app: &str) -> v1::CreateAppRequest {
    let spec = v1::AppSpec { share: Some(share()), ..v1::AppSpec::default() };
    v1::CreateAppRequest { app: app.into(), spec: Some(spec), dry_run: false, group: String::new() }
}

/// Connects, as another user where one is named (which takes root).
pub async fn channel(socket: PathBuf, uid: Option<u32>) -> Result<Channel, tonic::transport::Error> {
    channel_as(socket, uid.map(|uid| (uid, rustix::process::getgid().as_raw()))).await
}

/// Connects, as another user and group where they are named (which takes root).
pub async fn channel_as(
    socket: PathBuf,
    user: Option<(u32, u32)>,
) -> Result<Channel, tonic::transport::Error> {
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move {
            let stream = match user {
                None => std::os::unix::net::UnixStream::connect(&socket),
                Some(user) => std::thread::spawn(move || connect_as(&socket, user)).join().unwrap(),
            }?;
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream).map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await
}

/// Connects in a thread of its own that becomes another user; Linux gives each thread its own.
fn connect_as(socket: &Path, (uid, gid): (u32, u32)) -> std::io::Result<std::os::unix::net::UnixStream> {
    let gid = rustix::process::Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = rustix::process::Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    std::os::unix::net::UnixStream::connect(socket)
}

/// Whether tests may become somebody else.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn first_view(state: &Snapshot) -> View {
    View {
        name: "".into(),
        site: Arc::new(state.site.clone()),
        outcome: None,
        departed: Arc::default(),
        clock: ClockInfo { kind: ClockKind::Real, factor: 1 },
        started_ms: START_MS,
        late_ms: 0,
        overruns: Default::default(),
        workloads: Arc::default(),
        grants: Arc::default(),
        totals: Arc::default(),
        devices: Arc::default(),
        mode: Mode::Normal,
        config: Arc::new(LoadedConfig { toml: String::new(), path: String::new(), loaded_ms: 0 }),
    }
}
