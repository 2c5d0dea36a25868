//! A tick's tables, summed once over all apps: what the site's entries are made of, and what they are checked against.

use super::{Account, Flows};
use ecovisor_units::{Carbon, EnergySum};

/// Sums over the flows and balances of all apps, `house` included; in µJ, carbon in µJ × mg/kWh.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) load: EnergySum,
    pub(crate) solar_in: EnergySum,
    pub(crate) exported: EnergySum,
    pub(crate) curtailed: EnergySum,
    pub(crate) kept: EnergySum,
    pub(crate) grid_drawn: EnergySum,
    pub(crate) battery_in: EnergySum,
    pub(crate) battery_out: EnergySum,
    pub(crate) charge_loss: EnergySum,
    pub(crate) discharge_loss: EnergySum,
    pub(crate) between: Between,
    /// What follows is known only when the meters have been looked at.
    pub(crate) adjusted_down: EnergySum,
    pub(crate) carbon: Carbon,
    pub(crate) carbon_credit: Carbon,
    pub(crate) stored: EnergySum,
}

/// Sums of what apps give each other: two sides of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Between {
    pub(crate) given: EnergySum,
    pub(crate) received: EnergySum,
    pub(crate) to_lenders: EnergySum,
    pub(crate) repaid_in: EnergySum,
    pub(crate) overdraft_lent: EnergySum,
    pub(crate) lent: EnergySum,
    pub(crate) overdraft_from_spill: EnergySum,
    pub(crate) spill_to_overdraft: EnergySum,
    pub(crate) debt_incurred: EnergySum,
    pub(crate) loan_granted: EnergySum,
    pub(crate) debt_repaid: EnergySum,
    pub(crate) loan_repaid: EnergySum,
}

impl Totals {
    /// Adds what an app's flows are before the meters are looked at.
    #[inline]
    pub(crate) fn add_flows(&mut self, f: &Flows) {
        self.load += f.load;
        self.solar_in += f.solar_in;
        self.exported += f.exported;
        self.curtailed += f.curtailed;
        self.kept += f.kept;
        self.grid_drawn += f.grid_drawn();
        self.battery_in += f.battery_in();
        self.battery_out += f.battery_out();
        self.charge_loss += f.charge_loss;
        self.discharge_loss += f.discharge_loss;
        if f.deals_with_others() {
            self.between.add(f);
        }
    }

    /// Adds what an app came to when the meters have been looked at.
    #[inline]
    pub(crate) fn add_end(&mut self, f: &Flows, after: &Account) {
        self.adjusted_down += f.adjusted_down;
        self.carbon += f.carbon;
        self.carbon_credit += f.carbon_credit;
        self.stored += after.stored;
    }
}

impl Flows {
    /// Whether anything moved between this app and others; most ticks of most apps have nothing of the kind.
    #[inline]
    fn deals_with_others(&self) -> bool {
        let energies = [
            self.given,
            self.received,
            self.solar_to_lenders,
            self.received_to_lenders,
            self.grid_to_lenders,
            self.repaid_in,
            self.overdraft_lent,
            self.overdraft_from_spill,
            self.spill_to_overdraft,
        ];
        let sums = [self.lent, self.debt_incurred, self.loan_granted, self.debt_repaid, self.loan_repaid];
        // Without a branch for each.
        let energy = energies.into_iter().fold(0, |any, e| any | e.get());
        let sum = sums.into_iter().fold(0, |any, e| any | e.get());
        energy != 0 || sum != 0
    }
}

impl Between {
    fn add(&mut self, f: &Flows) {
        self.given += f.given;
        self.received += f.received;
        self.to_lenders += f.solar_to_lenders.wide() + f.received_to_lenders + f.grid_to_lenders;
        self.repaid_in += f.repaid_in;
        self.overdraft_lent += f.overdraft_lent;
        self.lent += f.lent;
        self.overdraft_from_spill += f.overdraft_from_spill;
        self.spill_to_overdraft += f.spill_to_overdraft;
        self.debt_incurred += f.debt_incurred;
        self.loan_granted += f.loan_granted;
        self.debt_repaid += f.debt_repaid;
        self.loan_repaid += f.loan_repaid;
    }
}
