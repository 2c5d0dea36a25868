//! Advice on what is to come. The site says where it has it from; here it is cut into steps and into an app's part.

use super::errors::{Problem, Unit};
use crate::engine::handle::View;
use crate::forecast::{ForecastSource, Quantity, Told};
use ecovisor_forecast::{LeadError, Quantiles};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;

/// Steps in one answer: a month by the quarter of an hour, or seven days by the minute.
const STEPS_MAX: u64 = 10_080;

/// Looks at the source for one step of an answer: a step longer than that is a mean over so many evenly spaced looks.
const LOOKS_MAX: u64 = 60;

const HOUR_MS: u64 = 3_600_000;

/// A forecast for `part` (0 to 1) of the site's sun.
///
/// # Errors
/// Where there is no source, or not yet, or more steps are asked for than one answer holds.
pub fn forecast(
    source: Option<&dyn ForecastSource>,
    view: &View,
    part: f64,
    asked: v1::GetForecastRequest,
) -> Result<v1::GetForecastReply, Problem> {
    let v1::GetForecastRequest { horizon_ms, step_ms } = asked;
    let source = source.ok_or_else(|| {
        let message = "this site has no forecast: configure [carbon], or [sim] with [solar]";
        Problem::new(Reason::NoForecast, message)
    })?;
    let told = [Quantity::Solar, Quantity::Carbon].map(|of| source.told(of));
    let own_step = told.iter().flatten().map(|told| told.step_ms).min().ok_or_else(|| {
        let message = "nothing is known yet to forecast from: the first forecast of carbon follows a day of hours, that of \
                       the sun six sunlit ones";
        Problem::new(Reason::NoForecast, message)
    })?;
    let step_ms = if step_ms == 0 { own_step.max(1) } else { step_ms };
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
    let cut = Cut { start_ms, step_ms, steps };
    let [solar, carbon] = told;
    Ok(v1::GetForecastReply {
        issued_at_ms: start_ms,
        start_ms,
        step_ms,
        solar_mw: solar.and_then(|told| cut.series(&told, part, source.errors(Quantity::Solar))),
        carbon_mg_per_kwh: carbon.and_then(|told| cut.series(&told, 1.0, source.errors(Quantity::Carbon))),
    })
}

/// How a period is cut.
struct Cut {
    start_ms: u64,
    step_ms: u64,
    steps: u64,
}

impl Cut {
    /// `part` of what is told, as far as it goes; `None` where it does not begin.
    fn series(&self, told: &Told, part: f64, errors: Vec<(String, Vec<LeadError>)>) -> Option<v1::Series> {
        let steps: Vec<_> =
            (0..self.steps).map_while(|step| self.mean(step, told)).map(|q| quantiles(q, part)).collect();
        (!steps.is_empty()).then(|| v1::Series {
            source: told.source.clone(),
            steps,
            issued_at_ms: told.issued_at_ms.unwrap_or(self.start_ms),
            rests_on: told.rests_on.to_owned(),
            errors: errors.iter().flat_map(|(source, leads)| of_source(source, leads, part)).collect(),
        })
    }

    /// The mean of each quantile over a step, which is what its hours would have if all were off together.
    fn mean(&self, step: u64, told: &Told) -> Option<Quantiles> {
        let looks = self.step_ms.div_ceil(told.step_ms.max(1)).clamp(1, LOOKS_MAX);
        let begin = self.start_ms.saturating_add(step.saturating_mul(self.step_ms));
        let (mut sum, mut count) = (Quantiles::default(), 0.0);
        for look in 0..looks {
            let Quantiles { p10, p50, p90 } =
                told.look.at(begin.saturating_add(self.step_ms / looks * look))?;
            sum = Quantiles { p10: sum.p10 + p10, p50: sum.p50 + p50, p90: sum.p90 + p90 };
            count += 1.0;
        }
        Some(Quantiles { p10: sum.p10 / count, p50: sum.p50 / count, p90: sum.p90 / count })
    }
}

fn quantiles(all: Quantiles, part: f64) -> v1::Quantiles {
    v1::Quantiles { p10: all.p10 * part, p50: all.p50 * part, p90: all.p90 * part }
}

fn of_source(source: &str, leads: &[LeadError], part: f64) -> Vec<v1::ForecastErrors> {
    let one = |lead: &LeadError| v1::ForecastErrors {
        source: source.to_owned(),
        lead_ms: lead.lead_hours.saturating_mul(HOUR_MS),
        pairs: u64::try_from(lead.pairs).unwrap_or(u64::MAX),
        mae: lead.mae * part,
        bias: lead.bias * part,
        coverage: lead.coverage,
    };
    leads.iter().map(one).collect()
}
