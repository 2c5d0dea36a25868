//! The ledger: rows, exports with the journal that they follow from, and the daemon's own verification. Whatever is read
//! is sent piece by piece, so that a long ledger needs no more memory than a short one.

use super::errors::{Problem, Unit};
use super::show::site::rows;
use super::streams::Answers;
use super::{Behind, usage};
use crate::store::{Store, StoreError};
use ecovisor_audit::{Entry, verify};
use ecovisor_core::{Rules, Tick};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_proto::v1::export_ledger_reply::Piece;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Rows in one answer where the operator names no bound: some hundred megabytes, after which it is better to ask again
/// from the tick where the answer ended.
const ROWS_MAX: u64 = 1_000_000;

/// Pieces read ahead of a slow reader.
const PIECES_AHEAD: usize = 64;

/// Bytes of a snapshot in one message: far below the 4 MiB that gRPC clients accept by default.
const SNAPSHOT_PART: usize = 256 * 1024;

/// Reads of the ledger at the same time, of whatever kind. Each holds a thread and reads the disk that the tick loop
/// writes to.
pub const READS_MAX: usize = 4;

/// Ticks asked for, `to` exclusive, within what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: Tick,
    to: Tick,
}

/// Places for readers of the ledger.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READS_MAX)))
    }
}

impl Readers {
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            let most = u64::try_from(READS_MAX).unwrap_or(u64::MAX);
            let message = format!("{most} readers read the ledger already: try again when one is done");
            Problem::new(Reason::TooMany, message).bounded(most, None, Unit::Count)
        })
    }

    /// Reads in a thread of its own and answers once; the reader is told to stop when nobody waits any more.
    ///
    /// # Errors
    /// Where too many read, or the reader has a problem.
    pub async fn once<T: Send + 'static>(
        &self,
        behind: &Behind,
        read: impl FnOnce(&dyn Store, &CancellationToken) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.place()?;
        let (history, stop) = (behind.history.clone(), behind.stop.child_token());
        let reader_stop = stop.clone();
        let _ended = stop.drop_guard();
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            read(&*history, &reader_stop)
        });
        reading.await.map_err(|_| Problem::stopping())?
    }

    /// Reads in a thread of its own and sends what it finds.
    pub(super) fn stream<T: Send + 'static>(
        &self,
        behind: &Behind,
        read: impl FnOnce(&dyn Store, &Out<T>) -> Result<(), Problem> + Send + 'static,
    ) -> Result<Answers<T>, Problem> {
        let place = self.place()?;
        let (pieces, out) = mpsc::channel(PIECES_AHEAD);
        let out_of = Out { pieces, stop: behind.stop.clone(), runtime: Handle::current() };
        let history = behind.history.clone();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            if let Err(problem) = read(&*history, &out_of) {
                let _gone: ControlFlow<()> = out_of.push(Err(problem.into()));
            }
        });
        Ok(ReceiverStream::new(out))
    }
}

/// Where a reader's finds go.
pub(super) struct Out<T> {
    pieces: mpsc::Sender<Result<T, Status>>,
    stop: CancellationToken,
    runtime: Handle,
}

impl<T> Out<T> {
    /// Waits for a slow reader; breaks where it is gone.
    pub(super) fn push(&self, piece: Result<T, Status>) -> ControlFlow<()> {
        let sent = self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => {
                    drop(self.pieces.try_send(Err(Problem::stopping().into())));
                    false
                }
                sent = self.pieces.send(piece) => sent.is_ok(),
            }
        });
        if sent { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn unreadable(error: StoreError) -> Problem {
    Problem::unreadable(&error.into())
}

/// The ticks that are asked for; `None` where the ledger is empty.
fn range(history: &dyn Store, from: Option<u64>, to: Option<u64>) -> Result<Option<Range>, Problem> {
    let Some((first, last)) = history.ticks().map_err(unreadable)? else { return Ok(None) };
    let range = Range { from: from.map_or(first, Tick), to: to.map_or(last.next(), Tick).min(last.next()) };
    if range.from < first {
        let message = format!("the ledger reaches back to tick {}, not to tick {}", first.0, range.from.0);
        let problem = Problem::new(Reason::LedgerPruned, message).about("from_tick");
        return Err(problem.bounded(first.0, Some(first.0), Unit::Count));
    }
    if to.is_some_and(|to| to <= range.from.0) {
        let message = format!("the ticks from {} to {} are none", range.from.0, to.unwrap_or_default());
        return Err(Problem::new(Reason::PeriodOutOfRange, message).about("to_tick"));
    }
    Ok(Some(range))
}

/// Rows, oldest first.
///
/// # Errors
/// Where too many read.
pub fn query(
    behind: &Behind,
    readers: &Readers,
    request: v1::QueryLedgerRequest,
) -> Result<Answers<v1::LedgerRow>, Problem> {
    let v1::QueryLedgerRequest { from_tick, to_tick, app, rows_max } = request;
    let rules = behind.engine.view().site.rules().clone();
    let most = if rows_max == 0 { ROWS_MAX } else { rows_max };
    readers.stream(behind, move |history, out| {
        let Some(range) = range(history, from_tick, to_tick)? else { return Ok(()) };
        let mut sent = 0;
        for record in history.records(range.from, range.to) {
            for row in rows(&record.map_err(unreadable)?, &rules, app.as_deref()) {
                if sent == most || out.push(Ok(row)).is_break() {
                    return Ok(());
                }
                sent += 1;
            }
        }
        Ok(())
    })
}

/// Rows together with the snapshot and the journal that they follow from.
///
/// # Errors
/// Where nothing is asked for, or too many read.
pub fn export(
    behind: &Behind,
    readers: &Readers,
    request: v1::ExportLedgerRequest,
) -> Result<Answers<v1::ExportLedgerReply>, Problem> {
    let v1::ExportLedgerRequest { from_tick, to_tick, rows, journal } = request;
    if !rows && !journal {
        return Err(Problem::missing("rows", "ask for rows, for the journal, or for both"));
    }
    let rules = behind.engine.view().site.rules().clone();
    readers.stream(behind, move |history, out| {
        let Some(range) = range(history, from_tick, to_tick)? else { return Ok(()) };
        let export = Export { history, rules: &rules, range, rows, out };
        // Nobody listening any more ends the export, too.
        let _done: ControlFlow<()> =
            if journal { export.journal()? } else { export.rows(range.from, range.to)? };
        Ok(())
    })
}

/// An export under way.
struct Export<'a> {
    history: &'a dyn Store,
    rules: &'a Rules,
    range: Range,
    rows: bool,
    out: &'a Out<v1::ExportLedgerReply>,
}

impl Export<'_> {
    fn push(&self, piece: Piece) -> ControlFlow<()> {
        self.out.push(Ok(v1::ExportLedgerReply { piece: Some(piece) }))
    }

    /// The snapshot before the first tick, then every entry up to the one that settles the last, each tick's entry
    /// followed by its rows.
    fn journal(&self) -> Result<ControlFlow<()>, Problem> {
        let checkpoint = self.history.snapshot_at_or_before(self.range.from).map_err(unreadable)?;
        let checkpoint = checkpoint.ok_or_else(|| pruned(self.range.from))?;
        for part in checkpoint.encode().chunks(SNAPSHOT_PART) {
            if self.push(Piece::Snapshot(part.to_vec())).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let mut tick = checkpoint.snapshot.site.tick();
        for entry in self.history.journal(checkpoint.seq) {
            let (_, linked) = entry.map_err(unreadable)?;
            if self.push(Piece::JournalEntry(linked.encode())).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if !matches!(linked.entry, Entry::Tick(_)) {
                continue;
            }
            if self.rows && tick >= self.range.from && self.rows(tick, tick.next())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            tick = tick.next();
            if tick >= self.range.to {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn rows(&self, from: Tick, to: Tick) -> Result<ControlFlow<()>, Problem> {
        for record in self.history.records(from, to) {
            for row in rows(&record.map_err(unreadable)?, self.rules, None) {
                if self.push(Piece::Row(row)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn pruned(tick: Tick) -> Problem {
    let message = format!("no snapshot reaches back to tick {}", tick.0);
    Problem::new(Reason::LedgerPruned, message).about("from_tick")
}

/// Replays the ledger from the snapshot before the first tick asked for.
///
/// # Errors
/// Where the ledger cannot be read, or does not reach back so far.
pub fn check(
    history: &dyn Store,
    request: v1::VerifyLedgerRequest,
    stop: &CancellationToken,
) -> Result<v1::VerifyLedgerReply, Problem> {
    let v1::VerifyLedgerRequest { from_tick, to_tick } = request;
    let Some(range) = range(history, from_tick, to_tick)? else {
        return Ok(v1::VerifyLedgerReply { holds: true, ..v1::VerifyLedgerReply::default() });
    };
    let checkpoint = history.snapshot_at_or_before(range.from).map_err(unreadable)?;
    let checkpoint = checkpoint.ok_or_else(|| pruned(range.from))?;
    let (first, seq) = (checkpoint.snapshot.site.tick(), checkpoint.seq);
    let mut next = first;
    // Up to the entry that settles the last tick asked for.
    let entries = history.journal(seq).map_while(|entry| {
        if next >= range.to || stop.is_cancelled() {
            return None;
        }
        let linked = entry.map(|(_, linked)| linked);
        if linked.as_ref().is_ok_and(|linked| matches!(linked.entry, Entry::Tick(_))) {
            next = next.next();
        }
        Some(linked)
    });
    let report =
        verify::verify(checkpoint, entries, Some(history.records(first, range.to))).map_err(unreadable)?;
    if stop.is_cancelled() {
        return Err(Problem::new(Reason::Busy, "the call has ended"));
    }
    let broken_tick = report.fault.as_ref().map(|_| first.0.saturating_add(report.ticks));
    Ok(v1::VerifyLedgerReply {
        holds: report.fault.is_none(),
        ticks: report.ticks,
        from_tick: first.0,
        to_tick: first.0.saturating_add(report.ticks),
        broken_tick,
        broken: report.fault.map(|fault| fault.to_string()).unwrap_or_default(),
        head: report.head.bytes().to_vec(),
    })
}

/// Usage, read like the rest of the past.
///
/// # Errors
/// As [`usage::usage`], or where too many read.
pub async fn usage(
    behind: &Behind,
    readers: &Readers,
    whose: usage::Whose,
    query: v1::QueryUsageRequest,
) -> Result<v1::QueryUsageReply, Problem> {
    let period = usage::Period::new(query, super::show::turn_ms(&behind.engine.view()))?;
    readers.once(behind, move |history, stop| usage::usage(history, &whose, period, stop)).await
}
