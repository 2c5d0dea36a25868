//! Decimal numbers of trace files, read without floats so that 216.56 g is 216,560 mg and not 216,559.

/// `text` × 10^`places` as an integer, digits beyond rounded down; `None` where `text` is no plain decimal number
/// (digits, at most one point, no sign, no exponent) or does not fit.
pub(super) fn scaled_down(text: &str, places: u32) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = whole.chars().chain(decimals.chars());
    if (whole.is_empty() && decimals.is_empty()) || !digits.all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let kept = usize::try_from(places).ok()?;
    let padded = decimals.chars().chain(std::iter::repeat('0')).take(kept);
    whole
        .chars()
        .chain(padded)
        .try_fold(0_u64, |figure, digit| figure.checked_mul(10)?.checked_add(u64::from(digit.to_digit(10)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_integers_exactly_and_downwards() {
        for (text, expected) in [
            ("216.56", Some(216_560)),
            ("0", Some(0)),
            ("45.7", Some(45_700)),
            ("1.2349", Some(1_234)),
            (".5", Some(500)),
            ("5.", Some(5_000)),
            ("18446744073709551.615", Some(u64::MAX)),
            ("18446744073709551.616", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("1.2.3", None),
            ("٣", None),
        ] {
            assert_eq!(scaled_down(text, 3), expected, "{text}");
        }
    }
}
