//! A cgroup of one's own, in every hierarchy that meters, caps or freezes: `ecovisor/<app>/<name>` in the v2 tree, and
//! in the v1 trees `cpu`, `cpuacct` and `freezer` where they are mounted. The daemon resolves one name in all of them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The v1 trees that serve something.
const V1: [&str; 3] = ["cpu", "cpuacct", "freezer"];

/// How often an empty cgroup is tried to be removed: a process that has just ended leaves it within milliseconds.
const REMOVALS: u32 = 40;
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(25);

/// A cgroup that was made here.
#[derive(Clone, Debug)]
pub struct Cgroup {
    root: PathBuf,
    below: PathBuf,
    /// The cgroup itself, in every hierarchy.
    directories: Vec<PathBuf>,
    /// What had to be made above it, outermost first; what was there already is somebody else's to remove.
    parents: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes `parent/name` in every hierarchy below `root`; nothing is left behind where that fails.
    ///
    /// # Errors
    /// Why it cannot be made, for people.
    pub fn create(root: &Path, parent: &Path, name: &str) -> Result<Self, String> {
        let trees = trees(root);
        if trees.is_empty() {
            return Err(format!("there are no cgroups at {}", root.display()));
        }
        let below = parent.join(name);
        let mut made = Self { root: root.to_path_buf(), below, directories: Vec::new(), parents: Vec::new() };
        for tree in trees {
            if let Err((path, cause)) = tree.make(parent, name, &mut made) {
                made.evict();
                return Err(format!("{}: {cause}", path.display()));
            }
        }
        Ok(made)
    }

    /// Moves a process into it.
    ///
    /// # Errors
    /// Why it cannot be moved; the cgroup is removed then.
    pub fn join(&self, pid: u32) -> Result<(), String> {
        let joined = self.directories.iter().try_for_each(|directory| {
            let path = directory.join("cgroup.procs");
            std::fs::write(&path, pid.to_string()).map_err(|cause| format!("{}: {cause}", path.display()))
        });
        if joined.is_err() {
            self.clone().evict();
        }
        joined
    }

    /// Its name for the daemon: an absolute path under the cgroup root, whatever the hierarchies are.
    pub fn name(&self) -> String {
        self.root.join(&self.below).display().to_string()
    }

    /// How many processes are in it.
    pub fn processes(&self) -> usize {
        let Some(directory) = self.directories.first() else { return 0 };
        std::fs::read_to_string(directory.join("cgroup.procs")).map_or(0, |text| text.lines().count())
    }

    /// Removes it, and what was made above it where nothing else lives there.
    ///
    /// # Errors
    /// Why it is still there.
    pub async fn remove(self) -> Result<(), String> {
        for directory in &self.directories {
            remove(directory).await.map_err(|cause| format!("{}: {cause}", directory.display()))?;
        }
        self.remove_parents();
        Ok(())
    }

    /// Other containers of the app may live beside it: then they stay.
    fn remove_parents(&self) {
        self.parents.iter().rev().for_each(|parent| drop(std::fs::remove_dir(parent)));
    }

    /// Moves whoever is in it back to the roots, and removes it: for a program that will not run after all.
    pub fn evict(self) {
        for directory in &self.directories {
            let inside = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            let above = directory.ancestors().nth(self.below.components().count());
            for pid in inside.lines() {
                drop(above.map(|above| std::fs::write(above.join("cgroup.procs"), pid)));
            }
            drop(std::fs::remove_dir(directory));
        }
        self.remove_parents();
    }
}

/// Gone counts as removed; busy is tried again.
async fn remove(directory: &Path) -> io::Result<()> {
    let mut left = REMOVALS;
    loop {
        match std::fs::remove_dir(directory) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::ResourceBusy && left > 0 => {
                left -= 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// One hierarchy.
struct Tree {
    root: PathBuf,
    /// Whether it is a v2 tree with the cpu controller, which every parent must pass on.
    passes_cpu: bool,
}

impl Tree {
    /// Makes `parent/name` and notes in `made` what it made; says where it failed.
    fn make(&self, parent: &Path, name: &str, made: &mut Cgroup) -> Result<(), (PathBuf, io::Error)> {
        let mut at = self.root.clone();
        for part in parent {
            self.pass_on(&at)?;
            at.push(part);
            match std::fs::create_dir(&at) {
                Ok(()) => made.parents.push(at.clone()),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err((at, cause)),
            }
        }
        self.pass_on(&at)?;
        at.push(name);
        // A container's own: one that is there already is somebody else's.
        std::fs::create_dir(&at).map_err(|cause| (at.clone(), cause))?;
        made.directories.push(at);
        Ok(())
    }

    fn pass_on(&self, directory: &Path) -> Result<(), (PathBuf, io::Error)> {
        let path = directory.join("cgroup.subtree_control");
        let passed = || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.split_whitespace().any(|one| one == "cpu"))
        };
        if !self.passes_cpu || passed() {
            return Ok(());
        }
        std::fs::write(&path, "+cpu").map_err(|cause| (path, cause))
    }
}

/// The hierarchies that serve something: the v2 tree alone, or the v1 trees and the v2 tree beside them.
fn trees(root: &Path) -> Vec<Tree> {
    if let Some(passes_cpu) = offers_cpu(root) {
        return vec![Tree { root: root.to_path_buf(), passes_cpu }];
    }
    let mut trees: Vec<Tree> = Vec::new();
    for v1 in V1.iter().filter_map(|controller| mounted(root, controller)) {
        // `cpu` and `cpuacct` are one tree on most machines.
        if !trees.iter().any(|tree| tree.root == v1) {
            trees.push(Tree { root: v1, passes_cpu: false });
        }
    }
    let unified = root.join("unified");
    trees.extend(offers_cpu(&unified).map(|passes_cpu| Tree { root: unified, passes_cpu }));
    trees
}

/// Whether a v2 tree has the cpu controller; `None` where it is no v2 tree.
fn offers_cpu(root: &Path) -> Option<bool> {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).ok()?;
    Some(text.split_whitespace().any(|controller| controller == "cpu"))
}

fn mounted(root: &Path, controller: &str) -> Option<PathBuf> {
    let directory = std::fs::canonicalize(root.join(controller)).ok()?;
    directory.join("cgroup.procs").exists().then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(directory: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(directory).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(directory.join(name), text).unwrap());
    }

    #[test]
    fn a_hybrid_machine_gets_one_in_every_tree() {
        let root = tempfile::tempdir().unwrap();
        for name in ["cpu", "cpuacct", "freezer", "memory"] {
            tree(&root.path().join(name), &[("cgroup.procs", "")]);
        }
        tree(&root.path().join("unified"), &[("cgroup.procs", ""), ("cgroup.controllers", "hugetlb")]);
        let cgroup = Cgroup::create(root.path(), Path::new("ecovisor/web"), "one").unwrap();
        assert_eq!(cgroup.directories.len(), 4);
        assert_eq!(cgroup.name(), root.path().join("ecovisor/web/one").display().to_string());
        cgroup.join(42).unwrap();
        let joined = std::fs::read_to_string(root.path().join("cpu/ecovisor/web/one/cgroup.procs")).unwrap();
        assert_eq!(joined, "42");
        assert_eq!(cgroup.processes(), 1);
    }

    #[test]
    fn on_v2_every_parent_passes_the_cpu_controller_on() {
        let root = tempfile::tempdir().unwrap();
        tree(root.path(), &[("cgroup.controllers", "cpu io"), ("cgroup.subtree_control", "")]);
        Cgroup::create(root.path(), Path::new("ecovisor/web"), "one").unwrap();
        for parent in ["", "ecovisor", "ecovisor/web"] {
            let control = root.path().join(parent).join("cgroup.subtree_control");
            assert_eq!(std::fs::read_to_string(control).unwrap(), "+cpu", "{parent}");
        }
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        tree(&root.path().join("cpu"), &[("cgroup.procs", "")]);
        tree(&root.path().join("cpuacct"), &[("cgroup.procs", "")]);
        std::fs::create_dir_all(root.path().join("cpuacct/ecovisor/web/one")).unwrap();
        let why = Cgroup::create(root.path(), Path::new("ecovisor/web"), "one").unwrap_err();
        assert!(why.contains("cpuacct/ecovisor/web/one"), "{why}");
        assert!(!root.path().join("cpu/ecovisor").exists(), "what was made above it is gone, too");
        assert!(Cgroup::create(Path::new("/nowhere"), Path::new("a"), "b").is_err());
    }
}
