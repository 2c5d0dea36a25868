//! Whole sites: energy is conserved whatever happens, set-points and leases are obeyed, meters fail as they are told to.

use super::super::battery::BatteryConfig;
use super::super::fault::{FaultKind, random};
use super::*;
use crate::trace::power;
use ecovisor_units::Ppm;
use proptest::prelude::*;

const SECOND: Millis = Millis::from_secs(1);
const HOUR: Millis = Millis::from_secs(3_600);
/// 2022-01-01T00:00Z.
const START: u64 = 1_640_995_200_000;

/// A sun of that many mW at all times.
struct Steady(u64);

impl SolarSource for Steady {
    fn power(&self, _utc_ms: u64) -> Option<Power> {
        Some(Power::new(self.0))
    }
}

fn battery(level: u64, efficiency_ppm: u32) -> Battery {
    Battery::new(BatteryConfig {
        capacity: Energy::new(1_000_000),
        floor: Energy::new(300_000),
        level: Energy::new(level),
        charge_max: Power::new(250),
        discharge_max: Power::new(1_000),
        charge_efficiency: Ppm::new(efficiency_ppm).unwrap(),
        discharge_efficiency: Ppm::new(efficiency_ppm).unwrap(),
    })
    .unwrap()
}

/// A site with a sun of `sun_mw` and a lossless battery of 1 J, half full, of which 0.3 J stay.
fn site(grid: Grid, sun_mw: u64) -> Site {
    Site::new(SiteConfig {
        solar: Some(Box::new(Steady(sun_mw))),
        battery: Some(battery(500_000, 1_000_000)),
        grid,
        ..SiteConfig::new()
    })
}

/// What the meters said, in µJ: solar, import, export, in, out, load.
fn figures(meters: &Meters) -> [u64; 6] {
    let readings = &meters.readings;
    [
        &readings.solar,
        &readings.grid_import,
        &readings.grid_export,
        &readings.battery_in,
        &readings.battery_out,
        &readings.load,
    ]
    .map(|reading| reading.as_ref().unwrap().value.get())
}

/// A second with a load of `load_mw` after an order.
fn check(grid: Grid, sun_mw: u64, order: BatterySetPoint, load_mw: u64, expected: [u64; 6], unserved: u64) {
    let mut site = site(grid, sun_mw);
    site.order_battery(order, HOUR);
    let meters = site.advance(START, SECOND, Power::new(load_mw).over(SECOND));
    assert_eq!(
        figures(&meters),
        expected.map(|mw| mw * 1_000),
        "{grid:?}, sun {sun_mw}, {order:?}, load {load_mw}"
    );
    assert_eq!(meters.unserved.get(), unserved * 1_000);
}

fn charge(mw: u64) -> BatterySetPoint {
    BatterySetPoint::Charge(Power::new(mw))
}

fn discharge(mw: u64) -> BatterySetPoint {
    BatterySetPoint::Discharge(Power::new(mw))
}

use BatterySetPoint::Idle;

#[test]
fn the_grid_gives_what_is_missing_and_takes_what_is_left() {
    check(Grid::TwoWay, 100, Idle, 150, [100, 50, 0, 0, 0, 150], 0);
    check(Grid::TwoWay, 100, Idle, 70, [100, 0, 30, 0, 0, 70], 0);
    check(Grid::TwoWay, 100, charge(50), 70, [100, 20, 0, 50, 0, 70], 0);
    check(Grid::TwoWay, 100, discharge(50), 70, [100, 0, 80, 0, 50, 70], 0);
}

#[test]
fn where_nothing_may_be_fed_in_the_inverter_curtails_and_the_battery_holds_back() {
    check(Grid::ImportOnly, 100, Idle, 70, [70, 0, 0, 0, 0, 70], 0);
    check(Grid::ImportOnly, 100, charge(20), 70, [90, 0, 0, 20, 0, 70], 0);
    check(Grid::ImportOnly, 100, charge(50), 70, [100, 20, 0, 50, 0, 70], 0);
    check(Grid::ImportOnly, 100, discharge(50), 120, [100, 0, 0, 0, 20, 120], 0);
    check(Grid::ImportOnly, 100, discharge(50), 170, [100, 20, 0, 0, 50, 170], 0);
}

#[test]
fn islanded_the_battery_gives_what_is_missing_whatever_it_was_told() {
    check(Grid::Absent, 100, Idle, 170, [100, 0, 0, 0, 70, 170], 0);
    check(Grid::Absent, 100, charge(50), 170, [100, 0, 0, 0, 70, 170], 0);
    check(Grid::Absent, 100, discharge(10), 170, [100, 0, 0, 0, 70, 170], 0);
}

#[test]
fn islanded_surplus_is_stored_as_told_and_else_curtailed() {
    check(Grid::Absent, 100, Idle, 70, [70, 0, 0, 0, 0, 70], 0);
    check(Grid::Absent, 100, discharge(50), 70, [70, 0, 0, 0, 0, 70], 0);
    check(Grid::Absent, 100, charge(20), 70, [90, 0, 0, 20, 0, 70], 0);
    check(Grid::Absent, 100, charge(50), 70, [100, 0, 0, 30, 0, 70], 0);
}

#[test]
fn islanded_load_beyond_sun_and_battery_goes_unserved() {
    // 0.2 J are above the floor: 200 mW for the second.
    check(Grid::Absent, 100, Idle, 370, [100, 0, 0, 0, 200, 300], 70);
}

#[test]
fn the_battery_gives_and_takes_no_more_than_it_can() {
    check(Grid::TwoWay, 0, charge(9_000), 0, [0, 250, 0, 250, 0, 0], 0);
    check(Grid::TwoWay, 0, discharge(9_000), 0, [0, 0, 200, 0, 200, 0], 0);
}

#[test]
fn an_order_ends_with_its_lease_to_the_millisecond() {
    let mut site = site(Grid::TwoWay, 0);
    site.order_battery(charge(100), Millis::new(1_250));
    assert_eq!(figures(&site.advance(START, SECOND, Energy::ZERO))[3], 100_000);
    assert_eq!(figures(&site.advance(START + 1_000, SECOND, Energy::ZERO))[3], 25_000);
    assert_eq!(figures(&site.advance(START + 2_000, SECOND, Energy::ZERO))[3], 0);
}

#[test]
fn a_solar_limit_curtails_until_its_lease_ends() {
    let mut site = site(Grid::TwoWay, 100);
    site.order_solar_limit(Power::new(40), Millis::new(500));
    let meters = site.advance(START, SECOND, Energy::ZERO);
    assert_eq!(figures(&meters)[0], 70_000);
    assert_eq!(meters.readings.solar_available.unwrap().value, Energy::new(100_000));
}

#[test]
fn an_outage_makes_the_site_an_island() {
    let mut site = site(Grid::TwoWay, 0);
    let load = Energy::new(100_000);
    assert_eq!(figures(&site.advance(START, SECOND, load)), [0, 100_000, 0, 0, 0, 100_000]);
    site.connect(Grid::Absent);
    assert_eq!(figures(&site.advance(START, SECOND, load)), [0, 0, 0, 0, 100_000, 100_000]);
}

#[test]
fn a_gap_in_the_sun_is_no_reading_and_no_power() {
    let trace = power("sun", b"start_utc,power_w\n2022-01-01T00:00:00Z,1\n2022-01-01T00:01:00Z,\n").unwrap();
    let mut site = Site::new(SiteConfig { solar: Some(Box::new(trace)), ..SiteConfig::new() });
    assert!(site.advance(START, SECOND, Energy::ZERO).readings.solar_available.is_ok());
    let meters = site.advance(START + 60_000, SECOND, Energy::ZERO);
    assert!(matches!(meters.readings.solar_available, Err(ReadError::Transient { .. })));
    assert_eq!(figures(&meters)[0], 0);
}

#[test]
fn a_site_without_a_battery_and_sun_runs_on_its_grid() {
    let mut site = Site::new(SiteConfig::new());
    site.order_battery(charge(100), HOUR);
    let meters = site.advance(START, SECOND, Energy::new(7));
    assert_eq!(figures(&meters), [0, 7, 0, 0, 0, 7]);
    assert_eq!(meters.readings.battery_level.unwrap().value, Energy::ZERO);
}

/// Loads of 100 mW for four seconds, the load's meter failing from the second 1 on until before 2.
fn with_fault(kind: FaultKind) -> Vec<(Result<u64, &'static str>, u64)> {
    let fault = Fault { meter: Meter::Load, kind, from: SECOND, to: Millis::new(2_000) };
    let mut site = Site::new(SiteConfig { faults: vec![fault], ..SiteConfig::new() });
    let mut read = |second: u64| {
        let meters = site.advance(START + second * 1_000, SECOND, Energy::new(100));
        let reading = match meters.readings.load {
            Ok(sample) => Ok(sample.value.get()),
            Err(ReadError::Transient { .. }) => Err("transient"),
            Err(ReadError::Implausible { .. }) => Err("implausible"),
            Err(ReadError::Lost { .. } | ReadError::Forbidden { .. }) => Err("other"),
        };
        (reading, meters.covers.load.get() / 1_000)
    };
    (0..4).map(&mut read).collect()
}

#[test]
fn after_silence_the_counter_tells_all_that_was_missed() {
    let told = with_fault(FaultKind::Silence);
    assert_eq!(told, [(Ok(100), 1), (Err("transient"), 1), (Ok(200), 2), (Ok(100), 1)]);
}

#[test]
fn a_jump_is_implausible_until_the_counter_is_seen_to_go_on_from_there() {
    let told = with_fault(FaultKind::Jump(Energy::from_joules(1_000_000)));
    assert_eq!(told, [(Ok(100), 1), (Err("implausible"), 1), (Err("transient"), 2), (Ok(100), 1)]);
}

#[test]
fn a_jump_too_small_to_be_told_is_counted() {
    let told = with_fault(FaultKind::Jump(Energy::new(5)));
    assert_eq!(told, [(Ok(100), 1), (Ok(105), 1), (Ok(100), 1), (Ok(100), 1)]);
}

#[test]
fn a_wrap_loses_nothing() {
    assert_eq!(with_fault(FaultKind::Wrap), [(Ok(100), 1), (Ok(100), 1), (Ok(100), 1), (Ok(100), 1)]);
}

#[test]
fn a_restarted_counter_counts_from_its_next_reading_on() {
    // From 100 to zero, then 100 more: the reader sees no step at all.
    let told = with_fault(FaultKind::Restart);
    assert_eq!(told, [(Ok(100), 1), (Ok(0), 1), (Ok(100), 1), (Ok(100), 1)]);
}

#[test]
fn a_liar_is_believed_within_what_is_possible() {
    let told = with_fault(FaultKind::Lie { factor_ppm: 1_500_000 });
    assert_eq!(told, [(Ok(100), 1), (Ok(150), 1), (Ok(100), 1), (Ok(100), 1)]);
}

#[test]
fn a_level_beyond_the_capacity_is_implausible() {
    let level = |kind| {
        let fault = Fault { meter: Meter::BatteryLevel, kind, from: Millis::ZERO, to: SECOND };
        let battery = Some(battery(500_000, 1_000_000));
        let mut site = Site::new(SiteConfig { battery, faults: vec![fault], ..SiteConfig::new() });
        let first = site.advance(START, SECOND, Energy::ZERO).readings.battery_level;
        let second = site.advance(START, SECOND, Energy::ZERO).readings.battery_level;
        assert_eq!(second.unwrap().value, Energy::new(500_000));
        first
    };
    assert!(matches!(level(FaultKind::Lie { factor_ppm: 2_000_002 }), Err(ReadError::Implausible { .. })));
    assert_eq!(level(FaultKind::Lie { factor_ppm: 2_000_000 }).unwrap().value, Energy::new(1_000_000));
    assert_eq!(level(FaultKind::Jump(Energy::new(1))).unwrap().value, Energy::new(500_001));
    assert!(matches!(level(FaultKind::Silence), Err(ReadError::Transient { .. })));
}

#[test]
fn the_same_calls_give_the_same_readings() {
    let run = || {
        let faults = random(7, Millis::from_secs(600), 40);
        let mut site = Site::new(SiteConfig {
            solar: Some(Box::new(Steady(123))),
            battery: Some(battery(500_000, 900_000)),
            grid: Grid::ImportOnly,
            faults,
            ..SiteConfig::new()
        });
        let mut second = |second: u64| {
            site.order_battery(if second % 7 < 3 { charge(second) } else { discharge(90) }, SECOND);
            format!("{:?}", site.advance(START + second * 1_000, SECOND, Energy::new(second * 1_003)))
        };
        (0..600).map(&mut second).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

fn orders() -> impl Strategy<Value = BatterySetPoint> {
    prop_oneof![Just(Idle), (0_u64..2_000).prop_map(charge), (0_u64..2_000).prop_map(discharge)]
}

fn grids() -> impl Strategy<Value = Grid> {
    prop_oneof![Just(Grid::TwoWay), Just(Grid::ImportOnly), Just(Grid::Absent)]
}

proptest! {
    #[test]
    fn nothing_is_made_and_nothing_is_lost(
        sun_mw in 0_u64..2_000, level in 300_000_u64..=1_000_000, efficiency_ppm in 1_u32..=1_000_000,
        ticks in prop::collection::vec((grids(), orders(), 0_u64..5_000, 1_u64..200_000, 0_u64..400_000_000), 1..30),
    ) {
        let solar: Option<Box<dyn SolarSource>> = Some(Box::new(Steady(sun_mw)));
        let battery = Some(battery(level, efficiency_ppm));
        let mut site = Site::new(SiteConfig { solar, battery, ..SiteConfig::new() });
        let mut now = START;
        for (grid, order, lease, span, load) in ticks {
            site.connect(grid);
            site.order_battery(order, Millis::new(lease));
            site.order_solar_limit(Power::new(lease), Millis::new(lease * 10));
            let before = site.battery().unwrap().level();
            let meters = site.advance(now, Millis::new(span), Energy::new(load));
            now += span;
            let [solar, import, export, charged, discharged, served] = figures(&meters);
            prop_assert_eq!(solar + import + discharged, served + export + charged);
            prop_assert_eq!(served + meters.unserved.get(), load);
            prop_assert!(solar <= meters.readings.solar_available.unwrap().value.get());
            prop_assert!(grid != Grid::Absent || import + export == 0);
            prop_assert!(grid != Grid::ImportOnly || export == 0);
            // The books' rounding, once per advance and on its sums.
            let stored = u128::from(charged) * u128::from(efficiency_ppm) / 1_000_000;
            let drawn = (u128::from(discharged) * 1_000_000).div_ceil(u128::from(efficiency_ppm));
            let level = u128::from(before.get()) + stored - drawn;
            prop_assert_eq!(u128::from(meters.readings.battery_level.unwrap().value.get()), level);
            prop_assert!((300_000..=1_000_000).contains(&level));
        }
    }

    #[test]
    fn energies_are_the_same_in_any_ticks(cuts in prop::collection::btree_set(1_u64..300_000, 0..20)) {
        let trace = b"start_utc,power_w\n2022-01-01T00:00:00Z,0.101\n2022-01-01T00:02:00Z,0.303\n\
                      2022-01-01T00:03:00Z,0\n2022-01-01T00:05:00Z,1\n";
        let flow = |bounds: &[u64]| {
            let solar: Option<Box<dyn SolarSource>> = Some(Box::new(power("sun", trace).unwrap()));
            let mut site = Site::new(SiteConfig { solar, ..SiteConfig::new() });
            let pieces = bounds.windows(2).map(|pair| {
                let (from, to) = (pair[0], pair[1]);
                let load = Power::new(200).over(Millis::new(to - from));
                figures(&site.advance(START + from, Millis::new(to - from), load))
            });
            pieces.fold([0; 6], |sum, piece| std::array::from_fn(|place| sum[place] + piece[place]))
        };
        let bounds: Vec<u64> = [0].into_iter().chain(cuts).chain([300_000]).collect();
        prop_assert_eq!(flow(&bounds), flow(&[0, 300_000]));
    }

    #[test]
    fn no_fault_is_a_panic(seed: u64, loads in prop::collection::vec(0_u64..1_000_000, 1..50)) {
        let faults = random(seed, Millis::from_secs(50), 30);
        let battery = Some(battery(500_000, 900_000));
        let mut site = Site::new(SiteConfig { battery, faults, meter_range: 1 << 40, ..SiteConfig::new() });
        for load in loads {
            site.advance(START, SECOND, Energy::new(load));
        }
    }
}
