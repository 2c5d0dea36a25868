//! How fast a simulation runs: a year of one site with one app, CSV in and out, against what bounds it in the same run.
//!
//! `cargo bench -p ecovisor-hil-tests --bench simulate -- [--quick] [--json FILE]`; the daemon must be built before with
//! `cargo build --release -p ecovisor-daemon`. Rates are ticks per second of wall time, the median of three runs.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it cannot measure")]

use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Site, command, ended};
use ecovisor_hil_tests::wait;
use ecovisor_sdk::VirtualEnergy;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::fmt::Write as _;
use std::pin::Pin;
use std::process::Stdio;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_server::{ServerReflection, ServerReflectionServer};
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

/// A minute's tick, solar of a measured year, carbon and load from tables: each changes at its own times.
const SITE: &str = r#"
[site]
name = "year"
tick = "1 min"
[clock]
start = "2022-01-01T00:00:00Z"
[solar]
peak = "400 W"
rule = "live"
[battery]
capacity = "1 kWh"
floor = "300 Wh"
charge_limit = "250 W"
discharge_limit = "1 kW"
[grid]
import_limit = "500 W"
export_limit = "500 W"
[spill]
export = true
[carbon]
file = "DIR/carbon.csv"
[store]
engine = "ENGINE"
[host]
idle = "0 W"
peak = "500 W"
[sim]
sky = "tmy3"
station = "greensboro-nc"
[[sim.load]]
app = "web"
name = "one"
file = "DIR/load.csv"
[[app]]
name = "web"
solar_weight = 1
battery_capacity = "700 Wh"
charge_limit = "200 W"
discharge_limit = "500 W"
grid_limit = "400 W"
"#;

/// Bytes of a tick in lock step, about: the bare exchange carries as many.
const TICK_BYTES: usize = 400;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let json =
        arguments.iter().position(|argument| argument == "--json").and_then(|at| arguments.get(at + 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rates = runtime.block_on(measure(quick));
    print!("{}", table(&rates));
    if let Some(path) = json {
        let rates: Vec<_> = rates.iter().map(Rate::json).collect();
        std::fs::write(path, json!({ "simulate": rates }).to_string()).unwrap();
    }
}

/// What was measured.
struct Rate {
    what: &'static str,
    ticks: u64,
    per_second: f64,
    /// Processor time of all threads, per tick; `None` where nobody counted it.
    cpu_us: Option<f64>,
    target: Option<f64>,
}

impl Rate {
    fn json(&self) -> serde_json::Value {
        json!({
            "what": self.what, "ticks": self.ticks, "ticks_per_second": self.per_second,
            "cpu_us_per_tick": self.cpu_us, "target_ticks_per_second": self.target,
        })
    }
}

async fn measure(quick: bool) -> Vec<Rate> {
    let days = if quick { 60 } else { 365 };
    let exchanges = if quick { 10_000 } else { 50_000 };
    let mut rates = Vec::new();
    for (what, engine, store, target) in [
        ("store off", "redb", "off", Some(400_000.0)),
        ("store on, redb, synced every 1,000", "redb", "store", Some(100_000.0)),
        ("store on, sled, synced every 1,000", "sled", "store", None),
    ] {
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(simulated(engine, store, days).await);
        }
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (per_second, cpu_us, ticks) = runs[1];
        rates.push(Rate { what, ticks, per_second, cpu_us: Some(cpu_us), target });
    }
    let (ticks, per_second) = lockstep(exchanges).await;
    rates.push(Rate { what: "lock step, store off", ticks, per_second, cpu_us: None, target: Some(5_000.0) });
    let (ticks, per_second) = bare(exchanges).await;
    rates.push(Rate { what: "bare tonic ping-pong", ticks, per_second, cpu_us: None, target: None });
    rates
}

fn table(rates: &[Rate]) -> String {
    let mut text =
        format!("{:<38} {:>9} {:>12} {:>12} {:>10}\n", "", "ticks", "ticks/s", "CPU µs/tick", "target");
    for rate in rates {
        let cpu = rate.cpu_us.map_or_else(String::new, |cpu| format!("{cpu:.2}"));
        let target = rate.target.map_or_else(String::new, |target| format!("{target:.0}"));
        let _ = writeln!(
            text,
            "{:<38} {:>9} {:>12.0} {:>12} {:>10}",
            rate.what, rate.ticks, rate.per_second, cpu, target
        );
    }
    text
}

/// A site with a year of tables: carbon by the hour, load by the quarter of an hour.
fn site(engine: &str) -> Site {
    let site = Site::new(&SITE.replace("ENGINE", engine)).unwrap();
    let (mut carbon, mut load) =
        (String::from("datetime_utc,carbon_intensity_g_per_kwh\n"), String::from("start_utc,power_w\n"));
    for hour in 0..8_760_u32 {
        let (day, of_day) = (hour / 24, hour % 24);
        let stamp = stamp(day, of_day, 0);
        let _ = writeln!(carbon, "{stamp},{}", 200 + (of_day * 37 + day * 11) % 300);
        for quarter in 0..4 {
            let power = 40 + (of_day * 13 + quarter * 7 + day) % 160;
            let _ = writeln!(load, "{},{power}", self::stamp(day, of_day, quarter * 15));
        }
    }
    std::fs::write(site.path("carbon.csv"), carbon).unwrap();
    std::fs::write(site.path("load.csv"), load).unwrap();
    site
}

/// A day of 2022 by its number, as a stamp.
fn stamp(day: u32, hour: u32, minute: u32) -> String {
    let mut left = day;
    for (month, days) in (1..).zip([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if left < days {
            return format!("2022-{month:02}-{:02}T{hour:02}:{minute:02}:00Z", left + 1);
        }
        left -= days;
    }
    panic!("2022 has no day {day}");
}

fn simulate(site: &Site, days: u32, more: &[&str]) -> tokio::process::Command {
    let mut simulate = command(program("ecovisord").unwrap());
    simulate.args(["--log", "warn", "simulate", "--config"]).arg(site.path("site.toml"));
    simulate.args(["--for", &format!("{days}d"), "--out"]).arg(site.path("out")).args(more);
    simulate
}

/// Ticks per second, CPU µs per tick, ticks.
async fn simulated(engine: &str, store: &str, days: u32) -> (f64, f64, u64) {
    let site = site(engine);
    let store = match store {
        "off" => "off".to_owned(),
        name => site.path(name).display().to_string(),
    };
    let began = now();
    let done = ended(&mut simulate(&site, days, &["--store", &store])).await.unwrap();
    let wall = now() - began;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    // `525600 ticks in 1.314 s: 2.50 µs a tick, CPU 3.10 µs`; what the process took to start is part of the wall time
    // that is counted here.
    let said = done.stderr.lines().last().unwrap_or_default();
    let ticks: u64 = said.split(' ').next().and_then(|ticks| ticks.parse().ok()).unwrap();
    let cpu_us: f64 = said.split("CPU ").nth(1).and_then(|cpu| cpu.split(' ').next()?.parse().ok()).unwrap();
    let ticks_f = f64::from(u32::try_from(ticks).unwrap());
    (ticks_f / wall, cpu_us, ticks)
}

/// An app in lock step that answers at once.
async fn lockstep(ticks: u32) -> (u64, f64) {
    let site = site("redb");
    let mut simulate = simulate(&site, 365, &["--store", "off", "--lockstep", "1", "--run-dir"]);
    simulate.arg(site.path("run")).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut simulation = simulate.spawn().unwrap();
    let socket = site.app_socket("web");
    wait::until("the app's socket is there", async || socket.exists().then_some(())).await.unwrap();
    let mut energy = site.app("web").await.unwrap().lockstep();
    // The connection and its tasks are warm by then.
    for _ in 0..1_000 {
        energy.next_tick().await.unwrap().unwrap();
    }
    let began = now();
    for _ in 0..ticks {
        energy.next_tick().await.unwrap().unwrap();
    }
    let rate = f64::from(ticks) / (now() - began);
    simulation.kill().await.unwrap();
    (ticks.into(), rate)
}

/// The same exchange with nothing behind it: a stream each way over a Unix socket, a message for a message, server and
/// client each on one thread.
async fn bare(exchanges: u32) -> (u64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bare.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || serve(listener));
    let client = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    let mut client = ServerReflectionClient::new(client.connect().await.unwrap());
    let (asks, asked) = tokio::sync::mpsc::channel(1);
    asks.send(ServerReflectionRequest::default()).await.unwrap();
    let mut answers = client.server_reflection_info(ReceiverStream::new(asked)).await.unwrap().into_inner();
    for _ in 0..1_000 {
        answers.message().await.unwrap().unwrap();
        asks.send(ServerReflectionRequest::default()).await.unwrap();
    }
    let began = now();
    for _ in 0..exchanges {
        answers.message().await.unwrap().unwrap();
        asks.send(ServerReflectionRequest::default()).await.unwrap();
    }
    (exchanges.into(), f64::from(exchanges) / (now() - began))
}

fn serve(listener: std::os::unix::net::UnixListener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let server = tonic::transport::Server::builder().add_service(ServerReflectionServer::new(Bare));
        server.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
    });
}

/// Answers each message with one of a tick's length. Reflection's service is taken because it is one stream each way.
struct Bare;

#[tonic::async_trait]
impl ServerReflection for Bare {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let answer = |asked: Result<ServerReflectionRequest, Status>| {
            asked.map(|_| ServerReflectionResponse {
                valid_host: "x".repeat(TICK_BYTES),
                ..ServerReflectionResponse::default()
            })
        };
        Ok(Response::new(Box::pin(request.into_inner().map(answer))))
    }
}

/// Seconds of a clock that only runs forward.
fn now() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u32::try_from(now.tv_sec).unwrap_or(u32::MAX);
    f64::from(seconds) + f64::from(u32::try_from(now.tv_nsec).unwrap_or(0)) / 1e9
}
