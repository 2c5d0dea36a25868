//! The books are laid beside the meters: netting, over and short, losses, drift, adjustment, the new buffer.

use super::closing::{Closing, HouseClaim};
use super::{Settled, SolarRule, Terms};
use crate::freshness::READING_MAX;
use crate::ledger::{Account, Broken, SiteFlows};
use crate::split::split;
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

impl Closing<'_> {
    /// Posts the site's entries, and moves the balance of `house`.
    pub(super) fn book(&mut self, accounts: &mut [Account], deficit: &mut EnergySum, settled: &mut Settled) {
        self.book_load(&mut settled.site);
        self.net_grid(&mut settled.site);
        let into_buffer = self.book_solar(&mut settled.site);
        self.charge_house(settled);
        self.book_battery(&mut settled.site, into_buffer);
        settled.site.buffer = self.totals.kept + into_buffer.unwrap_or_default();
        let house = self.settle_level(&mut settled.site);
        *deficit = house.rest_on(accounts);
    }

    /// What the load meter shows beyond all containers is `house`'s load; what it does not show of them is overbooked.
    fn book_load(&self, books: &mut SiteFlows) {
        let metered = self.site.metered.load.map_or(self.contained, Energy::wide);
        books.unmetered_load = metered.less(self.contained);
        books.overbooked_load = self.contained.less(metered);
        books.load_booked = self.contained + books.unmetered_load;
    }

    /// Posts the opposite flows of a pair once against each sum.
    fn net_grid(&self, books: &mut SiteFlows) {
        let (import, export, metered) = (self.totals.grid_drawn, self.totals.exported, &self.site.metered);
        books.grid_netting = import.min(export);
        books.grid_import_booked = import - books.grid_netting;
        books.grid_export_booked = export - books.grid_netting;
        (books.grid_import_over, books.grid_import_short) =
            beside(books.grid_import_booked, metered.grid_import);
        (books.grid_export_over, books.grid_export_short) =
            beside(books.grid_export_booked, metered.grid_export);
    }

    /// Books the solar of this tick; returns what of it went into the buffer, where there is one. A buffer never holds
    /// more than a reading can say: what an absurd meter adds beyond that is `solar_over`.
    fn book_solar(&self, books: &mut SiteFlows) -> Option<EnergySum> {
        let solar = self.site.solar.wide();
        let into_buffer = match self.site.solar_rule {
            SolarRule::Buffered => Some(solar.min(READING_MAX.wide().less(self.totals.kept))),
            SolarRule::Live { .. } => None,
        };
        books.solar_booked = into_buffer.unwrap_or(solar - self.totals.curtailed);
        (books.solar_over, books.solar_short) = beside(books.solar_booked, self.site.metered.solar);
        into_buffer
    }

    /// Charges `house` for import beyond the books, and credits it what netting and a short meter left unimported.
    fn charge_house(&self, settled: &mut Settled) {
        let books = &settled.site;
        let over = books.grid_import_over.carbon(self.site.intensity);
        let credit = (books.grid_netting + books.grid_import_short).carbon(self.site.intensity);
        if let Some(house) = settled.flows.last_mut() {
            house.carbon += over;
            house.carbon_credit = credit;
        }
    }

    /// Nets the flows through the battery's terminals, the buffer's included, and compares the conversion that the real
    /// battery makes of the net with the losses that the apps were charged.
    fn book_battery(&self, books: &mut SiteFlows, into_buffer: Option<EnergySum>) {
        let (conversion, totals, metered) = (self.site.conversion, &self.totals, &self.site.metered);
        let (mut input, mut output) = (totals.battery_in.get(), totals.battery_out.get());
        let (mut rises, mut falls) = (input - totals.charge_loss.get(), output + totals.discharge_loss.get());
        if let Some(into_buffer) = into_buffer {
            let spent = totals.solar_in - totals.kept;
            input += into_buffer.get();
            rises += into_buffer.get();
            output += spent.get();
            falls += spent.get();
        }
        let netted = input.min(output);
        let (really_in, really_out) = (input - netted, output - netted);
        (books.battery_in_booked, books.battery_out_booked) =
            (EnergySum::new(really_in), EnergySum::new(really_out));
        (books.battery_in_over, books.battery_in_short) = beside(books.battery_in_booked, metered.battery_in);
        (books.battery_out_over, books.battery_out_short) =
            beside(books.battery_out_booked, metered.battery_out);
        // really rises − really falls against rises − falls, without a sign.
        let real = conversion.arriving(really_in) + falls;
        let charged = conversion.leaving(really_out) + rises;
        books.netting_gain = EnergySum::new(real.saturating_sub(charged));
        books.conversion_loss = EnergySum::new(charged.saturating_sub(real));
    }

    /// Brings `house` to what the meters say: conversion that netting avoided or carrying cost, then drift. No battery
    /// holds more than the largest reading, so where no meter says otherwise what lies above it is drift too.
    fn settle_level(&self, books: &mut SiteFlows) -> HouseClaim {
        let mut house = self.house;
        house.credit += books.netting_gain;
        house.charge += books.conversion_loss;
        match self.site.metered.level {
            Some(level) => {
                let claims = self.totals.stored + house.credit + books.buffer;
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
    pub(super) fn adjust(
        &mut self,
        terms: &[Terms],
        accounts: &mut [Account],
        deficit: &mut EnergySum,
        settled: &mut Settled,
    ) -> Result<(), Broken> {
        if *deficit > self.site.tolerance.wide() {
            shrink_claims(accounts, deficit, settled);
            self.check_claims(terms, accounts, &settled.flows)?;
        }
        let books = &mut settled.site;
        books.deficit = *deficit;
        books.level_booked = (self.totals.stored + books.buffer).less(*deficit);
        Ok(())
    }
}

/// What a meter shows beyond the books, and what it does not show of them.
fn beside(booked: EnergySum, metered: Option<Energy>) -> (EnergySum, EnergySum) {
    metered
        .map_or_else(Default::default, |metered| (metered.wide().less(booked), booked.less(metered.wide())))
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

/// Takes the deficit out of all claims but that of `house`, and out of the buffer.
fn shrink_claims(accounts: &mut [Account], deficit: &mut EnergySum, settled: &mut Settled) {
    let house = accounts.len() - 1;
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
