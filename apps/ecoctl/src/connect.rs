//! Where the daemon is, and asking it.

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;
use ecovisor_sdk::operator::{Messages, Operator};
use ecovisor_sdk::{Address, Error, TlsIdentity};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a command works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The connection.
    pub operator: Operator,
    /// Longest that one call may take.
    pub timeout: Duration,
    /// Which daemon that is, for messages.
    pub target: String,
    /// Where answers go.
    pub output: Output,
}

impl Context {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody answers, or the flags contradict each other.
    pub async fn connect(global: &Global) -> Result<Self, Failure> {
        let (address, target) = address(global)?;
        let timeout = Duration::from_millis(global.timeout.get());
        let connecting = within(timeout, Operator::connect_to(&address)).await;
        let operator = connecting.map_err(|error| Failure::from_sdk(error, &target))?;
        Ok(Self { operator, timeout, target, output: Output { json: global.json } })
    }

    /// Waits for the answer to a call.
    ///
    /// # Errors
    /// Whatever the daemon said, or that it said nothing in time.
    pub async fn ask<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        within(self.timeout, call).await.map_err(|error| Failure::from_sdk(error, &self.target))
    }

    /// Waits for the next message of a stream, however long that takes.
    ///
    /// # Errors
    /// Why the stream broke.
    pub async fn next<T>(&self, messages: &mut Messages<T>) -> Result<Option<T>, Failure> {
        messages.next().await.map_err(|error| Failure::from_sdk(error, &self.target))
    }
}

/// A call that must be answered within `timeout`.
async fn within<T>(timeout: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silence = || Error::Unreachable { cause: format!("no answer within {} ms", timeout.as_millis()) };
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(silence()))
}

/// The daemon's address and its name for messages.
fn address(global: &Global) -> Result<(Address, String), Failure> {
    if let Some(url) = &global.address {
        let file = |path: &Option<PathBuf>, flag: &str| {
            path.clone().ok_or_else(|| {
                Failure::usage(format!("--address {url} needs {flag}")).hint(
                    "TLS takes --ca, --cert and --key: PEM files of the site's authority and of the caller",
                )
            })
        };
        if !url.starts_with("https://") {
            return Err(Failure::usage(format!("--address {url} does not start with https://")));
        }
        let identity = TlsIdentity {
            ca: file(&global.ca, "--ca")?,
            cert: file(&global.cert, "--cert")?,
            key: file(&global.key, "--key")?,
        };
        return Ok((Address::tls(url, identity), url.clone()));
    }
    let root = rustix::process::geteuid().is_root();
    let socket =
        global.socket.clone().unwrap_or_else(|| default_socket(root, global.user_run_dir.as_deref()));
    let target = socket.display().to_string();
    Ok((Address::socket(socket), target))
}

/// `<run>/ecovisor.sock`: the system's for root, else the user's own.
fn default_socket(root: bool, user_run_dir: Option<&Path>) -> PathBuf {
    let system = Path::new("/run");
    let run = if root { system } else { user_run_dir.unwrap_or(system) };
    run.join("ecovisor").join("ecovisor.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_speaks_to_the_system_and_a_user_to_their_own() {
        let run = Path::new("/run/user/7");
        assert_eq!(default_socket(true, Some(run)), Path::new("/run/ecovisor/ecovisor.sock"));
        assert_eq!(default_socket(false, Some(run)), Path::new("/run/user/7/ecovisor/ecovisor.sock"));
        assert_eq!(default_socket(false, None), Path::new("/run/ecovisor/ecovisor.sock"));
    }
}
