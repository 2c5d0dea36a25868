//! The store on disk: redb.
//!
//! One file, one table, one write transaction for every commit. A commit of redb ends in `fdatasync` and carries checksums of
//! every page that it wrote, so that a commit of which only a part reached the disk is not taken for one. What it does not
//! sync are the names of its file and of the directory: opening does.
//!
//! After an end without order, redb walks its whole file once when it is opened again. Quick repair would avoid that for a
//! second sync and the allocator's state in every commit: decision 7 has both figures.

use super::StoreError;
use super::engine::Engine;
use super::key::{Key, LENGTH};
use super::shelf::{Edge, Pair, Shelf};
use ::redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, TableDefinition, TableError};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Once;

/// redb's one file in the store's directory.
pub const FILE: &str = "ledger.redb";

/// What redb may keep of its pages in memory; its own default is 1 GiB. As for sled: a commit writes at the end of three
/// ranges; only exports read more, once.
const CACHE_BYTES: usize = 16 << 20;

/// All values: keys have their rooms in front.
const PAIRS: TableDefinition<'static, &[u8; LENGTH], &[u8]> = TableDefinition::new("pairs");

/// The table in one read transaction.
type Pairs = ReadOnlyTable<&'static [u8; LENGTH], &'static [u8]>;

/// Keys and values on disk.
#[derive(Debug)]
pub struct Redb {
    db: Database,
}

impl Redb {
    /// Opens the file in a directory, or makes both.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it, [`StoreError::Engine`] where the file is not what redb wrote, and
    /// whatever else keeps it from being read.
    pub(super) fn at(directory: &Path) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| StoreError::Disk { doing: "make", source })?;
        let mut builder = Database::builder();
        let told = Once::new();
        builder.set_cache_size(CACHE_BYTES).set_repair_callback(move |_| {
            told.call_once(|| tracing::info!("the store was not closed in order: redb reads all of it"));
        });
        let opened = builder.create(directory.join(FILE));
        let db = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(directory.to_path_buf()),
            other => refused("open")(other.into()),
        })?;
        sync_names(directory).map_err(|source| StoreError::Disk { doing: "sync", source })?;
        Ok(Self { db })
    }

    /// The table as it is now; `None` where nothing was ever written.
    fn pairs(&self) -> Result<Option<Pairs>, ::redb::Error> {
        match self.db.begin_read()?.open_table(PAIRS) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn commit(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), ::redb::Error> {
        let write = self.db.begin_write()?;
        {
            let mut pairs = write.open_table(PAIRS)?;
            for (key, value) in puts {
                pairs.insert(&key, value.as_slice())?;
            }
            for key in removed {
                pairs.remove(&key)?;
            }
        }
        Ok(write.commit()?)
    }

    fn read(
        &self,
        from: Key,
        to: Key,
    ) -> Result<Box<dyn Iterator<Item = Pair> + Send + 'static>, ::redb::Error> {
        let Some(pairs) = self.pairs()?.filter(|_| from < to) else {
            return Ok(Box::new(std::iter::empty()));
        };
        // The range holds its own read transaction: what is committed meanwhile is not in it.
        let range = pairs.range::<&[u8; LENGTH]>(&from..&to)?;
        Ok(Box::new(range.map(|pair| {
            let (key, value) = pair.map_err(|error| refused("read")(error.into()))?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        })))
    }

    fn end(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, ::redb::Error> {
        let Some(pairs) = self.pairs()?.filter(|_| from < to) else { return Ok(None) };
        let mut range = pairs.range::<&[u8; LENGTH]>(&from..&to)?;
        let found = match edge {
            Edge::First => range.next(),
            Edge::Last => range.next_back(),
        };
        Ok(found.transpose()?.map(|(key, _)| key.value().to_vec()))
    }
}

/// The names of the file and of its directory.
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()?;
    super::sync_parent(directory)
}

fn refused(doing: &'static str) -> impl Fn(::redb::Error) -> StoreError {
    move |error| match error {
        ::redb::Error::Io(source) => StoreError::Disk { doing, source },
        ::redb::Error::Corrupted(why) => StoreError::Engine { engine: Engine::Redb, doing, why },
        other @ ::redb::Error::UpgradeRequired(_) => {
            StoreError::Engine { engine: Engine::Redb, doing, why: other.to_string() }
        }
        other => StoreError::Disk { doing, source: io::Error::other(other) },
    }
}

impl Shelf for Redb {
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError> {
        self.commit(puts, removed).map_err(refused("write"))
    }

    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = Pair> + Send + '_> {
        match self.read(from, to) {
            Ok(pairs) => pairs,
            Err(error) => Box::new(std::iter::once(Err(refused("read")(error)))),
        }
    }

    fn edge(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, StoreError> {
        self.end(from, to, edge).map_err(refused("read"))
    }
}
