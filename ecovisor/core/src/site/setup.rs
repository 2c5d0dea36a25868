//! What holds on a site: rules, apps, the tree of their shares, containers.

use super::Rules;
use crate::app::{App, AppId, AppName, AppPolicy, Life, Settings};
use crate::cap::Container;
use crate::reserve::Reservations;
use crate::share::Share;
use crate::tree::{NoPlace, NodeId, Tree};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What holds: rules, apps, shares, containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub(crate) struct Setup {
    pub(crate) rules: Rules,
    /// In order of creation, `house` last.
    pub(crate) apps: Vec<App>,
    pub(crate) tree: Tree,
    pub(crate) containers: Vec<Container>,
    next_app: u32,
    pub(super) next_container: u32,
    pub(crate) reservations: Reservations,
    /// All apps in the order of their names, so that a name is found without looking at every app. It follows from the
    /// rest.
    #[serde(skip)]
    by_name: Vec<AppId>,
}

/// What is stored of a setup.
#[derive(Deserialize)]
pub(super) struct Stored {
    pub(super) rules: Rules,
    pub(super) apps: Vec<App>,
    pub(super) tree: Tree,
    pub(super) containers: Vec<Container>,
    pub(super) next_app: u32,
    pub(super) next_container: u32,
    pub(super) reservations: Reservations,
}

impl TryFrom<Stored> for Setup {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored { rules, apps, tree, containers, next_app, next_container, reservations } = stored;
        let Some((house, tenants)) = apps.split_last() else { return Err("a site has house at least") };
        let ids = || tenants.iter().map(|app| app.id);
        if house.id != AppId::HOUSE || !ids().is_sorted_by(|one, next| one < next) {
            return Err("apps stand in order of creation, house last");
        }
        if !tree.is_whole() || !ids().eq(tree.leaves().iter().map(|leaf| leaf.app)) {
            return Err("every app has one place in the tree of shares");
        }
        let mut named: Vec<&App> = apps.iter().collect();
        named.sort_by(|one, other| one.name.cmp(&other.name));
        let by_name = named.into_iter().map(|app| app.id).collect();
        Ok(Self { rules, apps, tree, containers, next_app, next_container, reservations, by_name })
    }
}

impl Setup {
    /// `house` alone.
    pub(super) fn new(rules: Rules) -> Self {
        let house = App {
            id: AppId::HOUSE,
            name: AppName::house(),
            share: Share::default(),
            policy: AppPolicy::default(),
            settings: Settings::default(),
            life: Life::Active,
        };
        Self {
            rules,
            apps: alloc::vec![house],
            tree: Tree::default(),
            containers: Vec::new(),
            next_app: 1,
            next_container: 1,
            reservations: Reservations::default(),
            by_name: alloc::vec![AppId::HOUSE],
        }
    }

    /// Where an app stands: apps stand in order of creation, hence of their numbers, and `house` stands last.
    pub(crate) fn place(&self, app: AppId) -> Option<usize> {
        let house = self.apps.len() - 1;
        if app == AppId::HOUSE {
            return Some(house);
        }
        self.apps[..house].binary_search_by_key(&app, |app| app.id).ok()
    }

    /// The app of that name.
    pub(super) fn named(&self, name: &str) -> Option<&App> {
        let at = self.name_at(name).ok()?;
        self.place(self.by_name[at]).map(|place| &self.apps[place])
    }

    /// Adds an app whose name is free and whose share fits, at the end of the order, before `house`.
    pub(super) fn add(
        &mut self,
        name: &AppName,
        parent: Option<NodeId>,
        share: Share,
        policy: AppPolicy,
    ) -> Result<AppId, NoPlace> {
        let id = AppId::new(self.next_app);
        self.tree.place_app(parent, share, id)?;
        self.next_app += 1;
        let (at, house) = (self.name_at(name.as_str()), self.apps.len() - 1);
        let (name, settings) = (name.clone(), policy.defaults());
        self.apps.insert(house, App { id, name, share, policy, settings, life: Life::Active });
        self.by_name.insert(at.unwrap_or_else(|at| at), id);
        Ok(id)
    }

    /// Takes an app that has no children out of everything but the containers.
    pub(super) fn take_out(&mut self, app: AppId) {
        let Some(place) = self.place(app).filter(|_| app != AppId::HOUSE) else { return };
        if let Ok(at) = self.name_at(self.apps[place].name.as_str()) {
            self.by_name.remove(at);
        }
        if let Some(node) = self.tree.leaf(app).map(|leaf| leaf.id) {
            self.tree.remove(node);
        }
        self.apps.remove(place);
    }

    fn name_at(&self, name: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&id| {
            let place = self.place(id).expect("names are those of the apps that there are");
            self.apps[place].name.as_str().cmp(name)
        })
    }
}
