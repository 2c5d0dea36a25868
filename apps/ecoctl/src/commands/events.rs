//! `ecoctl events`: what happens to apps and to the site. The daemon tells events as they happen and keeps none, so
//! this listens: for a while, or until interrupted.

use crate::connect::Context;
use crate::failure::Failure;
use crate::json;
use crate::show;
use clap::Args;
use ecovisor_sdk::operator::wire;
use ecovisor_units::{CarbonIntensity, Millis, Power};
use std::time::Duration;

/// What happens at the site, from now on.
#[derive(Debug, Args)]
pub struct Events {
    /// Only this app's.
    #[arg(long)]
    app: Option<String>,
    /// Listen until interrupted.
    #[arg(long, short, conflicts_with = "listen")]
    follow: bool,
    /// How long to listen without --follow.
    #[arg(long = "for", id = "listen", value_name = "TIME", default_value = "10s")]
    listen: Millis,
    /// Also tell when an app's solar changed by at least this.
    #[arg(long, value_name = "POWER")]
    solar_change: Option<Power>,
    /// Also tell when carbon intensity changed by at least this.
    #[arg(long, value_name = "INTENSITY")]
    carbon_change: Option<CarbonIntensity>,
}

impl Events {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let thresholds = wire::WatchEventsRequest {
            solar_change_mw: self.solar_change.map(Power::get),
            carbon_change_mg_per_kwh: self.carbon_change.map(CarbonIntensity::get),
            battery_full_ppm: None,
            battery_empty_ppm: None,
        };
        let request = wire::WatchAllEventsRequest { app: self.app, thresholds: Some(thresholds) };
        if self.follow {
            return listen(context, request).await;
        }
        let span = Duration::from_millis(self.listen.get());
        // The end of the time is the end asked for.
        tokio::time::timeout(span, listen(context, request)).await.unwrap_or(Ok(()))
    }
}

async fn listen(context: &Context, request: wire::WatchAllEventsRequest) -> Result<(), Failure> {
    let mut stream = context.ask(context.operator.watch_all_events(request)).await?;
    while let Some(reply) = context.next(&mut stream).await? {
        context.output.line(&json::event::event(&reply), &line(&reply))?;
    }
    Ok(())
}

/// `03:00:01  web  cap of one lowered to 30 W`.
pub fn line(reply: &wire::WatchAllEventsReply) -> String {
    let whose = reply.app.as_deref().unwrap_or("site");
    let missed =
        if reply.missed > 0 { format!("  ({} events missed before)", reply.missed) } else { String::new() };
    match &reply.event {
        Some(event) => {
            format!(
                "{}  {whose}  {}{missed}",
                crate::time::show_clock(event.wall_ms),
                show::event::clause(event)
            )
        }
        None => format!("{} events missed", reply.missed),
    }
}
