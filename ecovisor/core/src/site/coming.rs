//! The coming tick: what each app may draw, the caps that follow, and what hardware is to do.

use super::readings::Believed;
use super::{BatteryOrder, CapOrder, Orders, Site};
use crate::app::{App, AppId, Shortfall};
use crate::cap::{Container, fit};
use crate::event::Event;
use crate::freshness::Quality;
use crate::settle::{Metered, Settled, SiteTerms, SolarRule, Terms, settle};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis, Power};

/// What is ahead of the whole site.
pub(super) struct Coming {
    /// Of each app, in the order of apps.
    pub(super) apps: Vec<Ahead>,
    pub(super) orders: Orders,
}

/// What is ahead of one app.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead {
    /// What it may draw.
    pub(super) supply: Power,
    /// The solar in that.
    pub(super) solar: Power,
}

impl Site {
    /// Looks one nominal tick ahead, with the loads, the intensity and (live) the solar of the tick that has passed.
    pub(super) fn coming(
        &mut self,
        grid_lost: bool,
        intensity: CarbonIntensity,
        solar: Energy,
        events: &mut Vec<Event>,
    ) -> Coming {
        let tick = self.setup.rules.tick;
        let solar = solar.mean_power(self.last_span).over(tick);
        let believed = Believed {
            solar,
            intensity,
            metered: Metered::default(),
            battery_gives: self.level.quality != Quality::Assumed,
            battery_takes: true,
        };
        let loads: Vec<Energy> =
            self.past.iter().map(|past| past.load.mean_power(self.last_span).over(tick)).collect();
        let terms = self.terms(tick, &loads, &believed);
        let site = self.site_terms(tick, grid_lost, &believed);
        let ahead = |(i, terms): (usize, &Terms)| Ahead {
            supply: self.supply(i, terms, &site).mean_power(tick),
            solar: terms.solar.mean_power(tick),
        };
        let apps: Vec<Ahead> = terms.iter().enumerate().map(ahead).collect();
        let (mut accounts, mut deficit) = (self.accounts.clone(), self.deficit);
        let settled = settle(&site, &terms, &mut accounts, &mut deficit).ok();
        let (battery, solar_limit) =
            settled.map_or((BatteryOrder::Rest, None), |ahead| self.hardware(&ahead, solar, tick));
        let caps = self.caps(&apps, events);
        Coming { apps, orders: Orders { battery, solar_limit, caps, lease: self.order_lease() } }
    }

    /// An app's solar, what its battery may give, and its grid limit as far as carbon allows.
    fn supply(&self, i: usize, terms: &Terms, site: &SiteTerms) -> Energy {
        let stored = self.accounts[i].stored;
        let above_floor = u128::from(stored.less(terms.floor).get());
        let grid_limit = if site.islanded { Energy::ZERO } else { terms.grid_limit };
        // While it charges, the battery serves what lies above the grid limit, which a carbon bound below it keeps out of
        // reach.
        let charges = !terms.charge.is_zero() && stored < terms.capacity;
        let battery = match terms.battery_gives && (!charges || grid_limit <= terms.carbon_limit) {
            true => crate::battery::bounded(site.conversion.deliverable(above_floor)),
            false => Energy::ZERO,
        };
        let battery = battery.min(terms.discharge_limit);
        terms.solar.saturating_add(battery).saturating_add(grid_limit.min(terms.carbon_limit))
    }

    /// Only the net of all virtual flows is ordered from the real battery; the inverter is ordered down by what nobody
    /// would have a use for.
    fn hardware(&self, ahead: &Settled, solar: Energy, tick: Millis) -> (BatteryOrder, Option<Power>) {
        let mean = |energy: EnergySum| energy.narrow_saturating().mean_power(tick);
        let (input, output) = (mean(ahead.site.battery_in_booked), mean(ahead.site.battery_out_booked));
        let most = self.setup.rules.battery;
        let battery = match (most, self.level.quality) {
            (None, _) | (_, Quality::Assumed) => BatteryOrder::Rest,
            (Some(most), _) if !input.is_zero() => BatteryOrder::Charge(input.min(most.charge_limit)),
            (Some(most), _) if !output.is_zero() => BatteryOrder::Discharge(output.min(most.discharge_limit)),
            (Some(_), _) => BatteryOrder::Rest,
        };
        let unused: EnergySum = match self.setup.rules.solar_rule {
            SolarRule::Live { curtailable: false } => return (battery, None),
            SolarRule::Live { curtailable: true } => ahead.flows.iter().map(|f| f.curtailed).sum(),
            SolarRule::Buffered => ahead.flows.iter().map(|f| f.kept).sum(),
        };
        let limit = mean(solar.wide().less(unused));
        (battery, (!unused.is_zero()).then_some(limit))
    }

    /// Lowers the caps of each app's containers to its supply, restores them when supply is back.
    fn caps(&mut self, apps: &[Ahead], events: &mut Vec<Event>) -> Vec<CapOrder> {
        let placed = |(at, container): (usize, &Container)| Some((self.setup.place(container.app)?, at));
        let mut by_app: Vec<(usize, usize)> =
            self.setup.containers.iter().enumerate().filter_map(placed).collect();
        by_app.sort_unstable();
        let mut orders = Vec::with_capacity(by_app.len());
        for own in by_app.chunk_by(|(one, _), (other, _)| one == other) {
            let place = own[0].0;
            let app = &self.setup.apps[place];
            let wishes: Vec<Power> = own.iter().map(|&(_, at)| self.setup.containers[at].wish()).collect();
            let (caps, frozen) = caps_of(app, &wishes, apps[place].supply);
            for ((&(_, at), wish), cap) in own.iter().zip(wishes).zip(caps) {
                let (container, past) = (&self.setup.containers[at], &mut self.container_past[at]);
                let lowered = cap < wish;
                match (past.lowered, lowered) {
                    (false, true) => events.push(Event::CapLowered { container: container.id, cap }),
                    (true, false) => events.push(Event::CapRestored(container.id)),
                    (true, true) | (false, false) => {}
                }
                (past.lowered, past.cap) = (lowered, cap);
                let order = (cap < container.ceiling).then_some(cap);
                orders.push(CapOrder { container: container.id, app: app.id, cap: order, frozen });
            }
        }
        orders
    }

    /// Never past the shortest lease behind the orders for battery and inverter.
    fn order_lease(&self) -> Millis {
        let leases = self.setup.apps.iter().flat_map(|app| {
            let s = &app.settings;
            [s.charge_rate.until, s.max_discharge.until, s.carbon_rate.until, s.carbon_budget.until]
        });
        let shortest = leases.flatten().map(|until| until.less(self.now)).min().unwrap_or(Millis::MAX);
        // What would end before the next tick renews it is that tick's to decide.
        self.setup.rules.order_lease.min(shortest).max(Millis::new(1))
    }
}

/// What an app's containers may draw within `supply`, and whether they stand still. The operator's own containers keep
/// the caps they were given: what `house` is left with is no reservation that could bind them.
fn caps_of(app: &App, wishes: &[Power], supply: Power) -> (Vec<Power>, bool) {
    if app.id == AppId::HOUSE {
        return (wishes.to_vec(), false);
    }
    match (supply.is_zero(), app.policy.shortfall) {
        (true, Shortfall::Notify) => (wishes.to_vec(), false),
        (true, Shortfall::Freeze) => (fit(wishes, supply), true),
        (true, Shortfall::Throttle) | (false, _) => (fit(wishes, supply), false),
    }
}
