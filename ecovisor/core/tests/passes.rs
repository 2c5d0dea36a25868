//! Steps 1 to 5 and 7 of a tick: solar, battery and grid, to load and into the battery.

mod scene;
use scene::*;

#[test]
fn solar_serves_load_before_anything_else() {
    let books = scene().app(|t, a| (t.solar, t.load, a.stored) = (e(7), e(10), e(5))).settle();
    let f = books.flows[0];
    assert_eq!((f.solar_to_load, f.solar_to_battery, f.battery_to_load), (e(7), e(0), e(3)));
}

#[test]
fn excess_solar_charges_by_itself_whatever_the_charge_rate() {
    for charge in [0, 1, 50] {
        let books = scene().app(|t, _| (t.solar, t.load, t.charge) = (e(50), e(10), e(charge))).settle();
        assert_eq!(books.flows[0].solar_to_battery, e(40), "charge {charge}");
    }
}

#[test]
fn solar_charges_within_the_charge_limit_and_the_room() {
    for (limit, stored, taken) in
        [(39, 0, 39), (40, 0, 40), (41, 0, 40), (99, 961, 39), (99, 960, 40), (99, 1_000, 0)]
    {
        let books =
            scene().app(|t, a| (t.solar, t.charge_limit, a.stored) = (e(40), e(limit), e(stored))).settle();
        let f = books.flows[0];
        assert_eq!((f.solar_to_battery, f.spilled, f.curtailed), (e(taken), e(40 - taken), e(40 - taken)));
    }
}

#[test]
fn a_battery_with_losses_is_filled_exactly() {
    // Room 5 inside takes 10 at the terminals.
    let books =
        scene().site(|s| s.conversion = lossy()).app(|t, a| (t.solar, a.stored) = (e(40), e(995))).settle();
    let f = books.flows[0];
    assert_eq!((f.solar_to_battery, f.charge_loss, books.accounts[0].stored), (e(10), e(5), e(1_000)));
}

#[test]
fn the_battery_gives_before_the_grid_does() {
    let books = scene().app(|t, a| (t.load, a.stored) = (e(30), e(20))).settle();
    let f = books.flows[0];
    assert_eq!((f.battery_to_load, f.grid_to_load, books.accounts[0].stored), (e(20), e(10), e(0)));
}

#[test]
fn the_battery_gives_within_its_limit_and_above_its_floor() {
    for (limit, floor, given) in [(9, 0, 9), (10, 0, 10), (99, 10, 10), (99, 11, 9), (99, 20, 0), (99, 21, 0)]
    {
        let books = scene()
            .app(|t, a| (t.load, t.discharge_limit, t.floor, a.stored) = (e(10), e(limit), e(floor), e(20)))
            .settle();
        assert_eq!(books.flows[0].battery_to_load, e(given), "limit {limit}, floor {floor}");
    }
}

#[test]
fn discharging_takes_its_loss_from_the_store() {
    let books =
        scene().site(|s| s.conversion = lossy()).app(|t, a| (t.load, a.stored) = (e(9), e(15))).settle();
    let f = books.flows[0];
    // 15 stored deliver 7; 7 take 14.
    assert_eq!((f.battery_to_load, f.discharge_loss, books.accounts[0].stored), (e(7), sum(7), e(1)));
}

#[test]
fn an_asked_for_charge_leaves_load_to_the_grid() {
    let books = scene().app(|t, a| (t.load, t.charge, a.stored) = (e(10), e(5), e(20))).settle();
    let f = books.flows[0];
    assert_eq!((f.battery_to_load, f.grid_to_load, f.grid_to_battery), (e(0), e(10), e(5)));
}

#[test]
fn while_it_charges_the_battery_gives_only_the_load_above_the_grid_limit() {
    for (load, from_battery, charged) in [(9, 0, 1), (10, 0, 0), (11, 1, 0), (12, 2, 0)] {
        let books = scene()
            .app(|t, a| (t.load, t.charge, t.grid_limit, a.stored) = (e(load), e(5), e(10), e(20)))
            .settle();
        let f = books.flows[0];
        assert_eq!((f.battery_to_load, f.grid_to_battery), (e(from_battery), e(charged)), "load {load}");
        assert_eq!(f.grid_to_load, e(load - from_battery));
    }
}

#[test]
fn a_charge_asked_of_a_full_battery_has_ended_before_the_battery_gives() {
    let books = scene().app(|t, a| (t.load, t.charge, a.stored) = (e(10), e(5), e(1_000))).settle();
    assert_eq!((books.flows[0].battery_to_load, books.charge_ended.len()), (e(10), 1));
    // One short of full it still charges.
    let books = scene().app(|t, a| (t.load, t.charge, a.stored) = (e(10), e(5), e(999))).settle();
    assert_eq!((books.flows[0].battery_to_load, books.flows[0].grid_to_battery), (e(0), e(1)));
    assert_eq!(books.charge_ended.len(), 1, "and has ended once that has filled it");
}

#[test]
fn a_charge_that_does_not_fill_the_battery_goes_on() {
    let books = scene().app(|t, a| (t.charge, a.stored) = (e(5), e(994))).settle();
    assert_eq!((books.accounts[0].stored, books.charge_ended.len()), (e(999), 0));
}

#[test]
fn solar_that_fills_the_battery_ends_an_asked_for_charge() {
    let books = scene().app(|t, a| (t.solar, t.charge, a.stored) = (e(10), e(5), e(990))).settle();
    assert_eq!((books.flows[0].grid_to_battery, books.charge_ended.len()), (e(0), 1));
}

#[test]
fn the_grid_serves_load_within_the_apps_limit() {
    for (limit, served) in [(9, 9), (10, 10), (11, 10)] {
        let books = scene().app(|t, _| (t.load, t.grid_limit) = (e(10), e(limit))).settle();
        assert_eq!(books.flows[0].grid_to_load, e(served));
    }
}

#[test]
fn the_grid_charges_what_did_not_come_in_otherwise() {
    for (solar, charged) in [(0, 5), (4, 1), (5, 0), (6, 0)] {
        let books = scene().app(|t, _| (t.solar, t.charge) = (e(solar), e(5))).settle();
        assert_eq!(books.flows[0].grid_to_battery, e(charged), "solar {solar}");
    }
}

#[test]
fn charging_from_the_grid_keeps_every_limit() {
    // Charge limit, room, what load leaves of the grid limit, and what carbon allows.
    for (charge_limit, stored, grid_limit, carbon, charged) in [
        (99, 0, 99, 99, 50),
        (7, 0, 99, 99, 7),
        (99, 992, 99, 99, 8),
        (99, 0, 29, 99, 9),
        (99, 0, 20, 99, 0),
        (99, 0, 99, 30, 10),
        (99, 0, 99, 20, 0),
        (99, 0, 99, 19, 0),
    ] {
        let books = scene()
            .app(|t, a| {
                (t.load, t.charge, t.charge_limit, a.stored) = (e(20), e(50), e(charge_limit), e(stored));
                (t.grid_limit, t.carbon_limit) = (e(grid_limit), e(carbon));
            })
            .settle();
        assert_eq!(books.flows[0].grid_to_battery, e(charged));
        assert_eq!(books.flows[0].grid_to_load, e(20), "carbon bounds no load in the books");
    }
}

#[test]
fn nothing_charges_from_a_grid_that_is_away() {
    let books = scene().islanded().app(|t, _| t.charge = e(5)).settle();
    assert_eq!(books.flows[0].grid_to_battery, e(0));
}

#[test]
fn an_app_without_anything_moves_nothing() {
    let books = scene().app(|t, _| t.capacity = e(0)).settle();
    assert_eq!(books.flows[0], ecovisor_core::Flows::default());
}

#[test]
fn a_battery_that_cannot_be_trusted_gives_nothing() {
    let books = scene().app(|t, a| (t.load, t.battery_gives, a.stored) = (e(10), false, e(20))).settle();
    assert_eq!((books.flows[0].battery_to_load, books.flows[0].grid_to_load), (e(0), e(10)));
}
