//! A site's journal through the store into the past, as the engine writes it and the keeper moves it.

use super::*;
use crate::rpc::usage::{Period, Whose, usage};
use crate::store::{Batch, MemoryStore, WithHistory};
use ecovisor_audit::{Level, Linked, LinkedRecord, Record, Snapshot};
use ecovisor_core::{
    AppId, AppName, AppPolicy, Command, ContainerId, ContainerName, ContainerUse, Inputs, Reading, Readings,
    Rules, Share, Site,
};
use ecovisor_proto::v1;
use ecovisor_units::{CarbonIntensity, Energy, Power};
use tempfile::TempDir;

/// A site under way: what the engine would do.
struct Site1 {
    state: Snapshot,
    store: Arc<dyn Store>,
    waiting: Option<Record>,
    records: Vec<Record>,
    /// The length of a tick, in s.
    span: u64,
}

/// Ticks between snapshots.
const SNAPSHOT_TICKS: u64 = 50;

impl Site1 {
    fn new() -> Self {
        let state = Snapshot::new(Site::new(Rules::default()).unwrap());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        store.commit(Batch { snapshot: Some(state.clone()), ..Batch::default() }).unwrap();
        Self { state, store, waiting: None, records: Vec::new(), span: 600 }
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

    /// Ticks of ten minutes, if nothing else is said, with an app and its container that come with the first.
    fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            let tick = self.state.site.tick().0;
            if tick == 0 {
                let share = Share { solar_weight: 1, ..Share::default() };
                let name = AppName::new("web").unwrap();
                self.enter(Entry::Command(Command::CreateApp { name, share, policy: AppPolicy::default() }));
                let (name, ceiling) = (ContainerName::new("one").unwrap(), Power::from_watts(5));
                self.enter(Entry::Command(Command::AttachContainer { app: AppId::new(1), name, ceiling }));
            }
            let (span, wall) = (Millis::from_secs(self.span), Millis::from_secs(self.span * tick));
            let used = Some(Reading::now(Energy::new(1_000_000 + tick * 7_919 % 100_000)));
            let containers = vec![ContainerUse { container: ContainerId::new(1), used }];
            let intensity = Some(Reading::now(CarbonIntensity::new(300_000 + tick % 7 * 1_000)));
            let readings = Readings { intensity, ..Readings::default() };
            self.enter(Entry::Tick(Inputs { span, wall, readings, containers, grid_lost: false }));
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

fn answered(ledger: &dyn Store, t1_ms: u64, t2_ms: u64, step_ms: u64) -> v1::QueryUsageReply {
    let query = v1::QueryUsageRequest { t1_ms, t2_ms: Some(t2_ms), step_ms, by_container: true };
    let stop = CancellationToken::new();
    usage(ledger, &Whose::Name("web".to_owned()), Period::new(query, 0).unwrap(), &stop).unwrap()
}

/// The figures alone, as if every tick had been kept.
fn figures(reply: v1::QueryUsageReply) -> Vec<v1::UsageBucket> {
    let unsaid = v1::UsageLevel::Unspecified.into();
    reply
        .buckets
        .into_iter()
        .map(|bucket| v1::UsageBucket { level: unsaid, coarse: false, ..bucket })
        .collect()
}

/// Asks a site whose past is kept and one whose store keeps all, and gives the levels that answered.
fn same_answers(span: u64, ticks: u64, asked: &[(u64, u64, u64)]) -> Vec<Vec<v1::UsageLevel>> {
    let (mut site, mut all, dir) = (Site1::new(), Site1::new(), TempDir::new().unwrap());
    (site.span, all.span) = (span, span);
    site.run(ticks);
    all.run(ticks);
    let history = past(&dir);
    keep(&mut Keeper::new(site.store.clone(), history.clone(), retention(7)));
    assert!(site.store.ticks().unwrap().unwrap().0 > Tick(0));
    let ledger = WithHistory::new(site.store.clone(), history);
    let ask = |(from, to, step): &(u64, u64, u64)| {
        let reply = answered(&ledger, *from, *to, *step);
        assert!(reply.buckets.iter().all(|bucket| !bucket.coarse), "{from} {to} {step}: every tick is kept");
        assert_eq!(reply.ticks_since_ms, Some(0));
        let levels = reply.buckets.iter().map(|bucket| bucket.level()).collect();
        assert_eq!(figures(reply), figures(answered(&*all.store, *from, *to, *step)), "{from} {to} {step}");
        levels
    };
    asked.iter().map(ask).collect()
}

#[test]
fn usage_is_the_ticks_to_the_last_digit_whichever_level_answers() {
    use v1::UsageLevel::{Day, Hour, Minute, Tick as OfTicks};
    const HOUR: u64 = 3_600_000;
    let end = 700 * 600_000;
    let asked = [
        (0, end, 0),
        (0, end, 24 * HOUR),
        (0, 48 * HOUR, HOUR),
        (1_234_567, end, 7_000_000),
        (0, HOUR, 600_000),
    ];
    let levels = same_answers(600, 700, &asked);
    assert_eq!(levels[0], [Day]);
    assert_eq!(levels[1][..4], [Day; 4]);
    assert_eq!(levels[2], [Hour; 48]);
    assert!(levels[3].contains(&Hour) || levels[3].contains(&Minute));
    assert_eq!(levels[4], [Minute; 5], "a minute has one of these ticks, and the app begins with the second");

    let end = 2_000 * 20_000;
    let asked = [
        (0, 20 * HOUR, HOUR),
        (0, end, 60_000),
        (7, 600_000, 25_000),
        (30_000, end, 0),
        (61_000, end, 90_000),
    ];
    let levels = same_answers(20, 2_000, &asked);
    assert_eq!(levels[0][0], Hour);
    assert_eq!(levels[1][0], Minute);
    assert!(levels[2].iter().all(|level| *level == OfTicks || *level == Minute), "{:?}", levels[2]);
    assert!(levels[2].contains(&OfTicks));
    assert_eq!(levels[3], [Hour], "the edges are told by ticks, the rest by what is coarser");
}

#[test]
fn what_is_too_fine_for_what_is_kept_is_told_whole_and_marked() {
    let (mut site, dir) = (Site1::new(), TempDir::new().unwrap());
    let history = past(&dir);
    let short =
        Retention { ticks: Millis::from_secs(86_400), minutes: Millis::from_secs(86_400), ..retention(1) };
    let mut keeper = Keeper::new(site.store.clone(), history.clone(), short);
    for _ in 0..6 {
        site.run(144);
        keep(&mut keeper);
    }
    let ledger = WithHistory::new(site.store.clone(), history.clone());
    let reply = answered(&ledger, 0, 864 * 600_000, 600_000);
    let (first, last) = (reply.buckets.first().unwrap().clone(), reply.buckets.last().unwrap());
    assert_eq!(
        (first.level(), first.coarse, first.start_ms, first.length_ms),
        (v1::UsageLevel::Hour, true, 0, 3_600_000)
    );
    assert_eq!((first.settled_ms, last.coarse), (3_000_000, false), "the app begins with the second tick");
    assert!(reply.minutes_since_ms > reply.hours_since_ms);
    let told: u64 = reply.buckets.iter().map(|bucket| bucket.load_uj).sum();
    let due: u64 =
        site.records.iter().flat_map(|record| &record.outcome.apps).map(|app| app.flows.load.get()).sum();
    assert_eq!(told, due, "nothing is told twice, nothing is lost");
}
