//! What reservations do to a site: which are admitted, what they change in a tick, when they begin and end.

use super::{Setup, Site};
use crate::app::{App, AppId, Life};
use crate::battery::bounded;
use crate::command::{Command, Refusal};
use crate::event::{Event, ReservationEnd};
use crate::reserve::{
    AHEAD_MAX, PARTS_MAX, Part, RESERVATIONS_MAX, RESERVATIONS_OF_APP_MAX, Reservation, ReservationId, peak,
};
use crate::settle::Terms;
use crate::share::{BatteryShare, Share};
use crate::tree::NodeId;
use alloc::vec::Vec;
use ecovisor_units::{Energy, Millis, Power, Ppm};

impl Setup {
    /// Makes a reservation that holds from `boundary`, where all that backs it is there.
    pub(super) fn make_reservation(
        &mut self,
        app: AppId,
        from: Millis,
        (power, confidence): (Power, Ppm),
        parts: &[Part],
        boundary: Millis,
    ) -> Result<ReservationId, Refusal> {
        let &App { life, share, .. } = self.reservable(app)?;
        if life == Life::Draining {
            return Err(Refusal::Draining);
        }
        self.check_room(app)?;
        check_parts(from, power, parts, boundary)?;
        let id = ReservationId::new(self.reservations.made + 1);
        let parts = parts.to_vec();
        let (short, list) = (Power::ZERO, &mut self.reservations.list);
        list.push(Reservation { id, app, from, power, confidence, parts, short });
        let fits = self.check_site_grid().and_then(|()| self.check_backing(app, &share));
        match fits {
            Ok(()) => self.reservations.made += 1,
            Err(_) => drop(self.reservations.list.pop()),
        }
        fits.map(|()| id)
    }

    /// Ends a reservation before its time.
    pub(super) fn cancel_reservation(&mut self, id: ReservationId) -> Result<(), Refusal> {
        let at = self.reservations.list.iter().position(|one| one.id == id);
        self.reservations.list.remove(at.ok_or(Refusal::UnknownReservation(id))?);
        Ok(())
    }

    /// Notes by how much a reservation falls short of what was promised, as a forecast now has it.
    pub(super) fn warn_reservation(&mut self, id: ReservationId, short: Power) -> Result<(), Refusal> {
        let one = self.reservations.list.iter_mut().find(|one| one.id == id);
        one.ok_or(Refusal::UnknownReservation(id))?.short = short;
        Ok(())
    }

    /// The reservations of an app that ends, end with it.
    pub(super) fn forget_reservations(&mut self, app: AppId) {
        self.reservations.list.retain(|one| one.app != app);
    }

    fn reservable(&self, app: AppId) -> Result<&App, Refusal> {
        if app == AppId::HOUSE {
            return Err(Refusal::House);
        }
        self.place(app).map(|place| &self.apps[place]).ok_or(Refusal::UnknownApp(app))
    }

    fn check_room(&self, app: AppId) -> Result<(), Refusal> {
        let bounds = [
            (self.reservations.of(app).count(), RESERVATIONS_OF_APP_MAX),
            (self.reservations.list.len(), RESERVATIONS_MAX),
        ];
        match bounds.into_iter().find(|(count, limit)| count >= limit) {
            Some((_, limit)) => Err(Refusal::TooMany { limit: u32::try_from(limit).unwrap_or(u32::MAX) }),
            None => Ok(()),
        }
    }

    /// Whether shares and reservations fit the grid connection together at all times.
    pub(super) fn check_site_grid(&self) -> Result<(), Refusal> {
        let (asked, free) = (self.reservations.site_grid_peak(), self.unshared(None, None).grid_limit);
        if asked > free { Err(Refusal::ReservedGrid { asked, free }) } else { Ok(()) }
    }

    /// Whether `share` bears all of an app's reservations together.
    pub(super) fn check_backing(&self, app: AppId, share: &Share) -> Result<(), Refusal> {
        let (grid, battery) = self.backing_power(app);
        if grid > share.grid_limit {
            return Err(Refusal::ReservedGrid { asked: grid, free: share.grid_limit });
        }
        if battery > share.battery.discharge_limit {
            return Err(Refusal::ReservedDischarge { asked: battery, free: share.battery.discharge_limit });
        }
        let held = self.reservations.held(app, Millis::ZERO, self.rules.conversion());
        let free = share.battery.capacity.less(share.battery.floor);
        if held > free { Err(Refusal::ReservedEnergy { asked: held, free }) } else { Ok(()) }
    }

    /// What is free for good of what is free below a place: what reservations take at their busiest is not. Below the
    /// site that is grid beyond all shares, below an app what backs its own reservations.
    pub(super) fn beside_reservations(&self, parent: Option<NodeId>, free: Share) -> Share {
        match parent.map(|node| self.tree.app_at(node)) {
            None => Share { grid_limit: free.grid_limit.less(self.reservations.site_grid_peak()), ..free },
            Some(Some(app)) => free.left_after(self.backing(app)),
            Some(None) => free,
        }
    }

    /// What of its own share an app's reservations take at their busiest; what is held stands on the share's floor.
    fn backing(&self, app: AppId) -> Share {
        let (grid_limit, discharge_limit) = self.backing_power(app);
        let floor = self.tree.leaf(app).map_or(Energy::ZERO, |leaf| leaf.share.battery.floor);
        let held = self.reservations.held(app, Millis::ZERO, self.rules.conversion());
        let capacity = if held.is_zero() { Energy::ZERO } else { held.saturating_add(floor) };
        let battery = BatteryShare { capacity, discharge_limit, ..BatteryShare::default() };
        Share { solar_weight: 0, battery, grid_limit }
    }

    /// Of its own grid limit and of its battery: what an app's reservations take at their busiest.
    fn backing_power(&self, app: AppId) -> (Power, Power) {
        let most = |of: fn(&Part) -> Power| peak(self.reservations.of(app), of);
        (most(|part| part.own_grid), most(|part| part.battery))
    }
}

/// Whether a plan is one: in order, not over, not too far, and enough for the power at all times.
fn check_parts(from: Millis, power: Power, parts: &[Part], boundary: Millis) -> Result<(), Refusal> {
    let refuse = |why| Err(Refusal::Reservation(why));
    if power.is_zero() {
        return refuse("a reservation of 0 W reserves nothing");
    }
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return refuse("a reservation has 1 to 50 parts");
    }
    let begins = core::iter::once(from).chain(parts.iter().map(|part| part.until));
    if begins.zip(parts).any(|(begin, part)| part.until <= begin) {
        return refuse("each part ends after it begins");
    }
    if parts.iter().any(|part| part.power() < power) {
        return refuse("each part backs all of the power");
    }
    let until = parts.last().map_or(from, |part| part.until);
    if until <= boundary || until.less(boundary) > AHEAD_MAX {
        return refuse("a reservation ends after the tick under way and within a week");
    }
    Ok(())
}

/// What is known of a reservation before a turn.
pub(super) struct Before {
    id: ReservationId,
    app: AppId,
    ran: bool,
    short: Power,
}

impl Site {
    /// The reservations as they stand now; with what is staged where `staged`.
    #[must_use]
    pub fn reservations(&self, staged: bool) -> &crate::reserve::Reservations {
        &self.view(staged).reservations
    }

    /// What of `app`'s battery, inside and above its floor, is free to be reserved: what is in it now, less what is held
    /// already and what the tick under way may still take.
    #[must_use]
    pub fn reservable_energy(&self, app: AppId) -> Energy {
        let setup = self.view(true);
        let (Some(place), Some(account)) = (setup.place(app), self.account(app)) else { return Energy::ZERO };
        let (battery, conversion) = (setup.apps[place].share.battery, setup.rules.conversion());
        let taken = battery.discharge_limit.over(setup.rules.tick);
        let taken = bounded(conversion.leaving(u128::from(taken.get())));
        let held = setup.reservations.held(app, self.now, conversion);
        account.stored.less(battery.floor).less(held).less(taken)
    }

    /// Whether what a command would hold back is in the battery.
    pub(super) fn check_stored(&self, command: &Command) -> Result<(), Refusal> {
        let Command::Reserve { app, from, power, confidence, parts } = command else { return Ok(()) };
        let (id, short) = (ReservationId::new(0), Power::ZERO);
        let (from, power, confidence, parts) = (*from, *power, *confidence, parts.clone());
        let one = Reservation { id, app: *app, from, power, confidence, parts, short };
        let asked = one.held(self.next_boundary(), self.view(true).rules.conversion());
        let free = self.reservable_energy(*app);
        if asked > free { Err(Refusal::ReservedEnergy { asked, free }) } else { Ok(()) }
    }

    /// What the coming or the passed tick of `span` is changed by: floors are raised by what is held at its end, grid limits
    /// by what the site has reserved for them, `house`'s lowered by all of that.
    pub(super) fn reserved(&self, terms: &mut [Terms], span: Millis) {
        let setup = &self.setup;
        let (conversion, end) = (setup.rules.conversion(), self.now.saturating_add(span));
        for one in setup.reservations.all() {
            let Some(terms) = setup.place(one.app).and_then(|place| terms.get_mut(place)) else { continue };
            terms.floor = terms.floor.saturating_add(one.held(end, conversion));
            if let Some(part) = one.at(self.now) {
                terms.grid_limit = terms.grid_limit.saturating_add(part.site_grid.over(span));
            }
        }
        if let Some(house) = terms.last_mut() {
            house.grid_limit = house.grid_limit.less(setup.reservations.site_grid_at(self.now).over(span));
        }
    }

    /// What [`Site::turn_reservations`] compares with.
    pub(super) fn before_turn(&self) -> Vec<Before> {
        let known = |one: &Reservation| Before {
            id: one.id,
            app: one.app,
            ran: one.runs(self.now),
            short: one.short,
        };
        self.setup.reservations.all().iter().map(known).collect()
    }

    /// Lets those go whose time is over, and tells what began, ended or is at risk.
    pub(super) fn turn_reservations(&mut self, before: &[Before], events: &mut Vec<Event>) {
        let now = self.now;
        let over = |one: &Reservation| one.until() <= now;
        for was in before {
            let (app, reservation) = (was.app, was.id);
            let end = match self.setup.reservations.get(was.id) {
                None => ReservationEnd::Cancelled,
                Some(one) if over(one) => ReservationEnd::Over,
                Some(_) => continue,
            };
            events.push(Event::ReservationEnded { app, reservation, end });
        }
        let list = &mut self.setup.reservations.list;
        list.retain(|one| !over(one));
        for one in list.iter() {
            let was = before.iter().find(|was| was.id == one.id);
            let (app, reservation, short) = (one.app, one.id, one.short);
            if one.runs(now) && !was.is_some_and(|was| was.ran) {
                events.push(Event::ReservationBegan { app, reservation });
            }
            if !short.is_zero() && was.is_none_or(|was| was.short != short) {
                events.push(Event::ReservationAtRisk { app, reservation, short });
            }
        }
    }

    /// Tells of running reservations whose app may draw less in the coming tick than they promise, once until it may again.
    pub(super) fn judge_reservations(&mut self, supply: impl Fn(usize) -> Power, events: &mut Vec<Event>) {
        let mut short_now = Vec::new();
        for one in self.setup.reservations.all().iter().filter(|one| one.runs(self.now)) {
            let of_app = self.setup.reservations.of(one.app).filter(|other| other.runs(self.now));
            let promised = of_app.fold(Power::ZERO, |sum, one| sum.saturating_add(one.power));
            let short = self.setup.place(one.app).map_or(Power::ZERO, |place| promised.less(supply(place)));
            if short.is_zero() {
                continue;
            }
            if !self.short.contains(&one.id) {
                let (app, reservation) = (one.app, one.id);
                events.push(Event::ReservationAtRisk { app, reservation, short });
            }
            short_now.push(one.id);
        }
        self.short = short_now;
    }
}
