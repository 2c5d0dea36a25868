//! The two suns of a simulated site: hours measured at a station, and a clear sky behind clouds at any place.

use super::clear_sky::{erbs, haurwitz};
use super::clouds::Clouds;
use super::panel::Panel;
use super::sun::position;
use crate::SolarSource;
use crate::data::Place;
use crate::trace::{Trace, Weather};
use ecovisor_units::Power;

/// An array under the measured hours of a typical year. Light and weather hold for the hour; the sun moves within it.
#[derive(Clone, Debug)]
pub struct Tmy3 {
    /// Where the hours were measured and the array stands.
    pub place: Place,
    /// The array.
    pub panel: Panel,
    /// The hours; usually [`Trace::repeat_yearly`].
    pub weather: Trace<Weather>,
}

impl SolarSource for Tmy3 {
    fn power(&self, utc_ms: u64) -> Option<Power> {
        let weather = self.weather.at(utc_ms)?;
        if weather.ghi == 0.0 && weather.dni == 0.0 && weather.dhi == 0.0 {
            // No light, no power, wherever the sun stands: half of all minutes.
            return Some(Power::ZERO);
        }
        Some(self.panel.ac_power(&position(self.place, utc_ms), &weather))
    }
}

/// An array at any place under a clear sky, behind clouds.
#[derive(Clone, Debug)]
pub struct ClearSky {
    /// Where the array stands.
    pub place: Place,
    /// The array.
    pub panel: Panel,
    /// What the clouds leave.
    pub clouds: Clouds,
    /// Air temperature at all times, °C.
    pub air_celsius: f64,
    /// Wind at all times, m/s.
    pub wind_m_per_s: f64,
}

/// Air of the international standard atmosphere at sea level, °C.
const STANDARD_AIR: f64 = 15.0;
/// A light breeze, m/s: the wind at which module temperatures are rated (NOCT).
const LIGHT_BREEZE: f64 = 1.0;

impl ClearSky {
    /// That array at 15 °C in a light breeze.
    #[must_use]
    pub const fn new(place: Place, panel: Panel, clouds: Clouds) -> Self {
        Self { place, panel, clouds, air_celsius: STANDARD_AIR, wind_m_per_s: LIGHT_BREEZE }
    }
}

impl SolarSource for ClearSky {
    fn power(&self, utc_ms: u64) -> Option<Power> {
        let sun = position(self.place, utc_ms);
        let clear = haurwitz(&sun);
        if clear <= 0.0 {
            return Some(Power::ZERO);
        }
        let light = erbs(clear * self.clouds.clearness(self.place, utc_ms)?, &sun);
        let weather = Weather {
            ghi: light.ghi,
            dni: light.dni,
            dhi: light.dhi,
            air_celsius: self.air_celsius,
            wind_m_per_s: self.wind_m_per_s,
        };
        Some(self.panel.ac_power(&sun, &weather))
    }
}
