//! How shares nest, on the wire: groups, and what apps gave to children.

use super::{outcome_of, state, uj};
use crate::engine::handle::{Totals, View};
use crate::identity::Paths;
use ecovisor_core::tree::Group;
use ecovisor_core::{App, AppId, NodeId, Share};
use ecovisor_proto::v1;
use ecovisor_units::{Carbon, EnergySum};

/// The name of what an app lies below, what is staged included; empty where that is the site.
#[must_use]
pub fn parent(view: &View, app: AppId) -> String {
    name(view, view.site.tree(true).leaf(app).and_then(|leaf| leaf.parent))
}

/// The name of a place; empty where that is the site.
fn name(view: &View, node: Option<NodeId>) -> String {
    let Some(node) = node else { return String::new() };
    let group = view.site.tree(true).group(node).map(|group| group.name.to_string());
    let app = || view.site.tree(true).app_at(node).and_then(|app| crate::rpc::find(view, app));
    group.or_else(|| app().map(|app| app.name.to_string())).unwrap_or_default()
}

/// What an app is entitled to, what it has given to children included.
#[must_use]
pub fn granted(view: &View, app: &App) -> Share {
    view.site.tree(true).leaf(app.id).map_or_else(|| super::share(view, app), |leaf| leaf.share)
}

/// What is not reserved below a place.
#[must_use]
pub fn free(view: &View, parent: Option<NodeId>) -> v1::FreeShare {
    let free = view.site.free_below(parent);
    v1::FreeShare {
        battery_capacity_uj: free.battery.capacity.get(),
        battery_charge_limit_mw: free.battery.charge_limit.get(),
        battery_discharge_limit_mw: free.battery.discharge_limit.get(),
        grid_limit_mw: free.grid_limit.get(),
        solar_weight_total: weight_total(view, parent, true),
    }
}

/// The sum of the weights that solar is divided by below a place, with that of `house` or of the app itself.
#[must_use]
pub fn weight_total(view: &View, parent: Option<NodeId>, staged: bool) -> u64 {
    let tree = view.site.tree(staged);
    let groups = tree.groups().iter().filter(|group| group.parent == parent).map(|group| group.share);
    let leaves = tree.leaves().iter().filter(|leaf| leaf.parent == parent).map(|leaf| leaf.share);
    let own = match parent {
        None if staged => view.site.rules_staged().house_weight,
        None => view.site.rules().house_weight,
        Some(node) => tree.app_at(node).and_then(|app| tree.leaf(app)).map_or(0, |leaf| leaf.own_weight),
    };
    u64::from(own) + groups.chain(leaves).map(|share| u64::from(share.solar_weight)).sum::<u64>()
}

/// A child as its parent sees it.
#[must_use]
pub fn child(view: &View, paths: &Paths, app: &App) -> v1::Child {
    let totals = view.totals.get(&app.id).copied().unwrap_or_default();
    let containers = view.site.containers(true).iter().filter(|container| container.app == app.id).count();
    v1::Child {
        name: app.name.to_string(),
        share: Some(super::site::app_share(granted(view, app))),
        state: state(view, app).into(),
        socket: paths.app_socket(&app.name).display().to_string(),
        charge_level_uj: view.site.account(app.id).map_or(0, |account| account.stored.get()),
        load_uj: uj(totals.load),
        carbon_mg: totals.carbon.to_milligrams().get(),
        containers: u32::try_from(containers).unwrap_or(u32::MAX),
    }
}

/// An app's children, what is staged included.
#[must_use]
pub fn children(view: &View, paths: &Paths, app: AppId) -> Vec<v1::Child> {
    let tree = view.site.tree(true);
    let Some(node) = tree.leaf(app).map(|leaf| leaf.id) else { return Vec::new() };
    let below = tree.leaves().iter().filter(|leaf| leaf.parent == Some(node));
    below.filter_map(|leaf| crate::rpc::find(view, leaf.app)).map(|app| child(view, paths, app)).collect()
}

/// A group with the sums of all apps below it.
#[must_use]
pub fn group(view: &View, group: &Group) -> v1::Group {
    let tree = view.site.tree(true);
    let below = |parent: Option<NodeId>| parent == Some(group.id);
    let groups = tree.groups().iter().filter(|inner| below(inner.parent)).map(|inner| inner.name.to_string());
    let leaves = tree.leaves().iter().filter(|leaf| below(leaf.parent));
    let apps = leaves.filter_map(|leaf| Some(crate::rpc::find(view, leaf.app)?.name.to_string()));
    let all =
        || tree.leaves().iter().filter(|leaf| tree.is_at_or_below(leaf.id, group.id)).map(|leaf| leaf.app);
    let mean_load = |app: AppId| {
        outcome_of(view, app).map_or(0, |(outcome, of)| of.flows.load.mean_power(outcome.span).get())
    };
    let totals: Vec<Totals> = all().filter_map(|app| view.totals.get(&app).copied()).collect();
    v1::Group {
        name: group.name.to_string(),
        parent: name(view, group.parent),
        share: Some(super::site::app_share(group.share)),
        free: Some(free(view, Some(group.id))),
        groups: groups.collect(),
        apps: apps.collect(),
        load_mw: all().map(mean_load).sum(),
        charge_level_uj: uj(all().filter_map(|app| Some(view.site.account(app)?.stored)).sum::<EnergySum>()),
        load_uj: uj(totals.iter().map(|of| of.load).sum()),
        carbon_mg: totals.iter().map(|of| of.carbon).sum::<Carbon>().to_milligrams().get(),
    }
}
