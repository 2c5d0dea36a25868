//! The quantities themselves: newtypes over unsigned integers, with the few operations that are exact.

use serde::{Deserialize, Serialize};

/// One million: the whole of a [`Ppm`].
const MILLION: u64 = 1_000_000;

/// µJ in a Wh: 3,600 J × 10⁶.
const MICROJOULES_PER_WATT_HOUR: u64 = 3_600_000_000;

/// µJ in a kWh; also the product units (µJ × mg/kWh) in a milligram of CO2e.
const MICROJOULES_PER_KILOWATT_HOUR: u128 = 3_600_000_000_000;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest figure the type holds; where a limit is meant, it means "no limit".
            pub const MAX: Self = Self(<$inner>::MAX);

            /// The quantity of that many base units.
            #[must_use]
            pub const fn new(base_units: $inner) -> Self {
                Self(base_units)
            }

            /// The figure in base units.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Whether there is nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// What is left after taking `other`, or nothing where `other` is more.
            #[must_use]
            pub const fn less(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// The sum, held at [`Self::MAX`]: for limits, never for accounts.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The sum, or `None` where the type cannot hold it.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl core::ops::Add for $name {
            type Output = Self;
            /// # Panics
            /// Where the sum does not fit: a bug, since what comes in is bounded at the door.
            fn add(self, other: Self) -> Self {
                Self(self.0.checked_add(other.0).expect("sums are bounded where readings come in"))
            }
        }

        impl core::ops::Sub for $name {
            type Output = Self;
            /// # Panics
            /// Where more is taken than there is: a bug in whoever takes.
            fn sub(self, other: Self) -> Self {
                Self(self.0.checked_sub(other.0).expect("nothing is taken that is not there"))
            }
        }

        impl core::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl core::ops::SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl core::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::ZERO, |sum, part| sum + part)
            }
        }

        impl From<$name> for $inner {
            fn from(quantity: $name) -> $inner {
                quantity.0
            }
        }
    };
}

quantity! {
    /// Power in mW: a rate. A u64 holds 18 PW.
    Power(u64)
}
quantity! {
    /// Energy in µJ: counted, in one account or one tick. A u64 holds 5.1 GWh.
    Energy(u64)
}
quantity! {
    /// A total of energies in µJ, over apps or over time, where a u64 could run over.
    EnergySum(u128)
}
quantity! {
    /// Time in ms: a span, an age, or (where the name says so) a point since an epoch.
    Millis(u64)
}
quantity! {
    /// Carbon intensity of grid energy in mg CO2e per kWh; 400 g/kWh is 400,000.
    CarbonIntensity(u64)
}
quantity! {
    /// Carbon as the undivided product µJ × mg/kWh, so that sums stay exact; 3.6 × 10¹² of them are 1 mg.
    Carbon(u128)
}
quantity! {
    /// Carbon in mg CO2e, for limits that people set and figures that leave over the wire.
    CarbonMass(u64)
}
quantity! {
    /// Carbon per time in mg CO2e per hour, for limits that people set.
    CarbonRate(u64)
}

impl Power {
    /// That many watts.
    ///
    /// # Panics
    /// Beyond 1.8 × 10¹⁶ W.
    #[must_use]
    pub const fn from_watts(watts: u64) -> Self {
        Self(watts * 1_000)
    }

    /// Energy at this power for `span`: exact, held at [`Energy::MAX`] (an unlimited power stays unlimited).
    #[must_use]
    pub const fn over(self, span: Millis) -> Energy {
        Energy(self.0.saturating_mul(span.0))
    }
}

impl Energy {
    /// That many joules.
    ///
    /// # Panics
    /// Beyond 1.8 × 10¹³ J.
    #[must_use]
    pub const fn from_joules(joules: u64) -> Self {
        Self(joules * MILLION)
    }

    /// That many watt hours.
    ///
    /// # Panics
    /// Beyond 5.1 × 10⁹ Wh.
    #[must_use]
    pub const fn from_watt_hours(watt_hours: u64) -> Self {
        Self(watt_hours * MICROJOULES_PER_WATT_HOUR)
    }

    /// Mean power over `span`, rounded down; nothing over no time.
    #[must_use]
    pub const fn mean_power(self, span: Millis) -> Power {
        match self.0.checked_div(span.0) {
            Some(power) => Power(power),
            None => Power(0),
        }
    }

    /// The same energy as a total.
    #[must_use]
    #[inline]
    pub fn wide(self) -> EnergySum {
        EnergySum(u128::from(self.0))
    }

    /// Carbon of this energy at `intensity`, exact: 2⁶⁴ × 2⁶⁴ fits.
    #[must_use]
    #[inline]
    pub fn carbon(self, intensity: CarbonIntensity) -> Carbon {
        Carbon(u128::from(self.0) * u128::from(intensity.0))
    }
}

impl EnergySum {
    /// As an account, or `None` beyond 5.1 GWh.
    #[must_use]
    #[inline]
    pub fn narrow(self) -> Option<Energy> {
        u64::try_from(self.0).ok().map(Energy)
    }

    /// As an account, held at [`Energy::MAX`]: for limits, never for accounts.
    #[must_use]
    pub fn narrow_saturating(self) -> Energy {
        self.narrow().unwrap_or(Energy::MAX)
    }

    /// Carbon of this energy at `intensity`; held at [`Carbon::MAX`] beyond 10¹³ times a power station's year.
    #[must_use]
    #[inline]
    pub fn carbon(self, intensity: CarbonIntensity) -> Carbon {
        match self.narrow() {
            Some(energy) => energy.carbon(intensity),
            None => Carbon(self.0.saturating_mul(u128::from(intensity.0))),
        }
    }
}

impl core::ops::Add<Energy> for EnergySum {
    type Output = Self;
    fn add(self, part: Energy) -> Self {
        self + part.wide()
    }
}

impl core::ops::AddAssign<Energy> for EnergySum {
    fn add_assign(&mut self, part: Energy) {
        *self += part.wide();
    }
}

impl core::iter::Sum<Energy> for EnergySum {
    fn sum<I: Iterator<Item = Energy>>(parts: I) -> Self {
        parts.fold(Self::ZERO, |sum, part| sum + part.wide())
    }
}

impl Millis {
    /// That many seconds.
    ///
    /// # Panics
    /// Beyond 1.8 × 10¹⁶ s.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }
}

impl CarbonIntensity {
    /// Whole grams per kWh.
    ///
    /// # Panics
    /// Beyond 1.8 × 10¹⁶ g/kWh.
    #[must_use]
    pub const fn from_grams_per_kwh(grams: u64) -> Self {
        Self(grams * 1_000)
    }
}

impl Carbon {
    /// In mg, rounded down: the one division, made where a figure leaves.
    #[must_use]
    pub fn to_milligrams(self) -> CarbonMass {
        CarbonMass(u64::try_from(self.0 / MICROJOULES_PER_KILOWATT_HOUR).unwrap_or(u64::MAX))
    }
}

impl CarbonMass {
    /// As the undivided product, exact.
    #[must_use]
    pub fn product(self) -> Carbon {
        Carbon(u128::from(self.0) * MICROJOULES_PER_KILOWATT_HOUR)
    }
}

impl CarbonRate {
    /// The most grid power at `intensity` that stays within this rate, rounded down; no bound ([`Power::MAX`]) at
    /// intensity zero. mg/h ÷ mg/kWh is kW, and a kW is 10⁶ mW.
    #[must_use]
    pub fn power_within(self, intensity: CarbonIntensity) -> Power {
        match (u128::from(self.0) * u128::from(MILLION)).checked_div(u128::from(intensity.0)) {
            Some(power) => Power(u64::try_from(power).unwrap_or(u64::MAX)),
            None => Power::MAX,
        }
    }
}

/// Parts per million, 0..=1,000,000: an efficiency or a fraction of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ppm(u32);

impl Ppm {
    /// The whole.
    pub const WHOLE: Self = Self(1_000_000);

    /// That many parts of a million, or `None` beyond the whole.
    #[must_use]
    pub const fn new(parts: u32) -> Option<Self> {
        if parts <= 1_000_000 { Some(Self(parts)) } else { None }
    }

    /// The parts.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Ppm {
    type Error = &'static str;
    fn try_from(parts: u32) -> Result<Self, Self::Error> {
        Self::new(parts).ok_or("parts per million reach from 0 to 1000000")
    }
}

impl From<Ppm> for u32 {
    fn from(ppm: Ppm) -> u32 {
        ppm.0
    }
}

/// Shows an energy in Wh instead of J: `WattHours(energy)`.
#[derive(Clone, Copy, Debug)]
pub struct WattHours(pub EnergySum);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_milliwatt_for_a_millisecond_is_a_microjoule() {
        assert_eq!(Power::new(1).over(Millis::new(1)), Energy::new(1));
    }

    #[test]
    fn an_unlimited_power_stays_unlimited() {
        assert_eq!(Power::MAX.over(Millis::new(2)), Energy::MAX);
    }

    #[test]
    fn a_kilowatt_hour_at_400_grams_is_400_grams() {
        let carbon = Energy::from_watt_hours(1_000).carbon(CarbonIntensity::from_grams_per_kwh(400));
        assert_eq!(carbon.to_milligrams(), CarbonMass::new(400_000));
        assert_eq!(CarbonMass::new(400_000).product(), carbon);
    }

    #[test]
    fn a_carbon_rate_bounds_power_downwards() {
        // 40 g/h at 400 g/kWh are 100 W.
        let rate = CarbonRate::new(40_000);
        assert_eq!(rate.power_within(CarbonIntensity::from_grams_per_kwh(400)), Power::from_watts(100));
        assert_eq!(CarbonRate::new(1).power_within(CarbonIntensity::new(3)), Power::new(333_333));
        assert_eq!(rate.power_within(CarbonIntensity::ZERO), Power::MAX);
    }

    #[test]
    fn no_time_has_no_mean_power() {
        assert_eq!(Energy::new(5).mean_power(Millis::ZERO), Power::ZERO);
        assert_eq!(Energy::new(5).mean_power(Millis::new(2)), Power::new(2));
    }

    #[test]
    fn more_than_the_whole_is_no_fraction() {
        assert_eq!(Ppm::new(1_000_000), Some(Ppm::WHOLE));
        assert_eq!(Ppm::new(1_000_001), None);
    }
}
