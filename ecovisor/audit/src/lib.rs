//! The ledger's format and its verification: how journal, snapshots and records are written, and how anybody who has
//! them can recompute every figure without trusting the daemon that wrote them.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`frame`] | every stored value says its version, its kind and its checksum |
//! | [`chain`] | every journal entry carries a hash of all that came before it |
//! | [`journal`] | what moves the state: commands, ticks, notes |
//! | [`snapshot`] | the state, and the one function that moves it |
//! | [`record`] | what a tick led to, readable alone |
//! | [`books`] | whether a tick's tables add up, and follow from the tick before |
//! | [`mod@verify`] | replay, recheck, compare |
//! | [`table`] | the ledger as CSV, and back |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod books;
pub mod chain;
pub mod frame;
pub mod journal;
pub mod record;
pub mod snapshot;
pub mod table;
pub mod verify;

#[cfg(test)]
mod life;

pub use books::{Difference, TickRows};
pub use chain::Link;
pub use frame::{FrameError, Kind};
pub use journal::{Entry, Grants, Linked, Note, Target};
pub use record::Record;
pub use snapshot::{Applied, Checkpoint, Snapshot};
pub use verify::{Fault, Report, Verifier, compare, verify};
