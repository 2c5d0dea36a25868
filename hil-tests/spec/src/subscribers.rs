//! A thousand subscribers to the ticks of a second, each over a connection of its own, beside a bare stream.

use crate::load::float;
use crate::process::Process;
use crate::report::{Bound, Form, Row};
use crate::site::{App, Site};
use anyhow::{Context as _, Result};
use ecovisor_sdk::operator::wire;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Subscribers in all.
const SUBSCRIBERS: u32 = 1_000;

/// Subscribers of one app: below the 32 connections that an app may have.
const PER_APP: u32 = 25;

/// What subscribers heard.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    messages: u64,
    missed: u64,
}

/// Measures one after the other: both would share the machine.
///
/// # Errors
/// Where a server does not answer.
pub async fn measure(form: Form) -> Result<Vec<Row>> {
    let site = Site::start(SUBSCRIBERS / PER_APP).await?;
    let bare = site.bare().await?;
    let time = form.pick(Duration::from_secs(20), Duration::from_secs(6));
    let mut clients = Vec::new();
    for nth in 0..SUBSCRIBERS {
        clients.push(site.app(nth / PER_APP).await?);
    }
    let (own, own_us) = subscribe(&site.daemon, clients, time).await.with_context(|| site.log())?;
    let mut clients = Vec::new();
    for _ in 0..SUBSCRIBERS {
        clients.push(bare.client().await?);
    }
    let (other, other_us) = subscribe(&bare.process, clients, time).await?;
    Ok(vec![
        Row {
            id: "subscriber_missed",
            what: "ticks that 1,000 subscribers missed".into(),
            unit: "ticks",
            promised: Some(Bound::AtMost(0.0)),
            quick: Some(Bound::AtMost(0.0)),
            measured: float(own.missed),
            note: format!("{} messages", own.messages),
        },
        Row {
            id: "subscriber_cpu_ratio",
            what: "server CPU of a tick to a subscriber, of a bare stream's".into(),
            unit: "x",
            promised: Some(Bound::AtMost(1.5)),
            quick: Some(Bound::AtMost(2.2)),
            measured: own_us / other_us,
            note: format!(
                "{own_us:.1} of {other_us:.1} us, settling included; bare: {} messages",
                other.messages
            ),
        },
    ])
}

/// Subscribes over every connection, listens for `time`; what was heard and the server's CPU time for each message.
async fn subscribe(server: &Process, clients: Vec<App>, time: Duration) -> Result<(Heard, f64)> {
    let mut listening = JoinSet::new();
    let (started, mut starting) = tokio::sync::mpsc::channel(1);
    let count = clients.len();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for mut client in clients {
        let (started, mut stopped) = (started.clone(), stopped.clone());
        listening.spawn(async move {
            let mut ticks = client.watch_ticks(wire::WatchTicksRequest {}).await?.into_inner();
            // The count begins with a first tick for everybody.
            let mut last = ticks.message().await?.context("ticks go on")?.tick;
            // Whoever counts may have given up.
            let _ = started.send(()).await;
            let mut heard = Heard::default();
            loop {
                tokio::select! {
                    tick = ticks.message() => {
                        let tick = tick?.context("ticks go on")?;
                        heard.messages += 1;
                        heard.missed += tick.tick.saturating_sub(last + 1).max(tick.missed);
                        last = tick.tick;
                    }
                    _ = stopped.changed() => return anyhow::Ok(heard),
                }
            }
        });
    }
    for _ in 0..count {
        starting.recv().await.context("a subscriber ended")?;
    }
    let began = server.cpu()?;
    let told = sleep(time);
    told.await;
    let cpu = server.cpu()? - began;
    stop.send(true)?;
    let mut all = Heard::default();
    while let Some(heard) = listening.join_next().await {
        let heard = heard??;
        all.messages += heard.messages;
        all.missed += heard.missed;
    }
    Ok((all, cpu.as_secs_f64() * 1e6 / float(all.messages)))
}
