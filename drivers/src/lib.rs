//! What reads meters and writes set-points. A driver reads and writes and never decides: it returns no value that it
//! did not read, reads no clock (the time is handed in), and leaves freshness, shares and caps to whoever asked.
//!
//! - [`counter`]: cumulative counters with wrap, restart and stray readings, decoded purely.
//! - [`trace`]: recorded carbon intensity, weather and power, every stamp turned into a UTC interval; [`data`] has the
//!   traces that are built in.
//! - [`sim`]: an emulated site (sun, panels, battery, grid, meters that can fail), deterministic for a seed.
//! - [`host`]: CPU time, power and power caps of real processes on this machine.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::as_conversions))]

pub mod counter;
pub mod data;
pub mod host;
pub mod sim;
pub mod trace;

mod error;
mod float;

pub use error::{ApplyError, ReadError};

use ecovisor_units::{CarbonIntensity, Millis, Power};

/// A value that was read, and how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<T> {
    /// What was read.
    pub value: T,
    /// Time between the measurement and the moment it was handed over, in ms; zero is "just now".
    pub age: Millis,
}

impl<T> Sample<T> {
    /// A value measured just now.
    pub const fn fresh(value: T) -> Self {
        Self { value, age: Millis::ZERO }
    }
}

/// What tells the carbon intensity of grid energy.
pub trait CarbonSignal: Send {
    /// The intensity that holds at `utc_ms` (ms since the Unix epoch).
    ///
    /// # Errors
    /// [`ReadError::Transient`] where the signal has no value for that time: a gap is never zero.
    fn intensity(&self, utc_ms: u64) -> Result<Sample<CarbonIntensity>, ReadError>;
}

/// What tells the power that a solar array could deliver, behind its inverter.
pub trait SolarSource: Send {
    /// AC power available at `utc_ms` (ms since the Unix epoch), in mW; zero at night, `None` where nothing is known.
    fn power(&self, utc_ms: u64) -> Option<Power>;
}

/// What counts the CPU time of one workload.
pub trait CpuMeter: Send {
    /// CPU time used since the meter began to count; never less than what it last said.
    ///
    /// # Errors
    /// [`ReadError::Lost`] when the workload has ended, [`ReadError::Forbidden`] where a right is missing,
    /// [`ReadError::Implausible`] where the kernel's text cannot be understood, else [`ReadError::Transient`].
    fn cpu_time(&mut self) -> Result<host::CpuTime, ReadError>;
}

/// What keeps a workload's power at or below a limit.
pub trait PowerCap: Send {
    /// Caps the power and returns the cap that now holds, in mW: at most `cap`, rounded down to what the actuator can
    /// express, except that no workload is held below the actuator's smallest step.
    ///
    /// # Errors
    /// As [`ApplyError`] says; after an error the previous cap may still hold.
    fn cap(&mut self, cap: Power) -> Result<Power, ApplyError>;

    /// Takes the cap away.
    ///
    /// # Errors
    /// As [`ApplyError`] says; after an error the cap may still hold.
    fn lift(&mut self) -> Result<(), ApplyError>;
}
