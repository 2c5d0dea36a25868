//! Dividing solar by weight down the tree, in one pass over all places for each level.

use super::{LEVELS_MAX, NodeId, Tree};
use crate::app::AppId;
use crate::split::{mul_div_floor, split};
use alloc::vec::Vec;
use ecovisor_units::Energy;

/// The whole that weights of a nested tree are measured in: large enough that a millionth of a millionth still counts,
/// small enough that sums over a million apps stay far inside a u128.
const NESTED_WHOLE: u128 = 1 << 52;

/// A part for each app, in the order of apps, and `house`'s.
type Parts = (Vec<u128>, u128);

/// A whole that is cut as [`split`] does it, part by part, while several are cut side by side.
#[derive(Clone, Copy, Default)]
struct Cut {
    /// How far below the site what is cut for lies; the site itself is 0.
    depth: usize,
    whole: u128,
    total: u128,
    reached: u128,
    boundary: u128,
}

impl Cut {
    fn next(&mut self, weight: u128) -> u128 {
        if weight == 0 || self.whole == 0 {
            return 0;
        }
        self.reached += weight;
        let next = mul_div_floor(self.whole, self.reached, self.total);
        let next = next.expect("a boundary lies within the whole");
        let part = next - self.boundary;
        self.boundary = next;
        part
    }
}

/// A group or an app, as it is looked at when solar is divided.
#[derive(Clone, Copy)]
struct Place {
    id: NodeId,
    parent: Option<NodeId>,
    weight: u128,
    /// Which leaf; `None` for a group.
    leaf: Option<usize>,
}

impl Tree {
    /// Divides `whole` by solar weight down the tree: a part for each app, in the order of apps, and `house`'s.
    /// `house` gets all where nobody has a weight, and a group's part where nobody in it has one; a divided app's part
    /// stays with it where neither it nor a child has one.
    #[must_use]
    pub fn solar_parts(&self, whole: Energy, house_weight: u32) -> (Vec<(AppId, Energy)>, Energy) {
        let (parts, house) = self.divide(u128::from(whole.get()), house_weight);
        let narrow = |part: u128| Energy::new(u64::try_from(part).expect("a part of an energy is an energy"));
        let apps = self.leaves.iter().zip(parts).map(|(leaf, part)| (leaf.app, narrow(part)));
        (apps.collect(), narrow(house))
    }

    /// Weights by which a spill pool is given: the solar weights themselves while every app hangs on the site, else
    /// each app's part of the whole tree.
    #[must_use]
    pub fn flat_weights(&self, house_weight: u32) -> (Vec<(AppId, u64)>, u64) {
        if self.is_flat() {
            let apps = self.leaves.iter().map(|leaf| (leaf.app, u64::from(leaf.share.solar_weight)));
            return (apps.collect(), u64::from(house_weight));
        }
        let (parts, house) = self.divide(NESTED_WHOLE, house_weight);
        let narrow = |part: u128| u64::try_from(part).expect("a part of 2^52 is a u64");
        let apps = self.leaves.iter().zip(parts).map(|(leaf, part)| (leaf.app, narrow(part)));
        (apps.collect(), narrow(house))
    }

    fn divide(&self, whole: u128, house_weight: u32) -> Parts {
        match self.is_flat() {
            true => self.divide_flat(whole, house_weight),
            false => self.divide_nested(whole, house_weight),
        }
    }

    pub(super) fn divide_flat(&self, whole: u128, house_weight: u32) -> Parts {
        let weights = self.leaves.iter().map(|leaf| u128::from(leaf.share.solar_weight));
        let parts: Vec<u128> = split(whole, weights.chain([u128::from(house_weight)])).collect();
        match parts.split_last() {
            Some((house, apps)) if parts.iter().any(|&part| part > 0) => (apps.to_vec(), *house),
            // Nobody has a weight, or there is nothing to divide.
            _ => (alloc::vec![0; self.leaves.len()], whole),
        }
    }

    /// Level by level: what a place was given is cut for those below it. `cuts` stand beside `taken`: one for each place
    /// that has something below it, the site's first.
    pub(super) fn divide_nested(&self, whole: u128, house_weight: u32) -> Parts {
        if self.taken.is_empty() {
            return (Vec::new(), whole);
        }
        let places: Vec<(Place, usize)> =
            self.places().map(|place| (place, self.cut_of(place.parent))).collect();
        let mut cuts = self.cuts(&places);
        let (mut parts, mut house) = (alloc::vec![0; self.leaves.len()], 0);
        let weightless = cuts[0].total == 0 && house_weight == 0;
        cuts[0].whole = if weightless { 0 } else { whole };
        cuts[0].total += u128::from(house_weight);
        for depth in 0..LEVELS_MAX - 1 {
            let mut own = 0;
            for &(place, parent) in &places {
                while self.taken.get(own).is_some_and(|taken| taken.below < Some(place.id)) {
                    own += 1;
                }
                if cuts[parent].depth != depth {
                    continue;
                }
                let part = cuts[parent].next(place.weight);
                let divided = self.taken.get(own).filter(|taken| taken.below == Some(place.id));
                match (divided.map(|_| &mut cuts[own]), place.leaf) {
                    (None, Some(leaf)) => parts[leaf] = part,
                    (None, None) => house += part,
                    (Some(cut), leaf) => {
                        let kept = self.begin(cut, part, leaf);
                        match leaf {
                            Some(leaf) => parts[leaf] = kept,
                            None => house += kept,
                        }
                    }
                }
            }
        }
        (parts, house + whole - cuts[0].boundary)
    }

    /// Begins to cut `part` for those below a place; returns what does not go to them: an app's own part, which comes
    /// first, or all of it where nobody there has a weight.
    fn begin(&self, cut: &mut Cut, part: u128, leaf: Option<usize>) -> u128 {
        if cut.total == 0 {
            return part;
        }
        cut.whole = part;
        leaf.map_or(0, |leaf| cut.next(u128::from(self.leaves[leaf].own_weight)))
    }

    /// A cut for each place that has something below it, with the weights of those and, for an app, its own.
    fn cuts(&self, places: &[(Place, usize)]) -> Vec<Cut> {
        let depth = |below| self.above(below).count();
        let mut cuts: Vec<Cut> = Vec::with_capacity(self.taken.len());
        for taken in &self.taken {
            let leaf = taken.below.and_then(|id| self.leaf_at(id)).map(|at| &self.leaves[at]);
            let total = leaf.map_or(0, |leaf| u128::from(leaf.own_weight));
            cuts.push(Cut { depth: depth(taken.below), total, ..Cut::default() });
        }
        for (place, parent) in places {
            cuts[*parent].total += place.weight;
        }
        cuts
    }

    fn cut_of(&self, below: Option<NodeId>) -> usize {
        match below {
            None => 0,
            below => self.taken_at(below).expect("a place that has something below it has reserved for it"),
        }
    }

    /// Groups and apps in order of creation.
    fn places(&self) -> impl Iterator<Item = Place> {
        let weight = |share: &crate::share::Share| u128::from(share.solar_weight);
        let mut groups = self.groups.iter().map(move |group| Place {
            id: group.id,
            parent: group.parent,
            weight: weight(&group.share),
            leaf: None,
        });
        let mut leaves = self.leaves.iter().enumerate().map(move |(at, leaf)| Place {
            id: leaf.id,
            parent: leaf.parent,
            weight: weight(&leaf.share),
            leaf: Some(at),
        });
        let (mut group, mut leaf) = (groups.next(), leaves.next());
        core::iter::from_fn(move || match (&group, &leaf) {
            (Some(first), Some(second)) if first.id < second.id => {
                core::mem::replace(&mut group, groups.next())
            }
            (Some(_), None) => core::mem::replace(&mut group, groups.next()),
            (_, Some(_)) => core::mem::replace(&mut leaf, leaves.next()),
            (None, None) => None,
        })
    }
}
