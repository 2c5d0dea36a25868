//! Streams of ticks and events that connect again by themselves, and say what they missed meanwhile.

use crate::error::present;
use crate::event::{Event, Thresholds};
use crate::{EnergySystem, Error, Tick};
use ecovisor_proto::v1;
use std::time::Duration;
use tonic::Streaming;

/// First wait after a connection broke: a daemon that restarts is back within a second.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// Longest wait between two attempts: an app should not miss more ticks than it must after a long outage.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long to wait before the next attempt: doubles from [`WAIT_MIN`] to [`WAIT_MAX`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(WAIT_MIN)
    }

    /// The wait now; the next one is longer.
    pub(crate) fn grow(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(WAIT_MAX);
        wait
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }
}

/// The ticks of an app, live. Dropping the future of [`Self::next`] loses no tick that was not told as missed.
#[derive(Debug)]
pub struct Ticks {
    energy: EnergySystem,
    stream: Option<Streaming<v1::Tick>>,
    last: Option<u64>,
    backoff: Backoff,
    outages: u64,
}

impl Ticks {
    pub(crate) fn new(energy: EnergySystem) -> Self {
        Self { energy, stream: None, last: None, backoff: Backoff::new(), outages: 0 }
    }

    /// Waits for the next tick, through outages of the daemon. [`Tick::missed`] counts the ticks in between.
    ///
    /// # Errors
    /// What waiting does not repair: the connection is not an app's, or the daemon is of another version.
    pub async fn next(&mut self) -> Result<Tick, Error> {
        loop {
            match self.told().await {
                Ok(tick) => {
                    self.backoff.reset();
                    return Ok(self.count(tick));
                }
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, "tick stream broke");
                    self.stream = None;
                    self.outages += 1;
                    tokio::time::sleep(self.backoff.grow()).await;
                }
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            }
        }
    }

    /// How often the stream broke so far.
    #[must_use]
    pub fn outages(&self) -> u64 {
        self.outages
    }

    async fn told(&mut self) -> Result<Tick, Error> {
        if self.stream.is_none() {
            let opened = self.energy.service().watch_ticks(v1::WatchTicksRequest {}).await?;
            self.stream = Some(opened.into_inner());
        }
        Tick::read(message(self.stream.as_mut()).await?)
    }

    /// Adds what numbers say was missed while nobody was connected. Where they start again, the site is a new one.
    fn count(&mut self, mut tick: Tick) -> Tick {
        let unseen = self.last.and_then(|last| tick.tick.checked_sub(last + 1)).unwrap_or(0);
        tick.missed = tick.missed.max(unseen);
        self.last = Some(tick.tick);
        tick
    }
}

/// What an event stream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something happened.
    Event(Event),
    /// That many events were lost because this reader was slow.
    Missed(u64),
    /// The stream broke and is open again; events between were not told. Ask for the state to know where things are.
    Reconnected,
}

/// The events of an app, live.
#[derive(Debug)]
pub struct Events {
    energy: EnergySystem,
    thresholds: Thresholds,
    stream: Option<Streaming<v1::WatchEventsReply>>,
    held: Option<Event>,
    broken: bool,
    backoff: Backoff,
}

impl Events {
    pub(crate) fn new(energy: EnergySystem, thresholds: Thresholds) -> Self {
        Self { energy, thresholds, stream: None, held: None, broken: false, backoff: Backoff::new() }
    }

    /// Waits for the next notice, through outages of the daemon.
    ///
    /// # Errors
    /// What waiting does not repair: the connection is not an app's, or the daemon is of another version.
    pub async fn next(&mut self) -> Result<Notice, Error> {
        loop {
            if let Some(event) = self.held.take() {
                return Ok(Notice::Event(event));
            }
            match self.told().await {
                Ok(Some(notice)) => return Ok(notice),
                Ok(None) => {}
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, "event stream broke");
                    self.broken |= self.stream.take().is_some();
                    tokio::time::sleep(self.backoff.grow()).await;
                }
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            }
        }
    }

    /// One message: an event with word of lost ones before it becomes two notices, the event held for the next call.
    async fn told(&mut self) -> Result<Option<Notice>, Error> {
        if self.stream.is_none() {
            let opened = self.energy.service().watch_events(self.thresholds.write()).await?;
            self.stream = Some(opened.into_inner());
            if std::mem::take(&mut self.broken) {
                return Ok(Some(Notice::Reconnected));
            }
        }
        let v1::WatchEventsReply { event, missed } = message(self.stream.as_mut()).await?;
        self.backoff.reset();
        self.held = event.map(Event::read).transpose()?;
        Ok((missed > 0).then_some(Notice::Missed(missed)))
    }
}

/// The next message; an end is an outage, since the daemon ends live streams only when it stops.
async fn message<T>(stream: Option<&mut Streaming<T>>) -> Result<T, Error> {
    let message = present(stream, "an open stream")?.message().await?;
    message.ok_or_else(|| Error::Unreachable { cause: String::from("the daemon ended the stream") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..7).map(|_| backoff.grow().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000]);
        backoff.reset();
        assert_eq!(backoff.grow(), WAIT_MIN);
    }
}
