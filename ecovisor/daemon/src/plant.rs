//! Everything outside the books that is read and steered: the emulated or real site, the carbon signal, the servers.
//! It gathers what a tick brings in and applies what a step orders; it decides nothing.

mod host;
mod outside;
mod reader;
mod status;

pub use host::{Host, OpenError};
pub use outside::{Ahead, Outside, PlantError};

use crate::config::Config;
use crate::engine::handle::Device;
use ecovisor_audit::journal::Target;
use ecovisor_core::{ContainerId, ContainerUse, Inputs, Orders, Reading};
use ecovisor_units::{Energy, Millis, Power};
use std::collections::BTreeMap;

/// The span of a tick, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began, in virtual ms since the Unix epoch.
    pub wall_ms: u64,
    /// Its virtual length.
    pub length: Millis,
    /// Its real length in µs; zero for a simulated clock.
    pub real_us: u64,
}

/// The site's hardware, emulated or not.
pub struct Plant {
    outside: Outside,
    host: Host,
}

impl Plant {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// Where a file cannot be read, or is not what it should be.
    pub fn open(config: &Config) -> Result<Self, PlantError> {
        Ok(Self { outside: Outside::open(config)?, host: Host::open(config)? })
    }

    /// Continues where an earlier run stopped: the emulated battery holds what it held.
    pub fn resume(&mut self, usable_level: Energy) {
        self.outside.resume(usable_level);
    }

    /// What the tick that has just passed brought in.
    pub fn gather(&mut self, span: Span, now_ms: u64) -> Inputs {
        let used = self.host.measure(span);
        let outside = self.outside.advance(span, used.whole, now_ms);
        let mut readings = outside.readings;
        if readings.load.is_none() && !self.outside.meters_load() {
            readings.load = used.readable.then_some(Reading::now(used.whole));
        }
        let containers = used.containers.into_iter();
        let containers = containers.map(|(container, used)| ContainerUse { container, used }).collect();
        let wall = Millis::new(span.wall_ms);
        Inputs { span: span.length, wall, grid_lost: outside.grid_lost, readings, containers }
    }

    /// How long the last tick waited in vain for a reading, in µs; `None` where all were there in time.
    #[must_use]
    pub fn overdue_us(&self) -> Option<u64> {
        self.host.overdue_us()
    }

    /// What counters that survived say of a time in which nobody gathered.
    pub fn gather_absence(&mut self, span: Span) -> Inputs {
        let containers = self.host.measure_absence(span).into_iter();
        let containers = containers.map(|(container, used)| ContainerUse { container, used }).collect();
        Inputs { span: span.length, wall: Millis::new(span.wall_ms), containers, ..Inputs::default() }
    }

    /// What the counters of containers said last, in ns of CPU time; only of those that outlive the daemon.
    #[must_use]
    pub fn counters(&self) -> Vec<(ContainerId, u64)> {
        self.host.counters()
    }

    /// What a counter said when it was last settled, by an earlier daemon.
    pub fn recall(&mut self, container: ContainerId, nanos: u64) {
        self.host.recall(container, nanos);
    }

    /// Does what a step ordered.
    pub fn apply(&mut self, orders: &Orders) {
        self.outside.apply(orders);
        for order in &orders.caps {
            self.host.cap(order.container, order.cap, order.frozen);
        }
    }

    /// Writes a container's cap at once; `None` lifts it.
    pub fn cap_at_once(&mut self, container: ContainerId, cap: Option<Power>) {
        self.host.cap(container, cap, false);
    }

    /// Begins to meter a workload. Returns the most it can draw, and why it cannot be capped where it cannot.
    ///
    /// # Errors
    /// Where it does not exist, may not be seen, or is metered already.
    pub fn attach(&mut self, container: ContainerId, target: &Target) -> Result<Option<String>, OpenError> {
        self.host.attach(container, target)
    }

    /// The most that a target can draw.
    ///
    /// # Errors
    /// Where there is no such thing.
    pub fn ceiling(&self, target: &Target) -> Result<Power, OpenError> {
        self.host.ceiling(target)
    }

    /// Ends metering a workload and lifts its cap.
    pub fn detach(&mut self, container: ContainerId) {
        self.host.detach(container);
    }

    /// Why each container cannot be read at the moment.
    #[must_use]
    pub fn container_errors(&self) -> BTreeMap<ContainerId, String> {
        self.host.errors()
    }

    /// Containers whose processes have ended.
    #[must_use]
    pub fn lost(&self) -> Vec<ContainerId> {
        self.host.lost()
    }

    /// Where solar and carbon come from, for whoever looks ahead.
    #[must_use]
    pub fn ahead(&self) -> Ahead {
        self.outside.ahead()
    }

    /// The devices as they are.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        let mut devices = self.outside.devices();
        devices.push(self.host.device());
        devices
    }

    /// Sets everything free: caps are lifted, set-points left to run out.
    pub fn release(&mut self) {
        self.host.release();
    }
}
