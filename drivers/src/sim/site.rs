//! The emulated site: solar delivers, the battery does as told within its physics, the grid balances, and meters are
//! read. Time is handed in; the same calls give the same readings.

use super::balance::{Flows, Stretch, balance};
use super::battery::{Battery, BatterySetPoint};
use super::fault::Fault;
use super::lease::Leased;
use super::meter::{CountingMeter, LevelMeter, Meter, PerMeter};
use super::minutes;
use crate::{ReadError, Sample, SolarSource};
use ecovisor_units::{Energy, Millis, Power};

/// What the site is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// It gives what is missing and takes what is left over.
    TwoWay,
    /// It gives what is missing; nothing may be fed in, so what is left over is curtailed by the inverter, and the
    /// battery gives no more than the load needs.
    ImportOnly,
    /// None, or an outage: the battery forms the grid, and load beyond solar and battery goes unserved.
    Absent,
}

/// What a site is made of.
pub struct SiteConfig {
    /// Its sun and panels; `None`: no solar.
    pub solar: Option<Box<dyn SolarSource>>,
    /// Its battery; `None`: none, and its meters read zero.
    pub battery: Option<Battery>,
    /// Its grid connection at the start.
    pub grid: Grid,
    /// Counters wrap to zero here, µJ.
    pub meter_range: u64,
    /// The most power that any meter is believed to measure, mW: a counter that moves faster is implausible.
    pub meter_power_max: Power,
    /// How and when its meters fail.
    pub faults: Vec<Fault>,
}

/// Range of the counters where nothing else is said: 2⁵³ µJ (2.5 MWh), so that a day at [`METER_POWER_MAX`] is less.
pub const METER_RANGE: u64 = 1 << 53;
/// The most that a meter is believed where nothing else is said: 100 kW, a large site.
pub const METER_POWER_MAX: Power = Power::from_watts(100_000);

impl SiteConfig {
    /// A site on a grid that gives and takes, without solar, battery and faults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            solar: None,
            battery: None,
            grid: Grid::TwoWay,
            meter_range: METER_RANGE,
            meter_power_max: METER_POWER_MAX,
            faults: Vec::new(),
        }
    }
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What the meters of the site said about one advance.
#[derive(Clone, Debug)]
pub struct Meters {
    /// Per meter what flowed since its last good reading, µJ (for `battery_level`: what is stored inside now). `load` is
    /// the load that was served. Without faults:
    /// solar + grid_import + battery_out = load + grid_export + battery_in.
    pub readings: PerMeter<Result<Sample<Energy>, ReadError>>,
    /// The time that each reading covers, ms: the span, or more after readings that failed.
    pub covers: PerMeter<Millis>,
    /// Load that nothing served, µJ: a fact of the simulation that no meter shows; zero with a grid.
    pub unserved: Energy,
}

/// The site.
pub struct Site {
    solar: Option<Box<dyn SolarSource>>,
    solar_limit: Leased<Power>,
    /// The last minute asked of the sun, and its answer.
    sun_now: Option<(u64, Option<Power>)>,
    battery: Option<Battery>,
    grid: Grid,
    counters: PerMeter<CountingMeter>,
    level: LevelMeter,
    faults: Vec<Fault>,
    /// Sum of all spans so far.
    time: Millis,
}

impl Site {
    /// The site as configured, at site time zero, its counters at zero and read once.
    #[must_use]
    pub fn new(config: SiteConfig) -> Self {
        let counter = |meter| CountingMeter::new(meter, config.meter_range, config.meter_power_max);
        Self {
            solar: config.solar,
            solar_limit: Leased::new(Power::MAX),
            sun_now: None,
            battery: config.battery,
            grid: config.grid,
            counters: PerMeter::new(counter),
            level: LevelMeter::default(),
            faults: config.faults,
            time: Millis::ZERO,
        }
    }

    /// Tells the battery what to do for `lease` of site time, after which it idles. Without a battery, nothing.
    pub fn order_battery(&mut self, set_point: BatterySetPoint, lease: Millis) {
        if let Some(battery) = &mut self.battery {
            battery.order(set_point, lease);
        }
    }

    /// Limits what the inverter delivers for `lease` of site time, after which it delivers what there is.
    pub fn order_solar_limit(&mut self, limit: Power, lease: Millis) {
        self.solar_limit.set(limit, lease);
    }

    /// Changes the grid connection: an outage, or its end.
    pub const fn connect(&mut self, grid: Grid) {
        self.grid = grid;
    }

    /// The battery, to look at.
    #[must_use]
    pub const fn battery(&self) -> Option<&Battery> {
        self.battery.as_ref()
    }

    /// Lets `span` pass from `start_utc_ms` on, in which the servers ask for `load`, evenly; then reads the meters.
    /// Leases that end within are honoured to the ms; the sun's power holds for a UTC minute each. A span of zero
    /// moves nothing.
    ///
    /// # Panics
    /// Where the energies of one advance exceed 5.1 GWh.
    pub fn advance(&mut self, start_utc_ms: u64, span: Millis, load: Energy) -> Meters {
        let mut flows = Flows::default();
        let mut sun_known = true;
        let mut done = 0;
        while done < span.get() {
            let now = start_utc_ms.saturating_add(done);
            let length = self.stretch_length(now).min(span.get() - done);
            let sun = self.sun(now);
            sun_known &= sun.is_some();
            let load = part(load, done + length, span) - part(load, done, span);
            flows += self.stretch(sun.unwrap_or(Power::ZERO), Millis::new(length), load);
            done += length;
        }
        if let Some(battery) = &mut self.battery {
            battery.close();
        }
        let mut meters = self.read(&flows, span);
        if !sun_known {
            meters.readings.solar_available = Err(ReadError::transient(Meter::SolarAvailable.name()));
        }
        self.time = self.time.saturating_add(span);
        meters
    }

    /// ms from `now` for which no power and no set-point changes.
    fn stretch_length(&self, now: u64) -> u64 {
        let battery = self.battery.as_ref().map_or(Millis::MAX, Battery::order_left);
        minutes::left(now).min(battery.get()).min(self.solar_limit.left().get())
    }

    /// One stretch in which no power changes.
    fn stretch(&mut self, sun: Power, span: Millis, load: Energy) -> Flows {
        let solar_limit = self.solar_limit.now().over(span);
        let stretch = Stretch { span, solar_available: sun.over(span), solar_limit, load };
        let flows = balance(self.grid, &stretch, self.battery.as_mut());
        self.solar_limit.pass(span);
        if let Some(battery) = &mut self.battery {
            battery.pass(span);
        }
        flows
    }

    /// The power of the sun in the minute of `now`; `None` where its source has a gap.
    fn sun(&mut self, now: u64) -> Option<Power> {
        let Some(solar) = &self.solar else { return Some(Power::ZERO) };
        let middle = minutes::middle(now);
        match self.sun_now {
            Some((minute, power)) if minute == middle => power,
            _ => {
                let power = solar.power(middle);
                self.sun_now = Some((middle, power));
                power
            }
        }
    }

    /// Counts the flows of an advance and reads every meter.
    fn read(&mut self, flows: &Flows, span: Millis) -> Meters {
        let (start, end) = (self.time, self.time.saturating_add(span));
        let faults = std::mem::take(&mut self.faults);
        let of = |meter: Meter| faults.iter().filter(move |fault| fault.meter == meter);
        let readings = PerMeter::new(|meter| {
            let acting: Vec<Fault> = of(meter).filter(|fault| fault.acts(start, end)).copied().collect();
            let Some(energy) = counted(flows, meter) else {
                let (level, capacity) = self.stored();
                return self.level.advance(level, capacity, span, &acting);
            };
            let begun = of(meter).filter(|fault| fault.begins(start, end));
            self.counters.of_mut(meter).advance(energy, span, begun, &acting)
        });
        self.faults = faults;
        let covers = PerMeter::new(|meter| readings.of(meter).covers);
        Meters { readings: readings.map(|reading| reading.result), covers, unserved: flows.unserved }
    }

    /// Level and capacity of the battery, zero without one.
    fn stored(&self) -> (Energy, Energy) {
        let both = |battery: &Battery| (battery.level(), battery.config().capacity);
        self.battery.as_ref().map_or((Energy::ZERO, Energy::ZERO), both)
    }
}

/// What `meter` counts of the flows; `None` for the one that shows a level.
const fn counted(flows: &Flows, meter: Meter) -> Option<Energy> {
    match meter {
        Meter::SolarAvailable => Some(flows.solar_available),
        Meter::Solar => Some(flows.solar),
        Meter::GridImport => Some(flows.grid_import),
        Meter::GridExport => Some(flows.grid_export),
        Meter::BatteryIn => Some(flows.battery_in),
        Meter::BatteryOut => Some(flows.battery_out),
        Meter::Load => Some(flows.served),
        Meter::BatteryLevel => None,
    }
}

/// What of `whole`, spread evenly over `span`, lies before `until`: rounded down, so differences sum to the whole.
fn part(whole: Energy, until: u64, span: Millis) -> Energy {
    let product = u128::from(whole.get()) * u128::from(until);
    let part = product.checked_div(u128::from(span.get())).unwrap_or(0);
    Energy::new(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
