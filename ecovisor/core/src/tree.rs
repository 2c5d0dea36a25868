//! The tree of shares: the site is the root, apps are its leaves, groups may lie between, and an app may divide its own
//! share among children.
//!
//! ```text
//! site ── organisation (group) ── team (group) ── app
//!    └─── app ── child          an app that divides its share keeps what it has not given away
//! ```
//!
//! The rules are the same below every place: reservations fit in what the place has, and solar is divided by the weights
//! of those below it. What `house` is to the site, a divided app is to its children: it has a weight of its own among
//! them, and what they leave. Groups have nothing of their own.

mod divide;

use crate::app::{AppId, AppName};
use crate::share::{Reserved, Share};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Levels of the tree at most, the site and the apps included.
pub const LEVELS_MAX: usize = 4;

/// A place in the tree: a group's or an app's. Given when it is placed, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(u32);

impl NodeId {
    /// The place of that number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A group of apps and of other groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its place.
    pub id: NodeId,
    /// What it lies below; `None` means the site.
    pub parent: Option<NodeId>,
    /// What it is entitled to, all of it for those below.
    pub share: Share,
    /// Unique among groups.
    pub name: AppName,
}

/// An app's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// Its place.
    pub id: NodeId,
    /// What it lies below; `None` means the site.
    pub parent: Option<NodeId>,
    /// What it is entitled to, what it has given to children included.
    pub share: Share,
    /// Whose.
    pub app: AppId,
    /// Its own weight among its children, for as long as it has any.
    pub own_weight: u32,
}

/// What is reserved below one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    below: Option<NodeId>,
    reserved: Reserved,
}

/// The tree of shares. Groups and leaves each stand in order of creation, which is part of the state; leaves therefore
/// stand in the order of their apps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Tree {
    groups: Vec<Group>,
    leaves: Vec<Leaf>,
    next: u32,
    /// For every place that has something below it, in the order of places, the site first: what those below reserve.
    /// It follows from the rest and is kept so that admission need not add up all shares anew.
    #[serde(skip)]
    taken: Vec<Taken>,
}

/// What is stored of a tree.
#[derive(Deserialize)]
struct Stored {
    groups: Vec<Group>,
    leaves: Vec<Leaf>,
    next: u32,
}

impl From<Stored> for Tree {
    fn from(Stored { groups, leaves, next }: Stored) -> Self {
        let mut below: Vec<(Option<NodeId>, Share)> = groups.iter().map(|g| (g.parent, g.share)).collect();
        below.extend(leaves.iter().map(|leaf| (leaf.parent, leaf.share)));
        let mut tree = Self { groups, leaves, next, taken: Vec::new() };
        below.iter().for_each(|(parent, share)| tree.reserve(*parent, share));
        tree
    }
}

/// Why nothing can be placed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The parent is unknown, or an app where a group needs a group.
    NoParent,
    /// The tree would be deeper than [`LEVELS_MAX`].
    TooDeep,
    /// What is moved would lie below itself.
    BelowItself,
}

impl Tree {
    /// The tree of a site that has no groups: apps with their shares, in order of their places, and the next place's
    /// number.
    pub(crate) fn of_apps(apps: impl Iterator<Item = (NodeId, AppId, Share)>, next: u32) -> Self {
        let leaf = |(id, app, share): (_, _, Share)| Leaf {
            id,
            parent: None,
            share,
            app,
            own_weight: share.solar_weight,
        };
        Self::from(Stored { groups: Vec::new(), leaves: apps.map(leaf).collect(), next })
    }

    /// Adds an app below `parent` (`None`: below the site), behind all that there are.
    ///
    /// # Errors
    /// Where there is no such parent, or the tree would be too deep. Nothing changes then.
    pub fn place_app(&mut self, parent: Option<NodeId>, share: Share, app: AppId) -> Result<NodeId, NoPlace> {
        let id = self.number(parent)?;
        self.leaves.push(Leaf { id, parent, share, app, own_weight: share.solar_weight });
        self.reserve(parent, &share);
        Ok(id)
    }

    /// Adds a group below the site or another group.
    ///
    /// # Errors
    /// As [`Tree::place_app`].
    pub fn place_group(
        &mut self,
        parent: Option<NodeId>,
        share: Share,
        name: AppName,
    ) -> Result<NodeId, NoPlace> {
        self.check_above_group(parent)?;
        let id = self.number(parent)?;
        self.groups.push(Group { id, parent, share, name });
        self.reserve(parent, &share);
        Ok(id)
    }

    fn number(&mut self, parent: Option<NodeId>) -> Result<NodeId, NoPlace> {
        self.check_depth(parent, 1)?;
        let id = NodeId(self.next);
        self.next += 1;
        Ok(id)
    }

    /// Apps have no groups below them.
    fn check_above_group(&self, parent: Option<NodeId>) -> Result<(), NoPlace> {
        let is_group = parent.is_none_or(|parent| self.group_at(parent).is_some());
        if is_group { Ok(()) } else { Err(NoPlace::NoParent) }
    }

    /// Whether `levels` levels have a place below `parent`.
    fn check_depth(&self, parent: Option<NodeId>, levels: usize) -> Result<(), NoPlace> {
        if parent.is_some_and(|parent| self.parent(parent).is_none()) {
            return Err(NoPlace::NoParent);
        }
        // The site is the first level.
        if 1 + self.above(parent).count() + levels > LEVELS_MAX {
            return Err(NoPlace::TooDeep);
        }
        Ok(())
    }

    /// Changes what a place is entitled to.
    pub fn reshare(&mut self, node: NodeId, share: Share) {
        let of = match (self.leaf_at(node), self.group_at(node)) {
            (Some(at), _) => Some((self.leaves[at].parent, &mut self.leaves[at].share)),
            (None, Some(at)) => Some((self.groups[at].parent, &mut self.groups[at].share)),
            (None, None) => None,
        };
        if let Some((parent, of)) = of {
            let was = core::mem::replace(of, share);
            self.release(parent, &was);
            self.reserve(parent, &share);
        }
        self.forget_own_weight(node);
    }

    /// An app without children has the weight of its share: what it weighed among them ends with the last.
    fn forget_own_weight(&mut self, node: NodeId) {
        if let Some(at) = self.leaf_at(node)
            && self.taken_at(Some(node)).is_err()
        {
            self.leaves[at].own_weight = self.leaves[at].share.solar_weight;
        }
    }

    /// Changes an app's own weight among its children; one that has none keeps the weight of its share.
    pub fn reweigh(&mut self, app: AppId, own_weight: u32) {
        if let Some(at) = self.leaf_of(app) {
            self.leaves[at].own_weight = own_weight;
            self.forget_own_weight(self.leaves[at].id);
        }
    }

    /// Takes a place out that has nothing below it.
    pub fn remove(&mut self, node: NodeId) {
        let of = match (self.leaf_at(node), self.group_at(node)) {
            (Some(at), _) => {
                let leaf = self.leaves.remove(at);
                Some((leaf.parent, leaf.share))
            }
            (None, Some(at)) => {
                let group = self.groups.remove(at);
                Some((group.parent, group.share))
            }
            (None, None) => None,
        };
        if let Some((parent, share)) = of {
            self.release(parent, &share);
            parent.into_iter().for_each(|parent| self.forget_own_weight(parent));
        }
    }

    /// Takes a place, with all below it, to another parent.
    ///
    /// # Errors
    /// Where there is no such parent, it lies below `node`, or the tree would be too deep. Nothing changes then.
    pub fn relocate(&mut self, node: NodeId, parent: Option<NodeId>) -> Result<(), NoPlace> {
        if self.above(parent).any(|above| above == node) {
            return Err(NoPlace::BelowItself);
        }
        if self.group_at(node).is_some() {
            self.check_above_group(parent)?;
        }
        self.check_depth(parent, 1 + self.height(node))?;
        let share = self.share(node).ok_or(NoPlace::NoParent)?;
        let was = match (self.leaf_at(node), self.group_at(node)) {
            (Some(at), _) => core::mem::replace(&mut self.leaves[at].parent, parent),
            (None, Some(at)) => core::mem::replace(&mut self.groups[at].parent, parent),
            (None, None) => return Err(NoPlace::NoParent),
        };
        self.release(was, &share);
        self.reserve(parent, &share);
        Ok(())
    }

    /// What those directly below a place (`None`: the site) reserve together.
    #[must_use]
    pub fn taken(&self, below: Option<NodeId>) -> Reserved {
        self.taken_at(below).map_or_else(|_| Reserved::default(), |at| self.taken[at].reserved)
    }

    /// What a place is entitled to; `None` where there is no such place.
    #[must_use]
    pub fn share(&self, node: NodeId) -> Option<Share> {
        let leaf = self.leaf_at(node).map(|at| self.leaves[at].share);
        leaf.or_else(|| self.group_at(node).map(|at| self.groups[at].share))
    }

    /// What an app may use itself: its share without what it has given to children; `None` where there is no such app.
    #[must_use]
    pub fn own(&self, app: AppId) -> Option<Share> {
        let leaf = self.leaf(app)?;
        Some(self.own_of(leaf, leaf.share))
    }

    /// What an app may use itself where it is entitled to `share`.
    pub(crate) fn own_of(&self, leaf: &Leaf, share: Share) -> Share {
        let taken = self.taken(Some(leaf.id));
        if taken.shares == 0 {
            return share;
        }
        let mut own = share.left_after(taken.as_share());
        own.solar_weight = leaf.own_weight;
        own.battery.floor = share.battery.floor.min(own.battery.capacity);
        own
    }

    /// What a place lies below: `None` where there is no such place, `Some(None)` below the site.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> Option<Option<NodeId>> {
        let leaf = self.leaf_at(node).map(|at| self.leaves[at].parent);
        leaf.or_else(|| self.group_at(node).map(|at| self.groups[at].parent))
    }

    /// An app's place.
    #[must_use]
    pub fn leaf(&self, app: AppId) -> Option<&Leaf> {
        self.leaf_of(app).map(|at| &self.leaves[at])
    }

    /// The app whose place it is; `None` for a group.
    #[must_use]
    pub fn app_at(&self, node: NodeId) -> Option<AppId> {
        self.leaf_at(node).map(|at| self.leaves[at].app)
    }

    /// Whether `node` is `top` or lies below it.
    #[must_use]
    pub fn is_at_or_below(&self, node: NodeId, top: NodeId) -> bool {
        self.above(Some(node)).any(|above| above == top)
    }

    /// The group of that name.
    #[must_use]
    pub fn group_named(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name.as_str() == name)
    }

    /// The apps' places, in the order of apps.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The groups, in order of creation.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: NodeId) -> Option<&Group> {
        self.group_at(id).map(|at| &self.groups[at])
    }

    /// Whether every place is there once, below one that is there, and none is too deep; what is decoded need not be.
    pub(crate) fn is_whole(&self) -> bool {
        let in_order = self.groups.is_sorted_by(|one, next| one.id < next.id)
            && self.leaves.is_sorted_by(|one, next| one.id < next.id && one.app < next.app);
        let reaches_the_site = |below: &Taken| {
            let last = self.above(below.below).last();
            self.above(below.below).count() < LEVELS_MAX
                && last.is_none_or(|last| self.parent(last) == Some(None))
        };
        let groups_below_groups =
            || self.groups.iter().all(|group| self.check_above_group(group.parent).is_ok());
        in_order && self.taken.iter().all(reaches_the_site) && groups_below_groups()
    }

    /// Whether every app hangs on the site.
    pub(crate) fn is_flat(&self) -> bool {
        self.groups.is_empty() && self.taken.iter().all(|taken| taken.below.is_none())
    }

    /// `node` and all above it, upwards, without the site. Bounded, so that no damage of a stored tree could make it
    /// endless.
    fn above(&self, node: Option<NodeId>) -> impl Iterator<Item = NodeId> {
        core::iter::successors(node, |&id| self.parent(id).flatten()).take(LEVELS_MAX)
    }

    /// How many levels lie below a place.
    fn height(&self, node: NodeId) -> usize {
        let ids = self.taken.iter().filter_map(|taken| taken.below);
        ids.filter_map(|id| self.above(Some(id)).position(|above| above == node))
            .map(|at| at + 1)
            .max()
            .unwrap_or(0)
    }

    fn group_at(&self, id: NodeId) -> Option<usize> {
        self.groups.binary_search_by_key(&id, |group| group.id).ok()
    }

    fn leaf_at(&self, id: NodeId) -> Option<usize> {
        self.leaves.binary_search_by_key(&id, |leaf| leaf.id).ok()
    }

    fn leaf_of(&self, app: AppId) -> Option<usize> {
        self.leaves.binary_search_by_key(&app, |leaf| leaf.app).ok()
    }

    fn taken_at(&self, below: Option<NodeId>) -> Result<usize, usize> {
        self.taken.binary_search_by_key(&below, |taken| taken.below)
    }

    fn reserve(&mut self, below: Option<NodeId>, share: &Share) {
        let at = self.taken_at(below).unwrap_or_else(|at| {
            self.taken.insert(at, Taken { below, reserved: Reserved::default() });
            at
        });
        self.taken[at].reserved.add(share);
    }

    fn release(&mut self, below: Option<NodeId>, share: &Share) {
        let at = self.taken_at(below).expect("what is released was reserved");
        self.taken[at].reserved.take_out(share);
        if self.taken[at].reserved.shares == 0 {
            self.taken.remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
