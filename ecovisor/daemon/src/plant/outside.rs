//! Sun, battery, grid and carbon: the emulated site, and traces.

use super::Span;
use super::status::Status;
use crate::config::{
    CarbonSection, Config, FaultChoice, FaultSection, MeterChoice, OutageSection, SimSection, SkyChoice,
};
use crate::engine::handle::{Device, DeviceRole};
use ecovisor_core::{BatteryOrder, Orders, Reading, Readings};
use ecovisor_drivers::data::{self, Place};
use ecovisor_drivers::sim::battery::{Battery, BatteryConfig, BatterySetPoint};
use ecovisor_drivers::sim::clouds::{Clouds, Seeded, Typical};
use ecovisor_drivers::sim::fault::{Fault, FaultKind};
use ecovisor_drivers::sim::meter::Meter;
use ecovisor_drivers::sim::panel::Panel;
use ecovisor_drivers::sim::site::{Grid, Site, SiteConfig};
use ecovisor_drivers::sim::sky::{ClearSky, Tmy3};
use ecovisor_drivers::trace::{self, Trace};
use ecovisor_drivers::{CarbonSignal, ReadError, Sample, SolarSource};
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power, Ppm};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the plant cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PlantError {
    /// A file cannot be read.
    #[error("{field}: cannot read {path}")]
    File {
        /// Which field names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// A file is not what it should be, or figures contradict each other.
    #[error("{field}: {why}")]
    Content {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
}

fn content(field: &'static str, why: impl std::fmt::Display) -> PlantError {
    PlantError::Content { field, why: why.to_string() }
}

/// Reads a file that a field names.
pub(super) fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, PlantError> {
    std::fs::read(path).map_err(|cause| PlantError::File { field, path: path.into(), cause })
}

/// Where solar and carbon come from, for whoever looks ahead.
#[derive(Clone)]
pub struct Ahead {
    solar: Option<Arc<dyn SolarSource + Sync>>,
    carbon: Option<Arc<Trace<CarbonIntensity>>>,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead")
            .field("solar", &self.solar.is_some())
            .field("carbon", &self.carbon.is_some())
            .finish()
    }
}

impl Ahead {
    /// Solar power of the whole site at `utc_ms`, where a source knows.
    #[must_use]
    pub fn solar(&self, utc_ms: u64) -> Option<Power> {
        self.solar.as_ref()?.power(utc_ms)
    }

    /// Carbon intensity at `utc_ms`, where the trace knows.
    #[must_use]
    pub fn carbon(&self, utc_ms: u64) -> Option<CarbonIntensity> {
        self.carbon.as_ref()?.at(utc_ms)
    }

    /// Whether there is a source of solar, and of carbon.
    #[must_use]
    pub fn sources(&self) -> (bool, bool) {
        (self.solar.is_some(), self.carbon.is_some())
    }
}

/// The sun of an [`Ahead`], shared with the emulated site.
struct Shared(Arc<dyn SolarSource + Sync>);

impl SolarSource for Shared {
    fn power(&self, utc_ms: u64) -> Option<Power> {
        self.0.power(utc_ms)
    }
}

/// What a tick saw outside.
pub struct Seen {
    /// The meters.
    pub readings: Readings,
    /// Whether the grid was away.
    pub grid_lost: bool,
}

/// The emulated site and the signals.
pub struct Outside {
    sim: Option<Site>,
    battery: Option<BatteryConfig>,
    grid: Grid,
    outages: Vec<OutageSection>,
    site_time: Millis,
    ahead: Ahead,
    solar_status: Option<Status>,
    battery_status: Option<Status>,
    grid_status: Option<Status>,
    load_status: Option<Status>,
    carbon_status: Option<Status>,
}

impl Outside {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// Where a file cannot be read, or is not what it should be.
    pub fn open(config: &Config) -> Result<Self, PlantError> {
        let carbon = config.carbon.as_ref().map(open_carbon).transpose()?.map(Arc::new);
        let solar = match (&config.sim, &config.solar) {
            (Some(sim), Some(solar)) => Some(open_sky(config, sim, solar.peak.0)?),
            (_, None) | (None, _) => None,
        };
        let grid = match &config.grid {
            None => Grid::Absent,
            Some(grid) if grid.export_limit.0.is_zero() => Grid::ImportOnly,
            Some(_) => Grid::TwoWay,
        };
        let battery = config.sim.as_ref().and_then(|sim| battery_config(config, sim));
        let sim = config.sim.as_ref();
        let mut outside = Self {
            sim: None,
            battery,
            grid,
            outages: sim.map(|sim| sim.outages.clone()).unwrap_or_default(),
            site_time: Millis::ZERO,
            solar_status: solar
                .as_ref()
                .map(|_| Status::new("solar", "sim", &[DeviceRole::Solar, DeviceRole::Curtailment])),
            battery_status: battery.map(|_| Status::new("battery", "sim", &[DeviceRole::Storage])),
            grid_status: (sim.is_some() && config.grid.is_some())
                .then(|| Status::new("grid", "sim", &[DeviceRole::GridMeter])),
            load_status: sim.map(|_| Status::new("load", "sim", &[DeviceRole::LoadMeter])),
            carbon_status: carbon
                .as_ref()
                .map(|_| Status::new("carbon", "trace", &[DeviceRole::CarbonSignal])),
            ahead: Ahead { solar, carbon },
        };
        if let Some(sim) = sim {
            let faults = sim.faults.iter().map(fault).collect();
            outside.sim = Some(outside.build(faults)?);
        }
        Ok(outside)
    }

    fn build(&self, faults: Vec<Fault>) -> Result<Site, PlantError> {
        let battery = self.battery.map(Battery::new).transpose().map_err(|e| content("battery", e))?;
        let solar = self.ahead.solar.clone().map(|sun| -> Box<dyn SolarSource> { Box::new(Shared(sun)) });
        Ok(Site::new(SiteConfig { solar, battery, grid: self.grid, faults, ..SiteConfig::new() }))
    }

    /// The emulated battery holds what it held.
    pub fn resume(&mut self, usable_level: Energy) {
        if let Some(battery) = &mut self.battery {
            battery.level = battery.floor.saturating_add(usable_level).min(battery.capacity);
            // The configuration was opened before with this battery; only its level differs now.
            if let Ok(site) = self.build(Vec::new()) {
                self.sim = Some(site);
            }
        }
    }

    /// Whether the emulated site has a load meter of its own.
    #[must_use]
    pub fn meters_load(&self) -> bool {
        self.sim.is_some()
    }

    /// Where solar and carbon come from.
    #[must_use]
    pub fn ahead(&self) -> Ahead {
        self.ahead.clone()
    }

    /// Lets the tick pass outside, with what the servers drew, and reads every meter.
    pub fn advance(&mut self, span: Span, load: Energy, now_ms: u64) -> Seen {
        let mut readings = Readings { intensity: self.intensity(span, now_ms), ..Readings::default() };
        let begun = self.site_time;
        self.site_time = self.site_time.saturating_add(span.length);
        let away = |outage: &OutageSection| outage.from.0 <= begun && begun < outage.to.0;
        let grid_lost = self.outages.iter().any(away);
        let Some(sim) = &mut self.sim else { return Seen { readings, grid_lost } };
        sim.connect(if grid_lost { Grid::Absent } else { self.grid });
        let meters = sim.advance(span.wall_ms, span.length, load);
        let reading = |meter: Meter, status: Option<&mut Option<Status>>| {
            let result = meters.readings.of(meter);
            if let Some(Some(status)) = status {
                match result {
                    Ok(_) => status.read(now_ms),
                    Err(error) => status.failed(error, now_ms),
                }
            }
            of_span(result, *meters.covers.of(meter), span.length, meter == Meter::BatteryLevel)
        };
        if self.ahead.solar.is_some() {
            readings.solar_available = reading(Meter::SolarAvailable, None);
            readings.solar = reading(Meter::Solar, Some(&mut self.solar_status));
        } else {
            readings.solar = Some(Reading::now(Energy::ZERO));
        }
        if let Some(battery) = &self.battery {
            readings.battery_in = reading(Meter::BatteryIn, None);
            readings.battery_out = reading(Meter::BatteryOut, None);
            let level = reading(Meter::BatteryLevel, Some(&mut self.battery_status));
            readings.battery_level =
                level.map(|level| Reading { value: level.value.less(battery.floor), ..level });
        }
        readings.grid_import = reading(Meter::GridImport, Some(&mut self.grid_status));
        readings.grid_export = reading(Meter::GridExport, None);
        readings.load = reading(Meter::Load, Some(&mut self.load_status));
        // A device of several figures is ill where any of them is.
        for meter in [Meter::BatteryIn, Meter::BatteryOut, Meter::GridExport] {
            let status = match meter {
                Meter::GridExport => &mut self.grid_status,
                _ => &mut self.battery_status,
            };
            if let (Some(status), Err(error)) = (status, meters.readings.of(meter)) {
                status.also_failed(error, now_ms);
            }
        }
        Seen { readings, grid_lost }
    }

    /// The intensity in the middle of the tick.
    fn intensity(&mut self, span: Span, now_ms: u64) -> Option<Reading<CarbonIntensity>> {
        let trace = self.ahead.carbon.as_ref()?;
        let result = trace.intensity(span.wall_ms + span.length.get() / 2);
        if let Some(status) = &mut self.carbon_status {
            match &result {
                Ok(_) => status.read(now_ms),
                Err(error) => status.failed(error, now_ms),
            }
        }
        result.ok().map(|Sample { value, age }| Reading { value, age, counted: true })
    }

    /// Set-points for the emulated hardware, as leases.
    pub fn apply(&mut self, orders: &Orders) {
        let Some(sim) = &mut self.sim else { return };
        let set_point = match orders.battery {
            BatteryOrder::Rest => BatterySetPoint::Idle,
            BatteryOrder::Charge(power) => BatterySetPoint::Charge(power),
            BatteryOrder::Discharge(power) => BatterySetPoint::Discharge(power),
        };
        sim.order_battery(set_point, orders.lease);
        sim.order_solar_limit(orders.solar_limit.unwrap_or(Power::MAX), orders.lease);
    }

    /// The devices as they are.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        let all = [
            &self.solar_status,
            &self.battery_status,
            &self.grid_status,
            &self.load_status,
            &self.carbon_status,
        ];
        all.into_iter().flatten().map(Status::device).collect()
    }
}

/// A reading of this tick. One that covers more than the tick, after the meter was silent, is spread evenly; a level is
/// what it is.
fn of_span(
    result: &Result<Sample<Energy>, ReadError>,
    covers: Millis,
    span: Millis,
    is_level: bool,
) -> Option<Reading<Energy>> {
    let Sample { value, age } = *result.as_ref().ok()?;
    let value = match is_level || covers <= span {
        true => value,
        false => value.mean_power(covers).over(span),
    };
    Some(Reading { value, age, counted: true })
}

fn open_carbon(carbon: &CarbonSection) -> Result<Trace<CarbonIntensity>, PlantError> {
    let trace = match (&carbon.file, &carbon.zone) {
        (Some(path), _) => {
            let bytes = read("carbon.file", path)?;
            trace::carbon(&path.display().to_string(), &bytes).map_err(|e| content("carbon.file", e))?
        }
        (None, Some(zone)) => {
            let text = data::carbon(zone)
                .ok_or_else(|| content("carbon.zone", format!("`{zone}` is not built in")))?;
            trace::carbon(zone, text.as_bytes()).map_err(|e| content("carbon.zone", e))?
        }
        (None, None) => return Err(content("carbon", "give either zone or file")),
    };
    Ok(if carbon.repeat_yearly { trace.repeat_yearly() } else { trace })
}

/// The year whose calendar the typical year is laid on; it has no leap day, as the typical year has none.
const TYPICAL_YEAR: i16 = 2022;

fn open_sky(
    config: &Config,
    sim: &SimSection,
    peak: Power,
) -> Result<Arc<dyn SolarSource + Sync>, PlantError> {
    let station = data::station(&sim.station).ok_or_else(|| content("sim.station", "is not built in"))?;
    let zone = config.carbon.as_ref().and_then(|carbon| carbon.zone.as_deref()).and_then(data::zone);
    let home = zone.map_or(station.place, |zone| zone.place);
    let place = Place {
        latitude: sim.latitude.unwrap_or(home.latitude),
        longitude: sim.longitude.unwrap_or(home.longitude),
    };
    let weather = || {
        trace::tmy3(station.key, station.csv.as_bytes(), station.utc_offset_minutes, TYPICAL_YEAR)
            .map_err(|e| content("sim.station", e))
    };
    Ok(match sim.sky {
        SkyChoice::Tmy3 => Arc::new(Tmy3 {
            place: station.place,
            panel: Panel::facing_sun(station.place, peak),
            weather: weather()?.repeat_yearly(),
        }),
        SkyChoice::Typical => {
            let clouds = Clouds::Typical(Typical::new(station.place, &weather()?));
            Arc::new(ClearSky::new(place, Panel::facing_sun(place, peak), clouds))
        }
        SkyChoice::Clouds => {
            let clouds = Clouds::Seeded(Seeded { seed: sim.seed });
            Arc::new(ClearSky::new(place, Panel::facing_sun(place, peak), clouds))
        }
    })
}

fn battery_config(config: &Config, sim: &SimSection) -> Option<BatteryConfig> {
    let battery = config.battery.as_ref()?;
    let (capacity, floor) = (battery.capacity.0, battery.floor.0);
    let part = |whole: Energy, ppm: Ppm| {
        let product = u128::from(whole.get()) * u128::from(ppm.get()) / 1_000_000;
        Energy::new(u64::try_from(product).unwrap_or(u64::MAX))
    };
    Some(BatteryConfig {
        capacity,
        floor,
        level: floor + part(capacity.less(floor), sim.battery_level.0),
        charge_max: battery.charge_limit.0,
        discharge_max: battery.discharge_limit.0,
        charge_efficiency: battery.charge_efficiency.0,
        discharge_efficiency: battery.discharge_efficiency.0,
    })
}

fn fault(section: &FaultSection) -> Fault {
    Fault {
        meter: match section.meter {
            MeterChoice::SolarAvailable => Meter::SolarAvailable,
            MeterChoice::Solar => Meter::Solar,
            MeterChoice::GridImport => Meter::GridImport,
            MeterChoice::GridExport => Meter::GridExport,
            MeterChoice::BatteryIn => Meter::BatteryIn,
            MeterChoice::BatteryOut => Meter::BatteryOut,
            MeterChoice::BatteryLevel => Meter::BatteryLevel,
            MeterChoice::Load => Meter::Load,
        },
        kind: match section.kind {
            FaultChoice::Silence => FaultKind::Silence,
            FaultChoice::Jump => FaultKind::Jump(section.energy.map_or(Energy::ZERO, |energy| energy.0)),
            FaultChoice::Wrap => FaultKind::Wrap,
            FaultChoice::Restart => FaultKind::Restart,
            FaultChoice::Lie => FaultKind::Lie { factor_ppm: section.factor_ppm.unwrap_or(1_000_000) },
        },
        from: section.from.0,
        to: section.to.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon of midsummer over Germany, in ms since the Unix epoch.
    const NOON_MS: u64 = 1_655_809_200_000;

    fn site(more: &str) -> Outside {
        let text = format!(
            "[site]\nname = \"try\"\n[solar]\npeak = \"300 W\"\n[battery]\ncapacity = \"1000 Wh\"\nfloor = \"300 Wh\"\n\
             charge_limit = \"500 W\"\ndischarge_limit = \"500 W\"\n[grid]\nimport_limit = \"500 W\"\n\
             [carbon]\nzone = \"DE\"\n[host]\nidle = \"10 W\"\npeak = \"20 W\"\n[sim]\nbattery_level = \"50 %\"\n{more}"
        );
        Outside::open(&Config::parse(&text).unwrap()).unwrap()
    }

    fn minute(outside: &mut Outside, nth: u64) -> Seen {
        let wall_ms = NOON_MS + nth * 60_000;
        let span = Span { wall_ms, length: Millis::from_secs(60), real_us: 0 };
        outside.advance(span, Energy::from_joules(60), wall_ms)
    }

    #[test]
    fn the_level_is_what_lies_above_the_floor() {
        let seen = minute(&mut site(""), 0);
        let level = seen.readings.battery_level.unwrap();
        assert_eq!(level.value, Energy::from_watt_hours(350));
        assert!(!seen.grid_lost);
        assert!(seen.readings.solar.unwrap().value > Energy::ZERO, "the sun shines at noon");
        let grams = seen.readings.intensity.unwrap().value.get() / 1_000;
        assert!((100..1_000).contains(&grams), "{grams} g/kWh");
    }

    #[test]
    fn an_order_is_obeyed_in_the_next_tick_until_its_lease_ends() {
        let mut outside = site("");
        let charge = BatteryOrder::Charge(Power::from_watts(120));
        outside.apply(&Orders { battery: charge, lease: Millis::from_secs(90), ..Orders::default() });
        let into = |seen: Seen| seen.readings.battery_in.unwrap().value;
        assert_eq!(into(minute(&mut outside, 0)), Energy::from_joules(7_200));
        assert_eq!(into(minute(&mut outside, 1)), Energy::from_joules(3_600));
        assert_eq!(into(minute(&mut outside, 2)), Energy::ZERO);
    }

    #[test]
    fn a_site_goes_on_with_the_level_that_it_had() {
        let mut outside = site("");
        outside.resume(Energy::from_watt_hours(10));
        assert_eq!(
            minute(&mut outside, 0).readings.battery_level.unwrap().value,
            Energy::from_watt_hours(10)
        );
    }

    #[test]
    fn an_outage_takes_the_grid_away_for_its_time() {
        let mut outside = site("[[sim.outage]]\nfrom = \"1 min\"\nto = \"2 min\"\n");
        let lost: Vec<bool> = (0..3).map(|nth| minute(&mut outside, nth).grid_lost).collect();
        assert_eq!(lost, [false, true, false]);
    }

    #[test]
    fn a_silent_meter_is_no_reading_and_afterwards_its_count_is_spread_evenly() {
        let fault = "[[sim.fault]]\nmeter = \"load\"\nkind = \"silence\"\nfrom = \"1 min\"\nto = \"2 min\"\n";
        let mut outside = site(fault);
        let loads: Vec<_> =
            (0..3).map(|nth| minute(&mut outside, nth).readings.load.map(|r| r.value)).collect();
        let joules = |joules| Some(Energy::from_joules(joules));
        assert_eq!(loads, [joules(60), None, joules(60)]);
        let load = outside.devices().into_iter().find(|device| device.name == "load").unwrap();
        assert_eq!((load.reads, load.failed_reads), (3, 1));
    }

    #[test]
    fn a_reading_of_more_than_the_tick_is_spread_and_a_level_is_not() {
        let read = Ok(Sample { value: Energy::new(300), age: Millis::ZERO });
        let (long, tick) = (Millis::new(30), Millis::new(10));
        let value = |is_level| of_span(&read, long, tick, is_level).unwrap().value;
        assert_eq!((value(false), value(true)), (Energy::new(100), Energy::new(300)));
    }
}
