//! The calendar behind repeating traces: the same month, day and time in another year.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

/// UTC date and time of `utc_ms`; `None` beyond the year 9999.
pub(super) fn civil(utc_ms: u64) -> Option<DateTime> {
    let stamp = Timestamp::from_millisecond(i64::try_from(utc_ms).ok()?).ok()?;
    Some(Offset::UTC.to_datetime(stamp))
}

/// `civil` (read as UTC) in ms since the Unix epoch; `None` before 1970.
pub(super) fn utc_ms(civil: DateTime) -> Option<u64> {
    let stamp = Offset::UTC.to_timestamp(civil).ok()?;
    u64::try_from(stamp.as_millisecond()).ok()
}

/// Where a repeating trace may have the answer, most fitting first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SameTime {
    exact: Option<u64>,
    day_before: Option<u64>,
}

impl SameTime {
    pub(super) fn candidates(self) -> impl Iterator<Item = u64> {
        self.exact.into_iter().chain(self.day_before)
    }
}

/// The moment with the month, day and time of `at` within the twelve months from `first` on; for 29 February also
/// the same time on the 28th.
pub(super) fn same_time_after(first: u64, at: u64) -> SameTime {
    let (Some(base), Some(wanted)) = (civil(first), civil(at)) else { return SameTime::default() };
    let within = |day: i8| {
        [base.year(), base.year().saturating_add(1)]
            .into_iter()
            .filter_map(|year| in_year(wanted, year, day))
            .find(|moment| *moment >= first)
    };
    let leap_day = wanted.month() == 2 && wanted.day() == 29;
    SameTime { exact: within(wanted.day()), day_before: if leap_day { within(28) } else { None } }
}

/// `wanted` with another year and day of its month; `None` where that day does not exist.
fn in_year(wanted: DateTime, year: i16, day: i8) -> Option<u64> {
    let date = Date::new(year, wanted.month(), day).ok()?;
    utc_ms(date.to_datetime(wanted.time()))
}
