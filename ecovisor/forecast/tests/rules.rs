//! What holds of every forecast, whatever came.

use ecovisor_forecast::provided::{Point, Provided};
use ecovisor_forecast::{Basis, Desk, LEADS, Panels, Settings};
use ecovisor_units::Power;
use proptest::prelude::*;

/// 2022-06-20T00:00Z in hours since the Unix epoch, a Monday.
const MONDAY: u64 = 1_655_683_200 / 3_600;

fn panels() -> Panels {
    Panels::facing_sun(51.2, 10.4, Power::from_watts(100))
}

fn flat(hours: std::ops::RangeInclusive<u64>, expected: f64) -> Provided {
    let points =
        hours.map(|hour| Point { start_ms: hour * 3_600_000, end_ms: (hour + 1) * 3_600_000, expected });
    Provided { source: "provider".to_owned(), issued_at_ms: 7, points: points.collect() }
}

#[test]
fn nothing_is_said_before_enough_is_known() {
    let mut carbon = Desk::new(Settings::Carbon);
    for hour in 0..24 {
        assert!(carbon.issue(MONDAY + hour, None).is_none(), "after {hour} hours");
        carbon.note(MONDAY + hour, 300_000.0);
    }
    let outlook = carbon.issue(MONDAY + 24, None).unwrap();
    assert_eq!((outlook.source(), outlook.basis()), ("persistence", Some(Basis::HourOfDay)));
    assert_eq!((outlook.issued(), outlook.end()), (MONDAY + 24, MONDAY + 72));
    let next = outlook.at(MONDAY + 25).unwrap();
    assert_eq!((next.p10, next.p50, next.p90), (300_000.0, 300_000.0, 300_000.0));
    assert_eq!(outlook.quantile(MONDAY + 25, 0.1), None, "no error is known yet");
    assert!(outlook.at(MONDAY + 23).is_none() && outlook.at(MONDAY + 72).is_none());
}

#[test]
fn the_sun_of_tomorrow_is_a_clear_one_times_the_clearness_of_today_and_none_at_night() {
    let mut sun = Desk::new(Settings::Solar(panels()));
    for hour in 0..24 * 7 {
        sun.note(MONDAY + hour, panels().clear(MONDAY + hour) * 0.5);
    }
    let first = MONDAY + 24 * 7;
    let outlook = sun.issue(first, None).unwrap();
    assert_eq!(outlook.source(), "clear-sky");
    let noon = outlook.at(first + 11).unwrap();
    assert!((noon.p50 / panels().clear(first + 11) - 0.5).abs() < 0.01, "{noon:?}");
    let night = outlook.at(first + 23).unwrap();
    assert_eq!((night.p10, night.p50, night.p90), (0.0, 0.0, 0.0));
    assert_eq!(outlook.quantile(first + 23, 0.001), Some(0.0), "it is sure that there is none at night");
}

#[test]
fn a_provider_is_believed_as_far_as_it_reaches_and_both_are_compared() {
    let mut carbon = Desk::new(Settings::Carbon);
    for hour in MONDAY..MONDAY + 100 {
        carbon.note(hour, 200.0);
        let outlook = carbon.issue(hour + 1, Some(&flat(hour..=hour + 10, 250.0))).unwrap();
        assert_eq!((outlook.source(), outlook.basis()), ("provider", Some(Basis::Provided)));
        assert_eq!(outlook.at(hour + 10).unwrap().p50, 250.0);
        assert_eq!(
            outlook.at(hour + 11).map(|q| q.p50),
            (hour >= MONDAY + 23).then_some(200.0),
            "its own beyond"
        );
    }
    let report = carbon.report();
    let mae = |source: &str| {
        let (_, leads) = report.iter().find(|(name, _)| name == source).unwrap();
        (leads[0].mae, leads[0].bias, leads[0].pairs, leads.len())
    };
    assert_eq!(mae("provider"), (50.0, -50.0, 99, 3), "it reaches ten hours");
    let own = mae("persistence");
    assert!(own.0 < 1e-6 && own.2 == 76, "{own:?}");
    let sure = carbon.issue(MONDAY + 100, Some(&flat(MONDAY + 100..=MONDAY + 110, 250.0))).unwrap();
    assert_eq!(sure.at(MONDAY + 100).unwrap().p10, 200.0, "a known bias is in the quantiles");
}

#[test]
fn another_provider_begins_with_no_errors() {
    let mut carbon = Desk::new(Settings::Carbon);
    for hour in MONDAY..MONDAY + 5 {
        carbon.note(hour, 200.0);
        carbon.issue(hour + 1, Some(&flat(hour + 1..=hour + 9, 250.0)));
    }
    assert_eq!(carbon.report().len(), 1);
    let other = Provided { source: "other".to_owned(), ..flat(MONDAY + 6..=MONDAY + 9, 1.0) };
    carbon.issue(MONDAY + 6, Some(&other));
    assert_eq!(carbon.report(), []);
}

#[test]
fn an_hour_is_issued_and_compared_once() {
    let mut carbon = Desk::new(Settings::Carbon);
    let provided = flat(MONDAY..=MONDAY + 9, 1.0);
    carbon.issue(MONDAY, Some(&provided));
    carbon.issue(MONDAY, Some(&provided));
    carbon.note(MONDAY, 3.0);
    carbon.note(MONDAY, 9.0);
    assert_eq!(carbon.report()[0].1[0].pairs, 1);
    assert_eq!(carbon.report()[0].1[0].mae, 2.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn quantiles_stand_in_order_and_above_zero_whatever_came(
        came in prop::collection::vec(prop_oneof![0.0_f64..1e6, Just(0.0), Just(f64::NAN), Just(f64::INFINITY), Just(-5.0)], 30..400),
        solar: bool,
    ) {
        let mut desk = Desk::new(if solar { Settings::Solar(panels()) } else { Settings::Carbon });
        for (hour, came) in (MONDAY..).zip(came) {
            desk.note(hour, came.max(0.0));
            let Some(outlook) = desk.issue(hour + 1, None) else { continue };
            for lead in LEADS {
                let said = outlook.at(hour + lead).unwrap();
                prop_assert!(0.0 <= said.p10 && said.p10 <= said.p50 && said.p50 <= said.p90, "{:?}", said);
                prop_assert!(said.p90.is_finite());
            }
        }
        for (_, leads) in desk.report() {
            for lead in leads {
                prop_assert!(lead.mae >= lead.bias.abs() && (0.0..=1.0).contains(&lead.coverage) && lead.pairs <= 840);
            }
        }
    }

    #[test]
    fn a_desk_goes_on_where_it_was_kept(came in prop::collection::vec(0.0_f64..1e6, 30..80), at in 0_usize..30) {
        let mut desk = Desk::new(Settings::Carbon);
        let mut kept = desk.clone();
        for (i, (hour, came)) in (MONDAY..).zip(came).enumerate() {
            desk.note(hour, came);
            desk.issue(hour + 1, None);
            if i >= at {
                kept.note(hour, came);
                kept.issue(hour + 1, None);
            }
            if i + 1 == at {
                let text = serde_json::to_string(&desk).unwrap();
                kept = serde_json::from_str(&text).unwrap();
            }
        }
        if at > 0 {
            let (one, other) = (desk.report(), kept.report());
            prop_assert_eq!(one.len(), other.len());
            for ((_, one), (_, other)) in one.iter().zip(&other) {
                for (one, other) in one.iter().zip(other) {
                    prop_assert_eq!(one.pairs, other.pairs);
                    prop_assert!((one.mae - other.mae).abs() <= one.mae * 1e-6);
                }
            }
        }
    }
}
