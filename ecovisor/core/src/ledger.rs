//! The flows of a tick, the balances they move, and the invariants that both obey.
//!
//! Every flow is energy moved in one tick from a named place to a named place, never negative.

mod checker;
mod totals;

use crate::split::split;
use ecovisor_units::{Carbon, Energy, EnergySum};
use serde::{Deserialize, Serialize};

pub use checker::{Broken, Entry, SiteEntry, check};
pub(crate) use checker::{Rates, check_app, check_claim, check_house, check_totals};
pub(crate) use totals::Totals;

/// What an app has between ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its claim on the battery, inside.
    pub stored: Energy,
    /// What it owes, inside, to all lenders together.
    pub debt: EnergySum,
    /// What it is owed, inside, by all debtors together.
    pub loan: EnergySum,
    /// Its part of the solar buffer: the solar it spends in the coming tick.
    pub buffered: Energy,
    /// For information: the carbon that the content of its battery has cost.
    pub carbon_content: Carbon,
}

impl Account {
    /// Takes out of the carbon content the part that goes with `leaving` of what is stored, rounded down; all of it with
    /// all of the energy.
    pub(crate) fn shed_carbon(&mut self, leaving: EnergySum) -> Carbon {
        let stored = self.stored.wide();
        let (content, leaving) = (self.carbon_content.get(), leaving.min(stored).get());
        if content == 0 || leaving == 0 {
            return Carbon::ZERO;
        }
        // Nothing stored has nothing to shed.
        let part =
            crate::split::mul_div_floor(content, leaving, stored.get()).map_or(Carbon::ZERO, Carbon::new);
        self.carbon_content -= part;
        part
    }
}

macro_rules! flows {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$doc])* pub $field: $ty,)* }

        impl $name {
            /// Every field's name, in order; a ledger's columns.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// Every field's name and figure in base units, in order.
            pub fn figures(&self) -> impl Iterator<Item = (&'static str, u128)> {
                [$((stringify!($field), u128::from(self.$field.get()))),*].into_iter()
            }

            /// Sets a field by name, for whoever reads a ledger back; `None` where there is no such field or the
            /// figure does not fit.
            pub fn set(&mut self, field: &str, figure: u128) -> Option<()> {
                match field {
                    $(stringify!($field) => self.$field = <$ty>::new(figure.try_into().ok()?),)*
                    _ => return None,
                }
                Some(())
            }
        }
    };
}

flows! {
    /// One app's flows in one tick, in µJ at the terminals unless said otherwise.
    Flows {
        /// What its containers used.
        load: Energy,
        /// Its part of the site's solar.
        solar_in: Energy,
        /// Of its solar, to its load.
        solar_to_load: Energy,
        /// Of its solar, to repay.
        solar_to_lenders: Energy,
        /// Of its solar, into its battery.
        solar_to_battery: Energy,
        /// Of its solar, into the spill pool.
        spilled: Energy,
        /// Of its spill, to other apps.
        given: Energy,
        /// Of its spill, to the grid.
        exported: Energy,
        /// Of its spill, never made.
        curtailed: Energy,
        /// Of its spill, left in the solar buffer.
        kept: Energy,
        /// Of its spill, to overdrafts.
        spill_to_overdraft: Energy,
        /// From the spill pool.
        received: Energy,
        /// Of what it received, to its load.
        received_to_load: Energy,
        /// Of what it received, to repay.
        received_to_lenders: Energy,
        /// Of what it received, into its battery.
        received_to_battery: Energy,
        /// From its battery to its load.
        battery_to_load: Energy,
        /// From its battery to its load against its settings, islanded.
        forced_to_load: Energy,
        /// From the grid to its load, within its limit.
        grid_to_load: Energy,
        /// From the grid, to repay.
        grid_to_lenders: Energy,
        /// From the grid into its battery.
        grid_to_battery: Energy,
        /// Its load beyond its entitlement, from the grid.
        overdraft_grid: Energy,
        /// Its load beyond its entitlement, from solar about to be curtailed.
        overdraft_from_spill: Energy,
        /// Its load beyond its entitlement, from others' batteries.
        overdraft_lent: Energy,
        /// From its battery to others' overdrafts, on credit beyond its claim included (`house` only).
        lent: EnergySum,
        /// Into its battery from debtors.
        repaid_in: Energy,
        /// What charging lost.
        charge_loss: Energy,
        /// What discharging lost.
        discharge_loss: EnergySum,
        /// Taken from its claim, inside, because the meters say it is not there, or because it passed to `house`.
        adjusted_down: Energy,
        /// What it came to owe, inside.
        debt_incurred: EnergySum,
        /// What it no longer owes, inside.
        debt_repaid: EnergySum,
        /// What it came to be owed, inside.
        loan_granted: EnergySum,
        /// What it is no longer owed, inside.
        loan_repaid: EnergySum,
        /// Charged to it: µJ × mg/kWh.
        carbon: Carbon,
        /// Credited to `house`: µJ × mg/kWh; zero for apps.
        carbon_credit: Carbon,
    }
}

flows! {
    /// What a tick posted for the site as a whole, in µJ. Where a quantity has no meter, `over` and `short` are zero.
    SiteFlows {
        /// Solar in the books: production less curtailment.
        solar_booked: EnergySum,
        /// Solar the meter shows beyond that.
        solar_over: EnergySum,
        /// Solar the meter does not show.
        solar_short: EnergySum,
        /// Import in the books, after netting.
        grid_import_booked: EnergySum,
        /// Import the meter shows beyond that; its carbon is `house`'s.
        grid_import_over: EnergySum,
        /// Import the meter does not show; credited to `house`.
        grid_import_short: EnergySum,
        /// Export in the books, after netting.
        grid_export_booked: EnergySum,
        /// Export the meter shows beyond that.
        grid_export_over: EnergySum,
        /// Export the meter does not show.
        grid_export_short: EnergySum,
        /// Into the battery in the books, after netting.
        battery_in_booked: EnergySum,
        /// Into the battery by the meter beyond that.
        battery_in_over: EnergySum,
        /// Into the battery in the books, not by the meter.
        battery_in_short: EnergySum,
        /// Out of the battery in the books, after netting.
        battery_out_booked: EnergySum,
        /// Out of the battery by the meter beyond that.
        battery_out_over: EnergySum,
        /// Out of the battery in the books, not by the meter.
        battery_out_short: EnergySum,
        /// All load in the books.
        load_booked: EnergySum,
        /// Load the meter shows beyond all containers; part of `house`'s load.
        unmetered_load: EnergySum,
        /// Load in the books that the meter does not show.
        overbooked_load: EnergySum,
        /// Import and export that met inside the site.
        grid_netting: EnergySum,
        /// Conversion that netting avoided; credited to `house`, inside.
        netting_gain: EnergySum,
        /// What carrying the solar buffer cost; charged to `house`, inside.
        conversion_loss: EnergySum,
        /// The level is above the books; credited to `house`.
        drift_up: EnergySum,
        /// The level is below the books; charged to `house`.
        drift_down: EnergySum,
        /// What adjustments and passed claims gave to `house`.
        freed: EnergySum,
        /// Taken from the solar buffer by an adjustment.
        buffer_adjusted: EnergySum,
        /// The buffer after the tick.
        buffer: EnergySum,
        /// What `house` lacks after the tick.
        deficit: EnergySum,
        /// All claims and the buffer less the deficit after the tick; zero where the deficit is more.
        level_booked: EnergySum,
    }
}

impl Flows {
    /// All that came in at its battery's terminals.
    #[must_use]
    #[inline]
    pub fn battery_in(&self) -> EnergySum {
        [self.solar_to_battery, self.received_to_battery, self.grid_to_battery, self.repaid_in]
            .into_iter()
            .sum()
    }

    /// All that went out at its battery's terminals.
    #[must_use]
    #[inline]
    pub fn battery_out(&self) -> EnergySum {
        self.lent + self.battery_to_load + self.forced_to_load
    }

    /// All that it drew from the grid.
    #[must_use]
    #[inline]
    pub fn grid_drawn(&self) -> EnergySum {
        [self.grid_to_load, self.grid_to_lenders, self.grid_to_battery, self.overdraft_grid].into_iter().sum()
    }

    /// All of its load beyond its entitlement.
    #[must_use]
    #[inline]
    pub fn overdraft(&self) -> EnergySum {
        [self.overdraft_grid, self.overdraft_from_spill, self.overdraft_lent].into_iter().sum()
    }
}

/// Divides energies by weights for tables of flows; see [`split`].
///
/// # Panics
/// Where a part does not fit an account: `whole` is at most the sum of the weights, which do.
pub(crate) fn parts(whole: EnergySum, weights: &[Energy]) -> alloc::vec::Vec<Energy> {
    let narrow = |part: u128| Energy::new(u64::try_from(part).expect("a part is at most its weight"));
    split(whole.get(), weights.iter().map(|w| u128::from(w.get()))).map(narrow).collect()
}
