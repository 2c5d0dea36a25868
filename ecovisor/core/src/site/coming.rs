//! The coming tick: what each app may draw, the caps that follow, and what hardware is to do.

use super::{BatteryOrder, Believed, CapOrder, Orders, Site};
use crate::app::{AppId, Shortfall};
use crate::cap::fit;
use crate::event::Event;
use crate::freshness::Quality;
use crate::settle::{Metered, Settled, SolarRule, settle};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};

/// What is ahead.
pub(super) struct Coming {
    /// Whose, its supply, its solar.
    apps: Vec<(AppId, Power, Power)>,
    pub(super) orders: Orders,
}

impl Coming {
    /// An app's supply and solar; nothing for one that is gone.
    pub(super) fn of(&self, app: AppId) -> (Power, Power) {
        let found = self.apps.iter().find(|(id, _, _)| *id == app);
        found.map_or((Power::ZERO, Power::ZERO), |(_, supply, solar)| (*supply, *solar))
    }
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
        let islanded = grid_lost || self.setup.rules.grid.is_none();
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
        let mut apps = Vec::with_capacity(terms.len());
        for (i, terms) in terms.iter().enumerate() {
            let above = u128::from(self.accounts[i].stored.less(terms.floor).get());
            let battery = crate::battery::bounded(self.setup.rules.conversion().deliverable(above));
            let battery = match terms.battery_gives && terms.charge.is_zero() {
                true => battery.min(terms.discharge_limit),
                false => Energy::ZERO,
            };
            let grid = if islanded { Energy::ZERO } else { terms.grid_limit.min(terms.carbon_limit) };
            let supply = terms.solar.saturating_add(battery).saturating_add(grid);
            apps.push((terms.app, supply.mean_power(tick), terms.solar.mean_power(tick)));
        }
        let site = self.site_terms(tick, grid_lost, &believed);
        let (mut accounts, mut deficit) = (self.accounts.clone(), self.deficit);
        let ahead = settle(&site, &terms, &mut accounts, &mut deficit).ok();
        let (battery, solar_limit) =
            ahead.map_or((BatteryOrder::Rest, None), |ahead| self.hardware(&ahead, solar, tick));
        let caps = self.caps(&apps, events);
        Coming { apps, orders: Orders { battery, solar_limit, caps, lease: self.order_lease() } }
    }

    /// Only the net of all virtual flows is ordered from the real battery; the inverter is ordered down by what nobody
    /// would have a use for.
    fn hardware(&self, ahead: &Settled, solar: Energy, tick: Millis) -> (BatteryOrder, Option<Power>) {
        let mean = |energy: ecovisor_units::EnergySum| energy.narrow_saturating().mean_power(tick);
        let (input, output) = (mean(ahead.site.battery_in_booked), mean(ahead.site.battery_out_booked));
        let most = self.setup.rules.battery;
        let battery = match (most, self.level.quality) {
            (None, _) | (_, Quality::Assumed) => BatteryOrder::Rest,
            (Some(most), _) if !input.is_zero() => BatteryOrder::Charge(input.min(most.charge_limit)),
            (Some(most), _) if !output.is_zero() => BatteryOrder::Discharge(output.min(most.discharge_limit)),
            (Some(_), _) => BatteryOrder::Rest,
        };
        let unused: ecovisor_units::EnergySum = match self.setup.rules.solar_rule {
            SolarRule::Live { curtailable: false } => return (battery, None),
            SolarRule::Live { curtailable: true } => ahead.flows.iter().map(|f| f.curtailed).sum(),
            SolarRule::Buffered => ahead.flows.iter().map(|f| f.kept).sum(),
        };
        let limit = mean(solar.wide().less(unused));
        (battery, (!unused.is_zero()).then_some(limit))
    }

    /// Lowers the caps of an app's containers to its supply, restores them when supply is back.
    fn caps(&mut self, apps: &[(AppId, Power, Power)], events: &mut Vec<Event>) -> Vec<CapOrder> {
        let mut orders = Vec::with_capacity(self.setup.containers.len());
        for (app, (id, supply, _)) in self.setup.apps.iter().zip(apps) {
            if *id == AppId::HOUSE {
                continue;
            }
            let own: Vec<_> = self.setup.containers.iter().filter(|c| c.app == *id).collect();
            let wishes: Vec<Power> = own.iter().map(|c| c.wish()).collect();
            let none = supply.is_zero();
            let caps = match (none, app.policy.shortfall) {
                (true, Shortfall::Notify) => wishes.clone(),
                (true, Shortfall::Throttle | Shortfall::Freeze) | (false, _) => fit(&wishes, *supply),
            };
            let frozen = none && app.policy.shortfall == Shortfall::Freeze;
            for ((container, wish), cap) in own.into_iter().zip(wishes).zip(caps) {
                let lowered = cap < wish;
                let past = self.container_past.iter_mut().find(|past| past.container == container.id);
                if let Some(past) = past {
                    match (past.lowered, lowered) {
                        (false, true) => events.push(Event::CapLowered { container: container.id, cap }),
                        (true, false) => events.push(Event::CapRestored(container.id)),
                        (true, true) | (false, false) => {}
                    }
                    (past.lowered, past.cap) = (lowered, cap);
                }
                let uncapped = cap >= container.ceiling;
                let cap = (!uncapped).then_some(cap);
                orders.push(CapOrder { container: container.id, app: *id, cap, frozen });
            }
        }
        orders
    }

    /// Never past the shortest lease of a battery setting.
    fn order_lease(&self) -> Millis {
        let leases = self.setup.apps.iter().flat_map(|app| {
            [app.settings.charge_rate.until, app.settings.max_discharge.until].into_iter().flatten()
        });
        let shortest = leases.map(|until| until.less(self.now)).min().unwrap_or(Millis::MAX);
        // What would end before the next tick renews it is that tick's to decide.
        self.setup.rules.order_lease.min(shortest).max(Millis::new(1))
    }
}
