//! The one trait that app code is written against, so that the same function runs live, simulated and in a test.

use crate::{
    Accepted, CarbonBudget, Container, Error, Forecast, ForecastQuery, Setting, SystemState, Target, Tick,
    UsageBucket, UsageQuery,
};
use ecovisor_units::{CarbonRate, Power};

/// A virtual energy system. Live it is a [`Session`](crate::Session) (leases) or
/// [`Unleased`](crate::Unleased) (settings hold until changed), simulated a [`Lockstep`](crate::Lockstep), in a
/// test a [`Fake`](crate::fake::Fake).
///
/// ```
/// use ecovisor_sdk::{Error, Power, VirtualEnergy, fake};
///
/// async fn follow_the_sun(energy: &mut impl VirtualEnergy) -> Result<(), Error> {
///     while let Some(tick) = energy.next_tick().await? {
///         energy.set_container_power_cap("worker", tick.coming.solar.power).await?;
///     }
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let mut energy = fake::Fake::new([fake::sunny(Power::from_watts(40)), fake::sunny(Power::ZERO)]);
/// energy.attach_now("worker");
/// follow_the_sun(&mut energy).await?;
/// assert_eq!(energy.cap_of("worker"), Some(Power::ZERO));
/// # Ok(())
/// # }
/// ```
pub trait VirtualEnergy: Send {
    /// Waits for the next tick to be settled; `None` where the simulation or script has ended, which live never does.
    ///
    /// # Errors
    /// What cannot be repaired by waiting; where the daemon does not answer, live systems wait and connect again.
    fn next_tick(&mut self) -> impl Future<Output = Result<Option<Tick>, Error>> + Send;

    /// Makes a setting. In lock step it goes out with the next [`Self::next_tick`], and a refusal comes back in
    /// [`Tick::refused`].
    ///
    /// # Errors
    /// A refusal with its reason, or why the daemon could not be asked.
    fn set(&mut self, setting: Setting) -> impl Future<Output = Result<Accepted, Error>> + Send;

    /// The energy system as it stands.
    ///
    /// # Errors
    /// Why the daemon could not be asked.
    fn state(&mut self) -> impl Future<Output = Result<SystemState, Error>> + Send;

    /// The app's containers, in the order in which they were attached.
    ///
    /// # Errors
    /// Why the daemon could not be asked.
    fn containers(&mut self) -> impl Future<Output = Result<Vec<Container>, Error>> + Send;

    /// Makes something the app owns one of its containers.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] where it is not the app's, [`Error::Refused`] where name or target is a container already.
    fn attach(&mut self, name: &str, target: Target)
    -> impl Future<Output = Result<Container, Error>> + Send;

    /// Ends a container; what is behind it runs on. Answers the first tick in which its load no longer counts.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none of that name.
    fn detach(&mut self, name: &str) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Energy and carbon over a period, in order of time.
    ///
    /// # Errors
    /// [`Error::Refused`] where the period has more steps than one answer holds.
    fn usage(&mut self, query: UsageQuery) -> impl Future<Output = Result<Vec<UsageBucket>, Error>> + Send;

    /// Advice on what is to come.
    ///
    /// # Errors
    /// [`Error::NotSupported`] where the site has no forecast.
    fn forecast(&mut self, query: ForecastQuery) -> impl Future<Output = Result<Forecast, Error>> + Send;

    /// Charges the battery at `rate` until full. Zero: only excess solar charges.
    ///
    /// # Errors
    /// As [`Self::set`].
    fn set_battery_charge_rate(
        &mut self,
        rate: Power,
    ) -> impl Future<Output = Result<Accepted, Error>> + Send {
        self.set(Setting::BatteryChargeRate(Some(rate)))
    }

    /// Sets the most that the battery gives to the load. Zero: nothing.
    ///
    /// # Errors
    /// As [`Self::set`].
    fn set_battery_max_discharge(
        &mut self,
        max: Power,
    ) -> impl Future<Output = Result<Accepted, Error>> + Send {
        self.set(Setting::BatteryMaxDischarge(Some(max)))
    }

    /// Caps a container. Zero: it may use nothing.
    ///
    /// # Errors
    /// As [`Self::set`]; [`Error::NotFound`] where there is no such container.
    fn set_container_power_cap(
        &mut self,
        container: &str,
        cap: Power,
    ) -> impl Future<Output = Result<Accepted, Error>> + Send {
        self.set(Setting::ContainerPowerCap { container: container.to_string(), cap: Some(cap) })
    }

    /// Lifts a container's cap.
    ///
    /// # Errors
    /// As [`Self::set`]; [`Error::NotFound`] where there is no such container.
    fn lift_container_power_cap(
        &mut self,
        container: &str,
    ) -> impl Future<Output = Result<Accepted, Error>> + Send {
        self.set(Setting::ContainerPowerCap { container: container.to_string(), cap: None })
    }

    /// Bounds the carbon of grid power per hour.
    ///
    /// # Errors
    /// As [`Self::set`].
    fn set_carbon_rate(&mut self, rate: CarbonRate) -> impl Future<Output = Result<Accepted, Error>> + Send {
        self.set(Setting::CarbonRate(Some(rate)))
    }

    /// Bounds the carbon of grid power per window.
    ///
    /// # Errors
    /// As [`Self::set`].
    fn set_carbon_budget(
        &mut self,
        budget: CarbonBudget,
    ) -> impl Future<Output = Result<Accepted, Error>> + Send {
        self.set(Setting::CarbonBudget(Some(budget)))
    }
}

/// Passes on to an [`EnergySystem`](crate::EnergySystem) in the field named what needs neither lease nor lock step.
macro_rules! reads_through {
    ($client:ident) => {
        async fn state(&mut self) -> Result<$crate::SystemState, $crate::Error> {
            self.$client.state().await
        }
        async fn containers(&mut self) -> Result<Vec<$crate::Container>, $crate::Error> {
            self.$client.containers().await
        }
        async fn attach(
            &mut self,
            name: &str,
            target: $crate::Target,
        ) -> Result<$crate::Container, $crate::Error> {
            self.$client.attach(name, target).await
        }
        async fn detach(&mut self, name: &str) -> Result<u64, $crate::Error> {
            self.$client.detach(name).await
        }
        async fn usage(
            &mut self,
            query: $crate::UsageQuery,
        ) -> Result<Vec<$crate::UsageBucket>, $crate::Error> {
            self.$client.usage(query).await
        }
        async fn forecast(
            &mut self,
            query: $crate::ForecastQuery,
        ) -> Result<$crate::Forecast, $crate::Error> {
            self.$client.forecast(query).await
        }
    };
}
pub(crate) use reads_through;
