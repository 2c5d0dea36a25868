//! What is whole of a damaged store, into a new one: the newest snapshot that the journal leads on from, the journal up to where
//! it breaks, and every record that can be read or made again. What is lost is named, and the new store remembers it.

use super::super::engine::Engine;
use super::super::key::{FIRST, Key, Place, Room};
use super::super::shelf::{Shelf, Shelved, Wholes, put};
use super::super::{StoreError, layout};
use super::losses::{self, Losses};
use super::reading::{Replayed, Seen, Walk, bounds, chain, record, snapshots};
use super::{engine_of, make_target, ruins};
use ecovisor_audit::Record;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Bytes that are written in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// What can be saved of a store, and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// Entries from the start of the journal that the site goes on after.
    pub ends_after_entries: u64,
    /// The tick that it goes on with.
    pub next_tick: u64,
    /// Entries that are whole.
    pub entries: u64,
    /// Snapshots that are whole.
    pub snapshots: u64,
    /// Records that are whole.
    pub records: u64,
    /// Records that could not be read and were made again from the journal.
    pub records_made_again: u64,
    /// Entries before the end that are lost, by number, the end exclusive.
    pub lost_entries: Vec<(u64, u64)>,
    /// Records before the end that are lost, by tick, the end exclusive.
    pub lost_records: Vec<(u64, u64)>,
    /// Entries after the end: some may be whole, but nothing leads to them.
    pub cut_entries: u64,
    /// Why, one line each.
    pub because: Vec<String>,
}

/// Where the site goes on: after the newest snapshot that is whole and what follows it.
#[derive(Clone, Copy, Debug)]
struct End {
    seq: u64,
    tick: u64,
    open: bool,
}

/// Takes a value that is whole, and where it stands.
type Keep<'a> = dyn FnMut(Place, &[u8]) -> Result<(), StoreError> + 'a;

/// What a damaged store still gives.
///
/// # Errors
/// [`StoreError::NothingToGoOnFrom`] where no snapshot is whole, and where the engine does not read at all.
pub fn plan(shelf: &dyn Shelf) -> Result<Saved, StoreError> {
    sift(shelf, &mut |_, _| Ok(()))
}

/// Saves what is whole into an empty or missing directory, for an engine.
///
/// # Errors
/// As [`plan`], and where the target is not empty or cannot be written.
pub fn salvage(from: &Path, to: &Path, engine: Engine) -> Result<Saved, StoreError> {
    let (source, refused) = whatever_is_there(from)?;
    let mut saved = plan(&*source)?;
    saved.because.splice(..0, refused);
    make_target(to)?;
    let target = engine.shelf(to)?;
    let mut batch = Batched { target: &*target, puts: Vec::new(), bytes: 0 };
    sift(&*source, &mut |place, bytes| batch.put(place, bytes))?;
    others(&*source, &mut batch)?;
    batch.write()?;
    let losses = Losses { entries: saved.lost_entries.clone(), records: saved.lost_records.clone() };
    target.write(losses.pairs(), Vec::new())?;
    target.write(vec![layout::mark()], Vec::new())?;
    Shelved::open_in(target, to)?;
    Ok(saved)
}

/// The shelf as its engine reads it, or else what lies about in its file, and why only that.
fn whatever_is_there(from: &Path) -> Result<(Box<dyn Shelf>, Option<String>), StoreError> {
    match (engine_of(from)?, engine_of(from)?.shelf(from)) {
        (Engine::Redb, Err(error @ StoreError::Engine { .. })) => {
            Ok((Box::new(ruins::pairs(from)?), Some(chain(&error))))
        }
        (_, shelf) => Ok((shelf?, None)),
    }
}

/// Gives all that is whole to `keep`. It goes twice through the journal: only at its end is it known how far it leads.
fn sift(shelf: &dyn Shelf, keep: &mut Keep<'_>) -> Result<Saved, StoreError> {
    let (end, mut saved) = find_end(shelf)?;
    let mut made_again = BTreeSet::new();
    Walk::new(shelf, snapshots(shelf).0).along(&mut |seen| {
        match seen {
            Seen::Entry { seq, replayed, .. } if seq < end.seq => {
                saved.entries += 1;
                keep_raw(shelf, Room::Journal.at(seq), keep)?;
                if let Replayed::Settled(due) = replayed
                    && !is_as(shelf, &due)
                {
                    made_again.insert(due.outcome.tick.0);
                    keep(Room::Records.at(due.outcome.tick.0), &due.encode())?;
                }
            }
            Seen::LostEntry { seq, .. } if seq < end.seq => losses::add(&mut saved.lost_entries, seq),
            Seen::Snapshot(checkpoint) if checkpoint.seq <= end.seq => {
                saved.snapshots += 1;
                let major = checkpoint.snapshot.site.tick().0;
                let place = Place { room: Room::Snapshots, major, minor: checkpoint.seq };
                keep_raw(shelf, place, keep)?;
            }
            Seen::Entry { .. } | Seen::LostEntry { .. } => saved.cut_entries += 1,
            Seen::Snapshot(_) | Seen::LostSnapshot(_) => {}
        }
        Ok(())
    })?;
    let first = bounds(shelf, Room::Records)?.map_or(end.tick, |(first, _)| first);
    for tick in first..end.tick {
        match record(shelf, tick) {
            _ if made_again.contains(&tick) => saved.records_made_again += 1,
            Ok(Some(_)) => {
                saved.records += 1;
                keep_raw(shelf, Room::Records.at(tick), keep)?;
            }
            Ok(None) => losses::add(&mut saved.lost_records, tick),
            Err(error) => {
                saved.because.push(chain(&error));
                losses::add(&mut saved.lost_records, tick);
            }
        }
    }
    Ok(saved)
}

/// A value as it stands: links are hashes of bytes, and older formats stay what they are.
fn keep_raw(shelf: &dyn Shelf, place: Place, keep: &mut Keep<'_>) -> Result<(), StoreError> {
    Wholes::of(&shelf, place)?.map_or(Ok(()), |(place, bytes)| keep(place, &bytes))
}

fn is_as(shelf: &dyn Shelf, due: &Record) -> bool {
    matches!(record(shelf, due.outcome.tick.0), Ok(Some(found)) if found == *due)
}

fn find_end(shelf: &dyn Shelf) -> Result<(End, Saved), StoreError> {
    let (places, refused) = snapshots(shelf);
    let (mut end, mut saved): (Option<End>, Saved) = (None, Saved::default());
    saved.because.extend(refused.map(|error| chain(&error)));
    Walk::new(shelf, places).along(&mut |seen| {
        match (seen, &mut end) {
            (Seen::Snapshot(checkpoint), _) => {
                let tick = checkpoint.snapshot.site.tick().0;
                end = Some(End { seq: checkpoint.seq, tick, open: true });
            }
            (Seen::Entry { seq, replayed, .. }, Some(end)) if end.open => match replayed {
                Replayed::Not => end.open = false,
                Replayed::Moved(next) => (end.seq, end.tick) = (seq + 1, next.0),
                Replayed::Settled(record) => (end.seq, end.tick) = (seq + 1, record.outcome.tick.0 + 1),
            },
            (Seen::LostEntry { why, .. }, end) => {
                saved.because.push(why);
                if let Some(end) = end {
                    end.open = false;
                }
            }
            (Seen::LostSnapshot(why), _) => saved.because.push(why),
            (Seen::Entry { .. }, _) => {}
        }
        Ok(())
    })?;
    let end = end.ok_or(StoreError::NothingToGoOnFrom)?;
    (saved.ends_after_entries, saved.next_tick) = (end.seq, end.tick);
    Ok((end, saved))
}

/// Writes in batches.
struct Batched<'a> {
    target: &'a dyn Shelf,
    puts: Vec<(Key, Vec<u8>)>,
    bytes: usize,
}

impl Batched<'_> {
    fn put(&mut self, place: Place, value: &[u8]) -> Result<(), StoreError> {
        put(&mut self.puts, place, value);
        self.grown(value.len())
    }

    fn grown(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.bytes += bytes;
        if self.bytes < BATCH_BYTES { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.target.write(std::mem::take(&mut self.puts), Vec::new())
    }
}

/// What other rooms hold, as far as the engine gives it.
fn others(source: &dyn Shelf, batch: &mut Batched<'_>) -> Result<(), StoreError> {
    for room in 0..u8::MAX {
        let (mut from, mut to) = (FIRST, FIRST);
        (from[0], to[0]) = (room, room + 1);
        let pairs = source.range(from, to).take_while(Result::is_ok).flatten();
        for (key, value) in pairs.filter(|(key, _)| Place::of(key).is_none()) {
            if let Ok(key) = Key::try_from(&key[..]) {
                let length = value.len();
                batch.puts.push((key, value));
                batch.grown(length)?;
            }
        }
    }
    Ok(())
}
