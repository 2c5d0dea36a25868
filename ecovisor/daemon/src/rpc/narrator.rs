//! Events of the core, told in the wire's words once for all subscribers. What an event needs to be understood alone (how
//! large an overdraft was from its first to its last tick, which rate a charge had) is remembered here.

use super::show::{quality, uj};
use crate::engine::handle::{Device, DeviceRole, DeviceState, Engine, TICKS_BEHIND_MAX, View};
use crate::engine::overrun::Stage;
use ecovisor_core::site::AppOutcome;
use ecovisor_core::{AppId, Container, ContainerId, Event, Meter, Quality, ReservationEnd, Setting};
use ecovisor_proto::v1;
use ecovisor_proto::v1::event::Kind;
use ecovisor_units::EnergySum;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// To whom an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// To an app.
    App(AppId),
    /// To a reading of the site, and so to whoever's figures rest on it.
    Reading(Meter),
    /// To the daemon itself: the operator's alone.
    Loop,
}

/// A tick's events.
#[derive(Clone, Debug)]
pub struct Told {
    /// The state after it.
    pub view: Arc<View>,
    /// What happened, in order.
    pub events: Vec<(About, v1::Event)>,
    /// Ticks whose events nobody heard before this one, because there were too many at once.
    pub missed: u64,
}

/// Where subscribers hear of events.
#[derive(Clone, Debug)]
pub struct Narration(broadcast::Sender<Arc<Told>>);

impl Narration {
    /// Begins to tell, until the engine or the ecovisor stops.
    #[must_use]
    pub fn start(engine: &Engine, stop: CancellationToken) -> Self {
        let (told, _) = broadcast::channel(TICKS_BEHIND_MAX);
        let (mut ticks, out) = (engine.ticks(), told.clone());
        let mut narrator = Narrator { previous: engine.view(), overdrafts: BTreeMap::new() };
        tokio::spawn(async move {
            let mut missed = 0_u64;
            loop {
                let tick = tokio::select! {
                    () = stop.cancelled() => return,
                    tick = ticks.recv() => tick,
                };
                match tick {
                    Ok(view) => {
                        let events = narrator.tell(&view);
                        // Nobody listening is no error.
                        drop(out.send(Arc::new(Told { view, events, missed: std::mem::take(&mut missed) })));
                    }
                    Err(RecvError::Lagged(lost)) => missed = missed.saturating_add(lost),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self(told)
    }

    /// From the next tick on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Told>> {
        self.0.subscribe()
    }
}

/// What must be remembered from tick to tick.
struct Narrator {
    previous: Arc<View>,
    /// Overdrafts that last, from their first tick on.
    overdrafts: BTreeMap<AppId, EnergySum>,
}

impl Narrator {
    fn tell(&mut self, view: &Arc<View>) -> Vec<(About, v1::Event)> {
        let Some(outcome) = view.outcome.clone() else { return Vec::new() };
        for app in &outcome.apps {
            let overdraft = app.flows.overdraft();
            if !overdraft.is_zero() {
                *self.overdrafts.entry(app.app).or_default() += overdraft;
            }
        }
        let end_ms = outcome.wall.saturating_add(outcome.span).get();
        let mut told = Vec::new();
        for event in &outcome.events {
            let kinds = self.kinds(view, &outcome.apps, event);
            told.extend(
                kinds.into_iter().map(|(about, kind)| (about, event_at(outcome.tick.0, end_ms, kind))),
            );
        }
        let own = self.of_devices(view).into_iter().chain(overruns(view));
        let untold = own.filter(|(_, kind)| !told.iter().any(|(_, event)| same_device(event, kind)));
        let untold: Vec<_> = untold.collect();
        told.extend(untold.into_iter().map(|(about, kind)| (about, event_at(outcome.tick.0, end_ms, kind))));
        self.previous = view.clone();
        told
    }

    /// Devices that do not answer any more, or do again, as the shell saw it: of the readings that the core does not hold
    /// (load, grid, flows of the battery, containers) nobody else tells.
    fn of_devices(&self, view: &View) -> Vec<(About, Kind)> {
        let before = |name: &str| self.previous.devices.iter().find(|device| device.name == name);
        let changed = view.devices.iter().filter_map(|device| {
            let (was, is) = (before(&device.name)?.state, device.state);
            let about = About::Reading(read_by(device)?);
            let name = device.name.clone();
            match (was == DeviceState::Live, is == DeviceState::Live) {
                (true, false) => {
                    let quality = quality(rests_on(is)).into();
                    Some((about, Kind::DeviceDegraded(v1::DeviceDegraded { device: name, quality })))
                }
                (false, true) if before(&device.name)?.reads > 0 => {
                    Some((about, Kind::DeviceRecovered(v1::DeviceRecovered { device: name })))
                }
                (false, true) | (true, true) | (false, false) => None,
            }
        });
        changed.collect()
    }

    /// What an event of the core is on the wire; nothing where the wire says it otherwise: gaps are marked on ticks,
    /// full and empty batteries are told by each subscriber's thresholds, what passed to others stands in the ledger.
    fn kinds(&mut self, view: &View, apps: &[AppOutcome], event: &Event) -> Vec<(About, Kind)> {
        let one = |app: AppId, kind: Kind| vec![(About::App(app), kind)];
        match *event {
            Event::BatteryFull(_)
            | Event::BatteryEmpty(_)
            | Event::Gap(_)
            | Event::PassedToHouse { .. }
            | Event::PassedToApp { .. } => vec![],
            Event::ChargeEnded(app) => {
                let was = self.previous.site.apps(false).iter().find(|a| a.id == app);
                let charge_rate_mw = was.map_or(0, |app| app.settings.charge_rate.value.get());
                one(app, Kind::ChargeEnded(v1::ChargeEnded { charge_rate_mw }))
            }
            Event::CapLowered { container, cap } => {
                let Some(of) = self.container(view, container) else { return vec![] };
                let cap_mw = of.cap.value.map(|cap| cap.get());
                let (name, effective_cap_mw) = (of.name.to_string(), cap.get());
                one(of.app, Kind::CapLowered(v1::CapLowered { container: name, cap_mw, effective_cap_mw }))
            }
            Event::CapRestored(container) => {
                let Some(of) = self.container(view, container) else { return vec![] };
                let cap_mw = of.cap.value.map(|cap| cap.get());
                one(of.app, Kind::CapRestored(v1::CapRestored { container: of.name.to_string(), cap_mw }))
            }
            Event::OverdraftStarted(app) => {
                let overdraft_uj = uj(self.overdrafts.get(&app).copied().unwrap_or_default());
                one(app, Kind::OverdraftStarted(v1::OverdraftStarted { overdraft_uj }))
            }
            Event::OverdraftEnded(app) => {
                let overdraft_uj = uj(self.overdrafts.remove(&app).unwrap_or_default());
                let of = apps.iter().find(|a| a.app == app);
                let debt_uj = of.map_or(0, |of| uj(of.account.debt));
                one(app, Kind::OverdraftEnded(v1::OverdraftEnded { overdraft_uj, debt_uj }))
            }
            Event::BudgetReached { app, percent } => {
                let budget = super::find(view, app).and_then(|app| app.settings.carbon_budget.value);
                let spent = view.site.spent(app).copied().unwrap_or_default();
                one(
                    app,
                    Kind::BudgetReached(v1::BudgetReached {
                        percent: u32::from(percent),
                        spent_mg: spent.carbon.to_milligrams().get(),
                        budget_mg: budget.map_or(0, |budget| budget.mass.get()),
                    }),
                )
            }
            Event::LeaseExpired(setting) => self.lease_expired(view, setting),
            Event::BatteryAdjusted { app, by } => {
                let level = view.site.account(app).map_or(0, |account| account.stored.get());
                let kind = v1::BatteryAdjusted { adjusted_down_uj: by.get(), charge_level_uj: level };
                one(app, Kind::BatteryAdjusted(kind))
            }
            Event::MeterDegraded(meter, rests_on) => {
                let quality = quality(rests_on).into();
                let of = |device| Kind::DeviceDegraded(v1::DeviceDegraded { device, quality });
                devices(view, meter).into_iter().map(|device| (About::Reading(meter), of(device))).collect()
            }
            Event::MeterRecovered(meter) => {
                let of = |device| Kind::DeviceRecovered(v1::DeviceRecovered { device });
                devices(view, meter).into_iter().map(|device| (About::Reading(meter), of(device))).collect()
            }
            Event::ReservationBegan { app, reservation } => {
                let reservation = u64::from(reservation.get());
                one(app, Kind::ReservationBegan(v1::ReservationBegan { reservation }))
            }
            Event::ReservationEnded { app, reservation, end } => {
                let (reservation, cancelled) =
                    (u64::from(reservation.get()), end == ReservationEnd::Cancelled);
                one(app, Kind::ReservationEnded(v1::ReservationEnded { reservation, cancelled }))
            }
            Event::ReservationAtRisk { app, reservation, short } => {
                let (reservation, short_mw) = (u64::from(reservation.get()), short.get());
                one(app, Kind::ReservationAtRisk(v1::ReservationAtRisk { reservation, short_mw }))
            }
            Event::Draining(app) => one(app, Kind::Draining(v1::Draining { until_ms: None })),
        }
    }

    fn lease_expired(&self, view: &View, setting: Setting) -> Vec<(About, Kind)> {
        let (app, kind, container) = match setting {
            Setting::ChargeRate(app) => (app, v1::SettingKind::BatteryChargeRate, String::new()),
            Setting::MaxDischarge(app) => (app, v1::SettingKind::BatteryMaxDischarge, String::new()),
            Setting::CarbonRate(app) => (app, v1::SettingKind::CarbonRate, String::new()),
            Setting::CarbonBudget(app) => (app, v1::SettingKind::CarbonBudget, String::new()),
            Setting::ContainerCap(container) => {
                let Some(of) = self.container(view, container) else { return vec![] };
                (of.app, v1::SettingKind::ContainerPowerCap, of.name.to_string())
            }
        };
        vec![(About::App(app), Kind::LeaseExpired(v1::LeaseExpired { setting: kind.into(), container }))]
    }

    /// A container that is there, or was until this tick.
    fn container<'a>(&'a self, view: &'a View, id: ContainerId) -> Option<&'a Container> {
        let of = |view: &'a View| view.site.containers(false).iter().find(|container| container.id == id);
        of(view).or_else(|| of(&self.previous))
    }
}

fn event_at(tick: u64, wall_ms: u64, kind: Kind) -> v1::Event {
    v1::Event { tick, wall_ms, kind: Some(kind) }
}

/// What the books do without a reading of these: the core holds solar, levels and intensity and tells so itself; of
/// anything else their own figure stands in its place.
fn rests_on(state: DeviceState) -> Quality {
    match state {
        DeviceState::Live => Quality::Live,
        DeviceState::Held | DeviceState::Implausible | DeviceState::Lost => Quality::Assumed,
    }
}

/// The reading for which a device is asked, of those that the core does not hold.
fn read_by(device: &Device) -> Option<Meter> {
    device.roles.iter().find_map(|role| match role {
        DeviceRole::GridMeter => Some(Meter::Grid),
        DeviceRole::LoadMeter | DeviceRole::ContainerMeter => Some(Meter::Load),
        DeviceRole::Storage => Some(Meter::BatteryFlow),
        DeviceRole::Solar | DeviceRole::Curtailment | DeviceRole::PowerCap | DeviceRole::CarbonSignal => None,
    })
}

/// Whether an event has already told of the device that `kind` is about.
fn same_device(event: &v1::Event, kind: &Kind) -> bool {
    let device = |kind: &Kind| match kind {
        Kind::DeviceDegraded(v1::DeviceDegraded { device, .. })
        | Kind::DeviceRecovered(v1::DeviceRecovered { device }) => Some(device.clone()),
        _ => None,
    };
    device(kind).is_some_and(|is| event.kind.as_ref().and_then(device) == Some(is))
}

/// Where the tick loop did not keep up in this tick.
fn overruns(view: &View) -> impl Iterator<Item = (About, Kind)> {
    view.overruns.of_last.iter().map(|overrun| {
        let stage = match overrun.stage {
            Stage::Late => v1::TickStage::Late,
            Stage::Gather => v1::TickStage::Gather,
            Stage::Work => v1::TickStage::Work,
        };
        let kind = v1::TickOverrun { stage: stage.into(), took_us: overrun.took_us };
        (About::Loop, Kind::TickOverrun(kind))
    })
}

/// The devices behind a reading; where the site has none, the reading's own name, since somebody should be told.
fn devices(view: &View, meter: Meter) -> Vec<String> {
    let (role, name) = match meter {
        Meter::Solar => (DeviceRole::Solar, "solar"),
        Meter::BatteryLevel | Meter::BatteryFlow => (DeviceRole::Storage, "battery"),
        Meter::Intensity => (DeviceRole::CarbonSignal, "carbon intensity"),
        Meter::Load => (DeviceRole::LoadMeter, "load"),
        Meter::Grid => (DeviceRole::GridMeter, "grid"),
    };
    let with_role = view.devices.iter().filter(|device| device.roles.contains(&role));
    let names: Vec<String> = with_role.map(|device| device.name.clone()).collect();
    if names.is_empty() { vec![name.to_owned()] } else { names }
}
