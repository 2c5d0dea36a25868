//! Reading what may be damaged: value by value, so that one that cannot be read takes no other with it.

use super::super::StoreError;
use super::super::key::{Place, Room};
use super::super::shelf::{Edge, Shelf, Wholes, damaged, end_of};
use ecovisor_audit::{Checkpoint, Link, Linked, LinkedRecord, Record, Verifier};
use ecovisor_core::Tick;

/// The first and the last number of a room that counts; `None` where it is empty. What was being forgotten when the process
/// ended may have lost its first parts: it does not count.
pub fn bounds(shelf: &dyn Shelf, room: Room) -> Result<Option<(u64, u64)>, StoreError> {
    let at = |from, edge| -> Result<Option<(Vec<u8>, Place)>, StoreError> {
        let key = shelf.edge(from, end_of(room), edge)?;
        Ok(key.and_then(|key| Place::of(&key).map(|place| (key, place))))
    };
    let all = room.at(0).key(0);
    let first = match at(all, Edge::First)? {
        Some((key, place)) if !is_first_part(&key) => at(place.key(u32::MAX), Edge::First)?,
        first => first,
    };
    let last = at(all, Edge::Last)?;
    Ok(first.zip(last).map(|((_, first), (_, last))| (first.major, last.major)))
}

fn is_first_part(key: &[u8]) -> bool {
    key.ends_with(&[0; 4])
}

/// A journal entry; `None` where there is none.
pub fn entry(shelf: &dyn Shelf, seq: u64) -> Result<Option<Linked>, StoreError> {
    let place = Room::Journal.at(seq);
    let Some((_, bytes)) = Wholes::of(&shelf, place)? else { return Ok(None) };
    Linked::decode(&bytes).map(Some).map_err(|error| damaged(place, error))
}

/// A tick's record, at its own place; `None` where there is none.
pub fn record(shelf: &dyn Shelf, tick: u64) -> Result<Option<Record>, StoreError> {
    Ok(linked_record(shelf, tick)?.map(|linked| linked.record))
}

/// The same with its link of the records' chain.
pub fn linked_record(shelf: &dyn Shelf, tick: u64) -> Result<Option<LinkedRecord>, StoreError> {
    let place = Room::Records.at(tick);
    let Some((_, bytes)) = Wholes::of(&shelf, place)? else { return Ok(None) };
    let record = LinkedRecord::decode(&bytes).map_err(|error| damaged(place, error))?;
    // A key carries no checksum: what it leads to says whether it is the right one.
    if record.record.outcome.tick.0 == tick {
        Ok(Some(record))
    } else {
        Err(StoreError::Misplaced(place.to_string()))
    }
}

/// A snapshot, at its own place; `None` where there is none.
pub fn checkpoint(shelf: &dyn Shelf, place: Place) -> Result<Option<Checkpoint>, StoreError> {
    let Some((_, bytes)) = Wholes::of(&shelf, place)? else { return Ok(None) };
    let checkpoint = Checkpoint::decode(&bytes).map_err(|error| damaged(place, error))?;
    let is_there = checkpoint.seq == place.minor && checkpoint.snapshot.site.tick().0 == place.major;
    if is_there { Ok(Some(checkpoint)) } else { Err(StoreError::Misplaced(place.to_string())) }
}

/// Where there are snapshots, ascending: from the front until the engine refuses, then from the back.
pub fn snapshots(shelf: &dyn Shelf) -> (Vec<Place>, Option<StoreError>) {
    let (mut front, mut refused) = (Vec::new(), None);
    for pair in shelf.range(Room::Snapshots.at(0).key(0), end_of(Room::Snapshots)) {
        match pair {
            Ok((key, _)) => front.extend(Place::of(&key).filter(|_| is_first_part(&key))),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    front.dedup();
    if refused.is_some() {
        let after = front.last().copied();
        let mut back = back_to(shelf, after);
        back.reverse();
        front.extend(back);
    }
    (front, refused)
}

/// The snapshots after a place, descending, until the engine refuses.
fn back_to(shelf: &dyn Shelf, after: Option<Place>) -> Vec<Place> {
    let from = after.map_or(Room::Snapshots.at(0).key(0), |place| place.key(u32::MAX));
    let (mut found, mut to) = (Vec::new(), end_of(Room::Snapshots));
    while let Ok(Some(key)) = shelf.edge(from, to, Edge::Last) {
        let Some(place) = Place::of(&key) else { break };
        found.push(place);
        to = place.key(0);
    }
    found
}

/// What a walk comes by.
#[derive(Debug)]
pub enum Seen {
    /// An entry that follows from its predecessor, with what it leads to where a snapshot before it was whole.
    Entry {
        /// Its number.
        seq: u64,
        /// Itself.
        linked: Box<Linked>,
        /// What was replayed.
        replayed: Replayed,
    },
    /// An entry that is not there, cannot be read, does not follow or cannot be replayed.
    LostEntry {
        /// Its number.
        seq: u64,
        /// Why.
        why: String,
    },
    /// A snapshot that is what the journal leads to, as far as that can be known.
    Snapshot(Box<Checkpoint>),
    /// A snapshot that cannot be read or is another one.
    LostSnapshot(String),
}

/// What an entry led to.
#[derive(Debug)]
pub enum Replayed {
    /// No snapshot before it was whole.
    Not,
    /// It settled nothing; the tick that comes next.
    Moved(Tick),
    /// It settled a tick.
    Settled(Box<Record>),
}

/// A walk along the journal, from snapshot to snapshot, replaying what can be replayed.
pub struct Walk<'a> {
    shelf: &'a dyn Shelf,
    snapshots: std::iter::Peekable<std::vec::IntoIter<Place>>,
    verifier: Option<Verifier>,
    link: Option<Link>,
}

impl<'a> Walk<'a> {
    /// A walk past these snapshots, which ascend.
    pub fn new(shelf: &'a dyn Shelf, snapshots: Vec<Place>) -> Self {
        Self { shelf, snapshots: snapshots.into_iter().peekable(), verifier: None, link: None }
    }

    /// Walks through all of the journal.
    ///
    /// # Errors
    /// Where the engine does not even say where the journal begins and ends, or `see` fails.
    pub fn along(mut self, see: &mut dyn FnMut(Seen) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // Before the first entry of a site there is nothing that another one could have come from.
        let (from, to) = bounds(self.shelf, Room::Journal)?.map_or((0, 0), |(from, last)| (from, last + 1));
        self.link = (from == 0).then_some(Link::ORIGIN);
        for seq in from..to {
            while let Some(place) = self.snapshots.next_if(|place| place.minor <= seq) {
                see(self.stand(place, seq))?;
            }
            see(self.step(seq))?;
        }
        while let Some(place) = self.snapshots.next() {
            see(self.stand(place, to))?;
        }
        Ok(())
    }

    /// At a snapshot, with the walk before entry `seq`.
    fn stand(&mut self, place: Place, seq: u64) -> Seen {
        let checkpoint = match checkpoint(self.shelf, place) {
            Ok(Some(checkpoint)) => checkpoint,
            Ok(None) => return Seen::LostSnapshot(format!("{place} is missing")),
            Err(error) => return Seen::LostSnapshot(chain(&error)),
        };
        // One that covers less than is left of the journal, or more, stands alone.
        let alone = checkpoint.seq != seq;
        if !alone && self.link.is_some_and(|link| link != checkpoint.link) {
            return Seen::LostSnapshot(format!("{place} does not belong to this journal"));
        }
        let led_to = self.verifier.as_ref().filter(|_| !alone).map(Verifier::state);
        if led_to.is_some_and(|state| *state != checkpoint.snapshot) {
            return Seen::LostSnapshot(format!("{place} is not what the journal leads to"));
        }
        if self.verifier.is_none() && !alone {
            self.verifier = Some(Verifier::new(checkpoint.clone()));
            self.link = Some(checkpoint.link);
        }
        Seen::Snapshot(Box::new(checkpoint))
    }

    fn step(&mut self, seq: u64) -> Seen {
        match entry(self.shelf, seq) {
            Ok(Some(linked)) if self.link.is_none_or(|link| linked.follows(link)) => {
                self.link = Some(linked.link);
                self.replay(seq, linked)
            }
            Ok(Some(linked)) => self.lost(seq, Some(linked.link), chain(&StoreError::Unlinked(seq))),
            Ok(None) => self.lost(seq, None, chain(&StoreError::NoEntry(seq))),
            Err(error) => self.lost(seq, None, chain(&error)),
        }
    }

    fn lost(&mut self, seq: u64, link: Option<Link>, why: String) -> Seen {
        (self.verifier, self.link) = (None, link);
        Seen::LostEntry { seq, why }
    }

    fn replay(&mut self, seq: u64, linked: Linked) -> Seen {
        let Some(verifier) = &mut self.verifier else {
            return Seen::Entry { seq, linked: Box::new(linked), replayed: Replayed::Not };
        };
        let replayed = match verifier.entry(&linked) {
            Ok(Some(record)) => Replayed::Settled(Box::new(record)),
            Ok(None) => Replayed::Moved(verifier.state().site.tick()),
            Err(fault) => return self.lost(seq, None, fault.to_string()),
        };
        Seen::Entry { seq, linked: Box::new(linked), replayed }
    }
}

/// A message with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
