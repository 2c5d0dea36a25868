//! Which engine a store is written by: one line of the configuration chooses it, the files in a directory say what it is.

use super::redb::Redb;
use super::shelf::{Shelf, Shelved};
use super::sled::Sled;
use super::{Store, StoreError, redb, sled};
use serde::Deserialize;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// An engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// sled 0.34, with a barrier of our own behind every commit.
    #[default]
    Sled,
    /// redb 4.
    Redb,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        })
    }
}

impl Engine {
    /// Which engine wrote what is in a directory, by the names of its files; `None` where there is no store.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let has = |name: &str| directory.join(name).exists();
        match (has(redb::FILE), sled::FILES.into_iter().any(has)) {
            (true, _) => Some(Self::Redb),
            (false, true) => Some(Self::Sled),
            (false, false) => None,
        }
    }

    /// Whose code a source file is, by its path in the registry; `None` where it is nobody's of them.
    #[must_use]
    pub fn whose(file: &str) -> Option<Self> {
        [(Self::Sled, "/sled-"), (Self::Redb, "/redb-")]
            .into_iter()
            .find_map(|(engine, part)| file.contains(part).then_some(engine))
    }

    /// Opens the store in a directory, or makes one there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it, [`StoreError::OtherEngine`] where another engine wrote it,
    /// [`StoreError::Newer`] where a newer program did, and whatever else keeps it from being read.
    pub fn open(self, directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Shelved::open_in(self.shelf(directory)?, directory)?))
    }

    /// The bare shelf in a directory, whatever is on it.
    pub(super) fn shelf(self, directory: &Path) -> Result<Box<dyn Shelf>, StoreError> {
        if let Some(found) = Self::of(directory).filter(|found| *found != self) {
            return Err(StoreError::OtherEngine { path: directory.to_path_buf(), found, asked: self });
        }
        Ok(match self {
            Self::Sled => Box::new(Sled::at(directory)?),
            Self::Redb => Box::new(Redb::at(directory)?),
        })
    }
}
