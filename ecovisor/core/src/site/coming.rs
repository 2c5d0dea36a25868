//! The coming tick: what each app may draw, the caps that follow, and what hardware is to do.

use super::readings::Believed;
use super::{BatteryOrder, CapOrder, Desk, Outcome, Site};
use crate::app::{App, AppId, Shortfall};
use crate::cap::fit_into;
use crate::event::Event;
use crate::freshness::Quality;
use crate::settle::{Metered, SiteTerms, SolarRule, Terms, settle_into};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis, Power};

/// What is ahead of one app.
#[derive(Clone, Copy, Debug, Default)]
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
        desk: &mut Desk,
        out: &mut Outcome,
    ) {
        let (tick, last_span) = (self.setup.rules.tick, self.last_span);
        let solar = solar.mean_power(last_span).over(tick);
        let believed = Believed {
            solar,
            intensity,
            metered: Metered::default(),
            battery_gives: self.level.quality != Quality::Assumed,
            battery_takes: true,
        };
        desk.loads.clear();
        desk.loads.extend(self.past.iter().map(|past| past.load.mean_power(last_span).over(tick)));
        self.terms(tick, &believed, desk);
        let site = self.site_terms(tick, grid_lost, &believed);
        let ahead = |(i, terms): (usize, &Terms)| Ahead {
            supply: self.supply(i, terms, &site).mean_power(tick),
            solar: terms.solar.mean_power(tick),
        };
        desk.apps_ahead.clear();
        desk.apps_ahead.extend(desk.terms.iter().enumerate().map(ahead));
        self.judge_reservations(|place| desk.apps_ahead[place].supply, &mut out.events);
        (out.orders.battery, out.orders.solar_limit) = self.hardware(&site, desk, tick);
        self.caps(desk, &mut out.orders.caps, &mut out.events);
        out.orders.lease = self.order_lease();
        for app in &mut out.apps {
            if let Some(place) = self.setup.place(app.app) {
                let Ahead { supply, solar } = desk.apps_ahead[place];
                (app.supply, app.coming_solar) = (supply, solar);
            }
        }
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

    /// Settles the tick ahead, and orders from the real battery only the net of all virtual flows; the inverter is ordered
    /// down by what nobody would have a use for.
    fn hardware(&self, site: &SiteTerms, desk: &mut Desk, tick: Millis) -> (BatteryOrder, Option<Power>) {
        let Desk { terms, accounts_ahead: accounts, settling, settled_ahead: ahead, .. } = desk;
        accounts.clone_from(&self.accounts);
        if settle_into(site, terms, accounts, &mut self.deficit.clone(), settling, ahead).is_err() {
            return (BatteryOrder::Rest, None);
        }
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
        let limit = mean(site.solar.wide().less(unused));
        (battery, (!unused.is_zero()).then_some(limit))
    }

    /// Lowers the caps of each app's containers to its supply, restores them when supply is back.
    fn caps(&mut self, desk: &mut Desk, orders: &mut Vec<CapOrder>, events: &mut Vec<Event>) {
        orders.clear();
        let Desk { wishes, caps, apps_ahead, standing, .. } = desk;
        let by_app = standing.as_ref().map_or(&[][..], |standing| &standing.by_app);
        for own in by_app.chunk_by(|(one, _), (other, _)| one == other) {
            let place = own[0].0;
            let app = &self.setup.apps[place];
            wishes.clear();
            wishes.extend(own.iter().map(|&(_, at)| self.setup.containers[at].wish()));
            let frozen = caps_of(app, wishes, apps_ahead[place].supply, caps);
            for ((&(_, at), &wish), &cap) in own.iter().zip(&*wishes).zip(&*caps) {
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

/// What an app's containers may draw within `supply`, into `caps`, and whether they stand still. The operator's own
/// containers keep the caps they were given: what `house` is left with is no reservation that could bind them.
fn caps_of(app: &App, wishes: &[Power], supply: Power, caps: &mut Vec<Power>) -> bool {
    let (bound, frozen) = match (app.id, supply.is_zero(), app.policy.shortfall) {
        (AppId::HOUSE, _, _) | (_, true, Shortfall::Notify) => (false, false),
        (_, true, Shortfall::Freeze) => (true, true),
        (_, true, Shortfall::Throttle) | (_, false, _) => (true, false),
    };
    caps.clear();
    match bound {
        true => fit_into(wishes, supply, caps),
        false => caps.extend(wishes),
    }
    frozen
}
