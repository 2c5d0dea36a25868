//! Replays a day and says what it came to, to be laid beside its seal; and a day alone, as an archive keeps it.
//!
//! ```text
//! "ecovisor-day-1\n"   as in the raw file
//! pieces               the blocks of the day, as in the raw file: head, snapshot, entries, minutes
//! piece                the day's seal
//! ```

use super::{RAW, disk, head_of};
use crate::block::{self, BlockError, Head};
use crate::chain::Link;
use crate::digest;
use crate::frame::{self, FrameError, Kind};
use crate::journal::Linked;
use crate::record::Record;
use crate::rollup::{Level, Rollup};
use crate::seal::{Seal, SealError};
use crate::snapshot::Checkpoint;
use crate::verify::{Fault, Verifier};
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use thiserror::Error;

/// What a stretch came to, gathered while it is replayed.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Where the stretch began, or where the next one begins.
    seq: u64,
    journal: Link,
    records: Link,
    next_seq: u64,
    so_far: Option<(Head, Rollup)>,
}

impl Replayed {
    /// From a snapshot on; `records` is the records' link before it.
    #[must_use]
    pub const fn new(from: &Checkpoint, records: Link) -> Self {
        Self { seq: from.seq, journal: from.link, records, next_seq: from.seq, so_far: None }
    }

    /// Takes an entry, with the record where it is a tick and the site's own time after it.
    pub fn entry(&mut self, linked: &Linked, record: Option<&Record>, now: Millis) {
        self.next_seq += 1;
        let Some(record) = record else { return };
        let wall = record.outcome.wall;
        let records_after = digest::after(self.records, &record.into());
        let head = Head {
            seq: self.seq,
            entries: self.next_seq - self.seq,
            tick: record.outcome.tick,
            ticks: 1,
            wall_min: wall,
            wall_max: wall,
            site_end: now,
            journal_before: self.journal,
            journal_after: linked.link,
            records_before: self.records,
            records_after,
        };
        (self.seq, self.journal, self.records) = (self.next_seq, linked.link, records_after);
        let sums = Rollup::of(record, Level::Day);
        self.so_far = Some(match self.so_far.take() {
            None => (head, sums),
            Some((so_far, mut before)) => {
                before.absorb(sums);
                (so_far.with(&head), before)
            }
        });
    }

    /// Passes over a tick from before the stretch; the stretch begins after it.
    pub fn skip(&mut self, linked: &Linked) {
        self.next_seq += 1;
        (self.seq, self.journal) = (self.next_seq, linked.link);
    }

    /// The tick after the last.
    #[must_use]
    pub fn end_tick(&self) -> Option<Tick> {
        self.so_far.as_ref().map(|(head, _)| head.end_tick())
    }

    /// What it came to; the next stretch begins here.
    pub fn take(&mut self) -> Option<(Head, Rollup)> {
        self.so_far.take()
    }
}

/// A day of an archive, found in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedDay {
    /// Its seal.
    pub seal: Seal,
    /// Ticks that were replayed.
    pub ticks: u64,
}

/// Why a day of an archive does not hold.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It does not begin as such a file does, or ends in the middle of a piece.
    #[error("it is no whole day of an archive")]
    NoDay,
    /// It ends without a seal: the day had not ended.
    #[error("it has no seal")]
    NoSeal,
    /// A frame is not whole.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A block is not what its head says.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The journal does not replay.
    #[error(transparent)]
    Fault(#[from] Box<Fault>),
    /// The blocks do not follow each other.
    #[error("the block from tick {} on does not follow the one before it", .0.0)]
    Apart(Tick),
    /// It is not what the seal vouches for.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A raw day and its seal, as an archive keeps them.
///
/// # Errors
/// Where a piece is too large to be one.
pub fn archived(raw: &[u8], seal: &Seal) -> std::io::Result<Vec<u8>> {
    let mut bytes = raw.to_vec();
    disk::put(&mut bytes, &seal.encode())?;
    Ok(bytes)
}

/// The name of a day in an archive: its number and its date.
#[must_use]
pub fn archive_name(seal: &Seal) -> String {
    format!("{}.day", super::index::name(seal.number, seal.day()))
}

/// Replays a day of an archive, rechecks every tick's books, and lays it beside its seal.
///
/// # Errors
/// What does not hold.
pub fn check_archived(bytes: &[u8]) -> Result<ArchivedDay, ArchiveError> {
    let pieces = disk::pieces(bytes, RAW).ok_or(ArchiveError::NoDay)?;
    let (seal, blocks) = pieces.split_last().ok_or(ArchiveError::NoSeal)?;
    if !frame::is(Kind::Seal, seal) {
        return Err(ArchiveError::NoSeal);
    }
    let seal = Seal::decode(seal)?;
    let (blocks, rest) = blocks.as_chunks::<4>();
    let first = blocks.first().filter(|_| rest.is_empty()).ok_or(ArchiveError::NoDay)?;
    let start = Checkpoint::decode(first[1])?;
    let mut replayed = Replayed::new(&start, head_of(first[0])?.records_before);
    let mut verifier = Verifier::new(start);
    let mut before: Option<Head> = None;
    for [head, snapshot, entries, _minutes] in blocks {
        let head = head_of(head)?;
        let state = Checkpoint::decode(snapshot)?.snapshot == *verifier.state();
        if !state || before.is_some_and(|before| !head.follows(&before)) {
            return Err(ArchiveError::Apart(head.tick));
        }
        for linked in block::decode(&head, entries)? {
            let record = verifier.entry(&linked).map_err(Box::new)?;
            replayed.entry(&linked, record.as_ref(), verifier.state().site.now());
        }
        before = Some(head);
    }
    let (head, sums) = replayed.take().ok_or(ArchiveError::NoDay)?;
    seal.check_stretch(&head, &sums)?;
    Ok(ArchivedDay { ticks: head.ticks, seal })
}
