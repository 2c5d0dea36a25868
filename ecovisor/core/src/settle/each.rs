//! A tick in which no app's battery is another's business: every app is taken through all steps while its figures are at
//! hand. Only the spill pool brings apps together: then pass 1 is walked through once before, for what the pool needs to
//! know, and once more with what it answered, since walking is cheaper than remembering.

use super::closing::Closing;
use super::pool::{Gift, Pool};
use super::{Row, Settled, SiteTerms, Terms};
use crate::app::AppId;
use crate::ledger::{Account, Broken, Flows};
use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

/// Settles all apps and closes them; the site's entries are left to do.
pub(super) fn settle(
    site: &SiteTerms,
    terms: &[Terms],
    accounts: &mut [Account],
    pool: &mut Pool,
    settled: &mut Settled,
    ended_last: &mut Vec<AppId>,
    closing: &mut Closing<'_>,
) -> Result<(), Broken> {
    let pooled = Pool::is_open(site);
    if pooled {
        fill_pool(site, terms, accounts, closing.deficit(), pool);
    }
    ended_last.clear();
    for (i, ((terms, account), flows)) in terms.iter().zip(accounts).zip(&mut settled.flows).enumerate() {
        let (load, lacking) = match terms.app {
            AppId::HOUSE => (closing.load_of_house(terms), closing.deficit()),
            _ => (terms.load, EnergySum::ZERO),
        };
        let mut row = Row::begin(site, terms, load, account, lacking, flows);
        row.pass_1();
        if pooled {
            row.take(pool.gift(i));
        }
        let (ended, ended_late) = row.pass_2();
        if ended {
            settled.charge_ended.push(terms.app);
        }
        if ended_late {
            ended_last.push(terms.app);
        }
        closing.row(terms, flows, account)?;
    }
    settled.charge_ended.append(ended_last);
    Ok(())
}

/// Pass 1 for the pool's sake alone.
fn fill_pool(site: &SiteTerms, terms: &[Terms], accounts: &[Account], deficit: EnergySum, pool: &mut Pool) {
    pool.clear();
    let (house, mut contained, mut flows) = (terms.len() - 1, EnergySum::ZERO, Flows::default());
    for (i, (terms, account)) in terms.iter().zip(accounts).enumerate() {
        contained += terms.load;
        let (load, lacking) = match i == house {
            true => (terms.load + site.unmetered(contained), deficit),
            false => (terms.load, EnergySum::ZERO),
        };
        let mut row = Row::begin(site, terms, load, account, lacking, &mut flows);
        row.pass_1();
        pool.add(&row);
    }
    pool.divide(site, terms);
}

impl Row<'_> {
    /// Steps 1 to 3, where nobody is owed anything.
    #[inline]
    fn pass_1(&mut self) {
        self.solar_to_load();
        self.solar_to_battery();
    }

    #[inline]
    fn take(&mut self, gift: Gift) {
        self.receive(gift.to_load, Energy::ZERO, gift.to_battery);
        self.give(gift.given, gift.exported);
    }

    /// Steps 4 to 7, where nobody is owed anything and there is a grid; says whether the charge setting ended in step 4, and
    /// whether it did in step 7.
    #[inline]
    fn pass_2(&mut self) -> (bool, bool) {
        let ended = self.battery_then_grid_to_load();
        self.overdraft_from_grid();
        self.end_spill();
        self.flows.grid_to_battery = self.charge_from_grid();
        (ended, self.end_full_charge())
    }
}
