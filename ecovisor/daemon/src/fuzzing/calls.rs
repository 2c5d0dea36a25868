//! Calls as they come in behind the doors: every method of both services, with any message, before a site of real books.
//! The engine is a small one: it considers and settles as the real one does, and writes and steers nothing.

use crate::clock::{ClockInfo, ClockKind};
use crate::doors::MESSAGE_BYTES_MAX;
use crate::engine::handle::{
    Answer, AskError, Asked, Engine, LoadedConfig, Mode, Question, Reply, View, Workload,
};
use crate::engine::overrun::Overruns;
use crate::identity::{Access, Credential, Identity, Paths};
use crate::rpc::energy::Energy;
use crate::rpc::ledger::Readers;
use crate::rpc::narrator::Narration;
use crate::rpc::operator::Operator;
use crate::rpc::subscriptions::Subscriptions;
use crate::rpc::{Behind, find};
use crate::store::{Batch, MemoryStore, Store};
use ecovisor_audit::{Applied, Entry, Note, Record, Snapshot};
use ecovisor_core::{
    AppId, AppName, AppPolicy, BatteryShare, Command, ContainerId, ContainerName, ContainerUse, Inputs,
    Reading, Share, Site,
};
use ecovisor_proto::FILE_DESCRIPTOR_SET;
use ecovisor_proto::v1::energy_service_server::EnergyServiceServer;
use ecovisor_proto::v1::operator_service_server::OperatorServiceServer;
use ecovisor_units::{Energy as Joules, Millis, Power};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;

/// Calls in one input; more would only be slow.
const CALLS_MAX: usize = 48;

/// A second a tick.
const SPAN: Millis = Millis::from_secs(1);

/// Any calls: per call a byte that chooses the method, two for the message's length, and the message. A byte of zero
/// settles a tick instead; its message, if it is one, is what the tick brings in.
///
/// # Panics
/// Where a call breaks the books: a bug.
pub fn calls(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without sockets needs nothing from the system");
    runtime.block_on(async { Scene::new().play(bytes).await });
}

/// A method: the byte that chooses it follows from its name, so that a corpus keeps its meaning when others are added.
struct Method {
    byte: u8,
    path: String,
}

fn methods() -> &'static [Method] {
    static METHODS: OnceLock<Vec<Method>> = OnceLock::new();
    METHODS.get_or_init(|| {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).map(|set| set.file).unwrap_or_default();
        let services = files.iter().flat_map(|file| file.service.iter().map(move |of| (file.package(), of)));
        let paths = services.flat_map(|(package, service)| {
            let path = move |name: &str| format!("/{package}.{}/{name}", service.name());
            service.method.iter().map(move |method| path(method.name()))
        });
        let mut methods: Vec<Method> = paths.map(|path| Method { byte: byte_of(&path), path }).collect();
        methods.sort_by(|a, b| (a.byte, &a.path).cmp(&(b.byte, &b.path)));
        // Two names may fold to one byte: the second takes the next.
        let mut taken = 0_u8;
        for method in &mut methods {
            method.byte = method.byte.max(taken.saturating_add(1));
            taken = method.byte;
        }
        methods
    })
}

/// FNV-1a, folded to a byte that is not zero.
fn byte_of(path: &str) -> u8 {
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let [a, b, c, d] = path.bytes().fold(0x811c_9dc5, fold).to_le_bytes();
    (a ^ b ^ c ^ d).max(1)
}

/// The method of that byte, or the next one.
fn method(byte: u8) -> Option<&'static Method> {
    let methods = methods();
    methods.iter().find(|method| method.byte >= byte).or(methods.first())
}

struct Scene {
    books: Books,
    energy: EnergyServiceServer<Energy>,
    operator: OperatorServiceServer<Operator>,
    callers: [Arc<Identity>; 2],
    _stop: tokio_util::sync::DropGuard,
}

impl Scene {
    fn new() -> Self {
        let (asks_in, asks) = mpsc::channel(256);
        let (joins, _) = mpsc::channel(1);
        let (ticks, _) = broadcast::channel(8);
        let state = state();
        let history = Arc::new(MemoryStore::new());
        let first = Batch { snapshot: Some(state.clone()), ..Batch::default() };
        history.commit(first).expect("memory takes every write");
        let view = view(&state, None, &BTreeMap::new());
        let (view, viewed) = watch::channel(Arc::new(view));
        let books = Books { state, history: history.clone(), view, ticks, asks, workloads: BTreeMap::new() };
        let engine = Engine::new(asks_in, joins, viewed, books.ticks.clone());
        let stop = CancellationToken::new();
        let access = Access { site: "fuzz".into(), own_uid: 0, operator_uids: vec![], operator_gid: None };
        let behind = Behind {
            narration: Narration::start(&engine, stop.clone()),
            engine,
            history,
            forecast: None,
            denials: Arc::new(|_, why| assert!(why.len() < 1_000, "{} bytes for the trail", why.len())),
            paths: Arc::new(Paths::new("/run/ecovisor".into())),
            access: Arc::new(access),
            subscriptions: Subscriptions::default(),
            stop: stop.clone(),
        };
        let readers = Readers::default();
        let energy = EnergyServiceServer::new(Energy { behind: behind.clone(), readers: readers.clone() });
        let operator = OperatorServiceServer::new(Operator { behind, readers, policies: Arc::default() });
        let by = || Credential::Certificate("spiffe://fuzz".into());
        let web = Identity::App { id: AppId::new(1), app: name("web"), by: by() };
        Self {
            books,
            energy: energy.max_decoding_message_size(MESSAGE_BYTES_MAX),
            operator: operator.max_decoding_message_size(MESSAGE_BYTES_MAX),
            callers: [Arc::new(web), Arc::new(Identity::Operator { by: by() })],
            _stop: stop.drop_guard(),
        }
    }

    async fn play(&mut self, mut bytes: &[u8]) {
        for _ in 0..CALLS_MAX {
            let [choice, low, high, rest @ ..] = bytes else { break };
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
            let (message, after) = rest.split_at(length);
            bytes = after;
            match *choice {
                0 => self.books.tick(message),
                choice => self.call(choice, message).await,
            }
        }
        self.books.tick(&[]);
    }

    async fn call(&mut self, choice: u8, message: &[u8]) {
        let Some(Method { path, .. }) = method(choice) else { return };
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let body = [&[0][..], &length.to_be_bytes(), message].concat();
        let of_operator = path.contains(".OperatorService/");
        let caller = self.callers[usize::from(of_operator)].clone();
        let request = http::Request::post(path.as_str()).header("content-type", "application/grpc");
        let body = Body::new(axum::body::Body::from(body));
        let request = request.extension(caller).body(body).expect("a method's name is a path");
        let mut answering = pin!(async {
            match of_operator {
                true => drop(self.operator.call(request).await),
                false => drop(self.energy.call(request).await),
            }
        });
        loop {
            tokio::select! {
                biased;
                Some(asked) = self.books.asks.recv() => self.books.consider(asked),
                () = &mut answering => return,
            }
        }
    }
}

/// The engine's part that moves the state.
struct Books {
    state: Snapshot,
    history: Arc<MemoryStore>,
    view: watch::Sender<Arc<View>>,
    ticks: broadcast::Sender<Arc<View>>,
    asks: mpsc::Receiver<Asked>,
    workloads: BTreeMap<ContainerId, Workload>,
}

impl Books {
    fn consider(&mut self, asked: Asked) {
        let Asked { question, reply, .. } = asked;
        let answer = match question {
            Question::Command { command, grants, dry_run } => {
                let subject = subject(&command);
                self.command(command, dry_run, |app| {
                    let note = |(grants, app)| Note::Grants { app, grants };
                    grants.zip(app.or(subject)).map(note)
                })
            }
            Question::Attach { app, name, target } => {
                let attach = Command::AttachContainer { app, name, ceiling: Power::from_watts(50) };
                let answer = self.command(attach, false, |_| None);
                if let Some(container) = answer.as_ref().ok().and_then(|answer| answer.accepted.container) {
                    let workload = Workload {
                        app,
                        target,
                        metered_only: None,
                        last_error: None,
                        energy: Default::default(),
                    };
                    self.workloads.insert(container, workload);
                }
                answer
            }
            // What needs files or devices is another test's.
            _ => Err(AskError::Stopping),
        };
        // Whoever asked may have given up.
        drop(reply.send(answer.map(Reply::Answer)));
    }

    fn command(
        &mut self,
        command: Command,
        dry_run: bool,
        note: impl FnOnce(Option<AppId>) -> Option<Note>,
    ) -> Result<Answer, AskError> {
        let mut next = self.state.clone();
        let accepted = match next.apply(&Entry::Command(command)).expect("a command breaks no books") {
            Applied::Accepted(accepted) => accepted,
            Applied::Refused(refusal) => {
                assert_eq!(next, self.state, "a refused command changes nothing");
                return Err(refusal.into());
            }
            Applied::Settled(_) | Applied::Noted => return Err(AskError::Stopping),
        };
        if let Some(note) = note(accepted.app) {
            next.apply(&Entry::Note(note)).expect("a note breaks no books");
        }
        if dry_run {
            let view = Arc::new(view(&next, None, &self.workloads));
            return Ok(Answer { accepted, view, is_new: false });
        }
        self.state = next;
        self.publish(None);
        Ok(Answer { accepted, view: self.view.borrow().clone(), is_new: true })
    }

    /// What the message brings in, or what each container draws at all times.
    fn tick(&mut self, message: &[u8]) {
        let usual = || Inputs {
            span: SPAN,
            wall: Millis::new(self.state.site.tick().0.saturating_mul(SPAN.get())),
            containers: self
                .state
                .site
                .containers(false)
                .iter()
                .map(|container| used(container.id))
                .collect(),
            ..Inputs::default()
        };
        let inputs = postcard::from_bytes(message).unwrap_or_else(|_| usual());
        let applied = self.state.apply(&Entry::Tick(inputs)).expect("no tick breaks the books");
        let Applied::Settled(record) = applied else { return };
        self.workloads.retain(|id, _| self.state.site.containers(true).iter().any(|c| c.id == *id));
        let batch = Batch { records: vec![(*record).clone()], ..Batch::default() };
        self.history.commit(batch).expect("memory takes every write");
        self.publish(Some(*record));
        // Nobody may be watching.
        drop(self.ticks.send(self.view.borrow().clone()));
    }

    fn publish(&self, record: Option<Record>) {
        let outcome = record.map(|record| Arc::new(record.outcome));
        let outcome = outcome.or_else(|| self.view.borrow().outcome.clone());
        self.view.send_replace(Arc::new(View { outcome, ..view(&self.state, None, &self.workloads) }));
    }
}

fn used(container: ContainerId) -> ContainerUse {
    ContainerUse { container, used: Some(Reading::now(Joules::from_joules(9))) }
}

fn subject(command: &Command) -> Option<AppId> {
    match command {
        Command::ChangePolicy { app, .. } => Some(*app),
        _ => None,
    }
}

fn name(name: &str) -> AppName {
    AppName::new(name).expect("a test's name is one")
}

/// Two apps, and a container of each.
fn state() -> Snapshot {
    let mut state = Snapshot::new(Site::new(super::rules()).expect("these rules hold"));
    for (app, id) in [("web", 1), ("db", 2)] {
        let battery = BatteryShare {
            capacity: Joules::from_watt_hours(100),
            floor: Joules::from_watt_hours(10),
            charge_limit: Power::from_watts(20),
            discharge_limit: Power::from_watts(30),
        };
        let share = Share { solar_weight: id, battery, grid_limit: Power::from_watts(40) };
        let create = Command::CreateApp { name: name(app), share, policy: AppPolicy::default() };
        let container = ContainerName::new("one").expect("a test's name is one");
        let attach =
            Command::AttachContainer { app: AppId::new(id), name: container, ceiling: Power::from_watts(50) };
        for command in [create, attach] {
            let applied = state.apply(&Entry::Command(command)).expect("a command breaks no books");
            assert!(matches!(applied, Applied::Accepted(_)), "{applied:?}");
        }
    }
    state
}

fn view(state: &Snapshot, record: Option<Record>, workloads: &BTreeMap<ContainerId, Workload>) -> View {
    let view = View {
        name: "fuzz".into(),
        site: Arc::new(state.site.clone()),
        outcome: record.map(|record| Arc::new(record.outcome)),
        departed: Arc::default(),
        clock: ClockInfo { kind: ClockKind::Real, factor: 1 },
        started_ms: 0,
        late_ms: 0,
        overruns: Overruns::default(),
        workloads: Arc::new(workloads.clone()),
        grants: Arc::new(state.grants.clone()),
        totals: Arc::default(),
        devices: Arc::default(),
        mode: Mode::Normal,
        config: Arc::new(LoadedConfig { toml: String::new(), path: String::new(), loaded_ms: 0 }),
    };
    debug_assert!(find(&view, AppId::HOUSE).is_some());
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_chosen_by_a_byte() {
        assert!(methods().len() >= 36);
        for Method { byte, path } in methods() {
            assert_eq!(method(*byte).unwrap().path, *path);
        }
    }
}
