//! Where the sun stands: the solar calculator of NOAA's Global Monitoring Laboratory, after Meeus, "Astronomical
//! Algorithms" (1998), chapters 25 and 28. Good to 0.02° between 1950 and 2050 away from the horizon.

use crate::data::Place;
use crate::float::float;

/// The sun as seen from a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SunPosition {
    /// Angle from straight up to the true sun (without the air's refraction), degrees, 0 to 180; 90 is the horizon.
    pub zenith: f64,
    /// The same to the sun as it appears through the air.
    pub apparent_zenith: f64,
    /// Compass direction, degrees clockwise from north, 0 to 360.
    pub azimuth: f64,
    /// Sunlight above the air on a plane that faces the sun, W/m², 1320 to 1415.
    pub extraterrestrial: f64,
}

/// Mean sunlight above the air at one astronomical unit, W/m² (ASTM E490-00).
const SOLAR_CONSTANT: f64 = 1366.1;

const DAY_MS: f64 = 86_400_000.0;
/// Julian day of the Unix epoch.
const JULIAN_DAY_OF_EPOCH: f64 = 2_440_587.5;
/// Julian day of 2000-01-01T12:00, from which the series count.
const JULIAN_DAY_OF_2000: f64 = 2_451_545.0;

/// The sun at `utc_ms` (ms since the Unix epoch) from `place`.
#[must_use]
pub fn position(place: Place, utc_ms: u64) -> SunPosition {
    let days = float(utc_ms) / DAY_MS;
    let orbit = Orbit::at((days + JULIAN_DAY_OF_EPOCH - JULIAN_DAY_OF_2000) / 36_525.0);
    let minutes_utc = (days - days.floor()) * 1_440.0;
    let solar_minutes = minutes_utc + orbit.equation_of_time + 4.0 * place.longitude;
    let hour_angle = (solar_minutes.rem_euclid(1_440.0) / 4.0 - 180.0).to_radians();
    let latitude = place.latitude.to_radians();
    let (sin_declination, cos_declination) = orbit.declination.sin_cos();
    let cos_zenith = latitude.sin() * sin_declination + latitude.cos() * cos_declination * hour_angle.cos();
    let zenith = cos_zenith.clamp(-1.0, 1.0).acos().to_degrees();
    let south = hour_angle.cos() * latitude.sin() * cos_declination - sin_declination * latitude.cos();
    let azimuth = (hour_angle.sin() * cos_declination).atan2(south).to_degrees() + 180.0;
    SunPosition {
        zenith,
        apparent_zenith: zenith - refraction(90.0 - zenith),
        azimuth: azimuth.rem_euclid(360.0),
        extraterrestrial: SOLAR_CONSTANT / (orbit.distance * orbit.distance),
    }
}

/// The moment of the day that begins at `utc_midnight_ms` at which the sun stands highest over `place`, in minutes of
/// UTC; negative or beyond 1440 where that moment lies in the neighbouring UTC day.
#[must_use]
pub fn solar_noon_minutes(place: Place, utc_midnight_ms: u64) -> f64 {
    let centuries =
        (float(utc_midnight_ms) / DAY_MS + 0.5 + JULIAN_DAY_OF_EPOCH - JULIAN_DAY_OF_2000) / 36_525.0;
    720.0 - 4.0 * place.longitude - Orbit::at(centuries).equation_of_time
}

/// Earth's place on its orbit, as far as shadows need it.
struct Orbit {
    /// Declination of the sun, radians.
    declination: f64,
    /// Sundial minus clock, minutes.
    equation_of_time: f64,
    /// Distance of the sun, astronomical units.
    distance: f64,
}

impl Orbit {
    /// `t` Julian centuries after 2000-01-01T12:00. Numbers from the NOAA calculator's spreadsheet, in its order.
    fn at(t: f64) -> Self {
        let mean_longitude = (280.46646 + t * (36000.76983 + t * 0.0003032)).rem_euclid(360.0).to_radians();
        let anomaly = (357.52911 + t * (35999.05029 - 0.0001537 * t)).rem_euclid(360.0).to_radians();
        let eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t);
        let centre = (anomaly.sin() * (1.914602 - t * (0.004817 + 0.000014 * t))
            + (2.0 * anomaly).sin() * (0.019993 - 0.000101 * t)
            + (3.0 * anomaly).sin() * 0.000289)
            .to_radians();
        let node = (125.04 - 1934.136 * t).to_radians();
        let longitude = mean_longitude + centre - (0.00569 + 0.00478 * node.sin()).to_radians();
        let seconds = 21.448 - t * (46.815 + t * (0.00059 - t * 0.001813));
        let obliquity = (23.0 + (26.0 + seconds / 60.0) / 60.0 + 0.00256 * node.cos()).to_radians();
        Self {
            declination: (obliquity.sin() * longitude.sin()).asin(),
            equation_of_time: equation_of_time(obliquity, mean_longitude, anomaly, eccentricity),
            distance: 1.000001018 * (1.0 - eccentricity * eccentricity)
                / (1.0 + eccentricity * (anomaly + centre).cos()),
        }
    }
}

/// Sundial minus clock in minutes (Smart, "Spherical Astronomy", as in the NOAA calculator).
fn equation_of_time(obliquity: f64, mean_longitude: f64, anomaly: f64, eccentricity: f64) -> f64 {
    let y = (obliquity / 2.0).tan().powi(2);
    let radians = y * (2.0 * mean_longitude).sin() - 2.0 * eccentricity * anomaly.sin()
        + 4.0 * eccentricity * y * anomaly.sin() * (2.0 * mean_longitude).cos()
        - 0.5 * y * y * (4.0 * mean_longitude).sin()
        - 1.25 * eccentricity * eccentricity * (2.0 * anomaly).sin();
    4.0 * radians.to_degrees()
}

/// How much higher than it is the sun appears, degrees, at a true elevation in degrees (NOAA calculator).
fn refraction(elevation: f64) -> f64 {
    let tan = elevation.to_radians().tan();
    let arc_seconds = if elevation > 85.0 {
        0.0
    } else if elevation > 5.0 {
        58.1 / tan - 0.07 / tan.powi(3) + 0.000086 / tan.powi(5)
    } else if elevation > -0.575 {
        1735.0 + elevation * (-518.2 + elevation * (103.4 + elevation * (-12.79 + elevation * 0.711)))
    } else {
        -20.772 / tan
    };
    arc_seconds / 3_600.0
}
