//! Forecasts a year of every trace of the project, an hour after the other, and prints how far they were off.

#[path = "../tests/backtest/mod.rs"]
mod backtest;

use backtest::{Year, carbon_years, kept, scores, solar_years};

fn main() {
    println!(
        "{:14} {:>4} {:>6} {:>8} {:>8} {:>8} {:>7} {:>7} {:>6} {:>6} {:>8}",
        "place", "lead", "hours", "MAE", "latest", "sameday", "of best", "bias", "<p10", ">p90", "covered"
    );
    for year in carbon_years() {
        table(&year, "g/kWh");
    }
    for year in solar_years() {
        table(&year, "W/kW");
    }
    println!("\nsun promised for every hour of a window, and how often it came");
    println!(
        "{:14} {:>6} {:>6} {:>6} {:>8} {:>14}",
        "place", "sure", "ahead", "hours", "kept", "of clear sky"
    );
    for year in solar_years() {
        for confidence in [0.8, 0.9, 0.95, 0.99] {
            for (ahead, length) in [(1, 1), (1, 3), (6, 3), (24, 3), (24, 6)] {
                let (kept, part) = kept(&year, confidence, ahead, length);
                let (confidence, kept, part) = (confidence * 100.0, kept * 100.0, part * 100.0);
                println!(
                    "{:14} {confidence:5.0}% {ahead:5}h {length:5}h {kept:7.1}% {part:13.1}%",
                    year.name
                );
            }
        }
    }
}

fn table(year: &Year, unit: &str) {
    for score in scores(year) {
        let best = score.latest.min(score.yesterday);
        println!(
            "{:14} {:3}h {:6} {:8.2} {:8.2} {:8.2} {:6.0}% {:7.2} {:5.1}% {:5.1}% {:7.1}%  {unit}",
            year.name,
            score.lead,
            score.hours,
            score.mae / 1_000.0,
            score.latest / 1_000.0,
            score.yesterday / 1_000.0,
            score.mae / best * 100.0,
            score.bias / 1_000.0,
            score.below * 100.0,
            score.above * 100.0,
            score.coverage() * 100.0
        );
    }
}
