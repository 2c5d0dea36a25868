//! Whether a store is what was written: every checksum, every link, every number, every snapshot and record against a replay of
//! the journal, and its end against the witness. It looks at everything and names all that it finds, not the first.

use super::super::key::{FIRST, LAST, Room};
use super::super::shelf::{Shelf, find_head};
use super::super::witness::{self, Said, Witness};
use super::super::{PAST, StoreError, layout};
use super::engine_of;
use super::losses::Losses;
use super::reading::{Replayed, Seen, Walk, bounds, chain, linked_record, record, snapshots};
use super::salvage::{Saved, plan};
use ecovisor_audit::history::{History, HistoryError};
use ecovisor_audit::{Entry, Link, TickRows, compare, digest};
use ecovisor_core::Tick;
use serde::Serialize;
use std::path::Path;

/// Faults that are named one by one; of more only the number is told.
const FAULTS_MAX: usize = 100;

/// What a verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Which engine's files these are.
    pub engine: String,
    /// The layout of the keys; 0 where there is nothing at all.
    pub layout: u8,
    /// Keys with their values.
    pub pairs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// A hash over all of them, in order: two stores with the same one hold the same, whatever their engines.
    pub digest: String,
    /// Journal entries that are whole and follow from one another.
    pub entries: u64,
    /// Commands among them.
    pub commands: u64,
    /// Snapshots that are what the journal leads to.
    pub snapshots: u64,
    /// Ticks that were replayed from the oldest snapshot on.
    pub ticks_replayed: u64,
    /// Records that are whole.
    pub records: u64,
    /// Records that are what the replay makes.
    pub records_replayed: u64,
    /// Ticks of the past beside the store that were replayed and lead to what was kept of them.
    pub past_ticks: u64,
    /// Commands in the past that the store has let go of.
    pub past_commands: u64,
    /// Seals of the past that follow each other.
    pub past_seals: u64,
    /// The tick that the site goes on with.
    pub next_tick: u64,
    /// How many entries there ever were.
    pub head_seq: u64,
    /// The chain's link after the last of them: who noted it once can compare.
    pub head: String,
    /// What a salvage lost earlier; it is no fault of now.
    pub known_losses: Losses,
    /// How many things are wrong.
    pub fault_count: u64,
    /// What is wrong, and where.
    pub faults: Vec<String>,
    /// What could be saved where something is wrong; absent where nothing is, or nothing can.
    pub savable: Option<Saved>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.fault_count == 0
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what.into());
        }
    }
}

/// Verifies the store in a directory; it must not be in use.
///
/// # Errors
/// Where there is none, it is in use, of a newer layout, or the engine cannot open it. What is wrong inside is in the
/// report.
pub fn verify(directory: &Path) -> Result<Report, StoreError> {
    let engine = engine_of(directory)?;
    let shelf = engine.shelf(directory)?;
    let mut report = Report { engine: engine.to_string(), ..Report::default() };
    match layout::of(&*shelf) {
        // Made, and nothing more: a start that was cut short leaves that.
        Ok(None) => {}
        Ok(Some(layout)) => {
            layout::known(layout)?;
            report.layout = layout;
        }
        Err(newer @ StoreError::Newer { .. }) => return Err(newer),
        Err(error) => report.fault(chain(&error)),
    }
    match Losses::of(&*shelf) {
        Ok(losses) => report.known_losses = losses,
        Err(error) => report.fault(chain(&error)),
    }
    read_all(&*shelf, &mut report);
    if let Err(error) = replay(&*shelf, &mut report) {
        report.fault(chain(&error));
    }
    if let Err(error) = records(&*shelf, &mut report) {
        report.fault(chain(&error));
    }
    if let Err(error) = head(&*shelf, directory, &mut report) {
        report.fault(chain(&error));
    }
    if let Err(fault) = past(&*shelf, directory, &mut report) {
        report.fault(fault);
    }
    if !report.holds() {
        report.savable = plan(&*shelf).ok();
    }
    Ok(report)
}

/// Every pair once, for the engine's own checks and the hash.
fn read_all(shelf: &dyn Shelf, report: &mut Report) {
    let mut digest = Link::ORIGIN;
    for pair in shelf.range(FIRST, LAST) {
        match pair {
            Ok((key, value)) => {
                report.pairs += 1;
                report.bytes += u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
                digest = digest.after(&[key, value].concat());
            }
            Err(error) => return report.fault(chain(&error)),
        }
    }
    report.digest = digest.to_string();
}

fn replay(shelf: &dyn Shelf, report: &mut Report) -> Result<(), StoreError> {
    let (places, refused) = snapshots(shelf);
    if let Some(error) = refused {
        report.fault(chain(&error));
    }
    let mut missing = Vec::new();
    Walk::new(shelf, places).along(&mut |seen| {
        match seen {
            Seen::Entry { linked, replayed, .. } => {
                report.entries += 1;
                report.commands += u64::from(matches!(linked.entry, Entry::Command(_)));
                match replayed {
                    Replayed::Not => {}
                    Replayed::Moved(next) => report.next_tick = next.0,
                    Replayed::Settled(due) => {
                        report.ticks_replayed += 1;
                        report.next_tick = due.outcome.tick.0 + 1;
                        match record(shelf, due.outcome.tick.0) {
                            Ok(Some(given)) => match compare(&given, &due) {
                                Ok(()) => report.records_replayed += 1,
                                Err(difference) => report.fault(difference.to_string()),
                            },
                            Ok(None) => missing.push(due.outcome.tick.0),
                            // The records are read on their own too.
                            Err(_) => {}
                        }
                    }
                }
            }
            Seen::LostEntry { seq, why } if !report.known_losses.has_entry(seq) => report.fault(why),
            Seen::LostEntry { .. } => {}
            Seen::Snapshot(checkpoint) => {
                report.snapshots += 1;
                report.next_tick = report.next_tick.max(checkpoint.snapshot.site.tick().0);
            }
            Seen::LostSnapshot(why) => report.fault(why),
        }
        Ok(())
    })?;
    let is_empty = bounds(shelf, Room::Journal)?.is_none() && bounds(shelf, Room::Records)?.is_none();
    if report.snapshots == 0 && !is_empty {
        report.fault(StoreError::NothingToGoOnFrom.to_string());
    }
    // The last tick's record is committed with the next one. Holes before the last record are found on their own.
    let last = bounds(shelf, Room::Records)?.map_or(0, |(_, last)| last);
    missing.retain(|tick| *tick > last && tick + 1 != report.next_tick);
    for tick in missing {
        report.fault(StoreError::NoRecord(Tick(tick)).to_string());
    }
    Ok(())
}

/// Every record by itself, those of ticks that are not replayed too, and the chain over them.
fn records(shelf: &dyn Shelf, report: &mut Report) -> Result<(), StoreError> {
    let Some((first, last)) = bounds(shelf, Room::Records)? else { return Ok(()) };
    let mut before = None;
    for tick in first..=last {
        let found = linked_record(shelf, tick);
        before = match found {
            Ok(Some(linked)) => {
                report.records += 1;
                let rows = TickRows::from(&linked.record);
                if let Err(difference) = rows.check() {
                    report.fault(difference.to_string());
                }
                let due = before.map(|before| digest::after(before, &rows));
                if due.zip(linked.link).is_some_and(|(due, link)| due != link) {
                    report.fault(format!("the record of tick {tick} does not follow from its predecessor"));
                }
                linked.link.or(due)
            }
            Ok(None) if report.known_losses.has_record(tick) => None,
            Ok(None) => {
                report.fault(StoreError::NoRecord(Tick(tick)).to_string());
                None
            }
            Err(error) => {
                report.fault(chain(&error));
                None
            }
        };
    }
    Ok(())
}

/// What the store has let go of, where it lies beside it: each seal and block, and whether the journal goes on from there.
fn past(shelf: &dyn Shelf, directory: &Path, report: &mut Report) -> Result<(), String> {
    let Some(past) = directory.parent().map(|state| state.join(PAST)).filter(|past| past.is_dir()) else {
        return Ok(());
    };
    let told = |error: HistoryError| chain(&error);
    let history = History::open(&past).map_err(told)?;
    let verified = history.verify().map_err(told)?;
    (report.past_ticks, report.past_seals) = (verified.ticks, verified.seals);
    let kept =
        bounds(shelf, Room::Journal).map_err(|error| chain(&error))?.map_or(u64::MAX, |(first, _)| first);
    for block in history.blocks(Tick(0), Tick(u64::MAX)) {
        let entries = history.entries(&block).map_err(told)?;
        let gone = (block.head().seq..kept).zip(&entries);
        let commands = gone.filter(|(_, linked)| matches!(linked.entry, Entry::Command(_))).count();
        report.past_commands += u64::try_from(commands).unwrap_or(u64::MAX);
    }
    let Some(end) = history.end() else { return Ok(()) };
    let said = Said { seq: end.end_seq(), link: end.journal_after };
    let head = find_head(&shelf).map_err(|error| chain(&error))?;
    witness::check(&shelf, head, said)
        .map_err(|error| format!("the past beside it goes on otherwise: {}", chain(&error)))
}

/// The journal's end, and whether it is all that the witness knows of.
fn head(shelf: &dyn Shelf, directory: &Path, report: &mut Report) -> Result<(), StoreError> {
    let found = find_head(&shelf)?;
    (report.head_seq, report.head) = (found.seq, found.link.to_string());
    let witness = Witness::open(directory).map_err(|source| StoreError::Disk { doing: "open", source })?;
    match witness.said()? {
        Some(said) => witness::check(&shelf, found, said),
        None => Ok(()),
    }
}
