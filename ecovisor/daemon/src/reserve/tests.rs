//! Plans and counter-offers against real books: what is planned, the core admits; what is offered, is granted when asked.

use super::*;
use crate::clock::{ClockInfo, ClockKind};
use crate::engine::handle::{LoadedConfig, Mode, View};
use crate::engine::overrun::Overruns;
use crate::forecast::{ForecastSource, Look, Quantity, Told};
use ecovisor_core::site::{GridConnection, SiteBattery};
use ecovisor_core::{
    App, AppId, AppName, AppPolicy, BatteryShare, Command, Conversion, Inputs, Reading, Readings, Rules,
    Share, Site, SolarRule,
};
use ecovisor_forecast::{LeadError, Quantiles};
use ecovisor_units::{CarbonIntensity, CarbonRate, Energy, Millis, Power, Ppm};
use proptest::prelude::*;
use std::sync::Arc;

/// 2022-06-21T05:40Z.
const START_MS: u64 = 1_655_790_000_000;
const HOUR: Millis = Millis::from_secs(3_600);

/// 400 W of sun from 06:00 to 18:00, of which `sure` of a thousand is certain at any level that can be told; carbon of 100 to 300
/// g/kWh.
#[derive(Clone, Copy)]
struct Sky {
    sure: u64,
}

impl ForecastSource for Sky {
    fn told(&self, of: Quantity) -> Option<Told> {
        let look: Box<dyn Look> = match of {
            Quantity::Solar => Box::new(*self),
            Quantity::Carbon => Box::new(Carbon),
        };
        Some(Told { source: "try".into(), issued_at_ms: None, step_ms: 3_600_000, rests_on: "", look })
    }
    fn errors(&self, _: Quantity) -> Vec<(String, Vec<LeadError>)> {
        vec![]
    }
}

impl Look for Sky {
    fn at(&self, utc_ms: u64) -> Option<Quantiles> {
        let day = (6..18).contains(&(utc_ms / 3_600_000 % 24));
        let p50 = if day { 400_000.0 } else { 0.0 };
        Some(Quantiles { p10: p50, p50, p90: p50 })
    }
    /// The less may go wrong, the less sun is sure; beyond a thousandth nobody can say.
    fn quantile(&self, utc_ms: u64, level: f64) -> Option<f64> {
        let sure = ecovisor_forecast::float(self.sure) / 1_000.0 * level.sqrt();
        (level >= 0.001).then(|| self.at(utc_ms).map(|said| said.p50 * sure)).flatten()
    }
}

struct Carbon;

impl Look for Carbon {
    fn at(&self, _: u64) -> Option<Quantiles> {
        Some(Quantiles { p10: 100_000.0, p50: 200_000.0, p90: 300_000.0 })
    }
    fn quantile(&self, _: u64, level: f64) -> Option<f64> {
        Some(100_000.0 + 200_000.0 * level)
    }
}

fn rules() -> Rules {
    Rules {
        tick: Millis::from_secs(60),
        longest_span: Millis::from_secs(120),
        battery: Some(SiteBattery {
            capacity: Energy::from_watt_hours(2_000),
            charge_limit: Power::from_watts(2_000),
            discharge_limit: Power::from_watts(1_000),
            conversion: Conversion {
                charge: ecovisor_core::Efficiency::new(950_000).unwrap(),
                discharge: ecovisor_core::Efficiency::new(900_000).unwrap(),
            },
        }),
        solar_peak: Power::from_watts(2_000),
        solar_rule: SolarRule::Live { curtailable: true },
        grid: Some(GridConnection { import_limit: Power::from_watts(1_000), export_limit: Power::ZERO }),
        tolerance: Energy::MAX,
        ..Rules::default()
    }
}

/// `web` and `db` with a quarter of the grid each, batteries of 500 Wh charged with the sun of `minutes`.
fn site(minutes: u64) -> Site {
    let mut site = Site::new(rules()).unwrap();
    for name in ["web", "db"] {
        let battery = BatteryShare {
            capacity: Energy::from_watt_hours(500),
            floor: Energy::from_watt_hours(50),
            charge_limit: Power::from_watts(800),
            discharge_limit: Power::from_watts(300),
        };
        let share = Share { solar_weight: 1, battery, grid_limit: Power::from_watts(250) };
        let name = AppName::new(name).unwrap();
        site.command(&Command::CreateApp { name, share, policy: AppPolicy::default() }).unwrap();
    }
    for minute in 0..=minutes {
        tick(&mut site, Power::from_watts(if minute == 0 { 0 } else { 1_600 }));
    }
    site
}

fn tick(site: &mut Site, sun: Power) -> ecovisor_core::Outcome {
    let span = site.rules().tick;
    let wall = Millis::new(START_MS).saturating_add(site.now());
    let readings = Readings {
        solar: Some(Reading::now(sun.over(span))),
        battery_level: Some(Reading::now(Energy::from_watt_hours(1_000))),
        intensity: Some(Reading::now(CarbonIntensity::from_grams_per_kwh(200))),
        ..Readings::default()
    };
    site.step(&Inputs { span, wall, readings, ..Inputs::default() }).unwrap()
}

fn view(site: &Site) -> View {
    View {
        name: "try".into(),
        site: Arc::new(site.clone()),
        outcome: None,
        departed: Arc::default(),
        clock: ClockInfo { kind: ClockKind::Simulated, factor: 0 },
        // Without an outcome the turn is where the daemon started.
        started_ms: START_MS + site.now().get(),
        late_ms: 0,
        overruns: Overruns::default(),
        workloads: Arc::default(),
        grants: Arc::default(),
        totals: Arc::default(),
        devices: Arc::default(),
        mode: Mode::Normal,
        config: Arc::new(LoadedConfig { toml: String::new(), path: String::new(), loaded_ms: 0 }),
    }
}

fn app<'a>(site: &'a Site, name: &str) -> &'a App {
    site.find(name).unwrap()
}

fn backing(site: &Site, name: &str, sure: u64) -> Backing {
    Backing::of(&view(site), app(site, name), Some(&Sky { sure }))
}

fn watts(watts: u64, hours: u64) -> Ask {
    Ask {
        power: Power::from_watts(watts),
        duration: Millis::new(HOUR.get() * hours),
        earliest: Millis::ZERO,
        latest: Millis::ZERO,
        confidence: Ppm::new(950_000).unwrap(),
    }
}

fn command(app: AppId, ask: &Ask, plan: Plan) -> Command {
    let Plan { from, parts } = plan;
    Command::Reserve { app, from, power: ask.power, confidence: ask.confidence, parts }
}

#[test]
fn the_apps_own_grid_comes_first_then_its_battery_then_the_sites() {
    let site = site(30);
    let plan = answer(&backing(&site, "web", 0), &watts(400, 1)).unwrap();
    let shown: Vec<_> = plan.parts.iter().map(|p| (p.own_grid, p.battery, p.site_grid)).collect();
    assert_eq!(shown, [(Power::from_watts(250), Power::from_watts(150), Power::ZERO)]);
    // 380 Wh went in at most: three hours of 150 W do not last, so the site's grid helps where the battery ends.
    let long = answer(&backing(&site, "web", 0), &watts(400, 4)).unwrap();
    assert!(long.parts.iter().any(|part| !part.site_grid.is_zero()), "{long:?}");
    assert!(long.parts.iter().all(|part| part.power() >= Power::from_watts(400)));
}

#[test]
fn the_sun_counts_with_what_the_confidence_leaves_of_it_and_never_twice() {
    let mut site = site(0);
    let day = |site: &Site| Ask {
        earliest: backing(site, "web", 900).site_time(1_655_798_400_000),
        ..watts(500, 2)
    };
    let ask = day(&site);
    let ask = Ask { latest: ask.earliest, ..ask };
    let plan = answer(&backing(&site, "web", 900), &ask).unwrap();
    // Two sunlit hours bear 2.5 % each: 200 W of its part, nine tenths of it sure, times the root of 0.025.
    let sun = plan.parts[0].solar;
    assert!(sun.get().abs_diff(28_460) < 5, "{sun}");
    let none = answer(&backing(&site, "web", 0), &ask).unwrap();
    assert_eq!(none.parts[0].solar, Power::ZERO);
    let id = app(&site, "web").id;
    site.command(&command(id, &ask, plan)).unwrap();
    let again = answer(&backing(&site, "web", 900), &Ask { power: Power::from_watts(100), ..ask }).unwrap();
    assert_eq!((again.parts[0].solar, again.parts[0].own_grid), (Power::ZERO, Power::ZERO), "it is taken");
}

#[test]
fn a_carbon_rate_bounds_the_grid_that_is_counted_on() {
    let mut site = site(0);
    let id = app(&site, "web").id;
    let rate = Some(CarbonRate::new(30_000));
    site.command(&Command::SetCarbonRate { app: id, rate, lease: None }).unwrap();
    // 30 g/h at just under 300 g/kWh are just over 100 W, own and site's together.
    assert!(answer(&backing(&site, "web", 0), &watts(100, 1)).is_some());
    assert!(answer(&backing(&site, "web", 0), &watts(120, 1)).is_none());
}

#[test]
fn another_apps_reservation_limits_a_later_one() {
    let mut site = site(0);
    let offer =
        |site: &Site| counter_offers(&backing(site, "web", 0), &watts(900, 2)).most_power.unwrap().power;
    // 1000 W less the other app's 250.
    assert_eq!(offer(&site), Power::from_watts(750));
    let ask = watts(650, 2);
    let plan = answer(&backing(&site, "db", 0), &ask).unwrap();
    let db = app(&site, "db").id;
    site.command(&command(db, &ask, plan)).unwrap();
    assert_eq!(offer(&site), Power::from_watts(350));
    let offers = counter_offers(&backing(&site, "web", 0), &watts(600, 2));
    assert_eq!(offers.longest, None, "not for a minute");
    let earliest = offers.earliest.unwrap().earliest;
    assert_eq!(
        earliest,
        site.now().saturating_add(site.rules().tick).saturating_add(Millis::new(2 * HOUR.get()))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_planned_is_admitted_and_what_is_offered_is_granted(
        charged in 0_u64..40,
        asks in prop::collection::vec(
            (any::<bool>(), 1_u64..1_500_000, 1_u64..24 * 60, 0_u64..40, 0_u64..10, 0_usize..4, 0_u64..1_000), 1..8),
    ) {
        let mut site = site(charged);
        for (web, mw, minutes, ahead, window, sure, sky) in asks {
            let name = if web { "web" } else { "db" };
            let earliest = site.now().saturating_add(Millis::new(ahead * 1_800_000));
            let ask = Ask {
                power: Power::new(mw),
                duration: Millis::new(minutes * 60_000),
                earliest,
                latest: earliest.saturating_add(Millis::new(window * HOUR.get())),
                confidence: Ppm::new([500_000, 900_000, 950_000, 999_000][sure]).unwrap(),
            };
            let id = app(&site, name).id;
            let considered = backing(&site, name, sky);
            match answer(&considered, &ask) {
                Some(plan) => {
                    prop_assert!(plan.from >= earliest && plan.parts.last().unwrap().until == plan.from.saturating_add(ask.duration));
                    prop_assert!(plan.parts.iter().all(|part| part.power() >= ask.power));
                    let made = site.command(&command(id, &ask, plan));
                    prop_assert!(made.is_ok(), "{made:?}");
                }
                None => {
                    let offers = counter_offers(&considered, &ask);
                    let all = [offers.most_power, offers.longest, offers.earliest, offers.surest];
                    for offer in all.into_iter().flatten() {
                        let plan = answer(&backing(&site, name, sky), &offer);
                        prop_assert!(plan.is_some(), "{offer:?} for {ask:?}");
                        let would = site.would(&command(id, &offer, plan.unwrap()));
                        prop_assert!(would.is_ok(), "{offer:?}: {would:?}");
                    }
                    let less = offers.most_power.is_none_or(|offer| offer.power < ask.power);
                    prop_assert!(less && offers.longest.is_none_or(|offer| offer.duration < ask.duration));
                    prop_assert!(offers.surest.is_none_or(|offer| offer.confidence < ask.confidence));
                }
            }
            tick(&mut site, Power::ZERO);
        }
    }
}
