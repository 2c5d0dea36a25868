//! What the past says of an hour to come: the usual figure of such an hour, moved by how unusual the last hours were.
//!
//! usual(t) is the mean of the last weeks at t's hour of the week, or of the day where weeks do not matter or are too few.
//! Deviations from it in the last hours, the last day and at the same time of the day before fade with the horizon; how
//! fast is fitted to the same past (least squares for each of [`LEADS`]), so that a steady quantity follows its latest hour
//! and a fickle one its habits.

use crate::errors::LEADS;
use crate::float::{count, float};
use crate::hours::{DAY, Hours, WEEK};
use crate::outlook::Basis;
use serde::{Deserialize, Serialize};

/// Figures of an hour of the week from which its own mean is taken; with fewer, that of its hour of the day.
const WEEKS_MIN: u32 = 2;

/// Weeks' worth by which the mean of the hour of the day counts beside that of the hour of the week, which rests on five
/// figures at most and is noisy alone (backtest: 2 to 8 % less error than without).
const DAYS_BESIDE: u32 = 5;

/// Deviations on which a fit may rest: two days of hours.
const FIT_MIN: usize = 48;

/// How much the weights are drawn to zero, as a part of the deviations' own size: noise in two figures that are alike.
const RIDGE: f64 = 0.002;

/// In how many hours the latest deviation fades to a third while no fit exists: about half a day of weather or wind.
const FADING_HOURS: f64 = 9.0;

/// What repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Period {
    /// The day, as the sun does.
    Day,
    /// The week, as people do.
    Week,
}

/// The usual figure of each hour.
#[derive(Clone, Debug)]
pub(crate) struct Usual {
    week: Vec<Mean>,
    day: Vec<Mean>,
    all: Mean,
    period: Period,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    number: u32,
}

impl Mean {
    fn add(&mut self, figure: f64) {
        self.sum += figure;
        self.number += 1;
    }

    fn get(self, least: u32) -> Option<f64> {
        (self.number >= least.max(1)).then(|| self.sum / f64::from(self.number))
    }
}

fn slot(means: &[Mean], hour: u64, period: u64) -> Mean {
    usize::try_from(hour % period).ok().and_then(|at| means.get(at)).copied().unwrap_or_default()
}

impl Usual {
    pub(crate) fn of(past: &Hours, period: Period) -> Self {
        let mut usual = Self {
            week: vec![Mean::default(); 168],
            day: vec![Mean::default(); 24],
            all: Mean::default(),
            period,
        };
        for (hour, figure) in past.known() {
            let places = [(&mut usual.week, WEEK), (&mut usual.day, DAY)];
            for (means, length) in places {
                if let Some(mean) = usize::try_from(hour % length).ok().and_then(|at| means.get_mut(at)) {
                    mean.add(figure);
                }
            }
            usual.all.add(figure);
        }
        usual
    }

    /// The usual figure of `hour` and what it rests on; `None` where nothing is known at all.
    pub(crate) fn at(&self, hour: u64) -> Option<(f64, Basis)> {
        let (week, day) = (slot(&self.week, hour, WEEK), slot(&self.day, hour, DAY).get(1));
        let week = (self.period == Period::Week && week.number >= WEEKS_MIN).then_some(week);
        let of_week = week.zip(day).map(|(week, day)| {
            let sum = week.sum + day * f64::from(DAYS_BESIDE);
            (sum / f64::from(week.number + DAYS_BESIDE), Basis::HourOfWeek)
        });
        let of_day = day.map(|mean| (mean, Basis::HourOfDay));
        of_week.or(of_day).or_else(|| self.all.get(1).map(|mean| (mean, Basis::Mean)))
    }
}

/// Figures that say how unusual the time before a forecast was: the latest deviation, the one before, the mean of the last
/// hours', of the last day's, and that of the newest known hour at the same time of the day.
const FIGURES: usize = 5;

type Figures = [f64; FIGURES];

/// Known hours in the mean of the last ones.
const LATEST: usize = 4;

/// How much of each figure is left, by horizon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fading {
    weights: [Figures; LEADS.len()],
}

impl Default for Fading {
    fn default() -> Self {
        Self { weights: LEADS.map(|lead| [0.0, 0.0, (-float(lead) / FADING_HOURS).exp(), 0.0, 0.0]) }
    }
}

impl Fading {
    /// Fitted to the past.
    pub(crate) fn fit(past: &Hours, usual: &Usual) -> Self {
        let deviations = Deviations::of(past, usual, past.start(), past.end());
        let mut fading = Self::default();
        for (weights, lead) in fading.weights.iter_mut().zip(LEADS) {
            let hours = past.start()..past.end().saturating_sub(lead - 1);
            let pairs = hours.filter_map(|hour| {
                let came = deviations.at(hour + lead - 1)?;
                Some((deviations.figures(hour, lead)?, came))
            });
            *weights = least_squares(pairs).unwrap_or(*weights);
        }
        fading
    }

    /// What is left of `figures` in `lead` hours.
    pub(crate) fn left(&self, figures: Figures, lead: u64) -> f64 {
        figures.iter().zip(self.weights_at(lead)).map(|(figure, weight)| figure * weight).sum()
    }

    /// Between two horizons in proportion.
    fn weights_at(&self, lead: u64) -> Figures {
        let place = LEADS.iter().position(|&hours| lead <= hours).unwrap_or(LEADS.len() - 1);
        let (longer, hours) = (self.weights[place], LEADS[place]);
        let Some(shorter) = place.checked_sub(1) else { return longer };
        let part = float(lead.saturating_sub(LEADS[shorter])) / float(hours - LEADS[shorter]);
        let from = self.weights[shorter];
        std::array::from_fn(|at| from[at] + (longer[at] - from[at]) * part.min(1.0))
    }
}

/// How far each hour was from the usual.
#[derive(Clone, Debug)]
pub(crate) struct Deviations {
    first: u64,
    hours: Vec<Option<f64>>,
}

impl Deviations {
    /// From `first` to before `end`.
    fn of(past: &Hours, usual: &Usual, first: u64, end: u64) -> Self {
        let hours = (first..end).map(|hour| Some(past.at(hour)? - usual.at(hour)?.0)).collect();
        Self { first, hours }
    }

    /// What [`Deviations::figures`] needs at `hour`.
    pub(crate) fn before(past: &Hours, usual: &Usual, hour: u64) -> Self {
        Self::of(past, usual, hour.saturating_sub(2 * DAY), hour)
    }

    fn at(&self, hour: u64) -> Option<f64> {
        self.hours.get(usize::try_from(hour.checked_sub(self.first)?).ok()?).copied().flatten()
    }

    /// The figures at the start of `hour` for what comes `lead` hours later; `None` where the last day is unknown.
    pub(crate) fn figures(&self, hour: u64, lead: u64) -> Option<Figures> {
        let day = hour.saturating_sub(DAY).max(self.first)..hour;
        let known = || day.clone().rev().filter_map(|hour| self.at(hour));
        let latest = known().next()?;
        let before = known().nth(1).unwrap_or(latest);
        let same_time =
            (hour + lead - 1).checked_sub(lead.div_ceil(DAY) * DAY).and_then(|hour| self.at(hour));
        let wide = mean(known())?;
        Some([latest, before, mean(known().take(LATEST))?, wide, same_time.unwrap_or(wide)])
    }
}

fn mean(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, number) = figures.fold((0.0, 0_u32), |(sum, number), figure| (sum + figure, number + 1));
    (number > 0).then(|| sum / f64::from(number))
}

/// The weights of the figures that fit what came best, drawn to zero a little.
fn least_squares(pairs: impl Iterator<Item = (Figures, f64)>) -> Option<Figures> {
    let mut rows = [[0.0; FIGURES + 1]; FIGURES];
    let mut number = 0;
    for (figures, came) in pairs {
        for (row, one) in rows.iter_mut().zip(figures) {
            let products = figures.into_iter().chain([came]).map(|other| one * other);
            row.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
        number += 1;
    }
    let size: f64 = (0..FIGURES).map(|at| rows[at][at]).sum::<f64>() / count(FIGURES);
    (0..FIGURES).for_each(|at| rows[at][at] += RIDGE * size);
    let weights = solve(rows)?;
    (number >= FIT_MIN && weights.iter().all(|weight| weight.abs() <= 2.0)).then_some(weights)
}

/// Gauss's elimination of a symmetric system that the ridge keeps from being singular; `None` where it is all the same.
fn solve(mut rows: [[f64; FIGURES + 1]; FIGURES]) -> Option<Figures> {
    for at in 0..FIGURES {
        let pivot = rows[at];
        if pivot[at] <= 0.0 || !pivot[at].is_finite() {
            return None;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            let part = row[at] / pivot[at];
            row.iter_mut().zip(pivot).for_each(|(left, from)| *left -= part * from);
        }
    }
    Some(std::array::from_fn(|at| rows[at][FIGURES] / rows[at][at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(hours: std::ops::Range<u64>, figure: impl Fn(u64) -> f64) -> Hours {
        let mut past = Hours::default();
        hours.for_each(|hour| past.note(hour, figure(hour)));
        past
    }

    #[test]
    fn the_usual_is_that_of_the_week_as_soon_as_two_weeks_are_known() {
        // Sundays' mean is 100, that of every day 0: three Sundays count beside five days' worth.
        let weekly = past(0..WEEK * 3, |hour| if hour % WEEK < DAY { 120.0 } else { -20.0 });
        let usual = Usual::of(&weekly, Period::Week);
        assert_eq!(usual.at(WEEK * 9 + 10), Some((45.0, Basis::HourOfWeek)));
        let short = past(0..200, |hour| float(hour % DAY));
        assert_eq!(Usual::of(&short, Period::Week).at(WEEK * 9 + 100), Some((4.0, Basis::HourOfDay)));
        let hour = past(5..6, |_| 7.0);
        assert_eq!(Usual::of(&hour, Period::Week).at(6), Some((7.0, Basis::Mean)));
        assert_eq!(Usual::of(&Hours::default(), Period::Week).at(6), None);
    }

    #[test]
    fn a_steady_quantity_follows_its_latest_hour_and_a_fickle_one_its_habits() {
        // Weeks that lie high and low by turns, against noise that says nothing of the next hour.
        let steady = past(0..840, |hour| if (hour / 84) % 2 == 0 { 10.0 } else { -10.0 });
        let noise = |hour: u64| {
            // Steele, Lea and Flood's mixer (splitmix64): each hour a figure of its own.
            let mut mixed = (hour + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            float((mixed ^ (mixed >> 31)) >> 40) / 16_777_216.0 - 0.5
        };
        let fickle = past(0..840, noise);
        let one_ahead = |past: &Hours| {
            let fading = Fading::fit(past, &Usual::of(past, Period::Day));
            fading.left([1.0, 0.0, 0.0, 0.0, 0.0], 1) + fading.left([0.0, 1.0, 0.0, 0.0, 0.0], 1)
        };
        assert!(one_ahead(&steady) > 0.8, "{}", one_ahead(&steady));
        assert!(one_ahead(&fickle).abs() < 0.25, "{}", one_ahead(&fickle));
    }

    #[test]
    fn without_a_past_to_fit_a_deviation_fades() {
        let fading = Fading::fit(&past(0..20, float), &Usual::of(&past(0..20, float), Period::Day));
        let left = [1, 2, 9, 48].map(|lead| fading.left([1.0; FIGURES], lead));
        assert!(left.is_sorted_by(|near, far| near > far), "{left:?}");
    }
}
