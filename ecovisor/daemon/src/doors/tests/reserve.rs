//! Reservations over the wire: whose they are, what is no question, what is offered.

use super::*;

fn ask(power_mw: u64, duration_ms: u64) -> v1::ReserveRequest {
    v1::ReserveRequest { power_mw, duration_ms, ..v1::ReserveRequest::default() }
}

fn granted(reply: v1::ReserveReply) -> v1::Reservation {
    match reply.answer {
        Some(v1::reserve_reply::Answer::Reservation(one)) => one,
        other => panic!("{other:?}"),
    }
}

fn offered(reply: v1::ReserveReply) -> v1::CounterOffer {
    match reply.answer {
        Some(v1::reserve_reply::Answer::CounterOffer(offer)) => offer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reservation_is_its_apps_and_the_operators_to_end() {
    let bench = Bench::new().await;
    bench.tick().await;
    let (mut web, mut db) = (bench.app("web").await, bench.app("db").await);
    let reply = web.reserve(ask(1_000, 3_600_000)).await.unwrap().into_inner();
    assert_eq!(reply.holds_from_tick, Some(2));
    let one = granted(reply);
    assert_eq!((one.id, one.app.as_str(), one.power_mw, one.confidence_ppm), (1, "web", 1_000, 950_000));
    assert_eq!(one.end_ms - one.start_ms, 3_600_000);
    let list = v1::ListReservationsRequest {};
    let own = web.list_reservations(list).await.unwrap().into_inner().reservations;
    assert_eq!(own, std::slice::from_ref(&one));
    assert_eq!(db.list_reservations(list).await.unwrap().into_inner().reservations, []);
    let cancel = v1::CancelReservationRequest { id: 1 };
    refused(db.cancel_reservation(cancel).await, Code::NotFound, "REASON_UNKNOWN_RESERVATION");
    let mut operator = bench.operator().await;
    let of = |app: &str| v1::ListAppReservationsRequest { app: app.into() };
    assert_eq!(operator.list_app_reservations(of("")).await.unwrap().into_inner().reservations, [one]);
    assert_eq!(operator.list_app_reservations(of("db")).await.unwrap().into_inner().reservations, []);
    refused(operator.list_app_reservations(of("ghost")).await, Code::NotFound, "REASON_UNKNOWN_APP");
    let freed = operator.cancel_app_reservation(cancel).await.unwrap().into_inner();
    assert_eq!(freed.holds_from_tick, 2);
    refused(web.cancel_reservation(cancel).await, Code::NotFound, "REASON_UNKNOWN_RESERVATION");
}

#[tokio::test]
async fn only_asking_changes_nothing_and_what_is_offered_is_granted() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let dry = v1::ReserveRequest { dry_run: true, ..ask(1_000, 3_600_000) };
    let reply = web.reserve(dry).await.unwrap().into_inner();
    assert_eq!((reply.holds_from_tick, granted(reply).id), (None, 0));
    let list = web.list_reservations(v1::ListReservationsRequest {}).await.unwrap().into_inner();
    assert_eq!(list.reservations, []);
    let offer = offered(web.reserve(ask(u64::MAX, 3_600_000)).await.unwrap().into_inner());
    assert_eq!(
        (offer.longest, offer.earliest, offer.surest),
        (None, None, None),
        "nothing makes it possible"
    );
    let most = offer.most_power.unwrap();
    let again = v1::ReserveRequest {
        earliest_start_ms: Some(most.start_ms),
        confidence_ppm: most.confidence_ppm,
        ..ask(most.power_mw, most.duration_ms)
    };
    assert_eq!(granted(web.reserve(again).await.unwrap().into_inner()).power_mw, most.power_mw);
    let more = offered(web.reserve(ask(most.power_mw, 1_000)).await.unwrap().into_inner());
    assert!(more.earliest.is_some_and(|offer| offer.start_ms >= most.start_ms + 3_600_000), "{more:?}");
}

#[tokio::test]
async fn what_is_no_question_is_refused_with_what_would_be_one() {
    let bench = Bench::new().await;
    bench.tick().await;
    let mut web = bench.app("web").await;
    let cases = [
        ask(0, 1),
        ask(1, 0),
        ask(1, 86_400_001),
        v1::ReserveRequest { confidence_ppm: 499_999, ..ask(1, 1) },
        v1::ReserveRequest { confidence_ppm: 999_001, ..ask(1, 1) },
        v1::ReserveRequest { earliest_start_ms: Some(2), latest_start_ms: Some(1), ..ask(1, 1) },
    ];
    for case in cases {
        refused(web.reserve(case).await, Code::InvalidArgument, "REASON_INVALID");
    }
    let unknown = v1::CancelReservationRequest { id: u64::MAX };
    refused(web.cancel_reservation(unknown).await, Code::NotFound, "REASON_UNKNOWN_RESERVATION");
}
