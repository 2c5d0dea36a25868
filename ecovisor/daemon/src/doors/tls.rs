//! TCP, with certificates on both sides. The handshake happens here and not in the server, so that a caller has an
//! identity and a place before the server hears of it.

use super::TcpDoor;
use super::connection::{Entrance, Wire};
use super::handshakes::{Handshake, Handshakes};
use crate::identity::Identity;
use anyhow::{Context as _, anyhow};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How long a handshake may take: two round trips around the world, and a busy client.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Listens, and lets in whoever shows a certificate of the CA.
///
/// # Errors
/// Where files cannot be read, do not fit, or the address is taken.
pub async fn listen(
    door: &TcpDoor,
    entrance: Entrance,
    shutdown: CancellationToken,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let acceptor = TlsAcceptor::from(Arc::new(config(door)?));
    let listener = TcpListener::bind(door.addr).await?;
    let addr = listener.local_addr()?;
    let handshakes = Handshakes::default();
    let keeper = tokio::spawn(async move {
        loop {
            let next = async {
                let free = handshakes.free().await;
                (free, listener.accept().await)
            };
            let (free, accepted) = tokio::select! {
                () = shutdown.cancelled() => return,
                next = next => next,
            };
            match (free, accepted) {
                (Some(free), Ok((stream, from))) => match handshakes.place(free, from.ip()) {
                    Some(place) => {
                        tokio::spawn(shake_hands(acceptor.clone(), entrance.clone(), place, stream, from));
                    }
                    None => {
                        if let Some(untold) = entrance.lines.crowded.due() {
                            tracing::warn!(%from, untold, "too many TLS handshakes from there: this one is closed");
                        }
                    }
                },
                (_, Err(error)) => {
                    super::unix::after_failed_accept(&error, &entrance.lines.unaccepted).await;
                }
                (None, _) => return,
            }
        }
    });
    Ok((addr, keeper))
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    entrance: Entrance,
    place: Handshake,
    stream: TcpStream,
    from: SocketAddr,
) {
    // Small messages, each waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%from, %error, "a connection keeps Nagle's delay");
    }
    let shaken = match timeout(HANDSHAKE_TIME_MAX, acceptor.accept(stream)).await {
        Ok(shaken) => shaken.map_err(|error| error.to_string()),
        Err(_) => Err("it took too long".to_owned()),
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => {
            if let Some(untold) = entrance.lines.unshaken.due() {
                tracing::info!(%from, error, untold, "a TLS handshake failed");
            }
            return;
        }
    };
    drop(place);
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let identity = match certificate {
        Some(der) => entrance.access.certificate(der, &entrance.engine.view()),
        // The verifier lets nobody in without one.
        None => Identity::Anonymous { why: "there is no client certificate".into() },
    };
    entrance.enter(identity, Wire::Tls(Box::new(stream))).await;
}

fn config(door: &TcpDoor) -> anyhow::Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&door.ca)? {
        roots.add(certificate).with_context(|| format!("{} is no CA", door.ca.display()))?;
    }
    let key = PrivateKeyDer::from_pem_file(&door.key)
        .with_context(|| format!("cannot read a private key from {}", door.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&door.cert)?, key)
        .with_context(|| format!("{} and {} do not fit", door.cert.display(), door.key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read =
        || -> anyhow::Result<Vec<_>> { Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?) };
    let all = read().with_context(|| format!("cannot read certificates from {}", path.display()))?;
    if all.is_empty() { Err(anyhow!("there is no certificate in {}", path.display())) } else { Ok(all) }
}
