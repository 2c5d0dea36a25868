//! A site's journal through the store into the past, as the engine writes it and the keeper moves it.

use super::*;
use crate::store::{Batch, MemoryStore, WithHistory};
use ecovisor_audit::{Level, Linked, LinkedRecord, Record, Snapshot};
use ecovisor_core::{AppName, AppPolicy, Command, Inputs, Rules, Share, Site};
use tempfile::TempDir;

/// A site under way: what the engine would do.
struct Site1 {
    state: Snapshot,
    store: Arc<dyn Store>,
    waiting: Option<Record>,
    records: Vec<Record>,
}

/// Ticks between snapshots.
const SNAPSHOT_TICKS: u64 = 50;

impl Site1 {
    fn new() -> Self {
        let state = Snapshot::new(Site::new(Rules::default()).unwrap());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        store.commit(Batch { snapshot: Some(state.clone()), ..Batch::default() }).unwrap();
        Self { state, store, waiting: None, records: Vec::new() }
    }

    /// One entry, committed with the record of the tick before.
    fn enter(&mut self, entry: Entry) {
        let records = self.waiting.take().into_iter().collect();
        self.store.commit(Batch { entries: vec![entry.clone()], records, snapshot: None }).unwrap();
        if let Applied::Settled(record) = self.state.apply(&entry).unwrap() {
            self.records.push((*record).clone());
            self.waiting = Some(*record);
        }
    }

    /// The record of the last tick is committed with the next entry; here it is now.
    fn commit_last(&mut self) {
        let records = self.waiting.take().into_iter().collect();
        self.store.commit(Batch { records, ..Batch::default() }).unwrap();
    }

    /// Ticks of ten minutes, with an app that comes with the first.
    fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            let tick = self.state.site.tick().0;
            if tick == 0 {
                let share = Share { solar_weight: 1, ..Share::default() };
                let name = AppName::new("web").unwrap();
                self.enter(Entry::Command(Command::CreateApp { name, share, policy: AppPolicy::default() }));
            }
            let (span, wall) = (Millis::from_secs(600), Millis::from_secs(600 * tick));
            self.enter(Entry::Tick(Inputs { span, wall, ..Inputs::default() }));
            if (tick + 1).is_multiple_of(SNAPSHOT_TICKS) {
                let records = self.waiting.take().into_iter().collect();
                let snapshot = Some(self.state.clone());
                self.store.commit(Batch { entries: Vec::new(), records, snapshot }).unwrap();
            }
        }
        self.commit_last();
    }
}

fn keep(keeper: &mut Keeper) {
    while keeper.portion().unwrap() == Progress::More {}
}

fn retention(days: u64) -> Retention {
    Retention { ticks: Millis::from_secs(days * 86_400), ..Retention::default() }
}

fn past(dir: &TempDir) -> Arc<History> {
    Arc::new(History::open(dir.path()).unwrap())
}

/// Whether a ledger has these records from a tick on, and no others; says where it has not.
fn has(ledger: &WithHistory, from: u64, due: &[Record]) {
    let read: Vec<Record> = ledger.records(Tick(from), Tick(u64::MAX)).collect::<Result<_, _>>().unwrap();
    let ticks = |records: &[Record]| records.iter().map(|record| record.outcome.tick.0).collect::<Vec<_>>();
    assert_eq!(ticks(&read), ticks(due));
    assert!(read == due, "the same ticks with other books");
}

#[test]
fn what_was_moved_and_what_was_not_read_as_one_ledger() {
    let (mut site, dir) = (Site1::new(), TempDir::new().unwrap());
    let history = past(&dir);
    let mut keeper = Keeper::new(site.store.clone(), history.clone(), retention(7));
    let ledger = WithHistory::new(site.store.clone(), history.clone());
    let before: Vec<(u64, Linked)> = {
        site.run(700);
        site.store.journal(0).collect::<Result<_, _>>().unwrap()
    };
    keep(&mut keeper);
    assert_eq!(history.seals(), 4, "144 ticks a day");
    assert!(site.store.ticks().unwrap().unwrap().0 >= Tick(500), "the store keeps the rest only");
    assert_eq!(ledger.ticks().unwrap(), Some((Tick(0), Tick(699))));
    has(&ledger, 0, &site.records);
    has(&ledger, 570, &site.records[570..]);
    let journal: Vec<(u64, Linked)> = ledger.journal(0).collect::<Result<_, _>>().unwrap();
    assert!(journal == before);
    assert_eq!(ledger.journal(300).next().unwrap().unwrap(), before[300]);
    for tick in [0, 1, 143, 144, 300, 699] {
        let checkpoint = ledger.snapshot_at_or_before(Tick(tick)).unwrap().unwrap();
        assert!(checkpoint.snapshot.site.tick() <= Tick(tick), "{tick}");
        assert_eq!(ledger.tick_at(Millis::from_secs(600 * tick + 5)).unwrap(), Some(Tick(tick)));
        assert_eq!(
            ledger.record(Tick(tick)).unwrap().as_ref(),
            site.records.get(usize::try_from(tick).unwrap())
        );
    }
    history.verify().unwrap();
}

#[test]
fn the_chain_of_records_runs_through_both() {
    let (mut site, dir) = (Site1::new(), TempDir::new().unwrap());
    let history = past(&dir);
    site.run(400);
    let before: Vec<LinkedRecord> =
        site.store.linked_records(Tick(0), Tick(400)).collect::<Result<_, _>>().unwrap();
    keep(&mut Keeper::new(site.store.clone(), history.clone(), retention(7)));
    let ledger = WithHistory::new(site.store.clone(), history);
    let after: Vec<LinkedRecord> =
        ledger.linked_records(Tick(0), Tick(400)).collect::<Result<_, _>>().unwrap();
    assert!(after == before);
    assert_eq!(ledger.records_head(), after.last().unwrap().link.unwrap());
}

#[test]
fn a_keeper_begins_anew_where_the_last_one_ended() {
    let (mut site, dir) = (Site1::new(), TempDir::new().unwrap());
    for _ in 0..23 {
        site.run(37);
        // Ends anywhere: with a block open, with a day half over, between two portions.
        let mut keeper = Keeper::new(site.store.clone(), past(&dir), retention(7));
        for _ in 0..2 {
            keeper.portion().unwrap();
        }
    }
    let history = past(&dir);
    keep(&mut Keeper::new(site.store.clone(), history.clone(), retention(7)));
    has(&WithHistory::new(site.store.clone(), history.clone()), 0, &site.records);
    assert_eq!(history.verify().unwrap().seals, history.seals());
    assert!(history.seals() >= 4);
}

#[test]
fn old_days_go_and_their_sums_stay() {
    let (mut site, dir) = (Site1::new(), TempDir::new().unwrap());
    let history = past(&dir);
    let mut keeper = Keeper::new(site.store.clone(), history.clone(), retention(1));
    for _ in 0..10 {
        site.run(144);
        keep(&mut keeper);
    }
    let ledger = WithHistory::new(site.store.clone(), history.clone());
    let (first, last) = ledger.ticks().unwrap().unwrap();
    assert!(first.0 >= 1440 - 3 * 144 && last == Tick(1439), "{first:?} {last:?}");
    assert!(first.0.is_multiple_of(144), "whole days go");
    assert_eq!(history.kept().days, Some(Millis::ZERO));
    let days = history.days(Level::Day, Millis::ZERO, Millis::MAX);
    let ticks: u64 = days.iter().map(|day| history.rollups(Level::Day, day).unwrap()[0].ticks).sum();
    assert_eq!(ticks, 9 * 144, "the tenth day has not ended");
    has(&ledger, 0, &site.records[usize::try_from(first.0).unwrap()..]);
}

#[test]
fn a_record_that_is_not_the_journals_stops_the_keeper_and_loses_nothing() {
    let (mut site, dir) = (Site1::new(), TempDir::new().unwrap());
    site.run(100);
    let mut wrong = site.records.last().unwrap().clone();
    wrong.outcome.solar = ecovisor_units::Energy::new(7);
    site.store.commit(Batch { records: vec![wrong], ..Batch::default() }).unwrap();
    site.run(300);
    let mut keeper = Keeper::new(site.store.clone(), past(&dir), retention(7));
    let trouble = loop {
        match keeper.portion() {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => panic!("not found"),
            Err(trouble) => break trouble,
        }
    };
    assert!(matches!(trouble, Trouble::Record(Tick(99))), "{trouble}");
    assert_eq!(site.store.ticks().unwrap().unwrap().0, Tick(0));
}

#[test]
fn a_store_and_a_past_of_different_sites_are_told_apart() {
    let (mut one, mut other, dir) = (Site1::new(), Site1::new(), TempDir::new().unwrap());
    one.run(400);
    keep(&mut Keeper::new(one.store.clone(), past(&dir), retention(7)));
    other.enter(Entry::Tick(Inputs { span: Millis::new(7), ..Inputs::default() }));
    other.run(500);
    let trouble = Keeper::new(other.store.clone(), past(&dir), retention(7)).portion().unwrap_err();
    assert!(matches!(trouble, Trouble::Apart { .. }), "{trouble}");
    let mut young = Site1::new();
    young.run(20);
    let trouble = Keeper::new(young.store.clone(), past(&dir), retention(7)).portion().unwrap_err();
    assert!(matches!(trouble, Trouble::Apart { .. }), "{trouble}");
}
