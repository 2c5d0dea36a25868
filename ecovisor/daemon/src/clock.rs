//! The only place that reads clocks. Spans come from the boot-time clock, which runs through suspend; labels from the
//! wall clock. Three clocks, one daemon: real, scaled (wall time times a factor), simulated (as fast as it goes).

use rustix::time::{ClockId, clock_gettime};
use std::time::SystemTime;

/// Which clock a site runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// The real one.
    Real,
    /// The real one times a factor.
    Scaled,
    /// None: the next tick comes when the last is done.
    Simulated,
}

/// A site's clock, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Which.
    pub kind: ClockKind,
    /// Virtual time per real time; 1 for the real clock, 0 for the simulated one (as fast as it goes).
    pub factor: u32,
}

/// Real time since boot, in µs, suspend included.
#[must_use]
pub fn boot_us() -> u64 {
    micros_of(ClockId::Boottime)
}

/// Real time since boot, in µs, without suspend: what the service manager compares stamps with.
#[must_use]
pub fn monotonic_us() -> u64 {
    micros_of(ClockId::Monotonic)
}

fn micros_of(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// CPU time of all threads of this process, in µs.
#[must_use]
pub fn process_cpu_us() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) =
        (u64::try_from(used.tv_sec).unwrap_or(0), u64::try_from(used.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// Wall time, in ms since the Unix epoch; zero for a clock set before it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The site's time: how virtual moments follow from real ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteClock {
    /// Which clock.
    pub info: ClockInfo,
    /// The real boot time at which the site's clock was started.
    started_boot_us: u64,
    /// The virtual wall time then.
    started_wall_ms: u64,
}

impl SiteClock {
    /// A clock that starts now at `start_wall_ms` (real sites: the wall clock's own time).
    #[must_use]
    pub fn start(info: ClockInfo, start_wall_ms: u64) -> Self {
        Self { info, started_boot_us: boot_us(), started_wall_ms: start_wall_ms }
    }

    /// The virtual wall time of a real boot time, in ms since the Unix epoch: it never runs back, whatever the wall
    /// clock does.
    #[must_use]
    pub fn wall_at(&self, boot_us: u64) -> u64 {
        let real = boot_us.saturating_sub(self.started_boot_us);
        self.started_wall_ms.saturating_add(real.saturating_mul(u64::from(self.info.factor)) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_runs_that_many_times_as_fast() {
        let info = ClockInfo { kind: ClockKind::Scaled, factor: 60 };
        let clock = SiteClock { info, started_boot_us: 1_000_000, started_wall_ms: 500 };
        assert_eq!(clock.wall_at(1_000_000), 500);
        assert_eq!(clock.wall_at(1_500_000), 30_500);
        assert_eq!(clock.wall_at(0), 500);
    }
}
