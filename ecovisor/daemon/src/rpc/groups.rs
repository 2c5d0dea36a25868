//! Groups of apps, as the operator makes, changes and ends them, and moves what lies below them.

use super::convert::{app_name, share};
use super::errors::Problem;
use super::show::nesting;
use super::{Behind, named};
use crate::engine::handle::{Actor, Answer, AskError, Question, Reply, View};
use ecovisor_core::{AppId, Command, NodeId};
use ecovisor_proto::v1;
use ecovisor_proto::v1::move_share_request::Share as Moved;
use serde_json::json;

/// Makes a group.
///
/// # Errors
/// Where it does not fit, or the engine refuses; what the engine does not hear of is audited here.
pub async fn create(
    behind: &Behind,
    actor: Actor,
    request: v1::CreateGroupRequest,
) -> Result<v1::GroupChangeReply, Problem> {
    let v1::CreateGroupRequest { group, parent, share: whole, dry_run } = request;
    let view = behind.engine.view();
    let parsed = app_name("group", &group).and_then(|name| {
        Ok(Command::CreateGroup { name, parent: place(&view, "parent", &parent)?, share: share(whole)? })
    });
    let command = parsed.map_err(|problem| behind.denied(&actor, problem))?;
    change(behind, actor, &group, command, dry_run).await
}

/// Gives a group another share.
///
/// # Errors
/// As [`create`].
pub async fn change_share(
    behind: &Behind,
    actor: Actor,
    request: v1::ChangeGroupShareRequest,
) -> Result<v1::GroupChangeReply, Problem> {
    let v1::ChangeGroupShareRequest { group, share: whole, dry_run } = request;
    let view = behind.engine.view();
    let parsed = known(&view, "group", &group)
        .and_then(|id| Ok(Command::ChangeGroupShare { group: id, share: share(whole)? }));
    let command = parsed.map_err(|problem| behind.denied(&actor, problem))?;
    change(behind, actor, &group, command, dry_run).await
}

/// Deletes a group that nothing lies below.
///
/// # Errors
/// As [`create`].
pub async fn delete(
    behind: &Behind,
    actor: Actor,
    request: v1::DeleteGroupRequest,
) -> Result<v1::GroupChangeReply, Problem> {
    let v1::DeleteGroupRequest { group, dry_run } = request;
    let known = known(&behind.engine.view(), "group", &group);
    let id = known.map_err(|problem| behind.denied(&actor, problem))?;
    change(behind, actor, &group, Command::DeleteGroup(id), dry_run).await
}

/// Moves an app or a group below another group.
///
/// # Errors
/// As [`create`].
pub async fn relocate(
    behind: &Behind,
    actor: Actor,
    request: v1::MoveShareRequest,
) -> Result<v1::MoveShareReply, Problem> {
    let v1::MoveShareRequest { share, to, dry_run } = request;
    let view = behind.engine.view();
    let parsed = moved(&view, share.clone()).and_then(|node| Ok((node, place(&view, "to", &to)?)));
    let (node, parent) = parsed.map_err(|problem| behind.denied(&actor, problem))?;
    let what = match &share {
        Some(Moved::App(name) | Moved::Group(name)) => name.as_str(),
        None => "",
    };
    let answer = ask(behind, actor, what, Command::Relocate { node, parent }, dry_run).await?;
    Ok(v1::MoveShareReply {
        holds_from_tick: (!dry_run).then_some(answer.accepted.holds_from.0),
        free: Some(nesting::free(&answer.view, parent)),
    })
}

/// All groups.
#[must_use]
pub fn list(view: &View) -> v1::ListGroupsReply {
    let groups = view.site.tree(true).groups().iter();
    v1::ListGroupsReply { groups: groups.map(|group| nesting::group(view, group)).collect() }
}

/// The group of that name; `None`, the site, where there is no name.
///
/// # Errors
/// Where there is no such group.
pub fn place(view: &View, field: &'static str, name: &str) -> Result<Option<NodeId>, Problem> {
    if name.is_empty() { Ok(None) } else { known(view, field, name).map(Some) }
}

fn known(view: &View, field: &'static str, name: &str) -> Result<NodeId, Problem> {
    let group = view.site.tree(true).group_named(name);
    group.map(|group| group.id).ok_or_else(|| Problem::unknown_group(field, name))
}

fn moved(view: &View, share: Option<Moved>) -> Result<NodeId, Problem> {
    match share.ok_or_else(|| Problem::missing("share", "say which app or which group"))? {
        Moved::Group(name) => known(view, "group", &name),
        Moved::App(name) => {
            let app = named(view, &name)?;
            if app.id == AppId::HOUSE {
                return Err(ecovisor_core::Refusal::House.into());
            }
            let leaf = view.site.tree(true).leaf(app.id);
            leaf.map(|leaf| leaf.id).ok_or_else(|| Problem::unknown_app(&name))
        }
    }
}

async fn change(
    behind: &Behind,
    actor: Actor,
    name: &str,
    command: Command,
    dry_run: bool,
) -> Result<v1::GroupChangeReply, Problem> {
    let level = |view: &View| view.site.tree(true).group_named(name).map(|group| group.parent);
    let before = level(&behind.engine.view());
    let answer = ask(behind, actor, name, command, dry_run).await.map_err(Problem::of_group)?;
    let parent = level(&answer.view).or(before).flatten();
    let group = answer.view.site.tree(true).group_named(name).filter(|_| !dry_run);
    Ok(v1::GroupChangeReply {
        holds_from_tick: (!dry_run).then_some(answer.accepted.holds_from.0),
        free: Some(nesting::free(&answer.view, parent)),
        group: group.map(|group| nesting::group(&answer.view, group)),
    })
}

async fn ask(
    behind: &Behind,
    actor: Actor,
    name: &str,
    command: Command,
    dry_run: bool,
) -> Result<Answer, Problem> {
    let arguments = json!({ "name": name, "command": command, "dry_run": dry_run });
    let question = Question::Command { command, grants: None, dry_run };
    match behind.engine.ask(actor, arguments, question).await? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Reloaded(_) => Err(AskError::Stopping.into()),
    }
}
