//! `ecovisor-spec`: measures what SPECIFICATION.md promises of the daemon, with the real programs, and says what does not
//! hold. Exit codes: 0 all holds, 1 something does not, 2 the arguments are wrong, 3 something could not be measured.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`calls`], [`subscribers`], [`noisy`], [`rest`], [`restart`] | one promise each |
//! | [`benches`] | promises that other packages' benches measure |
//! | [`bare`] | the server with nothing behind it that daemons are measured against |
//! | [`site`], [`process`] | the programs, and what the kernel says of them |
//! | [`load`] | calls, many and at a pace |
//! | [`report`] | figures against promises |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bare;
mod benches;
mod calls;
mod load;
mod noisy;
mod process;
mod report;
mod rest;
mod restart;
mod site;
mod subscribers;

use anyhow::{Context as _, Result};
use bare::BareArguments;
use clap::{Parser, Subcommand, ValueEnum};
use report::{Form, Row};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures what SPECIFICATION.md promises of the daemon.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all holds, 1 something does not, 2 wrong arguments, 3 something could not be measured."
)]
struct Arguments {
    /// In a minute or two, with looser bounds: for a machine that others use too.
    #[arg(long)]
    quick: bool,
    /// Only these; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Measure>,
    /// Write what came out as JSON too.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves as the bare server that daemons are measured against; started by this program itself.
    #[command(hide = true)]
    Bare(BareArguments),
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// The core's settlement.
    Settle,
    /// How many calls a second.
    Calls,
    /// A thousand subscribers.
    Subscribers,
    /// A tenant that calls without end.
    Noisy,
    /// CPU and memory of a daemon that nobody calls.
    Rest,
    /// A restart with a day of ticks.
    Restart,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ran = match &arguments.command {
        Some(Command::Bare(bare)) => bare::serve(bare).map(|()| true),
        None => measure(&arguments),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ecovisor-spec: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// Whether all holds.
fn measure(arguments: &Arguments) -> Result<bool> {
    let form = if arguments.quick { Form::Quick } else { Form::Full };
    let chosen: Vec<Measure> =
        if arguments.only.is_empty() { Measure::value_variants().to_vec() } else { arguments.only.clone() };
    // Two threads, as in the figures that the promises were made from.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();
    for one in chosen {
        eprintln!("measuring {one:?}");
        rows.extend(runtime.block_on(run(one, form)).with_context(|| format!("{one:?}"))?);
    }
    println!("{}", report::table(&rows, form));
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", report::json(&rows, form));
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(rows.iter().all(|row| row.ok(form)))
}

async fn run(measure: Measure, form: Form) -> Result<Vec<Row>> {
    match measure {
        Measure::Settle => benches::settle(form),
        Measure::Calls => calls::measure(form).await,
        Measure::Subscribers => subscribers::measure(form).await,
        Measure::Noisy => noisy::measure(form).await,
        Measure::Rest => rest::measure(form).await,
        Measure::Restart => restart::measure(form).await,
    }
}
