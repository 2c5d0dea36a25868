//! The past on disk, beside the store: raw days, minutes, hours, and a seal for every day.
//!
//! ```text
//! seals                          one for each day that has ended, for ever; the days' sums are in them
//! hours/00000012-2026-11-24      a day's hours
//! minutes/00000012-2026-11-24    a day's minutes
//! raw/00000012-2026-11-24        a day's journal in blocks: head, snapshot, entries, minutes
//! archived                       how many days were taken into an archive
//! ```
//!
//! Blocks are appended to the last raw file and synced; only then may whoever gave them forget what is in them. When a day
//! has ended its hours and minutes are made whole beside their names and renamed, then its seal is appended: each from
//! what is on the disk already, so that a power cut at any moment costs nothing but doing it again. Raw days and rollups
//! are removed only when their seal is on the disk. Files hold each other together by numbers and links, not by times:
//! a wall clock that is set back begins another day with the same date.
//!
//! One writer at a time; any number of readers, who see a file as it is or not at all.

mod day;
mod disk;
mod follow;
mod index;

pub use day::{ArchiveError, ArchivedDay, Replayed, archive_name, archived, check_archived};
pub use follow::{BLOCK_TICKS, Block, Follower, Pushed};

use crate::block::{self, BlockError, Head};
use crate::chain::Link;
use crate::digest::LinkedRecord;
use crate::frame::{self, FrameError, Kind};
use crate::journal::Linked;
use crate::rollup::{self, Level, Roller, Rollup, RollupError};
use crate::seal::{self, Seal, SealError};
use crate::snapshot::Checkpoint;
use crate::verify::Fault;
use disk::Place;
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use index::{BlockAt, Day, Index};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use thiserror::Error;

/// What files begin with.
const RAW: &[u8] = b"ecovisor-day-1\n";
const ROLLUPS: &[u8] = b"ecovisor-rollups-1\n";
const SEALS: &[u8] = b"ecovisor-seals-1\n";

/// Rollups of one piece: a reader holds one piece at a time. 60 of ten apps are 30,000 figures.
const ROLLUPS_AT_ONCE: usize = 60;

/// Rows of apps in one piece, where a rollup has many: 4,096 rows are about 200,000 figures.
const ROWS_AT_ONCE: usize = 4096;

/// How long what is kept, in the site's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Raw readings.
    pub ticks: Millis,
    /// Minutes.
    pub minutes: Millis,
    /// Hours; `None`: for ever.
    pub hours: Option<Millis>,
    /// Whether raw days are kept until they were taken into an archive.
    pub archive: Archive,
}

/// Whether raw days may go without having been archived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Archive {
    /// They may.
    #[default]
    Optional,
    /// They may not.
    Required,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Millis::from_secs(days * 86_400);
        Self { ticks: days(7), minutes: days(90), hours: None, archive: Archive::Optional }
    }
}

/// Why the past cannot be had.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The disk refuses.
    #[error("cannot {doing} {}", .path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A piece is not what was written.
    #[error("{what} in {} cannot be read", .path.display())]
    Damaged {
        /// Which piece.
        what: String,
        /// Of which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The seals do not hang together.
    #[error("the seals in {}", .path.display())]
    Seals {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SealError,
    },
    /// A block that does not begin where the last one ended: a bug in whoever gave it.
    #[error("a block from tick {} on does not follow the last one, which ends at tick {}", .tick.0, .due.0)]
    Apart {
        /// Where it begins.
        tick: Tick,
        /// Where the next block must begin.
        due: Tick,
    },
}

impl HistoryError {
    /// Whether a file is gone that was there when it was looked up: it has been forgotten meanwhile.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    move |source| HistoryError::Disk { doing, path: path.to_path_buf(), source }
}

fn damaged<E: std::error::Error + Send + Sync + 'static>(
    what: impl Into<String>,
    path: &Path,
) -> impl FnOnce(E) -> HistoryError {
    move |source| HistoryError::Damaged {
        what: what.into(),
        path: path.to_path_buf(),
        source: Box::new(source),
    }
}

/// The past on disk.
#[derive(Debug)]
pub struct History {
    directory: PathBuf,
    index: RwLock<Index>,
    /// Held by whoever changes the files, and by whoever copies them.
    gate: Mutex<()>,
}

/// What a site has of its past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Since when there are raw readings, and from which tick; `None`: there are none here.
    pub raw: Option<(Millis, Tick)>,
    /// Since when there are minutes.
    pub minutes: Option<Millis>,
    /// Since when there are hours.
    pub hours: Option<Millis>,
    /// Since when there are days.
    pub days: Option<Millis>,
}

impl Kept {
    /// Since when there is a level.
    #[must_use]
    pub fn since(&self, level: Level) -> Option<Millis> {
        match level {
            Level::Tick => self.raw.map(|(since, _)| since),
            Level::Minute => self.minutes,
            Level::Hour => self.hours,
            Level::Day => self.days,
        }
    }
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Raw days.
    pub raw: u64,
    /// Minutes.
    pub minutes: u64,
    /// Hours.
    pub hours: u64,
    /// Seals, with the days' sums.
    pub seals: u64,
}

impl History {
    /// Opens the past in a directory, or begins one there: sweeps away and cuts off what was not whole when the power
    /// went, and checks the chain of seals.
    ///
    /// # Errors
    /// Where it cannot be read or the seals do not hang together.
    pub fn open(directory: &Path) -> Result<Self, HistoryError> {
        for part in ["raw", "minutes", "hours"] {
            let path = directory.join(part);
            std::fs::create_dir_all(&path).map_err(disk("make", &path))?;
            disk::sweep(&path).map_err(disk("sweep", &path))?;
        }
        disk::sweep(directory).map_err(disk("sweep", directory))?;
        let seals = directory.join("seals");
        if !seals.exists() {
            disk::make(&seals, SEALS).map_err(disk("make", &seals))?;
        }
        disk::sync_name(directory).map_err(disk("sync", directory))?;
        let index = Index::read(directory)?;
        Ok(Self { directory: directory.to_path_buf(), index: RwLock::new(index), gate: Mutex::new(()) })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        // Every change of the index is one assignment or one push after the disk has it.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the files as they are for as long as the guard lives: for a backup, which copies what the store has first and
    /// these files then, so that nothing that moves from there to here is in neither.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last day's stretch, which ends with the last block; `None` where there is none. The next block must follow it.
    #[must_use]
    pub fn end(&self) -> Option<Head> {
        self.read().days.last().map(|day| day.stretch)
    }

    /// What there is of the past.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.read().kept()
    }

    /// What each level costs.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
        let all = |part: &str| {
            let files = std::fs::read_dir(self.directory.join(part)).into_iter().flatten().flatten();
            files.map(|file| size(file.path())).sum()
        };
        let seals = size(self.directory.join("seals"));
        Sizes { raw: all("raw"), minutes: all("minutes"), hours: all("hours"), seals }
    }

    /// Keeps a block; it is on the disk when this returns. A block of another day first ends the day before.
    ///
    /// # Errors
    /// [`HistoryError::Apart`], or where it cannot be written: it is not kept then.
    pub fn append(&self, block: &Block) -> Result<(), HistoryError> {
        let _gate = self.hold();
        if let Some(end) = self.end().filter(|end| !block.head.follows(end)) {
            return Err(HistoryError::Apart { tick: block.head.tick, due: end.end_tick() });
        }
        let day = Level::Day.start_of(block.head.wall_min);
        let open =
            self.read().days.last().filter(|last| last.day == day && last.seal.is_none()).map(Day::number);
        if open.is_none() {
            self.end_last_day()?;
        }
        let pieces = [
            frame::encode(Kind::BlockHead, &block.head),
            block.snapshot.clone(),
            block.entries.clone(),
            block.minutes.clone(),
        ];
        let path;
        let at = match open {
            Some(number) => {
                path = self.path("raw", number, day);
                let at = self.read().days.last().map_or(0, Day::raw_end);
                let (bytes, at) = self.block(at, &block.head, &pieces, &path)?;
                disk::append(&path, at.begins(), &bytes).map_err(disk("append to", &path))?;
                at
            }
            None => {
                let number = self.read().next_number();
                path = self.path("raw", number, day);
                let front = u64::try_from(RAW.len()).unwrap_or(u64::MAX);
                let (bytes, at) = self.block(front, &block.head, &pieces, &path)?;
                disk::make(&path, &[RAW, &bytes].concat()).map_err(disk("make", &path))?;
                at
            }
        };
        self.write().append(day, at);
        Ok(())
    }

    fn block(
        &self,
        at: u64,
        head: &Head,
        pieces: &[Vec<u8>; 4],
        path: &Path,
    ) -> Result<(Vec<u8>, BlockAt), HistoryError> {
        let mut bytes = Vec::new();
        for piece in pieces {
            disk::put(&mut bytes, piece).map_err(disk("append to", path))?;
        }
        Ok((bytes, BlockAt::new(at, head, pieces)))
    }

    fn path(&self, part: &str, number: u64, day: Millis) -> PathBuf {
        self.directory.join(part).join(index::name(number, day))
    }

    /// Ends the last day where it has not ended yet: makes its minutes and hours and seals it. Doing it again changes
    /// nothing.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn end_day(&self) -> Result<(), HistoryError> {
        let _gate = self.hold();
        self.end_last_day()
    }

    fn end_last_day(&self) -> Result<(), HistoryError> {
        let Some(day) = self.read().days.last().filter(|day| day.seal.is_none()).cloned() else {
            return Ok(());
        };
        let number = day.number();
        let mut rollers = [Roller::new(Level::Minute), Roller::new(Level::Hour), Roller::new(Level::Day)];
        let mut files = [Frames::default(), Frames::default()];
        let mut sums: Option<Rollup> = None;
        let [minutes, hours, days] = &mut rollers;
        let [minute_file, hour_file] = &mut files;
        // Minutes of blocks meet in the middle of a minute, where a block had to end there.
        let mut ended = |minute: Rollup, hours: &mut Roller, days: &mut Roller| {
            hour_file.extend(hours.push(minute.clone()));
            sums = sums.take().or(days.push(minute.clone()));
            minute_file.extend(Some(minute));
        };
        for block in &day.blocks {
            for minute in self.minutes_of(&day, block)? {
                if let Some(minute) = minutes.push(minute) {
                    ended(minute, hours, days);
                }
            }
        }
        let [minutes, mut hours, mut days] = rollers;
        if let Some(minute) = minutes.finish() {
            ended(minute, &mut hours, &mut days);
        }
        hour_file.extend(hours.finish());
        // All ticks of a run began on one day, so there is one sum, and it is still open.
        let Some(sums) = sums.or(days.finish()) else { return Ok(()) };
        let [minute_file, hour_file] = files;
        let minutes = self.make_rollups("minutes", &day, minute_file)?;
        let hours = self.make_rollups("hours", &day, hour_file)?;
        let before = self.read().last_seal_link();
        let seal = Seal { number, stretch: day.stretch, minutes, hours, sums, before };
        self.append_seal(&seal)
    }

    fn make_rollups(&self, part: &str, day: &Day, frames: Frames) -> Result<Link, HistoryError> {
        let frames = frames.finish();
        let path = self.path(part, day.number(), day.day);
        let mut bytes = ROLLUPS.to_vec();
        for frame in &frames {
            disk::put(&mut bytes, frame).map_err(disk("make", &path))?;
        }
        disk::make(&path, &bytes).map_err(disk("make", &path))?;
        Ok(seal::hash(&frames))
    }

    fn append_seal(&self, seal: &Seal) -> Result<(), HistoryError> {
        let path = self.directory.join("seals");
        let at = self.read().seals_end;
        let encoded = seal.encode();
        let mut bytes = Vec::new();
        disk::put(&mut bytes, &encoded).map_err(disk("append to", &path))?;
        disk::append(&path, at, &bytes).map_err(disk("append to", &path))?;
        self.write().sealed(seal, encoded.len());
        Ok(())
    }

    /// Removes what is older than it is kept; `now` is the site's own time. At most `most` files at once, so that
    /// forgetting a year does not take long.
    ///
    /// # Errors
    /// Where a file cannot be removed.
    pub fn forget(&self, now: Millis, retention: &Retention, most: usize) -> Result<usize, HistoryError> {
        let _gate = self.hold();
        let due = self.read().due(now, retention, self.archived(), most);
        for (part, number, day) in &due {
            // The index first: who looks up a file afterwards does not find it there.
            self.write().forget(part, *number);
            let path = self.path(part, *number, *day);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(disk("remove", &path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(due.len())
    }

    /// How many days, from the first on, were taken into an archive.
    #[must_use]
    pub fn archived(&self) -> u64 {
        let text = std::fs::read_to_string(self.directory.join("archived"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Notes that all days before `number` were taken into an archive.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn archive_taken(&self, number: u64) -> Result<(), HistoryError> {
        let path = self.directory.join("archived");
        let number = number.max(self.archived());
        disk::make(&path, format!("{number}\n").as_bytes()).map_err(disk("write", &path))
    }

    /// The raw blocks that reach into the ticks from `from` to before `to`.
    #[must_use]
    pub fn blocks(&self, from: Tick, to: Tick) -> Vec<BlockId> {
        self.read().blocks(|head| head.tick < to && head.end_tick() > from)
    }

    /// The raw block with an entry.
    #[must_use]
    pub fn block_with_entry(&self, seq: u64) -> Option<BlockId> {
        self.read().blocks(|head| head.seq <= seq && seq < head.end_seq()).into_iter().next()
    }

    /// The raw blocks with ticks that began from `from` to before `to`, in ms since the Unix epoch.
    #[must_use]
    pub fn blocks_between(&self, from: Millis, to: Millis) -> Vec<BlockId> {
        self.read().blocks(|head| head.wall_min < to && head.wall_max >= from)
    }

    /// The raw days there are: number, UTC day, and whether it is sealed.
    #[must_use]
    pub fn raw_days(&self) -> Vec<RawDay> {
        let index = self.read();
        let raw = index.days.iter().filter(|day| !day.blocks.is_empty());
        raw.map(|day| RawDay {
            number: day.number(),
            day: day.day,
            stretch: day.stretch,
            sealed: day.seal.is_some(),
        })
        .collect()
    }

    /// A part of a raw day's file, from `offset` on, at most `most` bytes; `None` at its end, or where it is gone.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn raw_part(&self, number: u64, offset: u64, most: u32) -> Result<Option<Vec<u8>>, HistoryError> {
        let Some(day) = self.read().day(number).filter(|day| !day.blocks.is_empty()).cloned() else {
            return Ok(None);
        };
        let left = day.raw_end().saturating_sub(offset);
        let length = u32::try_from(left).unwrap_or(u32::MAX).min(most);
        if length == 0 {
            return Ok(None);
        }
        let path = self.path("raw", number, day.day);
        let mut file = match disk::open(&path, RAW) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("read", &path)(error)),
        };
        disk::read(&mut file, Place { offset, length }).map(Some).map_err(disk("read", &path))
    }

    /// The state before a block.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn checkpoint(&self, block: &BlockId) -> Result<Checkpoint, HistoryError> {
        let (path, bytes) = self.piece(block, 1)?;
        Checkpoint::decode(&bytes).map_err(damaged(block.what("the snapshot before"), &path))
    }

    /// The entries of a block.
    ///
    /// # Errors
    /// Where they cannot be read or are damaged.
    pub fn entries(&self, block: &BlockId) -> Result<Vec<Linked>, HistoryError> {
        let (path, bytes) = self.piece(block, 2)?;
        block::decode(&block.at.head, &bytes).map_err(damaged::<BlockError>(block.what("the block"), &path))
    }

    /// The records of a block, made again from its entries.
    ///
    /// # Errors
    /// Where they cannot be read, are damaged, or do not lead to the records that were kept.
    pub fn records(&self, block: &BlockId) -> Result<Vec<LinkedRecord>, HistoryError> {
        let path = self.path("raw", block.number, block.day);
        let fault = |fault: Fault| damaged(block.what("the block"), &path)(fault);
        let mut state = self.checkpoint(block)?.snapshot;
        let mut records = Vec::new();
        let mut link = block.at.head.records_before;
        for linked in self.entries(block)? {
            let tick = state.site.tick();
            let applied =
                state.apply(&linked.entry).map_err(|broken| fault(Fault::Broken { tick, broken }))?;
            if let crate::Applied::Settled(record) = applied {
                let record = LinkedRecord::new(link, *record);
                link = record.link.unwrap_or(link);
                records.push(record);
            }
        }
        match link == block.at.head.records_after {
            true => Ok(records),
            false => Err(damaged(block.what("the block"), &path)(BlockError::Unlinked(
                block.at.head.records_after,
            ))),
        }
    }

    fn minutes_of(&self, day: &Day, block: &BlockAt) -> Result<Vec<Rollup>, HistoryError> {
        let id = BlockId { number: day.number(), day: day.day, at: block.clone() };
        let (path, bytes) = self.piece(&id, 3)?;
        rollup::decode(&bytes).map_err(damaged::<RollupError>(id.what("the minutes"), &path))
    }

    fn piece(&self, block: &BlockId, piece: usize) -> Result<(PathBuf, Vec<u8>), HistoryError> {
        let path = self.path("raw", block.number, block.day);
        let mut file = disk::open(&path, RAW).map_err(disk("read", &path))?;
        let bytes = disk::read(&mut file, block.at.places[piece]).map_err(disk("read", &path))?;
        Ok((path, bytes))
    }

    /// The days of which there is a level and that reach into the time from `from` to before `to`, oldest first.
    #[must_use]
    pub fn days(&self, level: Level, from: Millis, to: Millis) -> Vec<DayId> {
        self.read().with_level(level, from, to)
    }

    /// All days that reach into the time from `from` to before `to`, oldest first, whatever is kept of them.
    #[must_use]
    pub fn days_between(&self, from: Millis, to: Millis) -> Vec<DayId> {
        self.read().between(from, to)
    }

    /// Whether a level of a day is kept; of a day that has not ended, its minutes and hours are made from its blocks.
    #[must_use]
    pub fn has(&self, level: Level, number: u64) -> bool {
        self.read().has(level, number)
    }

    /// The rollups of a day, oldest first; of a day that has not ended, of what is kept of it.
    ///
    /// # Errors
    /// Where they cannot be read or are damaged.
    pub fn rollups(&self, level: Level, day: &DayId) -> Result<Vec<Rollup>, HistoryError> {
        if level == Level::Day {
            return Ok(self.seal(day.number)?.map(|seal| seal.sums).into_iter().collect());
        }
        let open = self.read().day(day.number).filter(|day| day.seal.is_none()).cloned();
        if let Some(open) = open {
            let mut minutes = Vec::new();
            for block in &open.blocks {
                minutes.extend(self.minutes_of(&open, block)?);
            }
            return Ok(rollup::rolled(minutes, level));
        }
        let part = if level == Level::Minute { "minutes" } else { "hours" };
        let path = self.path(part, day.number, day.day);
        let mut rollups = Vec::new();
        for frame in self.rollup_frames(level, day)? {
            rollups.extend(rollup::decode(&frame).map_err(damaged::<RollupError>("a piece", &path))?);
        }
        Ok(rollups)
    }

    /// The frames in which the rollups of a sealed day are kept.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn rollup_frames(&self, level: Level, day: &DayId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let part = if level == Level::Minute { "minutes" } else { "hours" };
        let path = self.path(part, day.number, day.day);
        let mut file = disk::open(&path, ROLLUPS).map_err(disk("read", &path))?;
        let places = disk::places(&mut file, ROLLUPS).map_err(disk("read", &path))?;
        let pieces = places.into_iter().map(|place| disk::read(&mut file, place));
        pieces.collect::<io::Result<_>>().map_err(disk("read", &path))
    }

    /// A day's seal; `None` where it has none.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn seal(&self, number: u64) -> Result<Option<Seal>, HistoryError> {
        let Some(place) = self.read().day(number).and_then(|day| day.seal) else { return Ok(None) };
        let path = self.directory.join("seals");
        let mut file = disk::open(&path, SEALS).map_err(disk("read", &path))?;
        let bytes = disk::read(&mut file, place).map_err(disk("read", &path))?;
        Seal::decode(&bytes).map(Some).map_err(damaged(format!("seal {number}"), &path))
    }

    /// How many days have a seal.
    #[must_use]
    pub fn seals(&self) -> u64 {
        self.read().seals()
    }

    /// The link after the last seal; [`Link::ORIGIN`] where there is none.
    #[must_use]
    pub fn seals_head(&self) -> Link {
        self.read().last_seal_link()
    }

    /// Checks all there is: every seal, every rollup against its seal, and every raw day by replaying it.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn verify(&self) -> Result<Verified, HistoryError> {
        let mut verified = Verified::default();
        for number in 0..self.seals() {
            let Some(seal) = self.seal(number)? else { continue };
            verified.seals += 1;
            let day = DayId { number, day: seal.day() };
            for level in [Level::Minute, Level::Hour] {
                if !self.read().has(level, number) {
                    continue;
                }
                let path = self.directory.join("seals");
                let checked = seal.check_rollups(level, &self.rollup_frames(level, &day)?);
                let rollups = checked.map_err(|source| HistoryError::Seals { path, source })?;
                verified.rollups += u64::try_from(rollups.len()).unwrap_or(u64::MAX);
            }
        }
        for block in self.blocks(Tick(0), Tick(u64::MAX)) {
            verified.ticks += u64::try_from(self.records(&block)?.len()).unwrap_or(u64::MAX);
        }
        Ok(verified)
    }
}

/// What a check of the past came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Seals that follow each other.
    pub seals: u64,
    /// Rollups that are those that were sealed.
    pub rollups: u64,
    /// Ticks that were replayed and led to the records that were kept.
    pub ticks: u64,
}

/// A block, to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockId {
    number: u64,
    day: Millis,
    at: BlockAt,
}

impl BlockId {
    /// What is known of it without reading it.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.at.head
    }

    /// The number of its day.
    #[must_use]
    pub const fn day_number(&self) -> u64 {
        self.number
    }

    fn what(&self, what: &str) -> String {
        format!("{what} of tick {} to {}", self.at.head.tick.0, self.at.head.end_tick().0)
    }
}

/// A day, to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayId {
    /// Its number, counted from 0.
    pub number: u64,
    /// When it began, in UTC, in ms since the Unix epoch.
    pub day: Millis,
}

/// A day of which there are raw readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawDay {
    /// Its number, counted from 0.
    pub number: u64,
    /// When it began, in UTC, in ms since the Unix epoch.
    pub day: Millis,
    /// What it holds.
    pub stretch: Head,
    /// Whether it has ended and is sealed.
    pub sealed: bool,
}

/// Rollups on their way into pieces.
#[derive(Debug, Default)]
struct Frames {
    frames: Vec<Vec<u8>>,
    waiting: Vec<Rollup>,
    rows: usize,
}

impl Frames {
    fn extend(&mut self, rollup: Option<Rollup>) {
        let Some(rollup) = rollup else { return };
        self.rows += rollup.apps.len();
        self.waiting.push(rollup);
        if self.waiting.len() >= ROLLUPS_AT_ONCE || self.rows >= ROWS_AT_ONCE {
            self.end();
        }
    }

    fn end(&mut self) {
        if !self.waiting.is_empty() {
            self.frames.push(rollup::encode(&std::mem::take(&mut self.waiting)));
            self.rows = 0;
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.end();
        self.frames
    }
}

/// What is wrong with a frame of a block's head.
fn head_of(bytes: &[u8]) -> Result<Head, FrameError> {
    frame::decode(Kind::BlockHead, bytes)
}

/// Where pieces of a block stand.
fn places_of(mut at: u64, pieces: &[Vec<u8>; 4]) -> [Place; 4] {
    std::array::from_fn(|i| {
        let place = Place { offset: at + 4, length: u32::try_from(pieces[i].len()).unwrap_or(u32::MAX) };
        at = place.end();
        place
    })
}

#[cfg(test)]
mod tests;
