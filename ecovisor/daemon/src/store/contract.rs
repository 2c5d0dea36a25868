//! What every engine must do: one suite, run against each of them.

use super::key::{Key, Place, Room};
use super::memory::Memory;
use super::shelf::{Shelf, Shelved};
use super::*;
use crate::engine::LastTick;
use crate::engine::handle::Mode;
use ecovisor_audit::{Applied, Grants, Note};
use ecovisor_core::{
    AppId, AppName, AppPolicy, Command, ContainerId, ContainerName, ContainerUse, Inputs, Reading, Rules,
    Share, Site,
};
use ecovisor_units::{Energy, Power};
use std::error::Error as _;
use tempfile::TempDir;

/// Where a shelf is found again.
trait Bench {
    type Shelf: Shelf;
    fn new() -> Self;
    fn open(&mut self) -> Result<Shelved<Self::Shelf>, StoreError>;
    fn give_back(&mut self, store: Shelved<Self::Shelf>);

    fn reopen(&mut self, store: Shelved<Self::Shelf>) -> Result<Shelved<Self::Shelf>, StoreError> {
        self.give_back(store);
        self.open()
    }

    /// Changes a value behind the store's back.
    fn change(
        &mut self,
        store: Shelved<Self::Shelf>,
        key: Key,
        change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>,
    ) -> Result<Shelved<Self::Shelf>, StoreError> {
        let shelf = store.into_shelf();
        let mut after = key;
        after[20] += 1;
        let (_, value) = shelf.range(key, after).next().unwrap().unwrap();
        match change(value) {
            Some(value) => shelf.write(vec![(key, value)], Vec::new()).unwrap(),
            None => shelf.write(Vec::new(), vec![key]).unwrap(),
        }
        self.put_back(shelf);
        self.open()
    }

    fn put_back(&mut self, shelf: Self::Shelf);
}

struct InMemory(Option<Memory>);

impl Bench for InMemory {
    type Shelf = Memory;
    fn new() -> Self {
        Self(Some(Memory::default()))
    }
    fn open(&mut self) -> Result<MemoryStore, StoreError> {
        Shelved::open(self.0.take().unwrap())
    }
    fn give_back(&mut self, store: MemoryStore) {
        self.0 = Some(store.into_shelf());
    }
    fn put_back(&mut self, shelf: Memory) {
        self.0 = Some(shelf);
    }
}

/// In a directory of its own, by an engine.
struct OnDisk<const REDB: bool>(TempDir);

impl<const REDB: bool> OnDisk<REDB> {
    const ENGINE: Engine = if REDB { Engine::Redb } else { Engine::Sled };

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

impl<const REDB: bool> Bench for OnDisk<REDB> {
    type Shelf = Box<dyn Shelf>;
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }
    /// sled's own threads may hold the lock a moment longer than the store that was dropped.
    fn open(&mut self) -> Result<Shelved<Box<dyn Shelf>>, StoreError> {
        let path = self.path();
        let mut tries = (0..100_000).map(|_| Self::ENGINE.shelf(&path));
        let open = tries.find(|opened| {
            std::thread::yield_now();
            !matches!(opened, Err(StoreError::InUse(_)))
        });
        Shelved::open(open.unwrap_or(Err(StoreError::InUse(path)))?)
    }
    fn give_back(&mut self, store: Shelved<Box<dyn Shelf>>) {
        drop(store);
    }
    fn put_back(&mut self, shelf: Box<dyn Shelf>) {
        drop(shelf);
    }
}

macro_rules! contract {
    ($($rule:ident)*) => {
        mod in_memory {
            $(#[test] fn $rule() { super::$rule(<super::InMemory as super::Bench>::new()); })*
        }
        mod in_sled {
            $(#[test] fn $rule() { super::$rule(<super::OnDisk<false> as super::Bench>::new()); })*
        }
        mod in_redb {
            $(#[test] fn $rule() { super::$rule(<super::OnDisk<true> as super::Bench>::new()); })*
        }
    };
}

contract! {
    an_empty_store_has_nothing
    what_was_committed_is_there_after_a_restart
    a_restart_replays_from_the_newest_snapshot
    records_come_in_order_and_by_tick
    a_tick_is_found_by_its_wall_time
    an_export_begins_at_the_snapshot_before
    large_values_come_back_whole
    a_damaged_value_is_named
    a_missing_entry_is_named
    an_exchanged_entry_is_found
    a_newer_store_is_refused
    what_is_forgotten_is_not_needed
}

/// A site in the making, with the batches that made it.
pub(super) struct Life {
    pub(super) state: Snapshot,
}

impl Life {
    fn new() -> Self {
        Self { state: Snapshot::new(Site::new(Rules::default()).unwrap()) }
    }

    pub(super) fn begin(store: &impl Store) -> Self {
        let life = Self::new();
        store.commit(Batch { snapshot: Some(life.state.clone()), ..Batch::default() }).unwrap();
        life
    }

    fn apply(&mut self, batch: &mut Batch, entry: Entry) -> Applied {
        let applied = self.state.apply(&entry).unwrap();
        batch.entries.push(entry);
        if let Applied::Settled(record) = &applied {
            batch.records.push((**record).clone());
        }
        applied
    }

    /// One tick, 1 s long, beginning at `wall`.
    pub(super) fn tick(&mut self, store: &impl Store, wall: u64) {
        let mut batch = Batch::default();
        let inputs = Inputs { span: Millis::new(1000), wall: Millis::new(wall), ..Inputs::default() };
        self.apply(&mut batch, Entry::Tick(inputs));
        store.commit(batch).unwrap();
    }

    pub(super) fn create(&mut self, store: &impl Store, name: &str) -> AppId {
        let share = Share { grid_limit: Power::from_watts(1), ..Share::default() };
        let create =
            Command::CreateApp { name: AppName::new(name).unwrap(), share, policy: AppPolicy::default() };
        let mut batch = Batch::default();
        let Applied::Accepted(accepted) = self.apply(&mut batch, Entry::Command(create)) else {
            panic!("refused");
        };
        let app = accepted.app.unwrap();
        let grants = Grants { owner_uid: Some(1000), ..Grants::default() };
        self.apply(&mut batch, Entry::Note(Note::Grants { app, grants }));
        store.commit(batch).unwrap();
        app
    }

    pub(super) fn snapshot(&self, store: &impl Store) {
        store.commit(Batch { snapshot: Some(self.state.clone()), ..Batch::default() }).unwrap();
    }
}

pub(super) fn replayed(loaded: Loaded) -> Snapshot {
    let mut state = loaded.checkpoint.unwrap().snapshot;
    for entry in &loaded.entries {
        state.apply(entry).unwrap();
    }
    state
}

fn ticks_of(store: &impl Store, from: u64, to: u64) -> Vec<u64> {
    store.records(Tick(from), Tick(to)).map(|record| record.unwrap().outcome.tick.0).collect()
}

/// The message and its causes.
pub(super) fn said(error: StoreError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn an_empty_store_has_nothing(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    assert_eq!(store.load().unwrap(), Loaded { checkpoint: None, entries: Vec::new() });
    assert_eq!(store.ticks().unwrap(), None);
    assert_eq!(store.head(), (0, Link::ORIGIN));
    assert_eq!(store.record(Tick(0)).unwrap(), None);
    assert_eq!(store.tick_at(Millis::MAX).unwrap(), None);
    assert_eq!(store.snapshot_at_or_before(Tick(u64::MAX)).unwrap(), None);
    store.forget_before(Tick(9)).unwrap();
}

fn what_was_committed_is_there_after_a_restart(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    life.create(&store, "web");
    life.tick(&store, 0);
    life.create(&store, "batch");
    life.tick(&store, 1000);
    let (head, last) = (store.head(), store.record(Tick(1)).unwrap());
    let store = bench.reopen(store).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.entries.len(), 6);
    assert_eq!(replayed(loaded), life.state);
    assert_eq!(store.head(), head);
    assert_eq!(store.head().0, 6);
    assert_eq!(store.record(Tick(1)).unwrap(), last);
    // And it goes on from there.
    life.tick(&store, 2000);
    let store = bench.reopen(store).unwrap();
    assert_eq!(replayed(store.load().unwrap()), life.state);
}

fn a_restart_replays_from_the_newest_snapshot(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    life.tick(&store, 0);
    life.snapshot(&store);
    life.create(&store, "web");
    // Again before the same tick, with more of the journal.
    life.snapshot(&store);
    let store = bench.reopen(store).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.entries, []);
    assert_eq!(loaded.checkpoint.as_ref().map(|c| (c.seq, c.link)), Some(store.head()));
    assert_eq!(replayed(loaded), life.state);
}

fn records_come_in_order_and_by_tick(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    (0..300).for_each(|tick| life.tick(&store, tick * 1000));
    assert_eq!(store.ticks().unwrap(), Some((Tick(0), Tick(299))));
    assert_eq!(ticks_of(&store, 254, 258), [254, 255, 256, 257]);
    assert_eq!(ticks_of(&store, 298, u64::MAX), [298, 299]);
    assert_eq!(ticks_of(&store, 5, 5), [0_u64; 0]);
    assert_eq!(ticks_of(&store, 7, 5), [0_u64; 0]);
    assert_eq!(store.record(Tick(300)).unwrap(), None);
    let record = store.record(Tick(17)).unwrap().unwrap();
    assert_eq!((record.outcome.tick, record.outcome.wall), (Tick(17), Millis::new(17_000)));
    assert_eq!(record.app_name(AppId::HOUSE), Some(&AppName::house()));
}

fn a_tick_is_found_by_its_wall_time(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    [1000, 2000, 5000, 6000].into_iter().for_each(|wall| life.tick(&store, wall));
    let at = |wall| store.tick_at(Millis::new(wall)).unwrap().map(|tick| tick.0);
    let found = [0, 999, 1000, 1999, 2000, 4999, 5000, 6000, u64::MAX].map(at);
    assert_eq!(found, [None, None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(3), Some(3)]);
}

fn an_export_begins_at_the_snapshot_before(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    for tick in 0..10 {
        life.tick(&store, tick * 1000);
        if tick % 4 == 3 {
            life.snapshot(&store);
        }
    }
    let at = |tick| store.snapshot_at_or_before(Tick(tick)).unwrap().unwrap();
    let begins = [0, 3, 4, 7, 8, 99].map(|tick| at(tick).snapshot.site.tick().0);
    assert_eq!(begins, [0, 0, 4, 4, 8, 8]);
    let Checkpoint { seq, mut link, snapshot: mut state } = at(5);
    for entry in store.journal(seq) {
        let (_, linked) = entry.unwrap();
        assert!(linked.follows(link));
        link = linked.link;
        state.apply(&linked.entry).unwrap();
    }
    assert_eq!((state, link), (life.state, store.head().1));
}

fn large_values_come_back_whole(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = large_life(&store, 200);
    large_tick(&mut life, &store);
    let record = store.record(Tick(1)).unwrap().unwrap();
    assert!(record.encode().len() > 3 * 4096, "{} bytes", record.encode().len());
    assert_eq!(record.container_names.len(), 200);
    let store = bench.reopen(store).unwrap();
    assert_eq!(store.record(Tick(1)).unwrap().unwrap(), record);
    assert_eq!(replayed(store.load().unwrap()), life.state);
}

/// Apps with a container each, after their first tick and a snapshot.
fn large_life(store: &impl Store, apps: u32) -> Life {
    let mut life = Life::begin(store);
    let mut batch = Batch::default();
    for i in 1..=apps {
        let name = AppName::new(&format!("app-{i}")).unwrap();
        let share = Share { solar_weight: i, ..Share::default() };
        life.apply(
            &mut batch,
            Entry::Command(Command::CreateApp { name, share, policy: AppPolicy::default() }),
        );
        let (app, name) = (AppId::new(i), ContainerName::new(&format!("container-{i}")).unwrap());
        let ceiling = Power::from_watts(100);
        life.apply(&mut batch, Entry::Command(Command::AttachContainer { app, name, ceiling }));
    }
    life.apply(&mut batch, Entry::Tick(Inputs { span: Millis::new(1000), ..Inputs::default() }));
    batch.snapshot = Some(life.state.clone());
    store.commit(batch).unwrap();
    life
}

fn large_tick(life: &mut Life, store: &impl Store) {
    let apps = u32::try_from(life.state.site.containers(false).len()).unwrap();
    let used = |i: u32| ContainerUse {
        container: ContainerId::new(i),
        used: Some(Reading::now(Energy::from_joules(u64::from(i) * 31))),
    };
    let containers = (1..=apps).map(used).collect();
    let mut batch = Batch::default();
    life.apply(&mut batch, Entry::Tick(Inputs { span: Millis::new(1000), containers, ..Inputs::default() }));
    store.commit(batch).unwrap();
}

fn a_damaged_value_is_named(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    (0..3).for_each(|tick| life.tick(&store, tick * 1000));
    let flip = |mut value: Vec<u8>| {
        value[9] ^= 4;
        Some(value)
    };
    let store = bench.change(store, Room::Records.at(1).key(0), flip).unwrap();
    let error = said(store.record(Tick(1)).unwrap_err());
    assert!(error.starts_with("the record of tick 1 cannot be read: damaged: its checksum is "), "{error}");
    let errors: Vec<bool> = store.records(Tick(0), Tick(3)).map(|record| record.is_err()).collect();
    assert_eq!(errors, [false, true, false]);
    let store = bench.change(store, Room::Journal.at(0).key(0), flip).unwrap();
    let error = said(store.load().unwrap_err());
    assert!(error.starts_with("journal entry 0 cannot be read: damaged"), "{error}");
    let snapshot = Place { room: Room::Snapshots, major: 0, minor: 0 };
    let store = bench.change(store, snapshot.key(0), |value| Some(value[..5].to_vec())).unwrap();
    let error = said(store.load().unwrap_err());
    assert!(error.starts_with("the snapshot before tick 0 cannot be read: truncated: 5 bytes"), "{error}");
}

fn a_missing_entry_is_named(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    (0..3).for_each(|tick| life.tick(&store, tick * 1000));
    let store = bench.change(store, Room::Journal.at(1).key(0), |_| None).unwrap();
    assert_eq!(said(store.load().unwrap_err()), "journal entry 1 is missing");
}

fn an_exchanged_entry_is_found(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    (0..3).for_each(|tick| life.tick(&store, tick * 1000));
    let forged = Linked::new(Link::ORIGIN, Entry::Tick(Inputs::default())).encode();
    let store = bench.change(store, Room::Journal.at(1).key(0), |_| Some(forged)).unwrap();
    assert_eq!(said(store.load().unwrap_err()), "journal entry 1 does not follow from its predecessor");
}

fn a_newer_store_is_refused(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let newer = |mut value: Vec<u8>| {
        value[0] = 99;
        Some(value)
    };
    let Err(error) = bench.change(store, Room::Mark.at(0).key(0), newer) else { panic!("not refused") };
    let known = ecovisor_audit::Kind::Mark.version();
    assert_eq!(
        said(error),
        format!(
            "the store's mark was written in format version 99, this program knows versions up to {known}"
        )
    );
}

fn what_is_forgotten_is_not_needed(mut bench: impl Bench) {
    let store = bench.open().unwrap();
    let mut life = Life::begin(&store);
    for tick in 0..10 {
        life.tick(&store, tick * 1000);
        if tick % 4 == 3 {
            life.snapshot(&store);
        }
    }
    store.forget_before(Tick(6)).unwrap();
    assert_eq!(store.ticks().unwrap(), Some((Tick(4), Tick(9))));
    assert_eq!(store.snapshot_at_or_before(Tick(3)).unwrap(), None);
    assert_eq!(store.tick_at(Millis::new(3999)).unwrap(), None);
    assert_eq!(store.tick_at(Millis::new(4000)).unwrap(), Some(Tick(4)));
    let head = store.head();
    let store = bench.reopen(store).unwrap();
    assert_eq!(replayed(store.load().unwrap()), life.state);
    // With nothing left of the journal the numbers still go on.
    life.snapshot(&store);
    store.forget_before(Tick(10)).unwrap();
    let store = bench.reopen(store).unwrap();
    assert_eq!((store.head(), store.ticks().unwrap()), (head, None));
    life.tick(&store, 10_000);
    assert_eq!(replayed(store.load().unwrap()), life.state);
    assert_eq!(store.tick_at(Millis::new(10_000)).unwrap(), Some(Tick(10)));
}

fn a_second_process_is_told_in<const REDB: bool>() {
    let mut bench = OnDisk::<REDB>::new();
    let _held = bench.open().unwrap();
    let Err(error) = OnDisk::<REDB>::ENGINE.open(&bench.path()) else { panic!("opened twice") };
    assert!(matches!(&error, StoreError::InUse(path) if path.ends_with("store")), "{error}");
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    a_second_process_is_told_in::<false>();
    a_second_process_is_told_in::<true>();
}

fn the_other_engine_is_refused_by<const REDB: bool>(asked: Engine) {
    let mut bench = OnDisk::<REDB>::new();
    let store = bench.open().unwrap();
    Life::begin(&store);
    drop(store);
    let Err(error) = asked.open(&bench.path()) else { panic!("opened by {asked}") };
    let (found, path) = (OnDisk::<REDB>::ENGINE, bench.path());
    assert_eq!(
        error.to_string(),
        format!(
            "the store {path} was written by {found}, not by {asked}: say `engine = \"{found}\"` in [store], or copy it: \
             ecovisord store copy --from {path} --to DIRECTORY --engine {asked}",
            path = path.display()
        )
    );
}

#[test]
fn a_store_is_opened_by_the_engine_that_wrote_it_and_by_no_other() {
    the_other_engine_is_refused_by::<false>(Engine::Redb);
    the_other_engine_is_refused_by::<true>(Engine::Sled);
    assert_eq!(Engine::of(Path::new("/nonexistent")), None);
}

/// What a power cut at a start of sled's can leave; found by the tests of power cuts, cut 39 of those of seed 7.
#[test]
fn a_torn_snapshot_of_sleds_own_does_not_keep_the_store_closed() {
    for torn in ["snap.00000000000000FF.generating", "snap.FFFFFFFFFFFFFFFF"] {
        let mut bench = OnDisk::<false>::new();
        let store = bench.open().unwrap();
        let mut life = Life::begin(&store);
        (0..50).for_each(|tick| life.tick(&store, tick * 1000));
        bench.give_back(store);
        std::fs::write(bench.path().join(torn), "").unwrap();
        let store = bench.open().unwrap();
        assert_eq!(replayed(store.load().unwrap()), life.state, "{torn}");
        assert_eq!(store.head().0, 50);
    }
}

#[test]
fn nothing_goes_into_files_that_the_barrier_does_not_cover() {
    let mut bench = OnDisk::<false>::new();
    let store = bench.open().unwrap();
    let mut life = large_life(&store, 500);
    for _ in 0..50 {
        large_tick(&mut life, &store);
        life.snapshot(&store);
    }
    store.forget_before(Tick(40)).unwrap();
    (0..20).for_each(|_| large_tick(&mut life, &store));
    let store = bench.reopen(store).unwrap();
    assert_eq!(replayed(store.load().unwrap()), life.state);
    let blobs: Vec<_> = std::fs::read_dir(bench.path().join("blobs")).unwrap().collect();
    assert!(blobs.is_empty(), "{blobs:?}");
}

/// A shelf whose writes fail from the third on.
struct Failing(Memory, std::sync::atomic::AtomicU32);

impl Shelf for Failing {
    fn write(&self, puts: Vec<(Key, Vec<u8>)>, removed: Vec<Key>) -> Result<(), StoreError> {
        if self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 2 {
            let source = std::io::Error::other("no space left");
            return Err(StoreError::Disk { doing: "write", source });
        }
        self.0.write(puts, removed)
    }
    fn range(&self, from: Key, to: Key) -> Box<dyn Iterator<Item = super::shelf::Pair> + Send + '_> {
        self.0.range(from, to)
    }
    fn edge(&self, from: Key, to: Key, edge: super::shelf::Edge) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.edge(from, to, edge)
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_taken() {
    let store = Shelved::open(Failing(Memory::default(), 0.into())).unwrap();
    let life = Life::begin(&store);
    let batch = Batch { snapshot: Some(life.state.clone()), ..Batch::default() };
    assert_eq!(said(store.commit(batch.clone()).unwrap_err()), "cannot write the store: no space left");
    assert_eq!(said(store.commit(batch).unwrap_err()), "the store takes nothing more after a failed write");
}

/// A store as version 1 left it: a snapshot with a command staged, and the journal after it (the audit crate's fixture).
#[test]
fn a_store_of_version_1_goes_on_and_its_chain_is_not_broken() {
    let fixture = include_str!("../../../audit/tests/golden/v1.txt");
    let frames = |kind: &str| -> Vec<Vec<u8>> {
        let byte = |hex: &str, at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let hexes = fixture.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
        hexes.map(|hex| (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect()).collect()
    };
    let snapshot = frames("snapshot").remove(0);
    let first = ecovisor_audit::Checkpoint::decode(&snapshot).unwrap();
    let place = Place { room: Room::Snapshots, major: first.snapshot.site.tick().0, minor: first.seq };
    let mut puts = vec![(place.key(0), snapshot)];
    puts.extend((first.seq..).zip(frames("entry")).map(|(seq, entry)| (Room::Journal.at(seq).key(0), entry)));
    let (entries, memory) = (puts.len() - 1, Memory::default());
    memory.write(puts, Vec::new()).unwrap();
    super::layout::set(&memory, 1);

    let store = Shelved::open(memory).unwrap();
    let start = crate::engine::recover(&store, &Rules::default(), LastTick::Replayed).unwrap();
    assert_eq!((start.mode, start.replayed), (Mode::Normal, entries));
    let written: Vec<Record> = frames("record").iter().map(|frame| Record::decode(frame).unwrap()).collect();
    let made: Vec<Record> = store.records(Tick(0), Tick(u64::MAX)).map(Result::unwrap).collect();
    assert_eq!(made, written, "the same books as version 1 had");
    let tick = Entry::Tick(Inputs { span: Millis::from_secs(1), ..Inputs::default() });
    let mut state = start.state;
    state.apply(&tick).unwrap();
    let snapshot = Some(state.clone());
    store.commit(Batch { entries: vec![tick], snapshot, ..Batch::default() }).unwrap();
    let again = Shelved::open(store.into_shelf()).unwrap();
    assert_eq!(again.load().unwrap().checkpoint.unwrap().snapshot, state, "now a snapshot of today");
    let mut link = first.link;
    for entry in again.journal(first.seq) {
        let (_, linked) = entry.unwrap();
        assert!(linked.follows(link));
        link = linked.link;
    }
    assert_eq!(again.head().1, link);
}
