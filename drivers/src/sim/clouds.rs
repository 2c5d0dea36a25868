//! What clouds leave of a clear sky: nothing taken, a seeded process, or the clearness of a typical year elsewhere.

use super::clear_sky::haurwitz;
use super::sun::position;
use crate::data::Place;
use crate::float::float;
use crate::trace::{Trace, Weather};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What stands between a clear sky and the ground.
#[derive(Clone, Debug)]
pub enum Clouds {
    /// Nothing.
    None,
    /// Clouds out of a seed.
    Seeded(Seeded),
    /// The clouds of a typical year.
    Typical(Typical),
}

impl Clouds {
    /// Part of a clear sky's light that reaches the ground of `place` at `utc_ms`, 0 to 1.2 (cloud edges may focus);
    /// `None` where nothing is known.
    #[must_use]
    pub fn clearness(&self, place: Place, utc_ms: u64) -> Option<f64> {
        match self {
            Self::None => Some(1.0),
            Self::Seeded(seeded) => Some(seeded.clearness(utc_ms)),
            Self::Typical(typical) => typical.clearness(place, utc_ms),
        }
    }
}

/// Clouds out of a seed: each moment's clearness depends on the seed and the time alone, so that a site may be asked in
/// any order and at any tick. A made-up process (three layers of smooth noise: weather over a day, fronts over an hour,
/// single clouds over five minutes), good for exercising control, not for estimating yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// Another seed gives other clouds.
    pub seed: u64,
}

/// Length of each layer in ms, and how much of the clouds it makes.
const LAYERS: [(u64, f64); 3] = [(43_200_000, 0.5), (3_600_000, 0.3), (300_000, 0.2)];

/// Light that the thickest clouds leave.
const OVERCAST: f64 = 0.15;

impl Seeded {
    fn clearness(&self, utc_ms: u64) -> f64 {
        let noise = |(length_ms, weight): (u64, f64)| weight * self.smooth(length_ms, utc_ms);
        let openness: f64 = LAYERS.into_iter().map(noise).sum();
        // Skies are mostly either open or closed: push the middle outwards.
        let pushed = ((openness - 0.5) * 3.0 + 0.6).clamp(0.0, 1.0);
        OVERCAST + (1.0 - OVERCAST) * pushed
    }

    /// Noise from 0 to 1, with one free value per `length_ms` and a straight line between.
    fn smooth(&self, length_ms: u64, utc_ms: u64) -> f64 {
        let (cell, within) = (utc_ms / length_ms, utc_ms % length_ms);
        let part = float(within) / float(length_ms);
        let before = self.draw(length_ms, cell);
        before + (self.draw(length_ms, cell.saturating_add(1)) - before) * part
    }

    /// The free value of a cell, 0 to 1.
    fn draw(&self, layer: u64, cell: u64) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ layer);
        random.set_stream(cell);
        f64::from(random.next_u32()) / f64::from(u32::MAX)
    }
}

/// The clouds of a typical year: measured light over the clear sky's light at the station, hour by hour. They are
/// played at the same local solar time elsewhere (shifted by the difference in longitude), and half a year later on the
/// other hemisphere, so that winter clouds fall in winter.
#[derive(Clone, Debug)]
pub struct Typical {
    station: Place,
    clearness: Trace<f64>,
}

/// Clear-sky light below which an hour says nothing about clouds, W/m²: at dawn both sides of the ratio are noise.
const CLEAR_GHI_MIN: f64 = 50.0;
/// Most that an hour's mean may exceed a clear sky's.
const CLEARNESS_MAX: f64 = 1.2;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;
/// Half of a year of 365 days, in whole days: local time of day must not shift.
const HALF_YEAR_MS: u64 = 182 * DAY_MS;
/// ms by which the sun is later per degree to the west: a day over 360°.
const MS_PER_DEGREE: f64 = 240_000.0;

impl Typical {
    /// The clouds over `station` in the year that `weather` holds. Dark hours take the clearness of the last light one
    /// before them (or of the year's first), so that dawn has an answer too.
    #[must_use]
    pub fn new(station: Place, weather: &Trace<Weather>) -> Self {
        let mut last = None;
        let mut ratio = |start_utc_ms: u64, ghi: f64| {
            let clear = clear_hour(station, start_utc_ms);
            if clear >= CLEAR_GHI_MIN {
                last = Some((ghi / clear).clamp(0.0, CLEARNESS_MAX));
            }
            last
        };
        let hours = weather.map(|hour| ratio(hour.start_utc_ms, hour.value.ghi));
        let first = hours.intervals().iter().find_map(|hour| hour.value).unwrap_or(1.0);
        let clearness = hours.map(|hour| hour.value.unwrap_or(first)).repeat_yearly();
        Self { station, clearness }
    }

    /// Between the middles of two hours on a straight line, so that power has no steps.
    fn clearness(&self, place: Place, utc_ms: u64) -> Option<f64> {
        let there = self.same_solar_time(place, utc_ms);
        let early = there.saturating_sub(HOUR_MS / 2);
        let part = float(early % HOUR_MS) / float(HOUR_MS);
        let hour = early - early % HOUR_MS + HOUR_MS / 2;
        let (before, after) = (self.clearness.at(hour), self.clearness.at(hour.saturating_add(HOUR_MS)));
        match (before, after) {
            (Some(before), Some(after)) => Some(before + (after - before) * part),
            (one, other) => one.or(other),
        }
    }

    /// The moment at which the station's sun stands as the place's does at `utc_ms`.
    fn same_solar_time(&self, place: Place, utc_ms: u64) -> u64 {
        let later_ms = (place.longitude - self.station.longitude) * MS_PER_DEGREE;
        let forward = crate::float::floor(later_ms);
        let back = crate::float::floor(-later_ms);
        let season = if place.latitude * self.station.latitude < 0.0 { HALF_YEAR_MS } else { 0 };
        utc_ms.saturating_add(forward).saturating_add(season).saturating_sub(back)
    }
}

/// Mean light of a clear sky over the hour, from six moments of it.
fn clear_hour(place: Place, start_utc_ms: u64) -> f64 {
    let moments = (0..6_u64).map(|sixth| start_utc_ms + HOUR_MS / 12 + sixth * HOUR_MS / 6);
    moments.map(|moment| haurwitz(&position(place, moment))).sum::<f64>() / 6.0
}
