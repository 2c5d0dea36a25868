//! Missing and wrong readings: believed, held, assumed; and the mark that says so.

mod scene;
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

/// One app with a weight, a battery and a container of 30 mW; the site has everything.
fn world() -> (World, AppId, ContainerId) {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 500_000, 50, 50));
    let container = world.attach(app, 30);
    // Created in the first tick, read in the second.
    world.pass(&full(container));
    world.pass(&full(container));
    (world, app, container)
}

/// A second in which everything is read: 8 mJ of sun, 5 mJ of load, a level of 300 mJ.
fn full(container: ContainerId) -> Inputs {
    Inputs { containers: vec![used(container, 5_000)], ..day_at(8_000, 300_000) }
}

#[test]
fn a_tick_with_young_readings_is_not_estimated() {
    let (mut world, app, container) = world();
    let outcome = world.pass(&full(container));
    assert!(outcome.apps.iter().all(|a| !a.estimated));
    assert_eq!((outcome.solar, of(&outcome, app).flows.load), (e(8_000), e(5_000)));
}

#[test]
fn a_reading_is_young_up_to_the_configured_age() {
    for (age, believed) in [(2_000, true), (2_001, false)] {
        let (mut world, _, container) = world();
        let mut inputs = full(container);
        inputs.readings.solar = inputs.readings.solar.map(|r| Reading { age: ms(age), value: e(9_000), ..r });
        let outcome = world.pass(&inputs);
        assert_eq!(outcome.solar, if believed { e(9_000) } else { e(8_000) }, "the last one is held");
        assert_eq!(outcome.apps[0].estimated, !believed);
    }
}

#[test]
fn old_solar_is_held_for_the_configured_ticks_and_then_taken_for_nothing() {
    let (mut world, _, container) = world();
    let mut blind = full(container);
    blind.readings.solar = None;
    let given: Vec<u64> = (0..4).map(|_| world.pass(&blind).solar.get()).collect();
    assert_eq!(given, [8_000, 8_000, 0, 0]);
    assert_eq!(world.site.quality(Meter::Solar), Quality::Assumed);
    assert_eq!(world.pass(&full(container)).solar, e(8_000));
}

#[test]
fn what_is_held_is_a_power_so_a_longer_tick_holds_more() {
    let (mut world, _, container) = world();
    let mut blind = full(container);
    (blind.readings.solar, blind.span) = (None, ms(1_500));
    assert_eq!(world.pass(&blind).solar, e(12_000));
}

#[test]
fn what_is_held_posts_nothing_beside_the_books() {
    let (mut world, _, container) = world();
    let mut blind = full(container);
    blind.readings.solar = None;
    let outcome = world.pass(&blind);
    assert_eq!(
        (outcome.metered.solar, outcome.site.solar_over, outcome.site.solar_short),
        (None, sum(0), sum(0))
    );
}

#[test]
fn implausible_values_count_as_no_reading() {
    let implausible: [fn(&mut Readings); 4] = [
        // More than the panels' peak with its margin, than the battery holds, than any grid emits, than any site uses.
        |r| r.solar = Some(Reading::now(e(112_501))),
        |r| r.battery_level = Some(Reading::now(e(1_000_001))),
        |r| r.intensity = Some(Reading::now(CarbonIntensity::new(10_000_001))),
        |r| r.solar = Some(Reading::now(e(u64::MAX))),
    ];
    for spoil in implausible {
        let (mut world, _, container) = world();
        let mut inputs = full(container);
        spoil(&mut inputs.readings);
        let outcome = world.pass(&inputs);
        assert_eq!((outcome.solar, outcome.intensity), (e(8_000), CarbonIntensity::new(300_000)), "held");
        assert!(outcome.apps.iter().all(|a| a.estimated));
    }
}

#[test]
fn a_container_of_unknown_load_is_held_and_then_taken_to_be_at_its_cap() {
    let (mut world, app, container) = world();
    let blind = Inputs { containers: Vec::new(), ..full(container) };
    let loads: Vec<u64> = (0..3).map(|_| of(&world.pass(&blind), app).flows.load.get()).collect();
    assert_eq!(loads, [5_000, 5_000, 30_000]);
    world.ask(Command::SetContainerCap { container, cap: Some(mw(12)), lease: None });
    world.pass(&blind);
    let outcome = world.pass(&blind);
    assert_eq!(of(&outcome, app).flows.load, e(12_000));
    assert_eq!(outcome.containers[0].quality, Quality::Assumed);
    assert!(of(&outcome, app).estimated);
    assert!(!of(&outcome, AppId::HOUSE).estimated, "another app's container is not house's reading");
}

#[test]
fn a_container_without_a_figure_is_one_without_a_reading() {
    let (mut world, app, container) = world();
    let blind = Inputs { containers: vec![ContainerUse { container, used: None }], ..full(container) };
    assert_eq!(of(&world.pass(&blind), app).flows.load, e(5_000));
    let mut implausible = full(container);
    implausible.containers = vec![used(container, (1 << 62) + 1)];
    assert_eq!(of(&world.pass(&implausible), app).flows.load, e(5_000));
}

#[test]
fn of_two_readings_of_a_container_the_first_counts() {
    let (mut world, app, container) = world();
    let twice =
        Inputs { containers: vec![used(container, 7_000), used(container, 9_000)], ..full(container) };
    assert_eq!(of(&world.pass(&twice), app).flows.load, e(7_000));
}

#[test]
fn readings_of_containers_that_the_site_does_not_have_are_nobodys() {
    let (mut world, app, container) = world();
    let stranger = ContainerId::new(99);
    let inputs =
        Inputs { containers: vec![used(stranger, 9_000), used(container, 5_000)], ..full(container) };
    let outcome = world.pass(&inputs);
    assert_eq!((of(&outcome, app).flows.load, outcome.containers.len()), (e(5_000), 1));
}

#[test]
fn a_battery_whose_level_is_unknown_gives_nothing() {
    let (mut world, app, container) = world();
    let mut blind = full(container);
    (blind.readings.battery_level, blind.readings.solar) = (None, Some(Reading::now(e(0))));
    let gives: Vec<u64> = (0..3).map(|_| of(&world.pass(&blind), app).flows.battery_to_load.get()).collect();
    assert_eq!(gives, [3_000, 0, 0], "3 mJ were stored; then there is no more to give");
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 500_000, 50, 50));
    let container = world.attach(app, 30);
    world.sun(0);
    world.sun(50_000);
    let night = Inputs { containers: vec![used(container, 5_000)], ..day(0) };
    let outcome = world.pass(&night);
    assert_eq!((of(&outcome, app).flows.battery_to_load, of(&outcome, app).supply), (e(0), mw(50)));
    assert_eq!(outcome.orders.battery, BatteryOrder::Rest);
    world.watched(0);
    assert_eq!(of(&world.pass(&night), app).flows.battery_to_load, e(5_000), "held it gives");
}

#[test]
fn an_unknown_intensity_is_held_and_then_the_worst() {
    let (mut world, _, container) = world();
    let mut blind = full(container);
    blind.readings.intensity = None;
    let given: Vec<u64> = (0..3).map(|_| world.pass(&blind).intensity.get()).collect();
    assert_eq!(given, [300_000, 300_000, 1_000_000]);
}

#[test]
fn a_meter_that_fails_and_comes_back_is_told() {
    let (mut world, _, container) = world();
    let mut blind = full(container);
    blind.readings.intensity = None;
    let mut told = |inputs: &Inputs| {
        let events = world.pass(inputs).events;
        let of_meter = |e: &Event| matches!(e, Event::MeterDegraded(..) | Event::MeterRecovered(_));
        events.into_iter().filter(of_meter).collect::<Vec<_>>()
    };
    let intensity = Meter::Intensity;
    assert_eq!(told(&full(container)), []);
    assert_eq!(told(&blind), [Event::MeterDegraded(intensity, Quality::Held)]);
    assert_eq!(told(&blind), []);
    assert_eq!(told(&blind), [Event::MeterDegraded(intensity, Quality::Assumed)]);
    assert_eq!(told(&full(container)), [Event::MeterRecovered(intensity)]);
}

#[test]
fn what_a_site_does_not_have_is_not_missed() {
    let bare = Rules { solar_peak: mw(0), battery: None, grid: None, ..rules() };
    let mut world = World::new(bare);
    let outcome = world.pass(&Inputs { span: ms(1_000), ..Inputs::default() });
    assert_eq!(outcome.events, []);
    assert!(!of(&outcome, AppId::HOUSE).estimated);
}

#[test]
fn buffered_solar_is_estimated_in_the_tick_that_spends_it_too() {
    let mut world = World::new(Rules { solar_rule: SolarRule::Buffered, ..rules() });
    world.watched(5_000);
    let mut blind = day_at(0, 500_000);
    blind.readings.solar = None;
    assert!(world.pass(&blind).apps[0].estimated);
    assert!(world.watched(5_000).apps[0].estimated, "what it spends was held");
    assert!(!world.watched(5_000).apps[0].estimated);
}

#[test]
fn a_tick_of_no_time_loses_nothing() {
    let (mut world, app, container) = world();
    let mut inputs = full(container);
    (inputs.span, inputs.readings.solar) = (ms(0), Some(Reading::now(e(0))));
    assert_eq!(of(&world.pass(&inputs), app).flows.load, e(5_000));
}
