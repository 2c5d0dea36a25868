//! Whole sites: the real programs, emulated sun, battery and grid, real sockets, and where the machine allows it real
//! CPU loads in real cgroups. Clocks are scaled so that hours take seconds; waiting is for events, never for time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod bad;
mod books;
mod caps;
mod configs;
mod configuration;
mod crash;
mod damage;
mod demo;
mod disk;
mod ending;
mod faults;
mod gap;
mod identity;
mod lockstep;
mod metrics;
mod nesting;
mod operator;
mod outage;
mod powercut;
mod python;
mod reservations;
mod shortage;
mod simulate;
mod soak;
mod statement;
mod store;
mod tls;
mod watchdog;

/// Says by name why a test is skipped; `./test` counts it as such.
#[macro_export]
macro_rules! skip {
    ($($why:tt)*) => {{
        println!("skipped: because {}", format!($($why)*));
        return;
    }};
}
