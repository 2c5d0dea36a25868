//! Whole steps of a site: one with one app, one with many.

use crate::scenes::{conversion, figure};
use crate::{WARM, median, timed};
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::*;
use ecovisor_units::*;
use std::time::{Duration, Instant};

/// A count as a divisor.
pub fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Median ns of a step of a site with that many apps.
pub fn step_ns(apps: usize, least: Duration) -> f64 {
    let mut site = site(apps, SolarRule::Buffered).expect("the apps fit");
    let turns = [0, 1].map(|turn| inputs(&site, apps, turn));
    let (mut took, mut outcome) = (Vec::new(), Outcome::default());
    let began = Instant::now();
    while took.len() < WARM + 7 || began.elapsed() < least {
        let inputs = &turns[took.len() % 2];
        took.push(timed(&mut || site.step_into(inputs, &mut outcome).expect("the books are whole")));
    }
    median(took)
}

/// Steps that are timed together, where one alone is of the order of the clock's own cost.
const BATCH: u32 = 1_000;

/// Median ns of a step of a site with one app and live solar, as `step_ns` counts them.
pub fn one_app_step_ns(least: Duration) -> f64 {
    let mut site = site(1, SolarRule::Live { curtailable: true }).expect("the app fits");
    let turns = [0, 1].map(|turn| inputs(&site, 1, turn));
    let (mut took, mut outcome) = (Vec::new(), Outcome::default());
    let began = Instant::now();
    while took.len() < WARM + 7 || began.elapsed() < least {
        took.push(timed(&mut || {
            for inputs in turns.iter().cycle().take(usize::try_from(BATCH).unwrap_or(1)) {
                site.step_into(inputs, &mut outcome).expect("the books are whole");
            }
        }));
    }
    median(took) / f64::from(BATCH)
}

/// A site of that many apps with a container each.
fn site(apps: usize, solar_rule: SolarRule) -> Result<Site, Refusal> {
    let count = figure(apps);
    let power = |each: u64| Power::new(each * count * 2);
    let battery = SiteBattery {
        capacity: Energy::new(10_000_000 * count),
        charge_limit: power(1_000),
        discharge_limit: power(1_000),
        conversion: conversion(),
    };
    let mut site = Site::new(Rules {
        battery: Some(battery),
        solar_peak: power(200),
        solar_rule,
        grid: Some(GridConnection { import_limit: power(1_000), export_limit: Power::ZERO }),
        tolerance: Energy::MAX,
        ..Rules::default()
    })?;
    for i in 0..count {
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

/// Every container's load, which changes from tick to tick.
fn inputs(site: &Site, apps: usize, turn: usize) -> Inputs {
    let load = |i: usize| Energy::new(if (i + turn).is_multiple_of(2) { 20_000 } else { 600_000 });
    let containers = site.containers(true).iter().enumerate();
    let used = |(i, container): (usize, &Container)| ContainerUse {
        container: container.id,
        used: Some(Reading::now(load(i))),
    };
    let each = |energy: u64| Some(Reading::now(Energy::new(energy * figure(apps))));
    Inputs {
        span: Millis::new(1_000),
        readings: Readings {
            solar: each(250_000),
            battery_level: each(4_000_000),
            grid_import: each(100_000),
            intensity: Some(Reading::now(CarbonIntensity::from_grams_per_kwh(300))),
            ..Readings::default()
        },
        containers: containers.map(used).collect(),
        ..Inputs::default()
    }
}
