//! A year of hours forecast as it would have been, and laid beside what came: no forecast sees an hour before it has passed.

#![allow(clippy::unwrap_used, reason = "the project's own data, which its own tests read")]

use ecovisor_forecast::sun::position;
use ecovisor_forecast::{Desk, LEADS, Panels, Settings};
use ecovisor_units::Power;

/// 2022-01-01T00:00Z in hours since the Unix epoch.
pub const YEAR_START: u64 = 1_640_995_200 / 3_600;
/// Hours of the first four weeks, which only teach.
const TEACHING: u64 = 28 * 24;

/// A year of one quantity.
pub struct Year {
    /// Where it was.
    pub name: &'static str,
    /// What is forecast.
    pub settings: Settings,
    /// Each hour's figure, from [`YEAR_START`] on, in mW or mg/kWh.
    pub hours: Vec<f64>,
}

/// What came of one horizon.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// The horizon in hours.
    pub lead: u64,
    /// Hours compared.
    pub hours: f64,
    /// Mean absolute error of p50.
    pub mae: f64,
    /// Of taking the latest hour for all to come (for the sun: the latest clearness).
    pub latest: f64,
    /// Of taking the newest known figure of the same hour of a day.
    pub yesterday: f64,
    /// Mean of what came less p50.
    pub bias: f64,
    /// Part of the hours below p10.
    pub below: f64,
    /// Part of the hours above p90.
    pub above: f64,
    /// Mean of p90 less p10.
    pub width: f64,
}

impl Score {
    /// Part of the hours between p10 and p90.
    pub fn coverage(&self) -> f64 {
        1.0 - self.below - self.above
    }
}

/// The carbon traces of the project.
pub fn carbon_years() -> Vec<Year> {
    macro_rules! year {
        ($($key:literal),*) => {
            vec![$(Year {
                name: $key,
                settings: Settings::Carbon,
                hours: carbon(include_str!(concat!("../../../../data/carbon/", $key, "-2022.csv"))),
            }),*]
        };
    }
    year!("AU-SA", "CA-ON", "DE", "ES", "GB", "IN-MH", "NL", "SE-SE1", "US-CAL-CISO", "US-TEX-ERCO")
}

/// Arrays of 1 kW under the typical years of the project.
pub fn solar_years() -> Vec<Year> {
    let kilowatt = Power::from_watts(1_000);
    let greensboro = Panels::facing_sun(36.1, -79.95, kilowatt);
    let sand_point = Panels::facing_sun(55.317, -160.517, kilowatt);
    let texts = [
        ("greensboro-nc", greensboro, 5, include_str!("../../../../data/solar/greensboro-nc-tmy3.csv")),
        ("sand-point-ak", sand_point, 9, include_str!("../../../../data/solar/sand-point-ak-tmy3.csv")),
    ];
    texts
        .into_iter()
        .map(|(name, panels, west, text)| Year {
            name,
            settings: Settings::Solar(panels),
            hours: solar(text, &panels, west),
        })
        .collect()
}

fn carbon(text: &str) -> Vec<f64> {
    text.lines().skip(1).map(|row| row.split(',').nth(1).unwrap().parse::<f64>().unwrap() * 1_000.0).collect()
}

/// Power of an array in each hour of UTC; `west` hours lie between the file's standard time and UTC. The light is laid on
/// the plane from the measured beam and sky, and the cells warm up: another model than the forecast's, as a real array is.
fn solar(text: &str, panels: &Panels, west: usize) -> Vec<f64> {
    let mut hours = vec![0.0; 8_760];
    for (local, row) in text.lines().skip(1).enumerate() {
        let cells: Vec<f64> = row.split(',').skip(2).map(|cell| cell.parse().unwrap()).collect();
        let at = (local + west) % 8_760;
        hours[at] = array(panels, YEAR_START + u64::try_from(at).unwrap(), &cells);
    }
    hours
}

fn array(panels: &Panels, hour: u64, cells: &[f64]) -> f64 {
    let (global, beam, scattered, air, wind) = (cells[0], cells[1], cells[2], cells[3], cells[4]);
    let (sin_tilt, cos_tilt) = panels.tilt.to_radians().sin_cos();
    let light: f64 = (0..6)
        .map(|sixth| {
            let sun =
                position(panels.latitude, panels.longitude, hour * 3_600_000 + 300_000 + sixth * 600_000);
            let sin_zenith = (1.0 - sun.cos_zenith * sun.cos_zenith).sqrt();
            let turned = sun.azimuth - panels.azimuth.to_radians();
            let facing = cos_tilt * sun.cos_zenith + sin_tilt * sin_zenith * turned.cos();
            let sky = scattered * (1.0 + cos_tilt) / 2.0 + global * 0.2 * (1.0 - cos_tilt) / 2.0;
            if sun.cos_zenith > 0.0 { beam * facing.max(0.0) + sky } else { 0.0 }
        })
        .sum::<f64>()
        / 6.0;
    let cell = air + light / (25.0 + 6.84 * wind);
    let watts_of_peak = light / 1_000.0 * (1.0 - 0.0035 * (cell - 25.0)) * 0.86 * 0.96;
    milliwatts(panels.peak) * watts_of_peak.clamp(0.0, 1.0)
}

fn milliwatts(power: Power) -> f64 {
    f64::from(u32::try_from(power.get()).unwrap())
}

/// Hours that count: all of carbon's, those of the sun's that are not twilight.
fn counts(settings: &Settings, hour: u64) -> bool {
    match settings {
        Settings::Carbon => true,
        Settings::Solar(panels) => panels.clear(hour) > 0.03 * milliwatts(panels.peak),
    }
}

/// Each horizon over the year, its first four weeks left out.
pub fn scores(year: &Year) -> Vec<Score> {
    let mut desk = Desk::new(year.settings);
    let mut scores: Vec<Score> = LEADS.into_iter().map(|lead| Score { lead, ..Score::default() }).collect();
    let at = |hour: u64| year.hours.get(usize::try_from(hour).unwrap()).copied();
    for (hour, &came) in (0_u64..).zip(&year.hours) {
        desk.note(YEAR_START + hour, came);
        let Some(outlook) = desk.issue(YEAR_START + hour + 1, None) else { continue };
        for score in scores.iter_mut().filter(|_| hour >= TEACHING) {
            let target = hour + score.lead;
            let (Some(came), true) = (at(target), counts(&year.settings, YEAR_START + target)) else {
                continue;
            };
            let said = outlook.at(YEAR_START + target).unwrap();
            let days = score.lead.div_ceil(24) * 24;
            score.hours += 1.0;
            score.mae += (came - said.p50).abs();
            score.bias += came - said.p50;
            score.latest += (came - latest(year, hour, target)).abs();
            score.yesterday += (came - at(target - days).unwrap()).abs();
            score.below += if came < said.p10 { 1.0 } else { 0.0 };
            score.above += if came > said.p90 { 1.0 } else { 0.0 };
            score.width += said.p90 - said.p10;
        }
    }
    for score in &mut scores {
        let sums = [&mut score.mae, &mut score.bias, &mut score.latest, &mut score.yesterday];
        let parts = [&mut score.below, &mut score.above, &mut score.width];
        sums.into_iter().chain(parts).for_each(|sum| *sum /= score.hours);
    }
    scores
}

/// The latest figure for all to come; for the sun its clearness in the last hour of light, under the sky of `target`.
fn latest(year: &Year, hour: u64, target: u64) -> f64 {
    let figure = |hour: u64| year.hours[usize::try_from(hour).unwrap()];
    match &year.settings {
        Settings::Carbon => figure(hour),
        Settings::Solar(panels) => {
            let lit = (0..=hour).rev().find(|&hour| counts(&year.settings, YEAR_START + hour)).unwrap();
            figure(lit) / panels.clear(YEAR_START + lit) * panels.clear(YEAR_START + target)
        }
    }
}

/// How often what is promised of the sun with `confidence` over a window of `length` hours, `ahead` hours from now, came in
/// every hour of it, and the part of a clear sky's energy that was promised.
pub fn kept(year: &Year, confidence: f64, ahead: u64, length: u64) -> (f64, f64) {
    let Settings::Solar(panels) = year.settings else { return (1.0, 0.0) };
    let mut desk = Desk::new(year.settings);
    let (mut windows, mut kept, mut promised, mut clear) = (0.0, 0.0, 0.0, 0.0);
    for (hour, &came) in (0_u64..).zip(&year.hours) {
        desk.note(YEAR_START + hour, came);
        let Some(outlook) = desk.issue(YEAR_START + hour + 1, None) else { continue };
        let window: Vec<u64> = (hour + ahead..hour + ahead + length).collect();
        let lit = |&hour: &u64| counts(&year.settings, YEAR_START + hour);
        if hour < TEACHING || window.last().is_none_or(|&last| last >= 8_760) || !window.iter().all(lit) {
            continue;
        }
        let level = (1.0 - confidence) / f64::from(u32::try_from(length).unwrap());
        let sure = |hour: u64| outlook.quantile(YEAR_START + hour, level).unwrap_or(0.0);
        windows += 1.0;
        let came = window.iter().all(|&hour| year.hours[usize::try_from(hour).unwrap()] >= sure(hour));
        kept += if came { 1.0 } else { 0.0 };
        promised += window.iter().map(|&hour| sure(hour)).sum::<f64>();
        clear += window.iter().map(|&hour| panels.clear(YEAR_START + hour)).sum::<f64>();
    }
    (kept / windows, promised / clear)
}
