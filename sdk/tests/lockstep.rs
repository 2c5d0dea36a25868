//! Lock step: the app's own code, one round trip a tick.
#![allow(clippy::unwrap_used, reason = "a test")]

mod site;

use ecovisor_proto::v1;
use ecovisor_proto::v1::setter::Set;
use ecovisor_sdk::fake::{Fake, sunny};
use ecovisor_sdk::{EnergySystem, Error, Figure, Power, Reason, Setting, Tick, VirtualEnergy};
use site::Site;

/// The app: live, simulated and against the fake it is this function.
async fn follow_the_sun(energy: &mut impl VirtualEnergy) -> Result<Vec<Tick>, Error> {
    let mut ticks = Vec::new();
    while let Some(tick) = energy.next_tick().await? {
        energy.set_container_power_cap("worker", tick.coming.solar.power).await?;
        ticks.push(tick);
    }
    Ok(ticks)
}

fn step(tick: u64, solar_mw: u64, last: bool) -> v1::LockstepTick {
    v1::LockstepTick { tick: Some(site::tick(tick, solar_mw)), refusals: Vec::new(), last }
}

fn caps(answers: &[v1::TickDone]) -> Vec<(Option<u64>, Vec<Option<u64>>)> {
    let cap = |setter: &v1::Setter| match setter.set.as_ref().unwrap() {
        Set::ContainerPowerCap(cap) => cap.cap_mw,
        other => panic!("{other:?} was not set"),
    };
    answers.iter().map(|answer| (answer.tick, answer.setters.iter().map(cap).collect())).collect()
}

#[tokio::test]
async fn each_tick_is_answered_with_the_settings_for_the_coming_one() {
    let site = Site::default();
    site.script().lockstep.extend([step(0, 10, false), step(1, 20, false), step(2, 30, true)]);
    let mut energy = EnergySystem::over(site.channel().await).lockstep();
    let ticks = follow_the_sun(&mut energy).await.unwrap();
    assert_eq!(ticks.iter().map(|tick| tick.tick).collect::<Vec<_>>(), [0, 1, 2]);
    let answers = site.script().answers.clone();
    // Nothing is answered to the last tick: there is no coming one.
    assert_eq!(caps(&answers), [(None, vec![]), (Some(0), vec![Some(10)]), (Some(1), vec![Some(20)])]);
}

#[tokio::test]
async fn settings_made_before_the_first_tick_open_the_lock_step() {
    let site = Site::default();
    site.script().lockstep.push_back(step(0, 10, true));
    let mut energy = EnergySystem::over(site.channel().await).lockstep();
    energy.set_container_power_cap("worker", Power::new(7)).await.unwrap();
    energy.next_tick().await.unwrap().unwrap();
    assert_eq!(caps(&site.script().answers), [(None, vec![Some(7)])]);
}

#[tokio::test]
async fn a_refused_setting_comes_back_with_the_next_tick() {
    let site = Site::default();
    let refusal = v1::SetterRefusal {
        index: 0,
        reason: v1::Reason::ExceedsShare.into(),
        message: String::from("too much"),
        limit: Some(5_000),
        acceptable: Some(5_000),
    };
    let refusing = v1::LockstepTick { refusals: vec![refusal], ..step(1, 20, true) };
    site.script().lockstep.extend([step(0, 10, false), refusing]);
    let mut energy = EnergySystem::over(site.channel().await).lockstep();
    let ticks = follow_the_sun(&mut energy).await.unwrap();
    let [refused] = ticks[1].refused.as_slice() else { panic!("{:?}", ticks[1].refused) };
    let cap = Setting::ContainerPowerCap { container: String::from("worker"), cap: Some(Power::new(10)) };
    assert_eq!(refused.setting, cap);
    assert_eq!(refused.refusal.reason, Reason::ExceedsShare);
    assert_eq!(refused.refusal.acceptable, Some(Figure::Power(Power::from_watts(5))));
}

#[tokio::test]
async fn a_site_that_closes_ends_the_simulation() {
    let site = Site::default();
    site.script().lockstep.push_back(step(0, 10, false));
    let mut energy = EnergySystem::over(site.channel().await).lockstep();
    assert_eq!(follow_the_sun(&mut energy).await.unwrap().len(), 1);
    assert_eq!(energy.next_tick().await.unwrap(), None);
}

#[tokio::test]
async fn the_same_app_runs_live_and_against_the_fake() {
    let mut fake = Fake::new([sunny(Power::new(10)), sunny(Power::new(20))]);
    fake.attach_now("worker");
    assert_eq!(follow_the_sun(&mut fake).await.unwrap().len(), 2);

    let site = Site::default();
    site.script().ticks.push_back(vec![site::tick(0, 10), site::tick(1, 20)]);
    let mut live = EnergySystem::over(site.channel().await).session().await.unwrap();
    let app = tokio::spawn(async move { follow_the_sun(&mut live).await });
    site.setter(2).await;
    app.abort();
    let cap = |setter: &v1::Setter| match setter.set.as_ref().unwrap() {
        Set::ContainerPowerCap(cap) => cap.cap_mw,
        other => panic!("{other:?} was not set"),
    };
    assert_eq!(site.script().setters.iter().map(cap).collect::<Vec<_>>(), [Some(10), Some(20)]);
    assert_eq!(fake.cap_of("worker"), Some(Power::new(20)));
}
