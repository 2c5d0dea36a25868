//! The end of a tick: losses and carbon of every app, its balances, what they sum to, and the invariants. An app is
//! closed while its figures are at hand; the site's entries follow when all are summed.

use super::{Settled, SiteTerms, SolarRule, Terms};
use crate::app::AppId;
use crate::battery::bounded;
use crate::ledger::{
    Account, Broken, Entry, Flows, Rates, SiteEntry, Totals, check_app, check_claim, check_house,
    check_totals,
};
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

/// A tick that is being closed.
pub(super) struct Closing<'a> {
    pub(super) site: &'a SiteTerms,
    rates: Rates,
    pub(super) totals: Totals,
    /// What the containers used, of all apps together.
    pub(super) contained: EnergySum,
    /// The parts of the solar that the apps were given.
    divided: EnergySum,
    /// What `house` lacked before the tick.
    deficit: EnergySum,
    stored_before: &'a mut Vec<Energy>,
    /// `house` before the tick, and its claim while the site is closed.
    house_before: Account,
    pub(super) house: HouseClaim,
}

/// The claim of `house` while a tick is closed: below zero it is the deficit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HouseClaim {
    pub(super) credit: EnergySum,
    pub(super) charge: EnergySum,
}

impl<'a> Closing<'a> {
    pub(super) fn begin(site: &'a SiteTerms, deficit: EnergySum, stored_before: &'a mut Vec<Energy>) -> Self {
        stored_before.clear();
        Self {
            site,
            rates: Rates { conversion: site.conversion, intensity: site.intensity },
            totals: Totals::default(),
            contained: EnergySum::ZERO,
            divided: EnergySum::ZERO,
            deficit,
            stored_before,
            house_before: Account::default(),
            house: HouseClaim::default(),
        }
    }

    /// What `house` lacked before the tick.
    pub(super) fn deficit(&self) -> EnergySum {
        self.deficit
    }

    /// What `house` used when all others are closed, with what the load meter shows beyond the containers.
    pub(super) fn load_of_house(&self, house: &Terms) -> Energy {
        house.load + self.site.unmetered(self.contained + house.load)
    }

    /// Closes every app.
    pub(super) fn all(
        &mut self,
        terms: &[Terms],
        flows: &mut [Flows],
        accounts: &mut [Account],
    ) -> Result<(), Broken> {
        terms.iter().zip(flows).zip(accounts).try_for_each(|((t, f), a)| self.row(t, f, a))
    }

    /// Closes an app: what its battery lost, the carbon it is charged, its balances, its part of the invariants. `house` is
    /// checked when the meters have been looked at.
    #[inline]
    pub(super) fn row(
        &mut self,
        terms: &Terms,
        flows: &mut Flows,
        account: &mut Account,
    ) -> Result<(), Broken> {
        let before = *account;
        flows.carbon = flows.grid_drawn().carbon(self.rates.intensity);
        let (arrived, left) = self.move_through_battery(flows, account);
        account.debt = account.debt + flows.debt_incurred - flows.debt_repaid;
        account.loan = account.loan + flows.loan_granted - flows.loan_repaid;
        self.contained += terms.load;
        self.divided += terms.solar;
        self.totals.add_flows(flows);
        if terms.app == AppId::HOUSE {
            self.house_before = before;
            self.house = HouseClaim { credit: before.stored.wide() + arrived, charge: self.deficit + left };
            return Ok(());
        }
        let stored = before.stored.wide() + arrived - left;
        account.stored = stored.narrow().expect("stored lies within a capacity");
        self.stored_before.push(before.stored);
        self.totals.add_end(flows, account);
        check_app(&self.rates, &entry(terms, &before, account, flows))
    }

    /// Books what a battery lost and what its content has cost; returns what arrived inside and what left.
    #[inline]
    fn move_through_battery(&self, flows: &mut Flows, account: &mut Account) -> (EnergySum, EnergySum) {
        let (input, output) = (flows.battery_in().get(), flows.battery_out().get());
        let conversion = self.rates.conversion;
        let (arrived, left) = (conversion.arriving(input), conversion.leaving(output));
        flows.charge_loss = bounded(input - arrived);
        flows.discharge_loss = EnergySum::new(left - output);
        account.shed_carbon(EnergySum::new(left));
        let bought = flows.grid_to_battery.carbon(self.rates.intensity);
        account.carbon_content = account.carbon_content.saturating_add(bought);
        (EnergySum::new(arrived), EnergySum::new(left))
    }

    /// Lays the books beside the meters, and checks what is left to check.
    pub(super) fn meet_meters(
        mut self,
        terms: &[Terms],
        accounts: &mut [Account],
        deficit: &mut EnergySum,
        settled: &mut Settled,
    ) -> Result<(), Broken> {
        self.book(accounts, deficit, settled);
        let house = terms.len() - 1;
        self.totals.add_end(&settled.flows[house], &accounts[house]);
        self.adjust(terms, accounts, deficit, settled)?;
        let divided = match self.site.solar_rule {
            SolarRule::Live { .. } => self.site.solar,
            SolarRule::Buffered => bounded(self.divided.get()),
        };
        let site = SiteEntry {
            flows: &settled.site,
            metered: &self.site.metered,
            solar: divided,
            solar_rule: self.site.solar_rule,
            contained: self.contained,
            intensity: self.rates.intensity,
            deficit: (self.deficit, *deficit),
            conversion: self.rates.conversion,
        };
        let (terms, flows) = (&terms[house], &settled.flows[house]);
        check_house(&site, &entry(terms, &self.house_before, &accounts[house], flows))?;
        check_totals(&site, &self.totals)
    }

    /// Looks again at claims that an adjustment has changed since they were closed.
    pub(super) fn check_claims(
        &mut self,
        terms: &[Terms],
        accounts: &[Account],
        flows: &[Flows],
    ) -> Result<(), Broken> {
        self.totals.adjusted_down = flows.iter().map(|f| f.adjusted_down).sum();
        self.totals.stored = accounts.iter().map(|a| a.stored).sum();
        for (i, &stored) in self.stored_before.iter().enumerate() {
            let before = Account { stored, ..Account::default() };
            check_claim(self.rates.conversion, &entry(&terms[i], &before, &accounts[i], &flows[i]))?;
        }
        Ok(())
    }
}

#[inline]
fn entry<'a>(terms: &Terms, before: &'a Account, after: &'a Account, flows: &'a Flows) -> Entry<'a> {
    Entry { app: terms.app, before, after, flows, floor: terms.floor, capacity: terms.capacity }
}
