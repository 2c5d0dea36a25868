//! Whole lives through the past and back, with power cuts in between.

use super::*;
use crate::journal::Entry;
use crate::life::life;
use crate::record::Record;
use crate::rollup::rolled;
use crate::{Applied, Snapshot};
use proptest::prelude::*;
use tempfile::TempDir;

/// A life whose ticks begin when `wall` says.
struct Long {
    start: Checkpoint,
    journal: Vec<Linked>,
    records: Vec<Record>,
}

fn long(seed: u64, ticks: u32, wall: impl Fn(u64) -> u64) -> Long {
    let life = life(seed, ticks);
    let (mut state, mut link): (Snapshot, Link) = (life.start.snapshot.clone(), Link::ORIGIN);
    let (mut journal, mut records) = (Vec::new(), Vec::new());
    for mut entry in life.journal.into_iter().map(|linked| linked.entry) {
        if let Entry::Tick(inputs) = &mut entry {
            inputs.wall = Millis::new(wall(state.site.tick().0));
        }
        if let Applied::Settled(record) = state.apply(&entry).unwrap() {
            records.push(*record);
        }
        let linked = Linked::new(link, entry);
        link = linked.link;
        journal.push(linked);
    }
    Long { start: life.start, journal, records }
}

/// Ten minutes a tick: 144 a day.
fn days(seed: u64, ticks: u32) -> Long {
    long(seed, ticks, |tick| tick * 600_000)
}

fn blocks(life: &Long) -> Vec<Block> {
    let mut follower = Follower::new(life.start.clone(), Link::ORIGIN);
    let mut blocks = Vec::new();
    for (i, linked) in life.journal.iter().enumerate() {
        blocks.extend(follower.push(linked.clone()).unwrap().block);
        // Small blocks, so that a day has several.
        if i % 40 == 39 {
            blocks.extend(follower.cut());
        }
    }
    blocks.extend(follower.cut());
    blocks
}

fn kept(life: &Long) -> (TempDir, History) {
    let dir = TempDir::new().unwrap();
    let history = History::open(dir.path()).unwrap();
    blocks(life).iter().for_each(|block| history.append(block).unwrap());
    (dir, history)
}

fn all_records(history: &History) -> Vec<Record> {
    let blocks = history.blocks(Tick(0), Tick(u64::MAX));
    blocks.iter().flat_map(|block| history.records(block).unwrap()).map(|linked| linked.record).collect()
}

fn all_entries(history: &History) -> Vec<Linked> {
    history.blocks(Tick(0), Tick(u64::MAX)).iter().flat_map(|block| history.entries(block).unwrap()).collect()
}

fn all_rollups(history: &History, level: Level) -> Vec<Rollup> {
    let days = history.days(level, Millis::ZERO, Millis::MAX);
    days.iter().flat_map(|day| history.rollups(level, day).unwrap()).collect()
}

fn due(life: &Long, level: Level) -> Vec<Rollup> {
    rolled(life.records.iter().map(|record| Rollup::of(record, level)), level)
}

/// Entries after the last tick wait for the next one.
fn up_to_last_tick(life: &Long) -> &[Linked] {
    let last = life.journal.iter().rposition(|linked| matches!(linked.entry, Entry::Tick(_))).unwrap();
    &life.journal[..=last]
}

#[test]
fn what_was_kept_comes_back_bit_for_bit_and_does_so_after_a_restart() {
    let life = days(1, 400);
    let (dir, history) = kept(&life);
    let check = |history: &History| {
        assert_eq!(all_entries(history), up_to_last_tick(&life));
        assert_eq!(all_records(history), life.records);
        assert_eq!(all_rollups(history, Level::Minute), due(&life, Level::Minute));
        assert_eq!(all_rollups(history, Level::Hour), due(&life, Level::Hour));
        assert_eq!(all_rollups(history, Level::Day), due(&life, Level::Day)[..2], "the third has not ended");
        let verified = history.verify().unwrap();
        assert_eq!((verified.seals, verified.ticks, verified.rollups), (2, 400, 2 * (144 + 24)));
        assert_eq!(history.end().map(|end| end.end_tick()), Some(Tick(400)));
    };
    check(&history);
    drop(history);
    check(&History::open(dir.path()).unwrap());
}

#[test]
fn a_state_before_any_block_leads_to_its_records() {
    let life = days(2, 200);
    let (_dir, history) = kept(&life);
    for block in history.blocks(Tick(0), Tick(200)) {
        let checkpoint = history.checkpoint(&block).unwrap();
        assert_eq!(checkpoint.snapshot.site.tick(), block.head().tick);
        assert_eq!((checkpoint.seq, checkpoint.link), (block.head().seq, block.head().journal_before));
        let first = history.records(&block).unwrap().remove(0).record;
        assert_eq!(first, life.records[usize::try_from(block.head().tick.0).unwrap()]);
    }
}

#[test]
fn raw_days_go_first_and_minutes_next_and_sums_never() {
    let life = days(3, 1000);
    let (dir, history) = kept(&life);
    let sums = |history: &History| all_rollups(history, Level::Day);
    let before = sums(&history);
    let now = history.end().unwrap().site_end;
    let retention = Retention { ticks: Millis::ZERO, minutes: Millis::new(300_000), ..Retention::default() };
    assert!(history.forget(now, &retention, 2).unwrap() == 2, "at most two files at once");
    while history.forget(now, &retention, 10).unwrap() > 0 {}
    let check = |history: &History| {
        let kept = history.kept();
        assert_eq!(kept.raw.map(|(_, tick)| tick), Some(Tick(864)), "the day under way stays");
        assert!(kept.minutes > kept.hours, "{kept:?}");
        assert_eq!((kept.hours, kept.days), (Some(Millis::ZERO), Some(Millis::ZERO)));
        assert_eq!(all_rollups(history, Level::Hour), due(&life, Level::Hour));
        assert_eq!(sums(history), before);
        history.verify().unwrap();
    };
    check(&history);
    check(&History::open(dir.path()).unwrap());
}

#[test]
fn an_archive_that_is_required_is_waited_for() {
    let life = days(4, 600);
    let (_dir, history) = kept(&life);
    let retention = Retention { ticks: Millis::ZERO, archive: Archive::Required, ..Retention::default() };
    let now = history.end().unwrap().site_end;
    assert_eq!(history.forget(now, &retention, 10).unwrap(), 0);
    history.archive_taken(2).unwrap();
    history.archive_taken(1).unwrap();
    assert_eq!(history.archived(), 2, "what was archived stays so");
    assert_eq!(history.forget(now, &retention, 10).unwrap(), 2);
    assert_eq!(history.kept().raw.map(|(_, tick)| tick), Some(Tick(288)));
}

#[test]
fn a_clock_that_is_set_back_begins_another_day() {
    let life = long(5, 300, |tick| if tick < 200 { tick * 600_000 } else { (tick - 150) * 600_000 });
    let (_dir, history) = kept(&life);
    // 144 ticks of the first date, 56 of the second, 94 of the first again, 6 of the second again.
    let days = history.raw_days();
    assert_eq!(days.iter().map(|day| day.stretch.ticks).collect::<Vec<_>>(), [144, 56, 94, 6]);
    assert_eq!(days.iter().map(|day| day.day.get() / 86_400_000).collect::<Vec<_>>(), [0, 1, 0, 1]);
    assert_eq!(all_records(&history), life.records);
    assert_eq!(history.days(Level::Hour, Millis::ZERO, Millis::new(1)).len(), 1);
    assert_eq!(history.verify().unwrap().seals, 3);
}

#[test]
fn a_block_that_does_not_follow_is_refused() {
    let life = days(6, 200);
    let blocks = blocks(&life);
    let dir = TempDir::new().unwrap();
    let history = History::open(dir.path()).unwrap();
    history.append(&blocks[0]).unwrap();
    let error = history.append(&blocks[2]).unwrap_err();
    assert!(matches!(error, HistoryError::Apart { .. }), "{error}");
    history.append(&blocks[1]).unwrap();
}

#[test]
fn damage_is_named_and_hides_no_more_than_itself() {
    let life = days(7, 400);
    let (dir, history) = kept(&life);
    let victim = history.blocks(Tick(0), Tick(400)).remove(1);
    let path = history.path("raw", victim.number, victim.day);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from(victim.at.places[2].offset).unwrap() + 20;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let history = History::open(dir.path()).unwrap();
    let error = history.verify().unwrap_err();
    let named = format!("the block of tick {} to {}", victim.head().tick.0, victim.head().end_tick().0);
    assert!(error.to_string().starts_with(&named), "{error}");
    let read = |block: &BlockId| history.records(block).is_ok();
    let readable = history.blocks(Tick(0), Tick(400)).iter().filter(|block| read(block)).count();
    assert_eq!(readable + 1, history.blocks(Tick(0), Tick(400)).len());

    let seals = dir.path().join("seals");
    let mut bytes = std::fs::read(&seals).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&seals, bytes).unwrap();
    let error = History::open(dir.path()).unwrap_err();
    assert!(error.to_string().starts_with("seal 0 in "), "{error}");
}

/// A sealed day, as an archive keeps it.
fn in_archive(history: &History, number: u64) -> Vec<u8> {
    let (mut raw, seal) = (Vec::new(), history.seal(number).unwrap().unwrap());
    while let Some(part) = history.raw_part(number, u64::try_from(raw.len()).unwrap(), 1000).unwrap() {
        raw.extend(part);
    }
    archived(&raw, &seal).unwrap()
}

#[test]
fn a_day_of_an_archive_stands_alone() {
    let life = days(8, 400);
    let (_dir, history) = kept(&life);
    for number in 0..2 {
        let bytes = in_archive(&history, number);
        let day = check_archived(&bytes).unwrap();
        assert_eq!((day.seal.clone(), day.ticks), (history.seal(number).unwrap().unwrap(), 144));
        assert_eq!(archive_name(&day.seal), format!("{number:08}-1970-01-0{}.day", number + 1));
    }
    let first = in_archive(&history, 0);
    let other = history.seal(1).unwrap().unwrap();
    let refused = |bytes: &[u8]| check_archived(bytes).unwrap_err();
    assert!(matches!(refused(&first[..first.len() - 1]), ArchiveError::NoDay));
    assert!(matches!(refused(b"ecovisor-day-1\n"), ArchiveError::NoSeal));
    let seal_bytes = history.seal(0).unwrap().unwrap().encode().len() + 4;
    let unsealed = &first[..first.len() - seal_bytes];
    assert!(matches!(refused(unsealed), ArchiveError::NoSeal));
    let exchanged = archived(unsealed, &other).unwrap();
    assert!(matches!(refused(&exchanged), ArchiveError::Seal(SealError::Raw { number: 1, .. })));
    // A block that was left out.
    let blocks = disk::pieces(&first, RAW).unwrap();
    let mut short = RAW.to_vec();
    for piece in blocks[..4].iter().chain(&blocks[8..]) {
        disk::put(&mut short, piece).unwrap();
    }
    assert!(matches!(refused(&short), ArchiveError::Apart(_)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_day(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check_archived(&bytes).is_err());
        prop_assert!(check_archived(&[RAW, &bytes].concat()).is_err());
    }
}

/// Cuts a file at a place, as a power cut leaves what was being appended.
fn cut(path: &Path, keep: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(keep).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_power_cut_in_any_append_costs_only_doing_it_again(
        seed in any::<u64>(), at in any::<prop::sample::Index>(), left in 0.0..1.0_f64, garbage in any::<bool>(),
    ) {
        let life = days(seed, 350);
        let blocks = blocks(&life);
        let at = at.index(blocks.len());
        let dir = TempDir::new().unwrap();
        let history = History::open(dir.path()).unwrap();
        blocks[..at].iter().for_each(|block| history.append(block).unwrap());
        let raw = |history: &History| history.raw_days().last().map(|day| history.path("raw", day.number, day.day));
        let before = raw(&history).map(|path| (std::fs::metadata(&path).unwrap().len(), path));
        history.append(&blocks[at]).unwrap();
        // The power goes: of what was appended only a part is there, or a part of it is zeros.
        if let (Some((size, path)), Some(now)) = (before, raw(&history))
            && path == now
        {
            let whole = std::fs::metadata(&path).unwrap().len();
            let part = size + crude(whole - size, left);
            cut(&path, part);
            if garbage {
                cut(&path, whole);
            }
        }
        drop(history);
        let history = History::open(dir.path()).unwrap();
        let end = history.end().map_or(Tick(0), |end| end.end_tick());
        prop_assert!(end == blocks[at].head.tick || end == blocks[at].head.end_tick());
        blocks.iter().filter(|block| block.head.tick >= end).for_each(|block| history.append(block).unwrap());
        prop_assert_eq!(all_records(&history), life.records);
        prop_assert!(history.verify().is_ok());
    }

    #[test]
    fn a_power_cut_while_a_day_ends_costs_only_doing_it_again(
        seed in any::<u64>(), left in 0.0..1.0_f64, lost in 0..3_u8,
    ) {
        let life = days(seed, 300);
        let (dir, history) = kept(&life);
        let whole = std::fs::read(dir.path().join("seals")).unwrap();
        let first = history.seal(0).unwrap().unwrap().encode().len() + 4 + SEALS.len();
        let second = u64::try_from(whole.len() - first).unwrap();
        let third = history.raw_days().last().copied().unwrap();
        // The third day had not begun; the second's seal, then its hours, then its minutes, were not there yet.
        std::fs::remove_file(history.path("raw", third.number, third.day)).unwrap();
        cut(&dir.path().join("seals"), u64::try_from(first).unwrap() + crude(second, left));
        let gone = ["hours", "minutes"].into_iter().take(lost.into());
        gone.for_each(|part| std::fs::remove_file(history.path(part, 1, Millis::from_secs(86_400))).unwrap());
        std::fs::write(dir.path().join("minutes/00000001-1970-01-02.unfinished"), "x").unwrap();
        drop(history);
        let history = History::open(dir.path()).unwrap();
        prop_assert_eq!(history.seals(), 1);
        let end = history.end().unwrap().end_tick();
        blocks(&life).iter().filter(|block| block.head.tick >= end).for_each(|b| history.append(b).unwrap());
        prop_assert_eq!(std::fs::read(dir.path().join("seals")).unwrap(), whole);
        prop_assert_eq!(all_rollups(&history, Level::Minute), due(&life, Level::Minute));
        prop_assert!(history.verify().is_ok());
        prop_assert_eq!(std::fs::read_dir(dir.path().join("minutes")).unwrap().count(), 2);
    }
}

/// A part of a length; advice, not an account.
fn crude(length: u64, part: f64) -> u64 {
    let thousandths = (0..1000_u32).rfind(|n| f64::from(*n) <= part * 1000.0).unwrap_or(0);
    length * u64::from(thousandths) / 1000
}
