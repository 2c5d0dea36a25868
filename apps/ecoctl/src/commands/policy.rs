//! `ecoctl policy`: what happens to spill, and to apps at zero supply.

use super::app_flags::Shortfall;
use crate::connect::Context;
use crate::failure::Failure;
use crate::output::facts;
use crate::show::state;
use clap::{ArgAction, Args, Subcommand};
use ecovisor_sdk::operator::wire;
use serde_json::json;

/// Policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Policies in force.
    Show,
    /// Change policies, until the next change or reload.
    Set(Set),
}

/// What to change; what is not said stays as it is.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Set {
    /// Whether spill goes to apps with open load or room, before anything else.
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no, action = ArgAction::Set)]
    redistribute: Option<bool>,
    /// Whether what is then left is fed into the grid; else it is curtailed.
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no, action = ArgAction::Set)]
    export: Option<bool>,
    /// What happens at zero supply to apps that say nothing of it.
    #[arg(long)]
    shortfall: Option<Shortfall>,
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("`{text}` is neither `yes` nor `no`")),
    }
}

impl Policy {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (policies, from) = match self {
            Self::Show => {
                (context.ask(context.operator.get_policies(wire::GetPoliciesRequest {})).await?, None)
            }
            Self::Set(set) => {
                let reply = context.ask(context.operator.set_policies(set.request())).await?;
                (reply.policies.unwrap_or_default(), Some(reply.holds_from_tick))
            }
        };
        let mut json = json!({ "policies": crate::json::site::policies(&policies) });
        if let Some(tick) = from {
            json["holds_from_tick"] = json!(tick);
        }
        context.output.answer(&json, &text(&policies, from))
    }
}

impl Set {
    fn request(self) -> wire::SetPoliciesRequest {
        let Self { redistribute, export, shortfall } = self;
        let shortfall = shortfall.map_or(wire::Shortfall::Unspecified, Shortfall::wire).into();
        wire::SetPoliciesRequest { redistribute, export, shortfall }
    }
}

fn text(policies: &wire::Policies, from: Option<u64>) -> String {
    let yes = |yes: bool| if yes { "yes".to_string() } else { "no".to_string() };
    facts(&[
        ("redistribute", yes(policies.redistribute)),
        ("export", yes(policies.export)),
        ("shortfall", state::shortfall(policies.shortfall)),
        ("from tick", from.map(|tick| tick.to_string()).unwrap_or_default()),
    ])
}
