//! Power, energy, time and carbon as unsigned integers, chosen so that 1 mW × 1 ms is exactly 1 µJ and integrating
//! over a tick never rounds.
//!
//! Direction is in the name of whatever holds a quantity, never in a sign. Arithmetic between quantities exists only
//! where its meaning is exact; everything that rounds says so in its name.
//!
//! ```
//! use ecovisor_units::{Energy, Millis, Power};
//! let one_hour = Millis::new(3_600_000);
//! assert_eq!(Power::from_watts(1).over(one_hour), Energy::from_watt_hours(1));
//! assert_eq!("1.5 kWh".parse::<Energy>(), Ok(Energy::from_watt_hours(1_500)));
//! ```
#![no_std]
#![deny(clippy::float_arithmetic)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;

mod parse;
mod quantity;
mod show;

pub use parse::InvalidQuantity;
pub use quantity::{
    Carbon, CarbonIntensity, CarbonMass, CarbonRate, Energy, EnergySum, Millis, Power, Ppm, WattHours,
};
