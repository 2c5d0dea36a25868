//! The books are laid beside the meters: netting, over and short, losses, drift, adjustment, the new buffer.

use super::{Settled, SiteTerms, SolarRule, Terms};
use crate::ledger::{Account, SiteFlows};
use crate::split::split;
use alloc::vec::Vec;
use ecovisor_units::{Carbon, Energy, EnergySum};

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
    let conversion = book_battery(site, settled, into_buffer);
    move_claims(site, accounts, deficit, settled);
    let buffer = kept + into_buffer.unwrap_or_default();
    settle_level(site, accounts, deficit, settled, conversion, buffer);
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
/// than an account can: what an absurd meter adds beyond that is `solar_over`.
fn book_solar(site: &SiteTerms, settled: &mut Settled, kept: EnergySum) -> Option<EnergySum> {
    let into_buffer = match site.solar_rule {
        SolarRule::Buffered => Some(site.solar.wide().min(Energy::MAX.wide().less(kept))),
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

/// What the books say of the real battery: how its content changes by the apps' own losses, and by the real ones.
struct RealBattery {
    netting_gain: EnergySum,
    conversion_loss: EnergySum,
}

/// Nets the flows through the battery's terminals, the buffer's included, and compares the conversion that the real
/// battery makes of the net with the losses that the apps were charged.
fn book_battery(site: &SiteTerms, settled: &mut Settled, into_buffer: Option<EnergySum>) -> RealBattery {
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
    RealBattery {
        netting_gain: EnergySum::new(real.saturating_sub(charged)),
        conversion_loss: EnergySum::new(charged.saturating_sub(real)),
    }
}

/// Moves every claim and every debt by the tick's flows; `house` may come below zero.
fn move_claims(site: &SiteTerms, accounts: &mut [Account], deficit: &mut EnergySum, settled: &Settled) {
    let house = accounts.len() - 1;
    for (i, (account, flows)) in accounts.iter_mut().zip(&settled.flows).enumerate() {
        let arrived = EnergySum::new(site.conversion.arriving(flows.battery_in().get()));
        let left = EnergySum::new(site.conversion.leaving(flows.battery_out().get()));
        carry_carbon(account, flows.battery_out(), left, flows.grid_to_battery.carbon(site.intensity));
        if i == house {
            post(account, deficit, arrived, left);
        } else {
            let stored = account.stored.wide() + arrived - left;
            account.stored = stored.narrow().expect("stored lies within a capacity");
        }
        account.debt = account.debt + flows.debt_incurred - flows.debt_repaid;
        account.loan = account.loan + flows.loan_granted - flows.loan_repaid;
    }
}

/// For information: what leaves a battery takes its part of what the content has cost, rounded down; what comes from
/// the grid adds its own.
fn carry_carbon(account: &mut Account, out: EnergySum, left: EnergySum, bought: Carbon) {
    if !out.is_zero() {
        let leaving = left.min(account.stored.wide()).get();
        let part =
            crate::split::mul_div_floor(account.carbon_content.get(), leaving, account.stored.get().into());
        account.carbon_content = account.carbon_content.less(Carbon::new(part.unwrap_or(0)));
    }
    account.carbon_content = account.carbon_content.saturating_add(bought);
}

/// Credits and charges `house`, whose claim below zero is its deficit.
fn post(house: &mut Account, deficit: &mut EnergySum, credit: EnergySum, charge: EnergySum) {
    let plus = house.stored.wide() + credit;
    let minus = *deficit + charge;
    house.stored = plus.less(minus).narrow().expect("house's claim is bounded by the level's reading");
    *deficit = minus.less(plus);
}

/// Brings `house` to what the meters say: conversion that netting avoided or carrying cost, then drift.
fn settle_level(
    site: &SiteTerms,
    accounts: &mut [Account],
    deficit: &mut EnergySum,
    settled: &mut Settled,
    conversion: RealBattery,
    buffer: EnergySum,
) {
    let books = &mut settled.site;
    (books.netting_gain, books.conversion_loss) = (conversion.netting_gain, conversion.conversion_loss);
    let Some((house, others)) = accounts.split_last_mut() else { return };
    post(house, deficit, books.netting_gain, books.conversion_loss);
    let claims = others.iter().map(|a| a.stored).sum::<EnergySum>() + house.stored + buffer;
    if let Some(level) = site.metered.level {
        books.drift_up = (level.wide() + *deficit).less(claims);
        books.drift_down = claims.less(level.wide() + *deficit);
        post(house, deficit, books.drift_up, books.drift_down);
    }
    books.buffer = buffer;
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
