//! What an app is entitled to, and the tree of shares: the site is the root, a leaf is an app, groups may lie between.
//!
//! Solar weights share what there is, level by level; battery capacity, battery power and grid limits are reservations
//! within the parent's. One level is exposed so far: every app hangs on the site.

use crate::app::AppId;
use crate::split::split;
use alloc::vec::Vec;
use ecovisor_units::{Energy, Power};
use serde::{Deserialize, Serialize};

/// Levels of the tree at most, the site and the apps included.
pub const LEVELS_MAX: usize = 4;

/// The whole that weights of a nested tree are measured in: large enough that a millionth of a millionth still counts,
/// small enough that sums over a million apps stay far inside a u128.
const NESTED_WHOLE: u128 = 1 << 52;

/// What an app (or a group) is entitled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Weight among its siblings when solar is divided; zero receives none.
    pub solar_weight: u32,
    /// Its part of the site's battery; all zero means no battery.
    pub battery: BatteryShare,
    /// The most it may draw from the grid; zero means none.
    pub grid_limit: Power,
}

/// A reserved part of the site's battery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatteryShare {
    /// Energy inside when full.
    pub capacity: Energy,
    /// Energy inside that no flow takes; at most the capacity.
    pub floor: Energy,
    /// Most power in, at the terminals.
    pub charge_limit: Power,
    /// Most power out, at the terminals.
    pub discharge_limit: Power,
}

impl Share {
    /// The sum of two shares' reservations, held at the largest figure; for admission.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            solar_weight: self.solar_weight.saturating_add(other.solar_weight),
            battery: BatteryShare {
                capacity: self.battery.capacity.saturating_add(other.battery.capacity),
                floor: self.battery.floor.saturating_add(other.battery.floor),
                charge_limit: self.battery.charge_limit.saturating_add(other.battery.charge_limit),
                discharge_limit: self.battery.discharge_limit.saturating_add(other.battery.discharge_limit),
            },
            grid_limit: self.grid_limit.saturating_add(other.grid_limit),
        }
    }

    /// What is left of these reservations after `taken`; nothing where more is taken than there is. The weight stays.
    #[must_use]
    pub fn left_after(self, taken: Self) -> Self {
        Self {
            solar_weight: self.solar_weight,
            battery: BatteryShare {
                capacity: self.battery.capacity.less(taken.battery.capacity),
                floor: Energy::ZERO,
                charge_limit: self.battery.charge_limit.less(taken.battery.charge_limit),
                discharge_limit: self.battery.discharge_limit.less(taken.battery.discharge_limit),
            },
            grid_limit: self.grid_limit.less(taken.grid_limit),
        }
    }
}

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(u32);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    id: NodeId,
    parent: Option<NodeId>,
    share: Share,
    app: Option<AppId>,
}

/// The tree of shares. Nodes stand in order of creation, which is part of the state; a parent stands before its
/// children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    nodes: Vec<Node>,
    next: u32,
}

/// Why a node cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The parent is unknown, or an app.
    NoParent,
    /// The tree would be deeper than [`LEVELS_MAX`].
    TooDeep,
}

impl Tree {
    /// Adds a node below `parent` (`None`: below the site): an app, or a group where `app` is `None`.
    ///
    /// # Errors
    /// Where the parent cannot have children, or the tree would be too deep. Nothing changes then.
    pub fn place(
        &mut self,
        parent: Option<NodeId>,
        share: Share,
        app: Option<AppId>,
    ) -> Result<NodeId, NoPlace> {
        let mut above = parent;
        // The site, this node, and whatever lies between.
        let mut levels = 2;
        while let Some(id) = above {
            let node = self.node(id).filter(|node| node.app.is_none()).ok_or(NoPlace::NoParent)?;
            levels += 1;
            above = node.parent;
        }
        if levels > LEVELS_MAX {
            return Err(NoPlace::TooDeep);
        }
        let id = NodeId(self.next);
        self.next += 1;
        self.nodes.push(Node { id, parent, share, app });
        Ok(id)
    }

    /// Changes the share of an app's leaf.
    pub fn reshare(&mut self, app: AppId, share: Share) {
        for node in self.nodes.iter_mut().filter(|node| node.app == Some(app)) {
            node.share = share;
        }
    }

    /// Takes an app's leaf out.
    pub fn remove(&mut self, app: AppId) {
        self.nodes.retain(|node| node.app != Some(app));
    }

    /// The sum of the reservations of the children of `parent`, without those of `except`.
    #[must_use]
    pub fn taken(&self, parent: Option<NodeId>, except: Option<AppId>) -> Share {
        self.nodes
            .iter()
            .filter(|node| node.parent == parent && (except.is_none() || node.app != except))
            .fold(Share::default(), |sum, node| sum.plus(node.share))
    }

    /// Divides `whole` by solar weight down the tree: a part for each app, in the order of its leaf, and `house`'s.
    /// `house` gets all where nobody has a weight, and a group's part where nobody in it has one.
    #[must_use]
    pub fn solar_parts(&self, whole: Energy, house_weight: u32) -> (Vec<(AppId, Energy)>, Energy) {
        let (apps, house) = self.divide(u128::from(whole.get()), house_weight);
        let narrow = |part: u128| Energy::new(u64::try_from(part).expect("a part of an energy is an energy"));
        (apps.into_iter().map(|(app, part)| (app, narrow(part))).collect(), narrow(house))
    }

    /// Weights by which a spill pool is given: the solar weights themselves while every app hangs on the site, else
    /// each app's part of the whole tree.
    #[must_use]
    pub fn flat_weights(&self, house_weight: u32) -> (Vec<(AppId, u64)>, u64) {
        if self.nodes.iter().all(|node| node.app.is_some()) {
            let apps = self.nodes.iter().filter_map(|n| Some((n.app?, u64::from(n.share.solar_weight))));
            return (apps.collect(), u64::from(house_weight));
        }
        let (apps, house) = self.divide(NESTED_WHOLE, house_weight);
        let narrow = |part: u128| u64::try_from(part).expect("a part of 2^52 is a u64");
        (apps.into_iter().map(|(app, part)| (app, narrow(part))).collect(), narrow(house))
    }

    fn divide(&self, whole: u128, house_weight: u32) -> (Vec<(AppId, u128)>, u128) {
        let mut parts = alloc::vec![0_u128; self.nodes.len()];
        let top: Vec<usize> = (0..self.nodes.len()).filter(|&i| self.nodes[i].parent.is_none()).collect();
        let weights = |children: &[usize]| -> Vec<u128> {
            children.iter().map(|&i| u128::from(self.nodes[i].share.solar_weight)).collect()
        };
        let mut top_weights = weights(&top);
        top_weights.push(u128::from(house_weight));
        if top_weights.iter().all(|&weight| weight == 0) {
            top_weights[top.len()] = 1;
        }
        let mut house = 0;
        for (place, part) in split(whole, top_weights.iter().copied()).enumerate() {
            match top.get(place) {
                Some(&node) => parts[node] = part,
                None => house = part,
            }
        }
        for group in (0..self.nodes.len()).filter(|&i| self.nodes[i].app.is_none()) {
            let children: Vec<usize> = (0..self.nodes.len())
                .filter(|&i| self.nodes[i].parent == Some(self.nodes[group].id))
                .collect();
            let below = weights(&children);
            if below.iter().all(|&weight| weight == 0) {
                house += parts[group];
                continue;
            }
            for (&child, part) in children.iter().zip(split(parts[group], below.iter().copied())) {
                parts[child] = part;
            }
        }
        let apps = self.nodes.iter().zip(parts).filter_map(|(node, part)| Some((node.app?, part))).collect();
        (apps, house)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weighing(solar_weight: u32) -> Share {
        Share { solar_weight, ..Share::default() }
    }

    fn parts(tree: &Tree, whole: u64, house: u32) -> (Vec<u64>, u64) {
        let (apps, house) = tree.solar_parts(Energy::new(whole), house);
        (apps.into_iter().map(|(_, e)| e.get()).collect(), house.get())
    }

    #[test]
    fn solar_is_divided_by_weight_and_house_comes_last() {
        let mut tree = Tree::default();
        tree.place(None, weighing(1), Some(AppId::new(1))).unwrap();
        tree.place(None, weighing(2), Some(AppId::new(2))).unwrap();
        assert_eq!(parts(&tree, 100, 1), (alloc::vec![25, 50], 25));
    }

    #[test]
    fn house_has_all_the_solar_where_nobody_has_a_weight() {
        let mut tree = Tree::default();
        assert_eq!(parts(&tree, 7, 0), (alloc::vec![], 7));
        tree.place(None, weighing(0), Some(AppId::new(1))).unwrap();
        assert_eq!(parts(&tree, 7, 0), (alloc::vec![0], 7));
    }

    #[test]
    fn a_group_divides_its_part_among_its_own() {
        let mut tree = Tree::default();
        let team = tree.place(None, weighing(1), None).unwrap();
        tree.place(None, weighing(1), Some(AppId::new(1))).unwrap();
        tree.place(Some(team), weighing(1), Some(AppId::new(2))).unwrap();
        tree.place(Some(team), weighing(3), Some(AppId::new(3))).unwrap();
        assert_eq!(parts(&tree, 80, 0), (alloc::vec![40, 10, 30], 0));
        let (weights, _) = tree.flat_weights(0);
        assert_eq!(weights[2].1, weights[1].1 * 3);
        assert_eq!(weights[0].1, weights[1].1 + weights[2].1);
    }

    #[test]
    fn a_group_without_weights_leaves_its_part_to_house() {
        let mut tree = Tree::default();
        let team = tree.place(None, weighing(1), None).unwrap();
        tree.place(Some(team), weighing(0), Some(AppId::new(2))).unwrap();
        assert_eq!(parts(&tree, 9, 0), (alloc::vec![0], 9));
    }

    #[test]
    fn the_tree_has_four_levels_at_most_and_apps_have_no_children() {
        let mut tree = Tree::default();
        let organisation = tree.place(None, weighing(1), None).unwrap();
        let team = tree.place(Some(organisation), weighing(1), None).unwrap();
        let app = tree.place(Some(team), weighing(1), Some(AppId::new(1))).unwrap();
        let below = tree.place(Some(team), weighing(1), None).unwrap();
        assert_eq!(tree.place(Some(below), weighing(1), Some(AppId::new(2))), Err(NoPlace::TooDeep));
        assert_eq!(tree.place(Some(app), weighing(1), Some(AppId::new(2))), Err(NoPlace::NoParent));
    }

    proptest! {
        #[test]
        fn a_divided_whole_stays_whole(
            whole in any::<u64>(), house in 0_u32..9, weights in prop::collection::vec((0_u32..9, any::<bool>()), 0..12),
        ) {
            let mut tree = Tree::default();
            let mut group = None;
            for (i, (weight, is_group)) in weights.into_iter().enumerate() {
                let app = (!is_group).then(|| AppId::new(u32::try_from(i).unwrap()));
                let parent = if i % 3 == 0 { None } else { group };
                if let (Ok(id), None) = (tree.place(parent, weighing(weight), app), app) {
                    group = Some(id);
                }
            }
            let (apps, house) = parts(&tree, whole, house);
            prop_assert_eq!(apps.into_iter().sum::<u64>() + house, whole);
        }
    }
}
