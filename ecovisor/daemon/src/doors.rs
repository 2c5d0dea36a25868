//! Where callers come in: the operator's socket, one socket for each app, and TCP with mutual TLS. Whoever comes in is
//! identified at once ([`crate::identity`]) and counted; then one server serves them all.
//!
//! ```text
//!   ecovisor.sock ---+
//!   app/<name>.sock -+--> who is it, is there room --> connections --> gate --> services
//!   TCP, TLS --------+        (at accept)                              (each call: nobody nameless but for health)
//! ```
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`connection`] | a connection with the identity of its caller, counted while it lasts |
//! | [`unix`] | sockets that appear and go with their apps |
//! | [`tls`] | TCP, with certificates on both sides |
//! | [`handshakes`] | room for callers who have no name yet |
//! | [`gate`] | what every call passes |
//! | [`pace`] | how many settings an app may make |
//! | [`quiet`] | lines of the log that strangers can cause |

pub mod connection;
pub mod gate;
pub mod handshakes;
pub mod pace;
pub mod quiet;
pub mod tls;
pub mod unix;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;

use crate::engine::handle::{Engine, View};
use crate::forecast::ForecastSource;
use crate::identity::{Access, Paths};
use crate::rpc::energy::Energy;
use crate::rpc::ledger::Readers;
use crate::rpc::narrator::Narration;
use crate::rpc::operator::Operator;
use crate::rpc::subscriptions::Subscriptions;
use crate::rpc::{Behind, Denials};
use crate::store::Store;
use anyhow::Context as _;
use connection::{Connection, Entrance, Places};
use ecovisor_proto::FILE_DESCRIPTOR_SET;
use ecovisor_proto::v1::energy_service_server::EnergyServiceServer;
use ecovisor_proto::v1::operator_service_server::OperatorServiceServer;
use gate::GateLayer;
use pace::{Limits, Pace};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Largest message that is read. The largest there is in good faith, a TickDone with a cap for each of a thousand
/// containers, is below 100 KiB.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Streams at the same time on one connection: an app's subscriptions and as many calls as its threads make. HTTP/2
/// makes the client wait for more.
const STREAMS_MAX: u32 = 128;

/// Calls at the same time on one connection that have no answer yet; beyond it they are refused at once. The engine
/// takes 256 questions, so that one connection cannot fill it.
const CALLS_MAX: usize = 64;

/// How long a call may take until its answer begins. Commands take a tenth of a second at the most; what takes this
/// long reads a year of ledger.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// How often a silent connection is asked whether it is still there, and how long it may take to say so: a client behind
/// a dead link gives its place back within half a minute.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
const KEEPALIVE_WAIT: Duration = Duration::from_secs(10);

/// Connections that have been identified and wait for the server.
const CONNECTIONS_AHEAD: usize = 16;

/// How long open calls may take to end once the ecovisor stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// What the doors are told.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Where the sockets go.
    pub run_dir: PathBuf,
    /// The group whose members operate the site.
    pub operator_gid: Option<u32>,
    /// Users who operate the site besides root and the daemon's own.
    pub operator_uids: Vec<u32>,
    /// The site, as certificates name it.
    pub site_name: String,
    /// The door to other machines; `None` means none.
    pub tcp: Option<TcpDoor>,
    /// What apps may ask for; `None` means no bound, for a simulated site.
    pub limits: Option<Limits>,
}

/// A door to other machines. There is none without TLS, and none without client certificates.
#[derive(Clone, Debug)]
pub struct TcpDoor {
    /// Where to listen.
    pub addr: SocketAddr,
    /// The CA that signs clients, PEM.
    pub ca: PathBuf,
    /// The server's certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// Open doors.
#[derive(Debug)]
pub struct Doors {
    server: JoinHandle<()>,
    keepers: Vec<JoinHandle<()>>,
    tcp: Option<SocketAddr>,
}

impl Doors {
    /// Where TCP listens: with port 0 in the settings the system chose one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Waits until the doors are closed, after the shutdown: streams have been told, sockets are removed.
    pub async fn closed(self) {
        if timeout(STOP_GRACE, self.server).await.is_err() {
            tracing::warn!("some calls did not end in time and are cut off");
        }
        for keeper in self.keepers {
            // A keeper ends with the shutdown; it never panics with something to tell.
            drop(keeper.await);
        }
    }
}

/// Opens the doors; refusals before the engine are logged only.
///
/// # Errors
/// As [`open_audited`].
pub async fn open(
    settings: DoorSettings,
    engine: Engine,
    history: Arc<dyn Store>,
    forecast: Option<Arc<dyn ForecastSource>>,
    shutdown: CancellationToken,
) -> anyhow::Result<Doors> {
    let denials: Denials = Arc::new(|actor, why| {
        tracing::warn!(actor = actor.name, via = actor.via, method = actor.method, why, "refused");
    });
    open_audited(settings, engine, history, forecast, denials, shutdown).await
}

/// Opens the doors. Who is refused before the engine hears of it is told to `denials`.
///
/// # Errors
/// Where a socket cannot be made, somebody listens on it already, or certificates do not fit. Nothing is left open then.
pub async fn open_audited(
    settings: DoorSettings,
    engine: Engine,
    history: Arc<dyn Store>,
    forecast: Option<Arc<dyn ForecastSource>>,
    denials: Denials,
    shutdown: CancellationToken,
) -> anyhow::Result<Doors> {
    let DoorSettings { run_dir, operator_gid, operator_uids, site_name, tcp, limits } = settings;
    let paths = Arc::new(Paths::new(run_dir));
    let own_uid = rustix::process::geteuid().as_raw();
    let access = Arc::new(Access { site: site_name, own_uid, operator_uids, operator_gid });
    let narration = Narration::start(&engine, shutdown.clone());
    let (sender, incoming) = mpsc::channel(CONNECTIONS_AHEAD);
    let entrance = Entrance {
        engine: engine.clone(),
        access: access.clone(),
        paths: paths.clone(),
        places: Places::default(),
        lines: Arc::default(),
        sender,
    };
    let (tcp, tcp_keeper) = match tcp {
        None => (None, None),
        Some(door) => {
            let (addr, keeper) = tls::listen(&door, entrance.clone(), shutdown.clone())
                .await
                .with_context(|| format!("cannot listen on {}", door.addr))?;
            (Some(addr), Some(keeper))
        }
    };
    let unix_keeper = unix::listen(entrance, shutdown.clone())?;
    let subscriptions = Subscriptions::default();
    let behind = Behind {
        engine,
        history,
        forecast,
        denials,
        paths,
        access,
        narration,
        subscriptions,
        stop: shutdown.clone(),
    };
    let server = tokio::spawn(serve(behind, limits.map(Pace::new), ReceiverStream::new(incoming), shutdown));
    let keepers = tcp_keeper.into_iter().chain([unix_keeper]).collect();
    Ok(Doors { server, keepers, tcp })
}

async fn serve(
    behind: Behind,
    pace: Option<Pace>,
    incoming: ReceiverStream<Result<Connection, Infallible>>,
    shutdown: CancellationToken,
) {
    let readers = Readers::default();
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(reporter, behind.engine.clone(), shutdown.clone()));
    let gate = GateLayer::new(behind.denials.clone(), pace);
    let energy = EnergyServiceServer::new(Energy { behind: behind.clone(), readers: readers.clone() });
    let operator = OperatorServiceServer::new(Operator { behind, readers, policies: Arc::default() });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .concurrency_limit_per_connection(CALLS_MAX)
        .load_shed(true)
        .timeout(CALL_TIME_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WAIT))
        .layer(gate)
        .add_service(health)
        .add_service(reflection().build_v1().expect("our descriptors are whole: a test reads them"))
        .add_service(reflection().build_v1alpha().expect("our descriptors are whole: a test reads them"))
        .add_service(energy.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(operator.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "the server has ended");
    }
}

/// Waits for the first settled tick; `false` where the engine ends before it.
async fn first_tick(changes: &mut watch::Receiver<Arc<View>>) -> bool {
    changes.wait_for(|view| view.outcome.is_some()).await.is_ok()
}

/// SERVING once a tick has been settled, NOT_SERVING from the shutdown on.
async fn report_health(reporter: HealthReporter, engine: Engine, shutdown: CancellationToken) {
    let names = ["", "ecovisor.v1.EnergyService", "ecovisor.v1.OperatorService"];
    let say = async |status: ServingStatus| {
        for name in names {
            reporter.set_service_status(name, status).await;
        }
    };
    say(ServingStatus::NotServing).await;
    let mut changes = engine.changes();
    tokio::select! {
        () = shutdown.cancelled() => {}
        settled = first_tick(&mut changes) => if settled {
            say(ServingStatus::Serving).await;
        },
    }
    shutdown.cancelled().await;
    say(ServingStatus::NotServing).await;
}
