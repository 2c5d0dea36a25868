//! Energy and carbon over a period, from what is kept of it. A tick belongs whole to the bucket in which it began.

mod levels;
mod sums;

use super::errors::{Problem, Unit};
use crate::store::{Store, StoreError};
use ecovisor_audit::history::History;
use ecovisor_audit::rollup::AppRollup;
use ecovisor_audit::{Level, Record};
use ecovisor_core::{AppId, Tick};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_units::Millis;
use levels::Buckets;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Buckets in one answer: a week by the minute. With the largest figures such an answer is 2 MB, half of what gRPC
/// clients accept by default.
pub const BUCKETS_MAX: u64 = 10_080;

/// Entries of containers in one answer, all buckets together, for the same reason.
pub const CONTAINER_ENTRIES_MAX: usize = 20_000;

/// Whose usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An app that lives.
    Id(AppId),
    /// Whatever app had that name at the time.
    Name(String),
}

impl Whose {
    /// Whether an app that was rolled up is theirs.
    fn is(&self, app: &AppRollup) -> bool {
        match self {
            Self::Id(id) => app.id == *id,
            Self::Name(name) => app.name == *name,
        }
    }

    fn at(&self, record: &Record) -> Option<AppId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(name) => {
                record.app_names.iter().find(|(_, app)| app.as_str() == name).map(|(id, _)| *id)
            }
        }
    }
}

/// What is asked, with its bounds checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    from_ms: u64,
    to_ms: u64,
    step_ms: u64,
    by_container: bool,
}

impl Period {
    /// The period of a query that came at `now_ms`.
    ///
    /// # Errors
    /// Where it is empty. Whether it has too many buckets is known only with the ledger's start.
    pub fn new(query: v1::QueryUsageRequest, now_ms: u64) -> Result<Self, Problem> {
        let v1::QueryUsageRequest { t1_ms, t2_ms, step_ms, by_container } = query;
        let to_ms = t2_ms.unwrap_or(now_ms.max(t1_ms.saturating_add(1)));
        if to_ms <= t1_ms {
            let message = format!("the period from {t1_ms} to {to_ms} is empty: t2_ms must lie after t1_ms");
            return Err(Problem::new(Reason::PeriodOutOfRange, message).about("t2_ms"));
        }
        Ok(Self { from_ms: t1_ms, to_ms, step_ms, by_container })
    }

    /// With a start at `first_ms` at the earliest.
    fn since(self, first_ms: u64) -> Result<Self, Problem> {
        let from_ms = self.from_ms.max(first_ms);
        let buckets = match self.step_ms {
            0 => 1,
            step => self.to_ms.saturating_sub(from_ms).div_ceil(step),
        };
        if buckets > BUCKETS_MAX {
            let message = format!("{buckets} buckets are more than one answer holds: {BUCKETS_MAX}");
            let problem = Problem::new(Reason::PeriodOutOfRange, message).about("step_ms");
            return Err(problem.bounded(BUCKETS_MAX, Some(BUCKETS_MAX), Unit::Count));
        }
        Ok(Self { from_ms, ..self })
    }

    /// From when to before when.
    fn bounds_ms(&self) -> (Millis, Millis) {
        (Millis::new(self.from_ms), Millis::new(self.to_ms))
    }

    const fn by_container(&self) -> bool {
        self.by_container
    }

    /// Which bucket a moment lies in; `None` outside of the period.
    fn bucket(&self, at_ms: u64) -> Option<u64> {
        let inside = (self.from_ms..self.to_ms).contains(&at_ms);
        inside.then(|| (at_ms - self.from_ms).checked_div(self.step_ms).unwrap_or(0))
    }

    /// A bucket's start and length; the last may be shorter.
    fn bounds(&self, bucket: u64) -> (u64, u64) {
        let start = self.from_ms.saturating_add(bucket.saturating_mul(self.step_ms));
        let rest = self.to_ms.saturating_sub(start);
        (start, if self.step_ms == 0 { rest } else { self.step_ms.min(rest) })
    }
}

/// Usage over a period. Reads the disk; whoever asked may `stop` it.
///
/// # Errors
/// Where there is too much for one answer, or the ledger cannot be read.
pub fn usage(
    ledger: &dyn Store,
    whose: &Whose,
    period: Period,
    stop: &CancellationToken,
) -> Result<v1::QueryUsageReply, Problem> {
    let since = Since::of(ledger).map_err(unreadable)?;
    let Some(first_ms) = since.first_ms() else { return Ok(v1::QueryUsageReply::default()) };
    let mut buckets = Buckets { period: period.since(first_ms)?, whose, sums: BTreeMap::new(), stop };
    if let Some(past) = ledger.past() {
        buckets.add_past(past)?;
    }
    add_recent(ledger, &mut buckets)?;
    let Buckets { period, mut sums, .. } = buckets;
    sums.retain(|_, sums| !sums.is_empty());
    let entries: usize = sums.values().map(sums::Sums::containers).sum();
    if entries > CONTAINER_ENTRIES_MAX {
        let most = u64::try_from(CONTAINER_ENTRIES_MAX).unwrap_or(u64::MAX);
        let message = format!("{entries} entries of containers are more than one answer holds: {most}");
        return Err(Problem::new(Reason::PeriodOutOfRange, message).bounded(most, Some(most), Unit::Count));
    }
    let buckets = sums.into_iter().map(|(bucket, sums)| sums.bucket(period.bounds(bucket))).collect();
    Ok(since.reply(buckets))
}

fn unreadable(error: StoreError) -> Problem {
    Problem::unreadable(&error.into())
}

/// Adds the ticks that are not in blocks yet.
fn add_recent(ledger: &dyn Store, buckets: &mut Buckets<'_>) -> Result<(), Problem> {
    let (from_ms, to_ms) = buckets.period.bounds_ms();
    let Some((first, last)) = ledger.ticks().map_err(unreadable)? else { return Ok(()) };
    let first = first.max(levels::after(ledger.past()));
    let from = ledger.tick_at(from_ms).map_err(unreadable)?.unwrap_or(first).max(first);
    let to = ledger.tick_at(to_ms).map_err(unreadable)?.map_or(first, Tick::next).min(last.next());
    for record in ledger.records(from, to) {
        buckets.going_on()?;
        buckets.add_record(&record.map_err(unreadable)?);
    }
    Ok(())
}

/// Since when there is what, in ms since the Unix epoch.
struct Since {
    ticks: Option<u64>,
    minutes: Option<u64>,
    hours: Option<u64>,
    days: Option<u64>,
}

impl Since {
    fn of(ledger: &dyn Store) -> Result<Self, StoreError> {
        let kept = ledger.past().map(History::kept).unwrap_or_default();
        let ticks = match (kept.since(Level::Tick), ledger.ticks()?) {
            (Some(since), _) => Some(since),
            (None, None) => None,
            (None, Some((first, _))) => ledger.record(first)?.map(|record| record.outcome.wall),
        };
        let ms = |since: Option<Millis>| since.map(Millis::get);
        Ok(Self { ticks: ms(ticks), minutes: ms(kept.minutes), hours: ms(kept.hours), days: ms(kept.days) })
    }

    /// When the first tick began of which anything is kept.
    fn first_ms(&self) -> Option<u64> {
        [self.ticks, self.minutes, self.hours, self.days].into_iter().flatten().min()
    }

    const fn reply(self, buckets: Vec<v1::UsageBucket>) -> v1::QueryUsageReply {
        v1::QueryUsageReply {
            buckets,
            ticks_since_ms: self.ticks,
            minutes_since_ms: self.minutes,
            hours_since_ms: self.hours,
            days_since_ms: self.days,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(t1: u64, t2: Option<u64>, step: u64) -> Result<Period, Problem> {
        let query = v1::QueryUsageRequest { t1_ms: t1, t2_ms: t2, step_ms: step, by_container: false };
        Period::new(query, 100)
    }

    #[test]
    fn a_tick_belongs_to_the_bucket_in_which_it_began() {
        let period = period(10, Some(35), 10).unwrap();
        let check = |at: u64, bucket: Option<u64>| assert_eq!(period.bucket(at), bucket, "{at}");
        check(9, None);
        check(10, Some(0));
        check(19, Some(0));
        check(20, Some(1));
        check(34, Some(2));
        check(35, None);
        assert_eq!([0, 1, 2].map(|bucket| period.bounds(bucket)), [(10, 10), (20, 10), (30, 5)]);
    }

    #[test]
    fn no_step_is_one_bucket_and_no_end_is_now() {
        let whole = period(10, None, 0).unwrap().since(40).unwrap();
        assert_eq!((whole.bucket(99), whole.bounds(0)), (Some(0), (40, 60)));
    }

    #[test]
    fn empty_and_too_fine_periods_are_refused_with_the_figure() {
        assert_eq!(period(10, Some(10), 0).unwrap_err().reason, Reason::PeriodOutOfRange);
        let fine = period(0, Some(BUCKETS_MAX + 1), 1).unwrap();
        assert_eq!(fine.since(0).unwrap_err().limit, Some(BUCKETS_MAX));
        assert!(fine.since(1).is_ok());
    }
}
