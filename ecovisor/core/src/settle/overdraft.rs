//! Step 6: load that nothing its app was entitled to could serve. Physics delivered it, so somebody's energy went.

use super::together::Tick;
use super::{Row, SolarRule};
use crate::ledger::parts;
use crate::split::split_energy;
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

impl Tick<'_> {
    /// With a grid it is import beyond the app's limit. Islanded: the app's own battery whatever its settings say,
    /// solar about to be curtailed, `house`'s claim, the other claims, last `house` on credit.
    pub(super) fn overdrafts(&mut self) {
        if !self.site.islanded {
            self.rows.iter_mut().for_each(Row::overdraft_from_grid);
            return;
        }
        for row in &mut self.rows {
            let mut gives = row.deliverable();
            row.flows.forced_to_load = crate::split::carry(&mut gives, &mut row.open, Energy::MAX);
        }
        if self.rows.iter().all(|row| row.open.is_zero()) {
            return;
        }
        self.overdrafts_from_spill();
        self.overdrafts_from_claims();
    }

    /// Only solar that is about to be curtailed: what a buffered site keeps is the coming tick's.
    fn overdrafts_from_spill(&mut self) {
        if self.site.solar_rule == SolarRule::Buffered {
            return;
        }
        let spill: Vec<Energy> = self.rows.iter().map(|row| row.solar_left).collect();
        let open = self.open();
        let wanted: EnergySum = open.iter().copied().sum();
        let moved = wanted.min(spill.iter().copied().sum());
        let (taken, served) = (parts(moved, &spill), parts(moved, &open));
        for ((row, taken), served) in self.rows.iter_mut().zip(taken).zip(served) {
            row.solar_left -= taken;
            row.flows.spill_to_overdraft = taken;
            row.open -= served;
            row.flows.overdraft_from_spill = served;
        }
    }

    /// `house`'s claim, then the others pro rata to what each can give, then `house` on credit. What `house` gives
    /// itself on credit is nobody's debt.
    fn overdrafts_from_claims(&mut self) {
        let house = self.terms.len() - 1;
        let mut gives: Vec<Energy> = self.rows.iter().map(Row::deliverable).collect();
        self.lend(&[(house, core::mem::take(&mut gives[house]))]);
        let others: Vec<(usize, Energy)> = gives.into_iter().enumerate().collect();
        self.lend(&others);
        let own_credit = core::mem::take(&mut self.rows[house].open);
        let served: Vec<Energy> = self.rows.iter_mut().map(|row| core::mem::take(&mut row.open)).collect();
        let left = self.leave_store(house, served.iter().copied().sum());
        self.borrow(&served, left);
        self.rows[house].flows.overdraft_lent += own_credit;
        self.rows[house].flows.lent += own_credit.wide();
    }

    fn open(&self) -> Vec<Energy> {
        self.rows.iter().map(|row| row.open).collect()
    }

    /// Serves open loads pro rata from what `lenders` can give, pro rata to that.
    fn lend(&mut self, lenders: &[(usize, Energy)]) {
        let gives: Vec<Energy> = lenders.iter().map(|(_, e)| *e).collect();
        let open = self.open();
        let wanted: EnergySum = open.iter().copied().sum();
        let moved = wanted.min(gives.iter().copied().sum());
        if moved.is_zero() {
            return;
        }
        let served = parts(moved, &open);
        for (row, part) in self.rows.iter_mut().zip(&served) {
            row.open -= *part;
        }
        let mut left = EnergySum::ZERO;
        for ((j, _), part) in lenders.iter().zip(parts(moved, &gives)) {
            left += self.leave_store(*j, part.wide());
        }
        self.borrow(&served, left);
    }

    /// Books what each was `served`; the debt is what `left` the lenders' stores for it, loss included.
    fn borrow(&mut self, served: &[Energy], left: EnergySum) {
        let weights: Vec<EnergySum> = served.iter().map(|part| part.wide()).collect();
        for (i, debt) in split_energy(left, &weights).into_iter().enumerate() {
            self.rows[i].flows.overdraft_lent += served[i];
            self.rows[i].flows.debt_incurred += debt;
        }
    }

    /// Books what `lender` gives at its terminals; returns what that takes from its store, which it is owed.
    fn leave_store(&mut self, lender: usize, at_terminals: EnergySum) -> EnergySum {
        let before = self.rows[lender].flows.battery_out().get();
        let conversion = self.site.conversion;
        let left = conversion.leaving(before + at_terminals.get()) - conversion.leaving(before);
        let left = EnergySum::new(left);
        self.rows[lender].flows.lent += at_terminals;
        self.rows[lender].flows.loan_granted += left;
        left
    }
}
