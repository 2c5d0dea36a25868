//! Somebody else's forecast, such as a carbon provider's or a trace's: points in time with an end, cut into hours.

use crate::float::float;
use serde::{Deserialize, Serialize};

/// One point: what holds from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Start, in ms since the Unix epoch.
    pub start_ms: u64,
    /// End, exclusive.
    pub end_ms: u64,
    /// What is expected, in the quantity's unit.
    pub expected: f64,
}

/// A forecast as it came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provided {
    /// Whose it is, as replies name it.
    pub source: String,
    /// When its maker made it, in ms since the Unix epoch.
    pub issued_at_ms: u64,
    /// In any order; where two overlap, both count.
    pub points: Vec<Point>,
}

const HOUR_MS: u64 = 3_600_000;

impl Provided {
    /// Its mean over `hour`, by time; `None` where no point reaches into it.
    #[must_use]
    pub fn at(&self, hour: u64) -> Option<f64> {
        let (start, end) = (hour.checked_mul(HOUR_MS)?, hour.checked_add(1)?.checked_mul(HOUR_MS)?);
        let (mut sum, mut time) = (0.0, 0.0);
        for point in self.points.iter().filter(|point| point.expected.is_finite()) {
            let overlap = float(point.end_ms.min(end).saturating_sub(point.start_ms.max(start)));
            sum += point.expected * overlap;
            time += overlap;
        }
        (time > 0.0).then(|| sum / time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_half_an_hour_make_an_hour_by_their_time() {
        let point = |start_ms, end_ms, expected| Point { start_ms, end_ms, expected };
        let points = vec![
            point(HOUR_MS, HOUR_MS * 3 / 2, 100.0),
            point(HOUR_MS * 3 / 2, HOUR_MS * 2, 200.0),
            point(HOUR_MS * 2, HOUR_MS * 9 / 4, f64::NAN),
            point(HOUR_MS * 9 / 4, HOUR_MS * 4, 50.0),
        ];
        let provided = Provided { points, ..Provided::default() };
        assert_eq!(
            [0, 1, 2, 3, 4].map(|hour| provided.at(hour)),
            [None, Some(150.0), Some(50.0), Some(50.0), None]
        );
        assert_eq!(provided.at(u64::MAX), None);
    }
}
