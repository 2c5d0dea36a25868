//! A tick in which apps have to do with each other's batteries: open debts, or a site that stands alone. Every step is
//! taken for all apps before the next one.

use super::pool::Pool;
use super::{Row, SiteTerms, Terms};
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

use crate::app::AppId;
use crate::ledger::{Account, Flows};

/// A settlement under way.
pub(super) struct Tick<'a> {
    pub(super) site: &'a SiteTerms,
    pub(super) terms: &'a [Terms],
    pub(super) rows: Vec<Row<'a>>,
    /// What is owed and owing, as the tick goes on.
    pub(super) debt: Vec<EnergySum>,
    pub(super) loan: Vec<EnergySum>,
    charge_ended: &'a mut Vec<AppId>,
}

impl<'a> Tick<'a> {
    pub(super) fn begin(
        site: &'a SiteTerms,
        terms: &'a [Terms],
        accounts: &[Account],
        deficit: EnergySum,
        flows: &'a mut [Flows],
        charge_ended: &'a mut Vec<AppId>,
    ) -> Self {
        let house = terms.len() - 1;
        let contained: EnergySum = terms.iter().map(|t| t.load).sum();
        let row = |(i, flows): (usize, &'a mut Flows)| {
            let (terms, account) = (&terms[i], &accounts[i]);
            match i == house {
                true => {
                    let load = terms.load + site.unmetered(contained);
                    Row::begin(site, terms, load, account, deficit, flows)
                }
                false => Row::begin(site, terms, terms.load, account, EnergySum::ZERO, flows),
            }
        };
        Self {
            site,
            terms,
            rows: flows.iter_mut().enumerate().map(row).collect(),
            debt: accounts.iter().map(|a| a.debt).collect(),
            loan: accounts.iter().map(|a| a.loan).collect(),
            charge_ended,
        }
    }

    pub(super) fn apps(&self) -> core::ops::Range<usize> {
        0..self.terms.len()
    }

    /// Both passes, and what lies between.
    pub(super) fn settle(&mut self, pool: &mut Pool) {
        self.cancel_debts();
        self.rows.iter_mut().for_each(Row::solar_to_load);
        self.solar_to_batteries();
        self.give_spill(pool);
        for row in &mut self.rows {
            if row.battery_then_grid_to_load() {
                self.charge_ended.push(row.terms.app);
            }
        }
        self.overdrafts();
        self.rows.iter_mut().for_each(Row::end_spill);
        self.grid_to_batteries();
    }

    /// Steps 2 and 3: what is left goes to lenders, then into the own battery, then into the pool.
    fn solar_to_batteries(&mut self) {
        let offers: Vec<Energy> = self.rows.iter().map(|row| row.solar_left).collect();
        let own: Vec<Energy> = self.rows.iter().map(|row| row.solar_left.min(row.acceptance())).collect();
        for (i, paid) in self.repay(&offers, &own) {
            self.rows[i].flows.solar_to_lenders = paid;
            self.rows[i].solar_left -= paid;
        }
        self.rows.iter_mut().for_each(Row::solar_to_battery);
    }

    /// Between the passes; what the pool has for a debtor's battery goes to its lenders first.
    fn give_spill(&mut self, pool: &mut Pool) {
        if !Pool::is_open(self.site) {
            return;
        }
        pool.clear();
        self.rows.iter().for_each(|row| pool.add(row));
        pool.divide(self.site, self.terms);
        let to_batteries: Vec<Energy> = self.apps().map(|i| pool.gift(i).to_battery).collect();
        let mut to_lenders = alloc::vec![Energy::ZERO; self.terms.len()];
        for (i, paid) in self.repay(&to_batteries, &to_batteries) {
            to_lenders[i] = paid;
        }
        for (i, row) in self.rows.iter_mut().enumerate() {
            let gift = pool.gift(i);
            row.receive(gift.to_load, to_lenders[i], gift.to_battery - to_lenders[i]);
            row.give(gift.given, gift.exported);
        }
    }

    /// Step 7.
    fn grid_to_batteries(&mut self) {
        let wanted: Vec<Energy> = self.rows.iter().map(Row::charge_from_grid).collect();
        for (i, paid) in self.repay(&wanted, &wanted) {
            self.rows[i].flows.grid_to_lenders = paid;
        }
        for (row, wanted) in self.rows.iter_mut().zip(wanted) {
            row.flows.grid_to_battery = wanted - row.flows.grid_to_lenders;
            if row.end_full_charge() {
                self.charge_ended.push(row.terms.app);
            }
        }
    }
}
