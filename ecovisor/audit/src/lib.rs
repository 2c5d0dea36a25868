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
//! | [`raw`] | whether a tick's books rest on what was read |
//! | [`mod@verify`] | replay, recheck, compare |
//! | [`columns`] | what the tables of the ledger have for columns |
//! | [`table`] | the ledger as CSV, and back |
//! | [`digest`] | every record carries a hash of all that came before it |
//! | [`cells`] | numbers in columns, coded by their differences |
//! | [`block`] | a stretch of the journal in columns, a fraction of its size |
//! | [`rollup`] | what the ticks of a minute, an hour, a day came to |
//! | [`seal`] | what stays of a day for ever |
//! | [`history`] | the past on disk: raw days, minutes, hours, seals |
//! | [`parquet`] | the same tables as Parquet (feature `parquet`) |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod block;
pub mod books;
pub mod cells;
pub mod chain;
pub mod columns;
pub mod digest;
pub mod frame;
pub mod history;
pub mod journal;
mod old;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod raw;
pub mod record;
pub mod rollup;
pub mod seal;
pub mod snapshot;
pub mod table;
pub mod verify;

#[cfg(test)]
mod life;

pub use books::{Difference, TickRows};
pub use chain::Link;
pub use digest::LinkedRecord;
pub use frame::{FrameError, Kind};
pub use journal::{Entry, Grants, Linked, Note, Target};
pub use record::Record;
pub use rollup::{Level, Rollup};
pub use seal::{Seal, SealError};
pub use snapshot::{Applied, Checkpoint, Snapshot};
pub use verify::{Fault, Report, Verifier, compare, verify};
