//! Loads: so many calls in flight, or so many a second; and what answers took.

use crate::site::App;
use anyhow::{Result, ensure};
use ecovisor_sdk::operator::wire;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::{Code, Status};

/// Keeps `in_flight` calls on their way over one connection for `time`; answers per second.
///
/// # Errors
/// Where a call fails.
pub async fn closed(client: &App, in_flight: usize, time: Duration) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut calling = JoinSet::new();
    let began = Instant::now();
    for _ in 0..in_flight {
        let (mut client, stop) = (client.clone(), stop.clone());
        calling.spawn(async move {
            let mut answers = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                client.get_energy_system(wire::GetEnergySystemRequest {}).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        });
    }
    sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut answers = 0;
    while let Some(called) = calling.join_next().await {
        answers += called??;
    }
    Ok(float(answers) / began.elapsed().as_secs_f64())
}

/// What an open load is made of.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Calls each time.
    pub burst: u32,
    /// How often.
    pub every: Duration,
    /// For how long.
    pub time: Duration,
}

/// What became of an open load's calls.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// How long answers took, from when the call was due.
    pub took: Vec<Duration>,
    /// Calls that were refused for their number.
    pub refused: u64,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A question.
    GetEnergySystem,
    /// A setting; its journal entry is synced before it is answered.
    SetBatteryMaxDischarge,
}

/// Calls at a steady pace whatever becomes of the answers, spread over connections in turn.
///
/// # Errors
/// Where a call fails for another reason than its number.
pub async fn open(clients: &[App], pace: Pace, method: Method) -> Result<Answers> {
    ensure!(!clients.is_empty(), "nobody calls");
    let mut calling = JoinSet::new();
    let mut answers = Answers::default();
    let mut due = interval(pace.every);
    // Late calls are made at once: the pace holds over the whole time.
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let mut turn = clients.iter().cycle();
    while began.elapsed() < pace.time {
        let at = due.tick().await;
        for client in turn.by_ref().take(usize::try_from(pace.burst)?) {
            calling.spawn(timed(client.clone(), method, at));
        }
        while let Some(called) = calling.try_join_next() {
            answers.note(called??);
        }
    }
    while let Some(called) = calling.join_next().await {
        answers.note(called??);
    }
    Ok(answers)
}

impl Answers {
    fn note(&mut self, took: Option<Duration>) {
        match took {
            Some(took) => self.took.push(took),
            None => self.refused += 1,
        }
    }
}

/// How long the answer took; `None` where there are too many calls.
async fn timed(mut client: App, method: Method, due: Instant) -> Result<Option<Duration>, Status> {
    let answered = match method {
        Method::GetEnergySystem => client.get_energy_system(wire::GetEnergySystemRequest {}).await.map(drop),
        Method::SetBatteryMaxDischarge => {
            let request = wire::SetBatteryMaxDischargeRequest { max_mw: Some(1_000), lease_ms: None };
            client.set_battery_max_discharge(request).await.map(drop)
        }
    };
    match answered {
        Ok(()) => Ok(Some(due.elapsed())),
        // The daemon's own word, and what its server says of a connection that has too many calls open.
        Err(status) if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) => Ok(None),
        Err(status) => Err(status),
    }
}

/// The time that so many in a hundred answers did not exceed; zero without answers.
#[must_use]
pub fn percentile(took: &[Duration], percent: usize) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent).div_ceil(100);
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle of some figures; no number without figures.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A count as a figure to divide by; counts here are far below 2⁵³.
#[must_use]
pub fn float(count: u64) -> f64 {
    // Through halves, each of which a float holds exactly.
    let halves = [u32::try_from(count >> 32), u32::try_from(count & u64::from(u32::MAX))];
    let [high, low] = halves.map(|half| f64::from(half.unwrap_or(0)));
    high * 4_294_967_296.0 + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_answers() {
        let took: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&took, 99), Duration::from_millis(198));
        assert_eq!(percentile(&took, 50), Duration::from_millis(100));
        assert_eq!(percentile(&took[..1], 99), Duration::from_millis(200));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn a_median_stands_in_the_middle_and_there_is_none_of_nothing() {
        assert_eq!(median(&[3.0, 1.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
        assert_eq!(float(u64::from(u32::MAX) + 5), 4_294_967_300.0);
    }
}
