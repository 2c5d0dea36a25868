//! The books beside the meters: netting, over and short, losses, drift, deficit and adjustment.

mod scene;
use ecovisor_core::ledger::Account;
use ecovisor_core::settle::Metered;
use ecovisor_core::{SiteFlows, SolarRule};
use ecovisor_units::{Energy, EnergySum};
use scene::*;

/// App 0 exports 3 and its neighbour imports 10, charges 4 and gives 2 away from its battery: something everywhere.
fn busy() -> Scene {
    scene()
        .site(|s| s.export_limit = Energy::MAX)
        .app(|t, _| (t.solar, t.capacity) = (e(3), e(0)))
        .app(|t, _| (t.load, t.charge) = (e(6), e(4)))
        .app(|t, a| (t.load, a.stored) = (e(5), e(5)))
}

#[test]
fn opposite_grid_flows_net_inside_the_site() {
    let books = busy().settle();
    assert_eq!((books.site.grid_netting, books.site.grid_import_booked), (sum(3), sum(7)));
    assert_eq!(books.site.grid_export_booked, sum(0));
    assert_eq!((books.flows[0].exported, books.flows[1].grid_to_load), (e(3), e(6)));
}

#[test]
fn opposite_battery_flows_net_to_one_order() {
    let books = busy().settle();
    assert_eq!((books.site.battery_in_booked, books.site.battery_out_booked), (sum(0), sum(1)));
}

type Meter = (&'static str, fn(&mut Metered) -> &mut Option<Energy>, fn(&SiteFlows) -> [EnergySum; 3]);

#[test]
fn what_a_meter_shows_beyond_the_books_is_over_and_what_it_lacks_is_short() {
    let meters: [Meter; 5] = [
        ("solar", |m| &mut m.solar, |s| [s.solar_booked, s.solar_over, s.solar_short]),
        (
            "import",
            |m| &mut m.grid_import,
            |s| [s.grid_import_booked, s.grid_import_over, s.grid_import_short],
        ),
        (
            "export",
            |m| &mut m.grid_export,
            |s| [s.grid_export_booked, s.grid_export_over, s.grid_export_short],
        ),
        ("in", |m| &mut m.battery_in, |s| [s.battery_in_booked, s.battery_in_over, s.battery_in_short]),
        ("out", |m| &mut m.battery_out, |s| [s.battery_out_booked, s.battery_out_over, s.battery_out_short]),
    ];
    for (name, meter, posted) in meters {
        let unmetered = posted(&busy().settle().site);
        assert_eq!(unmetered[1..], [sum(0), sum(0)], "{name} without a meter");
        let booked = unmetered[0].get();
        for shown in [0, 1, 2, 3, 7, 99, u64::MAX] {
            let books = busy().site(|s| *meter(&mut s.metered) = Some(e(shown))).settle();
            let shown = u128::from(shown);
            let expected =
                [booked, shown.saturating_sub(booked), booked.saturating_sub(shown)].map(EnergySum::new);
            assert_eq!(posted(&books.site), expected, "{name} shows {shown}");
            assert_eq!(books.accounts, busy().settle().accounts, "what a flow meter shows moves no claim");
        }
    }
}

#[test]
fn load_beyond_the_containers_is_houses_and_settled_like_any_other() {
    for (metered, unmetered, overbooked) in [(4, 0, 2), (5, 0, 1), (6, 0, 0), (7, 1, 0), (16, 10, 0)] {
        let books = scene()
            .app(|t, _| t.load = e(5))
            .house(|t, a| (t.load, t.solar, t.capacity, a.stored) = (e(1), e(4), e(9), e(0)))
            .site(|s| s.metered.load = Some(e(metered)))
            .settle();
        assert_eq!(
            (books.site.unmetered_load, books.site.overbooked_load),
            (sum(unmetered), sum(overbooked))
        );
        let house = books.flows[1];
        assert_eq!(house.load.wide(), sum(1 + unmetered));
        assert_eq!(house.solar_to_load.get(), 4.min(1 + u64::try_from(unmetered).expect("a little")));
        assert_eq!(books.flows[0].load, e(5), "an app's load is what its containers used");
    }
}

fn claims(app: u64, house: u64) -> Scene {
    scene().app(move |_, a| a.stored = e(app)).house(move |t, a| (t.capacity, a.stored) = (e(50), e(house)))
}

#[test]
fn drift_falls_on_house() {
    for (level, up, down, house, deficit) in [
        (40, 0, 0, 10, 0),
        (41, 1, 0, 11, 0),
        (99, 59, 0, 69, 0),
        (31, 0, 9, 1, 0),
        (30, 0, 10, 0, 0),
        (28, 0, 12, 0, 2),
    ] {
        let books = claims(30, 10).site(|s| s.metered.level = Some(e(level))).settle();
        assert_eq!((books.site.drift_up, books.site.drift_down), (sum(up), sum(down)), "level {level}");
        assert_eq!((books.accounts[1].stored, books.deficit), (e(house), sum(deficit)));
        assert_eq!(books.accounts[0].stored, e(30));
    }
}

#[test]
fn a_deficit_within_the_tolerance_stays_one_beyond_it_shrinks_every_claim() {
    // 30 + 10 of claims, a level of 34 leaves house 6 short.
    let short = |tolerance: u64| {
        scene()
            .app(|_, a| a.stored = e(30))
            .app(|_, a| a.stored = e(10))
            .site(|s| (s.metered.level, s.tolerance) = (Some(e(32)), e(tolerance)))
            .settle()
    };
    let kept = short(8);
    assert_eq!((kept.deficit, kept.accounts[0].stored, kept.site.freed), (sum(8), e(30), sum(0)));
    let shrunk = short(7);
    assert_eq!((shrunk.deficit, shrunk.site.freed), (sum(0), sum(8)));
    assert_eq!((shrunk.flows[0].adjusted_down, shrunk.flows[1].adjusted_down), (e(6), e(2)));
    assert_eq!((shrunk.accounts[0].stored, shrunk.accounts[1].stored), (e(24), e(8)));
}

#[test]
fn the_buffer_shrinks_with_the_claims() {
    let books = scene()
        .app(|t, a| (t.solar, t.charge_limit, a.stored, a.buffered) = (e(10), e(0), e(30), e(10)))
        .site(|s| (s.solar_rule, s.metered.level, s.tolerance) = (SolarRule::Buffered, Some(e(20)), e(0)))
        .settle();
    assert_eq!(
        (books.flows[0].adjusted_down, books.site.buffer_adjusted, books.site.buffer),
        (e(15), sum(5), sum(5))
    );
}

#[test]
fn claims_shrink_to_nothing_at_most() {
    let books = scene().deficit(50).app(|_, a| a.stored = e(30)).site(|s| s.tolerance = e(9)).settle();
    assert_eq!((books.accounts[0].stored, books.deficit, books.site.freed), (e(0), sum(20), sum(30)));
}

#[test]
fn conversion_that_netting_avoids_is_houses_gain() {
    // One charges 8 (4 inside), one gives 4 (8 from its store): the battery sees 4 in, 2 inside; claims say 4 - 8.
    let books = scene()
        .site(|s| s.conversion = lossy())
        .app(|t, _| t.solar = e(8))
        .app(|t, a| (t.load, a.stored) = (e(4), e(8)))
        .settle();
    assert_eq!((books.site.netting_gain, books.site.conversion_loss), (sum(6), sum(0)));
    assert_eq!(books.accounts[2].stored, e(6));
}

#[test]
fn what_carrying_the_buffer_costs_is_houses_conversion_loss() {
    // Nothing is spent; 8 of solar go into the battery, 4 arrive, and the buffer counts 8.
    let books = scene()
        .site(|s| (s.solar_rule, s.solar, s.conversion) = (SolarRule::Buffered, e(8), lossy()))
        .house(|_, a| a.stored = e(9))
        .settle();
    assert_eq!(
        (books.site.conversion_loss, books.site.netting_gain, books.site.buffer),
        (sum(4), sum(0), sum(8))
    );
    assert_eq!(books.accounts[0].stored, e(5));
}

#[test]
fn a_steady_sun_that_is_spent_costs_the_battery_nothing() {
    let books = scene()
        .site(|s| (s.solar_rule, s.solar, s.conversion) = (SolarRule::Buffered, e(8), lossy()))
        .app(|t, a| (t.solar, t.load, a.buffered) = (e(8), e(8), e(8)))
        .settle();
    assert_eq!((books.site.battery_in_booked, books.site.battery_out_booked), (sum(0), sum(0)));
    assert_eq!((books.site.conversion_loss, books.site.netting_gain), (sum(0), sum(0)));
}

#[test]
fn no_meter_breaks_the_books_however_absurd() {
    let figures = [None, Some(0), Some(1), Some(u64::MAX - 1), Some(u64::MAX)];
    for (i, &one) in figures.iter().enumerate() {
        for &other in &figures {
            let (one, other) = (one.map(e), other.map(e));
            let metered = Metered {
                solar: one,
                grid_import: other,
                grid_export: one,
                battery_in: other,
                battery_out: one,
                load: other,
                level: one,
            };
            for solar_rule in [SolarRule::Buffered, SolarRule::Live { curtailable: true }] {
                let scene = busy()
                    .site(|s| (s.metered, s.solar_rule, s.islanded) = (metered, solar_rule, i % 2 == 0));
                assert!(scene.try_settle().is_ok(), "{metered:?}");
            }
        }
    }
}

#[test]
fn houses_claim_stays_inside_an_account_without_a_level() {
    let most = 1 << 62;
    let books = scene()
        .site(|s| s.conversion = lossy())
        .app(|t, _| t.solar = e(8))
        .app(|t, a| (t.load, a.stored) = (e(4), e(8)))
        .house(|_, a| a.stored = e(most - 1))
        .settle();
    assert_eq!((books.accounts[2].stored, books.site.drift_down), (e(most), sum(5)));
}

#[test]
fn an_adjusted_battery_loses_the_carbon_of_what_it_loses() {
    let carbon = ecovisor_units::Carbon::new;
    let books = scene()
        .app(|_, a| *a = Account { stored: e(30), carbon_content: carbon(90), ..Account::default() })
        .site(|s| (s.metered.level, s.tolerance) = (Some(e(20)), e(0)))
        .settle();
    assert_eq!((books.accounts[0].stored, books.accounts[0].carbon_content), (e(20), carbon(60)));
}
