//! Where the sun stands, well enough for a forecast: Spencer, "Fourier series representation of the position of the sun"
//! (Search 2, 1971), good to 0.04° of declination and 40 s of time. The simulator has a finer sun of its own, on purpose:
//! a forecast that shared it would know more than any real one can.

use crate::float::float;
use std::f64::consts::TAU;

/// The sun from a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sun {
    /// Cosine of its angle from straight up, −1 to 1; zero or less is night.
    pub cos_zenith: f64,
    /// Compass direction, radians clockwise from north.
    pub azimuth: f64,
    /// Sunlight above the air on a plane that faces it, W/m².
    pub above_air: f64,
}

/// Sunlight above the air at the mean distance, W/m² (ASTM E490-00).
const SOLAR_CONSTANT: f64 = 1366.1;
/// Mean length of a Gregorian year, in days.
const YEAR_DAYS: f64 = 365.2425;
const DAY_MS: f64 = 86_400_000.0;

/// The sun at `utc_ms` (since the Unix epoch), `latitude` degrees north and `longitude` degrees east.
#[must_use]
pub fn position(latitude: f64, longitude: f64, utc_ms: u64) -> Sun {
    let days = float(utc_ms) / DAY_MS;
    let turn = TAU * (days / YEAR_DAYS).fract();
    let (one, two, three) = (turn.sin_cos(), (2.0 * turn).sin_cos(), (3.0 * turn).sin_cos());
    let declination = 0.006918 - 0.399912 * one.1 + 0.070257 * one.0 - 0.006758 * two.1 + 0.000907 * two.0
        - 0.002697 * three.1
        + 0.00148 * three.0;
    // Sundial minus clock, radians of the day's turn.
    let equation = 0.000075 + 0.001868 * one.1 - 0.032077 * one.0 - 0.014615 * two.1 - 0.040849 * two.0;
    let distance = 1.00011 + 0.034221 * one.1 + 0.00128 * one.0 + 0.000719 * two.1 + 0.000077 * two.0;
    let hour_angle = TAU * (days.fract() - 0.5) + longitude.to_radians() + equation;
    let (sin_latitude, cos_latitude) = latitude.to_radians().sin_cos();
    let (sin_declination, cos_declination) = declination.sin_cos();
    let cos_zenith = sin_latitude * sin_declination + cos_latitude * cos_declination * hour_angle.cos();
    let south = hour_angle.cos() * sin_latitude * cos_declination - sin_declination * cos_latitude;
    Sun {
        cos_zenith: cos_zenith.clamp(-1.0, 1.0),
        azimuth: (hour_angle.sin() * cos_declination).atan2(south) + TAU / 2.0,
        above_air: SOLAR_CONSTANT * distance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn degrees_up(latitude: f64, longitude: f64, utc_ms: u64) -> f64 {
        position(latitude, longitude, utc_ms).cos_zenith.asin().to_degrees()
    }

    #[test]
    fn the_sun_stands_where_an_almanac_says() {
        // Greensboro at 2022-06-21T17:21Z (its solar noon): 90 - 36.1 + 23.44; at 2022-12-21T17:18Z: 90 - 36.1 - 23.44.
        assert!((degrees_up(36.1, -79.95, 1_655_832_060_000) - 77.34).abs() < 0.2);
        assert!((degrees_up(36.1, -79.95, 1_671_643_080_000) - 30.46).abs() < 0.2);
        // Midnight sun at Kiruna (67.86 N, 20.23 E), 2022-06-21T22:41Z, and none there at noon of 2022-12-21.
        assert!(degrees_up(67.86, 20.23, 1_655_851_260_000) > 0.5);
        assert!(degrees_up(67.86, 20.23, 1_671_618_000_000) < 0.0);
    }

    #[test]
    fn the_sun_goes_from_east_over_south_to_west() {
        let azimuth = |utc_ms| position(51.2, 10.4, utc_ms).azimuth.to_degrees();
        // 2022-03-20 over Germany: solar noon is near 11:26Z.
        let (morning, noon, evening) =
            (azimuth(1_647_756_000_000), azimuth(1_647_775_560_000), azimuth(1_647_795_600_000));
        assert!((80.0..110.0).contains(&morning), "{morning}");
        assert!((noon - 180.0).abs() < 1.5, "{noon}");
        assert!((250.0..280.0).contains(&evening), "{evening}");
    }
}
