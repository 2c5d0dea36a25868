//! What a caller may attach: what it owns, and nothing else. A pid whose user is the caller's, a cgroup under the subtree
//! that was delegated to the app, a GPU or TPU that was granted to it. The operator may attach anything that exists.
//!
//! A refusal does not say whether what is not the caller's exists.

use crate::identity::{Credential, Held, Identity, Paths, status_numbers};
use ecovisor_audit::{Grants, Target};
use ecovisor_drivers::host::Hierarchies;
use ecovisor_proto::v1::container_target::Target as Wanted;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Why something is not attached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not the caller's.
    #[error("{0}")]
    NotOwned(String),
    /// It does not exist.
    #[error("{0}")]
    NoSuch(String),
    /// It would be the caller's, but cannot be metered yet.
    #[error("{0}")]
    NotSupported(String),
    /// It cannot be a workload at all.
    #[error("{0}")]
    Malformed(String),
}

/// Who wants to attach.
#[derive(Clone, Copy, Debug)]
pub enum Claimant<'a> {
    /// The operator.
    Operator,
    /// An app: the user of its process (`None` over TLS, where there is no process), and what it was granted.
    App {
        /// The peer's user.
        uid: Option<u32>,
        /// The app's grants.
        grants: &'a Grants,
    },
}

impl<'a> Claimant<'a> {
    /// Who a caller is as a claimant.
    #[must_use]
    pub fn new(identity: &Identity, grants: &'a Grants) -> Self {
        match identity {
            Identity::Operator { .. } => Self::Operator,
            Identity::App { by: Credential::Peer(peer), .. } => Self::App { uid: Some(peer.uid), grants },
            Identity::App { by: Credential::Certificate(_), .. } | Identity::Anonymous { .. } => {
                Self::App { uid: None, grants }
            }
        }
    }
}

/// What stands behind `wanted`, if the claimant may attach it.
///
/// # Errors
/// Why not; what is not the claimant's comes first.
pub fn claim(claimant: Claimant<'_>, wanted: Wanted, paths: &Paths) -> Result<Target, Denied> {
    match wanted {
        Wanted::Pid(pid) => process(claimant, pid, &paths.proc_root),
        Wanted::CgroupPath(path) => cgroup(claimant, &path, &paths.cgroup_root),
        Wanted::GpuIndex(index) => device(claimant, "GPU", index, |grants| &grants.gpu_indices),
        Wanted::TpuIndex(index) => device(claimant, "TPU", index, |grants| &grants.tpu_indices),
        Wanted::LxcName(name) => Err(Denied::NotSupported(format!(
            "LXC container {name:?} cannot be metered yet: attach its cgroup"
        ))),
    }
}

/// A process. What procfs says is believed only if the process still runs after it was read: then it was said of this
/// one, and its start time tells it from whoever gets its number later.
fn process(claimant: Claimant<'_>, pid: u32, proc_root: &Path) -> Result<Target, Denied> {
    if pid == 0 {
        return Err(Denied::Malformed("pid 0 is no process".into()));
    }
    let gone = || Denied::NoSuch(format!("there is no process {pid}"));
    let held = Held::of(pid).ok_or_else(gone)?;
    let of = proc_root.join(pid.to_string());
    let status = fs::read_to_string(of.join("status")).map_err(|_| gone())?;
    let stat = fs::read_to_string(of.join("stat")).map_err(|_| gone())?;
    let start_ticks = start_ticks(&stat).ok_or_else(gone)?;
    if !held.runs() {
        return Err(gone());
    }
    let uids = status_numbers(&status, "Uid:");
    match claimant {
        Claimant::Operator => {}
        Claimant::App { uid: None, .. } => {
            let why = format!("process {pid}: over TLS nobody owns processes; connect to the app's socket");
            return Err(Denied::NotOwned(why));
        }
        // All of real, effective and saved user: a program with root's rights is not its caller's to freeze.
        Claimant::App { uid: Some(uid), .. } if uids.len() >= 3 && uids.iter().all(|is| *is == uid) => {}
        Claimant::App { uid: Some(uid), .. } => {
            return Err(Denied::NotOwned(format!("process {pid} is not one of uid {uid}")));
        }
    }
    Ok(Target::ProcessTree { pid, start_ticks })
}

/// Field 22 of `/proc/<pid>/stat`. The second field is the program's name in parentheses and may itself contain spaces
/// and parentheses, so fields are counted from the last one.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A cgroup: an absolute path below the root, as it is, without links and `..`.
fn cgroup(claimant: Claimant<'_>, path: &str, root: &Path) -> Result<Target, Denied> {
    let plain = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let below =
        Path::new(path).strip_prefix(root).ok().filter(|below| plain(below) && *below != Path::new(""));
    let below = below.ok_or_else(|| {
        Denied::Malformed(format!("{path:?} is no absolute path of a cgroup below {}", root.display()))
    })?;
    if let Claimant::App { grants, .. } = claimant {
        let delegated = grants.cgroup_subtree.as_deref().is_some_and(|subtree| below.starts_with(subtree));
        if !delegated {
            return Err(Denied::NotOwned(format!(
                "{path:?} is not in a subtree that was delegated to the app"
            )));
        }
    }
    let no_such = || Denied::NoSuch(format!("there is no cgroup {path:?}"));
    let mut is_there = false;
    for tree in trees(root) {
        let there = tree.join(below);
        let Ok(real) = fs::canonicalize(&there) else { continue };
        let real_tree = fs::canonicalize(&tree).map_err(|_| no_such())?;
        if real != real_tree.join(below) {
            return Err(Denied::NotOwned(format!("{path:?} leads elsewhere: give the path without links")));
        }
        // In a cgroup file system every directory is a cgroup, and each has this file.
        is_there |= there.join("cgroup.procs").exists();
    }
    if !is_there {
        return Err(no_such());
    }
    let below: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
    Ok(Target::Cgroup(below.join("/")))
}

/// Where a cgroup's name is looked up: below the root on v2; where v1 is mounted, in each tree that meters, caps or
/// freezes, since one name stands for the workload in all of them.
fn trees(root: &Path) -> Vec<PathBuf> {
    let found = Hierarchies::detect(root).into_iter();
    let trees = found.flat_map(|of| [of.unified, of.cpu, of.cpuacct, of.freezer]).flatten();
    let mut trees: Vec<PathBuf> = trees.collect();
    if trees.is_empty() {
        trees.push(root.to_path_buf());
    }
    trees
}

fn device(
    claimant: Claimant<'_>,
    kind: &str,
    index: u32,
    granted: fn(&Grants) -> &Vec<u32>,
) -> Result<Target, Denied> {
    if let Claimant::App { grants, .. } = claimant
        && !granted(grants).contains(&index)
    {
        return Err(Denied::NotOwned(format!("{kind} {index} was not granted to the app")));
    }
    Err(Denied::NotSupported(format!("{kind} {index} cannot be metered yet: this site has no driver for it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    const UID: u32 = 1000;

    /// A machine with this very process under a made-up user, and a few cgroups.
    struct Machine {
        dir: TempDir,
        paths: Paths,
    }

    fn machine(uids: &str) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            run_dir: dir.path().join("run"),
            proc_root: dir.path().join("proc"),
            cgroup_root: dir.path().join("cgroup"),
        };
        let me = paths.proc_root.join(std::process::id().to_string());
        fs::create_dir_all(&me).unwrap();
        fs::write(me.join("status"), format!("Name:\tx\nUid:\t{uids}\nGid:\t1 1 1 1\n")).unwrap();
        let name = "(a) b (c)";
        fs::write(
            me.join("stat"),
            format!("7 ({name}) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"),
        )
        .unwrap();
        for cgroup in ["web", "web/one", "webber", "other"] {
            let cgroup = paths.cgroup_root.join(cgroup);
            fs::create_dir_all(&cgroup).unwrap();
            fs::write(cgroup.join("cgroup.procs"), "").unwrap();
        }
        fs::create_dir(paths.cgroup_root.join("web/no-cgroup")).unwrap();
        symlink("../other", paths.cgroup_root.join("web/link")).unwrap();
        Machine { dir, paths }
    }

    fn grants() -> Grants {
        let cgroup_subtree = Some("web".into());
        Grants { owner_uid: Some(UID), cgroup_subtree, gpu_indices: vec![1], tpu_indices: vec![] }
    }

    impl Machine {
        fn app(&self, wanted: Wanted) -> Result<Target, Denied> {
            claim(Claimant::App { uid: Some(UID), grants: &grants() }, wanted, &self.paths)
        }

        fn cgroup(&self, below: &str) -> Wanted {
            Wanted::CgroupPath(format!("{}/{below}", self.paths.cgroup_root.display()))
        }
    }

    fn not_owned(found: Result<Target, Denied>) -> bool {
        matches!(found, Err(Denied::NotOwned(_)))
    }

    #[test]
    fn an_app_attaches_processes_of_its_user() {
        let me = std::process::id();
        let found = machine("1000 1000 1000 1000").app(Wanted::Pid(me));
        assert_eq!(found, Ok(Target::ProcessTree { pid: me, start_ticks: 4711 }));
    }

    #[test]
    fn a_process_of_another_user_is_not_owned() {
        assert!(not_owned(machine("1001 1001 1001 1001").app(Wanted::Pid(std::process::id()))));
    }

    #[test]
    fn a_process_with_more_rights_than_the_caller_is_not_owned() {
        assert!(not_owned(machine("1000 0 0 0").app(Wanted::Pid(std::process::id()))));
    }

    #[test]
    fn over_tls_nobody_owns_processes() {
        let machine = machine("1000 1000 1000 1000");
        let claimant = Claimant::App { uid: None, grants: &grants() };
        assert!(not_owned(claim(claimant, Wanted::Pid(std::process::id()), &machine.paths)));
    }

    #[test]
    fn a_process_that_is_not_there_is_none() {
        let machine = machine("1000 1000 1000 1000");
        // Linux gives no number beyond 2^22 (proc(5), pid_max).
        let gone = machine.app(Wanted::Pid(1 << 23));
        assert!(matches!(gone, Err(Denied::NoSuch(_))), "{gone:?}");
        assert!(matches!(machine.app(Wanted::Pid(0)), Err(Denied::Malformed(_))));
    }

    #[test]
    fn the_operator_attaches_anybodys_process() {
        let machine = machine("1001 0 0 0");
        let found = claim(Claimant::Operator, Wanted::Pid(std::process::id()), &machine.paths);
        assert!(found.is_ok(), "{found:?}");
    }

    #[test]
    fn an_app_attaches_cgroups_in_its_subtree() {
        let machine = machine("1000");
        assert_eq!(machine.app(machine.cgroup("web")), Ok(Target::Cgroup("web".into())));
        assert_eq!(machine.app(machine.cgroup("web/one")), Ok(Target::Cgroup("web/one".into())));
        assert_eq!(machine.app(machine.cgroup("web//one/")), Ok(Target::Cgroup("web/one".into())));
    }

    #[test]
    fn a_cgroup_outside_of_the_subtree_is_not_owned_whether_it_exists_or_not() {
        let machine = machine("1000");
        for below in ["other", "webber", "none"] {
            assert!(not_owned(machine.app(machine.cgroup(below))), "{below}");
        }
        let claimant = Claimant::App { uid: Some(UID), grants: &Grants::default() };
        assert!(not_owned(claim(claimant, machine.cgroup("web"), &machine.paths)));
    }

    #[test]
    fn a_link_out_of_the_subtree_is_not_followed() {
        let machine = machine("1000");
        assert!(not_owned(machine.app(machine.cgroup("web/link"))));
        let operator = claim(Claimant::Operator, machine.cgroup("web/link"), &machine.paths);
        assert!(not_owned(operator));
    }

    #[test]
    fn where_v1_is_mounted_a_cgroup_is_found_in_its_trees_and_no_link_in_any_is_followed() {
        let machine = machine("1000");
        for tree in ["cpu", "cpuacct"] {
            for below in ["", "web/v1", "other"] {
                let cgroup = machine.paths.cgroup_root.join(tree).join(below);
                fs::create_dir_all(&cgroup).unwrap();
                fs::write(cgroup.join("cgroup.procs"), "").unwrap();
            }
        }
        assert_eq!(machine.app(machine.cgroup("web/v1")), Ok(Target::Cgroup("web/v1".into())));
        // A tree's own name is no part of a cgroup's.
        let with_tree = claim(Claimant::Operator, machine.cgroup("cpu/web/v1"), &machine.paths);
        assert!(matches!(with_tree, Err(Denied::NoSuch(_))), "{with_tree:?}");
        symlink("../other", machine.paths.cgroup_root.join("cpuacct/web/v2")).unwrap();
        assert!(not_owned(machine.app(machine.cgroup("web/v2"))));
    }

    #[test]
    fn a_path_that_is_no_cgroups_is_malformed() {
        let machine = machine("1000");
        let elsewhere = machine.dir.path().join("proc").display().to_string();
        for path in ["", "web", "/", "/etc", &elsewhere] {
            let found = machine.app(Wanted::CgroupPath(path.into()));
            assert!(matches!(found, Err(Denied::Malformed(_))), "{path}: {found:?}");
        }
        for below in ["", "web/../other", "../proc"] {
            let found = machine.app(machine.cgroup(below));
            assert!(matches!(found, Err(Denied::Malformed(_))), "{below}: {found:?}");
        }
    }

    #[test]
    fn a_cgroup_that_is_not_there_is_none() {
        let machine = machine("1000");
        for below in ["web/none", "web/no-cgroup"] {
            let found = machine.app(machine.cgroup(below));
            assert!(matches!(found, Err(Denied::NoSuch(_))), "{below}: {found:?}");
        }
        assert_eq!(
            claim(Claimant::Operator, machine.cgroup("other"), &machine.paths),
            Ok(Target::Cgroup("other".into()))
        );
    }

    #[test]
    fn a_gpu_that_was_not_granted_is_not_owned_and_a_granted_one_is_not_supported_yet() {
        let machine = machine("1000");
        assert!(not_owned(machine.app(Wanted::GpuIndex(0))));
        assert!(matches!(machine.app(Wanted::GpuIndex(1)), Err(Denied::NotSupported(_))));
        let operator = claim(Claimant::Operator, Wanted::GpuIndex(0), &machine.paths);
        assert!(matches!(operator, Err(Denied::NotSupported(_))));
    }

    #[test]
    fn a_tpu_that_was_not_granted_is_not_owned() {
        assert!(not_owned(machine("1000").app(Wanted::TpuIndex(1))));
    }

    #[test]
    fn lxc_containers_are_not_supported_yet() {
        let found = machine("1000").app(Wanted::LxcName("x".into()));
        assert!(matches!(found, Err(Denied::NotSupported(_))));
    }
}
