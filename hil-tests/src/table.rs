//! CSV by column name, as far as the ledger writes it: no quotes, one row a line.

use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;

/// One row: its cells by column.
pub type Row = BTreeMap<String, String>;

/// The columns whose sum is an app's load: each says from where a part of it came.
pub const LOAD_SOURCES: [&str; 8] = [
    "solar_to_load_uj",
    "received_to_load_uj",
    "battery_to_load_uj",
    "forced_to_load_uj",
    "grid_to_load_uj",
    "overdraft_grid_uj",
    "overdraft_from_spill_uj",
    "overdraft_lent_uj",
];

/// Reads a table with its header.
///
/// # Errors
/// Where there is no header, or a row has other columns.
pub fn read(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("a table begins with its header")?.split(',').collect();
    lines.map(|line| row(&header, line)).collect()
}

fn row(header: &[&str], line: &str) -> Result<Row> {
    let cells: Vec<&str> = line.split(',').collect();
    ensure!(
        cells.len() == header.len(),
        "{} cells where the header has {}: {line}",
        cells.len(),
        header.len()
    );
    Ok(header.iter().zip(cells).map(|(column, cell)| ((*column).to_owned(), cell.to_owned())).collect())
}

/// A figure of a row.
///
/// # Errors
/// Where the column is missing or holds no figure.
pub fn figure(row: &Row, column: &str) -> Result<u128> {
    let cell = row.get(column).with_context(|| format!("there is no column {column}"))?;
    cell.parse().with_context(|| format!("{column} is {cell:?}"))
}

/// The sum of several figures of a row.
///
/// # Errors
/// As [`figure`].
pub fn sum(row: &Row, columns: &[&str]) -> Result<u128> {
    columns.iter().map(|column| figure(row, column)).sum()
}
