//! Mutual TLS: who shows no certificate of the site's authority gets no answer.
#![allow(clippy::unwrap_used, reason = "a test")]

mod site;

use ecovisor_proto::v1::energy_service_server::EnergyServiceServer;
use ecovisor_sdk::{Address, EnergySystem, Error, TlsIdentity};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use site::Site;
use std::path::{Path, PathBuf};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

/// An authority and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, in PEM.
    fn sign(&self, name: SanType) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![name];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// An app's identity in files, which trusts `site`.
    fn identity(&self, dir: &Path, site: &Authority) -> TlsIdentity {
        let app = SanType::URI("spiffe://site/app/web".try_into().unwrap());
        let (cert, key) = self.sign(app);
        let file = |name: &str, pem: &str| -> PathBuf {
            let path = dir.join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        TlsIdentity {
            ca: file("ca.pem", &site.pem),
            cert: file("cert.pem", &cert),
            key: file("key.pem", &key),
        }
    }
}

/// Serves over TLS and answers the URL.
async fn serve(authority: &Authority) -> String {
    let (cert, key) = authority.sign(SanType::DnsName("localhost".try_into().unwrap()));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, key))
        .client_ca_root(Certificate::from_pem(&authority.pem));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server =
        Server::builder().tls_config(tls).unwrap().add_service(EnergyServiceServer::new(Site::default()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn an_app_with_a_certificate_of_the_site_is_answered() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let address = Address::tls(serve(&authority).await, authority.identity(dir.path(), &authority));
    let energy = EnergySystem::connect_to(&address).await.unwrap();
    assert_eq!(energy.state().await.unwrap().app, "web");
}

#[tokio::test]
async fn one_with_a_certificate_of_another_authority_is_not() {
    let (authority, stranger, dir) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let address = Address::tls(serve(&authority).await, stranger.identity(dir.path(), &authority));
    let outcome = match EnergySystem::connect_to(&address).await {
        Ok(energy) => energy.state().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_site_of_another_authority_is_not_believed() {
    let (authority, impostor, dir) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let address = Address::tls(serve(&impostor).await, authority.identity(dir.path(), &authority));
    let error = EnergySystem::connect_to(&address).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}
