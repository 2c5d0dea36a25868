//! An emulated workload: a demand for power over time that a cap bounds, for sites without real processes.

use super::minutes;
use crate::trace::Trace;
use crate::{ApplyError, PowerCap};
use ecovisor_units::{Energy, Millis, Power};

/// What a workload would draw, uncapped.
#[derive(Clone, Debug)]
pub enum Demand {
    /// The same at all times.
    Steady(Power),
    /// As recorded; nothing in gaps.
    Recorded(Trace<Power>),
}

impl Demand {
    fn power(&self, utc_ms: u64) -> Power {
        match self {
            Self::Steady(power) => *power,
            Self::Recorded(trace) => trace.at(utc_ms).unwrap_or(Power::ZERO),
        }
    }
}

/// The workload.
#[derive(Clone, Debug)]
pub struct Workload {
    demand: Demand,
    cap: Option<Power>,
}

impl Workload {
    /// A workload without a cap.
    #[must_use]
    pub const fn new(demand: Demand) -> Self {
        Self { demand, cap: None }
    }

    /// What it draws in `span` from `start_utc_ms` on, µJ: its demand, which holds for a UTC minute each, or its cap
    /// where that is less.
    #[must_use]
    pub fn draw(&self, start_utc_ms: u64, span: Millis) -> Energy {
        let mut drawn = Energy::ZERO;
        let mut done = 0;
        while done < span.get() {
            let now = start_utc_ms.saturating_add(done);
            let length = minutes::left(now).min(span.get() - done);
            let power = self.demand.power(minutes::middle(now)).min(self.cap.unwrap_or(Power::MAX));
            drawn = drawn.saturating_add(power.over(Millis::new(length)));
            done += length;
        }
        drawn
    }
}

impl PowerCap for Workload {
    fn cap(&mut self, cap: Power) -> Result<Power, ApplyError> {
        self.cap = Some(cap);
        Ok(cap)
    }

    fn lift(&mut self) -> Result<(), ApplyError> {
        self.cap = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_draws_its_demand_or_its_cap() {
        let mut workload = Workload::new(Demand::Steady(Power::from_watts(10)));
        let second = Millis::from_secs(1);
        assert_eq!(workload.draw(59_500, second), Energy::from_joules(10));
        assert_eq!(workload.cap(Power::from_watts(4)).unwrap(), Power::from_watts(4));
        assert_eq!(workload.draw(59_500, second), Energy::from_joules(4));
        workload.lift().unwrap();
        assert_eq!(workload.draw(0, Millis::ZERO), Energy::ZERO);
        assert_eq!(workload.draw(0, second), Energy::from_joules(10));
    }

    #[test]
    fn nothing_is_drawn_where_nothing_was_recorded() {
        let text = b"start_utc,power_w\n2022-01-01T00:00:00Z,6\n2022-01-01T00:01:00Z,\n";
        let trace = crate::trace::power("load", text).unwrap();
        let workload = Workload::new(Demand::Recorded(trace));
        let start = 1_640_995_200_000;
        assert_eq!(workload.draw(start, Millis::from_secs(120)), Energy::from_joules(360));
    }
}
