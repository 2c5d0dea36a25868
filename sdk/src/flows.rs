//! Flows: what moved for the app in one tick, from a named place to a named place.

use crate::Error;
use ecovisor_proto::v1;
use ecovisor_units::{Carbon, Energy};

/// An app's flows of one tick; zero means that nothing moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Used by the app's containers.
    pub load: Energy,
    /// The app's part of the site's solar.
    pub solar_in: Energy,
    /// Own solar that went into the load.
    pub solar_to_load: Energy,
    /// Own solar that paid the app's open debts.
    pub solar_to_lenders: Energy,
    /// Own solar that went into the app's battery, at its terminals.
    pub solar_to_battery: Energy,
    /// Own solar that neither load nor battery could take.
    pub spilled: Energy,
    /// Spill that other apps received.
    pub given: Energy,
    /// Spill that was fed into the grid.
    pub exported: Energy,
    /// Spill that was not produced.
    pub curtailed: Energy,
    /// Spill that stays in the solar buffer for the next tick.
    pub kept: Energy,
    /// Spill that covered overdrafts.
    pub spill_to_overdraft: Energy,
    /// Spill of others that came in.
    pub received: Energy,
    /// Received energy that went into the load.
    pub received_to_load: Energy,
    /// Received energy that paid the app's open debts.
    pub received_to_lenders: Energy,
    /// Received energy that went into the battery, at its terminals.
    pub received_to_battery: Energy,
    /// Discharged into the load, at the battery's terminals.
    pub battery_to_load: Energy,
    /// Discharged into an overdraft whatever the settings said, at the terminals.
    pub forced_to_load: Energy,
    /// Grid energy that went into the load, within the grid limit.
    pub grid_to_load: Energy,
    /// Grid energy that paid the app's open debts.
    pub grid_to_lenders: Energy,
    /// Grid energy that went into the battery, at its terminals.
    pub grid_to_battery: Energy,
    /// Overdraft covered by grid import beyond the app's limit.
    pub overdraft_grid: Energy,
    /// Overdraft covered by solar that was about to be curtailed.
    pub overdraft_from_spill: Energy,
    /// Overdraft covered by other apps' batteries, at their terminals; it becomes a debt.
    pub overdraft_lent: Energy,
    /// Delivered by this app's battery for overdrafts of others, at its terminals.
    pub lent: Energy,
    /// Came in from debtors, at the battery's terminals.
    pub repaid_in: Energy,
    /// Lost in charging.
    pub charge_loss: Energy,
    /// Lost in discharging.
    pub discharge_loss: Energy,
    /// Taken off the virtual battery because the real one holds less.
    pub adjusted_down: Energy,
    /// Debt that this tick's overdraft made, counted inside the lenders' batteries.
    pub debt_incurred: Energy,
    /// Debt that fell by what arrived inside the lenders' batteries.
    pub debt_repaid: Energy,
    /// Carbon of the tick's grid energy, exact.
    pub carbon: Carbon,
}

impl Flows {
    /// What the app used beyond everything it was entitled to.
    #[must_use]
    pub fn overdraft(&self) -> Energy {
        self.overdraft_grid + self.overdraft_from_spill + self.overdraft_lent
    }

    /// What was drawn from the grid for the app: for its load, its battery, its lenders and its overdraft.
    #[must_use]
    pub fn grid_import(&self) -> Energy {
        self.grid_to_load + self.grid_to_battery + self.grid_to_lenders + self.overdraft_grid
    }

    pub(crate) fn read(wire: v1::Flows) -> Result<Self, Error> {
        let v1::Flows {
            load_uj,
            solar_in_uj,
            solar_to_load_uj,
            solar_to_lenders_uj,
            solar_to_battery_uj,
            spilled_uj,
            given_uj,
            exported_uj,
            curtailed_uj,
            kept_uj,
            spill_to_overdraft_uj,
            received_uj,
            received_to_load_uj,
            received_to_lenders_uj,
            received_to_battery_uj,
            battery_to_load_uj,
            forced_to_load_uj,
            grid_to_load_uj,
            grid_to_lenders_uj,
            grid_to_battery_uj,
            overdraft_grid_uj,
            overdraft_from_spill_uj,
            overdraft_lent_uj,
            lent_uj,
            repaid_in_uj,
            charge_loss_uj,
            discharge_loss_uj,
            adjusted_down_uj,
            debt_incurred_uj,
            debt_repaid_uj,
            carbon_product,
            carbon_mg: _,
        } = wire;
        Ok(Self {
            load: Energy::new(load_uj),
            solar_in: Energy::new(solar_in_uj),
            solar_to_load: Energy::new(solar_to_load_uj),
            solar_to_lenders: Energy::new(solar_to_lenders_uj),
            solar_to_battery: Energy::new(solar_to_battery_uj),
            spilled: Energy::new(spilled_uj),
            given: Energy::new(given_uj),
            exported: Energy::new(exported_uj),
            curtailed: Energy::new(curtailed_uj),
            kept: Energy::new(kept_uj),
            spill_to_overdraft: Energy::new(spill_to_overdraft_uj),
            received: Energy::new(received_uj),
            received_to_load: Energy::new(received_to_load_uj),
            received_to_lenders: Energy::new(received_to_lenders_uj),
            received_to_battery: Energy::new(received_to_battery_uj),
            battery_to_load: Energy::new(battery_to_load_uj),
            forced_to_load: Energy::new(forced_to_load_uj),
            grid_to_load: Energy::new(grid_to_load_uj),
            grid_to_lenders: Energy::new(grid_to_lenders_uj),
            grid_to_battery: Energy::new(grid_to_battery_uj),
            overdraft_grid: Energy::new(overdraft_grid_uj),
            overdraft_from_spill: Energy::new(overdraft_from_spill_uj),
            overdraft_lent: Energy::new(overdraft_lent_uj),
            lent: Energy::new(lent_uj),
            repaid_in: Energy::new(repaid_in_uj),
            charge_loss: Energy::new(charge_loss_uj),
            discharge_loss: Energy::new(discharge_loss_uj),
            adjusted_down: Energy::new(adjusted_down_uj),
            debt_incurred: Energy::new(debt_incurred_uj),
            debt_repaid: Energy::new(debt_repaid_uj),
            carbon: read_carbon(&carbon_product)?,
        })
    }
}

/// The exact product from its decimal text; its milligrams on the wire are only its shadow.
pub(crate) fn read_carbon(product: &str) -> Result<Carbon, Error> {
    let product = product.parse().map_err(|_| Error::unreadable(format!("carbon product `{product}`")))?;
    Ok(Carbon::new(product))
}
