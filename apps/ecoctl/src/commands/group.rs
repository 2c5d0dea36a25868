//! `ecoctl group`: groups of apps, and which apps lie in them.

use super::app_flags::ShareFlags;
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::json;
use crate::output::{Grid, facts};
use crate::show;
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;

/// Groups.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Make a group: its share is divided among the apps and groups below it, as the site is among all.
    Create(Create),
    /// All groups in the order of creation, with the sums of the apps below them.
    List,
    /// One group.
    Show(Named),
    /// Change a group's share; what no flag names stays as it is.
    Share(Share),
    /// Move a group, with all below it, to another group or to the site.
    Move(Move),
    /// Delete a group that nothing lies below.
    Delete(Removal),
}

/// A group by name.
#[derive(Debug, Args)]
pub struct Named {
    /// The group.
    group: String,
}

/// Makes a group.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name: 1 to 63 of a-z, 0-9 and `-`.
    group: String,
    /// The group it lies below; without it the site.
    #[arg(long = "in", value_name = "GROUP")]
    parent: Option<String>,
    #[command(flatten)]
    share: ShareFlags,
    /// Change nothing, only say what would be left free.
    #[arg(long)]
    dry_run: bool,
}

/// Changes a group's share.
#[derive(Debug, Args)]
pub struct Share {
    /// The group.
    group: String,
    #[command(flatten)]
    share: ShareFlags,
    /// Change nothing, only say what would be left free.
    #[arg(long)]
    dry_run: bool,
}

/// Moves a group.
#[derive(Debug, Args)]
pub struct Move {
    /// The group.
    group: String,
    #[command(flatten)]
    to: Destination,
}

/// Where something is moved.
#[derive(Debug, Args)]
pub struct Destination {
    /// The group it goes below; without it the site.
    #[arg(long, value_name = "GROUP")]
    to: Option<String>,
    /// Change nothing, only say whether it would be accepted.
    #[arg(long)]
    dry_run: bool,
}

/// Deletes a group.
#[derive(Debug, Args)]
pub struct Removal {
    /// The group.
    group: String,
    /// Change nothing, only say what would be left free.
    #[arg(long)]
    dry_run: bool,
}

impl Group {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List => {
                let groups = all(context).await?;
                let rows: Vec<_> = groups.iter().map(json::group::group).collect();
                context.output.answer(&serde_json::json!({ "groups": rows }), &table(&groups))
            }
            Self::Show(Named { group }) => {
                let group = one(context, &group).await?;
                context.output.answer(&json::group::group(&group), &card(&group))
            }
            Self::Share(share) => share.run(context).await,
            Self::Move(Move { group, to }) => {
                let done = format!("group {group}");
                to.run(context, wire::move_share_request::Share::Group(group), &done).await
            }
            Self::Delete(Removal { group, dry_run }) => {
                let request = wire::DeleteGroupRequest { group: group.clone(), dry_run };
                let reply = context.ask(context.operator.delete_group(request)).await?;
                say(context, &reply, &format!("group {group} deleted"))
            }
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { group, parent, share, dry_run } = self;
        let share = Some(share.over(wire::AppShare::default()));
        let parent = parent.unwrap_or_default();
        let request = wire::CreateGroupRequest { group: group.clone(), parent, share, dry_run };
        let reply = context.ask(context.operator.create_group(request)).await?;
        say(context, &reply, &format!("group {group} created"))
    }
}

impl Share {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { group, share, dry_run } = self;
        if share.is_empty() {
            return Err(Failure::usage("no part of the share is named")
                .hint("say which, such as --grid-limit 200W; `ecoctl group share --help` lists them"));
        }
        let before = one(context, &group).await?.share.unwrap_or_default();
        let share = Some(share.over(before));
        let request = wire::ChangeGroupShareRequest { group: group.clone(), share, dry_run };
        let reply = context.ask(context.operator.change_group_share(request)).await?;
        say(context, &reply, &format!("share of group {group} changed"))
    }
}

impl Destination {
    /// Moves `what` there.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(
        self,
        context: &Context,
        what: wire::move_share_request::Share,
        named: &str,
    ) -> Result<(), Failure> {
        let Self { to, dry_run } = self;
        let place = to.as_ref().map_or("the site".to_owned(), |to| format!("group {to}"));
        let request = wire::MoveShareRequest { share: Some(what), to: to.unwrap_or_default(), dry_run };
        let reply = context.ask(context.operator.move_share(request)).await?;
        let done = head(reply.holds_from_tick, &format!("{named} moved to {place}"));
        let free = super::site::free(reply.free.as_ref());
        context.output.answer(&json::group::moved(&reply), &format!("{done}\nleft free there: {free}"))
    }
}

/// All groups.
///
/// # Errors
/// Whatever failed.
pub async fn all(context: &Context) -> Result<Vec<wire::Group>, Failure> {
    Ok(context.ask(context.operator.list_groups(wire::ListGroupsRequest {})).await?.groups)
}

async fn one(context: &Context, name: &str) -> Result<wire::Group, Failure> {
    named(&all(context).await?, name).cloned()
}

/// The group of that name.
///
/// # Errors
/// Where there is none.
pub fn named<'a>(groups: &'a [wire::Group], name: &str) -> Result<&'a wire::Group, Failure> {
    let found = groups.iter().find(|group| group.name == name);
    found.ok_or_else(|| Failure::new(Kind::NotFound, format!("no group is named {name}")))
}

fn table(groups: &[wire::Group]) -> String {
    let mut grid =
        Grid::new(&["NAME", "IN", ">LOAD", ">STORED", ">WEIGHT", "BATTERY", ">GRID LIMIT", ">CARBON"]);
    for group in groups {
        let share = group.share.unwrap_or_default();
        grid.row(vec![
            group.name.clone(),
            parent(group),
            show::power(group.load_mw),
            show::energy(group.charge_level_uj),
            share.solar_weight.to_string(),
            show::energy(share.battery_capacity_uj),
            show::power(share.grid_limit_mw),
            show::mass(group.carbon_mg),
        ]);
    }
    grid.to_string()
}

fn parent(group: &wire::Group) -> String {
    if group.parent.is_empty() { "the site".into() } else { group.parent.clone() }
}

fn card(group: &wire::Group) -> String {
    let share = group.share.unwrap_or_default();
    facts(&[
        ("name", group.name.clone()),
        ("in", parent(group)),
        ("groups", group.groups.join(", ")),
        ("apps", group.apps.join(", ")),
        ("solar weight", share.solar_weight.to_string()),
        ("battery", show::energy(share.battery_capacity_uj)),
        ("charge limit", show::power(share.battery_charge_limit_mw)),
        ("discharge limit", show::power(share.battery_discharge_limit_mw)),
        ("grid limit", show::power(share.grid_limit_mw)),
        ("left free", super::site::free(group.free.as_ref())),
        ("load", show::power(group.load_mw)),
        ("stored", show::energy(group.charge_level_uj)),
        ("since creation", format!("{}, {} CO2e", show::energy(group.load_uj), show::mass(group.carbon_mg))),
    ])
}

fn head(holds_from_tick: Option<u64>, done: &str) -> String {
    match holds_from_tick {
        Some(tick) => format!("{done}, from tick {tick}"),
        None => format!("dry run, nothing changed: {done}"),
    }
}

fn say(context: &Context, reply: &wire::GroupChangeReply, done: &str) -> Result<(), Failure> {
    let free = super::site::free(reply.free.as_ref());
    let text = format!("{}\nleft free: {free}", head(reply.holds_from_tick, done));
    context.output.answer(&json::group::change(reply), &text)
}
