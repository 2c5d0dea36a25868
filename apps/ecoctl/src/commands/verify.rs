//! `ecoctl ledger verify`: the daemon is asked for what the rows follow from, and believed in nothing else.

use super::ledger::Ticks;
use crate::books::file::{Reader, unreadable};
use crate::books::replay::{Holds, Replay};
use crate::books::rows::Row;
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use clap::Args;
use ecovisor_sdk::operator::wire;
use std::path::{Path, PathBuf};
use wire::export_ledger_reply::Piece;

/// Replays the ledger here and compares every figure.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    ticks: Ticks,
    /// Verify this file of `ledger export --journal` instead of asking the daemon.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    file: Option<PathBuf>,
    /// Compare it with the rows in this file of `ledger export --out`.
    #[arg(long, value_name = "FILE.csv", requires = "file")]
    rows: Option<PathBuf>,
    /// The hash with which the chain must end, as somebody wrote it down.
    #[arg(long, value_name = "SHA-256")]
    head: Option<String>,
}

impl Verify {
    /// Whether no daemon is needed.
    pub const fn is_offline(&self) -> bool {
        self.file.is_some()
    }

    /// Verifies files.
    ///
    /// # Errors
    /// Where they do not hold, or cannot be read.
    pub fn offline(&self, output: Output) -> Result<(), Failure> {
        let Some(path) = &self.file else { return Err(Failure::usage("--file is missing")) };
        let mut file = Reader::open(path)?;
        let snapshot = file.piece()?.unwrap_or_default();
        let mut replay = Replay::new(&snapshot, self.rows.is_some())?;
        if let Some(rows) = &self.rows {
            shown(rows, &mut replay)?;
        }
        while let Some(entry) = file.piece()? {
            replay.entry(&entry)?;
        }
        said(output, &replay.finish(self.head.as_deref())?)
    }

    /// Verifies what the daemon exports.
    ///
    /// # Errors
    /// Where it does not hold, or cannot be had.
    pub async fn online(&self, context: &Context) -> Result<(), Failure> {
        let request = self.ticks.request(true, true);
        let mut pieces = context.ask(context.operator.export_ledger(request)).await?;
        let mut snapshot = Vec::new();
        let mut replay: Option<Replay> = None;
        while let Some(reply) = context.next(&mut pieces).await? {
            let Some(piece) = reply.piece else { continue };
            if let Piece::Snapshot(part) = piece {
                snapshot.extend_from_slice(&part);
                continue;
            }
            let replay = match &mut replay {
                Some(replay) => replay,
                // The snapshot is whole when something else comes.
                none => none.insert(Replay::new(&snapshot, true)?),
            };
            match piece {
                Piece::JournalEntry(entry) => replay.entry(&entry)?,
                Piece::Row(row) => replay.row(crate::books::rows::flat(&row))?,
                Piece::Snapshot(_) => {}
            }
        }
        let Some(replay) = replay else {
            return Err(Failure::new(
                Kind::NotFound,
                "no tick is settled in that range: there is nothing to verify",
            ));
        };
        said(context.output, &replay.finish(self.head.as_deref())?)
    }
}

/// The rows of a CSV file.
fn shown(path: &Path, replay: &mut Replay) -> Result<(), Failure> {
    let malformed = |cause: csv::Error| match cause.into_kind() {
        csv::ErrorKind::Io(cause) => unreadable(path, &cause),
        other => Failure::new(Kind::Unverified, format!("{} is no table of rows: {other:?}", path.display())),
    };
    let mut reader = csv::Reader::from_path(path).map_err(malformed)?;
    for row in reader.deserialize::<Row>() {
        replay.row(row.map_err(malformed)?)?;
    }
    Ok(())
}

fn said(output: Output, holds: &Holds) -> Result<(), Failure> {
    let Holds { entries, ticks, first_tick, last_tick, compared, head } = holds;
    let json = serde_json::json!({
        "holds": true, "entries": entries, "ticks": ticks, "first_tick": first_tick, "last_tick": last_tick,
        "rows_compared": compared, "head": head,
    });
    let range = match (first_tick, last_tick) {
        (Some(first), Some(last)) => format!(" ({first} to {last})"),
        _ => String::new(),
    };
    let rows = match compared {
        0 => "no rows to compare".to_string(),
        rows => format!("{rows} rows compared figure by figure"),
    };
    let text = format!(
        "the ledger holds: {ticks} ticks{range} replayed from {entries} journal entries, {rows}\nhead {head}"
    );
    output.answer(&json, &text)
}
