//! Powers of the simulation hold for a UTC minute each, as they are at its middle: so energies add up to the same,
//! whatever ticks they are asked for in.

/// Length of a step, ms.
const MINUTE_MS: u64 = 60_000;

/// The middle of the minute of `utc_ms`.
pub(super) const fn middle(utc_ms: u64) -> u64 {
    (utc_ms - utc_ms % MINUTE_MS).saturating_add(MINUTE_MS / 2)
}

/// ms from `utc_ms` to the next minute, 1 to 60000.
pub(super) const fn left(utc_ms: u64) -> u64 {
    MINUTE_MS - utc_ms % MINUTE_MS
}
