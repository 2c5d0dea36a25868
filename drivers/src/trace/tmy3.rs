//! Hours of a typical meteorological year: sun on the ground, temperature and wind.

use super::error::TraceError;
use super::rows::{Row, read};
use super::year::utc_ms;
use super::{Interval, Play, Trace};
use jiff::civil::Date;

/// The weather that an array stands in. Advice, so floats: it becomes an account as AC power only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Global horizontal irradiance, W/m², 0 to 1500; zero is darkness.
    pub ghi: f64,
    /// Direct normal irradiance, W/m², 0 to 1500; zero is a hidden sun.
    pub dni: f64,
    /// Diffuse horizontal irradiance, W/m², 0 to 1500.
    pub dhi: f64,
    /// Air temperature, °C, −90 to 60.
    pub air_celsius: f64,
    /// Wind speed, m/s, 0 to 115.
    pub wind_m_per_s: f64,
}

const HEADER: &[&str] = &[
    "month_day",
    "hour_ending_local_standard",
    "ghi_w_per_m2",
    "dni_w_per_m2",
    "dhi_w_per_m2",
    "temperature_c",
    "wind_m_per_s",
];

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// Loads the columns `month_day` (01-01), `hour_ending_local_standard` (01:00 to 24:00), `ghi_w_per_m2`, `dni_w_per_m2`,
/// `dhi_w_per_m2`, `temperature_c` and `wind_m_per_s`: means over the hour that ENDS at the stamp, in local standard time,
/// `utc_offset_minutes` ahead of UTC (−300 for UTC−5). The file names no year: `year` (1971 to 9998) is put in, and
/// [`Trace::repeat_yearly`] makes it play in any. `file` is the name for messages. A row with any value missing is a gap.
///
/// # Errors
/// [`TraceError`] for the first line that does not fit.
pub fn tmy3(
    file: &str,
    bytes: &[u8],
    utc_offset_minutes: i16,
    year: i16,
) -> Result<Trace<Weather>, TraceError> {
    let mut last_end_ms = 0;
    let rows = read(file, bytes, HEADER, |row| {
        let end_utc_ms = hour_end(row, utc_offset_minutes, year)?;
        let start_utc_ms = end_utc_ms.saturating_sub(HOUR_MS);
        if start_utc_ms < last_end_ms {
            return Err(row.refuse(1, "an hour after the line before it"));
        }
        last_end_ms = end_utc_ms;
        Ok(weather(row)?.map(|value| Interval { start_utc_ms, end_utc_ms, value }))
    })?;
    let intervals = rows.into_iter().flatten().collect();
    Ok(Trace { intervals, play: Play::Once, memo: super::Memo::default() })
}

/// The end of the row's hour in ms since the Unix epoch.
fn hour_end(row: &Row<'_>, utc_offset_minutes: i16, year: i16) -> Result<u64, TraceError> {
    let day = month_day(row.text(0)?, year).ok_or_else(|| row.refuse(0, "a month and day such as 07-31"))?;
    let hour = hour(row.text(1)?).ok_or_else(|| row.refuse(1, "a full hour from 01:00 to 24:00"))?;
    let local_ms = day.saturating_add(hour.saturating_mul(HOUR_MS));
    let offset_ms = i64::from(utc_offset_minutes).saturating_mul(MINUTE_MS);
    let utc_ms = local_ms.checked_add_signed(offset_ms.saturating_neg());
    utc_ms.filter(|end| *end >= HOUR_MS).ok_or_else(|| row.refuse(0, "a time after 1970"))
}

/// The start of that day of `year`, as if it were UTC, in ms since the Unix epoch.
fn month_day(text: &str, year: i16) -> Option<u64> {
    let (month, day) = text.split_once('-')?;
    let date = Date::new(year, month.parse().ok()?, day.parse().ok()?).ok()?;
    utc_ms(date.at(0, 0, 0, 0))
}

/// The hour of `HH:00`, 1 to 24.
fn hour(text: &str) -> Option<u64> {
    let hour: u64 = text.strip_suffix(":00")?.parse().ok()?;
    (1..=24).contains(&hour).then_some(hour)
}

/// The row's weather, or `None` where any of it is missing.
fn weather(row: &Row<'_>) -> Result<Option<Weather>, TraceError> {
    let irradiance = "an irradiance from 0 to 1500 W/m2, or blank for a gap";
    let ghi = number(row, 2, 0.0, 1_500.0, irradiance)?;
    let dni = number(row, 3, 0.0, 1_500.0, irradiance)?;
    let dhi = number(row, 4, 0.0, 1_500.0, irradiance)?;
    let air = number(row, 5, -90.0, 60.0, "a temperature from -90 to 60 degrees C, or blank for a gap")?;
    let wind = number(row, 6, 0.0, 115.0, "a wind speed from 0 to 115 m/s, or blank for a gap")?;
    let (Some(ghi), Some(dni), Some(dhi), Some(air_celsius), Some(wind_m_per_s)) = (ghi, dni, dhi, air, wind)
    else {
        return Ok(None);
    };
    Ok(Some(Weather { ghi, dni, dhi, air_celsius, wind_m_per_s }))
}

fn number(
    row: &Row<'_>,
    column: usize,
    least: f64,
    most: f64,
    accepted: &str,
) -> Result<Option<f64>, TraceError> {
    row.value(column, accepted, |text| text.parse().ok().filter(|value| (least..=most).contains(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const YEAR_2022: u64 = 1_640_995_200_000;

    fn load(rows: &str) -> Result<Trace<Weather>, TraceError> {
        tmy3("gso.csv", format!("{}\n{rows}", HEADER.join(",")).as_bytes(), -300, 2022)
    }

    #[test]
    fn an_hour_ends_at_its_local_stamp() {
        let trace = load("01-01,01:00,1,2,3,-4.5,6\n01-01,24:00,7,0,7,0,0\n").unwrap();
        let first = trace.intervals()[0];
        // The hour to 01:00 at UTC-5 is the one from 05:00 to 06:00 UTC.
        assert_eq!(first.start_utc_ms, YEAR_2022 + 5 * HOUR_MS);
        assert_eq!(first.end_utc_ms, YEAR_2022 + 6 * HOUR_MS);
        assert_eq!(
            first.value,
            Weather { ghi: 1.0, dni: 2.0, dhi: 3.0, air_celsius: -4.5, wind_m_per_s: 6.0 }
        );
        assert_eq!(trace.intervals()[1].end_utc_ms, YEAR_2022 + 29 * HOUR_MS);
    }

    #[test]
    fn a_row_with_a_missing_value_is_a_gap() {
        let trace = load("01-01,01:00,1,2,,4,5\n01-01,02:00,1,2,3,4,5\n").unwrap();
        assert_eq!(trace.intervals().len(), 1);
        assert_eq!(trace.at(YEAR_2022 + 5 * HOUR_MS), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_line_and_column() {
        for (row, column) in [
            ("02-29,01:00,1,2,3,4,5", "month_day"),
            ("01-01,00:00,1,2,3,4,5", "hour_ending_local_standard"),
            ("01-01,25:00,1,2,3,4,5", "hour_ending_local_standard"),
            ("01-01,01:30,1,2,3,4,5", "hour_ending_local_standard"),
            ("01-01,01:00,-9900,2,3,4,5", "ghi_w_per_m2"),
            ("01-01,01:00,1,inf,3,4,5", "dni_w_per_m2"),
            ("01-01,01:00,1,2,3,61,5", "temperature_c"),
            ("01-01,01:00,1,2,3,4,116", "wind_m_per_s"),
        ] {
            let error = load(row).unwrap_err();
            assert_eq!((error.line, error.column.as_str()), (2, column), "{row}");
        }
        let twice = load("01-01,01:00,1,2,3,4,5\n01-01,01:00,1,2,3,4,5\n").unwrap_err();
        assert_eq!(twice.line, 3);
    }

    #[test]
    fn the_leap_day_of_a_leap_year_plays_the_day_before() {
        let day = |day: u32| format!("02-{day},01:00,{day},0,0,0,0\n");
        let text = format!("{}\n01-01,01:00,0,0,0,0,0\n{}", HEADER.join(","), day(28));
        let trace = tmy3("x", text.as_bytes(), 0, 2024).unwrap().repeat_yearly();
        let leap_day_2028 = 1_835_395_200_000;
        assert_eq!(trace.at(leap_day_2028).map(|weather| weather.ghi), Some(28.0));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), offset: i16, year: i16,
        ) {
            let mut rows = HEADER.join(",").into_bytes();
            rows.push(b'\n');
            rows.extend(&bytes);
            let _ = tmy3("any", &rows, offset, year);
            let _ = tmy3("any", &bytes, offset, year);
            let text = format!("{}\n01-01,01:00,1,2,3,4,5\n", HEADER.join(","));
            let _ = tmy3("any", text.as_bytes(), offset, year);
        }
    }
}
