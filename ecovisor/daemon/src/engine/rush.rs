//! A simulation that nobody can ask or watch: there are no doors, and the loop does what moves the books and nothing else.
//!
//! What falls away beside [`Runner::tick`](super::Runner): views of the state, totals and last errors for them, commands,
//! metrics, counters that outlive the process. What was settled is the same, bit for bit.

use super::lockstep::not_written;
use super::{Ended, Keeping, Runner};
use crate::plant::Span;
use ecovisor_audit::{Entry, Record};
use ecovisor_core::{AppId, AppName, Inputs, Outcome};
use tokio_util::sync::CancellationToken;

/// Ticks between two looks at what goes on outside, such as an interrupt: about a millisecond of them.
const LOOK_UP_TICKS: u64 = 1_024;

impl Runner {
    /// Whether nobody can ask, join or watch any more.
    pub(super) fn is_alone(&self) -> bool {
        self.lockstep.is_empty()
            && self.asks.is_closed()
            && self.asks.is_empty()
            && self.joins.is_closed()
            && self.joins.is_empty()
    }

    /// Runs until `until_ms`, or a shutdown. Every outcome is shown to `each`, with the names of its apps.
    ///
    /// # Errors
    /// [`Ended`] where it cannot go on.
    pub(super) async fn rush(
        &mut self,
        until_ms: u64,
        shutdown: &CancellationToken,
        each: &mut impl FnMut(&Outcome, &[(AppId, AppName)]) -> std::io::Result<()>,
    ) -> Result<(), Ended> {
        let mut names = Record::names_of(&self.state.site);
        let mut until_look_up = LOOK_UP_TICKS;
        while self.wall_ms < until_ms {
            until_look_up -= 1;
            if until_look_up == 0 {
                until_look_up = LOOK_UP_TICKS;
                tokio::task::yield_now().await;
                if shutdown.is_cancelled() {
                    break;
                }
            }
            let (inputs, outcome) = self.rushed_tick(&mut names)?;
            each(&outcome, &names.app_names).map_err(not_written)?;
            self.keep(inputs, outcome, &names)?;
        }
        Ok(())
    }

    /// One tick: gather, step, apply.
    fn rushed_tick(&mut self, names: &mut Record) -> Result<(Inputs, Outcome), Ended> {
        let length = self.state.site.rules().tick;
        let span = Span { wall_ms: self.wall_ms, length, real_us: 0 };
        self.wall_ms = span.wall_ms.saturating_add(length.get());
        let inputs = self.plant.gather(span, self.wall_ms);
        if !names.names(&self.state.site) {
            *names = Record::names_of(&self.state.site);
        }
        let tick = self.state.site.tick().0;
        let outcome = self.state.step(&inputs).map_err(|broken| Ended::Broken { tick, broken })?;
        for event in &outcome.events {
            tracing::info!(tick, ?event, "event");
        }
        self.plant.apply(&outcome.orders);
        Ok((inputs, outcome))
    }

    /// Remembers a tick for the store, and commits where it is time to.
    fn keep(&mut self, inputs: Inputs, outcome: Outcome, names: &Record) -> Result<(), Ended> {
        if self.keeping == Keeping::Nothing {
            return Ok(());
        }
        let tick = outcome.tick.0;
        self.unjournaled.push(Entry::Tick(inputs));
        let (app_names, container_names) = (names.app_names.clone(), names.container_names.clone());
        self.records.push(Record { outcome, app_names, container_names });
        if (tick + 1).is_multiple_of(self.snapshot_ticks) {
            return self.snapshot();
        }
        self.flush_when_due()
    }
}
