//! The turn from one tick to the next: what was staged comes into force, leases end, claims that no longer have a place
//! pass to `house`.

use super::{ContainerPast, Past, Setup, Site};
use crate::app::{AppId, Leased, Life};
use crate::event::{Event, Setting};
use crate::freshness::Memory;
use crate::ledger::Account;
use crate::settle::Settled;
use alloc::vec::Vec;
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum, Millis, Power};

impl Site {
    /// Notes what the tick did to each app, and tells what changed.
    pub(super) fn note(&mut self, settled: &Settled, intensity: CarbonIntensity, events: &mut Vec<Event>) {
        let (now, house_share) = (self.now, self.setup.house_share());
        for (i, flows) in settled.flows.iter().enumerate() {
            let (app, past, account) = (&self.setup.apps[i], &mut self.past[i], &self.accounts[i]);
            past.load = flows.load;
            if let Some(budget) = app.settings.carbon_budget.value {
                let cost: Carbon = flows.grid_drawn().carbon(intensity);
                for percent in past.spent.count(budget, cost, now) {
                    events.push(Event::BudgetReached { app: app.id, percent });
                }
            }
            let overdrawn = !flows.overdraft().is_zero();
            if overdrawn != past.overdrawn {
                past.overdrawn = overdrawn;
                let event = if overdrawn { Event::OverdraftStarted } else { Event::OverdraftEnded };
                events.push(event(app.id));
            }
            if !flows.adjusted_down.is_zero() {
                events.push(Event::BatteryAdjusted { app: app.id, by: flows.adjusted_down });
            }
            let battery = if app.id == AppId::HOUSE { house_share.battery } else { app.share.battery };
            if battery.capacity.is_zero() {
                continue;
            }
            let full = account.stored >= battery.capacity;
            if full && !past.full {
                events.push(Event::BatteryFull(app.id));
            }
            let empty = account.stored <= battery.floor;
            if empty && !past.empty {
                events.push(Event::BatteryEmpty(app.id));
            }
            (past.full, past.empty) = (full, empty);
        }
    }

    /// Turns to what holds in the coming tick.
    pub(super) fn turn(&mut self, charge_ended: &[AppId], events: &mut Vec<Event>) {
        self.end_charges(charge_ended, events);
        if let Some(next) = self.staged.take() {
            self.take_over(next, events);
        }
        end_leases(&mut self.setup, self.now, events);
    }

    /// A charge setting ends by itself when the battery is full, unless it has been changed meanwhile.
    fn end_charges(&mut self, ended: &[AppId], events: &mut Vec<Event>) {
        for &id in ended {
            let Some(app) = self.setup.apps.iter_mut().find(|app| app.id == id) else { continue };
            let (was, default) = (app.settings.charge_rate, app.policy.defaults().charge_rate);
            if was == default {
                continue;
            }
            app.settings.charge_rate = default;
            events.push(Event::ChargeEnded(id));
            let staged = self.staged.iter_mut().flat_map(|setup| setup.apps.iter_mut());
            for app in staged.filter(|app| app.id == id && app.settings.charge_rate == was) {
                app.settings.charge_rate = default;
            }
        }
    }

    /// Brings `next` into force: balances follow the apps, what has no place any more passes to `house`.
    fn take_over(&mut self, next: Setup, events: &mut Vec<Event>) {
        let before = core::mem::replace(&mut self.setup, next);
        let accounts = core::mem::take(&mut self.accounts);
        let past = core::mem::take(&mut self.past);
        let mut old: Vec<(AppId, Account, Past)> = before
            .apps
            .iter()
            .zip(accounts.into_iter().zip(past))
            .map(|(app, (a, p))| (app.id, a, p))
            .collect();
        let mut gone: Vec<(AppId, Account)> = Vec::new();
        old.retain(|(id, account, _)| {
            let stays = self.setup.apps.iter().any(|app| app.id == *id);
            if !stays {
                gone.push((*id, *account));
            }
            stays
        });
        let mut kept = old.into_iter().peekable();
        for app in &self.setup.apps {
            let known = kept.next_if(|(id, _, _)| *id == app.id);
            let (account, past) = known.map_or_else(Default::default, |(_, account, past)| (account, past));
            self.accounts.push(account);
            self.past.push(past);
        }
        for (i, app) in self.setup.apps.iter().enumerate() {
            let was = before.apps.iter().find(|a| a.id == app.id);
            let budget = app.settings.carbon_budget.value;
            if budget != was.and_then(|a| a.settings.carbon_budget.value) {
                self.past[i].spent = crate::carbon::Spent::since(self.now);
            }
            if app.life == Life::Draining && was.is_some_and(|a| a.life == Life::Active) {
                events.push(Event::Draining(app.id));
            }
        }
        self.pass_to_house(gone, events);
        self.remember_containers();
    }

    fn pass_to_house(&mut self, gone: Vec<(AppId, Account)>, events: &mut Vec<Event>) {
        for (app, account) in gone {
            let Account { stored: claim, buffered: buffer, debt, loan, .. } = account;
            self.give_house(claim, buffer, debt, loan);
            events.push(Event::PassedToHouse { app, claim, buffer, debt, loan });
        }
        let house = self.setup.apps.len() - 1;
        for i in 0..house {
            let (app, capacity) = (self.setup.apps[i].id, self.setup.apps[i].share.battery.capacity);
            let claim = self.accounts[i].stored.less(capacity);
            if claim.is_zero() {
                continue;
            }
            self.accounts[i].stored -= claim;
            self.give_house(claim, Energy::ZERO, EnergySum::ZERO, EnergySum::ZERO);
            let (buffer, debt, loan) = (Energy::ZERO, EnergySum::ZERO, EnergySum::ZERO);
            events.push(Event::PassedToHouse { app, claim, buffer, debt, loan });
        }
    }

    /// What passes reduces a deficit first: below zero the claim of `house` is its deficit.
    fn give_house(&mut self, claim: Energy, buffer: Energy, debt: EnergySum, loan: EnergySum) {
        let house = self.accounts.len() - 1;
        let account = &mut self.accounts[house];
        let pays = self.deficit.min(claim.wide());
        self.deficit -= pays;
        account.stored += claim.wide().less(pays).narrow_saturating();
        account.buffered += buffer;
        account.debt += debt;
        account.loan += loan;
    }

    fn remember_containers(&mut self) {
        let containers = &self.setup.containers;
        self.container_past.retain(|past| containers.iter().any(|c| c.id == past.container));
        for container in containers {
            if self.container_past.iter().all(|past| past.container != container.id) {
                let (container, cap) = (container.id, container.wish());
                let memory = Memory::default();
                self.container_past.push(ContainerPast { container, memory, cap, lowered: false });
            }
        }
    }
}

/// Ends every lease whose time has come; the defaults come back.
pub(super) fn end_leases(setup: &mut Setup, now: Millis, events: &mut Vec<Event>) {
    for app in &mut setup.apps {
        let (id, settings, defaults) = (app.id, &mut app.settings, app.policy.defaults());
        let ended = [
            (end(&mut settings.charge_rate, defaults.charge_rate, now), Setting::ChargeRate(id)),
            (end(&mut settings.max_discharge, defaults.max_discharge, now), Setting::MaxDischarge(id)),
            (end(&mut settings.carbon_rate, defaults.carbon_rate, now), Setting::CarbonRate(id)),
            (end(&mut settings.carbon_budget, defaults.carbon_budget, now), Setting::CarbonBudget(id)),
        ];
        events.extend(
            ended.into_iter().filter(|(ended, _)| *ended).map(|(_, which)| Event::LeaseExpired(which)),
        );
    }
    let no_cap: Leased<Option<Power>> = Leased::lasting(None);
    for container in &mut setup.containers {
        if end(&mut container.cap, no_cap, now) {
            events.push(Event::LeaseExpired(Setting::ContainerCap(container.id)));
        }
    }
}

fn end<T>(setting: &mut Leased<T>, default: Leased<T>, now: Millis) -> bool {
    let ended = setting.has_ended(now);
    if ended {
        *setting = default;
    }
    ended
}
