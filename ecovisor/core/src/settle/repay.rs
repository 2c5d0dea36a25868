//! Repayment: what is on its way into a debtor's battery goes to lenders first.
//!
//! Debts are kept per app, not per pair: all that debtors repay in one step is offered to all lenders together, pro
//! rata to what each is owed, within the room and the charge limit that its own charging leaves. What a full lender
//! cannot take stays owed and stays with the debtors.

use super::Tick;
use crate::battery::bounded;
use crate::ledger::parts;
use crate::split::split;
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

impl Tick<'_> {
    /// Repays from `offers` (what each app has on its way into its battery, at the terminals), where each lender keeps
    /// `own` of its acceptance for itself. Returns who paid how much; lenders' flows and all debts are booked here.
    pub(super) fn repay(&mut self, offers: &[Energy], own: &[Energy]) -> Vec<(usize, Energy)> {
        let conversion = self.site.conversion;
        let most = |owed: EnergySum| bounded(conversion.acceptable(owed.get()));
        let offered: Vec<Energy> = self.apps().map(|i| offers[i].min(most(self.debt[i]))).collect();
        let total: EnergySum = offered.iter().copied().sum();
        if total.is_zero() {
            return Vec::new();
        }
        let for_lenders: Vec<u128> = split(total.get(), self.loan.iter().map(|l| l.get())).collect();
        let (mut taken, mut arrived) = (EnergySum::ZERO, EnergySum::ZERO);
        for (j, part) in for_lenders.into_iter().enumerate() {
            let (take, inside) = self.pay_back(j, bounded(part), own[j]);
            taken += take;
            arrived += inside;
        }
        let paid = parts(taken, &offered);
        self.reduce_debts(arrived, &paid);
        paid.into_iter().enumerate().filter(|(_, paid)| !paid.is_zero()).collect()
    }

    /// Pays up to `part` back to lender `j`, which keeps `own` of its acceptance for itself; returns what it took and what
    /// of that arrived inside, counted as if its own had come in before.
    fn pay_back(&mut self, j: usize, part: Energy, own: Energy) -> (Energy, EnergySum) {
        let conversion = self.site.conversion;
        let before = self.flows[j].battery_in().get() + u128::from(own.get());
        let grown = conversion.arriving(before);
        let all_owed = conversion.acceptable(grown + self.loan[j].get()).saturating_sub(before);
        let take = part.min(self.acceptance(j).less(own)).min(bounded(all_owed));
        let inside = EnergySum::new(conversion.arriving(before + u128::from(take.get())) - grown);
        self.flows[j].repaid_in += take;
        self.flows[j].loan_repaid += inside;
        self.loan[j] -= inside;
        (take, inside)
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
                self.flows[i].debt_repaid += reduced;
            }
        }
        assert_eq!(carried, 0, "debts are as large as loans, so what loans fall by, debts can fall by");
    }
}
