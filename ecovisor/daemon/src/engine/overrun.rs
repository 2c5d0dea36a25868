//! When the tick loop did not keep up: counted, shown and told, never made up for. A late tick is a longer span, so no
//! energy is lost by it; but whoever promised to answer within a tick should know.

use ecovisor_core::Tick;

/// The longest that a tick may come after it was due without counting as late, in real µs: what one slow device may cost
/// at the most.
pub const LATE_US_MAX: u64 = 50_000;

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The tick began later after it was due than [`LATE_US_MAX`].
    Late,
    /// A reading was not there within its deadline, and the tick went on without it.
    Gather,
    /// From its end to its orders the tick took longer than a tick.
    Work,
}

impl Stage {
    /// As metrics and the wire name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Gather => "gather",
            Self::Work => "work",
        }
    }
}

/// One overrun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// In which tick.
    pub tick: Tick,
    /// Of what.
    pub stage: Stage,
    /// How late, or how long it took, in real µs.
    pub took_us: u64,
}

/// How often each stage overran since the daemon started, and the overruns of the last tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overruns {
    /// Ticks that began late.
    pub late: u64,
    /// Ticks that went on without a reading that was not there in time.
    pub gather: u64,
    /// Ticks whose work took longer than a tick.
    pub work: u64,
    /// Those of the last tick.
    pub of_last: Vec<Overrun>,
}

/// How a tick went, in real µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// From when it was due until it began.
    pub late_us: u64,
    /// How long readings took that were waited for in vain; `None` where all were there.
    pub gather_us: Option<u64>,
    /// From when it began until its orders were handed over.
    pub work_us: u64,
    /// The time until the next is due; zero for a simulated clock, which keeps up with nothing.
    pub period_us: u64,
}

impl Overruns {
    /// Counts a tick's.
    pub fn count(&mut self, tick: Tick, pace: Pace) {
        self.of_last.clear();
        let Pace { late_us, gather_us, work_us, period_us } = pace;
        let mut note = |count: &mut u64, stage, took_us| {
            *count += 1;
            self.of_last.push(Overrun { tick, stage, took_us });
        };
        if late_us > LATE_US_MAX {
            note(&mut self.late, Stage::Late, late_us);
        }
        if let Some(gather_us) = gather_us {
            note(&mut self.gather, Stage::Gather, gather_us);
        }
        if period_us > 0 && work_us > period_us {
            note(&mut self.work, Stage::Work, work_us);
        }
    }

    /// The counts by stage.
    #[must_use]
    pub fn counts(&self) -> [(Stage, u64); 3] {
        [(Stage::Late, self.late), (Stage::Gather, self.gather), (Stage::Work, self.work)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_too_long_is_counted_by_stage_and_only_the_last_ticks_are_kept() {
        let mut overruns = Overruns::default();
        let mut check = |pace, counts: [u64; 3], last: &[(Stage, u64)]| {
            overruns.count(Tick(7), pace);
            assert_eq!(overruns.counts().map(|(_, count)| count), counts, "{pace:?}");
            let of_last: Vec<_> = overruns.of_last.iter().map(|o| (o.stage, o.took_us)).collect();
            assert_eq!(of_last, last, "{pace:?}");
        };
        let second = Pace { period_us: 1_000_000, ..Pace::default() };
        check(Pace { late_us: 50_000, work_us: 1_000_000, ..second }, [0, 0, 0], &[]);
        check(Pace { late_us: 50_001, ..second }, [1, 0, 0], &[(Stage::Late, 50_001)]);
        check(Pace { gather_us: Some(9), ..second }, [1, 1, 0], &[(Stage::Gather, 9)]);
        check(Pace { work_us: 1_000_001, ..second }, [1, 1, 1], &[(Stage::Work, 1_000_001)]);
        check(Pace { work_us: 1_000_001, period_us: 0, ..Pace::default() }, [1, 1, 1], &[]);
    }
}
