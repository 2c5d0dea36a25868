//! `ecovisor-demo`: a site with sun, battery, grid and real carbon data, and three apps with policies of their own whose
//! workers really burn CPU here. It starts the real daemon, shows the site live, and ends with what each app used, from
//! where, and what the same load would have cost without the ecovisor.
//!
//! ```text
//!   demo ──starts──▶ ecovisord run                    (config, state and sockets in a directory of its own)
//!     ├──starts──▶ ecovisor-demo worker --app trainer ──▶ ecoctl run … ──▶ ecovisor-demo burn
//!     ├──starts──▶ ecovisor-demo worker --app web     ──▶ …
//!     ├──starts──▶ ecovisor-demo worker --app batch   ──▶ …
//!     └──shows───▶ ecoctl top
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod burn;
mod cast;
mod crew;
mod orders;
mod policy;
mod report;
mod scene;
mod show;
mod stage;
mod stop;
mod summary;
mod sweep;
mod worker;

use arguments::{Arguments, Part};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { part, show } = Arguments::parse();
    let ended = match part {
        None => show::play(show).await,
        Some(Part::Worker(arguments)) => worker::work(arguments).await.map(|()| ExitCode::SUCCESS),
        Some(Part::Burn) => {
            burn::burn().await;
            Ok(ExitCode::SUCCESS)
        }
    };
    ended.unwrap_or_else(|error| {
        eprintln!("demo: {error:#}");
        ExitCode::FAILURE
    })
}
