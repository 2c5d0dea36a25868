//! How far forecasts were off: pairs of what was said and what came, by horizon, in a bounded past; and the quantiles and
//! figures made of them.
//!
//! A quantile of the coming error is an order statistic of the past ones: of n, the k-th smallest stands for the level
//! k/(n+1), which holds without any assumption on how errors are spread, as long as the coming one is drawn like the past
//! ones (the rank argument of conformal prediction). A level that n pairs cannot tell is not made up: it is `None`.

use crate::float::{count, float, index};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Horizons at which forecasts are compared with what came, in hours. A step in between is measured by the next longer
/// one, which errs more.
pub const LEADS: [u64; 6] = [1, 3, 6, 12, 24, 48];

/// Classes of hours that are kept apart, at most.
pub const CLASSES: usize = 4;

/// Pairs kept of each horizon: five weeks of hours.
const PAIRS_KEPT: usize = 840;

/// Pairs of a class from which its own quantiles are taken; with fewer, those of all classes. Nineteen tell 5 and 95 %.
const CLASS_PAIRS_MIN: usize = 19;

/// One forecast and what came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Which class of hours.
    pub class: usize,
    /// What came less what was expected, over the hour's scale.
    pub scaled: f64,
    /// The same in the quantity's unit.
    pub error: f64,
    /// Whether what came lay between p10 and p90.
    pub inside: bool,
}

/// The pairs, by horizon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    leads: [VecDeque<Pair>; LEADS.len()],
}

/// How good forecasts of one horizon were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeadError {
    /// The horizon, in hours.
    pub lead_hours: u64,
    /// Pairs that the figures rest on.
    pub pairs: usize,
    /// Mean absolute error, in the quantity's unit.
    pub mae: f64,
    /// Mean of what came less what was expected; negative where forecasts were too high.
    pub bias: f64,
    /// Part of what came that lay between p10 and p90, 0 to 1; 0.8 is as promised.
    pub coverage: f64,
}

impl Errors {
    /// Takes a pair of the horizon at `place` in [`LEADS`].
    pub(crate) fn note(&mut self, place: usize, pair: Pair) {
        let Some(pairs) = self.leads.get_mut(place) else { return };
        pairs.push_back(pair);
        if pairs.len() > PAIRS_KEPT {
            pairs.pop_front();
        }
    }

    /// Each horizon that has pairs.
    #[must_use]
    pub fn report(&self) -> Vec<LeadError> {
        let leads = LEADS.into_iter().zip(&self.leads).filter(|(_, pairs)| !pairs.is_empty());
        leads
            .map(|(lead_hours, pairs)| {
                let mean = |of: fn(&Pair) -> f64| pairs.iter().map(of).sum::<f64>() / count(pairs.len());
                LeadError {
                    lead_hours,
                    pairs: pairs.len(),
                    mae: mean(|pair| pair.error.abs()),
                    bias: mean(|pair| pair.error),
                    coverage: mean(|pair| float(u64::from(pair.inside))),
                }
            })
            .collect()
    }

    /// The pairs in order of size.
    #[must_use]
    pub(crate) fn spread(&self) -> Spread {
        let sorted = |pairs: &VecDeque<Pair>, of: Option<usize>| {
            let mut errors: Vec<f64> =
                pairs.iter().filter(|pair| of.is_none_or(|of| of == pair.class)).map(|p| p.scaled).collect();
            errors.sort_unstable_by(f64::total_cmp);
            errors
        };
        let lead = |pairs| Sizes {
            all: sorted(pairs, None),
            by_class: std::array::from_fn(|class| sorted(pairs, Some(class))),
        };
        Spread { leads: self.leads.iter().map(lead).collect() }
    }
}

/// Errors in order of size, as they were when a forecast was issued.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    leads: Vec<Sizes>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Sizes {
    all: Vec<f64>,
    by_class: [Vec<f64>; CLASSES],
}

impl Spread {
    /// The error that a coming one stays below with probability `level` (0 to 1), in the hour's scale, at `lead` hours
    /// ahead in an hour of `class`; `None` where too few pairs are known to tell.
    #[must_use]
    pub fn quantile(&self, lead: u64, class: usize, level: f64) -> Option<f64> {
        let place = LEADS.iter().position(|&hours| lead <= hours)?;
        let sizes = self.leads.get(place)?;
        let own = sizes.by_class.get(class).filter(|errors| errors.len() >= CLASS_PAIRS_MIN);
        own.and_then(|errors| ranked(errors, level)).or_else(|| ranked(&sizes.all, level))
    }
}

/// The order statistic of `level` among `errors` (sorted), between two of them in proportion.
fn ranked(errors: &[f64], level: f64) -> Option<f64> {
    let rank = level * (count(errors.len()) + 1.0);
    if !(1.0..=count(errors.len())).contains(&rank) {
        return None;
    }
    let below = index(rank, errors.len());
    let (low, high) = (*errors.get(below - 1)?, errors.get(below).or(errors.last())?);
    Some(low + (high - low) * (rank - count(below)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn errors(of: impl IntoIterator<Item = f64>, class: usize) -> Errors {
        let mut errors = Errors::default();
        for error in of {
            errors.note(0, Pair { class, scaled: error, error, inside: error.abs() < 3.0 });
        }
        errors
    }

    #[test]
    fn a_quantile_is_the_order_statistic_of_its_rank() {
        let nine = errors([5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 8.0, 4.0, 6.0], 0).spread();
        for (level, expected) in [(0.1, 1.0), (0.5, 5.0), (0.9, 9.0), (0.25, 2.5)] {
            assert_eq!(nine.quantile(1, 0, level), Some(expected), "{level}");
        }
    }

    #[test]
    fn a_level_that_the_pairs_cannot_tell_is_none() {
        let nine = errors([1.0; 9], 0).spread();
        assert_eq!(nine.quantile(1, 0, 0.099), None);
        assert_eq!(nine.quantile(1, 0, 0.901), None);
        assert_eq!(nine.quantile(2, 0, 0.5), None, "no pairs at three hours");
        assert_eq!(nine.quantile(49, 0, 0.5), None, "no forecast goes that far");
    }

    #[test]
    fn a_class_with_few_pairs_borrows_from_all() {
        let mut some = errors((0..30).map(f64::from), 0);
        some.note(0, Pair { class: 1, scaled: 1_000.0, error: 0.0, inside: true });
        let spread = some.spread();
        assert_eq!(spread.quantile(1, 1, 0.5), spread.quantile(1, 3, 0.5));
        assert_eq!(spread.quantile(1, 0, 0.5), Some(14.5));
    }

    #[test]
    fn the_report_names_error_bias_and_coverage() {
        let report = errors([2.0, -1.0, 4.0, -1.0], 0).report();
        assert_eq!(report, [LeadError { lead_hours: 1, pairs: 4, mae: 2.0, bias: 1.0, coverage: 0.75 }]);
        assert_eq!(errors((0..2_000).map(f64::from), 0).report()[0].pairs, PAIRS_KEPT);
    }

    proptest! {
        #[test]
        fn quantiles_rise_with_their_level(
            of in prop::collection::vec(-1e6_f64..1e6, 1..60), one in 0.0_f64..1.0, other in 0.0_f64..1.0,
        ) {
            let spread = errors(of, 2).spread();
            if let (Some(low), Some(high)) =
                (spread.quantile(1, 2, one.min(other)), spread.quantile(1, 2, one.max(other))) {
                prop_assert!(low <= high);
            }
        }
    }
}
