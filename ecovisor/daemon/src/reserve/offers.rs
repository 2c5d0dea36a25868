//! What would be granted instead: each counter-offer is a question that was tried and answered with yes.

use super::backing::Backing;
use super::plan::{Ask, answer};
use ecovisor_units::{Millis, Power, Ppm};

/// Counter-offers; `None` where nothing of that kind would be granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterOffers {
    /// The most power, all else as asked.
    pub most_power: Option<Ask>,
    /// The longest duration.
    pub longest: Option<Ask>,
    /// The earliest begin within the horizon, beyond what was asked.
    pub earliest: Option<Ask>,
    /// The highest confidence.
    pub surest: Option<Ask>,
}

/// Confidences that are tried, in ppm.
const CONFIDENCES: [u32; 12] = [
    995_000, 990_000, 980_000, 970_000, 950_000, 900_000, 850_000, 800_000, 750_000, 700_000, 600_000,
    500_000,
];

/// Durations differ by whole minutes, powers by whole watts where there is one.
const MINUTE_MS: u64 = 60_000;
const WATT_MW: u64 = 1_000;

/// What would be granted instead of `ask`, which was not.
#[must_use]
pub fn counter_offers(backing: &Backing, ask: &Ask) -> CounterOffers {
    let granted =
        |ask: Ask| answer(backing, &ask).map(|plan| Ask { earliest: plan.from, latest: plan.from, ..ask });
    CounterOffers {
        most_power: most_power(ask, granted),
        longest: longest(ask, granted),
        earliest: granted(Ask { earliest: ask.latest.max(ask.earliest), latest: backing.end(), ..*ask }),
        surest: CONFIDENCES
            .into_iter()
            .filter(|ppm| *ppm < ask.confidence.get())
            .find_map(|ppm| granted(Ask { confidence: Ppm::new(ppm)?, ..*ask })),
    }
}

fn most_power(ask: &Ask, granted: impl Fn(Ask) -> Option<Ask>) -> Option<Ask> {
    let with = |mw: u64| granted(Ask { power: Power::new(mw), ..*ask });
    let (best, most) = greatest(ask.power.get(), &with)?;
    let whole = most / WATT_MW * WATT_MW;
    if whole > 0 { with(whole).or(Some(best)) } else { Some(best) }
}

fn longest(ask: &Ask, granted: impl Fn(Ask) -> Option<Ask>) -> Option<Ask> {
    let with = |minutes: u64| granted(Ask { duration: Millis::new(minutes * MINUTE_MS), ..*ask });
    greatest(ask.duration.get().div_ceil(MINUTE_MS), &with).map(|(best, _)| best)
}

/// The greatest figure from 1 to below `refused` that is granted, by halving.
fn greatest(refused: u64, with: &impl Fn(u64) -> Option<Ask>) -> Option<(Ask, u64)> {
    let (mut low, mut high, mut best) = (0, refused, None);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match with(middle) {
            Some(ask) => (low, best) = (middle, Some((ask, middle))),
            None => high = middle,
        }
    }
    best
}
