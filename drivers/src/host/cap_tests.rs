//! A real busy loop in a real cgroup of this machine; where the machine allows none, each test says why it is skipped.

use super::*;
use crate::CpuMeter;
use crate::host::{CgroupMeter, CpuQuota, Hierarchies, ProcessTree, ticks_per_second};
use std::path::Path;
use std::process::{Child, Command};

/// A busy loop in a cgroup of its own; both end with the test.
struct Busy {
    cgroup: Cgroup,
    child: Child,
}

impl Busy {
    /// `None`, with the reason printed, where this machine allows no cgroup.
    fn start(name: &str) -> Option<Self> {
        let Some(hierarchies) = Hierarchies::detect(Path::new("/sys/fs/cgroup")) else {
            println!("skipped: because /sys/fs/cgroup has no cgroups");
            return None;
        };
        let name = format!("ecovisor-test-{name}-{}", std::process::id());
        let cgroup = match Cgroup::create(&hierarchies, Path::new(""), &name) {
            Ok(cgroup) => cgroup,
            Err(error) => {
                println!("skipped: because {error}");
                return None;
            }
        };
        let child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let busy = Self { cgroup, child };
        if let Err(error) = busy.cgroup.quota() {
            println!("skipped: because {error}");
            return None;
        }
        busy.cgroup.join(busy.child.id()).unwrap();
        Some(busy)
    }

    /// Waits, by watching the account, until `nanos` more CPU time is used.
    fn use_more(&self, nanos: u64) {
        let start = self.cgroup.cpu_time().unwrap();
        while self.cgroup.cpu_time().unwrap().since(start).nanos() < nanos {
            std::thread::yield_now();
        }
    }

    /// What the loop uses while it uses 0.3 s. The clock is read first and last, so that a test that is held up in
    /// between reads too little, never too much.
    fn percent_of_a_core(&self) -> u64 {
        let time = uptime_nanos();
        let used = self.cgroup.cpu_time().unwrap();
        self.use_more(300_000_000);
        let used = self.cgroup.cpu_time().unwrap().since(used).nanos();
        used * 100 / (uptime_nanos() - time).max(1)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.cgroup.thaw();
        let _ = self.child.kill();
        let _ = self.child.wait();
        while matches!(self.cgroup.remove(), Err(ApplyError::Busy { .. })) {
            std::thread::yield_now();
        }
    }
}

/// Time since this machine started, ns, from the kernel's own file.
fn uptime_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    crate::float::floor(seconds * 1e9)
}

#[test]
fn a_busy_loop_stays_under_its_cap() {
    let Some(busy) = Busy::start("cap") else { return };
    // 2 cores of 10 W each: 3 W are 30 % of one core.
    let model = PowerModel::new(Power::ZERO, Power::from_watts(20), 2).unwrap();
    let mut capped = CappedCgroup::new(busy.cgroup.clone(), model, Power::ZERO);
    assert_eq!(capped.cap(Power::from_watts(3)).unwrap(), Power::from_watts(3));
    let quota = CpuQuota { quota_us: 30_000, period_us: 100_000 };
    assert_eq!(busy.cgroup.quota().unwrap(), Some(quota));

    busy.use_more(30_000_000);
    // A machine that has other work may give less than the cap allows, but not three times in a row.
    let enough = |_| {
        let percent = busy.percent_of_a_core();
        println!("a cap of 30 % of a core: {percent} % used");
        assert!(percent <= 36, "{percent} % of a core under a cap of 30 %");
        percent >= 15
    };
    assert!((0..3).any(enough), "less than 15 % of a core under a cap of 30 %: is the machine overloaded?");

    capped.lift().unwrap();
    assert_eq!(busy.cgroup.quota().unwrap(), None);
}

#[test]
fn the_kernel_takes_the_smallest_quota() {
    let Some(busy) = Busy::start("least") else { return };
    let model = PowerModel::new(Power::ZERO, Power::from_watts(20), 2).unwrap();
    let mut capped = CappedCgroup::new(busy.cgroup.clone(), model, Power::ZERO);
    assert_eq!(capped.cap(Power::ZERO).unwrap(), Power::new(100));
    capped.lift().unwrap();
}

#[test]
fn the_account_and_the_process_tree_see_the_same_loop() {
    let Some(busy) = Busy::start("tree") else { return };
    let mut tree = ProcessTree::new(Path::new("/proc"), busy.child.id(), ticks_per_second()).unwrap();
    let mut meter = CgroupMeter::new(busy.cgroup.clone());
    let start = meter.cpu_time().unwrap();
    busy.use_more(100_000_000);
    let (by_tree, by_account) =
        (tree.cpu_time().unwrap().nanos(), meter.cpu_time().unwrap().since(start).nanos());
    // A tick of /proc is 10 ms at either end; the account is read a little later.
    assert!(by_tree + 20_000_000 >= 100_000_000, "tree {by_tree} ns, account {by_account} ns");
    assert!(by_tree <= by_account + 30_000_000, "tree {by_tree} ns, account {by_account} ns");
}

#[test]
fn a_frozen_loop_uses_nothing() {
    let Some(busy) = Busy::start("freeze") else { return };
    busy.cgroup.freeze().unwrap();
    // Freezing takes effect at the loop's next interrupt: wait until the account stands still.
    let still = || {
        let before = busy.cgroup.cpu_time().unwrap();
        let wait_until = uptime_nanos() + 50_000_000;
        while uptime_nanos() < wait_until {
            std::thread::yield_now();
        }
        busy.cgroup.cpu_time().unwrap() == before
    };
    assert!((0..20).any(|_| still()), "the loop ran on for a second");
    busy.cgroup.thaw().unwrap();
    busy.use_more(1_000_000);
}

#[test]
fn a_cgroup_in_use_is_busy_and_an_empty_one_is_removed() {
    let Some(busy) = Busy::start("remove") else { return };
    assert!(matches!(busy.cgroup.remove(), Err(ApplyError::Busy { .. })));
    assert_eq!(busy.cgroup.processes().unwrap(), [busy.child.id()]);
}

#[test]
fn a_process_that_is_not_there_cannot_join() {
    let Some(busy) = Busy::start("join") else { return };
    // Beyond the kernel's largest pid (4194304), so nobody's.
    let error = busy.cgroup.join(4_194_305).unwrap_err();
    assert_eq!(error.to_string(), "process 4194305 is gone");
}
