//! What is said of the coming hours, when it was said, and what it rests on.

use crate::errors::Spread;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is expected of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Exceeded with 90 %.
    pub p10: f64,
    /// Exceeded with 50 %.
    pub p50: f64,
    /// Exceeded with 10 %.
    pub p90: f64,
}

/// What a forecast's middle rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Basis {
    /// Somebody else's forecast.
    Provided,
    /// The last weeks at that hour of the week.
    HourOfWeek,
    /// The last days at that hour of the day.
    HourOfDay,
    /// The mean of all that is known.
    Mean,
}

/// One hour ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// The middle, in the quantity's unit.
    pub(crate) expected: f64,
    /// What errors are measured in: the clear sky's power for the sun, one for carbon.
    pub(crate) scale: f64,
    pub(crate) class: usize,
    pub(crate) basis: Basis,
}

/// A forecast as it was issued, an hour a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    pub(crate) issued: u64,
    pub(crate) source: Arc<str>,
    pub(crate) steps: Vec<Step>,
    /// Errors of one's own forecasts, and of those provided.
    pub(crate) own: Arc<Spread>,
    pub(crate) provided: Arc<Spread>,
    /// The least and the most that has been seen, over the scale.
    pub(crate) range: (f64, f64),
    /// The most that can be, over the scale.
    pub(crate) ceiling: f64,
}

impl Outlook {
    /// The hour at whose start it was made; also its first step.
    #[must_use]
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// The hour after its last step.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.issued.saturating_add(u64::try_from(self.steps.len()).unwrap_or(u64::MAX))
    }

    /// What made it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What its first step rests on; `None` where it has none.
    #[must_use]
    pub fn basis(&self) -> Option<Basis> {
        self.steps.first().map(|step| step.basis)
    }

    /// What is expected of `hour`; `None` beyond its steps. Where too few errors are known, p10 and p90 are the least and
    /// the most that has been seen.
    #[must_use]
    pub fn at(&self, hour: u64) -> Option<Quantiles> {
        let (_, step) = self.step(hour)?;
        let (low, high) = (self.range.0 * step.scale, self.range.1 * step.scale);
        Some(Quantiles {
            p10: self.quantile(hour, 0.1).unwrap_or(low).min(step.expected),
            p50: step.expected,
            p90: self.quantile(hour, 0.9).unwrap_or(high).max(step.expected),
        })
    }

    /// The figure that `hour` stays below with probability `level`, 0 to 1; `None` beyond the steps, and where too few
    /// errors are known to tell.
    #[must_use]
    pub fn quantile(&self, hour: u64, level: f64) -> Option<f64> {
        let (lead, step) = self.step(hour)?;
        let spread = if step.basis == Basis::Provided { &self.provided } else { &self.own };
        let error = match step.scale > 0.0 {
            true => spread.quantile(lead, step.class, level)?,
            false => 0.0,
        };
        Some((step.expected + error * step.scale).clamp(0.0, (self.ceiling * step.scale).max(0.0)))
    }

    /// The step of `hour`, and how many hours ahead its end lay at issue.
    fn step(&self, hour: u64) -> Option<(u64, &Step)> {
        let ahead = hour.checked_sub(self.issued)?;
        Some((ahead + 1, self.steps.get(usize::try_from(ahead).ok()?)?))
    }
}
