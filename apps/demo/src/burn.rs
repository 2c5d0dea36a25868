//! A worker's body: burns the part of a core that it is told on stdin, one figure in thousandths of a core a line, and
//! ends when stdin does. So it outlives nobody, whatever becomes of the app that started it.

use crate::orders;
use std::hint::black_box;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Work and rest alternate in this period: shorter than a tick, longer than the kernel's time slices.
const PERIOD: Duration = Duration::from_millis(100);

/// Rounds between two looks at the clock, about a tenth of a millisecond.
const ROUNDS: u64 = 50_000;

/// A whole core.
pub const CORE_MILLI: u32 = 1_000;

/// Burns until stdin ends.
pub async fn burn() {
    let mut orders = orders::lines();
    let (mut millicores, mut seed) = (0, 1);
    loop {
        let begun = Instant::now();
        let busy = busy_part(millicores);
        while begun.elapsed() < busy {
            seed = work(seed);
        }
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                // What is no figure leaves things as they are.
                Some(order) => millicores = order.trim().parse().unwrap_or(millicores),
                None => return,
            },
            () = sleep_until(begun + PERIOD) => {}
        }
    }
}

/// How long a period is worked through; at most all of it.
fn busy_part(millicores: u32) -> Duration {
    PERIOD.saturating_mul(millicores.min(CORE_MILLI)) / CORE_MILLI
}

/// Something that the compiler cannot leave out: a xorshift generator (Marsaglia 2003), round after round.
fn work(seed: u64) -> u64 {
    let mut x = black_box(seed);
    for _ in 0..ROUNDS {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_core_is_that_part_of_the_period() {
        for (millicores, millis) in [(0, 0), (250, 25), (1_000, 100), (5_000, 100)] {
            assert_eq!(busy_part(millicores), Duration::from_millis(millis));
        }
    }

    #[test]
    fn work_goes_on_from_where_it_was() {
        assert_ne!(work(1), work(work(1)));
    }
}
