//! The spill pool: redistributed, exported, and what is left curtailed or kept.

mod scene;
use ecovisor_core::{Flows, SolarRule};
use ecovisor_units::Energy;
use scene::*;

fn without_battery(mut scene: Scene) -> Scene {
    scene.terms.iter_mut().for_each(|t| t.capacity = e(0));
    scene
}

fn spills(solar: u64) -> Scene {
    scene().site(|s| s.redistribute = true).app(move |t, _| (t.solar, t.capacity) = (e(solar), e(0)))
}

fn each(flows: &[Flows], of: impl Fn(&Flows) -> Energy) -> Vec<u64> {
    flows.iter().map(|f| of(f).get()).collect()
}

#[test]
fn without_redistribution_spill_is_curtailed_beside_open_loads() {
    let books = spills(10).site(|s| s.redistribute = false).app(|t, _| t.load = e(10)).settle();
    assert_eq!((books.flows[0].curtailed, books.flows[1].received), (e(10), e(0)));
}

#[test]
fn open_loads_are_served_before_batteries() {
    let books = spills(10).app(|t, _| t.load = e(7)).app(|_, _| ()).settle();
    assert_eq!(each(&books.flows, |f| f.received_to_load), [0, 7, 0, 0]);
    assert_eq!(each(&books.flows, |f| f.received_to_battery), [0, 1, 2, 0]);
    assert_eq!(books.flows[0].given, e(10));
}

#[test]
fn batteries_receive_within_their_charge_limit_and_room() {
    for (limit, stored, received) in [(4, 0, 4), (99, 995, 5), (99, 1_000, 0)] {
        let books = spills(10).app(|t, a| (t.charge_limit, a.stored) = (e(limit), e(stored))).settle();
        assert_eq!(books.flows[1].received_to_battery, e(received));
    }
}

#[test]
fn the_pool_is_given_by_weight_and_needs_are_met_in_full_first() {
    // 30 by 1:1:1; the first needs 4, then 26 by 1:1, the second needs 12, the third has 14.
    let books = without_battery(
        spills(30).app(|t, _| t.load = e(4)).app(|t, _| t.load = e(12)).app(|t, _| t.load = e(99)),
    )
    .settle();
    assert_eq!(each(&books.flows, |f| f.received_to_load), [0, 4, 12, 14, 0]);
}

#[test]
fn one_boundary_split_decides_among_those_who_need_more_than_their_part() {
    let books =
        without_battery(spills(10).app(|t, _| t.load = e(9)).app(|t, _| (t.load, t.weight) = (e(9), 2)))
            .settle();
    assert_eq!(each(&books.flows, |f| f.received_to_load), [0, 3, 7, 0]);
}

#[test]
fn weight_zero_receives_nothing() {
    let books = spills(10).app(|t, _| (t.load, t.weight) = (e(5), 0)).settle();
    assert_eq!((books.flows[1].received, books.flows[0].curtailed), (e(0), e(10)));
}

#[test]
fn spill_is_exported_up_to_the_limit_and_only_with_a_grid() {
    for (limit, islanded, exported) in
        [(0, false, 0), (9, false, 9), (10, false, 10), (99, false, 10), (99, true, 0)]
    {
        let books = spills(10).site(|s| (s.export_limit, s.islanded) = (e(limit), islanded)).settle();
        assert_eq!((books.flows[0].exported, books.flows[0].curtailed), (e(exported), e(10 - exported)));
    }
}

#[test]
fn the_pool_is_given_before_it_is_exported() {
    let books =
        spills(10).app(|t, _| (t.load, t.capacity) = (e(6), e(0))).site(|s| s.export_limit = e(3)).settle();
    let f = books.flows[0];
    assert_eq!((f.given, f.exported, f.curtailed), (e(6), e(3), e(1)));
}

#[test]
fn given_exported_and_curtailed_fall_on_givers_pro_rata() {
    let books = without_battery(
        spills(30).app(|t, _| t.solar = e(10)).app(|t, _| t.load = e(20)).site(|s| s.export_limit = e(8)),
    )
    .settle();
    assert_eq!(each(&books.flows, |f| f.given), [15, 5, 0, 0]);
    assert_eq!(each(&books.flows, |f| f.exported), [6, 2, 0, 0]);
    assert_eq!(each(&books.flows, |f| f.curtailed), [9, 3, 0, 0]);
}

#[test]
fn where_the_inverter_takes_no_order_the_rest_is_export() {
    for islanded in [false, true] {
        let books = spills(10)
            .site(|s| (s.solar_rule, s.islanded) = (SolarRule::Live { curtailable: false }, islanded))
            .settle();
        assert_eq!((books.flows[0].exported, books.flows[0].curtailed), (e(10), e(0)));
        assert_eq!((books.site.solar_booked, books.site.grid_export_booked), (sum(10), sum(10)));
    }
}

#[test]
fn booked_production_is_solar_less_curtailment() {
    let books = spills(10).site(|s| s.export_limit = e(3)).settle();
    assert_eq!(books.site.solar_booked, sum(3));
}

#[test]
fn buffered_solar_is_kept_and_never_curtailed() {
    let books = spills(10).site(|s| (s.solar_rule, s.solar) = (SolarRule::Buffered, e(4))).settle();
    assert_eq!((books.flows[0].kept, books.flows[0].curtailed, books.site.buffer), (e(10), e(0), sum(14)));
}
