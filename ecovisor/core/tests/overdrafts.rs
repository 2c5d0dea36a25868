//! Step 6: load that nothing its app was entitled to could serve.

mod scene;
use ecovisor_core::SolarRule;
use scene::*;

#[test]
fn with_a_grid_an_overdraft_is_import_beyond_the_limit_and_its_carbon_is_the_apps() {
    let books = scene().app(|t, _| (t.load, t.grid_limit) = (e(10), e(6))).settle();
    let f = books.flows[0];
    assert_eq!((f.grid_to_load, f.overdraft_grid, f.carbon.get()), (e(6), e(4), 30));
    assert_eq!(books.site.grid_import_booked, sum(10));
}

#[test]
fn an_overdraft_with_a_grid_takes_no_solar_that_others_spill() {
    let books = scene()
        .app(|t, _| (t.load, t.grid_limit) = (e(10), e(6)))
        .app(|t, _| (t.solar, t.capacity) = (e(9), e(0)))
        .settle();
    assert_eq!((books.flows[0].overdraft_grid, books.flows[1].curtailed), (e(4), e(9)));
}

#[test]
fn an_overdraft_islanded_takes_own_battery_then_spill_then_house_then_others_then_credit() {
    // 100 of load against its setting: own 10, spilt 20, house 30, the others 15 + 5, credit 20.
    let books = scene()
        .islanded()
        .app(|t, a| (t.load, t.discharge_limit, a.stored) = (e(100), e(0), e(10)))
        .app(|t, a| (t.solar, t.charge_limit, a.stored) = (e(20), e(0), e(15)))
        .app(|t, a| (t.floor, a.stored) = (e(7), e(12)))
        .house(|t, a| (t.capacity, a.stored) = (e(100), e(30)))
        .settle();
    let f = &books.flows;
    assert_eq!((f[0].forced_to_load, f[0].overdraft_from_spill, f[0].overdraft_lent), (e(10), e(20), e(70)));
    assert_eq!((f[1].spill_to_overdraft, f[1].lent, f[2].lent, f[3].lent), (e(20), sum(15), sum(5), sum(50)));
    assert_eq!((books.accounts[2].stored, books.deficit), (e(7), sum(20)));
    assert_eq!(books.accounts[0].debt, sum(70));
    assert_eq!(books.accounts.iter().map(|a| a.loan.get()).collect::<Vec<_>>(), [0, 15, 5, 50]);
}

#[test]
fn each_source_is_exhausted_before_the_next_is_asked() {
    for (load, forced, spill, house, others, credit) in
        [(10, 10, 0, 0, 0, 0), (11, 10, 1, 0, 0, 0), (12, 10, 2, 0, 0, 0), (13, 10, 2, 1, 0, 0)]
            .into_iter()
            .chain([(15, 10, 2, 3, 0, 0), (16, 10, 2, 3, 1, 0), (19, 10, 2, 3, 4, 0), (20, 10, 2, 3, 4, 1)])
    {
        let books = scene()
            .islanded()
            .app(|t, a| (t.load, t.discharge_limit, a.stored) = (e(load), e(0), e(10)))
            .app(|t, a| (t.solar, t.charge_limit, a.stored) = (e(2), e(0), e(4)))
            .house(|_, a| a.stored = e(3))
            .settle();
        let f = &books.flows;
        assert_eq!((f[0].forced_to_load, f[0].overdraft_from_spill), (e(forced), e(spill)), "load {load}");
        assert_eq!((f[2].lent, f[1].lent, books.deficit), (sum(house + credit), sum(others), sum(credit)));
    }
}

#[test]
fn the_others_lend_pro_rata_to_what_each_can_deliver() {
    let books = scene()
        .islanded()
        .app(|t, _| t.load = e(8))
        .app(|_, a| a.stored = e(30))
        .app(|_, a| a.stored = e(10))
        .settle();
    assert_eq!((books.flows[1].lent, books.flows[2].lent), (sum(6), sum(2)));
}

#[test]
fn what_is_lent_serves_open_loads_pro_rata() {
    let books = scene()
        .islanded()
        .app(|t, _| t.load = e(30))
        .app(|t, _| t.load = e(10))
        .app(|_, a| a.stored = e(8))
        .settle();
    // 8 of the others: 6 and 2; the other 32 on credit.
    assert_eq!((books.accounts[0].debt, books.accounts[1].debt, books.deficit), (sum(30), sum(10), sum(32)));
}

#[test]
fn the_debt_is_what_left_the_lenders_store_with_its_loss() {
    let books = scene()
        .islanded()
        .site(|s| s.conversion = lossy())
        .app(|t, _| t.load = e(5))
        .house(|t, a| (t.capacity, a.stored) = (e(100), e(20)))
        .settle();
    assert_eq!((books.flows[0].overdraft_lent, books.flows[0].debt_incurred), (e(5), sum(10)));
    assert_eq!((books.accounts[1].stored, books.accounts[1].loan), (e(10), sum(10)));
}

#[test]
fn no_lender_goes_below_its_floor_and_no_setting_keeps_it_from_lending() {
    let books = scene()
        .islanded()
        .app(|t, _| t.load = e(9))
        .app(|t, a| (t.floor, t.discharge_limit, a.stored) = (e(4), e(0), e(10)))
        .settle();
    assert_eq!((books.flows[1].lent, books.accounts[1].stored, books.deficit), (sum(6), e(4), sum(3)));
}

#[test]
fn solar_that_is_kept_serves_no_overdraft() {
    let books = scene()
        .islanded()
        .site(|s| s.solar_rule = SolarRule::Buffered)
        .app(|t, _| t.load = e(5))
        .app(|t, a| (t.solar, t.charge_limit, a.buffered) = (e(9), e(0), e(9)))
        .settle();
    assert_eq!(
        (books.flows[1].kept, books.flows[0].overdraft_from_spill, books.deficit),
        (e(9), e(0), sum(5))
    );
}

#[test]
fn house_on_credit_for_its_own_load_owes_nobody() {
    let books = scene().islanded().house(|t, _| t.load = e(5)).settle();
    let f = books.flows[0];
    assert_eq!((f.overdraft_lent, f.lent, f.debt_incurred, f.loan_granted), (e(5), sum(5), sum(0), sum(0)));
    assert_eq!(books.deficit, sum(5));
}

#[test]
fn a_house_below_zero_lends_on_more_credit_only() {
    let books = scene().islanded().deficit(7).app(|t, _| t.load = e(5)).settle();
    assert_eq!((books.flows[1].lent, books.deficit), (sum(5), sum(12)));
}

#[test]
fn what_comes_into_a_house_below_zero_pays_its_deficit_first() {
    let books = scene()
        .deficit(7)
        .house(|t, _| (t.solar, t.capacity, t.charge_limit) = (e(10), e(100), e(99)))
        .settle();
    assert_eq!((books.deficit, books.accounts[0].stored), (sum(0), e(3)));
}

#[test]
fn what_house_lacks_takes_nothing_from_anothers_battery() {
    let books = scene().deficit(7).app(|t, a| (t.load, a.stored) = (e(5), e(10))).settle();
    assert_eq!((books.flows[0].battery_to_load, books.deficit), (e(5), sum(7)));
    // What another lends is whole too.
    let books = scene().islanded().deficit(7).app(|t, _| t.load = e(5)).app(|_, a| a.stored = e(10)).settle();
    assert_eq!((books.flows[1].lent, books.flows[2].lent, books.deficit), (sum(5), sum(0), sum(7)));
}
