//! The sites that are settled.

use ecovisor_core::battery::Conversion;
use ecovisor_core::ledger::Account;
use ecovisor_core::settle::{Desk, Metered, Settled, SiteTerms, Terms, settle_into};
use ecovisor_core::{AppId, Efficiency, SolarRule};
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum};

pub const LEGEND: &str = "\
settle: every app has solar, load, a battery at 95 % each way that cost carbon, and a grid limit; one in eight charges from
        the grid; by turns each spills and lacks; a level meter. plain: the same figures by a loop over columns of u64.
pool:   the same with redistribution and export of spill.
hard:   a site that stands alone: redistribution, loans to every third app, repayment, overdrafts on everybody's batteries.
step:   a whole tick of a site with a container an app: readings, settlement, invariants, look-ahead, caps, outcome.";

/// A site's terms and balances, and what it did last.
pub struct Scene {
    pub site: SiteTerms,
    /// By turns.
    pub terms: [Vec<Terms>; 2],
    pub accounts: Vec<Account>,
    pub settled: Settled,
    deficit: EnergySum,
    desk: Desk,
    ticks: usize,
}

impl Scene {
    /// What most ticks of most sites are like.
    pub fn common(apps: usize) -> Self {
        let site = SiteTerms {
            solar_rule: SolarRule::Live { curtailable: true },
            solar: each(apps, SOLAR),
            redistribute: false,
            export_limit: Energy::ZERO,
            islanded: false,
            intensity: CarbonIntensity::from_grams_per_kwh(300),
            conversion: conversion(),
            tolerance: Energy::MAX,
            metered: Metered { level: Some(each(apps, 4_000_000)), ..Metered::default() },
        };
        let account = |i: usize| Account {
            stored: Energy::new(2_000_000 + figure(i % 1_000)),
            carbon_content: Carbon::new(400_000_000_000),
            ..Account::default()
        };
        Self {
            site,
            terms: [terms(apps, 0), terms(apps, 1)],
            accounts: (0..=apps).map(account).collect(),
            settled: Settled::default(),
            deficit: EnergySum::ZERO,
            desk: Desk::default(),
            ticks: 0,
        }
    }

    /// Spill is shared.
    pub fn pool(apps: usize) -> Self {
        let mut scene = Self::common(apps);
        scene.site.redistribute = true;
        scene.site.export_limit = each(apps, 5_000);
        scene
    }

    /// Everybody has to do with everybody: every third app lacks, and no grid is there.
    pub fn hard(apps: usize) -> Self {
        let mut scene = Self::common(apps);
        (scene.site.redistribute, scene.site.islanded) = (true, true);
        for terms in &mut scene.terms {
            for (i, terms) in terms.iter_mut().enumerate().filter(|(i, _)| i % 3 == 0) {
                terms.load = Energy::new(1_100_000 + figure(i % 7));
                terms.capacity = Energy::new(500_000);
            }
        }
        for account in scene.accounts.iter_mut().step_by(3) {
            account.stored = Energy::new(200_000);
        }
        scene
    }

    /// Settles the next tick.
    pub fn tick(&mut self) {
        let terms = &self.terms[self.ticks % 2];
        self.ticks += 1;
        let (desk, settled) = (&mut self.desk, &mut self.settled);
        settle_into(&self.site, terms, &mut self.accounts, &mut self.deficit, desk, settled)
            .expect("the books are whole");
    }
}

/// An app's solar of a tick, in µJ.
const SOLAR: u64 = 250_000;

pub fn conversion() -> Conversion {
    let most = Efficiency::new(950_000).expect("95 %");
    Conversion { charge: most, discharge: most }
}

pub fn figure(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn each(apps: usize, energy: u64) -> Energy {
    Energy::new(energy * figure(apps))
}

/// The apps' terms in every other tick, and those of `house`, which has nothing but what is left.
fn terms(apps: usize, turn: usize) -> Vec<Terms> {
    let app = |i: usize| Terms {
        app: AppId::new(u32::try_from(i + 1).unwrap_or(u32::MAX)),
        solar: Energy::new(SOLAR),
        load: Energy::new(if (i + turn).is_multiple_of(2) { 20_000 } else { 600_000 } + figure(i % 13)),
        weight: figure(1 + i % 7),
        capacity: Energy::new(5_000_000),
        floor: Energy::new(100_000),
        charge_limit: Energy::new(200_000 + figure(i % 1_000)),
        discharge_limit: Energy::new(200_000),
        charge: Energy::new(if i.is_multiple_of(8) { 210_000 } else { 0 }),
        grid_limit: Energy::new(500_000),
        carbon_limit: Energy::MAX,
        battery_gives: true,
    };
    let house = Terms {
        app: AppId::HOUSE,
        capacity: Energy::new(10_000_000),
        carbon_limit: Energy::MAX,
        battery_gives: true,
        ..Terms::default()
    };
    (0..apps).map(app).chain([house]).collect()
}
