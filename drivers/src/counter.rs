//! Cumulative counters, decoded: what a meter counted between two readings, told apart from wraps, restarts and
//! readings that cannot be true. Pure: the caller brings the reading and the most that could have been counted.
//!
//! ```text
//!             first reading
//!   Empty ------------------> Counting --- stray reading ---> Doubted
//!                               ^  ^                             |
//!                               |  +--- follows the last good ---+
//!                               +------ follows the stray: a new beginning
//! ```

/// What one reading of a counter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The first reading, or the first after a restart: a baseline, no amount. What was counted before is unknown.
    None(Baseline),
    /// What was counted since the last good reading, in the counter's unit.
    Counted(u64),
}

/// Why a reading is a baseline only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Nothing was read before.
    First,
    /// The counter began anew (a device restarted or was replaced); what it counted in between is lost.
    Restarted,
}

/// Why a reading of a counter counts as no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stray {
    /// Beyond the counter's own range. The map or the decoding is wrong.
    #[error("{reading} is beyond the counter's range of {range}")]
    OutOfRange {
        /// The reading.
        reading: u64,
        /// Readings are below this.
        range: u64,
    },
    /// Less than before, and neither a wrap nor a restart explains it.
    #[error("{reading} is less than {last} before, and no wrap")]
    Backwards {
        /// The reading.
        reading: u64,
        /// The last good reading.
        last: u64,
    },
    /// More than can have been counted since the last good reading.
    #[error("{reading} is more than {step_max} above {last}")]
    TooFar {
        /// The reading.
        reading: u64,
        /// The last good reading.
        last: u64,
        /// The most that can have been counted.
        step_max: u64,
    },
}

/// A cumulative counter as its reader remembers it.
///
/// One stray reading costs nothing: the next good one counts from the last good one. Two readings that follow from
/// each other but not from the past are a new beginning, so that a replaced meter is not refused for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Readings are below this; the counter wraps to zero here. `None`: it does not wrap.
    range: Option<u64>,
    memory: Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Empty,
    Counting { last: u64 },
    Doubted { last: u64, stray: u64 },
}

impl Counter {
    /// A counter that wraps to zero at `range` (2³² for a 32-bit register), or never.
    #[must_use]
    pub const fn new(range: Option<u64>) -> Self {
        Self { range, memory: Memory::Empty }
    }

    /// The next reading. `step_max` is the most that can have been counted since the last good reading, in the
    /// counter's unit: largest plausible power × time.
    ///
    /// # Errors
    /// [`Stray`]: the reading counts as none, and the last good one is kept.
    pub fn read(&mut self, reading: u64, step_max: u64) -> Result<Growth, Stray> {
        self.check_range(reading)?;
        let (last, stray) = match self.memory {
            Memory::Empty => return Ok(self.begin(reading, Baseline::First)),
            Memory::Counting { last } => (last, None),
            Memory::Doubted { last, stray } => (last, Some(stray)),
        };
        if let Some(counted) = self.step(last, reading).filter(|step| *step <= step_max) {
            self.memory = Memory::Counting { last: reading };
            return Ok(Growth::Counted(counted));
        }
        let restarted = reading < last && reading <= step_max;
        let confirmed =
            stray.and_then(|stray| self.step(stray, reading)).is_some_and(|step| step <= step_max);
        if restarted || confirmed {
            return Ok(self.begin(reading, Baseline::Restarted));
        }
        self.memory = Memory::Doubted { last, stray: reading };
        Err(match reading < last {
            true => Stray::Backwards { reading, last },
            false => Stray::TooFar { reading, last, step_max },
        })
    }

    /// From `last` to `reading` going up, through the wrap if need be; `None` where no wrap exists.
    fn step(&self, last: u64, reading: u64) -> Option<u64> {
        match (reading >= last, self.range) {
            (true, _) => Some(reading - last),
            (false, Some(range)) => Some(range - last + reading),
            (false, None) => None,
        }
    }

    fn begin(&mut self, reading: u64, why: Baseline) -> Growth {
        self.memory = Memory::Counting { last: reading };
        Growth::None(why)
    }

    fn check_range(&self, reading: u64) -> Result<(), Stray> {
        match self.range {
            Some(range) if reading >= range => Err(Stray::OutOfRange { reading, range }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: Result<Growth, Stray> = Ok(Growth::None(Baseline::First));
    const RESTARTED: Result<Growth, Stray> = Ok(Growth::None(Baseline::Restarted));

    fn counted(amount: u64) -> Result<Growth, Stray> {
        Ok(Growth::Counted(amount))
    }

    /// Readings, one after the other, with at most 10 counted between two.
    fn check(range: Option<u64>, readings: &[(u64, Result<Growth, Stray>)]) {
        let mut counter = Counter::new(range);
        for (reading, expected) in readings {
            assert_eq!(counter.read(*reading, 10), *expected, "reading {reading} of {readings:?}");
        }
    }

    #[test]
    fn the_first_reading_is_a_baseline() {
        check(None, &[(70, FIRST), (75, counted(5)), (75, counted(0)), (85, counted(10))]);
    }

    #[test]
    fn a_wrap_is_counted_through() {
        check(
            Some(100),
            &[(95, FIRST), (3, counted(8)), (99, Err(Stray::TooFar { reading: 99, last: 3, step_max: 10 }))],
        );
        check(Some(100), &[(99, FIRST), (0, counted(1))]);
    }

    #[test]
    fn a_counter_that_begins_anew_is_a_baseline() {
        check(None, &[(1_000, FIRST), (4, RESTARTED), (6, counted(2))]);
        check(Some(2_000), &[(1_000, FIRST), (10, RESTARTED), (11, counted(1))]);
    }

    #[test]
    fn backwards_is_no_reading_and_the_next_good_one_counts_from_the_last_good() {
        let backwards = Err(Stray::Backwards { reading: 500, last: 1_000 });
        check(None, &[(1_000, FIRST), (500, backwards), (1_002, counted(2))]);
    }

    #[test]
    fn more_than_possible_is_no_reading() {
        let far = Err(Stray::TooFar { reading: 1_011, last: 1_000, step_max: 10 });
        check(None, &[(1_000, FIRST), (1_011, far), (1_010, counted(10))]);
    }

    #[test]
    fn two_readings_that_agree_are_a_new_beginning() {
        let far = Err(Stray::TooFar { reading: 5_000, last: 1_000, step_max: 10 });
        check(None, &[(1_000, FIRST), (5_000, far), (5_003, RESTARTED), (5_004, counted(1))]);
    }

    #[test]
    fn beyond_the_range_is_no_reading() {
        let beyond = Err(Stray::OutOfRange { reading: 100, range: 100 });
        check(Some(100), &[(100, beyond), (99, FIRST)]);
    }

    proptest! {
        #[test]
        fn what_is_counted_sums_to_what_happened(
            range in 100_u64..1_000_000,
            start in 0_u64..1_000_000,
            steps in prop::collection::vec(0_u64..=49, 1..50),
        ) {
            // Steps below half of the range: a wrap can be told from going backwards.
            let mut counter = Counter::new(Some(range));
            let mut truth = start % range;
            prop_assert_eq!(counter.read(truth, 49), FIRST);
            for step in steps {
                truth = (truth + step) % range;
                prop_assert_eq!(counter.read(truth, 49), counted(step));
            }
        }

        #[test]
        fn no_reading_counts_more_than_is_possible(
            range in prop::option::of(1_u64..), readings in prop::collection::vec((any::<u64>(), any::<u64>()), 1..50),
        ) {
            let mut counter = Counter::new(range);
            for (reading, step_max) in readings {
                if let Ok(Growth::Counted(amount)) = counter.read(reading, step_max) {
                    prop_assert!(amount <= step_max);
                }
            }
        }
    }
}
