//! Whole sites under test: the programs as they were built are started, spoken to as any stranger would, and stopped;
//! nothing here links the daemon. What a test needs and the machine lacks is named: `skipped: because ...`.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`programs`] | which programs are under test, and that they are those of these sources |
//! | [`site`] | a daemon in a directory of its own, with its clients |
//! | [`wait`] | waiting for an event, with an end |
//! | [`balance`] | the invariants of the books, recomputed from the wire |
//! | [`table`] | CSV by column name |
//! | [`machine`] | what this machine can do |
//! | [`manager`] | what a daemon tells the service manager |
//! | [`process`] | what the kernel says of a process |
//! | [`raw`] | HTTP/2 by hand, for callers that never read |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod balance;
pub mod machine;
pub mod manager;
pub mod process;
pub mod programs;
pub mod raw;
pub mod site;
pub mod table;
pub mod wait;
