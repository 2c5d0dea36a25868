//! Forecasts of a site that lives through days in no time.

use super::*;
use crate::config::Config;
use crate::plant::Plant;
use ecovisor_core::Outcome;
use ecovisor_units::{Millis, Power};
use std::path::Path;

/// 2022-06-13T00:00Z, a Monday.
const MONDAY_MS: u64 = 1_655_078_400_000;

fn config(more: &str) -> Config {
    let text = format!(
        "[site]\nname = \"try\"\n[solar]\npeak = \"300 W\"\n[grid]\nimport_limit = \"500 W\"\n[carbon]\nzone = \"DE\"\n\
         [host]\nidle = \"10 W\"\npeak = \"20 W\"\n[sim]\n{more}"
    );
    Config::parse(&text).unwrap()
}

fn forecasts(more: &str) -> Forecasts {
    let config = config(more);
    Forecasts::new(panels(&config), Plant::open(&config).unwrap().ahead(), config.forecast.from_trace)
}

/// Lives through the hours `from` to before `to` of the trace, in ticks of five minutes.
fn live(forecasts: &Forecasts, from: u64, to: u64) {
    ticks(forecasts, from * 12..to * 12);
}

fn ticks(forecasts: &Forecasts, ticks: std::ops::Range<u64>) {
    let config = config("");
    let ahead = Plant::open(&config).unwrap().ahead();
    let span = Millis::from_secs(300);
    for tick in ticks {
        let wall = Millis::new(MONDAY_MS + tick * span.get());
        let solar = ahead.solar(wall.get()).unwrap().over(span);
        let intensity = ahead.carbon(wall.get()).unwrap();
        forecasts.note(&Outcome { wall, span, solar, intensity, ..Outcome::default() }, (true, true));
    }
}

fn expected(forecasts: &Forecasts, of: Quantity, hour: u64) -> Option<f64> {
    let told = forecasts.told(of)?;
    told.look.at(MONDAY_MS + hour * 3_600_000).map(|said| said.p50)
}

#[test]
fn a_trace_is_told_as_it_is_from_the_start() {
    let forecasts = forecasts("");
    let told = forecasts.told(Quantity::Solar).unwrap();
    assert_eq!((told.source.as_str(), told.issued_at_ms), ("trace", None));
    let noon = told.look.at(MONDAY_MS + 11 * 3_600_000).unwrap();
    assert!(noon.p10 == noon.p90 && noon.p10 > 0.0, "{noon:?}");
}

#[test]
fn a_site_that_does_not_know_its_future_learns_and_says_nothing_before() {
    let forecasts = forecasts("[forecast]\nfrom_trace = false\n");
    assert!(forecasts.told(Quantity::Solar).is_none() && forecasts.told(Quantity::Carbon).is_none());
    live(&forecasts, 0, 23);
    assert!(forecasts.told(Quantity::Solar).is_some(), "a day of sun is enough");
    assert!(forecasts.told(Quantity::Carbon).is_none(), "23 hours are not");
    live(&forecasts, 23, 24 * 9);
    let told = forecasts.told(Quantity::Carbon).unwrap();
    assert_eq!((told.source.as_str(), told.rests_on), ("persistence", "hour of day"));
    assert_eq!(told.issued_at_ms, Some(MONDAY_MS + (24 * 9 - 1) * 3_600_000));
    assert!(expected(&forecasts, Quantity::Solar, 24 * 9 + 11).unwrap() > 10_000.0, "at noon");
    assert_eq!(expected(&forecasts, Quantity::Solar, 24 * 9 + 23), Some(0.0), "at midnight");
    let errors = forecasts.errors(Quantity::Carbon);
    assert_eq!(errors[0].0, "persistence");
    assert_eq!(errors[0].1.iter().map(|lead| lead.lead_hours).collect::<Vec<_>>(), [1, 3, 6, 12, 24, 48]);
    assert!(errors[0].1[0].mae > 0.0 && errors[0].1[0].mae < errors[0].1[5].mae, "{errors:?}");
}

#[test]
fn a_trace_is_compared_with_what_came_like_any_other() {
    let forecasts = forecasts("");
    live(&forecasts, 0, 50);
    let errors = forecasts.errors(Quantity::Carbon);
    let (source, leads) = &errors[0];
    assert_eq!((source.as_str(), leads[0].pairs), ("trace", 49));
    assert!(leads[0].mae < 1.0, "it came as it was told: {leads:?}");
    assert_eq!(errors[1].0, "persistence", "and beside it what would have been forecast without");
}

#[test]
fn what_was_learnt_outlives_the_process_and_a_damaged_file_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("forecasts.json");
    let more = "[forecast]\nfrom_trace = false\n";
    let before = forecasts(more);
    // With the first tick of hour 60 hour 59 has passed.
    ticks(&before, 0..60 * 12 + 1);
    before.keep(&file).unwrap();
    let after = forecasts(more);
    after.recall(&file).unwrap();
    ticks(&after, 60 * 12 + 1..60 * 12 + 2);
    let noon = 24 * 3 + 11;
    let (one, other) = (expected(&before, Quantity::Solar, noon), expected(&after, Quantity::Solar, noon));
    assert!((one.unwrap() - other.unwrap()).abs() < 1e-3, "{one:?} {other:?}");
    assert_eq!(after.errors(Quantity::Carbon)[0].1[0].pairs, before.errors(Quantity::Carbon)[0].1[0].pairs);

    let elsewhere = forecasts("[forecast]\nfrom_trace = false\nlatitude = 10.0\nlongitude = 10.0\n");
    elsewhere.recall(&file).unwrap();
    assert_eq!(elsewhere.errors(Quantity::Solar), [], "other panels learn for themselves");
    std::fs::write(&file, "{").unwrap();
    assert!(forecasts(more).recall(&file).is_err());
    assert!(forecasts(more).recall(Path::new("/nowhere/forecasts.json")).is_ok());
}

#[test]
fn held_readings_and_gaps_teach_nothing() {
    let forecasts = forecasts("[forecast]\nfrom_trace = false\n");
    let span = Millis::from_secs(300);
    for tick in 0..12 * 50 {
        let wall = Millis::new(MONDAY_MS + tick * span.get());
        let solar = Power::from_watts(5).over(span);
        forecasts
            .note(&Outcome { wall, span, solar, gap: tick < 12 * 25, ..Outcome::default() }, (true, false));
    }
    assert!(forecasts.told(Quantity::Carbon).is_none(), "no hour of carbon was live");
    assert!(forecasts.told(Quantity::Solar).is_some(), "the second day's sun was");
}

#[test]
fn a_clock_set_back_by_days_begins_anew() {
    let forecasts = forecasts("[forecast]\nfrom_trace = false\n");
    live(&forecasts, 24 * 30, 24 * 33);
    assert!(forecasts.told(Quantity::Carbon).is_some());
    live(&forecasts, 0, 2);
    assert!(forecasts.told(Quantity::Carbon).is_none());
    live(&forecasts, 2, 26);
    assert!(forecasts.told(Quantity::Carbon).is_some());
}
