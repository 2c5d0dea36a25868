//! `ecoctl battery`: the apps' virtual batteries.

use super::setter::{Lease, apply_and_say};
use crate::cli::OrNone;
use crate::connect::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::Grid;
use crate::show;
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;
use ecovisor_units::Power;
use wire::setter::Set;

/// Virtual batteries.
#[derive(Debug, Args)]
pub struct Battery {
    #[command(subcommand)]
    command: Option<BatteryCommand>,
}

/// What of them.
#[derive(Debug, Subcommand)]
pub enum BatteryCommand {
    /// All of them (the default).
    Show,
    /// Set the power at which an app's battery is charged until full, grid power topping up what solar lacks.
    Charge(PowerOf),
    /// Set the most that an app's battery gives to its load.
    Discharge(PowerOf),
}

/// A power of an app's battery.
#[derive(Debug, Args)]
pub struct PowerOf {
    /// The app.
    app: String,
    /// The power, such as `40W` or `0W`; `none` brings the default back.
    power: OrNone<Power>,
    #[command(flatten)]
    lease: Lease,
}

impl Battery {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command.unwrap_or(BatteryCommand::Show) {
            BatteryCommand::Show => show_all(context).await,
            BatteryCommand::Charge(PowerOf { app, power: OrNone(power), lease }) => {
                let (rate_mw, lease_ms) = (power.map(Power::get), lease.ms());
                let set = Set::BatteryChargeRate(wire::SetBatteryChargeRateRequest { rate_mw, lease_ms });
                apply_and_say(context, &app, set, &said(&app, "charge rate", power)).await
            }
            BatteryCommand::Discharge(PowerOf { app, power: OrNone(power), lease }) => {
                let (max_mw, lease_ms) = (power.map(Power::get), lease.ms());
                let set = Set::BatteryMaxDischarge(wire::SetBatteryMaxDischargeRequest { max_mw, lease_ms });
                apply_and_say(context, &app, set, &said(&app, "max discharge", power)).await
            }
        }
    }
}

fn said(app: &str, what: &str, power: Option<Power>) -> String {
    format!("{what} of {app}: {}", show::or(power, |power| power.to_string(), "its default"))
}

async fn show_all(context: &Context) -> Result<(), Failure> {
    let reply = context.ask(context.operator.list_apps(wire::ListAppsRequest {})).await?;
    let with: Vec<(&str, &wire::EnergySystem)> = reply
        .apps
        .iter()
        .filter_map(|app| {
            Some((app.name.as_str(), app.system.as_ref().filter(|system| system.battery.is_some())?))
        })
        .collect();
    let batteries: Vec<_> = with.iter().map(|(name, system)| entry(name, system)).collect();
    context.output.answer(&serde_json::json!({ "batteries": batteries }), &table(&with))
}

fn entry(app: &str, system: &wire::EnergySystem) -> serde_json::Value {
    let mut battery = json::flows::battery(system.battery.as_ref());
    let settings = system.settings.unwrap_or_default();
    battery["app"] = app.into();
    battery["charge_rate_set"] = settings.battery_charge_rate.as_ref().map(json::app::power_setting).into();
    battery["max_discharge_set"] =
        settings.battery_max_discharge.as_ref().map(json::app::power_setting).into();
    battery
}

fn table(systems: &[(&str, &wire::EnergySystem)]) -> String {
    if systems.is_empty() {
        return "no app has a battery".into();
    }
    let headings =
        ["APP", "LEVEL", ">STORED", ">CAPACITY", ">FLOOR", ">IN", ">OUT", "CHARGE RATE", "MAX DISCHARGE"];
    let mut grid = Grid::new(&headings);
    for (app, system) in systems {
        let battery = system.battery.unwrap_or_default();
        let settings = system.settings.unwrap_or_default();
        grid.row(vec![
            (*app).to_string(),
            gauge(&battery),
            show::energy(battery.charge_level_uj),
            show::energy(battery.capacity_uj),
            show::energy(battery.floor_uj),
            show::power(battery.charge_rate_mw),
            show::power(battery.discharge_rate_mw),
            in_words(settings.battery_charge_rate.as_ref()),
            in_words(settings.battery_max_discharge.as_ref()),
        ]);
    }
    grid.to_string()
}

/// `██████░░░░ 61 %`.
pub fn gauge(battery: &wire::Battery) -> String {
    let percent = show::percent(battery.charge_level_uj, battery.capacity_uj);
    let filled = usize::try_from(percent.min(100) / 10).unwrap_or(10);
    format!("{}{} {percent} %", "█".repeat(filled), "░".repeat(10 - filled))
}

/// A setting in force: `40 W`, `100 W (default)`, `40 W until 03:00:01`; empty without a battery.
pub fn in_words(setting: Option<&wire::PowerSetting>) -> String {
    let Some(setting) = setting else { return String::new() };
    let figure = show::or(setting.power_mw, show::power, "no bound");
    format!("{figure}{}", origin(setting.is_default, setting.lease_ends_ms))
}

/// Where a setting comes from and until when it holds.
pub fn origin(is_default: bool, lease_ends_ms: Option<u64>) -> String {
    match (is_default, lease_ends_ms) {
        (true, _) => " (default)".into(),
        (false, Some(end)) => format!(" until {}", crate::time::show_clock(end)),
        (false, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_never_shows_more_than_there_is() {
        let check = |level, text: &str| {
            let battery =
                wire::Battery { charge_level_uj: level, capacity_uj: 100, ..wire::Battery::default() };
            assert_eq!(gauge(&battery), text);
        };
        check(0, "░░░░░░░░░░ 0 %");
        check(69, "██████░░░░ 69 %");
        check(100, "██████████ 100 %");
    }

    #[test]
    fn a_default_is_told_from_a_setting() {
        let setting = |power_mw, is_default| wire::PowerSetting { power_mw, lease_ends_ms: None, is_default };
        assert_eq!(in_words(Some(&setting(Some(40_000), false))), "40 W");
        assert_eq!(in_words(Some(&setting(None, true))), "no bound (default)");
        assert_eq!(in_words(None), "");
    }
}
