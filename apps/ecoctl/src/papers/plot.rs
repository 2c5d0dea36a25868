//! A statement's pictures, as SVG that needs nothing else: power by source, battery level, carbon intensity, CO2e.
//!
//! Everything is whole numbers: places on the page are in tenths of a pixel, figures in the base units of the books.

use super::figures::{Figures, Named};
use std::fmt::Write as _;

/// The page of a plot, in tenths of a pixel: its width, and where the axes are.
const WIDTH: u64 = 7_600;
const LEFT: u64 = 620;
const RIGHT: u64 = 7_480;
const TOP: u64 = 260;

/// Most lines of a grid, on either axis.
const Y_LINES: u128 = 5;
const X_LINES: u64 = 8;

const HOUR_MS: u64 = 3_600_000;

/// Hours between two marks of time.
const X_STEPS_H: [u64; 13] = [1, 2, 3, 6, 12, 24, 48, 168, 336, 672, 1_344, 2_688, 8_760];

/// Colours that stay apart for colour-blind eyes (Okabe and Ito, 2008), and in print.
const SOLAR: &str = "#e69f00";
const BATTERY: &str = "#009e73";
const GRID: &str = "#56b4e9";
const OVERDRAFT: &str = "#d55e00";
const CARBON: &str = "#7a5195";
const ESTIMATED: &str = "#8a8a8a";

/// A quantity's units: how many of the base unit each is.
type Units = &'static [(u128, &'static str)];

const POWER: Units = &[(1, "mW"), (1_000, "W"), (1_000_000, "kW"), (1_000_000_000, "MW")];
const ENERGY: Units =
    &[(3_600_000, "mWh"), (3_600_000_000, "Wh"), (3_600_000_000_000, "kWh"), (3_600_000_000_000_000, "MWh")];
const INTENSITY: Units = &[(1_000, "g/kWh")];
const RATE: Units = &[(1, "mg/h"), (1_000, "g/h"), (1_000_000, "kg/h")];

/// A plot with what is said about it.
pub struct Plot {
    /// Its title.
    pub title: &'static str,
    /// What it shows, for who cannot see it.
    pub description: String,
    /// The picture.
    pub svg: String,
}

/// All plots of a statement.
pub fn plots(figures: &Figures) -> Vec<Plot> {
    let buckets = Buckets::new(figures);
    let mut plots = vec![buckets.power()];
    // An app without a battery has no line to show.
    if buckets.list.iter().any(|bucket| bucket.get("stored_uj") > 0) {
        plots.push(buckets.level(figures.whole().get("stored_open_uj").copied()));
    }
    plots.extend([buckets.intensity(), buckets.carbon()]);
    plots
}

/// A bucket with its place in time.
struct Bucket {
    from_ms: u64,
    to_ms: u64,
    figures: Named,
}

impl Bucket {
    fn get(&self, name: &str) -> u128 {
        self.figures.get(name).copied().unwrap_or(0)
    }

    /// Mean power, in mW.
    fn power(&self, name: &str) -> u128 {
        self.get(name).checked_div(self.get("settled_ms")).unwrap_or(0)
    }

    /// CO2e per hour, in mg: µJ × mg/kWh over ms, where 3.6 × 10¹² µJ are a kWh and 3.6 × 10⁶ ms an hour.
    fn rate(&self) -> u128 {
        self.get("carbon_product").checked_div(self.get("settled_ms") * 1_000_000).unwrap_or(0)
    }
}

struct Buckets {
    list: Vec<Bucket>,
    length: String,
}

impl Buckets {
    fn new(figures: &Figures) -> Self {
        let (from, to) = figures.period_ms();
        let bucket = |(start, named): (u64, Named)| Bucket {
            from_ms: start.max(from),
            to_ms: start.saturating_add(figures.bucket_ms()).min(to),
            figures: named,
        };
        let list = figures.buckets().into_iter().map(bucket).filter(|bucket| bucket.from_ms < bucket.to_ms);
        let length = ecovisor_units::Millis::new(figures.bucket_ms()).to_string();
        Self { list: list.collect(), length }
    }

    fn most(&self, of: impl Fn(&Bucket) -> u128) -> u128 {
        self.list.iter().map(of).max().unwrap_or(0)
    }

    fn frame(&self, most: u128, units: Units, height: u64) -> Frame {
        let from_ms = self.list.first().map_or(0, |bucket| bucket.from_ms);
        let to_ms = self.list.last().map_or(1, |bucket| bucket.to_ms);
        Frame {
            from_ms,
            to_ms: to_ms.max(from_ms + 1),
            axis: Axis::new(most, units),
            bottom: height - 300,
            height,
        }
    }

    fn power(&self) -> Plot {
        let sources = [
            ("load_from_solar_uj", SOLAR),
            ("load_from_battery_uj", BATTERY),
            ("load_from_grid_uj", GRID),
            ("overdraft_uj", OVERDRAFT),
        ];
        let all = |bucket: &Bucket| sources.iter().map(|(name, _)| bucket.power(name)).sum();
        let frame = self.frame(self.most(all), POWER, 2_600);
        let mut below: Vec<u128> = vec![0; self.list.len()];
        let mut inner = String::new();
        for (name, colour) in sources {
            let above: Vec<u128> =
                self.list.iter().zip(&below).map(|(bucket, below)| below + bucket.power(name)).collect();
            inner += &frame.band(&self.list, &below, &above, colour);
            below = above;
        }
        inner += &self.estimated(&frame);
        let legend = [
            ("solar", SOLAR),
            ("battery", BATTERY),
            ("grid", GRID),
            ("overdraft", OVERDRAFT),
            ("rests on estimates", ESTIMATED),
        ];
        let description = format!(
            "Mean power of the load by its source, stacked, in buckets of {}; at most {}.",
            self.length,
            frame.axis.said(self.most(all))
        );
        Plot { title: "Power by source", svg: frame.svg(&inner, &legend), description }
    }

    /// A strip below the axis where any figure rests on a held or assumed reading.
    fn estimated(&self, frame: &Frame) -> String {
        let marked = self.list.iter().filter(|bucket| bucket.get("estimated_ms") > 0);
        marked.fold(String::new(), |mut strip, bucket| {
            let (x, end) = (frame.x(bucket.from_ms), frame.x(bucket.to_ms));
            let _ = write!(
                strip,
                r#"<rect x="{}" y="{}" width="{}" height="4" fill="{ESTIMATED}"/>"#,
                px(x),
                px(frame.bottom + 10),
                px(end.saturating_sub(x).max(5)),
            );
            strip
        })
    }

    fn level(&self, opened: Option<u128>) -> Plot {
        let most = self.most(|bucket| bucket.get("stored_uj")).max(opened.unwrap_or(0));
        let frame = self.frame(most, ENERGY, 2_000);
        let first = self.list.first().map(|bucket| (bucket.from_ms, opened));
        let start = first.and_then(|(ms, opened)| Some((ms, opened?)));
        let ends = self.list.iter().map(|bucket| (bucket.to_ms, bucket.get("stored_uj")));
        let points: Vec<(u64, u128)> = start.into_iter().chain(ends).collect();
        let inner = frame.line(&points, BATTERY);
        let description = format!(
            "What the app's battery held at the end of each bucket of {}; at most {}.",
            self.length,
            frame.axis.said(most)
        );
        Plot { title: "Battery level", svg: frame.svg(&inner, &[("stored energy", BATTERY)]), description }
    }

    fn intensity(&self) -> Plot {
        let of = |bucket: &Bucket| bucket.get("intensity_mean_mg_per_kwh");
        let frame = self.frame(self.most(of), INTENSITY, 1_700);
        let points =
            self.list.iter().flat_map(|bucket| [(bucket.from_ms, of(bucket)), (bucket.to_ms, of(bucket))]);
        let inner = frame.line(&points.collect::<Vec<_>>(), CARBON);
        let description = format!(
            "Mean carbon intensity of the grid in buckets of {}; at most {}.",
            self.length,
            frame.axis.said(self.most(of))
        );
        Plot {
            title: "Carbon intensity of the grid",
            svg: frame.svg(&inner, &[("intensity", CARBON)]),
            description,
        }
    }

    fn carbon(&self) -> Plot {
        let frame = self.frame(self.most(Bucket::rate), RATE, 1_700);
        let (below, above) =
            (vec![0; self.list.len()], self.list.iter().map(Bucket::rate).collect::<Vec<_>>());
        let inner = frame.band(&self.list, &below, &above, CARBON);
        let description = format!(
            "CO2e charged to the app per hour, in buckets of {}; at most {}.",
            self.length,
            frame.axis.said(self.most(Bucket::rate))
        );
        Plot { title: "CO2e", svg: frame.svg(&inner, &[("CO2e per hour", CARBON)]), description }
    }
}

/// An axis of figures from zero: its unit and the step between two lines, in base units.
struct Axis {
    unit: &'static str,
    per_unit: u128,
    step: u128,
    top: u128,
}

impl Axis {
    /// An axis that `most` fits on, with a line at every 1, 2 or 5 of some power of ten.
    fn new(most: u128, units: Units) -> Self {
        let fits = units.iter().rev().find(|(per_unit, _)| most >= *per_unit).or(units.first());
        let (per_unit, unit) = fits.copied().unwrap_or((1, ""));
        // In thousandths of the unit, so that steps are round where people read them.
        let thousandths = (most * 1_000).div_ceil(per_unit).max(1);
        let rounds = (0..30).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u128.pow(power)));
        let round = rounds.into_iter().find(|round| round * Y_LINES >= thousandths).unwrap_or(thousandths);
        let step = (round * per_unit).div_ceil(1_000).max(1);
        Self { unit, per_unit, step, top: step * most.div_ceil(step).max(1) }
    }

    /// A figure without its unit: three decimals, cut, without noughts at their end.
    fn bare(&self, figure: u128) -> String {
        let thousandths = figure * 1_000 / self.per_unit;
        let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    fn said(&self, figure: u128) -> String {
        format!("{} {}", self.bare(figure), self.unit)
    }
}

/// Where a plot's figures go on the page.
struct Frame {
    from_ms: u64,
    to_ms: u64,
    axis: Axis,
    bottom: u64,
    height: u64,
}

impl Frame {
    fn x(&self, ms: u64) -> u64 {
        let (at, whole) = (ms.saturating_sub(self.from_ms), self.to_ms - self.from_ms);
        LEFT + scaled(at.into(), whole.into(), RIGHT - LEFT)
    }

    fn y(&self, figure: u128) -> u64 {
        self.bottom.saturating_sub(scaled(figure, self.axis.top, self.bottom - TOP))
    }

    /// The area between two figures of each bucket.
    fn band(&self, buckets: &[Bucket], below: &[u128], above: &[u128], colour: &str) -> String {
        let edge = |bucket: &Bucket, figure: u128| {
            [self.x(bucket.from_ms), self.x(bucket.to_ms)]
                .map(|x| format!("{} {}", px(x), px(self.y(figure))))
        };
        if below == above {
            return String::new();
        }
        let forth = buckets.iter().zip(above).flat_map(|(bucket, above)| edge(bucket, *above));
        let back = buckets.iter().zip(below).rev().flat_map(|(bucket, below)| {
            let [start, end] = edge(bucket, *below);
            [end, start]
        });
        let points: Vec<String> = forth.chain(back).collect();
        format!(r#"<path d="M{}Z" fill="{colour}"/>"#, points.join("L"))
    }

    fn line(&self, points: &[(u64, u128)], colour: &str) -> String {
        let points = points.iter().map(|(ms, figure)| format!("{},{}", px(self.x(*ms)), px(self.y(*figure))));
        let points: Vec<String> = points.collect();
        format!(
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.6"/>"#,
            points.join(" ")
        )
    }

    /// The whole picture.
    fn svg(&self, inner: &str, legend: &[(&str, &str)]) -> String {
        format!(
            r#"<svg viewBox="0 0 {} {}" role="img" xmlns="http://www.w3.org/2000/svg">{}{inner}{}{}</svg>"#,
            WIDTH / 10,
            self.height / 10,
            self.lines(),
            self.marks(),
            self.legend(legend)
        )
    }

    /// Lines across, each with its figure.
    fn lines(&self) -> String {
        let mut text = String::new();
        let mut figure = 0;
        while figure <= self.axis.top {
            let (y, left, right) = (self.y(figure), px(LEFT), px(RIGHT));
            let _ = write!(
                text,
                r##"<path d="M{left} {y}H{right}" stroke="#dcdcdc" stroke-width="1"/><text x="{x}" y="{below}" text-anchor="end">{said}</text>"##,
                y = px(y),
                x = px(LEFT - 60),
                below = px(y + 35),
                said = self.axis.bare(figure),
            );
            figure += self.axis.step;
        }
        let _ =
            write!(text, r#"<text x="{}" y="12" text-anchor="end">{}</text>"#, px(LEFT - 60), self.axis.unit);
        text
    }

    /// The axis of time, with a mark at round hours or days.
    fn marks(&self) -> String {
        let (left, right, bottom) = (px(LEFT), px(RIGHT), px(self.bottom));
        let mut text = format!(r##"<path d="M{left} {bottom}H{right}" stroke="#444" stroke-width="1"/>"##);
        let span = self.to_ms - self.from_ms;
        let steps = X_STEPS_H.map(|hours| hours * HOUR_MS);
        let step = steps.into_iter().find(|step| span / step <= X_LINES).unwrap_or(span);
        let mut at = self.from_ms.next_multiple_of(step);
        while at <= self.to_ms {
            let x = px(self.x(at));
            let _ = write!(
                text,
                r##"<path d="M{x} {bottom}v4" stroke="#444"/><text x="{x}" y="{}" text-anchor="middle">{}</text>"##,
                px(self.bottom + 200),
                mark(at)
            );
            at += step;
        }
        text
    }

    fn legend(&self, entries: &[(&str, &str)]) -> String {
        let mut x = LEFT;
        entries.iter().fold(String::new(), |mut text, (name, colour)| {
            let _ = write!(
                text,
                r#"<rect x="{}" y="3" width="10" height="10" fill="{colour}"/><text x="{}" y="12">{name}</text>"#,
                px(x),
                px(x + 140)
            );
            // Letters of this size are about 6.2 px wide.
            x += 140 + 62 * u64::try_from(name.len()).unwrap_or(0) + 180;
            text
        })
    }
}

/// Midnights say their day, other times their hour.
fn mark(ms: u64) -> String {
    let format = if ms.is_multiple_of(24 * HOUR_MS) { "%-d %b" } else { "%H:%M" };
    crate::time::utc(ms, format)
}

/// `at / whole` of a length, rounded down.
fn scaled(at: u128, whole: u128, length: u64) -> u64 {
    let part = at.min(whole) * u128::from(length);
    u64::try_from(part.checked_div(whole).unwrap_or(0)).unwrap_or(length)
}

/// Tenths of a pixel.
fn px(tenths: u64) -> String {
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_steps_and_room_for_the_most() {
        let check = |most: u128, units: Units, unit: &str, step: &str, top: &str| {
            let axis = Axis::new(most, units);
            assert_eq!(
                (axis.unit, axis.bare(axis.step).as_str(), axis.bare(axis.top).as_str()),
                (unit, step, top)
            );
        };
        check(60_000, POWER, "W", "20", "60");
        check(61_000, POWER, "W", "20", "80");
        check(999, POWER, "mW", "200", "1000");
        check(1_040_000_000_000, ENERGY, "Wh", "100", "300");
        check(0, INTENSITY, "g/kWh", "0.001", "0.001");
    }

    #[test]
    fn figures_have_their_place() {
        let axis = Axis::new(100, &[(1, "u")]);
        let frame = Frame { from_ms: 1_000, to_ms: 3_000, axis, bottom: 1_260, height: 1_560 };
        assert_eq!((frame.x(1_000), frame.x(2_000), frame.x(3_000)), (LEFT, (LEFT + RIGHT) / 2, RIGHT));
        assert_eq!((frame.y(0), frame.y(50), frame.y(100)), (1_260, 760, TOP));
        assert_eq!((px(120), px(123)), ("12".to_owned(), "12.3".to_owned()));
    }

    #[test]
    fn a_band_goes_forth_above_and_back_below() {
        let axis = Axis::new(100, &[(1, "u")]);
        let frame = Frame { from_ms: 0, to_ms: 2, axis, bottom: 1_260, height: 1_560 };
        let bucket = |from_ms, to_ms| Bucket { from_ms, to_ms, figures: Named::new() };
        let band = frame.band(&[bucket(0, 1), bucket(1, 2)], &[0, 0], &[100, 50], "red");
        assert_eq!(
            band,
            r#"<path d="M62 26L405 26L405 76L748 76L748 126L405 126L405 126L62 126Z" fill="red"/>"#
        );
        assert_eq!(frame.band(&[bucket(0, 1)], &[7], &[7], "red"), "", "nothing is not drawn");
    }
}
