//! The state as earlier versions stored it. What they stored is read here and goes on as what this version stores.

use super::desk::OnDesk;
use super::setup::{Setup, Stored};
use super::{ContainerPast, Past, Rules, Site, Tick};
use crate::app::{App, AppId};
use crate::cap::Container;
use crate::freshness::{Held, Memory};
use crate::ledger::Account;
use crate::reserve::Reservations;
use crate::share::Share;
use crate::tree::{NodeId, Tree};
use alloc::vec::Vec;
use ecovisor_units::{CarbonIntensity, Energy, EnergySum, Millis};
use serde::Deserialize;

/// The state of a site as version 1 stored it: every app hung on the site.
#[derive(Clone, Debug, Deserialize)]
pub struct SiteOfVersion1 {
    setup: Setup1,
    staged: Option<Setup1>,
    tick: Tick,
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

#[derive(Clone, Debug, Deserialize)]
struct Setup1 {
    rules: Rules,
    apps: Vec<App>,
    tree: Tree1,
    containers: Vec<Container>,
    next_app: u32,
    next_container: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct Tree1 {
    nodes: Vec<Node1>,
    next: u32,
}

/// Version 1 had groups in its layout, and nothing that made any.
#[derive(Clone, Debug, Deserialize)]
struct Node1 {
    id: NodeId,
    parent: Option<NodeId>,
    share: Share,
    app: Option<AppId>,
}

impl TryFrom<SiteOfVersion1> for Site {
    type Error = &'static str;

    fn try_from(old: SiteOfVersion1) -> Result<Self, Self::Error> {
        let SiteOfVersion1 { setup, staged, tick, now, accounts, deficit, past, container_past, .. } = old;
        let SiteOfVersion1 { solar, level, intensity, last_span, .. } = old;
        Ok(Self {
            setup: setup.try_into()?,
            staged: staged.map(Setup::try_from).transpose()?,
            tick,
            now,
            accounts,
            deficit,
            past,
            container_past,
            solar,
            level,
            intensity,
            last_span,
            short: Vec::new(),
            desk: OnDesk::default(),
        })
    }
}

impl TryFrom<Setup1> for Setup {
    type Error = &'static str;

    fn try_from(old: Setup1) -> Result<Self, Self::Error> {
        let Setup1 { rules, apps, tree, containers, next_app, next_container } = old;
        let (tree, reservations) = (tree.try_into()?, Reservations::default());
        Stored { rules, apps, tree, containers, next_app, next_container, reservations }.try_into()
    }
}

impl TryFrom<Tree1> for Tree {
    type Error = &'static str;

    fn try_from(old: Tree1) -> Result<Self, Self::Error> {
        let leaf = |node: Node1| match (node.app, node.parent) {
            (Some(app), None) => Ok((node.id, app, node.share)),
            _ => Err("a site of version 1 has no groups"),
        };
        let leaves: Vec<_> = old.nodes.into_iter().map(leaf).collect::<Result<_, _>>()?;
        Ok(Self::of_apps(leaves.into_iter(), old.next))
    }
}
