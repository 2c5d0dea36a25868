//! The door between advice (floats: sun, weather, panels) and accounts (integers). Nothing else in this crate converts.

use ecovisor_units::Power;

/// The whole part of `figure`; zero for what is negative or no number, the largest u64 for what is beyond it.
#[expect(
    clippy::as_conversions,
    reason = "the one conversion: `as` truncates, saturates, and makes NaN zero"
)]
pub(crate) fn floor(figure: f64) -> u64 {
    figure as u64
}

/// `figure` as a float, exact below 2⁵³.
#[expect(
    clippy::as_conversions,
    reason = "no lossless conversion exists; callers hold times and powers below 2^53"
)]
pub(crate) fn float(figure: u64) -> f64 {
    figure as f64
}

/// `watts` in mW, rounded down: how every simulated power becomes an account.
pub(crate) fn power_rounded_down(watts: f64) -> Power {
    Power::new(floor(watts * 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_integers_downwards() {
        assert_eq!(floor(1.999), 1);
        assert_eq!(floor(-1.0), 0);
        assert_eq!(floor(f64::NAN), 0);
        assert_eq!(floor(f64::INFINITY), u64::MAX);
        assert_eq!(power_rounded_down(1.2345), Power::new(1_234));
    }
}
