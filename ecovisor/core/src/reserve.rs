//! Reservations: power that an app may draw in a window to come, and what backs each part of it.
//!
//! A reservation is planned outside (forecasts float) and enforced here (integers): the site's grid that it takes is added
//! to the app's grid limit in the window and kept free for it before; the battery that it takes is kept in the app's own
//! battery until its part of the window, and released as planned. Solar is backed by a forecast alone.

use crate::app::AppId;
use crate::battery::{Conversion, bounded};
use alloc::vec::Vec;
use ecovisor_units::{Energy, Millis, Power, Ppm};
use serde::{Deserialize, Serialize};

/// Reservations of one app at most, running ones included: a day in parts of an hour and a half.
pub const RESERVATIONS_OF_APP_MAX: usize = 16;

/// Reservations of a site at most: what admission adds up stays under a millisecond.
pub const RESERVATIONS_MAX: usize = 256;

/// Parts of one reservation at most: two days by the hour, with one begun at each end.
pub const PARTS_MAX: usize = 50;

/// How far ahead a reservation may end: a week. Forecasts reach two days, grid and battery need none.
pub const AHEAD_MAX: Millis = Millis::from_secs(7 * 86_400);

/// Which reservation: given at its making, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReservationId(u32);

impl ReservationId {
    /// The reservation of that number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number; the first is 1.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What backs the power of a reservation until some time. The four together are at least the reserved power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its end, in ms of the site's own time; it begins where the one before ends.
    pub until: Millis,
    /// What the app's part of the sun gives at least, with the reservation's confidence. Nothing enforces it.
    pub solar: Power,
    /// Of the app's own grid limit.
    pub own_grid: Power,
    /// Out of the app's own battery, at its terminals.
    pub battery: Power,
    /// Of the site's grid connection, beyond the app's own limit.
    pub site_grid: Power,
}

impl Part {
    /// All of it.
    #[must_use]
    pub fn power(&self) -> Power {
        [self.solar, self.own_grid, self.battery, self.site_grid]
            .into_iter()
            .fold(Power::ZERO, Power::saturating_add)
    }
}

/// Power reserved for a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Which.
    pub id: ReservationId,
    /// Whose.
    pub app: AppId,
    /// Its begin, in ms of the site's own time; it holds from the first tick that begins in its window.
    pub from: Millis,
    /// What the app may draw in the window, all together.
    pub power: Power,
    /// With which confidence it was given.
    pub confidence: Ppm,
    /// What backs it, in order of time; never empty.
    pub parts: Vec<Part>,
    /// By how much a later forecast says that it falls short; zero: it stands as given.
    pub short: Power,
}

impl Reservation {
    /// Its end.
    #[must_use]
    pub fn until(&self) -> Millis {
        self.parts.last().map_or(self.from, |part| part.until)
    }

    /// The parts, each with its begin.
    pub fn spans(&self) -> impl Iterator<Item = (Millis, &Part)> {
        let begins = core::iter::once(self.from).chain(self.parts.iter().map(|part| part.until));
        begins.zip(&self.parts)
    }

    /// Whether `now` lies in its window.
    #[must_use]
    pub fn runs(&self, now: Millis) -> bool {
        self.from <= now && now < self.until()
    }

    /// The part that `now` lies in.
    #[must_use]
    pub fn at(&self, now: Millis) -> Option<&Part> {
        self.spans().find(|(begin, part)| *begin <= now && now < part.until).map(|(_, part)| part)
    }

    /// What must be in the battery at `now`, inside and above its floor, for all of the window that is still to come.
    #[must_use]
    pub fn held(&self, now: Millis, conversion: Conversion) -> Energy {
        self.spans().fold(Energy::ZERO, |held, (begin, part)| {
            let left = part.until.less(begin.max(now));
            let leaves = conversion.leaving(u128::from(part.battery.over(left).get()));
            held.saturating_add(bounded(leaves))
        })
    }
}

/// The reservations of a site, in the order of their making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservations {
    pub(crate) list: Vec<Reservation>,
    /// How many there ever were.
    pub(crate) made: u32,
}

impl Reservations {
    /// Those of `app`.
    pub fn of(&self, app: AppId) -> impl Iterator<Item = &Reservation> {
        self.list.iter().filter(move |one| one.app == app)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Reservation] {
        &self.list
    }

    /// That one.
    #[must_use]
    pub fn get(&self, id: ReservationId) -> Option<&Reservation> {
        self.list.iter().find(|one| one.id == id)
    }

    /// The most of the site's grid that is reserved at any one time.
    pub(crate) fn site_grid_peak(&self) -> Power {
        peak(self.list.iter(), |part| part.site_grid)
    }

    /// The site's grid that is reserved at `now`.
    #[must_use]
    pub fn site_grid_at(&self, now: Millis) -> Power {
        let parts = self.list.iter().filter_map(|one| one.at(now));
        parts.fold(Power::ZERO, |sum, part| sum.saturating_add(part.site_grid))
    }

    /// What must be in `app`'s battery at `now`, inside and above its floor.
    #[must_use]
    pub fn held(&self, app: AppId, now: Millis, conversion: Conversion) -> Energy {
        self.of(app).fold(Energy::ZERO, |sum, one| sum.saturating_add(one.held(now, conversion)))
    }
}

/// The most that `of` comes to at any one time, over all these together.
pub(crate) fn peak<'a>(
    reservations: impl Iterator<Item = &'a Reservation>,
    of: impl Fn(&Part) -> Power,
) -> Power {
    // At one moment what ends makes room before what begins takes it: `false` sorts first.
    let mut edges: Vec<(Millis, bool, Power)> = Vec::new();
    for (begin, part) in reservations.flat_map(Reservation::spans) {
        let power = of(part);
        if !power.is_zero() && begin < part.until {
            edges.extend([(begin, true, power), (part.until, false, power)]);
        }
    }
    edges.sort_unstable();
    let (mut now, mut most) = (Power::ZERO, Power::ZERO);
    for (_, begins, power) in edges {
        now = if begins { now.saturating_add(power) } else { now.less(power) };
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn part(until: u64, battery: u64, site_grid: u64) -> Part {
        let (until, battery, site_grid) = (Millis::new(until), Power::new(battery), Power::new(site_grid));
        Part { until, solar: Power::ZERO, own_grid: Power::ZERO, battery, site_grid }
    }

    fn reservation(from: u64, parts: Vec<Part>) -> Reservation {
        let (id, app, confidence) = (ReservationId::new(1), AppId::new(1), Ppm::WHOLE);
        Reservation {
            id,
            app,
            from: Millis::new(from),
            power: Power::ZERO,
            confidence,
            parts,
            short: Power::ZERO,
        }
    }

    #[test]
    fn the_battery_is_held_until_its_part_and_released_as_planned() {
        let one = reservation(100, vec![part(200, 0, 5), part(300, 3, 0), part(400, 1, 0)]);
        let held = |now| one.held(Millis::new(now), Conversion::LOSSLESS).get();
        assert_eq!([0, 100, 200, 250, 300, 399, 400, 500].map(held), [400, 400, 400, 250, 100, 1, 0, 0]);
        let half = Conversion {
            discharge: crate::battery::Efficiency::new(500_000).unwrap(),
            ..Conversion::LOSSLESS
        };
        assert_eq!(one.held(Millis::ZERO, half), Energy::new(800), "inside, so that the loss is in it");
        assert_eq!(one.at(Millis::new(199)).map(|part| part.site_grid.get()), Some(5));
        assert!(!one.runs(Millis::new(99)) && one.runs(Millis::new(100)) && !one.runs(Millis::new(400)));
        assert_eq!((one.at(Millis::new(99)), one.at(Millis::new(400))), (None, None));
    }

    #[test]
    fn what_follows_on_does_not_add_up_and_what_overlaps_does() {
        let all = [
            reservation(0, vec![part(100, 0, 5)]),
            reservation(100, vec![part(200, 0, 7)]),
            reservation(150, vec![part(160, 0, 2), part(170, 0, 4)]),
        ];
        assert_eq!(peak(all.iter(), |part| part.site_grid), Power::new(11));
        assert_eq!(peak(all[..2].iter(), |part| part.site_grid), Power::new(7));
        assert_eq!(peak([].iter(), |part| part.site_grid), Power::ZERO);
    }
}
