//! A year of a site with ten apps at one tick a second: what its past costs on disk, and how long it takes to read.
//!
//! Every tick is settled by the core, journaled, followed, cut into blocks, rolled up, sealed and forgotten as the daemon
//! does it; only the engine's own tail (some megabytes) is not there. Nothing is extrapolated but in the quick form, which
//! lives three days and keeps ticks for one, and says so.
//!
//!     cargo run --release -p ecovisor-audit --example year_of_history -- [--quick] [--days N] [--json FILE] [--dir DIR]

use clap::Parser;
use ecovisor_audit::history::{Follower, History, Retention, Sizes};
use ecovisor_audit::{Applied, Checkpoint, Entry, Level, Link, Linked, Rollup, Snapshot};
use ecovisor_core::battery::Conversion;
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::{
    AppId, AppName, AppPolicy, BatteryShare, Command, ContainerId, ContainerName, ContainerUse, Efficiency,
    Inputs, Reading, Readings, Rules, Share, Site, SolarRule, Tick,
};
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What can go wrong.
type Failure = Box<dyn std::error::Error>;

const APPS: u32 = 10;
const DAY: u64 = 86_400;

/// 2025-01-01T00:00:00Z, in s since the Unix epoch.
const START: u64 = 1_735_689_600;

/// What promises.md allows a year to cost, in bytes.
const TARGET_BYTES: u64 = 500_000_000;

/// A year of history, measured.
#[derive(Parser)]
struct Arguments {
    /// Three days instead of a year, with ticks for one; the year is extrapolated.
    #[arg(long)]
    quick: bool,
    /// So many days.
    #[arg(long)]
    days: Option<u64>,
    /// Writes the figures here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the history is made; it is left there.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Numbers that depend on a seed alone (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % below.max(1)
    }
}

/// The world around the site: loads that differ every second, a sun with clouds, a grid whose intensity turns by the hour.
struct World {
    dice: Dice,
    loads_mw: Vec<u64>,
    cloud_ppm: u64,
    level_uj: u64,
}

impl World {
    fn new() -> Self {
        Self {
            dice: Dice(7),
            loads_mw: vec![60_000; usize::try_from(APPS).unwrap_or(0)],
            cloud_ppm: 900_000,
            level_uj: 9_000_000_000_000,
        }
    }

    /// A load wanders by a few watts a second and jumps now and then, as programs do.
    fn load(&mut self, i: usize) -> u64 {
        let was = self.loads_mw[i];
        let is = match self.dice.roll(600) {
            0 => 20_000 + self.dice.roll(160_000),
            _ => (was + self.dice.roll(4_001)).saturating_sub(2_000).clamp(15_000, 200_000),
        };
        self.loads_mw[i] = is;
        // What a meter shows of it: its own noise, in uW.
        is * 1_000 + self.dice.roll(50_000)
    }

    /// The sun of a day, as a parabola between six and eighteen, behind clouds that drift.
    fn solar(&mut self, second: u64) -> u64 {
        let of_day = second % DAY;
        let Some(since) = of_day.checked_sub(6 * 3_600).filter(|since| *since < 12 * 3_600) else { return 0 };
        self.cloud_ppm =
            (self.cloud_ppm + self.dice.roll(8_001)).saturating_sub(4_000).clamp(100_000, 1_000_000);
        let clear_w = 4 * 2_000 * since * (43_200 - since) / (43_200 * 43_200);
        clear_w * self.cloud_ppm + self.dice.roll(20_000)
    }

    fn inputs(&mut self, tick: u64) -> Inputs {
        let reading = |figure: u64| Some(Reading::now(Energy::new(figure)));
        let solar = self.solar(tick);
        let containers: Vec<ContainerUse> = (0..APPS)
            .zip(0..)
            .map(|(i, at)| ContainerUse { container: ContainerId::new(i + 1), used: reading(self.load(at)) })
            .collect();
        let load: u64 = containers.iter().filter_map(|used| used.used).map(|used| used.value.get()).sum();
        // The real battery takes what is left of the sun and gives what is lacking, as far as it goes.
        let (surplus, lack) = (solar.saturating_sub(load), load.saturating_sub(solar));
        let into = surplus.min(18_000_000_000_000 - self.level_uj);
        let out = lack.min(self.level_uj.saturating_sub(2_000_000_000_000)).min(400_000_000);
        self.level_uj = self.level_uj + into * 95 / 100 - out;
        let hour = tick / 3_600;
        let intensity = CarbonIntensity::new(250_000 + (hour * 7_919 % 200) * 1_000);
        Inputs {
            span: Millis::from_secs(1),
            wall: Millis::from_secs(START + tick),
            grid_lost: false,
            readings: Readings {
                solar: reading(solar),
                grid_import: reading(lack - out),
                grid_export: reading(surplus - into),
                battery_in: reading(into),
                battery_out: reading(out),
                battery_level: reading(self.level_uj),
                load: reading(load),
                intensity: Some(Reading {
                    age: Millis::from_secs(tick % 3_600 % 300),
                    ..Reading::now(intensity)
                }),
                ..Readings::default()
            },
            containers,
        }
    }
}

fn site() -> Result<Snapshot, Failure> {
    let efficiency = Efficiency::new(950_000).ok_or("95 %")?;
    let mut site = Site::new(Rules {
        battery: Some(SiteBattery {
            capacity: Energy::new(18_000_000_000_000),
            // The buffered sun reserves 2 kW of it.
            charge_limit: Power::from_watts(4_000),
            discharge_limit: Power::from_watts(2_000),
            conversion: Conversion { charge: efficiency, discharge: efficiency },
        }),
        solar_peak: Power::from_watts(2_000),
        solar_rule: SolarRule::Buffered,
        grid: Some(GridConnection {
            import_limit: Power::from_watts(5_000),
            export_limit: Power::from_watts(5_000),
        }),
        redistribute: true,
        export: true,
        tolerance: Energy::new(180_000_000_000),
        ..Rules::default()
    })?;
    for i in 0..APPS {
        let battery = BatteryShare {
            capacity: Energy::new(1_500_000_000_000),
            floor: Energy::new(100_000_000_000),
            charge_limit: Power::from_watts(150),
            discharge_limit: Power::from_watts(150),
        };
        let share = Share { solar_weight: 1 + i % 3, battery, grid_limit: Power::from_watts(400) };
        let name = AppName::new(&format!("app-{i}")).ok_or("a name")?;
        site.command(&Command::CreateApp { name, share, policy: AppPolicy::default() })?;
        let name = ContainerName::new("main").ok_or("a name")?;
        site.command(&Command::AttachContainer {
            app: AppId::new(i + 1),
            name,
            ceiling: Power::from_watts(250),
        })?;
    }
    Ok(Snapshot::new(site))
}

/// What living took.
#[derive(Default)]
struct Lived {
    ticks: u64,
    peak: u64,
    settle_ns: u128,
    keep_ns: u128,
    longest_append_ns: u128,
}

#[allow(clippy::disallowed_methods, reason = "this measures")]
fn live(history: &History, days: u64, retention: &Retention) -> Result<Lived, Failure> {
    let mut state = site()?;
    let start = Checkpoint { seq: 0, link: Link::ORIGIN, snapshot: state.clone() };
    let mut follower = Follower::new(start, Link::ORIGIN);
    let (mut world, mut link, mut lived) = (World::new(), Link::ORIGIN, Lived::default());
    for tick in 0..days * DAY {
        let linked = Linked::new(link, Entry::Tick(world.inputs(tick)));
        link = linked.link;
        let began = Instant::now();
        let Applied::Settled(_) = state.apply(&linked.entry)? else { return Err("a tick settles".into()) };
        lived.settle_ns += began.elapsed().as_nanos();
        let began = Instant::now();
        let pushed = follower.push(linked)?;
        if let Some(block) = pushed.block {
            let appending = Instant::now();
            history.append(&block)?;
            if pushed.ends_day {
                history.end_day()?;
            }
            lived.longest_append_ns = lived.longest_append_ns.max(appending.elapsed().as_nanos());
            history.forget(follower.now(), retention, 8)?;
            lived.peak = lived.peak.max(total(history.sizes()));
        }
        lived.keep_ns += began.elapsed().as_nanos();
        lived.ticks += 1;
        if tick % (30 * DAY) == 0 && tick > 0 {
            eprintln!("day {}: {} MB", tick / DAY, total(history.sizes()) / 1_000_000);
        }
    }
    Ok(lived)
}

const fn total(sizes: Sizes) -> u64 {
    sizes.raw + sizes.minutes + sizes.hours + sizes.seals
}

/// How long it takes to read what people ask for, in ms, and how many rollups or ticks that were.
#[allow(clippy::disallowed_methods, reason = "this measures")]
fn read(history: &History, days: u64) -> Result<Vec<(&'static str, u128, usize)>, Failure> {
    let end = Millis::from_secs(START + days * DAY);
    let ago = |days_ago: u64| Millis::new(end.get().saturating_sub(days_ago * DAY * 1_000));
    let mut read = Vec::new();
    let mut ask = |what, level: Level, from: Millis, to: Millis| -> Result<(), Failure> {
        let began = Instant::now();
        let mut rollups: Vec<Rollup> = Vec::new();
        for day in history.days(level, from, to) {
            rollups.extend(history.rollups(level, &day)?);
        }
        read.push((what, began.elapsed().as_millis(), rollups.len()));
        Ok(())
    };
    ask("a day of minutes", Level::Minute, ago(2), ago(1))?;
    ask("a week of minutes", Level::Minute, ago(8), ago(1))?;
    ask("a month of hours", Level::Hour, ago(31), ago(1))?;
    ask("a year of hours", Level::Hour, Millis::ZERO, end)?;
    ask("a year of days", Level::Day, Millis::ZERO, end)?;
    for (what, ticks) in [("an hour of ticks", 3_600), ("a day of ticks, replayed", DAY)] {
        let last = history.end().map_or(Tick(0), |end| end.end_tick());
        let began = Instant::now();
        let mut records = 0;
        for block in history.blocks(Tick(last.0.saturating_sub(ticks)), last) {
            records += history.records(&block)?.len();
        }
        read.push((what, began.elapsed().as_millis(), records));
    }
    let began = Instant::now();
    let reopened = History::open(history.directory())?;
    read.push(("open", began.elapsed().as_millis(), usize::try_from(reopened.seals())?));
    Ok(read)
}

fn main() -> Result<(), Failure> {
    let Arguments { quick, days, json, dir } = Arguments::parse();
    let days = days.unwrap_or(if quick { 3 } else { 365 });
    let mut retention = Retention::default();
    if quick {
        retention.ticks = Millis::from_secs(DAY);
    }
    let temporary = tempfile::tempdir()?;
    let directory: &Path = dir.as_deref().unwrap_or(temporary.path());
    let history = History::open(directory)?;
    let lived = live(&history, days, &retention)?;
    let (sizes, read) = (history.sizes(), read(&history, days)?);
    let per = |bytes: u64, of: u64| bytes.checked_div(of).unwrap_or(0);
    let raw_ticks: u64 = history.raw_days().iter().map(|day| day.stretch.ticks).sum();
    let minute_days = u64::try_from(history.days(Level::Minute, Millis::ZERO, Millis::MAX).len())?;
    let sealed = history.seals();
    let level =
        |name: &str, bytes: u64, each: u64, of: &str| println!("{name:<10}{bytes:>14} bytes, {each} a {of}");
    println!("{days} days of {APPS} apps at 1 s: {} ticks", lived.ticks);
    level("ticks", sizes.raw, per(sizes.raw, raw_ticks), "tick, minutes of blocks included");
    level("minutes", sizes.minutes, per(sizes.minutes, minute_days.min(sealed) * 1_440), "minute");
    level("hours", sizes.hours, per(sizes.hours, sealed * 24), "hour");
    level("days", sizes.seals, per(sizes.seals, sealed), "day");
    // Each level grows by the same for every day, up to how long it is kept.
    let year = per(sizes.raw, raw_ticks) * DAY * 8
        + per(sizes.minutes, minute_days.min(sealed)) * 91
        + per(sizes.hours, sealed) * 365
        + per(sizes.seals, sealed) * 365;
    println!("total     {:>14} bytes, at most {} at any time", total(sizes), lived.peak);
    let (what, bytes) = match days >= 365 {
        true => ("measured", lived.peak),
        false => ("extrapolated by days: 8 raw, 91 of minutes, 365 of hours and seals", year),
    };
    println!("a year    {bytes:>14} bytes ({what}); target {TARGET_BYTES}");
    let each = |ns: u128| ns / u128::from(lived.ticks.max(1));
    println!(
        "a tick     settled in {} ns, kept in {} ns; longest append {} ms (a day's end)",
        each(lived.settle_ns),
        each(lived.keep_ns),
        lived.longest_append_ns / 1_000_000
    );
    read.iter().for_each(|(what, ms, rows)| println!("read       {what}: {ms} ms, {rows} rows"));
    if let Some(path) = json {
        let reads: Vec<_> =
            read.iter().map(|(what, ms, rows)| json!({ "what": what, "ms": ms, "rows": rows })).collect();
        let figures = json!({
            "days": days, "apps": APPS, "ticks": lived.ticks, "raw_bytes": sizes.raw, "minutes_bytes": sizes.minutes,
            "hours_bytes": sizes.hours, "days_bytes": sizes.seals, "peak_bytes": lived.peak, "year_bytes": bytes,
            "year_is": what, "target_bytes": TARGET_BYTES, "settle_ns": each(lived.settle_ns),
            "keep_ns": each(lived.keep_ns), "longest_append_ms": lived.longest_append_ns / 1_000_000, "reads": reads,
        });
        std::fs::write(path, figures.to_string())?;
    }
    match bytes <= TARGET_BYTES {
        true => Ok(()),
        false => Err(format!("a year costs {bytes} bytes, more than {TARGET_BYTES}").into()),
    }
}
