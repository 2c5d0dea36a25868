//! Which level answers: for every stretch of a period the coarsest whose periods lie within one bucket, since its sums are
//! those of the ticks. Where nothing fine enough is kept any more, what there is, whole in the bucket in which it began.

use super::super::errors::Problem;
use super::sums::Sums;
use super::{Period, Whose};
use ecovisor_audit::history::{DayId, History, HistoryError};
use ecovisor_audit::{Level, Rollup};
use ecovisor_core::Tick;
use ecovisor_proto::v1::Reason;
use ecovisor_units::Millis;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// Buckets in the making.
pub struct Buckets<'a> {
    pub period: Period,
    pub whose: &'a Whose,
    pub sums: BTreeMap<u64, Sums>,
    pub stop: &'a CancellationToken,
}

/// Whether a stretch is told whole or in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finer {
    /// Its pieces are kept: they are told.
    Kept,
    /// They are not: it is told whole.
    Gone,
}

impl Buckets<'_> {
    /// Adds all that is kept beside the engine.
    pub fn add_past(&mut self, history: &History) -> Result<(), Problem> {
        let (from, to) = self.period.bounds_ms();
        for day in history.days_between(from, to) {
            self.going_on()?;
            match self.add_day(history, &day) {
                // It was let go meanwhile: what is left of it is not what was asked for.
                Err(error) if error.is_gone() => {
                    return Err(Problem::new(
                        Reason::LedgerPruned,
                        "a part of the period was just let go: ask again",
                    ));
                }
                told => told.map_err(|error| Problem::unreadable(&error.into()))?,
            }
        }
        Ok(())
    }

    /// Whether somebody still waits for the answer.
    pub fn going_on(&self) -> Result<(), Problem> {
        match self.stop.is_cancelled() {
            true => Err(Problem::new(Reason::Busy, "the call has ended")),
            false => Ok(()),
        }
    }

    fn add_day(&mut self, history: &History, day: &DayId) -> Result<(), HistoryError> {
        let has = |level| if history.has(level, day.number) { Finer::Kept } else { Finer::Gone };
        if has(Level::Day) == Finer::Kept {
            let finer = has(Level::Hour);
            let left = self.add_all(Level::Day, history.rollups(Level::Day, day)?, |_| true, finer);
            if left.is_empty() {
                return Ok(());
            }
        }
        let finer = has(Level::Minute);
        let hours = self.add_all(Level::Hour, history.rollups(Level::Hour, day)?, |_| true, finer);
        if hours.is_empty() {
            return Ok(());
        }
        let within = |rollup: &Rollup| hours.contains(&Level::Hour.start_of(rollup.start).get());
        let minutes = history.rollups(Level::Minute, day)?;
        let minutes = self.add_all(Level::Minute, minutes, within, has(Level::Tick));
        self.add_ticks(history, day, &minutes)
    }

    /// Adds each of some rollups that lies in one bucket, or of which there is nothing finer; returns when those begin
    /// that are told by what is finer.
    fn add_all(
        &mut self,
        level: Level,
        rollups: Vec<Rollup>,
        wanted: impl Fn(&Rollup) -> bool,
        finer: Finer,
    ) -> BTreeSet<u64> {
        let (from, to) = self.period.bounds_ms();
        let mut left = BTreeSet::new();
        for rollup in rollups.into_iter().filter(wanted) {
            let (first, last) = (rollup.wall_first, rollup.wall_last);
            if last < from || first >= to {
                continue;
            }
            let (begins, ends) = (self.period.bucket(first.get()), self.period.bucket(last.get()));
            let whole = begins.is_some() && begins == ends;
            if !whole && finer == Finer::Kept {
                left.insert(rollup.start.get());
                continue;
            }
            if let Some(bucket) = begins {
                let by_container = self.period.by_container();
                self.sums.entry(bucket).or_default().add_rollup(
                    level,
                    &rollup,
                    self.whose,
                    by_container,
                    !whole,
                );
            }
        }
        left
    }

    /// Adds the ticks of some minutes of a day; where the clock was set back there is another day with these minutes.
    fn add_ticks(
        &mut self,
        history: &History,
        day: &DayId,
        minutes: &BTreeSet<u64>,
    ) -> Result<(), HistoryError> {
        let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else { return Ok(()) };
        let end = last.saturating_add(Level::Minute.length().get());
        let begins = |wall: Millis| Level::Minute.start_of(wall).get();
        for block in history.blocks_between(Millis::new(*first), Millis::new(end)) {
            let head = block.head();
            let told = minutes.range(begins(head.wall_min)..=head.wall_max.get()).next().is_some();
            if block.day_number() != day.number || !told {
                continue;
            }
            for linked in history.records(&block)? {
                let record = linked.record;
                if minutes.contains(&begins(record.outcome.wall)) {
                    self.add_record(&record);
                }
            }
        }
        Ok(())
    }

    /// Adds a tick.
    pub fn add_record(&mut self, record: &ecovisor_audit::Record) {
        let bucket = self.period.bucket(record.outcome.wall.get());
        if let Some((bucket, app)) = bucket.zip(self.whose.at(record)) {
            self.sums.entry(bucket).or_default().add(record, app, self.period.by_container());
        }
    }
}

/// The first tick that is not beside the engine.
pub fn after(history: Option<&History>) -> Tick {
    history.and_then(History::end).map_or(Tick(0), |end| end.end_tick())
}
