//! What this machine can do. Where it cannot, a test says so by name; under `./test` what that command provides must be
//! there.

use std::path::Path;

/// Set by `./test`: what it installs must be there, so that its lack is a failure and no reason to skip.
pub const ENV_ALL: &str = "ECOVISOR_TEST_ALL";

/// Whether the test command runs this test, and has provided what tests need.
#[must_use]
pub fn all_is_provided() -> bool {
    std::env::var_os(ENV_ALL).is_some()
}

/// Why no cgroups with a CPU quota can be made here; `None` where they can.
#[must_use]
pub fn why_no_quotas() -> Option<String> {
    let root = Path::new("/sys/fs/cgroup");
    let v1 = root.join("cpu");
    let v2 = root.join("cgroup.controllers");
    let home = if v1.is_dir() {
        v1
    } else if std::fs::read_to_string(v2).is_ok_and(|has| has.split_whitespace().any(|name| name == "cpu")) {
        root.to_owned()
    } else {
        return Some("this machine has no cgroups with a cpu controller".to_owned());
    };
    let probe = home.join(format!("ecovisor-probe-{}", std::process::id()));
    match std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe)) {
        Ok(()) => None,
        Err(error) => Some(format!("no cgroup can be made in {}: {error}", home.display())),
    }
}

/// Why no process of another user can be started here; `None` where it can.
#[must_use]
pub fn why_no_other_users() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root starts processes of other users".to_owned());
    }
    let there = ["/usr/bin/setpriv", "/bin/setpriv"].iter().any(|path| Path::new(path).exists());
    (!there).then(|| "setpriv (util-linux) is not installed".to_owned())
}
