//! The paper's linear power model, in integers, and its inverse.
//!
//! A machine draws `idle` when no core works and `peak` when all do; between, power grows with CPU time:
//!
//! ```text
//! active energy [µJ] = floor( (peak − idle) [mW] × CPU time [ns] ÷ (cores × 10⁶) )
//! quota         [µs] = floor( active cap [mW] × cores × period [µs] ÷ (peak − idle) [mW] )
//! ```
//! 1 mW × 1 ms is 1 µJ and 1 ms is 10⁶ ns. (Souza et al., "Ecovisor", ASPLOS '23, section 4.)

use super::{CpuQuota, CpuTime};
use ecovisor_units::{Energy, Millis, Power};

/// ns in a ms.
const NANOS_PER_MILLI: u128 = 1_000_000;

/// A machine's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerModel {
    idle: Power,
    peak: Power,
    cores: u32,
}

/// Why figures describe no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidModel {
    /// Work would cost nothing, or less.
    #[error("a peak of {peak} is not above an idle power of {idle}")]
    PeakNotAboveIdle {
        /// The idle power.
        idle: Power,
        /// The peak power.
        peak: Power,
    },
    /// No core can work.
    #[error("a machine has at least one core")]
    NoCores,
}

impl PowerModel {
    /// A machine that draws `idle` mW without work and `peak` mW with all `cores` at work.
    ///
    /// # Errors
    /// [`InvalidModel`] where `peak` is not above `idle`, or there are no cores.
    pub const fn new(idle: Power, peak: Power, cores: u32) -> Result<Self, InvalidModel> {
        match (peak.get() > idle.get(), cores) {
            (_, 0) => Err(InvalidModel::NoCores),
            (false, _) => Err(InvalidModel::PeakNotAboveIdle { idle, peak }),
            (true, _) => Ok(Self { idle, peak, cores }),
        }
    }

    /// Power without work, mW.
    #[must_use]
    pub const fn idle(&self) -> Power {
        self.idle
    }

    /// Power with all cores at work, mW.
    #[must_use]
    pub const fn peak(&self) -> Power {
        self.peak
    }

    /// Cores, at least 1.
    #[must_use]
    pub const fn cores(&self) -> u32 {
        self.cores
    }

    /// Energy that `used` of CPU time costs beyond idling, rounded down: parts of the time never cost more than the
    /// whole of it.
    #[must_use]
    pub fn active(&self, used: CpuTime) -> Energy {
        let whole = u128::from(self.dynamic().get()) * u128::from(used.nanos());
        saturated(whole / (u128::from(self.cores) * NANOS_PER_MILLI))
    }

    /// The same for a counter that went from `before` to `now`: rounded at the counter's readings, so that many short
    /// spans lose nothing against one long span. Nothing where the counter did not rise.
    #[must_use]
    pub fn active_between(&self, before: CpuTime, now: CpuTime) -> Energy {
        self.active(now).less(self.active(before))
    }

    /// Energy of idling for `span`, exact.
    #[must_use]
    pub const fn idling(&self, span: Millis) -> Energy {
        self.idle.over(span)
    }

    /// The quota that keeps a workload at or below `cap`, of which `idle_part` is its part of the idle power (zero
    /// where idling is the house's): rounded down, but at least the kernel's smallest ([`CpuQuota::SMALLEST_US`], 1 % of a
    /// core), also for a cap below the idle part; at most all cores.
    #[must_use]
    pub fn quota(&self, cap: Power, idle_part: Power) -> CpuQuota {
        let period_us = CpuQuota::PERIOD_US;
        let all = u64::from(self.cores) * period_us;
        let whole = u128::from(cap.less(idle_part).get()) * u128::from(all);
        let quota_us = u64::try_from(whole / u128::from(self.dynamic().get())).unwrap_or(u64::MAX);
        CpuQuota { quota_us: quota_us.clamp(CpuQuota::SMALLEST_US, all), period_us }
    }

    /// The most that a workload draws under `quota`, idle part included, rounded up: what the quota really caps.
    #[must_use]
    pub fn power_under(&self, quota: CpuQuota, idle_part: Power) -> Power {
        let all = u128::from(self.cores) * u128::from(quota.period_us.max(1));
        let active = (u128::from(self.dynamic().get()) * u128::from(quota.quota_us)).div_ceil(all);
        Power::new(u64::try_from(active).unwrap_or(u64::MAX)).saturating_add(idle_part)
    }

    /// Power of work beyond idling, mW, at least 1.
    fn dynamic(&self) -> Power {
        self.peak - self.idle
    }
}

fn saturated(energy: u128) -> Energy {
    Energy::new(u64::try_from(energy).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The paper's ROCK64-class server: 1.35 W idle, 5 W at full CPU, 4 cores.
    fn server() -> PowerModel {
        PowerModel::new(Power::new(1_350), Power::new(5_000), 4).unwrap()
    }

    #[test]
    fn a_core_second_costs_a_core_of_the_dynamic_power() {
        // 3650 mW over 4 cores are 912.5 mW.
        assert_eq!(server().active(CpuTime::from_nanos(1_000_000_000)), Energy::new(912_500));
        assert_eq!(server().active(CpuTime::from_nanos(1_095)), Energy::ZERO);
        assert_eq!(server().active(CpuTime::from_nanos(1_096)), Energy::new(1));
        assert_eq!(server().idling(Millis::from_secs(1)), Energy::new(1_350_000));
    }

    #[test]
    fn all_cores_at_work_draw_the_peak() {
        let second = CpuTime::from_nanos(4_000_000_000);
        let whole = server().active(second) + server().idling(Millis::from_secs(1));
        assert_eq!(whole, server().peak().over(Millis::from_secs(1)));
    }

    #[test]
    fn a_cap_becomes_a_quota_rounded_down() {
        for (cap, idle_part, quota_us) in [
            (912, 0, 99_945),
            (913, 0, 100_054),
            (1_250, 337, 100_054),
            (3_650, 0, 400_000),
            (9_999, 0, 400_000),
            (10, 0, 1_095),
            (9, 0, CpuQuota::SMALLEST_US),
            (100, 337, CpuQuota::SMALLEST_US),
            (0, 0, CpuQuota::SMALLEST_US),
        ] {
            let quota = server().quota(Power::new(cap), Power::new(idle_part));
            assert_eq!(quota.quota_us, quota_us, "{cap} mW of which {idle_part} mW idle");
        }
    }

    #[test]
    fn figures_that_describe_no_machine_are_refused() {
        let watt = Power::from_watts(1);
        assert_eq!(
            PowerModel::new(watt, watt, 1),
            Err(InvalidModel::PeakNotAboveIdle { idle: watt, peak: watt })
        );
        assert_eq!(PowerModel::new(Power::ZERO, watt, 0), Err(InvalidModel::NoCores));
    }

    proptest! {
        #[test]
        fn parts_never_cost_more_than_the_whole(
            peak in 1_u64..1_000_000, cores in 1_u32..256,
            parts in prop::collection::vec(0_u64..10_000_000_000, 1..20),
        ) {
            let model = PowerModel::new(Power::ZERO, Power::new(peak), cores).unwrap();
            let whole = model.active(CpuTime::from_nanos(parts.iter().sum()));
            let sum: Energy = parts.iter().map(|nanos| model.active(CpuTime::from_nanos(*nanos))).sum();
            prop_assert!(sum <= whole);
        }

        #[test]
        fn short_spans_of_a_counter_sum_to_the_long_one(steps in prop::collection::vec(0_u64..10_000_000, 1..50)) {
            let (mut nanos, mut sum) = (0, Energy::ZERO);
            for step in steps {
                sum += server().active_between(CpuTime::from_nanos(nanos), CpuTime::from_nanos(nanos + step));
                nanos += step;
            }
            prop_assert_eq!(sum, server().active(CpuTime::from_nanos(nanos)));
        }

        #[test]
        fn a_quota_never_allows_more_than_the_cap(cap in 10_u64..10_000, idle_part in 0_u64..400) {
            let (cap, idle_part) = (Power::new(cap), Power::new(idle_part));
            let quota = server().quota(cap, idle_part);
            prop_assume!(quota.quota_us > CpuQuota::SMALLEST_US);
            prop_assert!(server().power_under(quota, idle_part) <= cap);
        }
    }
}
