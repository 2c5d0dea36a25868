//! The client of EnergyService: each method one call, with quantities instead of numbers.

use crate::error::present;
use crate::reserve::{Reservation, ReserveAnswer, Wish};
use crate::setting::Lease;
use crate::watch::{Events, Ticks};
use crate::{
    Accepted, Address, Child, Container, Divided, Error, Forecast, ForecastQuery, Lockstep, Session, Setting,
    Share, SystemState, Target, Thresholds, Tick, UsageBucket, UsageQuery, VirtualEnergy,
};
use ecovisor_proto::v1;
use ecovisor_proto::v1::energy_service_client::EnergyServiceClient;
use tonic::transport::Channel;

/// An app's virtual energy system, live. Cheap to clone; clones share one connection, which is made again by itself
/// when a call finds it broken. Settings made through it hold until changed: a [`Session`] leases them.
#[derive(Clone, Debug)]
pub struct EnergySystem {
    service: EnergyServiceClient<Channel>,
}

impl EnergySystem {
    /// Connects to where the environment says the daemon is, see [`Address::from_env`].
    ///
    /// # Errors
    /// [`Error::Unreachable`] where nobody answers there, [`Error::Invalid`] where the environment contradicts itself.
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(&Address::from_env()?).await
    }

    /// Connects to a daemon.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where nobody answers there, [`Error::Invalid`] where a PEM file cannot be read.
    pub async fn connect_to(address: &Address) -> Result<Self, Error> {
        Ok(Self::over(address.channel().await?))
    }

    /// Speaks over a channel that was made elsewhere: for tests and for transports that the SDK does not know.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self { service: EnergyServiceClient::new(channel) }
    }

    /// A session on it, whose settings end when the app does.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn session(self) -> Result<Session, Error> {
        Session::open(self).await
    }

    /// Lock step with a simulated site.
    #[must_use]
    pub fn lockstep(self) -> Lockstep {
        Lockstep::new(self)
    }

    /// The ticks from now on.
    #[must_use]
    pub fn ticks(&self) -> Ticks {
        Ticks::new(self.clone())
    }

    /// The events from now on.
    #[must_use]
    pub fn events(&self, thresholds: Thresholds) -> Events {
        Events::new(self.clone(), thresholds)
    }

    /// Makes one setting, with a lease or without.
    ///
    /// # Errors
    /// A refusal with its reason, or why the daemon could not be asked.
    pub async fn apply(&self, setting: &Setting, lease: Lease) -> Result<Accepted, Error> {
        use v1::setter::Set;
        let mut service = self.service();
        let reply = match present(setting.write(lease).set, "a setting")? {
            Set::BatteryChargeRate(request) => service.set_battery_charge_rate(request).await,
            Set::BatteryMaxDischarge(request) => service.set_battery_max_discharge(request).await,
            Set::ContainerPowerCap(request) => service.set_container_power_cap(request).await,
            Set::CarbonRate(request) => service.set_carbon_rate(request).await,
            Set::CarbonBudget(request) => service.set_carbon_budget(request).await,
        };
        Ok(Accepted::read(reply?.into_inner()))
    }

    /// As [`VirtualEnergy::state`].
    ///
    /// # Errors
    /// As there.
    pub async fn state(&self) -> Result<SystemState, Error> {
        let reply = self.service().get_energy_system(v1::GetEnergySystemRequest {}).await?;
        SystemState::read(reply.into_inner())
    }

    /// As [`VirtualEnergy::containers`].
    ///
    /// # Errors
    /// As there.
    pub async fn containers(&self) -> Result<Vec<Container>, Error> {
        let reply = self.service().list_containers(v1::ListContainersRequest {}).await?;
        Container::read_all(reply.into_inner().containers)
    }

    /// As [`VirtualEnergy::attach`].
    ///
    /// # Errors
    /// As there.
    pub async fn attach(&self, name: &str, target: Target) -> Result<Container, Error> {
        let request = v1::AttachContainerRequest { name: name.to_string(), target: Some(target.write()?) };
        let reply = self.service().attach_container(request).await?.into_inner();
        Container::read(present(reply.container, "the attached container")?)
    }

    /// As [`VirtualEnergy::detach`].
    ///
    /// # Errors
    /// As there.
    pub async fn detach(&self, name: &str) -> Result<u64, Error> {
        let reply =
            self.service().detach_container(v1::DetachContainerRequest { name: name.to_string() }).await?;
        Ok(reply.into_inner().holds_from_tick)
    }

    /// As [`VirtualEnergy::usage`].
    ///
    /// # Errors
    /// As there.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageBucket>, Error> {
        let reply = self.service().query_usage(query.write()).await?.into_inner();
        reply.buckets.into_iter().map(UsageBucket::read).collect()
    }

    /// As [`VirtualEnergy::forecast`].
    ///
    /// # Errors
    /// As there.
    pub async fn forecast(&self, query: ForecastQuery) -> Result<Forecast, Error> {
        Forecast::read(self.service().get_forecast(query.write()).await?.into_inner())
    }

    /// Asks for power in a window to come; granted, or answered with what would be.
    ///
    /// # Errors
    /// A refusal where the wish is none, or why the daemon could not be asked.
    pub async fn reserve(&self, wish: Wish) -> Result<ReserveAnswer, Error> {
        ReserveAnswer::read(self.service().reserve(wish.write(false)).await?.into_inner())
    }

    /// What [`EnergySystem::reserve`] would answer; changes nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn would_reserve(&self, wish: Wish) -> Result<ReserveAnswer, Error> {
        ReserveAnswer::read(self.service().reserve(wish.write(true)).await?.into_inner())
    }

    /// Ends a reservation before its time; returns the first tick in which what it held is free again.
    ///
    /// # Errors
    /// A refusal with its reason, or why the daemon could not be asked.
    pub async fn cancel_reservation(&self, id: u64) -> Result<u64, Error> {
        let reply = self.service().cancel_reservation(v1::CancelReservationRequest { id }).await?;
        Ok(reply.into_inner().holds_from_tick)
    }

    /// The app's reservations, running and to come.
    ///
    /// # Errors
    /// Why the daemon could not be asked.
    pub async fn reservations(&self) -> Result<Vec<Reservation>, Error> {
        let reply = self.service().list_reservations(v1::ListReservationsRequest {}).await?.into_inner();
        reply.reservations.into_iter().map(Reservation::read).collect()
    }

    /// Gives a part of the app's own share to a child called `child` after it, a new one or one that it has, and where
    /// `own_weight` says so weighs the app itself anew among its children. The child is an app with its own socket.
    ///
    /// # Errors
    /// A refusal with the figure that is free in the app's own share, or why the daemon could not be asked.
    pub async fn divide_share(
        &self,
        child: &str,
        share: Share,
        own_weight: Option<u32>,
    ) -> Result<Divided, Error> {
        let request = v1::DivideShareRequest {
            child: child.to_string(),
            share: Some(share.write()),
            own_solar_weight: own_weight.map(u64::from),
            dry_run: false,
        };
        Divided::read(self.service().divide_share(request).await?.into_inner())
    }

    /// Takes a child's share back and ends it: what it had stored, owed and was owed comes back too.
    ///
    /// # Errors
    /// A refusal while the child has containers, or why the daemon could not be asked.
    pub async fn take_back_share(&self, child: &str) -> Result<Divided, Error> {
        let request = v1::TakeBackShareRequest { child: child.to_string(), dry_run: false };
        Divided::read(self.service().take_back_share(request).await?.into_inner())
    }

    /// What the app keeps of its share, and its children in the order in which they were made.
    ///
    /// # Errors
    /// Why the daemon could not be asked.
    pub async fn children(&self) -> Result<(Share, Vec<Child>), Error> {
        let reply = self.service().list_children(v1::ListChildrenRequest {}).await?.into_inner();
        let v1::ListChildrenReply { own, children } = reply;
        let own = Share::read(present(own, "what the app keeps")?)?;
        Ok((own, children.into_iter().map(Child::read).collect::<Result<_, _>>()?))
    }

    /// The generated client, cloned because its calls want it exclusively.
    pub(crate) fn service(&self) -> EnergyServiceClient<Channel> {
        self.service.clone()
    }
}

/// An energy system together with its ticks: what [`VirtualEnergy`] needs, without leases.
#[derive(Debug)]
pub struct Unleased {
    energy: EnergySystem,
    ticks: Ticks,
}

impl EnergySystem {
    /// As a [`VirtualEnergy`] whose settings hold until changed, whatever becomes of the app.
    #[must_use]
    pub fn unleased(self) -> Unleased {
        Unleased { ticks: self.ticks(), energy: self }
    }
}

impl VirtualEnergy for Unleased {
    async fn next_tick(&mut self) -> Result<Option<Tick>, Error> {
        self.ticks.next().await.map(Some)
    }

    async fn set(&mut self, setting: Setting) -> Result<Accepted, Error> {
        self.energy.apply(&setting, Lease::UntilChanged).await
    }

    crate::energy::reads_through!(energy);
}
