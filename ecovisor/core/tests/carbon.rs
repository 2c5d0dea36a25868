//! Carbon: who is charged, and the rates and budgets that bound what comes from the grid.

mod scene;
use ecovisor_core::carbon::{Budget, BudgetAction};
use ecovisor_core::*;
use ecovisor_units::*;
use scene::*;

#[test]
fn whoever_draws_from_the_grid_is_charged_for_load_and_for_charging_alike() {
    let books = scene().app(|t, _| (t.load, t.charge) = (e(6), e(4))).app(|t, _| t.load = e(5)).settle();
    let charged: Vec<u128> = books.flows.iter().map(|f| f.carbon.get()).collect();
    assert_eq!(charged, [30, 15, 0]);
}

#[test]
fn solar_and_discharged_energy_carry_none() {
    let books = scene().app(|t, a| (t.load, t.solar, a.stored) = (e(9), e(5), e(9))).settle();
    assert_eq!(books.flows[0].carbon, Carbon::ZERO);
}

#[test]
fn house_pays_for_import_beyond_the_books() {
    let books = scene().app(|t, _| t.load = e(6)).site(|s| s.metered.grid_import = Some(e(8))).settle();
    assert_eq!((books.flows[0].carbon.get(), books.flows[1].carbon.get()), (18, 6));
    assert_eq!(books.flows[1].carbon_credit.get(), 0);
}

#[test]
fn house_is_credited_netting_and_import_that_the_meter_lacks() {
    // 3 exported against 6 imported: 3 booked, 1 metered.
    let books = scene()
        .site(|s| (s.metered.grid_import, s.export_limit) = (Some(e(1)), Energy::MAX))
        .app(|t, _| t.load = e(6))
        .app(|t, _| (t.solar, t.capacity) = (e(3), e(0)))
        .settle();
    assert_eq!((books.site.grid_netting, books.site.grid_import_short), (sum(3), sum(2)));
    assert_eq!((books.flows[0].carbon.get(), books.flows[2].carbon_credit.get()), (18, 15));
}

#[test]
fn a_battery_shows_the_carbon_that_its_content_has_cost() {
    let bought = scene().app(|t, a| (t.charge, a.stored) = (e(10), e(10))).settle();
    assert_eq!(bought.accounts[0].carbon_content.get(), 30);
    let mut spending = scene().app(|t, _| t.load = e(5));
    spending.accounts[0] = bought.accounts[0];
    assert_eq!(
        spending.settle().accounts[0].carbon_content.get(),
        23,
        "a quarter of the content takes a quarter"
    );
}

/// An app of 10 mW from the grid that charges; 300 g/kWh.
fn charging(world: &mut World) -> AppId {
    let app = world.create("web", share(0, 500_000, 50, 50));
    world.ask(Command::SetChargeRate { app, rate: mw(10), lease: None });
    world.sun(0);
    app
}

#[test]
fn a_carbon_rate_bounds_charging_from_the_grid() {
    // At 300 g/kWh 1.5 mg/h are 5 mW; a rate without intensity bounds nothing.
    for (rate, milliwatts) in [(None, 10), (Some(0), 0), (Some(1), 3), (Some(3), 10), (Some(4), 10)] {
        let mut world = World::new(rules());
        let app = charging(&mut world);
        world.ask(Command::SetCarbonRate { app, rate: rate.map(CarbonRate::new), lease: None });
        world.sun(0);
        let charged = of(&world.sun(0), app).flows.grid_to_battery;
        assert_eq!(charged.mean_power(ms(1_000)), mw(milliwatts), "{rate:?} mg/h");
    }
}

#[test]
fn at_intensity_zero_no_carbon_rate_binds() {
    let mut world = World::new(rules());
    let app = charging(&mut world);
    world.ask(Command::SetCarbonRate { app, rate: Some(CarbonRate::ZERO), lease: None });
    let clean = |world: &mut World| {
        let mut inputs = day(0);
        inputs.readings.intensity = Some(Reading::now(CarbonIntensity::ZERO));
        world.pass(&inputs)
    };
    clean(&mut world);
    assert_eq!(of(&clean(&mut world), app).flows.grid_to_battery, e(10_000));
}

fn mark(app: AppId, percent: u8) -> Event {
    Event::BudgetReached { app, percent }
}

/// The site at 10 kg/kWh, where 3600 W s are 10 g: 100 W for a second cost 277.7 mg. Whole milligrams need bigger
/// figures than the others have: 360 mW at 10 kg/kWh are 1 µg a second, so budgets here are over long ticks.
fn dear_world(action: BudgetAction, mass: u64) -> (World, AppId) {
    let mut world = World::new(Rules {
        tick: ms(100_000),
        longest_span: ms(100_000),
        battery: None,
        grid: Some(site::GridConnection { import_limit: Power::MAX, export_limit: mw(0) }),
        ..rules()
    });
    let app = world.create("web", share(0, 0, 0, 360_000));
    let container = world.attach(app, 3_600);
    let budget = Budget { mass: CarbonMass::new(mass), window: ms(1_000_000), action };
    world.ask(Command::SetCarbonBudget { app, budget: Some(budget), lease: None });
    dear_tick(&mut world, container);
    (world, app)
}

/// 3.6 W for 100 s at 10 kg/kWh: 360 J, a ten thousandth of a kWh, 1000 mg.
fn dear_tick(world: &mut World, container: ContainerId) -> Outcome {
    let mut inputs = day(0);
    inputs.span = ms(100_000);
    inputs.readings.intensity = Some(Reading::now(CarbonIntensity::from_grams_per_kwh(10_000)));
    inputs.containers = vec![used(container, 360_000_000)];
    world.pass(&inputs)
}

#[test]
fn a_budget_tells_at_50_80_and_100_per_cent() {
    let (mut world, app) = dear_world(BudgetAction::Notify, 5_000);
    let container = world.site.containers(false)[0].id;
    let told: Vec<Vec<Event>> = (0..6)
        .map(|_| {
            let events = dear_tick(&mut world, container).events;
            events.into_iter().filter(|event| matches!(event, Event::BudgetReached { .. })).collect()
        })
        .collect();
    assert_eq!(
        told,
        [vec![], vec![], vec![mark(app, 50)], vec![mark(app, 80)], vec![mark(app, 100)], vec![]]
    );
}

#[test]
fn a_spent_budget_blocks_the_grid_where_it_is_to() {
    for (action, supply) in [(BudgetAction::Notify, mw(360_000)), (BudgetAction::BlockGrid, mw(0))] {
        let (mut world, app) = dear_world(action, 2_000);
        let container = world.site.containers(false)[0].id;
        assert_eq!(of(&dear_tick(&mut world, container), app).supply, action_supply(action));
        let outcome = dear_tick(&mut world, container);
        assert_eq!(of(&outcome, app).supply, supply, "{action:?}");
    }
}

/// With 1000 of 2000 mg left: 360 J over 100 s.
fn action_supply(action: BudgetAction) -> Power {
    match action {
        BudgetAction::Notify => mw(360_000),
        BudgetAction::BlockGrid => mw(3_600),
    }
}

#[test]
fn a_tick_counts_in_the_window_in_which_it_began_and_the_next_begins_with_nothing_spent() {
    let (mut world, app) = dear_world(BudgetAction::BlockGrid, 5_000);
    let container = world.site.containers(false)[0].id;
    for spent in 1..=9 {
        dear_tick(&mut world, container);
        assert_eq!(
            world.site.spent(app).expect("a budget").carbon.to_milligrams(),
            CarbonMass::new(spent * 1_000)
        );
    }
    // The tenth tick ends with the window: it counts in it, and the coming tick is free again.
    let outcome = dear_tick(&mut world, container);
    assert_eq!(world.site.spent(app).expect("a budget").carbon, Carbon::ZERO);
    assert_eq!(of(&outcome, app).supply, mw(180_000 / 10));
}

#[test]
fn a_budget_as_long_as_a_tick_is_whole_in_every_tick() {
    let (mut world, app) = dear_world(BudgetAction::BlockGrid, 5_000);
    let container = world.site.containers(false)[0].id;
    let budget =
        Budget { mass: CarbonMass::new(1_000), window: ms(100_000), action: BudgetAction::BlockGrid };
    world.ask(Command::SetCarbonBudget { app, budget: Some(budget), lease: None });
    for _ in 0..3 {
        assert_eq!(of(&dear_tick(&mut world, container), app).supply, mw(3_600));
    }
}

#[test]
fn a_budget_that_is_renewed_goes_on_and_another_begins_anew() {
    let (mut world, app) = dear_world(BudgetAction::Notify, 5_000);
    let container = world.site.containers(false)[0].id;
    dear_tick(&mut world, container);
    let spent = |world: &World| world.site.spent(app).expect("a budget").carbon.to_milligrams().get();
    let budget = |mass| {
        let window = ms(1_000_000);
        let budget = Budget { mass: CarbonMass::new(mass), window, action: BudgetAction::Notify };
        Command::SetCarbonBudget { app, budget: Some(budget), lease: Some(ms(9_000_000)) }
    };
    world.ask(budget(5_000));
    dear_tick(&mut world, container);
    assert_eq!(spent(&world), 2_000);
    world.ask(budget(6_000));
    dear_tick(&mut world, container);
    assert_eq!(spent(&world), 0);
}
