//! Power over time from a file: recorded loads, and solar arrays that were metered instead of modelled.

use super::Trace;
use super::decimal::scaled_down;
use super::error::TraceError;
use super::rows::{Held, held_until_next, read};
use crate::SolarSource;
use ecovisor_units::Power;

const HEADER: &[&str] = &["start_utc", "power_w"];

/// Largest power accepted, mW: 1 GW, beyond any site.
const POWER_MAX: u64 = 1_000_000_000_000;

/// Longest that a row holds: a day. A trace with rarer rows says with blank rows where it knows nothing.
const DAY_MS: u64 = 86_400_000;

/// Loads `start_utc,power_w`: UTC stamps from which a power in W holds (0 to 10⁹, digits beyond mW rounded down) until
/// the next row's stamp, for a day at most; the last row holds as long as the one before it. `file` is the name for
/// messages.
///
/// # Errors
/// [`TraceError`] for the first line that does not fit.
pub fn power(file: &str, bytes: &[u8]) -> Result<Trace<Power>, TraceError> {
    let rows = read(file, bytes, HEADER, |row| {
        let power = row.value(1, "a power from 0 to 1000000000 W, or blank for a gap", |text| {
            scaled_down(text, 3).filter(|mw| *mw <= POWER_MAX).map(Power::new)
        })?;
        Ok(Held { start_utc_ms: row.stamp(0)?, line: row.line, value: power })
    })?;
    held_until_next(file, "start_utc", &rows, DAY_MS)
}

impl SolarSource for Trace<Power> {
    fn power(&self, utc_ms: u64) -> Option<Power> {
        self.at(utc_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 1_640_995_200_000;

    #[test]
    fn a_power_holds_until_the_next_row_and_the_last_as_long_as_the_one_before() {
        let text = "start_utc,power_w\n2022-01-01T00:00:00Z,1.5\n2022-01-01T00:05:00Z,\n2022-01-01T00:06:00Z,2.0009\n";
        let trace = power("load.csv", text.as_bytes()).unwrap();
        let minute = 60_000;
        for (at, expected) in [
            (START + 5 * minute - 1, Some(Power::new(1_500))),
            (START + 5 * minute, None),
            (START + 6 * minute, Some(Power::new(2_000))),
            (START + 7 * minute, None),
        ] {
            assert_eq!(SolarSource::power(&trace, at), expected, "at {at}");
        }
    }

    #[test]
    fn what_is_no_power_is_refused() {
        for bad in ["-1", "1e3", "inf", "1000000000.001", "12 W"] {
            let text = format!("start_utc,power_w\n2022-01-01T00:00:00Z,{bad}\n");
            let error = power("load.csv", text.as_bytes()).unwrap_err();
            assert_eq!((error.line, error.column.as_str(), error.value.as_str()), (2, "power_w", bad));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = power("any", &bytes);
        }
    }
}
