//! An array's power under a clear sky: the most that an hour can bring, and the measure by which hours are compared.
//!
//! Sunlight after Haurwitz ("Insolation in relation to cloudiness and cloud density", J. Meteorology 2, 1945, with the
//! coefficients of SAND2012-2389), split by Erbs, Klein and Duffie (Solar Energy 28, 1982), laid on the tilted plane with an
//! even sky. Losses and temperature are left out: what an array really makes of a clear hour is learnt as its clearness.

use crate::float::float;
use crate::sun::{Sun, position};
use ecovisor_units::Power;
use serde::{Deserialize, Serialize};

/// Where an array stands and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panels {
    /// Degrees north, −90 to 90.
    pub latitude: f64,
    /// Degrees east, −180 to 180.
    pub longitude: f64,
    /// Angle between panels and ground, degrees, 0 (flat) to 90.
    pub tilt: f64,
    /// Direction that they face, degrees clockwise from north.
    pub azimuth: f64,
    /// Power at 1000 W/m², mW.
    pub peak: Power,
}

/// Steepest tilt where none is given, degrees: steeper arrays are walls.
const TILT_MAX: f64 = 60.0;
/// Light that the ground throws back; grass.
const ALBEDO: f64 = 0.2;
/// Least cosine of the zenith in ratios, 3° above the horizon: below, light is made of rounding.
const COS_MIN: f64 = 0.052;
/// Looks at the sun in an hour.
const LOOKS: u32 = 6;
const HOUR_MS: u64 = 3_600_000;

impl Panels {
    /// An array tilted by its latitude (at most 60°), facing the equator.
    #[must_use]
    pub fn facing_sun(latitude: f64, longitude: f64, peak: Power) -> Self {
        let azimuth = if latitude >= 0.0 { 180.0 } else { 0.0 };
        Self { latitude, longitude, tilt: latitude.abs().min(TILT_MAX), azimuth, peak }
    }

    /// Mean power of `hour` under a clear sky, mW; zero at night.
    #[must_use]
    pub fn clear(&self, hour: u64) -> f64 {
        let step = HOUR_MS / u64::from(LOOKS);
        let looks = (0..LOOKS).map(|look| hour.saturating_mul(HOUR_MS) + step / 2 + step * u64::from(look));
        let light: f64 = looks.map(|at| self.light(&position(self.latitude, self.longitude, at))).sum();
        float(self.peak.get()) * light / f64::from(LOOKS) / 1_000.0
    }

    /// Whether `hour` lies before (0), about (1) or after (2) the middle of the sun's day: skies differ by it.
    #[must_use]
    pub fn part_of_day(&self, hour: u64) -> usize {
        let solar_hour = (float(hour % 24) + 0.5 + self.longitude / 15.0).rem_euclid(24.0);
        match solar_hour {
            morning if morning < 10.5 => 0,
            midday if midday < 13.5 => 1,
            _ => 2,
        }
    }

    /// Light on the plane, W/m².
    fn light(&self, sun: &Sun) -> f64 {
        if sun.cos_zenith <= 0.0 {
            return 0.0;
        }
        let global = 1098.0 * sun.cos_zenith * (-0.059 / sun.cos_zenith).exp();
        let scattered = global * diffuse_part(global / (sun.above_air * sun.cos_zenith.max(COS_MIN)));
        let (sin_tilt, cos_tilt) = self.tilt.to_radians().sin_cos();
        let sin_zenith = (1.0 - sun.cos_zenith * sun.cos_zenith).max(0.0).sqrt();
        let turned = sun.azimuth - self.azimuth.to_radians();
        let facing = (cos_tilt * sun.cos_zenith + sin_tilt * sin_zenith * turned.cos()).max(0.0);
        let beam = (global - scattered) / sun.cos_zenith.max(COS_MIN);
        beam * facing + scattered * (1.0 + cos_tilt) / 2.0 + global * ALBEDO * (1.0 - cos_tilt) / 2.0
    }
}

/// Scattered part of global light at a clearness (ground over top of the air), 0.165 to 1.
fn diffuse_part(clearness: f64) -> f64 {
    if clearness <= 0.22 {
        1.0 - 0.09 * clearness
    } else if clearness <= 0.8 {
        let terms = [0.9511, -0.1604, 4.388, -16.638, 12.336];
        terms.iter().rev().fold(0.0, |sum, term| sum * clearness + term)
    } else {
        0.165
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2022-06-21T00:00Z.
    const MIDSUMMER: u64 = 1_655_769_600 / 3_600;

    #[test]
    fn a_clear_noon_brings_about_the_peak_and_the_night_nothing() {
        let panels = Panels::facing_sun(36.1, -79.95, Power::from_watts(1_000));
        let noon = panels.clear(MIDSUMMER + 17);
        assert!((850_000.0..1_100_000.0).contains(&noon), "{noon} mW");
        assert_eq!(panels.clear(MIDSUMMER + 5), 0.0);
        let day: f64 = (4..28).map(|hour| panels.clear(MIDSUMMER + hour)).sum();
        assert!((6_000_000.0..9_500_000.0).contains(&day), "{day} mWh");
    }

    #[test]
    fn panels_that_face_east_have_their_day_earlier() {
        let east =
            Panels { azimuth: 90.0, tilt: 45.0, ..Panels::facing_sun(36.1, -79.95, Power::from_watts(1)) };
        assert!(east.clear(MIDSUMMER + 13) > 1.5 * east.clear(MIDSUMMER + 21));
    }

    #[test]
    fn the_sky_has_a_morning_a_midday_and_an_evening() {
        let panels = Panels::facing_sun(51.2, 10.4, Power::from_watts(1));
        assert_eq!([6, 11, 16].map(|hour| panels.part_of_day(hour)), [0, 1, 2]);
    }
}
