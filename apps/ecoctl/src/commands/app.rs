//! `ecoctl app`: the tenants of the site.

use super::app_flags::{Conditions, ShareFlags, check};
use super::carbon::in_words as carbon;
use super::group::Destination;
use crate::connect::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::{Grid, facts};
use crate::show::{self, state};
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;

/// Apps.
#[derive(Debug, Subcommand)]
pub enum App {
    /// Admit an app; what it is not given, it does not have.
    Create(Create),
    /// All apps in the order of creation, `house` last.
    List(List),
    /// One app with its energy system and settings.
    Show(Named),
    /// Change an app's share; what no flag names stays as it is.
    Share(Share),
    /// Move an app, with its children, to a group or to the site.
    Move(Move),
    /// Take no new settings and containers from an app and settle its debts.
    Drain(Removal),
    /// Delete a drained app; its claim, debts and loans pass to the house.
    Delete(Removal),
}

/// Lists apps.
#[derive(Debug, Args)]
pub struct List {
    /// As they nest: groups, apps in them, children of apps.
    #[arg(long)]
    tree: bool,
}

/// Moves an app.
#[derive(Debug, Args)]
pub struct Move {
    /// The app; not one that is another's child.
    app: String,
    #[command(flatten)]
    to: Destination,
}

/// An app by name.
#[derive(Debug, Args)]
pub struct Named {
    /// The app.
    app: String,
}

/// Admits an app.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name: 1 to 63 of a-z, 0-9 and `-`.
    app: String,
    /// The group it lies below; without it the site.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    share: ShareFlags,
    #[command(flatten)]
    conditions: Conditions,
    /// Change nothing, only say what would be left free.
    #[arg(long)]
    dry_run: bool,
}

/// Changes an app's share.
#[derive(Debug, Args)]
pub struct Share {
    /// The app.
    app: String,
    #[command(flatten)]
    share: ShareFlags,
    /// Change nothing, only say what would be left free.
    #[arg(long)]
    dry_run: bool,
}

/// Drains or deletes an app.
#[derive(Debug, Args)]
pub struct Removal {
    /// The app.
    app: String,
    /// Change nothing, only say what would be left free.
    #[arg(long)]
    dry_run: bool,
}

impl App {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let operator = &context.operator;
        match self {
            Self::List(List { tree: false }) => list(context).await,
            Self::List(List { tree: true }) => nested(context).await,
            Self::Move(Move { app, to }) => {
                let named = format!("app {app}");
                to.run(context, wire::move_share_request::Share::App(app), &named).await
            }
            Self::Show(Named { app }) => {
                let app = context.ask(operator.show_app(wire::ShowAppRequest { app })).await?;
                context.output.answer(&json::app::app(&app), &card(&app))
            }
            Self::Create(create) => create.run(context).await,
            Self::Share(share) => share.run(context).await,
            Self::Drain(Removal { app, dry_run }) => {
                let request = wire::DrainAppRequest { app: app.clone(), dry_run };
                let reply = context.ask(operator.drain_app(request)).await?;
                say(context, &reply, &format!("app {app} drains"))
            }
            Self::Delete(Removal { app, dry_run }) => {
                let request = wire::DeleteAppRequest { app: app.clone(), dry_run };
                let reply = context.ask(operator.delete_app(request)).await?;
                say(context, &reply, &format!("app {app} deleted"))
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { app, group, share, conditions, dry_run } = self;
        let share = share.over(wire::AppShare::default());
        check(&share)?;
        let spec = Some(conditions.spec(share));
        let group = group.unwrap_or_default();
        let request = wire::CreateAppRequest { app: app.clone(), spec, dry_run, group };
        let reply = context.ask(context.operator.create_app(request)).await?;
        say(context, &reply, &format!("app {app} created"))
    }
}

impl Share {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { app, share, dry_run } = self;
        if share.is_empty() {
            return Err(Failure::usage("no part of the share is named")
                .hint("say which, such as --grid-limit 200W; `ecoctl app share --help` lists them"));
        }
        let shown = context.ask(context.operator.show_app(wire::ShowAppRequest { app: app.clone() })).await?;
        let before = shown.spec.and_then(|spec| spec.share).unwrap_or_default();
        let share = share.over(before);
        check(&share)?;
        let request = wire::ChangeShareRequest { app: app.clone(), share: Some(share), dry_run };
        let reply = context.ask(context.operator.change_share(request)).await?;
        say(context, &reply, &format!("share of {app} changed"))
    }
}

/// All apps; the table shows the last tick.
async fn list(context: &Context) -> Result<(), Failure> {
    let reply = context.ask(context.operator.list_apps(wire::ListAppsRequest {})).await?;
    let apps: Vec<_> = reply.apps.iter().map(json::app::app).collect();
    context.output.answer(&serde_json::json!({ "apps": apps }), &table(&reply.apps))
}

/// All groups and apps as they nest.
async fn nested(context: &Context) -> Result<(), Failure> {
    let groups = super::group::all(context).await?;
    let apps = context.ask(context.operator.list_apps(wire::ListAppsRequest {})).await?.apps;
    let json = serde_json::json!({
        "groups": groups.iter().map(json::group::group).collect::<Vec<_>>(),
        "apps": apps.iter().map(json::app::app).collect::<Vec<_>>(),
    });
    context.output.answer(&json, &super::app_tree::tree(&groups, &apps))
}

fn table(apps: &[wire::App]) -> String {
    let headings = [
        "NAME",
        "STATE",
        ">LOAD",
        ">SUPPLY",
        ">SOLAR",
        "BATTERY",
        ">GRID",
        ">GRID LIMIT",
        ">CONTAINERS",
        ">CARBON",
    ];
    let mut grid = Grid::new(&headings);
    for app in apps {
        let system = app.system.clone().unwrap_or_default();
        let mark = if system.estimated { "~" } else { "" };
        grid.row(vec![
            app.name.clone(),
            state::life(app.state),
            format!("{mark}{}", show::power(system.load_mw)),
            show::power(system.supply_mw),
            show::power(system.solar.map_or(0, |solar| solar.power_mw)),
            show::battery(system.battery.as_ref()),
            show::power(system.grid_power_mw),
            show::power(system.grid_limit_mw),
            app.containers.to_string(),
            show::mass(app.carbon_mg),
        ]);
    }
    grid.to_string()
}

/// One app, all that is known.
fn card(app: &wire::App) -> String {
    let spec = app.spec.clone().unwrap_or_default();
    let share = spec.share.unwrap_or_default();
    let system = app.system.clone().unwrap_or_default();
    let settings = system.settings.unwrap_or_default();
    facts(&[
        ("name", app.name.clone()),
        ("in", app.parent.clone()),
        ("state", state::life(app.state)),
        ("load", show::power(system.load_mw)),
        ("supply", show::power(system.supply_mw)),
        ("solar", weight(&system)),
        ("battery", battery(&system, share)),
        ("grid", format!("{} of {}", show::power(system.grid_power_mw), show::power(system.grid_limit_mw))),
        ("charge rate", super::battery::in_words(settings.battery_charge_rate.as_ref())),
        ("max discharge", super::battery::in_words(settings.battery_max_discharge.as_ref())),
        ("carbon rate", carbon::rate(settings.carbon_rate.as_ref())),
        ("carbon budget", carbon::budget(settings.carbon_budget.as_ref())),
        ("debt", owed(system.debt_uj)),
        ("loans", owed(system.loans_uj)),
        ("since creation", format!("{}, {} CO2e", show::energy(app.load_uj), show::mass(app.carbon_mg))),
        ("containers", app.containers.to_string()),
        ("capping", capping(system.capping.as_ref())),
        ("shortfall", state::shortfall(spec.shortfall).replace("unspecified", "the site's")),
        ("owner uid", show::or(spec.owner_uid, |uid| uid.to_string(), "the daemon's")),
        ("cgroup subtree", spec.cgroup_subtree.unwrap_or_default()),
        ("gpus", if spec.gpu_indices.is_empty() { String::new() } else { show::list(&spec.gpu_indices) }),
        ("tpus", if spec.tpu_indices.is_empty() { String::new() } else { show::list(&spec.tpu_indices) }),
        ("socket", app.socket.clone()),
        ("readings", state::freshness_set(system.freshness.as_ref())),
        ("estimated", if system.estimated { "yes: held or assumed readings".into() } else { String::new() }),
    ])
}

fn weight(system: &wire::EnergySystem) -> String {
    let power = show::power(system.solar.map_or(0, |solar| solar.power_mw));
    format!("{power} (weight {} of {})", system.solar_weight, system.solar_weight_total)
}

fn battery(system: &wire::EnergySystem, share: wire::AppShare) -> String {
    let Some(battery) = &system.battery else { return "none".into() };
    format!(
        "{}, floor {}, takes {}, gives {}",
        show::battery(Some(battery)),
        show::energy(battery.floor_uj),
        show::power(share.battery_charge_limit_mw),
        show::power(share.battery_discharge_limit_mw)
    )
}

fn owed(uj: u64) -> String {
    if uj == 0 { String::new() } else { show::energy(uj) }
}

fn capping(capping: Option<&wire::Capping>) -> String {
    let Some(capping) = capping else { return String::new() };
    let kind = state::capping(capping.kind).replace('_', " ");
    if capping.reason.is_empty() { kind } else { format!("{kind}: {}", capping.reason) }
}

/// What a change came to, and what is left free.
fn say(context: &Context, reply: &wire::AppChangeReply, done: &str) -> Result<(), Failure> {
    context.output.answer(&json::app::change(reply), &change(reply, done))
}

fn change(reply: &wire::AppChangeReply, done: &str) -> String {
    let head = match reply.holds_from_tick {
        Some(tick) => format!("{done}, from tick {tick}"),
        None => format!("dry run, nothing changed: {done}"),
    };
    let free = super::site::free(reply.free.as_ref());
    let to_house = match reply.to_house_uj {
        0 => String::new(),
        energy => format!("\nto the house: {}", show::energy(energy)),
    };
    format!("{head}\nleft free: {free}{to_house}")
}
