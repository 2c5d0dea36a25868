//! The virtual energy system as it stands between two ticks.

use crate::Error;
use crate::container::Capping;
use crate::error::present;
use crate::setting::SettingsInForce;
use ecovisor_proto::v1;
use ecovisor_units::{CarbonIntensity, CarbonMass, Energy, Millis, Power};

/// All there is to know of an app's energy system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemState {
    /// The app's name.
    pub app: String,
    /// The site's name; empty where it has none.
    pub site: String,
    /// Where the app stands in its life.
    pub life: Life,
    /// The last settled tick; `None` before the first, and means below are then zero.
    pub tick: Option<u64>,
    /// The tick that is running.
    pub coming_tick: u64,
    /// Its start by the site's wall clock, since 1970 UTC.
    pub wall: Millis,
    /// Nominal length of a tick.
    pub tick_span: Millis,
    /// The site's clock.
    pub clock: Clock,
    /// Solar.
    pub solar: Solar,
    /// Mean power drawn from the grid in the last tick, overdraft included.
    pub grid_power: Power,
    /// Carbon intensity in force; `None` without a grid connection.
    pub grid_carbon: Option<CarbonIntensity>,
    /// Virtual battery; `None` where the app has none.
    pub battery: Option<Battery>,
    /// Settings in force.
    pub settings: SettingsInForce,
    /// Most that the app may draw from the grid. Zero: no grid connection.
    pub grid_limit: Power,
    /// The app's solar weight.
    pub solar_weight: u64,
    /// Sum of the solar weights among which its own counts: of the site, of its group, or of a divided share.
    pub solar_weight_total: u64,
    /// What the app is entitled to use in the coming tick: solar, battery and grid together.
    pub supply: Power,
    /// Mean power of the app's load in the last tick.
    pub load: Power,
    /// What the app owes to others, counted inside their batteries.
    pub debt: Energy,
    /// What others owe to the app, counted inside its battery.
    pub loans: Energy,
    /// Age and quality of the readings behind these figures.
    pub freshness: FreshnessSet,
    /// Whether the last tick's figures rest on a held or assumed reading.
    pub estimated: bool,
    /// Whether caps can be enforced on the app's containers.
    pub capping: Capping,
}

/// Where an app stands in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// It uses its share.
    #[default]
    Active,
    /// It is being drained: no new settings and containers.
    Draining,
    /// Nothing is left of it but its rows in the ledger.
    Drained,
}

/// The site's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Wall time.
    #[default]
    Real,
    /// Wall time times a factor.
    Scaled {
        /// Virtual ms per real ms; never zero.
        factor: u32,
    },
    /// As fast as the machine allows; lock step is possible.
    Simulated,
}

/// Solar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solar {
    /// Mean power over the tick that `basis` names.
    pub power: Power,
    /// Which tick that is.
    pub basis: SolarBasis,
}

/// Which tick a solar figure belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SolarBasis {
    /// What the app will have in the coming tick: the site buffers solar.
    #[default]
    ComingTick,
    /// What the app had in the last tick: the site's solar is live.
    LastTick,
}

/// A virtual battery. Powers count at its terminals, energies inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Battery {
    /// Energy inside.
    pub charge_level: Energy,
    /// Most that it holds.
    pub capacity: Energy,
    /// Level that no flow goes below.
    pub floor: Energy,
    /// Most that it takes.
    pub charge_limit: Power,
    /// Most that it gives.
    pub discharge_limit: Power,
    /// Mean power in during the last tick.
    pub charge_rate: Power,
    /// Mean power out during the last tick.
    pub discharge_rate: Power,
    /// Carbon that its content has cost, rounded down; for information.
    pub carbon_content: CarbonMass,
}

/// How far a figure rests on a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quality {
    /// A young reading.
    #[default]
    Live,
    /// The last reading, held because no newer one came.
    Held,
    /// No reading that may still be held: the safe assumption stands in.
    Assumed,
}

/// Age and quality of one reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Age at the last tick's end; `None` where it was never read.
    pub age: Option<Millis>,
    /// What the figure rests on.
    pub quality: Quality,
}

/// Freshness of what an app's figures rest on; `None` where the site has no such device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreshnessSet {
    /// Of the solar production.
    pub solar: Option<Freshness>,
    /// Of the grid meter.
    pub grid: Option<Freshness>,
    /// Of the battery.
    pub battery: Option<Freshness>,
    /// Of the carbon intensity.
    pub grid_carbon: Option<Freshness>,
    /// Of the containers' power, the oldest of them.
    pub load: Option<Freshness>,
}

impl Battery {
    /// What it may still give before its floor, counted inside.
    #[must_use]
    pub fn above_floor(&self) -> Energy {
        self.charge_level.less(self.floor)
    }

    /// What it may still take, counted inside.
    #[must_use]
    pub fn room(&self) -> Energy {
        self.capacity.less(self.charge_level)
    }

    pub(crate) fn read(wire: v1::Battery) -> Self {
        let v1::Battery {
            charge_level_uj,
            capacity_uj,
            floor_uj,
            charge_limit_mw,
            discharge_limit_mw,
            charge_rate_mw,
            discharge_rate_mw,
            carbon_content_mg,
        } = wire;
        Self {
            charge_level: Energy::new(charge_level_uj),
            capacity: Energy::new(capacity_uj),
            floor: Energy::new(floor_uj),
            charge_limit: Power::new(charge_limit_mw),
            discharge_limit: Power::new(discharge_limit_mw),
            charge_rate: Power::new(charge_rate_mw),
            discharge_rate: Power::new(discharge_rate_mw),
            carbon_content: CarbonMass::new(carbon_content_mg),
        }
    }
}

impl Solar {
    pub(crate) fn read(wire: v1::Solar) -> Result<Self, Error> {
        let basis = match wire.basis() {
            v1::SolarBasis::ComingTick => SolarBasis::ComingTick,
            v1::SolarBasis::LastTick => SolarBasis::LastTick,
            v1::SolarBasis::Unspecified => return Err(Error::unreadable("solar without its tick")),
        };
        Ok(Self { power: Power::new(wire.power_mw), basis })
    }
}

impl Clock {
    fn read(wire: v1::Clock) -> Result<Self, Error> {
        match (wire.kind(), wire.factor) {
            (v1::ClockKind::Real, _) => Ok(Self::Real),
            (v1::ClockKind::Simulated, _) => Ok(Self::Simulated),
            (v1::ClockKind::Scaled, factor @ 1..) => Ok(Self::Scaled { factor }),
            (v1::ClockKind::Scaled, 0) => Err(Error::unreadable("a scaled clock without its factor")),
            (v1::ClockKind::Unspecified, _) => Err(Error::unreadable("the clock's kind is not said")),
        }
    }
}

impl Life {
    pub(crate) fn read(wire: v1::AppState) -> Result<Self, Error> {
        match wire {
            v1::AppState::Active => Ok(Self::Active),
            v1::AppState::Draining => Ok(Self::Draining),
            v1::AppState::Drained => Ok(Self::Drained),
            v1::AppState::Unspecified => Err(Error::unreadable("the app's state is not said")),
        }
    }
}

impl Quality {
    pub(crate) fn read(wire: v1::Quality) -> Result<Self, Error> {
        match wire {
            v1::Quality::Live => Ok(Self::Live),
            v1::Quality::Held => Ok(Self::Held),
            v1::Quality::Assumed => Ok(Self::Assumed),
            v1::Quality::Unspecified => Err(Error::unreadable("a reading's quality is not said")),
        }
    }
}

impl Freshness {
    fn read(wire: v1::Freshness) -> Result<Self, Error> {
        Ok(Self { age: wire.age_ms.map(Millis::new), quality: Quality::read(wire.quality())? })
    }
}

impl FreshnessSet {
    fn read(wire: v1::FreshnessSet) -> Result<Self, Error> {
        let v1::FreshnessSet { solar, grid, battery, grid_carbon, load } = wire;
        let read = |entry: Option<v1::Freshness>| entry.map(Freshness::read).transpose();
        Ok(Self {
            solar: read(solar)?,
            grid: read(grid)?,
            battery: read(battery)?,
            grid_carbon: read(grid_carbon)?,
            load: read(load)?,
        })
    }
}

impl SystemState {
    pub(crate) fn read(wire: v1::EnergySystem) -> Result<Self, Error> {
        let life = Life::read(wire.state())?;
        let v1::EnergySystem {
            app,
            tick,
            coming_tick,
            tick_span_ms,
            solar,
            grid_power_mw,
            grid_carbon_mg_per_kwh,
            battery,
            settings,
            grid_limit_mw,
            solar_weight,
            solar_weight_total,
            supply_mw,
            load_mw,
            debt_uj,
            loans_uj,
            freshness,
            estimated,
            clock,
            capping,
            state: _,
            site,
            wall_ms,
        } = wire;
        Ok(Self {
            app,
            site,
            life,
            tick,
            coming_tick,
            wall: Millis::new(wall_ms),
            tick_span: Millis::new(tick_span_ms),
            clock: Clock::read(present(clock, "the clock")?)?,
            solar: Solar::read(present(solar, "solar")?)?,
            grid_power: Power::new(grid_power_mw),
            grid_carbon: grid_carbon_mg_per_kwh.map(CarbonIntensity::new),
            battery: battery.map(Battery::read),
            settings: SettingsInForce::read(present(settings, "the settings in force")?)?,
            grid_limit: Power::new(grid_limit_mw),
            solar_weight,
            solar_weight_total,
            supply: Power::new(supply_mw),
            load: Power::new(load_mw),
            debt: Energy::new(debt_uj),
            loans: Energy::new(loans_uj),
            freshness: FreshnessSet::read(present(freshness, "freshness")?)?,
            estimated,
            capping: Capping::read(present(capping, "capping")?)?,
        })
    }
}
