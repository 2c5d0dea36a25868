//! A restart after `kill -9` with a day of ticks in the store.

use crate::load::float;
use crate::report::{Bound, Form, Row};
use crate::site::{Site, config, connect, directory, start_daemon};
use anyhow::{Context as _, Result, ensure};
use ecovisor_sdk::operator::wire;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Apps of the site.
const APPS: u32 = 10;

/// Ticks of a second in a day.
const DAY: u64 = 86_400;

/// Real time in which so many ticks must have been made.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Makes the ticks with a clock that runs a thousand times as fast, kills the daemon and starts it again.
///
/// # Errors
/// Where a daemon does not run.
pub async fn measure(form: Form) -> Result<Vec<Row>> {
    let (ticks, starts) = form.pick((DAY, 3), (3_000, 2));
    let directory = directory()?;
    let scaled = |factor: u32| format!("{}[clock]\nkind = \"scaled\"\nfactor = {factor}\n", config(APPS));
    std::fs::write(directory.path().join("site.toml"), scaled(1_000))?;
    let mut site = Site::start_in(directory, APPS).await?;
    let mut operator = site.operator().await?;
    let began = Instant::now();
    loop {
        site.daemon.ensure_running()?;
        let shown = operator.get_site(wire::GetSiteRequest {}).await?.into_inner();
        if shown.last.is_some_and(|last| last.tick >= ticks) {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "{ticks} ticks took longer than {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(100)).await;
    }
    let megabytes = float(site.daemon.rss_bytes()?) / 1e6;
    let directory = site.kill()?;
    std::fs::write(directory.path().join("site.toml"), scaled(1))?;
    let mut worst = Duration::ZERO;
    for _ in 0..starts {
        let began = Instant::now();
        let mut daemon = start_daemon(directory.path())?;
        while serves(directory.path()).await.is_err() {
            daemon.ensure_running()?;
            ensure!(began.elapsed() < PATIENCE, "it does not serve");
            sleep(Duration::from_millis(2)).await;
        }
        worst = worst.max(began.elapsed());
        daemon.kill()?;
    }
    let memory = Row {
        id: "day_rss_10",
        what: format!("a daemon's memory after {ticks} ticks, ten apps"),
        unit: "MB",
        promised: Some(Bound::AtMost(40.0)),
        quick: Some(Bound::AtMost(60.0)),
        measured: megabytes,
        note: "resident; the clock ran a thousand times as fast".to_owned(),
    };
    let restart = Row {
        id: "restart_s",
        what: format!("restart with {ticks} ticks of ten apps in the store, until it serves"),
        unit: "s",
        promised: Some(Bound::AtMost(2.0)),
        quick: Some(Bound::AtMost(2.0)),
        measured: worst.as_secs_f64(),
        note: format!(
            "worst of {starts}, after kill -9; the store has {:.0} MB",
            size(&directory.path().join("state/store"))?
        ),
    };
    Ok(vec![memory, restart])
}

/// Whether health says SERVING and an app has an answer.
async fn serves(directory: &Path) -> Result<()> {
    let health = HealthClient::new(connect(&directory.join("run/ecovisor.sock")).await?)
        .check(HealthCheckRequest { service: String::new() })
        .await?;
    ensure!(health.into_inner().status() == ServingStatus::Serving, "not yet");
    let mut app = crate::site::App::new(connect(&directory.join("run/app/app-0.sock")).await?);
    app.get_energy_system(wire::GetEnergySystemRequest {}).await?;
    Ok(())
}

/// What the files of a directory take, in MB.
fn size(directory: &Path) -> Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).context("the store is gone")? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_file() { entry.metadata()?.len() } else { 0 };
    }
    Ok(float(bytes) / 1e6)
}
