//! The store in memory: for simulated sites and tests. It forgets everything when it goes.

use super::StoreError;
use super::key::Key;
use super::shelf::{Edge, Pair, Shelf, Shelved};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Keys and values in memory.
#[derive(Debug, Default)]
pub struct Memory {
    // Values are shared, so that who reads a range holds the lock only while it collects.
    pairs: RwLock<BTreeMap<Key, Arc<[u8]>>>,
}

/// A store that forgets everything when it goes.
pub type MemoryStore = Shelved<Memory>;

impl MemoryStore {
    /// An empty one.
    ///
    /// # Panics
    /// Never: memory refuses nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::open(Memory::default())
            .expect("memory takes every write and an empty one holds nothing damaged")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Shelf for Memory {
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError> {
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        pairs.extend(puts.into_iter().map(|(key, value)| (key, value.into())));
        for key in removed {
            pairs.remove(&key);
        }
        Ok(())
    }

    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = Pair> + Send + '_> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<_> = pairs.range(from..to).map(|(key, value)| (*key, Arc::clone(value))).collect();
        Box::new(found.into_iter().map(|(key, value)| Ok((key.to_vec(), value.to_vec()))))
    }

    fn edge(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, StoreError> {
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        let mut range = pairs.range(from..to.max(from));
        let found = match edge {
            Edge::First => range.next(),
            Edge::Last => range.next_back(),
        };
        Ok(found.map(|(key, _)| key.to_vec()))
    }
}
