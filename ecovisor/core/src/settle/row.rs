//! One app in a tick: the steps of the two passes that concern it alone. Whatever concerns several apps hands its
//! part to each row.

use super::{SiteTerms, SolarRule, Terms};
use crate::battery::bounded;
use crate::ledger::{Account, Flows};
use crate::split::carry;
use ecovisor_units::{Energy, EnergySum};

/// An app's settlement under way.
pub(super) struct Row<'a> {
    site: &'a SiteTerms,
    pub(super) terms: &'a Terms,
    pub(super) flows: &'a mut Flows,
    /// What was stored at the beginning of the tick.
    stored: u128,
    /// What `house` lacked then: below zero its claim is its deficit. Zero for all others.
    lacking: u128,
    /// Load that nothing has served yet.
    pub(super) open: Energy,
    /// Solar that has not gone anywhere yet; from the end of pass 1 the spill that has not.
    pub(super) solar_left: Energy,
    charging: Energy,
}

impl<'a> Row<'a> {
    /// An app at the beginning of a tick, with that load.
    #[inline]
    pub(super) fn begin(
        site: &'a SiteTerms,
        terms: &'a Terms,
        load: Energy,
        account: &Account,
        lacking: EnergySum,
        flows: &'a mut Flows,
    ) -> Self {
        *flows = Flows { load, solar_in: terms.solar, ..Flows::default() };
        let (stored, lacking) = (u128::from(account.stored.get()), lacking.get());
        let (open, solar_left, charging) = (load, terms.solar, terms.charge);
        Self { site, terms, flows, stored, lacking, open, solar_left, charging }
    }

    /// Room inside that there would be if nothing had come in; what went out made room.
    #[inline]
    fn room(&self) -> u128 {
        let gone = self.site.conversion.leaving(self.flows.battery_out().get());
        (u128::from(self.terms.capacity.get()) + self.lacking + gone).saturating_sub(self.stored)
    }

    /// What the battery still accepts at its terminals: within its charge limit and its room.
    #[inline]
    pub(super) fn acceptance(&self) -> Energy {
        let (limit, came_in) = (self.terms.charge_limit, bounded(self.flows.battery_in().get()));
        if limit <= came_in {
            return Energy::ZERO;
        }
        let room = self.room();
        // A battery takes in at least what it has room for; only where that is less than the limit is a division worth it.
        if room >= u128::from(limit.get()) {
            return limit - came_in;
        }
        limit.min(bounded(self.site.conversion.acceptable(room))).less(came_in)
    }

    /// What the battery can still give at its terminals, above its floor; what came in this tick is there.
    #[inline]
    pub(super) fn deliverable(&self) -> Energy {
        if !self.terms.battery_gives {
            return Energy::ZERO;
        }
        let conversion = self.site.conversion;
        let inside = self.stored + conversion.arriving(self.flows.battery_in().get());
        let kept = u128::from(self.terms.floor.get()) + self.lacking;
        let most = conversion.deliverable(inside.saturating_sub(kept));
        bounded(most).less(bounded(self.flows.battery_out().get()))
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.site.conversion.arriving(self.flows.battery_in().get()) >= self.room()
    }

    #[inline]
    fn grid_limit(&self) -> Energy {
        if self.site.islanded { Energy::ZERO } else { self.terms.grid_limit }
    }

    /// Step 1.
    #[inline]
    pub(super) fn solar_to_load(&mut self) {
        self.flows.solar_to_load = carry(&mut self.solar_left, &mut self.open, Energy::MAX);
    }

    /// Step 2, the own battery, after the lenders; the charge rate does not bound this. Step 3: what is left is spill.
    #[inline]
    pub(super) fn solar_to_battery(&mut self) {
        if !self.solar_left.is_zero() {
            let mut room = self.acceptance();
            self.flows.solar_to_battery = carry(&mut self.solar_left, &mut room, Energy::MAX);
        }
        self.flows.spilled = self.solar_left;
    }

    /// What the pool gives to its load, to its lenders, and to its battery.
    #[inline]
    pub(super) fn receive(&mut self, to_load: Energy, to_lenders: Energy, to_battery: Energy) {
        self.open -= to_load;
        self.flows.received_to_load = to_load;
        self.flows.received_to_lenders = to_lenders;
        self.flows.received_to_battery = to_battery;
        self.flows.received = to_load + to_lenders + to_battery;
    }

    /// What the pool takes of its spill, for others and for the grid.
    #[inline]
    pub(super) fn give(&mut self, given: Energy, exported: Energy) {
        self.solar_left -= given;
        self.flows.given = given;
        self.solar_left -= exported;
        self.flows.exported = exported;
    }

    /// Steps 4 and 5; says whether the charge setting ended because the battery is full.
    #[inline]
    pub(super) fn battery_then_grid_to_load(&mut self) -> bool {
        let ended = self.end_full_charge();
        if self.open.is_zero() {
            return ended;
        }
        let grid = self.grid_limit();
        // An asked-for charge leaves to the battery only the load that lies above the grid limit.
        let beyond = if self.charging.is_zero() { Energy::MAX } else { self.open.less(grid) };
        let limit = self.terms.discharge_limit.min(beyond);
        if !limit.is_zero() {
            let mut gives = self.deliverable();
            self.flows.battery_to_load = carry(&mut gives, &mut self.open, limit);
        }
        let mut grid = grid;
        self.flows.grid_to_load = carry(&mut grid, &mut self.open, Energy::MAX);
        ended
    }

    /// A charge setting ends by itself when the battery is full; says whether it did.
    #[inline]
    pub(super) fn end_full_charge(&mut self) -> bool {
        let ends = !self.charging.is_zero() && self.is_full();
        if ends {
            self.charging = Energy::ZERO;
        }
        ends
    }

    /// Step 6 with a grid: import beyond the app's limit.
    #[inline]
    pub(super) fn overdraft_from_grid(&mut self) {
        self.flows.overdraft_grid = core::mem::take(&mut self.open);
    }

    /// The end of the spill: where solar is buffered it is kept; nobody has a use for it where it is live, and where the
    /// inverter cannot be ordered down it is export, whatever the policy; should it go nowhere, the meter says so.
    #[inline]
    pub(super) fn end_spill(&mut self) {
        let left = core::mem::take(&mut self.solar_left);
        match self.site.solar_rule {
            SolarRule::Buffered => self.flows.kept = left,
            SolarRule::Live { curtailable: true } => self.flows.curtailed = left,
            SolarRule::Live { curtailable: false } => self.flows.exported += left,
        }
    }

    /// Step 7: the charge rate less what came in otherwise, within charge limit, room, what is left of the grid limit, and
    /// what carbon allows. An app that discharged in this tick does not charge in it.
    #[inline]
    pub(super) fn charge_from_grid(&self) -> Energy {
        let discharged = !(self.flows.battery_to_load.is_zero() && self.flows.forced_to_load.is_zero());
        if self.charging.is_zero() || self.site.islanded || discharged {
            return Energy::ZERO;
        }
        let drawn = self.flows.grid_to_load.saturating_add(self.flows.overdraft_grid);
        self.charging
            .less(bounded(self.flows.battery_in().get()))
            .min(self.acceptance())
            .min(self.terms.grid_limit.less(self.flows.grid_to_load))
            .min(self.terms.carbon_limit.less(drawn))
    }
}
