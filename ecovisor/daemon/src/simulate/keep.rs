//! Where a simulation keeps its journal and records: nowhere, in memory, or in a store on disk.

use super::TICKS_KEPT;
use crate::config::Config;
use crate::engine::Keeping;
use crate::store::{MemoryStore, Store, StoreError};
use anyhow::{Context as _, bail};
use ecovisor_core::Tick;
use std::path::PathBuf;
use std::sync::Arc;

/// Ticks that are committed and synced together: a simulation that ends early is run again, so nothing hangs on one.
const GROUP_TICKS: usize = 1_000;

/// Ticks between snapshots on disk. They are for reading back from any tick, not for a restart: a snapshot weighs about as
/// much as a record.
const SNAPSHOT_TICKS: u64 = 2_000;

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nowhere.
    Off,
    /// In memory, the last ticks.
    Memory,
    /// In a store in this directory.
    In(PathBuf),
}

impl std::str::FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("give `off`, `memory` or a directory".to_owned()),
            "off" => Ok(Self::Off),
            "memory" => Ok(Self::Memory),
            path => Ok(Self::In(path.into())),
        }
    }
}

/// A store that is open, and how it is written.
pub struct Kept {
    /// The store; one in memory also where nothing is kept.
    pub store: Arc<dyn Store>,
    /// When it is written.
    pub keeping: Keeping,
    /// How often the whole state is.
    pub snapshot_ticks: u64,
    forgets: bool,
}

impl Keep {
    /// Opens it.
    ///
    /// # Errors
    /// Where the store cannot be made, or has a ledger already.
    pub fn open(self, config: &Config) -> anyhow::Result<Kept> {
        let memory = |keeping, forgets| Kept {
            store: Arc::new(MemoryStore::new()),
            keeping,
            // A replay from the beginning costs less than snapshots of every state.
            snapshot_ticks: u64::MAX,
            forgets,
        };
        match self {
            Self::Off => Ok(memory(Keeping::Nothing, false)),
            Self::Memory => Ok(memory(Keeping::AtOnce, true)),
            Self::In(path) => {
                let shown = path.display();
                std::fs::create_dir_all(&path).with_context(|| format!("cannot make the store {shown}"))?;
                let store = config.store.engine.open(&path)?;
                if store.load()?.checkpoint.is_some() {
                    bail!(
                        "--store {shown} has a ledger already: a simulation begins a new one, name an empty directory"
                    );
                }
                let keeping = Keeping::Grouped(GROUP_TICKS);
                Ok(Kept { store, keeping, snapshot_ticks: SNAPSHOT_TICKS, forgets: false })
            }
        }
    }
}

impl Kept {
    /// Forgets what is too long ago, where the place is memory.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub fn forget_before(&self, now: Tick) -> Result<(), StoreError> {
        match self.forgets {
            true => self.store.forget_before(Tick(now.0.saturating_sub(TICKS_KEPT))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_off_memory_or_a_directory() {
        assert_eq!("off".parse(), Ok(Keep::Off));
        assert_eq!("memory".parse(), Ok(Keep::Memory));
        assert_eq!("./off".parse(), Ok(Keep::In("./off".into())));
        assert_eq!("".parse::<Keep>(), Err("give `off`, `memory` or a directory".to_owned()));
    }

    #[test]
    fn a_simulation_begins_a_ledger_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let host = "[host]\nidle = \"0 W\"\npeak = \"60 W\"\n";
        let config = Config::parse(&format!("[site]\nname = \"try\"\n{host}")).unwrap();
        let open = || Keep::In(dir.path().join("store")).open(&config);
        let kept = open().unwrap();
        let rules = config.rules().unwrap();
        crate::engine::recover(kept.store.as_ref(), &rules, crate::engine::LastTick::Replayed).unwrap();
        drop(kept);
        let said = open().err().unwrap().to_string();
        assert!(said.contains("has a ledger already"), "{said}");
    }
}
