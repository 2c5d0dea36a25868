//! A solar array behind its inverter: from light on the ground to AC power.
//!
//! light on the tilted plane (Hay and Davies) -> cell temperature (Faiman) -> DC power (PVWatts) -> AC power, clipped.

use super::sun::SunPosition;
use crate::data::Place;
use crate::float::{float, power_rounded_down};
use crate::trace::Weather;
use ecovisor_units::{Power, Ppm};

/// An array. Angles and coefficients are physics and float; what leaves is [`Power`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panel {
    /// DC power at 1000 W/m² and 25 °C cell temperature (the sum of the name plates), mW.
    pub peak: Power,
    /// Angle between the panels and the ground, degrees, 0 (flat) to 90 (upright).
    pub tilt: f64,
    /// Direction that the panels face, degrees clockwise from north, 0 to 360.
    pub azimuth: f64,
    /// Part of the light that the ground throws back, 0 to 1; grass is 0.2.
    pub albedo: f64,
    /// Change of power per degree of cell temperature above 25 °C, 1/°C; silicon is about −0.0035.
    pub per_celsius: f64,
    /// Lost between cells and inverter (dirt, wiring, mismatch, shade), parts per million.
    pub losses: Ppm,
    /// AC out over DC in, parts per million.
    pub inverter_efficiency: Ppm,
    /// The most that the inverter delivers, mW.
    pub ac_max: Power,
}

/// PVWatts' default losses (Dobos, "PVWatts Version 5 Manual", NREL/TP-6A20-62641, table 2): 14.08 %.
const PVWATTS_LOSSES: u32 = 140_800;
/// PVWatts' default inverter efficiency (same manual): 96 %.
const PVWATTS_INVERTER: u32 = 960_000;
/// PVWatts' temperature coefficient of premium modules (same manual).
const PREMIUM_PER_CELSIUS: f64 = -0.0035;
/// Light that grass throws back (PVWatts, same manual).
const GRASS: f64 = 0.2;
/// Steepest tilt of [`Panel::facing_sun`], degrees: steeper arrays are walls.
const TILT_MAX: f64 = 60.0;

impl Panel {
    /// An array of `peak` with PVWatts' default losses at `place`: tilted by its latitude (at most 60°), facing the
    /// equator, its inverter as large as the array.
    #[must_use]
    pub fn facing_sun(place: Place, peak: Power) -> Self {
        Self {
            peak,
            tilt: place.latitude.abs().min(TILT_MAX),
            azimuth: if place.latitude >= 0.0 { 180.0 } else { 0.0 },
            albedo: GRASS,
            per_celsius: PREMIUM_PER_CELSIUS,
            losses: Ppm::new(PVWATTS_LOSSES).unwrap_or(Ppm::WHOLE),
            inverter_efficiency: Ppm::new(PVWATTS_INVERTER).unwrap_or(Ppm::WHOLE),
            ac_max: peak,
        }
    }

    /// AC power, rounded down to mW; zero at night, never above `ac_max`.
    #[must_use]
    pub fn ac_power(&self, sun: &SunPosition, weather: &Weather) -> Power {
        let plane = self.plane_irradiance(sun, weather);
        let warmth = 1.0 + self.per_celsius * (cell_celsius(plane, weather) - 25.0);
        let peak_watts = float(self.peak.get()) / 1_000.0;
        let dc = peak_watts * plane / 1_000.0 * warmth * (1.0 - fraction(self.losses));
        power_rounded_down(dc * fraction(self.inverter_efficiency)).min(self.ac_max)
    }

    /// Light on the panels, W/m²: direct, from the sky (Hay and Davies, "Calculation of the solar radiation incident on
    /// an inclined surface", 1980) and from the ground.
    #[must_use]
    pub fn plane_irradiance(&self, sun: &SunPosition, weather: &Weather) -> f64 {
        let facing = self.cos_incidence(sun).max(0.0);
        let flat_share = (1.0 + self.tilt.to_radians().cos()) / 2.0;
        let around_sun = weather.dni / sun.extraterrestrial;
        let cos_zenith = sun.zenith.to_radians().cos().max(COS_ZENITH_MIN);
        let sky = weather.dhi * (around_sun * facing / cos_zenith + (1.0 - around_sun) * flat_share);
        let ground = weather.ghi * self.albedo * (1.0 - flat_share);
        (weather.dni * facing + sky + ground).max(0.0)
    }

    /// Cosine of the angle between the sun's direction and the panels' normal.
    fn cos_incidence(&self, sun: &SunPosition) -> f64 {
        let (tilt, zenith) = (self.tilt.to_radians(), sun.zenith.to_radians());
        let turned = (sun.azimuth - self.azimuth).to_radians();
        tilt.cos() * zenith.cos() + tilt.sin() * zenith.sin() * turned.cos()
    }
}

/// Least cosine of the zenith in the ratio of beams (89°, as in pvlib).
const COS_ZENITH_MIN: f64 = 0.01745;

/// Heat that leaves a cell: constant, W/(m² °C), and per wind speed, W s/(m³ °C). Faiman, "Assessing the outdoor operating
/// temperature of photovoltaic modules", Progress in Photovoltaics 16 (2008), averaged over modules.
const HEAT_LOSS: f64 = 25.0;
const HEAT_LOSS_PER_WIND: f64 = 6.84;

/// Cell temperature in °C under `plane` W/m².
fn cell_celsius(plane: f64, weather: &Weather) -> f64 {
    weather.air_celsius + plane / (HEAT_LOSS + HEAT_LOSS_PER_WIND * weather.wind_m_per_s)
}

/// Parts per million as a fraction of one.
fn fraction(ppm: Ppm) -> f64 {
    f64::from(ppm.get()) / 1_000_000.0
}
