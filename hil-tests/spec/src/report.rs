//! What was measured against what is promised: a table for people, JSON for programs, one verdict.

use serde_json::{Value, json};
use std::fmt;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

impl Bound {
    /// Whether a figure keeps to it; one that is no number does not.
    #[must_use]
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {}", figure(*least)),
            Self::AtMost(most) => write!(f, "<= {}", figure(*most)),
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// A short name that stays: `unary_rate`.
    pub id: &'static str,
    /// What is measured, for people.
    pub what: String,
    /// Of all figures of the row.
    pub unit: &'static str,
    /// What SPECIFICATION.md promises; `None` for a figure that is only told.
    pub promised: Option<Bound>,
    /// What a quick run must keep to: looser, since it shares a machine with others.
    pub quick: Option<Bound>,
    /// What came out.
    pub measured: f64,
    /// How it came about: `41,200 of 52,000 calls/s`.
    pub note: String,
}

/// How long and how strictly is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As SPECIFICATION.md says.
    Full,
    /// In seconds, with looser bounds.
    Quick,
}

impl Form {
    /// One of two values.
    #[must_use]
    pub fn pick<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}

impl Row {
    /// What holds in this form.
    #[must_use]
    pub fn bound(&self, form: Form) -> Option<Bound> {
        form.pick(self.promised, self.quick)
    }

    /// Whether it holds.
    #[must_use]
    pub fn ok(&self, form: Form) -> bool {
        self.bound(form).is_none_or(|bound| bound.holds(self.measured))
    }

    fn json(&self, form: Form) -> Value {
        json!({
            "id": self.id,
            "what": self.what,
            "unit": self.unit,
            "promised": self.promised.map(|bound| bound.to_string()),
            "bound": self.bound(form).map(|bound| bound.to_string()),
            "measured": self.measured,
            "ok": self.ok(form),
            "note": self.note,
        })
    }
}

/// All rows as JSON.
#[must_use]
pub fn json(rows: &[Row], form: Form) -> Value {
    let form_name = form.pick("full", "quick");
    let rows: Vec<Value> = rows.iter().map(|row| row.json(form)).collect();
    json!({ "form": form_name, "rows": rows })
}

/// All rows as a table; `bound` is what this form must keep to.
#[must_use]
pub fn table(rows: &[Row], form: Form) -> String {
    let head = ["what", "promised", "bound", "measured", "", "how"].map(str::to_owned);
    let told = |bound: Option<Bound>| bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
    let line = |row: &Row| {
        let verdict = match (row.bound(form), row.ok(form)) {
            (None, _) => "told",
            (Some(_), true) => "ok",
            (Some(_), false) => "FAILED",
        };
        [
            row.what.clone(),
            told(row.promised),
            told(row.bound(form)),
            format!("{} {}", figure(row.measured), row.unit),
            verdict.to_owned(),
            row.note.clone(),
        ]
    };
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let text = |line: &[String; 6]| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// A figure with as many digits as mean something.
fn figure(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(measured: f64) -> Row {
        Row {
            id: "x",
            what: "an x".into(),
            unit: "ms",
            promised: Some(Bound::AtMost(1.5)),
            quick: Some(Bound::AtMost(3.0)),
            measured,
            note: "tried".into(),
        }
    }

    #[test]
    fn each_form_has_its_bound_and_what_is_no_number_keeps_none() {
        assert!(row(1.5).ok(Form::Full) && !row(1.6).ok(Form::Full));
        assert!(row(3.0).ok(Form::Quick) && !row(3.1).ok(Form::Quick));
        assert!(!row(f64::NAN).ok(Form::Quick));
        assert!(Bound::AtLeast(0.7).holds(0.7) && !Bound::AtLeast(0.7).holds(0.69));
        assert!(Row { promised: None, ..row(9.0) }.ok(Form::Full), "a figure that is only told cannot fail");
    }

    #[test]
    fn a_table_names_what_failed() {
        let text = table(&[row(2.0), row(1.0)], Form::Full);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("<= 1.50") && lines[1].contains("2.00 ms") && lines[1].contains("FAILED"));
        assert!(lines[2].contains("ok") && !lines[2].contains("FAILED"));
        assert_eq!(json(&[row(2.0)], Form::Full)["rows"][0]["ok"], false);
    }
}
