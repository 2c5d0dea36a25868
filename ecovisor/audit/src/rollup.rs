//! A rollup: what the ticks of a minute, an hour or a day came to, per app and for the site, so that the ticks can go.
//!
//! Sums are sums of the ticks' figures, bit for bit: rollups of rollups are rollups of the ticks, whatever lies between.
//! A tick belongs whole to the period in which it began. Where the wall clock was set back, a period may have more than
//! one rollup: each is a stretch of ticks that follow each other.

mod code;

pub use code::{RollupError, decode, encode};

use crate::record::Record;
use ecovisor_core::site::AppOutcome;
use ecovisor_core::split::split;
use ecovisor_core::{Account, AppId, ContainerId, Flows, SiteFlows, Tick};
use ecovisor_units::{Carbon, CarbonIntensity, Energy, Millis};

/// How coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// By the tick.
    Tick,
    /// By the minute.
    Minute,
    /// By the hour.
    Hour,
    /// By the day, in UTC.
    Day,
}

impl Level {
    /// From the finest to the coarsest.
    pub const ALL: [Self; 4] = [Self::Tick, Self::Minute, Self::Hour, Self::Day];

    /// The length of a period; zero for ticks, whose length differs from site to site.
    #[must_use]
    pub const fn length(self) -> Millis {
        match self {
            Self::Tick => Millis::ZERO,
            Self::Minute => Millis::from_secs(60),
            Self::Hour => Millis::from_secs(3_600),
            Self::Day => Millis::from_secs(86_400),
        }
    }

    /// When the period began in which a moment lies, in ms since the Unix epoch, UTC.
    #[must_use]
    pub fn start_of(self, moment: Millis) -> Millis {
        let rest = moment.get().checked_rem(self.length().get()).unwrap_or(0);
        Millis::new(moment.get() - rest)
    }
}

/// Sums of an app's flows, in the order of [`Flows::FIELDS`].
pub type FlowSums = [u128; Flows::FIELDS.len()];

/// Sums of the site's flows, in the order of [`SiteFlows::FIELDS`]; of the [`STANDING`] ones, the last figure.
pub type SiteSums = [u128; SiteFlows::FIELDS.len()];

/// Figures of the site that stand after a tick and do not flow in it: adding them up would mean nothing.
pub const STANDING: [&str; 3] = ["buffer", "deficit", "level_booked"];

/// What the ticks of a stretch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// When the period began, in ms since the Unix epoch.
    pub start: Millis,
    /// The first tick.
    pub tick: Tick,
    /// How many; never zero.
    pub ticks: u64,
    /// The earliest beginning of any, in ms since the Unix epoch: the first one's, unless the clock was set back.
    pub wall_first: Millis,
    /// The latest beginning of any.
    pub wall_last: Millis,
    /// Their length together.
    pub settled: Millis,
    /// How many of them stand for a gap.
    pub gaps: u64,
    /// In how many any app's figure rests on a held or assumed reading.
    pub estimated_ticks: u64,
    /// The lowest intensity.
    pub intensity_min: CarbonIntensity,
    /// The highest intensity.
    pub intensity_max: CarbonIntensity,
    /// The last intensity.
    pub intensity_last: CarbonIntensity,
    /// What was posted for the site.
    pub site: SiteSums,
    /// Each app that was settled in any of them, by its number.
    pub apps: Vec<AppRollup>,
}

/// One app in a stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRollup {
    /// Which; a name may come again after its app has ended, a number does not.
    pub id: AppId,
    /// Its name.
    pub name: String,
    /// In how many ticks it was settled.
    pub ticks: u64,
    /// Their length together.
    pub settled: Millis,
    /// In how many any figure of it rests on a held or assumed reading.
    pub estimated_ticks: u64,
    /// Their length together.
    pub estimated: Millis,
    /// In how many it used more than it was entitled to.
    pub overdraft_ticks: u64,
    /// What moved.
    pub flows: FlowSums,
    /// The lowest level of its battery after a tick.
    pub level_min: Energy,
    /// The highest level of its battery after a tick.
    pub level_max: Energy,
    /// What it had after the last tick.
    pub account: Account,
    /// Its containers, by number.
    pub containers: Vec<ContainerRollup>,
}

/// One container in a stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRollup {
    /// Which; never used again.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it used.
    pub energy: u128,
    /// Its part of the carbon of its app's load, split in each tick by what each container used.
    pub carbon: Carbon,
}

impl Rollup {
    /// What one tick came to, in the period of `level` in which it began.
    #[must_use]
    pub fn of(record: &Record, level: Level) -> Self {
        let outcome = &record.outcome;
        let mut site = [0; SiteFlows::FIELDS.len()];
        site.iter_mut().zip(outcome.site.figures()).for_each(|(sum, (_, figure))| *sum = figure);
        let mut apps: Vec<AppRollup> = outcome.apps.iter().map(|app| AppRollup::of(record, app)).collect();
        apps.sort_unstable_by_key(|app| app.id);
        Self {
            start: level.start_of(outcome.wall),
            tick: outcome.tick,
            ticks: 1,
            wall_first: outcome.wall,
            wall_last: outcome.wall,
            settled: outcome.span,
            gaps: u64::from(outcome.gap),
            estimated_ticks: u64::from(outcome.apps.iter().any(|app| app.estimated)),
            intensity_min: outcome.intensity,
            intensity_max: outcome.intensity,
            intensity_last: outcome.intensity,
            site,
            apps,
        }
    }

    /// The tick after the last.
    #[must_use]
    pub const fn end_tick(&self) -> Tick {
        Tick(self.tick.0.saturating_add(self.ticks))
    }

    /// Takes in the stretch that follows.
    pub fn absorb(&mut self, next: Self) {
        self.ticks += next.ticks;
        self.wall_first = self.wall_first.min(next.wall_first);
        self.wall_last = self.wall_last.max(next.wall_last);
        self.settled = self.settled.saturating_add(next.settled);
        self.gaps += next.gaps;
        self.estimated_ticks += next.estimated_ticks;
        self.intensity_min = self.intensity_min.min(next.intensity_min);
        self.intensity_max = self.intensity_max.max(next.intensity_max);
        self.intensity_last = next.intensity_last;
        for ((sum, more), field) in self.site.iter_mut().zip(next.site).zip(SiteFlows::FIELDS) {
            *sum = if STANDING.contains(field) { more } else { sum.saturating_add(more) };
        }
        for app in next.apps {
            match self.apps.binary_search_by_key(&app.id, |app| app.id) {
                Ok(at) => self.apps[at].absorb(app),
                Err(at) => self.apps.insert(at, app),
            }
        }
    }

    /// One app by number.
    #[must_use]
    pub fn app(&self, id: AppId) -> Option<&AppRollup> {
        self.apps.binary_search_by_key(&id, |app| app.id).ok().map(|at| &self.apps[at])
    }
}

impl AppRollup {
    fn of(record: &Record, app: &AppOutcome) -> Self {
        let span = record.outcome.span;
        let mut flows = [0; Flows::FIELDS.len()];
        flows.iter_mut().zip(app.flows.figures()).for_each(|(sum, (_, figure))| *sum = figure);
        let name = record.app_name(app.app).map_or_else(String::new, |name| name.as_str().to_owned());
        Self {
            id: app.app,
            name,
            ticks: 1,
            settled: span,
            estimated_ticks: u64::from(app.estimated),
            estimated: if app.estimated { span } else { Millis::ZERO },
            overdraft_ticks: u64::from(!app.flows.overdraft().is_zero()),
            flows,
            level_min: app.account.stored,
            level_max: app.account.stored,
            account: app.account,
            containers: containers(record, app),
        }
    }

    fn absorb(&mut self, next: Self) {
        self.ticks += next.ticks;
        self.settled = self.settled.saturating_add(next.settled);
        self.estimated_ticks += next.estimated_ticks;
        self.estimated = self.estimated.saturating_add(next.estimated);
        self.overdraft_ticks += next.overdraft_ticks;
        self.flows.iter_mut().zip(next.flows).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        self.level_min = self.level_min.min(next.level_min);
        self.level_max = self.level_max.max(next.level_max);
        self.account = next.account;
        for container in next.containers {
            match self.containers.binary_search_by_key(&container.id, |container| container.id) {
                Ok(at) => {
                    self.containers[at].energy = self.containers[at].energy.saturating_add(container.energy);
                    self.containers[at].carbon = self.containers[at].carbon.saturating_add(container.carbon);
                }
                Err(at) => self.containers.insert(at, container),
            }
        }
    }

    /// The sum of one flow, in the flow's base unit; `None` where there is no such flow.
    #[must_use]
    pub fn flow(&self, field: &str) -> Option<u128> {
        Flows::FIELDS.iter().position(|name| *name == field).map(|at| self.flows[at])
    }
}

/// The app's containers in one tick. The carbon of its load is split by what each used: boundaries are rounded, so the
/// parts sum to it. What charging drew is its battery's.
fn containers(record: &Record, app: &AppOutcome) -> Vec<ContainerRollup> {
    let outcome = &record.outcome;
    let carbon = (app.flows.grid_to_load.wide() + app.flows.overdraft_grid).carbon(outcome.intensity);
    let own = || outcome.containers.iter().filter(|container| container.app == app.app);
    let parts = split(carbon.get(), own().map(|container| u128::from(container.energy.get())));
    let mut containers: Vec<ContainerRollup> = own()
        .zip(parts)
        .map(|(used, part)| {
            let named = record.container_names.iter().find(|(id, _, _)| *id == used.container);
            ContainerRollup {
                id: used.container,
                name: named.map_or_else(String::new, |(_, _, name)| name.to_string()),
                energy: used.energy.get().into(),
                carbon: Carbon::new(part),
            }
        })
        .collect();
    containers.sort_unstable_by_key(|container| container.id);
    containers
}

/// Collects stretches into those of a coarser level.
#[derive(Debug)]
pub struct Roller {
    level: Level,
    open: Option<Rollup>,
}

impl Roller {
    /// Collects into periods of `level`.
    #[must_use]
    pub const fn new(level: Level) -> Self {
        Self { level, open: None }
    }

    /// Takes in the stretch that follows; gives back the one that it ends, if it does.
    pub fn push(&mut self, mut next: Rollup) -> Option<Rollup> {
        next.start = self.level.start_of(next.wall_first);
        match &mut self.open {
            Some(open) if open.start == next.start => {
                open.absorb(next);
                None
            }
            open => open.replace(next),
        }
    }

    /// What is not ended yet.
    #[must_use]
    pub fn finish(self) -> Option<Rollup> {
        self.open
    }
}

/// Collects all of some stretches into periods of `level`.
#[must_use]
pub fn rolled(stretches: impl IntoIterator<Item = Rollup>, level: Level) -> Vec<Rollup> {
    let mut roller = Roller::new(level);
    let mut rolled: Vec<Rollup> = stretches.into_iter().filter_map(|next| roller.push(next)).collect();
    rolled.extend(roller.finish());
    rolled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use proptest::prelude::*;

    /// All ticks as one stretch, added up by nothing but a loop.
    fn totals(records: &[Record]) -> Vec<(u32, Vec<u128>)> {
        let mut totals: std::collections::BTreeMap<u32, Vec<u128>> = std::collections::BTreeMap::new();
        for app in records.iter().flat_map(|record| &record.outcome.apps) {
            let sums = totals.entry(app.app.get()).or_insert_with(|| vec![0; Flows::FIELDS.len()]);
            sums.iter_mut().zip(app.flows.figures()).for_each(|(sum, (_, figure))| *sum += figure);
        }
        totals.into_iter().collect()
    }

    fn added(rollups: &[Rollup]) -> Vec<(u32, Vec<u128>)> {
        let mut totals: std::collections::BTreeMap<u32, Vec<u128>> = std::collections::BTreeMap::new();
        for app in rollups.iter().flat_map(|rollup| &rollup.apps) {
            let sums = totals.entry(app.id.get()).or_insert_with(|| vec![0; Flows::FIELDS.len()]);
            sums.iter_mut().zip(app.flows).for_each(|(sum, figure)| *sum += figure);
        }
        totals.into_iter().collect()
    }

    #[test]
    fn a_period_is_told_by_its_start() {
        let check = |level: Level, moment: u64, start: u64| {
            assert_eq!(level.start_of(Millis::new(moment)), Millis::new(start), "{level:?} {moment}");
        };
        check(Level::Tick, 61_234, 61_234);
        check(Level::Minute, 59_999, 0);
        check(Level::Minute, 60_000, 60_000);
        check(Level::Hour, 7_199_999, 3_600_000);
        check(Level::Day, 86_400_000, 86_400_000);
    }

    #[test]
    fn what_stands_is_not_added_up() {
        let life = life(11, 30);
        let day = rolled(life.records.iter().map(|record| Rollup::of(record, Level::Day)), Level::Day);
        let [day] = day.as_slice() else { panic!("{} days", day.len()) };
        let last = life.records.last().unwrap();
        for field in STANDING {
            let at = SiteFlows::FIELDS.iter().position(|name| *name == field).unwrap();
            let stands = last.outcome.site.figures().find(|(name, _)| *name == field).unwrap().1;
            assert_eq!(day.site[at], stands, "{field}");
        }
        let house = day.app(AppId::HOUSE).unwrap();
        let levels = life.records.iter().map(|record| record.outcome.apps.last().unwrap().account.stored);
        assert_eq!(
            (house.level_min, house.level_max),
            (levels.clone().min().unwrap(), levels.max().unwrap())
        );
        assert_eq!(house.account, last.outcome.apps.last().unwrap().account);
        assert_eq!((day.ticks, day.end_tick()), (30, Tick(30)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_level_sums_to_the_ticks_bit_for_bit(seed in any::<u64>()) {
            // Apps come and go within a life; a minute has sixty of its ticks.
            let life = life(seed, 150);
            let ticks = life.records.iter().map(|record| Rollup::of(record, Level::Minute));
            let minutes = rolled(ticks, Level::Minute);
            let hours = rolled(minutes.clone(), Level::Hour);
            let days = rolled(hours.clone(), Level::Day);
            prop_assert!(minutes.len() >= 3 && hours.len() == 1);
            let due = totals(&life.records);
            prop_assert_eq!(&added(&minutes), &due);
            prop_assert_eq!(&added(&hours), &due);
            prop_assert_eq!(&added(&days), &due);
            // A coarser level is the same, whether it was made from the ticks or from a finer one.
            let direct = rolled(life.records.iter().map(|record| Rollup::of(record, Level::Day)), Level::Day);
            prop_assert_eq!(days, direct);
        }

        #[test]
        fn the_parts_of_containers_sum_to_their_app(seed in any::<u64>()) {
            let life = life(seed, 60);
            let day = rolled(life.records.iter().map(|record| Rollup::of(record, Level::Day)), Level::Day);
            for app in day.iter().flat_map(|day| &day.apps).filter(|app| app.id != AppId::HOUSE) {
                let energy: u128 = app.containers.iter().map(|container| container.energy).sum();
                prop_assert_eq!(Some(energy), app.flow("load"));
            }
        }
    }
}
