//! An app's share and conditions as flags.

use crate::failure::Failure;
use crate::show;
use clap::{Args, ValueEnum};
use ecovisor_sdk::operator::wire;
use ecovisor_units::{CarbonMass, CarbonRate, Energy, Millis, Power, Ppm};

/// What an app is entitled to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Share")]
pub struct ShareFlags {
    /// Part of the site's solar, relative to the other apps' weights.
    #[arg(long, value_name = "N")]
    pub solar_weight: Option<u64>,
    /// Capacity of the virtual battery.
    #[arg(long, value_name = "ENERGY")]
    pub battery: Option<Energy>,
    /// Level that no flow goes below, as an energy or as a part of the capacity (`30%`).
    #[arg(long, value_name = "ENERGY|%")]
    pub floor: Option<Floor>,
    /// Most that the battery takes.
    #[arg(long, value_name = "POWER")]
    pub charge_limit: Option<Power>,
    /// Most that the battery gives.
    #[arg(long, value_name = "POWER")]
    pub discharge_limit: Option<Power>,
    /// Most that the app draws from the grid.
    #[arg(long, value_name = "POWER")]
    pub grid_limit: Option<Power>,
}

/// A floor: an energy, or a part of the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// That energy.
    Energy(Energy),
    /// That part of the capacity.
    Part(Ppm),
}

impl std::str::FromStr for Floor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = text.parse().map(Self::Part);
        part.or_else(|_| text.parse().map(Self::Energy)).map_err(|_: ecovisor_units::InvalidQuantity| {
            format!("`{text}` is neither an energy, such as `90 Wh`, nor a part, such as `30%`")
        })
    }
}

impl Floor {
    /// Of a battery with that capacity; parts round up, since a floor is a promise.
    fn of(self, capacity_uj: u64) -> u64 {
        match self {
            Self::Energy(energy) => energy.get(),
            Self::Part(part) => {
                let floor = (u128::from(capacity_uj) * u128::from(part.get())).div_ceil(1_000_000);
                u64::try_from(floor).unwrap_or(capacity_uj)
            }
        }
    }
}

impl ShareFlags {
    /// The share `before`, with what the flags say instead.
    pub fn over(&self, before: wire::AppShare) -> wire::AppShare {
        let mut share = before;
        let power = |flag: Option<Power>, before: u64| flag.map_or(before, Power::get);
        share.solar_weight = self.solar_weight.unwrap_or(share.solar_weight);
        share.battery_capacity_uj = self.battery.map_or(share.battery_capacity_uj, Energy::get);
        share.battery_floor_uj =
            self.floor.map_or(share.battery_floor_uj, |floor| floor.of(share.battery_capacity_uj));
        share.battery_charge_limit_mw = power(self.charge_limit, share.battery_charge_limit_mw);
        share.battery_discharge_limit_mw = power(self.discharge_limit, share.battery_discharge_limit_mw);
        share.grid_limit_mw = power(self.grid_limit, share.grid_limit_mw);
        share
    }

    /// Whether nothing is said.
    pub const fn is_empty(&self) -> bool {
        let Self { solar_weight, battery, floor, charge_limit, discharge_limit, grid_limit } = self;
        solar_weight.is_none()
            && battery.is_none()
            && floor.is_none()
            && charge_limit.is_none()
            && discharge_limit.is_none()
            && grid_limit.is_none()
    }
}

/// A share that cannot be meant is refused here, where the flag can be named.
///
/// # Errors
/// Which flag is missing, or too large.
pub fn check(share: &wire::AppShare) -> Result<(), Failure> {
    let has_battery = share.battery_capacity_uj > 0;
    if has_battery && share.battery_charge_limit_mw == 0 && share.battery_discharge_limit_mw == 0 {
        return Err(Failure::usage(format!(
            "a battery of {} that neither takes nor gives is of no use",
            show::energy(share.battery_capacity_uj)
        ))
        .hint("say --charge-limit and --discharge-limit, such as 40W and 100W"));
    }
    if share.battery_floor_uj > share.battery_capacity_uj {
        return Err(Failure::usage(format!(
            "--floor {} is above the capacity of {}",
            show::energy(share.battery_floor_uj),
            show::energy(share.battery_capacity_uj)
        ))
        .hint("a floor is at most the capacity, such as 30%"));
    }
    Ok(())
}

/// What happens at zero supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shortfall {
    /// Its containers are throttled to the smallest quota.
    Throttle,
    /// Its containers are frozen.
    Freeze,
    /// Its overdraft is only booked; for apps whose owner is trusted.
    Notify,
}

impl Shortfall {
    /// On the wire.
    pub const fn wire(self) -> wire::Shortfall {
        match self {
            Self::Throttle => wire::Shortfall::Throttle,
            Self::Freeze => wire::Shortfall::Freeze,
            Self::Notify => wire::Shortfall::Notify,
        }
    }
}

/// What a spent carbon budget does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BudgetAction {
    /// It only tells.
    Notify,
    /// It keeps grid power from the app until the window ends.
    BlockGrid,
}

impl BudgetAction {
    /// On the wire.
    pub const fn wire(self) -> wire::BudgetAction {
        match self {
            Self::Notify => wire::BudgetAction::Notify,
            Self::BlockGrid => wire::BudgetAction::BlockGrid,
        }
    }
}

/// What an app owns and what holds without leases.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Conditions")]
pub struct Conditions {
    /// What happens at zero supply [default: the site's].
    #[arg(long)]
    pub shortfall: Option<Shortfall>,
    /// The user who owns the app and its socket [default: the daemon's own].
    #[arg(long, value_name = "UID")]
    pub owner_uid: Option<u32>,
    /// Cgroup under which the app may attach cgroups, such as /sys/fs/cgroup/web [default: it may attach none].
    #[arg(long, value_name = "PATH")]
    pub cgroup_subtree: Option<String>,
    /// Index of a GPU that the app may attach; may be repeated.
    #[arg(long, value_name = "INDEX")]
    pub gpu: Vec<u32>,
    /// Index of a TPU that the app may attach; may be repeated.
    #[arg(long, value_name = "INDEX")]
    pub tpu: Vec<u32>,
    /// Battery charge rate without a lease [default: the grid does not charge].
    #[arg(long, value_name = "POWER")]
    pub default_charge_rate: Option<Power>,
    /// Most discharge without a lease [default: the discharge limit].
    #[arg(long, value_name = "POWER")]
    pub default_max_discharge: Option<Power>,
    /// Carbon per hour without a lease [default: no bound].
    #[arg(long, value_name = "RATE")]
    pub default_carbon_rate: Option<CarbonRate>,
    /// Carbon per window without a lease [default: no budget].
    #[arg(long, value_name = "MASS", requires = "default_carbon_window")]
    pub default_carbon_budget: Option<CarbonMass>,
    /// Length of the budget's window.
    #[arg(long, value_name = "TIME", requires = "default_carbon_budget")]
    pub default_carbon_window: Option<Millis>,
    /// What the spent budget does.
    #[arg(long, default_value = "notify")]
    pub default_carbon_action: BudgetAction,
}

impl Conditions {
    /// All that is said of an app with that share.
    pub fn spec(self, share: wire::AppShare) -> wire::AppSpec {
        let action = match self.default_carbon_budget {
            Some(_) => self.default_carbon_action.wire(),
            None => wire::BudgetAction::Unspecified,
        };
        let defaults = wire::DefaultSettings {
            battery_charge_rate_mw: self.default_charge_rate.map(Power::get),
            battery_max_discharge_mw: self.default_max_discharge.map(Power::get),
            carbon_rate_mg_per_h: self.default_carbon_rate.map(CarbonRate::get),
            carbon_budget_mg: self.default_carbon_budget.map(CarbonMass::get),
            carbon_window_ms: self.default_carbon_window.map_or(0, Millis::get),
            carbon_budget_action: action.into(),
        };
        wire::AppSpec {
            share: Some(share),
            defaults: Some(defaults),
            shortfall: self.shortfall.map_or(wire::Shortfall::Unspecified, Shortfall::wire).into(),
            owner_uid: self.owner_uid,
            cgroup_subtree: self.cgroup_subtree,
            gpu_indices: self.gpu,
            tpu_indices: self.tpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_an_energy_or_a_part_of_the_capacity() {
        assert_eq!("30%".parse::<Floor>().unwrap().of(10), 3);
        assert_eq!("30 %".parse::<Floor>().unwrap().of(1), 1, "rounded up");
        assert_eq!("90 Wh".parse::<Floor>().unwrap().of(0), Energy::from_watt_hours(90).get());
        assert!("90".parse::<Floor>().unwrap_err().contains("`90`"));
    }

    #[test]
    fn flags_change_only_what_they_name() {
        let before =
            wire::AppShare { solar_weight: 2, battery_capacity_uj: 100, ..wire::AppShare::default() };
        let flags = ShareFlags { grid_limit: Some(Power::from_watts(5)), ..ShareFlags::default() };
        let after = flags.over(before);
        assert_eq!(after, wire::AppShare { grid_limit_mw: 5_000, ..before });
        assert!(ShareFlags::default().is_empty() && !flags.is_empty());
    }

    #[test]
    fn a_share_that_cannot_be_meant_is_refused() {
        let battery = wire::AppShare { battery_capacity_uj: 100, ..wire::AppShare::default() };
        assert!(check(&battery).unwrap_err().hint.contains("--charge-limit"));
        let usable = wire::AppShare { battery_charge_limit_mw: 1, ..battery };
        assert_eq!(check(&usable), Ok(()));
        assert!(check(&wire::AppShare { battery_floor_uj: 101, ..usable }).is_err());
    }
}
