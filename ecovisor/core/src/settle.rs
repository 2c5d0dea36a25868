//! One tick's settlement, for all apps together, in two passes; then the books are laid beside the meters.
//!
//! ```text
//! pass 1   solar -> load -> lenders -> battery -> spill pool
//! between  spill pool -> others' loads -> others' batteries -> export -> (later: overdrafts) -> curtailed or kept
//! pass 2   battery -> load, grid -> load;  all overdrafts;  grid -> battery
//! meters   netting, over and short, losses, drift, adjustment, the new buffer
//! ```
//!
//! Apps stand in order of creation, `house` last. Room and what can be given count as they are at that moment: what came
//! in earlier in the tick can go out in it, with losses taken once, on the sums.

mod meters;
mod overdraft;
mod repay;
mod spill;

use crate::app::AppId;
use crate::battery::{Conversion, bounded};
use crate::ledger::{Account, Broken, Entry, Flows, SiteEntry, SiteFlows, check};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum};
use serde::{Deserialize, Serialize};

/// Which solar an app spends in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SolarRule {
    /// That of the tick before, held in the solar buffer.
    Buffered,
    /// That of the tick itself, as what the panels could give.
    Live {
        /// Whether the inverter takes an order to produce less; where not, the rest is export.
        curtailable: bool,
    },
}

/// What the site's meters said of one tick, in µJ; `None` where there is no meter or no reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// Solar production.
    pub solar: Option<Energy>,
    /// Import from the grid.
    pub grid_import: Option<Energy>,
    /// Export to the grid.
    pub grid_export: Option<Energy>,
    /// Into the battery, at its terminals.
    pub battery_in: Option<Energy>,
    /// Out of the battery, at its terminals.
    pub battery_out: Option<Energy>,
    /// All load of the site.
    pub load: Option<Energy>,
    /// The battery's level, inside, at the end of the tick.
    pub level: Option<Energy>,
}

/// What the whole site settles under, in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteTerms {
    /// Which solar.
    pub solar_rule: SolarRule,
    /// Live: what the panels could give. Buffered: what the meter shows, into the buffer.
    pub solar: Energy,
    /// Whether others may use what an app spills.
    pub redistribute: bool,
    /// The most of the pool that may be fed in; zero where the site may not.
    pub export_limit: Energy,
    /// Whether the site stands alone.
    pub islanded: bool,
    /// The tick's carbon intensity.
    pub intensity: CarbonIntensity,
    /// The battery's losses.
    pub conversion: Conversion,
    /// The deficit beyond which all claims shrink.
    pub tolerance: Energy,
    /// What the meters said.
    pub metered: Metered,
}

/// What one app settles under, in one tick: powers are already energies of the tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whose.
    pub app: AppId,
    /// Its part of the solar that is spent in this tick.
    pub solar: Energy,
    /// What its containers used. For `house` without the unmetered load, which the settlement finds itself.
    pub load: Energy,
    /// Weight when the spill pool is given.
    pub weight: u64,
    /// Capacity, inside.
    pub capacity: Energy,
    /// Floor, inside.
    pub floor: Energy,
    /// Most into the battery.
    pub charge_limit: Energy,
    /// Most from the battery to load by the app's own will: the lower of its setting and its share.
    pub discharge_limit: Energy,
    /// Charge rate × span; zero where none is set.
    pub charge: Energy,
    /// Grid limit × span.
    pub grid_limit: Energy,
    /// What carbon rate and budget allow from the grid; [`Energy::MAX`] where there is none.
    pub carbon_limit: Energy,
    /// Whether the battery can give at all; `false` while its level is unknown.
    pub battery_gives: bool,
}

impl Default for AppId {
    fn default() -> Self {
        Self::HOUSE
    }
}

/// What a settlement did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Each app's flows, `house` last.
    pub flows: Vec<Flows>,
    /// The site's entries.
    pub site: SiteFlows,
    /// Apps whose charge setting ended because the battery is full.
    pub charge_ended: Vec<AppId>,
}

/// Settles one tick: changes `accounts` and `deficit`, returns what moved. `terms` and `accounts` go together, `house`
/// last. The new buffer is in `SiteFlows::buffer`; who divides it among the accounts is the caller.
///
/// # Errors
/// [`Broken`] where an invariant does not hold afterwards: a bug. `accounts` are of no use then.
///
/// # Panics
/// Where `terms` and `accounts` differ in length, or are empty.
pub fn settle(
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    deficit: &mut EnergySum,
) -> Result<Settled, Broken> {
    assert_eq!(terms.len(), accounts.len(), "every app has terms and an account");
    let before = (accounts.to_vec(), *deficit);
    let mut tick = Tick::begin(site, terms, accounts, *deficit);
    tick.cancel_debts();
    tick.solar_to_load();
    tick.solar_to_batteries();
    tick.give_spill();
    tick.battery_then_grid_to_load();
    tick.overdrafts();
    tick.end_spill();
    tick.grid_to_batteries();
    let mut settled = Settled { site: tick.site_flows, charge_ended: tick.charge_ended, flows: tick.flows };
    meters::close(site, terms, accounts, deficit, &mut settled);
    check_settled(site, terms, (&before.0, accounts), (before.1, *deficit), &settled)?;
    Ok(settled)
}

fn check_settled(
    site: &SiteTerms,
    terms: &[Terms],
    (before, after): (&[Account], &[Account]),
    deficit: (EnergySum, EnergySum),
    settled: &Settled,
) -> Result<(), Broken> {
    let entries = (0..terms.len()).map(|i| Entry {
        app: terms[i].app,
        before: &before[i],
        after: &after[i],
        flows: &settled.flows[i],
        floor: terms[i].floor,
        capacity: terms[i].capacity,
    });
    let solar = match site.solar_rule {
        SolarRule::Live { .. } => site.solar,
        SolarRule::Buffered => bounded(terms.iter().map(|t| t.solar).sum::<EnergySum>().get()),
    };
    let checked = SiteEntry {
        flows: &settled.site,
        metered: &site.metered,
        solar,
        solar_rule: site.solar_rule,
        contained: terms.iter().map(|t| t.load).sum(),
        intensity: site.intensity,
        deficit,
        conversion: site.conversion,
    };
    check(&checked, entries)
}

/// A settlement under way.
struct Tick<'a> {
    site: &'a SiteTerms,
    terms: &'a [Terms],
    flows: Vec<Flows>,
    site_flows: SiteFlows,
    /// What was stored at the beginning of the tick.
    stored: Vec<u128>,
    /// What `house` lacked then: below zero its claim is its deficit.
    deficit: u128,
    /// What is owed and owing, as the tick goes on.
    debt: Vec<EnergySum>,
    loan: Vec<EnergySum>,
    /// Load that nothing has served yet.
    open: Vec<Energy>,
    /// Solar that has not gone anywhere yet; from the end of pass 1 the spill that has not.
    solar_left: Vec<Energy>,
    charging: Vec<Energy>,
    charge_ended: Vec<AppId>,
}

impl<'a> Tick<'a> {
    fn begin(site: &'a SiteTerms, terms: &'a [Terms], accounts: &[Account], deficit: EnergySum) -> Self {
        let contained: EnergySum = terms.iter().map(|t| t.load).sum();
        let metered = site.metered.load.map_or(contained, Energy::wide);
        let unmetered_load = metered.less(contained);
        let mut open: Vec<Energy> = terms.iter().map(|t| t.load).collect();
        let house = terms.len() - 1;
        open[house] += bounded(unmetered_load.get());
        let load_booked = contained + unmetered_load;
        let flows =
            terms.iter().zip(&open).map(|(t, &load)| Flows { load, solar_in: t.solar, ..Flows::default() });
        Self {
            site,
            terms,
            flows: flows.collect(),
            site_flows: SiteFlows {
                unmetered_load,
                overbooked_load: contained.less(metered),
                load_booked,
                ..SiteFlows::default()
            },
            deficit: deficit.get(),
            stored: accounts.iter().map(|a| u128::from(a.stored.get())).collect(),
            debt: accounts.iter().map(|a| a.debt).collect(),
            loan: accounts.iter().map(|a| a.loan).collect(),
            open,
            solar_left: terms.iter().map(|t| t.solar).collect(),
            charging: terms.iter().map(|t| t.charge).collect(),
            charge_ended: Vec::new(),
        }
    }

    fn apps(&self) -> core::ops::Range<usize> {
        0..self.terms.len()
    }

    /// The deficit where `i` is `house`.
    fn lacking(&self, i: usize) -> u128 {
        if i + 1 == self.terms.len() { self.deficit } else { 0 }
    }

    /// Room inside that there would be if nothing had come in; what went out made room.
    fn room(&self, i: usize) -> u128 {
        let gone = self.site.conversion.leaving(self.flows[i].battery_out().get());
        (u128::from(self.terms[i].capacity.get()) + self.lacking(i) + gone).saturating_sub(self.stored[i])
    }

    /// What the battery still accepts at its terminals: within its charge limit and its room.
    fn acceptance(&self, i: usize) -> Energy {
        let most = bounded(self.site.conversion.acceptable(self.room(i)));
        self.terms[i].charge_limit.min(most).less(bounded(self.flows[i].battery_in().get()))
    }

    /// What the battery can still give at its terminals, above its floor; what came in this tick is there.
    fn deliverable(&self, i: usize) -> Energy {
        if !self.terms[i].battery_gives {
            return Energy::ZERO;
        }
        let conversion = self.site.conversion;
        let inside = self.stored[i] + conversion.arriving(self.flows[i].battery_in().get());
        let most = conversion
            .deliverable(inside.saturating_sub(u128::from(self.terms[i].floor.get()) + self.lacking(i)));
        bounded(most).less(bounded(self.flows[i].battery_out().get()))
    }

    fn is_full(&self, i: usize) -> bool {
        self.site.conversion.arriving(self.flows[i].battery_in().get()) >= self.room(i)
    }

    fn grid_limit(&self, i: usize) -> Energy {
        if self.site.islanded { Energy::ZERO } else { self.terms[i].grid_limit }
    }

    /// Step 1.
    fn solar_to_load(&mut self) {
        for i in self.apps() {
            let moved = crate::split::carry(&mut self.solar_left[i], &mut self.open[i], Energy::MAX);
            self.flows[i].solar_to_load = moved;
        }
    }

    /// Steps 2 and 3: what is left goes to lenders, then into the own battery, then into the pool. The charge rate does
    /// not bound this.
    fn solar_to_batteries(&mut self) {
        let offers = self.solar_left.clone();
        let own: Vec<Energy> = self.apps().map(|i| offers[i].min(self.acceptance(i))).collect();
        for (i, paid) in self.repay(&offers, &own) {
            self.flows[i].solar_to_lenders = paid;
            self.solar_left[i] -= paid;
        }
        for i in self.apps() {
            let mut room = self.acceptance(i);
            let moved = crate::split::carry(&mut self.solar_left[i], &mut room, Energy::MAX);
            self.flows[i].solar_to_battery = moved;
            self.flows[i].spilled = self.solar_left[i];
        }
    }

    /// Steps 4 and 5.
    fn battery_then_grid_to_load(&mut self) {
        for i in self.apps() {
            if !self.charging[i].is_zero() && self.is_full(i) {
                self.end_charge(i);
            }
            // An asked-for charge leaves to the battery only the load that lies above the grid limit.
            let beyond =
                if self.charging[i].is_zero() { Energy::MAX } else { self.open[i].less(self.grid_limit(i)) };
            let mut gives = self.deliverable(i);
            let limit = self.terms[i].discharge_limit.min(beyond);
            self.flows[i].battery_to_load = crate::split::carry(&mut gives, &mut self.open[i], limit);
            let mut grid = self.grid_limit(i);
            self.flows[i].grid_to_load = crate::split::carry(&mut grid, &mut self.open[i], Energy::MAX);
        }
    }

    fn end_charge(&mut self, i: usize) {
        self.charging[i] = Energy::ZERO;
        self.charge_ended.push(self.terms[i].app);
    }

    /// Step 7: the charge rate less what came in otherwise, within charge limit, room, what is left of the grid limit,
    /// and what carbon allows. An app that discharged in this tick does not charge in it.
    fn grid_to_batteries(&mut self) {
        let wanted: Vec<Energy> = self.apps().map(|i| self.charge_from_grid(i)).collect();
        for (i, paid) in self.repay(&wanted, &wanted) {
            self.flows[i].grid_to_lenders = paid;
        }
        for (i, wanted) in wanted.into_iter().enumerate() {
            self.flows[i].grid_to_battery = wanted - self.flows[i].grid_to_lenders;
            if !self.charging[i].is_zero() && self.is_full(i) {
                self.end_charge(i);
            }
        }
    }

    fn charge_from_grid(&self, i: usize) -> Energy {
        let (flows, terms) = (&self.flows[i], &self.terms[i]);
        let discharged = !(flows.battery_to_load.is_zero() && flows.forced_to_load.is_zero());
        if self.site.islanded || discharged {
            return Energy::ZERO;
        }
        let drawn = flows.grid_to_load.saturating_add(flows.overdraft_grid);
        self.charging[i]
            .less(bounded(flows.battery_in().get()))
            .min(self.acceptance(i))
            .min(terms.grid_limit.less(flows.grid_to_load))
            .min(terms.carbon_limit.less(drawn))
    }
}
