//! Lines of a CSV file as checked fields: header, field count, text; and the rules that all loaders share.

use super::error::TraceError;
use super::{Interval, Trace};
use csv::ByteRecord;
use jiff::Timestamp;

/// Most rows of one file: ten years of minutes, so that a wrong file cannot fill the memory.
const ROWS_MAX: usize = 5_256_000;

/// One line of the file.
pub(super) struct Row<'a> {
    pub(super) file: &'a str,
    pub(super) line: u64,
    header: &'a [&'static str],
    record: &'a ByteRecord,
}

impl Row<'_> {
    /// The field of `column` (its place in the header) without surrounding spaces, or the refusal of a field that
    /// is not UTF-8.
    pub(super) fn text(&self, column: usize) -> Result<&str, TraceError> {
        let bytes = self.record.get(column).unwrap_or_default();
        std::str::from_utf8(bytes).map(str::trim).map_err(|_| self.refuse(column, "UTF-8 text"))
    }

    /// The error that names this line, `column`, what stands there, and what would be accepted.
    pub(super) fn refuse(&self, column: usize, accepted: &str) -> TraceError {
        let value = String::from_utf8_lossy(self.record.get(column).unwrap_or_default());
        let column = self.header.get(column).copied().unwrap_or("line");
        TraceError::new(self.file, self.line, column, &value, accepted)
    }

    /// `parse`d field, or `None` for a gap: blank, `NaN` or `NA` (in any case).
    pub(super) fn value<T>(
        &self,
        column: usize,
        accepted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, TraceError> {
        let text = self.text(column)?;
        let gap = text.is_empty() || text.eq_ignore_ascii_case("nan") || text.eq_ignore_ascii_case("na");
        match gap {
            true => Ok(None),
            false => parse(text).map(Some).ok_or_else(|| self.refuse(column, accepted)),
        }
    }

    /// A UTC stamp in ms since the Unix epoch.
    pub(super) fn stamp(&self, column: usize) -> Result<u64, TraceError> {
        let stamp: Option<Timestamp> = self.text(column)?.parse().ok();
        stamp
            .and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok())
            .ok_or_else(|| self.refuse(column, "a time since 1970 such as 2022-01-01T00:00:00Z"))
    }
}

/// Reads every line of `bytes` after a header that must be exactly `header`.
pub(super) fn read<T>(
    file: &str,
    bytes: &[u8],
    header: &'static [&'static str],
    mut line_of: impl FnMut(&Row<'_>) -> Result<T, TraceError>,
) -> Result<Vec<T>, TraceError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut lines = Vec::new();
    let mut header_seen = false;
    loop {
        let more = reader.read_byte_record(&mut record);
        let line = record.position().map_or(1, |start| start.line() + blank_lines(bytes, start.byte()));
        let more = more.map_err(|error| TraceError::new(file, line, "line", &error.to_string(), "CSV"))?;
        if !more {
            break;
        }
        let row = Row { file, line, header, record: &record };
        check_width(&row)?;
        match header_seen {
            false => header_seen = check_header(&row)?,
            true => lines.push(line_of(&row)?),
        }
        if lines.len() > ROWS_MAX {
            return Err(TraceError::new(
                file,
                line,
                "line",
                "one row more",
                "within the limit of 5256000 rows",
            ));
        }
    }
    match header_seen {
        true => Ok(lines),
        false => Err(TraceError::new(file, 1, "line", "", &format!("the header `{}`", header.join(",")))),
    }
}

/// Blank lines from `start` on: the reader skips them but counts a record from before them.
fn blank_lines(bytes: &[u8], start: u64) -> u64 {
    let rest = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    ends.fold(0, |lines, byte| lines + u64::from(*byte == b'\n'))
}

fn check_width(row: &Row<'_>) -> Result<(), TraceError> {
    let (found, wanted) = (row.record.len(), row.header.len());
    let wrong = || {
        TraceError::new(row.file, row.line, "line", &format!("{found} fields"), &format!("{wanted} fields"))
    };
    (found == wanted).then_some(()).ok_or_else(wrong)
}

fn check_header(row: &Row<'_>) -> Result<bool, TraceError> {
    for (column, name) in row.header.iter().enumerate() {
        if row.text(column)?.trim_start_matches('\u{feff}') != *name {
            return Err(row.refuse(column, &format!("the column name `{name}`")));
        }
    }
    Ok(true)
}

/// A row's start, its line for messages, and its value; `None` is a gap.
pub(super) struct Held<T> {
    pub(super) start_utc_ms: u64,
    pub(super) line: u64,
    pub(super) value: Option<T>,
}

/// Intervals of rows that hold from their own stamp until the next row's, for `longest_ms` at most; the last row holds
/// for `longest_ms`, or as long as the one before it where that is less. Gaps leave no interval.
///
/// # Errors
/// Where a stamp is not after the one before it.
pub(super) fn held_until_next<T: Copy>(
    file: &str,
    column: &str,
    rows: &[Held<T>],
    longest_ms: u64,
) -> Result<Trace<T>, TraceError> {
    let mut intervals = Vec::with_capacity(rows.len());
    let mut length_ms = longest_ms;
    for (index, row) in rows.iter().enumerate() {
        if let Some(next) = rows.get(index + 1) {
            if next.start_utc_ms <= row.start_utc_ms {
                let value = next.start_utc_ms.to_string();
                return Err(TraceError::new(
                    file,
                    next.line,
                    column,
                    &value,
                    "after the line before it (ms)",
                ));
            }
            length_ms = longest_ms.min(next.start_utc_ms - row.start_utc_ms);
        }
        let end_utc_ms = row.start_utc_ms.saturating_add(length_ms);
        intervals.extend(row.value.map(|value| Interval {
            start_utc_ms: row.start_utc_ms,
            end_utc_ms,
            value,
        }));
    }
    Ok(Trace { intervals, play: super::Play::Once, memo: super::Memo::default() })
}
