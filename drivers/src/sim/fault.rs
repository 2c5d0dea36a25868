//! How a simulated meter fails, and when.

use super::meter::Meter;
use ecovisor_units::{Energy, Millis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One failure of one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which meter fails.
    pub meter: Meter,
    /// How.
    pub kind: FaultKind,
    /// From when on, in ms of site time (the sum of all spans so far).
    pub from: Millis,
    /// Until before when. It acts in every advance that has part of [from, to).
    pub to: Millis,
}

/// How a meter fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// No answer.
    Silence,
    /// A counter steps forward by that much, once, at the fault's start; a level reads that much more all the while.
    Jump(Energy),
    /// A counter stands just before its range at the fault's start, as if it had run that long, and wraps with the
    /// next µJ. No fault of a level.
    Wrap,
    /// A counter begins at zero again at the fault's start. No fault of a level.
    Restart,
    /// It counts or shows that many millionths of the truth; 1,000,000 is the truth, 0 is a stuck meter.
    Lie {
        /// Parts per million, also above the whole.
        factor_ppm: u32,
    },
}

impl Fault {
    /// Whether the fault acts in the advance [start, end) of site time.
    pub(super) fn acts(&self, start: Millis, end: Millis) -> bool {
        self.from < end && self.to > start
    }

    /// Whether the fault begins in the advance [start, end) of site time.
    pub(super) fn begins(&self, start: Millis, end: Millis) -> bool {
        self.from >= start && self.from < end && self.to > self.from
    }
}

/// Longest fault out of a seed: a thousandth of the time looked at, but at least ten seconds.
const LONGEST_PART: u64 = 1_000;
const LONGEST_MIN: u64 = 10_000;

/// That many faults within the first `horizon` of site time, out of a seed: the same seed gives the same faults.
#[must_use]
pub fn random(seed: u64, horizon: Millis, count: usize) -> Vec<Fault> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: u64| random.next_u64() % bound.max(1);
    let longest = (horizon.get() / LONGEST_PART).max(LONGEST_MIN);
    let one = |_| {
        let from = below(horizon.get());
        let to = from.saturating_add(1 + below(longest));
        let place = usize::try_from(below(8)).unwrap_or(0);
        let meter = Meter::ALL.get(place).copied().unwrap_or(Meter::Load);
        let kind = match below(5) {
            0 => FaultKind::Silence,
            1 => FaultKind::Jump(Energy::new(below(1 << 60))),
            2 => FaultKind::Wrap,
            3 => FaultKind::Restart,
            _ => FaultKind::Lie { factor_ppm: u32::try_from(below(3_000_000)).unwrap_or(0) },
        };
        Fault { meter, kind, from: Millis::new(from), to: Millis::new(to) }
    };
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_acts_from_its_start_until_before_its_end() {
        let (from, to) = (Millis::new(10), Millis::new(20));
        let fault = Fault { meter: Meter::Load, kind: FaultKind::Silence, from, to };
        for (start, end, acts, begins) in [
            (0, 10, false, false),
            (0, 11, true, true),
            (10, 11, true, true),
            (11, 12, true, false),
            (19, 30, true, false),
            (20, 30, false, false),
        ] {
            let (start, end) = (Millis::new(start), Millis::new(end));
            assert_eq!(fault.acts(start, end), acts, "acts in {start}..{end}");
            assert_eq!(fault.begins(start, end), begins, "begins in {start}..{end}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        let day = Millis::from_secs(86_400);
        assert_eq!(random(1, day, 20), random(1, day, 20));
        assert_ne!(random(1, day, 20), random(2, day, 20));
        assert!(random(3, day, 200).iter().all(|fault| fault.from < day && fault.from < fault.to));
    }
}
