//! Usage over a period, and forecasts of what is to come.

use crate::Error;
use crate::error::present;
use crate::flows::read_carbon;
use ecovisor_proto::v1;
use ecovisor_units::{Carbon, CarbonMass, Energy, Millis};

/// Asks for usage: settled ticks that start in [from, to) count whole. Times are wall-clock since 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// Start; zero: from the start of the ledger.
    pub from: Millis,
    /// End, exclusive; `None`: now.
    pub to: Option<Millis>,
    /// Length of a bucket; `None`: one bucket.
    pub step: Option<Millis>,
    /// Whether buckets are also told by container.
    pub by_container: ByContainer,
}

/// Whether buckets are also told by container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByContainer {
    /// They are.
    Yes,
    /// They are not.
    #[default]
    No,
}

/// Usage over one bucket; energies by source add up to the load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageBucket {
    /// Start, in wall-clock time since 1970 UTC.
    pub start: Millis,
    /// Length of the bucket.
    pub length: Millis,
    /// How much of it is settled ticks.
    pub settled: Millis,
    /// How much of the settled time rests on held or assumed readings.
    pub estimated: Millis,
    /// Energy used.
    pub load: Energy,
    /// Of it from own solar.
    pub solar: Energy,
    /// Of it from the battery.
    pub battery: Energy,
    /// Of it from the grid, within the limit.
    pub grid: Energy,
    /// Of it from what others spilled.
    pub received: Energy,
    /// Of it beyond what the app was entitled to.
    pub overdraft: Energy,
    /// Charged into the battery from any source.
    pub charged: Energy,
    /// Of the charge from the grid.
    pub grid_charged: Energy,
    /// Fed into the grid.
    pub exported: Energy,
    /// Solar that was not produced.
    pub curtailed: Energy,
    /// Spill that others received.
    pub given: Energy,
    /// Carbon, exact.
    pub carbon: Carbon,
    /// By container; empty where it was not asked for.
    pub containers: Vec<ContainerUsage>,
    /// The coarsest level that these figures were summed from; `None` by a daemon that kept every tick.
    pub level: Option<UsageLevel>,
    /// Whether something finer would have been needed that is no longer kept: minutes, hours or days that reach over the
    /// bucket's edges were counted whole where they began.
    pub coarse: bool,
}

/// How coarse the sums are from which a figure was made; they are those of the ticks, to the last digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageLevel {
    /// Single ticks.
    Tick,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days, in UTC.
    Day,
}

impl UsageLevel {
    fn read(wire: v1::UsageLevel) -> Option<Self> {
        match wire {
            v1::UsageLevel::Unspecified => None,
            v1::UsageLevel::Tick => Some(Self::Tick),
            v1::UsageLevel::Minute => Some(Self::Minute),
            v1::UsageLevel::Hour => Some(Self::Hour),
            v1::UsageLevel::Day => Some(Self::Day),
        }
    }
}

/// A container's usage over one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its name.
    pub container: String,
    /// Energy used.
    pub energy: Energy,
    /// Its part of the carbon of the app's load, rounded down.
    pub carbon: CarbonMass,
}

/// Asks for a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForecastQuery {
    /// How far ahead; `None`: as far as there is one.
    pub horizon: Option<Millis>,
    /// Length of a step; `None`: the forecast's own.
    pub step: Option<Millis>,
}

/// A forecast: advice in floats, never an account.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// When it was made, in wall-clock time since 1970 UTC.
    pub issued_at: Millis,
    /// Start of the first step, in wall-clock time since 1970 UTC.
    pub start: Millis,
    /// Length of a step.
    pub step: Millis,
    /// The app's solar power, in mW; `None` where there is no forecast of it.
    pub solar_mw: Option<Series>,
    /// Carbon intensity of grid energy, in mg CO2e/kWh; `None` where there is no forecast of it.
    pub carbon_mg_per_kwh: Option<Series>,
}

/// A forecast of one quantity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What made it, such as `trace` or `persistence`.
    pub source: String,
    /// One per step, in order.
    pub steps: Vec<Quantiles>,
    /// When it was made, in wall-clock time since 1970 UTC.
    pub issued_at: Millis,
    /// What its middle rests on: `trace`, `hour of week`, `hour of day`, `mean`.
    pub rests_on: String,
    /// How far earlier forecasts were off, by what made them and by horizon.
    pub errors: Vec<ForecastErrors>,
}

/// How far one source's forecasts of one horizon were off, in the unit of the series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastErrors {
    /// What made them.
    pub source: String,
    /// From when they were made to the end of the hour they were about.
    pub lead: Millis,
    /// Hours compared.
    pub pairs: u64,
    /// Mean of how far what came lay from p50.
    pub mae: f64,
    /// Mean of what came less p50; below zero: forecasts were too high.
    pub bias: f64,
    /// Part of the hours that came between p10 and p90, 0 to 1; 0.8 is as promised.
    pub coverage: f64,
}

/// One step of a forecast, mean over the step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    /// Exceeded with 90 %.
    pub p10: f64,
    /// Exceeded with 50 %.
    pub p50: f64,
    /// Exceeded with 10 %.
    pub p90: f64,
}

impl UsageQuery {
    pub(crate) fn write(self) -> v1::QueryUsageRequest {
        v1::QueryUsageRequest {
            t1_ms: self.from.get(),
            t2_ms: self.to.map(Millis::get),
            step_ms: self.step.map_or(0, Millis::get),
            by_container: self.by_container == ByContainer::Yes,
        }
    }
}

impl UsageBucket {
    pub(crate) fn read(wire: v1::UsageBucket) -> Result<Self, Error> {
        let v1::UsageBucket {
            start_ms,
            length_ms,
            settled_ms,
            estimated_ms,
            load_uj,
            solar_uj,
            battery_uj,
            grid_uj,
            received_uj,
            overdraft_uj,
            charged_uj,
            grid_charged_uj,
            exported_uj,
            curtailed_uj,
            given_uj,
            carbon_mg: _,
            carbon_product,
            containers,
            level,
            coarse,
        } = wire;
        Ok(Self {
            level: v1::UsageLevel::try_from(level).ok().and_then(UsageLevel::read),
            coarse,
            start: Millis::new(start_ms),
            length: Millis::new(length_ms),
            settled: Millis::new(settled_ms),
            estimated: Millis::new(estimated_ms),
            load: Energy::new(load_uj),
            solar: Energy::new(solar_uj),
            battery: Energy::new(battery_uj),
            grid: Energy::new(grid_uj),
            received: Energy::new(received_uj),
            overdraft: Energy::new(overdraft_uj),
            charged: Energy::new(charged_uj),
            grid_charged: Energy::new(grid_charged_uj),
            exported: Energy::new(exported_uj),
            curtailed: Energy::new(curtailed_uj),
            given: Energy::new(given_uj),
            carbon: read_carbon(&carbon_product)?,
            containers: containers.into_iter().map(ContainerUsage::read).collect(),
        })
    }
}

impl ContainerUsage {
    fn read(wire: v1::ContainerUsage) -> Self {
        let v1::ContainerUsage { container, energy_uj, carbon_mg } = wire;
        Self { container, energy: Energy::new(energy_uj), carbon: CarbonMass::new(carbon_mg) }
    }
}

impl ForecastQuery {
    pub(crate) fn write(self) -> v1::GetForecastRequest {
        v1::GetForecastRequest {
            horizon_ms: self.horizon.map_or(0, Millis::get),
            step_ms: self.step.map_or(0, Millis::get),
        }
    }
}

impl Forecast {
    pub(crate) fn read(wire: v1::GetForecastReply) -> Result<Self, Error> {
        let v1::GetForecastReply { issued_at_ms, start_ms, step_ms, solar_mw, carbon_mg_per_kwh } = wire;
        let step = (step_ms > 0).then_some(Millis::new(step_ms));
        Ok(Self {
            issued_at: Millis::new(issued_at_ms),
            start: Millis::new(start_ms),
            step: present(step, "a forecast's step")?,
            solar_mw: solar_mw.map(Series::read),
            carbon_mg_per_kwh: carbon_mg_per_kwh.map(Series::read),
        })
    }
}

impl Series {
    fn read(wire: v1::Series) -> Self {
        let v1::Series { source, steps, issued_at_ms, rests_on, errors } = wire;
        let read = |v1::Quantiles { p10, p50, p90 }: v1::Quantiles| Quantiles { p10, p50, p90 };
        Self {
            source,
            steps: steps.into_iter().map(read).collect(),
            issued_at: Millis::new(issued_at_ms),
            rests_on,
            errors: errors.into_iter().map(ForecastErrors::read).collect(),
        }
    }
}

impl ForecastErrors {
    fn read(wire: v1::ForecastErrors) -> Self {
        let v1::ForecastErrors { source, lead_ms, pairs, mae, bias, coverage } = wire;
        Self { source, lead: Millis::new(lead_ms), pairs, mae, bias, coverage }
    }
}
