//! Which cgroup hierarchies this machine has, and which of them serves what.
//!
//! ```text
//!            cap            account                 freeze
//!   v1       cpu            cpuacct                 freezer
//!   v2       root           root (cpu.stat)         root
//!   hybrid   cpu, else v2   cpuacct, else v2        v2
//! ```
//! `cpu` and `cpuacct` are one hierarchy on most machines with v1 and two on some; a workload joins every hierarchy
//! that serves something.

use std::path::{Path, PathBuf};

/// How cgroups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupMode {
    /// One tree per controller.
    V1,
    /// One tree for all.
    V2,
    /// Trees of v1, and a v2 tree beside them, without the controllers that v1 holds.
    Hybrid,
}

/// The roots of the hierarchies that serve something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    /// How they are mounted.
    pub mode: CgroupMode,
    /// The v2 tree.
    pub unified: Option<PathBuf>,
    /// Whether the v2 tree offers the cpu controller.
    pub unified_caps: bool,
    /// The v1 tree with the cpu controller.
    pub cpu: Option<PathBuf>,
    /// The v1 tree with the cpuacct controller.
    pub cpuacct: Option<PathBuf>,
    /// The v1 tree with the freezer.
    pub freezer: Option<PathBuf>,
}

impl Hierarchies {
    /// Looks below `root` (usually `/sys/fs/cgroup`); `None` where there are no cgroups.
    #[must_use]
    pub fn detect(root: &Path) -> Option<Self> {
        if let Some(caps) = controllers(root) {
            let unified = Some(root.to_path_buf());
            return Some(Self {
                mode: CgroupMode::V2,
                unified,
                unified_caps: caps,
                cpu: None,
                cpuacct: None,
                freezer: None,
            });
        }
        let unified = root.join("unified");
        let beside = controllers(&unified);
        let found = Self {
            mode: if beside.is_some() { CgroupMode::Hybrid } else { CgroupMode::V1 },
            unified: beside.is_some().then_some(unified),
            unified_caps: beside.unwrap_or(false),
            cpu: mounted(root, "cpu"),
            cpuacct: mounted(root, "cpuacct"),
            freezer: mounted(root, "freezer"),
        };
        let any =
            [&found.unified, &found.cpu, &found.cpuacct, &found.freezer].iter().any(|root| root.is_some());
        any.then_some(found)
    }

    /// Every root that a workload joins, each once; v1's freezer only where v2 does not freeze.
    pub(super) fn roots(&self) -> Vec<&Path> {
        let mut roots: Vec<&Path> = Vec::new();
        let freezing = self.unified.as_ref().or(self.freezer.as_ref());
        for root in [freezing, self.cpu.as_ref(), self.cpuacct.as_ref()].into_iter().flatten() {
            if !roots.contains(&root.as_path()) {
                roots.push(root);
            }
        }
        roots
    }
}

/// Whether the v2 tree at `root` offers the cpu controller; `None` where there is no v2 tree.
fn controllers(root: &Path) -> Option<bool> {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    Some(text.split_whitespace().any(|name| name == "cpu"))
}

/// The v1 tree below `root` that is named after `controller`, alone or with others (`cpu,cpuacct`).
fn mounted(root: &Path, controller: &str) -> Option<PathBuf> {
    let alone = root.join(controller);
    if alone.join("cgroup.procs").exists() {
        // `cpu` is often a symbolic link to `cpu,cpuacct`: the same tree must have one name.
        return std::fs::canonicalize(alone).ok();
    }
    let entries = std::fs::read_dir(root).ok()?;
    let named = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.split(',').any(|one| one == controller))
    };
    entries.flatten().map(|entry| entry.path()).find(|path| named(path) && path.join("cgroup.procs").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cgroup::tests::{hybrid, v1_joined, v2};

    #[test]
    fn the_unified_tree_at_the_root_is_v2() {
        let tree = v2("cpuset cpu io memory pids");
        let found = Hierarchies::detect(tree.path()).unwrap();
        assert_eq!((found.mode, found.unified_caps), (CgroupMode::V2, true));
        assert_eq!(found.roots(), [tree.path()]);
    }

    #[test]
    fn separate_trees_with_a_unified_one_beside_them_are_hybrid() {
        let tree = hybrid();
        let found = Hierarchies::detect(tree.path()).unwrap();
        assert_eq!((found.mode, found.unified_caps), (CgroupMode::Hybrid, false));
        assert_eq!(found.roots().len(), 3);
        assert_ne!(found.cpu, found.cpuacct);
    }

    #[test]
    fn one_tree_for_cpu_and_cpuacct_is_joined_once() {
        let tree = v1_joined();
        let found = Hierarchies::detect(tree.path()).unwrap();
        assert_eq!(found.mode, CgroupMode::V1);
        assert_eq!(found.cpu, found.cpuacct);
        assert_eq!(found.roots().len(), 2);
    }

    #[test]
    fn no_cgroups_are_found_where_there_are_none() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Hierarchies::detect(empty.path()), None);
        assert_eq!(Hierarchies::detect(Path::new("/nowhere")), None);
    }
}
