//! Waiting for an event of another process, with an end: what has not happened by then does not happen.

use anyhow::{Result, bail};
use std::time::Duration;

/// Longest that anything may take on a machine that is busy with other tests: a start takes some tens of milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often another process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until there is something.
///
/// # Errors
/// Where there is nothing within [`PATIENCE`]; `what` says what was waited for.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let mut looks = tokio::time::interval(LOOK);
    let looking = async {
        loop {
            looks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(seen) => Ok(seen),
        Err(_) => bail!("{what}: not within {} s", PATIENCE.as_secs()),
    }
}

/// An answer that must come.
///
/// # Errors
/// Where it does not come within [`PATIENCE`], or is an error.
pub async fn answer<T, E: Into<anyhow::Error>>(
    what: &str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| error.into().context(what.to_owned())),
        Err(_) => bail!("{what}: no answer within {} s", PATIENCE.as_secs()),
    }
}
