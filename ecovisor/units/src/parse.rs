//! Quantities as people write them: a decimal number and a unit, `40W`, `1.2 kWh`, `30 s`, `400 g/kWh`. Parsed without
//! floats; what does not come out as a whole number of base units is refused rather than rounded.

use crate::{CarbonIntensity, CarbonMass, CarbonRate, Energy, Millis, Power, Ppm};
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// Why a text is no quantity; its message names the text and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidQuantity {
    text: String,
    accepted: &'static str,
}

impl fmt::Display for InvalidQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text, self.accepted)
    }
}

impl core::error::Error for InvalidQuantity {}

/// A unit's spelling and its size in base units.
type Unit = (&'static str, u64);

/// The figure in base units, or `None` where `text` has no known unit, is no plain decimal, has more decimals than
/// the base unit resolves, or does not fit.
fn parse(text: &str, units: &[Unit]) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')?;
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.trim_start();
    let (_, size) = units.iter().find(|(name, _)| *name == unit)?;
    scale(number, *size)
}

/// `number` × `size` in integers; `None` where it is no decimal number, or the product is not whole, or too large.
fn scale(number: &str, size: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let mut figure: u128 = 0;
    let mut digits_seen = false;
    for digit in whole.chars().chain(decimals.chars()).filter(|c| *c != '_') {
        digits_seen = true;
        figure = figure.checked_mul(10)?.checked_add(u128::from(digit.to_digit(10)?))?;
    }
    let places = u32::try_from(decimals.chars().filter(|c| *c != '_').count()).ok()?;
    let divisor = 10_u128.checked_pow(places)?;
    let product = figure.checked_mul(u128::from(size))?;
    (digits_seen && product.is_multiple_of(divisor)).then(|| u64::try_from(product / divisor).ok())?
}

macro_rules! parsed {
    ($name:ident, $accepted:literal, $units:expr) => {
        impl FromStr for $name {
            type Err = InvalidQuantity;
            fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
                parse(text, $units)
                    .map($name::new)
                    .ok_or_else(|| InvalidQuantity { text: text.to_string(), accepted: $accepted })
            }
        }
    };
}

parsed!(
    Power,
    "a power: a number and W, kW, MW or mW, such as `40 W` or `1.2kW`",
    &[("mW", 1), ("W", 1_000), ("kW", 1_000_000), ("MW", 1_000_000_000)]
);
parsed!(
    Energy,
    "an energy: a number and Wh, kWh, MWh, J, kJ, MJ or uJ, such as `1440 Wh`",
    &[
        ("uJ", 1),
        ("µJ", 1),
        ("mJ", 1_000),
        ("J", 1_000_000),
        ("kJ", 1_000_000_000),
        ("MJ", 1_000_000_000_000),
        ("Wh", 3_600_000_000),
        ("kWh", 3_600_000_000_000),
        ("MWh", 3_600_000_000_000_000)
    ]
);
parsed!(
    Millis,
    "a time: a number and ms, s, min, h or d, such as `30 s` or `1h`",
    &[("ms", 1), ("s", 1_000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
);
parsed!(
    CarbonIntensity,
    "a carbon intensity: a number and g/kWh, mg/kWh or kg/kWh, such as `400 g/kWh`",
    &[("mg/kWh", 1), ("g/kWh", 1_000), ("kg/kWh", 1_000_000)]
);
parsed!(
    CarbonMass,
    "a mass of CO2e: a number and mg, g, kg or t, such as `250 g`",
    &[("mg", 1), ("g", 1_000), ("kg", 1_000_000), ("t", 1_000_000_000)]
);
parsed!(
    CarbonRate,
    "a carbon rate: a number and mg/h, g/h or kg/h, such as `20 g/h`",
    &[("mg/h", 1), ("g/h", 1_000), ("kg/h", 1_000_000)]
);

impl FromStr for Ppm {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        parse(text, &[("%", 10_000), ("ppm", 1)])
            .and_then(|parts| Ppm::new(u32::try_from(parts).ok()?))
            .ok_or_else(|| InvalidQuantity {
                text: text.to_string(),
                accepted: "a fraction: 0 % to 100 %, such as `95 %`",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_become_base_units() {
        assert_eq!("40W".parse(), Ok(Power::new(40_000)));
        assert_eq!(" 1.25 kW ".parse(), Ok(Power::new(1_250_000)));
        assert_eq!("1440 Wh".parse(), Ok(Energy::from_watt_hours(1_440)));
        assert_eq!("100 ms".parse(), Ok(Millis::new(100)));
        assert_eq!("216.56 g/kWh".parse(), Ok(CarbonIntensity::new(216_560)));
        assert_eq!("20 g/h".parse(), Ok(CarbonRate::new(20_000)));
        assert_eq!("0.5 kg".parse(), Ok(CarbonMass::new(500_000)));
        assert_eq!("95 %".parse(), Ok(Ppm::new(950_000).unwrap()));
        assert_eq!("1_000 W".parse(), Ok(Power::from_watts(1_000)));
    }

    #[test]
    fn what_is_no_quantity_is_refused_by_name() {
        for text in [
            "",
            "W",
            "40",
            "40 X",
            "-1 W",
            "1e3 W",
            ".W",
            "40 w",
            "1.2.3 W",
            "99999999999999999999 MW",
            "NaN W",
        ] {
            let refusal = text.parse::<Power>().unwrap_err().to_string();
            assert!(refusal.contains("such as `40 W`"), "{refusal}");
        }
        assert!("101 %".parse::<Ppm>().is_err());
    }

    #[test]
    fn what_the_base_unit_cannot_say_is_refused_not_rounded() {
        assert_eq!("0.001 W".parse(), Ok(Power::new(1)));
        assert!("0.0001 W".parse::<Power>().is_err());
    }
}
