//! What a tick costs per app: `Site::step` and `settle` alone, at 10, 1,000 and 100,000 apps.
//!
//! A plain program, since what is wanted is one table: `cargo bench -p ecovisor-core`. Each figure is the median of
//! several ticks after a few to warm up. Other counts: `cargo bench -p ecovisor-core -- 50 5000`.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use ecovisor_core::battery::Conversion;
use ecovisor_core::ledger::Account;
use ecovisor_core::settle::{Metered, SiteTerms, Terms, settle};
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::*;
use ecovisor_units::*;
use std::time::{Duration, Instant};

const COUNTS: [u64; 3] = [10, 1_000, 100_000];

/// Ticks to warm up, and ticks whose median is shown.
const WARM: usize = 3;
const TIMED: usize = 9;

fn main() {
    let asked: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    // Without `--bench` this is a test run: it only has to work.
    let timed = std::env::args().any(|arg| arg == "--bench");
    let counts = match (asked.is_empty(), timed) {
        (false, _) => asked,
        (true, true) => COUNTS.to_vec(),
        (true, false) => vec![10],
    };
    println!("{:>8}  {:>14}  {:>14}  {:>14}", "apps", "step", "step per app", "settle per app");
    for apps in counts {
        let (step, settled) = (median(step_ticks(apps)), median(settle_ticks(apps)));
        let per_app = |took: Duration| took.as_nanos() / u128::from(apps);
        let step_us = step.as_micros();
        println!("{apps:>8}  {step_us:>11} µs  {:>11} ns  {:>11} ns", per_app(step), per_app(settled));
    }
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.drain(..WARM.min(took.len() - 1));
    took.sort_unstable();
    took[took.len() / 2]
}

/// A buffered site of that many apps with a container each; half of them spill while the others lack.
fn site(apps: u64) -> Result<Site, Refusal> {
    let power = |each: u64| Power::new(each * apps * 2);
    let conversion = conversion();
    let battery = SiteBattery {
        capacity: Energy::new(10_000_000 * apps),
        charge_limit: power(1_000),
        discharge_limit: power(1_000),
        conversion,
    };
    let mut site = Site::new(Rules {
        battery: Some(battery),
        solar_peak: power(200),
        solar_rule: SolarRule::Buffered,
        grid: Some(GridConnection { import_limit: power(1_000), export_limit: Power::ZERO }),
        redistribute: true,
        tolerance: Energy::MAX,
        ..Rules::default()
    })?;
    for i in 0..apps {
        let battery = BatteryShare {
            capacity: Energy::new(5_000_000),
            floor: Energy::new(100_000),
            charge_limit: Power::new(500),
            discharge_limit: Power::new(500),
        };
        let solar_weight = u32::try_from(1 + i % 7).unwrap_or(1);
        let share = Share { solar_weight, battery, grid_limit: Power::new(500) };
        let name = AppName::new(&format!("app-{i}")).expect("a name");
        let accepted = site.command(&Command::CreateApp { name, share, policy: AppPolicy::default() })?;
        if let Some(app) = accepted.app {
            let name = ContainerName::new("main").expect("a name");
            site.command(&Command::AttachContainer { app, name, ceiling: Power::new(1_000) })?;
        }
    }
    Ok(site)
}

fn conversion() -> Conversion {
    let most = Efficiency::new(950_000).expect("95 %");
    Conversion { charge: most, discharge: most }
}

/// Every container's load, which changes from tick to tick.
fn inputs(site: &Site, apps: u64, tick: u64) -> Inputs {
    let load = |i: u64| Energy::new(if (i + tick).is_multiple_of(2) { 20_000 } else { 600_000 });
    let containers = site.containers(false).iter().zip(0..);
    let used = |(container, i): (&Container, u64)| ContainerUse {
        container: container.id,
        used: Some(Reading::now(load(i))),
    };
    Inputs {
        span: Millis::new(1_000),
        readings: Readings {
            solar: Some(Reading::now(Energy::new(250_000 * apps))),
            battery_level: Some(Reading::now(Energy::new(4_000_000 * apps))),
            grid_import: Some(Reading::now(Energy::new(100_000 * apps))),
            intensity: Some(Reading::now(CarbonIntensity::from_grams_per_kwh(300))),
            ..Readings::default()
        },
        containers: containers.map(used).collect(),
        ..Inputs::default()
    }
}

fn step_ticks(apps: u64) -> Vec<Duration> {
    let mut site = site(apps).expect("the apps fit");
    let mut took = Vec::new();
    for tick in 0..u64::try_from(WARM + TIMED).unwrap_or(1) {
        let inputs = inputs(&site, apps, tick);
        let start = Instant::now();
        std::hint::black_box(site.step(&inputs).expect("the books are whole"));
        took.push(start.elapsed());
    }
    took
}

fn settle_ticks(apps: u64) -> Vec<Duration> {
    let site = SiteTerms {
        solar_rule: SolarRule::Live { curtailable: true },
        solar: Energy::new(250_000 * apps),
        redistribute: true,
        export_limit: Energy::ZERO,
        islanded: false,
        intensity: CarbonIntensity::from_grams_per_kwh(300),
        conversion: conversion(),
        tolerance: Energy::MAX,
        metered: Metered::default(),
    };
    let terms = |i: u64| Terms {
        app: if i == apps { AppId::HOUSE } else { AppId::new(u32::try_from(i + 1).unwrap_or(1)) },
        solar: Energy::new(if i == apps { 0 } else { 250_000 }),
        load: Energy::new(if i.is_multiple_of(2) { 20_000 } else { 600_000 }),
        weight: 1 + i % 7,
        capacity: Energy::new(5_000_000),
        floor: Energy::new(100_000),
        charge_limit: Energy::new(200_000 + i % 1_000),
        discharge_limit: Energy::new(200_000),
        charge: Energy::ZERO,
        grid_limit: Energy::new(500_000),
        carbon_limit: Energy::MAX,
        battery_gives: true,
    };
    let terms: Vec<Terms> = (0..=apps).map(terms).collect();
    let accounts = vec![Account { stored: Energy::new(1_000_000), ..Account::default() }; terms.len()];
    let mut took = Vec::new();
    for _ in 0..WARM + TIMED {
        let (mut accounts, mut deficit) = (accounts.clone(), EnergySum::ZERO);
        let start = Instant::now();
        let settled = settle(&site, &terms, &mut accounts, &mut deficit);
        std::hint::black_box(settled.expect("the books are whole"));
        took.push(start.elapsed());
    }
    took
}
