//! Admission: what a command may change, and what is still free. How shares nest is admitted in [`super::nesting`].

use super::{Made, Rules, Setup, Tick};
use crate::app::{App, AppId, AppPolicy, Leased, Life, Settings};
use crate::cap::{Container, ContainerId, ContainerName};
use crate::carbon::Budget;
use crate::command::{Command, Refusal};
use crate::settle::SolarRule;
use crate::share::{BatteryShare, Share};
use crate::tree::{Group, NodeId};
use ecovisor_units::{Millis, Power};

impl Setup {
    /// Applies a command to what will hold from `from`, in the site's own time; returns what it created.
    pub(super) fn apply(&mut self, command: &Command, from: Millis) -> Result<Made, Refusal> {
        match command {
            Command::CreateApp { name, share, policy } => {
                return Ok((Some(self.create_app(name, None, *share, *policy)?), None, None));
            }
            Command::CreateAppIn { parent, name, share, policy } => {
                return Ok((Some(self.create_app(name, Some(*parent), *share, *policy)?), None, None));
            }
            Command::AttachContainer { app, name, ceiling } => {
                return Ok((None, Some(self.attach(*app, name, *ceiling)?), None));
            }
            Command::Reserve { app, from: begin, power, confidence, parts } => {
                let made = self.make_reservation(*app, *begin, (*power, *confidence), parts, from)?;
                return Ok((None, None, Some(made)));
            }
            Command::CancelReservation(reservation) => self.cancel_reservation(*reservation)?,
            Command::WarnReservation { reservation, short } => {
                self.warn_reservation(*reservation, *short)?;
            }
            Command::ChangeShare { app, share } => self.change_share(*app, *share)?,
            Command::ChangePolicy { app, policy } => self.change_policy(*app, *policy)?,
            Command::DrainApp(app) => self.drain(*app)?,
            Command::DeleteApp(app) => self.delete(*app)?,
            Command::DetachContainer(container) => self.detach(*container)?,
            Command::SetChargeRate { app, rate, lease } => {
                let value = within(*rate, self.share_of(*app)?.battery.charge_limit)?;
                self.settings(*app)?.charge_rate = leased(value, *lease, from)?;
            }
            Command::SetMaxDischarge { app, limit, lease } => {
                let value = within(*limit, self.share_of(*app)?.battery.discharge_limit)?;
                self.settings(*app)?.max_discharge = leased(value, *lease, from)?;
            }
            Command::SetContainerCap { container, cap, lease } => {
                self.container(*container)?.cap = leased(*cap, *lease, from)?;
            }
            Command::SetCarbonRate { app, rate, lease } => {
                self.settings(*app)?.carbon_rate = leased(*rate, *lease, from)?;
            }
            Command::SetCarbonBudget { app, budget, lease } => {
                self.check_window(*budget)?;
                self.settings(*app)?.carbon_budget = leased(*budget, *lease, from)?;
            }
            Command::Reconfigure(rules) => self.reconfigure(rules)?,
            Command::CreateGroup { name, parent, share } => self.create_group(name, *parent, *share)?,
            Command::ChangeGroupShare { group, share } => self.change_group_share(*group, *share)?,
            Command::DeleteGroup(group) => self.delete_group(*group)?,
            Command::Relocate { node, parent } => self.relocate(*node, *parent)?,
            Command::SetOwnWeight { app, weight } => self.set_own_weight(*app, *weight)?,
        }
        Ok((None, None, None))
    }

    fn attach(&mut self, app: AppId, name: &ContainerName, ceiling: Power) -> Result<ContainerId, Refusal> {
        self.active(app)?;
        at_most(self.containers.len(), self.rules.containers_max)?;
        if ceiling.is_zero() {
            return Err(Refusal::NoCeiling);
        }
        if self.containers.iter().any(|c| c.app == app && c.name == *name) {
            return Err(Refusal::NameTaken);
        }
        let id = ContainerId::new(self.next_container);
        self.next_container += 1;
        let (name, cap) = (name.clone(), Leased::lasting(None));
        self.containers.push(Container { id, app, name, ceiling, cap });
        Ok(id)
    }

    fn detach(&mut self, container: ContainerId) -> Result<(), Refusal> {
        self.container(container)?;
        self.containers.retain(|c| c.id != container);
        Ok(())
    }

    /// An app winds down with its children, which live on its share.
    fn drain(&mut self, app: AppId) -> Result<(), Refusal> {
        self.tenant(app)?;
        for id in self.with_children(app) {
            let app = self.tenant(id)?;
            app.life = Life::Draining;
            app.settings = AppPolicy { charge_rate: Power::ZERO, ..app.policy }.defaults();
        }
        Ok(())
    }

    fn check_window(&self, budget: Option<Budget>) -> Result<(), Refusal> {
        let tick = self.rules.tick;
        match budget.filter(|budget| budget.window < tick) {
            Some(budget) => Err(Refusal::ShortWindow { asked: budget.window, tick }),
            None => Ok(()),
        }
    }

    fn reconfigure(&mut self, rules: &Rules) -> Result<(), Refusal> {
        rules.check()?;
        let before = core::mem::replace(&mut self.rules, rules.clone());
        self.check_fit().inspect_err(|_| self.rules = before)
    }

    /// What the site has to reserve from, `house` and the buffer's reserve included.
    fn whole(&self) -> Share {
        let battery = self.rules.battery.map_or_else(BatteryShare::default, |battery| BatteryShare {
            capacity: battery.capacity,
            floor: ecovisor_units::Energy::ZERO,
            charge_limit: battery.charge_limit,
            discharge_limit: battery.discharge_limit,
        });
        let grid_limit = self.rules.grid.map_or(Power::ZERO, |grid| grid.import_limit);
        Share { solar_weight: 0, battery, grid_limit }
    }

    /// What a buffered site reserves: peak solar × longest span of capacity, and peak solar of charge power.
    fn reserve(&self) -> Share {
        match self.rules.solar_rule {
            SolarRule::Live { .. } => Share::default(),
            SolarRule::Buffered => Share {
                battery: BatteryShare {
                    capacity: self.rules.solar_peak.over(self.rules.longest_span),
                    charge_limit: self.rules.solar_peak,
                    ..BatteryShare::default()
                },
                ..Share::default()
            },
        }
    }

    /// What those directly below a place (`None`: the site) have together.
    pub(super) fn whole_below(&self, parent: Option<NodeId>) -> Share {
        match parent {
            None => self.whole().left_after(self.reserve()),
            Some(node) => self.tree.share(node).unwrap_or_default(),
        }
    }

    /// What is free for another share below a place, or for `except`, which lies there, to change its own into: what
    /// neither shares nor reservations take.
    pub(super) fn free(&self, parent: Option<NodeId>, except: Option<NodeId>) -> Share {
        self.beside_reservations(parent, self.unshared(parent, except))
    }

    /// What no share below a place takes, or none but `except`'s.
    pub(super) fn unshared(&self, parent: Option<NodeId>, except: Option<NodeId>) -> Share {
        let mut taken = self.tree.taken(parent);
        if let Some(share) = except.and_then(|node| self.tree.share(node)) {
            taken.take_out(&share);
        }
        self.whole_below(parent).left_after(taken.as_share())
    }

    /// `house`'s share: what no app has, and a weight of its own. What a group has not given to anybody is not lost: the
    /// real battery holds it, and `house` may use it until the group gives it.
    pub(super) fn house_share(&self) -> Share {
        let left_by = |group: &Group| group.share.left_after(self.tree.taken(Some(group.id)).as_share());
        let left = self.tree.groups().iter().map(left_by).fold(self.unshared(None, None), Share::plus);
        let battery = BatteryShare { floor: ecovisor_units::Energy::ZERO, ..left.battery };
        Share { solar_weight: self.rules.house_weight, battery, ..left }
    }

    /// Whether all that is reserved fits into the site.
    pub(super) fn check_fit(&self) -> Result<(), Refusal> {
        let (whole, taken) = (self.whole(), self.reserve().plus(self.tree.taken(None).as_share()));
        if taken.battery.charge_limit > whole.battery.charge_limit {
            let (asked, free) = (taken.battery.charge_limit, whole.battery.charge_limit);
            return Err(Refusal::ChargePower { asked, free });
        }
        fits(taken, whole)?;
        self.check_site_grid()
    }

    /// Whether `share` fits below `parent`, with `except`'s own taken out.
    pub(super) fn admit(
        &self,
        share: Share,
        parent: Option<NodeId>,
        except: Option<NodeId>,
    ) -> Result<(), Refusal> {
        let BatteryShare { capacity, floor, .. } = share.battery;
        if floor > capacity {
            return Err(Refusal::Floor { floor, capacity });
        }
        fits(share, self.free(parent, except))
    }

    fn change_policy(&mut self, app: AppId, policy: AppPolicy) -> Result<(), Refusal> {
        let app = self.tenant(app)?;
        within_share(&policy, &app.share)?;
        let (old, new) = (app.policy.defaults(), policy.defaults());
        if app.settings.charge_rate == old.charge_rate && app.life == Life::Active {
            app.settings.charge_rate = new.charge_rate;
        }
        if app.settings.max_discharge == old.max_discharge {
            app.settings.max_discharge = new.max_discharge;
        }
        app.policy = policy;
        Ok(())
    }

    fn delete(&mut self, app: AppId) -> Result<(), Refusal> {
        let life = self.tenant(app)?.life;
        self.childless(self.tree.leaf(app).map(|leaf| leaf.id))?;
        let containers = self.containers.iter().filter(|c| c.app == app).count();
        if containers > 0 && life == Life::Active {
            return Err(Refusal::HasContainers { containers: u32::try_from(containers).unwrap_or(u32::MAX) });
        }
        let parent = self.tree.leaf(app).and_then(|leaf| leaf.parent);
        self.containers.retain(|c| c.app != app);
        self.forget_reservations(app);
        self.take_out(app);
        self.refresh(parent);
        Ok(())
    }

    fn any(&mut self, app: AppId) -> Result<&mut App, Refusal> {
        let place = self.place(app).ok_or(Refusal::UnknownApp(app))?;
        Ok(&mut self.apps[place])
    }

    /// An app that is not `house`.
    pub(super) fn tenant(&mut self, app: AppId) -> Result<&mut App, Refusal> {
        if app == AppId::HOUSE {
            return Err(Refusal::House);
        }
        self.any(app)
    }

    /// An app that takes something new; `house` does.
    fn active(&mut self, app: AppId) -> Result<&mut App, Refusal> {
        let app = self.any(app)?;
        match app.life {
            Life::Active => Ok(app),
            Life::Draining => Err(Refusal::Draining),
        }
    }

    /// The settings of an app that takes new ones.
    fn settings(&mut self, app: AppId) -> Result<&mut Settings, Refusal> {
        Ok(&mut self.active(app)?.settings)
    }

    fn share_of(&self, app: AppId) -> Result<Share, Refusal> {
        if app == AppId::HOUSE {
            return Ok(self.house_share());
        }
        self.place(app).map(|place| self.apps[place].share).ok_or(Refusal::UnknownApp(app))
    }

    fn container(&mut self, container: ContainerId) -> Result<&mut Container, Refusal> {
        let at = self.containers.binary_search_by_key(&container, |c| c.id);
        Ok(&mut self.containers[at.map_err(|_| Refusal::UnknownContainer(container))?])
    }
}

fn fits(share: Share, free: Share) -> Result<(), Refusal> {
    let (asked, battery) = (share.battery, free.battery);
    if asked.capacity > battery.capacity {
        return Err(Refusal::Capacity { asked: asked.capacity, free: battery.capacity });
    }
    if asked.charge_limit > battery.charge_limit {
        return Err(Refusal::ChargePower { asked: asked.charge_limit, free: battery.charge_limit });
    }
    if asked.discharge_limit > battery.discharge_limit {
        return Err(Refusal::DischargePower { asked: asked.discharge_limit, free: battery.discharge_limit });
    }
    if share.grid_limit > free.grid_limit {
        return Err(Refusal::GridLimit { asked: share.grid_limit, free: free.grid_limit });
    }
    Ok(())
}

fn within(asked: Power, limit: Power) -> Result<Power, Refusal> {
    if asked > limit { Err(Refusal::BeyondShare { asked, limit }) } else { Ok(asked) }
}

/// A policy's defaults are settings too.
pub(super) fn within_share(policy: &AppPolicy, share: &Share) -> Result<(), Refusal> {
    within(policy.charge_rate, share.battery.charge_limit).map(drop)
}

fn leased<T>(value: T, lease: Option<Millis>, from: Millis) -> Result<Leased<T>, Refusal> {
    match lease {
        Some(lease) if lease.is_zero() => Err(Refusal::EmptyLease),
        Some(lease) => Ok(Leased { value, until: Some(from.saturating_add(lease)) }),
        None => Ok(Leased::lasting(value)),
    }
}

pub(super) fn at_most(count: usize, limit: u32) -> Result<(), Refusal> {
    let fits = u32::try_from(count).is_ok_and(|count| count < limit);
    if fits { Ok(()) } else { Err(Refusal::TooMany { limit }) }
}

impl Tick {
    /// The tick after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
