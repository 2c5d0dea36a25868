//! A bounded past: one figure for each hour, where there was one.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Five weeks: enough for five of each hour of a week, short enough to follow the seasons.
pub const HOURS_KEPT: usize = 5 * 7 * 24;

/// Hours of a week and of a day.
pub const WEEK: u64 = 168;
/// Hours of a day.
pub const DAY: u64 = 24;

/// Figures by hour since the Unix epoch, newest last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hours {
    /// The hour of the first figure.
    first: u64,
    figures: VecDeque<Option<f64>>,
}

impl Hours {
    /// Takes the figure of `hour`; what is no number is none. An hour that has passed already is not changed, hours between
    /// stay empty.
    pub fn note(&mut self, hour: u64, figure: f64) {
        let figure = Some(figure).filter(|figure| figure.is_finite());
        if self.figures.is_empty() {
            self.first = hour;
        }
        let Some(empty) = hour.checked_sub(self.end()) else { return };
        if empty > WEEK * 5 {
            *self = Self { first: hour, figures: VecDeque::new() };
        } else {
            self.figures.extend((0..empty).map(|_| None));
        }
        self.figures.push_back(figure);
        while self.figures.len() > HOURS_KEPT {
            self.figures.pop_front();
            self.first += 1;
        }
    }

    /// The figure of `hour`.
    #[must_use]
    pub fn at(&self, hour: u64) -> Option<f64> {
        let place = usize::try_from(hour.checked_sub(self.first)?).ok()?;
        self.figures.get(place).copied().flatten()
    }

    /// The first hour that may have a figure.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.first
    }

    /// The hour after the last that was noted.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.figures.len()).unwrap_or(u64::MAX))
    }

    /// Hours with a figure, oldest first.
    pub fn known(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        (self.first..).zip(&self.figures).filter_map(|(hour, figure)| Some((hour, (*figure)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_in_between_stay_empty_and_the_past_is_bounded() {
        let mut hours = Hours::default();
        hours.note(10, 1.0);
        hours.note(12, 3.0);
        hours.note(11, 9.0);
        hours.note(13, f64::NAN);
        assert_eq!([10, 11, 12, 13, 14].map(|hour| hours.at(hour)), [Some(1.0), None, Some(3.0), None, None]);
        for hour in 14..2_000 {
            hours.note(hour, 0.0);
        }
        assert_eq!(hours.end() - hours.start(), 840);
        assert_eq!(hours.known().count(), 840);
    }

    #[test]
    fn a_long_absence_begins_anew() {
        let mut hours = Hours::default();
        hours.note(10, 1.0);
        hours.note(1_000_000, 2.0);
        assert_eq!(hours.known().collect::<Vec<_>>(), [(1_000_000, 2.0)]);
    }
}
