//! What a tick is settled under: powers become energies of its span, and what is known decides what a battery may do.

use super::readings::Believed;
use super::{Desk, Rules, Setup, Site};
use crate::app::{App, AppId, Life};
use crate::battery::bounded;
use crate::settle::{SiteTerms, SolarRule, Terms};
use crate::share::Share;
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

    /// What each app is settled under, with the loads that lie on the desk.
    pub(super) fn terms(&self, span: Millis, believed: &Believed, desk: &mut Desk) {
        if let SolarRule::Live { .. } = self.setup.rules.solar_rule {
            desk.divide_solar(&self.setup, believed.solar);
        }
        let Desk { terms, loads, solar, standing, .. } = desk;
        let standing = standing.as_ref().expect("a step begins by standing at its desk");
        terms.clear();
        terms.extend(self.setup.apps.iter().enumerate().map(|(i, app)| {
            let solar = match self.setup.rules.solar_rule {
                SolarRule::Buffered => self.accounts[i].buffered,
                SolarRule::Live { .. } => solar[i],
            };
            let share = self.setup.share_in_force(app, standing.house);
            let carbon_limit = self.carbon_limit(i, span, believed.intensity);
            let weight = standing.weights[i];
            terms_of(
                app,
                share,
                span,
                believed,
                Terms { solar, load: loads[i], weight, carbon_limit, ..Terms::default() },
            )
        }));
        self.reserved(terms, span);
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
    pub(super) fn divide_buffer(&mut self, desk: &mut Desk) {
        if self.setup.rules.solar_rule != SolarRule::Buffered {
            return;
        }
        desk.divide_solar(&self.setup, bounded(desk.settled.site.buffer.get()));
        for (account, &part) in self.accounts.iter_mut().zip(&desk.solar) {
            account.buffered = part;
        }
    }
}

/// Completes terms with what follows from an app's share and settings: powers become energies of `span`.
fn terms_of(app: &App, share: Share, span: Millis, believed: &Believed, terms: Terms) -> Terms {
    let settings = &app.settings;
    let charge_limit = match (app.life, believed.battery_takes) {
        (Life::Active, true) => share.battery.charge_limit,
        (Life::Draining, _) | (_, false) => Power::ZERO,
    };
    Terms {
        app: app.id,
        capacity: share.battery.capacity,
        floor: share.battery.floor,
        charge_limit: charge_limit.over(span),
        discharge_limit: share.battery.discharge_limit.min(settings.max_discharge.value).over(span),
        charge: settings.charge_rate.value.min(charge_limit).over(span),
        grid_limit: share.grid_limit.over(span),
        battery_gives: believed.battery_gives,
        ..terms
    }
}
