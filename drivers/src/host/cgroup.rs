//! One cgroup, in every hierarchy that serves something: who is in it, what it used, its CPU quota, its freezer.

use super::CpuTime;
use super::files::{read, read_back, write, write_checked};
use super::layout::Hierarchies;
use crate::{ApplyError, CpuMeter, ReadError};
use std::path::{Path, PathBuf};

/// Bandwidth of a cgroup: that much CPU time per period, over all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuQuota {
    /// CPU time per period, µs, at least [`CpuQuota::SMALLEST_US`].
    pub quota_us: u64,
    /// The period, µs, 1,000 to 1,000,000.
    pub period_us: u64,
}

impl CpuQuota {
    /// Least quota that the kernel takes, µs (`min_cfs_quota_period`, kernel/sched/core.c).
    pub const SMALLEST_US: u64 = 1_000;
    /// The period that is used, µs: the kernel's default. Shorter ones throttle more often and cost more.
    pub const PERIOD_US: u64 = 100_000;
}

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    name: PathBuf,
    hierarchies: Hierarchies,
}

/// ESRCH: what the kernel answers where there is no such process.
const NO_SUCH_PROCESS: i32 = 3;

/// Longest name, bytes: room for a prefix below the kernel's 255.
const NAME_MAX: usize = 64;

/// Why the v2 tree cannot cap.
const NO_CPU_CONTROLLER: &str =
    "enable the cpu controller: write +cpu to cgroup.subtree_control of every parent (systemd: Delegate=cpu)";

impl Cgroup {
    /// Makes the cgroup `name` below `parent` (a path from the roots of the hierarchies; empty: directly below them) in
    /// every hierarchy, or takes over the ones that are there: a daemon that restarts finds its workloads again.
    /// On v2 the cpu controller is enabled for `parent`'s children.
    ///
    /// # Errors
    /// [`ApplyError::InvalidName`], [`ApplyError::Forbidden`] without the right, [`ApplyError::Busy`] where processes
    /// live in `parent` itself on v2, [`ApplyError::Gone`] where `parent` does not exist.
    pub fn create(hierarchies: &Hierarchies, parent: &Path, name: &str) -> Result<Self, ApplyError> {
        check_name(name)?;
        let made = Self { name: parent.join(name), hierarchies: hierarchies.clone() };
        if let Some(unified) = hierarchies.unified.as_ref().filter(|_| hierarchies.unified_caps) {
            enable_cpu(&unified.join(parent))?;
        }
        make_all(made.paths())?;
        Ok(made)
    }

    /// A cgroup that somebody else made (a container's), by its path from the roots of the hierarchies. Nothing is
    /// checked: what is missing is told when it is read.
    #[must_use]
    pub fn existing(hierarchies: &Hierarchies, path: &Path) -> Self {
        let name = path.strip_prefix("/").unwrap_or(path).to_path_buf();
        Self { name, hierarchies: hierarchies.clone() }
    }

    /// Moves the process `pid`, with all its threads, into the cgroup; children that it starts from then on follow.
    ///
    /// # Errors
    /// [`ApplyError::Forbidden`] without the right, [`ApplyError::Gone`] where the cgroup or the process is not there.
    pub fn join(&self, pid: u32) -> Result<(), ApplyError> {
        let join = |path: PathBuf| write(&path.join("cgroup.procs"), &pid.to_string());
        self.paths().try_for_each(join).map_err(|error| match error {
            ApplyError::Transient { cause, .. } if cause.raw_os_error() == Some(NO_SUCH_PROCESS) => {
                ApplyError::Gone { path: format!("process {pid}").into() }
            }
            error => error,
        })
    }

    /// The processes in it.
    ///
    /// # Errors
    /// As [`ReadError`] says.
    pub fn processes(&self) -> Result<Vec<u32>, ReadError> {
        let Some(path) = self.paths().next() else { return Ok(Vec::new()) };
        let text = read(&path.join("cgroup.procs"))?;
        Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// Removes it from every hierarchy; what is not there counts as removed.
    ///
    /// # Errors
    /// [`ApplyError::Busy`] while processes live in it, [`ApplyError::Forbidden`] without the right.
    pub fn remove(&self) -> Result<(), ApplyError> {
        for path in self.paths() {
            match std::fs::remove_dir(&path).map_err(|cause| ApplyError::writing(&path, cause)) {
                Ok(()) | Err(ApplyError::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// CPU time used by everything that ever was in it: v1's `cpuacct.usage` (ns) where there is one, else v2's
    /// `cpu.stat` (µs).
    ///
    /// # Errors
    /// [`ReadError::Lost`] where the cgroup was removed; else as [`ReadError`] says.
    pub fn cpu_time(&self) -> Result<CpuTime, ReadError> {
        if let Some(directory) = self.below(&self.hierarchies.cpuacct).filter(|path| path.exists()) {
            let path = directory.join("cpuacct.usage");
            return usage_nanos(&read(&path)?).ok_or_else(|| not_understood(&path, "nanoseconds"));
        }
        let Some(directory) = self.below(&self.hierarchies.unified) else {
            return Err(lost(&self.name));
        };
        let path = directory.join("cpu.stat");
        usage_micros(&read(&path)?).ok_or_else(|| not_understood(&path, "a line `usage_usec`"))
    }

    /// Sets its quota and reads it back.
    ///
    /// # Errors
    /// As [`ApplyError`] says: [`ApplyError::NotOffered`] where no hierarchy here has a cpu controller.
    pub fn set_quota(&self, quota: CpuQuota) -> Result<(), ApplyError> {
        let CpuQuota { quota_us, period_us } = quota;
        match self.bandwidth()? {
            Bandwidth::V2(path) => write_checked(&path, &format!("{quota_us} {period_us}")),
            Bandwidth::V1 { quota, period } => {
                let period_us = period_us.to_string();
                if read_back(&period)? != period_us {
                    write_checked(&period, &period_us)?;
                }
                write_checked(&quota, &quota_us.to_string())
            }
        }
    }

    /// Its quota; `None` where it has none.
    ///
    /// # Errors
    /// As [`ApplyError`] says; [`ApplyError::NotTaken`] where the kernel's text cannot be understood.
    pub fn quota(&self) -> Result<Option<CpuQuota>, ApplyError> {
        let (path, text) = match self.bandwidth()? {
            Bandwidth::V2(path) => (path.clone(), read_back(&path)?),
            Bandwidth::V1 { quota, period } => {
                let text = format!("{} {}", read_back(&quota)?, read_back(&period)?);
                (quota, text)
            }
        };
        quota_of(&text).ok_or_else(|| ApplyError::NotTaken {
            path,
            wanted: "a quota".to_owned(),
            found: text,
        })
    }

    /// Takes its quota away.
    ///
    /// # Errors
    /// As [`ApplyError`] says.
    pub fn lift_quota(&self) -> Result<(), ApplyError> {
        match self.bandwidth()? {
            Bandwidth::V2(path) => write_checked(&path, &format!("max {}", CpuQuota::PERIOD_US)),
            Bandwidth::V1 { quota, .. } => write_checked(&quota, "-1"),
        }
    }

    /// Stops everything in it until [`Cgroup::thaw`]; it uses no CPU meanwhile.
    ///
    /// # Errors
    /// As [`ApplyError`] says: [`ApplyError::NotOffered`] where no hierarchy here can freeze.
    pub fn freeze(&self) -> Result<(), ApplyError> {
        self.set_frozen("1", "FROZEN")
    }

    /// Lets everything in it run again.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), ApplyError> {
        self.set_frozen("0", "THAWED")
    }

    /// v1 passes through FREEZING by itself, so its state is not read back.
    fn set_frozen(&self, v2: &str, v1: &str) -> Result<(), ApplyError> {
        if let Some(path) = self.below(&self.hierarchies.unified) {
            return write_checked(&path.join("cgroup.freeze"), v2);
        }
        match self.below(&self.hierarchies.freezer) {
            Some(path) => write(&path.join("freezer.state"), v1),
            None => {
                Err(ApplyError::NotOffered { what: "a freezer", advice: "mount the freezer or cgroup v2" })
            }
        }
    }

    /// Its directories, one per hierarchy.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.hierarchies.roots().into_iter().map(|root| root.join(&self.name))
    }

    fn below(&self, root: &Option<PathBuf>) -> Option<PathBuf> {
        root.as_ref().map(|root| root.join(&self.name))
    }

    fn bandwidth(&self) -> Result<Bandwidth, ApplyError> {
        if let Some(path) = self.below(&self.hierarchies.cpu) {
            let (quota, period) = (path.join("cpu.cfs_quota_us"), path.join("cpu.cfs_period_us"));
            return Ok(Bandwidth::V1 { quota, period });
        }
        match self.below(&self.hierarchies.unified) {
            Some(path) if self.hierarchies.unified_caps => Ok(Bandwidth::V2(path.join("cpu.max"))),
            _ => Err(ApplyError::NotOffered { what: "a CPU quota", advice: NO_CPU_CONTROLLER }),
        }
    }
}

/// The files that hold a quota.
enum Bandwidth {
    V2(PathBuf),
    V1 { quota: PathBuf, period: PathBuf },
}

/// Makes every directory that is not there; where one cannot be made, removes those that it made.
fn make_all(paths: impl Iterator<Item = PathBuf>) -> Result<(), ApplyError> {
    let mut made = Vec::new();
    for path in paths {
        match std::fs::create_dir(&path) {
            Ok(()) => made.push(path),
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(cause) => {
                // Best effort: an empty cgroup left behind steers nothing.
                made.iter().for_each(|path| drop(std::fs::remove_dir(path)));
                return Err(ApplyError::writing(&path, cause));
            }
        }
    }
    Ok(())
}

/// Enables the cpu controller for the children of the v2 cgroup `parent`, where it is not yet.
fn enable_cpu(parent: &Path) -> Result<(), ApplyError> {
    let path = parent.join("cgroup.subtree_control");
    let enabled = read_back(&path)?;
    if enabled.split_whitespace().any(|name| name == "cpu") {
        return Ok(());
    }
    write(&path, "+cpu")
}

fn check_name(name: &str) -> Result<(), ApplyError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed);
    let name = || crate::error::shortened(name);
    fits.then_some(()).ok_or_else(|| ApplyError::InvalidName { name: name() })
}

/// `cpuacct.usage`.
fn usage_nanos(text: &str) -> Option<CpuTime> {
    text.trim().parse().ok().map(CpuTime::from_nanos)
}

/// `usage_usec` of `cpu.stat`.
fn usage_micros(text: &str) -> Option<CpuTime> {
    let figure = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    figure.trim().parse().ok().map(CpuTime::from_micros)
}

/// `max 100000` or `-1 100000` is no quota, `30000 100000` is one.
fn quota_of(text: &str) -> Option<Option<CpuQuota>> {
    let (quota, period) = text.split_once(' ')?;
    let period_us = period.trim().parse().ok()?;
    match quota {
        "max" | "-1" => Some(None),
        figure => Some(Some(CpuQuota { quota_us: figure.parse().ok()?, period_us })),
    }
}

fn not_understood(path: &Path, accepted: &str) -> ReadError {
    ReadError::implausible(path.display().to_string(), "its text", accepted)
}

fn lost(name: &Path) -> ReadError {
    ReadError::Lost {
        meter: name.display().to_string(),
        cause: "no hierarchy here accounts CPU time".to_owned(),
    }
}

/// The account of a cgroup as a meter: never less than what it last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMeter {
    cgroup: Cgroup,
    said: CpuTime,
}

impl CgroupMeter {
    /// A meter of that cgroup.
    #[must_use]
    pub const fn new(cgroup: Cgroup) -> Self {
        Self { cgroup, said: CpuTime::ZERO }
    }
}

impl CpuMeter for CgroupMeter {
    fn cpu_time(&mut self) -> Result<CpuTime, ReadError> {
        let time = self.cgroup.cpu_time()?;
        if time < self.said {
            let accepted = format!("at least {} ns, as before", self.said.nanos());
            let meter = self.cgroup.name.display().to_string();
            return Err(ReadError::implausible(meter, format!("{} ns", time.nanos()), accepted));
        }
        self.said = time;
        Ok(time)
    }
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
pub(super) mod tests;
