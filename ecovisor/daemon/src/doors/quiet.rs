//! Lines of the log that strangers can cause: one of a kind a second, with how many were left out before it, so that
//! nobody fills the disk by knocking.

use crate::clock;
use std::sync::{Mutex, PoisonError};

/// The shortest time between two lines of a kind, in µs.
const PAUSE_US: u64 = 1_000_000;

/// One kind of line.
#[derive(Debug, Default)]
pub struct Quiet(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last_us: Option<u64>,
    untold: u64,
}

impl Quiet {
    /// Where a line is due: how many before it were left out.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        self.due_at(clock::boot_us())
    }

    fn due_at(&self, now_us: u64) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last_us.is_some_and(|last| now_us.saturating_sub(last) < PAUSE_US) {
            told.untold = told.untold.saturating_add(1);
            return None;
        }
        told.last_us = Some(now_us);
        Some(std::mem::take(&mut told.untold))
    }
}

/// What the doors say of callers whom they do not let in.
#[derive(Debug, Default)]
pub struct Lines {
    /// There is no room.
    pub crowded: Quiet,
    /// The system gave no connection.
    pub unaccepted: Quiet,
    /// TLS was not agreed on.
    pub unshaken: Quiet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let quiet = Quiet::default();
        assert_eq!(quiet.due_at(5), Some(0));
        assert_eq!((quiet.due_at(6), quiet.due_at(5 + PAUSE_US - 1)), (None, None));
        assert_eq!(quiet.due_at(5 + PAUSE_US), Some(2));
        assert_eq!(quiet.due_at(9 + 2 * PAUSE_US), Some(0));
    }
}
