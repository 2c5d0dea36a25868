//! The command line: what every command shares, and which commands there are.

use crate::commands::{
    app, battery, carbon, completions, config, container, device, events, forecast, group, ledger, policy,
    reservation, site, store, usage,
};
use crate::failure::{EXIT_CODES, Failure};
use crate::{run, top};
use clap::{Args, CommandFactory, Parser, Subcommand};
use ecovisor_units::Millis;
use std::path::PathBuf;
use std::process::ExitCode;

/// See and steer a site of the ecovisor.
///
/// Quantities are written with their units: `40W`, `1.2kWh`, `30s`, `400 g/kWh`. Settings without `--lease` hold until
/// they are changed.
#[derive(Debug, Parser)]
#[command(name = "ecoctl", version, after_help = EXIT_CODES, max_term_width = 100, infer_subcommands = false)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The daemon's socket [default: /run/ecovisor/ecovisor.sock for root, else
    /// $XDG_RUNTIME_DIR/ecovisor/ecovisor.sock].
    #[arg(long, global = true, value_name = "PATH", env = "ECOVISOR_OPERATOR_SOCKET")]
    pub socket: Option<PathBuf>,
    /// The daemon's https:// address, instead of a socket; with --ca, --cert and --key.
    #[arg(long, global = true, value_name = "URL", env = "ECOVISOR_OPERATOR_ADDRESS")]
    pub address: Option<String>,
    /// PEM file with the site's certificate authority.
    #[arg(long, global = true, value_name = "FILE", env = "ECOVISOR_CA")]
    pub ca: Option<PathBuf>,
    /// PEM file with a certificate of the operator role.
    #[arg(long, global = true, value_name = "FILE", env = "ECOVISOR_CERT")]
    pub cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, global = true, value_name = "FILE", env = "ECOVISOR_KEY")]
    pub key: Option<PathBuf>,
    /// Answer in JSON: keys end in their unit, and stay the same between versions; streams are one object a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Longest that one call may take; at most 10 s, after which a daemon hangs.
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub timeout: Millis,
    /// Where the user's own daemon would have its socket.
    #[arg(long, global = true, hide = true, env = "XDG_RUNTIME_DIR")]
    pub user_run_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The site: flows, battery, what is free, freshness, mode.
    Site(site::Site),
    /// Apps: create, list, show, change shares, move, drain, delete.
    #[command(subcommand)]
    App(app::App),
    /// Groups of apps: create, list, show, change shares, move, delete.
    #[command(subcommand)]
    Group(group::Group),
    /// Devices: state, age of readings, last error.
    #[command(subcommand)]
    Device(device::Device),
    /// Containers: list, attach, detach, cap.
    #[command(subcommand)]
    Container(container::Container),
    /// Virtual batteries: show, charge, discharge.
    Battery(battery::Battery),
    /// Carbon: intensity, rates, budgets.
    Carbon(carbon::Carbon),
    /// Energy and carbon over a period.
    Usage(usage::Usage),
    /// What is expected of sun and carbon, and how far earlier forecasts were off.
    Forecast(forecast::Forecast),
    /// Reservations of power: list, cancel.
    #[command(subcommand)]
    Reservation(reservation::Reservation),
    /// What happens at the site, from now on.
    Events(events::Events),
    /// The ledger: export it, verify it without trusting the daemon.
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// The store: copy it while the daemon runs.
    #[command(subcommand)]
    Store(store::Store),
    /// The configuration as loaded.
    Config,
    /// Read the configuration file again.
    Reload(config::Reload),
    /// Policies: what happens to spill, and at zero supply.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Run a program as a container of an app.
    Run(run::Run),
    /// A live view of the site.
    Top(top::Top),
    /// Completions for a shell, on stdout.
    Completions(completions::Completions),
    /// Stop, and when continued become a program; for `run`.
    #[command(hide = true)]
    InternalExec(run::InternalExec),
}

fn timeout(text: &str) -> Result<Millis, String> {
    let time: Millis =
        text.parse().map_err(|invalid: ecovisor_units::InvalidQuantity| invalid.to_string())?;
    match time.get() {
        1..=10_000 => Ok(time),
        _ => Err(format!("`{text}` is not between 1 ms and 10 s")),
    }
}

/// Reads the command line; the exit code where it asks for help or is wrong.
///
/// # Errors
/// The exit code, after what there was to say has been said.
pub fn parse() -> Result<Arguments, ExitCode> {
    Arguments::try_parse().map_err(|error| {
        // What could not be parsed may still ask for JSON.
        let json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
        if json && error.use_stderr() {
            let text = error.render().to_string();
            let clause = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            return Failure::usage(clause).hint("`ecoctl --help` shows what there is").tell(true);
        }
        // Nothing is left to do where even this cannot be written.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// The command line's description, for completions.
pub fn description() -> clap::Command {
    Arguments::command()
}

/// A figure, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

impl<T> std::str::FromStr for OrNone<T>
where
    T: std::str::FromStr<Err = ecovisor_units::InvalidQuantity>,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" | "default" => Ok(Self(None)),
            _ => text
                .parse()
                .map(|figure| Self(Some(figure)))
                .map_err(|invalid: T::Err| format!("{invalid}, or `none`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_units::Power;

    #[test]
    fn the_command_line_is_consistent() {
        description().debug_assert();
    }

    #[test]
    fn none_lifts_what_a_figure_sets() {
        assert_eq!("none".parse(), Ok(OrNone::<Power>(None)));
        assert_eq!("40W".parse(), Ok(OrNone(Some(Power::from_watts(40)))));
        let said = "40".parse::<OrNone<Power>>().unwrap_err();
        assert!(said.ends_with("such as `40 W` or `1.2kW`, or `none`"), "{said}");
    }

    #[test]
    fn a_timeout_is_at_most_what_the_sdk_waits() {
        assert_eq!(timeout("2s"), Ok(Millis::from_secs(2)));
        assert!(timeout("11s").is_err());
        assert!(timeout("0s").is_err());
    }
}
