//! One setting, whoever makes it: the app by its own call or in lock step, the operator for it.

use super::convert::budget;
use super::errors::Problem;
use super::show::lease_ends_ms;
use super::{Behind, find};
use crate::engine::handle::{Actor, Answer, View};
use ecovisor_core::{App, AppId, Command, Container, Leased};
use ecovisor_proto::v1;
use ecovisor_proto::v1::Reason;
use ecovisor_proto::v1::setter::Set;
use ecovisor_units::{CarbonRate, Millis, Power};
use serde_json::json;

/// Makes a setting.
///
/// # Errors
/// Where it does not fit, or the engine refuses; what the engine does not hear of is audited here.
pub async fn apply(
    behind: &Behind,
    actor: Actor,
    app: AppId,
    set: Option<Set>,
) -> Result<v1::SettingReply, Problem> {
    let view = behind.engine.view();
    let command = find(&view, app)
        .ok_or_else(|| Problem::new(Reason::UnknownApp, "the app is no more"))
        .and_then(|app| command(&view, app, set))
        .map_err(|problem| behind.denied(&actor, problem))?;
    let arguments = json!({ "app": app.get(), "command": command });
    let answer = behind.engine.command(actor, arguments, command.clone()).await?;
    Ok(v1::SettingReply {
        holds_from_tick: answer.accepted.holds_from.0,
        lease_ends_ms: ends_ms(&answer, &command),
    })
}

/// The container of an app by name, what is staged included.
///
/// # Errors
/// Where there is none.
pub fn container<'a>(view: &'a View, app: AppId, name: &str) -> Result<&'a Container, Problem> {
    let mut own = view.site.containers(true).iter().filter(|container| container.app == app);
    own.find(|container| container.name.as_str() == name).ok_or_else(|| Problem::unknown_container(name))
}

/// The command that a setter stands for. A figure that is absent brings the app's default back, without a lease.
fn command(view: &View, app: &App, set: Option<Set>) -> Result<Command, Problem> {
    let id = app.id;
    match set.ok_or_else(|| Problem::missing("set", "say which setting"))? {
        Set::BatteryChargeRate(v1::SetBatteryChargeRateRequest { rate_mw, lease_ms }) => {
            has_battery(view, app)?;
            let (rate, lease) = (rate_mw.map(Power::new), lease(rate_mw, lease_ms));
            Ok(Command::SetChargeRate { app: id, rate: rate.unwrap_or(app.policy.charge_rate), lease })
        }
        Set::BatteryMaxDischarge(v1::SetBatteryMaxDischargeRequest { max_mw, lease_ms }) => {
            has_battery(view, app)?;
            let most = share(view, app).battery.discharge_limit;
            let default = app.policy.max_discharge.unwrap_or(most).min(most);
            let (limit, lease) = (max_mw.map_or(default, Power::new), lease(max_mw, lease_ms));
            Ok(Command::SetMaxDischarge { app: id, limit, lease })
        }
        Set::ContainerPowerCap(v1::SetContainerPowerCapRequest { container: name, cap_mw, lease_ms }) => {
            let container = container(view, id, &name)?.id;
            let (cap, lease) = (cap_mw.map(Power::new), lease(cap_mw, lease_ms));
            Ok(Command::SetContainerCap { container, cap, lease })
        }
        Set::CarbonRate(v1::SetCarbonRateRequest { rate_mg_per_h, lease_ms }) => {
            let (rate, lease) = (rate_mg_per_h.map(CarbonRate::new), lease(rate_mg_per_h, lease_ms));
            Ok(Command::SetCarbonRate { app: id, rate, lease })
        }
        Set::CarbonBudget(v1::SetCarbonBudgetRequest { budget_mg, window_ms, action, lease_ms }) => {
            let (budget, lease) = (budget(budget_mg, window_ms, action)?, lease(budget_mg, lease_ms));
            Ok(Command::SetCarbonBudget { app: id, budget, lease })
        }
    }
}

fn lease(figure: Option<u64>, lease_ms: Option<u64>) -> Option<Millis> {
    figure.and(lease_ms).map(Millis::new)
}

fn has_battery(view: &View, app: &App) -> Result<(), Problem> {
    if share(view, app).battery.capacity.is_zero() {
        return Err(Problem::new(Reason::NoBattery, format!("app {} has no battery", app.name)));
    }
    Ok(())
}

/// What an app is entitled to; `house` to what others leave.
fn share(view: &View, app: &App) -> ecovisor_core::Share {
    if app.id == AppId::HOUSE { view.site.house_share() } else { app.share }
}

/// When the lease of what was just set ends.
fn ends_ms(answer: &Answer, command: &Command) -> Option<u64> {
    fn until<T>(leased: &Leased<T>) -> Option<Millis> {
        leased.until
    }
    let settings = |app: &AppId| find(&answer.view, *app).map(|app| &app.settings);
    let until = match command {
        Command::SetChargeRate { app, .. } => settings(app).and_then(|s| until(&s.charge_rate)),
        Command::SetMaxDischarge { app, .. } => settings(app).and_then(|s| until(&s.max_discharge)),
        Command::SetCarbonRate { app, .. } => settings(app).and_then(|s| until(&s.carbon_rate)),
        Command::SetCarbonBudget { app, .. } => settings(app).and_then(|s| until(&s.carbon_budget)),
        Command::SetContainerCap { container, .. } => {
            let mut containers = answer.view.site.containers(true).iter();
            containers.find(|c| c.id == *container).and_then(|c| until(&c.cap))
        }
        Command::CreateApp { .. }
        | Command::ChangeShare { .. }
        | Command::ChangePolicy { .. }
        | Command::DrainApp(_)
        | Command::DeleteApp(_)
        | Command::AttachContainer { .. }
        | Command::DetachContainer(_)
        | Command::Reconfigure(_)
        | Command::Reserve { .. }
        | Command::CancelReservation(_)
        | Command::WarnReservation { .. }
        | Command::CreateGroup { .. }
        | Command::ChangeGroupShare { .. }
        | Command::DeleteGroup(_)
        | Command::CreateAppIn { .. }
        | Command::Relocate { .. }
        | Command::SetOwnWeight { .. } => None,
    };
    lease_ends_ms(&answer.view, until)
}
