//! Sessions: what they renew, when, and what ends it. Time is paused and the site is in memory.
#![allow(clippy::unwrap_used, reason = "a test")]

mod site;

use ecovisor_proto::v1;
use ecovisor_proto::v1::setter::Set;
use ecovisor_sdk::{EnergySystem, Error, Millis, Power, Reason, Session, Setting, VirtualEnergy};
use site::Site;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

const TEN_WATTS: Power = Power::from_watts(10);
const LEASE_MS: Option<u64> = Some(30_000);

async fn session(site: &Site) -> Session {
    EnergySystem::over(site.channel().await).session().await.unwrap()
}

fn charge(rate_mw: Option<u64>, lease_ms: Option<u64>) -> Set {
    Set::BatteryChargeRate(v1::SetBatteryChargeRateRequest { rate_mw, lease_ms })
}

fn discharge(max_mw: Option<u64>, lease_ms: Option<u64>) -> Set {
    Set::BatteryMaxDischarge(v1::SetBatteryMaxDischargeRequest { max_mw, lease_ms })
}

/// Lets that much time pass, and everything happen that is due in it.
async fn pass(seconds: u64) {
    let until = Instant::now() + Duration::from_secs(seconds);
    tokio::time::sleep_until(until).await;
}

#[tokio::test(start_paused = true)]
async fn a_setting_is_renewed_every_third_of_its_lease() {
    let site = Site::default();
    let mut session = session(&site).await;
    let start = Instant::now();
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    for (count, at) in [(1, 0), (2, 10), (3, 20), (4, 30)] {
        assert_eq!(site.setter(count).await, discharge(Some(10_000), LEASE_MS));
        assert_eq!(start.elapsed().as_secs(), at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_renews_no_more() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    drop(session);
    pass(60).await;
    assert_eq!(site.script().setters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_newer_of_two_settings_is_renewed() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    session.set_battery_max_discharge(Power::ZERO).await.unwrap();
    assert_eq!(site.setter(3).await, discharge(Some(0), LEASE_MS));
}

#[tokio::test(start_paused = true)]
async fn asking_for_the_default_ends_the_renewals() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    session.set(Setting::BatteryMaxDischarge(None)).await.unwrap();
    pass(60).await;
    assert_eq!(site.setter(2).await, discharge(None, None));
    assert_eq!(site.script().setters.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_ended_on_a_full_battery_is_not_begun_anew() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_battery_charge_rate(TEN_WATTS).await.unwrap();
    site.script().state.settings = Some(site::settings(false));
    assert_eq!(site.setter(2).await, charge(Some(10_000), LEASE_MS));
    site.script().state.settings = Some(site::settings(true));
    pass(60).await;
    assert_eq!(site.script().setters.len(), 2);
    assert_eq!(session.dropped().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_does_not_hold_yet_is_renewed() {
    let site = Site::default();
    let mut session = session(&site).await;
    site.script().state.coming_tick = 8;
    session.set_battery_charge_rate(TEN_WATTS).await.unwrap();
    site.script().state.coming_tick = 7;
    assert_eq!(site.setter(2).await, charge(Some(10_000), LEASE_MS));
}

#[tokio::test(start_paused = true)]
async fn a_setting_refused_on_renewal_is_dropped_and_told_once() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_container_power_cap("gone", TEN_WATTS).await.unwrap();
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    let refusal = site::refusal(Code::NotFound, v1::Reason::UnknownContainer, &[]);
    // Settings are renewed in the order of their subjects: discharge, then caps.
    let accepted = site::refusal(Code::FailedPrecondition, v1::Reason::NoBattery, &[]);
    site.script().refusals.extend([accepted, refusal]);
    pass(60).await;
    let dropped = session.dropped().await;
    assert_eq!(dropped.len(), 2);
    assert!(matches!(&dropped[0].error, Error::Refused(refusal) if refusal.reason == Reason::NoBattery));
    assert!(matches!(&dropped[1].error, Error::NotFound { reason: Reason::UnknownContainer, .. }));
    assert_eq!(session.dropped().await, []);
    assert_eq!(site.script().setters.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_setting_made_while_the_daemon_is_away_is_asserted_when_it_is_back() {
    let site = Site::default();
    let mut session = session(&site).await;
    site.script().away = true;
    let error = session.set_battery_max_discharge(TEN_WATTS).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    pass(60).await;
    let back = Instant::now();
    site.script().away = false;
    assert_eq!(site.setter(1).await, discharge(Some(10_000), LEASE_MS));
    assert!(back.elapsed() <= Duration::from_secs(5), "waits are at most 5 s, not {:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refused_setting_leaves_the_one_before() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    site.script().refusals.push_back(site::refusal(Code::FailedPrecondition, v1::Reason::ExceedsShare, &[]));
    session.set_battery_max_discharge(Power::from_watts(99)).await.unwrap_err();
    assert_eq!(site.setter(2).await, discharge(Some(10_000), LEASE_MS));
}

#[tokio::test(start_paused = true)]
async fn releasing_brings_the_defaults_back_at_once() {
    let site = Site::default();
    let mut session = session(&site).await;
    session.set_battery_charge_rate(TEN_WATTS).await.unwrap();
    session.set_container_power_cap("web", TEN_WATTS).await.unwrap();
    session.release().await.unwrap();
    let lifted =
        v1::SetContainerPowerCapRequest { container: String::from("web"), cap_mw: None, lease_ms: None };
    assert_eq!(site.setter(3).await, charge(None, None));
    assert_eq!(site.setter(4).await, Set::ContainerPowerCap(lifted));
}

#[tokio::test(start_paused = true)]
async fn an_outage_seen_by_the_ticks_renews_at_once() {
    let site = Site::default();
    site.script().ticks.extend([vec![site::tick(7, 0)], vec![site::tick(9, 0)]]);
    let mut session = session(&site).await;
    let start = Instant::now();
    session.set_battery_max_discharge(TEN_WATTS).await.unwrap();
    assert_eq!(session.next_tick().await.unwrap().unwrap().missed, 0);
    assert_eq!(session.next_tick().await.unwrap().unwrap().missed, 1);
    site.setter(2).await;
    assert!(start.elapsed() < Duration::from_secs(1), "not with the next period");
}

#[tokio::test(start_paused = true)]
async fn leases_are_longer_on_a_scaled_clock_and_none_on_a_simulated_one() {
    for (kind, factor, lease_ms) in
        [(v1::ClockKind::Scaled, 60, Some(1_800_000)), (v1::ClockKind::Simulated, 0, None)]
    {
        let site = Site::default();
        site.script().state.clock = Some(v1::Clock { kind: kind.into(), factor });
        session(&site).await.set_battery_max_discharge(TEN_WATTS).await.unwrap();
        assert_eq!(site.setter(1).await, discharge(Some(10_000), lease_ms));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_too_short_to_renew_is_invalid() {
    let energy = EnergySystem::over(Site::default().channel().await);
    assert!(matches!(Session::with_lease(energy, Millis::new(2)).await, Err(Error::Invalid { .. })));
}
