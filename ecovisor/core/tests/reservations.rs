//! Reservations: admitted where all that backs them is there, kept until their window, released in it, told of.

mod scene;
use ecovisor_core::reserve::Part;
use ecovisor_core::*;
use ecovisor_units::*;
use proptest::prelude::*;
use scene::*;

fn part(until: u64, own_grid: u64, battery: u64, site_grid: u64) -> Part {
    let (own_grid, battery, site_grid) = (mw(own_grid), mw(battery), mw(site_grid));
    Part { until: ms(until), solar: Power::ZERO, own_grid, battery, site_grid }
}

fn reserve(app: AppId, from: u64, power: u64, parts: &[Part]) -> Command {
    let confidence = Ppm::new(950_000).expect("a confidence");
    Command::Reserve { app, from: ms(from), power: mw(power), confidence, parts: parts.to_vec() }
}

fn reservation(accepted: Accepted) -> ReservationId {
    accepted.reservation.expect("a reservation is made")
}

fn supply(outcome: &Outcome, app: AppId) -> u64 {
    of(outcome, app).supply.get()
}

fn told(outcome: &Outcome) -> Vec<Event> {
    let about = |event: &&Event| {
        matches!(
            event,
            Event::ReservationBegan { .. } | Event::ReservationEnded { .. } | Event::ReservationAtRisk { .. }
        )
    };
    outcome.events.iter().filter(about).copied().collect()
}

/// An app with 20 mW of the 100 mW from the grid and no battery, after a tick: the second ends at 2,000 ms.
fn on_the_grid() -> (World, AppId) {
    let mut world = World::new(rules());
    let app = world.create("a", share(0, 0, 0, 20));
    world.sun(0);
    (world, app)
}

/// An app with a battery of 500,000 µJ that holds 300,000, 50 mW each way, and a load of 10 mW.
fn on_a_battery() -> (World, AppId, ContainerId) {
    let mut world = World::new(rules());
    let app = world.create("a", share(1, 500_000, 100, 20));
    world.watched(0);
    for _ in 0..3 {
        world.watched(100_000);
    }
    let container = world.attach(app, 100);
    world.watched(0);
    assert_eq!(world.stored(app), 300_000);
    (world, app, container)
}

#[test]
fn the_sites_grid_is_the_apps_in_its_window_alone() {
    let (mut world, app) = on_the_grid();
    let id = reservation(world.ask(reserve(app, 3_000, 80, &[part(5_000, 20, 0, 60)])));
    let outcomes: Vec<Outcome> = (0..5).map(|_| world.sun(0)).collect();
    // Outcomes tell of the coming tick: those that begin at 3,000 and 4,000 ms lie in the window.
    assert_eq!(outcomes.iter().map(|o| supply(o, app)).collect::<Vec<_>>(), [20, 80, 80, 20, 20]);
    assert_eq!(outcomes.iter().map(|o| supply(o, AppId::HOUSE)).collect::<Vec<_>>(), [80, 20, 20, 80, 80]);
    assert_eq!(told(&outcomes[1]), [Event::ReservationBegan { app, reservation: id }]);
    let ended = Event::ReservationEnded { app, reservation: id, end: ReservationEnd::Over };
    assert_eq!(told(&outcomes[3]), [ended]);
    assert!(world.site.reservations(true).all().is_empty());
}

#[test]
fn what_is_reserved_of_the_site_is_no_longer_free() {
    let (mut world, app) = on_the_grid();
    let id = reservation(world.ask(reserve(app, 60_000, 80, &[part(90_000, 20, 0, 60)])));
    assert_eq!(world.site.free().grid_limit, mw(20));
    let refusal = world.refused(create("b", share(0, 0, 0, 21), AppPolicy::default()));
    assert_eq!(refusal, Refusal::GridLimit { asked: mw(21), free: mw(20) });
    let other = world.create("b", share(0, 0, 0, 20));
    let refusal = world.refused(reserve(other, 80_000, 41, &[part(100_000, 20, 0, 21)]));
    assert_eq!(refusal, Refusal::ReservedGrid { asked: mw(81), free: mw(60) });
    let after = [part(100_000, 20, 0, 21)];
    world.ask(reserve(other, 90_000, 41, &after));
    let small = Rules {
        grid: rules().grid.map(|grid| site::GridConnection { import_limit: mw(99), ..grid }),
        ..rules()
    };
    let refusal = world.refused(Command::Reconfigure(small));
    assert_eq!(refusal, Refusal::ReservedGrid { asked: mw(60), free: mw(59) });
    world.sun(0);
    world.ask(Command::CancelReservation(id));
    assert_eq!(world.site.free().grid_limit, mw(39));
    let ended = Event::ReservationEnded { app, reservation: id, end: ReservationEnd::Cancelled };
    assert_eq!(told(&world.sun(0)), [ended]);
}

#[test]
fn the_battery_is_kept_for_its_window_and_released_as_planned() {
    let (mut world, app, container) = on_a_battery();
    let now = world.site.now().get();
    let load = |world: &mut World, energy: u64| {
        let mut inputs = day_at(0, 500_000);
        inputs.containers.push(used(container, energy));
        world.pass(&inputs)
    };
    // 200,000 µJ are held for two seconds with 100 mW, of which nothing is wanted before 5 s from now.
    let (from, until) = (now + 5_000, now + 7_000);
    world.ask(reserve(app, from, 100, &[part(until, 0, 100, 0)]));
    // Load takes what is above it, then the grid.
    let stored: Vec<u64> = (0..4)
        .map(|_| {
            load(&mut world, 60_000);
            world.stored(app)
        })
        .collect();
    assert_eq!(stored, [240_000, 200_000, 200_000, 200_000]);
    load(&mut world, 0);
    let in_window: Vec<u64> = (0..2)
        .map(|_| {
            load(&mut world, 100_000);
            world.stored(app)
        })
        .collect();
    assert_eq!(in_window, [100_000, 0]);
}

#[test]
fn the_battery_does_not_give_early_what_is_planned_for_later() {
    let (mut world, app, container) = on_a_battery();
    let from = world.site.now().get() + 1_000;
    // 100 mW for four seconds: 20 from the grid, 30 from the site's, 50 from the battery.
    world.ask(reserve(app, from, 100, &[part(from + 4_000, 20, 50, 30)]));
    world.watched(0);
    let held = 4 * 50_000;
    let spare = world.stored(app) - held;
    let mut inputs = day_at(0, 500_000);
    inputs.containers.push(used(container, 100_000));
    let flows: Vec<_> = (0..4).map(|_| of(&world.pass(&inputs), app).flows).collect();
    let overdrawn: Vec<u64> =
        flows.iter().map(|flows| u64::try_from(flows.overdraft().get()).unwrap()).collect();
    assert_eq!(overdrawn, [0, 0, 0, 0], "it has its power in all of the window");
    let given: u64 = flows.iter().map(|flows| flows.battery_to_load.get()).sum();
    assert_eq!(given, held + spare);
}

#[test]
fn only_what_is_in_the_battery_is_reserved() {
    let (mut world, app, _) = on_a_battery();
    let from = world.site.now().get() + 10_000;
    let wish = |seconds: u64| reserve(app, from, 50, &[part(from + seconds * 1_000, 0, 50, 0)]);
    // 300,000 µJ less the 100,000 that the tick under way may take.
    let refusal = world.refused(wish(5));
    assert_eq!(refusal, Refusal::ReservedEnergy { asked: e(250_000), free: e(200_000) });
    world.ask(wish(4));
    let refusal = world.refused(reserve(app, from + 60_000, 1, &[part(from + 61_000, 0, 1, 0)]));
    assert_eq!(refusal, Refusal::ReservedEnergy { asked: e(1_000), free: e(0) });
    let refusal = world.refused(reserve(app, from, 60, &[part(from + 1_000, 21, 39, 0)]));
    assert_eq!(refusal, Refusal::ReservedEnergy { asked: e(39_000), free: e(0) });
    let refusal = world.refused(reserve(app, from, 21, &[part(from + 1_000, 21, 0, 0)]));
    assert_eq!(refusal, Refusal::ReservedGrid { asked: mw(21), free: mw(20) });
}

#[test]
fn a_share_does_not_shrink_under_what_is_reserved() {
    let (mut world, app, _) = on_a_battery();
    let from = world.site.now().get() + 10_000;
    world.ask(reserve(app, from, 60, &[part(from + 4_000, 20, 40, 0)]));
    let refused = |world: &mut World, share: Share| world.refused(Command::ChangeShare { app, share });
    assert_eq!(
        refused(&mut world, share(1, 500_000, 100, 19)),
        Refusal::ReservedGrid { asked: mw(20), free: mw(19) }
    );
    assert_eq!(
        refused(&mut world, share(1, 500_000, 39, 20)),
        Refusal::ReservedDischarge { asked: mw(40), free: mw(39) }
    );
    assert_eq!(
        refused(&mut world, share(1, 159_999, 100, 20)),
        Refusal::ReservedEnergy { asked: e(160_000), free: e(159_999) }
    );
    world.ask(Command::ChangeShare { app, share: share(9, 160_000, 40, 20) });
}

#[test]
fn a_plan_that_is_none_is_refused() {
    let (mut world, app) = on_the_grid();
    let whole = part(9_000, 20, 0, 0);
    let cases = [
        reserve(app, 3_000, 0, &[whole]),
        reserve(app, 3_000, 20, &[]),
        reserve(app, 3_000, 21, &[whole]),
        reserve(app, 9_000, 20, &[whole]),
        reserve(app, 3_000, 20, &[whole, part(8_000, 20, 0, 0)]),
        reserve(app, 0, 20, &[part(2_000, 20, 0, 0)]),
        reserve(app, 3_000, 20, &[part(8 * 86_400_000, 20, 0, 0)]),
        reserve(app, 3_000, 20, &[whole; 51]),
    ];
    for command in cases {
        let refusal = world.refused(command.clone());
        assert!(matches!(refusal, Refusal::Reservation(_)), "{command:?}: {refusal:?}");
    }
    assert_eq!(world.refused(reserve(AppId::HOUSE, 3_000, 20, &[whole])), Refusal::House);
    assert_eq!(
        world.refused(reserve(AppId::new(9), 3_000, 20, &[whole])),
        Refusal::UnknownApp(AppId::new(9))
    );
    let unknown = ReservationId::new(7);
    assert_eq!(world.refused(Command::CancelReservation(unknown)), Refusal::UnknownReservation(unknown));
    for second in 0..16 {
        world.ask(reserve(app, 10_000 + second * 1_000, 20, &[part(11_000 + second * 1_000, 20, 0, 0)]));
    }
    let refusal = world.refused(reserve(app, 40_000, 20, &[part(41_000, 20, 0, 0)]));
    assert_eq!(refusal, Refusal::TooMany { limit: 16 });
    world.ask(Command::DrainApp(app));
    assert_eq!(world.refused(reserve(app, 40_000, 20, &[part(41_000, 20, 0, 0)])), Refusal::Draining);
}

#[test]
fn an_app_is_told_early_and_in_the_window_that_its_reservation_is_at_risk() {
    let (mut world, app) = on_the_grid();
    let sun = Part { solar: mw(30), ..part(6_000, 20, 0, 0) };
    let reservation = reservation(world.ask(reserve(app, 4_000, 50, &[sun])));
    world.ask(Command::WarnReservation { reservation, short: mw(12) });
    let at_risk = |short| Event::ReservationAtRisk { app, reservation, short: mw(short) };
    assert_eq!(told(&world.sun(0)), [at_risk(12)]);
    assert_eq!(told(&world.sun(0)), []);
    let began = world.sun(0);
    assert_eq!(
        told(&began),
        [Event::ReservationBegan { app, reservation }, at_risk(30)],
        "no sun, 30 mW are missing"
    );
    assert_eq!(told(&world.sun(0)), [], "once");
}

#[test]
fn reservations_end_with_their_app_and_survive_their_bytes() {
    let (mut world, app) = on_the_grid();
    let reservation = reservation(world.ask(reserve(app, 60_000, 80, &[part(90_000, 20, 0, 60)])));
    let bytes = postcard::to_allocvec(&world.site).unwrap();
    assert_eq!(postcard::from_bytes::<Site>(&bytes).unwrap(), world.site);
    world.sun(0);
    world.ask(Command::DeleteApp(app));
    let ended = Event::ReservationEnded { app, reservation, end: ReservationEnd::Cancelled };
    assert_eq!(told(&world.sun(0)), [ended]);
    assert!(world.site.reservations(false).all().is_empty());
    assert_eq!(world.site.free().grid_limit, mw(100));
}

#[test]
fn a_gap_over_the_window_ends_the_reservation() {
    let (mut world, app) = on_the_grid();
    let reservation = reservation(world.ask(reserve(app, 4_000, 80, &[part(6_000, 20, 0, 60)])));
    world.sun(0);
    let outcome = world.pass(&Inputs { span: ms(60_000), ..day(0) });
    assert_eq!(told(&outcome), [Event::ReservationEnded { app, reservation, end: ReservationEnd::Over }]);
    assert_eq!(supply(&outcome, app), 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is asked and granted: what all may draw from the grid fits the connection, what is held is in the battery, the
    /// books are whole, and a refusal changes nothing.
    #[test]
    fn shares_and_reservations_fit_the_site_at_every_tick(
        wishes in prop::collection::vec((0_usize..2, 0_u64..20, 1_u64..10, 0_u64..40, 0_u64..60, 0_u64..90), 1..24),
        loads in prop::collection::vec((0_u64..90_000, 0_u64..100_000), 24),
    ) {
        let mut world = World::new(rules());
        let apps = [world.create("a", share(1, 300_000, 40, 20)), world.create("b", share(2, 200_000, 60, 30))];
        world.watched(0);
        let containers = apps.map(|app| world.attach(app, 100));
        for _ in 0..4 {
            world.watched(100_000);
        }
        let mut wishes = wishes.into_iter();
        for (load, sun) in loads {
            if let Some((app, ahead, seconds, own, battery, site)) = wishes.next() {
                let from = world.site.now().get() + ahead * 1_000;
                let parts = [part(from + seconds * 1_000, own, battery, site)];
                let command = reserve(apps[app], from, own + battery + site, &parts);
                let before = world.site.clone();
                if world.site.command(&command).is_err() {
                    prop_assert_eq!(&world.site, &before);
                }
            }
            let mut inputs = day_at(sun, 500_000);
            inputs.containers = vec![used(containers[0], load), used(containers[1], load / 2)];
            let outcome = world.pass(&inputs);
            let now = world.site.now();
            let reservations = world.site.reservations(false);
            let reserved = reservations.site_grid_at(now);
            prop_assert!(mw(50) + reserved <= mw(100), "{:?}", reserved);
            for app in apps {
                let held = reservations.held(app, now, Conversion::LOSSLESS);
                let account = world.site.account(app).unwrap();
                prop_assert!(account.stored >= held, "{} of {} held", account.stored.get(), held.get());
                let running = reservations.of(app).filter(|one| one.runs(now)).map(|one| one.power.get());
                prop_assert!(supply(&outcome, app) >= running.sum::<u64>(), "what is promised may be drawn");
            }
        }
    }
}
