//! The small picture of the site's flows: sources to the left, load to the right, arrows in the direction in which
//! energy goes.
//!
//! ```text
//! solar     120 W ━━▶┓
//! grid       40 W ━━▶╋━━▶ load     95 W
//! battery    65 W ◀━━┛    61 % of 1 kWh
//! ```

use crate::show;
use ecovisor_sdk::operator::wire;

/// Towards the load.
const IN: &str = "━━▶";
/// Away from it.
const OUT: &str = "◀━━";
/// Nothing goes.
const STILL: &str = "╌╌╌";

/// Three lines.
pub fn lines(flows: &wire::SiteFlows, span_ms: u64, capacity: Option<&wire::SiteCapacity>) -> [String; 3] {
    let solar = one(flows.solar.as_ref(), None, span_ms);
    let grid = one(flows.grid_import.as_ref(), flows.grid_export.as_ref(), span_ms);
    let battery = one(flows.battery_out.as_ref(), flows.battery_in.as_ref(), span_ms);
    let load = show::mean(flows.load_booked_uj, span_ms);
    let towards_load = if flows.load_booked_uj > 0 { IN } else { STILL };
    [
        format!("solar   {solar}┓"),
        format!("grid    {grid}╋{towards_load} load {load:>8}"),
        format!("battery {battery}┛    {}", level(flows, capacity)),
    ]
}

/// A figure and its arrow; where both directions are booked, the larger is drawn.
fn one(inwards: Option<&wire::MeteredFlow>, outwards: Option<&wire::MeteredFlow>, span_ms: u64) -> String {
    if inwards.is_none() && outwards.is_none() {
        return format!("{:>8} {STILL}", "none");
    }
    let booked = |flow: Option<&wire::MeteredFlow>| flow.map_or(0, |flow| flow.booked_uj);
    let (inwards, outwards) = (booked(inwards), booked(outwards));
    let arrow = match inwards.cmp(&outwards) {
        std::cmp::Ordering::Greater => IN,
        std::cmp::Ordering::Less => OUT,
        std::cmp::Ordering::Equal => STILL,
    };
    format!("{:>8} {arrow}", show::mean(inwards.max(outwards), span_ms))
}

fn level(flows: &wire::SiteFlows, capacity: Option<&wire::SiteCapacity>) -> String {
    let capacity = capacity.map_or(0, |capacity| capacity.battery_capacity_uj);
    if capacity == 0 {
        return String::new();
    }
    let level = flows.battery_level_metered_uj.unwrap_or(flows.battery_level_booked_uj);
    format!("{} % of {}", show::percent(level, capacity), show::energy(capacity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(watts: u64) -> Option<wire::MeteredFlow> {
        Some(wire::MeteredFlow { booked_uj: watts * 1_000_000, ..wire::MeteredFlow::default() })
    }

    #[test]
    fn arrows_point_where_energy_goes() {
        let capacity = wire::SiteCapacity { battery_capacity_uj: 100, ..wire::SiteCapacity::default() };
        let mut flows = wire::SiteFlows {
            solar: flow(120),
            grid_import: flow(40),
            grid_export: flow(0),
            battery_in: flow(65),
            battery_out: flow(0),
            load_booked_uj: 95_000_000,
            battery_level_booked_uj: 61,
            ..wire::SiteFlows::default()
        };
        let drawn = lines(&flows, 1_000, Some(&capacity));
        assert_eq!(drawn[0], "solar      120 W ━━▶┓");
        assert_eq!(drawn[1], "grid        40 W ━━▶╋━━▶ load     95 W");
        assert_eq!(drawn[2], "battery     65 W ◀━━┛    61 % of 100 µJ");
        flows = wire::SiteFlows { grid_export: flow(41), solar: None, load_booked_uj: 0, ..flows };
        let drawn = lines(&flows, 1_000, None);
        assert_eq!(drawn[0], "solar       none ╌╌╌┓");
        assert_eq!(drawn[1], "grid        41 W ◀━━╋╌╌╌ load      0 W");
        assert_eq!(drawn[2], "battery     65 W ◀━━┛    ");
    }
}
