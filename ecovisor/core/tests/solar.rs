//! Which solar: that of the tick before from the buffer, or that of the tick itself.

mod scene;
use ecovisor_core::*;
use scene::*;

fn buffered() -> Rules {
    Rules { solar_rule: SolarRule::Buffered, ..rules() }
}

#[test]
fn buffered_apps_spend_the_solar_of_the_tick_before() {
    let mut world = World::new(buffered());
    let app = world.create("web", share(1, 0, 0, 50));
    let container = world.attach(app, 50);
    world.sun(0);
    let with_load = |solar| {
        let mut inputs = day(solar);
        inputs.containers = vec![used(container, 6_000)];
        inputs
    };
    let first = world.pass(&with_load(9_000));
    assert_eq!((of(&first, app).flows.solar_in, of(&first, app).flows.grid_to_load), (e(0), e(6_000)));
    assert_eq!((of(&first, app).account.buffered, of(&first, app).coming_solar), (e(9_000), mw(9)));
    let second = world.pass(&with_load(0));
    assert_eq!((of(&second, app).flows.solar_to_load, of(&second, app).flows.kept), (e(6_000), e(3_000)));
    assert_eq!(of(&second, app).account.buffered, e(3_000), "what is kept is there in the next tick");
}

#[test]
fn what_was_kept_and_the_new_solar_are_split_by_the_weights_in_force() {
    let mut world = World::new(Rules { house_weight: 1, ..buffered() });
    let (a, b) = (world.create("a", share(1, 0, 0, 0)), world.create("b", share(2, 0, 0, 0)));
    world.sun(0);
    world.sun(8_000);
    let parts = |world: &World| {
        [a, b, AppId::HOUSE].map(|app| world.site.account(app).expect("lives").buffered.get())
    };
    assert_eq!(parts(&world), [2_000, 4_000, 2_000]);
    world.ask(Command::ChangeShare { app: b, share: share(0, 0, 0, 0) });
    world.sun(4_000);
    assert_eq!(parts(&world), [3_000, 6_000, 3_000], "another weight holds from the next tick");
    world.sun(0);
    assert_eq!(parts(&world), [6_000, 0, 6_000]);
}

#[test]
fn the_inverter_is_ordered_down_by_what_would_be_kept() {
    let mut world = World::new(buffered());
    let app = world.create("web", share(1, 0, 0, 50));
    let container = world.attach(app, 50);
    world.sun(0);
    let mut inputs = day(9_000);
    inputs.containers = vec![used(container, 6_000)];
    assert_eq!(world.pass(&inputs).orders.solar_limit, Some(mw(6)));
    inputs.containers = vec![used(container, 9_000)];
    let mut world = World::new(buffered());
    let app = world.create("web", share(1, 0, 0, 50));
    world.attach(app, 50);
    world.sun(0);
    assert_eq!(world.pass(&inputs).orders.solar_limit, None, "nothing would be kept");
}

#[test]
fn live_apps_spend_the_solar_of_the_tick_itself() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 0, 0, 50));
    let container = world.attach(app, 50);
    world.sun(0);
    let mut inputs = day(9_000);
    inputs.containers = vec![used(container, 6_000)];
    let outcome = world.pass(&inputs);
    assert_eq!(
        (of(&outcome, app).flows.solar_to_load, of(&outcome, app).flows.curtailed),
        (e(6_000), e(3_000))
    );
    assert_eq!((outcome.site.solar_booked, outcome.site.solar_over), (sum(6_000), sum(3_000)));
    assert_eq!(outcome.orders.solar_limit, Some(mw(6)));
}

#[test]
fn live_solar_is_what_the_panels_could_give() {
    let mut world = World::new(rules());
    let app = world.create("web", share(1, 0, 0, 50));
    world.sun(0);
    let mut inputs = day(2_000);
    inputs.readings.solar_available = Some(Reading::now(e(9_000)));
    let outcome = world.pass(&inputs);
    assert_eq!((outcome.solar, of(&outcome, app).flows.solar_in), (e(9_000), e(9_000)));
    assert_eq!((outcome.site.solar_booked, outcome.site.solar_over), (sum(0), sum(2_000)));
}

#[test]
fn an_inverter_that_takes_no_order_gets_none() {
    let mut world =
        World::new(Rules { solar_rule: SolarRule::Live { curtailable: false }, battery: None, ..rules() });
    let outcome = world.sun(9_000);
    assert_eq!((outcome.orders.solar_limit, outcome.site.grid_export_booked), (None, sum(9_000)));
}

#[test]
fn house_has_all_the_solar_where_nobody_has_a_weight() {
    for rules in [rules(), buffered()] {
        let mut world = World::new(rules);
        world.create("web", share(0, 0, 0, 0));
        world.sun(0);
        world.sun(9_000);
        assert_eq!(of(&world.sun(9_000), AppId::HOUSE).flows.solar_in, e(9_000));
    }
}

#[test]
fn a_site_that_goes_over_to_live_solar_passes_its_buffer_to_house() {
    let mut world = World::new(buffered());
    let app = world.create("web", share(1, 0, 0, 0));
    world.sun(0);
    world.sun(8_000);
    let parts: u64 = world.site.account(app).expect("lives").buffered.get();
    assert_eq!(parts, 8_000);
    world.ask(Command::Reconfigure(rules()));
    let outcome = world.sun(1_000);
    assert_eq!(
        (outcome.site.buffer, outcome.site.buffer_adjusted, outcome.site.freed),
        (sum(0), sum(9_000), sum(9_000))
    );
    assert_eq!((of(&outcome, app).account.buffered, world.stored(AppId::HOUSE)), (e(0), 9_000));
    let told = Event::PassedToHouse { app, claim: e(0), buffer: e(9_000), debt: sum(0), loan: sum(0) };
    assert!(outcome.events.contains(&told));
    // Back again nothing of the old buffer is spent a second time.
    world.ask(Command::Reconfigure(buffered()));
    world.sun(0);
    assert_eq!(of(&world.sun(0), app).flows.solar_in, e(0));
}

#[test]
fn solar_of_an_implausible_size_does_not_reach_the_buffer() {
    let mut world = World::new(buffered());
    // 100 mW for a second with an eighth on top.
    for (solar, buffer) in [(112_500, 112_500), (112_501, 0)] {
        let mut site = World { site: world.site.clone() };
        let outcome = site.sun(solar);
        assert_eq!(outcome.site.buffer, sum(buffer));
    }
    world.sun(0);
}
