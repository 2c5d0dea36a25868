//! Who pays for the power of a machine that idles. Parts always sum to the whole: boundaries are rounded, not parts.

use super::CpuTime;
use ecovisor_units::Energy;

/// How idle energy is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdleRule {
    /// By the cores that each workload has reserved, the paper's rule (idle ÷ cores × quota); what nobody has
    /// reserved is the house's.
    #[default]
    ReservedCores,
    /// By the CPU time that each used, of what the machine used; a machine that did nothing idles for the house.
    Use,
    /// All of it is the house's.
    House,
}

/// One workload in a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Cores reserved, in thousandths of a core; zero: none.
    pub reserved_millicores: u32,
    /// CPU time used in the span.
    pub used: CpuTime,
}

/// A split: parts in the order of the shares, and the rest. They sum to the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleParts {
    /// One part per share, µJ.
    pub parts: Vec<Energy>,
    /// The house's part, µJ.
    pub house: Energy,
}

/// Splits the idle energy `whole` of a machine with `cores` that was busy for `busy` in all, among `shares`. Reservations
/// beyond the machine's cores, or use beyond its busy time, shrink everybody's part alike; then the house has none.
#[must_use]
pub fn idle_parts(rule: IdleRule, whole: Energy, cores: u32, busy: CpuTime, shares: &[Share]) -> IdleParts {
    let reserved = |share: &Share| u128::from(share.reserved_millicores);
    let used = |share: &Share| u128::from(share.used.nanos());
    let (weights, total): (Vec<u128>, u128) = match rule {
        IdleRule::ReservedCores => (shares.iter().map(reserved).collect(), u128::from(cores) * 1_000),
        IdleRule::Use => (shares.iter().map(used).collect(), u128::from(busy.nanos())),
        IdleRule::House => (vec![0; shares.len()], 0),
    };
    split(whole, &weights, total)
}

/// Part i is floor(whole × w₁..ᵢ ÷ total) − floor(whole × w₁..ᵢ₋₁ ÷ total); what is beyond the weights is the house's.
/// Sums that exceed 64 bits (584 core-years in one span) lose their last bits, all alike, so that products fit.
fn split(whole: Energy, weights: &[u128], total: u128) -> IdleParts {
    let total = total.max(weights.iter().sum());
    let excess_bits = u64::BITS.saturating_sub(total.leading_zeros());
    let mut sum = 0;
    let mut given = Energy::ZERO;
    let part = |weight: &u128| {
        sum += weight;
        let until = boundary(whole, sum >> excess_bits, total >> excess_bits);
        let part = until - given;
        given = until;
        part
    };
    let parts: Vec<Energy> = weights.iter().map(part).collect();
    IdleParts { parts, house: whole - given }
}

/// floor(whole × sum ÷ total), with sum at most total, both below 2⁶⁴; nothing of a total of zero.
fn boundary(whole: Energy, sum: u128, total: u128) -> Energy {
    let part = (u128::from(whole.get()) * sum).checked_div(total).unwrap_or(0);
    Energy::new(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(reserved_millicores: u32, used: u64) -> Share {
        Share { reserved_millicores, used: CpuTime::from_nanos(used) }
    }

    fn check(rule: IdleRule, shares: &[Share], parts: &[u64], house: u64) {
        let split = idle_parts(rule, Energy::new(100), 4, CpuTime::from_nanos(80), shares);
        assert_eq!(split.parts, parts.iter().copied().map(Energy::new).collect::<Vec<_>>(), "{rule:?}");
        assert_eq!(split.house, Energy::new(house), "{rule:?}");
    }

    #[test]
    fn reserved_cores_pay_for_their_idling_and_the_house_for_the_rest() {
        check(IdleRule::ReservedCores, &[share(1_000, 0), share(500, 80)], &[25, 12], 63);
        check(IdleRule::ReservedCores, &[share(4_000, 0), share(4_000, 0)], &[50, 50], 0);
    }

    #[test]
    fn who_works_pays_for_idling_by_use() {
        check(IdleRule::Use, &[share(1_000, 20), share(0, 40)], &[25, 50], 25);
        check(IdleRule::Use, &[share(0, 0)], &[0], 100);
        check(IdleRule::Use, &[share(0, 100), share(0, 100)], &[50, 50], 0);
    }

    #[test]
    fn the_house_pays_for_all_idling() {
        check(IdleRule::House, &[share(1_000, 20), share(1_000, 40)], &[0, 0], 100);
    }

    #[test]
    fn a_machine_that_did_nothing_idles_for_the_house() {
        let split = idle_parts(IdleRule::Use, Energy::new(7), 4, CpuTime::ZERO, &[share(1, 0)]);
        assert_eq!(split, IdleParts { parts: vec![Energy::ZERO], house: Energy::new(7) });
    }

    #[test]
    fn the_longest_use_is_split_too() {
        let shares = [share(0, u64::MAX), share(0, u64::MAX)];
        let split = idle_parts(IdleRule::Use, Energy::MAX, 1, CpuTime::ZERO, &shares);
        let half = u64::MAX / 2;
        assert_eq!(split.parts, [Energy::new(half), Energy::new(half + 1)]);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(
            whole: u64, cores: u32, busy: u64,
            shares in prop::collection::vec((any::<u32>(), any::<u64>()), 0..10),
            rule in prop::sample::select(vec![IdleRule::ReservedCores, IdleRule::Use, IdleRule::House]),
        ) {
            let shares: Vec<Share> = shares.into_iter().map(|(cores, used)| share(cores, used)).collect();
            let split = idle_parts(rule, Energy::new(whole), cores, CpuTime::from_nanos(busy), &shares);
            let sum: u128 = split.parts.iter().map(|part| u128::from(part.get())).sum();
            prop_assert_eq!(sum + u128::from(split.house.get()), u128::from(whole));
        }
    }
}
