//! Shares that nest: groups of apps, and apps that divide their own; the same rules at every level.

mod scene;
use ecovisor_core::*;
use ecovisor_units::Ppm;
use scene::*;

fn group(world: &mut World, name: &str, parent: Option<NodeId>, share: Share) -> NodeId {
    let name = AppName::new(name).expect("a name");
    world.ask(Command::CreateGroup { name: name.clone(), parent, share });
    world.site.tree(true).group_named(name.as_str()).expect("it was created").id
}

fn create_in(parent: NodeId, name: &str, share: Share) -> Command {
    let name = AppName::new(name).expect("a name");
    Command::CreateAppIn { parent, name, share, policy: AppPolicy::default() }
}

fn created_in(world: &mut World, parent: NodeId, name: &str, share: Share) -> AppId {
    world.ask(create_in(parent, name, share)).app.expect("an app is created")
}

fn place(world: &World, app: AppId) -> NodeId {
    world.site.tree(true).leaf(app).expect("it lives").id
}

fn own(world: &World, name: &str) -> Share {
    world.site.find(name).expect("it lives").share
}

#[test]
fn what_exceeds_a_parents_share_is_refused_with_the_figure_that_is_free_at_that_level() {
    let mut world = World::new(rules());
    let org = group(&mut world, "org", None, share(1, 600_000, 60, 60));
    let team = group(&mut world, "team", Some(org), share(1, 400_000, 40, 40));
    created_in(&mut world, team, "a", share(1, 300_000, 30, 30));
    let (asked, free) = (e(100_001), e(100_000));
    let refused = |world: &mut World, parent, share| world.refused(create_in(parent, "b", share));
    assert_eq!(refused(&mut world, team, share(1, 100_001, 0, 0)), Refusal::Capacity { asked, free });
    let (asked, free) = (mw(11), mw(10));
    assert_eq!(refused(&mut world, team, share(1, 0, 11, 0)), Refusal::ChargePower { asked, free });
    assert_eq!(refused(&mut world, team, share(1, 0, 0, 11)), Refusal::GridLimit { asked, free });
    // One level up 200,000 are free, two levels up 400,000.
    let (asked, free) = (e(200_001), e(200_000));
    assert_eq!(refused(&mut world, org, share(1, 200_001, 0, 0)), Refusal::Capacity { asked, free });
    let at_the_top = world.refused(create("b", share(1, 400_001, 0, 0), AppPolicy::default()));
    assert_eq!(at_the_top, Refusal::Capacity { asked: e(400_001), free: e(400_000) });
    assert_eq!(world.site.free_below(Some(team)).battery.capacity, e(100_000));
    created_in(&mut world, team, "b", share(1, 100_000, 10, 10));
}

#[test]
fn a_share_does_not_shrink_below_what_those_below_it_hold() {
    let mut world = World::new(rules());
    let org = group(&mut world, "org", None, share(1, 600_000, 60, 60));
    let app = created_in(&mut world, org, "a", share(1, 300_000, 30, 30));
    let child = place(&world, app);
    created_in(&mut world, child, "a.x", share(1, 200_000, 20, 10));
    let change =
        |capacity, battery, grid| Command::ChangeShare { app, share: share(1, capacity, battery, grid) };
    let (asked, held) = (e(199_999), e(200_000));
    assert_eq!(world.refused(change(199_999, 30, 30)), Refusal::HeldCapacity { asked, held });
    let (limit, asked, held) = ("charge", mw(19), mw(20));
    assert_eq!(world.refused(change(300_000, 19, 30)), Refusal::HeldPower { limit, asked, held });
    let of_group = Command::ChangeGroupShare { group: org, share: share(1, 600_000, 60, 29) };
    let (limit, asked, held) = ("grid", mw(29), mw(30));
    assert_eq!(world.refused(of_group), Refusal::HeldPower { limit, asked, held });
    world.ask(change(200_000, 20, 10));
    assert_eq!(own(&world, "a"), share(1, 0, 0, 0), "all of it is the child's now");
    assert_eq!(own(&world, "a.x"), share(1, 200_000, 20, 10));
}

#[test]
fn solar_is_divided_level_by_level() {
    let mut world = World::new(Rules { house_weight: 1, ..rules() });
    let org = group(&mut world, "org", None, share(3, 0, 0, 0));
    let a = created_in(&mut world, org, "a", share(1, 0, 0, 0));
    let b = created_in(&mut world, org, "b", share(2, 0, 0, 0));
    let at = place(&world, b);
    let child = created_in(&mut world, at, "b.x", share(3, 0, 0, 0));
    world.ask(Command::SetOwnWeight { app: b, weight: 1 });
    world.sun(0);
    let outcome = world.sun(80);
    let solar = |app| of(&outcome, app).flows.solar_in.get();
    // 60 for the organisation: 20 and 40; of these 10 stay with b.
    assert_eq!((solar(a), solar(b), solar(child), solar(AppId::HOUSE)), (20, 10, 30, 20));
}

#[test]
fn a_child_lives_on_its_own_battery_and_its_own_part_of_the_grid() {
    let mut world = World::new(Rules {
        grid: Some(site::GridConnection { import_limit: mw(10), export_limit: mw(0) }),
        ..rules()
    });
    let a = world.create("a", share(1, 100_000, 50, 10));
    let node = place(&world, a);
    let child = created_in(&mut world, node, "a.x", share(1, 60_000, 25, 4));
    world.watched(0);
    let outcome = world.sun(40_000);
    assert_eq!((world.stored(a), world.stored(child)), (20_000, 20_000));
    assert_eq!(
        of(&outcome, child).supply,
        mw(20 + 4 + 20),
        "its solar, its grid limit, what its battery holds"
    );
    let container = world.attach(child, 50);
    world.watched(0);
    world.pass(&Inputs { containers: vec![used(container, 15_000)], ..day_at(0, 500_000) });
    assert_eq!((world.stored(a), world.stored(child)), (20_000, 5_000));
}

#[test]
fn taking_back_returns_what_was_given_with_all_that_is_in_it() {
    let rules = Rules { solar_rule: SolarRule::Buffered, solar_peak: mw(40), ..rules() };
    let mut world = World::new(rules);
    let a = world.create("a", share(2, 100_000, 40, 10));
    let other = world.create("b", share(1, 100_000, 20, 10));
    world.sun(0);
    (0..3).for_each(|_| drop(world.sun(30_000)));
    let mut twin = World { site: world.site.clone() };
    assert_eq!(world.stored(a), 40_000, "and 20,000 in the buffer");

    let node = place(&world, a);
    let child = created_in(&mut world, node, "a.x", share(1, 70_000, 15, 5));
    world.ask(Command::SetOwnWeight { app: a, weight: 0 });
    let outcome = world.sun(0);
    assert_eq!(
        (world.stored(a), world.stored(child)),
        (30_000, 30_000),
        "the rest has moved with the capacity"
    );
    let (claim, none) = (e(30_000), sum(0));
    let told = Event::PassedToApp { from: a, to: child, claim, buffer: e(0), debt: none, loan: none };
    assert!(outcome.events.contains(&told), "{:?}", outcome.events);
    assert_eq!(of(&outcome, child).account.stored, e(30_000), "it stands in the books of that tick");
    assert_eq!(of(&outcome, a).flows.adjusted_down, claim);

    world.ask(Command::DeleteApp(child));
    world.sun(0);
    (0..2).for_each(|_| drop(twin.sun(0)));
    for (name, app) in [("a", a), ("b", other), ("house", AppId::HOUSE)] {
        assert_eq!(world.site.account(app), twin.site.account(app), "{name}");
    }
    assert_eq!(world.site.apps(false), twin.site.apps(false));
    (0..3).for_each(|_| assert_eq!(world.sun(30_000).apps, twin.sun(30_000).apps));
}

#[test]
fn what_nobody_of_a_divided_share_has_room_for_passes_to_house() {
    let mut world = World::new(rules());
    let a = world.create("a", share(1, 100_000, 100, 0));
    world.sun(0);
    world.sun(80_000);
    let node = place(&world, a);
    let child = created_in(&mut world, node, "a.x", share(0, 30_000, 10, 0));
    world.ask(Command::ChangeShare { app: a, share: share(1, 60_000, 100, 0) });
    let outcome = world.sun(0);
    assert_eq!((world.stored(a), world.stored(child), world.stored(AppId::HOUSE)), (30_000, 30_000, 20_000));
    assert_eq!((of(&outcome, a).flows.adjusted_down, outcome.site.freed), (e(50_000), sum(50_000)));
}

#[test]
fn only_named_children_hang_on_an_app_and_they_stay_with_it() {
    let mut world = World::new(rules());
    let a = world.create("a", share(1, 0, 0, 10));
    let node = place(&world, a);
    let org = group(&mut world, "org", None, share(1, 0, 0, 10));
    for name in ["x", "b.x", "a.x.y"] {
        assert_eq!(world.refused(create_in(node, name, share(1, 0, 0, 0))), Refusal::ChildName, "{name}");
        if name != "x" {
            assert_eq!(world.refused(create_in(org, name, share(1, 0, 0, 0))), Refusal::ChildName, "{name}");
            assert_eq!(
                world.refused(create(name, share(1, 0, 0, 0), AppPolicy::default())),
                Refusal::ChildName
            );
        }
    }
    let child = created_in(&mut world, node, "a.x", share(1, 0, 0, 5));
    assert_eq!(world.refused(create_in(node, "a.x", share(1, 0, 0, 0))), Refusal::NameTaken);
    let node_of_child = place(&world, child);
    assert_eq!(world.refused(Command::Relocate { node: node_of_child, parent: Some(org) }), Refusal::Child);
    assert_eq!(
        world.refused(Command::Relocate { node: org, parent: Some(node) }),
        Refusal::UnknownGroup(node)
    );
    assert_eq!(world.refused(Command::DeleteApp(a)), Refusal::HasChildren { children: 1 });
    world.ask(Command::Relocate { node, parent: Some(org) });
    assert_eq!(world.site.free_below(Some(org)).grid_limit, mw(0), "it took its child along");
    assert_eq!(world.refused(Command::DeleteGroup(org)), Refusal::HasChildren { children: 1 });
    let nobody = NodeId::new(77);
    assert_eq!(world.refused(create_in(nobody, "c", share(0, 0, 0, 0))), Refusal::UnknownGroup(nobody));
    assert_eq!(world.refused(Command::DeleteGroup(node)), Refusal::UnknownGroup(node), "an app is no group");
}

#[test]
fn shares_nest_four_levels_deep_and_no_deeper() {
    let mut world = World::new(rules());
    let org = group(&mut world, "org", None, share(1, 0, 0, 20));
    let team = group(&mut world, "team", Some(org), share(1, 0, 0, 10));
    let a = created_in(&mut world, team, "a", share(1, 0, 0, 10));
    let node = place(&world, a);
    assert_eq!(world.refused(create_in(node, "a.x", share(1, 0, 0, 1))), Refusal::TooDeep);
    assert_eq!(world.refused(Command::Relocate { node: org, parent: Some(team) }), Refusal::BelowItself);
    world.ask(Command::Relocate { node, parent: None });
    let x = created_in(&mut world, node, "a.x", share(1, 0, 0, 1));
    let below = place(&world, x);
    created_in(&mut world, below, "a.x.y", share(1, 0, 0, 1));
    assert_eq!(world.refused(Command::Relocate { node, parent: Some(org) }), Refusal::TooDeep);
    let too_much = group(&mut world, "full", None, share(1, 0, 0, 5));
    let (asked, free) = (mw(10), mw(5));
    assert_eq!(
        world.refused(Command::Relocate { node, parent: Some(too_much) }),
        Refusal::GridLimit { asked, free }
    );
}

#[test]
fn a_draining_app_drains_its_children_and_gives_to_no_new_ones() {
    let mut world = World::new(rules());
    let a = world.create("a", share(1, 0, 0, 10));
    let node = place(&world, a);
    let child = created_in(&mut world, node, "a.x", share(1, 0, 0, 5));
    let other = world.create("b", share(1, 0, 0, 5));
    world.ask(Command::DrainApp(a));
    let lives: Vec<Life> = world.site.apps(true).iter().map(|app| app.life).collect();
    assert_eq!(lives, [Life::Draining, Life::Draining, Life::Active, Life::Active]);
    assert_eq!(world.refused(create_in(node, "a.y", share(1, 0, 0, 1))), Refusal::Draining);
    assert_eq!(world.refused(Command::SetOwnWeight { app: a, weight: 3 }), Refusal::Draining);
    assert_eq!(world.refused(Command::SetOwnWeight { app: AppId::HOUSE, weight: 3 }), Refusal::House);
    for app in [child, a, other] {
        world.ask(Command::DeleteApp(app));
    }
    assert_eq!(world.site.free(), Share { solar_weight: 0, ..world.site.house_share() });
}

#[test]
fn house_may_use_what_a_group_has_given_to_nobody() {
    let mut world = World::new(rules());
    let org = group(&mut world, "org", None, share(1, 600_000, 60, 60));
    created_in(&mut world, org, "a", share(1, 200_000, 20, 20));
    world.sun(0);
    let house = world.site.house_share();
    assert_eq!((house.battery.capacity, house.grid_limit), (e(800_000), mw(80)));
    assert_eq!(world.site.free().battery.capacity, e(400_000), "for others it stays the group's");
}

#[test]
fn a_lowered_share_lowers_the_charge_rate_that_was_set_within_it() {
    let mut world = World::new(rules());
    let a = world.create("a", share(1, 100_000, 50, 10));
    world.ask(Command::SetChargeRate { app: a, rate: mw(40), lease: None });
    let node = place(&world, a);
    created_in(&mut world, node, "a.x", share(1, 0, 30, 0));
    assert_eq!(world.site.find("a").expect("lives").settings.charge_rate.value, mw(20));
    let beyond = Command::SetChargeRate { app: a, rate: mw(21), lease: None };
    assert_eq!(world.refused(beyond), Refusal::BeyondShare { asked: mw(21), limit: mw(20) });
}

fn reserve(app: AppId, (from, until): (u64, u64), own_grid: u64, battery: u64, site_grid: u64) -> Command {
    let (solar, until, confidence) = (mw(0), ms(until), Ppm::new(950_000).expect("a confidence"));
    let power = mw(own_grid + battery + site_grid);
    let (own_grid, battery, site_grid) = (mw(own_grid), mw(battery), mw(site_grid));
    let parts = vec![reserve::Part { until, solar, own_grid, battery, site_grid }];
    Command::Reserve { app, from: ms(from), power, confidence, parts }
}

#[test]
fn a_share_is_not_divided_below_what_its_reservations_hold() {
    let mut world = World::new(rules());
    let whole = share(1, 500_000, 100, 20);
    let battery = BatteryShare { floor: e(50_000), ..whole.battery };
    let a = world.create("a", Share { battery, ..whole });
    world.watched(0);
    for _ in 0..3 {
        world.watched(100_000);
    }
    // 30 mW of the battery for four seconds are 120,000 above a floor of 50,000.
    let reservation = world.ask(reserve(a, (8_000, 12_000), 10, 30, 0)).reservation.expect("it is made");
    let node = place(&world, a);
    let child = |share| create_in(node, "a.x", share);
    let (asked, free) = (e(330_001), e(330_000));
    assert_eq!(world.refused(child(share(1, 330_001, 0, 0))), Refusal::Capacity { asked, free });
    let (asked, free) = (mw(71), mw(70));
    assert_eq!(world.refused(child(share(1, 0, 71, 0))), Refusal::DischargePower { asked, free });
    let (asked, free) = (mw(11), mw(10));
    assert_eq!(world.refused(child(share(1, 0, 0, 11))), Refusal::GridLimit { asked, free });
    let app = created_in(&mut world, node, "a.x", share(1, 330_000, 70, 10));
    let grow = Command::ChangeShare { app, share: share(1, 330_000, 70, 11) };
    assert_eq!(world.refused(grow.clone()), Refusal::GridLimit { asked, free });
    let outcomes: Vec<Outcome> = (0..8).map(|_| world.watched(0)).collect();
    let events: Vec<&Event> = outcomes.iter().flat_map(|outcome| &outcome.events).collect();
    assert!(events.contains(&&Event::ReservationBegan { app: a, reservation }), "{events:?}");
    assert!(!events.iter().any(|event| matches!(event, Event::ReservationAtRisk { .. })), "{events:?}");
    let supplies: Vec<u64> = outcomes[3..7].iter().map(|outcome| of(outcome, a).supply.get()).collect();
    assert_eq!(supplies, [40, 40, 40, 40], "what was reserved is there all the same");
    world.ask(grow);
}

#[test]
fn a_share_does_not_shrink_below_what_its_reservations_hold() {
    let mut world = World::new(rules());
    let org = group(&mut world, "org", None, share(1, 0, 0, 40));
    let a = created_in(&mut world, org, "a", share(1, 0, 0, 20));
    let node = place(&world, a);
    let child = created_in(&mut world, node, "a.x", share(1, 0, 0, 12));
    world.sun(0);
    world.ask(reserve(a, (5_000, 9_000), 5, 0, 0));
    world.ask(reserve(child, (5_000, 9_000), 9, 0, 50));
    let change = |app, grid| Command::ChangeShare { app, share: share(1, 0, 0, grid) };
    let refused = world.refused(change(child, 8));
    assert_eq!(refused, Refusal::ReservedGrid { asked: mw(9), free: mw(8) });
    // Of 16 the child has 12: what is left does not bear the app's own reservation.
    let refused = world.refused(change(a, 16));
    assert_eq!(refused, Refusal::ReservedGrid { asked: mw(5), free: mw(4) });
    // The site has 100, of which 50 are reserved beyond all shares.
    let grow = |grid| Command::ChangeGroupShare { group: org, share: share(1, 0, 0, grid) };
    assert_eq!(world.refused(grow(51)), Refusal::GridLimit { asked: mw(51), free: mw(50) });
    world.ask(grow(50));
    world.ask(change(a, 17));
    world.ask(change(child, 9));
    assert_eq!((own(&world, "a").grid_limit, own(&world, "a.x").grid_limit), (mw(8), mw(9)));
}
