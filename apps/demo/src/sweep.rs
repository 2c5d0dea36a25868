//! Removes the cgroups of this run that are left, should whoever made them have been killed: empty directories in the
//! cgroup file systems, with this run's pid in their name.

use std::path::Path;

/// What the names of this run's cgroups begin with.
pub fn prefix(run: u32) -> String {
    format!("ecovisor-demo-{run}-")
}

/// Removes what is left of `run` below `root` (usually `/sys/fs/cgroup`) and in each tree that is mounted there.
pub fn sweep(root: &Path, run: u32) {
    for tree in [root.to_path_buf()].into_iter().chain(directories(root)) {
        let ours = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix(run)))
        };
        for left in directories(&tree).into_iter().filter(|path| ours(path)) {
            for container in directories(&left) {
                // Best effort: an empty cgroup steers nothing, and one that is not empty is somebody's.
                let _ = std::fs::remove_dir(container);
            }
            let _ = std::fs::remove_dir(left);
        }
    }
}

/// The directories in a directory; none where it cannot be read.
fn directories(of: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_cgroups_of_this_run_go() {
        let root = tempfile::tempdir().unwrap();
        let make = |below: &str| std::fs::create_dir_all(root.path().join(below)).unwrap();
        for below in
            ["ecovisor-demo-7-web/web-1", "cpu/ecovisor-demo-7-web/web-1", "cpu/ecovisor-demo-77-web/web-1"]
        {
            make(below);
        }
        sweep(root.path(), 7);
        assert!(!root.path().join("ecovisor-demo-7-web").exists());
        assert!(!root.path().join("cpu/ecovisor-demo-7-web").exists());
        assert!(root.path().join("cpu/ecovisor-demo-77-web/web-1").exists());
    }
}
