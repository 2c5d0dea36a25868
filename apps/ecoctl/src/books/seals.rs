//! The seals of a site: whether they follow each other, whether the rollups are those that were sealed, and whether the
//! raw readings that are still there lead to them. Before the raw readings, this is all that is left to check.

use crate::books::replay::broken;
use crate::connect::Context;
use crate::failure::Failure;
use ecovisor_audit::history::Replayed;
use ecovisor_audit::{Checkpoint, Level, Link, Linked, Record, Seal};
use ecovisor_sdk::operator::wire;
use ecovisor_units::Millis;
use std::collections::VecDeque;
use wire::read_history_reply::Piece;

/// What the seals came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Days that are sealed.
    pub days: u64,
    /// Of them, those whose raw readings were replayed and led to their seal.
    pub days_replayed: u64,
    /// Days whose minutes are those that were sealed.
    pub days_of_minutes: u64,
    /// Days whose hours are those that were sealed.
    pub days_of_hours: u64,
    /// Since when there are raw readings, in ms since the Unix epoch. Absent: there are none beside the engine.
    pub raw_since_ms: Option<u64>,
    /// The link after the last seal, in hex. Absent: there is none.
    pub head: Option<String>,
}

/// Seals on their way through the checks.
#[derive(Debug, Default)]
pub struct Seals {
    found: Sealed,
    last: Option<Seal>,
    parts: [Vec<Vec<u8>>; 2],
    /// Seals whose days may be replayed, oldest first.
    due: VecDeque<Seal>,
    first_tick: u64,
    replayed: Option<Replayed>,
}

const LEVELS: [Level; 2] = [Level::Minute, Level::Hour];

impl Seals {
    /// Asks for the seals and rollups and checks them against each other.
    ///
    /// # Errors
    /// Where they do not hold, or cannot be had.
    pub async fn read(context: &Context) -> Result<Self, Failure> {
        let request = wire::ReadHistoryRequest { rollups: true, ..wire::ReadHistoryRequest::default() };
        let mut pieces = context.ask(context.operator.read_history(request)).await?;
        let mut seals = Self::default();
        while let Some(reply) = context.next(&mut pieces).await? {
            match reply.piece {
                Some(Piece::Kept(kept)) => seals.kept(&kept),
                Some(Piece::Seal(seal)) => seals.seal(&seal)?,
                Some(Piece::Minutes(part)) => seals.parts[0].push(part.bytes),
                Some(Piece::Hours(part)) => seals.parts[1].push(part.bytes),
                Some(Piece::Raw(_)) | None => {}
            }
        }
        seals.day_ends()?;
        seals.found.head = seals.last.as_ref().map(|seal| seal.link().to_string());
        Ok(seals)
    }

    fn kept(&mut self, kept: &wire::HistoryKept) {
        self.found.raw_since_ms = kept.raw_since_ms;
        self.first_tick = kept.raw_since_tick.unwrap_or(u64::MAX);
    }

    fn seal(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.day_ends()?;
        let number = self.found.days;
        let seal = Seal::decode(bytes).map_err(|cause| broken(format!("seal {number}: {cause}")))?;
        seal.check_after(self.last.as_ref()).map_err(broken)?;
        self.found.days += 1;
        if seal.stretch.tick.0 >= self.first_tick {
            self.due.push_back(seal.clone());
        }
        self.last = Some(seal);
        Ok(())
    }

    /// All rollups of the last day have come.
    fn day_ends(&mut self) -> Result<(), Failure> {
        let Some(seal) = &self.last else { return Ok(()) };
        let counts = [&mut self.found.days_of_minutes, &mut self.found.days_of_hours];
        for ((level, parts), count) in LEVELS.into_iter().zip(&mut self.parts).zip(counts) {
            let parts = std::mem::take(parts);
            if !parts.is_empty() {
                seal.check_rollups(level, &parts).map_err(broken)?;
                *count += 1;
            }
        }
        Ok(())
    }

    /// The replay begins at this snapshot.
    pub fn begin(&mut self, from: &Checkpoint) {
        let next = from.snapshot.site.tick();
        while self.due.front().is_some_and(|seal| seal.stretch.tick < next) {
            self.due.pop_front();
        }
        // Ticks before the first whole day are replayed without a seal to lay them beside.
        let records = self.due.front().map_or(Link::ORIGIN, |seal| seal.stretch.records_before);
        self.replayed = Some(Replayed::new(from, records));
    }

    /// An entry was replayed.
    ///
    /// # Errors
    /// Where it ends a day that is not the one that was sealed.
    pub fn entry(&mut self, linked: &Linked, record: Option<&Record>, now: Millis) -> Result<(), Failure> {
        let (Some(replayed), Some(seal)) = (&mut self.replayed, self.due.front()) else { return Ok(()) };
        let (first, end) = seal.ticks();
        if record.is_some_and(|record| record.outcome.tick < first) {
            replayed.skip(linked);
            return Ok(());
        }
        replayed.entry(linked, record, now);
        if replayed.end_tick() != Some(end) {
            return Ok(());
        }
        if let Some((head, sums)) = replayed.take() {
            seal.check_stretch(&head, &sums).map_err(broken)?;
            self.found.days_replayed += 1;
        }
        self.due.pop_front();
        Ok(())
    }

    /// What was found: everything holds.
    #[must_use]
    pub fn finish(self) -> Sealed {
        self.found
    }
}

impl Sealed {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let Self { days, days_replayed, days_of_minutes, days_of_hours, raw_since_ms, head } = self;
        serde_json::json!({
            "days": days, "days_replayed": days_replayed, "days_of_minutes": days_of_minutes,
            "days_of_hours": days_of_hours, "raw_since_ms": raw_since_ms, "head": head,
        })
    }

    /// For people, below what the replay came to.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(head) = &self.head else { return "\nno day has been sealed yet".to_owned() };
        let Self { days, days_replayed, days_of_minutes, days_of_hours, raw_since_ms, head: _ } = self;
        let raw = raw_since_ms.map_or_else(
            || "no raw readings are kept beside the engine".to_owned(),
            |since| format!("raw readings since {}", crate::time::show(since)),
        );
        format!(
            "\n{raw}: {days_replayed} sealed days replayed to their seals\n{days} seals follow each other; the minutes of \
             {days_of_minutes} days and the hours of {days_of_hours} are those that were sealed\nhead of the seals {head}"
        )
    }
}
