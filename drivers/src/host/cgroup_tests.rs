//! Cgroups on trees of recorded files: what the kernel's files look like, without the kernel.

use super::*;
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn found(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join(name)).unwrap()
}

pub(in crate::host) fn v2(controllers: &str) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    put(tree.path(), "cgroup.controllers", controllers);
    put(tree.path(), "cgroup.subtree_control", "memory\n");
    put(tree.path(), "cgroup.procs", "1\n");
    tree
}

pub(in crate::host) fn hybrid() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for controller in ["cpu", "cpuacct", "freezer", "memory", "unified"] {
        put(tree.path(), &format!("{controller}/cgroup.procs"), "1\n");
    }
    put(tree.path(), "unified/cgroup.controllers", "hugetlb\n");
    tree
}

pub(in crate::host) fn v1_joined() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for controllers in ["cpu,cpuacct", "freezer"] {
        put(tree.path(), &format!("{controllers}/cgroup.procs"), "1\n");
    }
    for link in ["cpu", "cpuacct"] {
        std::os::unix::fs::symlink("cpu,cpuacct", tree.path().join(link)).unwrap();
    }
    tree
}

/// What a kernel puts into a new cgroup `app` of each tree; figures recorded on Linux 6.18.
fn fill(tree: &TempDir) {
    for (directory, files) in [
        ("cpu/app", [("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")]),
        ("cpuacct/app", [("cpuacct.usage", "296931455\n"), ("cgroup.procs", "")]),
        ("unified/app", [("cpu.stat", "usage_usec 296930\nuser_usec 290000\n"), ("cgroup.freeze", "0\n")]),
        ("app", [("cpu.stat", "usage_usec 296930\nuser_usec 290000\n"), ("cpu.max", "max 100000\n")]),
        ("app", [("cgroup.freeze", "0\n"), ("cgroup.procs", "")]),
        ("freezer/app", [("freezer.state", "THAWED\n"), ("cgroup.procs", "")]),
        ("cpu/app", [("cgroup.procs", "41\n42\n"), ("cpu.shares", "1024\n")]),
        ("unified/app", [("cgroup.procs", "41\n42\n"), ("cgroup.kill", "")]),
    ] {
        if tree.path().join(directory).is_dir() {
            for (name, text) in files {
                put(tree.path(), &format!("{directory}/{name}"), text);
            }
        }
    }
}

fn app(tree: &TempDir) -> Cgroup {
    let hierarchies = Hierarchies::detect(tree.path()).unwrap();
    let made = Cgroup::create(&hierarchies, Path::new(""), "app").unwrap();
    fill(tree);
    made
}

const QUOTA: CpuQuota = CpuQuota { quota_us: 30_000, period_us: 100_000 };

#[test]
fn a_cgroup_is_made_and_joined_in_every_hierarchy() {
    let tree = hybrid();
    let app = app(&tree);
    app.join(41).unwrap();
    for controller in ["cpu", "cpuacct", "unified"] {
        assert_eq!(found(tree.path(), &format!("{controller}/app/cgroup.procs")), "41", "{controller}");
    }
    assert!(!tree.path().join("memory/app").exists());
    assert!(!tree.path().join("freezer/app").exists());
    assert_eq!(app.processes().unwrap(), [41]);
}

#[test]
fn v2_is_asked_for_its_cpu_controller() {
    let tree = v2("cpu memory");
    app(&tree);
    assert_eq!(found(tree.path(), "cgroup.subtree_control"), "+cpu");
}

#[test]
fn v2_accounts_caps_and_freezes_in_one_tree() {
    let tree = v2("cpu memory");
    let app = app(&tree);
    assert_eq!(app.cpu_time().unwrap(), CpuTime::from_nanos(296_930_000));
    assert_eq!(app.quota().unwrap(), None);
    app.set_quota(QUOTA).unwrap();
    assert_eq!(found(tree.path(), "app/cpu.max"), "30000 100000");
    assert_eq!(app.quota().unwrap(), Some(QUOTA));
    app.lift_quota().unwrap();
    assert_eq!(found(tree.path(), "app/cpu.max"), "max 100000");
    app.freeze().unwrap();
    assert_eq!(found(tree.path(), "app/cgroup.freeze"), "1");
    app.thaw().unwrap();
    assert_eq!(found(tree.path(), "app/cgroup.freeze"), "0");
}

#[test]
fn hybrid_accounts_and_caps_in_v1_and_freezes_in_v2() {
    let tree = hybrid();
    let app = app(&tree);
    assert_eq!(app.cpu_time().unwrap(), CpuTime::from_nanos(296_931_455));
    assert_eq!(app.quota().unwrap(), None);
    app.set_quota(QUOTA).unwrap();
    assert_eq!(found(tree.path(), "cpu/app/cpu.cfs_quota_us"), "30000");
    assert_eq!(app.quota().unwrap(), Some(QUOTA));
    app.lift_quota().unwrap();
    assert_eq!(app.quota().unwrap(), None);
    app.freeze().unwrap();
    assert_eq!(found(tree.path(), "unified/app/cgroup.freeze"), "1");
}

#[test]
fn hybrid_without_an_account_in_v1_takes_the_one_of_v2() {
    let tree = hybrid();
    let app = app(&tree);
    fs::remove_dir_all(tree.path().join("cpuacct/app")).unwrap();
    assert_eq!(app.cpu_time().unwrap(), CpuTime::from_micros(296_930));
}

#[test]
fn v1_freezes_in_its_freezer() {
    let tree = v1_joined();
    let app = app(&tree);
    app.freeze().unwrap();
    assert_eq!(found(tree.path(), "freezer/app/freezer.state"), "FROZEN");
}

#[test]
fn a_machine_without_a_cpu_controller_says_what_to_do() {
    let tree = v2("memory");
    let error = app(&tree).set_quota(QUOTA).unwrap_err();
    assert!(matches!(error, ApplyError::NotOffered { .. }));
    assert!(error.to_string().contains("enable the cpu controller"), "{error}");
}

#[test]
fn what_was_removed_is_gone_to_writers_and_lost_to_readers() {
    let tree = v2("cpu");
    let app = app(&tree);
    fs::remove_dir_all(tree.path().join("app")).unwrap();
    assert!(matches!(app.join(1), Err(ApplyError::Gone { .. })));
    assert!(matches!(app.cpu_time(), Err(ReadError::Lost { .. })));
    app.remove().unwrap();
}

#[test]
fn a_cgroup_in_use_is_not_removed() {
    let tree = v2("cpu");
    let app = app(&tree);
    assert!(matches!(app.remove(), Err(ApplyError::Busy { .. })));
}

#[test]
fn a_cgroup_that_cannot_be_made_everywhere_is_made_nowhere() {
    let tree = hybrid();
    let hierarchies = Hierarchies {
        cpuacct: Some(tree.path().join("nowhere")),
        ..Hierarchies::detect(tree.path()).unwrap()
    };
    let refusal = Cgroup::create(&hierarchies, Path::new(""), "app");
    assert!(matches!(refusal, Err(ApplyError::Gone { .. })));
    assert!(!tree.path().join("unified/app").exists());
    assert!(!tree.path().join("cpu/app").exists());
}

#[test]
fn a_cgroup_that_is_there_is_taken_over() {
    let tree = hybrid();
    let app = app(&tree);
    let again = Cgroup::create(&Hierarchies::detect(tree.path()).unwrap(), Path::new(""), "app").unwrap();
    assert_eq!(again, app);
    assert_eq!(again.cpu_time().unwrap(), app.cpu_time().unwrap());
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    let tree = v2("cpu");
    let hierarchies = Hierarchies::detect(tree.path()).unwrap();
    for name in ["", ".", "..", "a/b", ".hidden", "a b", "ä", "x".repeat(65).as_str()] {
        let refusal = Cgroup::create(&hierarchies, Path::new(""), name);
        assert!(matches!(refusal, Err(ApplyError::InvalidName { .. })), "{name}");
    }
    assert!(Cgroup::create(&hierarchies, Path::new(""), &"x".repeat(64)).is_ok());
}

#[test]
fn an_account_that_runs_backwards_is_no_reading() {
    let tree = v2("cpu");
    let mut meter = CgroupMeter::new(app(&tree));
    assert_eq!(meter.cpu_time().unwrap(), CpuTime::from_micros(296_930));
    put(tree.path(), "app/cpu.stat", "usage_usec 296929\n");
    assert!(matches!(meter.cpu_time(), Err(ReadError::Implausible { .. })));
    put(tree.path(), "app/cpu.stat", "usage_usec 296931\n");
    assert_eq!(meter.cpu_time().unwrap(), CpuTime::from_micros(296_931));
    put(tree.path(), "app/cpu.stat", "nothing\n");
    assert!(matches!(meter.cpu_time(), Err(ReadError::Implausible { .. })));
}

#[test]
fn what_the_kernel_did_not_take_is_told() {
    assert_eq!(quota_of("max 100000"), Some(None));
    assert_eq!(quota_of("-1 100000"), Some(None));
    assert_eq!(quota_of("30000 100000"), Some(Some(QUOTA)));
    assert_eq!(quota_of("x 100000"), None);
    assert_eq!(quota_of("30000"), None);
}

proptest! {
    #[test]
    fn no_text_of_the_kernel_is_a_panic(text in ".*") {
        let _ = (usage_nanos(&text), usage_micros(&text), quota_of(&text));
        let _ = usage_micros(&format!("usage_usec {text}"));
    }
}
