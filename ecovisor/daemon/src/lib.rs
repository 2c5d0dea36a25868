//! The shell around the core, as a library: the binary `ecovisord` is its command line, and fuzz targets reach what
//! bytes from outside reach. Nothing else links it; clients use the wire.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attach;
pub mod ca;
mod clock;
pub mod config;
mod denied;
mod doors;
mod engine;
mod forecast;
pub mod fuzzing;
mod history;
mod identity;
mod metrics;
mod plant;
mod reserve;
mod rpc;
pub mod serve;
pub mod simulate;
mod store;
mod trail;
pub mod upkeep;
mod watchdog;

use anyhow::Context as _;
use std::path::Path;

/// How the daemon can fail.
#[derive(Debug)]
pub enum Failure {
    /// Before anything was bound.
    Start(anyhow::Error),
    /// While running.
    Loop(anyhow::Error),
    /// The store is not what was written.
    Damaged(anyhow::Error),
}

/// Reads and parses a configuration.
///
/// # Errors
/// Where it cannot be read, or says what cannot hold.
pub fn read_config(path: &Path) -> anyhow::Result<(config::Config, engine::handle::LoadedConfig)> {
    let toml = config::file::read(path)?;
    let parsed = config::Config::parse(&toml).with_context(|| path.display().to_string())?;
    let loaded =
        engine::handle::LoadedConfig { toml, path: path.display().to_string(), loaded_ms: clock::wall_ms() };
    Ok((parsed, loaded))
}
