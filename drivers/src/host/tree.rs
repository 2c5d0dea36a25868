//! CPU time of a process and all its descendants, for workloads without a cgroup of their own.
//!
//! A process that ends takes its own figures away; where its parent waits for it, they come back among the parent's
//! `cutime` and `cstime`, together with what it used since it was last seen. So the account counts what grew, and of what
//! grew among a parent's waited-for children, it takes off what it had counted for those children before. It never
//! runs backwards; what a process used between its last sight and its end is lost only where nobody waits for it.
//! Who was once in the tree stays in it, though its parent ends.

use super::CpuTime;
use super::files::read;
use super::stat::{ProcessStat, process};
use crate::{CpuMeter, ReadError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A process: its pid is reused, its start time with it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    pid: u32,
    started: u64,
}

/// A process and its descendants.
#[derive(Clone, Debug)]
pub struct ProcessTree {
    proc: PathBuf,
    ticks_per_second: u64,
    root: Identity,
    /// Everybody seen at the last reading.
    members: BTreeMap<Identity, ProcessStat>,
    /// Ticks counted so far.
    counted: u64,
}

/// Clock ticks per second of this machine's `/proc`: 100 nearly everywhere.
#[must_use]
pub fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// `ticks` of a clock with that many a second; a clock of zero ticks counts nothing.
pub(super) fn nanos_of_ticks(ticks: u64, ticks_per_second: u64) -> CpuTime {
    let nanos = (u128::from(ticks) * 1_000_000_000).checked_div(u128::from(ticks_per_second)).unwrap_or(0);
    CpuTime::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl ProcessTree {
    /// The tree below the process `pid` as `proc` (usually `/proc`) shows it now, which counts from here on. What
    /// the tree has used before is not counted.
    ///
    /// # Errors
    /// [`ReadError::Lost`] where there is no such process; else as [`ReadError`] says.
    pub fn new(proc: &Path, pid: u32, ticks_per_second: u64) -> Result<Self, ReadError> {
        let path = stat_path(proc, pid);
        let stat = process(&read(&path)?).ok_or_else(|| {
            ReadError::implausible(path.display().to_string(), "its text", "that of proc(5)")
        })?;
        let root = Identity { pid, started: stat.started };
        let empty = BTreeMap::from([(root, stat)]);
        let mut tree = Self { proc: proc.into(), ticks_per_second, root, members: empty, counted: 0 };
        tree.members = tree.living(&all(proc)?);
        Ok(tree)
    }

    /// When the root started, in clock ticks since boot: with its pid, its identity.
    #[must_use]
    pub const fn started(&self) -> u64 {
        self.root.started
    }

    /// The members now: who was one and lives, and everybody below.
    fn living(&self, processes: &BTreeMap<u32, ProcessStat>) -> BTreeMap<Identity, ProcessStat> {
        let identity = |pid: u32, stat: &ProcessStat| Identity { pid, started: stat.started };
        let is_member = |pid: u32| {
            // Follows parents upwards; a chain longer than the list of processes would be a circle.
            let mut at = pid;
            for _ in 0..=processes.len() {
                let Some(stat) = processes.get(&at) else { return false };
                if self.members.contains_key(&identity(at, stat)) {
                    return true;
                }
                at = stat.parent;
            }
            false
        };
        let members = processes.iter().filter(|(pid, _)| is_member(**pid));
        members.map(|(pid, stat)| (identity(*pid, stat), *stat)).collect()
    }

    /// Counts what `now` used more than the members before.
    fn count(&mut self, now: BTreeMap<Identity, ProcessStat>) {
        let mut waited_for = self.counted_among_the_waited_for(&now);
        for (identity, stat) in &now {
            let before = self.members.get(identity);
            let own = stat.own.saturating_sub(before.map_or(0, |before| before.own));
            let children = stat.children.saturating_sub(before.map_or(0, |before| before.children));
            let known = waited_for.remove(identity).unwrap_or(0);
            self.counted = self.counted.saturating_add(own).saturating_add(children.saturating_sub(known));
        }
        self.members = now;
    }

    /// What was counted for members that have ended, at the nearest ancestor that lives: whoever may have waited.
    fn counted_among_the_waited_for(&self, now: &BTreeMap<Identity, ProcessStat>) -> BTreeMap<Identity, u64> {
        let by_pid: BTreeMap<u32, Identity> = self.members.keys().map(|one| (one.pid, *one)).collect();
        let heir = |ended: &ProcessStat| {
            let mut at = *by_pid.get(&ended.parent)?;
            for _ in 0..=self.members.len() {
                if now.contains_key(&at) {
                    return Some(at);
                }
                at = *by_pid.get(&self.members.get(&at)?.parent)?;
            }
            None
        };
        let mut known = BTreeMap::new();
        for (_, ended) in self.members.iter().filter(|(identity, _)| !now.contains_key(identity)) {
            if let Some(heir) = heir(ended) {
                *known.entry(heir).or_insert(0_u64) += ended.own.saturating_add(ended.children);
            }
        }
        known
    }
}

impl CpuMeter for ProcessTree {
    fn cpu_time(&mut self) -> Result<CpuTime, ReadError> {
        let now = self.living(&all(&self.proc)?);
        self.count(now);
        if self.members.values().all(|stat| stat.zombie) {
            let meter = format!("process {} and its descendants", self.root.pid);
            return Err(ReadError::Lost { meter, cause: "all have ended".to_owned() });
        }
        Ok(nanos_of_ticks(self.counted, self.ticks_per_second))
    }
}

/// Every process that `proc` shows, by pid. One that ends while it is read is left out.
fn all(proc: &Path) -> Result<BTreeMap<u32, ProcessStat>, ReadError> {
    let entries = std::fs::read_dir(proc).map_err(|cause| ReadError::reading(proc, cause))?;
    let pid = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let stat = |pid: u32| Some((pid, process(&read(&stat_path(proc, pid)).ok()?)?));
    Ok(entries.flatten().filter_map(pid).filter_map(stat).collect())
}

fn stat_path(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string()).join("stat")
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
