//! What a battery with losses accepts and gives. Powers, limits and flows count at the battery's terminals; what is
//! stored, capacity, floor and debts count inside. Loss is taken once per battery and tick, on the sums.

use ecovisor_units::Energy;
use serde::{Deserialize, Serialize};

/// One million, the whole of an efficiency.
const WHOLE: u64 = 1_000_000;

/// A battery's efficiency in one direction, 1..=1,000,000 parts per million. Never zero: a battery that gives back
/// nothing is no battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Efficiency(u32);

impl Efficiency {
    /// No loss.
    pub const LOSSLESS: Self = Self(1_000_000);

    /// That many parts per million; `None` for zero or beyond the whole.
    #[must_use]
    pub const fn new(ppm: u32) -> Option<Self> {
        if ppm >= 1 && ppm <= 1_000_000 { Some(Self(ppm)) } else { None }
    }

    /// Parts per million, 1..=1,000,000.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// floor(whole × ppm ÷ 10⁶), as u64 while the product is one: up to 4.9 kWh.
    #[inline]
    fn part_of(self, whole: u128) -> u128 {
        match narrow(whole) {
            Some(whole) => u128::from(whole * u64::from(self.0) / WHOLE),
            None if self == Self::LOSSLESS => whole,
            None => whole * u128::from(self.0) / u128::from(WHOLE),
        }
    }

    /// ceil(part × 10⁶ ÷ ppm), as u64 while the product is one: up to 4.9 kWh.
    #[inline]
    fn whole_for(self, part: u128) -> u128 {
        if self == Self::LOSSLESS || part == 0 {
            return part;
        }
        match narrow(part) {
            Some(part) => u128::from((part * WHOLE).div_ceil(u64::from(self.0))),
            None => (part * u128::from(WHOLE)).div_ceil(u128::from(self.0)),
        }
    }
}

/// A figure that stays a u64 when multiplied by a million, which is below 2²⁰.
#[inline]
fn narrow(figure: u128) -> Option<u64> {
    u64::try_from(figure).ok().filter(|figure| figure >> 44 == 0)
}

impl TryFrom<u32> for Efficiency {
    type Error = &'static str;
    fn try_from(ppm: u32) -> Result<Self, Self::Error> {
        Self::new(ppm).ok_or("an efficiency lies between 1 and 1000000 ppm")
    }
}

impl From<Efficiency> for u32 {
    fn from(efficiency: Efficiency) -> u32 {
        efficiency.0
    }
}

/// The two conversions between a battery's terminals and its inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// From the terminals in.
    pub charge: Efficiency,
    /// From inside to the terminals.
    pub discharge: Efficiency,
}

impl Conversion {
    /// Neither way loses anything.
    pub const LOSSLESS: Self = Self { charge: Efficiency::LOSSLESS, discharge: Efficiency::LOSSLESS };

    /// What arrives inside of `at_terminals`: floor(in × charge ÷ 10⁶).
    #[must_use]
    pub fn arriving(self, at_terminals: u128) -> u128 {
        self.charge.part_of(at_terminals)
    }

    /// What leaves the store for `at_terminals` to be delivered: ceil(out × 10⁶ ÷ discharge).
    #[must_use]
    pub fn leaving(self, at_terminals: u128) -> u128 {
        self.discharge.whole_for(at_terminals)
    }

    /// The most that `room` inside accepts at the terminals: ceil(room × 10⁶ ÷ charge), which fills it exactly.
    #[must_use]
    pub fn acceptable(self, room: u128) -> u128 {
        self.charge.whole_for(room)
    }

    /// The most that `stored` above the floor delivers at the terminals: floor(stored × discharge ÷ 10⁶).
    #[must_use]
    pub fn deliverable(self, stored: u128) -> u128 {
        self.discharge.part_of(stored)
    }
}

/// As an account: held at the largest one, which no limit lies above.
#[must_use]
pub fn bounded(figure: u128) -> Energy {
    Energy::new(u64::try_from(figure).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn conversion(charge: u32, discharge: u32) -> Conversion {
        Conversion {
            charge: Efficiency::new(charge).unwrap(),
            discharge: Efficiency::new(discharge).unwrap(),
        }
    }

    #[test]
    fn losses_round_against_whoever_uses_the_battery() {
        let c = conversion(950_000, 950_000);
        assert_eq!(c.arriving(10), 9);
        assert_eq!(c.leaving(10), 11);
        assert_eq!(c.acceptable(9), 10);
        assert_eq!(c.deliverable(11), 10);
    }

    #[test]
    fn an_efficiency_is_never_zero_and_never_beyond_the_whole() {
        assert!(Efficiency::new(0).is_none());
        assert!(Efficiency::new(1).is_some());
        assert!(Efficiency::new(1_000_000).is_some());
        assert!(Efficiency::new(1_000_001).is_none());
    }

    proptest! {
        #[test]
        fn narrow_figures_come_out_as_wide_ones_do(figure in any::<u64>(), ppm in 1_u32..=1_000_000) {
            let (efficiency, million) = (Efficiency::new(ppm).unwrap(), 1_000_000_u128);
            let (figure, ppm) = (u128::from(figure), u128::from(ppm));
            prop_assert_eq!(efficiency.part_of(figure), figure * ppm / million);
            prop_assert_eq!(efficiency.whole_for(figure), (figure * million).div_ceil(ppm));
            let beyond = figure << 32;
            prop_assert_eq!(efficiency.part_of(beyond), beyond * ppm / million);
            prop_assert_eq!(efficiency.whole_for(beyond), (beyond * million).div_ceil(ppm));
        }

        #[test]
        fn the_most_accepted_fills_the_room_exactly(room in any::<u64>(), ppm in 1_u32..=1_000_000) {
            let c = conversion(ppm, ppm);
            prop_assert_eq!(c.arriving(c.acceptable(u128::from(room))), u128::from(room));
        }

        #[test]
        fn the_most_delivered_never_takes_more_than_there_is(stored in any::<u64>(), ppm in 1_u32..=1_000_000) {
            let c = conversion(ppm, ppm);
            let delivered = c.deliverable(u128::from(stored));
            prop_assert!(c.leaving(delivered) <= u128::from(stored));
        }
    }
}
