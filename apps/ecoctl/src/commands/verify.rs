//! `ecoctl ledger verify`: the daemon is asked for what the rows follow from, and believed in nothing else.

use super::archive;
use super::ledger::Ticks;
use crate::books::file::{Reader, unreadable};
use crate::books::replay::{Holds, Replay, Replayed, broken};
use crate::books::rows::Row;
use crate::books::seals::{Sealed, Seals};
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use clap::Args;
use ecovisor_audit::Seal;
use ecovisor_audit::history::check_archived;
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
    /// Verify the days in this directory of `ledger archive` instead of asking the daemon.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "to", "file"])]
    archive: Option<PathBuf>,
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
        self.file.is_some() || self.archive.is_some()
    }

    /// Verifies files.
    ///
    /// # Errors
    /// Where they do not hold, or cannot be read.
    pub fn offline(&self, output: Output) -> Result<(), Failure> {
        if let Some(directory) = &self.archive {
            return self.archived(output, directory);
        }
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
        said(output, &replay.finish(self.head.as_deref())?, None)
    }

    /// Verifies an archive: each day alone, and that they follow each other.
    fn archived(&self, output: Output, directory: &Path) -> Result<(), Failure> {
        let (mut found, mut last) = (Archived::default(), None::<Seal>);
        for path in archive::days(directory)? {
            let bytes = std::fs::read(&path).map_err(|cause| unreadable(&path, &cause))?;
            let day =
                check_archived(&bytes).map_err(|cause| broken(format!("{}: {cause}", path.display())))?;
            match &last {
                Some(before) if before.number + 1 == day.seal.number => {
                    day.seal.check_after(Some(before)).map_err(broken)?;
                }
                Some(_) => found.holes += 1,
                None => found.first_day = Some(day.seal.number),
            }
            found.days += 1;
            found.ticks += day.ticks;
            last = Some(day.seal);
        }
        let Some(last) = last else {
            return Err(Failure::new(Kind::NotFound, format!("{} holds no days", directory.display())));
        };
        let head = last.link().to_string();
        if let Some(due) = self.head.as_deref().filter(|due| !due.eq_ignore_ascii_case(&head)) {
            return Err(
                broken(format!("the seals end with {head}, not with {due}")).detail("head", head.as_str())
            );
        }
        found.said(output, last.number, &head)
    }

    /// Verifies what the daemon exports.
    ///
    /// # Errors
    /// Where it does not hold, or cannot be had.
    pub async fn online(&self, context: &Context) -> Result<(), Failure> {
        let mut seals = Seals::read(context).await?;
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
                none => {
                    let begun = none.insert(Replay::new(&snapshot, true)?);
                    seals.begin(begun.start());
                    begun
                }
            };
            match piece {
                Piece::JournalEntry(entry) => {
                    let Replayed { linked, record, now } = replay.entry(&entry)?;
                    seals.entry(&linked, record.as_ref(), now)?;
                }
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
        said(context.output, &replay.finish(self.head.as_deref())?, Some(&seals.finish()))
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

fn said(output: Output, holds: &Holds, sealed: Option<&Sealed>) -> Result<(), Failure> {
    let Holds { entries, ticks, first_tick, last_tick, compared, head } = holds;
    let mut json = serde_json::json!({
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
    let mut text = format!(
        "the ledger holds: {ticks} ticks{range} replayed from {entries} journal entries, {rows}\nhead {head}"
    );
    if let Some(sealed) = sealed {
        json["sealed"] = sealed.json();
        text.push_str(&sealed.text());
    }
    output.answer(&json, &text)
}

/// What an archive came to.
#[derive(Debug, Default)]
struct Archived {
    days: u64,
    ticks: u64,
    first_day: Option<u64>,
    /// Places where days are missing between others.
    holes: u64,
}

impl Archived {
    fn said(&self, output: Output, last_day: u64, head: &str) -> Result<(), Failure> {
        let Self { days, ticks, first_day, holes } = self;
        let json = serde_json::json!({
            "holds": true, "days": days, "ticks": ticks, "first_day": first_day, "last_day": last_day,
            "holes": holes, "seals_head": head,
        });
        let missing = match holes {
            0 => "they follow each other".to_owned(),
            holes => format!("days are missing at {holes} places"),
        };
        let text = format!(
            "the archive holds: {days} days with {ticks} ticks, each replayed to its seal; {missing}\nhead {head}"
        );
        output.answer(&json, &text)
    }
}
