//! The store together with the past beside it: one ledger to whoever reads.
//!
//! What the engine no longer has is in the blocks, and what the blocks do not have yet is in the engine. A reader looks in
//! the blocks first: what is moved meanwhile is in the blocks before it leaves the engine.

use super::{Backup, Batch, Copied, Loaded, Store, StoreError, Stream};
use ecovisor_audit::history::{BlockId, History, HistoryError};
use ecovisor_audit::{Checkpoint, Entry, Link, Linked, LinkedRecord};
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Records that are read of the engine at once: 6 MB where there are a thousand apps.
const RECORDS_AT_ONCE: u64 = 32;

/// Entries that are read of the engine at once.
const ENTRIES_AT_ONCE: usize = 256;

/// The engine's store, and the past beside it.
pub struct WithHistory {
    store: Arc<dyn Store>,
    history: Arc<History>,
}

impl WithHistory {
    /// The two as one.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, history: Arc<History>) -> Self {
        Self { store, history }
    }

    /// The last block that begins at or before a tick.
    fn block_before(&self, tick: Tick) -> Option<BlockId> {
        let exactly = self.history.blocks(tick, tick.next()).into_iter().next();
        exactly.or_else(|| self.history.blocks(Tick(0), tick.next()).pop())
    }
}

impl Store for WithHistory {
    fn load(&self) -> Result<Loaded, StoreError> {
        self.store.load()
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.commit(batch)
    }

    fn head(&self) -> (u64, Link) {
        self.store.head()
    }

    fn records_head(&self) -> Link {
        self.store.records_head()
    }

    fn ticks(&self) -> Result<Option<(Tick, Tick)>, StoreError> {
        let oldest = self.history.kept().raw.map(|(_, tick)| tick);
        let engine = self.store.ticks()?;
        Ok(engine.map(|(first, last)| (oldest.map_or(first, |oldest| oldest.min(first)), last)))
    }

    fn linked_records(&self, from: Tick, to: Tick) -> Stream<'_, LinkedRecord> {
        let first = match self.ticks() {
            Ok(ticks) => ticks.map_or(from, |(first, _)| first.max(from)),
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        Box::new(Reading { of: self, next: first.0, to: to.0, read: VecDeque::new(), ended: false })
    }

    fn journal(&self, from_seq: u64) -> Stream<'_, (u64, Linked)> {
        Box::new(Reading { of: self, next: from_seq, to: u64::MAX, read: VecDeque::new(), ended: false })
    }

    fn snapshot_at_or_before(&self, tick: Tick) -> Result<Option<Checkpoint>, StoreError> {
        if let Some(checkpoint) = self.store.snapshot_at_or_before(tick)? {
            return Ok(Some(checkpoint));
        }
        match self.block_before(tick).map(|block| self.history.checkpoint(&block)) {
            None => Ok(None),
            Some(Ok(checkpoint)) => Ok(Some(checkpoint)),
            Some(Err(error)) if error.is_gone() => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn forget_before(&self, tick: Tick) -> Result<(), StoreError> {
        self.store.forget_before(tick)
    }

    fn backup(
        &self,
        to: &Path,
        said: &mut dyn FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<Option<Backup>, StoreError> {
        // The store copies the files of the past after its own: while they are held nothing leaves it for them.
        let _held = self.history.hold();
        self.store.backup(to, said)
    }

    fn past(&self) -> Option<&History> {
        Some(&self.history)
    }

    fn tick_at(&self, wall: Millis) -> Result<Option<Tick>, StoreError> {
        if let Some(tick) = self.store.tick_at(wall)? {
            return Ok(Some(tick));
        }
        let Some(block) =
            self.history.blocks_between(Millis::ZERO, wall.saturating_add(Millis::new(1))).pop()
        else {
            return Ok(None);
        };
        let mut tick = block.head().tick;
        let mut found = None;
        for linked in self.history.entries(&block)? {
            if let Entry::Tick(inputs) = linked.entry {
                found = if inputs.wall <= wall { Some(tick) } else { found };
                tick = tick.next();
            }
        }
        Ok(found)
    }
}

/// What is read one after the other: records by tick, or entries by number.
trait Piece: Sized {
    /// Its number.
    fn number(&self) -> u64;
    /// The block that has it.
    fn block(history: &History, number: u64) -> Option<BlockId>;
    /// All of a block.
    fn of_block(history: &History, block: &BlockId) -> Result<Vec<Self>, HistoryError>;
    /// Some of the engine's, from `number` on.
    fn of_store(store: &dyn Store, number: u64, to: u64) -> Result<Vec<Self>, StoreError>;
    /// What to say where it is missing between others.
    fn missing(number: u64) -> StoreError;
}

impl Piece for LinkedRecord {
    fn number(&self) -> u64 {
        self.record.outcome.tick.0
    }

    fn block(history: &History, number: u64) -> Option<BlockId> {
        history.blocks(Tick(number), Tick(number).next()).into_iter().next()
    }

    fn of_block(history: &History, block: &BlockId) -> Result<Vec<Self>, HistoryError> {
        history.records(block)
    }

    fn of_store(store: &dyn Store, number: u64, to: u64) -> Result<Vec<Self>, StoreError> {
        let to = to.min(number.saturating_add(RECORDS_AT_ONCE));
        store.linked_records(Tick(number), Tick(to)).collect()
    }

    fn missing(number: u64) -> StoreError {
        StoreError::NoRecord(Tick(number))
    }
}

impl Piece for (u64, Linked) {
    fn number(&self) -> u64 {
        self.0
    }

    fn block(history: &History, number: u64) -> Option<BlockId> {
        history.block_with_entry(number)
    }

    fn of_block(history: &History, block: &BlockId) -> Result<Vec<Self>, HistoryError> {
        Ok((block.head().seq..).zip(history.entries(block)?).collect())
    }

    fn of_store(store: &dyn Store, number: u64, _to: u64) -> Result<Vec<Self>, StoreError> {
        store.journal(number).take(ENTRIES_AT_ONCE).collect()
    }

    fn missing(number: u64) -> StoreError {
        StoreError::NoEntry(number)
    }
}

/// A reader of both.
struct Reading<'a, T> {
    of: &'a WithHistory,
    next: u64,
    to: u64,
    read: VecDeque<T>,
    ended: bool,
}

impl<T: Piece> Reading<'_, T> {
    /// Reads on from `next`; nothing more where it stays empty.
    fn fill(&mut self) -> Result<(), StoreError> {
        if self.fill_from_blocks()? {
            return Ok(());
        }
        let found = T::of_store(&*self.of.store, self.next, self.to);
        if found.as_ref().is_ok_and(|found| found.first().is_none_or(|first| first.number() == self.next)) {
            self.read = found?.into();
            return Ok(());
        }
        // It may have been moved between the two looks.
        match self.fill_from_blocks()? {
            true => Ok(()),
            false => found.and_then(|_| Err(T::missing(self.next))),
        }
    }

    fn fill_from_blocks(&mut self) -> Result<bool, StoreError> {
        let Some(block) = T::block(&self.of.history, self.next) else { return Ok(false) };
        let pieces = match T::of_block(&self.of.history, &block) {
            Ok(pieces) => pieces,
            Err(error) if error.is_gone() => return Err(T::missing(self.next)),
            Err(error) => return Err(error.into()),
        };
        self.read = pieces.into_iter().filter(|piece| piece.number() >= self.next).collect();
        Ok(true)
    }
}

impl<T: Piece> Iterator for Reading<'_, T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.next >= self.to {
            return None;
        }
        if self.read.is_empty()
            && let Err(error) = self.fill()
        {
            self.ended = true;
            return Some(Err(error));
        }
        let piece = self.read.pop_front()?;
        self.next = piece.number().saturating_add(1);
        Some(Ok(piece))
    }
}
