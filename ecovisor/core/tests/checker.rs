//! The checker of the invariants sees every figure that is wrong: each is changed by one, and it must say so.

mod scene;
use ecovisor_core::ledger::{Account, Broken, Entry, SiteEntry, check};
use ecovisor_core::settle::Metered;
use ecovisor_core::{Flows, SiteFlows};
use ecovisor_units::{Energy, EnergySum};
use scene::*;

/// A settled tick with something in it, and all that the checker is told.
struct Table {
    scene: Scene,
    books: Books,
    solar: Energy,
}

fn table() -> Table {
    let metered = Metered {
        solar: Some(e(40)),
        grid_import: Some(e(3)),
        grid_export: Some(e(1)),
        battery_in: Some(e(2)),
        battery_out: Some(e(9)),
        load: Some(e(60)),
        level: Some(e(50)),
    };
    let scene = scene()
        .site(|s| (s.conversion, s.redistribute, s.metered) = (lossy(), true, metered))
        .app(|t, a| (t.solar, t.load, t.capacity, a.debt) = (e(30), e(4), e(0), sum(3)))
        .app(|t, a| (t.load, a.stored, t.floor) = (e(40), e(20), e(4)))
        .app(|t, a| (t.charge, a.loan) = (e(9), sum(3)))
        .house(|t, a| (t.load, t.capacity, a.stored) = (e(1), e(50), e(20)));
    let books = scene.clone().settle();
    Table { solar: e(30), scene, books }
}

impl Table {
    fn check(&self) -> Result<(), Broken> {
        let site = SiteEntry {
            flows: &self.books.site,
            metered: &self.scene.site.metered,
            solar: self.solar,
            solar_rule: self.scene.site.solar_rule,
            contained: self.scene.terms.iter().map(|t| t.load).sum(),
            intensity: self.scene.site.intensity,
            deficit: (self.scene.deficit, self.books.deficit),
            conversion: self.scene.site.conversion,
        };
        let entries = (0..self.scene.terms.len()).map(|i| Entry {
            app: self.scene.terms[i].app,
            before: &self.scene.accounts[i],
            after: &self.books.accounts[i],
            flows: &self.books.flows[i],
            floor: self.scene.terms[i].floor,
            capacity: self.scene.terms[i].capacity,
        });
        check(&site, entries)
    }

    fn breaks(&self) -> u8 {
        self.check().expect_err("the checker sees it").invariant
    }

    fn what(&self) -> &'static str {
        let broken = self.check().expect_err("the checker sees it");
        assert_eq!(broken.invariant, 3);
        broken.what
    }
}

#[test]
fn a_whole_table_passes() {
    assert_eq!(table().check(), Ok(()));
}

#[test]
fn no_flow_of_an_app_can_be_wrong_by_one() {
    for app in 0..4 {
        for field in Flows::FIELDS {
            let mut table = table();
            let was = table.books.flows[app].figures().find(|(name, _)| name == field).expect("a field").1;
            table.books.flows[app].set(field, was + 1).expect("it fits");
            assert!(table.check().is_err(), "{field} of app {app}");
        }
    }
}

#[test]
fn no_entry_of_the_site_can_be_wrong_by_one() {
    for field in SiteFlows::FIELDS {
        let mut table = table();
        let was = table.books.site.figures().find(|(name, _)| name == field).expect("a field").1;
        table.books.site.set(field, was + 1).expect("it fits");
        assert!(table.check().is_err(), "{field}");
    }
}

#[test]
fn no_balance_can_be_wrong_by_one() {
    let changes: [fn(&mut Account); 3] = [|a| a.stored += e(1), |a| a.debt += sum(1), |a| a.loan += sum(1)];
    for app in 0..4 {
        for (which, change) in changes.iter().enumerate() {
            let mut table = table();
            change(&mut table.books.accounts[app]);
            assert!(table.check().is_err(), "balance {which} of app {app}");
        }
    }
}

#[test]
fn each_invariant_is_named_by_its_number() {
    let broken = |change: fn(&mut Table)| {
        let mut table = table();
        change(&mut table);
        table.breaks()
    };
    assert_eq!(broken(|t| t.books.flows[0].solar_to_load += e(1)), 1);
    assert_eq!(broken(|t| t.books.flows[0].kept += e(1)), 1);
    assert_eq!(broken(|t| t.books.flows[1].received += e(1)), 1);
    assert_eq!(broken(|t| t.books.flows[1].load += e(1)), 2);
    assert_eq!(broken(|t| t.books.flows[0].debt_incurred += sum(1)), 2);
    assert_eq!(broken(|t| t.books.flows[2].loan_repaid += sum(1)), 2);
    assert_eq!(broken(|t| t.books.flows[2].charge_loss += e(1)), 3);
    assert_eq!(broken(|t| t.books.accounts[1].stored += e(1)), 3);
    assert_eq!(broken(|t| t.books.deficit += sum(1)), 3);
    assert_eq!(broken(|t| t.books.site.netting_gain += sum(1)), 3);
    assert_eq!(broken(|t| t.solar += e(1)), 4);
    assert_eq!(broken(|t| t.books.site.solar_over += sum(1)), 4);
    assert_eq!(broken(|t| t.books.site.overbooked_load += sum(1)), 4);
    assert_eq!(broken(|t| t.books.site.level_booked += sum(1)), 4);
    assert_eq!(broken(|t| t.books.flows[1].carbon += ecovisor_units::Carbon::new(1)), 5);
    assert_eq!(broken(|t| t.books.flows[3].carbon_credit += ecovisor_units::Carbon::new(1)), 5);
}

#[test]
fn carbon_moved_from_one_app_to_another_is_seen() {
    let mut table = table();
    let one = ecovisor_units::Carbon::new(1);
    table.books.flows[1].carbon += one;
    table.books.flows[2].carbon -= one;
    assert_eq!(table.breaks(), 5);
}

#[test]
fn a_flow_below_the_floor_above_the_capacity_or_both_ways_is_seen() {
    // The table is whole, but its terms are not those that it was settled under.
    let mut below = table();
    below.scene.terms[1].floor = e(20);
    assert_eq!(below.what(), "a flow took stored below the floor");
    let mut above = table();
    above.scene.terms[2].capacity = e(1);
    assert_eq!(above.what(), "a flow took stored above the capacity");
    let mut both = table();
    let flows = &mut both.books.flows[1];
    (flows.grid_to_battery, flows.charge_loss) = (e(2), e(1));
    assert_eq!(both.what(), "charging and discharging in one tick");
}

#[test]
fn a_broken_invariant_says_which_whose_and_what() {
    let mut table = table();
    table.books.flows[1].load += e(1);
    let said = table.check().expect_err("the checker sees it").to_string();
    assert!(said.starts_with("invariant 2 is broken: load and what served it: "), "{said}");
    assert!(said.ends_with("(app 2)"), "{said}");
}

#[test]
fn sums_beyond_a_u64_are_compared_whole() {
    let mut table = table();
    table.books.site.grid_import_over += EnergySum::new(1 << 64);
    assert_eq!(table.breaks(), 4);
}
