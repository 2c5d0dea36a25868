//! Repayment: what is on its way into a debtor's battery goes to lenders first.
//!
//! Debts are kept per app, not per pair: all that debtors repay in one step is offered to all lenders together, pro
//! rata to what each is owed, within the room and the charge limit that its own charging leaves. What a full lender
//! cannot take stays owed to it, and goes to lenders that have room: were it left with the debtors, the next thing to
//! enter their batteries would be divided anew, and solar that spares that entry would mean less repaid and more import.

use super::together::Tick;
use crate::battery::bounded;
use crate::ledger::parts;
use crate::split::{fill, split};
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

impl Tick<'_> {
    /// What an app owes and what it is owed, it owes to and is owed by the same pool: the two cancel, and nobody is
    /// debtor and lender at once. Were they kept side by side, an app's own solar would take the room in which others
    /// repay it and then leave for lenders itself, and the grid would fill what it left.
    pub(super) fn cancel_debts(&mut self) {
        for ((row, debt), loan) in self.rows.iter_mut().zip(&mut self.debt).zip(&mut self.loan) {
            let both = (*debt).min(*loan);
            (*debt, *loan) = (*debt - both, *loan - both);
            (row.flows.debt_repaid, row.flows.loan_repaid) = (both, both);
        }
    }

    /// Repays from `offers` (what each app has on its way into its battery, at the terminals), where each lender keeps
    /// `own` of its acceptance for itself. Returns who paid how much; lenders' flows and all debts are booked here.
    pub(super) fn repay(&mut self, offers: &[Energy], own: &[Energy]) -> Vec<(usize, Energy)> {
        let conversion = self.site.conversion;
        if self.debt.iter().all(|debt| debt.is_zero()) {
            return Vec::new();
        }
        let most = |owed: EnergySum| bounded(conversion.acceptable(owed.get()));
        let offered: Vec<Energy> = self.apps().map(|i| offers[i].min(most(self.debt[i]))).collect();
        let total: EnergySum = offered.iter().copied().sum();
        if total.is_zero() {
            return Vec::new();
        }
        let needs: Vec<Energy> = self.apps().map(|j| self.takes_back(j, own[j])).collect();
        let weights: Vec<u128> = self.loan.iter().map(|loan| loan.get()).collect();
        let back = fill(total, &needs, &weights);
        let taken = back.iter().copied().sum();
        let mut arrived = EnergySum::ZERO;
        for (j, (&back, &own)) in back.iter().zip(own).enumerate() {
            arrived += self.pay_back(j, back, own);
        }
        let paid = parts(taken, &offered);
        self.reduce_debts(arrived, &paid);
        paid.into_iter().enumerate().filter(|(_, paid)| !paid.is_zero()).collect()
    }

    /// The most that lender `j` takes back at its terminals, where it keeps `own` of its acceptance for itself.
    fn takes_back(&self, j: usize, own: Energy) -> Energy {
        let conversion = self.site.conversion;
        let before = self.with_own(j, own);
        let grown = conversion.arriving(before);
        let all_owed = conversion.acceptable(grown + self.loan[j].get()).saturating_sub(before);
        self.rows[j].acceptance().less(own).min(bounded(all_owed))
    }

    /// Books what lender `j` takes back; returns what arrived inside, counted as if its own had come in before.
    fn pay_back(&mut self, j: usize, back: Energy, own: Energy) -> EnergySum {
        let (conversion, before) = (self.site.conversion, self.with_own(j, own));
        let inside = conversion.arriving(before + u128::from(back.get())) - conversion.arriving(before);
        let inside = EnergySum::new(inside);
        self.rows[j].flows.repaid_in += back;
        self.rows[j].flows.loan_repaid += inside;
        self.loan[j] -= inside;
        inside
    }

    fn with_own(&self, j: usize, own: Energy) -> u128 {
        self.rows[j].flows.battery_in().get() + u128::from(own.get())
    }

    /// Debts fall by what arrived inside, pro rata to what was paid; where rounding gives a debtor more than it owes,
    /// the next in order has it.
    fn reduce_debts(&mut self, arrived: EnergySum, paid: &[Energy]) {
        let mut carried = 0_u128;
        let parts: Vec<u128> = split(arrived.get(), paid.iter().map(|p| u128::from(p.get()))).collect();
        for round in 0..2 {
            for i in self.apps() {
                let due = carried + if round == 0 { parts[i] } else { 0 };
                let reduced = EnergySum::new(due).min(self.debt[i]);
                carried = due - reduced.get();
                self.debt[i] -= reduced;
                self.rows[i].flows.debt_repaid += reduced;
            }
        }
        assert_eq!(carried, 0, "debts are as large as loans, so what loans fall by, debts can fall by");
    }
}
