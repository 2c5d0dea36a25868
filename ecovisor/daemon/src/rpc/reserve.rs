//! Reservations over the wire: asked for, listed, cancelled.

use super::errors::{Problem, Unit};
use super::{Behind, Caller, find, show};
use crate::engine::handle::{Actor, Answer, Question, Reply, View};
use crate::reserve::{Ask, Backing, CounterOffers, Plan, answer, counter_offers};
use ecovisor_core::{App, AppId, Command, Reservation, ReservationId};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_proto::v1::reserve_reply::Answer as Said;
use ecovisor_units::{Millis, Power, Ppm};
use serde_json::{Value, json};

/// Longest window: forecasts reach two days, and a day must fit in at any hour.
const DURATION_MS_MAX: u64 = 86_400_000;
/// Confidence where none is asked for, and its bounds, in ppm.
const CONFIDENCE: u32 = 950_000;
const CONFIDENCE_MIN: u32 = 500_000;
const CONFIDENCE_MAX: u32 = 999_000;

/// Plans made before a site that changes under them is answered with counter-offers.
const TRIES: u32 = 3;

/// A question as it came, checked.
#[derive(Clone, Copy, Debug)]
struct Wish {
    power: Power,
    duration: Millis,
    earliest_ms: Option<u64>,
    latest_ms: Option<u64>,
    confidence: Ppm,
    dry_run: bool,
}

impl TryFrom<v1::ReserveRequest> for Wish {
    type Error = Problem;

    fn try_from(wire: v1::ReserveRequest) -> Result<Self, Problem> {
        let v1::ReserveRequest { power_mw, duration_ms, earliest_start_ms, latest_start_ms, .. } = wire;
        let v1::ReserveRequest { confidence_ppm, dry_run, .. } = wire;
        let invalid = |field, message: String| Problem::new(Reason::Invalid, message).about(field);
        if power_mw == 0 {
            return Err(invalid("power_mw", "0 mW reserve nothing: ask for 1 mW at least".to_owned()));
        }
        if !(1..=DURATION_MS_MAX).contains(&duration_ms) {
            let message = format!("{duration_ms} ms are not between 1 ms and a day");
            let problem = invalid("duration_ms", message);
            return Err(problem.bounded(DURATION_MS_MAX, Some(DURATION_MS_MAX), Unit::Millis));
        }
        if let (Some(earliest), Some(latest)) = (earliest_start_ms, latest_start_ms)
            && latest < earliest
        {
            let message = format!("the latest start, {latest}, lies before the earliest, {earliest}");
            return Err(invalid("latest_start_ms", message).bounded(earliest, Some(earliest), Unit::Millis));
        }
        let asked = if confidence_ppm == 0 { CONFIDENCE } else { confidence_ppm };
        let confidence = Ppm::new(asked).filter(|_| (CONFIDENCE_MIN..=CONFIDENCE_MAX).contains(&asked));
        let confidence = confidence.ok_or_else(|| {
            let message = format!("{asked} ppm are not between {CONFIDENCE_MIN} and {CONFIDENCE_MAX}");
            let (most, nearest) = (u64::from(CONFIDENCE_MAX), asked.clamp(CONFIDENCE_MIN, CONFIDENCE_MAX));
            invalid("confidence_ppm", message).bounded(most, Some(u64::from(nearest)), Unit::Ppm)
        })?;
        let (earliest_ms, latest_ms) = (earliest_start_ms, latest_start_ms);
        let (power, duration) = (Power::new(power_mw), Millis::new(duration_ms));
        Ok(Self { power, duration, earliest_ms, latest_ms, confidence, dry_run })
    }
}

impl Wish {
    fn ask(&self, backing: &Backing) -> Ask {
        let earliest =
            self.earliest_ms.map_or(backing.begin(), |at| backing.site_time(at)).max(backing.begin());
        let latest = self.latest_ms.map_or(earliest, |at| backing.site_time(at)).max(earliest);
        let Self { power, duration, confidence, .. } = *self;
        Ask { power, duration, earliest, latest, confidence }
    }
}

/// Answers with a reservation, or with what would be granted instead.
///
/// # Errors
/// Where the question is none, or the app takes no reservation at all.
pub async fn reserve(
    behind: &Behind,
    caller: Caller,
    asked: v1::ReserveRequest,
) -> Result<v1::ReserveReply, Problem> {
    let wish = Wish::try_from(asked)?;
    let id = caller.app.id;
    for _ in 0..TRIES {
        let view = behind.engine.view();
        let (backing, ask) = considered(behind, &view, id, &wish)?;
        let Some(plan) = answer(&backing, &ask) else { break };
        match granted(behind, &caller.actor(), id, &ask, plan, wish.dry_run).await {
            Ok(reply) => return Ok(reply),
            // Somebody was faster, or a tick took from the battery: the site is looked at anew.
            Err(problem) if problem.reason == Reason::ExceedsFree => {}
            Err(problem) => return Err(problem),
        }
    }
    let view = behind.engine.view();
    let (backing, ask) = considered(behind, &view, id, &wish)?;
    // Some thousand plans: not on a thread that serves others.
    let offers = tokio::task::spawn_blocking(move || offers(&backing, &counter_offers(&backing, &ask)));
    let offers = offers.await.map_err(|_| Problem::stopping())?;
    Ok(v1::ReserveReply { answer: Some(Said::CounterOffer(offers)), holds_from_tick: None })
}

fn considered(behind: &Behind, view: &View, id: AppId, wish: &Wish) -> Result<(Backing, Ask), Problem> {
    let app = find(view, id).ok_or_else(|| Problem::new(Reason::UnknownApp, "the app is no more"))?;
    let backing = Backing::of(view, app, behind.forecast.as_deref());
    let ask = wish.ask(&backing);
    Ok((backing, ask))
}

async fn granted(
    behind: &Behind,
    actor: &Actor,
    app: AppId,
    ask: &Ask,
    plan: Plan,
    dry_run: bool,
) -> Result<v1::ReserveReply, Problem> {
    let Plan { from, parts } = plan;
    let (power, confidence) = (ask.power, ask.confidence);
    let command = Command::Reserve { app, from, power, confidence, parts: parts.clone() };
    let answer = asked(behind, actor.clone(), json!({ "command": command }), command, dry_run).await?;
    let id = answer.accepted.reservation.filter(|_| !dry_run).unwrap_or(ReservationId::new(0));
    let one = Reservation { id, app, from, power, confidence, parts, short: Power::ZERO };
    Ok(v1::ReserveReply {
        answer: Some(Said::Reservation(reservation(&answer.view, &one))),
        holds_from_tick: (!dry_run).then_some(answer.accepted.holds_from.0),
    })
}

async fn asked(
    behind: &Behind,
    actor: Actor,
    arguments: Value,
    command: Command,
    dry_run: bool,
) -> Result<Answer, Problem> {
    let question = Question::Command { command, grants: None, dry_run };
    match behind.engine.ask(actor, arguments, question).await? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Reloaded(_) => Err(Problem::stopping()),
    }
}

/// Ends a reservation; of `of` alone where somebody is named.
///
/// # Errors
/// Where there is none of that number, which another app's is for an app.
pub async fn cancel(
    behind: &Behind,
    actor: Actor,
    of: Option<AppId>,
    asked_for: v1::CancelReservationRequest,
) -> Result<v1::CancelReservationReply, Problem> {
    let v1::CancelReservationRequest { id } = asked_for;
    let view = behind.engine.view();
    let known = u32::try_from(id).ok().map(ReservationId::new);
    let known = known.and_then(|id| view.site.reservations(true).get(id));
    let known = known.filter(|one| of.is_none_or(|app| one.app == app));
    let known = known.ok_or_else(|| {
        let message = format!("there is no reservation {id}");
        behind.denied(&actor, Problem::new(Reason::UnknownReservation, message).about("id"))
    })?;
    let arguments = json!({ "reservation": id });
    let answer = asked(behind, actor, arguments, Command::CancelReservation(known.id), false).await?;
    Ok(v1::CancelReservationReply { holds_from_tick: answer.accepted.holds_from.0 })
}

/// The reservations of `app`, or of all, what is staged included.
#[must_use]
pub fn list(view: &View, app: Option<&App>) -> v1::ListReservationsReply {
    let wanted = view.site.reservations(true).all().iter();
    let wanted = wanted.filter(|one| app.is_none_or(|app| one.app == app.id));
    v1::ListReservationsReply { reservations: wanted.map(|one| reservation(view, one)).collect() }
}

fn reservation(view: &View, one: &Reservation) -> v1::Reservation {
    let (now, turn_ms) = (view.site.now(), show::turn_ms(view));
    let wall = |at: Millis| match at >= now {
        true => turn_ms.saturating_add(at.less(now).get()),
        false => turn_ms.saturating_sub(now.less(at).get()),
    };
    let part = |part: &ecovisor_core::reserve::Part| v1::ReservationPart {
        end_ms: wall(part.until),
        solar_mw: part.solar.get(),
        own_grid_mw: part.own_grid.get(),
        battery_mw: part.battery.get(),
        site_grid_mw: part.site_grid.get(),
    };
    v1::Reservation {
        id: u64::from(one.id.get()),
        app: find(view, one.app).map(|app| app.name.to_string()).unwrap_or_default(),
        power_mw: one.power.get(),
        start_ms: wall(one.from),
        end_ms: wall(one.until()),
        confidence_ppm: one.confidence.get(),
        parts: one.parts.iter().map(part).collect(),
        short_mw: one.short.get(),
        running: view.site.reservations(false).get(one.id).is_some_and(|one| one.runs(now)),
    }
}

fn offers(backing: &Backing, offers: &CounterOffers) -> v1::CounterOffer {
    let offer = |ask: Option<Ask>| {
        ask.map(|ask| v1::Offer {
            power_mw: ask.power.get(),
            start_ms: backing.wall_ms(ask.earliest),
            duration_ms: ask.duration.get(),
            confidence_ppm: ask.confidence.get(),
        })
    };
    let CounterOffers { most_power, longest, earliest, surest } = *offers;
    v1::CounterOffer {
        most_power: offer(most_power),
        longest: offer(longest),
        earliest: offer(earliest),
        surest: offer(surest),
    }
}
