//! The life of apps: created, reshared, drained, deleted; what has no place any more passes to `house`.

mod scene;
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

#[test]
fn an_app_lives_from_the_next_tick_in_order_of_creation_and_house_is_last() {
    let mut world = World::new(rules());
    let (a, b) = (world.create("a", share(1, 0, 0, 0)), world.create("b", share(1, 0, 0, 0)));
    assert_eq!((world.site.apps(false).len(), world.site.apps(true).len()), (1, 3));
    let ids = |outcome: &Outcome| outcome.apps.iter().map(|a| a.app).collect::<Vec<_>>();
    assert_eq!(ids(&world.sun(0)), [AppId::HOUSE]);
    assert_eq!(ids(&world.sun(0)), [a, b, AppId::HOUSE]);
}

#[test]
fn what_exceeds_a_lowered_capacity_passes_to_house_in_that_tick() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 100_000, 100, 0));
    world.sun(0);
    world.sun(50_000);
    for (capacity, passed) in [(50_000, 0), (49_999, 1), (0, 49_999)] {
        let before = world.stored(AppId::HOUSE);
        world.ask(Command::ChangeShare { app, share: share(1, capacity, 100, 0) });
        let outcome = world.sun(0);
        assert_eq!((world.stored(app), world.stored(AppId::HOUSE)), (capacity, before + passed));
        assert_eq!(
            (of(&outcome, app).flows.adjusted_down, outcome.site.freed),
            (e(passed), sum(passed.into()))
        );
        let told = Event::PassedToHouse { app, claim: e(passed), buffer: e(0), debt: sum(0), loan: sum(0) };
        assert_eq!(outcome.events.contains(&told), passed > 0);
    }
}

/// Two apps of which the first owes the second 5 mJ; nobody has anything stored.
fn indebted() -> (World, AppId, AppId) {
    let mut world = World::new(Rules { grid: None, ..rules() });
    let a = world.create("a", share(1, 100_000, 50, 0));
    let b = world.create("b", share(1, 100_000, 50, 0));
    let container = world.attach(a, 50);
    world.watched(0);
    world.pass(&Inputs { containers: vec![used(container, 0)], ..day_at(10_000, 10_000) });
    world.pass(&Inputs { containers: vec![used(container, 10_000)], ..day_at(0, 0) });
    (world, a, b)
}

#[test]
fn claim_buffer_debts_and_loans_of_a_deleted_app_pass_to_house() {
    let (mut world, a, b) = indebted();
    let balance = |world: &World, app| *world.site.account(app).expect("lives");
    assert_eq!((balance(&world, a).debt, balance(&world, b).loan), (sum(5_000), sum(5_000)));
    let container = world.site.containers(false)[0].id;
    world.ask(Command::DrainApp(a));
    world.ask(Command::DeleteApp(a));
    let outcome = world.pass(&Inputs { containers: vec![used(container, 0)], ..day(0) });
    assert!(outcome.events.contains(&Event::PassedToHouse {
        app: a,
        claim: e(0),
        buffer: e(0),
        debt: sum(5_000),
        loan: sum(0)
    }));
    assert_eq!(balance(&world, AppId::HOUSE).debt, sum(5_000));
    assert_eq!(of(&outcome, a).account, ledger::Account::default(), "one that has ended has nothing");
    world.ask(Command::DeleteApp(b));
    world.sun(0);
    assert_eq!(balance(&world, AppId::HOUSE).loan, sum(5_000));
    world.sun(0);
    let house = balance(&world, AppId::HOUSE);
    assert_eq!((house.debt, house.loan), (sum(0), sum(0)), "what house owes itself cancels");
}

#[test]
fn the_claim_of_a_deleted_app_pays_houses_deficit_first() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 100_000, 100, 0));
    world.sun(0);
    world.sun(50_000);
    // The level lacks 20 of the 50 mJ that the books have.
    world.pass(&day_at(0, 30_000));
    assert_eq!((world.site.deficit(), world.stored(app)), (sum(20_000), 50_000));
    world.ask(Command::DeleteApp(app));
    let outcome = world.sun(0);
    assert_eq!((world.site.deficit(), world.stored(AppId::HOUSE)), (sum(0), 30_000));
    assert_eq!((outcome.site.deficit, outcome.site.freed), (sum(0), sum(50_000)));
    assert_eq!(of(&outcome, app).flows.adjusted_down, e(50_000));
}

#[test]
fn the_buffer_part_of_a_deleted_app_is_houses_solar() {
    let mut world = World::new(Rules { solar_rule: SolarRule::Buffered, ..rules() });
    let app = world.create("a", share(1, 0, 0, 0));
    world.sun(0);
    world.ask(Command::DeleteApp(app));
    let outcome = world.sun(8_000);
    let told = Event::PassedToHouse { app, claim: e(0), buffer: e(8_000), debt: sum(0), loan: sum(0) };
    assert!(outcome.events.contains(&told));
    assert_eq!((outcome.site.buffer, of(&world.sun(0), AppId::HOUSE).flows.solar_in), (sum(8_000), e(8_000)));
}

#[test]
fn a_draining_app_takes_nothing_new_and_its_battery_takes_nothing_in() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 100_000, 100, 50));
    let container = world.attach(app, 30);
    world.ask(Command::SetChargeRate { app, rate: mw(5), lease: None });
    world.watched(0);
    world.watched(10_000);
    world.ask(Command::DrainApp(app));
    assert!(world.watched(0).events.contains(&Event::Draining(app)));
    let stored = world.stored(app);
    let night = Inputs { containers: vec![used(container, 4_000)], ..day_at(0, 500_000) };
    assert_eq!(of(&world.pass(&night), app).flows.battery_to_load, e(4_000), "its load goes on");
    let sunny = Inputs { containers: vec![used(container, 0)], ..day_at(9_000, 500_000) };
    let f = of(&world.pass(&sunny), app).flows;
    assert_eq!((f.solar_to_battery, f.grid_to_battery, f.spilled), (e(0), e(0), e(9_000)));
    assert_eq!(world.stored(app), stored - 4_000);
    let name = ContainerName::new("new").expect("a name");
    let attach = Command::AttachContainer { app, name, ceiling: mw(5) };
    assert_eq!(world.refused(attach), Refusal::Draining);
    assert_eq!(world.refused(Command::SetChargeRate { app, rate: mw(0), lease: None }), Refusal::Draining);
    world.ask(Command::DeleteApp(app));
    let outcome = world.watched(0);
    assert!(world.site.containers(false).is_empty() && outcome.orders.caps.is_empty());
}

#[test]
fn a_draining_debtor_still_repays_from_its_sun() {
    let (mut world, a, b) = indebted();
    world.ask(Command::DrainApp(a));
    let container = world.site.containers(false)[0].id;
    let still = |solar| Inputs { containers: vec![used(container, 0)], ..day_at(solar, 0) };
    world.pass(&still(0));
    // Half of 6 mJ is its own.
    let outcome = world.pass(&still(6_000));
    assert_eq!(
        (of(&outcome, a).flows.solar_to_lenders, of(&outcome, b).flows.repaid_in),
        (e(3_000), e(3_000))
    );
}

#[test]
fn an_app_created_and_deleted_between_two_ticks_never_was() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 0, 0, 0));
    world.ask(Command::DeleteApp(app));
    let outcome = world.sun(0);
    assert!(!outcome.events.iter().any(|e| matches!(e, Event::PassedToHouse { .. })));
    let again = world.create("a", share(1, 0, 0, 0));
    assert!(again > app, "a number is never used again");
}

#[test]
fn commands_for_an_app_deleted_in_the_same_tick_are_refused() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 0, 0, 0));
    world.sun(0);
    world.ask(Command::SetCarbonRate { app, rate: None, lease: None });
    world.ask(Command::DeleteApp(app));
    assert_eq!(world.refused(Command::DrainApp(app)), Refusal::UnknownApp(app));
    world.sun(0);
    assert_eq!(world.refused(Command::DrainApp(app)), Refusal::UnknownApp(app));
}

#[test]
fn a_policys_defaults_hold_until_the_app_sets_something() {
    let mut world = World::new(rules());
    let policy = |charge| AppPolicy { charge_rate: mw(charge), ..AppPolicy::default() };
    let app = world.create_with("a", share(0, 100_000, 50, 50), policy(3));
    world.sun(0);
    assert_eq!(of(&world.sun(0), app).flows.grid_to_battery, e(3_000));
    world.ask(Command::ChangePolicy { app, policy: policy(4) });
    world.sun(0);
    assert_eq!(of(&world.sun(0), app).flows.grid_to_battery, e(4_000), "what was at its default follows");
    world.ask(Command::SetChargeRate { app, rate: mw(7), lease: None });
    world.ask(Command::ChangePolicy { app, policy: policy(5) });
    world.sun(0);
    assert_eq!(of(&world.sun(0), app).flows.grid_to_battery, e(7_000), "what was set stays");
}

#[test]
fn containers_join_and_leave_at_the_next_tick() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 0, 0, 50));
    world.sun(0);
    let container = world.attach(app, 30);
    let using = Inputs { containers: vec![used(container, 5_000)], ..day(0) };
    assert_eq!(of(&world.pass(&using), app).flows.load, e(0));
    assert_eq!(of(&world.pass(&using), app).flows.load, e(5_000));
    world.ask(Command::DetachContainer(container));
    assert_eq!(of(&world.pass(&using), app).flows.load, e(5_000));
    assert_eq!(of(&world.pass(&using), app).flows.load, e(0));
    assert_eq!(world.site.cap_in_force(container), None);
}

#[test]
fn batteries_that_fill_and_empty_are_told_once() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 10_000, 100, 0));
    let container = world.attach(app, 30);
    world.watched(0);
    let mut told = |solar, load| {
        let inputs = Inputs { containers: vec![used(container, load)], ..day_at(solar, 500_000) };
        let events = world.pass(&inputs).events;
        let battery = |e: &Event| *e == Event::BatteryFull(app) || *e == Event::BatteryEmpty(app);
        events.into_iter().filter(battery).collect::<Vec<_>>()
    };
    assert_eq!(told(9_999, 0), []);
    assert_eq!(told(1, 0), [Event::BatteryFull(app)]);
    assert_eq!(told(0, 0), []);
    assert_eq!(told(0, 9_999), []);
    assert_eq!(told(0, 1), [Event::BatteryEmpty(app)]);
    assert_eq!(told(0, 0), []);
}

#[test]
fn an_adjusted_app_is_told() {
    let mut world = World::new(Rules { tolerance: e(0), ..rules() });
    let app = world.create("a", share(1, 100_000, 100, 0));
    world.sun(0);
    world.sun(50_000);
    let outcome = world.pass(&day_at(0, 30_000));
    assert!(outcome.events.contains(&Event::BatteryAdjusted { app, by: e(20_000) }));
}

#[test]
fn what_passes_takes_the_carbon_of_its_content_along() {
    let mut world = World::new(rules());
    let app = world.create("a", share(0, 100_000, 50, 50));
    world.ask(Command::SetChargeRate { app, rate: mw(50), lease: None });
    world.sun(0);
    world.sun(0);
    let content = |world: &World, app| world.site.account(app).expect("lives").carbon_content;
    assert_eq!(content(&world, app), Carbon::new(50_000 * 300_000));
    world.ask(Command::ChangeShare { app, share: share(0, 80_000, 0, 0) });
    world.sun(0);
    assert_eq!(world.stored(app), 80_000);
    assert_eq!(content(&world, AppId::HOUSE), Carbon::new(20_000 * 300_000));
}
