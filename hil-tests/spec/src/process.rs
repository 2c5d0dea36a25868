//! A process under measurement: what CPU time and memory it takes, from `/proc`. It ends with the value.

use anyhow::{Context as _, Result};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program; its output goes to `log`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child })
    }

    /// CPU time of all its threads so far: the kernel's own count in ns, since a tick's work is less than the 10 ms that
    /// `stat` counts in.
    ///
    /// # Errors
    /// Where it has ended, or the kernel does not count (`CONFIG_SCHED_INFO`).
    pub fn cpu(&self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut nanos = 0_u64;
        for task in std::fs::read_dir(&tasks).with_context(|| format!("{tasks} is gone"))? {
            // A thread that ends between the two calls has done nothing worth counting.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let own = text.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok());
            nanos += own.with_context(|| format!("{tasks}/*/schedstat says {text:?}"))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory now, in bytes.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn rss_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("{path} is gone"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{path} has no VmRSS"))? * 1024)
    }

    /// Sends SIGKILL, as a crash would, and waits for the end.
    ///
    /// # Errors
    /// Where it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Where it has ended; with which status.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("it ended with {status}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
