//! The command line.

use crate::scene::{App, SPEED_UP_MAX};
use clap::{Args, Parser, Subcommand};
use ecovisor_units::{Millis, Power};
use jiff::Timestamp;
use std::path::PathBuf;

/// A day in the life of a site that shares its sun, battery and grid connection among three apps.
#[derive(Debug, Parser)]
#[command(name = "demo", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// Which part of the demo this process plays; none for the whole of it.
    #[command(subcommand)]
    pub part: Option<Part>,
    /// The demo's own arguments.
    #[command(flatten)]
    pub show: Show,
}

/// What to show.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Seconds of the site's time in a second: 360 plays a day in four minutes.
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u32).range(1..=SPEED_UP_MAX))]
    pub speed_up: u32,
    /// Zone of the built-in carbon data, which also says where the sun shines.
    #[arg(long, default_value = "US-CAL-CISO")]
    pub zone: String,
    /// When the site's clock starts, UTC.
    #[arg(long, default_value = "2022-06-21T12:00:00Z")]
    pub start: Timestamp,
    /// How long to play, in real time, such as `60s`; until Ctrl-C where nothing is said.
    #[arg(long = "for", value_name = "TIME")]
    pub length: Option<Millis>,
    /// No live view: a line now and then on stderr. Also where stdout is no terminal.
    #[arg(long)]
    pub headless: bool,
    /// The summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Keep configuration, ledger and logs in this directory, which must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// The processes that the demo starts of itself.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// An app: its policy, and its workers as processes of their own.
    #[command(hide = true)]
    Worker(Worker),
    /// A worker: burns as much CPU as it is told on stdin.
    #[command(hide = true)]
    Burn,
}

/// Arguments of an app.
#[derive(Clone, Debug, Args)]
pub struct Worker {
    /// Which app.
    #[arg(long)]
    pub app: App,
    /// The app's own socket.
    #[arg(long)]
    pub socket: PathBuf,
    /// The operator's socket, through which `ecoctl run` makes a cgroup for each worker.
    #[arg(long)]
    pub operator_socket: PathBuf,
    /// What a busy core draws beyond idling, as the operator tells its tenants.
    #[arg(long)]
    pub core_power: Power,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        assert!(Arguments::try_parse_from(["demo", "--for", "20"]).is_err());
        assert!(Arguments::try_parse_from(["demo", "--start", "noon"]).is_err());
        assert!(Arguments::try_parse_from(["demo", "--speed-up", "0"]).is_err());
        let arguments = Arguments::try_parse_from(["demo", "--for", "20s"]).unwrap();
        assert_eq!(arguments.show.length, Some(Millis::from_secs(20)));
    }
}
