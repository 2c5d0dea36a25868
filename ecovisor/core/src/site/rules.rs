//! The rules of a site: what the operator configured, as the core needs it.

use super::readings::INTENSITY_MAX;
use crate::battery::Conversion;
use crate::command::Refusal;
use crate::freshness::{Meter, Patience};
use crate::settle::SolarRule;
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};
use serde::{Deserialize, Serialize};

/// The real battery: the sum of all there are. Capacity counts above the level that the operator never uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteBattery {
    /// Usable energy inside when full.
    pub capacity: Energy,
    /// Most power in, at the terminals.
    pub charge_limit: Power,
    /// Most power out, at the terminals.
    pub discharge_limit: Power,
    /// Its losses.
    pub conversion: Conversion,
}

/// The grid connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridConnection {
    /// Most import.
    pub import_limit: Power,
    /// Most export; zero means the site may not feed in.
    pub export_limit: Power,
}

/// The rules of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The nominal length of a tick, 100 ms to 5 min.
    pub tick: Millis,
    /// The longest a tick may become before it is a gap, for the reserve of a buffered site; at least one tick.
    pub longest_span: Millis,
    /// The battery; `None` where there is none.
    pub battery: Option<SiteBattery>,
    /// The most the panels can make; zero where there are none.
    pub solar_peak: Power,
    /// Which solar apps spend.
    pub solar_rule: SolarRule,
    /// The grid connection; `None` means islanded for good.
    pub grid: Option<GridConnection>,
    /// Whether apps may use what others spill.
    pub redistribute: bool,
    /// Whether spill is exported, up to the connection's limit.
    pub export: bool,
    /// `house`'s weight when solar is divided.
    pub house_weight: u32,
    /// The deficit of `house` beyond which all claims shrink.
    pub tolerance: Energy,
    /// How long readings are believed and held.
    pub patience: Patience,
    /// The intensity that is assumed where none is known; at most 10 kg/kWh, beyond which no reading is believed either.
    pub intensity_worst: CarbonIntensity,
    /// How long set-points hold without being renewed.
    pub order_lease: Millis,
    /// The most apps.
    pub apps_max: u32,
    /// The most containers, of all apps together.
    pub containers_max: u32,
}

impl Default for Rules {
    /// A site with nothing but an unlimited grid, at one tick a second.
    fn default() -> Self {
        Self {
            tick: Millis::from_secs(1),
            longest_span: Millis::from_secs(3),
            battery: None,
            solar_peak: Power::ZERO,
            solar_rule: SolarRule::Live { curtailable: false },
            grid: Some(GridConnection { import_limit: Power::MAX, export_limit: Power::ZERO }),
            redistribute: false,
            export: false,
            house_weight: 0,
            tolerance: Energy::ZERO,
            patience: Patience { young: Millis::from_secs(2), hold_ticks: 3 },
            intensity_worst: CarbonIntensity::from_grams_per_kwh(1_000),
            order_lease: Millis::from_secs(30),
            apps_max: 1 << 20,
            containers_max: 1 << 20,
        }
    }
}

/// The shortest and the longest nominal tick (energy.md, Words).
const TICK_MIN: Millis = Millis::new(100);
const TICK_MAX: Millis = Millis::from_secs(300);

impl Rules {
    /// Whether these rules can hold at all.
    ///
    /// # Errors
    /// [`Refusal::Rules`] naming the contradiction.
    pub fn check(&self) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal::Rules(why));
        if self.tick < TICK_MIN || self.tick > TICK_MAX {
            return refuse("a tick lasts from 100 ms to 5 min");
        }
        if self.longest_span < self.tick {
            return refuse("the longest span is at least one tick");
        }
        if self.solar_rule == SolarRule::Buffered && self.battery.is_none() {
            return refuse("buffered solar needs a battery that holds the buffer");
        }
        if self.battery.is_some_and(|battery| battery.capacity > crate::freshness::READING_MAX) {
            return refuse("a battery holds at most 2^62 µJ, 1.2 GWh");
        }
        if self.intensity_worst > INTENSITY_MAX {
            return refuse("an intensity is at most 10 kg/kWh");
        }
        if self.order_lease.is_zero() {
            return refuse("set-points hold for at least 1 ms");
        }
        Ok(())
    }

    /// Whether the site has what a meter measures, so that it is missed where it says nothing.
    pub(super) fn needs(&self, meter: Meter) -> bool {
        match meter {
            Meter::Solar => !self.solar_peak.is_zero(),
            Meter::BatteryLevel | Meter::BatteryFlow => self.battery.is_some(),
            Meter::Intensity | Meter::Grid => self.grid.is_some(),
            Meter::Load => true,
        }
    }

    /// The battery's losses; none where there is no battery.
    #[must_use]
    pub fn conversion(&self) -> Conversion {
        self.battery.map_or(Conversion::LOSSLESS, |battery| battery.conversion)
    }
}
