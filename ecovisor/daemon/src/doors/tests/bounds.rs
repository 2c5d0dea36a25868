//! What a connection and a socket are held to, and health.

use super::*;

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let bench = Bench::new().await;
    let request = v1::DetachContainerRequest { name: "x".repeat(crate::doors::MESSAGE_BYTES_MAX + 1) };
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
    for _ in 0..crate::doors::connection::PER_APP_MAX {
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
    let settings = || crate::doors::DoorSettings {
        run_dir: bench.paths.run_dir.clone(),
        operator_gid: None,
        operator_uids: vec![],
        site_name: "site-1".into(),
        tcp: None,
        limits: None,
    };
    let store = || Arc::new(crate::store::MemoryStore::new());
    let stop = tokio_util::sync::CancellationToken::new();
    let second = crate::doors::open(settings(), bench.engine.clone(), store(), None, stop.clone()).await;
    let message = format!("{:#}", second.unwrap_err());
    assert!(message.contains("is an ecovisord running already?"), "{message}");
    bench.stop.cancel();
    bench.doors.closed().await;
    // As a process that was killed leaves them.
    for path in [bench.paths.operator_socket(), bench.paths.app_dir().join("gone.sock")] {
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    }
    let settings = crate::doors::DoorSettings {
        run_dir: bench.paths.run_dir.clone(),
        operator_gid: None,
        operator_uids: vec![],
        site_name: "site-1".into(),
        tcp: None,
        limits: None,
    };
    let third =
        crate::doors::open(settings, bench.engine.clone(), store(), None, stop.clone()).await.unwrap();
    assert!(channel(bench.paths.operator_socket(), None).await.is_ok());
    assert!(!bench.paths.app_dir().join("gone.sock").exists());
    stop.cancel();
    third.closed().await;
}

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
