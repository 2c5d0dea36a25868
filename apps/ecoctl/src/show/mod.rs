//! Figures and states as people read them.

pub mod event;
pub mod state;

use ecovisor_sdk::operator::wire;
use ecovisor_sdk::{
    Carbon, CarbonIntensity, CarbonMass, CarbonRate, Energy, Figure, Millis, Power, WattHours,
};

/// Says that there is nothing to say.
pub const NONE: &str = "-";

/// A power in mW; the largest there is means that there is no limit.
pub fn power(mw: u64) -> String {
    match mw {
        0 => "0 W".into(),
        u64::MAX => "no limit".into(),
        mw => Power::new(mw).to_string(),
    }
}

/// An energy in µJ, in watt hours; what is less than a thousandth of one is shown in joules.
pub fn energy(uj: u64) -> String {
    match uj {
        0 => "0 Wh".into(),
        u64::MAX => "no limit".into(),
        1..3_600_000 => Energy::new(uj).to_string(),
        uj => WattHours(Energy::new(uj).wide()).to_string(),
    }
}

/// Mean power of an energy over a span.
pub fn mean(uj: u64, span_ms: u64) -> String {
    power(mean_mw(uj, span_ms))
}

/// Mean power of an energy over a span, in mW, rounded down.
pub fn mean_mw(uj: u64, span_ms: u64) -> u64 {
    Energy::new(uj).mean_power(Millis::new(span_ms)).get()
}

/// A time in ms.
pub fn span(ms: u64) -> String {
    Millis::new(ms).to_string()
}

/// A carbon intensity in mg/kWh.
pub fn intensity(mg_per_kwh: u64) -> String {
    CarbonIntensity::new(mg_per_kwh).to_string()
}

/// A mass of CO2e in mg.
pub fn mass(mg: u64) -> String {
    if mg == 0 { "0 g".into() } else { CarbonMass::new(mg).to_string() }
}

/// A carbon rate in mg/h.
pub fn carbon_rate(mg_per_h: u64) -> String {
    CarbonRate::new(mg_per_h).to_string()
}

/// A mass of CO2e, from the exact product, rounded down.
pub fn carbon_product(product: &str) -> String {
    product.parse().map_or_else(|_| NONE.into(), |product| mass(Carbon::new(product).to_milligrams().get()))
}

/// A figure of a refusal; energies in watt hours as everywhere else here.
pub fn figure(figure: Figure) -> String {
    match figure {
        Figure::Energy(figure) => energy(figure.get()),
        Figure::Power(figure) => power(figure.get()),
        other => other.to_string(),
    }
}

/// What may be missing.
pub fn or<T>(value: Option<T>, show: impl FnOnce(T) -> String, missing: &str) -> String {
    value.map_or_else(|| missing.to_string(), show)
}

/// A part in whole per cent, rounded down; zero of nothing.
pub fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100)
        .checked_div(u128::from(whole))
        .and_then(|percent| u64::try_from(percent).ok())
        .unwrap_or(0)
}

/// `61 % of 300 Wh`, and `-` without a battery.
pub fn battery(battery: Option<&wire::Battery>) -> String {
    or(
        battery,
        |b| format!("{} % of {}", percent(b.charge_level_uj, b.capacity_uj), energy(b.capacity_uj)),
        NONE,
    )
}

/// A list in one cell.
pub fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() { NONE.into() } else { items.iter().map(T::to_string).collect::<Vec<_>>().join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_figure_is_no_limit() {
        assert_eq!(power(u64::MAX), "no limit");
        assert_eq!(power(40_000), "40 W");
        assert_eq!(energy(3_600_000_000 * 300), "300 Wh");
        assert_eq!((power(0), energy(0), mass(0)), ("0 W".into(), "0 Wh".into(), "0 g".into()));
        assert_eq!(energy(1_500_000), "1.5 J");
    }

    #[test]
    fn a_part_of_nothing_is_nothing() {
        assert_eq!(percent(5, 0), 0);
        assert_eq!(percent(2, 3), 66);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
