//! Where the ticks of a paper come from: the daemon's journal, a journal file, or tables. Journals are replayed here, and
//! every tick's books are checked before anything is written of them.

use crate::books::file::{Reader, unreadable};
use crate::books::replay::Replay;
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::time::Point;
use ecovisor_audit::TickRows;
use ecovisor_audit::table::TableReader;
use ecovisor_sdk::operator::wire;
use std::path::{Path, PathBuf};
use wire::export_ledger_reply::Piece;

/// Which ticks: all whose start is within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// In ms since 1970 UTC.
    pub since_ms: u64,
    /// Exclusive.
    pub until_ms: u64,
}

impl Period {
    /// All there is.
    pub const ALL: Self = Self { since_ms: 0, until_ms: u64::MAX };
}

/// Picks a period's ticks without a hole, even where the site's clock was set back in between: from the first that begins
/// within the period to the last before one that begins after it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Picked {
    period: Period,
    over: bool,
    ended: Ended,
}

impl Picked {
    fn new(period: Period) -> Self {
        Self { period, over: false, ended: Ended::default() }
    }

    /// Whether this tick, the next of the ledger, is one of them.
    fn picks(&mut self, tick: &TickRows) -> bool {
        let start_ms = tick.wall_start.get();
        self.over |= start_ms >= self.period.until_ms;
        let begins = self.ended.ticks.is_some() || start_ms >= self.period.since_ms;
        if self.over || !begins {
            return false;
        }
        let first = self.ended.ticks.map_or(tick.tick, |(first, _)| first);
        self.ended.ticks = Some((first, tick.tick.saturating_add(1)));
        true
    }
}

/// What becomes known when the last tick has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Where the chain ended with the last tick that was wanted, in hex; `None` where there is none.
    pub chain_head: Option<String>,
    /// The first tick that was wanted and the one after the last.
    pub ticks: Option<(u64, u64)>,
}

/// What is done with each tick.
pub type Each<'a> = &'a mut dyn FnMut(&TickRows) -> Result<(), Failure>;

/// The daemon's ledger: its journal is replayed, and each row that it shows compared.
///
/// # Errors
/// Where it cannot be had or does not hold, or what `each` fails with.
pub async fn daemon(
    context: &Context,
    request: wire::ExportLedgerRequest,
    period: Period,
    each: Each<'_>,
) -> Result<Ended, Failure> {
    let from = request.from_tick.unwrap_or(0);
    let mut picked = Picked::new(period);
    let request = wire::ExportLedgerRequest { rows: true, journal: true, ..request };
    let mut pieces = context.ask(context.operator.export_ledger(request)).await?;
    let (mut snapshot, mut replay) = (Vec::new(), None);
    while let Some(reply) = context.next(&mut pieces).await? {
        match reply.piece {
            Some(Piece::Snapshot(part)) => snapshot.extend_from_slice(&part),
            Some(Piece::Row(row)) => begun(&mut replay, &snapshot)?.row(crate::books::rows::flat(&row))?,
            Some(Piece::JournalEntry(entry)) => {
                let replay = begun(&mut replay, &snapshot)?;
                let record = replay.entry(&entry)?.record;
                if let Some(tick) = record.map(|record| TickRows::from(&record))
                    && tick.tick >= from
                    && picked.picks(&tick)
                {
                    each(&tick)?;
                    picked.ended.chain_head = Some(replay.head());
                }
            }
            None => {}
        }
    }
    replay.map_or(Ok(()), |replay: Replay| replay.finish(None).map(drop))?;
    Ok(picked.ended)
}

/// The snapshot is whole when something else comes.
fn begun<'a>(replay: &'a mut Option<Replay>, snapshot: &[u8]) -> Result<&'a mut Replay, Failure> {
    match replay {
        Some(replay) => Ok(replay),
        none => Ok(none.insert(Replay::new(snapshot, true)?)),
    }
}

/// A file of `ledger export --journal`.
///
/// # Errors
/// Where it cannot be read or does not hold, or what `each` fails with.
pub fn journal(path: &Path, period: Period, each: Each<'_>) -> Result<Ended, Failure> {
    let mut file = Reader::open(path)?;
    let mut replay = Replay::new(&file.piece()?.unwrap_or_default(), false)?;
    let mut picked = Picked::new(period);
    while let Some(entry) = file.piece()? {
        let record = replay.entry(&entry)?.record;
        if let Some(tick) = record.map(|record| TickRows::from(&record))
            && picked.picks(&tick)
        {
            each(&tick)?;
            picked.ended.chain_head = Some(replay.head());
        }
    }
    Ok(picked.ended)
}

/// `apps.csv` and `site.csv` of a directory, as `ledger export --tables` and `ecovisord simulate` write them. There is no
/// chain behind them; their sums and balances are checked.
///
/// # Errors
/// Where they cannot be read or do not add up, or what `each` fails with.
pub fn tables(directory: &Path, period: Period, each: Each<'_>) -> Result<Ended, Failure> {
    let open = |name: &str| {
        let path: PathBuf = directory.join(name);
        std::fs::File::open(&path).map_err(|cause| unreadable(&path, &cause))
    };
    let wrong = |cause: &dyn std::fmt::Display| {
        Failure::new(Kind::Unverified, format!("the tables in {} do not hold: {cause}", directory.display()))
    };
    let ticks = TableReader::new(open("apps.csv")?, open("site.csv")?).map_err(|cause| wrong(&cause))?;
    let (mut picked, mut before) = (Picked::new(period), None);
    for tick in ticks {
        let tick = tick.map_err(|cause| wrong(&cause))?;
        tick.check().map_err(|cause| wrong(&cause))?;
        if let Some(before) = &before {
            tick.check_after(before).map_err(|cause| wrong(&cause))?;
        }
        if picked.picks(&tick) {
            each(&tick)?;
        }
        before = Some(tick);
    }
    Ok(picked.ended)
}

/// A period in times of a file, which has no clock to count back from.
///
/// # Errors
/// Where one is a time ago.
pub fn written_period(since: Option<Point>, until: Option<Point>) -> Result<Period, Failure> {
    let at = |flag: &str, point: Option<Point>, default: u64| match point {
        None => Ok(default),
        Some(Point::At(ms)) => Ok(ms),
        Some(Point::Ago(span)) => {
            Err(Failure::usage(format!("--{flag} {span}: a file has no clock to count back from"))
                .hint("give a time, such as 2026-11-24T03:00:00Z"))
        }
    };
    Ok(Period { since_ms: at("since", since, 0)?, until_ms: at("until", until, u64::MAX)? })
}

/// A period by the site's clock.
///
/// # Errors
/// Where the daemon does not answer.
pub async fn period(
    context: &Context,
    since: Option<Point>,
    until: Option<Point>,
) -> Result<Period, Failure> {
    let now = match (since, until) {
        (Some(Point::Ago(_)), _) | (_, Some(Point::Ago(_))) => {
            crate::commands::usage::site_now(context).await?
        }
        _ => 0,
    };
    let at = |point: Option<Point>, default| point.map_or(default, |point: Point| point.resolve(now));
    Ok(Period { since_ms: at(since, 0), until_ms: at(until, u64::MAX) })
}

/// The ticks to ask for, so that no more of the journal is asked for than is needed: the first is at or before the first
/// of the period, the last at or after its last. Found by halving, with a question for each half.
///
/// # Errors
/// Where the daemon does not answer.
pub async fn range(context: &Context, period: Period) -> Result<(Option<u64>, Option<u64>), Failure> {
    let site = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
    let (Some((first, start_ms)), Some(last)) = (starts(context, None).await?, site.last) else {
        return Ok((None, None));
    };
    let from = match start_ms >= period.since_ms {
        true => None,
        false => Some(last_before(context, first, last.tick, period.since_ms).await?),
    };
    let to = match last.wall_start_ms < period.until_ms || start_ms >= period.until_ms {
        true => None,
        // The one that is found begins before the end, the next does not.
        false => Some(last_before(context, first, last.tick, period.until_ms).await?.saturating_add(2)),
    };
    Ok((from, to))
}

/// The last tick that begins before `ms`, where `low` does.
async fn last_before(context: &Context, mut low: u64, mut high: u64, ms: u64) -> Result<u64, Failure> {
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        match starts(context, Some(middle)).await? {
            Some((_, start_ms)) if start_ms < ms => low = middle,
            // Not there yet, or later.
            _ => high = middle,
        }
    }
    Ok(low)
}

/// A tick and when it began; the first there is where none is named.
async fn starts(context: &Context, from_tick: Option<u64>) -> Result<Option<(u64, u64)>, Failure> {
    let request = wire::QueryLedgerRequest { from_tick, rows_max: 1, ..wire::QueryLedgerRequest::default() };
    let mut rows = context.ask(context.operator.query_ledger(request)).await?;
    Ok(context.next(&mut rows).await?.map(|row| (row.tick, row.wall_start_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_clock() {
        let failure = written_period(Some("1h".parse().unwrap()), None).unwrap_err();
        assert!(failure.message.starts_with("--since 1 h"), "{}", failure.message);
        let since = Some("1970-01-01T00:00:02Z".parse().unwrap());
        assert_eq!(written_period(since, None), Ok(Period { since_ms: 2_000, until_ms: u64::MAX }));
        assert_eq!(written_period(None, None), Ok(Period::ALL));
    }

    #[test]
    fn a_period_is_picked_without_a_hole() {
        let mut picked = Picked::new(Period { since_ms: 10, until_ms: 20 });
        let mut picks = |tick: u64, ms: u64| {
            picked.picks(&TickRows {
                tick,
                wall_start: ecovisor_units::Millis::new(ms),
                ..TickRows::default()
            })
        };
        let starts = [(3, 9), (4, 10), (5, 8), (6, 19), (7, 20), (8, 15)];
        let found: Vec<bool> = starts.into_iter().map(|(tick, ms)| picks(tick, ms)).collect();
        assert_eq!(
            found,
            [false, true, true, true, false, false],
            "a clock set back leaves no hole, and ends it"
        );
        assert_eq!(picked.ended.ticks, Some((4, 7)));
    }
}
