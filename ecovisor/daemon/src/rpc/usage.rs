//! Energy and carbon over a period, from the records. A tick belongs whole to the bucket in which it began.

use super::errors::{Problem, Unit};
use super::show::{carbon, uj};
use crate::store::Store;
use anyhow::Context as _;
use ecovisor_audit::Record;
use ecovisor_core::split::split;
use ecovisor_core::{AppId, Flows, Tick};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_units::{Carbon, CarbonIntensity, EnergySum, Millis};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Buckets in one answer: a week by the minute. With the largest figures such an answer is 2 MB, half of what gRPC
/// clients accept by default.
pub const BUCKETS_MAX: u64 = 10_080;

/// Entries of containers in one answer, all buckets together, for the same reason.
pub const CONTAINER_ENTRIES_MAX: usize = 20_000;

/// Whose usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An app that lives.
    Id(AppId),
    /// Whatever app had that name at the time.
    Name(String),
}

impl Whose {
    fn at(&self, record: &Record) -> Option<AppId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Name(name) => {
                record.app_names.iter().find(|(_, app)| app.as_str() == name).map(|(id, _)| *id)
            }
        }
    }
}

/// What is asked, with its bounds checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    from_ms: u64,
    to_ms: u64,
    step_ms: u64,
    by_container: bool,
}

impl Period {
    /// The period of a query that came at `now_ms`.
    ///
    /// # Errors
    /// Where it is empty. Whether it has too many buckets is known only with the ledger's start.
    pub fn new(query: v1::QueryUsageRequest, now_ms: u64) -> Result<Self, Problem> {
        let v1::QueryUsageRequest { t1_ms, t2_ms, step_ms, by_container } = query;
        let to_ms = t2_ms.unwrap_or(now_ms.max(t1_ms.saturating_add(1)));
        if to_ms <= t1_ms {
            let message = format!("the period from {t1_ms} to {to_ms} is empty: t2_ms must lie after t1_ms");
            return Err(Problem::new(Reason::PeriodOutOfRange, message).about("t2_ms"));
        }
        Ok(Self { from_ms: t1_ms, to_ms, step_ms, by_container })
    }

    /// With a start at `first_ms` at the earliest.
    fn since(self, first_ms: u64) -> Result<Self, Problem> {
        let from_ms = self.from_ms.max(first_ms);
        let buckets = match self.step_ms {
            0 => 1,
            step => self.to_ms.saturating_sub(from_ms).div_ceil(step),
        };
        if buckets > BUCKETS_MAX {
            let message = format!("{buckets} buckets are more than one answer holds: {BUCKETS_MAX}");
            let problem = Problem::new(Reason::PeriodOutOfRange, message).about("step_ms");
            return Err(problem.bounded(BUCKETS_MAX, Some(BUCKETS_MAX), Unit::Count));
        }
        Ok(Self { from_ms, ..self })
    }

    /// Which bucket a moment lies in; `None` outside of the period.
    fn bucket(&self, at_ms: u64) -> Option<u64> {
        let inside = (self.from_ms..self.to_ms).contains(&at_ms);
        inside.then(|| (at_ms - self.from_ms).checked_div(self.step_ms).unwrap_or(0))
    }

    /// A bucket's start and length; the last may be shorter.
    fn bounds(&self, bucket: u64) -> (u64, u64) {
        let start = self.from_ms.saturating_add(bucket.saturating_mul(self.step_ms));
        let rest = self.to_ms.saturating_sub(start);
        (start, if self.step_ms == 0 { rest } else { self.step_ms.min(rest) })
    }
}

/// The sums of one bucket.
#[derive(Clone, Debug, Default)]
struct Sums {
    settled: Millis,
    estimated: Millis,
    load: EnergySum,
    solar: EnergySum,
    battery: EnergySum,
    grid: EnergySum,
    received: EnergySum,
    overdraft: EnergySum,
    charged: EnergySum,
    grid_charged: EnergySum,
    exported: EnergySum,
    curtailed: EnergySum,
    given: EnergySum,
    carbon: Carbon,
    /// In the order of attachment.
    containers: BTreeMap<u32, (String, EnergySum, Carbon)>,
}

impl Sums {
    fn add(&mut self, record: &Record, app: AppId, by_container: bool) {
        let outcome = &record.outcome;
        let Some(of) = outcome.apps.iter().find(|of| of.app == app) else { return };
        let f = &of.flows;
        self.settled = self.settled.saturating_add(outcome.span);
        if of.estimated {
            self.estimated = self.estimated.saturating_add(outcome.span);
        }
        self.load += f.load;
        self.solar += f.solar_to_load;
        self.battery += f.battery_to_load.wide() + f.forced_to_load;
        self.grid += f.grid_to_load;
        self.received += f.received_to_load;
        self.overdraft += f.overdraft();
        self.charged += f.battery_in();
        self.grid_charged += f.grid_to_battery;
        self.exported += f.exported;
        self.curtailed += f.curtailed;
        self.given += f.given;
        self.carbon += f.carbon;
        if by_container {
            self.add_containers(record, app, load_carbon(f, outcome.intensity));
        }
    }

    /// The carbon of the app's load, split by what each container used: boundaries are rounded, so the parts sum to it.
    fn add_containers(&mut self, record: &Record, app: AppId, carbon: Carbon) {
        let own = || record.outcome.containers.iter().filter(|container| container.app == app);
        let parts = split(carbon.get(), own().map(|container| u128::from(container.energy.get())));
        for (container, part) in own().zip(parts) {
            let named = record.container_names.iter().find(|(id, _, _)| *id == container.container);
            let Some((id, _, name)) = named else { continue };
            let empty = || (name.to_string(), EnergySum::ZERO, Carbon::ZERO);
            let (_, energy, carbon) = self.containers.entry(id.get()).or_insert_with(empty);
            *energy += container.energy;
            *carbon += Carbon::new(part);
        }
    }

    fn bucket(self, (start_ms, length_ms): (u64, u64)) -> v1::UsageBucket {
        let (carbon_product, carbon_mg) = carbon(self.carbon);
        let containers = self.containers.into_values().map(|(container, energy, carbon)| {
            v1::ContainerUsage { container, energy_uj: uj(energy), carbon_mg: carbon.to_milligrams().get() }
        });
        v1::UsageBucket {
            start_ms,
            length_ms,
            settled_ms: self.settled.get(),
            estimated_ms: self.estimated.get(),
            load_uj: uj(self.load),
            solar_uj: uj(self.solar),
            battery_uj: uj(self.battery),
            grid_uj: uj(self.grid),
            received_uj: uj(self.received),
            overdraft_uj: uj(self.overdraft),
            charged_uj: uj(self.charged),
            grid_charged_uj: uj(self.grid_charged),
            exported_uj: uj(self.exported),
            curtailed_uj: uj(self.curtailed),
            given_uj: uj(self.given),
            carbon_mg,
            carbon_product,
            containers: containers.collect(),
        }
    }
}

/// The carbon of what an app's load drew from the grid; what charging drew is its battery's.
fn load_carbon(flows: &Flows, intensity: CarbonIntensity) -> Carbon {
    (flows.grid_to_load.wide() + flows.overdraft_grid).carbon(intensity)
}

/// Usage over a period. Reads the disk; whoever asked may `stop` it.
///
/// # Errors
/// Where there is too much for one answer, or the ledger cannot be read.
pub fn usage(
    history: &dyn Store,
    whose: &Whose,
    period: Period,
    stop: &CancellationToken,
) -> Result<v1::QueryUsageReply, Problem> {
    let Some((from, to, first_ms)) = ticks(history, period).map_err(|error| Problem::unreadable(&error))?
    else {
        return Ok(v1::QueryUsageReply::default());
    };
    let period = period.since(first_ms)?;
    let mut buckets: BTreeMap<u64, Sums> = BTreeMap::new();
    for record in history.records(from, to) {
        if stop.is_cancelled() {
            return Err(Problem::new(Reason::Busy, "the call has ended"));
        }
        let record = record.map_err(|error| Problem::unreadable(&error.into()))?;
        let place = period.bucket(record.outcome.wall.get()).zip(whose.at(&record));
        if let Some((bucket, app)) = place {
            buckets.entry(bucket).or_default().add(&record, app, period.by_container);
        }
    }
    buckets.retain(|_, sums| !sums.settled.is_zero());
    let entries: usize = buckets.values().map(|sums| sums.containers.len()).sum();
    if entries > CONTAINER_ENTRIES_MAX {
        let most = u64::try_from(CONTAINER_ENTRIES_MAX).unwrap_or(u64::MAX);
        let message = format!("{entries} entries of containers are more than one answer holds: {most}");
        return Err(Problem::new(Reason::PeriodOutOfRange, message).bounded(most, Some(most), Unit::Count));
    }
    let buckets = buckets.into_iter().map(|(bucket, sums)| sums.bucket(period.bounds(bucket))).collect();
    Ok(v1::QueryUsageReply { buckets })
}

/// The ticks to read for a period, and when the ledger's first began; `None` where there are none.
fn ticks(history: &dyn Store, period: Period) -> anyhow::Result<Option<(Tick, Tick, u64)>> {
    let Some((first, _)) = history.ticks()? else { return Ok(None) };
    let first_ms = history.record(first)?.context("the first record is there")?.outcome.wall.get();
    let from = history.tick_at(Millis::new(period.from_ms))?.unwrap_or(first);
    let last = history.tick_at(Millis::new(period.to_ms))?;
    Ok(last.map(|last| (from, last.next(), first_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(t1: u64, t2: Option<u64>, step: u64) -> Result<Period, Problem> {
        let query = v1::QueryUsageRequest { t1_ms: t1, t2_ms: t2, step_ms: step, by_container: false };
        Period::new(query, 100)
    }

    #[test]
    fn a_tick_belongs_to_the_bucket_in_which_it_began() {
        let period = period(10, Some(35), 10).unwrap();
        let check = |at: u64, bucket: Option<u64>| assert_eq!(period.bucket(at), bucket, "{at}");
        check(9, None);
        check(10, Some(0));
        check(19, Some(0));
        check(20, Some(1));
        check(34, Some(2));
        check(35, None);
        assert_eq!([0, 1, 2].map(|bucket| period.bounds(bucket)), [(10, 10), (20, 10), (30, 5)]);
    }

    #[test]
    fn no_step_is_one_bucket_and_no_end_is_now() {
        let whole = period(10, None, 0).unwrap().since(40).unwrap();
        assert_eq!((whole.bucket(99), whole.bounds(0)), (Some(0), (40, 60)));
    }

    #[test]
    fn empty_and_too_fine_periods_are_refused_with_the_figure() {
        assert_eq!(period(10, Some(10), 0).unwrap_err().reason, Reason::PeriodOutOfRange);
        let fine = period(0, Some(BUCKETS_MAX + 1), 1).unwrap();
        assert_eq!(fine.since(0).unwrap_err().limit, Some(BUCKETS_MAX));
        assert!(fine.since(1).is_ok());
    }
}
