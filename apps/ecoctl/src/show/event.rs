//! Events in one clause each.

use super::{energy, intensity, mass, or, power, state};
use ecovisor_sdk::operator::wire;
use wire::event::Kind;

/// What happened: `cap of one lowered to 30 W (40 W is set)`.
pub fn clause(event: &wire::Event) -> String {
    let Some(kind) = &event.kind else { return "something this ecoctl does not know yet".into() };
    match kind {
        Kind::SolarChanged(e) => format!("solar went from {} to {}", power(e.from_mw), power(e.to_mw)),
        Kind::CarbonChanged(e) => {
            format!("carbon went from {} to {}", intensity(e.from_mg_per_kwh), intensity(e.to_mg_per_kwh))
        }
        Kind::BatteryFull(e) => format!("battery full at {}", energy(e.charge_level_uj)),
        Kind::BatteryEmpty(e) => format!("battery empty at {}", energy(e.charge_level_uj)),
        Kind::CapLowered(e) => {
            let set = or(e.cap_mw, |cap| format!("{} is set", power(cap)), "none is set");
            format!("cap of {} lowered to {} ({set})", e.container, power(e.effective_cap_mw))
        }
        Kind::CapRestored(e) => format!("cap of {} restored to {}", e.container, or(e.cap_mw, power, "none")),
        Kind::OverdraftStarted(e) => format!("overdraft started with {}", energy(e.overdraft_uj)),
        Kind::OverdraftEnded(e) => {
            format!("overdraft of {} ended, {} are owed", energy(e.overdraft_uj), energy(e.debt_uj))
        }
        Kind::BudgetReached(e) => {
            format!(
                "{} % of the carbon budget spent: {} of {}",
                e.percent,
                mass(e.spent_mg),
                mass(e.budget_mg)
            )
        }
        Kind::LeaseExpired(e) => lease_expired(e),
        Kind::ChargeEnded(e) => format!("battery full, charging at {} ended", power(e.charge_rate_mw)),
        Kind::BatteryAdjusted(e) => format!(
            "battery lowered by {} to {}, the real one holds less",
            energy(e.adjusted_down_uj),
            energy(e.charge_level_uj)
        ),
        Kind::DeviceDegraded(e) => format!("device {} is {}", e.device, state::quality(e.quality)),
        Kind::DeviceRecovered(e) => format!("device {} is back", e.device),
        Kind::TickOverrun(e) => overrun(e),
        Kind::ReservationBegan(e) => format!("reservation {} began", e.reservation),
        Kind::ReservationEnded(e) if e.cancelled => format!("reservation {} was cancelled", e.reservation),
        Kind::ReservationEnded(e) => format!("reservation {} is over", e.reservation),
        Kind::ReservationAtRisk(e) => {
            format!("reservation {} is at risk: short of {}", e.reservation, power(e.short_mw))
        }
        Kind::Draining(e) => format!("draining, {}", or(e.until_ms, until, "until its debts are settled")),
    }
}

fn until(ms: u64) -> String {
    format!("until {}", crate::time::show(ms))
}

fn overrun(event: &wire::TickOverrun) -> String {
    let took = super::span(event.took_us.div_ceil(1_000));
    match event.stage() {
        wire::TickStage::Late => format!("the tick began {took} late"),
        wire::TickStage::Gather => format!("the tick went on without a reading, after {took}"),
        wire::TickStage::Work => format!("the tick took {took}, longer than a tick"),
        wire::TickStage::Unspecified => format!("the tick took {took}"),
    }
}

fn lease_expired(event: &wire::LeaseExpired) -> String {
    let setting = state::setting(event.setting).replace('_', " ");
    match event.container.as_str() {
        "" => format!("lease of {setting} ended"),
        container => format!("lease of {setting} of {container} ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_clause() {
        let check = |kind, text: &str| {
            let event = wire::Event { tick: 1, wall_ms: 2, kind };
            assert_eq!(clause(&event), text);
        };
        let lowered =
            wire::CapLowered { container: "one".into(), cap_mw: Some(40_000), effective_cap_mw: 30_000 };
        check(Some(Kind::CapLowered(lowered)), "cap of one lowered to 30 W (40 W is set)");
        let expired = wire::LeaseExpired { setting: 3, container: "one".into() };
        check(Some(Kind::LeaseExpired(expired)), "lease of container power cap of one ended");
        let degraded = wire::DeviceDegraded { device: "pv".into(), quality: 2 };
        check(Some(Kind::DeviceDegraded(degraded)), "device pv is held");
        let overrun = wire::TickOverrun { stage: 1, took_us: 60_001 };
        check(Some(Kind::TickOverrun(overrun)), "the tick began 61 ms late");
        check(None, "something this ecoctl does not know yet");
    }
}
