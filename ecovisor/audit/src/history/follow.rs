//! Follows the journal and cuts it into blocks: replays every entry, checks its link and its books, and gathers what the
//! block, its rollups and the seals are made of. So nothing is thrown away that could not be made again: a block exists
//! only where its replay led to the records that were kept.

use crate::block::{Encoder, Head};
use crate::chain::Link;
use crate::digest;
use crate::journal::{Entry, Linked};
use crate::record::Record;
use crate::rollup::{self, Level, Roller, Rollup};
use crate::snapshot::{Applied, Checkpoint, Snapshot};
use crate::verify::Fault;
use ecovisor_core::{Inputs, Tick};
use ecovisor_units::Millis;

/// Ticks of a block, and more until a minute ends: what is replayed at most to see one of its ticks, 10 ms for ten apps.
pub const BLOCK_TICKS: u64 = 600;

/// Figures of a block: 16 MB of memory. A thousand apps reach it in 200 ticks.
const BLOCK_FIGURES: usize = 1 << 20;

/// A stretch of the journal, ready to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What is known of it without reading it.
    pub head: Head,
    /// The state before it, as a frame.
    pub snapshot: Vec<u8>,
    /// Its entries, as a frame.
    pub entries: Vec<u8>,
    /// Its minutes, as a frame.
    pub minutes: Vec<u8>,
}

/// Follows the journal.
#[derive(Debug)]
pub struct Follower {
    state: Snapshot,
    seq: u64,
    link: Link,
    records: Link,
    /// Entries since the last tick: they belong to the block of the next.
    waiting: Vec<Linked>,
    open: Option<Open>,
}

/// A block in the making; it has at least one tick.
#[derive(Debug)]
struct Open {
    snapshot: Vec<u8>,
    head: Head,
    encoder: Encoder,
    minutes: Vec<Rollup>,
    roller: Roller,
    last: Millis,
}

impl Follower {
    /// Begins at a snapshot; `records` is the records' link after the last tick that it covers.
    #[must_use]
    pub fn new(from: Checkpoint, records: Link) -> Self {
        let Checkpoint { seq, link, snapshot } = from;
        Self { state: snapshot, seq, link, records, waiting: Vec::new(), open: None }
    }

    /// The number of the entry that it takes next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.seq.saturating_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX))
    }

    /// The tick that comes next.
    #[must_use]
    pub fn next_tick(&self) -> Tick {
        self.state.site.tick()
    }

    /// The records' link after the last tick.
    #[must_use]
    pub const fn records(&self) -> Link {
        self.records
    }

    /// The site's own time after the last tick, in ms since it began.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.state.site.now()
    }

    /// Takes an entry. Gives back the record where it is a tick, and before it the block that this tick ends, if it
    /// does: what was open before this tick began.
    ///
    /// # Errors
    /// What is wrong with the entry; the follower is of no use then.
    pub fn push(&mut self, linked: Linked) -> Result<Pushed, Fault> {
        let before = self.waiting.last().map_or(self.link, |linked| linked.link);
        if !linked.follows(before) {
            return Err(Fault::Unlinked { seq: self.next_seq() });
        }
        let Entry::Tick(inputs) = &linked.entry else {
            self.waiting.push(linked);
            return Ok(Pushed::default());
        };
        let ends_day = self.differs(Level::Day, inputs);
        let block = if self.ends_before(inputs) { self.cut() } else { None };
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin(inputs),
        };
        self.open = Some(open);
        for waiting in std::mem::take(&mut self.waiting) {
            self.apply(waiting)?;
        }
        let record = self.apply(linked)?;
        Ok(Pushed { block, ends_day, record })
    }

    /// Ends the open block, if there is one: at the end of a day, or for whoever wants all that is there.
    pub fn cut(&mut self) -> Option<Block> {
        let Open { snapshot, head, encoder, mut minutes, roller, .. } = self.open.take()?;
        minutes.extend(roller.finish());
        Some(Block { head, snapshot, entries: encoder.finish(), minutes: rollup::encode(&minutes) })
    }

    /// Ticks in the open block.
    #[must_use]
    pub fn open_ticks(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.head.ticks)
    }

    fn ends_before(&self, next: &Inputs) -> bool {
        let Some(open) = &self.open else { return false };
        let full = open.head.ticks >= BLOCK_TICKS && self.differs(Level::Minute, next);
        full || self.differs(Level::Day, next)
            || open.head.ticks >= 2 * BLOCK_TICKS
            || open.encoder.figures() >= BLOCK_FIGURES
    }

    /// Whether a tick begins another period than the last one in the open block did.
    fn differs(&self, level: Level, next: &Inputs) -> bool {
        self.open.as_ref().is_some_and(|open| level.start_of(open.last) != level.start_of(next.wall))
    }

    fn begin(&self, first: &Inputs) -> Open {
        let snapshot = Checkpoint { seq: self.seq, link: self.link, snapshot: self.state.clone() };
        let head = Head {
            seq: self.seq,
            entries: 0,
            tick: self.state.site.tick(),
            ticks: 0,
            wall_min: first.wall,
            wall_max: first.wall,
            site_end: self.state.site.now(),
            journal_before: self.link,
            journal_after: self.link,
            records_before: self.records,
            records_after: self.records,
        };
        Open {
            snapshot: snapshot.encode(),
            head,
            encoder: Encoder::default(),
            minutes: Vec::new(),
            roller: Roller::new(Level::Minute),
            last: first.wall,
        }
    }

    fn apply(&mut self, linked: Linked) -> Result<Option<Record>, Fault> {
        let (seq, tick) = (self.seq, self.state.site.tick());
        let applied = self.state.apply(&linked.entry).map_err(|broken| Fault::Broken { tick, broken })?;
        self.seq += 1;
        self.link = linked.link;
        let record = match applied {
            Applied::Accepted(_) | Applied::Noted => None,
            Applied::Refused(refusal) => return Err(Fault::Refused { seq, tick, refusal }),
            Applied::Settled(record) => Some(*record),
        };
        if let Some(record) = &record {
            self.records = digest::after(self.records, &record.into());
        }
        if let Some(open) = &mut self.open {
            open.encoder.push(&linked.entry);
            open.head.entries += 1;
            open.head.journal_after = self.link;
            if let Some(record) = &record {
                open.take(record, self.records, self.state.site.now());
            }
        }
        Ok(record)
    }
}

/// What an entry led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// The block that ended before it.
    pub block: Option<Block>,
    /// Whether a day ended with that block.
    pub ends_day: bool,
    /// The record of the tick that it is.
    pub record: Option<Record>,
}

impl Open {
    fn take(&mut self, record: &Record, records: Link, site_end: Millis) {
        self.last = record.outcome.wall;
        self.head.ticks += 1;
        self.head.wall_min = self.head.wall_min.min(self.last);
        self.head.wall_max = self.head.wall_max.max(self.last);
        self.head.site_end = site_end;
        self.head.records_after = records;
        self.minutes.extend(self.roller.push(Rollup::of(record, Level::Minute)));
    }
}
