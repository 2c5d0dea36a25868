//! From counts to floats, exactly as far as a float goes, and the one way back.

/// `figure` as a float. Beyond 2⁵³ it is rounded, which is far beyond any site's power and any date.
#[must_use]
pub fn float(figure: u64) -> f64 {
    let (high, low) = (figure >> 32, figure & u64::from(u32::MAX));
    let half = |half: u64| f64::from(u32::try_from(half).unwrap_or(u32::MAX));
    half(high) * 4_294_967_296.0 + half(low)
}

/// A number of things as a float.
#[must_use]
pub fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

/// The whole part of `figure`: how advice becomes an account, downwards. Zero for what is negative or no number, the largest
/// u64 for what is beyond it.
#[must_use]
#[expect(
    clippy::as_conversions,
    reason = "the one conversion: `as` truncates, saturates, and makes NaN zero"
)]
pub fn floor(figure: f64) -> u64 {
    figure as u64
}

/// The whole part of a figure as an index; `most` for what lies beyond.
#[must_use]
pub fn index(figure: f64, most: usize) -> usize {
    usize::try_from(floor(figure)).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_indices_downwards() {
        for (figure, expected) in
            [(0.0, 0), (0.99, 0), (1.0, 1), (6.7, 6), (-3.0, 0), (f64::NAN, 0), (99.0, 50)]
        {
            assert_eq!(index(figure, 50), expected, "{figure}");
        }
        assert_eq!(index(f64::INFINITY, 7), 7);
        assert_eq!(float(u64::from(u32::MAX) + 1), 4_294_967_296.0);
    }
}
