//! Recorded values over time: every stamp is turned into a UTC interval [start, end) when it is loaded, so that nothing
//! behind this door knows whether a file marks the beginning or the end of its hours.
//!
//! A missing value is a gap: lookups in it answer `None`, never zero.

mod carbon;
mod decimal;
mod error;
mod memo;
mod power;
mod rows;
mod tmy3;
mod year;

pub use carbon::{SteadyCarbon, carbon};
pub use error::TraceError;
pub use power::power;
pub use tmy3::{Weather, tmy3};

use memo::Memo;
use std::cmp::Ordering;

/// A value and the time for which it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval<T> {
    /// First ms, since the Unix epoch, at which the value holds.
    pub start_utc_ms: u64,
    /// First ms, since the Unix epoch, at which it holds no longer; after the start.
    pub end_utc_ms: u64,
    /// What holds.
    pub value: T,
}

/// Whether a trace plays once or again each year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Play {
    Once,
    Yearly,
}

/// Intervals in order of time, none touching the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace<T> {
    intervals: Vec<Interval<T>>,
    play: Play,
    memo: Memo<T>,
}

/// A UTC day.
const DAY_MS: u64 = 86_400_000;

impl<T: Copy> Trace<T> {
    /// A trace of these intervals, or `None` where one is empty or begins before the one before it has ended.
    #[must_use]
    pub fn new(intervals: Vec<Interval<T>>) -> Option<Self> {
        let lasting = intervals.iter().all(|one| one.start_utc_ms < one.end_utc_ms);
        let ordered = intervals.windows(2).all(|pair| match pair {
            [before, after] => before.end_utc_ms <= after.start_utc_ms,
            _ => true,
        });
        (lasting && ordered).then(|| Self { intervals, play: Play::Once, memo: Memo::default() })
    }

    /// The same trace, playing in every year: a lookup is answered with what held at the same UTC month, day and time
    /// in the first twelve months of the trace. 29 February, where the trace has none, plays 28 February again; where
    /// the trace has one, other years skip it.
    #[must_use]
    pub fn repeat_yearly(self) -> Self {
        Self { play: Play::Yearly, memo: Memo::default(), ..self }
    }

    /// What holds at `utc_ms` (ms since the Unix epoch); `None` in a gap and outside the trace.
    #[must_use]
    pub fn at(&self, utc_ms: u64) -> Option<T> {
        self.memo.at(utc_ms, || match self.play {
            Play::Once => self.find(utc_ms),
            Play::Yearly => self.find_yearly(utc_ms),
        })
    }

    /// The same in a trace that repeats. Within a UTC day its times are as far from `utc_ms` as at `utc_ms` itself, but for
    /// the time of day at which the first year begins.
    fn find_yearly(&self, utc_ms: u64) -> (Option<T>, u64) {
        let Some(first) = self.intervals.first().map(|first| first.start_utc_ms) else {
            return (None, u64::MAX);
        };
        let midnight = utc_ms - utc_ms % DAY_MS;
        let turns = [midnight.saturating_add(first % DAY_MS), midnight.saturating_add(DAY_MS)];
        let mut until = turns.into_iter().find(|turn| *turn > utc_ms).unwrap_or(utc_ms);
        for candidate in year::same_time_after(first, utc_ms).candidates() {
            let (value, its_until) = self.find(candidate);
            until = until.min(utc_ms.saturating_add(its_until.saturating_sub(candidate)));
            if value.is_some() {
                return (value, until);
            }
        }
        (None, until)
    }

    /// The intervals as they were recorded, in order of time.
    #[must_use]
    pub fn intervals(&self) -> &[Interval<T>] {
        &self.intervals
    }

    /// The same intervals, played the same way, each holding what `value_of` makes of it.
    #[must_use]
    pub(crate) fn map<U>(&self, mut value_of: impl FnMut(&Interval<T>) -> U) -> Trace<U> {
        let mapped = |one: &Interval<T>| Interval {
            start_utc_ms: one.start_utc_ms,
            end_utc_ms: one.end_utc_ms,
            value: value_of(one),
        };
        Trace {
            intervals: self.intervals.iter().map(mapped).collect(),
            play: self.play,
            memo: Memo::default(),
        }
    }

    /// What was recorded for `utc_ms`, and the first ms at which that may be another.
    fn find(&self, utc_ms: u64) -> (Option<T>, u64) {
        let place = self.intervals.binary_search_by(|one| match () {
            () if one.end_utc_ms <= utc_ms => Ordering::Less,
            () if one.start_utc_ms > utc_ms => Ordering::Greater,
            () => Ordering::Equal,
        });
        match place {
            Ok(index) => {
                self.intervals.get(index).map_or((None, utc_ms), |one| (Some(one.value), one.end_utc_ms))
            }
            Err(next) => (None, self.intervals.get(next).map_or(u64::MAX, |one| one.start_utc_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hour(start_utc_ms: u64, end_utc_ms: u64, value: u32) -> Interval<u32> {
        Interval { start_utc_ms, end_utc_ms, value }
    }

    #[test]
    fn a_value_holds_from_its_start_until_before_its_end() {
        let trace = Trace::new(vec![hour(10, 20, 1), hour(20, 30, 2), hour(40, 50, 3)]).unwrap();
        for (at, expected) in [
            (9, None),
            (10, Some(1)),
            (19, Some(1)),
            (20, Some(2)),
            (29, Some(2)),
            (30, None),
            (39, None),
            (40, Some(3)),
            (50, None),
        ] {
            assert_eq!(trace.at(at), expected, "at {at}");
        }
    }

    #[test]
    fn intervals_that_overlap_or_are_empty_are_no_trace() {
        assert!(Trace::new(vec![hour(10, 20, 1), hour(19, 30, 2)]).is_none());
        assert!(Trace::new(vec![hour(10, 10, 1)]).is_none());
        assert!(Trace::<u32>::new(Vec::new()).is_some());
    }

    const DAY: u64 = 86_400_000;
    /// 2022-01-01T00:00Z.
    const YEAR_2022: u64 = 1_640_995_200_000;
    /// 2024-02-28T00:00Z, the day before the leap day.
    const FEBRUARY_28_2024: u64 = 1_709_078_400_000;

    fn days_of_2022() -> Trace<u32> {
        let day =
            |day: u32| hour(YEAR_2022 + u64::from(day) * DAY, YEAR_2022 + u64::from(day + 1) * DAY, day);
        Trace::new((0..365).map(day).collect()).unwrap()
    }

    #[test]
    fn a_yearly_trace_plays_the_same_day_in_any_year() {
        let trace = days_of_2022().repeat_yearly();
        // 2025-01-01, 2025-12-31, 1970-01-01.
        for (at, day) in [(1_735_689_600_000, 0), (1_767_139_200_000, 364), (0, 0)] {
            assert_eq!(trace.at(at), Some(day), "at {at}");
        }
        assert_eq!(days_of_2022().at(1_735_689_600_000), None);
    }

    #[test]
    fn the_leap_day_plays_28_february_again() {
        let trace = days_of_2022().repeat_yearly();
        assert_eq!(trace.at(FEBRUARY_28_2024), Some(58));
        assert_eq!(trace.at(FEBRUARY_28_2024 + DAY), Some(58));
        assert_eq!(trace.at(FEBRUARY_28_2024 + 2 * DAY), Some(59));
    }

    #[test]
    fn a_trace_that_begins_within_a_year_plays_into_the_next() {
        // A local year five hours behind UTC: its last five hours lie in the UTC year after.
        let late = YEAR_2022 + DAY / 4;
        let trace =
            Trace::new(vec![hour(late, late + 364 * DAY, 1), hour(late + 364 * DAY, late + 365 * DAY, 2)]);
        let trace = trace.unwrap().repeat_yearly();
        // 2025-01-01T00:00Z is before the trace's start in its year, so it is 2023-01-01T00:00Z.
        assert_eq!(trace.at(1_735_689_600_000), Some(2));
        assert_eq!(trace.at(1_735_689_600_000 + DAY / 4), Some(1));
    }

    proptest! {
        #[test]
        fn a_yearly_trace_without_gaps_always_answers(at in 0_u64..253_370_764_800_000) {
            prop_assert!(days_of_2022().repeat_yearly().at(at).is_some());
        }

        #[test]
        fn no_time_is_a_panic(at: u64) {
            let _ = days_of_2022().repeat_yearly().at(at);
        }
    }
}
