//! Apps one by one, and all apps step by step: both orders lead to the same books.
//!
//! Some thousands of ticks on every run; more: `PROPTEST_CASES=200000 cargo test -p ecovisor-core --test order_of_steps`.

use ecovisor_core::battery::Conversion;
use ecovisor_core::ledger::Account;
use ecovisor_core::settle::{Desk, Metered, Order, Settled, SiteTerms, Terms, settle_in};
use ecovisor_core::{AppId, Efficiency, SolarRule};
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum};
use proptest::prelude::*;

/// Ticks compared on every run: about a second.
const TICKS: u32 = 5_000;

/// Figures that meet each other often, and now and then the most there is in a reading.
fn energy() -> impl Strategy<Value = Energy> {
    prop_oneof![3 => Just(0), 8 => 0_u64..50, 8 => 0_u64..100_000, 1 => Just(1 << 62)].prop_map(Energy::new)
}

fn limit() -> impl Strategy<Value = Energy> {
    prop_oneof![3 => energy(), 1 => Just(Energy::MAX)]
}

fn metered() -> impl Strategy<Value = Metered> {
    let one = || prop::option::of(energy());
    (one(), one(), one(), one(), one(), one(), one()).prop_map(
        |(solar, grid_import, grid_export, battery_in, battery_out, load, level)| Metered {
            solar,
            grid_import,
            grid_export,
            battery_in,
            battery_out,
            load,
            level,
        },
    )
}

fn site() -> impl Strategy<Value = SiteTerms> {
    let rule = prop::sample::select(vec![
        SolarRule::Buffered,
        SolarRule::Live { curtailable: true },
        SolarRule::Live { curtailable: false },
    ]);
    let efficiency = || {
        prop_oneof![3 => 800_000_u32..=1_000_000, 1 => 1_u32..=1_000_000, 1 => Just(1_000_000)]
            .prop_map(|ppm| Efficiency::new(ppm).expect("within a million"))
    };
    let flags = (any::<bool>(), limit(), energy());
    (rule, flags, 0_u64..1_000, (efficiency(), efficiency()), metered()).prop_map(
        |(solar_rule, (redistribute, export_limit, tolerance), intensity, (charge, discharge), metered)| {
            SiteTerms {
                solar_rule,
                solar: Energy::ZERO,
                redistribute,
                export_limit,
                islanded: false,
                intensity: CarbonIntensity::new(intensity),
                conversion: Conversion { charge, discharge },
                tolerance,
                metered,
            }
        },
    )
}

fn app() -> impl Strategy<Value = (Terms, Account)> {
    let flows = (0_u64..100_000, energy(), 0_u64..4);
    let battery = (energy(), energy(), energy(), prop::option::of(energy()), any::<u32>());
    let limits = (limit(), limit(), limit(), limit(), prop::bool::weighted(0.9));
    (flows, battery, limits).prop_map(|((solar, load, weight), battery, limits)| {
        let (capacity, floor, stored, charge, content) = battery;
        let (charge_limit, discharge_limit, grid_limit, carbon_limit, battery_gives) = limits;
        let terms = Terms {
            app: AppId::HOUSE,
            solar: Energy::new(solar),
            load,
            weight,
            capacity,
            floor: floor.min(capacity),
            charge_limit,
            discharge_limit,
            charge: charge.unwrap_or_default(),
            grid_limit,
            carbon_limit,
            battery_gives,
        };
        let carbon_content = Carbon::new(u128::from(content));
        (terms, Account { stored: stored.min(capacity), carbon_content, ..Account::default() })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: TICKS.max(ProptestConfig::default().cases), ..ProptestConfig::default() })]

    #[test]
    fn apps_one_by_one_come_to_what_they_come_to_together(
        mut site in site(), apps in prop::collection::vec(app(), 1..8), deficit in 0_u128..1_000,
    ) {
        let (mut terms, accounts): (Vec<Terms>, Vec<Account>) = apps.into_iter().unzip();
        let house = terms.len() - 1;
        for (number, terms) in (1..).zip(&mut terms[..house]) {
            terms.app = AppId::new(number);
        }
        if site.solar_rule != SolarRule::Buffered {
            site.solar = terms.iter().map(|t| t.solar).fold(Energy::ZERO, |sum, solar| sum + solar);
        }
        prop_assert_eq!(Order::needed(&site, &accounts), Order::Each);
        let settled = [Order::Each, Order::Together].map(|order| {
            let (mut accounts, mut deficit) = (accounts.clone(), EnergySum::new(deficit));
            // What an earlier tick left on the desk and in the books must not matter.
            let (mut desk, mut settled) = (Desk::default(), Settled::default());
            let mut tick = |accounts: &mut [Account], deficit: &mut EnergySum| {
                settle_in(order, &site, &terms, accounts, deficit, &mut desk, &mut settled)
            };
            let first = tick(&mut accounts, &mut deficit);
            let second = first.and_then(|()| tick(&mut accounts, &mut deficit));
            (first, second, settled, accounts, deficit)
        });
        prop_assert_eq!(&settled[0].0, &Ok(()));
        prop_assert_eq!(&settled[0], &settled[1]);
    }
}
