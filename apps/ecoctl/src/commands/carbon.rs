//! `ecoctl carbon`: intensity, and the apps' rates and budgets.

use super::app_flags::BudgetAction;
use super::setter::{Lease, apply_and_say};
use crate::cli::OrNone;
use crate::connect::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::Grid;
use crate::show;
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;
use ecovisor_units::{CarbonMass, CarbonRate, Millis};
use wire::setter::Set;

/// Carbon.
#[derive(Debug, Args)]
pub struct Carbon {
    #[command(subcommand)]
    command: Option<CarbonCommand>,
}

/// What of it.
#[derive(Debug, Subcommand)]
pub enum CarbonCommand {
    /// Intensity in force, rates and budgets of all apps (the default).
    Show,
    /// Bound the carbon of an app's grid power per hour.
    Rate(Rate),
    /// Bound the carbon of an app's grid power per window.
    Budget(Budget),
}

/// Bounds carbon per hour.
#[derive(Debug, Args)]
pub struct Rate {
    /// The app.
    app: String,
    /// The rate, such as `20g/h`; `none` brings the default back.
    rate: OrNone<CarbonRate>,
    #[command(flatten)]
    lease: Lease,
}

/// Bounds carbon per window.
#[derive(Debug, Args)]
pub struct Budget {
    /// The app.
    app: String,
    /// The budget, such as `500g`; `none` brings the default back.
    budget: OrNone<CarbonMass>,
    /// Length of the window; the first starts with the tick from which this holds.
    #[arg(long, value_name = "TIME", default_value = "1d")]
    per: Millis,
    /// What happens when it is spent.
    #[arg(long, default_value = "notify")]
    action: BudgetAction,
    #[command(flatten)]
    lease: Lease,
}

impl Carbon {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command.unwrap_or(CarbonCommand::Show) {
            CarbonCommand::Show => show_all(context).await,
            CarbonCommand::Rate(Rate { app, rate: OrNone(rate), lease }) => {
                let request = wire::SetCarbonRateRequest {
                    rate_mg_per_h: rate.map(CarbonRate::get),
                    lease_ms: lease.ms(),
                };
                let figure = show::or(rate, |rate| rate.to_string(), "its default");
                let what = format!("carbon rate of {app}: {figure}");
                apply_and_say(context, &app, Set::CarbonRate(request), &what).await
            }
            CarbonCommand::Budget(budget) => budget.run(context).await,
        }
    }
}

impl Budget {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { app, budget: OrNone(budget), per, action, lease } = self;
        let request = wire::SetCarbonBudgetRequest {
            budget_mg: budget.map(CarbonMass::get),
            window_ms: per.get(),
            action: action.wire().into(),
            lease_ms: lease.ms(),
        };
        let figure = show::or(budget, |budget| format!("{budget} per {per}"), "its default");
        apply_and_say(context, &app, Set::CarbonBudget(request), &format!("carbon budget of {app}: {figure}"))
            .await
    }
}

async fn show_all(context: &Context) -> Result<(), Failure> {
    let reply = context.ask(context.operator.list_apps(wire::ListAppsRequest {})).await?;
    let intensity = intensity(&reply.apps);
    let apps: Vec<_> = reply.apps.iter().map(entry).collect();
    let json = serde_json::json!({ "grid_carbon_mg_per_kwh": intensity, "apps": apps });
    let head = show::or(intensity, show::intensity, "no grid connection");
    context.output.answer(&json, &format!("intensity  {head}\n\n{}", table(&reply.apps)))
}

/// The intensity in force is one for all; apps without a grid connection are not told it.
fn intensity(apps: &[wire::App]) -> Option<u64> {
    apps.iter().find_map(|app| app.system.as_ref()?.grid_carbon_mg_per_kwh)
}

fn entry(app: &wire::App) -> serde_json::Value {
    let settings = app.system.as_ref().and_then(|system| system.settings).unwrap_or_default();
    serde_json::json!({
        "app": app.name,
        "carbon_mg": app.carbon_mg,
        "carbon_rate": settings.carbon_rate.as_ref().map(json::app::carbon_rate),
        "carbon_budget": settings.carbon_budget.as_ref().map(json::app::carbon_budget),
    })
}

fn table(apps: &[wire::App]) -> String {
    let mut grid = Grid::new(&["APP", ">GRID", ">SINCE CREATION", "RATE", "BUDGET"]);
    for app in apps {
        let system = app.system.clone().unwrap_or_default();
        let settings = system.settings.unwrap_or_default();
        grid.row(vec![
            app.name.clone(),
            show::power(system.grid_power_mw),
            show::mass(app.carbon_mg),
            in_words::rate(settings.carbon_rate.as_ref()),
            in_words::budget(settings.carbon_budget.as_ref()),
        ]);
    }
    grid.to_string()
}

/// Carbon settings in force, in words.
pub mod in_words {
    use super::super::battery::origin;
    use crate::show::{self, state};
    use ecovisor_sdk::operator::wire;

    /// `20 g/h`, `no bound (default)`.
    pub fn rate(setting: Option<&wire::CarbonRateSetting>) -> String {
        let Some(setting) = setting else { return show::NONE.into() };
        let figure = show::or(setting.rate_mg_per_h, show::carbon_rate, "no bound");
        format!("{figure}{}", origin(setting.is_default, setting.lease_ends_ms))
    }

    /// `500 g per 1 d, 120 g spent, notify`, `none (default)`.
    pub fn budget(setting: Option<&wire::CarbonBudgetSetting>) -> String {
        let Some(setting) = setting else { return show::NONE.into() };
        let origin = origin(setting.is_default, setting.lease_ends_ms);
        match setting.budget_mg {
            None => format!("none{origin}"),
            Some(budget) => format!(
                "{} per {}, {} spent, {}{origin}",
                show::mass(budget),
                show::span(setting.window_ms),
                show::mass(setting.spent_mg),
                state::budget_action(setting.action).replace('_', " ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_words::*;
    use ecovisor_sdk::operator::wire;

    #[test]
    fn a_budget_says_what_is_spent_of_it() {
        let setting = wire::CarbonBudgetSetting {
            budget_mg: Some(500_000),
            window_ms: 86_400_000,
            action: 2,
            spent_mg: 120_000,
            ..wire::CarbonBudgetSetting::default()
        };
        assert_eq!(budget(Some(&setting)), "500 g per 1 d, 120 g spent, block grid");
        let none = wire::CarbonBudgetSetting { is_default: true, ..wire::CarbonBudgetSetting::default() };
        assert_eq!(budget(Some(&none)), "none (default)");
    }
}
