//! What hardware is told: the net of the batteries, how far the inverter goes, and for how long this holds.

mod scene;
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

#[test]
fn only_the_net_of_all_batteries_is_ordered() {
    for (charges, load, order) in [
        (9, 0, BatteryOrder::Charge(mw(9))),
        (9, 5, BatteryOrder::Charge(mw(4))),
        (9, 9, BatteryOrder::Rest),
        (3, 9, BatteryOrder::Discharge(mw(6))),
        (0, 0, BatteryOrder::Rest),
    ] {
        let mut world = World::new(rules());
        let a = world.create("a", share(0, 100_000, 50, 50));
        let b = world.create("b", share(1, 100_000, 50, 0));
        let container = world.attach(b, 50);
        world.watched(0);
        world.watched(50_000);
        world.ask(Command::SetChargeRate { app: a, rate: mw(charges), lease: None });
        let inputs = Inputs { containers: vec![used(container, load * 1_000)], ..day_at(0, 500_000) };
        assert_eq!(world.pass(&inputs).orders.battery, order, "charges {charges}, gives {load}");
    }
}

#[test]
fn no_order_exceeds_the_batterys_limits() {
    let mut world = World::new(Rules { grid: None, ..rules() });
    let app = world.create("a", share(1, 900_000, 1, 0));
    let container = world.attach(app, 200);
    world.watched(0);
    // Islanded an overdraft is lent whatever the settings say; hardware gives what it can.
    let inputs = Inputs { containers: vec![used(container, 150_000)], ..day_at(0, 500_000) };
    assert_eq!(world.pass(&inputs).orders.battery, BatteryOrder::Discharge(mw(100)));
}

#[test]
fn a_battery_that_nobody_can_read_rests() {
    let mut world = World::new(rules());
    let app = world.create("a", share(0, 100_000, 50, 50));
    world.ask(Command::SetChargeRate { app, rate: mw(9), lease: None });
    assert_eq!(world.sun(0).orders.battery, BatteryOrder::Rest);
    assert_eq!(world.watched(0).orders.battery, BatteryOrder::Charge(mw(9)));
}

#[test]
fn a_site_without_a_battery_orders_none() {
    let mut world = World::new(Rules { battery: None, ..rules() });
    assert_eq!(world.sun(50_000).orders.battery, BatteryOrder::Rest);
}

#[test]
fn the_inverter_is_ordered_down_by_what_is_curtailed() {
    let mut world = World::new(Rules { battery: None, ..rules() });
    let app = world.create("a", share(1, 0, 0, 0));
    let container = world.attach(app, 50);
    world.sun(0);
    let sunny = |load| Inputs { containers: vec![used(container, load)], ..day(9_000) };
    assert_eq!(world.pass(&sunny(4_000)).orders.solar_limit, Some(mw(4)));
    assert_eq!(world.pass(&sunny(9_000)).orders.solar_limit, None);
}

#[test]
fn orders_hold_as_long_as_configured_but_never_past_the_shortest_lease_behind_them() {
    let lease = |settings: &[Command]| {
        let mut world = World::new(rules());
        world.create("a", share(0, 100_000, 50, 50));
        for command in settings {
            world.ask(command.clone());
        }
        world.sun(0).orders.lease
    };
    let app = AppId::new(1);
    let charge = |time| Command::SetChargeRate { app, rate: mw(1), lease: Some(ms(time)) };
    let discharge = |time| Command::SetMaxDischarge { app, limit: mw(1), lease: Some(ms(time)) };
    let carbon = |time| Command::SetCarbonRate { app, rate: Some(CarbonRate::new(1)), lease: Some(ms(time)) };
    assert_eq!(lease(&[]), ms(30_000));
    assert_eq!(lease(&[charge(30_001)]), ms(30_000));
    assert_eq!(lease(&[charge(29_999)]), ms(29_999));
    assert_eq!(lease(&[charge(9_000), discharge(8_000)]), ms(8_000));
    assert_eq!(lease(&[charge(9_000), carbon(7_000)]), ms(7_000));
}

#[test]
fn orders_look_one_tick_ahead_whatever_the_last_ones_length() {
    let mut world = World::new(rules());
    world.create("a", share(1, 900_000, 100, 0));
    world.watched(0);
    // 30 mJ in two seconds are 15 mW.
    let slow = Inputs { span: ms(2_000), ..day_at(30_000, 500_000) };
    assert_eq!(world.pass(&slow).orders.battery, BatteryOrder::Charge(mw(15)));
}
