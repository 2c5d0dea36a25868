//! The books are laid beside the meters: netting, over and short, losses, drift, adjustment, the new buffer.

use super::{Settled, SiteTerms, SolarRule, Terms};
use crate::freshness::READING_MAX;
use crate::ledger::{Account, SiteFlows};
use crate::split::split;
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

/// Closes a tick: completes `settled`, and moves the balances.
pub(super) fn close(
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    deficit: &mut EnergySum,
    settled: &mut Settled,
) {
    net_grid(site, settled);
    let kept: EnergySum = settled.flows.iter().map(|f| f.kept).sum();
    let into_buffer = book_solar(site, settled, kept);
    charge_carbon(site, settled);
    book_battery(site, settled, into_buffer);
    let buffer = kept + into_buffer.unwrap_or_default();
    settled.site.buffer = buffer;
    let house = move_claims(site, accounts, *deficit, settled);
    let house = settle_level(site, accounts, house, &mut settled.site);
    *deficit = house.rest_on(accounts);
    adjust(site, terms, accounts, deficit, settled);
}

/// Posts the opposite flows of a pair once against each sum.
fn net_grid(site: &SiteTerms, settled: &mut Settled) {
    let import: EnergySum = settled.flows.iter().map(|f| f.grid_drawn()).sum();
    let export: EnergySum = settled.flows.iter().map(|f| f.exported).sum();
    let books = &mut settled.site;
    books.grid_netting = import.min(export);
    books.grid_import_booked = import - books.grid_netting;
    books.grid_export_booked = export - books.grid_netting;
    (books.grid_import_over, books.grid_import_short) =
        beside(books.grid_import_booked, site.metered.grid_import);
    (books.grid_export_over, books.grid_export_short) =
        beside(books.grid_export_booked, site.metered.grid_export);
}

/// What a meter shows beyond the books, and what it does not show of them.
fn beside(booked: EnergySum, metered: Option<Energy>) -> (EnergySum, EnergySum) {
    metered
        .map_or_else(Default::default, |metered| (metered.wide().less(booked), booked.less(metered.wide())))
}

/// Books the solar of this tick; returns what of it went into the buffer, where there is one. A buffer never holds more
/// than a reading can say: what an absurd meter adds beyond that is `solar_over`.
fn book_solar(site: &SiteTerms, settled: &mut Settled, kept: EnergySum) -> Option<EnergySum> {
    let into_buffer = match site.solar_rule {
        SolarRule::Buffered => Some(site.solar.wide().min(READING_MAX.wide().less(kept))),
        SolarRule::Live { .. } => None,
    };
    let curtailed = settled.flows.iter().map(|f| f.curtailed).sum();
    let books = &mut settled.site;
    books.solar_booked = into_buffer.unwrap_or(site.solar.wide() - curtailed);
    (books.solar_over, books.solar_short) = beside(books.solar_booked, site.metered.solar);
    into_buffer
}

/// Charges each app for what it drew from the grid; `house` for import beyond the books, and credits it what netting
/// and a short meter left unimported.
fn charge_carbon(site: &SiteTerms, settled: &mut Settled) {
    for flows in &mut settled.flows {
        flows.carbon = flows.grid_drawn().carbon(site.intensity);
    }
    let books = &settled.site;
    let over = books.grid_import_over.carbon(site.intensity);
    let credit = (books.grid_netting + books.grid_import_short).carbon(site.intensity);
    if let Some(house) = settled.flows.last_mut() {
        house.carbon += over;
        house.carbon_credit = credit;
    }
}

/// Nets the flows through the battery's terminals, the buffer's included, and compares the conversion that the real
/// battery makes of the net with the losses that the apps were charged.
fn book_battery(site: &SiteTerms, settled: &mut Settled, into_buffer: Option<EnergySum>) {
    let conversion = site.conversion;
    let (mut input, mut output, mut rises, mut falls) = (0_u128, 0_u128, 0_u128, 0_u128);
    for flows in &mut settled.flows {
        let (own_in, own_out) = (flows.battery_in().get(), flows.battery_out().get());
        let (arrived, left) = (conversion.arriving(own_in), conversion.leaving(own_out));
        flows.charge_loss = crate::battery::bounded(own_in - arrived);
        flows.discharge_loss = EnergySum::new(left - own_out);
        input += own_in;
        output += own_out;
        rises += arrived;
        falls += left;
    }
    if let Some(into_buffer) = into_buffer {
        let spent: EnergySum = settled.flows.iter().map(|f| f.solar_in - f.kept).sum();
        input += into_buffer.get();
        rises += into_buffer.get();
        output += spent.get();
        falls += spent.get();
    }
    let netted = input.min(output);
    let (really_in, really_out) = (input - netted, output - netted);
    let books = &mut settled.site;
    (books.battery_in_booked, books.battery_out_booked) =
        (EnergySum::new(really_in), EnergySum::new(really_out));
    (books.battery_in_over, books.battery_in_short) =
        beside(books.battery_in_booked, site.metered.battery_in);
    (books.battery_out_over, books.battery_out_short) =
        beside(books.battery_out_booked, site.metered.battery_out);
    // really rises − really falls against rises − falls, without a sign.
    let real = conversion.arriving(really_in) + falls;
    let charged = conversion.leaving(really_out) + rises;
    books.netting_gain = EnergySum::new(real.saturating_sub(charged));
    books.conversion_loss = EnergySum::new(charged.saturating_sub(real));
}

/// The claim of `house` while a tick is closed: below zero it is the deficit.
#[derive(Clone, Copy)]
struct HouseClaim {
    credit: EnergySum,
    charge: EnergySum,
}

impl HouseClaim {
    /// Writes what is above zero into its account, which stands last; returns what is below.
    fn rest_on(self, accounts: &mut [Account]) -> EnergySum {
        if let Some(house) = accounts.last_mut() {
            let stored = self.credit.less(self.charge).narrow();
            house.stored = stored.expect("house's claim is bounded by the level or by the largest reading");
        }
        self.charge.less(self.credit)
    }
}

/// Moves every claim and every debt by the tick's flows; returns the claim of `house`.
fn move_claims(
    site: &SiteTerms,
    accounts: &mut [Account],
    deficit: EnergySum,
    settled: &Settled,
) -> HouseClaim {
    let house = accounts.len() - 1;
    let mut claim = HouseClaim { credit: EnergySum::ZERO, charge: EnergySum::ZERO };
    for (i, (account, flows)) in accounts.iter_mut().zip(&settled.flows).enumerate() {
        let arrived = EnergySum::new(site.conversion.arriving(flows.battery_in().get()));
        let left = EnergySum::new(site.conversion.leaving(flows.battery_out().get()));
        account.shed_carbon(left);
        let bought = flows.grid_to_battery.carbon(site.intensity);
        account.carbon_content = account.carbon_content.saturating_add(bought);
        if i == house {
            claim = HouseClaim { credit: account.stored.wide() + arrived, charge: deficit + left };
        } else {
            let stored = account.stored.wide() + arrived - left;
            account.stored = stored.narrow().expect("stored lies within a capacity");
        }
        account.debt = account.debt + flows.debt_incurred - flows.debt_repaid;
        account.loan = account.loan + flows.loan_granted - flows.loan_repaid;
    }
    claim
}

/// Brings `house` to what the meters say: conversion that netting avoided or carrying cost, then drift. No battery
/// holds more than the largest reading, so where no meter says otherwise what lies above it is drift too.
fn settle_level(
    site: &SiteTerms,
    accounts: &[Account],
    mut house: HouseClaim,
    books: &mut SiteFlows,
) -> HouseClaim {
    house.credit += books.netting_gain;
    house.charge += books.conversion_loss;
    let others = accounts[..accounts.len() - 1].iter().map(|a| a.stored).sum::<EnergySum>();
    match site.metered.level {
        Some(level) => {
            let claims = others + house.credit + books.buffer;
            books.drift_up = (house.charge + level).less(claims);
            books.drift_down = claims.less(house.charge + level);
        }
        None => books.drift_down = house.credit.less(house.charge).less(READING_MAX.wide()),
    }
    house.credit += books.drift_up;
    house.charge += books.drift_down;
    house
}

/// Where the deficit exceeds the tolerance, the other claims and the buffer shrink pro rata by all of it.
fn adjust(
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    deficit: &mut EnergySum,
    settled: &mut Settled,
) {
    let house = terms.len() - 1;
    if *deficit > site.tolerance.wide() {
        let mut claims: Vec<u128> = accounts[..house].iter().map(|a| u128::from(a.stored.get())).collect();
        claims.push(settled.site.buffer.get());
        let freed = deficit.get().min(claims.iter().sum());
        let parts: Vec<u128> = split(freed, claims.iter().copied()).collect();
        for (i, &part) in parts[..house].iter().enumerate() {
            let part = crate::battery::bounded(part);
            accounts[i].shed_carbon(part.wide());
            accounts[i].stored -= part;
            settled.flows[i].adjusted_down = part;
        }
        settled.site.buffer_adjusted = EnergySum::new(parts[house]);
        settled.site.buffer -= settled.site.buffer_adjusted;
        settled.site.freed = EnergySum::new(freed);
        *deficit -= settled.site.freed;
    }
    let books: &mut SiteFlows = &mut settled.site;
    books.deficit = *deficit;
    books.level_booked = (accounts.iter().map(|a| a.stored).sum::<EnergySum>() + books.buffer).less(*deficit);
}
