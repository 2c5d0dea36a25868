//! "Can I have 400 W for 3 hours with 95 %?": what an app may count on, hour by hour, and the plan or the counter-offers
//! that follow. What is planned here is admitted by the core, which trusts none of it but the sun.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`backing`] | what there is, cut at every moment at which it changes |
//! | [`plan`] | whether it is enough, and what backs which part |
//! | [`offers`] | what would be granted instead |
//! | [`watch`] | whether what was promised still holds, at every full hour |

mod backing;
mod offers;
mod plan;
pub mod watch;

pub use backing::Backing;
pub use offers::{CounterOffers, counter_offers};
pub use plan::{Ask, Plan, answer};

#[cfg(test)]
mod tests;
