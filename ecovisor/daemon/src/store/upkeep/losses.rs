//! What a salvaged store lacks, kept in the store itself: who verifies it later is told of old losses as such, and of new
//! ones as damage.

use super::super::StoreError;
use super::super::key::{Key, Place, Room};
use super::super::shelf::{Shelf, Wholes, damaged, put};
use ecovisor_audit::frame::{self, Kind};
use serde::{Deserialize, Serialize};

/// What is not there any more; ranges, the end exclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Journal entries, by number.
    pub entries: Vec<(u64, u64)>,
    /// Records, by tick.
    pub records: Vec<(u64, u64)>,
}

/// Beside the mark.
const PLACE: Place = Place { room: Room::Mark, major: 0, minor: 1 };

impl Losses {
    /// What a store says that it lacks.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn of(shelf: &dyn Shelf) -> Result<Self, StoreError> {
        match Wholes::of(&shelf, PLACE)? {
            Some((_, bytes)) => frame::decode(Kind::Mark, &bytes).map_err(|error| damaged(PLACE, error)),
            None => Ok(Self::default()),
        }
    }

    /// As pairs for a shelf; nothing where nothing is lost.
    pub fn pairs(&self) -> Vec<(Key, Vec<u8>)> {
        let mut puts = Vec::new();
        if *self != Self::default() {
            put(&mut puts, PLACE, &frame::encode(Kind::Mark, self));
        }
        puts
    }

    /// Whether an entry is known to be lost.
    pub fn has_entry(&self, seq: u64) -> bool {
        within(&self.entries, seq)
    }

    /// Whether a record is known to be lost.
    pub fn has_record(&self, tick: u64) -> bool {
        within(&self.records, tick)
    }
}

fn within(ranges: &[(u64, u64)], number: u64) -> bool {
    ranges.iter().any(|(from, to)| (*from..*to).contains(&number))
}

/// Adds a number to ranges that ascend.
pub fn add(ranges: &mut Vec<(u64, u64)>, number: u64) {
    match ranges.last_mut() {
        Some((_, to)) if *to == number => *to += 1,
        _ => ranges.push((number, number + 1)),
    }
}
