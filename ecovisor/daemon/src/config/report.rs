//! What `ecovisord check` prints: the configuration as it was understood.

use super::{ArchiveChoice, ClockChoice, Config};
use ecovisor_core::{Rules, Site, SolarRule};
use ecovisor_units::WattHours;
use std::fmt::Write;

/// The site in words, and what an operator should know about it. Parsing has checked everything it rests on.
#[must_use]
pub fn report(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(config, &mut out);
    out
}

fn write_report(config: &Config, out: &mut String) -> std::fmt::Result {
    let Ok(rules) = config.rules() else { return write!(out, "the rules cannot hold") };
    writeln!(out, "site      {}, settled every {}", config.site.name, rules.tick)?;
    match config.clock.kind {
        ClockChoice::Real => writeln!(out, "clock     real")?,
        ClockChoice::Scaled => {
            let start = config.clock.start.as_deref().unwrap_or("now");
            writeln!(
                out,
                "clock     scaled, {} times real time, from {start}",
                config.clock.factor.unwrap_or(1)
            )?;
        }
    }
    write_sources(config, &rules, out)?;
    writeln!(out, "host      {} idle to {} busy", config.host.idle, config.host.peak)?;
    if config.sim.is_some() {
        writeln!(out, "devices   emulated sun, battery and grid: no hardware is touched")?;
    }
    write_kept(config, out)?;
    write_apps(config, rules, out)?;
    notes(config, out)
}

/// Panels, battery, grid, carbon.
fn write_sources(config: &Config, rules: &Rules, out: &mut String) -> std::fmt::Result {
    match rules.solar_rule {
        _ if config.solar.is_none() => writeln!(out, "solar     none")?,
        SolarRule::Buffered => {
            writeln!(out, "solar     {} peak, buffered: apps spend the tick before's", rules.solar_peak)?
        }
        SolarRule::Live { curtailable } => {
            let inverter = if curtailable {
                "can be ordered down"
            } else {
                "cannot be ordered down: the rest is export"
            };
            writeln!(out, "solar     {} peak, live; the inverter {inverter}", rules.solar_peak)?;
        }
    }
    match rules.battery {
        None => writeln!(out, "battery   none")?,
        Some(battery) => writeln!(
            out,
            "battery   {} usable, in {} at {} ppm, out {} at {} ppm",
            WattHours(battery.capacity.wide()),
            battery.charge_limit,
            battery.conversion.charge.ppm(),
            battery.discharge_limit,
            battery.conversion.discharge.ppm()
        )?,
    }
    match rules.grid {
        None => writeln!(out, "grid      none: the site is an island")?,
        Some(grid) => writeln!(out, "grid      import {}, export {}", grid.import_limit, grid.export_limit)?,
    }
    let yes = |on: bool| if on { "yes" } else { "no" };
    writeln!(out, "spill     redistributed: {}, exported: {}", yes(rules.redistribute), yes(rules.export))?;
    match &config.carbon {
        None => writeln!(out, "carbon    no source: {} is assumed", rules.intensity_worst)?,
        Some(carbon) => {
            let file = carbon.file.as_ref().map(|file| file.display().to_string());
            let source = carbon.zone.clone().or(file).unwrap_or_default();
            writeln!(out, "carbon    trace {source}; {} where it has none", rules.intensity_worst)?;
        }
    }
    Ok(())
}

/// How long the past is kept.
fn write_kept(config: &Config, out: &mut String) -> std::fmt::Result {
    let kept = &config.retention;
    let hours = kept.hours.map_or_else(|| "for ever".to_owned(), |hours| hours.to_string());
    let archive = match kept.archive {
        ArchiveChoice::Optional => "",
        ArchiveChoice::Required => "; no ticks go before they are archived",
    };
    writeln!(
        out,
        "kept      ticks {}, minutes {}, hours {hours}, days for ever{archive}",
        kept.ticks, kept.minutes
    )
}

/// The apps of the file, and what they leave.
fn write_apps(config: &Config, rules: Rules, out: &mut String) -> std::fmt::Result {
    let (Ok(groups), Ok(apps)) = (config.group_setups(), config.app_setups()) else { return Ok(()) };
    let Ok(mut site) = Site::new(rules) else { return Ok(()) };
    let groups = groups.into_iter().map(|group| ("group     ", group.name, group.parent, group.share));
    let apps = apps.into_iter().map(|app| ("app       ", app.name, app.group, app.share));
    for (kind, name, above, share) in groups.chain(apps) {
        let above = above.map_or_else(String::new, |above| format!(" in {above}"));
        writeln!(
            out,
            "{kind}{name}{above}: solar weight {}, battery {} (in {}, out {}), grid {}",
            share.solar_weight,
            WattHours(share.battery.capacity.wide()),
            share.battery.charge_limit,
            share.battery.discharge_limit,
            share.grid_limit
        )?;
    }
    // What does not fit was refused before there was a configuration to tell of.
    let _ = config.populate(&mut site);
    let free = site.free();
    writeln!(
        out,
        "free      battery {} (in {}, out {}), grid {}",
        WattHours(free.battery.capacity.wide()),
        free.battery.charge_limit,
        free.battery.discharge_limit,
        free.grid_limit
    )
}

/// What holds but may surprise.
fn notes(config: &Config, out: &mut String) -> std::fmt::Result {
    let mut owners: Vec<Option<u32>> = config.apps.iter().map(|app| app.owner_uid).collect();
    owners.sort_unstable();
    if owners.windows(2).any(|pair| pair[0] == pair[1]) {
        writeln!(
            out,
            "note      apps of one user are kept apart by convention only: give each app an owner_uid of its own"
        )?;
    }
    if config.carbon.is_none() && config.grid.is_some() {
        writeln!(out, "note      without a [carbon] source every figure of carbon is estimated")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_was_understood_and_what_is_free() {
        let text = "[site]\nname = \"a\"\n[host]\nidle = \"1 W\"\npeak = \"2 W\"\n[grid]\nimport_limit = \"1 kW\"\n\
                    [[app]]\nname = \"x\"\ngrid_limit = \"300 W\"\n[[app]]\nname = \"y\"\n";
        let report = report(&Config::parse(text).unwrap());
        assert!(report.contains("grid      import 1 kW, export 0 mW"), "{report}");
        assert!(
            report.contains("kept      ticks 7 d, minutes 90 d, hours for ever, days for ever\n"),
            "{report}"
        );
        assert!(report.contains("app       x: solar weight 0"), "{report}");
        assert!(report.contains("grid 700 W"), "{report}");
        assert!(report.contains("kept apart by convention only"), "{report}");
    }
}
