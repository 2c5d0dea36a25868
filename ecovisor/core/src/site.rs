//! The state of a site, and the one step that changes it.
//!
//! Between two steps commands arrive and are staged: they hold from the next tick. A step settles the tick that has
//! just passed under what held in it, then moves to what was staged, ends leases, and says what the coming tick may
//! draw and what hardware is to do.

mod admission;
mod coming;
mod desk;
mod nesting;
mod old;
mod readings;
mod reservations;
mod rules;
mod setup;
mod terms;
mod turn;

use crate::app::{App, AppId};
use crate::cap::{Container, ContainerId};
use crate::carbon::Spent;
use crate::command::{Accepted, Command, Refusal};
use crate::event::Event;
use crate::freshness::{Held, Memory, Meter, Quality, Reading};
use crate::ledger::{Account, Broken, Flows, SiteFlows};
use crate::reserve::ReservationId;
use crate::settle::{Metered, settle_into};
use crate::share::Share;
use crate::tree::{NodeId, Tree};
use alloc::vec::Vec;
use desk::{Desk, OnDesk};
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis, Power};
use serde::{Deserialize, Serialize};

pub use old::SiteOfVersion1;
pub use rules::{GridConnection, Rules, SiteBattery};
pub(crate) use setup::Setup;

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
    /// Each app, `house` last. One that begins with what passed to it stands here a tick before it is settled.
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

/// What a command has created.
type Made = (Option<AppId>, Option<ContainerId>, Option<ReservationId>);

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
    /// One for each container of the setup, in the same order: that of creation, hence of their numbers.
    container_past: Vec<ContainerPast>,
    solar: Memory<Held>,
    level: Memory<Energy>,
    intensity: Memory<CarbonIntensity>,
    last_span: Millis,
    /// Reservations whose app may draw less in the coming tick than they promise.
    short: Vec<ReservationId>,
    #[serde(skip)]
    desk: OnDesk,
}

impl Site {
    /// A site with `house` alone and nothing stored.
    ///
    /// # Errors
    /// [`Refusal::Rules`] where the rules contradict themselves.
    pub fn new(rules: Rules) -> Result<Self, Refusal> {
        rules.check()?;
        let setup = Setup::new(rules);
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
            desk: OnDesk::default(),
            short: Vec::new(),
        })
    }

    /// Stages a command, or refuses it and changes nothing.
    ///
    /// # Errors
    /// The [`Refusal`], with the figure that would be accepted where there is one.
    pub fn command(&mut self, command: &Command) -> Result<Accepted, Refusal> {
        self.check_stored(command)?;
        let from = self.next_boundary();
        // What is staged already is changed in place: a copy of the setup for each command would make a thousand
        // commands in one tick a thousand times as dear.
        let applied = match &mut self.staged {
            Some(staged) => staged.apply(command, from)?,
            None => {
                let mut staged = self.setup.clone();
                let applied = staged.apply(command, from)?;
                self.staged = Some(staged);
                applied
            }
        };
        Ok(self.accepted(applied))
    }

    /// Whether a command would be accepted now; changes nothing.
    ///
    /// # Errors
    /// As [`Site::command`].
    pub fn would(&self, command: &Command) -> Result<Accepted, Refusal> {
        self.check_stored(command)?;
        let applied = self.view(true).clone().apply(command, self.next_boundary())?;
        Ok(self.accepted(applied))
    }

    fn accepted(&self, (app, container, reservation): Made) -> Accepted {
        Accepted { holds_from: self.tick.next(), app, container, reservation }
    }

    /// When the tick that is under way ends, should it last as long as it ought to.
    fn next_boundary(&self) -> Millis {
        self.now.saturating_add(self.setup.rules.tick)
    }

    /// Settles the tick that has passed, and turns to the next.
    ///
    /// # Errors
    /// [`Broken`] where an invariant does not hold: a bug. The state is of no use then.
    pub fn step(&mut self, inputs: &Inputs) -> Result<Outcome, Broken> {
        let mut outcome = Outcome::default();
        self.step_into(inputs, &mut outcome)?;
        Ok(outcome)
    }

    /// [`Site::step`] into an outcome of the caller's, which is overwritten: whoever goes through many ticks spares an
    /// allocation for each list in each of them.
    ///
    /// # Errors
    /// As [`Site::step`]. The outcome is of no use then either.
    pub fn step_into(&mut self, inputs: &Inputs, outcome: &mut Outcome) -> Result<(), Broken> {
        let mut desk = self.desk.take();
        let stepped = self.step_at(&mut desk, inputs, outcome);
        self.desk.put(desk);
        stepped
    }

    fn step_at(&mut self, desk: &mut Desk, inputs: &Inputs, out: &mut Outcome) -> Result<(), Broken> {
        let gap = self.is_gap(inputs.span);
        out.events.clear();
        if gap {
            out.events.push(Event::Gap(inputs.span));
            self.end_leases_of_gap(inputs.span, &mut out.events);
        }
        desk.stand(&self.setup);
        let solar_before = self.solar.quality;
        let believed = self.believe(inputs, gap, &mut out.events);
        self.loads(inputs, gap, desk, &mut out.containers);
        self.terms(inputs.span, &believed, desk);
        let site = self.site_terms(inputs.span, inputs.grid_lost, &believed);
        let Desk { settling, settled, terms, .. } = desk;
        settle_into(&site, terms, &mut self.accounts, &mut self.deficit, settling, settled)?;
        self.divide_buffer(desk);
        self.estimated(&out.containers, solar_before, &mut desk.estimated);
        self.note(&desk.settled, desk.standing().house, site.intensity, &mut out.events);
        (out.tick, out.span, out.wall, out.gap) = (self.tick, inputs.span, inputs.wall, gap);
        let before = self.before_turn();
        self.tick = self.tick.next();
        self.now = self.now.saturating_add(inputs.span);
        self.last_span = inputs.span;
        if self.staged.is_some() {
            desk.forget_standing();
        }
        self.turn(&mut desk.settled, &mut out.events);
        self.turn_reservations(&before, &mut out.events);
        desk.stand(&self.setup);
        self.check_balances(&desk.settled.site)?;
        out.apps.clear();
        out.apps.extend(self.app_outcomes(desk));
        self.add_heirs(&mut out.apps, &out.events);
        self.coming(inputs.grid_lost, site.intensity, site.solar, desk, out);
        (out.site, out.metered) = (desk.settled.site, site.metered);
        (out.solar, out.intensity) = (site.solar, site.intensity);
        Ok(())
    }

    /// What each app that was settled came to; one that has ended since has nothing any more. What lies ahead is not
    /// known yet.
    fn app_outcomes(&self, desk: &Desk) -> impl Iterator<Item = AppOutcome> {
        desk.terms.iter().zip(&desk.settled.flows).zip(&desk.estimated).map(|((terms, flows), &estimated)| {
            let app = terms.app;
            let account = self.setup.place(app).map(|i| self.accounts[i]).unwrap_or_default();
            let (supply, coming_solar) = (Power::ZERO, Power::ZERO);
            AppOutcome { app, flows: *flows, account, estimated, supply, coming_solar }
        })
    }

    /// An app that begins with what its parent no longer holds stands in the books of the tick in which that passed,
    /// though it is settled from the next on.
    fn add_heirs(&self, apps: &mut Vec<AppOutcome>, events: &[Event]) {
        for event in events {
            let Event::PassedToApp { to, .. } = *event else { continue };
            let known = apps.iter().any(|known| known.app == to);
            let Some(place) = self.setup.place(to).filter(|_| !known) else { continue };
            let (account, flows) = (self.accounts[place], Flows::default());
            let (supply, coming_solar) = (Power::ZERO, Power::ZERO);
            let heir = AppOutcome { app: to, flows, account, estimated: false, supply, coming_solar };
            apps.insert(apps.len() - 1, heir);
        }
    }

    /// What lies between ticks must be whole: the parts of the buffer make the buffer, and debts are loans.
    fn check_balances(&self, site: &SiteFlows) -> Result<(), Broken> {
        let sum = |of: fn(&Account) -> EnergySum| self.accounts.iter().map(of).sum::<EnergySum>().get();
        let pairs = [
            (4, "the parts of the buffer", sum(|a| a.buffered.wide()), site.buffer.get()),
            (2, "open debts and open loans", sum(|a| a.debt), sum(|a| a.loan)),
        ];
        for (invariant, what, left, right) in pairs {
            if left != right {
                return Err(Broken { invariant, what, app: None, left, right });
            }
        }
        Ok(())
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

    /// The rules that hold from the next tick.
    #[must_use]
    pub fn rules_staged(&self) -> &Rules {
        &self.view(true).rules
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

    /// What of the site is still free for new shares; with what is staged.
    #[must_use]
    pub fn free(&self) -> Share {
        self.free_below(None)
    }

    /// What is still free for new shares directly below a group or an app (`None`: the site); with what is staged.
    #[must_use]
    pub fn free_below(&self, parent: Option<NodeId>) -> Share {
        self.view(true).free(parent, None)
    }

    /// How shares nest now; with what is staged where `staged`.
    #[must_use]
    pub fn tree(&self, staged: bool) -> &Tree {
        &self.view(staged).tree
    }

    /// What no share takes; with what is staged. Reservations may take of its grid limit.
    #[must_use]
    pub fn free_of_shares(&self) -> Share {
        self.view(true).unshared(None, None)
    }

    /// An app by name, staged ones included.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&App> {
        self.view(true).named(name)
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
        let at = self.container_past.binary_search_by_key(&container, |past| past.container).ok()?;
        let past = &self.container_past[at];
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
        self.setup.place(app)
    }

    fn is_gap(&self, span: Millis) -> bool {
        span.get() > self.setup.rules.tick.get().saturating_mul(3)
    }
}
