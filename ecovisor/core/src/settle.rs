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

mod closing;
mod each;
mod meters;
mod overdraft;
mod pool;
mod repay;
mod row;
mod together;

use crate::app::AppId;
use crate::battery::{Conversion, bounded};
use crate::ledger::{Account, Broken, Flows, SiteFlows};
use alloc::vec::Vec;
use closing::Closing;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum};
use pool::Pool;
use row::Row;
use serde::{Deserialize, Serialize};
use together::Tick;

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

/// Buffers that a settlement fills and the next one fills again, so that ticks cost no allocations. What is in them means
/// nothing between ticks.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    pool: Pool,
    /// What each claim was before the tick.
    stored_before: Vec<Energy>,
    /// Apps whose charge setting ended in the last step, kept apart from those of the step before.
    ended_last: Vec<AppId>,
}

/// How a tick is taken through its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Every app through all steps at once, but for the spill pool.
    Each,
    /// Every step for all apps at once.
    Together,
}

impl Order {
    /// The order that a tick needs: while nobody owes anything and a grid is there, no app's battery is another's business,
    /// and each can be taken through all steps while its figures are at hand. Both orders lead to the same books.
    #[must_use]
    pub fn needed(site: &SiteTerms, accounts: &[Account]) -> Self {
        let owing = |a: &Account| !(a.debt.is_zero() && a.loan.is_zero());
        if site.islanded || accounts.iter().any(owing) { Self::Together } else { Self::Each }
    }
}

/// Settles one tick: changes `accounts` and `deficit`, returns what moved. `terms` and `accounts` go together, `house`
/// last. The new buffer is in `SiteFlows::buffer`; who divides it among the accounts is the caller.
///
/// # Errors
/// [`Broken`] where an invariant does not hold afterwards: a bug. `accounts` are of no use then.
///
/// # Panics
/// Where `terms` and `accounts` differ in length, or `house` does not stand last.
pub fn settle(
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    deficit: &mut EnergySum,
) -> Result<Settled, Broken> {
    let mut settled = Settled::default();
    settle_into(site, terms, accounts, deficit, &mut Desk::default(), &mut settled)?;
    Ok(settled)
}

/// [`settle`] with buffers of the caller's: `settled` is overwritten.
///
/// # Errors
/// As [`settle`].
///
/// # Panics
/// As [`settle`].
pub fn settle_into(
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    deficit: &mut EnergySum,
    desk: &mut Desk,
    settled: &mut Settled,
) -> Result<(), Broken> {
    settle_in(Order::needed(site, accounts), site, terms, accounts, deficit, desk, settled)
}

/// [`settle_into`] in a given order, so that the two can be compared.
///
/// # Errors
/// As [`settle`].
///
/// # Panics
/// As [`settle`]; and in the order [`Order::Each`] where the tick needs the other.
pub fn settle_in(
    order: Order,
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    deficit: &mut EnergySum,
    desk: &mut Desk,
    settled: &mut Settled,
) -> Result<(), Broken> {
    assert_eq!(terms.len(), accounts.len(), "every app has terms and an account");
    assert!(terms.last().is_some_and(|t| t.app == AppId::HOUSE), "house stands last");
    settled.flows.resize(terms.len(), Flows::default());
    settled.site = SiteFlows::default();
    settled.charge_ended.clear();
    let Desk { pool, stored_before, ended_last } = desk;
    let mut closing = Closing::begin(site, *deficit, stored_before);
    match order {
        Order::Each => {
            assert!(Order::needed(site, accounts) == order, "debts and islands need apps together");
            each::settle(site, terms, accounts, pool, settled, ended_last, &mut closing)?;
        }
        Order::Together => {
            let (flows, ended) = (&mut settled.flows[..], &mut settled.charge_ended);
            Tick::begin(site, terms, accounts, *deficit, flows, ended).settle(pool);
            closing.all(terms, &mut settled.flows, accounts)?;
        }
    }
    closing.meet_meters(terms, accounts, deficit, settled)
}

impl SiteTerms {
    /// What the load meter shows beyond what the containers used; zero where there is none.
    fn unmetered(&self, contained: EnergySum) -> Energy {
        bounded(self.metered.load.map_or(EnergySum::ZERO, |load| load.wide().less(contained)).get())
    }
}
