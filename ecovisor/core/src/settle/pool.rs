//! The spill pool: redistributed, then exported, falling on givers pro rata. It needs four figures of each app and
//! answers with four, in columns, so that apps need not be at hand while it is divided.

use super::{Row, SiteTerms, Terms};
use crate::split::{Boundaries, fill_into};
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

/// The pool between the passes, a place in each column for every app.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Load still open after pass 1.
    open: Vec<Energy>,
    /// What the battery still accepts.
    room: Vec<Energy>,
    /// Spill that nobody has taken yet.
    left: Vec<Energy>,
    to_loads: Vec<Energy>,
    to_batteries: Vec<Energy>,
    given: Vec<Energy>,
    exported: Vec<Energy>,
    /// Places of those who still wait for a part.
    waiting: Vec<usize>,
}

/// What the pool has for one app, and takes of its spill.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gift {
    pub(super) to_load: Energy,
    pub(super) to_battery: Energy,
    pub(super) given: Energy,
    pub(super) exported: Energy,
}

impl Pool {
    /// Whether spill can go to anybody else at all.
    pub(super) fn is_open(site: &SiteTerms) -> bool {
        site.redistribute || !(site.islanded || site.export_limit.is_zero())
    }

    pub(super) fn clear(&mut self) {
        for column in [&mut self.open, &mut self.room, &mut self.left] {
            column.clear();
        }
    }

    /// Takes note of the next app, after pass 1.
    #[inline]
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.open.push(row.open);
        self.room.push(row.acceptance());
        self.left.push(row.solar_left);
    }

    /// Serves loads still open, then batteries with room, by solar weight; then the grid.
    pub(super) fn divide(&mut self, site: &SiteTerms, terms: &[Terms]) {
        let pool: EnergySum = self.left.iter().copied().sum();
        for column in [&mut self.to_loads, &mut self.to_batteries, &mut self.given, &mut self.exported] {
            column.clear();
            column.resize(terms.len(), Energy::ZERO);
        }
        if pool.is_zero() {
            return;
        }
        let mut left = pool;
        if site.redistribute {
            let weight = |i: usize| u128::from(terms[i].weight);
            fill_into(pool, &self.open, weight, &mut self.waiting, &mut self.to_loads);
            left -= self.to_loads.iter().copied().sum();
            fill_into(left, &self.room, weight, &mut self.waiting, &mut self.to_batteries);
            left -= self.to_batteries.iter().copied().sum();
            take(pool - left, &mut self.left, &mut self.given);
        }
        if !site.islanded {
            take(left.min(site.export_limit.wide()), &mut self.left, &mut self.exported);
        }
    }

    #[inline]
    pub(super) fn gift(&self, i: usize) -> Gift {
        Gift {
            to_load: self.to_loads[i],
            to_battery: self.to_batteries[i],
            given: self.given[i],
            exported: self.exported[i],
        }
    }
}

/// Takes `amount` out of what is `left`, pro rata to it, and writes down who gave how much.
fn take(amount: EnergySum, left: &mut [Energy], taken: &mut [Energy]) {
    let total: EnergySum = left.iter().copied().sum();
    let mut boundaries = Boundaries::new(amount.get(), total.get());
    for (left, taken) in left.iter_mut().zip(taken) {
        *taken = boundaries.part(*left);
        *left -= *taken;
    }
}
