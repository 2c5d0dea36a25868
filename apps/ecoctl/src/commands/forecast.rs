//! `ecoctl forecast`: what is expected of sun and carbon, and how far earlier forecasts were off.

use crate::connect::Context;
use crate::failure::Failure;
use crate::output::Grid;
use crate::show;
use clap::{Args, ValueEnum};
use ecovisor_sdk::operator::wire;
use ecovisor_units::Millis;
use serde_json::{Value, json};

/// What is expected of sun and carbon, with quantiles; `errors`: how far earlier forecasts were off.
#[derive(Debug, Args)]
pub struct Forecast {
    /// What of it [default: solar and carbon].
    #[arg(value_enum)]
    what: Option<What>,
    /// Only this app's part of the sun [default: the whole site's].
    #[arg(long)]
    app: Option<String>,
    /// How far ahead.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    horizon: Millis,
    /// Length of a step.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    step: Millis,
}

/// What of a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The sun.
    Solar,
    /// The grid's carbon.
    Carbon,
    /// How far earlier forecasts of both were off.
    Errors,
}

impl Forecast {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let query = wire::GetForecastRequest { horizon_ms: self.horizon.get(), step_ms: self.step.get() };
        let app = self.app.unwrap_or_default();
        let request = wire::GetSiteForecastRequest { app, query: Some(query) };
        let mut reply = context.ask(context.operator.get_site_forecast(request)).await?;
        match self.what {
            Some(What::Errors) => return context.output.answer(&errors_json(&reply), &errors_table(&reply)),
            Some(What::Solar) => reply.carbon_mg_per_kwh = None,
            Some(What::Carbon) => reply.solar_mw = None,
            None => {}
        }
        context.output.answer(&forecast_json(&reply), &forecast_table(&reply))
    }
}

/// Both quantities: name, unit in JSON, series.
fn quantities(
    reply: &wire::GetForecastReply,
) -> impl Iterator<Item = (&'static str, &'static str, &wire::Series)> {
    let all = [("solar", "mw", &reply.solar_mw), ("carbon", "mg_per_kwh", &reply.carbon_mg_per_kwh)];
    all.into_iter().filter_map(|(name, unit, series)| Some((name, unit, series.as_ref()?)))
}

fn figure(name: &str, figure: f64) -> String {
    let sign = if figure < 0.0 { "-" } else { "" };
    // Advice is shown to the whole mW or mg.
    let whole = whole(figure.abs());
    match name {
        "solar" => format!("{sign}{}", show::power(whole)),
        _ => format!("{sign}{}", show::intensity(whole)),
    }
}

fn whole(figure: f64) -> u64 {
    format!("{figure:.0}").parse().unwrap_or(0)
}

fn forecast_table(reply: &wire::GetForecastReply) -> String {
    let mut grid = Grid::new(&["FROM", "OF", ">P10", ">P50", ">P90"]);
    let mut said = Vec::new();
    for (name, _, series) in quantities(reply) {
        for (nth, step) in (0_u64..).zip(&series.steps) {
            grid.row(vec![
                crate::time::show(reply.start_ms.saturating_add(reply.step_ms.saturating_mul(nth))),
                name.into(),
                figure(name, step.p10),
                figure(name, step.p50),
                figure(name, step.p90),
            ]);
        }
        let issued = crate::time::show(series.issued_at_ms);
        said.push(format!("{name}: {}, resting on {}, made {issued}", series.source, series.rests_on));
    }
    match said.is_empty() {
        true => "there is no forecast of it".into(),
        false => format!("{grid}\n\n{}", said.join("\n")),
    }
}

fn errors_table(reply: &wire::GetForecastReply) -> String {
    let mut grid = Grid::new(&["OF", "SOURCE", ">AHEAD", ">HOURS", ">MEAN ERROR", ">BIAS", ">P10 TO P90"]);
    let mut any = false;
    for (name, _, series) in quantities(reply) {
        for error in &series.errors {
            any = true;
            grid.row(vec![
                name.into(),
                error.source.clone(),
                show::span(error.lead_ms),
                error.pairs.to_string(),
                figure(name, error.mae),
                figure(name, error.bias),
                format!("{:.0} %", error.coverage * 100.0),
            ]);
        }
    }
    if any { grid.to_string() } else { "no forecast has been compared with what came yet".into() }
}

fn forecast_json(reply: &wire::GetForecastReply) -> Value {
    let mut all = json!({ "start_ms": reply.start_ms, "step_ms": reply.step_ms });
    for (name, unit, series) in quantities(reply) {
        let steps: Vec<Value> =
            series.steps.iter().map(|s| json!({ "p10": s.p10, "p50": s.p50, "p90": s.p90 })).collect();
        all[format!("{name}_{unit}")] = json!({
            "source": series.source,
            "rests_on": series.rests_on,
            "issued_at_ms": series.issued_at_ms,
            "steps": steps,
        });
    }
    all
}

fn errors_json(reply: &wire::GetForecastReply) -> Value {
    let mut all = json!({});
    for (name, unit, series) in quantities(reply) {
        let errors: Vec<Value> = series
            .errors
            .iter()
            .map(|error| {
                json!({
                    "source": error.source, "lead_ms": error.lead_ms, "pairs": error.pairs,
                    "mae": error.mae, "bias": error.bias, "coverage": error.coverage,
                })
            })
            .collect();
        all[format!("{name}_{unit}")] = json!(errors);
    }
    all
}
