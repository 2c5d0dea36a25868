//! `ecoctl usage`: energy and carbon over a period, by source.

use super::{group, plot, usage_group};
use crate::connect::Context;
use crate::failure::Failure;
use crate::json;
use crate::output::Grid;
use crate::show;
use crate::time::Point;
use clap::Args;
use ecovisor_sdk::operator::wire;
use ecovisor_units::Millis;

/// Energy and carbon over a period.
#[derive(Debug, Args)]
pub struct Usage {
    /// Only this app's [default: every app's].
    #[arg(long)]
    app: Option<String>,
    /// Only the apps that lie below this group now, and their sum.
    #[arg(long, conflicts_with = "app")]
    group: Option<String>,
    /// Start: a time ago by the site's clock (`1h`), or a time (`2026-11-24T03:00:00Z`) [default: all there is].
    #[arg(long, value_name = "TIME")]
    since: Option<Point>,
    /// End, exclusive [default: now].
    #[arg(long, value_name = "TIME")]
    until: Option<Point>,
    /// Length of a bucket [default: one bucket].
    #[arg(long, value_name = "TIME")]
    step: Option<Millis>,
    /// Also by container.
    #[arg(long)]
    by_container: bool,
    /// Bars of mean power by source, below the table.
    #[arg(long)]
    plot: bool,
}

/// An app and its buckets.
pub type AppUsage = (String, Vec<wire::UsageBucket>);

impl Usage {
    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let query = self.query(context).await?;
        let (mut usage, mut kept) = (Vec::new(), wire::QueryUsageReply::default());
        for app in self.apps(context).await? {
            let request = wire::QueryAppUsageRequest { app: app.clone(), query: Some(query) };
            let reply = context.ask(context.operator.query_app_usage(request)).await?;
            usage.push((app, reply.buckets));
            kept = wire::QueryUsageReply { buckets: Vec::new(), ..reply };
        }
        let apps: Vec<_> = usage.iter().map(entry).collect();
        let sum = self.group.as_ref().map(|group| (group, usage_group::sum(&usage)));
        let wire::QueryUsageReply {
            buckets: _,
            ticks_since_ms,
            minutes_since_ms,
            hours_since_ms,
            days_since_ms,
        } = kept;
        let mut json = serde_json::json!({
            "apps": apps, "ticks_since_ms": ticks_since_ms, "minutes_since_ms": minutes_since_ms,
            "hours_since_ms": hours_since_ms, "days_since_ms": days_since_ms,
        });
        if let Some((group, buckets)) = sum {
            json["group"] = serde_json::json!({ "group": group, "buckets": rows(&buckets) });
            usage.push((format!("group {group}"), buckets));
        }
        let mut text = self.text(&usage);
        let levels = usage.iter().flat_map(|(_, buckets)| buckets).map(|bucket| bucket.level);
        if levels.max() > Some(wire::UsageLevel::Tick.into()) {
            text.push_str(&since(&kept));
        }
        context.output.answer(&json, &text)
    }

    async fn apps(&self, context: &Context) -> Result<Vec<String>, Failure> {
        if let Some(app) = &self.app {
            return Ok(vec![app.clone()]);
        }
        let apps = context.ask(context.operator.list_apps(wire::ListAppsRequest {})).await?.apps;
        match &self.group {
            None => Ok(apps.into_iter().map(|app| app.name).collect()),
            Some(name) => {
                let groups = group::all(context).await?;
                group::named(&groups, name)?;
                Ok(usage_group::below(&groups, &apps, name))
            }
        }
    }

    async fn query(&self, context: &Context) -> Result<wire::QueryUsageRequest, Failure> {
        let now = match (self.since, self.until) {
            (Some(Point::Ago(_)), _) | (_, Some(Point::Ago(_))) => site_now(context).await?,
            _ => 0,
        };
        Ok(wire::QueryUsageRequest {
            t1_ms: self.since.map_or(0, |point| point.resolve(now)),
            t2_ms: self.until.map(|point| point.resolve(now)),
            step_ms: self.step.map_or(0, Millis::get),
            by_container: self.by_container,
        })
    }

    fn text(&self, usage: &[AppUsage]) -> String {
        if usage.iter().all(|(_, buckets)| buckets.is_empty()) {
            return "no settled tick in the period".into();
        }
        let mut parts = vec![table(usage)];
        if self.by_container {
            parts.push(containers(usage));
        }
        if self.plot {
            parts.extend(usage.iter().filter(|(_, buckets)| !buckets.is_empty()).map(plot::bars));
        }
        parts.join("\n\n")
    }
}

/// Since when there is what.
fn since(kept: &wire::QueryUsageReply) -> String {
    let levels = [
        ("ticks", kept.ticks_since_ms),
        ("minutes", kept.minutes_since_ms),
        ("hours", kept.hours_since_ms),
        ("days", kept.days_since_ms),
    ];
    let since =
        levels.iter().filter_map(|(what, ms)| ms.map(|ms| format!("{what} since {}", crate::time::show(ms))));
    format!("\n\nkept: {}", since.collect::<Vec<_>>().join(", "))
}

/// The site's own clock, which may be a virtual one; before its first tick, the machine's.
pub async fn site_now(context: &Context) -> Result<u64, Failure> {
    let site = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
    Ok(site.last.map_or_else(crate::time::now_ms, |last| last.wall_start_ms.saturating_add(last.span_ms)))
}

fn entry((app, buckets): &AppUsage) -> serde_json::Value {
    serde_json::json!({ "app": app, "buckets": rows(buckets) })
}

fn rows(buckets: &[wire::UsageBucket]) -> Vec<serde_json::Value> {
    buckets.iter().map(json::flows::usage).collect()
}

fn table(usage: &[AppUsage]) -> String {
    let headings = [
        "APP",
        "FROM",
        ">SETTLED",
        ">LOAD",
        ">SOLAR",
        ">BATTERY",
        ">GRID",
        ">RECEIVED",
        ">OVERDRAFT",
        ">CHARGED",
        ">CARBON",
        "LEVEL",
    ];
    let mut grid = Grid::new(&headings);
    for (app, bucket) in
        usage.iter().flat_map(|(app, buckets)| buckets.iter().map(move |bucket| (app, bucket)))
    {
        let mark = if bucket.estimated_ms > 0 { "~" } else { "" };
        grid.row(vec![
            app.clone(),
            crate::time::show(bucket.start_ms),
            show::span(bucket.settled_ms),
            format!("{mark}{}", show::energy(bucket.load_uj)),
            show::energy(bucket.solar_uj),
            show::energy(bucket.battery_uj),
            show::energy(bucket.grid_uj),
            show::energy(bucket.received_uj),
            show::energy(bucket.overdraft_uj),
            show::energy(bucket.charged_uj),
            show::carbon_product(&bucket.carbon_product),
            level(bucket),
        ]);
    }
    grid.to_string()
}

/// What the figures were summed from, and whether it is too coarse for the bucket's edges.
fn level(bucket: &wire::UsageBucket) -> String {
    let coarse = if bucket.coarse { ", coarse" } else { "" };
    format!("{}{coarse}", show::state::usage_level(bucket.level))
}

fn containers(usage: &[AppUsage]) -> String {
    let mut grid = Grid::new(&["APP", "CONTAINER", "FROM", ">ENERGY", ">MEAN POWER", ">CARBON"]);
    for (app, bucket) in
        usage.iter().flat_map(|(app, buckets)| buckets.iter().map(move |bucket| (app, bucket)))
    {
        for container in &bucket.containers {
            grid.row(vec![
                app.clone(),
                container.container.clone(),
                crate::time::show(bucket.start_ms),
                show::energy(container.energy_uj),
                show::mean(container.energy_uj, bucket.settled_ms),
                show::mass(container.carbon_mg),
            ]);
        }
    }
    grid.to_string()
}
