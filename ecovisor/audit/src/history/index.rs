//! What is where: one entry for every day the site has lived, and for every block of the raw ones. Made from the files
//! at the start, and kept in step with them.

use super::disk::{self, Place};
use super::{
    Archive, BlockId, DayId, HistoryError, Kept, RAW, Retention, SEALS, damaged, disk as failed, head_of,
    places_of,
};
use crate::block::Head;
use crate::chain::Link;
use crate::frame::{self, Kind};
use crate::rollup::Level;
use crate::seal::Seal;
use ecovisor_units::Millis;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// The name of a day's files: its number, so that names sort as days do, and its date for people.
pub(super) fn name(number: u64, day: Millis) -> String {
    let (year, month, date) = civil(day.get() / 86_400_000);
    format!("{number:08}-{year:04}-{month:02}-{date:02}")
}

/// The number in a name; `None` where it is none of ours.
fn number_of(name: &str) -> Option<u64> {
    name.split_once('-').filter(|(number, _)| number.len() == 8)?.0.parse().ok()
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// A block in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockAt {
    pub(super) head: Head,
    /// Head, snapshot, entries, minutes.
    pub(super) places: [Place; 4],
}

impl BlockAt {
    pub(super) fn new(at: u64, head: &Head, pieces: &[Vec<u8>; 4]) -> Self {
        Self { head: *head, places: places_of(at, pieces) }
    }

    pub(super) const fn begins(&self) -> u64 {
        self.places[0].offset - 4
    }
}

/// A day.
#[derive(Clone, Debug)]
pub(super) struct Day {
    number: u64,
    pub(super) day: Millis,
    pub(super) stretch: Head,
    /// The raw ones; none where they are gone.
    pub(super) blocks: Vec<BlockAt>,
    pub(super) seal: Option<Place>,
    minutes: bool,
    hours: bool,
}

impl Day {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Where the next block would stand in its file.
    pub(super) fn raw_end(&self) -> u64 {
        self.blocks.last().map_or(0, |block| block.places[3].end())
    }

    const fn has(&self, level: Level) -> bool {
        match level {
            Level::Tick => !self.blocks.is_empty(),
            Level::Minute => self.minutes || self.seal.is_none(),
            Level::Hour => self.hours || self.seal.is_none(),
            Level::Day => self.seal.is_some(),
        }
    }
}

/// All days; the last may be under way.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) days: Vec<Day>,
    pub(super) seals_end: u64,
    head: Option<Link>,
}

impl Index {
    /// Reads the files of a directory. What follows the last whole block or seal was being written when the power went.
    pub(super) fn read(directory: &Path) -> Result<Self, HistoryError> {
        let mut index = Self { seals_end: u64::try_from(SEALS.len()).unwrap_or(u64::MAX), ..Self::default() };
        index.read_seals(&directory.join("seals"))?;
        let numbers = |part: &str| -> Result<BTreeSet<u64>, HistoryError> {
            let path = directory.join(part);
            let files = std::fs::read_dir(&path).map_err(failed("list", &path))?;
            Ok(files.flatten().filter_map(|file| number_of(&file.file_name().to_string_lossy())).collect())
        };
        let (minutes, hours) = (numbers("minutes")?, numbers("hours")?);
        for day in &mut index.days {
            (day.minutes, day.hours) = (minutes.contains(&day.number), hours.contains(&day.number));
        }
        for file in std::fs::read_dir(directory.join("raw")).map_err(failed("list", directory))?.flatten() {
            if let Some(number) = number_of(&file.file_name().to_string_lossy()) {
                index.read_raw(number, &file.path())?;
            }
        }
        Ok(index)
    }

    fn read_seals(&mut self, path: &Path) -> Result<(), HistoryError> {
        let mut file = disk::open(path, SEALS).map_err(failed("read", path))?;
        let mut before: Option<Seal> = None;
        for (number, place) in (0..).zip(disk::places(&mut file, SEALS).map_err(failed("read", path))?) {
            let bytes = disk::read(&mut file, place).map_err(failed("read", path))?;
            let is_last = file.metadata().is_ok_and(|file| file.len() == place.end());
            let seal = match Seal::decode(&bytes) {
                Ok(seal) => seal,
                // It was being written when the power went; its day is there and is sealed again.
                Err(_) if is_last => break,
                Err(error) => return Err(damaged(format!("seal {number}"), path)(error)),
            };
            let follows = seal.check_after(before.as_ref());
            follows.map_err(|source| HistoryError::Seals { path: path.to_path_buf(), source })?;
            self.days.push(Day {
                number,
                day: seal.day(),
                stretch: seal.stretch,
                blocks: Vec::new(),
                seal: Some(place),
                minutes: false,
                hours: false,
            });
            self.seals_end = place.end();
            self.head = Some(seal.link());
            before = Some(seal);
        }
        Ok(())
    }

    /// Adds the blocks of a raw file to its day; a file beyond the seals is the day that is under way.
    fn read_raw(&mut self, number: u64, path: &Path) -> Result<(), HistoryError> {
        let mut file = disk::open(path, RAW).map_err(failed("read", path))?;
        let places = disk::places(&mut file, RAW).map_err(failed("read", path))?;
        let mut blocks: Vec<BlockAt> = Vec::new();
        for four in places.chunks_exact(4) {
            let places = [four[0], four[1], four[2], four[3]];
            let bytes = disk::read(&mut file, places[0]).map_err(failed("read", path))?;
            // A damaged head hides its block, and no other: the verification names what is missing.
            if let Ok(head) = head_of(&bytes) {
                blocks.push(BlockAt { head, places });
            }
        }
        if number >= self.seals() {
            drop_torn(&mut file, &mut blocks);
        }
        let Some(first) = blocks.first() else { return Ok(()) };
        let stretch = blocks[1..].iter().fold(first.head, |stretch, block| stretch.with(&block.head));
        if let Some(day) = self.days.iter_mut().find(|day| day.number == number) {
            day.blocks = blocks;
            return Ok(());
        }
        let day = Level::Day.start_of(stretch.wall_min);
        self.days.push(Day { number, day, stretch, blocks, seal: None, minutes: false, hours: false });
        Ok(())
    }

    pub(super) fn append(&mut self, day: Millis, block: BlockAt) {
        match self.days.last_mut().filter(|last| last.seal.is_none()) {
            Some(last) => {
                last.stretch = last.stretch.with(&block.head);
                last.blocks.push(block);
            }
            None => self.days.push(Day {
                number: self.next_number(),
                day,
                stretch: block.head,
                blocks: vec![block],
                seal: None,
                minutes: false,
                hours: false,
            }),
        }
    }

    pub(super) fn sealed(&mut self, seal: &Seal, length: usize) {
        let place = Place { offset: self.seals_end + 4, length: u32::try_from(length).unwrap_or(u32::MAX) };
        self.seals_end = place.end();
        self.head = Some(seal.link());
        if let Some(day) = self.days.iter_mut().find(|day| day.number == seal.number) {
            (day.seal, day.minutes, day.hours) = (Some(place), true, true);
        }
    }

    pub(super) fn last_seal_link(&self) -> Link {
        self.head.unwrap_or(Link::ORIGIN)
    }

    pub(super) fn seals(&self) -> u64 {
        self.days.iter().rfind(|day| day.seal.is_some()).map_or(0, |day| day.number + 1)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.days.last().map_or(0, |day| day.number + 1)
    }

    pub(super) fn day(&self, number: u64) -> Option<&Day> {
        self.days.iter().find(|day| day.number == number)
    }

    pub(super) fn has(&self, level: Level, number: u64) -> bool {
        self.day(number).is_some_and(|day| day.has(level))
    }

    pub(super) fn blocks(&self, wanted: impl Fn(&Head) -> bool) -> Vec<BlockId> {
        let days = self.days.iter().filter(|day| wanted(&day.stretch));
        let blocks = days.flat_map(|day| day.blocks.iter().map(move |at| (day, at)));
        blocks
            .filter(|(_, at)| wanted(&at.head))
            .map(|(day, at)| BlockId { number: day.number, day: day.day, at: at.clone() })
            .collect()
    }

    pub(super) fn with_level(&self, level: Level, from: Millis, to: Millis) -> Vec<DayId> {
        let within = |day: &&Day| day.stretch.wall_min < to && day.stretch.wall_max >= from;
        let days = self.days.iter().filter(|day| day.has(level)).filter(within);
        days.map(|day| DayId { number: day.number, day: day.day }).collect()
    }

    pub(super) fn between(&self, from: Millis, to: Millis) -> Vec<DayId> {
        let within = |day: &&Day| day.stretch.wall_min < to && day.stretch.wall_max >= from;
        self.days.iter().filter(within).map(|day| DayId { number: day.number, day: day.day }).collect()
    }

    pub(super) fn kept(&self) -> Kept {
        // What is kept of a level reaches from some day to the last: the oldest go first.
        let since = |level| self.days.iter().find(|day| day.has(level)).map(|day| day.stretch.wall_min);
        let raw = self.days.iter().find(|day| day.has(Level::Tick));
        Kept {
            raw: raw.map(|day| (day.stretch.wall_min, day.stretch.tick)),
            minutes: since(Level::Minute),
            hours: since(Level::Hour),
            days: since(Level::Day),
        }
    }

    /// Files that are older than they are kept, by part, number and day.
    pub(super) fn due(
        &self,
        now: Millis,
        retention: &Retention,
        archived: u64,
        most: usize,
    ) -> Vec<(&'static str, u64, Millis)> {
        let old = |day: &Day, kept: Millis| day.stretch.site_end.saturating_add(kept) < now;
        let mut due = Vec::new();
        for day in self.days.iter().filter(|day| day.seal.is_some()) {
            let may = retention.archive == Archive::Optional || day.number < archived;
            let parts = [
                ("raw", !day.blocks.is_empty() && may && old(day, retention.ticks)),
                ("minutes", day.minutes && old(day, retention.minutes)),
                ("hours", day.hours && retention.hours.is_some_and(|kept| old(day, kept))),
            ];
            due.extend(parts.iter().filter(|(_, is)| *is).map(|(part, _)| (*part, day.number, day.day)));
        }
        due.truncate(most);
        due
    }

    pub(super) fn forget(&mut self, part: &str, number: u64) {
        let Some(day) = self.days.iter_mut().find(|day| day.number == number) else { return };
        match part {
            "raw" => day.blocks = Vec::new(),
            "minutes" => day.minutes = false,
            _ => day.hours = false,
        }
    }
}

/// The last block of the day under way may hold what was never synced: its frames must be whole. Those before it were
/// synced before it was begun.
fn drop_torn(file: &mut File, blocks: &mut Vec<BlockAt>) {
    let kinds = [Kind::BlockHead, Kind::Snapshot, Kind::Block, Kind::Rollups];
    let mut whole = |block: &BlockAt| {
        let mut pieces = block.places.iter().zip(kinds);
        pieces.all(|(place, kind)| {
            disk::read(file, *place).is_ok_and(|bytes| frame::open(kind, &bytes).is_ok())
        })
    };
    if blocks.last().is_some_and(|last| !whole(last)) {
        blocks.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_number_and_date() {
        let check = |days: u64, name_of: &str| {
            let name = name(12, Millis::from_secs(days * 86_400));
            assert_eq!(name, name_of);
            assert_eq!(number_of(&name), Some(12));
        };
        check(0, "00000012-1970-01-01");
        check(19_782, "00000012-2024-02-29");
        check(19_783, "00000012-2024-03-01");
        check(20_782, "00000012-2026-11-25");
        assert_eq!(number_of("seals"), None);
    }
}
