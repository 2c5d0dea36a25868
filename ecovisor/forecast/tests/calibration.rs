//! What forecasts promise, over a year of the project's traces: p10 to p90 holds about eight hours in ten, the middle is
//! better than two simpler guesses, and what is sure of the sun comes as often as it was said to.
//! `cargo run --release -p ecovisor-forecast --example backtest` prints all places and horizons.

mod backtest;

use backtest::{Score, Year, carbon_years, kept, scores, solar_years};

fn check(year: &Year) {
    let scores = scores(year);
    for score in &scores {
        let (place, lead, covered) = (year.name, score.lead, score.coverage());
        assert!((0.70..0.90).contains(&covered), "{place} at {lead} h: {covered} between p10 and p90");
        assert!(
            score.mae < 1.3 * naive(score),
            "{place} at {lead} h: {} against {}",
            score.mae,
            naive(score)
        );
        assert!(
            score.below < 0.15 && score.above < 0.15 && score.width > 0.0,
            "{place} at {lead} h: {score:?}"
        );
        assert!(score.bias.abs() < 0.25 * score.mae, "{place} at {lead} h: biased by {}", score.bias);
    }
    let mean = scores.iter().map(|score| score.mae / naive(score)).sum::<f64>() / 6.0;
    assert!(mean < 0.97, "{}: {mean} of the better naive guess over all horizons", year.name);
}

/// The better of two guesses, told afterwards which it was.
fn naive(score: &Score) -> f64 {
    score.latest.min(score.yesterday)
}

#[test]
fn carbon_is_covered_and_better_than_guessed() {
    let places = ["DE", "US-CAL-CISO"];
    carbon_years().iter().filter(|year| places.contains(&year.name)).for_each(check);
}

#[test]
fn the_sun_is_covered_and_better_than_guessed() {
    solar_years().iter().for_each(check);
}

#[test]
fn what_is_sure_of_the_sun_comes_as_often_as_said() {
    for year in solar_years() {
        for (confidence, ahead, length) in [(0.9, 24, 6), (0.95, 6, 3)] {
            let (kept, promised) = kept(&year, confidence, ahead, length);
            assert!(kept > confidence - 0.02, "{}: {kept} of {confidence}", year.name);
            assert!(promised > 0.02, "{}: nothing is promised", year.name);
        }
    }
}
