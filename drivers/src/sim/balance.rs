//! One stretch of a site's physics, in which no power changes: what the panels, the battery and the grid deliver so
//! that nothing is made and nothing is lost.

use super::battery::{Battery, BatterySetPoint};
use super::site::Grid;
use ecovisor_units::{Energy, Millis};

/// What flowed. Solar + grid_import + battery_out = served + grid_export + battery_in, to the µJ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flows {
    pub(super) solar_available: Energy,
    pub(super) solar: Energy,
    pub(super) grid_import: Energy,
    pub(super) grid_export: Energy,
    pub(super) battery_in: Energy,
    pub(super) battery_out: Energy,
    /// Load that was met.
    pub(super) served: Energy,
    /// Load that was not.
    pub(super) unserved: Energy,
}

impl std::ops::AddAssign for Flows {
    fn add_assign(&mut self, other: Self) {
        self.solar_available += other.solar_available;
        self.solar += other.solar;
        self.grid_import += other.grid_import;
        self.grid_export += other.grid_export;
        self.battery_in += other.battery_in;
        self.battery_out += other.battery_out;
        self.served += other.served;
        self.unserved += other.unserved;
    }
}

/// What a stretch starts from.
pub(super) struct Stretch {
    pub(super) span: Millis,
    /// What the panels could deliver.
    pub(super) solar_available: Energy,
    /// The most that the inverter may deliver.
    pub(super) solar_limit: Energy,
    pub(super) load: Energy,
}

/// Moves the energy of one stretch.
pub(super) fn balance(grid: Grid, stretch: &Stretch, battery: Option<&mut Battery>) -> Flows {
    let most = stretch.solar_available.min(stretch.solar_limit);
    let (solar, battery_in, battery_out) = match grid {
        Grid::TwoWay => two_way(stretch, most, battery),
        Grid::ImportOnly => import_only(stretch, most, battery),
        Grid::Absent => islanded(stretch, most, battery),
    };
    let sources = solar + battery_out;
    let unserved = match grid {
        Grid::Absent => stretch.load.less(sources),
        Grid::TwoWay | Grid::ImportOnly => Energy::ZERO,
    };
    let served = stretch.load - unserved;
    let sinks = served + battery_in;
    Flows {
        solar_available: stretch.solar_available,
        solar,
        grid_import: sinks.less(sources),
        grid_export: sources.less(sinks),
        battery_in,
        battery_out,
        served,
        unserved,
    }
}

/// Solar, battery in and battery out.
type Parts = (Energy, Energy, Energy);

/// The grid takes and gives: panels deliver what they can, the battery does as told.
fn two_way(stretch: &Stretch, most: Energy, battery: Option<&mut Battery>) -> Parts {
    let Some(battery) = battery else { return (most, Energy::ZERO, Energy::ZERO) };
    match battery.set_point() {
        BatterySetPoint::Idle => (most, Energy::ZERO, Energy::ZERO),
        BatterySetPoint::Charge(power) => {
            (most, battery.charge(power.over(stretch.span), stretch.span), Energy::ZERO)
        }
        BatterySetPoint::Discharge(power) => {
            (most, Energy::ZERO, battery.discharge(power.over(stretch.span), stretch.span))
        }
    }
}

/// The grid only gives: the battery gives no more than the load still needs, the inverter curtails the rest.
fn import_only(stretch: &Stretch, most: Energy, battery: Option<&mut Battery>) -> Parts {
    let alone = (most.min(stretch.load), Energy::ZERO, Energy::ZERO);
    let Some(battery) = battery else { return alone };
    match battery.set_point() {
        BatterySetPoint::Idle => alone,
        BatterySetPoint::Charge(power) => {
            let taken = battery.charge(power.over(stretch.span), stretch.span);
            (most.min(stretch.load + taken), taken, Energy::ZERO)
        }
        BatterySetPoint::Discharge(power) => {
            let missing = stretch.load.less(most).min(power.over(stretch.span));
            (alone.0, Energy::ZERO, battery.discharge(missing, stretch.span))
        }
    }
}

/// No grid: the battery forms it. It gives what is missing whatever it was told, and takes surplus only as told; the
/// inverter curtails the rest.
fn islanded(stretch: &Stretch, most: Energy, battery: Option<&mut Battery>) -> Parts {
    let direct = most.min(stretch.load);
    let Some(battery) = battery else { return (direct, Energy::ZERO, Energy::ZERO) };
    if direct < stretch.load {
        return (direct, Energy::ZERO, battery.discharge(stretch.load - direct, stretch.span));
    }
    match battery.set_point() {
        BatterySetPoint::Idle | BatterySetPoint::Discharge(_) => (direct, Energy::ZERO, Energy::ZERO),
        BatterySetPoint::Charge(power) => {
            let offered = (most - direct).min(power.over(stretch.span));
            let taken = battery.charge(offered, stretch.span);
            (direct + taken, taken, Energy::ZERO)
        }
    }
}
