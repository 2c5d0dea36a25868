//! The replay: snapshot and journal give every figure again, without a daemon; what the daemon showed is compared with
//! it. Everything that moves a balance goes through the audit crate.

use super::rows::{Row, SITE};
use crate::failure::{Failure, Kind};
use ecovisor_audit::{Checkpoint, Difference, Fault, Linked, Record, Verifier};
use ecovisor_units::Millis;
use std::collections::BTreeMap;

/// Who a row is about: its tick and account.
type Key = (u64, String);

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    verifier: Verifier,
    start: Checkpoint,
    compared: u64,
    /// First and last tick of which a row was shown.
    shown_ticks: Option<(u64, u64)>,
    /// Rows that were shown and not yet recomputed, and the reverse; `None` where no rows are shown.
    waiting: Option<Waiting>,
}

/// Rows whose counterpart has not come yet.
#[derive(Debug, Default)]
struct Waiting {
    shown: BTreeMap<Key, Row>,
    recomputed: BTreeMap<Key, Row>,
}

/// What a replay found: everything holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holds {
    /// Journal entries.
    pub entries: u64,
    /// Ticks among them.
    pub ticks: u64,
    /// The first tick. Absent: there is none.
    pub first_tick: Option<u64>,
    /// The last tick. Absent: there is none.
    pub last_tick: Option<u64>,
    /// Rows that were compared, figure by figure.
    pub compared: u64,
    /// The chain's head, in hex.
    pub head: String,
}

/// An entry that was replayed.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The entry with its link.
    pub linked: Linked,
    /// What it led to where it is a tick.
    pub record: Option<Record>,
    /// The site's own time after it, in ms since it began.
    pub now: Millis,
}

/// The ledger does not hold.
pub fn broken(what: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Unverified, format!("the ledger does not hold: {what}"))
}

/// A fault with its tick, app and field, where it has them.
fn faulty(fault: &Fault) -> Failure {
    let failure = broken(fault);
    match fault {
        Fault::Unlinked { seq } => failure.detail("entry", *seq),
        Fault::Refused { seq, tick, refusal: _ } => failure.detail("entry", *seq).detail("tick", tick.0),
        Fault::Broken { tick, broken: _ } | Fault::NoRecord(tick) => failure.detail("tick", tick.0),
        Fault::Differs(Difference { tick, app, field, left, right }) => failure
            .detail("tick", *tick)
            .detail("app", app.as_deref().unwrap_or(SITE))
            .detail("field", field.as_str())
            .detail("shown", left.as_str())
            .detail("recomputed", right.as_str()),
    }
}

impl Replay {
    /// From a snapshot; `with_rows` where rows will be shown, and must then be complete.
    ///
    /// # Errors
    /// Where the snapshot is damaged.
    pub fn new(snapshot: &[u8], with_rows: bool) -> Result<Self, Failure> {
        let checkpoint =
            Checkpoint::decode(snapshot).map_err(|cause| broken(format!("the snapshot is {cause}")))?;
        Ok(Self {
            verifier: Verifier::new(checkpoint.clone()),
            start: checkpoint,
            compared: 0,
            shown_ticks: None,
            waiting: with_rows.then(Waiting::default),
        })
    }

    /// Where it began.
    pub const fn start(&self) -> &Checkpoint {
        &self.start
    }

    /// One journal entry.
    ///
    /// # Errors
    /// Where it is damaged, does not follow its predecessor, could not have happened, or its books do not add up.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<Replayed, Failure> {
        let number = self.verifier.report().entries + 1;
        let linked = Linked::decode(bytes)
            .map_err(|cause| broken(format!("journal entry {number} of this export is {cause}")))?;
        let record = self.verifier.entry(&linked).map_err(|fault| faulty(&fault))?;
        let now = self.verifier.state().site.now();
        let Some(settled) = record.as_ref().filter(|_| self.waiting.is_some()) else {
            return Ok(Replayed { linked, record, now });
        };
        let tick = settled.outcome.tick.0;
        let mut rows = recomputed(settled).into_iter();
        rows.try_for_each(|(account, row)| self.meet((tick, account), row, Side::Recomputed))?;
        Ok(Replayed { linked, record, now })
    }

    /// Where the chain ends with the last entry, in hex.
    pub fn head(&self) -> String {
        self.verifier.report().head.to_string()
    }

    /// One row as it was shown.
    ///
    /// # Errors
    /// The first figure that is not what the journal gives.
    pub fn row(&mut self, row: Row) -> Result<(), Failure> {
        let text = |column: &str| row.get(column).cloned().unwrap_or_default();
        let tick =
            text("tick").parse().map_err(|_| broken(format!("a row has the tick `{}`", text("tick"))))?;
        let (first, last) = self.shown_ticks.unwrap_or((tick, tick));
        self.shown_ticks = Some((first.min(tick), last.max(tick)));
        self.meet((tick, text("account")), row, Side::Shown)
    }

    /// Compares a row with its counterpart, or lets it wait for it.
    fn meet(&mut self, key: Key, row: Row, side: Side) -> Result<(), Failure> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        let (mine, other) = match side {
            Side::Shown => (&mut waiting.shown, &mut waiting.recomputed),
            Side::Recomputed => (&mut waiting.recomputed, &mut waiting.shown),
        };
        let Some(counterpart) = other.remove(&key) else {
            mine.insert(key, row);
            return Ok(());
        };
        self.compared += 1;
        match side {
            Side::Shown => compare(&key, &row, &counterpart),
            Side::Recomputed => compare(&key, &counterpart, &row),
        }
    }

    /// The end of the export; `head` is a hash that somebody wrote down, in hex.
    ///
    /// # Errors
    /// Where rows are left that no entry accounts for, or the head is another one.
    pub fn finish(self, head: Option<&str>) -> Result<Holds, Failure> {
        let report = self.verifier.report();
        let found = report.head.to_string();
        self.nothing_waits()?;
        if let Some(head) = head.filter(|head| !head.eq_ignore_ascii_case(&found)) {
            return Err(broken(format!("the chain ends with {found}, not with {head}"))
                .detail("head", found.as_str()));
        }
        Ok(Holds {
            entries: report.entries,
            ticks: report.ticks,
            first_tick: report.range.map(|(first, _)| first.0),
            last_tick: report.range.map(|(_, last)| last.0),
            compared: self.compared,
            head: found,
        })
    }

    /// Entries before the first row lead up to it, and the last ones may not have rows yet; between them every row must
    /// have its counterpart.
    fn nothing_waits(&self) -> Result<(), Failure> {
        let (Some(waiting), Some((first, last))) = (&self.waiting, self.shown_ticks) else { return Ok(()) };
        let at = |failure: Failure, (tick, account): &Key| {
            failure.detail("tick", *tick).detail("app", account.as_str())
        };
        if let Some(key) = waiting.shown.keys().next() {
            let (tick, account) = key;
            return Err(at(
                broken(format!("tick {tick}, {account}: the row follows from no journal entry")),
                key,
            ));
        }
        match waiting.recomputed.keys().find(|(tick, _)| (first..=last).contains(tick)) {
            Some(key @ (tick, account)) => Err(at(
                broken(format!("tick {tick}, {account}: the journal gives a row that is not shown")),
                key,
            )),
            None => Ok(()),
        }
    }
}

/// Which side a row comes from.
#[derive(Clone, Copy)]
enum Side {
    Shown,
    Recomputed,
}

/// The rows that a settled tick gives, with the columns' names.
fn recomputed(record: &Record) -> Vec<(String, Row)> {
    let outcome = &record.outcome;
    let apps = outcome.apps.iter().map(|app| {
        let name = record.app_name(app.app).map_or_else(String::new, ToString::to_string);
        let mut row: Row = app
            .flows
            .figures()
            .filter_map(|(field, figure)| Some((flow_column(field)?, figure.to_string())))
            .collect();
        row.insert("charge_level_uj".into(), app.account.stored.get().to_string());
        row.insert("debt_uj".into(), app.account.debt.get().to_string());
        row.insert("loans_uj".into(), app.account.loan.get().to_string());
        row.insert("estimated".into(), app.estimated.to_string());
        (name, row)
    });
    let mut site: Row = outcome
        .site
        .figures()
        .filter_map(|(field, figure)| Some((site_column(field)?, figure.to_string())))
        .collect();
    site.insert("site_grid_carbon_mg_per_kwh".into(), outcome.intensity.get().to_string());
    let mut rows: Vec<_> = apps.chain(std::iter::once((SITE.to_string(), site))).collect();
    for (_, row) in &mut rows {
        row.insert("wall_start_ms".into(), outcome.wall.get().to_string());
        row.insert("span_ms".into(), outcome.span.get().to_string());
        row.insert("gap".into(), outcome.gap.to_string());
        row.insert("grid_carbon_mg_per_kwh".into(), outcome.intensity.get().to_string());
    }
    rows
}

/// The column of an app's flow; none for what the wire does not carry.
fn flow_column(field: &str) -> Option<String> {
    match field {
        "carbon" => Some("carbon_product".into()),
        "loan_granted" | "loan_repaid" | "carbon_credit" => None,
        _ => Some(format!("{field}_uj")),
    }
}

/// The column of a figure of the site; none for what the wire does not carry.
fn site_column(field: &str) -> Option<String> {
    match field {
        "level_booked" => Some("site_battery_level_booked_uj".into()),
        "buffer_adjusted" => None,
        _ => Some(format!("site_{field}_uj")),
    }
}

/// Every recomputed figure must be the one shown; what the site does not have is not shown and must be nothing.
fn compare((tick, account): &Key, shown: &Row, recomputed: &Row) -> Result<(), Failure> {
    let differs = recomputed.iter().find(|(column, due)| match shown.get(*column).map(String::as_str) {
        None | Some("") => due.as_str() != "0",
        Some(said) => said != due.as_str(),
    });
    let Some((column, due)) = differs else { return Ok(()) };
    let said = shown.get(column).map_or("nothing", String::as_str);
    let failure = broken(format!("tick {tick}, {account}, {column}: shown {said}, recomputed {due}"));
    Err(failure
        .detail("tick", *tick)
        .detail("app", account.as_str())
        .detail("field", column.as_str())
        .detail("shown", said)
        .detail("recomputed", due.as_str()))
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
