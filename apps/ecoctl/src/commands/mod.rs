//! The commands, one file each: their flags, what they ask, and how they show the answer.

pub mod app;
pub mod app_flags;
pub mod app_tree;
pub mod archive;
pub mod battery;
pub mod carbon;
pub mod completions;
pub mod config;
pub mod container;
pub mod device;
pub mod events;
pub mod export_tables;
pub mod forecast;
pub mod group;
pub mod ledger;
pub mod plot;
pub mod policy;
pub mod reservation;
pub mod setter;
pub mod site;
pub mod statement;
pub mod store;
pub mod usage;
pub mod usage_group;
pub mod verify;

use crate::cli::{Arguments, Command};
use crate::connect::Context;
use crate::failure::Failure;
use std::process::ExitCode;

/// Does what the command line says.
///
/// # Errors
/// Whatever failed.
pub async fn execute(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { global, command } = arguments;
    match command {
        // These need no daemon.
        Command::Completions(command) => return command.print().map(|()| ExitCode::SUCCESS),
        Command::InternalExec(command) => return Err(command.exec()),
        Command::Ledger(command)
            if let Some(done) = command.offline(crate::output::Output { json: global.json }) =>
        {
            return done.map(|()| ExitCode::SUCCESS);
        }
        // This one keeps trying.
        Command::Top(command) => return command.watch(&global).await.map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let context = Context::connect(&global).await?;
    match command {
        Command::Site(command) => command.run(&context).await,
        Command::App(command) => command.run(&context).await,
        Command::Group(command) => command.run(&context).await,
        Command::Device(command) => command.run(&context).await,
        Command::Container(command) => command.run(&context).await,
        Command::Battery(command) => command.run(&context).await,
        Command::Carbon(command) => command.run(&context).await,
        Command::Usage(command) => command.run(&context).await,
        Command::Events(command) => command.run(&context).await,
        Command::Forecast(command) => command.run(&context).await,
        Command::Reservation(command) => command.run(&context).await,
        Command::Ledger(command) => command.run(&context).await,
        Command::Store(command) => command.run(&context).await,
        Command::Config => config::show(&context).await,
        Command::Reload(command) => command.run(&context).await,
        Command::Policy(command) => command.run(&context).await,
        Command::Run(command) => return command.run(&context).await,
        Command::Top(_) | Command::Completions(_) | Command::InternalExec(_) => Ok(()),
    }?;
    Ok(ExitCode::SUCCESS)
}
