//! Step 6: load that nothing its app was entitled to could serve. Physics delivered it, so somebody's energy went.

use super::{SolarRule, Tick};
use crate::ledger::parts;
use crate::split::split_energy;
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

impl Tick<'_> {
    /// With a grid it is import beyond the app's limit. Islanded: the app's own battery whatever its settings say,
    /// solar about to be curtailed, `house`'s claim, the other claims, last `house` on credit.
    pub(super) fn overdrafts(&mut self) {
        if !self.site.islanded {
            for i in self.apps() {
                self.flows[i].overdraft_grid = core::mem::take(&mut self.open[i]);
            }
            return;
        }
        for i in self.apps() {
            let mut gives = self.deliverable(i);
            self.flows[i].forced_to_load = crate::split::carry(&mut gives, &mut self.open[i], Energy::MAX);
        }
        if self.open.iter().all(|open| open.is_zero()) {
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
        let wanted: EnergySum = self.open.iter().copied().sum();
        let moved = wanted.min(self.solar_left.iter().copied().sum());
        for (i, part) in self.take_from_givers(moved) {
            self.flows[i].spill_to_overdraft = part;
        }
        for (i, part) in parts(moved, &self.open).into_iter().enumerate() {
            self.open[i] -= part;
            self.flows[i].overdraft_from_spill = part;
        }
    }

    /// `house`'s claim, then the others pro rata to what each can give, then `house` on credit. What `house` gives
    /// itself on credit is nobody's debt.
    fn overdrafts_from_claims(&mut self) {
        let house = self.terms.len() - 1;
        let mut gives: Vec<Energy> = self.apps().map(|i| self.deliverable(i)).collect();
        self.lend(&[(house, core::mem::take(&mut gives[house]))]);
        let others: Vec<(usize, Energy)> = gives.into_iter().enumerate().collect();
        self.lend(&others);
        let own_credit = core::mem::take(&mut self.open[house]);
        let on_credit: EnergySum = self.open.iter().copied().sum();
        let served = core::mem::replace(&mut self.open, alloc::vec![Energy::ZERO; self.terms.len()]);
        let left = self.leave_store(house, on_credit);
        self.borrow(&served, left);
        self.flows[house].overdraft_lent += own_credit;
        self.flows[house].lent += own_credit.wide();
    }

    /// Serves open loads pro rata from what `lenders` can give, pro rata to that.
    fn lend(&mut self, lenders: &[(usize, Energy)]) {
        let gives: Vec<Energy> = lenders.iter().map(|(_, e)| *e).collect();
        let wanted: EnergySum = self.open.iter().copied().sum();
        let moved = wanted.min(gives.iter().copied().sum());
        let served = parts(moved, &self.open);
        for (open, part) in self.open.iter_mut().zip(&served) {
            *open -= *part;
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
            self.flows[i].overdraft_lent += served[i];
            self.flows[i].debt_incurred += debt;
        }
    }

    /// Books what `lender` gives at its terminals; returns what that takes from its store, which it is owed.
    fn leave_store(&mut self, lender: usize, at_terminals: EnergySum) -> EnergySum {
        let before = self.flows[lender].battery_out().get();
        let conversion = self.site.conversion;
        let left = conversion.leaving(before + at_terminals.get()) - conversion.leaving(before);
        let left = EnergySum::new(left);
        self.flows[lender].lent += at_terminals;
        self.flows[lender].loan_granted += left;
        left
    }
}
