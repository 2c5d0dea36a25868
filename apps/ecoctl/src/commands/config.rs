//! `ecoctl config` and `ecoctl reload`: the configuration as loaded, and reading it again.

use crate::connect::Context;
use crate::failure::Failure;
use clap::Args;
use ecovisor_sdk::operator::wire;
use serde_json::json;

/// Shows the configuration as loaded.
///
/// # Errors
/// Whatever failed.
pub async fn show(context: &Context) -> Result<(), Failure> {
    let reply = context.ask(context.operator.get_config(wire::GetConfigRequest {})).await?;
    let wire::GetConfigReply { toml, path, loaded_ms } = reply;
    let from = if path.is_empty() { "no file".to_string() } else { path.clone() };
    let text = format!("# from {from}, loaded {}\n{toml}", crate::time::show(loaded_ms));
    context.output.answer(&json!({ "toml": toml, "path": path, "loaded_ms": loaded_ms }), &text)
}

/// Reads the configuration file again.
#[derive(Debug, Args)]
pub struct Reload {
    /// Change nothing, only say what would change.
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let request = wire::ReloadConfigRequest { dry_run: self.dry_run };
        let reply = context.ask(context.operator.reload_config(request)).await?;
        let json = json!({
            "holds_from_tick": reply.holds_from_tick,
            "changed": reply.changed,
            "needs_restart": reply.needs_restart,
        });
        context.output.answer(&json, &changes(&reply, self.dry_run))
    }
}

fn changes(reply: &wire::ReloadConfigReply, dry_run: bool) -> String {
    if reply.changed.is_empty() && reply.needs_restart.is_empty() {
        return "nothing differs".into();
    }
    let verb = if dry_run { "would change" } else { "changed" };
    let mut lines: Vec<String> = reply.changed.iter().map(|key| format!("{verb}: {key}")).collect();
    lines.extend(reply.needs_restart.iter().map(|key| format!("needs a restart: {key}")));
    lines.extend(reply.holds_from_tick.map(|tick| format!("holds from tick {tick}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_told_apart() {
        let reply = wire::ReloadConfigReply {
            holds_from_tick: Some(7),
            changed: vec!["policies.export".into()],
            needs_restart: vec!["tick".into()],
        };
        assert_eq!(
            changes(&reply, false),
            "changed: policies.export\nneeds a restart: tick\nholds from tick 7"
        );
        assert_eq!(changes(&wire::ReloadConfigReply::default(), true), "nothing differs");
    }
}
