//! EnergyService: what an app sees. Who the app is comes from the connection.

use super::errors::Problem;
use super::ledger::Readers;
use super::streams::{Answers, Followed, follow};
use super::usage::Whose;
use super::watched::{Thresholds, Watched};
use super::{Behind, children, containers, find, forecast, ledger, lockstep, reserve, setters, show};
use crate::attach::Claimant;
use ecovisor_proto::v1;
use ecovisor_proto::v1::energy_service_server::EnergyService;
use ecovisor_proto::v1::setter::Set;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

/// The service.
#[derive(Clone)]
pub struct Energy {
    /// What it needs.
    pub behind: Behind,
    /// Places for readers of the past.
    pub readers: Readers,
}

impl Energy {
    async fn set<T>(
        &self,
        request: Request<T>,
        method: &'static str,
        set: fn(T) -> Set,
    ) -> Answer<v1::SettingReply> {
        let caller = self.behind.app(&request, method)?;
        let set = Some(set(request.into_inner()));
        Ok(Response::new(setters::apply(&self.behind, caller.actor(), caller.app.id, set).await?))
    }
}

#[tonic::async_trait]
impl EnergyService for Energy {
    type WatchTicksStream = Followed<v1::Tick>;
    type WatchEventsStream = Followed<v1::WatchEventsReply>;
    type RunLockstepStream = Answers<v1::LockstepTick>;

    async fn get_energy_system(
        &self,
        request: Request<v1::GetEnergySystemRequest>,
    ) -> Answer<v1::EnergySystem> {
        let caller = self.behind.app(&request, "GetEnergySystem")?;
        let v1::GetEnergySystemRequest {} = request.into_inner();
        Ok(Response::new(show::system(&caller.view, &caller.app)))
    }

    async fn watch_ticks(&self, request: Request<v1::WatchTicksRequest>) -> Answer<Self::WatchTicksStream> {
        let caller = self.behind.app(&request, "WatchTicks")?;
        let v1::WatchTicksRequest {} = request.into_inner();
        let held = self.behind.subscriptions.take(&caller.app)?;
        let paths = self.behind.paths.clone();
        let ticks = follow(self.behind.engine.ticks(), self.behind.stop.clone(), move |view, missed| {
            let _held = &held;
            let app =
                find(view, caller.app.id).ok_or_else(|| Problem::unknown_app(caller.app.name.as_str()))?;
            Ok(show::tick(view, &paths, app, missed).into_iter().collect())
        });
        Ok(Response::new(ticks))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let caller = self.behind.app(&request, "WatchEvents")?;
        let mut watched = Watched::new(Thresholds::try_from(request.into_inner())?, &caller.view);
        let held = self.behind.subscriptions.take(&caller.app)?;
        let events = follow(self.behind.narration.listen(), self.behind.stop.clone(), move |told, missed| {
            let _held = &held;
            let app = find(&told.view, caller.app.id);
            let app = app.ok_or_else(|| Problem::unknown_app(caller.app.name.as_str()))?;
            let lost = missed.saturating_add(told.missed);
            Ok(events(watched.of(told, app), lost))
        });
        Ok(Response::new(events))
    }

    async fn set_battery_charge_rate(
        &self,
        request: Request<v1::SetBatteryChargeRateRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(request, "SetBatteryChargeRate", Set::BatteryChargeRate).await
    }

    async fn set_battery_max_discharge(
        &self,
        request: Request<v1::SetBatteryMaxDischargeRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(request, "SetBatteryMaxDischarge", Set::BatteryMaxDischarge).await
    }

    async fn set_container_power_cap(
        &self,
        request: Request<v1::SetContainerPowerCapRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(request, "SetContainerPowerCap", Set::ContainerPowerCap).await
    }

    async fn set_carbon_rate(&self, request: Request<v1::SetCarbonRateRequest>) -> Answer<v1::SettingReply> {
        self.set(request, "SetCarbonRate", Set::CarbonRate).await
    }

    async fn set_carbon_budget(
        &self,
        request: Request<v1::SetCarbonBudgetRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(request, "SetCarbonBudget", Set::CarbonBudget).await
    }

    async fn list_containers(
        &self,
        request: Request<v1::ListContainersRequest>,
    ) -> Answer<v1::ListContainersReply> {
        let caller = self.behind.app(&request, "ListContainers")?;
        let v1::ListContainersRequest {} = request.into_inner();
        let containers = show::containers(&caller.view, &self.behind.paths, caller.app.id);
        Ok(Response::new(v1::ListContainersReply { containers }))
    }

    async fn attach_container(
        &self,
        request: Request<v1::AttachContainerRequest>,
    ) -> Answer<v1::AttachContainerReply> {
        let caller = self.behind.app(&request, "AttachContainer")?;
        let grants = caller.view.grants.get(&caller.app.id).cloned().unwrap_or_default();
        let claimant = Claimant::new(&caller.identity, &grants);
        let wanted = request.into_inner();
        let made = containers::attach(&self.behind, caller.actor(), claimant, &caller.app, wanted).await?;
        Ok(Response::new(made))
    }

    async fn detach_container(
        &self,
        request: Request<v1::DetachContainerRequest>,
    ) -> Answer<v1::DetachContainerReply> {
        let caller = self.behind.app(&request, "DetachContainer")?;
        let v1::DetachContainerRequest { name } = request.into_inner();
        Ok(Response::new(containers::detach(&self.behind, caller.actor(), &caller.app, &name).await?))
    }

    async fn run_lockstep(
        &self,
        request: Request<Streaming<v1::TickDone>>,
    ) -> Answer<Self::RunLockstepStream> {
        let caller = self.behind.app(&request, "RunLockstep")?;
        Ok(Response::new(lockstep::run(self.behind.clone(), caller, request.into_inner())?))
    }

    async fn divide_share(&self, request: Request<v1::DivideShareRequest>) -> Answer<v1::DivideShareReply> {
        let caller = self.behind.app(&request, "DivideShare")?;
        Ok(Response::new(children::divide(&self.behind, &caller, request.into_inner()).await?))
    }

    async fn take_back_share(
        &self,
        request: Request<v1::TakeBackShareRequest>,
    ) -> Answer<v1::DivideShareReply> {
        let caller = self.behind.app(&request, "TakeBackShare")?;
        Ok(Response::new(children::take_back(&self.behind, &caller, request.into_inner()).await?))
    }

    async fn list_children(
        &self,
        request: Request<v1::ListChildrenRequest>,
    ) -> Answer<v1::ListChildrenReply> {
        let caller = self.behind.app(&request, "ListChildren")?;
        let v1::ListChildrenRequest {} = request.into_inner();
        Ok(Response::new(children::list(&self.behind, &caller)))
    }

    async fn query_usage(&self, request: Request<v1::QueryUsageRequest>) -> Answer<v1::QueryUsageReply> {
        let caller = self.behind.app(&request, "QueryUsage")?;
        let whose = Whose::Id(caller.app.id);
        Ok(Response::new(ledger::usage(&self.behind, &self.readers, whose, request.into_inner()).await?))
    }

    async fn get_forecast(&self, request: Request<v1::GetForecastRequest>) -> Answer<v1::GetForecastReply> {
        let caller = self.behind.app(&request, "GetForecast")?;
        let source = self.behind.forecast.as_deref();
        let part = show::solar_part(&caller.view, &caller.app);
        let told = forecast::forecast(source, &caller.view, part, request.into_inner())?;
        Ok(Response::new(told))
    }

    async fn reserve(&self, request: Request<v1::ReserveRequest>) -> Answer<v1::ReserveReply> {
        let caller = self.behind.app(&request, "Reserve")?;
        Ok(Response::new(reserve::reserve(&self.behind, caller, request.into_inner()).await?))
    }

    async fn cancel_reservation(
        &self,
        request: Request<v1::CancelReservationRequest>,
    ) -> Answer<v1::CancelReservationReply> {
        let caller = self.behind.app(&request, "CancelReservation")?;
        let own = Some(caller.app.id);
        Ok(Response::new(reserve::cancel(&self.behind, caller.actor(), own, request.into_inner()).await?))
    }

    async fn list_reservations(
        &self,
        request: Request<v1::ListReservationsRequest>,
    ) -> Answer<v1::ListReservationsReply> {
        let caller = self.behind.app(&request, "ListReservations")?;
        let v1::ListReservationsRequest {} = request.into_inner();
        Ok(Response::new(reserve::list(&caller.view, Some(&caller.app))))
    }
}

/// Replies for a tick's events: what was lost is told with the first.
fn events(events: Vec<v1::Event>, lost: u64) -> Vec<v1::WatchEventsReply> {
    let missed = std::iter::once(lost).chain(std::iter::repeat(0));
    let one = |(event, missed)| v1::WatchEventsReply { event: Some(event), missed };
    events.into_iter().zip(missed).map(one).collect()
}
