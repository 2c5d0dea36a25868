//! Quantities as people read them: four significant figures at most, the unit that fits. For terminals and messages;
//! what is computed with travels as integers.

use crate::{
    Carbon, CarbonIntensity, CarbonMass, CarbonRate, Energy, EnergySum, Millis, Power, Ppm, WattHours,
};
use core::fmt;

/// A larger unit: its size in base units and its name.
type Scale = (u128, &'static str);

/// Writes `figure` in the largest unit that leaves at least one whole, with up to three decimals, rounded down.
fn write_scaled(f: &mut fmt::Formatter<'_>, figure: u128, scales: &[Scale]) -> fmt::Result {
    let fitting = scales.iter().rev().find(|(size, _)| figure >= *size).or(scales.first());
    let Some((size, unit)) = fitting else { return write!(f, "{figure}") };
    let (whole, rest) = (figure / size, figure % size);
    let places = match whole {
        0..=9 => 3_usize,
        10..=99 => 2,
        100..=999 => 1,
        _ => 0,
    };
    let mut unit_of_place = *size;
    let mut shown_rest = 0_u128;
    let mut rest = rest;
    let mut shown_places = 0_usize;
    for place in 1..=places {
        unit_of_place /= 10;
        if unit_of_place == 0 {
            break;
        }
        shown_rest = shown_rest * 10 + rest / unit_of_place;
        rest %= unit_of_place;
        shown_places = place;
    }
    while shown_places > 0 && shown_rest.is_multiple_of(10) {
        shown_rest /= 10;
        shown_places -= 1;
    }
    match shown_places {
        0 => write!(f, "{whole} {unit}"),
        _ => write!(f, "{whole}.{shown_rest:0shown_places$} {unit}"),
    }
}

macro_rules! shown {
    ($name:ident, $scales:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_scaled(f, u128::from(self.get()), $scales)
            }
        }
    };
}

shown!(
    Power,
    &[(1, "mW"), (1_000, "W"), (1_000_000, "kW"), (1_000_000_000, "MW"), (1_000_000_000_000, "GW")]
);
shown!(Energy, ENERGY_SCALES);
shown!(EnergySum, ENERGY_SCALES);
shown!(Millis, &[(1, "ms"), (1_000, "s"), (60_000, "min"), (3_600_000, "h"), (86_400_000, "d")]);
shown!(CarbonIntensity, &[(1_000, "g/kWh")]);
shown!(CarbonMass, MASS_SCALES);
shown!(CarbonRate, &[(1, "mg/h"), (1_000, "g/h"), (1_000_000, "kg/h")]);

const ENERGY_SCALES: &[Scale] =
    &[(1, "µJ"), (1_000, "mJ"), (1_000_000, "J"), (1_000_000_000, "kJ"), (1_000_000_000_000, "MJ")];
const MASS_SCALES: &[Scale] = &[(1, "mg"), (1_000, "g"), (1_000_000, "kg"), (1_000_000_000, "t")];

impl fmt::Display for WattHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scales = [
            (3_600_000, "mWh"),
            (3_600_000_000, "Wh"),
            (3_600_000_000_000, "kWh"),
            (3_600_000_000_000_000, "MWh"),
        ];
        write_scaled(f, self.0.get(), &scales)
    }
}

impl fmt::Display for Carbon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_milligrams().fmt(f)
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.get() / 100;
        write!(f, "{}.{:02} %", hundredths / 100, hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_unit_fits_and_figures_round_down() {
        assert_eq!(Power::new(999).to_string(), "999 mW");
        assert_eq!(Power::new(1_234_567).to_string(), "1.234 kW");
        assert_eq!(Power::from_watts(40).to_string(), "40 W");
        assert_eq!(Energy::new(12_345_678).to_string(), "12.34 J");
        assert_eq!(WattHours(Energy::from_watt_hours(1_440).wide()).to_string(), "1.44 kWh");
        assert_eq!(WattHours(EnergySum::ZERO).to_string(), "0 mWh");
        assert_eq!(CarbonIntensity::new(216_560).to_string(), "216.5 g/kWh");
        assert_eq!(Millis::new(90_000).to_string(), "1.5 min");
        assert_eq!(Ppm::new(955_500).unwrap().to_string(), "95.55 %");
    }
}
