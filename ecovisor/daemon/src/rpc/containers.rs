//! Attaching and detaching, whoever does it.

use super::convert::container_name;
use super::errors::Problem;
use super::{Behind, show};
use crate::attach::{Claimant, Denied, claim};
use crate::engine::handle::{Actor, AskError, Question, Reply};
use ecovisor_core::{App, Command};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use serde_json::json;

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let reason = match denied {
            Denied::NotOwned(_) => Reason::NotOwned,
            Denied::NoSuch(_) => Reason::NoSuchTarget,
            Denied::NotSupported(_) => Reason::NotSupported,
            Denied::Malformed(_) => Reason::Invalid,
        };
        Self::new(reason, denied.to_string()).about("target")
    }
}

/// Makes what the claimant may attach a container of `app`.
///
/// # Errors
/// Where it is not the claimant's, or the engine refuses; what the engine does not hear of is audited here.
pub async fn attach(
    behind: &Behind,
    actor: Actor,
    claimant: Claimant<'_>,
    app: &App,
    request: v1::AttachContainerRequest,
) -> Result<v1::AttachContainerReply, Problem> {
    let v1::AttachContainerRequest { name, target } = request;
    let parsed = container_name(&name).and_then(|name| {
        let wanted = target.and_then(|target| target.target);
        let wanted =
            wanted.ok_or_else(|| Problem::missing("target", "say what stands behind the container"))?;
        Ok((name, claim(claimant, wanted, &behind.paths)?))
    });
    let (name, target) = parsed.map_err(|problem| behind.denied(&actor, problem))?;
    let arguments = json!({ "app": app.name, "name": name, "target": target });
    let question = Question::Attach { app: app.id, name, target };
    let reply = behind
        .engine
        .ask(actor, arguments, question)
        .await
        .map_err(|error| Problem::from(error).of_container())?;
    let Reply::Answer(answer) = reply else { return Err(AskError::Stopping.into()) };
    let mut containers = answer.view.site.containers(true).iter();
    let made = containers.find(|container| Some(container.id) == answer.accepted.container);
    Ok(v1::AttachContainerReply {
        container: made.map(|container| show::container(&answer.view, &behind.paths, container)),
        holds_from_tick: answer.accepted.holds_from.0,
    })
}

/// Ends a container of `app`.
///
/// # Errors
/// Where there is none of that name, or the engine refuses.
pub async fn detach(
    behind: &Behind,
    actor: Actor,
    app: &App,
    name: &str,
) -> Result<v1::DetachContainerReply, Problem> {
    let view = behind.engine.view();
    let container = super::setters::container(&view, app.id, name);
    let container = container.map_err(|problem| behind.denied(&actor, problem))?.id;
    let arguments = json!({ "app": app.name, "name": name });
    let answer = behind.engine.command(actor, arguments, Command::DetachContainer(container)).await?;
    Ok(v1::DetachContainerReply { holds_from_tick: answer.accepted.holds_from.0 })
}
