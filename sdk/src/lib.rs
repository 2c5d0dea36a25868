//! What an app sees of its virtual energy system: solar, battery, grid and carbon, tick by tick, and the settings with
//! which it steers its share.
//!
//! An app is written once, against [`VirtualEnergy`]. Live it is given a [`Session`], whose settings end when the app
//! does; in a simulation a [`Lockstep`], which waits for it at every tick; in its tests a [`fake::Fake`].
//!
//! ```
//! use ecovisor_sdk::{CarbonIntensity, Error, Power, VirtualEnergy, fake};
//!
//! /// Charges while grid energy is clean.
//! async fn charge_when_clean(energy: &mut impl VirtualEnergy) -> Result<(), Error> {
//!     let clean = CarbonIntensity::from_grams_per_kwh(200);
//!     while let Some(tick) = energy.next_tick().await? {
//!         let charge = tick.coming.grid_carbon.is_some_and(|carbon| carbon < clean);
//!         energy.set_battery_charge_rate(if charge { Power::from_watts(40) } else { Power::ZERO }).await?;
//!     }
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let hours = [450, 180].map(|grams| fake::carbon(CarbonIntensity::from_grams_per_kwh(grams)));
//! let mut energy = fake::Fake::new(hours);
//! charge_when_clean(&mut energy).await?;
//! assert_eq!(energy.made().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Live, the same function runs so:
//!
//! ```no_run
//! # async fn charge_when_clean(_: &mut impl ecovisor_sdk::VirtualEnergy) -> Result<(), ecovisor_sdk::Error> { Ok(()) }
//! # async fn live() -> Result<(), ecovisor_sdk::Error> {
//! use ecovisor_sdk::EnergySystem;
//! let mut energy = EnergySystem::connect().await?.session().await?;
//! charge_when_clean(&mut energy).await
//! # }
//! ```
//!
//! The only type of the wire in the API is [`Reason`]; the feature `operator` adds the client for tools that run a site,
//! which speaks in messages of the wire.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod connect;
mod container;
mod energy;
mod error;
mod event;
pub mod fake;
mod flows;
mod lockstep;
#[cfg(feature = "operator")]
pub mod operator;
mod reserve;
mod session;
mod setting;
mod share;
mod system;
mod tick;
mod usage;
mod watch;

pub use client::{EnergySystem, Unleased};
pub use connect::{Address, ENV_CA, ENV_CERT, ENV_KEY, ENV_SOCKET, TlsIdentity};
pub use container::{Capping, Container, Target};
pub use ecovisor_units::{
    Carbon, CarbonIntensity, CarbonMass, CarbonRate, Energy, EnergySum, Millis, Power, Ppm, WattHours,
};
pub use energy::VirtualEnergy;
pub use error::{Error, Figure, Reason, Refusal};
pub use event::{Event, EventKind, Thresholds};
pub use flows::Flows;
pub use lockstep::Lockstep;
pub use reserve::{CounterOffer, Reservation, ReservationPart, ReserveAnswer, Wish};
pub use session::{DroppedSetting, LEASE_DEFAULT, Session};
pub use setting::{
    Accepted, BudgetAction, CarbonBudget, InForce, Lease, Origin, Setting, SettingsInForce, Subject,
};
pub use share::{Child, Divided, Share};
pub use system::{Battery, Clock, Freshness, FreshnessSet, Life, Quality, Solar, SolarBasis, SystemState};
pub use tick::{ComingTick, RefusedSetting, Tick};
pub use usage::{
    ByContainer, ContainerUsage, Forecast, ForecastErrors, ForecastQuery, Quantiles, Series, UsageBucket,
    UsageLevel, UsageQuery,
};
pub use watch::{Events, Notice, Ticks};
