//! Events that depend on a subscriber's thresholds: solar and intensity that changed enough, a battery that counts as
//! full or empty. One state per subscription and app.
//!
//! ```text
//!             level >= full           level < full
//!   below  --------------------> full -----------> below      told on the way to `full`; `empty` likewise
//! ```

use super::convert::ppm;
use super::errors::Problem;
use super::narrator::{About, Told};
use super::show::{intensity, outcome_of, share};
use crate::engine::handle::View;
use ecovisor_core::{App, AppId, Meter};
use ecovisor_proto::v1;
use ecovisor_proto::v1::event::Kind;
use std::collections::BTreeMap;

/// What a subscriber wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    solar_mw: Option<u64>,
    carbon_mg_per_kwh: Option<u64>,
    full_ppm: u32,
    empty_ppm: u32,
}

impl TryFrom<v1::WatchEventsRequest> for Thresholds {
    type Error = Problem;

    fn try_from(request: v1::WatchEventsRequest) -> Result<Self, Problem> {
        let v1::WatchEventsRequest {
            solar_change_mw,
            carbon_change_mg_per_kwh,
            battery_full_ppm,
            battery_empty_ppm,
        } = request;
        Ok(Self {
            solar_mw: solar_change_mw,
            carbon_mg_per_kwh: carbon_change_mg_per_kwh,
            full_ppm: ppm("battery_full_ppm", battery_full_ppm.unwrap_or(1_000_000))?,
            empty_ppm: ppm("battery_empty_ppm", battery_empty_ppm.unwrap_or(0))?,
        })
    }
}

/// What was last told of an app.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    solar_mw: u64,
    carbon_mg_per_kwh: u64,
    full: bool,
    empty: bool,
}

/// One subscription's state.
#[derive(Clone, Debug)]
pub struct Watched {
    thresholds: Thresholds,
    last: BTreeMap<AppId, Last>,
}

impl Watched {
    /// A subscription that begins now: a battery that is full already is not told as such.
    #[must_use]
    pub fn new(thresholds: Thresholds, view: &View) -> Self {
        let mut watched = Self { thresholds, last: BTreeMap::new() };
        for app in view.site.apps(false) {
            watched.level(view, app);
        }
        watched
    }

    /// What a tick's events are for one app.
    pub fn of(&mut self, told: &Told, app: &App) -> Vec<v1::Event> {
        let own = told.events.iter().filter(|(about, _)| concerns(&told.view, app, *about));
        let mut events: Vec<v1::Event> = own.map(|(_, event)| event.clone()).collect();
        events.extend(self.crossed(&told.view, app));
        events
    }

    /// What an app's thresholds make of a tick.
    pub fn crossed(&mut self, view: &View, app: &App) -> Vec<v1::Event> {
        let Some((outcome, of)) = outcome_of(view, app.id) else { return Vec::new() };
        let thresholds = self.thresholds;
        let solar = of.coming_solar.get();
        let mut kinds = self.level(view, app);
        let last = self.last.entry(app.id).or_default();
        if changed(thresholds.solar_mw, last.solar_mw, solar) {
            let from_mw = std::mem::replace(&mut last.solar_mw, solar);
            kinds.push(Kind::SolarChanged(v1::SolarChanged { from_mw, to_mw: solar }));
        }
        if let Some(now) =
            intensity(view).filter(|now| changed(thresholds.carbon_mg_per_kwh, last.carbon_mg_per_kwh, *now))
        {
            let from_mg_per_kwh = std::mem::replace(&mut last.carbon_mg_per_kwh, now);
            kinds.push(Kind::CarbonChanged(v1::CarbonChanged { from_mg_per_kwh, to_mg_per_kwh: now }));
        }
        let wall_ms = outcome.wall.saturating_add(outcome.span).get();
        kinds.into_iter().map(|kind| v1::Event { tick: outcome.tick.0, wall_ms, kind: Some(kind) }).collect()
    }

    /// Notes whether an app's battery counts as full or empty, and tells where it has become so.
    fn level(&mut self, view: &View, app: &App) -> Vec<Kind> {
        let battery = share(view, app).battery;
        let known = self.last.contains_key(&app.id);
        let last = self.last.entry(app.id).or_default();
        let Some(account) = view.site.account(app.id).filter(|_| !battery.capacity.is_zero()) else {
            return Vec::new();
        };
        let part = |ppm: u32| u128::from(battery.capacity.get()) * u128::from(ppm);
        let (level, million) = (account.stored.get(), 1_000_000);
        let scaled = u128::from(level) * million;
        let full = scaled >= part(self.thresholds.full_ppm);
        let empty = level <= battery.floor.get() || scaled <= part(self.thresholds.empty_ppm);
        let mut kinds = Vec::new();
        if known && full && !last.full {
            kinds.push(Kind::BatteryFull(v1::BatteryFull { charge_level_uj: level }));
        }
        if known && empty && !last.empty {
            kinds.push(Kind::BatteryEmpty(v1::BatteryEmpty { charge_level_uj: level }));
        }
        (last.full, last.empty) = (full, empty);
        kinds
    }
}

fn changed(threshold: Option<u64>, from: u64, to: u64) -> bool {
    threshold.is_some_and(|least| from != to && from.abs_diff(to) >= least)
}

/// Whether an event is one of an app's: its own, or of a reading that its figures rest on.
fn concerns(view: &View, app: &App, about: About) -> bool {
    let share = share(view, app);
    match about {
        About::App(id) => id == app.id,
        About::Reading(Meter::Solar) => share.solar_weight > 0 || app.id == AppId::HOUSE,
        About::Reading(Meter::BatteryLevel | Meter::BatteryFlow) => !share.battery.capacity.is_zero(),
        About::Reading(Meter::Intensity | Meter::Grid) => !share.grid_limit.is_zero(),
        About::Reading(Meter::Load) => app.id == AppId::HOUSE,
        About::Loop => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_from_what_was_last_told() {
        let check = |least: Option<u64>, from: u64, to: u64, is: bool| {
            assert_eq!(changed(least, from, to), is, "{least:?} {from} {to}");
        };
        check(None, 0, 9, false);
        check(Some(0), 5, 5, false);
        check(Some(0), 5, 6, true);
        check(Some(3), 5, 7, false);
        check(Some(3), 5, 8, true);
        check(Some(3), 8, 5, true);
    }

    #[test]
    fn a_threshold_beyond_the_whole_is_named() {
        let request =
            v1::WatchEventsRequest { battery_full_ppm: Some(1_000_001), ..v1::WatchEventsRequest::default() };
        assert_eq!(Thresholds::try_from(request).unwrap_err().field, Some("battery_full_ppm"));
    }
}
