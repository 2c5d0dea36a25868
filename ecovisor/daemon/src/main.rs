//! `ecovisord`: the energy hypervisor's daemon. Exit codes: 0 ended as asked, 64 could not start (nothing was bound),
//! 65 the store is damaged, 70 the tick loop ended (its state is in the journal).

use anyhow::Context;
use clap::{Parser, Subcommand};
use ecovisord::{Failure, ca, config, read_config, serve, simulate, upkeep};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// sysexits.h EX_USAGE: the configuration or the arguments are wrong; nothing was bound.
const EXIT_BAD_START: u8 = 64;
/// sysexits.h EX_DATAERR: the store is not what was written.
const EXIT_DAMAGED: u8 = 65;
/// sysexits.h EX_SOFTWARE: the tick loop ended by itself.
const EXIT_LOOP_ENDED: u8 = 70;

/// The energy hypervisor: gives each app its own solar, battery and grid connection.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 ended as asked, 64 could not start, 65 the store is damaged, 70 the tick loop ended."
)]
struct Arguments {
    /// What to log, as tracing's EnvFilter takes it.
    #[arg(long, env = "ECOVISOR_LOG", default_value = "info", global = true)]
    log: String,
    /// Log as JSON lines.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a site.
    Run(serve::RunArguments),
    /// Says how a configuration is understood, and opens nothing.
    Check {
        /// The configuration.
        #[arg(long, short, default_value = "/etc/ecovisor/site.toml")]
        config: PathBuf,
    },
    /// Runs a site on a virtual clock as fast as it goes, and writes what happened as CSV.
    Simulate(simulate::SimulateArguments),
    /// Copies, verifies or salvages a store on which no daemon runs.
    #[command(subcommand)]
    Store(upkeep::StoreCommand),
    /// Makes a small CA with certificates for trying mutual TLS.
    Ca {
        /// Where to write; nothing is overwritten.
        directory: PathBuf,
        /// The site's name, as in its configuration.
        #[arg(long)]
        site: String,
        /// An app to make a certificate for; may be given several times.
        #[arg(long = "app")]
        apps: Vec<String>,
        /// A name or address of the server; may be given several times.
        #[arg(long = "host", default_value = "localhost")]
        hosts: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = log(&arguments) {
        eprintln!("ecovisord: {error:#}");
        return ExitCode::from(EXIT_BAD_START);
    }
    // Both tonic and rcgen use ring; one provider for the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    upkeep::name_engine_panics(EXIT_DAMAGED, EXIT_LOOP_ENDED);
    let ended = match arguments.command {
        Command::Run(arguments) => serve::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Store(command) => upkeep::run(command),
        Command::Check { config } => check(&config).map_err(Failure::Start),
        Command::Ca { directory, site, apps, hosts } => {
            make_ca(&directory, &site, &apps, &hosts).map_err(Failure::Start)
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Start(error)) => {
            eprintln!("ecovisord: {error:#}");
            ExitCode::from(EXIT_BAD_START)
        }
        Err(Failure::Damaged(error)) => {
            eprintln!("ecovisord: {error:#}");
            ExitCode::from(EXIT_DAMAGED)
        }
        Err(Failure::Loop(error)) => {
            eprintln!("ecovisord: the tick loop ended: {error:#}");
            ExitCode::from(EXIT_LOOP_ENDED)
        }
    }
}

fn log(arguments: &Arguments) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log)
        .with_context(|| format!("--log `{}` is no filter such as info or ecovisord=debug", arguments.log))?;
    // Colours are for people: a log in a file or a journal is read by programs too.
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match arguments.log_json {
        true => subscriber.json().init(),
        false => subscriber.init(),
    }
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let (config, _) = read_config(path)?;
    print!("{}", config::report(&config));
    Ok(())
}

fn make_ca(directory: &Path, site: &str, apps: &[String], hosts: &[String]) -> anyhow::Result<()> {
    for path in ca::make(directory, site, apps, hosts)? {
        println!("{}", path.display());
    }
    Ok(())
}
