//! What no client of ours would send: bytes that are no HTTP/2, HTTP/2 that is no gRPC, gRPC that is no message, figures
//! beyond all bounds. The caller's connection may suffer; the site goes on and answers everybody else.

use super::*;
use crate::doors::connection::{GREETING_TIME_MAX, PER_APP_MAX};
use h2::client::SendRequest;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request as HttpRequest;

/// RFC 9113, 3.4.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The other app is answered, a tick is settled, and it is told.
async fn goes_on(bench: &Bench) {
    let before = bench.engine.view().site.tick();
    bench.tick().await;
    let system = bench.app("db").await.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
    assert_eq!(system.into_inner().coming_tick, before.0 + 1);
}

/// A frame of HTTP/2, whole or not (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Bytes that look like nothing, the same ones for the same seed (xorshift64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Writes all of it, or as much as the other side takes, and reads until it closes; what it said.
async fn say(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let read = reading.read_to_end(&mut answer);
    let write = async {
        // Where it closes first there is nobody to write to.
        drop(writing.write_all(bytes).await);
        drop(writing.shutdown().await);
    };
    let both = async { tokio::join!(read, write) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("the connection ends");
    drop(ended);
    answer
}

async fn http2(bench: &Bench) -> SendRequest<Bytes> {
    let stream = UnixStream::connect(bench.socket("web")).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(method: &str, path: &str, content_type: &str) -> HttpRequest<()> {
    let uri = format!("http://localhost/{path}");
    let request = HttpRequest::builder().method(method).uri(uri).header("te", "trailers");
    request.header("content-type", content_type).body(()).unwrap()
}

/// What becomes of a body under a path: HTTP's status, and gRPC's where there is one.
async fn answer(
    bench: &Bench,
    request: HttpRequest<()>,
    body: Vec<u8>,
) -> Result<(u16, Option<i32>), h2::Error> {
    let mut client = http2(bench).await.ready().await?;
    let (response, mut sending) = client.send_request(request, false)?;
    // A server may answer before it has read the body.
    let _ = sending.send_data(body.into(), true);
    let response = response.await?;
    let code = |headers: &tonic::codegen::http::HeaderMap| {
        headers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok())
    };
    let (status, early) = (response.status().as_u16(), code(response.headers()));
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let late = body.trailers().await?.as_ref().and_then(code);
    Ok((status, early.or(late)))
}

const GET: &str = "ecovisor.v1.EnergyService/GetEnergySystem";
const CAP: &str = "ecovisor.v1.EnergyService/SetContainerPowerCap";
const GRPC: &str = "application/grpc";

#[tokio::test]
async fn noise_ends_its_connection_and_nothing_else() {
    let bench = Bench::new().await;
    for seed in 0..48 {
        let noise = noise(seed, 20_000);
        let settings = frame(4, 0, 0, &[]);
        let bytes = match seed % 4 {
            0 => noise,
            1 => [GREETING, &noise].concat(),
            2 => [GREETING, &settings, &noise].concat(),
            // A frame's head that is right, with whatever behind it.
            _ => [
                GREETING,
                &settings,
                &frame(u8::try_from(seed % 10).unwrap(), noise[0], u32::from(noise[1]), &noise),
            ]
            .concat(),
        };
        say(&bench.socket("web"), &bytes).await;
    }
    goes_on(&bench).await;
    bench.app("web").await.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
}

#[tokio::test]
async fn another_protocol_is_not_answered() {
    let bench = Bench::new().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"POST /ecovisor.v1.EnergyService/GetEnergySystem HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ] {
        let answer = say(&bench.socket("web"), bytes).await;
        assert!(!answer.windows(4).any(|part| part == b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    }
    goes_on(&bench).await;
}

#[tokio::test]
async fn a_caller_that_does_not_greet_gives_its_place_back() {
    let bench = Bench::new().await;
    let mut mute = Vec::new();
    for i in 0..PER_APP_MAX {
        let mut stream = UnixStream::connect(bench.socket("web")).await.unwrap();
        stream.write_all(&GREETING[..i % GREETING.len()]).await.unwrap();
        mute.push(stream);
    }
    // The doors have them all once there is no room for one more.
    let crowded = say(&bench.socket("web"), GREETING).await;
    assert_eq!(crowded, b"");
    goes_on(&bench).await;
    tokio::time::pause();
    tokio::time::advance(GREETING_TIME_MAX + Duration::from_secs(1)).await;
    for stream in &mut mute {
        // The server says goodbye or nothing at all.
        drop(stream.read_to_end(&mut Vec::new()).await);
    }
    tokio::time::resume();
    bench.app("web").await.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_in_http() {
    let bench = Bench::new().await;
    let message = || vec![0, 0, 0, 0, 0];
    let check = async |request: HttpRequest<()>, body: Vec<u8>, expected: (u16, Option<i32>)| {
        let shown = format!("{request:?}");
        assert_eq!(answer(&bench, request, body).await.unwrap(), expected, "{shown}");
    };
    let (unimplemented, internal, out_of_range) = (Some(12), Some(13), Some(11));
    check(request("POST", GET, GRPC), message(), (200, Some(0))).await;
    check(request("POST", GET, "application/json"), b"{}".to_vec(), (200, internal)).await;
    check(request("POST", "ecovisor.v1.EnergyService/Nothing", GRPC), message(), (200, unimplemented)).await;
    check(request("POST", "nothing", GRPC), message(), (200, unimplemented)).await;
    // Half a head, half a message, none at all, and one that a compressor is said to have made.
    check(request("POST", GET, GRPC), vec![0, 0], (200, internal)).await;
    check(request("POST", CAP, GRPC), vec![0, 0, 0, 0, 9, 1], (200, internal)).await;
    check(request("POST", GET, GRPC), vec![], (200, internal)).await;
    check(request("POST", GET, GRPC), vec![1, 0, 0, 0, 2, 9, 9], (200, internal)).await;
    check(request("POST", GET, GRPC), vec![7, 0, 0, 0, 0], (200, internal)).await;
    // Protobuf that is none.
    check(request("POST", CAP, GRPC), [&[0, 0, 0, 0, 4][..], &[0xff; 4]].concat(), (200, internal)).await;
    // 5 MB that are there, and 4 GB that are said to be.
    let head = |length: u32| [&[0][..], &length.to_be_bytes()].concat();
    let large = [head(5_000_000), vec![0; 5_000_000]].concat();
    check(request("POST", CAP, GRPC), large, (200, out_of_range)).await;
    check(request("POST", CAP, GRPC), head(u32::MAX), (200, out_of_range)).await;
    goes_on(&bench).await;
}

#[tokio::test]
async fn headers_have_an_end() {
    let bench = Bench::new().await;
    let mut flood = request("POST", GET, GRPC);
    for i in 0..1_000 {
        let name = tonic::codegen::http::HeaderName::from_bytes(format!("x-{i}").as_bytes()).unwrap();
        flood.headers_mut().insert(name, "y".repeat(64).parse().unwrap());
    }
    let answer = answer(&bench, flood, vec![0, 0, 0, 0, 0]).await;
    assert!(!matches!(answer, Ok((200, Some(0)))), "{answer:?}");
    // One header that goes on for ever, in pieces (CONTINUATION).
    let mut endless =
        [GREETING, &frame(4, 0, 0, &[]), &frame(1, 0, 1, &[0x00, 0x01, b'x', 0x7f, 0xff, 0xff, 0xff, 0x07])]
            .concat();
    (0..4_000).for_each(|_| endless.extend(frame(9, 0, 1, &[b'a'; 1_000])));
    say(&bench.socket("web"), &endless).await;
    goes_on(&bench).await;
}

#[tokio::test]
async fn a_flood_of_frames_ends_its_connection_or_is_borne() {
    let bench = Bench::new().await;
    // Calls that are taken back at once (CVE-2023-44487).
    let mut client = http2(&bench).await;
    for _ in 0..20_000 {
        let Ok(ready) = client.clone().ready().await else { break };
        client = ready;
        match client.send_request(request("POST", GET, GRPC), false) {
            Ok((_, mut sending)) => sending.send_reset(h2::Reason::CANCEL),
            Err(_) => break,
        }
        tokio::task::yield_now().await;
    }
    goes_on(&bench).await;
    let settings = frame(4, 0, 0, &[]);
    let ping = frame(6, 0, 0, &[0; 8]);
    let empty_data = frame(0, 0, 1, &[]);
    for (what, piece) in [("settings", &settings), ("pings", &ping), ("empty data", &empty_data)] {
        let flood = [GREETING, &settings, &piece.repeat(50_000)].concat();
        say(&bench.socket("web"), &flood).await;
        goes_on(&bench).await;
        println!("{what}: borne");
    }
}

#[tokio::test]
async fn a_name_of_any_length_gets_a_short_answer() {
    let bench = Bench::new().await;
    let mut web = bench.app("web").await;
    for name in [String::new(), "\0\r\n\u{202e}".into(), "x".repeat(200_000), "ß".repeat(100_000)] {
        let status = web.detach_container(v1::DetachContainerRequest { name: name.clone() }).await;
        let status = refused(status, Code::NotFound, "REASON_UNKNOWN_CONTAINER");
        assert!(status.message().len() < 700, "{}", status.message());
        let request =
            v1::SetContainerPowerCapRequest { container: name.clone(), cap_mw: Some(1), lease_ms: None };
        refused(web.set_container_power_cap(request).await, Code::NotFound, "REASON_UNKNOWN_CONTAINER");
        let attach = v1::AttachContainerRequest { name: name.clone(), ..this_process("x") };
        refused(web.attach_container(attach).await, Code::InvalidArgument, "REASON_INVALID");
    }
    let longest = bench.denied.lock().unwrap().iter().map(String::len).max().unwrap();
    assert!(longest < 700, "{longest} bytes in the audit trail");
    goes_on(&bench).await;
}

#[tokio::test]
async fn figures_beyond_all_bounds_are_refused_or_bounded() {
    const MOST: Option<u64> = Some(u64::MAX);
    let bench = Bench::new().await;
    let mut web = bench.app("web").await;
    web.attach_container(this_process("me")).await.unwrap();
    bench.tick().await;
    let charge = v1::SetBatteryChargeRateRequest { rate_mw: MOST, lease_ms: MOST };
    let status =
        refused(web.set_battery_charge_rate(charge).await, Code::FailedPrecondition, "REASON_EXCEEDS_SHARE");
    assert_eq!(status.get_details_error_info().unwrap().metadata["acceptable"], "20000");
    let discharge = v1::SetBatteryMaxDischargeRequest { max_mw: MOST, lease_ms: MOST };
    refused(web.set_battery_max_discharge(discharge).await, Code::FailedPrecondition, "REASON_EXCEEDS_SHARE");
    let none = v1::SetBatteryChargeRateRequest { rate_mw: Some(1), lease_ms: Some(0) };
    refused(web.set_battery_charge_rate(none).await, Code::InvalidArgument, "REASON_LEASE_OUT_OF_RANGE");
    // A cap may be anything: below what an idle machine draws it is the smallest quota, above the ceiling it is none.
    for cap_mw in [Some(0), Some(1), MOST] {
        for lease_ms in [Some(1), MOST, None] {
            let cap = v1::SetContainerPowerCapRequest { container: "me".into(), cap_mw, lease_ms };
            web.set_container_power_cap(cap).await.unwrap();
            bench.tick().await;
        }
    }
    web.set_carbon_rate(v1::SetCarbonRateRequest { rate_mg_per_h: MOST, lease_ms: MOST }).await.unwrap();
    let budget = |window_ms| v1::SetCarbonBudgetRequest {
        budget_mg: MOST,
        window_ms,
        action: v1::BudgetAction::BlockGrid.into(),
        lease_ms: MOST,
    };
    web.set_carbon_budget(budget(u64::MAX)).await.unwrap();
    bench.tick().await;
    refused(web.set_carbon_budget(budget(1)).await, Code::InvalidArgument, "REASON_INVALID");
    let usage = |t1_ms, t2_ms, step_ms| v1::QueryUsageRequest { t1_ms, t2_ms, step_ms, by_container: true };
    web.query_usage(usage(0, MOST, u64::MAX)).await.unwrap();
    refused(web.query_usage(usage(0, MOST, 1)).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
    refused(
        web.query_usage(usage(u64::MAX, MOST, 1)).await,
        Code::InvalidArgument,
        "REASON_PERIOD_OUT_OF_RANGE",
    );
    let most = v1::AppShare {
        solar_weight: u64::from(u32::MAX),
        battery_capacity_uj: u64::MAX,
        battery_floor_uj: u64::MAX,
        battery_charge_limit_mw: u64::MAX,
        battery_discharge_limit_mw: u64::MAX,
        grid_limit_mw: u64::MAX,
    };
    let change = v1::ChangeShareRequest { app: "web".into(), share: Some(most), dry_run: false };
    refused(
        bench.operator().await.change_share(change).await,
        Code::FailedPrecondition,
        "REASON_EXCEEDS_FREE",
    );
    goes_on(&bench).await;
}
