//! Verification: from a snapshot, replay the journal, recheck every tick's books, and compare with what was recorded.
//!
//! Four questions, each answered without the daemon: does the journal hang together (the chain), does it lead to these
//! books (the replay, through [`Snapshot::apply`]), do these books rest on what was read (the [readings](crate::raw)),
//! and do they add up (the [tables](crate::books)); the last two by code that had no part in settling them.

use crate::books::{Difference, TickRows};
use crate::chain::Link;
use crate::journal::{Entry, Linked};
use crate::raw::{self, Rest};
use crate::record::Record;
use crate::snapshot::{Applied, Checkpoint, Snapshot};
use crate::table::{app_header, app_texts, site_header, site_texts};
use ecovisor_core::{AppId, Broken, Inputs, Refusal, Rules, Tick};
use std::fmt;
use thiserror::Error;

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Journal entries that were replayed.
    pub entries: u64,
    /// Ticks that were replayed and found in order.
    pub ticks: u64,
    /// Records that were compared and found equal.
    pub records: u64,
    /// The first and the last tick that was found in order.
    pub range: Option<(Tick, Tick)>,
    /// The chain's link after the last entry: who noted it once can compare.
    pub head: Link,
    /// What is wrong; nothing after it was looked at.
    pub fault: Option<Fault>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The journal was changed: an entry, or the order.
    #[error("journal entry {seq} does not follow from its predecessor")]
    Unlinked {
        /// Which.
        seq: u64,
    },
    /// The journal holds a command that was never accepted.
    #[error("journal entry {seq}, before tick {}: a command that is refused: {refusal}", .tick.0)]
    Refused {
        /// Which.
        seq: u64,
        /// The tick that comes next.
        tick: Tick,
        /// Why.
        refusal: Refusal,
    },
    /// The rules themselves do not hold.
    #[error("tick {}: {broken}", .tick.0)]
    Broken {
        /// In which.
        tick: Tick,
        /// Which invariant.
        broken: Broken,
    },
    /// The books do not add up, or the record is not what the journal leads to.
    #[error(transparent)]
    Differs(#[from] Difference),
    /// There is no record of a tick that was settled.
    #[error("the record of tick {} is missing", .0.0)]
    NoRecord(Tick),
}

/// A verification under way, entry by entry.
#[derive(Clone, Debug)]
pub struct Verifier {
    state: Snapshot,
    seq: u64,
    before: TickRows,
    report: Report,
}

impl Verifier {
    /// Begins at a snapshot, whose balances are taken as given.
    #[must_use]
    pub fn new(from: Checkpoint) -> Self {
        let Checkpoint { seq, link, snapshot: state } = from;
        let report = Report { entries: 0, ticks: 0, records: 0, range: None, head: link, fault: None };
        Self { before: standing(&state), state, seq, report }
    }

    /// Replays an entry; returns the recomputed record where it is a tick.
    ///
    /// # Errors
    /// What is wrong with it; the verifier is of no use then.
    pub fn entry(&mut self, linked: &Linked) -> Result<Option<Record>, Fault> {
        let (seq, tick) = (self.seq, self.state.site.tick());
        if !linked.follows(self.report.head) {
            return Err(Fault::Unlinked { seq });
        }
        let rules = self.state.site.rules().clone();
        let applied = self.state.apply(&linked.entry).map_err(|broken| Fault::Broken { tick, broken })?;
        let record = match applied {
            Applied::Accepted(_) | Applied::Noted => None,
            Applied::Refused(refusal) => return Err(Fault::Refused { seq, tick, refusal }),
            Applied::Settled(record) => {
                if let Entry::Tick(inputs) = &linked.entry {
                    self.check_raw(inputs, &record, &rules)?;
                }
                self.check(&record)?;
                Some(*record)
            }
        };
        self.seq += 1;
        self.report.entries += 1;
        self.report.head = linked.link;
        Ok(record)
    }

    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The state after the entries so far.
    #[must_use]
    pub fn state(&self) -> &Snapshot {
        &self.state
    }

    /// Whether the books rest on what was read. The intensity before the first tick is not known here: what is held of
    /// it then is left to the replay.
    fn check_raw(&self, inputs: &Inputs, record: &Record, rules: &Rules) -> Result<(), Difference> {
        let first = self.report.ticks == 0;
        let intensity_before = if first { record.outcome.intensity } else { self.before.site.intensity };
        raw::check(&Rest { inputs, record, intensity_before, rules })
    }

    fn check(&mut self, record: &Record) -> Result<(), Fault> {
        let rows = TickRows::from(record);
        rows.check()?;
        // Nothing stands before the first tick of a site.
        if rows.tick > 0 {
            rows.check_after(&self.before)?;
        }
        let tick = record.outcome.tick;
        self.report.ticks += 1;
        self.report.range = Some((self.report.range.map_or(tick, |(first, _)| first), tick));
        self.before = rows;
        Ok(())
    }
}

/// The balances of a state, as if a tick had just ended in them.
fn standing(state: &Snapshot) -> TickRows {
    use crate::books::{AppRow, Passed, SiteRow};
    let row = |app: &ecovisor_core::App| AppRow {
        id: app.id,
        app: app.name.as_str().to_owned(),
        estimated: false,
        flows: ecovisor_core::Flows::default(),
        account: state.site.account(app.id).copied().unwrap_or_default(),
        passed: Passed::default(),
        came: Passed::default(),
    };
    let mut site = SiteRow::default();
    site.flows.deficit = state.site.deficit();
    let tick = state.site.tick().0.saturating_sub(1);
    TickRows { tick, apps: state.site.apps(false).iter().map(row).collect(), site, ..TickRows::default() }
}

/// Verifies a journal from a snapshot, and the records of its ticks where there are any. Records of earlier ticks are
/// passed over.
///
/// # Errors
/// Where an entry or a record cannot be had; what is wrong with them is in the report.
pub fn verify<E>(
    from: Checkpoint,
    journal: impl IntoIterator<Item = Result<Linked, E>>,
    records: Option<impl IntoIterator<Item = Result<Record, E>>>,
) -> Result<Report, E> {
    let mut verifier = Verifier::new(from);
    let mut records = records.map(IntoIterator::into_iter);
    for linked in journal {
        let found = match verifier.entry(&linked?) {
            Ok(None) => Ok(()),
            Ok(Some(due)) => match &mut records {
                None => Ok(()),
                Some(records) => compare_next(records, &due)?,
            },
            Err(fault) => Err(fault),
        };
        match found {
            Ok(()) => {}
            Err(fault) => {
                verifier.report.fault = Some(fault);
                break;
            }
        }
        verifier.report.records = if records.is_some() { verifier.report.ticks } else { 0 };
    }
    Ok(verifier.report)
}

/// Compares with the record of the same tick.
fn compare_next<E>(
    records: &mut impl Iterator<Item = Result<Record, E>>,
    due: &Record,
) -> Result<Result<(), Fault>, E> {
    for given in records {
        let given = given?;
        if given.outcome.tick < due.outcome.tick {
            continue;
        }
        if given.outcome.tick == due.outcome.tick {
            return Ok(compare(&given, due).map_err(Fault::from));
        }
        break;
    }
    Ok(Err(Fault::NoRecord(due.outcome.tick)))
}

/// Compares a record with what is due, figure by figure and then bit for bit.
///
/// # Errors
/// The first difference.
pub fn compare(given: &Record, due: &Record) -> Result<(), Difference> {
    compare_rows(&given.into(), &due.into())?;
    let (g, d) = (&given.outcome, &due.outcome);
    let rest: [(&str, &dyn fmt::Debug, &dyn fmt::Debug, bool); 5] = [
        ("containers", &g.containers, &d.containers, g.containers == d.containers),
        (
            "container names",
            &given.container_names,
            &due.container_names,
            given.container_names == due.container_names,
        ),
        ("orders", &g.orders, &d.orders, g.orders == d.orders),
        ("events", &g.events, &d.events, g.events == d.events),
        ("record", given, due, given == due),
    ];
    match rest.into_iter().find(|(_, _, _, same)| !same) {
        None => Ok(()),
        Some((field, left, right, _)) => Err(Difference {
            tick: d.tick.0,
            app: None,
            field: field.to_owned(),
            left: format!("{left:?}"),
            right: format!("{right:?}"),
        }),
    }
}

/// Compares rows with what is due, figure by figure.
///
/// # Errors
/// The first difference.
pub fn compare_rows(given: &TickRows, due: &TickRows) -> Result<(), Difference> {
    let apps = |rows: &TickRows| rows.apps.iter().map(|row| row.id).collect::<Vec<AppId>>();
    let differs = |app: Option<&str>, field: &str, left: String, right: String| Difference {
        tick: due.tick,
        app: app.map(str::to_owned),
        field: field.to_owned(),
        left,
        right,
    };
    if apps(given) != apps(due) {
        let text = |rows| format!("{:?}", apps(rows).into_iter().map(AppId::get).collect::<Vec<_>>());
        return Err(differs(None, "apps", text(given), text(due)));
    }
    let unequal = |header: Vec<String>, left: Vec<String>, right: Vec<String>| {
        header.into_iter().zip(left.into_iter().zip(right)).find(|(_, (left, right))| left != right)
    };
    for (is, should) in given.apps.iter().zip(&due.apps) {
        let found = unequal(app_header(), app_texts(given, is), app_texts(due, should));
        if let Some((field, (left, right))) = found {
            return Err(differs(Some(&should.app), &field, left, right));
        }
    }
    match unequal(site_header(), site_texts(given), site_texts(due)) {
        Some((field, (left, right))) => Err(differs(None, &field, left, right)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;
    use crate::life::{Life, life, nested_life};
    use ecovisor_units::Energy;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn verified(life: &Life, journal: &[Linked], records: &[Record]) -> Report {
        let journal = journal.iter().cloned().map(Ok::<_, Infallible>);
        let Ok(report) = verify(life.start.clone(), journal, Some(records.iter().cloned().map(Ok)));
        report
    }

    /// The journal with other entries, linked anew: what a forger who knows the chain would make.
    fn forged(life: &Life, change: impl Fn(usize, &mut Entry)) -> Vec<Linked> {
        let mut link = life.start.link;
        let entries = life.journal.iter().map(|linked| linked.entry.clone()).enumerate();
        entries
            .map(|(i, mut entry)| {
                change(i, &mut entry);
                let linked = Linked::new(link, entry);
                link = linked.link;
                linked
            })
            .collect()
    }

    #[test]
    fn a_life_is_found_in_order() {
        let life = life(1, 40);
        let report = verified(&life, &life.journal, &life.records);
        assert_eq!(report.fault, None);
        assert_eq!((report.ticks, report.records, report.range), (40, 40, Some((Tick(0), Tick(39)))));
        assert_eq!(report.entries, u64::try_from(life.journal.len()).unwrap());
        assert_eq!(Some(report.head), life.journal.last().map(|linked| linked.link));
    }

    #[test]
    fn it_begins_at_any_snapshot_and_needs_no_records() {
        let life = life(2, 40);
        let mut verifier = Verifier::new(life.start.clone());
        let half = life.journal.len() / 2;
        life.journal[..half].iter().for_each(|linked| drop(verifier.entry(linked).unwrap()));
        let seq = u64::try_from(half).unwrap();
        let snapshot = verifier.state().clone();
        let from = Checkpoint { seq, link: verifier.report().head, snapshot };
        let journal = life.journal[half..].iter().cloned().map(Ok::<_, Infallible>);
        let Ok(report) = verify(from.clone(), journal.clone(), None::<Vec<Result<Record, Infallible>>>);
        assert_eq!((report.fault, report.records), (None, 0));
        // Records from before the snapshot are passed over.
        let Ok(report) = verify(from, journal, Some(life.records.iter().cloned().map(Ok)));
        assert_eq!((report.fault, report.records), (None, report.ticks));
    }

    #[test]
    fn a_changed_figure_is_named() {
        let life = life(3, 20);
        let mut records = life.records.clone();
        records[7].outcome.apps[0].flows.load = Energy::new(12_345);
        let Some(Fault::Differs(difference)) = verified(&life, &life.journal, &records).fault else {
            panic!("not found");
        };
        assert_eq!((difference.tick, difference.field.as_str()), (7, "load_uj"));
        assert_eq!(difference.app, Some(records[7].app_names[0].1.to_string()));
        assert_eq!(difference.left, "12345");
    }

    #[test]
    fn what_is_in_no_table_is_compared_too() {
        let life = life(3, 20);
        let mut records = life.records.clone();
        records[4].outcome.orders.lease = ecovisor_units::Millis::new(1);
        let fault = verified(&life, &life.journal, &records).fault;
        assert!(matches!(&fault, Some(Fault::Differs(d)) if d.tick == 4 && d.field == "orders"), "{fault:?}");
    }

    #[test]
    fn a_missing_record_is_named() {
        let life = life(4, 10);
        let mut records = life.records.clone();
        records.remove(6);
        assert_eq!(verified(&life, &life.journal, &records).fault, Some(Fault::NoRecord(Tick(6))));
        let fault = verified(&life, &life.journal, &life.records[..9]).fault;
        assert_eq!(fault, Some(Fault::NoRecord(Tick(9))));
    }

    #[test]
    fn a_changed_journal_does_not_link() {
        let life = life(5, 10);
        let mut journal = life.journal.clone();
        journal.swap(3, 4);
        assert_eq!(verified(&life, &journal, &life.records).fault, Some(Fault::Unlinked { seq: 3 }));
    }

    #[test]
    fn a_forged_journal_does_not_lead_to_these_records() {
        let life = life(6, 10);
        let journal = forged(&life, |_, entry| match entry {
            Entry::Tick(inputs) if inputs.wall.get() == 5000 => {
                inputs.span = ecovisor_units::Millis::new(999)
            }
            _ => {}
        });
        let report = verified(&life, &journal, &life.records);
        assert!(matches!(&report.fault, Some(Fault::Differs(d)) if d.tick == 5), "{:?}", report.fault);
        assert_ne!(Some(report.head), life.journal.last().map(|linked| linked.link));
    }

    #[test]
    fn a_refused_command_in_the_journal_is_a_fault() {
        let life = life(7, 10);
        let journal = forged(&life, |i, entry| {
            if i == 2 {
                *entry = Entry::Command(ecovisor_core::Command::DrainApp(AppId::HOUSE));
            }
        });
        let fault = verified(&life, &journal, &life.records).fault;
        let tick = match &fault {
            Some(Fault::Refused { seq: 2, tick, refusal: Refusal::House }) => *tick,
            other => panic!("{other:?}"),
        };
        let text = format!("journal entry 2, before tick {}: a command that is refused: house is", tick.0);
        assert!(fault.unwrap().to_string().starts_with(&text));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_life_is_found_in_order(seed in any::<u64>()) {
            let life = life(seed, 60);
            let report = verified(&life, &life.journal, &life.records);
            prop_assert_eq!(report.fault, None);
            prop_assert_eq!(report.ticks, 60);
            let mut state = life.start.snapshot.clone();
            life.journal.iter().for_each(|linked| drop(state.apply(&linked.entry).unwrap()));
            prop_assert_eq!(state, life.end);
        }

        #[test]
        fn every_life_with_nested_shares_is_found_in_order(seed in any::<u64>()) {
            let life = nested_life(seed, 60);
            prop_assert_eq!(verified(&life, &life.journal, &life.records).fault, None);
            let bytes = Checkpoint { seq: 7, link: Link::ORIGIN, snapshot: life.end.clone() }.encode();
            prop_assert_eq!(Checkpoint::decode(&bytes).unwrap().snapshot, life.end, "and so is its state");
        }
    }
}
