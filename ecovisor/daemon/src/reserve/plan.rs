//! Whether what there is is enough for a wish, and what backs which part of it.
//!
//! In each stretch of the window: sun first (at the quantile that the confidence leaves), then the app's own grid limit,
//! then its battery, then what is free of the site's grid. Where the battery does not last for all of it, the site's grid
//! goes first wherever that makes the plan possible.

use super::backing::{Backing, Slot};
use ecovisor_core::reserve::{PARTS_MAX, Part};
use ecovisor_units::{Energy, Millis, Power, Ppm};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What the app wants to draw, all together.
    pub power: Power,
    /// For how long.
    pub duration: Millis,
    /// Not before, in ms of the site's own time.
    pub earliest: Millis,
    /// Begun not after; at least `earliest`.
    pub latest: Millis,
    /// How sure it must be, 500,000 to 999,000 ppm.
    pub confidence: Ppm,
}

/// A window and what backs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When it begins, in ms of the site's own time.
    pub from: Millis,
    /// One after the other.
    pub parts: Vec<Part>,
}

/// The plan for the earliest begin at which there is enough; `None` where there is none.
#[must_use]
pub fn answer(backing: &Backing, ask: &Ask) -> Option<Plan> {
    starts(backing, ask).find_map(|from| plan(backing, ask, from))
}

/// Begins worth trying: the earliest, each moment at which anything changes, the latest.
fn starts<'a>(backing: &'a Backing, ask: &'a Ask) -> impl Iterator<Item = Millis> + 'a {
    let earliest = ask.earliest.max(backing.begin());
    let latest = ask.latest.max(earliest);
    let between = backing.slots.iter().map(|slot| slot.from).filter(move |at| earliest < *at && *at < latest);
    std::iter::once(earliest).chain(between).chain((latest > earliest).then_some(latest))
}

/// A stretch of the window with what the forecast leaves of it.
struct Stretch {
    slot: Slot,
    sun: Power,
    /// The most grid, of one's own and the site's together.
    grid: Power,
}

fn plan(backing: &Backing, ask: &Ask, from: Millis) -> Option<Plan> {
    let until = from.saturating_add(ask.duration);
    if until > backing.end() || ask.duration.is_zero() || ask.power.is_zero() {
        return None;
    }
    let stretches = stretches(backing, ask, from, until);
    let mut parts =
        stretches.iter().map(|one| site_grid_first(one, ask.power)).collect::<Option<Vec<Part>>>()?;
    let mut left = backing.energy;
    for (one, part) in stretches.iter().zip(&parts) {
        let taken = leaving(backing, part.battery, one.slot);
        if taken > left {
            return None;
        }
        left -= taken;
    }
    for (one, part) in stretches.iter().zip(&mut parts) {
        left = prefer_battery(backing, one, part, left);
    }
    let parts = joined(parts);
    (parts.len() <= PARTS_MAX).then_some(Plan { from, parts })
}

/// The window, cut where anything changes. Each sunlit hour bears an equal part of the risk, and so does carbon where it bounds
/// the grid: however errors hang together, all of it holds with the confidence that was asked (Bonferroni).
fn stretches(backing: &Backing, ask: &Ask, from: Millis, until: Millis) -> Vec<Stretch> {
    let cut = |slot: &Slot| {
        let (from, until) = (slot.from.max(from), slot.until.min(until));
        (from < until).then_some(Slot { from, until, ..*slot })
    };
    let slots: Vec<Slot> = backing.slots.iter().filter_map(cut).collect();
    let level = risk(ask.confidence) / f64::from(shares_of_risk(backing, &slots).max(1));
    let stretch = |slot: Slot| Stretch {
        slot,
        sun: backing.sun(slot.from, slot.until, level).less(slot.sun_taken),
        grid: backing.carbon_grid(slot.from, slot.until, ask.duration, level),
    };
    slots.into_iter().map(stretch).collect()
}

/// What may go wrong, 0 to 1.
pub(super) fn risk(confidence: Ppm) -> f64 {
    1.0 - f64::from(confidence.get()) / 1_000_000.0
}

fn shares_of_risk(backing: &Backing, slots: &[Slot]) -> u32 {
    let mut hours: Vec<u64> = slots
        .iter()
        .filter(|slot| backing.is_sunlit(slot.from))
        .map(|slot| backing.hour(slot.from))
        .collect();
    hours.dedup();
    let mut carbon: Vec<u64> = slots.iter().map(|slot| backing.hour(slot.from)).collect();
    carbon.dedup();
    let carbon = if backing.bounds_carbon() { carbon.len() } else { 0 };
    u32::try_from(hours.len() + carbon).unwrap_or(u32::MAX)
}

/// As little battery as possible; `None` where even all of its power is not enough.
fn site_grid_first(one: &Stretch, power: Power) -> Option<Part> {
    let solar = one.sun.min(power);
    let open = power.less(solar);
    let own_grid = one.slot.own_grid.min(one.grid).min(open);
    let open = open.less(own_grid);
    let site_grid = one.slot.site_grid.min(one.grid.less(own_grid)).min(open);
    let battery = open.less(site_grid);
    (battery <= one.slot.battery).then_some(Part {
        until: one.slot.until,
        solar,
        own_grid,
        battery,
        site_grid,
    })
}

/// Battery instead of the site's grid, as far as `left` goes; returns what is left then.
fn prefer_battery(backing: &Backing, one: &Stretch, part: &mut Part, left: Energy) -> Energy {
    let span = one.slot.until.less(one.slot.from);
    // All of the stretch's battery counts anew, so that it is rounded once.
    let mine = left.saturating_add(leaving(backing, part.battery, one.slot));
    let lasts = backing.conversion.deliverable(u128::from(mine.get())) / u128::from(span.get().max(1));
    let most = Power::new(u64::try_from(lasts).unwrap_or(u64::MAX)).min(one.slot.battery);
    let both = part.battery.saturating_add(part.site_grid);
    let battery = most.min(both).max(part.battery);
    (part.site_grid, part.battery) = (both.less(battery), battery);
    mine.less(leaving(backing, battery, one.slot))
}

/// What a stretch at that power takes out of the store, loss included.
fn leaving(backing: &Backing, battery: Power, slot: Slot) -> Energy {
    let out = battery.over(slot.until.less(slot.from));
    let inside = backing.conversion.leaving(u128::from(out.get()));
    Energy::new(u64::try_from(inside).unwrap_or(u64::MAX))
}

/// Equal neighbours become one.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.last_mut() {
            Some(last) if Part { until: part.until, ..*last } == part => last.until = part.until,
            _ => joined.push(part),
        }
    }
    joined
}
