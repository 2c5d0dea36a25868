//! The meters of a simulated site: cumulative counters inside, read through [`crate::counter`] as real ones are, with
//! faults between the physics and the reader.

use super::fault::{Fault, FaultKind};
use crate::counter::{Counter, Growth};
use crate::{ReadError, Sample};
use ecovisor_units::{Energy, Millis, Power};

/// Which meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meter {
    /// What the panels could deliver.
    SolarAvailable,
    /// What the inverter delivered.
    Solar,
    /// Drawn from the grid.
    GridImport,
    /// Fed into the grid.
    GridExport,
    /// Into the battery, at its terminals.
    BatteryIn,
    /// Out of the battery, at its terminals.
    BatteryOut,
    /// Stored inside the battery.
    BatteryLevel,
    /// Used by the servers.
    Load,
}

impl Meter {
    /// Every meter.
    pub const ALL: [Self; 8] = [
        Self::SolarAvailable,
        Self::Solar,
        Self::GridImport,
        Self::GridExport,
        Self::BatteryIn,
        Self::BatteryOut,
        Self::BatteryLevel,
        Self::Load,
    ];

    /// Its name in messages and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SolarAvailable => "solar_available",
            Self::Solar => "solar",
            Self::GridImport => "grid_import",
            Self::GridExport => "grid_export",
            Self::BatteryIn => "battery_in",
            Self::BatteryOut => "battery_out",
            Self::BatteryLevel => "battery_level",
            Self::Load => "load",
        }
    }
}

/// One thing for each meter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerMeter<T> {
    /// Of what the panels could deliver.
    pub solar_available: T,
    /// Of what the inverter delivered.
    pub solar: T,
    /// Of what was drawn from the grid.
    pub grid_import: T,
    /// Of what was fed into the grid.
    pub grid_export: T,
    /// Of what went into the battery, at its terminals.
    pub battery_in: T,
    /// Of what came out of the battery, at its terminals.
    pub battery_out: T,
    /// Of what is stored inside the battery.
    pub battery_level: T,
    /// Of what the servers used.
    pub load: T,
}

impl<T> PerMeter<T> {
    /// One thing for each meter, made from its name.
    pub fn new(mut one: impl FnMut(Meter) -> T) -> Self {
        Self {
            solar_available: one(Meter::SolarAvailable),
            solar: one(Meter::Solar),
            grid_import: one(Meter::GridImport),
            grid_export: one(Meter::GridExport),
            battery_in: one(Meter::BatteryIn),
            battery_out: one(Meter::BatteryOut),
            battery_level: one(Meter::BatteryLevel),
            load: one(Meter::Load),
        }
    }

    /// The thing of one meter.
    pub const fn of(&self, meter: Meter) -> &T {
        match meter {
            Meter::SolarAvailable => &self.solar_available,
            Meter::Solar => &self.solar,
            Meter::GridImport => &self.grid_import,
            Meter::GridExport => &self.grid_export,
            Meter::BatteryIn => &self.battery_in,
            Meter::BatteryOut => &self.battery_out,
            Meter::BatteryLevel => &self.battery_level,
            Meter::Load => &self.load,
        }
    }

    /// Each thing made into another.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerMeter<U> {
        PerMeter {
            solar_available: change(self.solar_available),
            solar: change(self.solar),
            grid_import: change(self.grid_import),
            grid_export: change(self.grid_export),
            battery_in: change(self.battery_in),
            battery_out: change(self.battery_out),
            battery_level: change(self.battery_level),
            load: change(self.load),
        }
    }

    /// The thing of one meter, to change.
    pub const fn of_mut(&mut self, meter: Meter) -> &mut T {
        match meter {
            Meter::SolarAvailable => &mut self.solar_available,
            Meter::Solar => &mut self.solar,
            Meter::GridImport => &mut self.grid_import,
            Meter::GridExport => &mut self.grid_export,
            Meter::BatteryIn => &mut self.battery_in,
            Meter::BatteryOut => &mut self.battery_out,
            Meter::BatteryLevel => &mut self.battery_level,
            Meter::Load => &mut self.load,
        }
    }
}

/// A reading, and the time that its growth covers.
pub(super) struct Reading {
    pub(super) result: Result<Sample<Energy>, ReadError>,
    pub(super) covers: Millis,
}

/// A counting meter and its reader.
#[derive(Clone, Debug)]
pub(super) struct CountingMeter {
    meter: Meter,
    range: u64,
    /// Most that flows, so most that is believed.
    power_max: Power,
    /// What the counter shows.
    shown: u64,
    /// Counted since the last good reading.
    unread: u64,
    reader: Counter,
    /// Since the last good reading.
    silent_for: Millis,
}

impl CountingMeter {
    /// A meter at zero whose reader has read it once.
    pub(super) fn new(meter: Meter, range: u64, power_max: Power) -> Self {
        let mut made = Self {
            meter,
            range: range.max(1),
            power_max,
            shown: 0,
            unread: 0,
            reader: Counter::new(Some(range.max(1))),
            silent_for: Millis::ZERO,
        };
        made.rebase(0);
        made
    }

    /// Counts `energy` over an advance of `span` under `faults`, and is read.
    pub(super) fn advance<'a>(
        &mut self,
        energy: Energy,
        span: Millis,
        begun: impl Iterator<Item = &'a Fault>,
        acting: &[Fault],
    ) -> Reading {
        begun.for_each(|fault| self.begin(fault.kind));
        let counted = acting.iter().fold(energy.get(), |counted, fault| told(counted, fault.kind));
        self.count(counted);
        self.silent_for = self.silent_for.saturating_add(span);
        let silent = acting.iter().any(|fault| fault.kind == FaultKind::Silence);
        let covers = self.silent_for;
        let result = if silent { Err(self.no_answer()) } else { self.read() };
        Reading { result: result.map(Sample::fresh), covers }
    }

    /// What a fault does once.
    fn begin(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Jump(energy) => self.count(energy.get()),
            FaultKind::Wrap => self.rebase(self.range - 1),
            FaultKind::Restart => self.shown = 0,
            FaultKind::Silence | FaultKind::Lie { .. } => {}
        }
    }

    /// Shows `shown` as if it had always counted towards it: what is not yet read stays to be read.
    fn rebase(&mut self, shown: u64) {
        self.shown = shown;
        self.reader = Counter::new(Some(self.range));
        let last = shown.saturating_sub(self.unread);
        // The first reading of a new reader is its baseline: nothing to keep.
        let _ = self.reader.read(last, u64::MAX);
    }

    fn count(&mut self, counted: u64) {
        let sum = u128::from(self.shown) + u128::from(counted);
        self.shown = u64::try_from(sum % u128::from(self.range)).unwrap_or(0);
        self.unread = self.unread.saturating_add(counted);
    }

    fn read(&mut self) -> Result<Energy, ReadError> {
        let step_max = self.power_max.over(self.silent_for).get();
        let growth = self.reader.read(self.shown, step_max).map_err(|stray| {
            ReadError::implausible(
                self.meter.name(),
                self.shown,
                format!("a step of at most {step_max}: {stray}"),
            )
        })?;
        let silent = self.no_answer();
        self.silent_for = Millis::ZERO;
        self.unread = 0;
        match growth {
            Growth::Counted(energy) => Ok(Energy::new(energy)),
            Growth::None(_) => Err(silent),
        }
    }

    fn no_answer(&self) -> ReadError {
        let meter = self.meter.name().to_owned();
        ReadError::Transient { meter, silent_for: Some(self.silent_for), cause: None }
    }
}

/// What a lying meter counts or shows; the truth under other faults.
fn told(truth: u64, kind: FaultKind) -> u64 {
    match kind {
        FaultKind::Lie { factor_ppm } => {
            u64::try_from(u128::from(truth) * u128::from(factor_ppm) / 1_000_000).unwrap_or(u64::MAX)
        }
        FaultKind::Silence | FaultKind::Jump(_) | FaultKind::Wrap | FaultKind::Restart => truth,
    }
}

/// The meter of a level.
#[derive(Clone, Debug, Default)]
pub(super) struct LevelMeter {
    silent_for: Millis,
}

impl LevelMeter {
    /// Shows `level` of `capacity` after an advance of `span` under the faults that act.
    pub(super) fn advance(
        &mut self,
        level: Energy,
        capacity: Energy,
        span: Millis,
        acting: &[Fault],
    ) -> Reading {
        self.silent_for = self.silent_for.saturating_add(span);
        let covers = self.silent_for;
        let meter = Meter::BatteryLevel.name();
        if acting.iter().any(|fault| fault.kind == FaultKind::Silence) {
            let (meter, silent_for) = (meter.to_owned(), Some(covers));
            return Reading { result: Err(ReadError::Transient { meter, silent_for, cause: None }), covers };
        }
        let shown = acting.iter().fold(level.get(), |shown, fault| match fault.kind {
            FaultKind::Jump(energy) => shown.saturating_add(energy.get()),
            kind => told(shown, kind),
        });
        if shown > capacity.get() {
            let accepted = format!("0 to {}", capacity.get());
            return Reading { result: Err(ReadError::implausible(meter, shown, accepted)), covers };
        }
        self.silent_for = Millis::ZERO;
        Reading { result: Ok(Sample::fresh(Energy::new(shown))), covers }
    }
}
