//! Lock step: the site waits at every tick until each participant is done with it, so that an app's real code runs
//! unchanged through a week of trace in seconds. One round trip a tick.
//!
//! ```text
//!   app: TickDone{}            opens; its setters are made before the site waits for this app
//!   site: Tick k               k is settled, the site waits
//!   app: TickDone{k, setters}  the setters are made, then the site goes on
//! ```

use super::errors::{Problem, Unit};
use super::streams::{AHEAD_MAX, Answers};
use super::{Behind, Caller, setters, show};
use crate::clock::ClockKind;
use crate::engine::handle::View;
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Setters in one message. An app has four settings and a cap per container; who changes more than this in one tick
/// changes some of them twice.
const SETTERS_MAX: usize = 1_024;

/// What a participant hears.
type Hears = mpsc::Sender<Result<v1::LockstepTick, Status>>;

/// Runs the lock step for one app until it leaves, the simulation ends, or the ecovisor stops.
///
/// # Errors
/// Where the clock is not simulated.
pub fn run(
    behind: Behind,
    caller: Caller,
    said: Streaming<v1::TickDone>,
) -> Result<Answers<v1::LockstepTick>, Problem> {
    if caller.view.clock.kind != ClockKind::Simulated {
        let message = "there is lock step only on a simulated clock: use WatchTicks and the setters";
        return Err(Problem::new(Reason::NotSimulated, message));
    }
    let (hears, out) = mpsc::channel(AHEAD_MAX);
    tokio::spawn(async move {
        let stop = behind.stop.clone();
        // A simulation that has come to its end stops the doors too: where both are seen at once, it has ended.
        let ended = tokio::select! {
            biased;
            () = hears.closed() => return,
            ended = converse(&behind, &caller, said, &hears) => ended,
            () = stop.cancelled() => Err(Problem::stopping()),
        };
        if let Err(problem) = ended {
            // A participant that is gone need not be told.
            drop(hears.try_send(Err(problem.into())));
        }
    });
    Ok(ReceiverStream::new(out))
}

async fn converse(
    behind: &Behind,
    caller: &Caller,
    mut said: Streaming<v1::TickDone>,
    hears: &Hears,
) -> Result<(), Problem> {
    let Some(opening) = next(&mut said).await? else { return Ok(()) };
    let mut refusals = hear(behind, caller, opening, None).await?;
    let mut place = behind.engine.join_lockstep(caller.app.id).await?;
    while let Some(view) = place.ticks.recv().await {
        if let Some(tick) = show::tick(&view, &behind.paths, app(&view, caller)?, 0) {
            let number = tick.tick;
            let told =
                v1::LockstepTick { tick: Some(tick), refusals: std::mem::take(&mut refusals), last: false };
            if hears.send(Ok(told)).await.is_err() {
                return Ok(());
            }
            let Some(done) = next(&mut said).await? else { return Ok(()) };
            refusals = hear(behind, caller, done, Some(number)).await?;
        }
        place.done().await?;
    }
    Ok(())
}

fn app<'a>(view: &'a Arc<View>, caller: &Caller) -> Result<&'a ecovisor_core::App, Problem> {
    super::find(view, caller.app.id).ok_or_else(|| Problem::unknown_app(caller.app.name.as_str()))
}

/// The next message; `None` where the app has left, in whatever way.
async fn next(said: &mut Streaming<v1::TickDone>) -> Result<Option<v1::TickDone>, Problem> {
    match said.message().await {
        Ok(done) => Ok(done),
        Err(status) => {
            tracing::debug!(%status, "a lock-step participant is gone");
            Ok(None)
        }
    }
}

/// Makes the setters of a message, each alone; returns those that were refused.
async fn hear(
    behind: &Behind,
    caller: &Caller,
    done: v1::TickDone,
    expected: Option<u64>,
) -> Result<Vec<v1::SetterRefusal>, Problem> {
    let v1::TickDone { tick, setters } = done;
    if tick != expected {
        let shown = |tick: Option<u64>| tick.map_or("nothing".into(), |tick| format!("tick {tick}"));
        let accepted = format!("it answers {}", shown(expected));
        return Err(Problem::invalid("tick", shown(tick), &accepted));
    }
    if setters.len() > SETTERS_MAX {
        let most = u64::try_from(SETTERS_MAX).unwrap_or(u64::MAX);
        let message = format!("{} setters are more than one message holds: {most}", setters.len());
        return Err(Problem::new(Reason::TooMany, message).bounded(most, Some(most), Unit::Count));
    }
    let mut refusals = Vec::new();
    for (index, v1::Setter { set }) in (0..).zip(setters) {
        if let Err(problem) = setters::apply(behind, caller.actor(), caller.app.id, set).await {
            refusals.push(refusal(index, problem));
        }
    }
    Ok(refusals)
}

fn refusal(index: u32, problem: Problem) -> v1::SetterRefusal {
    let Problem { reason, message, field: _, limit, acceptable, unit: _, retry: _ } = problem;
    v1::SetterRefusal { index, reason: reason.into(), message, limit, acceptable }
}
