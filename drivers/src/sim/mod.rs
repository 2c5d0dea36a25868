//! An emulated site, a driver like the others: the sun over a place, panels, a battery, a grid connection, and meters
//! that can fail. Deterministic for a seed: the same calls give the same readings on one machine. (The sun is float
//! physics, whose last bits may differ between machines; what is replayed are journaled readings, never the sun.)
//!
//! ```text
//!   sun -> clear_sky / weather -> panel --+
//!                                         v
//!                        battery <-> site (balance) <-> grid
//!                                         |
//!                                      meters <- faults
//! ```

mod balance;
pub mod battery;
pub mod clear_sky;
pub mod clouds;
pub mod fault;
mod lease;
pub mod meter;
mod minutes;
#[cfg(test)]
mod oracle;
pub mod panel;
pub mod site;
pub mod sky;
pub mod sun;
pub mod workload;

pub use battery::{Battery, BatteryConfig, BatterySetPoint, InvalidBattery};
pub use clouds::{Clouds, Seeded, Typical};
pub use fault::{Fault, FaultKind};
pub use meter::{Meter, PerMeter};
pub use panel::Panel;
pub use site::{Grid, Meters, Site, SiteConfig};
pub use sky::{ClearSky, Tmy3};
pub use workload::{Demand, Workload};
