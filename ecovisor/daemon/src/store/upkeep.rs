//! What an operator does with a store as a whole: copy it, verify it, save what is whole of a damaged one.

pub mod copy;
mod losses;
pub mod measure;
mod reading;
mod ruins;
pub mod salvage;
pub mod verify;

#[cfg(test)]
mod tests;

use super::engine::Engine;
#[cfg(test)]
use super::layout::set as layout_is;
use super::{StoreError, redb, sled, witness};
use std::path::{Path, PathBuf};

/// Whether a name in a store's directory belongs to an engine or to the witness; what does not goes with a copy as it is.
fn is_engines(name: &str) -> bool {
    let sleds = sled::FILES.contains(&name) || name == "blobs" || name.starts_with("snap.");
    sleds || name == redb::FILE || name == witness::FILE
}

/// The store's directory where an operator names it, or the state directory that holds it.
#[must_use]
pub fn store_in(named: &Path) -> PathBuf {
    let within = named.join(super::DIRECTORY);
    match (Engine::of(named), Engine::of(&within)) {
        (None, Some(_)) => within,
        (Some(_), _) | (None, None) => named.to_path_buf(),
    }
}

/// The engine of a store that must be there.
fn engine_of(directory: &Path) -> Result<Engine, StoreError> {
    Engine::of(directory).ok_or_else(|| StoreError::NoStore(directory.to_path_buf()))
}

/// A directory for a new store: nothing or nothing in it.
fn make_target(directory: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let disk = |source| StoreError::Disk { doing: "make", source };
    if directory.exists() {
        let mut entries = std::fs::read_dir(directory).map_err(disk)?;
        if entries.next().is_some() {
            return Err(StoreError::NotEmpty(directory.to_path_buf()));
        }
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(disk)
}
