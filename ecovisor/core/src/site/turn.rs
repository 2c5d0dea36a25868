//! The turn from one tick to the next: what was staged comes into force, leases end, claims that no longer have a place
//! pass to `house`.

use super::{ContainerPast, Past, Setup, Site};
use crate::app::{App, AppId, Leased, Life};
use crate::event::{Event, Setting};
use crate::freshness::Memory;
use crate::ledger::{Account, Flows};
use crate::settle::{Settled, SolarRule};
use crate::share::{BatteryShare, Share};
use crate::tree::Tree;
use alloc::vec::Vec;
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum, Millis, Power};

impl Site {
    /// Notes what the tick, which began at the site's present time, did to each app, and tells what changed.
    pub(super) fn note(
        &mut self,
        settled: &Settled,
        house_share: Share,
        intensity: CarbonIntensity,
        events: &mut Vec<Event>,
    ) {
        let began = self.now;
        for (i, flows) in settled.flows.iter().enumerate() {
            let (app, past, account) = (&self.setup.apps[i], &mut self.past[i], &self.accounts[i]);
            past.load = flows.load;
            if let Some(budget) = app.settings.carbon_budget.value {
                let cost: Carbon = flows.grid_drawn().carbon(intensity);
                let marks = past.spent.count(budget, cost, began);
                events.extend(marks.map(|percent| Event::BudgetReached { app: app.id, percent }));
            }
            past.note_overdraft(app.id, flows, events);
            if !flows.adjusted_down.is_zero() {
                events.push(Event::BatteryAdjusted { app: app.id, by: flows.adjusted_down });
            }
            let battery = if app.id == AppId::HOUSE { house_share.battery } else { app.share.battery };
            past.note_battery(app.id, battery, account.stored, events);
        }
    }

    /// Turns to what holds in the coming tick.
    pub(super) fn turn(&mut self, settled: &mut Settled, events: &mut Vec<Event>) {
        self.end_charges(&settled.charge_ended, events);
        if let Some(next) = self.staged.take() {
            self.take_over(next, settled, events);
        }
        let ended = end_leases(&mut self.setup, self.now);
        events.extend(ended.into_iter().map(Event::LeaseExpired));
        for (app, past) in self.setup.apps.iter().zip(&mut self.past) {
            if let Some(budget) = app.settings.carbon_budget.value {
                past.spent.roll(budget, self.now);
            }
        }
    }

    /// Settings whose lease ends in a gap are back at default before it is settled; those that were to come into force
    /// after it never do.
    pub(super) fn end_leases_of_gap(&mut self, span: Millis, events: &mut Vec<Event>) {
        let end = self.now.saturating_add(span);
        let mut ended = end_leases(&mut self.setup, end);
        if let Some(staged) = &mut self.staged {
            ended.extend(end_leases(staged, end));
        }
        ended.sort_unstable();
        ended.dedup();
        events.extend(ended.into_iter().map(Event::LeaseExpired));
    }

    /// A charge setting ends by itself when the battery is full, unless it has been changed meanwhile.
    fn end_charges(&mut self, ended: &[AppId], events: &mut Vec<Event>) {
        for &id in ended {
            let Some(place) = self.setup.place(id) else { continue };
            let app = &mut self.setup.apps[place];
            let was = app.settings.charge_rate;
            if !end_charge(app, was) {
                continue;
            }
            events.push(Event::ChargeEnded(id));
            if let Some(staged) = &mut self.staged
                && let Some(place) = staged.place(id)
            {
                end_charge(&mut staged.apps[place], was);
            }
        }
    }

    /// Brings `next` into force: balances follow the apps, what has no place any more passes to `house`.
    fn take_over(&mut self, next: Setup, settled: &mut Settled, events: &mut Vec<Event>) {
        let before = core::mem::replace(&mut self.setup, next);
        let old_rule = before.rules.solar_rule;
        let accounts = core::mem::take(&mut self.accounts);
        let pasts = core::mem::take(&mut self.past);
        let balances = accounts.into_iter().zip(pasts);
        let capacities: Vec<(AppId, Energy)> =
            before.apps.iter().map(|app| (app.id, app.share.battery.capacity)).collect();
        let mut old = before.apps.into_iter().zip(balances).zip(&mut settled.flows).peekable();
        let mut passing = Vec::new();
        for app in &self.setup.apps {
            // Both stand in the same order: whoever of the old comes before this one has ended.
            while let Some(((gone, (account, _)), flows)) =
                old.next_if(|((o, _), _)| rank(o.id) < rank(app.id))
            {
                passing.push(Passing::all(gone.id, &account, flows));
            }
            let known = old.next_if(|((o, _), _)| o.id == app.id);
            let (mut account, mut past) = known.as_ref().map_or_else(Default::default, |((_, b), _)| *b);
            past.follow(app, known.as_ref().map(|((was, _), _)| was), self.now, events);
            if let Some((_, flows)) = known
                && app.id != AppId::HOUSE
            {
                passing.extend(Passing::beyond(app.id, &mut account, app.share.battery.capacity, flows));
            }
            self.accounts.push(account);
            self.past.push(past);
        }
        drop(old);
        let grown = Grown { before: &capacities, tree: &before.tree };
        if old_rule == SolarRule::Buffered && self.setup.rules.solar_rule != SolarRule::Buffered {
            self.end_buffer(settled, events);
        }
        for mut passing in passing {
            let heirs = grown.heirs(&self.setup, passing.app);
            let passed: Vec<AppId> =
                heirs.into_iter().filter(|&to| self.pass_on(&mut passing, to, settled, events)).collect();
            if passed.is_empty() || !passing.is_empty() {
                self.give_house(passing, settled, events);
            }
        }
        settled.site.deficit = self.deficit;
        self.remember_containers();
    }

    /// A site that goes over to live solar has no buffer any more: what it held is in the battery, and `house`'s.
    fn end_buffer(&mut self, settled: &mut Settled, events: &mut Vec<Event>) {
        let held = core::mem::take(&mut settled.site.buffer);
        for (app, account) in self.setup.apps.iter().zip(&mut self.accounts) {
            let buffer = core::mem::take(&mut account.buffered);
            if app.id != AppId::HOUSE && !buffer.is_zero() {
                let (claim, debt, loan) = (Energy::ZERO, EnergySum::ZERO, EnergySum::ZERO);
                events.push(Event::PassedToHouse { app: app.id, claim, buffer, debt, loan });
            }
        }
        settled.site.buffer_adjusted += held;
        settled.site.freed += held;
        self.credit_house(held);
    }

    /// Passes on to an heir what it has room for; what a child owed, was owed and had of the buffer goes whole. Says
    /// whether anything went.
    fn pass_on(
        &mut self,
        passing: &mut Passing,
        to: AppId,
        settled: &mut Settled,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(place) = self.setup.place(to) else { return false };
        let buffered = self.setup.rules.solar_rule == SolarRule::Buffered;
        let (heir, capacity) = (&mut self.accounts[place], self.setup.apps[place].share.battery.capacity);
        let claim = passing.claim.min(capacity.less(heir.stored));
        let carbon = passing.shed_carbon(claim);
        let Passing { app: from, buffer, debt, loan, .. } = *passing;
        if claim.is_zero() && buffer.is_zero() && debt.is_zero() && loan.is_zero() {
            return false;
        }
        heir.stored += claim;
        heir.buffered += if buffered { buffer } else { Energy::ZERO };
        heir.debt += debt;
        heir.loan += loan;
        heir.carbon_content = heir.carbon_content.saturating_add(carbon);
        settled.site.freed += claim;
        passing.claim -= claim;
        (passing.buffer, passing.debt, passing.loan) = (Energy::ZERO, EnergySum::ZERO, EnergySum::ZERO);
        events.push(Event::PassedToApp { from, to, claim, buffer, debt, loan });
        true
    }

    fn give_house(&mut self, passing: Passing, settled: &mut Settled, events: &mut Vec<Event>) {
        let Passing { app, claim, buffer, debt, loan, carbon_content } = passing;
        settled.site.freed += claim;
        self.credit_house(claim.wide());
        let buffered = self.setup.rules.solar_rule == SolarRule::Buffered;
        if let Some(house) = self.accounts.last_mut() {
            // Where the buffer has just ended, this part of it has passed with the rest.
            house.buffered += if buffered { buffer } else { Energy::ZERO };
            house.debt += debt;
            house.loan += loan;
            house.carbon_content = house.carbon_content.saturating_add(carbon_content);
        }
        events.push(Event::PassedToHouse { app, claim, buffer, debt, loan });
    }

    /// What passes reduces a deficit first: below zero the claim of `house` is its deficit.
    fn credit_house(&mut self, claim: EnergySum) {
        let pays = self.deficit.min(claim);
        self.deficit -= pays;
        if let Some(house) = self.accounts.last_mut() {
            let stored = claim - pays + house.stored;
            house.stored = stored.narrow().expect("claims and buffer are bounded where readings come in");
        }
    }

    /// Both lists stand in the order of containers' numbers.
    fn remember_containers(&mut self) {
        let mut old = core::mem::take(&mut self.container_past).into_iter().peekable();
        for container in &self.setup.containers {
            while old.next_if(|past| past.container < container.id).is_some() {}
            let known = old.next_if(|past| past.container == container.id);
            self.container_past.push(known.unwrap_or_else(|| ContainerPast {
                container: container.id,
                memory: Memory::default(),
                cap: container.wish(),
                lowered: false,
            }));
        }
    }
}

impl Past {
    fn note_overdraft(&mut self, app: AppId, flows: &Flows, events: &mut Vec<Event>) {
        let overdrawn = !flows.overdraft().is_zero();
        match (self.overdrawn, overdrawn) {
            (false, true) => events.push(Event::OverdraftStarted(app)),
            (true, false) => events.push(Event::OverdraftEnded(app)),
            (true, true) | (false, false) => {}
        }
        self.overdrawn = overdrawn;
    }

    fn note_battery(&mut self, app: AppId, battery: BatteryShare, stored: Energy, events: &mut Vec<Event>) {
        if battery.capacity.is_zero() {
            return;
        }
        let (full, empty) = (stored >= battery.capacity, stored <= battery.floor);
        if full && !self.full {
            events.push(Event::BatteryFull(app));
        }
        if empty && !self.empty {
            events.push(Event::BatteryEmpty(app));
        }
        (self.full, self.empty) = (full, empty);
    }

    /// Follows an app from what it `was`: another budget begins anew.
    fn follow(&mut self, app: &App, was: Option<&App>, now: Millis, events: &mut Vec<Event>) {
        if app.settings.carbon_budget.value != was.and_then(|a| a.settings.carbon_budget.value) {
            self.spent = crate::carbon::Spent::since(now);
        }
        if app.life == Life::Draining && was.is_some_and(|a| a.life == Life::Active) {
            events.push(Event::Draining(app.id));
        }
    }
}

/// What has no place with an app any more.
struct Passing {
    app: AppId,
    claim: Energy,
    buffer: Energy,
    debt: EnergySum,
    loan: EnergySum,
    carbon_content: Carbon,
}

impl Passing {
    /// All that an app had which has ended.
    fn all(app: AppId, account: &Account, flows: &mut Flows) -> Self {
        let Account { stored: claim, debt, loan, buffered: buffer, carbon_content } = *account;
        flows.adjusted_down += claim;
        Self { app, claim, buffer, debt, loan, carbon_content }
    }

    /// What lies above a capacity, taken out of `account`; `None` where nothing does.
    fn beyond(app: AppId, account: &mut Account, capacity: Energy, flows: &mut Flows) -> Option<Self> {
        let claim = account.stored.less(capacity);
        if claim.is_zero() {
            return None;
        }
        let carbon_content = account.shed_carbon(claim.wide());
        account.stored -= claim;
        flows.adjusted_down += claim;
        let (buffer, debt, loan) = (Energy::ZERO, EnergySum::ZERO, EnergySum::ZERO);
        Some(Self { app, claim, buffer, debt, loan, carbon_content })
    }
}

impl Passing {
    fn is_empty(&self) -> bool {
        self.claim.is_zero() && self.buffer.is_zero() && self.debt.is_zero() && self.loan.is_zero()
    }

    /// Takes out of the carbon content the part that goes with `leaving` of the claim, rounded down; all with all.
    fn shed_carbon(&mut self, leaving: Energy) -> Carbon {
        let mut account =
            Account { stored: self.claim, carbon_content: self.carbon_content, ..Account::default() };
        let part = account.shed_carbon(leaving.wide());
        self.carbon_content = account.carbon_content;
        part
    }
}

/// What apps had before a turn, to find who has gained what another has lost within a share that is divided.
struct Grown<'a> {
    /// Each app's capacity, in the order of apps.
    before: &'a [(AppId, Energy)],
    tree: &'a Tree,
}

impl Grown<'_> {
    /// To whom passes what `app` no longer holds: the app whose child it was, then its children, where their capacity
    /// has grown, or where it has ended. Everybody else's goes to `house`.
    fn heirs(&self, now: &Setup, app: AppId) -> Vec<AppId> {
        let Some(leaf) = self.tree.leaf(app) else { return Vec::new() };
        let parent = leaf.parent.and_then(|node| self.tree.app_at(node));
        let children = || now.tree.leaves().iter().filter(|below| below.parent == Some(leaf.id));
        let has_children = now.tree.taken(Some(leaf.id)).shares > 0;
        let children = has_children.then(|| children().map(|below| below.app)).into_iter().flatten();
        let ended = now.place(app).is_none();
        let grows = |heir: &AppId| ended || self.has_grown(now, *heir);
        parent.into_iter().chain(children).filter(grows).collect()
    }

    fn has_grown(&self, now: &Setup, app: AppId) -> bool {
        let rank_of = |known: &(AppId, Energy)| rank(known.0);
        let was = self
            .before
            .binary_search_by_key(&rank(app), rank_of)
            .map_or(Energy::ZERO, |at| self.before[at].1);
        now.place(app).is_some_and(|place| now.apps[place].share.battery.capacity > was)
    }
}

/// An app's place in the order: that of creation, `house` last.
fn rank(app: AppId) -> u64 {
    if app == AppId::HOUSE { u64::MAX } else { u64::from(app.get()) }
}

/// Brings the default back where the charge rate still is what it `was` and is not the default; says whether it did.
fn end_charge(app: &mut App, was: Leased<Power>) -> bool {
    let default = app.policy.defaults().charge_rate;
    let ends = app.settings.charge_rate == was && was != default;
    if ends {
        app.settings.charge_rate = default;
    }
    ends
}

/// Ends every lease whose time has come; the defaults come back.
fn end_leases(setup: &mut Setup, now: Millis) -> Vec<Setting> {
    let mut ended = Vec::new();
    for app in &mut setup.apps {
        let (id, settings, defaults) = (app.id, &mut app.settings, app.policy.defaults());
        let of_app = [
            (end(&mut settings.charge_rate, defaults.charge_rate, now), Setting::ChargeRate(id)),
            (end(&mut settings.max_discharge, defaults.max_discharge, now), Setting::MaxDischarge(id)),
            (end(&mut settings.carbon_rate, defaults.carbon_rate, now), Setting::CarbonRate(id)),
            (end(&mut settings.carbon_budget, defaults.carbon_budget, now), Setting::CarbonBudget(id)),
        ];
        ended.extend(of_app.into_iter().filter(|(ended, _)| *ended).map(|(_, which)| which));
    }
    let no_cap: Leased<Option<Power>> = Leased::lasting(None);
    for container in &mut setup.containers {
        if end(&mut container.cap, no_cap, now) {
            ended.push(Setting::ContainerCap(container.id));
        }
    }
    ended
}

fn end<T>(setting: &mut Leased<T>, default: Leased<T>, now: Millis) -> bool {
    let ended = setting.has_ended(now);
    if ended {
        *setting = default;
    }
    ended
}
