//! Bars in a terminal: a bucket a line, its mean power stacked by source. Shades instead of colours, so that it can be
//! piped and printed.

use super::usage::AppUsage;
use crate::show;
use ecovisor_sdk::operator::wire;

/// Width of the longest bar, in cells: a line with its figure then fits into 80.
const WIDTH: usize = 48;

/// The sources, in the order in which they are stacked, with their shades.
const SOURCES: [(&str, char); 5] =
    [("solar", '█'), ("received", '▓'), ("battery", '▒'), ("grid", '░'), ("overdraft", '!')];

/// An app's buckets as bars.
pub fn bars((app, buckets): &AppUsage) -> String {
    let longest =
        buckets.iter().map(|bucket| show::mean_mw(bucket.load_uj, bucket.settled_ms)).max().unwrap_or(0);
    let keys: Vec<String> = SOURCES.iter().map(|(name, shade)| format!("{shade} {name}")).collect();
    let mut lines = vec![format!("{app}: mean power by source   {}", keys.join("  "))];
    lines.extend(buckets.iter().map(|bucket| line(bucket, longest)));
    lines.join("\n")
}

fn line(bucket: &wire::UsageBucket, longest_mw: u64) -> String {
    let power = show::mean(bucket.load_uj, bucket.settled_ms);
    let bar = stacked(&sources(bucket), bucket.settled_ms, longest_mw);
    format!("{} │{bar:WIDTH$}│ {power:>8}", axis(bucket))
}

/// Buckets shorter than a minute need their seconds, longer ones their day.
fn axis(bucket: &wire::UsageBucket) -> String {
    match bucket.length_ms {
        0..60_000 => format!("{:>11}", crate::time::show_clock(bucket.start_ms)),
        _ => crate::time::show_axis(bucket.start_ms),
    }
}

/// Energies in the order of [`SOURCES`].
const fn sources(bucket: &wire::UsageBucket) -> [u64; 5] {
    [bucket.solar_uj, bucket.received_uj, bucket.battery_uj, bucket.grid_uj, bucket.overdraft_uj]
}

/// The bar of one bucket. Boundaries are rounded, not parts, so that a bar is as long as its sum.
fn stacked(energies: &[u64; 5], span_ms: u64, longest_mw: u64) -> String {
    let mut bar = String::new();
    let (mut sum, mut drawn) = (0_u64, 0_usize);
    for (energy, (_, shade)) in energies.iter().zip(SOURCES) {
        sum = sum.saturating_add(*energy);
        let end = cells(show::mean_mw(sum, span_ms), longest_mw);
        bar.extend(std::iter::repeat_n(shade, end.saturating_sub(drawn)));
        drawn = drawn.max(end);
    }
    bar
}

/// Length of a power, to the nearest cell.
fn cells(power_mw: u64, longest_mw: u64) -> usize {
    let width = u128::try_from(WIDTH).unwrap_or(0);
    let longest = u128::from(longest_mw.max(1));
    let cells = (u128::from(power_mw) * width + longest / 2) / longest;
    usize::try_from(cells).unwrap_or(WIDTH).min(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(bar: &str, shade: char) -> usize {
        bar.chars().filter(|one| *one == shade).count()
    }

    #[test]
    fn a_bar_is_stacked_in_proportion() {
        // 24 + 0 + 12 + 12 of 48 cells.
        let bar = stacked(&[24_000, 0, 12_000, 12_000, 0], 1_000, 48);
        assert_eq!((count(&bar, '█'), count(&bar, '▒'), count(&bar, '░')), (24, 12, 12));
    }

    #[test]
    fn thin_parts_do_not_lengthen_a_bar() {
        let bar = stacked(&[1, 1, 1, 1, 1], 1, 5);
        assert_eq!(bar.chars().count(), WIDTH);
        assert_eq!(stacked(&[0; 5], 1_000, 0), "");
    }
}
