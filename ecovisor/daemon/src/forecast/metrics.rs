//! How far forecasts were off, for Prometheus: gauges by `kind` (`solar` in watts, `carbon` in g/kWh), `source` and
//! `horizon`, over the pairs that are kept.

use super::{ForecastSource, Forecasts, Quantity};
use ecovisor_forecast::LeadError;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::sync::Arc;

/// What is scraped of forecasts.
#[derive(Debug)]
pub struct ForecastMetrics(pub Arc<Forecasts>);

/// A series: its name, its help, and its figure.
type Series = (&'static str, &'static str, fn(&LeadError) -> f64);

const SERIES: [Series; 4] = [
    ("ecovisor_forecast_error_mae", "Mean absolute error of p50, W or g/kWh", |lead| lead.mae / 1_000.0),
    ("ecovisor_forecast_error_bias", "Mean of what came less p50, W or g/kWh", |lead| lead.bias / 1_000.0),
    ("ecovisor_forecast_error_coverage", "Part of the hours between p10 and p90", |lead| lead.coverage),
    ("ecovisor_forecast_error_pairs", "Hours compared", |lead| ecovisor_forecast::count(lead.pairs)),
];

impl Collector for ForecastMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let kinds = [("solar", Quantity::Solar), ("carbon", Quantity::Carbon)];
        let reports = kinds.map(|(kind, of)| (kind, self.0.errors(of)));
        for (name, help, figure) in SERIES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (kind, source, lead) in reports.iter().flat_map(|(kind, sources)| {
                let one = move |(source, leads): &'_ (String, Vec<LeadError>)| {
                    leads.iter().map(|lead| (*kind, source.clone(), *lead)).collect::<Vec<_>>()
                };
                sources.iter().flat_map(one)
            }) {
                let horizon = format!("{}h", lead.lead_hours);
                let labels = [("kind", kind), ("source", source.as_str()), ("horizon", horizon.as_str())];
                let metric = family.encode_family(&labels)?;
                ConstGauge::new(figure(&lead)).encode(metric)?;
            }
        }
        Ok(())
    }
}
