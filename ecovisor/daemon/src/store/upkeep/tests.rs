//! Copies, verification and salvage of stores on disk, whole and damaged.

use super::super::contract::{Life, replayed, said};
use super::super::key::{Key, Place, Room};
use super::super::shelf::{Shelf, Shelved};
use super::super::{Engine, Store, StoreError};
use super::copy::{Copied, copy};
use super::salvage::salvage;
use super::verify::verify;
use super::{layout_is, store_in};
use ecovisor_units::Millis;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const BOTH: [(Engine, Engine); 2] = [(Engine::Sled, Engine::Redb), (Engine::Redb, Engine::Sled)];

/// sled's own threads may hold the lock a moment longer than the store that was dropped.
fn patiently<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    loop {
        match open() {
            Err(StoreError::InUse(_)) => std::thread::yield_now(),
            other => return other,
        }
    }
}

fn open(engine: Engine, path: &Path) -> Result<Shelved<Box<dyn Shelf>>, StoreError> {
    Shelved::open_in(patiently(|| engine.shelf(path))?, path)
}

/// Ticks 0 to 19 with snapshots before ticks 0, 8 and 16, an app from tick 3 on, and nothing pending.
fn lived(engine: Engine) -> (TempDir, PathBuf, Life) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = open(engine, &path).unwrap();
    let mut life = Life::begin(&store);
    for tick in 0..20 {
        if tick == 3 {
            life.create(&store, "web");
        }
        if tick % 8 == 0 && tick > 0 {
            life.snapshot(&store);
        }
        life.tick(&store, tick * 1000);
    }
    drop(store);
    (dir, path, life)
}

fn nobody(_: Copied) {}

fn shelf_of(path: &Path) -> Box<dyn Shelf> {
    patiently(|| Engine::of(path).unwrap().shelf(path)).unwrap()
}

/// Changes a value behind the store's back; `None` removes it.
fn change(path: &Path, place: Place, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
    let shelf = shelf_of(path);
    let (_, value) = shelf.range(place.key(0), place.key(u32::MAX)).next().unwrap().unwrap();
    match change(value) {
        Some(value) => shelf.write(vec![(place.key(0), value)], Vec::new()).unwrap(),
        None => shelf.write(Vec::new(), vec![place.key(0)]).unwrap(),
    }
}

fn flipped(mut value: Vec<u8>) -> Option<Vec<u8>> {
    value[9] ^= 4;
    Some(value)
}

fn report(path: &Path) -> super::verify::Report {
    patiently(|| verify(path)).unwrap()
}

/// Entry 3 is the app's, entry 4 its grants: the entry of tick k is k, from tick 3 on k + 2.
const ENTRY_OF_TICK_10: u64 = 12;

#[test]
fn a_whole_store_is_found_whole() {
    for (engine, _) in BOTH {
        let (_dir, path, _) = lived(engine);
        let report = report(&path);
        assert_eq!(report.faults, [""; 0]);
        assert_eq!((report.engine.as_str(), report.entries, report.commands), (&*engine.to_string(), 22, 1));
        assert_eq!((report.snapshots, report.ticks_replayed, report.next_tick), (3, 20, 20));
        assert_eq!((report.records, report.records_replayed, report.head_seq), (20, 20, 22));
        assert_eq!(report.savable, None);
    }
}

#[test]
fn a_copy_holds_the_same_bytes_in_either_engine() {
    for (from, to) in BOTH {
        let (dir, path, life) = lived(from);
        std::fs::create_dir(path.join("beside")).unwrap();
        std::fs::write(path.join("beside/file"), "kept").unwrap();
        let (there, back) = (dir.path().join("there"), dir.path().join("back"));
        patiently(|| copy(&path, &there, to, &mut nobody)).unwrap();
        patiently(|| copy(&there, &back, from, &mut nobody)).unwrap();
        let [one, two, three] = [&path, &there, &back].map(|path| report(path));
        assert_eq!((&one.digest, one.faults.len()), (&two.digest, 0));
        assert_eq!(two, super::verify::Report { engine: to.to_string(), ..three });
        assert_eq!(std::fs::read_to_string(back.join("beside/file")).unwrap(), "kept");
        assert_eq!(replayed(open(to, &there).unwrap().load().unwrap()), life.state);
    }
}

#[test]
fn a_copy_goes_nowhere_but_into_an_empty_directory() {
    let (dir, path, _) = lived(Engine::Redb);
    let target = dir.path().join("target");
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("mine"), "").unwrap();
    let error = copy(&path, &target, Engine::Sled, &mut nobody).unwrap_err();
    assert!(matches!(&error, StoreError::NotEmpty(named) if *named == target), "{error}");
    let error = copy(&path, &path.join("within"), Engine::Sled, &mut nobody).unwrap_err();
    assert!(matches!(error, StoreError::WithinItself(_)), "{error}");
    let nowhere = dir.path().join("nowhere");
    let error = copy(&nowhere, &target, Engine::Sled, &mut nobody).unwrap_err();
    assert!(error.to_string().starts_with("there is no store in "), "{error}");
    assert!(!nowhere.exists());
    let held = open(Engine::Redb, &path).unwrap();
    let error = copy(&path, &dir.path().join("other"), Engine::Sled, &mut nobody).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    drop(held);
}

#[test]
fn a_copy_that_did_not_come_to_its_end_is_no_store() {
    let (_dir, path, _) = lived(Engine::Redb);
    change(&path, Room::Mark.at(0), |_| None);
    let Err(error) = open(Engine::Redb, &path) else { panic!("opened") };
    assert!(matches!(error, StoreError::NoMark), "{error}");
    assert_eq!(said(error), report(&path).faults[0]);
}

#[test]
fn every_fault_is_named_and_not_only_the_first() {
    for (engine, _) in BOTH {
        let (_dir, path, _) = lived(engine);
        change(&path, Room::Records.at(2), flipped);
        change(&path, Room::Records.at(5), |_| None);
        change(&path, Place { room: Room::Snapshots, major: 8, minor: 10 }, flipped);
        change(&path, Room::Journal.at(ENTRY_OF_TICK_10), flipped);
        let report = report(&path);
        let faults = report.faults.join("\n");
        for (named, why) in [
            ("the record of tick 2", "cannot be read: damaged: its checksum"),
            ("the record of tick 5", "is missing"),
            ("the snapshot before tick 8", "cannot be read: damaged"),
            ("journal entry 12", "cannot be read: damaged"),
        ] {
            assert!(faults.lines().any(|fault| fault.starts_with(named) && fault.contains(why)), "{faults}");
        }
        assert_eq!(report.fault_count, 4, "{faults}");
        let saved = report.savable.unwrap();
        assert_eq!((saved.next_tick, saved.ends_after_entries, saved.entries), (20, 22, 21));
    }
}

#[test]
fn a_record_that_the_journal_does_not_lead_to_is_named() {
    let (_dir, path, _) = lived(Engine::Redb);
    let shelf = shelf_of(&path);
    let other =
        shelf.range(Room::Records.at(4).key(0), Room::Records.at(5).key(0)).next().unwrap().unwrap().1;
    shelf.write(vec![(Room::Records.at(6).key(0), other)], Vec::new()).unwrap();
    drop(shelf);
    assert_eq!(report(&path).faults, ["the record of tick 6 holds another value than its key says"]);
}

#[test]
fn an_end_that_is_gone_is_missed() {
    for (engine, _) in BOTH {
        let (_dir, path, _) = lived(engine);
        let shelf = shelf_of(&path);
        let gone: Vec<Key> = vec![
            Room::Journal.at(20).key(0),
            Room::Journal.at(21).key(0),
            Room::Records.at(18).key(0),
            Room::Records.at(19).key(0),
        ];
        shelf.write(Vec::new(), gone).unwrap();
        drop(shelf);
        let Err(error) = open(engine, &path) else { panic!("opened") };
        let why = "the store ends after 20 journal entries, although 22 were committed: its end is lost";
        assert_eq!(error.to_string(), why);
        let report = report(&path);
        assert_eq!(report.faults, [why]);
        assert_eq!(report.savable.unwrap().next_tick, 18);
    }
}

#[test]
fn what_is_whole_is_salvaged_and_what_is_lost_is_named() {
    for (from, to) in BOTH {
        let (dir, path, life) = lived(from);
        change(&path, Room::Records.at(2), flipped);
        change(&path, Room::Records.at(12), |_| None);
        change(&path, Room::Journal.at(ENTRY_OF_TICK_10), flipped);
        let target = dir.path().join("saved");
        let saved = patiently(|| salvage(&path, &target, to)).unwrap();
        assert_eq!((saved.entries, saved.snapshots, saved.records, saved.records_made_again), (21, 3, 18, 1));
        assert_eq!((saved.next_tick, saved.ends_after_entries, saved.cut_entries), (20, 22, 0));
        assert_eq!((saved.lost_entries, saved.lost_records), (vec![(12, 13)], vec![(12, 13)]));
        let report = report(&target);
        assert_eq!(report.faults, [""; 0], "old losses are no faults");
        assert_eq!(
            (report.known_losses.entries, report.known_losses.records),
            (vec![(12, 13)], vec![(12, 13)])
        );
        let store = open(to, &target).unwrap();
        assert_eq!(replayed(store.load().unwrap()), life.state);
        assert_eq!(store.tick_at(Millis::new(12_500)).unwrap().map(|tick| tick.0), Some(11));
        assert_eq!(store.tick_at(Millis::new(13_000)).unwrap().map(|tick| tick.0), Some(13));
    }
}

#[test]
fn a_salvaged_store_goes_on_where_the_journal_breaks() {
    let (dir, path, _) = lived(Engine::Sled);
    // Entry 20 settles tick 18; the newest snapshot is the one before tick 16.
    change(&path, Room::Journal.at(20), flipped);
    let target = dir.path().join("saved");
    let saved = patiently(|| salvage(&path, &target, Engine::Redb)).unwrap();
    assert_eq!((saved.ends_after_entries, saved.next_tick, saved.cut_entries), (20, 18, 2));
    let store = open(Engine::Redb, &target).unwrap();
    assert_eq!(store.head().0, 20);
    let mut life = Life { state: replayed(store.load().unwrap()) };
    life.tick(&store, 18_000);
    drop(store);
    assert_eq!(report(&target).faults, [""; 0]);
}

#[test]
fn from_a_file_that_redb_does_not_open_the_values_are_saved() {
    let (dir, path, life) = lived(Engine::Redb);
    let file = std::fs::File::options().write(true).open(path.join("ledger.redb")).unwrap();
    // Both roots are in the first page.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0x55; 512], 64).unwrap();
    let Err(error) = open(Engine::Redb, &path) else { panic!("opened") };
    assert!(error.is_damage(), "{error}");
    let target = dir.path().join("saved");
    let saved = patiently(|| salvage(&path, &target, Engine::Redb)).unwrap();
    assert!(saved.because[0].starts_with("redb cannot open the store: "), "{:?}", saved.because);
    assert_eq!((saved.entries, saved.snapshots, saved.records, saved.next_tick), (22, 3, 20, 20));
    assert_eq!(report(&target).faults, [""; 0]);
    assert_eq!(replayed(open(Engine::Redb, &target).unwrap().load().unwrap()), life.state);
}

#[test]
fn an_empty_store_is_whole() {
    for (engine, _) in BOTH {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("store");
        drop(open(engine, &path).unwrap());
        assert_eq!(report(&path).faults, [""; 0]);
    }
}

#[test]
fn what_was_half_forgotten_when_the_process_ended_is_no_damage() {
    let (_dir, path, _) = lived(Engine::Redb);
    let shelf = shelf_of(&path);
    let gone = |room: Room| (0..3).map(move |number| room.at(number).key(0));
    shelf.write(Vec::new(), gone(Room::Journal).chain(gone(Room::Records)).collect()).unwrap();
    // Of the first record that is left the first part is gone too.
    let moved =
        shelf.range(Room::Records.at(3).key(0), Room::Records.at(4).key(0)).next().unwrap().unwrap().1;
    let (whole, part) = (Room::Records.at(3).key(0), Room::Records.at(3).key(1));
    shelf.write(vec![(part, moved)], vec![whole]).unwrap();
    drop(shelf);
    let report = report(&path);
    assert_eq!(report.faults, [""; 0]);
    assert_eq!((report.entries, report.records), (19, 16));
}

#[test]
fn without_a_whole_snapshot_there_is_nothing_to_go_on_from() {
    let (dir, path, _) = lived(Engine::Redb);
    for (major, minor) in [(0, 0), (8, 10), (16, 18)] {
        change(&path, Place { room: Room::Snapshots, major, minor }, flipped);
    }
    let error = patiently(|| salvage(&path, &dir.path().join("saved"), Engine::Redb)).unwrap_err();
    assert!(matches!(error, StoreError::NothingToGoOnFrom), "{error}");
    assert!(!dir.path().join("saved").exists());
    assert_eq!(report(&path).savable, None);
}

#[test]
fn an_older_layout_is_brought_to_the_newest_when_it_is_opened() {
    for (engine, _) in BOTH {
        let (_dir, path, life) = lived(engine);
        let newest = report(&path).layout;
        layout_is(&*shelf_of(&path), 1);
        assert_eq!(report(&path).layout, 1, "verification changes nothing");
        let store = open(engine, &path).unwrap();
        assert_eq!(replayed(store.load().unwrap()), life.state);
        drop(store);
        assert_eq!(report(&path).layout, newest);
        assert!(newest > 1);
    }
}

#[test]
fn a_store_is_found_in_the_state_directory_that_holds_it() {
    let (dir, path, _) = lived(Engine::Redb);
    assert_eq!([store_in(dir.path()), store_in(&path)], [path.clone(), path]);
}

#[test]
fn a_backup_of_a_busy_store_is_what_it_was_at_one_moment() {
    for (engine, _) in BOTH {
        let (dir, path, mut life) = lived(engine);
        std::fs::create_dir(dir.path().join("history")).unwrap();
        std::fs::write(dir.path().join("history/day"), "past").unwrap();
        let (store, then) = (open(engine, &path).unwrap(), life.state.clone());
        let target = dir.path().join("backup");
        let mut tick = 20;
        let backup = store.backup(&target, &mut |_| {
            // Commits go on while it is copied.
            life.tick(&store, tick * 1000);
            life.snapshot(&store);
            tick += 1;
            std::ops::ControlFlow::Continue(())
        });
        let backup = backup.unwrap().unwrap();
        assert!(tick > 20 && backup.entries == 22, "{backup:?}");
        let target = store_in(&target);
        let report = report(&target);
        assert_eq!(report.faults, [""; 0]);
        assert_eq!(std::fs::read_to_string(dir.path().join("backup/history/day")).unwrap(), "past");
        assert_eq!((report.head_seq, report.head), (22, backup.head.to_string()));
        assert_eq!(replayed(open(engine, &target).unwrap().load().unwrap()), then);
        assert_eq!(replayed(store.load().unwrap()), life.state);
    }
}

#[test]
fn nothing_is_left_of_a_backup_that_was_ended() {
    let (dir, path, _) = lived(Engine::Redb);
    let store = open(Engine::Redb, &path).unwrap();
    let target = dir.path().join("backup");
    assert_eq!(store.backup(&target, &mut |_| std::ops::ControlFlow::Break(())).unwrap(), None);
    assert!(!target.exists());
    let error =
        super::super::MemoryStore::new().backup(&target, &mut |_| std::ops::ControlFlow::Continue(()));
    assert!(matches!(error, Err(StoreError::InMemory)));
}
