//! Admission of shares that nest: groups, apps below them, and children of apps. The rules are the same below every place.

use super::Setup;
use super::admission::{at_most, within_share};
use crate::app::{AppId, AppName, AppPolicy, Life};
use crate::command::Refusal;
use crate::share::Share;
use crate::tree::{NoPlace, NodeId};
use alloc::vec::Vec;

impl Setup {
    pub(super) fn create_app(
        &mut self,
        name: &AppName,
        parent: Option<NodeId>,
        share: Share,
        policy: AppPolicy,
    ) -> Result<AppId, Refusal> {
        if self.named(name.as_str()).is_some() {
            return Err(Refusal::NameTaken);
        }
        at_most(self.apps.len(), self.rules.apps_max)?;
        let parent_app = self.known(parent)?;
        self.check_child(name, parent_app)?;
        self.admit(share, parent, None)?;
        within_share(&policy, &share)?;
        let app = self.add(name, parent, share, policy).map_err(|why| refusal(why, parent))?;
        self.refresh(parent);
        Ok(app)
    }

    /// A place that is there; whose it is, where it is an app's.
    fn known(&self, node: Option<NodeId>) -> Result<Option<AppId>, Refusal> {
        match node {
            Some(node) if self.tree.parent(node).is_none() => Err(Refusal::UnknownGroup(node)),
            node => Ok(node.and_then(|node| self.tree.app_at(node))),
        }
    }

    /// Whether an app may be the child of `parent`: named after it, and it takes something new.
    fn check_child(&self, name: &AppName, parent: Option<AppId>) -> Result<(), Refusal> {
        let parent = parent.and_then(|app| self.place(app)).map(|place| &self.apps[place]);
        if name.parent() != parent.map(|parent| parent.name.as_str()) {
            return Err(Refusal::ChildName);
        }
        match parent.map(|parent| parent.life) {
            Some(Life::Draining) => Err(Refusal::Draining),
            Some(Life::Active) | None => Ok(()),
        }
    }

    pub(super) fn create_group(
        &mut self,
        name: &AppName,
        parent: Option<NodeId>,
        share: Share,
    ) -> Result<(), Refusal> {
        if self.tree.groups().iter().any(|group| group.name == *name) {
            return Err(Refusal::NameTaken);
        }
        if name.parent().is_some() {
            return Err(Refusal::ChildName);
        }
        at_most(self.tree.groups().len(), self.rules.apps_max)?;
        self.group_or_site(parent)?;
        self.admit(share, parent, None)?;
        self.tree.place_group(parent, share, name.clone()).map_err(|why| refusal(why, parent))?;
        Ok(())
    }

    pub(super) fn change_group_share(&mut self, group: NodeId, share: Share) -> Result<(), Refusal> {
        let parent = self.tree.group(group).ok_or(Refusal::UnknownGroup(group))?.parent;
        self.admit(share, parent, Some(group))?;
        self.holds(group, share)?;
        self.tree.reshare(group, share);
        Ok(())
    }

    pub(super) fn delete_group(&mut self, group: NodeId) -> Result<(), Refusal> {
        self.tree.group(group).ok_or(Refusal::UnknownGroup(group))?;
        self.childless(Some(group))?;
        self.tree.remove(group);
        Ok(())
    }

    /// A share's limits bound the settings made under an earlier one.
    pub(super) fn change_share(&mut self, app: AppId, share: Share) -> Result<(), Refusal> {
        self.tenant(app)?;
        let leaf = *self.tree.leaf(app).ok_or(Refusal::UnknownApp(app))?;
        self.admit(share, leaf.parent, Some(leaf.id))?;
        self.holds(leaf.id, share)?;
        self.check_backing(app, &self.tree.own_of(&leaf, share))?;
        self.tree.reshare(leaf.id, share);
        self.refresh(Some(leaf.id));
        self.refresh(leaf.parent);
        Ok(())
    }

    /// Apps' children stay with them; all else goes where its share fits.
    pub(super) fn relocate(&mut self, node: NodeId, parent: Option<NodeId>) -> Result<(), Refusal> {
        self.known(Some(node))?;
        let was = self.tree.parent(node).flatten();
        if self.known(was)?.is_some() {
            return Err(Refusal::Child);
        }
        self.group_or_site(parent)?;
        if parent.is_some_and(|parent| self.tree.is_at_or_below(parent, node)) {
            return Err(Refusal::BelowItself);
        }
        let share = self.tree.share(node).unwrap_or_default();
        self.admit(share, parent, (was == parent).then_some(node))?;
        self.tree.relocate(node, parent).map_err(|why| refusal(why, parent))
    }

    pub(super) fn set_own_weight(&mut self, app: AppId, weight: u32) -> Result<(), Refusal> {
        if self.tenant(app)?.life == Life::Draining {
            return Err(Refusal::Draining);
        }
        self.tree.reweigh(app, weight);
        self.refresh(self.tree.leaf(app).map(|leaf| leaf.id));
        Ok(())
    }

    fn group_or_site(&self, parent: Option<NodeId>) -> Result<(), Refusal> {
        match parent {
            Some(node) if self.tree.group(node).is_none() => Err(Refusal::UnknownGroup(node)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether nothing lies below a place.
    pub(super) fn childless(&self, node: Option<NodeId>) -> Result<(), Refusal> {
        match node.map(|node| self.tree.taken(Some(node)).shares) {
            Some(children @ 1..) => Err(Refusal::HasChildren { children }),
            Some(0) | None => Ok(()),
        }
    }

    /// Whether `share` has room for what those below `node` hold.
    fn holds(&self, node: NodeId, share: Share) -> Result<(), Refusal> {
        let held = self.tree.taken(Some(node)).as_share();
        if share.battery.capacity < held.battery.capacity {
            let (asked, held) = (share.battery.capacity, held.battery.capacity);
            return Err(Refusal::HeldCapacity { asked, held });
        }
        let powers = [
            ("charge", share.battery.charge_limit, held.battery.charge_limit),
            ("discharge", share.battery.discharge_limit, held.battery.discharge_limit),
            ("grid", share.grid_limit, held.grid_limit),
        ];
        match powers.into_iter().find(|(_, asked, held)| asked < held) {
            Some((limit, asked, held)) => Err(Refusal::HeldPower { limit, asked, held }),
            None => Ok(()),
        }
    }

    /// Brings what an app may use itself up to date after its place, or what it has given, has changed.
    pub(super) fn refresh(&mut self, node: Option<NodeId>) {
        let Some(app) = node.and_then(|node| self.tree.app_at(node)) else { return };
        let (Some(place), Some(own)) = (self.place(app), self.tree.own(app)) else { return };
        let app = &mut self.apps[place];
        app.share = own;
        let charge = &mut app.settings.charge_rate.value;
        *charge = (*charge).min(own.battery.charge_limit);
        app.policy.charge_rate = app.policy.charge_rate.min(own.battery.charge_limit);
    }

    /// An app and all who live on its share.
    pub(super) fn with_children(&self, app: AppId) -> Vec<AppId> {
        let Some(node) = self.tree.leaf(app).map(|leaf| leaf.id) else { return Vec::new() };
        if self.tree.taken(Some(node)).shares == 0 {
            return alloc::vec![app];
        }
        let below = self.tree.leaves().iter().filter(|leaf| self.tree.is_at_or_below(leaf.id, node));
        below.map(|leaf| leaf.app).collect()
    }
}

/// Why there is no place below `parent`, to whoever asked.
fn refusal(why: NoPlace, parent: Option<NodeId>) -> Refusal {
    match why {
        NoPlace::NoParent => Refusal::UnknownGroup(parent.unwrap_or(NodeId::new(u32::MAX))),
        NoPlace::TooDeep => Refusal::TooDeep,
        NoPlace::BelowItself => Refusal::BelowItself,
    }
}
