//! A trace or a forecast, looked at in the same way.

use crate::plant::Ahead;
use ecovisor_forecast::{Basis, LeadError, Outlook, Quantiles};
use std::sync::Arc;

/// What is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The site's solar power, in mW.
    Solar,
    /// The grid's intensity, in mg/kWh.
    Carbon,
}

/// What knows the future, or guesses at it.
pub trait ForecastSource: Send + Sync {
    /// What is told of a quantity now; `None` where nothing can be, or not yet.
    fn told(&self, of: Quantity) -> Option<Told>;

    /// How far earlier forecasts were off, by what made them.
    fn errors(&self, of: Quantity) -> Vec<(String, Vec<LeadError>)>;
}

/// What is told of a quantity.
pub struct Told {
    /// What made it: `trace` where the trace is read that will be played, so that it will be exactly so.
    pub source: String,
    /// When it was made, in ms since the Unix epoch; `None` means now.
    pub issued_at_ms: Option<u64>,
    /// Its own step in ms; never zero.
    pub step_ms: u64,
    /// What its middle rests on.
    pub rests_on: &'static str,
    /// It itself.
    pub look: Box<dyn Look>,
}

/// Looks at one moment.
pub trait Look: Send + Sync {
    /// Of the step that `utc_ms` lies in; `None` beyond what is known.
    fn at(&self, utc_ms: u64) -> Option<Quantiles>;

    /// What that step stays below with probability `level`, 0 to 1; `None` where nobody can say.
    fn quantile(&self, utc_ms: u64, level: f64) -> Option<f64>;
}

/// Traces are hourly; between hours the sun moves, so a quarter of an hour is their own step.
const TRACE_STEP_MS: u64 = 900_000;
const HOUR_MS: u64 = 3_600_000;

impl Told {
    /// From the trace that will be played.
    pub(super) fn trace(ahead: &Ahead, of: Quantity) -> Option<Self> {
        let (solar, carbon) = ahead.sources();
        let known = match of {
            Quantity::Solar => solar,
            Quantity::Carbon => carbon,
        };
        let look = Box::new(TraceLook { ahead: ahead.clone(), of });
        let (source, rests_on) = ("trace".to_owned(), "trace");
        known.then_some(Self { source, issued_at_ms: None, step_ms: TRACE_STEP_MS, rests_on, look })
    }

    /// From a forecast.
    pub(super) fn outlook(outlook: Arc<Outlook>) -> Self {
        Self {
            source: outlook.source().to_owned(),
            issued_at_ms: Some(outlook.issued().saturating_mul(HOUR_MS)),
            step_ms: HOUR_MS,
            rests_on: rests_on(&outlook),
            look: Box::new(OutlookLook(outlook)),
        }
    }
}

fn rests_on(outlook: &Outlook) -> &'static str {
    match outlook.basis() {
        Some(Basis::Provided) => "provider",
        Some(Basis::HourOfWeek) => "hour of week",
        Some(Basis::HourOfDay) => "hour of day",
        Some(Basis::Mean) => "mean",
        None => "",
    }
}

struct TraceLook {
    ahead: Ahead,
    of: Quantity,
}

impl TraceLook {
    fn figure(&self, utc_ms: u64) -> Option<f64> {
        let figure = match self.of {
            Quantity::Solar => self.ahead.solar(utc_ms)?.get(),
            Quantity::Carbon => self.ahead.carbon(utc_ms)?.get(),
        };
        Some(ecovisor_forecast::float(figure))
    }
}

/// A trace is certain, so its quantiles are one figure.
impl Look for TraceLook {
    fn at(&self, utc_ms: u64) -> Option<Quantiles> {
        self.figure(utc_ms).map(|mean| Quantiles { p10: mean, p50: mean, p90: mean })
    }

    fn quantile(&self, utc_ms: u64, _: f64) -> Option<f64> {
        self.figure(utc_ms)
    }
}

struct OutlookLook(Arc<Outlook>);

impl Look for OutlookLook {
    fn at(&self, utc_ms: u64) -> Option<Quantiles> {
        self.0.at(utc_ms / HOUR_MS)
    }

    fn quantile(&self, utc_ms: u64, level: f64) -> Option<f64> {
        self.0.quantile(utc_ms / HOUR_MS, level)
    }
}
