//! The past as it is kept, for whoever verifies it or takes it along: seals, rollups, raw days. Sent as it stands on the
//! disk, so that nothing has to be believed of it.

use super::Behind;
use super::errors::Problem;
use super::ledger::{Out, Readers};
use super::streams::Answers;
use crate::store::Store;
use ecovisor_audit::history::{DayId, History, HistoryError};
use ecovisor_audit::{Level, Link};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_proto::v1::read_history_reply::Piece;
use ecovisor_units::Millis;
use std::ops::ControlFlow;

/// Bytes of a raw day in one message: far below the 4 MiB that gRPC clients accept by default.
const RAW_PART: u32 = 256 * 1024;

/// What is asked for, with its bounds.
#[derive(Clone, Copy, Debug)]
struct Asked {
    from_day: u64,
    to_day: u64,
    rollups: bool,
    raw: bool,
}

fn none() -> Problem {
    Problem::new(Reason::NotSupported, "this site keeps no past beside its store")
}

fn unreadable(error: HistoryError) -> Problem {
    Problem::unreadable(&error.into())
}

/// What is kept, then day by day its seal and what it vouches for.
///
/// # Errors
/// Where too many read.
pub fn read(
    behind: &Behind,
    readers: &Readers,
    request: v1::ReadHistoryRequest,
) -> Result<Answers<v1::ReadHistoryReply>, Problem> {
    let v1::ReadHistoryRequest { from_day, to_day, rollups, raw } = request;
    let asked = Asked { from_day, to_day: to_day.unwrap_or(u64::MAX), rollups, raw };
    readers.stream(behind, move |ledger, out| {
        let past = ledger.past().ok_or_else(none)?;
        let kept = Piece::Kept(kept(ledger, past)?);
        let _done: ControlFlow<()> = match push(out, kept) {
            ControlFlow::Break(()) => ControlFlow::Break(()),
            ControlFlow::Continue(()) => days(past, asked, out)?,
        };
        Ok(())
    })
}

fn push(out: &Out<v1::ReadHistoryReply>, piece: Piece) -> ControlFlow<()> {
    out.push(Ok(v1::ReadHistoryReply { piece: Some(piece) }))
}

fn kept(ledger: &dyn Store, past: &History) -> Result<v1::HistoryKept, Problem> {
    let kept = past.kept();
    let ticks = ledger.ticks().map_err(|error| Problem::unreadable(&error.into()))?;
    let head = past.seals_head();
    Ok(v1::HistoryKept {
        raw_since_ms: kept.since(Level::Tick).map(Millis::get),
        raw_since_tick: ticks.map(|(first, _)| first.0),
        minutes_since_ms: kept.minutes.map(Millis::get),
        hours_since_ms: kept.hours.map(Millis::get),
        days: past.seals(),
        seals_head: if head == Link::ORIGIN { Vec::new() } else { head.bytes().to_vec() },
        days_archived: past.archived(),
    })
}

fn days(past: &History, asked: Asked, out: &Out<v1::ReadHistoryReply>) -> Result<ControlFlow<()>, Problem> {
    for number in asked.from_day..asked.to_day.min(past.seals()) {
        let Some(seal) = past.seal(number).map_err(unreadable)? else { continue };
        let day = DayId { number, day: seal.day() };
        if push(out, Piece::Seal(seal.encode())).is_break()
            || (asked.rollups && rollups(past, &day, out)?.is_break())
            || (asked.raw && raw(past, number, out)?.is_break())
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn rollups(past: &History, day: &DayId, out: &Out<v1::ReadHistoryReply>) -> Result<ControlFlow<()>, Problem> {
    for level in [Level::Minute, Level::Hour] {
        if !past.has(level, day.number) {
            continue;
        }
        let frames = match past.rollup_frames(level, day) {
            Err(error) if error.is_gone() => continue,
            frames => frames.map_err(unreadable)?,
        };
        for bytes in frames {
            let part = v1::HistoryPart { day: day.number, bytes };
            let piece = if level == Level::Minute { Piece::Minutes(part) } else { Piece::Hours(part) };
            if push(out, piece).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn raw(past: &History, day: u64, out: &Out<v1::ReadHistoryReply>) -> Result<ControlFlow<()>, Problem> {
    let mut offset = 0;
    while let Some(bytes) = past.raw_part(day, offset, RAW_PART).map_err(unreadable)? {
        offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if push(out, Piece::Raw(v1::HistoryPart { day, bytes })).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Notes that all days before `days` were archived, where the caller has the seal that says so.
///
/// # Errors
/// Where it has another one, or it cannot be noted.
pub fn confirm(
    ledger: &dyn Store,
    request: &v1::ConfirmArchiveRequest,
) -> Result<v1::ConfirmArchiveReply, Problem> {
    let past = ledger.past().ok_or_else(none)?;
    let v1::ConfirmArchiveRequest { days, seals_head } = request;
    let last = days.checked_sub(1).map(|last| past.seal(last)).transpose().map_err(unreadable)?.flatten();
    let due = last.map(|seal| seal.link().bytes().to_vec());
    if due.as_ref() != Some(seals_head) {
        let message =
            format!("the seals of the first {days} days do not end with that link: archive them again");
        return Err(Problem::new(Reason::Invalid, message).about("seals_head"));
    }
    past.archive_taken(*days).map_err(unreadable)?;
    Ok(v1::ConfirmArchiveReply { days_archived: past.archived() })
}
