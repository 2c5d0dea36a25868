//! Moving energy and dividing it: the two primitives under every flow.

use alloc::vec::Vec;
use ecovisor_units::{Energy, EnergySum};

/// Moves as much as `from`, `to` and `limit` all allow; returns what moved. Nothing is ever added without being taken.
pub fn carry(from: &mut Energy, to: &mut Energy, limit: Energy) -> Energy {
    let moved = limit.min(*from).min(*to);
    *from -= moved;
    *to -= moved;
    moved
}

/// floor(a × b ÷ c), exact over the whole range of u128; `None` where c is zero or the result does not fit.
///
/// The product of two u128 is taken in four 64-bit limbs and divided bit by bit; figures of real sites never leave the
/// first branch.
#[must_use]
pub fn mul_div_floor(a: u128, b: u128, c: u128) -> Option<u128> {
    if c == 0 {
        return None;
    }
    if let (Ok(a), Ok(b), Ok(c)) = (u64::try_from(a), u64::try_from(b), u64::try_from(c)) {
        return Some(quotient_and_rest(u128::from(a) * u128::from(b), c).0);
    }
    if let Some(product) = a.checked_mul(b) {
        return Some(match (u64::try_from(product), u64::try_from(c)) {
            (Ok(product), Ok(c)) => u128::from(product / c),
            _ => product / c,
        });
    }
    let (high, low) = wide_product(a, b);
    (high < c).then(|| wide_quotient(high, low, c))
}

/// a ÷ b and what is left of it; as a division of u64 where `a` is one.
fn quotient_and_rest(a: u128, b: u64) -> (u128, u64) {
    match u64::try_from(a) {
        Ok(a) => (u128::from(a / b), a % b),
        Err(_) => {
            let quotient = a / u128::from(b);
            let rest = u64::try_from(a - quotient * u128::from(b));
            (quotient, rest.expect("a rest is smaller than what it is the rest of"))
        }
    }
}

/// a × b as (high, low) halves of 256 bits.
fn wide_product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = (1 << 64) - 1;
    if a <= LOW && b <= LOW {
        return (0, a * b);
    }
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let middle = a1 * b0 + ((a0 * b0) >> 64);
    let (cross, over) = middle.overflowing_add(a0 * b1);
    let high = a1 * b1 + (cross >> 64) + (u128::from(over) << 64);
    (high, (cross << 64) | ((a0 * b0) & LOW))
}

/// (high, low) ÷ c by shift and subtract; `high < c`, so that the quotient fits.
fn wide_quotient(high: u128, low: u128, c: u128) -> u128 {
    let (mut rest, mut quotient) = (high, 0_u128);
    for bit in (0..128).rev() {
        let carry_out = rest >> 127;
        rest = (rest << 1) | ((low >> bit) & 1);
        quotient <<= 1;
        if carry_out == 1 || rest >= c {
            rest = rest.wrapping_sub(c);
            quotient |= 1;
        }
    }
    quotient
}

/// Divides `whole` by `weights`, rounding boundaries, not parts: part i is floor(whole × w₁..ᵢ ÷ total) −
/// floor(whole × w₁..ᵢ₋₁ ÷ total), so the parts always sum to the whole. Every part is at most
/// ⌈whole × wᵢ ÷ total⌉. With no weight anywhere all parts are zero.
pub fn split(whole: u128, weights: impl Iterator<Item = u128> + Clone) -> impl Iterator<Item = u128> {
    let mut boundaries = Boundaries::new(whole, weights.clone().sum());
    weights.map(move |weight| boundaries.next(weight))
}

/// Where the next boundary of a [`split`] lies.
pub(crate) enum Boundaries {
    /// There is nothing to divide.
    Nothing,
    /// Everybody's weight is its part.
    All,
    /// Both fit a u64, as figures of real sites do. The rest of the last boundary's division is carried to the next: whole ×
    /// w₁..ᵢ = boundary × total + rest, so the part up to the next boundary is floor((rest + whole × wᵢ) ÷ total), and the
    /// products stay small enough to be divided as u64. rest + whole × w is below 2¹²⁸, since w is at most total.
    Narrow { whole: u64, total: u64, rest: u64 },
    /// Anything else.
    Wide { whole: u128, total: u128, reached: u128, boundary: u128 },
}

impl Boundaries {
    pub(crate) fn new(whole: u128, total: u128) -> Self {
        if whole == 0 || total == 0 {
            return Self::Nothing;
        }
        if whole == total {
            return Self::All;
        }
        match (u64::try_from(whole), u64::try_from(total)) {
            (Ok(whole), Ok(total)) => Self::Narrow { whole, total, rest: 0 },
            _ => Self::Wide { whole, total, reached: 0, boundary: 0 },
        }
    }

    /// The part of whoever comes next, where no part is more than its weight.
    pub(crate) fn part(&mut self, weight: Energy) -> Energy {
        let part = self.next(u128::from(weight.get()));
        Energy::new(u64::try_from(part).expect("a part is at most its weight"))
    }

    /// The part of whoever comes next.
    #[inline]
    pub(crate) fn next(&mut self, weight: u128) -> u128 {
        match self {
            Self::Nothing => 0,
            Self::All => weight,
            Self::Narrow { whole, total, rest } => {
                let due = u128::from(*whole) * weight + u128::from(*rest);
                let (part, left) = quotient_and_rest(due, *total);
                *rest = left;
                part
            }
            Self::Wide { whole, total, reached, boundary } => {
                if weight == 0 {
                    return 0;
                }
                *reached += weight;
                let next = mul_div_floor(*whole, *reached, *total).expect("a boundary lies within the whole");
                next - core::mem::replace(boundary, next)
            }
        }
    }
}

/// [`split`] for energies by energies.
///
/// # Panics
/// Never where `whole` ≤ the sum of `weights` or ≤ [`Energy::MAX`]: each part is at most the whole.
#[must_use]
pub fn split_energy(whole: EnergySum, weights: &[EnergySum]) -> Vec<EnergySum> {
    split(whole.get(), weights.iter().map(|w| w.get())).map(EnergySum::new).collect()
}

/// Divides `whole` by need and weight, as the spill pool is given and lenders are repaid: who needs no more than its part gets its need in
/// full; this repeats with what is left; then one boundary split among the rest. Weight zero receives nothing.
/// Returns what each is given, in order.
#[must_use]
pub fn fill(whole: EnergySum, needs: &[Energy], weights: &[u128]) -> Vec<Energy> {
    let mut given = Vec::new();
    fill_into(whole, needs, |i| weights[i], &mut Vec::new(), &mut given);
    given
}

/// [`fill`] into `given`, with room of the caller's for the places of those who wait.
///
/// The level, `left` ÷ `total`, never falls where somebody whose need lies below it is served in full, so the order in which
/// they are served decides nothing, and each is held against the level as it stands. Rounds are few: where those served have
/// an eighth of the weight, an eighth of it no longer waits; where they have less, the level rises by less than a seventh of
/// what it rose by in the round before, and soon no need lies between two levels.
pub(crate) fn fill_into(
    whole: EnergySum,
    needs: &[Energy],
    weight: impl Fn(usize) -> u128,
    waiting: &mut Vec<usize>,
    given: &mut Vec<Energy>,
) {
    given.clear();
    given.resize(needs.len(), Energy::ZERO);
    waiting.clear();
    waiting.extend((0..needs.len()).filter(|&i| !needs[i].is_zero() && weight(i) > 0));
    let mut total: u128 = waiting.iter().map(|&i| weight(i)).sum();
    let mut left = whole.get();
    let mut waited = usize::MAX;
    while waiting.len() < waited {
        waited = waiting.len();
        waiting.retain(|&i| {
            let (need, weight) = (u128::from(needs[i].get()), weight(i));
            // need ÷ weight against left ÷ total, without a division.
            let served = wide_product(need, total) <= wide_product(left, weight);
            if served {
                given[i] = needs[i];
                (left, total) = (left - need, total - weight);
            }
            !served
        });
    }
    let parts = split(left, waiting.iter().map(|&i| weight(i)));
    for (&i, part) in waiting.iter().zip(parts) {
        given[i] = EnergySum::new(part).narrow_saturating();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn energies(figures: &[u64]) -> Vec<Energy> {
        figures.iter().map(|&f| Energy::new(f)).collect()
    }

    /// `fill` as the rule can also be read: in order of need for its weight, until somebody needs more than its part.
    fn fill_in_order(whole: EnergySum, needs: &[Energy], weights: &[u128]) -> Vec<Energy> {
        let mut given = alloc::vec![Energy::ZERO; needs.len()];
        let need = |i: usize| u128::from(needs[i].get());
        let mut waiting: Vec<usize> =
            (0..needs.len()).filter(|&i| !needs[i].is_zero() && weights[i] > 0).collect();
        waiting.sort_by(|&i, &j| wide_product(need(i), weights[j]).cmp(&wide_product(need(j), weights[i])));
        let mut total: u128 = waiting.iter().map(|&i| weights[i]).sum();
        let (mut left, mut served) = (whole.get(), 0);
        for &i in &waiting {
            if mul_div_floor(left, weights[i], total).is_some_and(|part| need(i) > part) {
                break;
            }
            given[i] = needs[i];
            (left, total, served) = (left - need(i), total - weights[i], served + 1);
        }
        let rest = &mut waiting[served..];
        rest.sort_unstable();
        for (&i, part) in rest.iter().zip(split(left, rest.iter().map(|&i| weights[i]))) {
            given[i] = EnergySum::new(part).narrow_saturating();
        }
        given
    }

    #[test]
    fn what_is_carried_leaves_one_place_and_reaches_the_other() {
        let (mut from, mut room) = (Energy::new(10), Energy::new(7));
        assert_eq!(carry(&mut from, &mut room, Energy::new(9)), Energy::new(7));
        assert_eq!((from, room), (Energy::new(3), Energy::ZERO));
    }

    #[test]
    fn boundaries_are_rounded_not_parts() {
        let parts: Vec<u128> = split(10, [1, 1, 1].into_iter()).collect();
        assert_eq!(parts, [3, 3, 4]);
        let parts: Vec<u128> = split(7, [0, 2, 0, 3].into_iter()).collect();
        assert_eq!(parts, [0, 2, 0, 5]);
        let parts: Vec<u128> = split(7, [0, 0].into_iter()).collect();
        assert_eq!(parts, [0, 0]);
    }

    #[test]
    fn who_needs_little_gets_its_need_and_the_rest_is_split_again() {
        // Round 1: 30/3 = 10 each; the first needs 4. Round 2: 26/2 = 13; the second needs 12. The third gets 14.
        assert_eq!(fill(EnergySum::new(30), &energies(&[4, 12, 99]), &[1, 1, 1]), energies(&[4, 12, 14]));
        // Weight zero receives nothing, whatever it needs.
        assert_eq!(fill(EnergySum::new(30), &energies(&[4, 12]), &[0, 1]), energies(&[0, 12]));
        // Who needs exactly its part gets no more, though a boundary might have given it the odd one.
        assert_eq!(fill(EnergySum::new(10), &energies(&[9, 9, 3]), &[1, 1, 1]), energies(&[3, 4, 3]));
        // Among those who need more than their part one boundary split decides.
        assert_eq!(fill(EnergySum::new(10), &energies(&[9, 9, 9]), &[1, 1, 1]), energies(&[3, 3, 4]));
    }

    #[test]
    fn products_beyond_128_bits_divide_exactly() {
        assert_eq!(mul_div_floor(u128::MAX, u128::MAX, u128::MAX), Some(u128::MAX));
        assert_eq!(mul_div_floor(u128::MAX, 6, 4), None);
        assert_eq!(mul_div_floor(u128::MAX - 1, 3, 6), Some((u128::MAX - 1) / 2));
        assert_eq!(mul_div_floor(1, 1, 0), None);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(whole in any::<u64>(), weights in prop::collection::vec(any::<u64>(), 1..20)) {
            let wide = weights.iter().map(|&w| u128::from(w));
            prop_assume!(wide.clone().sum::<u128>() > 0);
            prop_assert_eq!(split(u128::from(whole), wide).sum::<u128>(), u128::from(whole));
        }

        #[test]
        fn no_part_of_a_smaller_whole_exceeds_its_weight(
            weights in prop::collection::vec(0_u64..1_000, 1..20), fraction in 0_u64..=100,
        ) {
            let whole = weights.iter().sum::<u64>() * fraction / 100;
            let wide = weights.iter().map(|&w| u128::from(w));
            for (part, weight) in split(u128::from(whole), wide.clone()).zip(wide) {
                prop_assert!(part <= weight);
            }
        }

        #[test]
        fn parts_are_what_lies_between_rounded_boundaries(
            whole in prop_oneof![0_u128..1_000, any::<u64>().prop_map(u128::from), 0..=u128::MAX >> 8],
            weights in prop::collection::vec(prop_oneof![Just(0), 0_u64..9, any::<u64>()], 1..20),
        ) {
            let wide = weights.iter().map(|&w| u128::from(w));
            let (total, mut reached, mut boundary) = (wide.clone().sum::<u128>(), 0, 0);
            for (part, weight) in split(whole, wide.clone()).zip(wide) {
                reached += weight;
                let next = mul_div_floor(whole, reached, total).unwrap_or(0);
                prop_assert_eq!(part, next - boundary);
                boundary = next;
            }
        }

        #[test]
        fn filling_serves_whoever_needs_least_for_its_weight_first(
            whole in prop_oneof![0_u128..10_000, any::<u64>().prop_map(u128::from), any::<u64>().prop_map(|w| u128::from(w) << 8)],
            apps in prop::collection::vec(
                (prop_oneof![0_u64..1_000, any::<u64>()], prop_oneof![0_u128..5, any::<u64>().prop_map(u128::from)]), 1..20,
            ),
        ) {
            let (needs, weights): (Vec<u64>, Vec<u128>) = apps.into_iter().unzip();
            let (whole, needs) = (EnergySum::new(whole), energies(&needs));
            prop_assert_eq!(fill(whole, &needs, &weights), fill_in_order(whole, &needs, &weights));
        }

        #[test]
        fn filling_gives_all_there_is_or_all_that_is_needed(
            whole in 0_u64..10_000,
            apps in prop::collection::vec((0_u64..1_000, 0_u128..5), 1..20),
        ) {
            let (needs, weights): (Vec<u64>, Vec<u128>) = apps.into_iter().unzip();
            let given = fill(EnergySum::new(u128::from(whole)), &energies(&needs), &weights);
            let wanted: u64 = needs.iter().zip(&weights).filter(|(_, w)| **w > 0).map(|(n, _)| n).sum();
            prop_assert_eq!(given.iter().map(|e| e.get()).sum::<u64>(), whole.min(wanted));
            for (given, need) in given.iter().zip(&needs) {
                prop_assert!(given.get() <= *need);
            }
        }

        #[test]
        fn wide_division_agrees_with_narrow(a in any::<u64>(), b in any::<u64>(), c in 1_u64..) {
            let (high, low) = wide_product(u128::from(a), u128::from(b));
            prop_assert_eq!((high, low), (0, u128::from(a) * u128::from(b)));
            prop_assert_eq!(wide_quotient(0, low, u128::from(c)), low / u128::from(c));
        }

        #[test]
        fn wide_division_undoes_wide_multiplication(a in any::<u128>(), b in 1_u128..) {
            prop_assert_eq!(mul_div_floor(a, b, b), Some(a));
        }
    }
}
