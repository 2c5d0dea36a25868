//! Where the panels stand, as a forecast needs it.

use crate::config::{Config, SkyChoice};
use ecovisor_drivers::data::{self, Place};
use ecovisor_forecast::Panels;

/// The configured panels, where their place is known: `[forecast]` says it, else the emulated site's is taken.
#[must_use]
pub fn panels(config: &Config) -> Option<Panels> {
    let peak = config.solar.as_ref()?.peak.0;
    let said = &config.forecast;
    let place = match (said.latitude, said.longitude) {
        (Some(latitude), Some(longitude)) => Place::new(latitude, longitude),
        _ => emulated(config),
    }?;
    let facing = Panels::facing_sun(place.latitude, place.longitude, peak);
    let (tilt, azimuth) = (said.tilt.unwrap_or(facing.tilt), said.azimuth.unwrap_or(facing.azimuth));
    Some(Panels { tilt, azimuth, ..facing })
}

/// Where the emulated sky is.
fn emulated(config: &Config) -> Option<Place> {
    let sim = config.sim.as_ref()?;
    let station = data::station(&sim.station)?;
    let zone = config.carbon.as_ref().and_then(|carbon| carbon.zone.as_deref()).and_then(data::zone);
    let home = zone.map_or(station.place, |zone| zone.place);
    match sim.sky {
        SkyChoice::Tmy3 => Some(station.place),
        SkyChoice::Typical | SkyChoice::Clouds => {
            let (latitude, longitude) = (sim.latitude, sim.longitude);
            Place::new(latitude.unwrap_or(home.latitude), longitude.unwrap_or(home.longitude))
        }
    }
}
