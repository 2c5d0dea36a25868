//! Reservations on a whole site: an app asks for too much, takes the counter-offer, and has its power when the window comes;
//! another app's reservation limits a later one.

use crate::configs::{NOON, replaced};
use ecovisor_hil_tests::site::Site;
use ecovisor_hil_tests::wait;
use ecovisor_sdk::{
    EnergySystem, Error, EventKind, Millis, Notice, Power, Reservation, ReserveAnswer, Thresholds, Wish,
};
use serde_json::Value;

/// Half an hour from `start` on.
fn wish(watts: u64, start: Millis) -> Wish {
    Wish {
        power: Power::from_watts(watts),
        duration: Millis::from_secs(1_800),
        earliest_start: Some(start),
        latest_start: None,
        confidence: None,
    }
}

fn granted(answer: ReserveAnswer) -> Reservation {
    match answer {
        ReserveAnswer::Granted(reservation) => reservation,
        ReserveAnswer::CounterOffer(offer) => panic!("not granted: {offer:?}"),
    }
}

async fn most(app: &EnergySystem, wish: Wish) -> Wish {
    match app.would_reserve(wish).await.unwrap() {
        ReserveAnswer::CounterOffer(offer) => offer.most_power.expect("some power is to be had"),
        ReserveAnswer::Granted(_) => panic!("{wish:?} would be granted"),
    }
}

async fn until_event(site: &Site, app: &str, wanted: impl Fn(&EventKind) -> bool) {
    let mut events = site.app(app).await.unwrap().events(Thresholds::default());
    let told = async {
        loop {
            if let Notice::Event(event) = events.next().await?
                && wanted(&event.kind)
            {
                return Ok::<(), Error>(());
            }
        }
    };
    wait::answer("the event is told", told).await.unwrap();
}

#[tokio::test]
async fn an_app_takes_a_counter_offer_and_has_its_power_when_the_window_comes() {
    // The site does not know its future, and has not learnt anything yet: no sun is promised.
    let site =
        Site::start(&replaced(NOON, "[host]", "[forecast]\nfrom_trace = false\n\n[host]")).await.unwrap();
    let (web, batch) = (site.app("web").await.unwrap(), site.app("batch").await.unwrap());
    let now = wait::answer("a tick", web.ticks().next()).await.unwrap().wall_start;
    let start = now.saturating_add(Millis::from_secs(3_600));
    let too_much = wish(2_000, start);
    let offer = most(&web, too_much).await;
    assert!(offer.power >= Power::from_watts(400), "100 W of its own and 340 W that nobody has: {offer:?}");
    let others = most(&batch, wish(2_000, start)).await;

    let reservation = granted(web.reserve(offer).await.unwrap());
    assert_eq!((reservation.power, reservation.end.less(reservation.start)), (offer.power, offer.duration));
    assert!(reservation.parts.iter().all(|part| part.solar.is_zero()), "{reservation:?}");
    let taken = reservation.parts.iter().map(|part| part.site_grid).max().unwrap();
    assert!(taken > Power::from_watts(100), "{reservation:?}");
    let left = most(&batch, wish(2_000, start)).await;
    // Batteries fill meanwhile, so that it is not exactly what was taken.
    assert!(
        left.power.get() + taken.get() / 2 <= others.power.get(),
        "{left:?} after {taken}, {others:?} before"
    );

    until_event(&site, "web", |event| *event == EventKind::ReservationBegan { reservation: reservation.id })
        .await;
    let tick = wait::answer("a tick in the window", web.ticks().next()).await.unwrap();
    assert!(tick.coming.supply >= reservation.power, "{} of {}", tick.coming.supply, reservation.power);
    let listed = web.reservations().await.unwrap();
    assert!(listed.len() == 1 && listed[0].running && listed[0].short.is_zero(), "{listed:?}");
    let ended = EventKind::ReservationEnded { reservation: reservation.id, cancelled: false };
    until_event(&site, "web", |event| *event == ended).await;
    assert_eq!(web.reservations().await.unwrap(), []);
}

#[tokio::test]
async fn the_operator_sees_reservations_and_cancels_them_and_they_outlive_the_daemon() {
    let mut site = Site::start(NOON).await.unwrap();
    let web = site.app("web").await.unwrap();
    let now = wait::answer("a tick", web.ticks().next()).await.unwrap().wall_start;
    let reservation =
        granted(web.reserve(wish(300, now.saturating_add(Millis::from_secs(36_000)))).await.unwrap());
    site.stop().await.unwrap();
    site.run(&[]).await.unwrap();
    let listed = site.ecoctl(&["--json", "reservation", "list"]).await.unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let one = &listed["reservations"][0];
    assert_eq!((one["id"].as_u64(), one["app"].as_str()), (Some(reservation.id), Some("web")), "{listed}");
    assert_eq!(one["power_mw"], 300_000);
    let number = reservation.id.to_string();
    let cancelled = site.ecoctl(&["reservation", "cancel", &number]).await.unwrap();
    assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
    let again = site.ecoctl(&["reservation", "cancel", &number]).await.unwrap();
    assert_eq!(again.code, Some(5), "{}", again.stderr);
    let listed = site.ecoctl(&["reservation", "list"]).await.unwrap();
    assert!(listed.stdout.contains("nothing is reserved"), "{}", listed.stdout);
}
