//! A block: a stretch of the journal in columns, a fraction of its size, from which every entry and every link of the
//! chain comes back bit for bit.
//!
//! Inputs of ticks are coded figure by figure ([`cells`](crate::cells)): a meter's readings stand together, and most of
//! them differ little from the ones before. Links are left out: they follow from the entries, and the last one, which
//! is kept, vouches for the rest. Commands and notes are rare and stay as they are.

use crate::cells::{Cells, CellsError, Reader, Writer};
use crate::chain::Link;
use crate::frame::{self, FrameError, Kind};
use crate::journal::{Entry, Linked};
use ecovisor_core::{ContainerId, ContainerUse, Inputs, Reading, Readings, Tick};
use ecovisor_units::{CarbonIntensity, Energy, Millis};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is known of a stretch without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of its first entry.
    pub seq: u64,
    /// How many entries it has; the last is a tick.
    pub entries: u64,
    /// Its first tick.
    pub tick: Tick,
    /// How many ticks it has; never zero.
    pub ticks: u64,
    /// The earliest beginning of any of its ticks, in ms since the Unix epoch: the first one's, unless the clock was set
    /// back.
    pub wall_min: Millis,
    /// The latest beginning of any of its ticks.
    pub wall_max: Millis,
    /// When its last tick ended, in ms of the site's own time.
    pub site_end: Millis,
    /// The journal's link before the first entry.
    pub journal_before: Link,
    /// The journal's link after the last entry.
    pub journal_after: Link,
    /// The records' link before the first tick.
    pub records_before: Link,
    /// The records' link after the last tick.
    pub records_after: Link,
}

impl Head {
    /// The tick after the last.
    #[must_use]
    pub const fn end_tick(&self) -> Tick {
        Tick(self.tick.0.saturating_add(self.ticks))
    }

    /// From its beginning to the end of a later stretch.
    #[must_use]
    pub fn with(&self, next: &Self) -> Self {
        Self {
            entries: next.end_seq().saturating_sub(self.seq),
            ticks: next.end_tick().0.saturating_sub(self.tick.0),
            wall_min: self.wall_min.min(next.wall_min),
            wall_max: self.wall_max.max(next.wall_max),
            site_end: next.site_end,
            journal_after: next.journal_after,
            records_after: next.records_after,
            ..*self
        }
    }

    /// Whether it begins where `before` ends.
    #[must_use]
    pub fn follows(&self, before: &Self) -> bool {
        let (is, due) = (self, before);
        (is.seq, is.tick) == (due.end_seq(), due.end_tick())
            && (is.journal_before, is.records_before) == (due.journal_after, due.records_after)
    }

    /// The number of the entry after the last.
    #[must_use]
    pub const fn end_seq(&self) -> u64 {
        self.seq.saturating_add(self.entries)
    }
}

/// Why the entries of a block cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The frame is not whole.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The columns are none of inputs.
    #[error(transparent)]
    Cells(#[from] CellsError),
    /// Whole, but other entries than those that its head vouches for.
    #[error("its entries do not lead to the link {0}")]
    Unlinked(Link),
}

/// A journal entry's place among the columns.
const TAG: usize = 0;
/// Lengths of entries that are no ticks.
const LENGTH: usize = 1;
const SPAN: usize = 2;
/// When the tick began, less when the one before it ended.
const WALL: usize = 3;
const GRID_LOST: usize = 4;
/// How many containers.
const CONTAINERS: usize = 5;
/// Four columns for each reading of the site.
const READINGS: usize = 6;
/// Columns of a reading: whether there is one, its value, its age, whether it is counted.
const READING: usize = 4;
/// Five columns for each container: its number, and its reading.
const CONTAINER: usize = READINGS + 9 * READING;

/// Tags of entries.
const TICK: u8 = 0;
const OTHER: u8 = 1;

/// Entries on their way into a block.
#[derive(Debug, Default)]
pub struct Encoder {
    cells: Writer,
    others: Vec<u8>,
    entries: u64,
    expected_wall: Millis,
}

impl Encoder {
    /// One more entry.
    ///
    /// # Panics
    /// Never: writing columns takes every figure.
    pub fn push(&mut self, entry: &Entry) {
        let wrote = match entry {
            Entry::Tick(inputs) => self.cells.narrow(TAG, TICK).and_then(|_| {
                let wrote = walk(&mut self.cells, inputs, self.expected_wall)?;
                self.expected_wall = ends(&wrote);
                Ok(())
            }),
            Entry::Command(_) | Entry::Note(_) => {
                let bytes = frame::pack(entry);
                self.others.extend(&bytes);
                self.cells
                    .narrow(TAG, OTHER)
                    .and_then(|_| self.cells.cell(LENGTH, crate::cells::wide(bytes.len())).map(drop))
            }
        };
        wrote.expect("columns take every figure");
        self.entries += 1;
    }

    /// Figures so far: what the block costs in memory, 16 bytes each.
    #[must_use]
    pub const fn figures(&self) -> usize {
        self.cells.figures()
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// As a frame.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut payload = self.cells.encode();
        payload.extend(&self.others);
        frame::seal(Kind::Block, &payload)
    }
}

/// The entries of a block with their links.
///
/// # Errors
/// Where they are not whole, or not those that the head vouches for.
pub fn decode(head: &Head, bytes: &[u8]) -> Result<Vec<Linked>, BlockError> {
    let (mut cells, mut others) = Reader::decode(frame::open(Kind::Block, bytes)?)?;
    let (mut entries, mut link, mut wall) = (Vec::new(), head.journal_before, Millis::ZERO);
    for _ in 0..head.entries {
        let entry = match cells.narrow(TAG, 0_u8)? {
            TICK => {
                let inputs = walk(&mut cells, &Inputs::default(), wall)?;
                wall = ends(&inputs);
                Entry::Tick(inputs)
            }
            OTHER => other(&mut cells, &mut others)?,
            tag => return Err(CellsError::Figure { column: TAG, figure: tag.into() }.into()),
        };
        let linked = Linked::new(link, entry);
        link = linked.link;
        entries.push(linked);
    }
    cells.finish()?;
    match others {
        [] if link == head.journal_after => Ok(entries),
        [] => Err(BlockError::Unlinked(head.journal_after)),
        rest => Err(FrameError::Trailing { extra: rest.len() }.into()),
    }
}

/// An entry that is no tick, off the front of `others`.
fn other(cells: &mut Reader, others: &mut &[u8]) -> Result<Entry, BlockError> {
    let length = cells.narrow(LENGTH, 0_u64)?;
    let length = usize::try_from(length).map_err(|_| CellsError::Truncated)?;
    let (bytes, rest) = others.split_at_checked(length).ok_or(CellsError::Truncated)?;
    *others = rest;
    Ok(frame::unpack(bytes)?)
}

/// When the next tick is expected to begin: ticks follow each other without a pause.
fn ends(inputs: &Inputs) -> Millis {
    Millis::new(inputs.wall.get().wrapping_add(inputs.span.get()))
}

/// The figures of a tick's inputs, in either direction.
fn walk(cells: &mut impl Cells, from: &Inputs, expected: Millis) -> Result<Inputs, CellsError> {
    let span = Millis::new(cells.narrow(SPAN, from.span.get())?);
    // Wide, because a tick may begin before it is expected.
    let expected = u128::from(expected.get());
    let late = cells.cell(WALL, u128::from(from.wall.get()).wrapping_sub(expected))?;
    let wall = u64::try_from(expected.wrapping_add(late))
        .map_err(|_| CellsError::Figure { column: WALL, figure: late })?;
    let wall = Millis::new(wall);
    let grid_lost = cells.yes(GRID_LOST, from.grid_lost)?;
    let r = &from.readings;
    let readings = Readings {
        solar_available: energy(cells, READINGS, r.solar_available)?,
        solar: energy(cells, READINGS + READING, r.solar)?,
        grid_import: energy(cells, READINGS + 2 * READING, r.grid_import)?,
        grid_export: energy(cells, READINGS + 3 * READING, r.grid_export)?,
        battery_in: energy(cells, READINGS + 4 * READING, r.battery_in)?,
        battery_out: energy(cells, READINGS + 5 * READING, r.battery_out)?,
        battery_level: energy(cells, READINGS + 6 * READING, r.battery_level)?,
        load: energy(cells, READINGS + 7 * READING, r.load)?,
        intensity: reading(
            cells,
            READINGS + 8 * READING,
            r.intensity.map(|r| of(r, r.value.get())),
            CarbonIntensity::new,
        )?,
    };
    let count = cells.cell(CONTAINERS, crate::cells::wide(from.containers.len()))?;
    let mut containers = Vec::new();
    let mut column = CONTAINER;
    for i in 0..usize::try_from(count).map_err(|_| CellsError::TooMany { figures: count })? {
        let was = from.containers.get(i).copied();
        let id = cells.narrow(column, was.map_or(0, |was| was.container.get()))?;
        let used = energy(cells, column + 1, was.and_then(|was| was.used))?;
        containers.push(ContainerUse { container: ContainerId::new(id), used });
        column += 1 + READING;
    }
    Ok(Inputs { span, wall, grid_lost, readings, containers })
}

fn energy(
    cells: &mut impl Cells,
    column: usize,
    was: Option<Reading<Energy>>,
) -> Result<Option<Reading<Energy>>, CellsError> {
    reading(cells, column, was.map(|r| of(r, r.value.get())), Energy::new)
}

fn of<T>(reading: Reading<T>, value: u64) -> Reading<u64> {
    Reading { value, age: reading.age, counted: reading.counted }
}

fn reading<T>(
    cells: &mut impl Cells,
    column: usize,
    was: Option<Reading<u64>>,
    new: fn(u64) -> T,
) -> Result<Option<Reading<T>>, CellsError> {
    if !cells.yes(column, was.is_some())? {
        return Ok(None);
    }
    let was = was.unwrap_or(Reading { value: 0, age: Millis::ZERO, counted: false });
    Ok(Some(Reading {
        value: new(cells.narrow(column + 1, was.value)?),
        age: Millis::new(cells.narrow(column + 2, was.age.get())?),
        counted: cells.yes(column + 3, was.counted)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use proptest::prelude::*;

    fn head(journal: &[Linked]) -> Head {
        Head {
            seq: 0,
            entries: u64::try_from(journal.len()).unwrap(),
            tick: Tick(0),
            ticks: 1,
            wall_min: Millis::ZERO,
            wall_max: Millis::ZERO,
            site_end: Millis::ZERO,
            journal_before: Link::ORIGIN,
            journal_after: journal.last().map_or(Link::ORIGIN, |linked| linked.link),
            records_before: Link::ORIGIN,
            records_after: Link::ORIGIN,
        }
    }

    fn encode(journal: &[Linked]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        journal.iter().for_each(|linked| encoder.push(&linked.entry));
        encoder.finish()
    }

    #[test]
    fn the_bytes_of_a_block_are_fixed() {
        let inputs = |wall: u64, solar: u64| Inputs {
            span: Millis::new(1000),
            wall: Millis::new(wall),
            readings: Readings { solar: Some(Reading::now(Energy::new(solar))), ..Readings::default() },
            containers: vec![ContainerUse { container: ContainerId::new(1), used: None }],
            ..Inputs::default()
        };
        let drain = Entry::Command(ecovisor_core::Command::DrainApp(ecovisor_core::AppId::new(2)));
        let mut encoder = Encoder::default();
        for entry in [Entry::Tick(inputs(5_000, 7)), drain, Entry::Tick(inputs(6_000, 9))] {
            encoder.push(&entry);
        }
        let hex: String = encoder.finish().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "01128666b5111400030101000002010001000302000200e807020200020188270201000203000200010202000203030200010202",
            "000200010e12000203000200010202000203030203030203030203030203030203030203030200010202000203000302",
        );
        assert_eq!(hex, golden);
    }

    #[test]
    fn a_block_whose_entries_were_changed_is_found() {
        let life = life(1, 20);
        let bytes = encode(&life.journal);
        assert_eq!(decode(&head(&life.journal), &bytes), Ok(life.journal.clone()));
        let other = encode(&life.journal[1..]);
        let mut head = head(&life.journal);
        head.entries -= 1;
        assert_eq!(decode(&head, &other), Err(BlockError::Unlinked(head.journal_after)));
        let mut flipped = bytes;
        flipped[40] ^= 1;
        assert!(matches!(decode(&head, &flipped), Err(BlockError::Frame(FrameError::Checksum { .. }))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_life_comes_back(seed in any::<u64>()) {
            let life = life(seed, 60);
            prop_assert_eq!(decode(&head(&life.journal), &encode(&life.journal)), Ok(life.journal));
        }

        #[test]
        fn arbitrary_payloads_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let head = Head { entries: 40, ..head(&[]) };
            let _ = decode(&head, &frame::seal(Kind::Block, &bytes));
        }
    }
}
