//! Advice on what is to come: the sun over a place and the grid's carbon intensity, hour by hour, with quantiles that
//! rest on how far earlier forecasts were off.
//!
//! ```text
//!   truth of an hour -> [Desk]  scores what was forecast of it, learns   -> errors by horizon
//!                          |
//!                      issue at every full hour: a middle from a model, quantiles from the errors -> [Outlook]
//! ```
//! Floats are allowed here, since nothing here is an account: what is promised on a forecast reaches the books as a
//! command in integers. Nothing here reads a clock, a file or a socket; hours are numbered from the Unix epoch, in UTC.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`desk`] | one quantity: its past, its forecasts, their errors |
//! | [`outlook`] | what is said of the coming hours |
//! | [`errors`] | past errors by horizon, and the quantiles and figures made of them |
//! | [`hours`] | a bounded past, an hour a figure |
//! | [`persistence`] | what the past says of an hour to come |
//! | [`solar`] | an array's power under a clear sky |
//! | [`sun`] | where the sun stands |
//! | [`provided`] | somebody else's forecast, cut into hours |

pub mod desk;
pub mod errors;
mod float;
pub mod hours;
pub mod outlook;
pub mod persistence;
pub mod provided;
pub mod solar;
pub mod sun;

pub use desk::{Desk, Settings};
pub use errors::{LEADS, LeadError};
pub use float::{count, float, floor};
pub use outlook::{Basis, Outlook, Quantiles};
pub use solar::Panels;
