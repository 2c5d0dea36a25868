//! All figures of a statement: over the whole period, for each day, and for each bucket of its plots.

use super::sums::Sums;
use super::tables::Written;
use ecovisor_audit::TickRows;
use ecovisor_audit::books::AppRow;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The version of the figures' JSON; the auditor's script knows this one.
const VERSION: u32 = 1;

/// A day in UTC, whatever the terminal's zone: an auditor elsewhere must come to the same days.
const DAY_MS: u64 = 86_400_000;

/// Lengths of a plot's buckets, each a multiple of the one before: a minute to four weeks.
const LADDER_MS: [u64; 11] = [
    60_000,
    300_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
    2_419_200_000,
];

/// Buckets of a plot: a page is no wider than some hundred of them.
const BUCKETS_MAX: usize = 336;

/// What stands in the JSON of a day.
pub const DAY: [&str; 13] = [
    "settled_ms",
    "load_uj",
    "load_from_solar_uj",
    "load_from_battery_uj",
    "load_from_grid_uj",
    "overdraft_uj",
    "grid_drawn_uj",
    "battery_in_uj",
    "battery_out_uj",
    "stored_uj",
    "carbon_product",
    "carbon_mg",
    "estimated_load_ppm",
];

/// What stands in the JSON of a bucket.
pub const BUCKET: [&str; 9] = [
    "settled_ms",
    "estimated_ms",
    "load_from_solar_uj",
    "load_from_battery_uj",
    "load_from_grid_uj",
    "overdraft_uj",
    "stored_uj",
    "intensity_mean_mg_per_kwh",
    "carbon_product",
];

/// Stretches of time by their start, in ms since 1970 UTC.
type Stretches = BTreeMap<u64, Sums>;

/// The figures of one app.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    app: String,
    whole: Sums,
    days: Stretches,
    buckets: Stretches,
    /// Which of the ladder's lengths the buckets have.
    rung: usize,
    /// Before the first tick, inside; `None` for `house`, whose balance has the site's entries too.
    opened_uj: Option<u128>,
    app_ids: Vec<u32>,
    /// Of the app's ticks: the first, and the one after the last.
    ticks: Option<(u64, u64)>,
    /// When they began and ended.
    period_ms: Option<(u64, u64)>,
}

/// Figures by name.
pub type Named = BTreeMap<String, u128>;

impl Figures {
    /// Of an app, without any tick.
    pub fn new(app: &str) -> Self {
        Self { app: app.to_owned(), ..Self::default() }
    }

    /// Adds a tick, whichever apps it has.
    pub fn add(&mut self, tick: &TickRows) {
        let last = tick.apps.len().saturating_sub(1);
        for (place, row) in tick.apps.iter().enumerate() {
            if row.app == self.app {
                let opened = (place != last).then(|| opened(row));
                self.add_row(tick, row, opened);
            }
        }
    }

    fn add_row(&mut self, tick: &TickRows, row: &AppRow, opened: Option<u128>) {
        let start = tick.wall_start.get();
        let end = start.saturating_add(tick.span.get());
        if self.app_ids.is_empty() {
            self.opened_uj = opened;
        }
        if !self.app_ids.contains(&row.id.get()) {
            self.app_ids.push(row.id.get());
        }
        self.ticks = Some((self.ticks.map_or(tick.tick, |(first, _)| first), tick.tick.saturating_add(1)));
        self.period_ms = Some((self.period_ms.map_or(start, |(first, _)| first), end));
        self.whole.add(tick, row);
        self.days.entry(start - start % DAY_MS).or_default().add(tick, row);
        let bucket = self.bucket_ms();
        self.buckets.entry(start - start % bucket).or_default().add(tick, row);
        self.coarsen();
    }

    /// Goes up the ladder until there are few enough buckets.
    fn coarsen(&mut self) {
        while self.buckets.len() > BUCKETS_MAX && self.rung + 1 < LADDER_MS.len() {
            self.rung += 1;
            let length = self.bucket_ms();
            for (start, sums) in std::mem::take(&mut self.buckets) {
                self.buckets.entry(start - start % length).or_default().append(sums);
            }
        }
    }

    /// The length of a bucket.
    pub fn bucket_ms(&self) -> u64 {
        LADDER_MS.get(self.rung).copied().unwrap_or(DAY_MS)
    }

    /// Whose they are.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The app's first tick and the one after its last; `None` where it has none.
    pub const fn ticks(&self) -> Option<(u64, u64)> {
        self.ticks
    }

    /// When they began and ended, in ms since 1970 UTC.
    pub fn period_ms(&self) -> (u64, u64) {
        self.period_ms.unwrap_or_default()
    }

    /// Of the whole period.
    pub fn whole(&self) -> Named {
        let mut figures = self.whole.figures();
        if let Some(opened) = self.opened_uj {
            figures.insert("stored_open_uj".to_owned(), opened);
        }
        figures
    }

    /// Of each day, with its start.
    pub fn days(&self) -> Vec<(u64, Named)> {
        picked(&self.days, &DAY)
    }

    /// Of each bucket, with its start.
    pub fn buckets(&self) -> Vec<(u64, Named)> {
        picked(&self.buckets, &BUCKET)
    }

    /// All of them, for the auditor's script: counts are strings, since JSON's numbers end at 2⁵³ for many readers.
    pub fn json(&self, about: &About, tables: &[Written]) -> Value {
        let (first, end) = self.ticks.unwrap_or_default();
        let (from_ms, to_ms) = self.period_ms();
        let tables: Map<String, Value> = tables
            .iter()
            .map(|table| {
                (table.name.to_owned(), json!({ "file": table.file_name(), "sha256": table.sha256 }))
            })
            .collect();
        json!({
            "ecovisor_statement": VERSION, "site": about.site, "app": self.app, "app_ids": self.app_ids,
            "software": about.software, "daemon": about.daemon, "chain_head": about.chain_head,
            "first_tick": first, "end_tick": end, "from_ms": from_ms, "to_ms": to_ms,
            "bucket_ms": self.bucket_ms(), "tables": tables, "figures": strings(&self.whole()),
            "days": self.days().iter().map(stretch).collect::<Vec<_>>(),
            "buckets": self.buckets().iter().map(stretch).collect::<Vec<_>>(),
        })
    }
}

/// What a statement says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The site's name; empty where nobody said it.
    pub site: String,
    /// What made the statement.
    pub software: String,
    /// The daemon's version; `None` where it was made without one.
    pub daemon: Option<String>,
    /// Where the chain ended, in hex; `None` where it was made of tables alone.
    pub chain_head: Option<String>,
}

fn picked(stretches: &Stretches, names: &[&str]) -> Vec<(u64, Named)> {
    let pick = |sums: &Sums| {
        let mut figures = sums.figures();
        figures.retain(|name, _| names.contains(&name.as_str()));
        figures
    };
    stretches.iter().map(|(start, sums)| (*start, pick(sums))).collect()
}

fn strings(figures: &Named) -> Map<String, Value> {
    figures.iter().map(|(name, figure)| (name.clone(), figure.to_string().into())).collect()
}

fn stretch((start, figures): &(u64, Named)) -> Value {
    let mut object = strings(figures);
    object.insert("start_ms".to_owned(), (*start).into());
    Value::Object(object)
}

/// What an app had before a tick, from what it has after it.
fn opened(row: &AppRow) -> u128 {
    let flows = &row.flows;
    let went = flows.battery_out() + flows.discharge_loss + flows.charge_loss + flows.adjusted_down;
    let came = flows.battery_in() + row.came.claim;
    (row.account.stored.wide() + went).get().saturating_sub(came.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_units::{Energy, Millis};

    fn row(app: &str) -> AppRow {
        AppRow {
            id: serde_json::from_str("1").unwrap(),
            app: app.to_owned(),
            estimated: false,
            flows: Default::default(),
            account: Default::default(),
            passed: Default::default(),
            came: Default::default(),
        }
    }

    /// An hour each, from the beginning of 1970.
    fn tick(number: u64) -> TickRows {
        let hour = 3_600_000;
        let mut web = row("web");
        web.flows.load = Energy::new(number);
        web.flows.battery_to_load = Energy::new(10);
        web.account.stored = Energy::new(100_000 - 10 * number);
        TickRows {
            tick: number,
            wall_start: Millis::new(number * hour),
            span: Millis::new(hour),
            apps: vec![web, row("house")],
            ..TickRows::default()
        }
    }

    fn figures(app: &str, ticks: u64) -> Figures {
        let mut figures = Figures::new(app);
        (0..ticks).for_each(|number| figures.add(&tick(number)));
        figures
    }

    #[test]
    fn days_and_buckets_are_parts_of_the_whole() {
        let figures = figures("web", 48);
        assert_eq!(figures.whole()["load_uj"], 47 * 48 / 2);
        assert_eq!(figures.whole()["stored_open_uj"], 100_010);
        let days: Vec<_> = figures.days().iter().map(|(start, day)| (*start, day["load_uj"])).collect();
        assert_eq!(days, [(0, 23 * 12), (DAY_MS, 47 * 24 - 23 * 12)]);
        assert_eq!((figures.buckets().len(), figures.ticks()), (48, Some((0, 48))));
        assert_eq!(figures.period_ms(), (0, 2 * DAY_MS));
    }

    #[test]
    fn a_long_period_has_longer_buckets() {
        let figures = figures("web", 40 * 24);
        assert!(figures.buckets().len() <= BUCKETS_MAX, "{}", figures.buckets().len());
        assert_eq!(figures.bucket_ms(), 21_600_000);
        let load: u128 = figures.buckets().iter().map(|(_, bucket)| bucket["load_from_battery_uj"]).sum();
        assert_eq!(load, figures.whole()["load_from_battery_uj"]);
        for pair in LADDER_MS.windows(2) {
            assert_eq!(pair[1] % pair[0], 0, "{} is no multiple of {}", pair[1], pair[0]);
        }
    }

    #[test]
    fn the_house_opens_with_what_its_rows_alone_do_not_say() {
        assert!(!figures("house", 3).whole().contains_key("stored_open_uj"));
        assert_eq!(figures("nobody", 3).ticks(), None);
    }
}
