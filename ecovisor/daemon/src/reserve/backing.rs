//! What an app may count on: its part of the sun, its grid limit, its battery, and what of the site's grid is free; each
//! less what its and others' reservations take, cut at every moment at which any of it changes.

use crate::engine::handle::View;
use crate::forecast::{ForecastSource, Quantity, Told};
use crate::rpc::show;
use ecovisor_core::reserve::Part;
use ecovisor_core::{App, Budget, Conversion, Reservation};
use ecovisor_forecast::floor;
use ecovisor_units::{CarbonIntensity, CarbonRate, Energy, Millis, Power};

/// How far ahead is looked, in hours: as far as forecasts go.
const HORIZON_HOURS: u64 = 48;
const HOUR_MS: u64 = 3_600_000;

/// Looks at a forecast in one slot at most; the least of them counts.
const LOOKS_MAX: u64 = 8;

/// A stretch in which nothing of it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its begin, in ms of the site's own time.
    pub from: Millis,
    /// Its end.
    pub until: Millis,
    /// What is left of the app's grid limit.
    pub own_grid: Power,
    /// What is left of its battery's power.
    pub battery: Power,
    /// What nobody has reserved of the site's grid.
    pub site_grid: Power,
    /// What its other reservations take of its sun already.
    pub sun_taken: Power,
}

/// All that an app may count on.
pub struct Backing {
    /// One after the other, from the coming tick on.
    pub slots: Vec<Slot>,
    /// In its battery, inside, that nothing holds.
    pub energy: Energy,
    /// The battery's losses.
    pub conversion: Conversion,
    pub(super) sun: Option<Told>,
    sun_part: f64,
    carbon: Option<Told>,
    carbon_rate: Option<CarbonRate>,
    /// Grid energy that a budget leaves at an intensity.
    budget: Option<(Budget, ecovisor_core::Spent)>,
    intensity_worst: CarbonIntensity,
    /// What the wall clock is ahead of the site's own time.
    wall_ahead_ms: u64,
}

impl Backing {
    /// Of `app`, as the site stands.
    #[must_use]
    pub fn of(view: &View, app: &App, forecast: Option<&dyn ForecastSource>) -> Self {
        let site = &view.site;
        let told = |of| forecast.and_then(|forecast| forecast.told(of));
        let rules = site.rules_staged();
        let begin = site.now().saturating_add(rules.tick);
        let settings = &app.settings;
        Self {
            slots: slots(view, app, begin),
            energy: site.reservable_energy(app.id),
            conversion: rules.conversion(),
            sun: told(Quantity::Solar),
            sun_part: show::solar_part(view, app),
            carbon: told(Quantity::Carbon),
            carbon_rate: settings.carbon_rate.value,
            budget: settings
                .carbon_budget
                .value
                .map(|budget| (budget, site.spent(app.id).copied().unwrap_or_default())),
            intensity_worst: rules.intensity_worst,
            wall_ahead_ms: show::turn_ms(view).saturating_sub(site.now().get()),
        }
    }

    /// When it begins: the coming tick.
    #[must_use]
    pub fn begin(&self) -> Millis {
        self.slots.first().map_or(Millis::ZERO, |slot| slot.from)
    }

    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Millis {
        self.slots.last().map_or(Millis::ZERO, |slot| slot.until)
    }

    /// Site time as wall clock, in ms since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self, at: Millis) -> u64 {
        at.get().saturating_add(self.wall_ahead_ms)
    }

    /// The wall clock as site time; what lies before the site's begin is zero.
    #[must_use]
    pub fn site_time(&self, wall_ms: u64) -> Millis {
        Millis::new(wall_ms.saturating_sub(self.wall_ahead_ms))
    }

    /// The hour of the wall clock that a moment lies in.
    #[must_use]
    pub fn hour(&self, at: Millis) -> u64 {
        self.wall_ms(at) / HOUR_MS
    }

    /// Whether the sun may be counted on at all at that moment: at night it has no part in the risk.
    #[must_use]
    pub fn is_sunlit(&self, at: Millis) -> bool {
        let expected = self.sun.as_ref().and_then(|told| told.look.at(self.wall_ms(at)));
        self.sun_part > 0.0 && expected.is_some_and(|said| said.p50 > 0.0)
    }

    /// Whether a carbon rate or budget bounds the grid.
    #[must_use]
    pub fn bounds_carbon(&self) -> bool {
        self.carbon_rate.is_some() || self.budget.is_some()
    }

    /// What the app's sun stays above with probability 1 − `level` in all of `from` to `until`, rounded down; zero where
    /// nobody can say.
    #[must_use]
    pub fn sun(&self, from: Millis, until: Millis, level: f64) -> Power {
        let Some(told) = &self.sun else { return Power::ZERO };
        let least = self.looks(told, from, until).map(|at| told.look.quantile(at, level).unwrap_or(0.0));
        Power::new(floor(least.fold(f64::MAX, f64::min) * self.sun_part))
    }

    /// The most grid power that carbon rate and budget allow, at the intensity that is not exceeded with probability 1 −
    /// `level`; where nobody can say, at the worst. The budget is spread over `window`.
    #[must_use]
    pub fn carbon_grid(&self, from: Millis, until: Millis, window: Millis, level: f64) -> Power {
        if !self.bounds_carbon() {
            return Power::MAX;
        }
        let worst = self.intensity_worst;
        let intensity = self.carbon.as_ref().map_or(worst, |told| {
            let mut most = self.looks(told, from, until).map(|at| told.look.quantile(at, 1.0 - level));
            let most = most.try_fold(0.0, |most: f64, said| Some(most.max(said?)));
            most.map_or(worst, |most| CarbonIntensity::new(floor(most).saturating_add(1)))
        });
        let rate = self.carbon_rate.map_or(Power::MAX, |rate| rate.power_within(intensity));
        let left = self.budget.map(|(budget, spent)| spent.energy_left(budget, intensity));
        let budget =
            left.filter(|left| *left < Energy::MAX).map_or(Power::MAX, |left| left.mean_power(window));
        rate.min(budget)
    }

    /// Moments at which to look at a forecast from `from` to `until`, by the wall clock.
    fn looks(&self, told: &Told, from: Millis, until: Millis) -> impl Iterator<Item = u64> + use<> {
        let (from, until) = (self.wall_ms(from), self.wall_ms(until));
        let span = until.saturating_sub(from);
        let looks = span.div_ceil(told.step_ms.max(1)).clamp(1, LOOKS_MAX);
        (0..looks).map(move |look| from + span / looks * look).chain([until.saturating_sub(1)])
    }
}

fn slots(view: &View, app: &App, begin: Millis) -> Vec<Slot> {
    let site = &view.site;
    let reservations = site.reservations(true).all();
    let wall = |at: Millis| show::turn_ms(view).saturating_add(at.less(site.now()).get());
    let first_hour = HOUR_MS - wall(begin) % HOUR_MS;
    let hours = (0..HORIZON_HOURS).map(|hour| begin.saturating_add(Millis::new(first_hour + hour * HOUR_MS)));
    let mut edges: Vec<Millis> = std::iter::once(begin).chain(hours).collect();
    let end = edges.last().copied().unwrap_or(begin);
    let changes = reservations.iter().flat_map(|one| one.spans().flat_map(|(from, part)| [from, part.until]));
    edges.extend(changes.filter(|at| begin < *at && *at < end));
    edges.sort_unstable();
    edges.dedup();
    let (share, free) = (app.share, site.free_of_shares().grid_limit);
    let most_out = share.battery.discharge_limit.min(app.settings.max_discharge.value);
    let own_grid = if site.rules_staged().grid.is_some() { share.grid_limit } else { Power::ZERO };
    let slot = |pair: &[Millis]| {
        let sum = |own: bool, of: fn(&Part) -> Power| {
            let of_app = reservations.iter().filter(|one: &&Reservation| !own || one.app == app.id);
            of_app
                .filter_map(|one| one.at(pair[0]))
                .fold(Power::ZERO, |sum, part| sum.saturating_add(of(part)))
        };
        Slot {
            from: pair[0],
            until: pair[1],
            own_grid: own_grid.less(sum(true, |part| part.own_grid)),
            battery: most_out.less(sum(true, |part| part.battery)),
            site_grid: free.less(sum(false, |part| part.site_grid)),
            sun_taken: sum(true, |part| part.solar),
        }
    };
    edges.windows(2).map(slot).collect()
}
