//! Events as JSON: what all have, `event` with the kind's name, and the kind's own keys.

use super::object;
use crate::show::state;
use ecovisor_sdk::operator::wire;
use serde_json::{Value, json};
use wire::event::Kind;

/// One event of the site; `app` is null where it happened to the site itself.
pub fn event(reply: &wire::WatchAllEventsReply) -> Value {
    let wire::WatchAllEventsReply { app, event, missed } = reply;
    let (name, mut said) =
        event.as_ref().and_then(|event| event.kind.as_ref()).map_or(("unknown", json!({})), kind);
    said["event"] = json!(name);
    said["app"] = json!(app);
    said["missed"] = json!(missed);
    said["tick"] = json!(event.as_ref().map(|event| event.tick));
    said["wall_ms"] = json!(event.as_ref().map(|event| event.wall_ms));
    said
}

fn kind(kind: &Kind) -> (&'static str, Value) {
    match kind {
        Kind::SolarChanged(e) => ("solar_changed", object!(e => SolarChanged { from_mw, to_mw })),
        Kind::CarbonChanged(e) => {
            ("carbon_changed", object!(e => CarbonChanged { from_mg_per_kwh, to_mg_per_kwh }))
        }
        Kind::BatteryFull(e) => ("battery_full", object!(e => BatteryFull { charge_level_uj })),
        Kind::BatteryEmpty(e) => ("battery_empty", object!(e => BatteryEmpty { charge_level_uj })),
        Kind::CapLowered(e) => {
            ("cap_lowered", object!(e => CapLowered { container, cap_mw, effective_cap_mw }))
        }
        Kind::CapRestored(e) => ("cap_restored", object!(e => CapRestored { container, cap_mw })),
        Kind::OverdraftStarted(e) => ("overdraft_started", object!(e => OverdraftStarted { overdraft_uj })),
        Kind::OverdraftEnded(e) => {
            ("overdraft_ended", object!(e => OverdraftEnded { overdraft_uj, debt_uj }))
        }
        Kind::BudgetReached(e) => {
            ("budget_reached", object!(e => BudgetReached { percent, spent_mg, budget_mg }))
        }
        Kind::LeaseExpired(e) => {
            ("lease_expired", object!(e => LeaseExpired { container; setting: state::setting(*setting) }))
        }
        Kind::ChargeEnded(e) => ("charge_ended", object!(e => ChargeEnded { charge_rate_mw })),
        Kind::BatteryAdjusted(e) => {
            ("battery_adjusted", object!(e => BatteryAdjusted { adjusted_down_uj, charge_level_uj }))
        }
        Kind::DeviceDegraded(e) => {
            ("device_degraded", object!(e => DeviceDegraded { device; quality: state::quality(*quality) }))
        }
        Kind::DeviceRecovered(e) => ("device_recovered", object!(e => DeviceRecovered { device })),
        Kind::TickOverrun(e) => {
            ("tick_overrun", object!(e => TickOverrun { took_us; stage: state::tick_stage(*stage) }))
        }
        Kind::ReservationBegan(e) => ("reservation_began", object!(e => ReservationBegan { reservation })),
        Kind::ReservationEnded(e) => {
            ("reservation_ended", object!(e => ReservationEnded { reservation, cancelled }))
        }
        Kind::ReservationAtRisk(e) => {
            ("reservation_at_risk", object!(e => ReservationAtRisk { reservation, short_mw }))
        }
        Kind::Draining(e) => ("draining", object!(e => Draining { until_ms })),
    }
}
