//! Promises that other packages' benches measure: each is run by cargo and writes one flat object of figures.

use crate::report::{Bound, Form, Row};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A figure that a bench writes.
struct Figure {
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    promised: Bound,
    quick: Bound,
}

/// Nanoseconds of a settlement, for one app and tick.
const fn settled(key: &'static str, what: &'static str) -> Figure {
    Figure { key, what, unit: "ns", promised: Bound::AtMost(100.0), quick: Bound::AtMost(200.0) }
}

/// The same, of a plain loop's in the same run.
const fn beside_plain(key: &'static str, what: &'static str) -> Figure {
    Figure { key, what, unit: "x", promised: Bound::AtMost(3.0), quick: Bound::AtMost(5.0) }
}

const SETTLE: [Figure; 6] = [
    settled("settle_ns_per_app_1k", "settlement of 1,000 apps, each app and tick"),
    settled("settle_ns_per_app_100k", "settlement of 100,000 apps, each app and tick"),
    settled("settle_ns_per_app_1m", "settlement of 1,000,000 apps, each app and tick"),
    beside_plain("settle_to_plain_1k", "settlement of 1,000 apps, of a plain loop's time"),
    beside_plain("settle_to_plain_100k", "settlement of 100,000 apps, of a plain loop's time"),
    beside_plain("settle_to_plain_1m", "settlement of 1,000,000 apps, of a plain loop's time"),
];

/// The core's settlement.
///
/// # Errors
/// Where the bench cannot be run or does not write a figure.
pub fn settle(form: Form) -> Result<Vec<Row>> {
    let figures = run("ecovisor-core", "settle", form)?;
    SETTLE.iter().map(|figure| figure.row(&figures)).collect()
}

impl Figure {
    fn row(&self, figures: &Value) -> Result<Row> {
        let Self { key, what, unit, promised, quick } = *self;
        let measured =
            figures.get(key).and_then(Value::as_f64).with_context(|| format!("no figure {key}"))?;
        Ok(Row {
            id: key,
            what: what.to_owned(),
            unit,
            promised: Some(promised),
            quick: Some(quick),
            measured,
            note: "median over ticks, one thread".to_owned(),
        })
    }
}

/// Runs a bench as its package does, optimised over all crates: loops of some nanoseconds need that, and it is few crates.
/// What it wrote.
fn run(package: &str, bench: &str, form: Form) -> Result<Value> {
    let directory = crate::site::directory()?;
    let json = directory.path().join("figures.json");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new("cargo");
    command.current_dir(repository).args(["bench", "--quiet", "-p", package, "--bench", bench]);
    command.arg("--").args(form.pick(None, Some("--quick"))).arg("--json").arg(&json);
    // Its own table would stand in the way of ours.
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "{bench}: {}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&json).with_context(|| format!("{bench} wrote no figures"))?;
    serde_json::from_str(&text).with_context(|| format!("{bench} wrote {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_a_bench_does_not_write_is_named() {
        let figures = serde_json::json!({ "settle_ns_per_app_1k": 9.5 });
        assert_eq!(SETTLE[0].row(&figures).unwrap().measured, 9.5);
        assert_eq!(SETTLE[1].row(&figures).unwrap_err().to_string(), "no figure settle_ns_per_app_100k");
    }
}
