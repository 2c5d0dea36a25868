//! Settings and leases: from the next tick, until their end; then the default comes back.

mod scene;
use ecovisor_core::*;
use scene::*;

/// An app with 50 mW each way and from the grid, whose policy charges at 2 mW.
fn world() -> (World, AppId) {
    let mut world = World::new(rules());
    let policy = AppPolicy { charge_rate: mw(2), ..AppPolicy::default() };
    let app = world.create_with("a", share(0, 500_000, 50, 50), policy);
    world.sun(0);
    (world, app)
}

fn charge(app: AppId, rate: u64, lease: Option<u64>) -> Command {
    Command::SetChargeRate { app, rate: mw(rate), lease: lease.map(ms) }
}

fn charged(outcome: &Outcome, app: AppId) -> u64 {
    of(outcome, app).flows.grid_to_battery.get()
}

fn expired(outcome: &Outcome) -> Vec<Setting> {
    let settings = outcome.events.iter().filter_map(|e| match e {
        Event::LeaseExpired(setting) => Some(*setting),
        _ => None,
    });
    settings.collect()
}

#[test]
fn a_setting_holds_from_the_next_tick() {
    let (mut world, app) = world();
    world.ask(charge(app, 7, None));
    assert_eq!(charged(&world.sun(0), app), 2_000);
    assert_eq!(charged(&world.sun(0), app), 7_000);
}

#[test]
fn a_lease_ends_with_its_time_and_the_default_comes_back() {
    for (lease, ticks) in [(1, 1), (1_000, 1), (1_001, 2), (3_000, 3)] {
        let (mut world, app) = world();
        world.ask(charge(app, 7, Some(lease)));
        world.sun(0);
        for tick in 1..=ticks {
            let outcome = world.sun(0);
            assert_eq!(charged(&outcome, app), 7_000, "a lease of {lease} ms, tick {tick}");
            let ends = if tick == ticks { vec![Setting::ChargeRate(app)] } else { vec![] };
            assert_eq!(expired(&outcome), ends);
        }
        assert_eq!(charged(&world.sun(0), app), 2_000);
    }
}

#[test]
fn a_lease_that_is_renewed_goes_on() {
    let (mut world, app) = world();
    for _ in 0..5 {
        world.ask(charge(app, 7, Some(1_000)));
        assert_eq!(expired(&world.sun(0)), []);
    }
    assert_eq!(expired(&world.sun(0)), [Setting::ChargeRate(app)]);
}

#[test]
fn every_setting_can_be_leased() {
    let (mut world, app) = world();
    let container = world.attach(app, 30);
    let lease = Some(ms(1_000));
    let budget = carbon::Budget {
        mass: ecovisor_units::CarbonMass::new(1),
        window: ms(1_000),
        action: carbon::BudgetAction::Notify,
    };
    world.ask(Command::SetMaxDischarge { app, limit: mw(1), lease });
    world.ask(Command::SetCarbonRate { app, rate: Some(ecovisor_units::CarbonRate::new(1)), lease });
    world.ask(Command::SetCarbonBudget { app, budget: Some(budget), lease });
    world.ask(Command::SetContainerCap { container, cap: Some(mw(1)), lease });
    assert_eq!(expired(&world.sun(0)), []);
    let ended = [
        Setting::MaxDischarge(app),
        Setting::CarbonRate(app),
        Setting::CarbonBudget(app),
        Setting::ContainerCap(container),
    ];
    assert_eq!(expired(&world.sun(0)), ended);
    let settings = world.site.apps(false)[0].settings;
    assert_eq!((settings.carbon_rate.value, settings.carbon_budget.value), (None, None));
    assert_eq!(world.site.containers(false)[0].cap.value, None);
}

#[test]
fn a_charge_ends_when_the_battery_is_full_and_is_told() {
    let mut world = World::new(rules());
    let app = world.create("a", share(0, 15_000, 10, 50));
    world.ask(charge(app, 10, None));
    world.sun(0);
    assert!(!world.sun(0).events.contains(&Event::ChargeEnded(app)));
    let full = world.sun(0);
    assert_eq!((charged(&full, app), world.stored(app)), (5_000, 15_000));
    assert!(full.events.contains(&Event::ChargeEnded(app)));
    assert_eq!(world.site.apps(false)[0].settings.charge_rate.value, mw(0));
    assert!(!world.sun(0).events.contains(&Event::ChargeEnded(app)), "once");
}

#[test]
fn a_charge_asked_for_while_another_ends_stands() {
    let mut world = World::new(rules());
    let app = world.create("a", share(0, 10_000, 10, 50));
    world.ask(charge(app, 10, None));
    world.sun(0);
    world.ask(charge(app, 9, None));
    assert!(world.sun(0).events.contains(&Event::ChargeEnded(app)));
    assert_eq!(world.site.apps(false)[0].settings.charge_rate.value, mw(9));
}

#[test]
fn a_charge_that_ends_comes_back_to_the_policy_that_then_holds() {
    let mut world = World::new(rules());
    let policy = |rate| AppPolicy { charge_rate: mw(rate), ..AppPolicy::default() };
    let app = world.create_with("a", share(0, 10_000, 10, 50), policy(1));
    world.ask(charge(app, 10, None));
    world.sun(0);
    world.ask(Command::ChangePolicy { app, policy: policy(4) });
    assert!(world.sun(0).events.contains(&Event::ChargeEnded(app)));
    assert_eq!(world.site.apps(false)[0].settings.charge_rate.value, mw(4));
}

#[test]
fn a_default_charge_of_a_full_battery_is_no_news() {
    let (mut world, app) = world();
    world.ask(Command::ChangeShare { app, share: share(0, 2_000, 50, 50) });
    world.sun(0);
    let outcome = world.sun(0);
    assert!(!outcome.events.contains(&Event::ChargeEnded(app)));
    assert_eq!(world.site.apps(false)[0].settings.charge_rate.value, mw(2));
}
