//! The rules of the books: what happens to every joule of a site, tick by tick, for all its apps together.
//!
//! One call settles one tick: [`Site::step`] takes what the meters said and returns flows, orders and events.
//! [`Site::command`] changes what holds from the next tick, or refuses. Both are pure: no clock, no file, no float, so
//! the same journal gives the same books, bit for bit, on any machine.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`split`] | moving energy, and dividing it so that parts sum to the whole |
//! | [`battery`] | what a battery with losses accepts and gives |
//! | [`share`] | what an app is entitled to |
//! | [`tree`] | how shares nest: site, groups, apps, and what apps give to children |
//! | [`app`] | an app: its settings, their leases, its life |
//! | [`cap`] | containers, their caps, and lowering them to what an app may draw |
//! | [`carbon`] | rates and budgets that bound what comes from the grid |
//! | [`freshness`] | believing, holding and assuming readings |
//! | [`settle`] | one tick's settlement, in two passes |
//! | [`ledger`] | the flows of a tick and the invariants they obey |
//! | [`command`] | what can be asked, and why it may be refused |
//! | [`site`] | the state, and the one step that changes it |
#![no_std]
#![deny(clippy::float_arithmetic)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;

pub mod app;
pub mod battery;
pub mod cap;
pub mod carbon;
pub mod command;
pub mod event;
pub mod freshness;
pub mod ledger;
pub mod reserve;
pub mod settle;
pub mod share;
pub mod site;
pub mod split;
pub mod tree;

pub use app::{App, AppId, AppName, AppPolicy, Leased, Life, Settings, Shortfall};
pub use battery::{Conversion, Efficiency};
pub use cap::{Container, ContainerId, ContainerName};
pub use carbon::{Budget, BudgetAction, Spent};
pub use command::{Accepted, Command, Refusal};
pub use event::{Event, ReservationEnd, Setting};
pub use freshness::{Meter, Quality, Reading};
pub use ledger::{Account, Broken, Flows, SiteFlows};
pub use reserve::{Reservation, ReservationId, Reservations};
pub use settle::{Metered, SolarRule};
pub use share::{BatteryShare, Share};
pub use site::{BatteryOrder, CapOrder, ContainerUse, Inputs, Orders, Outcome, Readings, Rules, Site, Tick};
pub use tree::NodeId;
