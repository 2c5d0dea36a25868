//! A service manager for tests: a socket that takes what a daemon tells systemd.

use crate::wait::{answer, until};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixDatagram;

/// Longest notification; ours are one or two short lines.
const BYTES_MAX: usize = 1024;

/// Takes notifications.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// A manager that listens at `path`.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn at(path: &Path) -> Result<Self> {
        Ok(Self { socket: UnixDatagram::bind(path)?, path: path.to_owned() })
    }

    /// What systemd puts into a service's environment that is to be watched at `watchdog_us`.
    #[must_use]
    pub fn environment(&self, watchdog_us: u64) -> [(&'static str, String); 2] {
        [("NOTIFY_SOCKET", self.path.display().to_string()), ("WATCHDOG_USEC", watchdog_us.to_string())]
    }

    /// The next notification, its lines.
    ///
    /// # Errors
    /// Where none comes in time.
    pub async fn heard(&self) -> Result<Vec<String>> {
        let mut buffer = [0; BYTES_MAX];
        let length = answer("the service manager hears", self.socket.recv(&mut buffer)).await?;
        Ok(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned).collect())
    }

    /// Waits for a notification with that line.
    ///
    /// # Errors
    /// Where none comes in time.
    pub async fn until_heard(&self, line: &str) -> Result<()> {
        let heard = async || {
            let heard = self.heard().await.ok()?;
            heard.iter().any(|said| said == line).then_some(())
        };
        until(&format!("the service manager hears {line}"), heard).await
    }

    /// Notifications until none has come for `quiet`.
    pub async fn until_quiet(&self, quiet: Duration) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let Ok(Ok(heard)) = tokio::time::timeout(quiet, self.heard()).await {
            all.push(heard);
        }
        all
    }
}
