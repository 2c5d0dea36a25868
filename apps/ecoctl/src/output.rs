//! Where answers go: stdout, as text for people or as JSON for programs.

use crate::failure::{Failure, Kind};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::Write as _;

/// How to answer.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
}

impl Output {
    /// One answer; JSON is indented, since one answer is one document.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn answer(self, json: &Value, text: &str) -> Result<(), Failure> {
        if self.json { print(&format!("{json:#}")) } else { print(text.trim_end_matches('\n')) }
    }

    /// One of many answers of a stream; JSON is one object a line.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn line(self, json: &Value, text: &str) -> Result<(), Failure> {
        if self.json { print(&json.to_string()) } else { print(text) }
    }
}

/// Prints and ends the line. A reader that has gone (`ecoctl events | head`) ends the program quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(Kind::ReaderGone, ""),
        _ => Failure::other(format!("stdout cannot be written: {cause}")),
    })
}

/// A table without lines, headings in capitals, figures to the right: easy to read and to cut.
pub struct Grid {
    table: Table,
    right: Vec<bool>,
}

impl Grid {
    /// With these headings; one that starts with `>` heads a column of figures.
    pub fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .force_no_tty();
        let right: Vec<bool> = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let mut grid = Self { table, right };
        let cells = headings.iter().map(|heading| heading.trim_start_matches('>').to_string()).collect();
        let cells = grid.cells(cells);
        grid.table.set_header(cells);
        grid
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        let cells = self.cells(cells);
        self.table.add_row(cells);
    }

    fn cells(&self, cells: Vec<String>) -> Vec<Cell> {
        let right = self.right.iter().chain(std::iter::repeat(&false));
        cells
            .into_iter()
            .zip(right)
            .map(|(text, right)| {
                let side = if *right { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(text).set_alignment(side)
            })
            .collect()
    }
}

impl std::fmt::Display for Grid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.table.lines().map(|line| tidy(&line)).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Without the table's padding at either end.
fn tidy(line: &str) -> String {
    line.strip_prefix(' ').unwrap_or(line).trim_end().to_string()
}

/// Lines of `name: value`, values below each other.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = facts.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_to_the_right_and_nothing_trails() {
        let mut grid = Grid::new(&["NAME", ">LOAD", "STATE"]);
        grid.row(vec!["web".into(), "40 W".into(), "active".into()]);
        grid.row(vec!["batch".into(), "1.25 kW".into(), String::new()]);
        assert_eq!(grid.to_string(), "NAME      LOAD  STATE\nweb       40 W  active\nbatch  1.25 kW");
    }

    #[test]
    fn facts_without_a_value_are_left_out() {
        assert_eq!(
            facts(&[("a", "1".into()), ("bcd", String::new()), ("ef", "2".into())]),
            "a    1\nef   2\n"
        );
    }
}
