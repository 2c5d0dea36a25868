//! Process trees on recorded `/proc` directories, and on a real process of this machine.

use super::*;
use std::fs;
use tempfile::TempDir;

/// A `/proc` with a clock of a tick a second.
struct Proc(TempDir);

impl Proc {
    fn new() -> Self {
        let proc = Self(tempfile::tempdir().unwrap());
        fs::write(proc.0.path().join("uptime"), "1 1").unwrap();
        proc.put(1, 0, 'S', 0, 0, 5);
        proc
    }

    /// A process; figures as in its stat: ticks of its own, of children it waited for, and its start.
    fn put(&self, pid: u32, parent: u32, state: char, own: u64, children: u64, started: u64) {
        let directory = self.0.path().join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "{pid} (a b) {state} {parent} 0 0 0 0 0 0 0 0 0 {own} 0 {children} 0 20 0 1 0 {started} 0\n"
        );
        fs::write(directory.join("stat"), text).unwrap();
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    fn tree(&self, pid: u32) -> ProcessTree {
        ProcessTree::new(self.0.path(), pid, 1).unwrap()
    }
}

fn seconds(tree: &mut ProcessTree) -> u64 {
    tree.cpu_time().unwrap().nanos() / 1_000_000_000
}

#[test]
fn a_tree_counts_from_when_it_was_first_seen_and_others_not_at_all() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 100, 50, 7);
    proc.put(11, 10, 'R', 20, 0, 8);
    proc.put(99, 1, 'R', 1_000, 0, 8);
    let mut tree = proc.tree(10);
    assert_eq!(seconds(&mut tree), 0);
    proc.put(10, 1, 'R', 103, 50, 7);
    proc.put(11, 10, 'R', 24, 0, 8);
    proc.put(99, 1, 'R', 2_000, 0, 8);
    assert_eq!(seconds(&mut tree), 7);
}

#[test]
fn a_new_child_counts_whole() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    let mut tree = proc.tree(10);
    proc.put(11, 10, 'R', 4, 1, 9);
    proc.put(12, 11, 'R', 2, 0, 9);
    assert_eq!(seconds(&mut tree), 7);
}

#[test]
fn a_child_that_ends_and_is_waited_for_counts_once_with_its_last_ticks() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    proc.put(11, 10, 'R', 0, 0, 8);
    let mut tree = proc.tree(10);
    proc.put(11, 10, 'R', 5, 0, 8);
    assert_eq!(seconds(&mut tree), 5);
    proc.end(11);
    proc.put(10, 1, 'R', 0, 6, 7);
    assert_eq!(seconds(&mut tree), 6);
}

#[test]
fn a_child_that_nobody_waited_for_never_makes_the_account_run_backwards() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    let mut tree = proc.tree(10);
    proc.put(11, 10, 'R', 5, 0, 8);
    assert_eq!(seconds(&mut tree), 5);
    proc.end(11);
    assert_eq!(seconds(&mut tree), 5);
    proc.put(10, 1, 'R', 2, 0, 7);
    assert_eq!(seconds(&mut tree), 7);
}

#[test]
fn a_whole_branch_that_ends_counts_once() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    let mut tree = proc.tree(10);
    proc.put(11, 10, 'R', 5, 0, 8);
    proc.put(12, 11, 'R', 4, 0, 8);
    assert_eq!(seconds(&mut tree), 9);
    proc.end(11);
    proc.end(12);
    proc.put(10, 1, 'R', 0, 9, 7);
    assert_eq!(seconds(&mut tree), 9);
}

#[test]
fn who_was_in_the_tree_stays_in_it_when_its_parent_ends() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    proc.put(11, 10, 'R', 0, 0, 8);
    let mut tree = proc.tree(10);
    proc.end(10);
    proc.put(11, 1, 'R', 3, 0, 8);
    proc.put(12, 11, 'R', 1, 0, 9);
    assert_eq!(seconds(&mut tree), 4);
}

#[test]
fn a_reused_pid_is_somebody_else() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    let mut tree = proc.tree(10);
    proc.put(10, 1, 'R', 500, 0, 90);
    assert!(matches!(tree.cpu_time(), Err(ReadError::Lost { .. })));
}

#[test]
fn a_tree_of_zombies_has_ended() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    let mut tree = proc.tree(10);
    proc.put(10, 1, 'Z', 0, 0, 7);
    assert!(matches!(tree.cpu_time(), Err(ReadError::Lost { .. })));
}

#[test]
fn parents_in_a_circle_are_no_endless_loop() {
    let proc = Proc::new();
    proc.put(10, 1, 'R', 0, 0, 7);
    proc.put(20, 21, 'R', 0, 0, 7);
    proc.put(21, 20, 'R', 0, 0, 7);
    assert_eq!(seconds(&mut proc.tree(10)), 0);
}

#[test]
fn no_process_is_lost() {
    let proc = Proc::new();
    assert!(matches!(ProcessTree::new(proc.0.path(), 77, 1), Err(ReadError::Lost { .. })));
}

#[test]
fn this_very_process_has_a_tree() {
    let mut tree = ProcessTree::new(Path::new("/proc"), std::process::id(), ticks_per_second()).unwrap();
    assert!(tree.cpu_time().is_ok());
}
