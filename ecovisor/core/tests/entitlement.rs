//! Entitlement, enforced: an app's supply for the coming tick, and the caps that follow.

mod scene;
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

/// The cap ordered for a container, and whether it is to stand still.
fn order(outcome: &Outcome, container: ContainerId) -> (Option<Power>, bool) {
    let order = outcome.orders.caps.iter().find(|o| o.container == container).expect("each has an order");
    (order.cap, order.frozen)
}

#[test]
fn supply_is_solar_and_what_the_battery_may_give_and_the_grid_limit() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 500_000, 30, 20));
    world.watched(0);
    assert_eq!(of(&world.watched(0), app).supply, mw(20));
    // 9 mJ go into the battery in a second; live solar is taken to go on.
    assert_eq!(of(&world.watched(9_000), app).supply, mw(9 + 9 + 20));
    world.watched(99_000);
    assert_eq!(
        of(&world.watched(0), app).supply,
        mw(30 + 20),
        "the battery gives no more than its discharge limit"
    );
    world.ask(Command::SetMaxDischarge { app, limit: mw(4), lease: None });
    assert_eq!(of(&world.watched(0), app).supply, mw(4 + 20));
}

#[test]
fn islanded_the_grid_limit_counts_for_nothing() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 0, 0, 20));
    world.watched(0);
    let outcome = world.pass(&Inputs { grid_lost: true, ..day(5_000) });
    assert_eq!(of(&outcome, app).supply, mw(5));
}

#[test]
fn a_battery_gives_down_to_its_floor() {
    let mut world = World::new(rules());
    let mut with_floor = share(1, 500_000, 100, 0);
    with_floor.battery.floor = e(40_000);
    let app = world.create("web", with_floor);
    world.watched(0);
    world.watched(50_000);
    assert_eq!(of(&world.watched(0), app).supply, mw(10));
}

#[test]
fn a_charging_battery_counts_since_it_serves_what_lies_above_the_grid_limit() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 500_000, 30, 20));
    world.watched(0);
    world.watched(10_000);
    world.ask(Command::SetChargeRate { app, rate: mw(1), lease: None });
    assert_eq!(of(&world.watched(0), app).supply, mw(10 + 20));
    // A carbon bound below the grid limit keeps load from ever reaching it: 1 mg/h at 300 g/kWh are 3.333 mW.
    world.ask(Command::SetCarbonRate { app, rate: Some(CarbonRate::new(1)), lease: None });
    assert_eq!(of(&world.watched(0), app).supply, mw(3));
}

#[test]
fn carbon_bounds_the_grid_in_the_supply() {
    let mut world = World::new(rules());
    let app = world.create("web", share(0, 0, 0, 20));
    for (rate, supply) in [(Some(0), 0), (Some(1), 3), (Some(6), 20), (None, 20)] {
        world.ask(Command::SetCarbonRate { app, rate: rate.map(CarbonRate::new), lease: None });
        assert_eq!(of(&world.watched(0), AppId::HOUSE).app, AppId::HOUSE);
        assert_eq!(of(&world.watched(0), app).supply, mw(supply), "{rate:?} mg/h");
    }
}

#[test]
fn caps_are_lowered_pro_rata_to_the_supply_and_restored() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 0, 0, 20));
    let (big, small) = (world.attach(app, 30), world.attach(app, 10));
    let short = world.watched(0);
    assert_eq!((order(&short, big), order(&short, small)), ((Some(mw(15)), false), (Some(mw(5)), false)));
    assert!(short.events.contains(&Event::CapLowered { container: big, cap: mw(15) }));
    assert!(short.events.contains(&Event::CapLowered { container: small, cap: mw(5) }));
    assert_eq!(world.site.cap_in_force(big), Some((mw(15), true)));
    let still_short = world.watched(0);
    assert!(!still_short.events.iter().any(|event| matches!(event, Event::CapLowered { .. })), "told once");
    let enough = world.watched(20_000);
    assert_eq!((order(&enough, big), order(&enough, small)), ((None, false), (None, false)));
    assert!(enough.events.contains(&Event::CapRestored(big)));
    assert_eq!(world.site.cap_in_force(big), Some((mw(30), false)));
}

#[test]
fn a_cap_that_fits_exactly_stays() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 0, 0, 20));
    let container = world.attach(app, 30);
    for (cap, ordered, lowered) in [(20, 20, false), (21, 20, true)] {
        world.ask(Command::SetContainerCap { container, cap: Some(mw(cap)), lease: None });
        assert_eq!(order(&world.watched(0), container), (Some(mw(ordered)), false));
        assert_eq!(world.site.cap_in_force(container), Some((mw(ordered), lowered)));
    }
}

#[test]
fn at_zero_supply_an_app_is_throttled_frozen_or_only_notified() {
    for (shortfall, expected) in [
        (Shortfall::Throttle, (Some(mw(0)), false)),
        (Shortfall::Freeze, (Some(mw(0)), true)),
        (Shortfall::Notify, (None, false)),
    ] {
        let mut world = World::new(rules());
        let policy = AppPolicy { shortfall, ..AppPolicy::default() };
        let app = world.create_with("web", share(1, 0, 0, 0), policy);
        let container = world.attach(app, 30);
        assert_eq!(order(&world.watched(0), container), expected, "{shortfall:?}");
        // With the least supply all are capped alike.
        assert_eq!(order(&world.watched(1_000), container), (Some(mw(1)), false), "{shortfall:?}");
    }
}

#[test]
fn the_operators_own_containers_keep_their_caps() {
    let mut world = World::new(rules());
    world.create("web", share(1, 0, 0, 100));
    let container = world.attach(AppId::HOUSE, 30);
    assert_eq!(order(&world.watched(0), container), (None, false));
    world.ask(Command::SetContainerCap { container, cap: Some(mw(7)), lease: None });
    assert_eq!(order(&world.watched(0), container), (Some(mw(7)), false));
    assert_eq!(world.site.cap_in_force(container), Some((mw(7), false)));
}

#[test]
fn an_overdraft_is_told_when_it_begins_and_when_it_ends() {
    let mut world = World::new(rules());
    let app = world.create("web", share(0, 0, 0, 5));
    let container = world.attach(app, 30);
    world.watched(0);
    let mut over = |energy| {
        let mut inputs = day(0);
        inputs.containers = vec![used(container, energy)];
        let events = world.pass(&inputs).events;
        let told = |e: &Event| matches!(e, Event::OverdraftStarted(_) | Event::OverdraftEnded(_));
        events.into_iter().filter(told).collect::<Vec<_>>()
    };
    assert_eq!(over(5_000), []);
    assert_eq!(over(5_001), [Event::OverdraftStarted(app)]);
    assert_eq!(over(5_001), []);
    assert_eq!(over(5_000), [Event::OverdraftEnded(app)]);
}
