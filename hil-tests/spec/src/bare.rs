//! What a daemon's server is measured against: a tonic server with nothing behind it. It answers with messages that a
//! daemon sent, at the same paths, over the same kind of socket, on the runtime that is fastest here (one thread).

use anyhow::{Context as _, Result};
use ecovisor_sdk::operator::wire;
use prost::Message as _;
use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

const SYSTEM: &str = "/ecovisor.v1.EnergyService/GetEnergySystem";
const TICKS: &str = "/ecovisor.v1.EnergyService/WatchTicks";

/// How often subscribers hear something, as a site with ticks of a second.
const EVERY: Duration = Duration::from_secs(1);

/// Messages that a slow subscriber may fall behind, as in the daemon.
const BEHIND_MAX: usize = 64;

/// Where the messages are that are answered with.
#[derive(Clone, Debug, clap::Args)]
pub struct BareArguments {
    /// The socket to listen on.
    #[arg(long)]
    pub socket: PathBuf,
    /// An `EnergySystem`, encoded.
    #[arg(long)]
    pub system: PathBuf,
    /// A `Tick`, encoded.
    #[arg(long)]
    pub tick: PathBuf,
}

/// Serves until it is killed.
///
/// # Errors
/// Where the messages cannot be read or the socket cannot be made.
pub fn serve(arguments: &BareArguments) -> Result<()> {
    let system = wire::EnergySystem::decode(read(&arguments.system)?.as_slice())?;
    let tick = wire::Tick::decode(read(&arguments.tick)?.as_slice())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(&arguments.socket).context("cannot make the socket")?;
        let (ticks, _) = broadcast::channel(BEHIND_MAX);
        tokio::spawn(send_ticks(ticks.clone(), tick));
        let bare = Bare { system: Arc::new(system), ticks };
        let incoming = UnixListenerStream::new(listener);
        Server::builder().add_service(bare).serve_with_incoming(incoming).await.context("the server ended")
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

async fn send_ticks(ticks: broadcast::Sender<Arc<wire::Tick>>, tick: wire::Tick) {
    let mut every = tokio::time::interval(EVERY);
    let mut number = 0;
    loop {
        every.tick().await;
        // Nobody may be listening.
        drop(ticks.send(Arc::new(wire::Tick { tick: number, ..tick.clone() })));
        number += 1;
    }
}

/// The service, as generated code would write it.
#[derive(Clone, Debug)]
struct Bare {
    system: Arc<wire::EnergySystem>,
    ticks: broadcast::Sender<Arc<wire::Tick>>,
}

impl NamedService for Bare {
    const NAME: &'static str = "ecovisor.v1.EnergyService";
}

type Told = Pin<Box<dyn Stream<Item = Result<wire::Tick, Status>> + Send>>;

impl Bare {
    fn system(&self) -> Response<wire::EnergySystem> {
        Response::new(wire::EnergySystem::clone(&self.system))
    }

    fn watch(&self) -> Response<Told> {
        let news = BroadcastStream::new(self.ticks.subscribe());
        let news = news.map(|tick| {
            tick.map(|tick| wire::Tick::clone(&tick)).map_err(|lost| Status::data_loss(lost.to_string()))
        });
        Response::new(Box::pin(news))
    }
}

impl Service<HttpRequest<Body>> for Bare {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                SYSTEM => {
                    let method = tower::service_fn(move |_: Request<wire::GetEnergySystemRequest>| {
                        std::future::ready(Ok::<_, Status>(bare.system()))
                    });
                    Grpc::new(ProstCodec::default()).unary(method, request).await
                }
                TICKS => {
                    let method = tower::service_fn(move |_: Request<wire::WatchTicksRequest>| {
                        std::future::ready(Ok::<_, Status>(bare.watch()))
                    });
                    Grpc::new(ProstCodec::default()).server_streaming(method, request).await
                }
                other => Status::unimplemented(format!("a bare server has no {other}")).into_http(),
            })
        })
    }
}
