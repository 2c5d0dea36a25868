//! The spill pool: redistributed, exported, and what is left curtailed or kept, falling on givers pro rata.

use super::{SolarRule, Tick};
use crate::ledger::parts;
use crate::split::fill;
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

impl Tick<'_> {
    /// Between the passes: the pool serves loads still open, then batteries with room, by solar weight; then the grid.
    pub(super) fn give_spill(&mut self) {
        let pool: EnergySum = self.solar_left.iter().copied().sum();
        if pool.is_zero() {
            return;
        }
        if self.site.redistribute {
            let given = self.redistribute(pool);
            for (i, part) in self.take_from_givers(given) {
                self.flows[i].given = part;
            }
        }
        if !self.site.islanded {
            let left: EnergySum = self.solar_left.iter().copied().sum();
            let exported = left.min(self.site.export_limit.wide());
            self.export(exported);
        }
    }

    /// After the overdrafts: nobody has a use for what is left. Where the inverter cannot be ordered down it is export,
    /// whatever the policy; should it go nowhere, the meter says so.
    pub(super) fn end_spill(&mut self) {
        let SolarRule::Live { curtailable } = self.site.solar_rule else {
            for i in self.apps() {
                self.flows[i].kept = core::mem::take(&mut self.solar_left[i]);
            }
            return;
        };
        if !curtailable {
            let left = self.solar_left.iter().copied().sum();
            self.export(left);
        }
        for i in self.apps() {
            self.flows[i].curtailed = core::mem::take(&mut self.solar_left[i]);
        }
    }

    fn export(&mut self, exported: EnergySum) {
        for (i, part) in self.take_from_givers(exported) {
            self.flows[i].exported += part;
        }
    }

    /// Takes `amount` out of the spill that is left, pro rata to it; returns who gave how much.
    pub(super) fn take_from_givers(&mut self, amount: EnergySum) -> Vec<(usize, Energy)> {
        let parts = parts(amount, &self.solar_left);
        for (left, part) in self.solar_left.iter_mut().zip(&parts) {
            *left -= *part;
        }
        parts.into_iter().enumerate().collect()
    }

    /// Gives from the pool to loads, then to batteries (to a debtor's lenders first); returns what was given.
    fn redistribute(&mut self, pool: EnergySum) -> EnergySum {
        let weights: Vec<u128> = self.terms.iter().map(|t| u128::from(t.weight)).collect();
        let to_loads = fill(pool, &self.open, &weights);
        for (i, &received) in to_loads.iter().enumerate() {
            self.open[i] -= received;
            self.flows[i].received_to_load = received;
        }
        let given: EnergySum = to_loads.iter().copied().sum();
        let room: Vec<Energy> = self.apps().map(|i| self.acceptance(i)).collect();
        let to_batteries = fill(pool - given, &room, &weights);
        for (i, paid) in self.repay(&to_batteries, &to_batteries) {
            self.flows[i].received_to_lenders = paid;
        }
        for (i, &received) in to_batteries.iter().enumerate() {
            self.flows[i].received_to_battery = received - self.flows[i].received_to_lenders;
            self.flows[i].received = received + to_loads[i];
        }
        given + to_batteries.iter().copied().sum::<EnergySum>()
    }
}
