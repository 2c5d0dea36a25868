//! The state of a site, and the one step that changes it.
//!
//! Between two steps commands arrive and are staged: they hold from the next tick. A step settles the tick that has
//! just passed under what held in it, then moves to what was staged, ends leases, and says what the coming tick may
//! draw and what hardware is to do.

mod admission;
mod coming;
mod rules;
mod turn;

use crate::app::{App, AppId, AppName, AppPolicy, Life, Settings};
use crate::battery::bounded;
use crate::cap::{Container, ContainerId};
use crate::carbon::Spent;
use crate::command::{Accepted, Command, Refusal};
use crate::event::Event;
use crate::freshness::{Held, Memory, Meter, Quality, READING_MAX, Reading};
use crate::ledger::{Account, Broken, Flows, SiteFlows};
use crate::settle::{Metered, SiteTerms, SolarRule, Terms, settle};
use crate::share::{Share, Tree};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis, Power};
use serde::{Deserialize, Serialize};

pub use rules::{GridConnection, Rules, SiteBattery};

/// The number of a tick; the first is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(pub u64);

/// What the site's devices said of one tick; `None` where there is no reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// What the panels could have given; where nobody knows, what they gave.
    pub solar_available: Option<Reading<Energy>>,
    /// What they gave.
    pub solar: Option<Reading<Energy>>,
    /// Import from the grid.
    pub grid_import: Option<Reading<Energy>>,
    /// Export to the grid.
    pub grid_export: Option<Reading<Energy>>,
    /// Into the battery, at its terminals.
    pub battery_in: Option<Reading<Energy>>,
    /// Out of the battery, at its terminals.
    pub battery_out: Option<Reading<Energy>>,
    /// The battery's usable level, inside, at the end of the tick.
    pub battery_level: Option<Reading<Energy>>,
    /// All load of the site.
    pub load: Option<Reading<Energy>>,
    /// Carbon intensity of the grid.
    pub intensity: Option<Reading<CarbonIntensity>>,
}

/// What one container used; `None` where nobody could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerUse {
    /// Which.
    pub container: ContainerId,
    /// How much.
    pub used: Option<Reading<Energy>>,
}

/// All that a tick brings in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The tick's real length; more than three nominal ticks is a gap.
    pub span: Millis,
    /// A label: when the tick began, in ms since the Unix epoch. Nothing is computed from it.
    pub wall: Millis,
    /// Whether the grid was away.
    pub grid_lost: bool,
    /// The site's meters.
    pub readings: Readings,
    /// The containers, in any order; one that is missing has no reading.
    pub containers: Vec<ContainerUse>,
}

/// A container's energy as it was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEnergy {
    /// Which.
    pub container: ContainerId,
    /// Whose.
    pub app: AppId,
    /// How much.
    pub energy: Energy,
    /// What the figure rests on.
    pub quality: Quality,
}

/// What the real battery is to do in the coming tick, at its terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatteryOrder {
    /// Nothing.
    #[default]
    Rest,
    /// Take in.
    Charge(Power),
    /// Give out.
    Discharge(Power),
}

/// What a container may draw from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapOrder {
    /// Which.
    pub container: ContainerId,
    /// Whose.
    pub app: AppId,
    /// The most; `None` means as much as it can.
    pub cap: Option<Power>,
    /// Whether it is to stand still.
    pub frozen: bool,
}

/// Set-points for hardware; leases, like all set-points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// For the battery.
    pub battery: BatteryOrder,
    /// The most the inverter may make; `None` means as much as it can.
    pub solar_limit: Option<Power>,
    /// For the containers.
    pub caps: Vec<CapOrder>,
    /// How long these hold without being renewed: never past the shortest lease behind them.
    pub lease: Millis,
}

/// One app's part of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppOutcome {
    /// Whose.
    pub app: AppId,
    /// What moved.
    pub flows: Flows,
    /// What it has after the tick.
    pub account: Account,
    /// Whether any figure of it rests on a held or assumed reading.
    pub estimated: bool,
    /// What it may draw in the coming tick.
    pub supply: Power,
    /// The solar it can count on in the coming tick: exact where buffered, the last tick's where live.
    pub coming_solar: Power,
}

/// What a step led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which tick was settled.
    pub tick: Tick,
    /// Its length.
    pub span: Millis,
    /// When it began, in ms since the Unix epoch.
    pub wall: Millis,
    /// Whether it was a gap.
    pub gap: bool,
    /// Each app, `house` last.
    pub apps: Vec<AppOutcome>,
    /// What was posted for the site.
    pub site: SiteFlows,
    /// What the meters said and was believed.
    pub metered: Metered,
    /// What was divided.
    pub solar: Energy,
    /// At which intensity.
    pub intensity: CarbonIntensity,
    /// Each container.
    pub containers: Vec<ContainerEnergy>,
    /// For hardware.
    pub orders: Orders,
    /// For whoever wants to be told.
    pub events: Vec<Event>,
}

/// What holds: rules, apps, shares, containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) rules: Rules,
    /// In order of creation, `house` last.
    pub(crate) apps: Vec<App>,
    pub(crate) tree: Tree,
    pub(crate) containers: Vec<Container>,
    next_app: u32,
    next_container: u32,
}

/// What the site remembers of one app besides its account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    spent: Spent,
    overdrawn: bool,
    full: bool,
    empty: bool,
    load: Energy,
}

/// What the site remembers of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ContainerPast {
    container: ContainerId,
    memory: Memory<Held>,
    /// The cap in force.
    cap: Power,
    lowered: bool,
}

/// The whole state of a site: one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    setup: Setup,
    staged: Option<Setup>,
    tick: Tick,
    /// The site's own time: the sum of its spans.
    now: Millis,
    accounts: Vec<Account>,
    deficit: EnergySum,
    past: Vec<Past>,
    container_past: Vec<ContainerPast>,
    solar: Memory<Held>,
    level: Memory<Energy>,
    intensity: Memory<CarbonIntensity>,
    last_span: Millis,
}

impl Site {
    /// A site with `house` alone and nothing stored.
    ///
    /// # Errors
    /// [`Refusal::Rules`] where the rules contradict themselves.
    pub fn new(rules: Rules) -> Result<Self, Refusal> {
        rules.check()?;
        let policy = AppPolicy::default();
        let house = App {
            id: AppId::HOUSE,
            name: AppName::house(),
            share: Share::default(),
            policy,
            settings: Settings::default(),
            life: Life::Active,
        };
        let setup = Setup {
            rules,
            apps: alloc::vec![house],
            tree: Tree::default(),
            containers: Vec::new(),
            next_app: 1,
            next_container: 1,
        };
        setup.check_fit()?;
        Ok(Self {
            last_span: setup.rules.tick,
            setup,
            staged: None,
            tick: Tick(0),
            now: Millis::ZERO,
            accounts: alloc::vec![Account::default()],
            deficit: EnergySum::ZERO,
            past: alloc::vec![Past::default()],
            container_past: Vec::new(),
            solar: Memory::default(),
            level: Memory::default(),
            intensity: Memory::default(),
        })
    }

    /// Stages a command, or refuses it and changes nothing.
    ///
    /// # Errors
    /// The [`Refusal`], with the figure that would be accepted where there is one.
    pub fn command(&mut self, command: &Command) -> Result<Accepted, Refusal> {
        let mut next = self.staged.clone().unwrap_or_else(|| self.setup.clone());
        let from = self.now + self.setup.rules.tick;
        let (app, container) = next.apply(command, from)?;
        self.staged = Some(next);
        Ok(Accepted { holds_from: Tick(self.tick.0 + 1), app, container })
    }

    /// Whether a command would be accepted now; changes nothing.
    ///
    /// # Errors
    /// As [`Site::command`].
    pub fn would(&self, command: &Command) -> Result<Accepted, Refusal> {
        self.clone().command(command)
    }

    /// Settles the tick that has passed, and turns to the next.
    ///
    /// # Errors
    /// [`Broken`] where an invariant does not hold: a bug. The state is of no use then.
    pub fn step(&mut self, inputs: &Inputs) -> Result<Outcome, Broken> {
        let mut outcome = Outcome {
            tick: self.tick,
            span: inputs.span,
            wall: inputs.wall,
            gap: self.is_gap(inputs.span),
            ..Outcome::default()
        };
        let mut events = Vec::new();
        if outcome.gap {
            events.push(Event::Gap(inputs.span));
            // Settings whose lease ended in the gap are back at default before it is settled.
            turn::end_leases(&mut self.setup, self.now + inputs.span, &mut events);
        }
        let believed = self.believe(inputs, outcome.gap, &mut events);
        let loads = self.loads(inputs, outcome.gap, &mut outcome);
        let terms = self.terms(inputs.span, &loads, &believed);
        let site = self.site_terms(inputs.span, inputs.grid_lost, &believed);
        let settled = settle(&site, &terms, &mut self.accounts, &mut self.deficit)?;
        outcome.site = settled.site;
        outcome.metered = site.metered;
        outcome.intensity = site.intensity;
        outcome.solar = site.solar;
        self.divide_buffer(&settled.site);
        self.tick = Tick(self.tick.0 + 1);
        self.now += inputs.span;
        self.last_span = inputs.span;
        self.note(&settled, site.intensity, &mut events);
        let estimated = self.estimated(&outcome);
        let mut flows = settled.flows;
        let order: Vec<AppId> = self.setup.apps.iter().map(|app| app.id).collect();
        let accounts_after = self.accounts.clone();
        self.turn(&settled.charge_ended, &mut events);
        let coming = self.coming(inputs.grid_lost, site.intensity, site.solar, &mut events);
        for (i, app) in order.into_iter().enumerate() {
            let ahead = coming.of(app);
            outcome.apps.push(AppOutcome {
                app,
                flows: core::mem::take(&mut flows[i]),
                account: self.index(app).map_or(accounts_after[i], |now| self.accounts[now]),
                estimated: estimated[i],
                supply: ahead.0,
                coming_solar: ahead.1,
            });
        }
        outcome.orders = coming.orders;
        outcome.events = events;
        Ok(outcome)
    }

    /// The tick that is under way; the last settled is the one before.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The site's own time, in ms since it began.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The rules that hold.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.setup.rules
    }

    /// The apps as they stand now, `house` last; with what is staged where `staged`.
    #[must_use]
    pub fn apps(&self, staged: bool) -> &[App] {
        &self.view(staged).apps
    }

    /// The containers as they stand now; with what is staged where `staged`.
    #[must_use]
    pub fn containers(&self, staged: bool) -> &[Container] {
        &self.view(staged).containers
    }

    /// What is still free for new shares; with what is staged.
    #[must_use]
    pub fn free(&self) -> Share {
        self.view(true).free(None)
    }

    /// An app by name, staged ones included.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&App> {
        self.view(true).apps.iter().find(|app| app.name.as_str() == name)
    }

    /// An app's balances.
    #[must_use]
    pub fn account(&self, app: AppId) -> Option<&Account> {
        self.index(app).map(|i| &self.accounts[i])
    }

    /// What has been spent of an app's carbon budget.
    #[must_use]
    pub fn spent(&self, app: AppId) -> Option<&Spent> {
        self.index(app).map(|i| &self.past[i].spent)
    }

    /// What `house` lacks, inside.
    #[must_use]
    pub fn deficit(&self) -> EnergySum {
        self.deficit
    }

    /// The cap in force for a container, and whether it has been lowered below its wish.
    #[must_use]
    pub fn cap_in_force(&self, container: ContainerId) -> Option<(Power, bool)> {
        let past = self.container_past.iter().find(|past| past.container == container)?;
        Some((past.cap, past.lowered))
    }

    /// What the site's readings rest on.
    #[must_use]
    pub fn quality(&self, meter: Meter) -> Quality {
        match meter {
            Meter::Solar => self.solar.quality,
            Meter::BatteryLevel => self.level.quality,
            Meter::Intensity => self.intensity.quality,
            Meter::Load | Meter::Grid | Meter::BatteryFlow => Quality::Live,
        }
    }

    /// The share of `house`: what others leave.
    #[must_use]
    pub fn house_share(&self) -> Share {
        self.setup.house_share()
    }

    fn view(&self, staged: bool) -> &Setup {
        match (&self.staged, staged) {
            (Some(setup), true) => setup,
            _ => &self.setup,
        }
    }

    fn index(&self, app: AppId) -> Option<usize> {
        self.setup.apps.iter().position(|a| a.id == app)
    }

    fn is_gap(&self, span: Millis) -> bool {
        span.get() > self.setup.rules.tick.get().saturating_mul(3)
    }
}

/// The site's readings as they were believed, held or assumed.
struct Believed {
    solar: Energy,
    intensity: CarbonIntensity,
    metered: Metered,
    battery_gives: bool,
    battery_takes: bool,
}

impl Site {
    fn believe(&mut self, inputs: &Inputs, gap: bool, events: &mut Vec<Event>) -> Believed {
        let (rules, span) = (self.setup.rules.clone(), inputs.span);
        // What no counter saw of a gap is not held either: it goes to `house`.
        let hold_ticks = if gap { 0 } else { rules.patience.hold_ticks };
        let energy = |reading: Option<Reading<Energy>>, most: Energy| {
            let reading = reading.filter(|r| r.counted || !gap)?;
            reading.believed(rules.patience.young, |&e| e <= most)
        };
        let solar_most = with_margin(rules.solar_peak.over(span)).min(READING_MAX);
        let solar = energy(inputs.readings.solar, solar_most);
        let could = match rules.solar_rule {
            SolarRule::Live { .. } => energy(inputs.readings.solar_available, solar_most).or(solar),
            SolarRule::Buffered => solar,
        };
        let was = (self.solar.quality, self.level.quality, self.intensity.quality);
        let could = self.solar.settle(could.map(|energy| Held { energy, span }), hold_ticks);
        let capacity = rules.battery.map_or(Energy::ZERO, |battery| battery.capacity);
        // A level is a state, not a flow: it needs no counter to hold after a gap.
        let level = inputs.readings.battery_level;
        let level = level.and_then(|r| r.believed(rules.patience.young, |&e| e <= capacity));
        let known = self.level.settle(level, rules.patience.hold_ticks).is_some();
        let intensity = inputs.readings.intensity;
        let intensity = intensity.and_then(|r| r.believed(rules.patience.young, |&i| i <= INTENSITY_MAX));
        let intensity = self.intensity.settle(intensity, rules.patience.hold_ticks);
        let metered = Metered {
            solar,
            grid_import: energy(inputs.readings.grid_import, READING_MAX),
            grid_export: energy(inputs.readings.grid_export, READING_MAX),
            battery_in: energy(inputs.readings.battery_in, READING_MAX),
            battery_out: energy(inputs.readings.battery_out, READING_MAX),
            load: energy(inputs.readings.load, READING_MAX),
            level,
        };
        let changes = [
            (Meter::Solar, was.0, self.solar.quality),
            (Meter::BatteryLevel, was.1, self.level.quality),
            (Meter::Intensity, was.2, self.intensity.quality),
        ];
        for (meter, _, is) in changes.into_iter().filter(|(_, was, is)| was != is) {
            if meter == Meter::BatteryLevel && rules.battery.is_none() {
                continue;
            }
            events.push(match is {
                Quality::Live => Event::MeterRecovered(meter),
                Quality::Held | Quality::Assumed => Event::MeterDegraded(meter, is),
            });
        }
        let flows_counted = metered.battery_in.is_some() && metered.battery_out.is_some();
        Believed {
            solar: could.map_or(Energy::ZERO, |held| held.over(span)),
            intensity: intensity.unwrap_or(rules.intensity_worst),
            metered,
            battery_gives: known && (!gap || flows_counted),
            battery_takes: !gap || flows_counted,
        }
    }

    /// What each app's containers used, in the order of apps.
    fn loads(&mut self, inputs: &Inputs, gap: bool, outcome: &mut Outcome) -> Vec<Energy> {
        let patience = self.setup.rules.patience;
        let mut loads = alloc::vec![Energy::ZERO; self.setup.apps.len()];
        let mut given: Vec<&ContainerUse> = inputs.containers.iter().collect();
        given.sort_by_key(|used| used.container);
        for container in &self.setup.containers {
            let Some(past) = self.container_past.iter_mut().find(|past| past.container == container.id)
            else {
                continue;
            };
            let reading = given.binary_search_by_key(&container.id, |used| used.container).ok();
            let reading = reading.and_then(|at| given[at].used).filter(|r| r.counted || !gap);
            let fresh = reading.and_then(|r| r.believed(patience.young, |&e| e <= READING_MAX));
            let fresh = fresh.map(|energy| Held { energy, span: inputs.span });
            let held = past.memory.settle(fresh, if gap { 0 } else { patience.hold_ticks });
            let energy = match held {
                Some(held) => held.over(inputs.span),
                // Nothing is invented for a gap that no counter saw.
                None if gap => Energy::ZERO,
                None => past.cap.over(inputs.span).min(READING_MAX),
            };
            let place = self.setup.apps.iter().position(|app| app.id == container.app);
            if let Some(load) = place.map(|place| &mut loads[place]) {
                *load = load.saturating_add(energy).min(READING_MAX);
            }
            let quality = past.memory.quality;
            outcome.containers.push(ContainerEnergy {
                container: container.id,
                app: container.app,
                energy,
                quality,
            });
        }
        loads
    }

    fn site_terms(&self, span: Millis, grid_lost: bool, believed: &Believed) -> SiteTerms {
        let rules = &self.setup.rules;
        let export = rules.grid.filter(|_| rules.export).map_or(Power::ZERO, |grid| grid.export_limit);
        SiteTerms {
            solar_rule: rules.solar_rule,
            solar: believed.solar,
            redistribute: rules.redistribute,
            export_limit: export.over(span),
            islanded: grid_lost || rules.grid.is_none(),
            intensity: believed.intensity,
            conversion: rules.conversion(),
            tolerance: rules.tolerance,
            metered: believed.metered,
        }
    }

    fn terms(&self, span: Millis, loads: &[Energy], believed: &Believed) -> Vec<Terms> {
        let rules = &self.setup.rules;
        let house = self.setup.apps.len() - 1;
        let (weights, house_weight) = self.setup.tree.flat_weights(rules.house_weight);
        let (live, house_live) = self.setup.tree.solar_parts(believed.solar, rules.house_weight);
        let mut terms = Vec::with_capacity(self.setup.apps.len());
        for (i, app) in self.setup.apps.iter().enumerate() {
            let share = if i == house { self.setup.house_share() } else { app.share };
            let settings = &app.settings;
            let solar = match rules.solar_rule {
                SolarRule::Buffered => self.accounts[i].buffered,
                SolarRule::Live { .. } => live.get(i).map_or(house_live, |(_, part)| *part),
            };
            let charge_limit = match (app.life, believed.battery_takes) {
                (Life::Active, true) => share.battery.charge_limit,
                (Life::Draining, _) | (_, false) => Power::ZERO,
            };
            terms.push(Terms {
                app: app.id,
                solar,
                load: loads[i],
                weight: weights.get(i).map_or(house_weight, |(_, weight)| *weight),
                capacity: share.battery.capacity,
                floor: share.battery.floor,
                charge_limit: charge_limit.over(span),
                discharge_limit: share.battery.discharge_limit.min(settings.max_discharge.value).over(span),
                charge: settings.charge_rate.value.min(charge_limit).over(span),
                grid_limit: share.grid_limit.over(span),
                carbon_limit: self.carbon_limit(i, span, believed.intensity),
                battery_gives: believed.battery_gives,
            });
        }
        terms
    }

    /// The most grid energy in `span` that an app's carbon rate and budget allow.
    fn carbon_limit(&self, i: usize, span: Millis, intensity: CarbonIntensity) -> Energy {
        let settings = &self.setup.apps[i].settings;
        let rate =
            settings.carbon_rate.value.map_or(Energy::MAX, |rate| rate.power_within(intensity).over(span));
        let budget = settings.carbon_budget.value;
        rate.min(budget.map_or(Energy::MAX, |budget| self.past[i].spent.energy_left(budget, intensity)))
    }

    /// The new buffer is divided by the weights in force: these parts are the apps' solar of the coming tick.
    fn divide_buffer(&mut self, site: &SiteFlows) {
        if self.setup.rules.solar_rule != SolarRule::Buffered {
            return;
        }
        let (parts, house) =
            self.setup.tree.solar_parts(bounded(site.buffer.get()), self.setup.rules.house_weight);
        for (i, account) in self.accounts.iter_mut().enumerate() {
            account.buffered = parts.get(i).map_or(house, |(_, part)| *part);
        }
    }

    fn estimated(&self, outcome: &Outcome) -> Vec<bool> {
        let site = self.solar.quality != Quality::Live
            || self.intensity.quality != Quality::Live
            || (self.setup.rules.battery.is_some() && self.level.quality != Quality::Live);
        let of = |app: AppId| outcome.containers.iter().any(|c| c.app == app && c.quality != Quality::Live);
        self.setup.apps.iter().map(|app| site || of(app.id)).collect()
    }
}

/// The highest intensity that is one: 10 kg/kWh. The dirtiest grids on record stay below 1.5 kg/kWh.
const INTENSITY_MAX: CarbonIntensity = CarbonIntensity::from_grams_per_kwh(10_000);

/// A device's own limit with an eighth on top, since a reading's span and the tick's differ by some milliseconds.
fn with_margin(limit: Energy) -> Energy {
    limit.saturating_add(Energy::new(limit.get() / 8))
}
