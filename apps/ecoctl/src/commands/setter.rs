//! Making one setting of an app, as the app could.

use crate::connect::Context;
use crate::failure::Failure;
use ecovisor_sdk::operator::wire;
use ecovisor_units::Millis;
use serde_json::json;
use wire::setter::Set;

/// How long a setting holds.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Lease {
    /// How long it holds; then the default comes back [default: until changed].
    #[arg(long, value_name = "TIME")]
    pub lease: Option<Millis>,
}

impl Lease {
    /// In ms; none holds until changed.
    pub fn ms(self) -> Option<u64> {
        self.lease.map(Millis::get)
    }
}

/// Makes the setting.
///
/// # Errors
/// A refusal, or whatever else failed.
pub async fn apply(context: &Context, app: &str, set: Set) -> Result<wire::SettingReply, Failure> {
    let request = wire::ApplySetterRequest { app: app.into(), setter: Some(wire::Setter { set: Some(set) }) };
    context.ask(context.operator.apply_setter(request)).await
}

/// Makes the setting and says what came of it; `what` is the setting in words.
///
/// # Errors
/// As [`apply`].
pub async fn apply_and_say(context: &Context, app: &str, set: Set, what: &str) -> Result<(), Failure> {
    let reply = apply(context, app, set).await?;
    let json = json!({
        "app": app,
        "holds_from_tick": reply.holds_from_tick,
        "lease_ends_ms": reply.lease_ends_ms,
    });
    context.output.answer(&json, &said(what, &reply))
}

fn said(what: &str, reply: &wire::SettingReply) -> String {
    let until = match reply.lease_ends_ms {
        Some(end) => format!(", until {}", crate::time::show(end)),
        None => String::new(),
    };
    format!("{what}, from tick {}{until}", reply.holds_from_tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_from_when_it_holds() {
        let reply = wire::SettingReply { holds_from_tick: 7, lease_ends_ms: None };
        assert_eq!(said("cap of one: 40 W", &reply), "cap of one: 40 W, from tick 7");
    }
}
