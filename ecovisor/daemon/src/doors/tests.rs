//! The services over real sockets and real certificates, in one process, with real books behind them.

use super::bench::*;
use crate::clock::ClockKind;
use crate::rpc::forecast::ForecastSource;
use ecovisor_proto::v1;
use ecovisor_proto::v1::energy_service_client::EnergyServiceClient;
use ecovisor_proto::v1::operator_service_client::OperatorServiceClient;
use ecovisor_proto::v1::setter::Set;
use ecovisor_units::{CarbonIntensity, Power};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

/// Code and reason of a refusal.
fn refusal(status: &Status) -> (Code, String) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!(refusal(&status), (code, reason.to_owned()), "{status}");
    status
}

fn rate(rate_mw: u64) -> v1::SetBatteryChargeRateRequest {
    v1::SetBatteryChargeRateRequest { rate_mw: Some(rate_mw), lease_ms: None }
}

fn this_process(name: &str) -> v1::AttachContainerRequest {
    let target = v1::container_target::Target::Pid(std::process::id());
    v1::AttachContainerRequest {
        name: name.into(),
        target: Some(v1::ContainerTarget { target: Some(target) }),
    }
}

// Who is who.

#[tokio::test]
async fn the_socket_one_connects_to_is_the_identity() {
    let bench = Bench::new().await;
    for name in ["web", "db"] {
        let system = bench.app(name).await.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
        assert_eq!(system.into_inner().app, name);
    }
}

#[tokio::test]
async fn an_app_is_not_the_operator() {
    let bench = Bench::new().await;
    let channel = channel(bench.socket("web"), None).await.unwrap();
    let site = OperatorServiceClient::new(channel).get_site(v1::GetSiteRequest {}).await;
    refused(site, Code::PermissionDenied, "REASON_NOT_ALLOWED");
    assert_eq!(
        bench.denied.lock().unwrap().as_slice(),
        ["GetSite: app web is not the operator: call EnergyService"]
    );
}

#[tokio::test]
async fn the_operator_is_no_app_and_is_told_what_to_call() {
    let bench = Bench::new().await;
    let channel = channel(bench.paths.operator_socket(), None).await.unwrap();
    let system = EnergyServiceClient::new(channel).get_energy_system(v1::GetEnergySystemRequest {}).await;
    let status = refused(system, Code::PermissionDenied, "REASON_NOT_ALLOWED");
    assert!(status.message().contains("ShowApp"), "{status}");
}

#[tokio::test]
async fn an_unknown_uid_is_refused_and_told_of_the_app_sockets() {
    if !is_root() {
        return eprintln!("skipped, because only root can become another user");
    }
    let bench = Bench::planned(Plan { operator_uids: vec![1], ..Plan::default() }).await;
    let channel = channel(bench.paths.operator_socket(), Some(STRANGER)).await.unwrap();
    let site = OperatorServiceClient::new(channel.clone()).get_site(v1::GetSiteRequest {}).await;
    let status = refused(site, Code::PermissionDenied, "REASON_NOT_ALLOWED");
    let sockets = bench.paths.app_dir().join("<name>.sock").display().to_string();
    assert!(status.message().contains(&sockets), "{status}");
    let health = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok(), "health is for everybody: {health:?}");
}

#[tokio::test]
async fn a_uid_that_owns_exactly_one_app_is_that_app_and_with_two_must_choose() {
    if !is_root() {
        return eprintln!("skipped, because only root can become another user");
    }
    let bench = Bench::planned(Plan { operator_uids: vec![1], ..Plan::default() }).await;
    let mut operator = bench.operator().await;
    let owned = |app: &str| {
        let mut request = create(app);
        request.spec.as_mut().unwrap().owner_uid = Some(STRANGER);
        request.spec.as_mut().unwrap().share = Some(v1::AppShare::default());
        request
    };
    operator.create_app(owned("one")).await.unwrap();
    let general = async || {
        EnergyServiceClient::new(channel(bench.paths.operator_socket(), Some(STRANGER)).await.unwrap())
    };
    let system = general().await.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
    assert_eq!(system.into_inner().app, "one");
    operator.create_app(owned("two")).await.unwrap();
    let system = general().await.get_energy_system(v1::GetEnergySystemRequest {}).await;
    let status = refused(system, Code::PermissionDenied, "REASON_NOT_ALLOWED");
    assert!(status.message().contains("one.sock") && status.message().contains("two.sock"), "{status}");
    // Its own sockets let it in; those of others do not.
    bench.until_socket("two").await;
    let mut two = EnergyServiceClient::new(channel(bench.socket("two"), Some(STRANGER)).await.unwrap());
    let system = two.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap().into_inner();
    assert_eq!(system.app, "two");
    assert!(channel(bench.socket("web"), Some(STRANGER)).await.is_err(), "the mode keeps others out");
}

#[tokio::test]
async fn another_uid_on_an_apps_socket_is_refused_whatever_the_mode() {
    if !is_root() {
        return eprintln!("skipped, because only root can become another user");
    }
    let bench = Bench::new().await;
    std::fs::set_permissions(bench.socket("web"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut web = EnergyServiceClient::new(channel(bench.socket("web"), Some(STRANGER)).await.unwrap());
    let system = web.get_energy_system(v1::GetEnergySystemRequest {}).await;
    let status = refused(system, Code::PermissionDenied, "REASON_NOT_ALLOWED");
    assert!(status.message().contains("does not own app web"), "{status}");
}

#[tokio::test]
async fn a_deleted_apps_connection_is_not_a_later_apps_of_the_same_name() {
    let bench = Bench::new().await;
    let mut old = bench.app("web").await;
    let mut operator = bench.operator().await;
    let delete = v1::DeleteAppRequest { app: "web".into(), dry_run: false };
    operator.delete_app(delete).await.unwrap();
    until(|| !bench.socket("web").exists()).await;
    operator.create_app(create("web")).await.unwrap();
    bench.until_socket("web").await;
    let system = old.get_energy_system(v1::GetEnergySystemRequest {}).await;
    refused(system, Code::NotFound, "REASON_UNKNOWN_APP");
    assert!(bench.app("web").await.get_energy_system(v1::GetEnergySystemRequest {}).await.is_ok());
}

#[tokio::test]
async fn reflection_is_for_callers_with_a_name() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_response::MessageResponse};
    let bench = Bench::new().await;
    let asked = || {
        let list = MessageRequest::ListServices(String::new());
        tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request: Some(list) })
    };
    let mut client = ServerReflectionClient::new(channel(bench.socket("web"), None).await.unwrap());
    let mut answers = client.server_reflection_info(asked()).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("no list");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    for name in ["ecovisor.v1.EnergyService", "ecovisor.v1.OperatorService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    if is_root() {
        let bench = Bench::planned(Plan { operator_uids: vec![1], ..Plan::default() }).await;
        let nobody = channel(bench.paths.operator_socket(), Some(STRANGER)).await.unwrap();
        let asked = ServerReflectionClient::new(nobody).server_reflection_info(asked()).await;
        refused(asked, Code::PermissionDenied, "REASON_NOT_ALLOWED");
    }
}

// Over TLS.

async fn tls(bench: &Bench, dir: &str, name: &str) -> Result<Channel, tonic::transport::Error> {
    let read = |file: String| std::fs::read(bench.dir.path().join(file)).unwrap();
    let identity =
        TlsIdentity::from_pem(read(format!("{dir}/{name}.pem")), read(format!("{dir}/{name}.key")));
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca/ca.pem".into())))
        .identity(identity)
        .domain_name("localhost");
    let uri = format!("https://{}", bench.doors.tcp().unwrap());
    Endpoint::from_shared(uri).unwrap().tls_config(config)?.connect().await
}

async fn with_tls() -> Bench {
    Bench::planned(Plan { tls: true, ..Plan::default() }).await
}

#[tokio::test]
async fn a_certificate_names_the_app_or_the_operator() {
    let bench = with_tls().await;
    let mut web = EnergyServiceClient::new(tls(&bench, "ca", "app-web").await.unwrap());
    let system = web.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
    assert_eq!(system.into_inner().app, "web");
    let mut operator = OperatorServiceClient::new(tls(&bench, "ca", "operator").await.unwrap());
    assert_eq!(operator.get_site(v1::GetSiteRequest {}).await.unwrap().into_inner().name, "site-1");
}

#[tokio::test]
async fn a_certificate_of_an_app_that_is_not_there_is_nobodys() {
    let bench = with_tls().await;
    let mut ghost = EnergyServiceClient::new(tls(&bench, "ca", "app-ghost").await.unwrap());
    let system = ghost.get_energy_system(v1::GetEnergySystemRequest {}).await;
    refused(system, Code::PermissionDenied, "REASON_NOT_ALLOWED");
}

#[tokio::test]
async fn an_apps_certificate_is_not_the_operators() {
    let bench = with_tls().await;
    let mut web = OperatorServiceClient::new(tls(&bench, "ca", "app-web").await.unwrap());
    refused(web.get_site(v1::GetSiteRequest {}).await, Code::PermissionDenied, "REASON_NOT_ALLOWED");
}

#[tokio::test]
async fn a_certificate_without_a_name_of_ours_is_nobodys() {
    let bench = with_tls().await;
    let mut server = EnergyServiceClient::new(tls(&bench, "ca", "server").await.unwrap());
    // A server's certificate is none for clients: the handshake itself fails.
    let system = server.get_energy_system(v1::GetEnergySystemRequest {}).await;
    assert!(system.is_err(), "{system:?}");
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_in_the_handshake() {
    let bench = with_tls().await;
    let other = bench.dir.path().join("other");
    crate::ca::make(&other, "site-1", &["web".into()], &["localhost".into()]).unwrap();
    let answer = match tls(&bench, "other", "app-web").await {
        Ok(channel) => {
            let asked =
                EnergyServiceClient::new(channel).get_energy_system(v1::GetEnergySystemRequest {}).await;
            asked.map(drop).map_err(|status| status.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_certificate_of_another_site_is_nobodys() {
    let bench = with_tls().await;
    let view = bench.engine.view();
    let access = crate::identity::Access {
        site: "site-2".into(),
        own_uid: 0,
        operator_uids: vec![],
        operator_gid: None,
    };
    let pem = std::fs::read(bench.dir.path().join("ca/operator.pem")).unwrap();
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap();
    let identity = access.certificate(&der, &view);
    assert!(matches!(identity, crate::identity::Identity::Anonymous { .. }), "{identity:?}");
    assert!(matches!(access.certificate(b"no", &view), crate::identity::Identity::Anonymous { .. }));
}

#[tokio::test]
async fn without_a_client_certificate_there_is_no_handshake() {
    let bench = with_tls().await;
    let ca = std::fs::read(bench.dir.path().join("ca/ca.pem")).unwrap();
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    let uri = format!("https://{}", bench.doors.tcp().unwrap());
    let endpoint = Endpoint::from_shared(uri).unwrap().tls_config(config).unwrap();
    let failed = match endpoint.connect().await {
        Ok(channel) => {
            EnergyServiceClient::new(channel).get_energy_system(v1::GetEnergySystemRequest {}).await.is_err()
        }
        Err(_) => true,
    };
    assert!(failed);
}

#[tokio::test]
async fn over_tls_a_process_cannot_be_attached() {
    let bench = with_tls().await;
    let mut web = EnergyServiceClient::new(tls(&bench, "ca", "app-web").await.unwrap());
    refused(web.attach_container(this_process("me")).await, Code::PermissionDenied, "REASON_NOT_OWNED");
    assert!(bench.denied.lock().unwrap()[0].starts_with("AttachContainer: "));
}

// Bounds.

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let bench = Bench::new().await;
    let request = v1::DetachContainerRequest { name: "x".repeat(super::MESSAGE_BYTES_MAX + 1) };
    let answer = bench.app("web").await.detach_container(request).await;
    assert_eq!(answer.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let bench = Bench::new().await;
    // The engine of these tests never answers this.
    let mut request = Request::new(v1::ReloadConfigRequest { dry_run: false });
    request.set_timeout(Duration::from_millis(20));
    let late = bench.operator().await.reload_config(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::Cancelled | Code::DeadlineExceeded), "{late}");
}

#[tokio::test]
async fn an_app_has_no_more_connections_than_its_places() {
    let bench = Bench::new().await;
    let mut held = Vec::new();
    for _ in 0..super::connection::PER_APP_MAX {
        let mut client = bench.app("web").await;
        client.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
        held.push(client);
    }
    let answer = match channel(bench.socket("web"), None).await {
        Ok(channel) => {
            EnergyServiceClient::new(channel).get_energy_system(v1::GetEnergySystemRequest {}).await.is_err()
        }
        Err(_) => true,
    };
    assert!(answer, "one more than {} was served", held.len());
    assert!(bench.app("db").await.get_energy_system(v1::GetEnergySystemRequest {}).await.is_ok());
}

// Sockets.

#[tokio::test]
async fn sockets_are_private_and_go_with_their_apps() {
    let bench = Bench::new().await;
    let mode = |path: std::path::PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.paths.operator_socket()), 0o600);
    assert_eq!(mode(bench.socket("web")), 0o600);
    assert_eq!(mode(bench.paths.app_dir()), 0o711);
    let delete = v1::DeleteAppRequest { app: "web".into(), dry_run: false };
    bench.operator().await.delete_app(delete).await.unwrap();
    until(|| !bench.socket("web").exists()).await;
    let (operator, db) = (bench.paths.operator_socket(), bench.socket("db"));
    bench.stop.cancel();
    bench.doors.closed().await;
    assert!(!operator.exists() && !db.exists(), "sockets go with the daemon");
}

#[tokio::test]
async fn a_leftover_socket_is_replaced_and_a_live_one_is_not() {
    let bench = Bench::new().await;
    let settings = || super::DoorSettings {
        run_dir: bench.paths.run_dir.clone(),
        operator_gid: None,
        operator_uids: vec![],
        site_name: "site-1".into(),
        tcp: None,
    };
    let store = || Arc::new(crate::store::MemoryStore::new());
    let stop = tokio_util::sync::CancellationToken::new();
    let second = super::open(settings(), bench.engine.clone(), store(), None, stop.clone()).await;
    let message = format!("{:#}", second.unwrap_err());
    assert!(message.contains("is an ecovisord running already?"), "{message}");
    bench.stop.cancel();
    bench.doors.closed().await;
    // As a process that was killed leaves them.
    for path in [bench.paths.operator_socket(), bench.paths.app_dir().join("gone.sock")] {
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    }
    let settings = super::DoorSettings {
        run_dir: bench.paths.run_dir.clone(),
        operator_gid: None,
        operator_uids: vec![],
        site_name: "site-1".into(),
        tcp: None,
    };
    let third = super::open(settings, bench.engine.clone(), store(), None, stop.clone()).await.unwrap();
    assert!(channel(bench.paths.operator_socket(), None).await.is_ok());
    assert!(!bench.paths.app_dir().join("gone.sock").exists());
    stop.cancel();
    third.closed().await;
}

// Health.

#[tokio::test]
async fn health_is_serving_from_the_first_tick_to_the_shutdown() {
    let bench = Bench::new().await;
    let mut health = HealthClient::new(channel(bench.paths.operator_socket(), None).await.unwrap());
    let request = HealthCheckRequest { service: "ecovisor.v1.EnergyService".into() };
    let mut told = health.watch(request).await.unwrap().into_inner();
    let mut next = async || told.next().await.unwrap().unwrap().status();
    let mut first = next().await;
    if first != ServingStatus::NotServing {
        first = next().await;
    }
    assert_eq!(first, ServingStatus::NotServing);
    bench.tick().await;
    assert_eq!(next().await, ServingStatus::Serving);
    bench.stop.cancel();
    assert_eq!(next().await, ServingStatus::NotServing);
}

// What apps see and set.

#[tokio::test]
async fn an_app_sees_its_part_of_sun_battery_and_grid() {
    let bench = Bench::new().await;
    bench.tick().await;
    bench.tick().await;
    let system = bench.app("web").await.get_energy_system(v1::GetEnergySystemRequest {}).await;
    let system = system.unwrap().into_inner();
    assert_eq!((system.tick, system.coming_tick, system.tick_span_ms), (Some(1), 2, 1_000));
    // Half of 10 W, into the battery since nothing runs.
    assert_eq!(system.solar.unwrap().power_mw, 5_000);
    let battery = system.battery.unwrap();
    assert_eq!((battery.charge_level_uj, battery.charge_rate_mw), (5_000_000, 5_000));
    assert_eq!(system.grid_carbon_mg_per_kwh, Some(360_000));
    assert_eq!((system.solar_weight, system.solar_weight_total), (1, 2));
    assert_eq!((system.grid_limit_mw, system.wall_ms), (40_000, START_MS + 2_000));
    assert_eq!(system.state, i32::from(v1::AppState::Active));
}

#[tokio::test]
async fn a_setting_holds_from_a_tick_and_shows_when_it_does() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let request = v1::SetBatteryChargeRateRequest { rate_mw: Some(7_000), lease_ms: Some(10_000) };
    let reply = web.set_battery_charge_rate(request).await.unwrap().into_inner();
    assert_eq!(reply.holds_from_tick, 2);
    // The running tick ends a second from its start; the lease runs from there.
    assert_eq!(reply.lease_ends_ms, Some(START_MS + 1_000 + 1_000 + 10_000));
    let rate_now = async |web: &mut EnergyServiceClient<Channel>| {
        let system = web.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap().into_inner();
        system.settings.unwrap().battery_charge_rate.unwrap()
    };
    assert_eq!(rate_now(&mut web).await.power_mw, Some(0));
    bench.tick().await;
    let set = rate_now(&mut web).await;
    assert_eq!((set.power_mw, set.lease_ends_ms, set.is_default), (Some(7_000), reply.lease_ends_ms, false));
    let default = v1::SetBatteryChargeRateRequest { rate_mw: None, lease_ms: None };
    web.set_battery_charge_rate(default).await.unwrap();
    bench.tick().await;
    assert!(rate_now(&mut web).await.is_default);
}

#[tokio::test]
async fn what_a_setter_refuses_names_the_figure() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let status = refused(
        web.set_battery_charge_rate(rate(20_001)).await,
        Code::FailedPrecondition,
        "REASON_EXCEEDS_SHARE",
    );
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("acceptable").map(String::as_str), Some("20000"));
    let empty = v1::SetBatteryMaxDischargeRequest { max_mw: Some(1), lease_ms: Some(0) };
    refused(web.set_battery_max_discharge(empty).await, Code::InvalidArgument, "REASON_LEASE_OUT_OF_RANGE");
    let cap = v1::SetContainerPowerCapRequest { container: "x".into(), cap_mw: Some(1), lease_ms: None };
    refused(web.set_container_power_cap(cap).await, Code::NotFound, "REASON_UNKNOWN_CONTAINER");
    let budget = v1::SetCarbonBudgetRequest { budget_mg: Some(1), ..v1::SetCarbonBudgetRequest::default() };
    refused(web.set_carbon_budget(budget).await, Code::InvalidArgument, "REASON_INVALID");
    // The figures above were the core's to refuse; the last two never reached it and are audited here.
    let denied = bench.denied.lock().unwrap();
    assert_eq!(denied.iter().filter(|line| line.starts_with("SetC")).count(), 2, "{denied:?}");
}

#[tokio::test]
async fn an_app_without_a_battery_cannot_charge_one() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let mut request = create("bare");
    request.spec.as_mut().unwrap().share = Some(v1::AppShare::default());
    operator.create_app(request).await.unwrap();
    bench.until_socket("bare").await;
    let answer = bench.app("bare").await.set_battery_charge_rate(rate(0)).await;
    refused(answer, Code::FailedPrecondition, "REASON_NO_BATTERY");
}

#[tokio::test]
async fn a_container_is_attached_capped_listed_and_detached() {
    let bench = Bench::new().await;
    let mut web = bench.app("web").await;
    let made = web.attach_container(this_process("me")).await.unwrap().into_inner();
    assert_eq!(made.holds_from_tick, 1);
    refused(web.attach_container(this_process("me")).await, Code::AlreadyExists, "REASON_CONTAINER_TAKEN");
    let cap = v1::SetContainerPowerCapRequest { container: "me".into(), cap_mw: Some(8_000), lease_ms: None };
    web.set_container_power_cap(cap).await.unwrap();
    bench.tick().await;
    bench.tick().await;
    let list = web.list_containers(v1::ListContainersRequest {}).await.unwrap().into_inner().containers;
    let me = &list[0];
    assert_eq!((me.name.as_str(), me.power_mw, me.cap_mw), ("me", 9_000, Some(8_000)));
    assert_eq!(me.effective_cap_mw, Some(8_000));
    let pid = v1::container_target::Target::Pid(std::process::id());
    assert_eq!(me.target.clone().unwrap().target, Some(pid));
    let other =
        bench.app("db").await.detach_container(v1::DetachContainerRequest { name: "me".into() }).await;
    refused(other, Code::NotFound, "REASON_UNKNOWN_CONTAINER");
    web.detach_container(v1::DetachContainerRequest { name: "me".into() }).await.unwrap();
    let list = web.list_containers(v1::ListContainersRequest {}).await.unwrap().into_inner().containers;
    assert_eq!(list.len(), 0);
}

#[tokio::test]
async fn what_is_not_the_apps_is_not_attached_and_that_is_audited() {
    let bench = Bench::new().await;
    let mut web = bench.app("web").await;
    use v1::container_target::Target;
    let attach = |target| v1::AttachContainerRequest {
        name: "x".into(),
        target: Some(v1::ContainerTarget { target: Some(target) }),
    };
    let cgroup = attach(Target::CgroupPath("/sys/fs/cgroup/system.slice".into()));
    refused(web.attach_container(cgroup).await, Code::PermissionDenied, "REASON_NOT_OWNED");
    let gpu = attach(Target::GpuIndex(0));
    refused(web.attach_container(gpu).await, Code::PermissionDenied, "REASON_NOT_OWNED");
    let lxc = attach(Target::LxcName("x".into()));
    refused(web.attach_container(lxc).await, Code::Unimplemented, "REASON_NOT_SUPPORTED");
    let nothing = v1::AttachContainerRequest { name: "x".into(), target: None };
    refused(web.attach_container(nothing).await, Code::InvalidArgument, "REASON_INVALID");
    assert_eq!(bench.denied.lock().unwrap().len(), 4);
}

// Streams.

#[tokio::test]
async fn ticks_are_told_as_they_are_settled_and_the_end_is_a_status() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let mut ticks = web.watch_ticks(v1::WatchTicksRequest {}).await.unwrap().into_inner();
    bench.tick().await;
    bench.tick().await;
    for expected in [1, 2] {
        let tick = ticks.next().await.unwrap().unwrap();
        assert_eq!((tick.tick, tick.missed), (expected, 0));
        assert_eq!(tick.flows.unwrap().solar_in_uj, 5_000_000);
        assert_eq!(tick.coming.unwrap().tick, expected + 1);
    }
    bench.stop.cancel();
    let last = ticks.next().await.unwrap();
    refused(last, Code::Unavailable, "REASON_BUSY");
    assert!(ticks.next().await.is_none());
}

#[tokio::test]
async fn a_slow_reader_of_ticks_is_told_how_many_it_missed() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let mut ticks = web.watch_ticks(v1::WatchTicksRequest {}).await.unwrap().into_inner();
    // The task that follows never runs while this one does not wait, so it finds more than it may be behind.
    let views = bench.engine.ticks();
    drop(views);
    for _ in 0..200 {
        bench.tick().await;
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < 200 {
        let tick = ticks.next().await.unwrap().unwrap();
        seen += 1;
        missed += tick.missed;
        assert_eq!(tick.tick, seen + missed);
    }
}

#[tokio::test]
async fn events_are_told_by_each_subscribers_thresholds() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let request = v1::WatchEventsRequest {
        solar_change_mw: Some(1_000),
        carbon_change_mg_per_kwh: None,
        battery_full_ppm: Some(100_000),
        battery_empty_ppm: None,
    };
    let mut events = web.watch_events(request).await.unwrap().into_inner();
    let mut next = async || events.next().await.unwrap().unwrap().event.unwrap();
    bench.tick().await;
    use v1::event::Kind;
    let first = next().await;
    let changed = v1::SolarChanged { from_mw: 0, to_mw: 5_000 };
    assert_eq!((first.tick, first.kind), (1, Some(Kind::SolarChanged(changed))));
    // 10 % of 100 J are two ticks at 5 W from here.
    bench.tick().await;
    let full = next().await;
    assert_eq!(
        (full.tick, full.kind),
        (2, Some(Kind::BatteryFull(v1::BatteryFull { charge_level_uj: 10_000_000 })))
    );
    bench.tick_with(Power::from_watts(9)).await;
    bench.tick_with(Power::from_watts(6)).await;
    let changed = v1::SolarChanged { from_mw: 5_000, to_mw: 3_000 };
    let told = next().await;
    assert_eq!((told.tick, told.kind), (4, Some(Kind::SolarChanged(changed))));
}

#[tokio::test]
async fn an_ended_lease_is_told_to_the_app_and_to_the_operator() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let mut own = web.watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    let mut operator = bench.operator().await;
    let all = v1::WatchAllEventsRequest { app: Some("web".into()), thresholds: None };
    let mut all = operator.watch_all_events(all).await.unwrap().into_inner();
    let request = v1::SetCarbonRateRequest { rate_mg_per_h: Some(1), lease_ms: Some(1) };
    web.set_carbon_rate(request).await.unwrap();
    for _ in 0..3 {
        bench.tick().await;
    }
    let expected = v1::LeaseExpired { setting: v1::SettingKind::CarbonRate.into(), container: String::new() };
    let expected = Some(v1::event::Kind::LeaseExpired(expected));
    let kind = |event: Option<v1::Event>| event.unwrap().kind;
    assert_eq!(kind(own.next().await.unwrap().unwrap().event), expected);
    let told = all.next().await.unwrap().unwrap();
    // Three ticks at 5 W left the level that counts as empty and did not come back to it.
    assert_eq!((told.app.as_deref(), kind(told.event)), (Some("web"), expected));
}

// Lock step.

#[tokio::test]
async fn there_is_no_lock_step_on_a_real_clock() {
    let bench = Bench::new().await;
    let answer = bench.app("web").await.run_lockstep(tokio_stream::once(v1::TickDone::default())).await;
    refused(answer, Code::FailedPrecondition, "REASON_NOT_SIMULATED");
}

#[tokio::test]
async fn the_site_waits_for_a_lock_stepped_app_and_hears_its_setters() {
    let bench = Arc::new(Bench::planned(Plan { kind: ClockKind::Simulated, ..Plan::default() }).await);
    bench.tick().await;
    let (say, said) = tokio::sync::mpsc::channel(1);
    let mut web = bench.app("web").await;
    say.send(v1::TickDone { tick: None, setters: vec![] }).await.unwrap();
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut told = web.run_lockstep(said).await.unwrap().into_inner();
    let ticker = bench.clone();
    let ticking = tokio::spawn(async move {
        for _ in 0..20 {
            ticker.tick().await;
        }
    });
    let first = told.next().await.unwrap().unwrap();
    let number = first.tick.unwrap().tick;
    let setter = |mw| v1::Setter { set: Some(Set::BatteryChargeRate(rate(mw))) };
    let setters = vec![setter(20_001), setter(5_000)];
    say.send(v1::TickDone { tick: Some(number), setters }).await.unwrap();
    let second = told.next().await.unwrap().unwrap();
    assert_eq!(second.tick.unwrap().tick, number + 1);
    assert_eq!(second.refusals.len(), 1);
    let refusal = &second.refusals[0];
    assert_eq!((refusal.index, refusal.reason()), (0, v1::Reason::ExceedsShare));
    assert_eq!(refusal.acceptable, Some(20_000));
    say.send(v1::TickDone { tick: Some(number), setters: vec![] }).await.unwrap();
    let wrong = told.next().await.unwrap();
    refused(wrong, Code::InvalidArgument, "REASON_INVALID");
    drop(say);
    ticking.await.unwrap();
}

// The past.

#[tokio::test]
async fn usage_adds_up_over_buckets_and_containers() {
    let bench = Bench::new().await;
    let mut web = bench.app("web").await;
    for name in ["a", "b"] {
        web.attach_container(this_process(name)).await.unwrap();
    }
    for _ in 0..5 {
        bench.tick().await;
    }
    let request = v1::QueryUsageRequest { t1_ms: 0, t2_ms: None, step_ms: 2_000, by_container: true };
    let buckets = web.query_usage(request).await.unwrap().into_inner().buckets;
    let bounds: Vec<_> = buckets.iter().map(|b| (b.start_ms - START_MS, b.length_ms, b.settled_ms)).collect();
    // The apps hold from tick 1, so tick 0 is not theirs.
    assert_eq!(bounds, [(0, 2_000, 1_000), (2_000, 2_000, 2_000), (4_000, 1_000, 1_000)]);
    let bucket = &buckets[1];
    assert_eq!(bucket.load_uj, 4 * LOAD_UJ);
    let sources =
        bucket.solar_uj + bucket.battery_uj + bucket.grid_uj + bucket.received_uj + bucket.overdraft_uj;
    assert_eq!(sources, bucket.load_uj);
    let parts: Vec<_> = bucket.containers.iter().map(|c| (c.container.as_str(), c.energy_uj)).collect();
    assert_eq!(parts, [("a", 2 * LOAD_UJ), ("b", 2 * LOAD_UJ)]);
    // 13 J of grid in each of two ticks at 360 g/kWh are 2.6 mg.
    assert_eq!((bucket.grid_uj, bucket.carbon_mg), (26_000_000, 2));
    assert_eq!(bucket.carbon_product, (26_000_000_u128 * 360_000).to_string());
    assert_eq!(bucket.containers[0].carbon_mg, 1);
    let empty = v1::QueryUsageRequest { t1_ms: 5, t2_ms: Some(5), ..v1::QueryUsageRequest::default() };
    refused(web.query_usage(empty).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
    let fine =
        v1::QueryUsageRequest { t2_ms: Some(START_MS * 2), step_ms: 1, ..v1::QueryUsageRequest::default() };
    refused(web.query_usage(fine).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
    let query = v1::QueryUsageRequest { by_container: false, step_ms: 0, ..request };
    let same = v1::QueryAppUsageRequest { app: "web".into(), query: Some(query) };
    let whole = bench.operator().await.query_app_usage(same).await.unwrap().into_inner().buckets;
    let sum: u64 = buckets.iter().map(|bucket| bucket.load_uj).sum();
    assert_eq!((whole.len(), whole[0].load_uj), (1, sum));
}

#[tokio::test]
async fn the_ledger_is_queried_exported_and_verified() {
    let bench = Bench::new().await;
    for _ in 0..4 {
        bench.tick().await;
    }
    let mut operator = bench.operator().await;
    let request =
        v1::QueryLedgerRequest { from_tick: Some(1), to_tick: Some(3), app: Some("web".into()), rows_max: 0 };
    let rows = operator.query_ledger(request).await.unwrap().into_inner();
    let rows: Vec<_> = rows.map(Result::unwrap).collect().await;
    assert_eq!(rows.iter().map(|row| row.tick).collect::<Vec<_>>(), [1, 2]);
    let bounded = v1::QueryLedgerRequest { rows_max: 5, ..v1::QueryLedgerRequest::default() };
    assert_eq!(operator.query_ledger(bounded).await.unwrap().into_inner().collect::<Vec<_>>().await.len(), 5);
    let export = v1::ExportLedgerRequest { rows: true, journal: true, ..v1::ExportLedgerRequest::default() };
    let pieces = operator.export_ledger(export).await.unwrap().into_inner();
    let pieces: Vec<_> = pieces.map(|piece| piece.unwrap().piece.unwrap()).collect().await;
    use v1::export_ledger_reply::Piece;
    let (mut snapshot, mut journal, mut rows) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        match piece {
            Piece::Snapshot(part) => snapshot.extend(part),
            Piece::JournalEntry(entry) => journal.push(ecovisor_audit::Linked::decode(&entry).unwrap()),
            Piece::Row(_) => rows += 1,
        }
    }
    let checkpoint = ecovisor_audit::Checkpoint::decode(&snapshot).unwrap();
    let entries = journal.into_iter().map(Ok::<_, ()>);
    let records: Option<Vec<Result<_, ()>>> = None;
    let report = ecovisor_audit::verify::verify(checkpoint, entries, records).unwrap();
    assert_eq!((report.ticks, report.fault), (4, None));
    // House and the site in the first tick, two apps more in the others.
    assert_eq!(rows, 2 + 3 * 4);
    let verified = operator.verify_ledger(v1::VerifyLedgerRequest::default()).await.unwrap().into_inner();
    assert!(verified.holds, "{verified:?}");
    assert_eq!((verified.ticks, verified.to_tick, verified.head.len()), (4, 4, 32));
    assert_eq!(verified.head, report.head.bytes());
    let neither = operator.export_ledger(v1::ExportLedgerRequest::default()).await;
    refused(neither, Code::InvalidArgument, "REASON_INVALID");
    let none = v1::VerifyLedgerRequest { from_tick: Some(3), to_tick: Some(3) };
    refused(operator.verify_ledger(none).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
}

// The operator.

#[tokio::test]
async fn an_app_is_tried_admitted_shown_and_deleted() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let mut request = create("new");
    let small = v1::AppShare { grid_limit_mw: 5_000, ..share() };
    request.spec.as_mut().unwrap().share = Some(small);
    let dry = v1::CreateAppRequest { dry_run: true, ..request.clone() };
    let tried = operator.create_app(dry).await.unwrap().into_inner();
    assert_eq!((tried.holds_from_tick, tried.app), (None, None));
    let free = tried.free.unwrap();
    // 100 W less twice 40 W and once 5 W; 1 kJ less three times 100 J.
    assert_eq!(
        (free.grid_limit_mw, free.battery_capacity_uj, free.solar_weight_total),
        (15_000, 700_000_000, 3)
    );
    let ghost = operator.show_app(v1::ShowAppRequest { app: "new".into() }).await;
    refused(ghost, Code::NotFound, "REASON_UNKNOWN_APP");
    let made = operator.create_app(request).await.unwrap().into_inner();
    assert_eq!((made.holds_from_tick, made.free.unwrap()), (Some(1), free));
    let shown = operator.show_app(v1::ShowAppRequest { app: "new".into() }).await.unwrap().into_inner();
    assert_eq!(shown.socket, bench.socket("new").display().to_string());
    assert_eq!(shown.spec.unwrap().owner_uid, Some(rustix::process::geteuid().as_raw()));
    let deleted = operator.delete_app(v1::DeleteAppRequest { app: "new".into(), dry_run: false }).await;
    let deleted = deleted.unwrap().into_inner();
    assert_eq!((deleted.holds_from_tick, deleted.app, deleted.to_house_uj), (Some(1), None, 0));
}

#[tokio::test]
async fn what_exceeds_the_site_is_refused_with_what_is_free() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let status =
        refused(operator.create_app(create("third")).await, Code::FailedPrecondition, "REASON_EXCEEDS_FREE");
    let info = status.get_details_error_info().unwrap();
    let figures = ["limit", "acceptable", "unit"].map(|key| info.metadata.get(key).cloned().unwrap());
    assert_eq!(figures, ["20000", "20000", "mw"]);
    refused(operator.create_app(create("web")).await, Code::AlreadyExists, "REASON_APP_TAKEN");
    refused(operator.create_app(create("Web")).await, Code::InvalidArgument, "REASON_INVALID");
    let house = v1::DrainAppRequest { app: "house".into(), dry_run: false };
    refused(operator.drain_app(house).await, Code::InvalidArgument, "REASON_INVALID");
    let ghost = v1::ShowAppRequest { app: "ghost".into() };
    refused(operator.show_app(ghost).await, Code::NotFound, "REASON_UNKNOWN_APP");
}

#[tokio::test]
async fn a_share_change_tells_what_passes_to_the_house_before_it_does() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.tick().await;
    }
    let mut operator = bench.operator().await;
    // 10 J are stored; a battery of 4 J leaves 6 J to the house.
    let smaller = v1::AppShare { battery_capacity_uj: 4_000_000, ..share() };
    let change = |dry_run| v1::ChangeShareRequest { app: "web".into(), share: Some(smaller), dry_run };
    let tried = operator.change_share(change(true)).await.unwrap().into_inner();
    assert_eq!((tried.holds_from_tick, tried.to_house_uj), (None, 6_000_000));
    assert!(tried.app.is_none());
    let list = operator.list_apps(v1::ListAppsRequest {}).await.unwrap().into_inner().apps;
    let names: Vec<_> = list.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["web", "db", "house"]);
    assert_eq!(list[0].spec.as_ref().unwrap().share, Some(share()), "a dry run changes nothing");
    let done = operator.change_share(change(false)).await.unwrap().into_inner();
    assert_eq!((done.holds_from_tick, done.to_house_uj), (Some(4), 6_000_000));
    assert_eq!(done.app.unwrap().spec.unwrap().share, Some(smaller));
    let drained =
        operator.drain_app(v1::DrainAppRequest { app: "web".into(), dry_run: false }).await.unwrap();
    assert_eq!(drained.into_inner().holds_from_tick, Some(4));
    bench.tick().await;
    let answer = bench.app("web").await.set_battery_charge_rate(rate(1)).await;
    refused(answer, Code::FailedPrecondition, "REASON_DRAINING");
}

#[tokio::test]
async fn policies_changed_twice_in_a_tick_keep_both_changes() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let set = |redistribute, export| v1::SetPoliciesRequest { redistribute, export, shortfall: 0 };
    operator.set_policies(set(Some(true), None)).await.unwrap();
    let both = operator.set_policies(set(None, Some(true))).await.unwrap().into_inner();
    let policies = both.policies.unwrap();
    assert_eq!((both.holds_from_tick, policies.redistribute, policies.export), (1, true, true));
    bench.tick().await;
    let now = operator.get_policies(v1::GetPoliciesRequest {}).await.unwrap().into_inner();
    assert_eq!((now.redistribute, now.export), (true, true));
    let shortfall = v1::SetPoliciesRequest {
        shortfall: v1::Shortfall::Freeze.into(),
        ..v1::SetPoliciesRequest::default()
    };
    refused(operator.set_policies(shortfall).await, Code::Unimplemented, "REASON_NOT_SUPPORTED");
}

#[tokio::test]
async fn the_operator_sets_and_attaches_for_an_app() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let setter = Some(v1::Setter { set: Some(Set::BatteryChargeRate(rate(5))) });
    let applied = operator.apply_setter(v1::ApplySetterRequest { app: "web".into(), setter }).await.unwrap();
    assert_eq!(applied.into_inner().holds_from_tick, 1);
    let nothing = v1::ApplySetterRequest { app: "web".into(), setter: None };
    refused(operator.apply_setter(nothing).await, Code::InvalidArgument, "REASON_INVALID");
    let attach = v1::AttachAppContainerRequest { app: "web".into(), attach: Some(this_process("me")) };
    operator.attach_app_container(attach).await.unwrap();
    let list =
        operator.list_app_containers(v1::ListAppContainersRequest { app: "web".into() }).await.unwrap();
    assert_eq!(list.into_inner().containers[0].name, "me");
    let detach = v1::DetachAppContainerRequest { app: "web".into(), name: "me".into() };
    operator.detach_app_container(detach).await.unwrap();
}

#[tokio::test]
async fn the_operator_sees_the_site_its_devices_and_its_configuration() {
    let bench = Bench::new().await;
    let mut operator = bench.operator().await;
    let before = operator.get_site(v1::GetSiteRequest {}).await.unwrap().into_inner();
    assert!(before.last.is_none());
    let mut ticks = operator.watch_site(v1::WatchSiteRequest {}).await.unwrap().into_inner();
    bench.tick().await;
    bench.tick().await;
    let (first, second) = (ticks.next().await.unwrap().unwrap(), ticks.next().await.unwrap().unwrap());
    assert_eq!((first.tick, first.apps.len(), second.apps.len()), (0, 1, 3));
    let solar = second.site.unwrap().solar.unwrap();
    assert_eq!((solar.booked_uj, solar.metered_uj), (10_000_000, Some(10_000_000)));
    let site = operator.get_site(v1::GetSiteRequest {}).await.unwrap().into_inner();
    assert_eq!(site.last.unwrap().tick, 1);
    assert_eq!(site.capacity.unwrap().battery_capacity_uj, 1_000_000_000);
    assert_eq!(site.free.unwrap().grid_limit_mw, 20_000);
    let devices = operator.list_devices(v1::ListDevicesRequest {}).await.unwrap().into_inner().devices;
    assert_eq!(devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["roof", "caps"]);
    let config = operator.get_config(v1::GetConfigRequest {}).await.unwrap().into_inner();
    assert_eq!((config.toml.as_str(), config.loaded_ms), ("[site]", 7));
    let reloaded = operator.reload_config(v1::ReloadConfigRequest { dry_run: true }).await.unwrap();
    assert_eq!(reloaded.into_inner().holds_from_tick, None);
}

// The future.

struct Noon;

impl ForecastSource for Noon {
    fn source(&self) -> &'static str {
        "trace"
    }
    fn step_ms(&self) -> u64 {
        1_000
    }
    fn solar(&self, utc_ms: u64) -> Option<Power> {
        (utc_ms < START_MS + 4_000).then(|| Power::new(2 * (utc_ms - START_MS)))
    }
    fn intensity(&self, _: u64) -> Option<CarbonIntensity> {
        None
    }
}

#[tokio::test]
async fn a_forecast_is_cut_into_steps_and_into_the_apps_part() {
    let bench = Bench::planned(Plan { forecast: Some(Arc::new(Noon)), ..Plan::default() }).await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let own = web.get_forecast(v1::GetForecastRequest::default()).await.unwrap().into_inner();
    assert_eq!((own.start_ms, own.step_ms), (START_MS + 1_000, 1_000));
    let series = own.solar_mw.unwrap();
    let medians: Vec<f64> = series.steps.iter().map(|step| step.p50).collect();
    // Half of 2 W, 4 W and 6 W, as far as there is one.
    assert_eq!((series.source.as_str(), medians), ("trace", vec![1_000.0, 2_000.0, 3_000.0]));
    assert!(own.carbon_mg_per_kwh.is_none());
    let two = v1::GetForecastRequest { horizon_ms: 2_000, step_ms: 2_000 };
    let steps = web.get_forecast(two).await.unwrap().into_inner().solar_mw.unwrap().steps;
    assert_eq!(steps.iter().map(|step| step.p10).collect::<Vec<_>>(), [1_500.0]);
    let long = v1::GetForecastRequest { horizon_ms: u64::MAX, step_ms: 1 };
    refused(web.get_forecast(long).await, Code::InvalidArgument, "REASON_PERIOD_OUT_OF_RANGE");
}

#[tokio::test]
async fn without_a_source_there_is_no_forecast() {
    let bench = Bench::new().await;
    let answer = bench.app("web").await.get_forecast(v1::GetForecastRequest::default()).await;
    refused(answer, Code::FailedPrecondition, "REASON_NO_FORECAST");
}
