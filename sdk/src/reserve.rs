//! Reservations: power that an app may count on in a window to come.

use crate::Error;
use crate::error::present;
use ecovisor_proto::v1;
use ecovisor_proto::v1::reserve_reply::Answer;
use ecovisor_units::{Millis, Power, Ppm};

/// Asks for power: what the app may draw, all together, all through a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// At least 1 mW.
    pub power: Power,
    /// How long; at most a day.
    pub duration: Millis,
    /// Not before, in wall-clock time since 1970 UTC; `None`: from the coming tick on.
    pub earliest_start: Option<Millis>,
    /// Begun not after; `None`: at the earliest start.
    pub latest_start: Option<Millis>,
    /// How sure, 50 to 99.9 %; `None`: 95 %.
    pub confidence: Option<Ppm>,
}

/// The answer to a [`Wish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReserveAnswer {
    /// It is granted.
    Granted(Reservation),
    /// It is not, and nothing has changed: what would be, each if asked for now.
    CounterOffer(CounterOffer),
}

/// What would be granted instead, each with all else as it was asked; `None`: nothing of that kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterOffer {
    /// The most power.
    pub most_power: Option<Wish>,
    /// The longest time.
    pub longest: Option<Wish>,
    /// The earliest start within two days.
    pub earliest: Option<Wish>,
    /// The highest confidence.
    pub surest: Option<Wish>,
}

/// Power reserved for a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Which; zero: a dry run.
    pub id: u64,
    /// What the app may draw in the window, all together.
    pub power: Power,
    /// Start, in wall-clock time since 1970 UTC; it holds from the first tick that begins in the window.
    pub start: Millis,
    /// End, exclusive.
    pub end: Millis,
    /// How sure it was when it was given.
    pub confidence: Ppm,
    /// What backs it, in order of time.
    pub parts: Vec<ReservationPart>,
    /// Power that a later forecast says is missing; zero: it stands as given.
    pub short: Power,
    /// Whether its window has begun.
    pub running: bool,
}

/// What backs a reservation until some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservationPart {
    /// Its end, in wall-clock time since 1970 UTC.
    pub end: Millis,
    /// The app's part of the sun, as sure as was asked.
    pub solar: Power,
    /// Of the app's own grid limit.
    pub own_grid: Power,
    /// From the app's own battery.
    pub battery: Power,
    /// Of the site's grid beyond the app's limit.
    pub site_grid: Power,
}

impl Wish {
    pub(crate) fn write(self, dry_run: bool) -> v1::ReserveRequest {
        v1::ReserveRequest {
            power_mw: self.power.get(),
            duration_ms: self.duration.get(),
            earliest_start_ms: self.earliest_start.map(Millis::get),
            latest_start_ms: self.latest_start.map(Millis::get),
            confidence_ppm: self.confidence.map_or(0, Ppm::get),
            dry_run,
        }
    }

    fn read(wire: v1::Offer) -> Self {
        let v1::Offer { power_mw, start_ms, duration_ms, confidence_ppm } = wire;
        Self {
            power: Power::new(power_mw),
            duration: Millis::new(duration_ms),
            earliest_start: Some(Millis::new(start_ms)),
            latest_start: None,
            confidence: Ppm::new(confidence_ppm),
        }
    }
}

impl ReserveAnswer {
    pub(crate) fn read(wire: v1::ReserveReply) -> Result<Self, Error> {
        let v1::ReserveReply { answer, holds_from_tick: _ } = wire;
        match present(answer, "the answer to a wish")? {
            Answer::Reservation(one) => Reservation::read(one).map(Self::Granted),
            Answer::CounterOffer(v1::CounterOffer { most_power, longest, earliest, surest }) => {
                Ok(Self::CounterOffer(CounterOffer {
                    most_power: most_power.map(Wish::read),
                    longest: longest.map(Wish::read),
                    earliest: earliest.map(Wish::read),
                    surest: surest.map(Wish::read),
                }))
            }
        }
    }
}

impl Reservation {
    pub(crate) fn read(wire: v1::Reservation) -> Result<Self, Error> {
        let v1::Reservation { id, app: _, power_mw, start_ms, end_ms, confidence_ppm, parts, .. } = wire;
        let v1::Reservation { short_mw, running, .. } = wire;
        let part = |part: v1::ReservationPart| ReservationPart {
            end: Millis::new(part.end_ms),
            solar: Power::new(part.solar_mw),
            own_grid: Power::new(part.own_grid_mw),
            battery: Power::new(part.battery_mw),
            site_grid: Power::new(part.site_grid_mw),
        };
        Ok(Self {
            id,
            power: Power::new(power_mw),
            start: Millis::new(start_ms),
            end: Millis::new(end_ms),
            confidence: present(Ppm::new(confidence_ppm), "a reservation's confidence")?,
            parts: parts.into_iter().map(part).collect(),
            short: Power::new(short_mw),
            running,
        })
    }
}
