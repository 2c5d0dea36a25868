//! Repayment: what is about to enter a debtor's battery goes to its lenders first.

mod scene;
use scene::*;

fn owing(debt: u128) -> Scene {
    scene().app(move |_, a| a.debt = sum(debt))
}

fn debts(books: &Books) -> Vec<u128> {
    books.accounts.iter().map(|a| a.debt.get()).collect()
}

fn loans(books: &Books) -> Vec<u128> {
    books.accounts.iter().map(|a| a.loan.get()).collect()
}

#[test]
fn own_solar_repays_before_it_charges() {
    for (solar, paid, kept) in [(5, 5, 0), (6, 6, 0), (7, 6, 1)] {
        let mut scene = owing(6).app(|_, a| a.loan = sum(6));
        scene.terms[0].solar = e(solar);
        let books = scene.settle();
        assert_eq!((books.flows[0].solar_to_lenders, books.flows[0].solar_to_battery), (e(paid), e(kept)));
        assert_eq!((books.flows[1].repaid_in, books.accounts[1].stored), (e(paid), e(paid)));
        assert_eq!((debts(&books)[0], loans(&books)[1]), (6 - u128::from(paid), 6 - u128::from(paid)));
    }
}

#[test]
fn load_comes_before_lenders() {
    let mut scene = owing(6).app(|_, a| a.loan = sum(6));
    (scene.terms[0].solar, scene.terms[0].load) = (e(8), e(5));
    assert_eq!(scene.settle().flows[0].solar_to_lenders, e(3));
}

#[test]
fn what_is_received_repays_before_it_charges() {
    let mut scene = owing(6).app(|t, a| (a.loan, t.weight) = (sum(6), 0)).site(|s| s.redistribute = true);
    scene = scene.app(|t, _| (t.solar, t.capacity) = (e(10), e(0)));
    let books = scene.settle();
    let f = books.flows[0];
    assert_eq!((f.received, f.received_to_lenders, f.received_to_battery), (e(10), e(6), e(4)));
}

#[test]
fn what_the_grid_charges_repays_first_and_its_carbon_is_the_debtors() {
    let mut scene = owing(6).app(|_, a| a.loan = sum(6));
    scene.terms[0].charge = e(10);
    let books = scene.settle();
    let f = books.flows[0];
    assert_eq!((f.grid_to_lenders, f.grid_to_battery, f.carbon.get()), (e(6), e(4), 30));
    assert_eq!(books.flows[1].carbon.get(), 0);
}

#[test]
fn lenders_are_repaid_pro_rata_to_what_they_are_owed() {
    let mut scene = owing(40).app(|_, a| a.loan = sum(30)).app(|_, a| a.loan = sum(10));
    scene.terms[0].solar = e(8);
    let books = scene.settle();
    assert_eq!((books.flows[1].repaid_in, books.flows[2].repaid_in), (e(6), e(2)));
}

#[test]
fn all_debtors_repay_all_lenders_together() {
    let mut scene = owing(10).app(|_, a| a.debt = sum(10)).app(|_, a| a.loan = sum(20));
    (scene.terms[0].solar, scene.terms[1].solar) = (e(3), e(1));
    let books = scene.settle();
    assert_eq!((debts(&books), loans(&books)), (vec![7, 9, 0, 0], vec![0, 0, 16, 0]));
}

#[test]
fn a_debt_falls_by_what_arrives_inside() {
    let mut scene = owing(10).app(|_, a| a.loan = sum(10)).site(|s| s.conversion = lossy());
    scene.terms[0].solar = e(6);
    let books = scene.settle();
    assert_eq!((books.flows[0].solar_to_lenders, books.flows[0].debt_repaid), (e(6), sum(3)));
    assert_eq!((debts(&books)[0], books.accounts[1].stored, books.flows[1].charge_loss), (7, e(3), e(3)));
}

#[test]
fn a_lender_takes_back_within_room_and_charge_limit_after_its_own_solar() {
    for (limit, stored, solar, back) in
        [(99, 0, 0, 20), (7, 0, 0, 7), (7, 0, 5, 2), (7, 0, 9, 0), (99, 988, 0, 12)]
    {
        let mut scene = owing(20).app(move |t, a| {
            (t.charge_limit, t.solar) = (e(limit), e(solar));
            (a.loan, a.stored) = (sum(20), e(stored));
        });
        scene.terms[0].solar = e(50);
        let books = scene.settle();
        assert_eq!(books.flows[1].repaid_in, e(back), "limit {limit}, stored {stored}, own {solar}");
        assert_eq!(books.flows[0].solar_to_battery, e(50 - back));
    }
}

#[test]
fn what_a_full_lender_cannot_take_stays_owed() {
    let mut scene = owing(20).app(|_, a| (a.loan, a.stored) = (sum(20), e(1_000)));
    scene.terms[0].solar = e(50);
    let books = scene.settle();
    assert_eq!((debts(&books)[0], loans(&books)[1], books.flows[0].solar_to_battery), (20, 20, e(50)));
}

/// Found by `invariant_7_more_solar_never_means_more_import`.
#[test]
fn what_a_full_lender_cannot_take_goes_to_lenders_that_have_room() {
    let mut scene =
        owing(40).app(|_, a| (a.loan, a.stored) = (sum(30), e(1_000))).app(|_, a| a.loan = sum(10));
    scene.terms[0].solar = e(8);
    let books = scene.settle();
    assert_eq!((books.flows[1].repaid_in, books.flows[2].repaid_in), (e(0), e(8)));
    assert_eq!((debts(&books)[0], loans(&books)[1..3].to_vec()), (32, vec![30, 2]));
}

/// Found by `invariant_7_more_solar_never_means_more_import`.
#[test]
fn what_an_app_owes_and_is_owed_cancels() {
    let scene = scene()
        .app(|_, a| (a.debt, a.loan) = (sum(5), sum(3)))
        .app(|_, a| (a.debt, a.loan) = (sum(1), sum(3)));
    let books = scene.settle();
    assert_eq!((debts(&books), loans(&books)), (vec![2, 0, 0], vec![0, 2, 0]));
    assert_eq!((books.flows[0].debt_repaid, books.flows[0].loan_repaid), (sum(3), sum(3)));
}

#[test]
fn a_debtor_whose_own_battery_is_full_still_repays_from_its_sun() {
    let mut scene = owing(6).app(|_, a| a.loan = sum(6));
    (scene.terms[0].solar, scene.accounts[0].stored) = (e(10), e(1_000));
    let f = scene.settle().flows[0];
    assert_eq!((f.solar_to_lenders, f.solar_to_battery, f.spilled), (e(6), e(0), e(4)));
}

#[test]
fn what_repays_counts_as_come_in_when_the_lender_charges() {
    let mut scene = owing(6).app(|t, a| (a.loan, t.charge) = (sum(6), e(10)));
    scene.terms[0].solar = e(6);
    assert_eq!(scene.settle().flows[1].grid_to_battery, e(4));
}
