//! The store on disk: sled, with a barrier of our own behind every commit.
//!
//! sled's flush ends in `sync_file_range`, which asks neither the file system's metadata nor the disk's cache to be
//! written: it survives `kill -9` but not a power cut. So every commit ends with `sync_data` on sled's `db` file, through
//! a handle of our own. sled writes large pages into files of their own under `blobs/`, which that would not cover: values
//! are cut into parts so small that there are none (a test holds that). Opening ends with a sync of the directories and
//! of sled's `conf`, so that the file itself is there after a power cut.
//!
//! All values live in one tree with prefixed keys, and a commit is one of sled's batches, which it recovers whole or
//! not at all; a transaction over several trees costs more and gives the same.

use super::StoreError;
use super::engine::Engine;
use super::key::Key;
use super::shelf::{Edge, Pair, Shelf};
use std::fs::File;
use std::io;
use std::path::Path;

/// Files of sled's in the store's directory; it makes `conf` first.
pub const FILES: [&str; 2] = ["conf", "db"];

/// What sled may keep of its pages in memory. A commit writes at the end of three ranges; only exports read more, once. It
/// takes some bytes for each that it counts, and a daemon of ten apps is to stay below 40 MB after a day of ticks too.
const CACHE_BYTES: u64 = 2 << 20;

/// Keys and values on disk.
#[derive(Debug)]
pub struct Sled {
    db: ::sled::Db,
    barrier: File,
}

impl Sled {
    /// Opens sled's files in a directory, or makes them.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it, [`StoreError::Engine`] where the files are not what sled wrote, and
    /// whatever else keeps them from being read.
    pub(super) fn at(directory: &Path) -> Result<Self, StoreError> {
        let config = ::sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            // Nothing is written behind our back: what a commit returned for is durable, the rest is not promised.
            .flush_every_ms(None);
        let opened = match config.open() {
            // It held its lock when it said so: nobody else has these files.
            Err(::sled::Error::Corruption { .. }) if drop_snapshots(directory).map_err(disk("mend"))? => {
                config.open()
            }
            opened => opened,
        };
        let db = opened.map_err(|error| match locked(&error) {
            true => StoreError::InUse(directory.to_path_buf()),
            false => refused("open")(error),
        })?;
        let barrier = File::open(directory.join("db")).map_err(disk("open"))?;
        sync_names(directory).map_err(disk("sync"))?;
        Ok(Self { db, barrier })
    }
}

/// Removes sled's own snapshots of its page table, which only shorten its start; whether there were any. A power cut while it
/// writes one can leave a torn file under a name that it takes for a whole one, and then it opens nothing. Without them it
/// reads its whole log, as after any end without order.
fn drop_snapshots(directory: &Path) -> io::Result<bool> {
    let mut any = false;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("snap.")) {
            tracing::warn!(file = %entry.path().display(), "sled cannot open the store: removing a snapshot of its page table");
            std::fs::remove_file(entry.path())?;
            any = true;
        }
    }
    Ok(any)
}

/// sled 0.34 has no kind of error for a file that is locked; its message says so.
fn locked(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

fn refused(doing: &'static str) -> impl Fn(::sled::Error) -> StoreError {
    move |error| match error {
        ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => {
            StoreError::Engine { engine: Engine::Sled, doing, why: error.to_string() }
        }
        ::sled::Error::Io(source) => disk(doing)(source),
        other => disk(doing)(other.into()),
    }
}

fn disk(doing: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Disk { doing, source }
}

/// Makes the names of the files durable, and the settings that sled writes once.
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory.join("conf"))?.sync_all()?;
    File::open(directory)?.sync_all()?;
    super::sync_parent(directory)
}

impl Shelf for Sled {
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in puts {
            batch.insert(&key[..], value);
        }
        for key in removed {
            batch.remove(&key[..]);
        }
        self.db.apply_batch(batch).map_err(|error| refused("write")(error))?;
        self.db.flush().map_err(|error| refused("flush")(error))?;
        self.barrier.sync_data().map_err(disk("sync"))
    }

    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = Pair> + Send + '_> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let pairs = self.db.range(from..to);
        Box::new(pairs.map(|pair| {
            let (key, value) = pair.map_err(|error| refused("read")(error))?;
            Ok((key.to_vec(), value.to_vec()))
        }))
    }

    fn edge(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        let mut range = self.db.range(from..to);
        let found = match edge {
            Edge::First => range.next(),
            Edge::Last => range.next_back(),
        };
        let key = found.transpose().map_err(|error| refused("read")(error))?;
        Ok(key.map(|(key, _)| key.to_vec()))
    }
}
