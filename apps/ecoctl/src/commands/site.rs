//! `ecoctl site`: the site as it stands, and its ticks.

use crate::connect::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::facts;
use crate::show::{self, state};
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;

/// The site.
#[derive(Debug, Args)]
pub struct Site {
    #[command(subcommand)]
    command: Option<SiteCommand>,
}

/// What of the site.
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// The site as it stands (the default).
    Show,
    /// One line per settled tick, until interrupted.
    Watch {
        /// End after that many ticks.
        #[arg(long, value_name = "N")]
        ticks: Option<u64>,
    },
}

impl Site {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command.unwrap_or(SiteCommand::Show) {
            SiteCommand::Show => {
                let site = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
                context.output.answer(&json::site::site(&site), &card(&site))
            }
            SiteCommand::Watch { ticks } => watch(context, ticks).await,
        }
    }
}

async fn watch(context: &Context, ticks: Option<u64>) -> Result<(), Failure> {
    let mut stream = context.ask(context.operator.watch_site(wire::WatchSiteRequest {})).await?;
    let mut left = ticks.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(tick) = context.next(&mut stream).await? else { break };
        context.output.line(&json::site::tick(&tick), &line(&tick))?;
        left -= 1;
    }
    Ok(())
}

/// A tick in one line.
fn line(tick: &wire::SiteTick) -> String {
    let flows = tick.site.clone().unwrap_or_default();
    let mean = |uj: u64| show::mean(uj, tick.span_ms);
    let booked = |flow: &Option<wire::MeteredFlow>| flow.as_ref().map(|flow| mean(flow.booked_uj));
    let parts = [
        Some(format!("{} tick {}", crate::time::show_clock(tick.wall_start_ms), tick.tick)),
        booked(&flows.solar).map(|power| format!("solar {power}")),
        booked(&flows.grid_import).map(|power| format!("grid {power}")),
        booked(&flows.grid_export).filter(|_| exports(&flows)).map(|power| format!("export {power}")),
        booked(&flows.battery_in).map(|power| format!("charge {power}")),
        booked(&flows.battery_out).map(|power| format!("discharge {power}")),
        Some(format!("load {}", mean(flows.load_booked_uj))),
        flows.grid_import.is_some().then(|| show::intensity(flows.grid_carbon_mg_per_kwh)),
        tick.estimated.then(|| "estimated".into()),
        tick.gap.then(|| "gap".into()),
        (tick.missed > 0).then(|| format!("{} ticks missed", tick.missed)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn exports(flows: &wire::SiteFlows) -> bool {
    flows.grid_export.as_ref().is_some_and(|flow| flow.booked_uj > 0)
}

/// The site, all that is known.
fn card(site: &wire::Site) -> String {
    let capacity = site.capacity.unwrap_or_default();
    let policies = site.policies.unwrap_or_default();
    let (flows, span) = match &site.last {
        Some(last) => (last.site.clone().unwrap_or_default(), last.span_ms),
        None => (wire::SiteFlows::default(), 0),
    };
    let flow = |flow: Option<&wire::MeteredFlow>| flow.map(|flow| metered(flow, span)).unwrap_or_default();
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    facts(&[
        ("site", if site.name.is_empty() { "(no name)".into() } else { site.name.clone() }),
        ("mode", mode(site)),
        ("tick", tick(site)),
        ("overruns", overruns(site)),
        ("clock", clock(site)),
        ("solar", flow(flows.solar.as_ref())),
        ("grid import", flow(flows.grid_import.as_ref())),
        ("grid export", flow(flows.grid_export.as_ref())),
        ("battery in", flow(flows.battery_in.as_ref())),
        ("battery out", flow(flows.battery_out.as_ref())),
        ("battery", battery(&flows, capacity)),
        ("load", if site.last.is_some() { load(&flows, span) } else { String::new() }),
        ("carbon", carbon(&flows)),
        ("capacity", capacities(capacity)),
        ("free", free(site.free.as_ref())),
        ("solar mode", state::solar_mode(site.solar_mode)),
        (
            "policies",
            format!(
                "redistribute {}, export {}, shortfall {}",
                yes(policies.redistribute),
                yes(policies.export),
                state::shortfall(policies.shortfall)
            ),
        ),
        ("readings", state::freshness_set(site.freshness.as_ref())),
        ("daemon", format!("{}, since {}", site.version, crate::time::show(site.started_ms))),
    ])
}

fn mode(site: &wire::Site) -> String {
    let mode = state::site_mode(site.mode);
    if site.safe_mode_reason.is_empty() { mode } else { format!("{mode}: {}", site.safe_mode_reason) }
}

fn tick(site: &wire::Site) -> String {
    let Some(last) = &site.last else { return "waiting for the first".into() };
    let estimated = if last.estimated { ", estimated" } else { "" };
    let late = if site.tick_late_ms > 0 {
        format!(", {} late", show::span(site.tick_late_ms))
    } else {
        String::new()
    };
    format!("{} at {}{estimated}{late}", last.tick, crate::time::show(last.wall_start_ms))
}

/// How often the tick loop did not keep up since the daemon started.
fn overruns(site: &wire::Site) -> String {
    let wire::TickOverruns { late, gather, work } = site.overruns.unwrap_or_default();
    let counts = [(late, "late"), (gather, "without a reading in time"), (work, "longer than a tick")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if counts.is_empty() { "none".into() } else { format!("ticks: {}", counts.join(", ")) }
}

fn clock(site: &wire::Site) -> String {
    let clock = site.clock.unwrap_or_default();
    let factor = if clock.factor > 1 { format!(" x{}", clock.factor) } else { String::new() };
    format!("{}{factor}, {} a tick", state::clock(clock.kind), show::span(site.tick_span_ms))
}

/// What the books say, and the meter where it differs.
fn metered(flow: &wire::MeteredFlow, span: u64) -> String {
    let booked = show::mean(flow.booked_uj, span);
    match flow.metered_uj {
        None => format!("{booked} (not metered)"),
        Some(metered) if metered == flow.booked_uj => booked,
        Some(metered) => format!("{booked} (meter: {})", show::mean(metered, span)),
    }
}

fn battery(flows: &wire::SiteFlows, capacity: wire::SiteCapacity) -> String {
    if capacity.battery_capacity_uj == 0 {
        return "none".into();
    }
    let level = flows.battery_level_metered_uj.unwrap_or(flows.battery_level_booked_uj);
    let percent = show::percent(level, capacity.battery_capacity_uj);
    format!("{percent} %, {} of {}", show::energy(level), show::energy(capacity.battery_capacity_uj))
}

fn load(flows: &wire::SiteFlows, span: u64) -> String {
    let unmetered = match flows.unmetered_load_uj {
        0 => String::new(),
        uj => format!(" ({} in no container)", show::mean(uj, span)),
    };
    format!("{}{unmetered}", show::mean(flows.load_booked_uj, span))
}

fn carbon(flows: &wire::SiteFlows) -> String {
    if flows.grid_import.is_some() { show::intensity(flows.grid_carbon_mg_per_kwh) } else { String::new() }
}

fn capacities(capacity: wire::SiteCapacity) -> String {
    let solar =
        (capacity.solar_peak_mw > 0).then(|| format!("solar {}", show::power(capacity.solar_peak_mw)));
    let battery = (capacity.battery_capacity_uj > 0).then(|| {
        format!(
            "battery {} (in {}, out {})",
            show::energy(capacity.battery_capacity_uj),
            show::power(capacity.battery_charge_limit_mw),
            show::power(capacity.battery_discharge_limit_mw)
        )
    });
    let grid = (capacity.grid_limit_mw > 0).then(|| format!("grid {}", show::power(capacity.grid_limit_mw)));
    [solar, battery, grid].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What is not reserved, in one line.
pub fn free(free: Option<&wire::FreeShare>) -> String {
    let Some(free) = free else { return show::NONE.into() };
    format!(
        "battery {} (in {}, out {}), grid {}, solar weights {}",
        show::energy(free.battery_capacity_uj),
        show::power(free.battery_charge_limit_mw),
        show::power(free.battery_discharge_limit_mw),
        show::power(free.grid_limit_mw),
        free.solar_weight_total
    )
}
