//! Whether what was promised still holds: at every full hour the sun that reservations count on is laid beside the new
//! forecast, and the battery beside what is held in it. Where it falls short, the app is told early.

use super::backing::Backing;
use super::plan::risk;
use crate::engine::handle::{Actor, Engine, View};
use crate::forecast::Forecasts;
use ecovisor_core::{Command, Reservation, ReservationId};
use ecovisor_units::{Millis, Power};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Part of the reserved power, one in so many, that may be missing before anybody is told: forecasts breathe.
const TOLD_PART: u64 = 20;

/// Judges all reservations at every full hour until `shutdown`.
pub async fn watch(engine: Engine, forecasts: Arc<Forecasts>, shutdown: CancellationToken) {
    let mut hours = forecasts.hours();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = hours.changed() => if changed.is_err() { return },
        }
        for (reservation, short) in changed(&engine.view(), &forecasts) {
            let actor = Actor { name: "ecovisord".to_owned(), via: "forecast", method: "WarnReservation" };
            let arguments = json!({ "reservation": reservation.get(), "short_mw": short.get() });
            let command = Command::WarnReservation { reservation, short };
            if let Err(error) = engine.command(actor, arguments, command).await {
                tracing::warn!(%error, reservation = reservation.get(), "nobody is told that it falls short");
            }
        }
    }
}

/// Reservations whose shortfall is another than was told.
fn changed(view: &View, forecasts: &Forecasts) -> Vec<(ReservationId, Power)> {
    let mut changed = Vec::new();
    for app in view.site.apps(true) {
        let own: Vec<&Reservation> = view.site.reservations(true).of(app.id).collect();
        if own.is_empty() {
            continue;
        }
        let backing = Backing::of(view, app, Some(forecasts));
        let battery = battery_short(view, &own);
        for one in own {
            let short =
                sun_short(&backing, one).max(if counts_on_battery(one) { battery } else { Power::ZERO });
            let told = if short.get() >= one.power.get() / TOLD_PART { short } else { Power::ZERO };
            if told.is_zero() != one.short.is_zero() {
                changed.push((one.id, told));
            }
        }
    }
    changed
}

/// The most that the sun of any hour still to come is now expected to lack, at the reservation's own confidence.
fn sun_short(backing: &Backing, one: &Reservation) -> Power {
    let coming = |slot: &&super::backing::Slot| one.from <= slot.from && slot.from < one.until();
    let mut hours: Vec<u64> = backing
        .slots
        .iter()
        .filter(coming)
        .filter(|slot| backing.is_sunlit(slot.from))
        .map(|slot| backing.hour(slot.from))
        .collect();
    hours.dedup();
    let level = risk(one.confidence) / f64::from(u32::try_from(hours.len()).unwrap_or(u32::MAX).max(1));
    // What is taken is that of all its reservations, this one included.
    let short = |slot: &super::backing::Slot| slot.sun_taken.less(backing.sun(slot.from, slot.until, level));
    backing.slots.iter().filter(coming).map(short).max().unwrap_or_default()
}

fn counts_on_battery(one: &Reservation) -> bool {
    one.parts.iter().any(|part| !part.battery.is_zero())
}

/// What the battery lacks of all that is held in it, as a mean over the time in which it is to give.
fn battery_short(view: &View, own: &[&Reservation]) -> Power {
    let (site, now) = (&view.site, view.site.now());
    let Some(app) = own.first().map(|one| one.app) else { return Power::ZERO };
    let conversion = site.rules_staged().conversion();
    let held = site.reservations(true).held(app, now, conversion);
    let floor =
        site.apps(true).iter().find(|a| a.id == app).map(|a| a.share.battery.floor).unwrap_or_default();
    let stored = site.account(app).map(|account| account.stored.less(floor)).unwrap_or_default();
    let gives = own.iter().flat_map(|one| one.spans()).filter(|(_, part)| !part.battery.is_zero());
    let time: Millis =
        gives.map(|(from, part)| part.until.less(from.max(now))).fold(Millis::ZERO, Millis::saturating_add);
    if time.is_zero() { Power::ZERO } else { held.less(stored).mean_power(time) }
}
