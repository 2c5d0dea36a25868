use super::*;
use crate::split::split;
use ecovisor_units::{Energy, Power};
use proptest::prelude::*;

fn weighing(solar_weight: u32) -> Share {
    Share { solar_weight, ..Share::default() }
}

fn drawing(solar_weight: u32, milliwatts: u64) -> Share {
    Share { grid_limit: Power::new(milliwatts), ..weighing(solar_weight) }
}

fn name(text: &str) -> AppName {
    AppName::new(text).unwrap()
}

fn app(number: u32) -> AppId {
    AppId::new(number)
}

fn parts(tree: &Tree, whole: u64, house: u32) -> (Vec<u64>, u64) {
    let (apps, house) = tree.solar_parts(Energy::new(whole), house);
    (apps.into_iter().map(|(_, e)| e.get()).collect(), house.get())
}

#[test]
fn solar_is_divided_by_weight_and_house_comes_last() {
    let mut tree = Tree::default();
    tree.place_app(None, weighing(1), app(1)).unwrap();
    tree.place_app(None, weighing(2), app(2)).unwrap();
    assert_eq!(parts(&tree, 100, 1), (alloc::vec![25, 50], 25));
}

#[test]
fn house_has_all_the_solar_where_nobody_has_a_weight() {
    let mut tree = Tree::default();
    assert_eq!(parts(&tree, 7, 0), (alloc::vec![], 7));
    tree.place_app(None, weighing(0), app(1)).unwrap();
    assert_eq!(parts(&tree, 7, 0), (alloc::vec![0], 7));
    let team = tree.place_group(None, weighing(0), name("team")).unwrap();
    tree.place_app(Some(team), weighing(5), app(2)).unwrap();
    assert_eq!(parts(&tree, 7, 0), (alloc::vec![0, 0], 7));
}

#[test]
fn a_group_divides_its_part_among_its_own() {
    let mut tree = Tree::default();
    let team = tree.place_group(None, weighing(1), name("team")).unwrap();
    tree.place_app(None, weighing(1), app(1)).unwrap();
    tree.place_app(Some(team), weighing(1), app(2)).unwrap();
    tree.place_app(Some(team), weighing(3), app(3)).unwrap();
    assert_eq!(parts(&tree, 80, 0), (alloc::vec![40, 10, 30], 0));
    let (weights, _) = tree.flat_weights(0);
    assert_eq!(weights[2].1, weights[1].1 * 3);
    assert_eq!(weights[0].1, weights[1].1 + weights[2].1);
}

#[test]
fn a_group_without_weights_leaves_its_part_to_house() {
    let mut tree = Tree::default();
    let team = tree.place_group(None, weighing(1), name("team")).unwrap();
    assert_eq!(parts(&tree, 9, 0), (alloc::vec![], 9));
    tree.place_app(Some(team), weighing(0), app(2)).unwrap();
    assert_eq!(parts(&tree, 9, 0), (alloc::vec![0], 9));
}

#[test]
fn a_divided_app_has_a_weight_among_its_children_and_all_where_nobody_has_one() {
    let mut tree = Tree::default();
    let web = tree.place_app(None, weighing(3), app(1)).unwrap();
    tree.place_app(None, weighing(1), app(2)).unwrap();
    let child = tree.place_app(Some(web), weighing(1), app(3)).unwrap();
    // Three quarters of 80 are the place's; the app's own weight begins as the weight that it has.
    assert_eq!(parts(&tree, 80, 0), (alloc::vec![45, 20, 15], 0));
    tree.reweigh(app(1), 1);
    assert_eq!(parts(&tree, 80, 0), (alloc::vec![30, 20, 30], 0));
    tree.reweigh(app(1), 0);
    assert_eq!(parts(&tree, 80, 0), (alloc::vec![0, 20, 60], 0));
    tree.reshare(child, weighing(0));
    assert_eq!(parts(&tree, 80, 0), (alloc::vec![60, 20, 0], 0));
    tree.remove(child);
    assert_eq!(parts(&tree, 80, 0), (alloc::vec![60, 20], 0));
}

#[test]
fn a_divided_app_keeps_what_it_has_not_given_away() {
    let mut tree = Tree::default();
    let web = tree.place_app(None, drawing(3, 100), app(1)).unwrap();
    assert_eq!(tree.own(app(1)), Some(drawing(3, 100)));
    let one = tree.place_app(Some(web), drawing(1, 30), app(2)).unwrap();
    tree.place_app(Some(web), drawing(1, 50), app(3)).unwrap();
    tree.reweigh(app(1), 7);
    assert_eq!(tree.own(app(1)), Some(drawing(7, 20)));
    assert_eq!((tree.share(web), tree.taken(Some(web)).shares), (Some(drawing(3, 100)), 2));
    tree.reshare(one, drawing(1, 40));
    assert_eq!(tree.own(app(1)), Some(drawing(7, 10)));
    tree.remove(one);
    assert_eq!(tree.own(app(1)), Some(drawing(7, 50)));
    assert_eq!(tree.taken(None).as_share(), drawing(0, 100));
}

#[test]
fn the_tree_has_four_levels_at_most() {
    let mut tree = Tree::default();
    let organisation = tree.place_group(None, weighing(1), name("org")).unwrap();
    let team = tree.place_group(Some(organisation), weighing(1), name("team")).unwrap();
    let deepest = tree.place_app(Some(team), weighing(1), app(1)).unwrap();
    assert_eq!(tree.place_app(Some(deepest), weighing(1), app(2)), Err(NoPlace::TooDeep));
    let top = tree.place_app(None, weighing(1), app(2)).unwrap();
    let child = tree.place_app(Some(top), weighing(1), app(3)).unwrap();
    assert_eq!(tree.relocate(top, Some(team)), Err(NoPlace::TooDeep), "its child would be the fifth");
    tree.relocate(top, Some(organisation)).unwrap();
    assert_eq!(tree.place_app(Some(child), weighing(1), app(4)), Err(NoPlace::TooDeep));
    assert_eq!(tree.relocate(organisation, Some(team)), Err(NoPlace::BelowItself));
    assert_eq!(tree.place_app(Some(NodeId::new(99)), weighing(1), app(4)), Err(NoPlace::NoParent));
    assert_eq!(tree.place_group(Some(top), weighing(1), name("below")), Err(NoPlace::NoParent));
    assert_eq!(tree.leaves().len(), 3, "what found no place left nothing behind");
}

/// A tree to be made: each step a weight, a draw, whether it is a group, and whose child it is to be, and at the end moves.
type Plan = (Vec<(u32, u64, bool, usize)>, Vec<(usize, usize)>);

fn plans() -> impl Strategy<Value = Plan> {
    let step = (0_u32..5, 0_u64..50, any::<bool>(), 0_usize..20);
    (prop::collection::vec(step, 0..20), prop::collection::vec((0_usize..20, 0_usize..20), 0..6))
}

fn grown((steps, moves): Plan) -> Tree {
    let mut tree = Tree::default();
    let mut nodes = alloc::vec![None];
    let mut apps = 0;
    for (weight, draw, is_group, parent) in steps {
        let (parent, share) = (nodes[parent % nodes.len()], drawing(weight, draw));
        let placed = if is_group {
            tree.place_group(parent, share, name(&alloc::format!("g{}", nodes.len())))
        } else {
            tree.place_app(parent, share, app(apps + 1)).inspect(|_| apps += 1)
        };
        nodes.extend(placed.ok().map(Some));
    }
    for (node, parent) in moves {
        if let Some(node) = nodes[node % nodes.len()] {
            let _ = tree.relocate(node, nodes[parent % nodes.len()]);
        }
    }
    tree
}

/// What each app gets, computed from the rule alone: top down, by the children of each place.
fn told(tree: &Tree, below: Option<NodeId>, whole: u64, own: u32, parts: &mut [u64]) -> u64 {
    let mut children: Vec<(NodeId, Share, Option<usize>)> = Vec::new();
    children.extend(tree.groups.iter().filter(|g| g.parent == below).map(|g| (g.id, g.share, None)));
    let leaves = tree.leaves.iter().enumerate().filter(|(_, leaf)| leaf.parent == below);
    children.extend(leaves.map(|(at, leaf)| (leaf.id, leaf.share, Some(at))));
    children.sort_by_key(|(id, _, _)| *id);
    let mut weights: Vec<u128> =
        children.iter().map(|(_, share, _)| u128::from(share.solar_weight)).collect();
    // An app's own part comes first, that of `house` last.
    let own_at = if below.is_some() { 0 } else { weights.len() };
    weights.insert(own_at, u128::from(own));
    if weights.iter().all(|&weight| weight == 0) {
        return whole;
    }
    let mut shares: Vec<u64> =
        split(u128::from(whole), weights.into_iter()).map(|part| u64::try_from(part).unwrap()).collect();
    let mut back = shares.remove(own_at);
    for ((id, _, leaf), part) in children.into_iter().zip(shares) {
        match leaf {
            Some(at) => parts[at] = told(tree, Some(id), part, tree.leaves[at].own_weight, parts),
            None => back += told(tree, Some(id), part, 0, parts),
        }
    }
    back
}

proptest! {
    #[test]
    fn every_split_of_a_tree_is_the_rule_and_loses_nothing(
        plan in plans(), own in prop::collection::vec((1_u32..20, 0_u32..4), 0..4), whole in any::<u64>(), house in 0_u32..4,
    ) {
        let mut tree = grown(plan);
        own.into_iter().for_each(|(of, weight)| tree.reweigh(app(of), weight));
        let mut expected = alloc::vec![0; tree.leaves.len()];
        let left = told(&tree, None, whole, house, &mut expected);
        let (apps, house) = parts(&tree, whole, house);
        prop_assert_eq!(apps.iter().sum::<u64>() + house, whole);
        prop_assert_eq!((apps, house), (expected, left));
    }

    #[test]
    fn a_tree_of_one_level_is_divided_as_a_list(
        weights in prop::collection::vec(0_u32..5, 0..12), whole in any::<u64>(), house in 0_u32..4,
    ) {
        let mut tree = Tree::default();
        for (at, weight) in (1..).zip(weights) {
            tree.place_app(None, weighing(weight), app(at)).unwrap();
        }
        prop_assert!(tree.is_flat());
        prop_assert_eq!(
            tree.divide_flat(whole.into(), house), tree.divide_nested(whole.into(), house), "one rule, two ways",
        );
    }

    #[test]
    fn what_is_taken_is_what_the_shares_below_reserve(plan in plans()) {
        let tree = grown(plan);
        for node in tree.groups.iter().map(|g| Some(g.id)).chain(tree.leaves.iter().map(|l| Some(l.id))).chain([None]) {
            let mut sum = Reserved::default();
            tree.groups.iter().filter(|g| g.parent == node).for_each(|g| sum.add(&g.share));
            tree.leaves.iter().filter(|l| l.parent == node).for_each(|l| sum.add(&l.share));
            prop_assert_eq!(tree.taken(node), sum);
            prop_assert!(tree.above(node).count() < LEVELS_MAX);
        }
    }

    #[test]
    fn a_tree_survives_its_bytes_with_what_follows_from_it(plan in plans()) {
        let tree = grown(plan);
        let bytes = postcard::to_allocvec(&tree).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Tree>(&bytes), Ok(tree));
    }

    /// At most 1 µJ per app, however deep (invariant 7 rests on this).
    #[test]
    fn more_to_divide_takes_at_most_a_microjoule_from_anybody(
        plan in plans(), whole in 0_u64..1_000_000, more in 1_u64..1_000, house in 0_u32..4,
    ) {
        let tree = grown(plan);
        let (less, more) = (parts(&tree, whole, house), parts(&tree, whole + more, house));
        for (less, more) in less.0.into_iter().zip(more.0) {
            prop_assert!(less <= more + 1, "{less} of less, {more} of more");
        }
    }
}
