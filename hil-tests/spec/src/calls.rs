//! `GetEnergySystem` over a Unix socket with 64 in flight, beside a bare server, in turns.

use crate::load::{closed, median};
use crate::report::{Bound, Form, Row};
use crate::site::Site;
use anyhow::Result;
use std::time::Duration;

/// Calls on their way at the same time, on one connection: what the daemon answers at once on one.
const IN_FLIGHT: usize = 64;

/// Apps of the site.
const APPS: u32 = 10;

/// Measures in turns, so that whatever else the machine does falls on both.
///
/// # Errors
/// Where a server does not answer.
pub async fn measure(form: Form) -> Result<Vec<Row>> {
    let site = Site::start(APPS).await?;
    let bare = site.bare().await?;
    let (app, plain) = (site.app(0).await?, bare.client().await?);
    let (turns, slice) = form.pick((9, Duration::from_secs(1)), (5, Duration::from_millis(500)));
    // The first calls warm both up.
    closed(&app, IN_FLIGHT, slice / 2).await?;
    closed(&plain, IN_FLIGHT, slice / 2).await?;
    let (mut own, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (daemon_began, bare_began) = (site.daemon.cpu()?, bare.process.cpu()?);
    let (mut daemon_calls, mut bare_calls) = (0.0, 0.0);
    for _ in 0..turns {
        let of_bare = closed(&plain, IN_FLIGHT, slice).await?;
        let of_daemon = closed(&app, IN_FLIGHT, slice).await?;
        ratios.push(of_daemon / of_bare);
        daemon_calls += of_daemon * slice.as_secs_f64();
        bare_calls += of_bare * slice.as_secs_f64();
        own.push(of_daemon);
        other.push(of_bare);
    }
    let micros = |cpu: Duration, calls: f64| cpu.as_secs_f64() * 1e6 / calls;
    let daemon_us = micros(site.daemon.cpu()? - daemon_began, daemon_calls);
    let bare_us = micros(bare.process.cpu()? - bare_began, bare_calls);
    Ok(vec![
        Row {
            id: "call_rate_ratio",
            what: "GetEnergySystem, Unix socket, 64 in flight, of a bare call's rate".into(),
            unit: "x",
            promised: Some(Bound::AtLeast(0.7)),
            quick: Some(Bound::AtLeast(0.55)),
            measured: median(&ratios),
            note: format!("{:.0} of {:.0} calls/s", median(&own), median(&other)),
        },
        Row {
            id: "call_cpu_us",
            what: "server CPU of such a call".into(),
            unit: "us",
            promised: None,
            quick: None,
            measured: daemon_us,
            note: format!("bare: {bare_us:.1} us"),
        },
    ])
}
