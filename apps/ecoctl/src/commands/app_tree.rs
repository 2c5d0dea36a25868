//! `ecoctl app list --tree`: groups and apps as they nest, with what each is entitled to and uses.

use crate::output::Grid;
use crate::show;
use ecovisor_sdk::operator::wire;

/// Levels that are shown at most: the tree has four, and what a daemon sends need not be one.
const LEVELS_MAX: usize = 8;

/// The whole tree, `house` last.
pub fn tree(groups: &[wire::Group], apps: &[wire::App]) -> String {
    let headings = ["NAME", "KIND", ">WEIGHT", ">CAPACITY", ">STORED", ">GRID LIMIT", ">LOAD", ">CARBON"];
    let mut grid = Grid::new(&headings);
    in_group(&mut grid, groups, apps, "", 0);
    grid.to_string()
}

/// What lies directly below a group (no name: the site), each followed by what lies below it.
fn in_group(grid: &mut Grid, groups: &[wire::Group], apps: &[wire::App], group: &str, level: usize) {
    if level == LEVELS_MAX {
        return;
    }
    for inner in groups.iter().filter(|inner| inner.parent == group) {
        let system = (inner.charge_level_uj, inner.load_mw);
        grid.row(row(&inner.name, level, "group", inner.share, system, inner.carbon_mg));
        in_group(grid, groups, apps, &inner.name, level + 1);
    }
    for app in apps.iter().filter(|app| app.parent == group && !is_child(app)) {
        with_children(grid, apps, app, level);
    }
}

fn with_children(grid: &mut Grid, apps: &[wire::App], app: &wire::App, level: usize) {
    if level == LEVELS_MAX {
        return;
    }
    let share = app.spec.as_ref().and_then(|spec| spec.share);
    let system = app.system.as_ref();
    let stored =
        system.and_then(|system| system.battery.as_ref()).map_or(0, |battery| battery.charge_level_uj);
    let kind = if is_child(app) { "child" } else { "app" };
    let load = system.map_or(0, |system| system.load_mw);
    grid.row(row(&app.name, level, kind, share, (stored, load), app.carbon_mg));
    for child in apps.iter().filter(|child| is_child(child) && child.parent == app.name) {
        with_children(grid, apps, child, level + 1);
    }
}

/// Only an app's child has a dot in its name; a group and an app may have one name.
fn is_child(app: &wire::App) -> bool {
    app.name.contains('.')
}

fn row(
    name: &str,
    level: usize,
    kind: &str,
    share: Option<wire::AppShare>,
    (stored_uj, load_mw): (u64, u64),
    carbon_mg: u64,
) -> Vec<String> {
    let share = share.unwrap_or_default();
    vec![
        format!("{}{name}", "  ".repeat(level)),
        kind.into(),
        share.solar_weight.to_string(),
        show::energy(share.battery_capacity_uj),
        show::energy(stored_uj),
        show::power(share.grid_limit_mw),
        show::power(load_mw),
        show::mass(carbon_mg),
    ]
}
