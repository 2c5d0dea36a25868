//! An app's children. It gives them parts of its own share and takes these back; whose children they are follows from
//! the connection and the child's own name, so that nobody can name another's.

use super::convert::share;
use super::errors::Problem;
use super::show::{nesting, site as show_site};
use super::{Behind, Caller};
use crate::engine::handle::{Answer, AskError, Question, Reply};
use ecovisor_audit::Grants;
use ecovisor_core::{AppName, AppPolicy, Command};
use ecovisor_proto::v1;
use serde_json::json;

/// What the name of a child is, for whoever gave none.
const CHILD_NAME: &str = "give 1 to 63 of a-z, 0-9 and -, beginning with a letter, not ending with -; with the parent's \
                          name and a dot before it at most 63";

/// Makes a child, or gives one that is there another share. It has the owner and the grants of its parent.
///
/// # Errors
/// Where it does not fit, or the engine refuses; what the engine does not hear of is audited here.
pub async fn divide(
    behind: &Behind,
    caller: &Caller,
    request: v1::DivideShareRequest,
) -> Result<v1::DivideShareReply, Problem> {
    let v1::DivideShareRequest { child, share: whole, own_solar_weight, dry_run } = request;
    let parsed = named(caller, &child)
        .and_then(|name| Ok((name, share(whole)?, own_solar_weight.map(own_weight).transpose()?)));
    let (name, share, weight) = parsed.map_err(|problem| behind.denied(&caller.actor(), problem))?;
    let known = caller.view.site.find(name.as_str()).map(|app| app.id);
    let place = caller.view.site.tree(true).leaf(caller.app.id).map(|leaf| leaf.id);
    let parent = place.ok_or_else(|| Problem::unknown_app(caller.app.name.as_str()))?;
    let policy = AppPolicy { shortfall: caller.app.policy.shortfall, ..AppPolicy::default() };
    let (command, grants) = match known {
        Some(app) => (Command::ChangeShare { app, share }, None),
        None => {
            let grants = caller.view.grants.get(&caller.app.id).cloned();
            (Command::CreateAppIn { parent, name: name.clone(), share, policy }, grants)
        }
    };
    let mut answer = ask(behind, caller, &name, command, grants, dry_run).await?;
    if let Some(weight) = weight.filter(|_| !dry_run) {
        let command = Command::SetOwnWeight { app: caller.app.id, weight };
        answer = ask(behind, caller, &name, command, None, dry_run).await?;
    }
    Ok(reply(behind, caller, &answer, &name, dry_run))
}

/// Takes a child's share back and ends it.
///
/// # Errors
/// As [`divide`].
pub async fn take_back(
    behind: &Behind,
    caller: &Caller,
    request: v1::TakeBackShareRequest,
) -> Result<v1::DivideShareReply, Problem> {
    let v1::TakeBackShareRequest { child, dry_run } = request;
    let known = named(caller, &child).and_then(|name| {
        let app = caller.view.site.find(name.as_str()).ok_or_else(|| Problem::unknown_app(name.as_str()))?;
        Ok((app.id, name))
    });
    let (app, name) = known.map_err(|problem| behind.denied(&caller.actor(), problem))?;
    let answer = ask(behind, caller, &name, Command::DeleteApp(app), None, dry_run).await?;
    Ok(reply(behind, caller, &answer, &name, dry_run))
}

/// The app's children and what it keeps.
#[must_use]
pub fn list(behind: &Behind, caller: &Caller) -> v1::ListChildrenReply {
    v1::ListChildrenReply {
        own: Some(show_site::app_share(caller.app.share)),
        children: nesting::children(&caller.view, &behind.paths, caller.app.id),
    }
}

fn named(caller: &Caller, child: &str) -> Result<AppName, Problem> {
    let name = caller.app.name.child(child);
    name.ok_or_else(|| Problem::invalid("child", format!("{child:?}"), CHILD_NAME))
}

fn own_weight(weight: u64) -> Result<u32, Problem> {
    let narrow = u32::try_from(weight);
    narrow.map_err(|_| Problem::invalid("own_solar_weight", weight, "a weight is at most 4294967295"))
}

async fn ask(
    behind: &Behind,
    caller: &Caller,
    child: &AppName,
    command: Command,
    grants: Option<Grants>,
    dry_run: bool,
) -> Result<Answer, Problem> {
    let arguments = json!({ "child": child.as_str(), "command": command, "dry_run": dry_run });
    let question = Question::Command { command, grants, dry_run };
    match behind.engine.ask(caller.actor(), arguments, question).await? {
        Reply::Answer(answer) => Ok(answer),
        Reply::Reloaded(_) => Err(AskError::Stopping.into()),
    }
}

fn reply(
    behind: &Behind,
    caller: &Caller,
    answer: &Answer,
    child: &AppName,
    dry_run: bool,
) -> v1::DivideShareReply {
    let own = super::find(&answer.view, caller.app.id).map(|app| show_site::app_share(app.share));
    let made = answer.view.site.find(child.as_str()).filter(|_| !dry_run);
    v1::DivideShareReply {
        holds_from_tick: (!dry_run).then_some(answer.accepted.holds_from.0),
        own,
        child: made.map(|app| nesting::child(&answer.view, &behind.paths, app)),
    }
}
