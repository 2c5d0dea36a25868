//! An emulated battery: what goes in and out counts at the terminals, what is stored counts inside, and between them
//! lie the losses, rounded as the books round theirs: stored grows by floor(in × charge) and shrinks by
//! ceil(out ÷ discharge), once per advance and on its sums. It does not discharge by itself.

use super::lease::Leased;
use ecovisor_units::{Energy, Millis, Power, Ppm};

/// One million: the whole of a [`Ppm`].
const MILLION: u128 = 1_000_000;

/// What a battery can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatteryConfig {
    /// What it holds when full, µJ.
    pub capacity: Energy,
    /// What it never gives, µJ; at most the capacity. Zero: all may be drawn.
    pub floor: Energy,
    /// What it holds at the start, µJ; at most the capacity.
    pub level: Energy,
    /// Most that goes in, at the terminals, mW.
    pub charge_max: Power,
    /// Most that comes out, at the terminals, mW.
    pub discharge_max: Power,
    /// Stored over what went in, parts per million, at least 1.
    pub charge_efficiency: Ppm,
    /// What comes out over what leaves the store, parts per million, at least 1.
    pub discharge_efficiency: Ppm,
}

/// Why figures describe no battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBattery {
    /// The floor lies above the capacity.
    #[error("a floor of {floor} is above the capacity of {capacity}")]
    FloorAboveCapacity {
        /// The floor.
        floor: Energy,
        /// The capacity.
        capacity: Energy,
    },
    /// It holds more than it can.
    #[error("a level of {level} is above the capacity of {capacity}")]
    LevelAboveCapacity {
        /// The level.
        level: Energy,
        /// The capacity.
        capacity: Energy,
    },
    /// An efficiency of nothing: no energy would ever come out.
    #[error("an efficiency of 0 ppm is no battery")]
    NoEfficiency,
}

/// What the battery is told to do, until the lease ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatterySetPoint {
    /// Neither charge nor discharge: also what a battery falls back to.
    #[default]
    Idle,
    /// Take that much at the terminals, as far as there is room.
    Charge(Power),
    /// Give that much at the terminals, as far as something is stored above the floor.
    Discharge(Power),
}

/// The battery and what it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Battery {
    config: BatteryConfig,
    /// Stored when the current advance began.
    opened: Energy,
    /// In and out at the terminals since then.
    taken: Energy,
    given: Energy,
    order: Leased<BatterySetPoint>,
}

impl Battery {
    /// A battery of that kind, idle.
    ///
    /// # Errors
    /// [`InvalidBattery`] where the figures contradict each other.
    pub fn new(config: BatteryConfig) -> Result<Self, InvalidBattery> {
        let BatteryConfig { capacity, floor, level, .. } = config;
        if floor > capacity {
            return Err(InvalidBattery::FloorAboveCapacity { floor, capacity });
        }
        if level > capacity {
            return Err(InvalidBattery::LevelAboveCapacity { level, capacity });
        }
        if config.charge_efficiency.get() == 0 || config.discharge_efficiency.get() == 0 {
            return Err(InvalidBattery::NoEfficiency);
        }
        let idle = Leased::new(BatterySetPoint::Idle);
        Ok(Self { config, opened: level, taken: Energy::ZERO, given: Energy::ZERO, order: idle })
    }

    /// Does as told for `lease` of the site's time, then idles. Telling again replaces both.
    pub fn order(&mut self, set_point: BatterySetPoint, lease: Millis) {
        self.order.set(set_point, lease);
    }

    /// What it is doing now.
    #[must_use]
    pub fn set_point(&self) -> BatterySetPoint {
        self.order.now()
    }

    /// Stored inside, µJ, from zero to the capacity.
    #[must_use]
    pub fn level(&self) -> Energy {
        Energy::new(u64::try_from(self.filled() - self.drawn()).unwrap_or(u64::MAX))
    }

    /// What it can do.
    #[must_use]
    pub const fn config(&self) -> &BatteryConfig {
        &self.config
    }

    /// Takes up to `offered` within `span`; returns what it took, at the terminals.
    pub(super) fn charge(&mut self, offered: Energy, span: Millis) -> Energy {
        let taken = offered.min(self.config.charge_max.over(span)).min(self.room());
        self.taken += taken;
        taken
    }

    /// Gives up to `asked` within `span`; returns what it gave, at the terminals.
    pub(super) fn discharge(&mut self, asked: Energy, span: Millis) -> Energy {
        let given = asked.min(self.config.discharge_max.over(span)).min(self.deliverable());
        self.given += given;
        given
    }

    /// Ends an advance: the sums become the level.
    pub(super) fn close(&mut self) {
        self.opened = self.level();
        self.taken = Energy::ZERO;
        self.given = Energy::ZERO;
    }

    /// Time until the set-point changes by itself.
    pub(super) fn order_left(&self) -> Millis {
        self.order.left()
    }

    pub(super) fn pass(&mut self, span: Millis) {
        self.order.pass(span);
    }

    /// Most that still goes in: the sum that fills the battery exactly is ceil(space ÷ charge).
    fn room(&self) -> Energy {
        let space = u128::from(self.config.capacity.get()) + self.drawn() - u128::from(self.opened.get());
        let most = (space * MILLION).div_ceil(u128::from(self.config.charge_efficiency.get()));
        Energy::new(u64::try_from(most).unwrap_or(u64::MAX)).less(self.taken)
    }

    /// Most that still comes out: the sum that empties it to the floor is floor(stored above it × discharge).
    fn deliverable(&self) -> Energy {
        let above = self.filled().saturating_sub(u128::from(self.config.floor.get()));
        let most = above * u128::from(self.config.discharge_efficiency.get()) / MILLION;
        Energy::new(u64::try_from(most).unwrap_or(u64::MAX)).less(self.given)
    }

    /// Stored at the opening and since, before what was drawn.
    fn filled(&self) -> u128 {
        let charge = u128::from(self.config.charge_efficiency.get());
        u128::from(self.opened.get()) + u128::from(self.taken.get()) * charge / MILLION
    }

    /// Drawn from the store since the opening, loss included.
    fn drawn(&self) -> u128 {
        let discharge = u128::from(self.config.discharge_efficiency.get());
        (u128::from(self.given.get()) * MILLION).div_ceil(discharge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Millis = Millis::from_secs(1);

    fn battery(level: u64, charge_ppm: u32, discharge_ppm: u32) -> Battery {
        Battery::new(BatteryConfig {
            capacity: Energy::new(1_000),
            floor: Energy::new(300),
            level: Energy::new(level),
            charge_max: Power::from_watts(1),
            discharge_max: Power::from_watts(1),
            charge_efficiency: Ppm::new(charge_ppm).unwrap(),
            discharge_efficiency: Ppm::new(discharge_ppm).unwrap(),
        })
        .unwrap()
    }

    #[test]
    fn charging_stores_less_than_goes_in_rounded_down() {
        let mut battery = battery(500, 900_000, 1_000_000);
        assert_eq!(battery.charge(Energy::new(11), SECOND), Energy::new(11));
        assert_eq!(battery.level(), Energy::new(509));
    }

    #[test]
    fn discharging_draws_more_than_comes_out_rounded_up() {
        let mut battery = battery(500, 1_000_000, 900_000);
        assert_eq!(battery.discharge(Energy::new(10), SECOND), Energy::new(10));
        assert_eq!(battery.level(), Energy::new(488));
    }

    #[test]
    fn it_fills_exactly_and_empties_to_its_floor() {
        let mut full = battery(999, 300_000, 1_000_000);
        assert_eq!(full.charge(Energy::MAX, SECOND), Energy::new(4));
        assert_eq!(full.level(), Energy::new(1_000));
        let mut empty = battery(311, 1_000_000, 900_000);
        assert_eq!(empty.discharge(Energy::MAX, SECOND), Energy::new(9));
        assert_eq!(empty.level(), Energy::new(301));
        let mut below = battery(299, 1_000_000, 1_000_000);
        assert_eq!(below.discharge(Energy::MAX, SECOND), Energy::ZERO);
    }

    #[test]
    fn power_bounds_what_goes_in_and_out() {
        let mut battery = battery(500, 1_000_000, 1_000_000);
        let tenth = Millis::new(100);
        battery.config.charge_max = Power::new(1);
        battery.config.discharge_max = Power::new(2);
        assert_eq!(battery.charge(Energy::MAX, tenth), Energy::new(100));
        assert_eq!(battery.discharge(Energy::MAX, tenth), Energy::new(200));
    }

    #[test]
    fn figures_that_contradict_each_other_are_no_battery() {
        let good = battery(500, 1, 1).config;
        let floor = BatteryConfig { floor: Energy::new(1_001), ..good };
        assert!(matches!(Battery::new(floor), Err(InvalidBattery::FloorAboveCapacity { .. })));
        let level = BatteryConfig { level: Energy::new(1_001), ..good };
        assert!(matches!(Battery::new(level), Err(InvalidBattery::LevelAboveCapacity { .. })));
        let dead = BatteryConfig { charge_efficiency: Ppm::new(0).unwrap(), ..good };
        assert_eq!(Battery::new(dead), Err(InvalidBattery::NoEfficiency));
    }

    proptest! {
        #[test]
        fn the_level_stays_between_floor_and_capacity(
            level in 300_u64..=1_000, charge_ppm in 1_u32..=1_000_000, discharge_ppm in 1_u32..=1_000_000,
            moves in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u64..2_000), 1..50),
        ) {
            let mut battery = battery(level, charge_ppm, discharge_ppm);
            for (charges, closes, amount) in moves {
                match charges {
                    true => battery.charge(Energy::new(amount), SECOND),
                    false => battery.discharge(Energy::new(amount), SECOND),
                };
                let level = battery.level().get();
                prop_assert!((300..=1_000).contains(&level), "{}", level);
                if closes {
                    battery.close();
                    prop_assert_eq!(battery.level().get(), level);
                }
            }
        }
    }
}
