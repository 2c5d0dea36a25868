//! Keeps the past: moves what the store has to the blocks beside it, and lets go of what is old enough.
//!
//! Off the tick loop, in portions: at most [`PORTION_TICKS`] ticks are replayed at once, then the keeper waits as long as
//! it worked, so that it takes half a core at most while it catches up, and next to nothing afterwards. What it cannot
//! write stays in the store; it says so and tries again. Nothing is forgotten by the store before it was replayed from
//! the journal to the links that the store has, written, and synced.

use crate::clock;
use crate::store::{Store, StoreError};
use ecovisor_audit::history::{Follower, History, HistoryError, Retention};
use ecovisor_audit::{Applied, Checkpoint, Entry, Fault, Link};
use ecovisor_core::Tick;
use ecovisor_units::Millis;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Ticks that are replayed at once: 1 ms for ten apps, 100 ms for a thousand.
const PORTION_TICKS: u64 = 60;

/// Ticks whose records the store keeps, however old: a restart goes on from the last one's.
const STORE_TICKS: u64 = 60;

/// Files that are removed at once.
const FILES_AT_ONCE: usize = 8;

/// How long the keeper waits when there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);

/// How long it waits after something went wrong: a full disk is not emptied sooner.
const AFTER_TROUBLE: Duration = Duration::from_secs(30);

/// Why nothing is moved at the moment.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The past cannot be written or read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The journal does not replay.
    #[error("the journal cannot be replayed: nothing more is moved out of the store")]
    Replay(#[from] Fault),
    /// A record is not the one that its journal leads to.
    #[error(
        "the record of tick {} is not what the journal leads to: nothing more is moved out of the store", .0.0
    )]
    Record(Tick),
    /// The two do not belong together.
    #[error(
        "the store goes on from journal entry {store}, the past beside it ends with entry {past}: they are not of \
         one site, or of different times; restore both from one backup"
    )]
    Apart {
        /// Where the store's journal can be taken up.
        store: u64,
        /// Where the past ends.
        past: u64,
    },
}

/// What a portion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// All that can be moved is moved.
    Done,
}

/// Moves what the store has to the past.
pub struct Keeper {
    store: Arc<dyn Store>,
    history: Arc<History>,
    retention: Retention,
    /// `None` until it has begun, and after trouble: it begins again from what is on the disk.
    follower: Option<Follower>,
}

impl Keeper {
    /// A keeper of one site's past.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, history: Arc<History>, retention: Retention) -> Self {
        Self { store, history, retention, follower: None }
    }

    /// Keeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let keeper = Arc::new(Mutex::new(self));
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let mine = keeper.clone();
            let portion = tokio::task::spawn_blocking(move || {
                let began_us = clock::boot_us();
                let done = mine.lock().unwrap_or_else(PoisonError::into_inner).portion();
                (done, Duration::from_micros(clock::boot_us().saturating_sub(began_us)))
            });
            wait = match portion.await {
                Ok((Ok(Progress::More), took)) => took,
                Ok((Ok(Progress::Done), _)) => IDLE,
                Ok((Err(trouble), _)) => {
                    tracing::error!(error = %described(&trouble), "the past is not kept; the store keeps it meanwhile");
                    AFTER_TROUBLE
                }
                Err(error) => {
                    tracing::error!(%error, "the keeper of the past has ended");
                    return;
                }
            };
        }
    }

    /// Does a portion of what there is to do.
    ///
    /// # Errors
    /// [`Trouble`]; the next portion begins anew.
    pub fn portion(&mut self) -> Result<Progress, Trouble> {
        let Some(mut follower) = self.follower.take().map_or_else(|| self.begin(), |f| Ok(Some(f)))? else {
            return Ok(Progress::Done);
        };
        let moved = self.follow(&mut follower)?;
        self.follower = Some(follower);
        let removed = self.forget_old()?;
        Ok(if moved == PORTION_TICKS || removed == FILES_AT_ONCE { Progress::More } else { Progress::Done })
    }

    /// Where the past ends the follower begins; `None` where the store has no tick yet.
    fn begin(&self) -> Result<Option<Follower>, Trouble> {
        let Some((first, _)) = self.store.ticks()? else { return Ok(None) };
        let end = self.history.end();
        let tick = end.map_or(first, |end| end.end_tick());
        let past = end.map_or(0, |end| end.end_seq());
        let Some(checkpoint) = self.store.snapshot_at_or_before(tick)? else {
            return Err(Trouble::Apart { store: self.store.head().0, past });
        };
        let Some(end) = end else {
            return Ok(Some(Follower::new(checkpoint, Link::ORIGIN)));
        };
        let at_end = self.replayed(checkpoint, past)?;
        match at_end.link == end.journal_after && at_end.snapshot.site.tick() == end.end_tick() {
            true => Ok(Some(Follower::new(at_end, end.records_after))),
            false => Err(Trouble::Apart { store: at_end.seq, past }),
        }
    }

    /// The state after so many entries.
    fn replayed(&self, from: Checkpoint, until: u64) -> Result<Checkpoint, Trouble> {
        let Checkpoint { mut seq, mut link, mut snapshot } = from;
        if seq > until {
            return Err(Trouble::Apart { store: seq, past: until });
        }
        for entry in self.store.journal(seq) {
            if seq == until {
                break;
            }
            let (number, linked) = entry?;
            let tick = snapshot.site.tick();
            match snapshot.apply(&linked.entry).map_err(|broken| Fault::Broken { tick, broken })? {
                Applied::Refused(refusal) => return Err(Fault::Refused { seq: number, tick, refusal }.into()),
                Applied::Accepted(_) | Applied::Noted | Applied::Settled(_) => {}
            }
            (seq, link) = (number + 1, linked.link);
        }
        Ok(Checkpoint { seq, link, snapshot })
    }

    /// Replays on, keeps the blocks that end, and lets the store forget them; returns how many ticks it came further.
    fn follow(&self, follower: &mut Follower) -> Result<u64, Trouble> {
        let Some((_, last)) = self.store.ticks()? else { return Ok(0) };
        let (first, mut ended) = (follower.next_tick(), None);
        let until = Tick(first.0.saturating_add(PORTION_TICKS)).min(last.next());
        let mut records = self.store.linked_records(first, until);
        for entry in self.store.journal(follower.next_seq()) {
            let (_, linked) = entry?;
            let tick = follower.next_tick();
            if tick >= until && matches!(linked.entry, Entry::Tick(_)) {
                break;
            }
            let pushed = follower.push(linked)?;
            if let Some(block) = pushed.block {
                self.history.append(&block)?;
                if pushed.ends_day {
                    self.history.end_day()?;
                }
                ended = Some(block.head);
            }
            let Some(record) = pushed.record else { continue };
            let kept = records.next().transpose()?.filter(|kept| kept.record == record);
            let kept = kept.ok_or(Trouble::Record(tick))?;
            // Records from before there was a chain have no link, but their place in it.
            if kept.link.is_some_and(|link| link != follower.records()) {
                return Err(Trouble::Record(tick));
            }
        }
        if let Some(head) = ended {
            let kept = last.0.saturating_sub(STORE_TICKS);
            self.store.forget_before(Tick(head.end_tick().0.min(kept)))?;
        }
        Ok(follower.next_tick().0 - first.0)
    }

    fn forget_old(&self) -> Result<usize, Trouble> {
        let now = self.follower.as_ref().map_or(Millis::ZERO, Follower::now);
        Ok(self.history.forget(now, &self.retention, FILES_AT_ONCE)?)
    }
}

/// An error with its causes.
fn described(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
