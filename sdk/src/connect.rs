//! Where the daemon is and how to reach it: a Unix socket, or TLS where both sides show a certificate.

use crate::Error;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Names the daemon's socket, or its `https://` URL.
pub const ENV_SOCKET: &str = "ECOVISOR_SOCKET";
/// Names the PEM file with the site's certificate authority, for `https://`.
pub const ENV_CA: &str = "ECOVISOR_CA";
/// Names the PEM file with the caller's certificate, for `https://`.
pub const ENV_CERT: &str = "ECOVISOR_CERT";
/// Names the PEM file with the caller's private key, for `https://`.
pub const ENV_KEY: &str = "ECOVISOR_KEY";

/// The daemon's run directory where it runs as root.
const RUN_DIR: &str = "/run/ecovisor";

/// The socket in the run directory that serves everyone; apps have one of their own beside it.
const SOCKET_NAME: &str = "ecovisor.sock";

/// Longest that a connection may take: a local daemon answers in a millisecond, one abroad in a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest that a call may take until it is answered. A command is answered after it is journaled, which takes
/// milliseconds; ten seconds means that the daemon hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a silent TLS connection is probed, so that a stream notices a peer that vanished.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Where the daemon is.
///
/// ```
/// use ecovisor_sdk::Address;
/// assert_eq!("/run/ecovisor/app/web.sock".parse::<Address>()?, Address::socket("/run/ecovisor/app/web.sock"));
/// assert_eq!("unix:/tmp/eco.sock".parse::<Address>()?, Address::socket("/tmp/eco.sock"));
/// assert!("https://site:7443".parse::<Address>().is_err(), "TLS needs to know who calls");
/// # Ok::<(), ecovisor_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket; who connects is known by its credentials.
    Socket(PathBuf),
    /// A URL that starts with `https://`; who connects is known by its certificate.
    Tls {
        /// The URL.
        url: String,
        /// Who calls, and whom it trusts.
        identity: TlsIdentity,
    },
}

/// Who calls over TLS, and whom it trusts: paths of PEM files, read when a connection is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The site's certificate authority.
    pub ca: PathBuf,
    /// The caller's certificate; its SAN URI names the app or the operator role.
    pub cert: PathBuf,
    /// The caller's private key.
    pub key: PathBuf,
}

impl Address {
    /// The socket at `path`.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self::Socket(path.into())
    }

    /// The daemon behind an `https://` URL.
    #[must_use]
    pub fn tls(url: impl Into<String>, identity: TlsIdentity) -> Self {
        Self::Tls { url: url.into(), identity }
    }

    /// What the environment says: [`ENV_SOCKET`] (with [`ENV_CA`], [`ENV_CERT`] and [`ENV_KEY`] where it is a URL), else
    /// `$XDG_RUNTIME_DIR/ecovisor/ecovisor.sock` where that exists, else `/run/ecovisor/ecovisor.sock`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the socket is a URL and one of the three PEM files is not named.
    pub fn from_env() -> Result<Self, Error> {
        match variable(ENV_SOCKET) {
            Some(url) if url.starts_with("https://") => {
                let file = |name: &str| {
                    variable(name)
                        .map(PathBuf::from)
                        .ok_or_else(|| Error::invalid(format!("{name} is not set")))
                };
                Ok(Self::tls(
                    url,
                    TlsIdentity { ca: file(ENV_CA)?, cert: file(ENV_CERT)?, key: file(ENV_KEY)? },
                ))
            }
            Some(path) => path.parse(),
            None => Ok(Self::Socket(default_socket(variable("XDG_RUNTIME_DIR").as_deref()))),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, Error> {
        let endpoint = match self {
            Self::Socket(path) => Endpoint::from_shared(format!("unix:{}", path.display()))?,
            Self::Tls { url, identity } => Endpoint::from_shared(url.clone())?
                .tls_config(identity.read()?)?
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_while_idle(true),
        };
        Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT))
    }

    /// A channel that is connected, and connects again by itself when a later call finds it broken.
    pub(crate) async fn channel(&self) -> Result<Channel, Error> {
        let endpoint = self.endpoint()?;
        let connected = endpoint.connect().await.map_err(Error::from);
        connected.map_err(|error| match (self, error) {
            (Self::Socket(path), Error::Unreachable { cause }) => {
                Error::Unreachable { cause: format!("{}: {cause}", path.display()) }
            }
            (Self::Tls { url, .. }, Error::Unreachable { cause }) => {
                Error::Unreachable { cause: format!("{url}: {cause}") }
            }
            (_, other) => other,
        })
    }
}

impl FromStr for Address {
    type Err = Error;

    /// A path, with or without `unix:` before it.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.starts_with("https://") {
            return Err(Error::invalid("an https address needs a TLS identity: use Address::tls"));
        }
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            return Err(Error::invalid(format!("`{text}` is neither a socket's path nor an https URL")));
        }
        Ok(Self::socket(path))
    }
}

impl TlsIdentity {
    fn read(&self) -> Result<ClientTlsConfig, Error> {
        let pem = |path: &Path| {
            std::fs::read(path).map_err(|cause| Error::invalid(format!("{}: {cause}", path.display())))
        };
        Ok(ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pem(&self.ca)?))
            .identity(Identity::from_pem(pem(&self.cert)?, pem(&self.key)?)))
    }
}

fn default_socket(user_run_dir: Option<&str>) -> PathBuf {
    let of_user = user_run_dir.map(|dir| Path::new(dir).join("ecovisor").join(SOCKET_NAME));
    of_user.filter(|path| path.exists()).unwrap_or_else(|| Path::new(RUN_DIR).join(SOCKET_NAME))
}

/// The one place where the SDK reads the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "an app is told by its environment where the daemon is; documented here"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_socket_is_taken_where_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().to_str().unwrap();
        assert_eq!(default_socket(Some(run_dir)), Path::new("/run/ecovisor/ecovisor.sock"));
        std::fs::create_dir(dir.path().join("ecovisor")).unwrap();
        std::fs::write(dir.path().join("ecovisor/ecovisor.sock"), "").unwrap();
        assert_eq!(default_socket(Some(run_dir)), dir.path().join("ecovisor/ecovisor.sock"));
        assert_eq!(default_socket(None), Path::new("/run/ecovisor/ecovisor.sock"));
    }

    #[test]
    fn what_is_neither_path_nor_url_is_invalid() {
        for text in ["", "unix:", "http://site:80", "tcp://site"] {
            assert!(matches!(text.parse::<Address>(), Err(Error::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn a_missing_pem_file_is_named() {
        let identity = TlsIdentity { ca: "/nowhere/ca.pem".into(), cert: "c".into(), key: "k".into() };
        let error = Address::tls("https://site:1", identity).endpoint().unwrap_err();
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    }
}
