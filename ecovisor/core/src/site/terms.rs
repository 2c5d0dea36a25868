//! What a tick is settled under: powers become energies of its span, and what is known decides what a battery may do.

use super::readings::Believed;
use super::{Rules, Setup, Site};
use crate::app::{App, AppId, Life};
use crate::battery::bounded;
use crate::ledger::SiteFlows;
use crate::settle::{SiteTerms, SolarRule, Terms};
use crate::share::Share;
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};

impl Rules {
    fn islanded(&self, grid_lost: bool) -> bool {
        grid_lost || self.grid.is_none()
    }
}

impl Setup {
    /// What an app is entitled to; `house` to what others leave, which the caller has at hand for all apps.
    fn share_in_force(&self, app: &App, house: Share) -> Share {
        if app.id == AppId::HOUSE { house } else { app.share }
    }
}

impl Site {
    pub(super) fn site_terms(&self, span: Millis, grid_lost: bool, believed: &Believed) -> SiteTerms {
        let rules = &self.setup.rules;
        let export = rules.grid.filter(|_| rules.export).map_or(Power::ZERO, |grid| grid.export_limit);
        SiteTerms {
            solar_rule: rules.solar_rule,
            solar: believed.solar,
            redistribute: rules.redistribute,
            export_limit: export.over(span),
            islanded: rules.islanded(grid_lost),
            intensity: believed.intensity,
            conversion: rules.conversion(),
            tolerance: rules.tolerance,
            metered: believed.metered,
        }
    }

    pub(super) fn terms(&self, span: Millis, loads: &[Energy], believed: &Believed) -> Vec<Terms> {
        let rules = &self.setup.rules;
        let house = self.setup.house_share();
        let (weights, house_weight) = self.setup.tree.flat_weights(rules.house_weight);
        let (live, house_live) = self.setup.tree.solar_parts(believed.solar, rules.house_weight);
        let mut terms = Vec::with_capacity(self.setup.apps.len());
        for (i, app) in self.setup.apps.iter().enumerate() {
            let share = self.setup.share_in_force(app, house);
            let settings = &app.settings;
            let solar = match rules.solar_rule {
                SolarRule::Buffered => self.accounts[i].buffered,
                SolarRule::Live { .. } => live.get(i).map_or(house_live, |(_, part)| *part),
            };
            let charge_limit = match (app.life, believed.battery_takes) {
                (Life::Active, true) => share.battery.charge_limit,
                (Life::Draining, _) | (_, false) => Power::ZERO,
            };
            terms.push(Terms {
                app: app.id,
                solar,
                load: loads[i],
                weight: weights.get(i).map_or(house_weight, |(_, weight)| *weight),
                capacity: share.battery.capacity,
                floor: share.battery.floor,
                charge_limit: charge_limit.over(span),
                discharge_limit: share.battery.discharge_limit.min(settings.max_discharge.value).over(span),
                charge: settings.charge_rate.value.min(charge_limit).over(span),
                grid_limit: share.grid_limit.over(span),
                carbon_limit: self.carbon_limit(i, span, believed.intensity),
                battery_gives: believed.battery_gives,
            });
        }
        terms
    }

    /// The most grid energy in `span` that an app's carbon rate and budget allow.
    fn carbon_limit(&self, i: usize, span: Millis, intensity: CarbonIntensity) -> Energy {
        let settings = &self.setup.apps[i].settings;
        let rate =
            settings.carbon_rate.value.map_or(Energy::MAX, |rate| rate.power_within(intensity).over(span));
        let budget = settings.carbon_budget.value;
        rate.min(budget.map_or(Energy::MAX, |budget| self.past[i].spent.energy_left(budget, intensity)))
    }

    /// The new buffer is divided by the weights in force: these parts are the apps' solar of the coming tick.
    pub(super) fn divide_buffer(&mut self, site: &SiteFlows) {
        if self.setup.rules.solar_rule != SolarRule::Buffered {
            return;
        }
        let (parts, house) =
            self.setup.tree.solar_parts(bounded(site.buffer.get()), self.setup.rules.house_weight);
        for (i, account) in self.accounts.iter_mut().enumerate() {
            account.buffered = parts.get(i).map_or(house, |(_, part)| *part);
        }
    }
}
