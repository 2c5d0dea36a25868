//! What an app (or a group of apps) is entitled to, and sums of what several are.
//!
//! Solar weights share what there is; battery capacity, battery power and grid limits are reservations. How shares nest
//! is the [tree](crate::tree)'s.

use ecovisor_units::{Energy, EnergySum, Power};
use serde::{Deserialize, Serialize};

/// What an app (or a group) is entitled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Weight among its siblings when solar is divided; zero receives none.
    pub solar_weight: u32,
    /// Its part of the site's battery; all zero means no battery.
    pub battery: BatteryShare,
    /// The most it may draw from the grid; zero means none.
    pub grid_limit: Power,
}

/// A reserved part of the site's battery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatteryShare {
    /// Energy inside when full.
    pub capacity: Energy,
    /// Energy inside that no flow takes; at most the capacity.
    pub floor: Energy,
    /// Most power in, at the terminals.
    pub charge_limit: Power,
    /// Most power out, at the terminals.
    pub discharge_limit: Power,
}

impl Share {
    /// The sum of two shares' reservations, held at the largest figure; for admission.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            solar_weight: self.solar_weight.saturating_add(other.solar_weight),
            battery: BatteryShare {
                capacity: self.battery.capacity.saturating_add(other.battery.capacity),
                floor: self.battery.floor.saturating_add(other.battery.floor),
                charge_limit: self.battery.charge_limit.saturating_add(other.battery.charge_limit),
                discharge_limit: self.battery.discharge_limit.saturating_add(other.battery.discharge_limit),
            },
            grid_limit: self.grid_limit.saturating_add(other.grid_limit),
        }
    }

    /// What is left of these reservations after `taken`; nothing where more is taken than there is. The weight stays.
    #[must_use]
    pub fn left_after(self, taken: Self) -> Self {
        Self {
            solar_weight: self.solar_weight,
            battery: BatteryShare {
                capacity: self.battery.capacity.less(taken.battery.capacity),
                floor: Energy::ZERO,
                charge_limit: self.battery.charge_limit.less(taken.battery.charge_limit),
                discharge_limit: self.battery.discharge_limit.less(taken.battery.discharge_limit),
            },
            grid_limit: self.grid_limit.less(taken.grid_limit),
        }
    }
}

/// What several shares reserve together, exactly: a share that goes takes out what it put in. Floors lie within
/// capacities and weights share what there is, so neither is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// How many shares these are.
    pub shares: u32,
    capacity: EnergySum,
    charge_mw: u128,
    discharge_mw: u128,
    grid_mw: u128,
}

impl Reserved {
    /// With `share` besides.
    pub fn add(&mut self, share: &Share) {
        self.shares += 1;
        self.capacity += share.battery.capacity;
        self.charge_mw += u128::from(share.battery.charge_limit.get());
        self.discharge_mw += u128::from(share.battery.discharge_limit.get());
        self.grid_mw += u128::from(share.grid_limit.get());
    }

    /// Without `share`, which was added before.
    pub fn take_out(&mut self, share: &Share) {
        self.shares -= 1;
        self.capacity -= share.battery.capacity.wide();
        self.charge_mw -= u128::from(share.battery.charge_limit.get());
        self.discharge_mw -= u128::from(share.battery.discharge_limit.get());
        self.grid_mw -= u128::from(share.grid_limit.get());
    }

    /// As one share, held at the largest figures; weight and floor are zero.
    #[must_use]
    pub fn as_share(&self) -> Share {
        let power = |sum: u128| u64::try_from(sum).map_or(Power::MAX, Power::new);
        Share {
            solar_weight: 0,
            battery: BatteryShare {
                capacity: self.capacity.narrow_saturating(),
                floor: Energy::ZERO,
                charge_limit: power(self.charge_mw),
                discharge_limit: power(self.discharge_mw),
            },
            grid_limit: power(self.grid_mw),
        }
    }
}
