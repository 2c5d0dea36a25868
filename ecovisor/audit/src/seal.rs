//! Seals: what stays of a day for ever, when its ticks have gone.
//!
//! A seal holds the first and the last link of the journal and of the records, the sums of the day, and hashes of the
//! finer rollups that are kept beside it; and it is linked to the seal before. So whoever noted one seal's link can tell
//! of every earlier day whether its sums, its rollups and (while they are kept or archived) its raw readings are those of
//! then. A day is a run of ticks that began on the same UTC day; where the wall clock is set back over midnight, a date
//! has more than one run, each with a seal of its own.

use crate::block::Head;
use crate::chain::Link;
use crate::frame::{self, FrameError, Kind};
use crate::rollup::{self, Level, Rollup, RollupError, rolled};
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A day's seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Which day this is of the site's, counted from 0.
    pub number: u64,
    /// The stretch of journal and records that it vouches for.
    pub stretch: Head,
    /// The hash of the day's minutes, as encoded; zeros: they were not kept.
    pub minutes: Link,
    /// The hash of the day's hours, as encoded.
    pub hours: Link,
    /// What the day came to.
    pub sums: Rollup,
    /// The link of the seal before; [`Link::ORIGIN`] for the first.
    pub before: Link,
}

/// The fixed part of a seal, in its bytes.
#[derive(Serialize, Deserialize)]
struct Fixed {
    number: u64,
    stretch: Head,
    minutes: Link,
    hours: Link,
    before: Link,
}

/// Why a seal cannot be read, or does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// It is not whole.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its sums are not whole.
    #[error(transparent)]
    Sums(#[from] RollupError),
    /// A seal has the sums of one day.
    #[error("it holds {0} sums instead of those of one day")]
    Days(usize),
    /// Seals were left out, exchanged or changed.
    #[error("seal {number} does not follow from its predecessor")]
    Unlinked {
        /// Which.
        number: u64,
    },
    /// The stretch does not begin where the one before ends.
    #[error("seal {number} begins at tick {}, not at tick {}", .tick.0, .due.0)]
    Gap {
        /// Which.
        number: u64,
        /// Where it begins.
        tick: Tick,
        /// Where it should.
        due: Tick,
    },
    /// The rollups of its day are not those that were sealed.
    #[error("the {level:?}s of tick {} to {} are not those that seal {number} vouches for", .ticks.0.0, .ticks.1.0)]
    Rollups {
        /// Which.
        number: u64,
        /// Of which level.
        level: Level,
        /// The day's first tick, and the one after its last.
        ticks: (Tick, Tick),
    },
    /// The raw readings of its day are not those that were sealed.
    #[error("{what} of tick {} to {} is not what seal {number} vouches for", .ticks.0.0, .ticks.1.0)]
    Raw {
        /// Which.
        number: u64,
        /// What differs.
        what: &'static str,
        /// The day's first tick, and the one after its last.
        ticks: (Tick, Tick),
    },
}

/// The hash of rollups in the frames in which they are kept: one link after the other.
#[must_use]
pub fn hash(frames: &[Vec<u8>]) -> Link {
    frames.iter().fold(Link::ORIGIN, |link, frame| link.after(frame))
}

impl Seal {
    /// What is hashed of it.
    fn bytes(&self) -> Vec<u8> {
        let Self { number, stretch, minutes, hours, sums, before } = self;
        let fixed =
            Fixed { number: *number, stretch: *stretch, minutes: *minutes, hours: *hours, before: *before };
        let mut bytes = frame::pack(&fixed);
        bytes.extend(rollup::encode(std::slice::from_ref(sums)));
        bytes
    }

    /// The link after it: who noted it once can compare.
    #[must_use]
    pub fn link(&self) -> Link {
        self.before.after(&self.bytes())
    }

    /// As a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        frame::seal(Kind::Seal, &self.bytes())
    }

    /// From a frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let payload = frame::open(Kind::Seal, bytes)?;
        let (fixed, sums) = postcard::take_from_bytes(payload).map_err(FrameError::Payload)?;
        let Fixed { number, stretch, minutes, hours, before } = fixed;
        let mut sums = rollup::decode(sums)?;
        match (sums.pop(), sums.len()) {
            (Some(sums), 0) => Ok(Self { number, stretch, minutes, hours, sums, before }),
            (_, others) => Err(SealError::Days(others)),
        }
    }

    /// The first tick of its day, and the one after the last.
    #[must_use]
    pub const fn ticks(&self) -> (Tick, Tick) {
        (self.stretch.tick, self.stretch.end_tick())
    }

    /// Whether it follows `before`, or begins the chain where there is none.
    ///
    /// # Errors
    /// [`SealError::Unlinked`] or [`SealError::Gap`].
    pub fn check_after(&self, before: Option<&Self>) -> Result<(), SealError> {
        let number = self.number;
        let (link, due) = match before {
            None => (Link::ORIGIN, self.stretch.tick),
            Some(before) => (before.link(), before.stretch.end_tick()),
        };
        if self.before != link || number != before.map_or(0, |before| before.number + 1) {
            return Err(SealError::Unlinked { number });
        }
        if self.stretch.tick != due {
            return Err(SealError::Gap { number, tick: self.stretch.tick, due });
        }
        let journal = before.is_none_or(|b| b.stretch.journal_after == self.stretch.journal_before);
        let records = before.is_none_or(|b| b.stretch.records_after == self.stretch.records_before);
        match (journal, records) {
            (true, true) => Ok(()),
            (false, _) => Err(self.raw("the journal's beginning")),
            (_, false) => Err(self.raw("the records' beginning")),
        }
    }

    /// The rollups of its day, from the frames in which they are kept: whether they are those that were sealed, by
    /// their hash and by what they sum to.
    ///
    /// # Errors
    /// [`SealError::Rollups`], or where they cannot be read.
    pub fn check_rollups(&self, level: Level, frames: &[Vec<u8>]) -> Result<Vec<Rollup>, SealError> {
        let mut rollups = Vec::new();
        for frame in frames {
            rollups.extend(rollup::decode(frame)?);
        }
        let due = match level {
            Level::Minute => self.minutes,
            Level::Hour => self.hours,
            // Of the day there is nothing but the sums in the seal, of ticks no rollups.
            Level::Day | Level::Tick => Link::ORIGIN,
        };
        let sums = rolled(rollups.iter().cloned(), Level::Day);
        if hash(frames) == due && sums == [self.sums.clone()] {
            return Ok(rollups);
        }
        Err(SealError::Rollups { number: self.number, level, ticks: self.ticks() })
    }

    /// Whether a replayed stretch is that of its day.
    ///
    /// # Errors
    /// [`SealError::Raw`] with the first difference.
    pub fn check_stretch(&self, replayed: &Head, sums: &Rollup) -> Result<(), SealError> {
        let (due, is) = (&self.stretch, replayed);
        let parts = [
            ("the first journal entry", due.seq == is.seq && due.journal_before == is.journal_before),
            ("the journal", due.entries == is.entries && due.journal_after == is.journal_after),
            ("the number of ticks", (due.tick, due.ticks) == (is.tick, is.ticks)),
            ("the first record", due.records_before == is.records_before),
            ("the books", due.records_after == is.records_after),
            ("the time", due == is),
            ("the sum", self.sums == *sums),
        ];
        match parts.into_iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((what, _)) => Err(self.raw(what)),
        }
    }

    fn raw(&self, what: &'static str) -> SealError {
        SealError::Raw { number: self.number, what, ticks: self.ticks() }
    }

    /// When the UTC day began, in ms since the Unix epoch.
    #[must_use]
    pub const fn day(&self) -> Millis {
        self.sums.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;
    use crate::life::life;
    use crate::record::Record;

    /// A day, and the minutes and hours that it seals.
    fn day(number: u64, records: &[Record], before: Option<&Seal>) -> (Seal, Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let minutes = rolled(records.iter().map(|record| Rollup::of(record, Level::Minute)), Level::Minute);
        let hours = rolled(minutes.clone(), Level::Hour);
        let sums = rolled(minutes.clone(), Level::Day).remove(0);
        let (minutes, hours) = (vec![rollup::encode(&minutes)], vec![rollup::encode(&hours)]);
        let first = &records[0].outcome;
        let records_before = before.map_or(Link::ORIGIN, |seal| seal.stretch.records_after);
        let journal_before = before.map_or(Link::ORIGIN, |seal| seal.stretch.journal_after);
        let stretch = Head {
            seq: first.tick.0,
            entries: sums.ticks,
            tick: first.tick,
            ticks: sums.ticks,
            wall_min: sums.wall_first,
            wall_max: sums.wall_last,
            site_end: Millis::ZERO,
            journal_before,
            journal_after: journal_before.after(b"day"),
            records_before,
            records_after: records.iter().fold(records_before, |link, r| digest::after(link, &r.into())),
        };
        let seal = Seal {
            number,
            stretch,
            minutes: hash(&minutes),
            hours: hash(&hours),
            sums,
            before: before.map_or(Link::ORIGIN, Seal::link),
        };
        (seal, minutes, hours)
    }

    #[test]
    fn a_seal_survives_its_bytes_and_follows_the_one_before() {
        let life = life(21, 120);
        let (first, ..) = day(0, &life.records[..70], None);
        let (second, ..) = day(1, &life.records[70..], Some(&first));
        assert_eq!(Seal::decode(&second.encode()), Ok(second.clone()));
        assert_eq!((first.check_after(None), second.check_after(Some(&first))), (Ok(()), Ok(())));
        assert_eq!(second.check_after(None), Err(SealError::Unlinked { number: 1 }));
        let mut forged = first.clone();
        forged.sums.apps[0].flows[0] += 1;
        assert_eq!(second.check_after(Some(&forged)), Err(SealError::Unlinked { number: 1 }));
        let (early, ..) = day(1, &life.records[60..], Some(&first));
        let gap = SealError::Gap { number: 1, tick: Tick(60), due: Tick(70) };
        assert_eq!(early.check_after(Some(&first)), Err(gap));
    }

    #[test]
    fn rollups_that_were_changed_are_found() {
        let life = life(22, 130);
        let (seal, minutes, hours) = day(0, &life.records, None);
        let held = seal.check_rollups(Level::Minute, &minutes).unwrap();
        assert_eq!(held.iter().map(|minute| minute.ticks).sum::<u64>(), 130);
        assert!(seal.check_rollups(Level::Hour, &hours).is_ok());
        let faulty = SealError::Rollups { number: 0, level: Level::Minute, ticks: (Tick(0), Tick(130)) };
        assert_eq!(faulty.to_string(), "the Minutes of tick 0 to 130 are not those that seal 0 vouches for");
        // What one minute gains another loses: the sums are the same, the hash is not.
        let mut moved = held;
        moved[0].apps[0].flows[0] += 1;
        moved[1].apps[0].flows[0] -= 1;
        assert_eq!(seal.check_rollups(Level::Minute, &[rollup::encode(&moved)]), Err(faulty));
    }

    #[test]
    fn a_replay_that_leads_elsewhere_is_found() {
        let life = life(23, 20);
        let (seal, ..) = day(0, &life.records, None);
        assert_eq!(seal.check_stretch(&seal.stretch, &seal.sums), Ok(()));
        let other = Head { records_after: Link::ORIGIN, ..seal.stretch };
        let error = seal.check_stretch(&other, &seal.sums).unwrap_err();
        assert_eq!(error.to_string(), "the books of tick 0 to 20 is not what seal 0 vouches for");
    }
}
