//! Stdin as a channel of lines, which closes when stdin ends. Read on a thread of its own, so that a process can end
//! while stdin is still open.

use std::io::BufRead as _;
use tokio::sync::mpsc;

/// Lines that wait to be heard.
const WAITING_MAX: usize = 16;

/// The lines of stdin from now on.
pub fn lines() -> mpsc::Receiver<String> {
    let (tell, hear) = mpsc::channel(WAITING_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            // What cannot be read is an end, and so is an end of listening.
            let Ok(line) = line else { return };
            if tell.blocking_send(line).is_err() {
                return;
            }
        }
    });
    hear
}
