//! What a step works with besides the state: buffers that the next step fills again, so that a tick costs no
//! allocations, and what follows from the setup in force. None of it is part of the state: it is not stored, a copy of a
//! site begins without it, and sites are equal whatever lies on their desks.

use super::coming::Ahead;
use super::{ContainerUse, Setup};
use crate::battery::bounded;
use crate::ledger::Account;
use crate::settle::{self, Settled, Terms};
use crate::share::Share;
use crate::split::Boundaries;
use alloc::boxed::Box;
use alloc::vec::Vec;
use ecovisor_units::{Energy, Power};

/// A site's desk; empty while a step works at it.
#[derive(Debug, Default)]
pub(super) struct OnDesk(Option<Box<Desk>>);

impl OnDesk {
    pub(super) fn take(&mut self) -> Box<Desk> {
        self.0.take().unwrap_or_default()
    }

    pub(super) fn put(&mut self, desk: Box<Desk>) {
        self.0 = Some(desk);
    }
}

impl Clone for OnDesk {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for OnDesk {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OnDesk {}

/// What lies on it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) settling: settle::Desk,
    pub(super) settled: Settled,
    pub(super) terms: Vec<Terms>,
    pub(super) loads: Vec<Energy>,
    pub(super) estimated: Vec<bool>,
    /// Readings of containers in order, where they came in another.
    pub(super) sorted: Vec<ContainerUse>,
    /// Each app's part of the solar, `house` last.
    pub(super) solar: Vec<Energy>,
    /// The same for the tick ahead.
    pub(super) settled_ahead: Settled,
    pub(super) accounts_ahead: Vec<Account>,
    pub(super) apps_ahead: Vec<Ahead>,
    pub(super) wishes: Vec<Power>,
    pub(super) caps: Vec<Power>,
    pub(super) standing: Option<Standing>,
}

impl Desk {
    /// What follows from `setup`, which is in force, worked out where the one before is no more.
    pub(super) fn stand(&mut self, setup: &Setup) {
        let standing = self.standing.get_or_insert_with(|| Standing::of(setup));
        debug_assert_eq!(*standing, Standing::of(setup), "whoever changes what holds forgets what followed");
    }

    /// To be called where another setup comes into force.
    pub(super) fn forget_standing(&mut self) {
        self.standing = None;
    }

    /// Lays out the parts of `whole` that the apps' solar weights give them.
    pub(super) fn divide_solar(&mut self, setup: &Setup, whole: Energy) {
        let standing = self.standing.as_ref().expect("a step begins by standing at its desk");
        standing.divide_solar(setup, whole, &mut self.solar);
    }

    pub(super) fn standing(&self) -> &Standing {
        self.standing.as_ref().expect("a step begins by standing at its desk")
    }
}

/// What follows from a setup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The share of `house`: what others leave.
    pub(super) house: Share,
    /// By which a spill pool is given, `house` last.
    pub(super) weights: Vec<u64>,
    /// The sum of all solar weights where every app hangs on the site; `None` where shares nest.
    total: Option<u128>,
    /// Every container's app and its own place, app by app.
    pub(super) by_app: Vec<(usize, usize)>,
}

impl Standing {
    fn of(setup: &Setup) -> Self {
        let (weights, house) = setup.tree.flat_weights(setup.rules.house_weight);
        let weights: Vec<u64> = weights.into_iter().map(|(_, weight)| weight).chain([house]).collect();
        let total = setup.tree.is_flat().then(|| weights.iter().copied().map(u128::from).sum());
        let containers = setup.containers.iter().enumerate();
        let placed = containers.filter_map(|(at, c)| Some((setup.place(c.app)?, at)));
        let mut by_app: Vec<(usize, usize)> = placed.collect();
        by_app.sort_unstable();
        Self { house: setup.house_share(), weights, total, by_app }
    }

    /// Divides `whole` by solar weight: each app's part, `house` last. As the tree divides it, whose weights these are.
    fn divide_solar(&self, setup: &Setup, whole: Energy, parts: &mut Vec<Energy>) {
        parts.clear();
        match self.total {
            Some(0) => {
                parts.resize(self.weights.len() - 1, Energy::ZERO);
                parts.push(whole);
            }
            Some(total) => {
                let mut boundaries = Boundaries::new(u128::from(whole.get()), total);
                let part = |&weight: &u64| bounded(boundaries.next(u128::from(weight)));
                parts.extend(self.weights.iter().map(part));
            }
            None => {
                let (apps, house) = setup.tree.solar_parts(whole, setup.rules.house_weight);
                parts.extend(apps.into_iter().map(|(_, part)| part).chain([house]));
            }
        }
    }
}
