//! A site for tests: a served EnergyService whose answers are scripted and whose calls are recorded.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part of it")]

use ecovisor_proto::v1;
use ecovisor_proto::v1::energy_service_server::{EnergyService, EnergyServiceServer};
use ecovisor_proto::v1::setter::Set;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

type Answer<T> = Result<Response<T>, Status>;
type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The site; clones are the same one.
#[derive(Clone, Default)]
pub struct Site {
    script: Arc<Mutex<Script>>,
    heard: Arc<Notify>,
}

/// What it will answer, and what it was told.
pub struct Script {
    pub state: v1::EnergySystem,
    /// Setters that were accepted, in order.
    pub setters: Vec<v1::Setter>,
    /// Answers to the next setters; when they are used up, setters are accepted.
    pub refusals: VecDeque<Status>,
    /// Whether every call fails with UNAVAILABLE.
    pub away: bool,
    /// Ticks of each subscription in turn; a stream stays open after the last, unless more subscriptions are scripted.
    pub ticks: VecDeque<Vec<v1::Tick>>,
    /// The same for events.
    pub events: VecDeque<Vec<v1::WatchEventsReply>>,
    /// Ticks of the lock step, and what was answered to them.
    pub lockstep: VecDeque<v1::LockstepTick>,
    pub answers: Vec<v1::TickDone>,
    pub attached: Vec<v1::AttachContainerRequest>,
    pub usage: v1::QueryUsageReply,
    pub queries: Vec<v1::QueryUsageRequest>,
    pub forecast: Option<v1::GetForecastReply>,
    pub reserve: Option<v1::ReserveReply>,
    pub wishes: Vec<v1::ReserveRequest>,
    pub thresholds: Vec<v1::WatchEventsRequest>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            state: state(),
            setters: Vec::new(),
            refusals: VecDeque::new(),
            away: false,
            ticks: VecDeque::new(),
            events: VecDeque::new(),
            lockstep: VecDeque::new(),
            answers: Vec::new(),
            attached: Vec::new(),
            usage: v1::QueryUsageReply::default(),
            queries: Vec::new(),
            forecast: None,
            reserve: None,
            wishes: Vec::new(),
            thresholds: Vec::new(),
        }
    }
}

/// A readable state: 40 W of solar, 400 g/kWh, everything else at its least.
pub fn state() -> v1::EnergySystem {
    let live = v1::Freshness { age_ms: Some(5), quality: v1::Quality::Live.into() };
    v1::EnergySystem {
        app: String::from("web"),
        tick: Some(6),
        coming_tick: 7,
        tick_span_ms: 1_000,
        solar: Some(solar(40_000)),
        grid_carbon_mg_per_kwh: Some(400_000),
        settings: Some(settings(true)),
        supply_mw: 50_000,
        freshness: Some(v1::FreshnessSet { solar: Some(live), ..v1::FreshnessSet::default() }),
        clock: Some(v1::Clock { kind: v1::ClockKind::Real.into(), factor: 1 }),
        capping: Some(v1::Capping { kind: v1::CappingKind::Enforced.into(), reason: String::new() }),
        state: v1::AppState::Active.into(),
        ..v1::EnergySystem::default()
    }
}

/// Settings in force; the charge rate is the default, or something set.
pub fn settings(charge_rate_is_default: bool) -> v1::SettingsInForce {
    v1::SettingsInForce {
        battery_charge_rate: Some(v1::PowerSetting {
            power_mw: Some(0),
            lease_ends_ms: None,
            is_default: charge_rate_is_default,
        }),
        battery_max_discharge: None,
        carbon_rate: Some(v1::CarbonRateSetting { is_default: true, ..v1::CarbonRateSetting::default() }),
        carbon_budget: Some(v1::CarbonBudgetSetting {
            is_default: true,
            ..v1::CarbonBudgetSetting::default()
        }),
    }
}

pub fn solar(power_mw: u64) -> v1::Solar {
    v1::Solar { power_mw, basis: v1::SolarBasis::ComingTick.into() }
}

/// A readable tick with that much solar to come.
pub fn tick(tick: u64, solar_mw: u64) -> v1::Tick {
    let coming = v1::ComingTick { tick: tick + 1, solar: Some(solar(solar_mw)), ..v1::ComingTick::default() };
    v1::Tick {
        tick,
        span_ms: 1_000,
        flows: Some(v1::Flows { carbon_product: String::from("0"), ..v1::Flows::default() }),
        coming: Some(coming),
        ..v1::Tick::default()
    }
}

pub fn container(name: &str, target: Option<v1::ContainerTarget>) -> v1::Container {
    let capping =
        v1::Capping { kind: v1::CappingKind::MeteredOnly.into(), reason: String::from("no cgroup") };
    v1::Container { name: name.to_string(), target, capping: Some(capping), ..v1::Container::default() }
}

pub fn refusal(code: Code, reason: v1::Reason, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect();
    let details = ErrorDetails::with_error_info(reason.as_str_name(), "ecovisor", metadata);
    Status::with_error_details(code, "no", details)
}

impl Site {
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Waits until that many setters were accepted, and answers the last of them; gives up after two minutes.
    pub async fn setter(&self, count: usize) -> Set {
        let told = tokio::time::timeout(Duration::from_secs(120), self.wait_for_setter(count)).await;
        told.unwrap_or_else(|_| panic!("setter {count} never came"))
    }

    async fn wait_for_setter(&self, count: usize) -> Set {
        loop {
            let heard = self.heard.notified();
            if let Some(setter) = self.script().setters.get(count - 1) {
                return setter.set.clone().unwrap();
            }
            heard.await;
        }
    }

    /// Serves on a Unix socket, in a runtime of its own: dropping it breaks every connection.
    pub fn serve(&self, socket: &Path) -> Served {
        let _ = std::fs::remove_file(socket);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(socket).unwrap()
        };
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let service = EnergyServiceServer::new(self.clone());
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Served(Some(runtime))
    }

    /// A channel to it in memory: real sockets and paused time do not go together.
    pub async fn channel(&self) -> tonic::transport::Channel {
        let (accept, accepted) = tokio::sync::mpsc::unbounded_channel::<tokio::io::DuplexStream>();
        let incoming =
            tokio_stream::wrappers::UnboundedReceiverStream::new(accepted).map(Ok::<_, std::io::Error>);
        let service = EnergyServiceServer::new(self.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        let connect = tower::service_fn(move |_| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            accept.send(far).unwrap();
            std::future::ready(Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(near)))
        });
        tonic::transport::Endpoint::from_static("http://site").connect_with_connector(connect).await.unwrap()
    }

    fn here(&self) -> Result<MutexGuard<'_, Script>, Status> {
        let script = self.script();
        if script.away { Err(Status::unavailable("away")) } else { Ok(script) }
    }

    fn set(&self, set: Set) -> Answer<v1::SettingReply> {
        let mut script = self.here()?;
        if let Some(refusal) = script.refusals.pop_front() {
            return Err(refusal);
        }
        script.setters.push(v1::Setter { set: Some(set) });
        let reply = v1::SettingReply { holds_from_tick: script.state.coming_tick, lease_ends_ms: None };
        drop(script);
        self.heard.notify_waiters();
        Ok(Response::new(reply))
    }
}

/// A served site; dropping it stops it.
pub struct Served(Option<tokio::runtime::Runtime>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// The scripted messages; then the end where another subscription is scripted, else silence.
fn told<T: Send + 'static>(subscriptions: &mut VecDeque<Vec<T>>) -> Told<T> {
    let messages = tokio_stream::iter(subscriptions.pop_front().unwrap_or_default()).map(Ok);
    match subscriptions.is_empty() {
        true => Box::pin(messages.chain(tokio_stream::pending())),
        false => Box::pin(messages),
    }
}

#[tonic::async_trait]
impl EnergyService for Site {
    type WatchTicksStream = Told<v1::Tick>;
    type WatchEventsStream = Told<v1::WatchEventsReply>;
    type RunLockstepStream = Told<v1::LockstepTick>;

    async fn get_energy_system(&self, _: Request<v1::GetEnergySystemRequest>) -> Answer<v1::EnergySystem> {
        Ok(Response::new(self.here()?.state.clone()))
    }

    async fn watch_ticks(&self, _: Request<v1::WatchTicksRequest>) -> Answer<Self::WatchTicksStream> {
        Ok(Response::new(told(&mut self.here()?.ticks)))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let mut script = self.here()?;
        script.thresholds.push(request.into_inner());
        Ok(Response::new(told(&mut script.events)))
    }

    async fn set_battery_charge_rate(
        &self,
        request: Request<v1::SetBatteryChargeRateRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(Set::BatteryChargeRate(request.into_inner()))
    }

    async fn set_battery_max_discharge(
        &self,
        request: Request<v1::SetBatteryMaxDischargeRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(Set::BatteryMaxDischarge(request.into_inner()))
    }

    async fn set_container_power_cap(
        &self,
        request: Request<v1::SetContainerPowerCapRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(Set::ContainerPowerCap(request.into_inner()))
    }

    async fn set_carbon_rate(&self, request: Request<v1::SetCarbonRateRequest>) -> Answer<v1::SettingReply> {
        self.set(Set::CarbonRate(request.into_inner()))
    }

    async fn set_carbon_budget(
        &self,
        request: Request<v1::SetCarbonBudgetRequest>,
    ) -> Answer<v1::SettingReply> {
        self.set(Set::CarbonBudget(request.into_inner()))
    }

    async fn list_containers(
        &self,
        _: Request<v1::ListContainersRequest>,
    ) -> Answer<v1::ListContainersReply> {
        let script = self.here()?;
        let containers = script
            .attached
            .iter()
            .map(|attached| container(&attached.name, attached.target.clone()))
            .collect();
        Ok(Response::new(v1::ListContainersReply { containers }))
    }

    async fn attach_container(
        &self,
        request: Request<v1::AttachContainerRequest>,
    ) -> Answer<v1::AttachContainerReply> {
        let request = request.into_inner();
        let attached = container(&request.name, request.target.clone());
        self.here()?.attached.push(request);
        Ok(Response::new(v1::AttachContainerReply { container: Some(attached), holds_from_tick: 7 }))
    }

    async fn detach_container(
        &self,
        request: Request<v1::DetachContainerRequest>,
    ) -> Answer<v1::DetachContainerReply> {
        let name = request.into_inner().name;
        self.here()?.attached.retain(|attached| attached.name != name);
        Ok(Response::new(v1::DetachContainerReply { holds_from_tick: 8 }))
    }

    async fn run_lockstep(
        &self,
        request: Request<Streaming<v1::TickDone>>,
    ) -> Answer<Self::RunLockstepStream> {
        let site = self.clone();
        let answers = request.into_inner();
        // One tick for each answer, as a site that waits would.
        let ticks = answers.map_while(move |answer| {
            let mut script = site.script();
            script.answers.push(answer.ok()?);
            script.lockstep.pop_front().map(Ok)
        });
        Ok(Response::new(Box::pin(ticks)))
    }

    async fn query_usage(&self, request: Request<v1::QueryUsageRequest>) -> Answer<v1::QueryUsageReply> {
        let mut script = self.here()?;
        script.queries.push(request.into_inner());
        Ok(Response::new(script.usage.clone()))
    }

    async fn get_forecast(&self, _: Request<v1::GetForecastRequest>) -> Answer<v1::GetForecastReply> {
        let none = || refusal(Code::Unimplemented, v1::Reason::NotSupported, &[]);
        self.here()?.forecast.clone().map(Response::new).ok_or_else(none)
    }

    async fn reserve(&self, request: Request<v1::ReserveRequest>) -> Answer<v1::ReserveReply> {
        let none = || refusal(Code::Unimplemented, v1::Reason::NotSupported, &[]);
        let mut script = self.here()?;
        script.wishes.push(request.into_inner());
        script.reserve.clone().map(Response::new).ok_or_else(none)
    }

    async fn cancel_reservation(
        &self,
        _: Request<v1::CancelReservationRequest>,
    ) -> Answer<v1::CancelReservationReply> {
        drop(self.here()?);
        Ok(Response::new(v1::CancelReservationReply { holds_from_tick: 5 }))
    }

    async fn list_reservations(
        &self,
        _: Request<v1::ListReservationsRequest>,
    ) -> Answer<v1::ListReservationsReply> {
        let reply = self.here()?.reserve.clone();
        let reservations = match reply.and_then(|reply| reply.answer) {
            Some(v1::reserve_reply::Answer::Reservation(one)) => vec![one],
            _ => vec![],
        };
        Ok(Response::new(v1::ListReservationsReply { reservations }))
    }

    async fn divide_share(&self, request: Request<v1::DivideShareRequest>) -> Answer<v1::DivideShareReply> {
        let v1::DivideShareRequest { child, share, own_solar_weight, dry_run: _ } = request.into_inner();
        let own = v1::AppShare { solar_weight: own_solar_weight.unwrap_or(9), ..v1::AppShare::default() };
        let child = v1::Child {
            name: format!("web.{child}"),
            share,
            state: v1::AppState::Active.into(),
            socket: format!("/run/ecovisor/app/web.{child}.sock"),
            ..v1::Child::default()
        };
        Ok(Response::new(v1::DivideShareReply {
            holds_from_tick: Some(8),
            own: Some(own),
            child: Some(child),
        }))
    }

    async fn take_back_share(
        &self,
        request: Request<v1::TakeBackShareRequest>,
    ) -> Answer<v1::DivideShareReply> {
        match request.into_inner().child.as_str() {
            "busy" => Err(refusal(Code::FailedPrecondition, v1::Reason::NotDrained, &[])),
            _ => {
                let own = Some(v1::AppShare::default());
                Ok(Response::new(v1::DivideShareReply { holds_from_tick: Some(8), own, child: None }))
            }
        }
    }

    async fn list_children(&self, _: Request<v1::ListChildrenRequest>) -> Answer<v1::ListChildrenReply> {
        let own = Some(v1::AppShare { grid_limit_mw: 5, ..v1::AppShare::default() });
        Ok(Response::new(v1::ListChildrenReply { own, children: vec![] }))
    }
}
