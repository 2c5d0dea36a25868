//! Events of the core, told in the wire's words once for all subscribers. What an event needs to be understood alone (how
//! large an overdraft was from its first to its last tick, which rate a charge had) is remembered here.

use super::show::{quality, uj};
use crate::engine::handle::{DeviceRole, Engine, TICKS_BEHIND_MAX, View};
use ecovisor_core::site::AppOutcome;
use ecovisor_core::{AppId, Container, ContainerId, Event, Meter, Setting};
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
            told.extend(kinds.into_iter().map(|(about, kind)| {
                (about, v1::Event { tick: outcome.tick.0, wall_ms: end_ms, kind: Some(kind) })
            }));
        }
        self.previous = view.clone();
        told
    }

    /// What an event of the core is on the wire; nothing where the wire says it otherwise: gaps are marked on ticks,
    /// full and empty batteries are told by each subscriber's thresholds, what passed to `house` stands in the ledger.
    fn kinds(&mut self, view: &View, apps: &[AppOutcome], event: &Event) -> Vec<(About, Kind)> {
        let one = |app: AppId, kind: Kind| vec![(About::App(app), kind)];
        match *event {
            Event::BatteryFull(_) | Event::BatteryEmpty(_) | Event::Gap(_) | Event::PassedToHouse { .. } => {
                vec![]
            }
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
