//! The invariants of the books, recomputed from what the wire tells, with none of the daemon's code (docs: energy rules,
//! invariants 1 to 4).

use anyhow::{Result, ensure};
use ecovisor_sdk::operator::wire::{AppTick, Battery, Flows, MeteredFlow, SiteTick};

/// Whether one tick of a site adds up.
///
/// # Errors
/// The first figure that does not.
pub fn check(tick: &SiteTick) -> Result<()> {
    for app in &tick.apps {
        let flows = app.flows.as_ref().ok_or_else(|| anyhow::anyhow!("flows are always present"))?;
        check_app(flows).map_err(|error| error.context(format!("tick {}, app {}", tick.tick, app.app)))?;
    }
    check_site(tick).map_err(|error| error.context(format!("tick {}, the site", tick.tick)))
}

fn equal(what: &str, left: u64, right: &[u64]) -> Result<()> {
    let sum: u64 = right.iter().sum();
    ensure!(left == sum, "{what} is {left}, its parts are {right:?}, {sum} together");
    Ok(())
}

/// Invariants 1 and 2: what came in went somewhere, what was used came from somewhere.
fn check_app(f: &Flows) -> Result<()> {
    let solar = [f.solar_to_load_uj, f.solar_to_lenders_uj, f.solar_to_battery_uj, f.spilled_uj];
    equal("solar_in", f.solar_in_uj, &solar)?;
    let spilled = [f.given_uj, f.exported_uj, f.curtailed_uj, f.kept_uj, f.spill_to_overdraft_uj];
    equal("spilled", f.spilled_uj, &spilled)?;
    let received = [f.received_to_load_uj, f.received_to_lenders_uj, f.received_to_battery_uj];
    equal("received", f.received_uj, &received)?;
    let load = [
        f.solar_to_load_uj,
        f.received_to_load_uj,
        f.battery_to_load_uj,
        f.forced_to_load_uj,
        f.grid_to_load_uj,
        f.overdraft_grid_uj,
        f.overdraft_from_spill_uj,
        f.overdraft_lent_uj,
    ];
    equal("load", f.load_uj, &load)
}

/// Invariant 4: what one gives another receives; books and meters meet.
fn check_site(tick: &SiteTick) -> Result<()> {
    let site = tick.site.as_ref().ok_or_else(|| anyhow::anyhow!("the site's flows are always present"))?;
    let of_all =
        |of: fn(&Flows) -> u64| tick.apps.iter().filter_map(|app| app.flows.as_ref()).map(of).sum::<u64>();
    equal("given of all", of_all(|f| f.given_uj), &[of_all(|f| f.received_uj)])?;
    let lenders = |f: &Flows| f.solar_to_lenders_uj + f.received_to_lenders_uj + f.grid_to_lenders_uj;
    equal("repaid to all", of_all(|f| f.repaid_in_uj), &[of_all(lenders)])?;
    equal("lent by all", of_all(|f| f.lent_uj), &[of_all(|f| f.overdraft_lent_uj)])?;
    equal("booked load", site.load_booked_uj, &[of_all(|f| f.load_uj)])?;
    if let Some(metered) = site.load_metered_uj {
        equal("booked load", site.load_booked_uj, &[metered, site.overbooked_load_uj])?;
    }
    let drawn =
        of_all(|f| f.grid_to_load_uj + f.grid_to_lenders_uj + f.grid_to_battery_uj + f.overdraft_grid_uj);
    let metered = [&site.solar, &site.grid_import, &site.grid_export, &site.battery_in, &site.battery_out];
    metered.into_iter().flatten().try_for_each(check_meter)?;
    if let Some(import) = &site.grid_import {
        equal("drawn from the grid", drawn, &[import.booked_uj, site.grid_netting_uj])?;
    }
    if let Some(export) = &site.grid_export {
        equal("fed into the grid", of_all(|f| f.exported_uj), &[export.booked_uj, site.grid_netting_uj])?;
    }
    Ok(())
}

fn check_meter(flow: &MeteredFlow) -> Result<()> {
    ensure!(flow.over_uj == 0 || flow.short_uj == 0, "both over and short: {flow:?}");
    match flow.metered_uj {
        Some(metered) => equal("booked + over", flow.booked_uj + flow.over_uj, &[metered, flow.short_uj]),
        None => Ok(()),
    }
}

/// Invariant 3 for every app but `house` between two neighbouring ticks in which no share changed: the battery holds
/// what it held, what came in, less what went out and was lost.
///
/// # Errors
/// The first battery that does not, or ticks that are no neighbours.
pub fn check_batteries(before: &SiteTick, after: &SiteTick) -> Result<()> {
    ensure!(after.tick == before.tick + 1, "tick {} does not follow tick {}", after.tick, before.tick);
    for app in after.apps.iter().filter(|app| app.app != "house") {
        let Some(was) = before.apps.iter().find(|was| was.app == app.app).and_then(level) else { continue };
        let (Some(is), Some(f)) = (level(app), &app.flows) else { continue };
        let came =
            [was, f.solar_to_battery_uj, f.received_to_battery_uj, f.grid_to_battery_uj, f.repaid_in_uj];
        let went =
            [f.battery_to_load_uj, f.forced_to_load_uj, f.lent_uj, f.charge_loss_uj, f.discharge_loss_uj];
        let went: u64 = went.iter().sum::<u64>() + f.adjusted_down_uj;
        equal(&format!("tick {}: battery of {}", after.tick, app.app), is + went, &came)?;
    }
    Ok(())
}

fn level(app: &AppTick) -> Option<u64> {
    app.battery.as_ref().map(|battery: &Battery| battery.charge_level_uj)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::operator::wire::SiteFlows;

    fn tick(flows: Flows) -> SiteTick {
        let site = SiteFlows { load_booked_uj: flows.load_uj, ..SiteFlows::default() };
        let app = AppTick { app: "web".into(), flows: Some(flows), ..AppTick::default() };
        SiteTick { apps: vec![app], site: Some(site), ..SiteTick::default() }
    }

    #[test]
    fn a_microjoule_that_came_from_nowhere_is_found() {
        let flows = Flows {
            load_uj: 7,
            solar_in_uj: 3,
            solar_to_load_uj: 3,
            battery_to_load_uj: 4,
            ..Flows::default()
        };
        check(&tick(flows.clone())).unwrap();
        let error = check(&tick(Flows { load_uj: 8, ..flows })).unwrap_err();
        assert!(format!("{error:#}").contains("tick 0, app web: load is 8"), "{error:#}");
    }

    #[test]
    fn a_meter_beyond_the_books_is_found_unless_it_is_posted() {
        let with = |flow| {
            let mut tick = tick(Flows::default());
            tick.site = Some(SiteFlows { solar: Some(flow), ..SiteFlows::default() });
            check(&tick)
        };
        let flow = |over_uj| MeteredFlow { booked_uj: 5, metered_uj: Some(7), over_uj, short_uj: 0 };
        assert!(with(flow(0)).is_err());
        with(flow(2)).unwrap();
    }

    #[test]
    fn a_battery_that_gained_without_a_flow_is_found() {
        let at = |number, level| {
            let mut tick = tick(Flows::default());
            tick.tick = number;
            tick.apps[0].battery = Some(Battery { charge_level_uj: level, ..Battery::default() });
            tick
        };
        check_batteries(&at(1, 5), &at(2, 5)).unwrap();
        assert!(check_batteries(&at(1, 5), &at(2, 6)).is_err());
        assert!(check_batteries(&at(1, 5), &at(3, 5)).is_err());
    }
}
