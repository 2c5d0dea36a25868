//! Who is who on the Unix sockets, and over TLS.

use super::*;

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
async fn a_uid_that_owns_an_app_and_its_children_is_that_app_and_the_children_by_their_sockets() {
    if !is_root() {
        return eprintln!("skipped, because only root can become another user");
    }
    let bench = Bench::planned(Plan { operator_uids: vec![1], ..Plan::default() }).await;
    let mut owned = create("one");
    owned.spec.as_mut().unwrap().owner_uid = Some(STRANGER);
    owned.spec.as_mut().unwrap().share = Some(v1::AppShare { solar_weight: 1, ..v1::AppShare::default() });
    bench.operator().await.create_app(owned).await.unwrap();
    let general = async || {
        EnergyServiceClient::new(channel(bench.paths.operator_socket(), Some(STRANGER)).await.unwrap())
    };
    let share = Some(v1::AppShare { solar_weight: 2, ..v1::AppShare::default() });
    let divide = v1::DivideShareRequest { child: "x".into(), share, ..v1::DivideShareRequest::default() };
    let divided = general().await.divide_share(divide).await.unwrap().into_inner();
    assert_eq!(divided.child.unwrap().name, "one.x");
    let system = general().await.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap();
    assert_eq!(system.into_inner().app, "one");
    bench.until_socket("one.x").await;
    let mut child = EnergyServiceClient::new(channel(bench.socket("one.x"), Some(STRANGER)).await.unwrap());
    let system = child.get_energy_system(v1::GetEnergySystemRequest {}).await.unwrap().into_inner();
    assert_eq!(system.app, "one.x");
    assert!(channel(bench.socket("one.x"), Some(STRANGER + 1)).await.is_err(), "the mode keeps others out");
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
