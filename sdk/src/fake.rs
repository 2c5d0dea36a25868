//! An energy system in memory for tests of apps: it replays scripted ticks, records what the app set, settles nothing.
//!
//! ```
//! use ecovisor_sdk::fake::{Fake, sunny};
//! use ecovisor_sdk::{Power, Setting, VirtualEnergy};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ecovisor_sdk::Error> {
//! let mut energy = Fake::new([sunny(Power::from_watts(40))]);
//! let tick = energy.next_tick().await?.expect("one tick is scripted");
//! energy.set_battery_charge_rate(tick.coming.solar.power).await?;
//! assert_eq!(energy.made(), [Setting::BatteryChargeRate(Some(Power::from_watts(40)))]);
//! assert_eq!(energy.next_tick().await?, None);
//! # Ok(())
//! # }
//! ```

use crate::system::{Battery, Solar, SolarBasis, SystemState};
use crate::tick::ComingTick;
use crate::{
    Accepted, Capping, Container, Error, Forecast, ForecastQuery, Reason, Setting, Target, Tick, UsageBucket,
    UsageQuery, VirtualEnergy,
};
use ecovisor_units::{CarbonIntensity, Energy, Millis, Power};
use std::collections::VecDeque;

/// Length of scripted ticks that do not say theirs.
const SPAN: Millis = Millis::from_secs(1);

/// A scripted energy system.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    script: VecDeque<Tick>,
    state: SystemState,
    containers: Vec<Container>,
    made: Vec<Setting>,
    refusals: VecDeque<Error>,
    usage: Vec<UsageBucket>,
    forecast: Option<Forecast>,
}

/// A tick after which the app has that much solar.
#[must_use]
pub fn sunny(power: Power) -> Tick {
    let solar = Solar { power, basis: SolarBasis::ComingTick };
    Tick { coming: ComingTick { solar, supply: power, ..ComingTick::default() }, ..Tick::default() }
}

/// A tick after which grid energy has that intensity.
#[must_use]
pub fn carbon(intensity: CarbonIntensity) -> Tick {
    Tick { coming: ComingTick { grid_carbon: Some(intensity), ..ComingTick::default() }, ..Tick::default() }
}

/// The same tick with a battery after it.
#[must_use]
pub fn with_battery(tick: Tick, battery: Battery) -> Tick {
    Tick { coming: ComingTick { battery: Some(battery), ..tick.coming }, ..tick }
}

impl Fake {
    /// Replays these ticks. Numbers, times and spans that are zero are filled in, a second each.
    #[must_use]
    pub fn new(script: impl IntoIterator<Item = Tick>) -> Self {
        let script = (0..).zip(script).map(|(number, tick)| numbered(tick, number)).collect();
        Self { script, state: SystemState { tick_span: SPAN, ..SystemState::default() }, ..Self::default() }
    }

    /// What [`VirtualEnergy::state`] answers before the first tick; ticks then update what they tell of.
    #[must_use]
    pub fn with_state(mut self, state: SystemState) -> Self {
        self.state = state;
        self
    }

    /// What [`VirtualEnergy::usage`] answers, whatever is asked.
    #[must_use]
    pub fn with_usage(mut self, usage: Vec<UsageBucket>) -> Self {
        self.usage = usage;
        self
    }

    /// What [`VirtualEnergy::forecast`] answers, whatever is asked.
    #[must_use]
    pub fn with_forecast(mut self, forecast: Forecast) -> Self {
        self.forecast = Some(forecast);
        self
    }

    /// Attaches a container before the app runs, as if it were a process.
    pub fn attach_now(&mut self, name: &str) {
        self.containers.push(container(name, Target::this_process()));
    }

    /// Makes the next setting fail with `error`; several calls queue up.
    pub fn refuse_next(&mut self, error: Error) {
        self.refusals.push_back(error);
    }

    /// Settings that were accepted, in the order in which they were made.
    #[must_use]
    pub fn made(&self) -> &[Setting] {
        &self.made
    }

    /// A container's cap; `None` where it has none, or there is no such container.
    #[must_use]
    pub fn cap_of(&self, name: &str) -> Option<Power> {
        self.containers.iter().find(|container| container.name == name)?.cap
    }

    /// Ticks that are still to be told.
    #[must_use]
    pub fn left(&self) -> usize {
        self.script.len()
    }

    fn container_mut(&mut self, name: &str) -> Result<&mut Container, Error> {
        let found = self.containers.iter_mut().find(|container| container.name == name);
        found.ok_or_else(|| Error::NotFound {
            reason: Reason::UnknownContainer,
            message: format!("no container `{name}`"),
        })
    }

    fn accepted(&self) -> Accepted {
        Accepted { holds_from_tick: self.state.coming_tick, lease_ends: None }
    }
}

impl VirtualEnergy for Fake {
    async fn next_tick(&mut self) -> Result<Option<Tick>, Error> {
        let Some(mut tick) = self.script.pop_front() else { return Ok(None) };
        if tick.containers.is_empty() {
            tick.containers.clone_from(&self.containers);
        }
        let ComingTick { tick: coming_tick, solar, grid_carbon, battery, supply } = tick.coming;
        self.state.tick = Some(tick.tick);
        self.state.coming_tick = coming_tick;
        self.state.wall = Millis::new(tick.wall_start.get() + tick.span.get());
        self.state.solar = solar;
        self.state.supply = supply;
        self.state.load = tick.load();
        self.state.grid_carbon = grid_carbon.or(self.state.grid_carbon);
        self.state.battery = battery.or(self.state.battery);
        Ok(Some(tick))
    }

    async fn set(&mut self, setting: Setting) -> Result<Accepted, Error> {
        if let Some(error) = self.refusals.pop_front() {
            return Err(error);
        }
        if let Setting::ContainerPowerCap { container, cap } = &setting {
            let container = self.container_mut(container)?;
            container.cap = *cap;
            container.effective_cap = *cap;
        }
        self.made.push(setting);
        Ok(self.accepted())
    }

    async fn state(&mut self) -> Result<SystemState, Error> {
        Ok(self.state.clone())
    }

    async fn containers(&mut self) -> Result<Vec<Container>, Error> {
        Ok(self.containers.clone())
    }

    async fn attach(&mut self, name: &str, target: Target) -> Result<Container, Error> {
        let attached = container(name, target);
        self.containers.push(attached.clone());
        Ok(attached)
    }

    async fn detach(&mut self, name: &str) -> Result<u64, Error> {
        self.container_mut(name)?;
        self.containers.retain(|container| container.name != name);
        Ok(self.state.coming_tick)
    }

    async fn usage(&mut self, _query: UsageQuery) -> Result<Vec<UsageBucket>, Error> {
        Ok(self.usage.clone())
    }

    async fn forecast(&mut self, _query: ForecastQuery) -> Result<Forecast, Error> {
        let none = || Error::NotSupported { message: String::from("no forecast is scripted") };
        self.forecast.clone().ok_or_else(none)
    }
}

fn numbered(tick: Tick, number: u64) -> Tick {
    let span = if tick.span.is_zero() { SPAN } else { tick.span };
    let wall_start =
        if tick.wall_start.is_zero() { Millis::new(number * SPAN.get()) } else { tick.wall_start };
    let at = if tick.tick == 0 { number } else { tick.tick };
    let coming_at = if tick.coming.tick == 0 { at + 1 } else { tick.coming.tick };
    Tick { tick: at, wall_start, span, coming: ComingTick { tick: coming_at, ..tick.coming }, ..tick }
}

fn container(name: &str, target: Target) -> Container {
    Container {
        name: name.to_string(),
        target,
        power: Power::ZERO,
        energy: Energy::ZERO,
        tick_energy: Energy::ZERO,
        cap: None,
        cap_lease_ends: None,
        effective_cap: None,
        capping: Capping::Enforced,
        estimated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scripted_ticks_are_numbered_and_update_the_state() {
        let mut fake =
            Fake::new([sunny(Power::from_watts(1)), carbon(CarbonIntensity::from_grams_per_kwh(400))]);
        assert_eq!(fake.next_tick().await.unwrap().unwrap().tick, 0);
        assert_eq!(fake.state().await.unwrap().solar.power, Power::from_watts(1));
        let second = fake.next_tick().await.unwrap().unwrap();
        assert_eq!((second.tick, second.coming.tick, second.wall_start), (1, 2, Millis::from_secs(1)));
        assert_eq!(fake.state().await.unwrap().grid_carbon, Some(CarbonIntensity::from_grams_per_kwh(400)));
        assert_eq!(fake.next_tick().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_refused_setting_is_not_made() {
        let mut fake = Fake::new([]);
        fake.refuse_next(Error::Busy { message: String::from("later") });
        assert!(fake.set_battery_charge_rate(Power::ZERO).await.is_err());
        assert!(fake.made().is_empty());
        assert!(matches!(
            fake.set_container_power_cap("none", Power::ZERO).await,
            Err(Error::NotFound { .. })
        ));
        assert!(fake.made().is_empty());
    }

    #[tokio::test]
    async fn caps_stand_with_their_containers_until_these_are_detached() {
        let mut fake = Fake::new([sunny(Power::ZERO)]);
        fake.attach("web", Target::this_process()).await.unwrap();
        fake.set_container_power_cap("web", Power::from_watts(3)).await.unwrap();
        let tick = fake.next_tick().await.unwrap().unwrap();
        assert_eq!(tick.container("web").unwrap().cap, Some(Power::from_watts(3)));
        fake.lift_container_power_cap("web").await.unwrap();
        assert_eq!(fake.cap_of("web"), None);
        fake.detach("web").await.unwrap();
        assert!(fake.containers().await.unwrap().is_empty());
    }
}
