//! Admission: reservations within the site, refused with the figure that is free; and what else is refused.

mod scene;
use ecovisor_core::carbon::{Budget, BudgetAction};
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

fn created(world: &mut World, share: Share) -> Result<Accepted, Refusal> {
    world.site.command(&create("web", share, AppPolicy::default()))
}

#[test]
fn what_would_exceed_the_site_is_refused_with_the_figure_that_is_free() {
    let full = share(9, 1_000_000, 100, 100);
    assert!(created(&mut World::new(rules()), full).is_ok(), "all there is can be had");
    let with = |change: fn(&mut Share)| {
        let mut share = full;
        change(&mut share);
        World::new(rules()).refused(create("web", share, AppPolicy::default()))
    };
    let (asked, free) = (e(1_000_001), e(1_000_000));
    assert_eq!(with(|s| s.battery.capacity += e(1)), Refusal::Capacity { asked, free });
    let (asked, free) = (mw(101), mw(100));
    assert_eq!(with(|s| s.battery.charge_limit += mw(1)), Refusal::ChargePower { asked, free });
    assert_eq!(with(|s| s.battery.discharge_limit += mw(1)), Refusal::DischargePower { asked, free });
    assert_eq!(with(|s| s.grid_limit += mw(1)), Refusal::GridLimit { asked, free });
    let floor = Refusal::Floor { floor: e(1_000_001), capacity: e(1_000_000) };
    assert_eq!(with(|s| s.battery.floor = e(1_000_001)), floor);
}

#[test]
fn staged_shares_count_as_taken() {
    let mut world = World::new(rules());
    world.create("a", share(1, 600_000, 0, 0));
    let refusal = world.refused(create("b", share(1, 400_001, 0, 0), AppPolicy::default()));
    assert_eq!(refusal, Refusal::Capacity { asked: e(400_001), free: e(400_000) });
    assert_eq!(world.site.free().battery.capacity, e(400_000));
    world.create("b", share(1, 400_000, 0, 0));
}

#[test]
fn an_app_may_change_its_share_into_what_it_has_and_what_is_free() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 600_000, 0, 0));
    world.create("b", share(1, 300_000, 0, 0));
    let too_much = Command::ChangeShare { app, share: share(1, 700_001, 0, 0) };
    assert_eq!(world.refused(too_much), Refusal::Capacity { asked: e(700_001), free: e(700_000) });
    world.ask(Command::ChangeShare { app, share: share(1, 700_000, 0, 0) });
}

#[test]
fn solar_weights_are_shared_without_a_bound() {
    let mut world = World::new(rules());
    world.create("a", share(u32::MAX, 0, 0, 0));
    world.create("b", share(u32::MAX, 0, 0, 0));
    world.sun(0);
    assert_eq!(of(&world.sun(10), AppId::HOUSE).flows.solar_in, e(0));
}

#[test]
fn house_is_left_what_nobody_reserved() {
    let mut world = World::new(rules());
    world.create("a", share(1, 600_000, 30, 20));
    world.sun(0);
    let left = world.site.house_share();
    assert_eq!(
        (left.battery.capacity, left.battery.charge_limit, left.grid_limit),
        (e(400_000), mw(70), mw(80))
    );
}

#[test]
fn a_buffered_site_reserves_peak_solar_times_the_longest_span() {
    let buffered = Rules { solar_rule: SolarRule::Buffered, solar_peak: mw(40), ..rules() };
    let mut world = World::new(buffered.clone());
    // 40 mW × 2 s of capacity and 40 mW of charge power; discharge power is not reserved.
    let free = world.site.free();
    assert_eq!((free.battery.capacity, free.battery.charge_limit), (e(920_000), mw(60)));
    assert_eq!(free.battery.discharge_limit, mw(100));
    let refusal = world.refused(create("a", share(1, 920_001, 0, 0), AppPolicy::default()));
    assert_eq!(refusal, Refusal::Capacity { asked: e(920_001), free: e(920_000) });
    let beyond = Rules { solar_peak: mw(101), ..buffered.clone() };
    assert!(matches!(Site::new(beyond), Err(Refusal::ChargePower { .. })));
    let beyond = Rules { longest_span: ms(25_001), ..buffered };
    assert!(matches!(Site::new(beyond), Err(Refusal::Capacity { .. })));
}

#[test]
fn other_rules_must_hold_all_shares() {
    let mut world = World::new(rules());
    world.create("a", share(1, 600_000, 30, 20));
    let smaller = |capacity| {
        let mut rules = rules();
        rules.battery.as_mut().expect("a battery").capacity = e(capacity);
        Command::Reconfigure(rules)
    };
    assert!(matches!(world.refused(smaller(599_999)), Refusal::Capacity { .. }));
    world.ask(smaller(600_000));
    let without_grid = Command::Reconfigure(Rules { grid: None, ..rules() });
    assert_eq!(world.refused(without_grid), Refusal::GridLimit { asked: mw(20), free: mw(0) });
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    let refused = |change: fn(&mut Rules)| {
        let mut changed = rules();
        change(&mut changed);
        World::new(rules()).refused(Command::Reconfigure(changed.clone()));
        assert!(matches!(Site::new(changed), Err(Refusal::Rules(_))));
    };
    refused(|r| r.tick = ms(99));
    refused(|r| r.tick = ms(300_001));
    refused(|r| r.longest_span = ms(999));
    refused(|r| (r.solar_rule, r.battery) = (SolarRule::Buffered, None));
    refused(|r| r.battery.as_mut().expect("a battery").capacity = e((1 << 62) + 1));
    refused(|r| r.order_lease = ms(0));
    refused(|r| r.intensity_worst = CarbonIntensity::new(10_000_001));
    for (tick, longest) in [(100, 100), (300_000, 300_000)] {
        assert!(Site::new(Rules { tick: ms(tick), longest_span: ms(longest), ..rules() }).is_ok());
    }
    assert!(Site::new(Rules { intensity_worst: CarbonIntensity::new(10_000_000), ..rules() }).is_ok());
}

#[test]
fn settings_stay_within_the_share() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 600_000, 30, 20));
    let charge = |rate| Command::SetChargeRate { app, rate: mw(rate), lease: None };
    assert_eq!(world.refused(charge(31)), Refusal::BeyondShare { asked: mw(31), limit: mw(30) });
    world.ask(charge(30));
    let discharge = |limit| Command::SetMaxDischarge { app, limit: mw(limit), lease: None };
    assert_eq!(world.refused(discharge(31)), Refusal::BeyondShare { asked: mw(31), limit: mw(30) });
    world.ask(discharge(30));
    let policy = AppPolicy { charge_rate: mw(31), ..AppPolicy::default() };
    let beyond = Refusal::BeyondShare { asked: mw(31), limit: mw(30) };
    assert_eq!(world.refused(Command::ChangePolicy { app, policy }), beyond);
    assert_eq!(world.refused(create("b", share(1, 0, 30, 0), policy)), beyond);
}

#[test]
fn a_lowered_charge_limit_lowers_the_setting_made_under_it() {
    let mut world = World::new(rules());
    let app = world.create("a", share(0, 600_000, 30, 50));
    world.ask(Command::SetChargeRate { app, rate: mw(30), lease: None });
    world.ask(Command::ChangeShare { app, share: share(0, 600_000, 9, 50) });
    world.sun(0);
    assert_eq!(of(&world.sun(0), app).flows.grid_to_battery, e(9_000));
}

#[test]
fn who_and_what_is_unknown_taken_or_houses_is_refused() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 0, 0, 0));
    world.attach(app, 5);
    let (nobody, nothing) = (AppId::new(9), ContainerId::new(9));
    let name = ContainerName::new("c0").expect("a name");
    let attach = |app, ceiling| Command::AttachContainer { app, name: name.clone(), ceiling: mw(ceiling) };
    let policy = AppPolicy::default();
    for (command, refusal) in [
        (create("a", share(1, 0, 0, 0), policy), Refusal::NameTaken),
        (create("house", share(1, 0, 0, 0), policy), Refusal::NameTaken),
        (attach(app, 5), Refusal::NameTaken),
        (attach(AppId::HOUSE, 0), Refusal::NoCeiling),
        (attach(nobody, 5), Refusal::UnknownApp(nobody)),
        (Command::DetachContainer(nothing), Refusal::UnknownContainer(nothing)),
        (
            Command::SetContainerCap { container: nothing, cap: None, lease: None },
            Refusal::UnknownContainer(nothing),
        ),
        (Command::SetChargeRate { app: nobody, rate: mw(0), lease: None }, Refusal::UnknownApp(nobody)),
        (Command::SetCarbonRate { app: nobody, rate: None, lease: None }, Refusal::UnknownApp(nobody)),
        (Command::DrainApp(nobody), Refusal::UnknownApp(nobody)),
        (Command::ChangeShare { app: AppId::HOUSE, share: share(1, 0, 0, 0) }, Refusal::House),
        (Command::ChangePolicy { app: AppId::HOUSE, policy }, Refusal::House),
        (Command::DrainApp(AppId::HOUSE), Refusal::House),
        (Command::DeleteApp(AppId::HOUSE), Refusal::House),
        (Command::DeleteApp(app), Refusal::HasContainers { containers: 1 }),
    ] {
        assert_eq!(world.refused(command.clone()), refusal, "{command:?}");
    }
}

#[test]
fn a_lease_of_no_time_and_a_window_below_a_tick_are_refused() {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 0, 0, 0));
    let lease = Some(ms(0));
    let rate = |lease| Command::SetCarbonRate { app, rate: None, lease };
    assert_eq!(world.refused(rate(lease)), Refusal::EmptyLease);
    world.ask(rate(Some(ms(1))));
    let budget = |window| {
        let budget = Budget { mass: CarbonMass::ZERO, window: ms(window), action: BudgetAction::Notify };
        Command::SetCarbonBudget { app, budget: Some(budget), lease: None }
    };
    assert_eq!(world.refused(budget(999)), Refusal::ShortWindow { asked: ms(999), tick: ms(1_000) });
    world.ask(budget(1_000));
}

#[test]
fn apps_and_containers_are_counted() {
    // `house` counts as an app.
    let mut world = World::new(Rules { apps_max: 2, containers_max: 1, ..rules() });
    let app = world.create("a", share(1, 0, 0, 0));
    assert_eq!(
        world.refused(create("b", share(1, 0, 0, 0), AppPolicy::default())),
        Refusal::TooMany { limit: 2 }
    );
    world.attach(app, 5);
    let name = ContainerName::new("second").expect("a name");
    let attach = Command::AttachContainer { app, name, ceiling: mw(5) };
    assert_eq!(world.refused(attach), Refusal::TooMany { limit: 1 });
}

#[test]
fn a_command_answers_with_the_tick_from_which_it_holds() {
    let mut world = World::new(rules());
    assert_eq!(world.ask(create("a", share(1, 0, 0, 0), AppPolicy::default())).holds_from, Tick(1));
    world.sun(0);
    assert_eq!(world.ask(create("b", share(1, 0, 0, 0), AppPolicy::default())).holds_from, Tick(2));
}
