//! CPU time, power and power caps of real processes on this machine.
//!
//! - [`layout`]: which cgroup hierarchies there are: v1, v2, or both (hybrid).
//! - [`cgroup`]: one cgroup in all of them: account, quota, freezer.
//! - [`tree`]: a process and its descendants, for workloads without a cgroup of their own.
//! - [`machine`]: busy time and cores of the whole machine.
//! - [`model`]: from CPU time to energy and from a power cap to a CPU quota; [`idle`]: who pays for idle power.
//! - [`cap`]: a power cap on a cgroup, made of the two.
//!
//! Files of the kernel are read and written directly; each call is a few system calls, none waits.

pub mod cap;
pub mod cgroup;
mod files;
pub mod idle;
pub mod layout;
pub mod machine;
pub mod model;
mod stat;
pub mod tree;

pub use cap::CappedCgroup;
pub use cgroup::{Cgroup, CgroupMeter, CpuQuota};
pub use idle::{IdleParts, IdleRule, Share, idle_parts};
pub use layout::{CgroupMode, Hierarchies};
pub use machine::{MachineTime, machine_time};
pub use model::PowerModel;
pub use tree::{ProcessTree, ticks_per_second};

/// CPU time in ns, counted over all cores: one core busy for a second is 10⁹. A u64 holds 584 core-years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuTime(u64);

impl CpuTime {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// That many nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// That many microseconds, held at the largest figure.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, or none where `earlier` is more.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}
