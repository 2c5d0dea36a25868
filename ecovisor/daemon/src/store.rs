//! What outlives the process: the journal, snapshots of the state, and a record of every tick.
//!
//! ```text
//!   commit(entries, records, snapshot)      one batch, all or nothing, on the disk when it returns
//!        |
//!   [Shelved]   numbers and links the entries, frames every value, cuts it into parts, names what is damaged
//!        |
//!   [Shelf]     ordered keys and values: `sled` or `redb` on disk, `memory` for simulated sites and tests
//! ```
//!
//! Entries are numbered without gaps and linked by hashes in the order in which they were committed. What was not yet
//! acknowledged when the process or the power went may be lost from the end, never from the middle. A write that failed
//! leaves it open what reached the disk, so the store takes nothing more; who starts again reads what is there.

mod engine;
mod history;
mod key;
mod layout;
mod memory;
mod redb;
mod shelf;
mod sled;
mod upkeep;
mod witness;

#[cfg(test)]
mod contract;

pub use engine::Engine;
pub use history::WithHistory;
pub use memory::MemoryStore;
pub use upkeep::copy::{Copied, copy};
pub use upkeep::measure::{Measured, measure};
pub use upkeep::salvage::{Saved, salvage};
pub use upkeep::store_in;
pub use upkeep::verify::{Report, verify};

use ecovisor_audit::history::{History, HistoryError};
use ecovisor_audit::{Checkpoint, Entry, FrameError, Link, Linked, LinkedRecord, Record, Snapshot};
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Ticks between two snapshots. A restart replays at most so many (600 ticks of 1,000 apps take about a second), and a
/// snapshot weighs about as much as one record, so that snapshots add well under a hundredth to the ledger.
pub const SNAPSHOT_EVERY_TICKS: u64 = 600;

/// The store's directory in the state directory.
pub const DIRECTORY: &str = "store";

/// What the store no longer has, in the state directory, where a site keeps it.
pub const PAST: &str = "history";

/// What is committed together: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// To the end of the journal, in this order.
    pub entries: Vec<Entry>,
    /// Of ticks that were settled.
    pub records: Vec<Record>,
    /// The state after all of the journal, these entries included.
    pub snapshot: Option<Snapshot>,
}

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The newest snapshot; `None` where there is none.
    pub checkpoint: Option<Checkpoint>,
    /// The entries after it, in order.
    pub entries: Vec<Entry>,
}

/// A copy of a store at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Entries in its journal, from the first there ever was.
    pub entries: u64,
    /// The link after the last of them.
    pub head: Link,
    /// What was copied.
    pub copied: Copied,
}

/// What comes one by one out of a store.
pub type Stream<'a, T> = Box<dyn Iterator<Item = Result<T, StoreError>> + Send + 'a>;

/// Keeps the journal, snapshots and records.
pub trait Store: Send + Sync {
    /// What is needed to go on from where the last process ended.
    ///
    /// # Errors
    /// Where it cannot be read, is damaged, or has a hole.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// Commits a batch; it is durable when this returns. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Where it could not be written. The store takes nothing more then.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// The chain's end: how many entries there are, and the link after the last.
    fn head(&self) -> (u64, Link);

    /// The first and the last tick with a record.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn ticks(&self) -> Result<Option<(Tick, Tick)>, StoreError>;

    /// The records from `from` to before `to` with their links, in order.
    fn linked_records(&self, from: Tick, to: Tick) -> Stream<'_, LinkedRecord>;

    /// The records from `from` to before `to`, in order.
    fn records(&self, from: Tick, to: Tick) -> Stream<'_, Record> {
        Box::new(self.linked_records(from, to).map(|linked| linked.map(|linked| linked.record)))
    }

    /// The records' link after the last; [`Link::ORIGIN`] where no record has one.
    fn records_head(&self) -> Link;

    /// The journal from an entry's number on, in order, numbered.
    fn journal(&self, from_seq: u64) -> Stream<'_, (u64, Linked)>;

    /// The newest snapshot from which `tick` can be replayed: the state before `tick` or an earlier one was settled.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    fn snapshot_at_or_before(&self, tick: Tick) -> Result<Option<Checkpoint>, StoreError>;

    /// Forgets the records, journal and snapshots that nobody needs in order to replay from `tick` on.
    ///
    /// # Errors
    /// Where it could not be written.
    fn forget_before(&self, tick: Tick) -> Result<(), StoreError>;

    /// The past beside the engine; `None` where none is kept.
    fn past(&self) -> Option<&History> {
        None
    }

    /// Copies all there is at one moment into a missing or empty directory, which becomes a state directory with a store of the
    /// same engine, while commits go on; `said` hears how far it is and may end it. `None` where it was ended; nothing is left of the copy then.
    ///
    /// # Errors
    /// Where the store is in memory alone, the directory is not empty, or something cannot be read or written; nothing is
    /// left of the copy then either.
    fn backup(
        &self,
        to: &Path,
        said: &mut dyn FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<Option<Backup>, StoreError>;

    /// A tick's record.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    fn record(&self, tick: Tick) -> Result<Option<Record>, StoreError> {
        self.records(tick, tick.next()).next().transpose()
    }

    /// The last tick that began at or before `wall`, in ms since the Unix epoch; `None` before the first. Where the wall
    /// clock was set back, one of the ticks that bear that time.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    fn tick_at(&self, wall: Millis) -> Result<Option<Tick>, StoreError> {
        let Some((first, last)) = self.ticks()? else { return Ok(None) };
        // Invariant: ticks before `low` began at or before `wall`, ticks from `high` on began after it.
        let (mut low, mut high) = (first.0, last.0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // Where records are lost, the next one that is there.
            let Some(record) = self.records(Tick(middle), Tick(high)).next().transpose()? else {
                high = middle;
                continue;
            };
            match record.outcome.wall <= wall {
                true => low = record.outcome.tick.0 + 1,
                false => high = middle,
            }
        }
        Ok((low > first.0).then(|| Tick(low - 1)))
    }
}

/// Why a store cannot do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it: there is one daemon at a time.
    #[error("the store {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Another engine wrote it: ask for that one, or copy the store.
    #[error(
        "the store {} was written by {found}, not by {asked}: say `engine = \"{found}\"` in [store], or copy it: \
         ecovisord store copy --from {} --to DIRECTORY --engine {asked}",
        .path.display(),
        .path.display()
    )]
    OtherEngine {
        /// Where.
        path: PathBuf,
        /// Which engine's files are there.
        found: Engine,
        /// Which was to open them.
        asked: Engine,
    },
    /// The engine cannot read its own files: restore a copy, or salvage what is whole.
    #[error("{engine} cannot {doing} the store: {why}")]
    Engine {
        /// Which engine.
        engine: Engine,
        /// What was being done.
        doing: &'static str,
        /// What it says.
        why: String,
    },
    /// A newer program wrote it: go back to that one; nothing was changed.
    #[error("{what} was written in format version {found}, this program knows versions up to {known}")]
    Newer {
        /// Which value.
        what: String,
        /// The version in which it was written.
        found: u8,
        /// The newest that this program knows.
        known: u8,
    },
    /// There is none: name the directory that holds one.
    #[error("there is no store in {}: name a store's directory, or the state directory that holds it", .0.display())]
    NoStore(PathBuf),
    /// There is no directory that could be copied: a simulated site forgets.
    #[error("the store is in memory alone: there is nothing on the disk to copy")]
    InMemory,
    /// It would hold itself: name a directory outside it.
    #[error("{} is within the store that is to be copied: name a directory outside it", .0.display())]
    WithinItself(PathBuf),
    /// It would be written over: name another directory.
    #[error("{} is not empty: name a directory that is empty or not there yet", .0.display())]
    NotEmpty(PathBuf),
    /// What was read back is not what was written: the disk or the engine is at fault; copy elsewhere.
    #[error("the copy differs at {0}")]
    CopyDiffers(String),
    /// A value stands where it does not belong: restore a copy, or salvage what is whole.
    #[error("{0} holds another value than its key says")]
    Misplaced(String),
    /// Nothing to go on from: restore a copy.
    #[error("no snapshot is whole that the journal leads on from: there is nothing to go on from")]
    NothingToGoOnFrom,
    /// It holds values and says nothing of itself: a copy that did not come to its end. Copy again.
    #[error("the store holds values but no mark: a copy that did not come to its end, or a damaged one")]
    NoMark,
    /// Its end is lost: restore a copy, or salvage what is whole.
    #[error(
        "the store ends after {ends} journal entries, although {committed} were committed: its end is lost"
    )]
    Cut {
        /// Entries that are there.
        ends: u64,
        /// Entries that were there.
        committed: u64,
    },
    /// A value is not what was written: restore a copy, or export what is whole.
    #[error("{what} cannot be read")]
    Damaged {
        /// Which value.
        what: String,
        /// What is wrong with it.
        #[source]
        source: FrameError,
    },
    /// An entry between others is not there: restore a copy.
    #[error("journal entry {0} is missing")]
    NoEntry(u64),
    /// A record between others is not there: restore a copy.
    #[error("the record of tick {} is missing", .0.0)]
    NoRecord(Tick),
    /// An entry does not follow from its predecessor: somebody changed the journal.
    #[error("journal entry {0} does not follow from its predecessor")]
    Unlinked(u64),
    /// The disk or the engine refuses.
    #[error("cannot {doing} the store")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What is kept beside the engine cannot be read: restore a copy.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// An earlier write failed: end the process.
    #[error("the store takes nothing more after a failed write")]
    Stopped,
}

impl StoreError {
    /// Whether what is stored is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Engine { .. } | Self::NothingToGoOnFrom | Self::NoMark | Self::Cut { .. } => true,
            Self::Damaged { .. } | Self::Misplaced(_) | Self::CopyDiffers(_) => true,
            Self::NoEntry(_) | Self::NoRecord(_) | Self::Unlinked(_) => true,
            Self::InMemory
            | Self::WithinItself(_)
            | Self::InUse(_)
            | Self::OtherEngine { .. }
            | Self::NoStore(_)
            | Self::NotEmpty(_) => false,
            Self::History(HistoryError::Damaged { .. } | HistoryError::Seals { .. }) => true,
            Self::History(HistoryError::Disk { .. } | HistoryError::Apart { .. }) => false,
            Self::Newer { .. } | Self::Disk { .. } | Self::Stopped => false,
        }
    }
}

/// Makes a directory's own name durable.
fn sync_parent(directory: &Path) -> io::Result<()> {
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}
