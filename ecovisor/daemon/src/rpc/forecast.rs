//! Advice on what is to come. The site says where it has it from; here it is cut into steps and into an app's part.

use super::errors::{Problem, Unit};
use crate::engine::handle::View;
use ecovisor_core::App;
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_units::{CarbonIntensity, Power};

/// What knows the future, or guesses at it.
pub trait ForecastSource: Send + Sync {
    /// What made it: `trace` where the trace is read that will be played, so that it will be exactly so.
    fn source(&self) -> &'static str;

    /// Its own step in ms; never zero.
    fn step_ms(&self) -> u64;

    /// The site's solar power over the step that `utc_ms` (since the Unix epoch) lies in; `None` beyond what is known.
    fn solar(&self, utc_ms: u64) -> Option<Power>;

    /// The grid's intensity, likewise.
    fn intensity(&self, utc_ms: u64) -> Option<CarbonIntensity>;
}

/// Steps in one answer: a month by the quarter of an hour, or seven days by the minute.
const STEPS_MAX: u64 = 10_080;

/// Looks at the source for one step of an answer: a step longer than that is a mean over so many evenly spaced looks.
const LOOKS_MAX: u64 = 60;

/// An app's forecast.
///
/// # Errors
/// Where there is no source, or more steps are asked for than one answer holds.
pub fn forecast(
    source: Option<&dyn ForecastSource>,
    view: &View,
    app: &App,
    asked: v1::GetForecastRequest,
) -> Result<v1::GetForecastReply, Problem> {
    let v1::GetForecastRequest { horizon_ms, step_ms } = asked;
    let source = source.ok_or_else(|| {
        let message = "this site has no forecast: configure [carbon], or [sim] with [solar]";
        Problem::new(Reason::NoForecast, message)
    })?;
    let step_ms = if step_ms == 0 { source.step_ms().max(1) } else { step_ms };
    let steps = match horizon_ms {
        0 => STEPS_MAX,
        horizon => horizon.div_ceil(step_ms),
    };
    if steps > STEPS_MAX {
        let message = format!("{steps} steps are more than one answer holds: {STEPS_MAX}");
        let problem = Problem::new(Reason::PeriodOutOfRange, message);
        return Err(problem.bounded(STEPS_MAX, Some(STEPS_MAX), Unit::Count));
    }
    let start_ms = super::show::turn_ms(view);
    let part = super::show::solar_part(view, app);
    let milliwatts = |at: u64| source.solar(at).map(|power| advice(power.get()) * part);
    let intensity = |at: u64| source.intensity(at).map(|intensity| advice(intensity.get()));
    let cut = Cut { start_ms, step_ms, steps, own_step_ms: source.step_ms().max(1) };
    let name = source.source();
    Ok(v1::GetForecastReply {
        issued_at_ms: start_ms,
        start_ms,
        step_ms,
        solar_mw: cut.series(name, milliwatts),
        carbon_mg_per_kwh: cut.series(name, intensity),
    })
}

/// Advice may float. Beyond 2⁵³ it is rounded, which is far beyond any site.
fn advice(figure: u64) -> f64 {
    let (high, low) = (figure >> 32, figure & u64::from(u32::MAX));
    let half = |half: u64| f64::from(u32::try_from(half).unwrap_or(u32::MAX));
    half(high) * 4_294_967_296.0 + half(low)
}

/// How a period is cut.
struct Cut {
    start_ms: u64,
    step_ms: u64,
    steps: u64,
    own_step_ms: u64,
}

impl Cut {
    /// As far as there is one; `None` where there is none at all. A trace is certain, so its quantiles are one figure.
    fn series(&self, source: &str, at: impl Fn(u64) -> Option<f64>) -> Option<v1::Series> {
        let means = (0..self.steps).map_while(|step| self.mean(step, &at));
        let steps: Vec<_> = means.map(|mean| v1::Quantiles { p10: mean, p50: mean, p90: mean }).collect();
        (!steps.is_empty()).then(|| v1::Series { source: source.to_owned(), steps })
    }

    fn mean(&self, step: u64, at: &impl Fn(u64) -> Option<f64>) -> Option<f64> {
        let looks = self.step_ms.div_ceil(self.own_step_ms).clamp(1, LOOKS_MAX);
        let begin = self.start_ms.saturating_add(step.saturating_mul(self.step_ms));
        let (mut sum, mut count) = (0.0, 0.0);
        for look in 0..looks {
            sum += at(begin.saturating_add(self.step_ms / looks * look))?;
            count += 1.0;
        }
        Some(sum / count)
    }
}
