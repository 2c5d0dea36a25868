//! What the site expects: the truth of each hour is gathered tick by tick, a forecast is made at every full hour of the
//! site's clock, and what came is laid beside what was said.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`gather`] | hours out of ticks |
//! | [`keeper`] | what is known and said of sun and carbon, and its file |
//! | [`metrics`] | how far forecasts were off, for Prometheus |
//! | [`place`] | where the panels stand |
//! | [`told`] | a trace or a forecast, looked at in the same way |

mod gather;
mod keeper;
pub mod metrics;
mod place;
mod told;

pub use keeper::Forecasts;
pub use place::panels;
pub use told::{ForecastSource, Quantity, Told};

#[cfg(test)]
pub use told::Look;

#[cfg(test)]
mod tests;
