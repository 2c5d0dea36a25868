//! A power cap on a cgroup: the power model's inverse, written as a CPU quota.

use super::cgroup::Cgroup;
use super::model::PowerModel;
use crate::{ApplyError, PowerCap};
use ecovisor_units::Power;

/// A cgroup that can be capped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CappedCgroup {
    cgroup: Cgroup,
    model: PowerModel,
    idle_part: Power,
}

impl CappedCgroup {
    /// That cgroup on a machine with that model; `idle_part` of every cap is idle power that it is charged anyway (zero
    /// where idling is the house's).
    #[must_use]
    pub const fn new(cgroup: Cgroup, model: PowerModel, idle_part: Power) -> Self {
        Self { cgroup, model, idle_part }
    }

    /// The cgroup.
    #[must_use]
    pub const fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl PowerCap for CappedCgroup {
    fn cap(&mut self, cap: Power) -> Result<Power, ApplyError> {
        let quota = self.model.quota(cap, self.idle_part);
        self.cgroup.set_quota(quota)?;
        Ok(self.model.power_under(quota, self.idle_part))
    }

    fn lift(&mut self) -> Result<(), ApplyError> {
        self.cgroup.lift_quota()
    }
}

#[cfg(test)]
#[path = "cap_tests.rs"]
mod tests;
