//! The door for other machines: both sides show a certificate, and it says who calls.

use crate::configs::NOON;
use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Site, command, ended, free_port};
use ecovisor_sdk::operator::{Operator, wire};
use ecovisor_sdk::{Address, EnergySystem, Error, TlsIdentity};
use std::path::Path;

/// A site with a TLS door, and its port.
pub async fn site_with_tls(config: &str) -> (Site, u16) {
    let port = free_port().unwrap();
    let tls = format!(
        "[tls]\nlisten = \"127.0.0.1:{port}\"\nca = \"DIR/ca/ca.pem\"\ncert = \"DIR/ca/server.pem\"\n\
         key = \"DIR/ca/server.key\"\n"
    );
    let mut site = Site::new(&format!("{config}{tls}")).unwrap();
    make_ca(&site.path("ca")).await;
    site.run(&[]).await.unwrap();
    (site, port)
}

pub async fn make_ca(directory: &Path) {
    let mut ca = command(program("ecovisord").unwrap());
    ca.arg("ca").arg(directory).args(["--site", "noon", "--app", "web", "--app", "stranger"]);
    let made = ended(ca.args(["--host", "localhost", "--host", "127.0.0.1"])).await.unwrap();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
}

fn address(port: u16, ca: &Path, of: &Path, name: &str) -> Address {
    let identity = TlsIdentity {
        ca: ca.join("ca.pem"),
        cert: of.join(format!("{name}.pem")),
        key: of.join(format!("{name}.key")),
    };
    Address::tls(format!("https://127.0.0.1:{port}"), identity)
}

async fn asked(address: &Address) -> Result<String, Error> {
    Ok(EnergySystem::connect_to(address).await?.state().await?.app)
}

#[tokio::test]
async fn a_certificate_says_who_calls() {
    let (site, port) = site_with_tls(NOON).await;
    let ca = site.path("ca");
    let as_web = address(port, &ca, &ca, "app-web");
    assert_eq!(asked(&as_web).await.unwrap(), "web");
    let denied =
        Operator::connect_to(&as_web).await.unwrap().list_apps(wire::ListAppsRequest {}).await.unwrap_err();
    assert!(matches!(denied, Error::NotAllowed { .. }), "{denied}");
    let as_operator = address(port, &ca, &ca, "operator");
    let operator = Operator::connect_to(&as_operator).await.unwrap();
    assert_eq!(operator.list_apps(wire::ListAppsRequest {}).await.unwrap().apps.len(), 3);
    let unknown = asked(&address(port, &ca, &ca, "app-stranger")).await.unwrap_err();
    assert!(matches!(unknown, Error::NotAllowed { .. }), "{unknown}");
    let trail = site.trail().unwrap();
    assert!(trail.lines().any(|line| line.contains("tls") && line.contains("denied")), "{trail}");
}

#[tokio::test]
async fn a_caller_of_another_authority_or_of_none_is_refused() {
    let (site, port) = site_with_tls(NOON).await;
    let (ours, theirs) = (site.path("ca"), site.path("other-ca"));
    make_ca(&theirs).await;
    let refused = asked(&address(port, &ours, &theirs, "app-web")).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused}");
    // Whoever trusts another authority does not speak to this site.
    let distrusted = asked(&address(port, &theirs, &ours, "app-web")).await.unwrap_err();
    assert!(matches!(distrusted, Error::Unreachable { .. }), "{distrusted}");
    // A server's certificate is not a caller's.
    let server = asked(&address(port, &ours, &ours, "server")).await.unwrap_err();
    assert!(matches!(server, Error::Unreachable { .. } | Error::NotAllowed { .. }), "{server}");
}

#[tokio::test]
async fn nobody_speaks_without_tls() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_site, port) = site_with_tls(NOON).await;
    let mut plain = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read =
        ecovisor_hil_tests::wait::answer("the end of the connection", plain.read_to_end(&mut answer)).await;
    // A TLS alert and the end, or the end alone.
    assert!(read.is_err() || answer.first().is_none_or(|first| *first == 0x15), "{answer:?}");
}
