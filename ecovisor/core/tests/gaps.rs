//! Gaps: more than three ticks are settled as one entry.

mod scene;
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

fn world() -> (World, AppId, ContainerId) {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 500_000, 50, 50));
    let container = world.attach(app, 30);
    world.watched(0);
    world.pass(&Inputs { containers: vec![used(container, 0)], ..day_at(20_000, 500_000) });
    (world, app, container)
}

/// Ten seconds from counters where `counted`: 80 mJ of sun, 10 mJ of load, through the battery 5 mJ each way.
fn gap(container: ContainerId, counted: bool) -> Inputs {
    let said = |energy| Some(Reading { value: e(energy), age: ms(0), counted });
    let mut inputs = day_at(0, 300_000);
    inputs.span = ms(10_000);
    inputs.readings.solar = said(80_000);
    (inputs.readings.battery_in, inputs.readings.battery_out) = (said(5_000), said(5_000));
    inputs.readings.grid_import = said(7_000);
    inputs.containers = vec![ContainerUse { container, used: said(10_000) }];
    inputs
}

#[test]
fn more_than_three_ticks_are_a_gap() {
    for (span, is_gap) in [(3_000, false), (3_001, true)] {
        let (mut world, _, _) = world();
        let outcome = world.pass(&Inputs { span: ms(span), ..day_at(0, 300_000) });
        assert_eq!(outcome.gap, is_gap);
        assert_eq!(outcome.events.contains(&Event::Gap(ms(span))), is_gap);
    }
}

#[test]
fn a_gap_is_settled_from_the_counters_that_survived() {
    let (mut world, app, container) = world();
    let outcome = world.pass(&gap(container, true));
    let f = of(&outcome, app).flows;
    assert_eq!(
        (outcome.solar, f.load, f.solar_to_load, f.solar_to_battery),
        (e(80_000), e(10_000), e(10_000), e(70_000))
    );
    assert_eq!(outcome.metered.grid_import, Some(e(7_000)));
    assert!(!of(&outcome, app).estimated);
}

#[test]
fn what_no_counter_saw_goes_to_house_and_not_to_apps() {
    let (mut world, app, container) = world();
    let before = world.stored(app);
    let outcome = world.pass(&gap(container, false));
    let f = of(&outcome, app).flows;
    assert_eq!((outcome.solar, f.load, f.battery_in(), f.battery_out()), (e(0), e(0), sum(0), sum(0)));
    assert_eq!((world.stored(app), outcome.metered.grid_import), (before, None));
    assert!(of(&outcome, app).estimated);
    // 480 mJ were house's before the gap; the level says 300 mJ, and 20 mJ are the app's.
    assert_eq!((outcome.site.drift_down, world.stored(AppId::HOUSE)), (sum(200_000), 280_000));
}

#[test]
fn without_counted_flows_the_battery_neither_gives_nor_takes_in_a_gap() {
    let (mut world, app, container) = world();
    let mut inputs = gap(container, true);
    inputs.readings.battery_in = None;
    let f = of(&world.pass(&inputs), app).flows;
    assert_eq!((f.solar_to_load, f.solar_to_battery, f.curtailed), (e(10_000), e(0), e(70_000)));
    inputs.readings.solar = Some(Reading::now(e(0)));
    assert_eq!(of(&world.pass(&inputs), app).flows.grid_to_load, e(10_000));
}

#[test]
fn what_is_not_counted_is_not_held_through_a_gap_either() {
    let (mut world, _, container) = world();
    let mut inputs = gap(container, true);
    inputs.readings.solar = None;
    assert_eq!(world.pass(&inputs).solar, e(0));
}

#[test]
fn leases_that_end_in_a_gap_have_ended_before_it_is_settled() {
    let lease = |world: &mut World, app, lease| {
        world.ask(Command::SetChargeRate { app, rate: mw(9), lease: Some(ms(lease)) });
        world.watched(0);
    };
    // The command holds from one tick after; a gap of 10 s ends the lease of 10 s, not one of 10.001 s.
    for (length, charged) in [(10_000, 0), (10_001, 90_000)] {
        let (mut world, app, container) = world();
        lease(&mut world, app, length);
        let mut inputs = gap(container, true);
        (inputs.readings.solar, inputs.containers) = (Some(Reading::now(e(0))), Vec::new());
        let outcome = world.pass(&inputs);
        assert_eq!(of(&outcome, app).flows.grid_to_battery, e(charged), "a lease of {length}");
        let told = outcome.events.iter().filter(|e| matches!(e, Event::LeaseExpired(_))).count();
        assert_eq!(told, usize::from(charged == 0));
    }
}

#[test]
fn a_lease_that_ends_in_a_gap_is_told_once_though_other_commands_wait() {
    let (mut world, app, container) = world();
    world.ask(Command::SetMaxDischarge { app, limit: mw(9), lease: Some(ms(2_000)) });
    world.watched(0);
    // This one would have held from the next tick and has ended before.
    world.ask(Command::SetChargeRate { app, rate: mw(9), lease: Some(ms(2_000)) });
    let told: Vec<Event> = world.pass(&gap(container, true)).events;
    let expired = |setting| told.iter().filter(|e| **e == Event::LeaseExpired(setting)).count();
    assert_eq!((expired(Setting::MaxDischarge(app)), expired(Setting::ChargeRate(app))), (1, 1));
    let settings = world.site.apps(false)[0].settings;
    assert_eq!((settings.charge_rate.value, settings.max_discharge.value), (mw(0), Power::MAX));
}

#[test]
fn no_span_is_too_long() {
    let (mut world, app, container) = world();
    world.ask(Command::SetChargeRate { app, rate: mw(9), lease: Some(Millis::MAX) });
    for span in [u64::MAX, u64::MAX, 0, 1_000] {
        world.pass(&Inputs { span: ms(span), wall: Millis::MAX, ..gap(container, true) });
    }
    assert_eq!(world.site.now(), Millis::MAX);
}
