//! What fuzzing has found and what it starts from, through the same functions, with the ordinary toolchain: a found crash
//! stays fixed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

/// Feeds every file of a target's corpus; says which one before it is fed, so that a panic names it.
fn replay(target: &str, feed: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(files.len() >= 2, "{} holds no corpus", corpus.display());
    for file in files {
        println!("{}", file.display());
        feed(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn configurations() {
    replay("config", ecovisord::fuzzing::config);
}

#[test]
fn stored_values_and_entries() {
    replay("journal", ecovisord::fuzzing::journal);
}

#[test]
fn calls() {
    replay("calls", ecovisord::fuzzing::calls);
}
