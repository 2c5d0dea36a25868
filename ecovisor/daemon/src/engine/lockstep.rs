//! The simulated clock: as fast as it goes, waiting at every tick for the apps that asked for lock step.

use super::{Ended, Runner};
use crate::plant::Span;
use ecovisor_audit::Record;
use ecovisor_core::{AppId, AppName, Outcome};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a lock-step participant may take over a tick, in real time, before the site goes on without it.
const LOCKSTEP_PATIENCE: Duration = Duration::from_secs(60);

/// What a simulation leads to cannot be written.
pub(super) fn not_written(source: std::io::Error) -> Ended {
    Ended::Store(crate::store::StoreError::Disk { doing: "write beside", source })
}

impl Runner {
    /// Runs on the simulated clock until `until_ms`, as fast as it goes, waiting for lock-step participants at every
    /// tick. `wait_for` of them must have joined before the first tick. Every outcome is shown to `each`, with the names
    /// of its apps.
    ///
    /// # Errors
    /// [`Ended`] where it cannot go on.
    pub async fn simulate(
        mut self,
        until_ms: u64,
        wait_for: usize,
        shutdown: CancellationToken,
        mut each: impl FnMut(&Outcome, &[(AppId, AppName)]) -> std::io::Result<()>,
    ) -> Result<(), Ended> {
        self.settle_in()?;
        while self.lockstep.len() < wait_for {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(join) = self.joins.recv() => self.lockstep.push(join),
                Some(asked) = self.asks.recv() => self.answer(asked)?,
            }
        }
        self.step_together(&shutdown).await?;
        let mut names = Record::names_of(&self.state.site);
        while self.wall_ms < until_ms && !shutdown.is_cancelled() {
            if self.is_alone() {
                self.rush(until_ms, &shutdown, &mut each).await?;
                break;
            }
            if !names.names(&self.state.site) {
                names = Record::names_of(&self.state.site);
            }
            let (length, tick) = (self.state.site.rules().tick, self.state.site.tick());
            self.tick(Span { wall_ms: self.wall_ms, length, real_us: 0 })?;
            if let Some(outcome) = self.outcome.as_ref().filter(|outcome| outcome.tick == tick) {
                each(outcome, &names.app_names).map_err(not_written)?;
            }
            self.answer_waiting()?;
            self.step_together(&shutdown).await?;
            // Streams and joins get their turn between ticks.
            tokio::task::yield_now().await;
        }
        self.wind_up()
    }

    /// Shows the state to every lock-step participant and waits until each is done, answering questions meanwhile.
    pub(super) async fn step_together(&mut self, shutdown: &CancellationToken) -> Result<(), Ended> {
        while let Ok(join) = self.joins.try_recv() {
            self.lockstep.push(join);
        }
        let mut staying = Vec::new();
        let view = self.view.borrow().clone();
        for (app, ticks, mut done) in std::mem::take(&mut self.lockstep) {
            if ticks.send(view.clone()).await.is_err() {
                continue;
            }
            let deadline = tokio::time::sleep(LOCKSTEP_PATIENCE);
            tokio::pin!(deadline);
            let stays = loop {
                tokio::select! {
                    () = shutdown.cancelled() => break false,
                    () = &mut deadline => {
                        tracing::warn!(app = app.get(), "took too long over a tick in lock step; going on without it");
                        break false;
                    }
                    asked = self.asks.recv() => match asked {
                        Some(asked) => self.answer(asked)?,
                        None => break false,
                    },
                    finished = done.recv() => break finished.is_some(),
                }
            };
            if stays {
                staying.push((app, ticks, done));
            }
        }
        self.lockstep = staying;
        Ok(())
    }
}
