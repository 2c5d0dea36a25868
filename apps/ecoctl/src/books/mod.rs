//! The ledger outside of the daemon: its rows as flat tables, its journal as a file, and the replay that checks the one
//! against the other.

pub mod file;
pub mod replay;
pub mod rows;
pub mod seals;
