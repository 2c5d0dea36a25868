//! The store over any shelf: numbering, linking, framing and cutting, the same for every engine.

use super::key::{Key, Place, Room};
use super::upkeep::copy::{self, Copied};
use super::witness::{self, Said, Witness};
use super::{Backup, Batch, Loaded, Store, StoreError, Stream, layout};
use ecovisor_audit::frame::FrameError;
use ecovisor_audit::{Checkpoint, Link, Linked, LinkedRecord, digest};
use ecovisor_core::Tick;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most bytes of one part of a value. sled keeps up to 17 neighbours in one page and writes pages beyond 128 KiB
/// into files of their own, which neither its flush nor our barrier would cover: 17 × 4 KiB stays well below. redb's pages
/// have 4 KiB: a part with its key and the page's header (under 128 bytes together) just fits, and takes no second one.
const PART_BYTES: usize = 4096 - 128;

/// A key and its value.
pub type Pair = Result<(Vec<u8>, Vec<u8>), StoreError>;

/// Ordered keys and values.
pub trait Shelf: Send + Sync {
    /// Writes and removes all of it or nothing; durable when it returns.
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError>;

    /// All pairs from `from` to before `to`, ascending.
    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = Pair> + Send + '_>;

    /// The first or the last key from `from` to before `to`.
    fn edge(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, StoreError>;
}

impl<S: Shelf + ?Sized> Shelf for &S {
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError> {
        (**self).write(puts, removed)
    }

    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = Pair> + Send + '_> {
        (**self).range(from, to)
    }

    fn edge(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).edge(from, to, edge)
    }
}

impl Shelf for Box<dyn Shelf> {
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError> {
        (**self).write(puts, removed)
    }

    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = Pair> + Send + '_> {
        (**self).range(from, to)
    }

    fn edge(&self, from: Key, to: Key, edge: Edge) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).edge(from, to, edge)
    }
}

/// Which end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The smallest key.
    First,
    /// The largest key.
    Last,
}

/// A store over a shelf.
#[derive(Debug)]
pub struct Shelved<S> {
    shelf: S,
    tail: Mutex<Tail>,
    /// Where it is, and who knows where the journal ended there; `None` in memory.
    home: Option<Home>,
    /// Held by whoever reads all of the store as it is, and by whoever takes from it: neither sees half of the other.
    taking: Mutex<()>,
}

/// A directory of a store.
#[derive(Debug)]
struct Home {
    directory: PathBuf,
    witness: Witness,
}

/// The journal's end.
#[derive(Clone, Copy, Debug)]
struct Tail {
    seq: u64,
    link: Link,
    /// The records' link after the last record.
    records: Link,
    state: State,
}

/// Whether the store takes more. `Open -> Stopped` at the first write that fails; there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Stopped,
}

impl<S: Shelf> Shelved<S> {
    /// Opens what is on a shelf; marks an empty one, brings an older one to the newest layout.
    pub(super) fn open(shelf: S) -> Result<Self, StoreError> {
        layout::settle(&shelf)?;
        let tail = find_tail(&shelf)?;
        Ok(Self { shelf, tail: Mutex::new(tail), home: None, taking: Mutex::new(()) })
    }

    /// Opens what is on a shelf in a directory, and asks the witness whether it is all.
    pub(super) fn open_in(shelf: S, directory: &Path) -> Result<Self, StoreError> {
        let opened = Self::open(shelf)?;
        let witness =
            Witness::open(directory).map_err(|source| StoreError::Disk { doing: "open", source })?;
        let (seq, link) = opened.head();
        match witness.said() {
            Ok(Some(said)) => witness::check(&opened.shelf, Said { seq, link }, said)?,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a lost end of the store would not be noticed"),
        }
        witness.say(Said { seq, link });
        let home = Some(Home { directory: directory.to_path_buf(), witness });
        Ok(Self { home, ..opened })
    }

    /// The shelf itself, for tests that damage it or open it again.
    #[cfg(test)]
    pub(super) fn into_shelf(self) -> S {
        self.shelf
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Nothing between lock and release can leave the tail half changed: it is written in one assignment.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checkpoint(&self, before: Key) -> Result<Option<Checkpoint>, StoreError> {
        let last = self.shelf.edge(Room::Snapshots.at(0).key(0), before, Edge::Last)?;
        let Some(place) = last.as_deref().and_then(Place::of) else { return Ok(None) };
        let whole = Wholes::of(&self.shelf, place)?;
        whole.map(|(place, bytes)| Checkpoint::decode(&bytes).map_err(|e| damaged(place, e))).transpose()
    }
}

/// After all places of a room.
pub(super) fn end_of(room: Room) -> Key {
    Place { room, major: u64::MAX, minor: u64::MAX }.key(u32::MAX)
}

/// Where a shelf's journal ends.
pub(super) fn find_head<S: Shelf>(shelf: &S) -> Result<Said, StoreError> {
    let Tail { seq, link, .. } = find_tail(shelf)?;
    Ok(Said { seq, link })
}

fn find_tail<S: Shelf>(shelf: &S) -> Result<Tail, StoreError> {
    let (state, records) = (State::Open, find_records_end(shelf)?);
    let last = shelf.edge(Room::Journal.at(0).key(0), end_of(Room::Journal), Edge::Last)?;
    if let Some(place) = last.as_deref().and_then(Place::of) {
        let (_, bytes) = Wholes::new(shelf, place.key(0), place.key(u32::MAX))
            .next()
            .unwrap_or(Err(StoreError::NoEntry(place.major)))?;
        let linked = Linked::decode(&bytes).map_err(|e| damaged(place, e))?;
        return Ok(Tail { seq: place.major + 1, link: linked.link, records, state });
    }
    // All of the journal may have been forgotten; the snapshot remembers where it ended.
    let last = shelf.edge(Room::Snapshots.at(0).key(0), end_of(Room::Snapshots), Edge::Last)?;
    let Some(place) = last.as_deref().and_then(Place::of) else {
        return Ok(Tail { seq: 0, link: Link::ORIGIN, records, state });
    };
    let whole = Wholes::of(shelf, place)?;
    let (_, bytes) = whole.unwrap_or((place, Vec::new()));
    let checkpoint = Checkpoint::decode(&bytes).map_err(|e| damaged(place, e))?;
    Ok(Tail { seq: checkpoint.seq, link: checkpoint.link, records, state })
}

/// The records' link after the last. Records from before there was a chain, or that were made again, have no link but
/// their place in it: it is computed over them, once, until the next has one.
fn find_records_end<S: Shelf>(shelf: &S) -> Result<Link, StoreError> {
    let all = (Room::Records.at(0).key(0), end_of(Room::Records));
    let Some(place) = shelf.edge(all.0, all.1, Edge::Last)?.as_deref().and_then(Place::of) else {
        return Ok(Link::ORIGIN);
    };
    let linked = |bytes: &[u8]| LinkedRecord::decode(bytes).ok();
    let last = Wholes::new(shelf, place.key(0), place.key(u32::MAX)).next().transpose()?;
    if let Some(link) = last.and_then(|(_, bytes)| linked(&bytes)?.link) {
        return Ok(link);
    }
    let mut link = Link::ORIGIN;
    for whole in Wholes::new(shelf, all.0, all.1) {
        // A damaged one is named when it is read; the chain goes on without it.
        let Some(LinkedRecord { link: own, record }) = linked(&whole?.1) else { continue };
        link = own.unwrap_or_else(|| digest::after(link, &(&record).into()));
    }
    Ok(link)
}

pub(super) fn damaged(place: Place, error: FrameError) -> StoreError {
    let what = place.to_string();
    match error {
        FrameError::Newer { found, known } => StoreError::Newer { what, found, known },
        source => StoreError::Damaged { what, source },
    }
}

/// Adds a value in parts.
pub(super) fn put(puts: &mut Vec<(Key, Vec<u8>)>, place: Place, value: &[u8]) {
    puts.extend((0..).zip(value.chunks(PART_BYTES)).map(|(part, bytes)| (place.key(part), bytes.to_vec())));
}

impl<S: Shelf> Store for Shelved<S> {
    fn load(&self) -> Result<Loaded, StoreError> {
        let checkpoint = self.checkpoint(end_of(Room::Snapshots))?;
        let (mut seq, mut link) = checkpoint.as_ref().map_or((0, Link::ORIGIN), |c| (c.seq, c.link));
        let mut entries = Vec::new();
        for linked in self.journal(seq) {
            let (_, linked) = linked?;
            if !linked.follows(link) {
                return Err(StoreError::Unlinked(seq));
            }
            (seq, link) = (seq + 1, linked.link);
            entries.push(linked.entry);
        }
        Ok(Loaded { checkpoint, entries })
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut tail = self.tail();
        if tail.state == State::Stopped {
            return Err(StoreError::Stopped);
        }
        let (mut seq, mut link, mut records, mut puts) = (tail.seq, tail.link, tail.records, Vec::new());
        for entry in batch.entries {
            let linked = Linked::new(link, entry);
            put(&mut puts, Room::Journal.at(seq), &linked.encode());
            (seq, link) = (seq + 1, linked.link);
        }
        for record in batch.records {
            let tick = record.outcome.tick.0;
            let linked = LinkedRecord::new(records, record);
            put(&mut puts, Room::Records.at(tick), &linked.encode());
            records = linked.link.unwrap_or(records);
        }
        if let Some(snapshot) = batch.snapshot {
            let place = Place { room: Room::Snapshots, major: snapshot.site.tick().0, minor: seq };
            put(&mut puts, place, &Checkpoint { seq, link, snapshot }.encode());
        }
        let written = self.shelf.write(puts, Vec::new());
        let state = if written.is_ok() { State::Open } else { State::Stopped };
        *tail = Tail { seq, link, records, state };
        if let (Ok(()), Some(home)) = (&written, &self.home) {
            home.witness.say(Said { seq, link });
        }
        written
    }

    fn head(&self) -> (u64, Link) {
        let tail = self.tail();
        (tail.seq, tail.link)
    }

    fn ticks(&self) -> Result<Option<(Tick, Tick)>, StoreError> {
        let at = |edge| -> Result<Option<Tick>, StoreError> {
            let key = self.shelf.edge(Room::Records.at(0).key(0), end_of(Room::Records), edge)?;
            Ok(key.as_deref().and_then(Place::of).map(|place| Tick(place.major)))
        };
        Ok(at(Edge::First)?.zip(at(Edge::Last)?))
    }

    fn records_head(&self) -> Link {
        self.tail().records
    }

    fn linked_records(&self, from: Tick, to: Tick) -> Stream<'_, LinkedRecord> {
        let wholes = Wholes::new(&self.shelf, Room::Records.at(from.0).key(0), Room::Records.at(to.0).key(0));
        Box::new(wholes.map(|whole| {
            let (place, bytes) = whole?;
            LinkedRecord::decode(&bytes).map_err(|e| damaged(place, e))
        }))
    }

    fn journal(&self, from_seq: u64) -> Stream<'_, (u64, Linked)> {
        let wholes = Wholes::new(&self.shelf, Room::Journal.at(from_seq).key(0), end_of(Room::Journal));
        Box::new(wholes.zip(from_seq..).map(|(whole, seq)| {
            let (place, bytes) = whole?;
            if place.major != seq {
                return Err(StoreError::NoEntry(seq));
            }
            Ok((seq, Linked::decode(&bytes).map_err(|e| damaged(place, e))?))
        }))
    }

    fn snapshot_at_or_before(&self, tick: Tick) -> Result<Option<Checkpoint>, StoreError> {
        self.checkpoint(Room::Snapshots.at(tick.0.saturating_add(1)).key(0))
    }

    fn backup(
        &self,
        to: &Path,
        said: &mut dyn FnMut(Copied) -> ControlFlow<()>,
    ) -> Result<Option<Backup>, StoreError> {
        let home = self.home.as_ref().ok_or(StoreError::InMemory)?;
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let (Tail { seq, link, .. }, ticks) = {
            // No commit is under way while the tail is held.
            let tail = self.tail();
            (*tail, self.ticks()?)
        };
        let moment = Moment { entries: seq, last_record: ticks.map(|(_, last)| last.0) };
        let copied = copy::moment(&self.shelf, &home.directory, to, &moment, said)?;
        Ok(copied.map(|copied| Backup { entries: seq, head: link, copied }))
    }

    fn forget_before(&self, tick: Tick) -> Result<(), StoreError> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = self.snapshot_at_or_before(tick)? else { return Ok(()) };
        let snapshot = Place { room: Room::Snapshots, major: kept.snapshot.site.tick().0, minor: kept.seq };
        let first = [(Room::Journal, Room::Journal.at(kept.seq)), (Room::Snapshots, snapshot)];
        let records = (Room::Records, Room::Records.at(snapshot.major));
        for (room, kept) in first.into_iter().chain([records]) {
            self.remove(room.at(0).key(0), kept.key(0))?;
        }
        Ok(())
    }
}

/// What there is at one moment: journal, records and snapshots only grow, at their ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    entries: u64,
    last_record: Option<u64>,
}

impl Moment {
    /// Whether a key was there then.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        Place::of(key).is_none_or(|place| match place.room {
            Room::Journal => place.major < self.entries,
            Room::Records => self.last_record.is_some_and(|last| place.major <= last),
            Room::Snapshots => place.minor <= self.entries,
            Room::Mark => true,
        })
    }
}

/// Keys that are removed in one batch: forgetting a year does not take a year's memory, and the tick loop, whose commit
/// waits for whoever writes, waits for 1 MB at most.
const REMOVED_AT_ONCE: usize = 256;

impl<S: Shelf> Shelved<S> {
    fn remove(&self, from: Key, to: Key) -> Result<(), StoreError> {
        loop {
            let keys = self.shelf.range(from, to).take(REMOVED_AT_ONCE).map(|pair| Ok(pair?.0));
            let keys: Vec<Vec<u8>> = keys.collect::<Result<_, StoreError>>()?;
            if keys.is_empty() {
                return Ok(());
            }
            let removed = keys.iter().filter_map(|key| Key::try_from(&key[..]).ok()).collect();
            self.shelf.write(Vec::new(), removed)?;
        }
    }
}

/// Values joined from their parts.
pub(super) struct Wholes<'a> {
    pairs: std::iter::Peekable<Box<dyn Iterator<Item = Pair> + Send + 'a>>,
}

impl<'a> Wholes<'a> {
    pub(super) fn new<S: Shelf>(shelf: &'a S, from: Key, to: Key) -> Self {
        Self { pairs: shelf.range(from, to).peekable() }
    }

    /// The value at a place.
    pub(super) fn of<S: Shelf>(shelf: &'a S, place: Place) -> Result<Option<(Place, Vec<u8>)>, StoreError> {
        Self::new(shelf, place.key(0), place.key(u32::MAX)).next().transpose()
    }
}

impl Iterator for Wholes<'_> {
    type Item = Result<(Place, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (place, mut whole) = loop {
            match self.pairs.next()? {
                Err(error) => return Some(Err(error)),
                // A key that is none of ours is nobody's value.
                Ok((key, bytes)) => match Place::of(&key) {
                    Some(place) => break (place, bytes),
                    None => continue,
                },
            }
        };
        let same = |pair: &Pair| matches!(pair, Ok((key, _)) if Place::of(key) == Some(place));
        while let Some(Ok((_, part))) = self.pairs.next_if(same) {
            whole.extend(part);
        }
        Some(Ok((place, whole)))
    }
}
