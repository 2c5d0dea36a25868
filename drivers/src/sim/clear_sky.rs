//! Sunlight on the ground under a cloudless sky, and how much of what falls on flat ground is direct.

use super::sun::SunPosition;

/// Sunlight on the ground.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Irradiance {
    /// Global horizontal, W/m²; zero is darkness.
    pub ghi: f64,
    /// Direct normal, W/m².
    pub dni: f64,
    /// Diffuse horizontal, W/m².
    pub dhi: f64,
}

/// Global horizontal irradiance of a clear sky in W/m², 0 to about 1035: Haurwitz, "Insolation in relation to
/// cloudiness and cloud density", J. Meteorology 2 (1945), with the coefficients that Ren, Hansen and Stein give in
/// "Global horizontal irradiance clear sky models" (SAND2012-2389). It needs no turbidity, which a simulated place has
/// none of.
#[must_use]
pub fn haurwitz(sun: &SunPosition) -> f64 {
    let cos_zenith = sun.apparent_zenith.to_radians().cos();
    if cos_zenith > 0.0 { 1098.0 * cos_zenith * (-0.059 / cos_zenith).exp() } else { 0.0 }
}

/// Zenith beyond which no direct light is told apart, degrees: near the horizon the division by its cosine would make
/// light out of rounding (as in pvlib).
const DIRECT_ZENITH_MAX: f64 = 87.0;

/// Least cosine of the zenith in the clearness index, for the same reason (as in pvlib).
const COS_ZENITH_MIN: f64 = 0.065;

/// Splits global horizontal irradiance into direct and diffuse: Erbs, Klein and Duffie, "Estimation of the diffuse
/// radiation fraction", Solar Energy 28 (1982).
#[must_use]
pub fn erbs(ghi: f64, sun: &SunPosition) -> Irradiance {
    let cos_zenith = sun.zenith.to_radians().cos();
    let clearness = (ghi / (sun.extraterrestrial * cos_zenith.max(COS_ZENITH_MIN))).clamp(0.0, 2.0);
    let diffuse = ghi * diffuse_fraction(clearness);
    match sun.zenith > DIRECT_ZENITH_MAX || ghi <= 0.0 {
        true => Irradiance { ghi, dni: 0.0, dhi: ghi },
        false => Irradiance { ghi, dni: (ghi - diffuse) / cos_zenith, dhi: diffuse },
    }
}

/// Diffuse part of global light at a clearness index (ground over top of the air), 0.165 to 1.
fn diffuse_fraction(clearness: f64) -> f64 {
    if clearness <= 0.22 {
        1.0 - 0.09 * clearness
    } else if clearness <= 0.8 {
        let terms = [0.9511, -0.1604, 4.388, -16.638, 12.336];
        terms.iter().rev().fold(0.0, |sum, term| sum * clearness + term)
    } else {
        0.165
    }
}
