//! A settled tick, and what is known of the coming one.

use crate::container::Container;
use crate::error::present;
use crate::flows::Flows;
use crate::setting::Setting;
use crate::system::{Battery, Solar};
use crate::{Error, Refusal};
use ecovisor_proto::v1;
use ecovisor_units::{CarbonIntensity, Millis, Power};

/// A settled tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Its number; the first is zero.
    pub tick: u64,
    /// Its start by the site's wall clock, since 1970 UTC.
    pub wall_start: Millis,
    /// Its length.
    pub span: Millis,
    /// The app's flows in it.
    pub flows: Flows,
    /// What is known of the coming tick.
    pub coming: ComingTick,
    /// The app's containers.
    pub containers: Vec<Container>,
    /// Whether this one entry stands for a gap (restart, suspend) of several ticks.
    pub gap: bool,
    /// Whether its figures rest on a held or assumed reading.
    pub estimated: bool,
    /// Ticks between the last one told and this one that were not told: this reader was slow, or not connected.
    pub missed: u64,
    /// Lock step only: settings made since the last tick that were refused after they had been taken.
    pub refused: Vec<RefusedSetting>,
}

/// What is known of the coming tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComingTick {
    /// Its number.
    pub tick: u64,
    /// Solar.
    pub solar: Solar,
    /// Carbon intensity in force; `None` without a grid connection.
    pub grid_carbon: Option<CarbonIntensity>,
    /// Virtual battery after the settled tick; `None` where the app has none.
    pub battery: Option<Battery>,
    /// What the app is entitled to use: solar, battery and grid together.
    pub supply: Power,
}

/// A setting that was refused after it had been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSetting {
    /// The setting.
    pub setting: Setting,
    /// Why.
    pub refusal: Refusal,
}

impl Tick {
    /// The container of that name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Mean power of the app's load.
    #[must_use]
    pub fn load(&self) -> Power {
        self.flows.load.mean_power(self.span)
    }

    pub(crate) fn read(wire: v1::Tick) -> Result<Self, Error> {
        let v1::Tick { tick, wall_start_ms, span_ms, flows, coming, containers, gap, estimated, missed } =
            wire;
        Ok(Self {
            tick,
            wall_start: Millis::new(wall_start_ms),
            span: Millis::new(span_ms),
            flows: Flows::read(present(flows, "a tick's flows")?)?,
            coming: ComingTick::read(present(coming, "the coming tick")?)?,
            containers: Container::read_all(containers)?,
            gap,
            estimated,
            missed,
            refused: Vec::new(),
        })
    }
}

impl ComingTick {
    fn read(wire: v1::ComingTick) -> Result<Self, Error> {
        let v1::ComingTick { tick, solar, grid_carbon_mg_per_kwh, battery, supply_mw } = wire;
        Ok(Self {
            tick,
            solar: Solar::read(present(solar, "the coming tick's solar")?)?,
            grid_carbon: grid_carbon_mg_per_kwh.map(CarbonIntensity::new),
            battery: battery.map(Battery::read),
            supply: Power::new(supply_mw),
        })
    }
}
