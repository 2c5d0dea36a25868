//! Papers made of the books: tables to compute with, and statements to sign. What is written in them comes out of the
//! replay here, not out of the daemon.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`source`] | where the ticks come from: the daemon, a journal file, tables |
//! | [`tables`] | the ticks as CSV or Parquet, whole or not at all |
//! | [`sums`] | what an app's ticks sum up to, over any stretch of time |
//! | [`figures`] | all figures of a statement, and their JSON |
//! | [`plot`] | the pictures, as SVG |
//! | [`page`] | the statement as a page of HTML |

pub mod figures;
pub mod page;
pub mod plot;
pub mod source;
pub mod sums;
pub mod tables;
