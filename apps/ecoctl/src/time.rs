//! Points in time: the one place that reads the clock, how they are said, and how people name them.

use ecovisor_units::Millis;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Now, in ms since 1970 UTC. Only for what the site cannot answer: its own clock, which may be a virtual one, goes first.
pub fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// `2026-11-24 03:00:01` in the time zone of the terminal (`TZ`).
pub fn show(ms: u64) -> String {
    strftime(ms, "%Y-%m-%d %H:%M:%S")
}

/// `03:00:01`.
pub fn show_clock(ms: u64) -> String {
    strftime(ms, "%H:%M:%S")
}

/// `11-24 03:00`, for the axis of a plot.
pub fn show_axis(ms: u64) -> String {
    strftime(ms, "%m-%d %H:%M")
}

/// In UTC, as papers have it that are read elsewhere.
pub fn utc(ms: u64, format: &str) -> String {
    in_zone(ms, TimeZone::UTC, format)
}

fn strftime(ms: u64, format: &str) -> String {
    in_zone(ms, TimeZone::system(), format)
}

fn in_zone(ms: u64, zone: TimeZone, format: &str) -> String {
    let point = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    point.map_or_else(
        || format!("{ms} ms"),
        |point| point.to_zoned_datetime(zone).strftime(format).to_string(),
    )
}

/// A point in time as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// That long ago.
    Ago(Millis),
    /// In ms since 1970 UTC.
    At(u64),
}

impl Point {
    /// In ms since 1970 UTC, where it is `now`.
    pub const fn resolve(self, now: u64) -> u64 {
        match self {
            Self::Ago(span) => now.saturating_sub(span.get()),
            Self::At(point) => point,
        }
    }
}

impl std::str::FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        // A date is the beginning of that day in UTC, as the daemon's days are.
        let text = if text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10 {
            &format!("{text}T00:00:00Z")
        } else {
            text
        };
        let point = text.parse::<Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
        point.map(Self::At).ok_or_else(|| {
            format!("`{text}` is neither a time ago, such as `1h` or `30 min`, nor a time, such as `2026-11-24T03:00:00Z`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_time_ago_or_a_time() {
        assert_eq!("1h".parse::<Point>().unwrap().resolve(3_700_000), 100_000);
        assert_eq!("1970-01-01T00:00:02Z".parse(), Ok(Point::At(2_000)));
        assert_eq!("1970-01-01T01:00:02+01:00".parse(), Ok(Point::At(2_000)));
        assert_eq!(Point::Ago(Millis::new(5)).resolve(3), 0);
        let failure = "yesterday".parse::<Point>().unwrap_err();
        assert!(failure.contains("`yesterday`"), "{failure}");
    }
}
