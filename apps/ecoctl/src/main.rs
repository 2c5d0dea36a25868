//! `ecoctl`: see and steer a site from a terminal. It speaks to the daemon through the SDK as any stranger would, and
//! checks the daemon's books through the audit crate, so that it need not trust it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod books;
mod cli;
mod commands;
mod connect;
mod failure;
mod json;
mod output;
mod papers;
mod run;
mod show;
mod time;
mod top;

use std::process::ExitCode;

/// One thread is enough for a client; blocking waits have threads of their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match cli::parse() {
        Ok(arguments) => arguments,
        Err(answer) => return answer,
    };
    let json = arguments.global.json;
    match commands::execute(arguments).await {
        Ok(code) => code,
        Err(failure) => failure.tell(json),
    }
}
