//! Carbon intensity of grid energy from a file, or the same at all times.

use super::Trace;
use super::decimal::scaled_down;
use super::error::TraceError;
use super::rows::{Held, held_until_next, read};
use crate::{CarbonSignal, ReadError, Sample};
use ecovisor_units::CarbonIntensity;

const HEADER: &[&str] = &["datetime_utc", "carbon_intensity_g_per_kwh"];

/// How long a row holds: the data are hourly means whose stamp is the hour's start.
const HOUR_MS: u64 = 3_600_000;

/// Largest intensity accepted, mg/kWh: twice the dirtiest lignite plants (about 1.5 kg/kWh with their mines).
const INTENSITY_MAX: u64 = 3_000_000;

/// Loads `datetime_utc,carbon_intensity_g_per_kwh`: UTC stamps at which an hour starts, in g CO2e per kWh (0 to 3000),
/// digits beyond mg rounded down. A row holds for one hour, or until the next row where that comes earlier.
/// `file` is the name for messages.
///
/// # Errors
/// [`TraceError`] for the first line that does not fit.
pub fn carbon(file: &str, bytes: &[u8]) -> Result<Trace<CarbonIntensity>, TraceError> {
    let rows = read(file, bytes, HEADER, |row| {
        let intensity = row.value(1, "an intensity from 0 to 3000 g/kWh, or blank for a gap", |text| {
            scaled_down(text, 3).filter(|mg| *mg <= INTENSITY_MAX).map(CarbonIntensity::new)
        })?;
        Ok(Held { start_utc_ms: row.stamp(0)?, line: row.line, value: intensity })
    })?;
    held_until_next(file, "datetime_utc", &rows, HOUR_MS)
}

impl CarbonSignal for Trace<CarbonIntensity> {
    fn intensity(&self, utc_ms: u64) -> Result<Sample<CarbonIntensity>, ReadError> {
        self.at(utc_ms).map(Sample::fresh).ok_or_else(|| ReadError::transient("carbon trace"))
    }
}

/// A grid whose intensity never changes: for sites without a signal, whose operator states one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteadyCarbon(
    /// The intensity at all times, mg/kWh.
    pub CarbonIntensity,
);

impl CarbonSignal for SteadyCarbon {
    fn intensity(&self, _utc_ms: u64) -> Result<Sample<CarbonIntensity>, ReadError> {
        Ok(Sample::fresh(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 1_640_995_200_000;

    fn load(rows: &str) -> Result<Trace<CarbonIntensity>, TraceError> {
        carbon("de.csv", format!("datetime_utc,carbon_intensity_g_per_kwh\n{rows}").as_bytes())
    }

    fn refusal(rows: &str) -> String {
        load(rows).unwrap_err().to_string()
    }

    #[test]
    fn an_hour_starts_at_its_stamp() {
        let trace = load("2022-01-01T00:00:00Z,216.56\n2022-01-01T01:00:00Z,220\n").unwrap();
        let (first, second) = (CarbonIntensity::new(216_560), CarbonIntensity::new(220_000));
        for (at, expected) in [
            (START - 1, None),
            (START, Some(first)),
            (START + HOUR_MS - 1, Some(first)),
            (START + HOUR_MS, Some(second)),
            (START + 2 * HOUR_MS, None),
        ] {
            assert_eq!(trace.at(at), expected, "at {at}");
        }
    }

    #[test]
    fn a_missing_value_is_a_gap_and_never_zero() {
        for gap in ["", " ", "NaN", "nan", "NA"] {
            let trace = load(&format!("2022-01-01T00:00:00Z,{gap}\n2022-01-01T01:00:00Z,0\n")).unwrap();
            assert_eq!(trace.at(START), None, "`{gap}`");
            assert_eq!(trace.at(START + HOUR_MS), Some(CarbonIntensity::ZERO));
            assert!(matches!(trace.intensity(START), Err(ReadError::Transient { .. })));
        }
    }

    #[test]
    fn a_missing_line_is_a_gap() {
        let trace = load("2022-01-01T00:00:00Z,1\n2022-01-01T05:00:00Z,5\n").unwrap();
        assert_eq!(trace.at(START + HOUR_MS), None);
    }

    #[test]
    fn errors_name_file_line_column_value_and_what_is_accepted() {
        assert_eq!(
            refusal("2022-01-01T00:00:00Z,-3\n"),
            "de.csv, line 2, column carbon_intensity_g_per_kwh: `-3` is not an intensity from 0 to 3000 g/kWh, \
             or blank for a gap"
        );
        assert!(
            refusal("2022-01-01,3\n").contains("line 2, column datetime_utc: `2022-01-01` is not a time")
        );
        assert!(refusal("2022-01-01T00:00:00Z,1\n\n2022-01-01T00:00:00Z,1\n").contains("line 4"));
        assert!(refusal("2022-01-01T00:00:00Z\n").contains("`1 fields` is not 2 fields"));
        assert!(refusal("2022-01-01T00:00:00Z,inf\n").contains("`inf`"));
        assert!(refusal("2022-01-01T00:00:00Z,3000.001\n").contains("0 to 3000"));
        assert!(load("2022-01-01T00:00:00Z,3000\n").is_ok());
        let headless = carbon("x.csv", b"").unwrap_err().to_string();
        assert!(headless.contains("the header `datetime_utc,carbon_intensity_g_per_kwh`"), "{headless}");
        let other = carbon("x.csv", b"datetime_utc,ci\n").unwrap_err().to_string();
        assert!(other.contains("the column name `carbon_intensity_g_per_kwh`"), "{other}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = carbon("any", &bytes);
            let mut rows = b"datetime_utc,carbon_intensity_g_per_kwh\n2022-01-01T00:00:00Z,".to_vec();
            rows.extend(bytes);
            let _ = carbon("any", &rows);
        }
    }
}
