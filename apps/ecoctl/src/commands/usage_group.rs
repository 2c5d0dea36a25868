//! Usage of a group: which apps lie below it, and the sum of what they used, bucket by bucket.

use super::usage::AppUsage;
use ecovisor_sdk::operator::wire;
use ecovisor_units::Carbon;
use std::collections::BTreeMap;

/// Levels that are followed at most: the tree has four, and what a daemon sends need not be one.
const LEVELS_MAX: usize = 8;

/// The apps that lie below a group now, at any level, their children included, in the order in which they were made.
pub fn below(groups: &[wire::Group], apps: &[wire::App], group: &str) -> Vec<String> {
    let mut inside = vec![group];
    for _ in 0..LEVELS_MAX {
        let inner = |one: &&wire::Group| inside.contains(&one.parent.as_str());
        let found: Vec<_> = groups.iter().filter(inner).map(|one| one.name.as_str()).collect();
        inside.extend(found);
        inside.sort_unstable();
        inside.dedup();
    }
    let is_inside = |name: &str| {
        // A child is named after its parent, and lies where that lies.
        let top = name.split('.').next().unwrap_or(name);
        apps.iter().any(|app| app.name == top && inside.contains(&app.parent.as_str()))
    };
    apps.iter().map(|app| &app.name).filter(|name| is_inside(name)).cloned().collect()
}

/// What apps used together, by the begin of their buckets. Containers are told with their apps alone.
pub fn sum(usage: &[AppUsage]) -> Vec<wire::UsageBucket> {
    let mut sums = BTreeMap::new();
    let empty = || wire::UsageBucket { carbon_product: "0".into(), ..wire::UsageBucket::default() };
    for bucket in usage.iter().flat_map(|(_, buckets)| buckets) {
        add(sums.entry(bucket.start_ms).or_insert_with(empty), bucket);
    }
    sums.into_values().collect()
}

/// Energies and carbon add up; times, which apps have side by side, do not.
fn add(sum: &mut wire::UsageBucket, part: &wire::UsageBucket) {
    sum.start_ms = part.start_ms;
    sum.length_ms = sum.length_ms.max(part.length_ms);
    sum.settled_ms = sum.settled_ms.max(part.settled_ms);
    sum.estimated_ms = sum.estimated_ms.max(part.estimated_ms);
    let energies = [
        (&mut sum.load_uj, part.load_uj),
        (&mut sum.solar_uj, part.solar_uj),
        (&mut sum.battery_uj, part.battery_uj),
        (&mut sum.grid_uj, part.grid_uj),
        (&mut sum.received_uj, part.received_uj),
        (&mut sum.overdraft_uj, part.overdraft_uj),
        (&mut sum.charged_uj, part.charged_uj),
        (&mut sum.grid_charged_uj, part.grid_charged_uj),
        (&mut sum.exported_uj, part.exported_uj),
        (&mut sum.curtailed_uj, part.curtailed_uj),
        (&mut sum.given_uj, part.given_uj),
    ];
    for (sum, part) in energies {
        *sum = sum.saturating_add(part);
    }
    let products = (sum.carbon_product.parse::<u128>().ok(), part.carbon_product.parse().ok());
    let product = products.0.zip(products.1).and_then(|(sum, part): (u128, u128)| sum.checked_add(part));
    // What is no number stays none, and is shown as unknown.
    sum.carbon_product = product.map_or_else(String::new, |product| product.to_string());
    sum.carbon_mg = product.map_or(0, |product| Carbon::new(product).to_milligrams().get());
    sum.level = sum.level.max(part.level);
    sum.coarse |= part.coarse;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, parent: &str) -> wire::App {
        wire::App { name: name.into(), parent: parent.into(), ..wire::App::default() }
    }

    fn group(name: &str, parent: &str) -> wire::Group {
        wire::Group { name: name.into(), parent: parent.into(), ..wire::Group::default() }
    }

    fn bucket(start_ms: u64, load_uj: u64, carbon_product: &str) -> wire::UsageBucket {
        let (length_ms, settled_ms, carbon_product) = (10, 9, carbon_product.into());
        wire::UsageBucket {
            start_ms,
            length_ms,
            settled_ms,
            load_uj,
            carbon_product,
            ..wire::UsageBucket::default()
        }
    }

    #[test]
    fn apps_at_any_level_lie_below_and_children_where_their_parent_lies() {
        // A group may lie below one that was made after it, and an app may be called as a group is.
        let groups = [group("team", "org"), group("org", ""), group("other", "")];
        let apps = [app("web", "team"), app("db", "org"), app("web.x", "web"), app("team", "other")];
        assert_eq!(below(&groups, &apps, "org"), ["web", "db", "web.x"]);
        assert_eq!(below(&groups, &apps, "team"), ["web", "web.x"]);
        assert_eq!(below(&groups, &apps, "other"), ["team"]);
    }

    #[test]
    fn energies_and_carbon_add_up_bucket_by_bucket_and_times_do_not() {
        // Two halves of a milligram, which each of them alone rounds down to nothing.
        let half = "1800000000000";
        let usage = [
            ("a".to_owned(), vec![bucket(0, 5, half), bucket(10, 1, "0")]),
            ("b".to_owned(), vec![bucket(0, 7, half)]),
        ];
        let sums = sum(&usage);
        let told: Vec<_> = sums.iter().map(|one| (one.start_ms, one.settled_ms, one.load_uj)).collect();
        assert_eq!(told, [(0, 9, 12), (10, 9, 1)]);
        assert_eq!((sums[0].carbon_mg, sums[0].carbon_product.as_str()), (1, "3600000000000"));
        let unknown = sum(&[("a".to_owned(), vec![bucket(0, 5, "?"), bucket(0, 5, "1")])]);
        assert_eq!(unknown[0].carbon_product, "");
    }
}
