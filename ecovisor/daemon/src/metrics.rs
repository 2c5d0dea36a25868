//! What Prometheus scrapes: `GET /metrics` in the OpenMetrics text format, on a loopback address, off unless configured.
//!
//! | series | type | labels | what |
//! | --- | --- | --- | --- |
//! | `ecovisor_tick_total` | counter | | ticks settled |
//! | `ecovisor_estimated_ticks_total` | counter | | of these, with any figure on a held or assumed reading |
//! | `ecovisor_gap_ticks_total` | counter | | of these, that stand for a gap |
//! | `ecovisor_tick_late_seconds` | gauge | | how late the last tick ended |
//! | `ecovisor_tick_overruns_total` | counter | `stage` | ticks that did not keep up: `late`, `gather`, `work` |
//! | `ecovisor_step_seconds` | histogram | | how long a tick took from its end to its orders |
//! | `ecovisor_app_energy_joules_total` | counter | `app`, `flow` | an app's flows, named as in the ledger |
//! | `ecovisor_app_carbon_grams_total` | counter | `app` | CO2e charged to an app |
//! | `ecovisor_app_battery_joules` | gauge | `app` | its claim on the battery |
//! | `ecovisor_app_supply_watts` | gauge | `app` | what it may draw in the coming tick |
//! | `ecovisor_site_energy_joules_total` | counter | `entry` | the site's entries, named as in the ledger |
//! | `ecovisor_site_level_joules` | gauge | `entry` | `buffer`, `deficit` and `level_booked` after the tick |
//! | `ecovisor_grid_carbon_grams_per_kwh` | gauge | | the tick's carbon intensity |
//! | `ecovisor_meter_quality` | gauge | `meter` | 0 live, 1 held, 2 assumed; absent while unknown |
//! | `ecovisor_forecast_error_mae`, `_bias`, `_coverage`, `_pairs` | gauge | `kind`, `source`, `horizon` | how far forecasts were off |
//! | `ecovisor_commands_total` | counter | `result` | calls that change something: `accepted`, `refused`, `denied` |
//!
//! Counters begin at 0 with the process, as Prometheus expects; the ledger is what is kept. A flow or an entry that never
//! moved has no series, and the series of an app end with it: both bound how many there are. Totals are kept as
//! integers and become floats only here.

mod door;

use crate::engine::overrun::{Overruns, Stage};
use crate::trail::TrailOutcome;
use anyhow::Context;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use door::Door;
use ecovisor_audit::Record;
use ecovisor_core::site::AppOutcome;
use ecovisor_core::{AppId, Event, Meter, Metered, Quality};
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum, Power};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;

/// The first bucket of a step's time and their number, each twice the one before: 50 µs to 1.6 s, from a site with a
/// handful of apps to one that no longer keeps up with a tick a second.
const STEP_BUCKET_FIRST: f64 = 0.000_05;
const STEP_BUCKETS: u16 = 16;

/// What the format calls itself (OpenMetrics 1.0, "ABNF and protocol negotiation").
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is scraped.
#[derive(Debug)]
pub struct Metrics {
    books: Arc<Books>,
    step: Histogram,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// With every counter at 0.
    #[must_use]
    pub fn new() -> Self {
        let books = Arc::new(Books::default());
        let step = Histogram::new(exponential_buckets(STEP_BUCKET_FIRST, 2.0, STEP_BUCKETS));
        let mut registry = Registry::default();
        registry.register("ecovisor_step_seconds", "From a tick's end to its orders", step.clone());
        registry.register_collector(Box::new(Arc::clone(&books)));
        Self { books, step, registry }
    }

    /// With the series of somebody else.
    #[must_use]
    pub fn with(mut self, series: Box<dyn Collector>) -> Self {
        self.registry.register_collector(series);
        self
    }

    /// Counts a settled tick: how late it ended, and how long it took from then to its orders.
    pub fn observe(&self, record: &Record, late: Duration, step: Duration) {
        self.books.lock().observe(record, late);
        self.step.observe(step.as_secs_f64());
    }

    /// How often the tick loop did not keep up.
    pub fn observe_overruns(&self, overruns: &Overruns) {
        self.books.lock().overruns = overruns.counts();
    }

    /// Counts a call that would change something.
    pub fn count_command(&self, outcome: TrailOutcome) {
        let mut totals = self.books.lock();
        match outcome {
            TrailOutcome::Accepted => totals.commands.accepted += 1,
            TrailOutcome::Refused => totals.commands.refused += 1,
            TrailOutcome::Denied => totals.commands.denied += 1,
        }
    }

    /// All series, as they are scraped.
    ///
    /// # Errors
    /// None that is known: text is written into memory.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Takes the address.
///
/// # Errors
/// Where it is not a loopback one (there is neither encryption nor a caller's name here), or is taken.
pub async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    anyhow::ensure!(
        addr.ip().is_loopback(),
        "metrics are served on a loopback address only, not on {addr}: put an authenticating proxy before it"
    );
    TcpListener::bind(addr).await.with_context(|| format!("metrics cannot be served on {addr}"))
}

/// Serves the metrics until `shutdown` ends.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let scrape = move || std::future::ready(metrics.text().map(answer).map_err(|error| error.to_string()));
    let router = Router::new().route("/metrics", get(scrape));
    axum::serve(Door::new(listener), router)
        .with_graceful_shutdown(shutdown)
        .await
        .context("metrics are served no more")
}

fn answer(text: String) -> impl IntoResponse {
    ([(CONTENT_TYPE, FORMAT)], text)
}

/// The totals behind the series.
#[derive(Debug, Default)]
struct Books {
    totals: Mutex<Totals>,
}

impl Books {
    fn lock(&self) -> MutexGuard<'_, Totals> {
        // A total that a panic left behind is one tick short at most, and the process ends then anyway.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Totals {
    ticks: u64,
    estimated: u64,
    gaps: u64,
    late: Duration,
    intensity: CarbonIntensity,
    commands: Commands,
    overruns: [(Stage, u64); 3],
    apps: BTreeMap<AppId, AppTotals>,
    site: BTreeMap<&'static str, u128>,
    levels: [(&'static str, EnergySum); 3],
    quality: BTreeMap<&'static str, Quality>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            ticks: 0,
            estimated: 0,
            gaps: 0,
            late: Duration::ZERO,
            intensity: CarbonIntensity::default(),
            commands: Commands::default(),
            overruns: Overruns::default().counts(),
            apps: BTreeMap::new(),
            site: BTreeMap::new(),
            levels: Default::default(),
            quality: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Commands {
    accepted: u64,
    refused: u64,
    denied: u64,
}

#[derive(Debug, Default)]
struct AppTotals {
    name: String,
    energy: BTreeMap<&'static str, u128>,
    carbon: Carbon,
    stored: Energy,
    supply: Power,
}

impl Totals {
    fn observe(&mut self, record: &Record, late: Duration) {
        let outcome = &record.outcome;
        let estimated = outcome.apps.iter().any(|app| app.estimated);
        self.ticks += 1;
        self.estimated += u64::from(estimated);
        self.gaps += u64::from(outcome.gap);
        (self.late, self.intensity) = (late, outcome.intensity);
        let mut apps = std::mem::take(&mut self.apps);
        for app in &outcome.apps {
            let mut totals = apps.remove(&app.app).unwrap_or_default();
            totals.observe(app, record);
            self.apps.insert(app.app, totals);
        }
        let (site, levels) = (&outcome.site, ["buffer", "deficit", "level_booked"]);
        self.levels =
            [("buffer", site.buffer), ("deficit", site.deficit), ("level_booked", site.level_booked)];
        count(&mut self.site, site.figures().filter(|(entry, _)| !levels.contains(entry)));
        self.observe_meters(&outcome.metered, &outcome.events, estimated);
    }

    /// A meter is live when it was read; the events tell when it is not. The core holds no flows of load, grid and
    /// battery: where one of them was not read, the books' own figure stands in its place.
    fn observe_meters(&mut self, metered: &Metered, events: &[Event], estimated: bool) {
        let read = [
            (Meter::Solar, metered.solar.is_some()),
            (Meter::BatteryLevel, metered.level.is_some()),
            // Whatever is not estimated rests on an intensity that was read.
            (Meter::Intensity, !estimated),
            (Meter::Load, metered.load.is_some()),
            (Meter::Grid, metered.grid_import.is_some() || metered.grid_export.is_some()),
            (Meter::BatteryFlow, metered.battery_in.is_some() || metered.battery_out.is_some()),
        ];
        let unread = read.into_iter().filter(|(meter, read)| {
            let flows = [Meter::Load, Meter::Grid, Meter::BatteryFlow];
            !read && flows.contains(meter) && self.quality.contains_key(meter_name(*meter))
        });
        let unread: Vec<_> = unread.map(|(meter, _)| (meter, Quality::Assumed)).collect();
        let live = read.into_iter().filter(|(_, read)| *read).map(|(meter, _)| (meter, Quality::Live));
        let told = events.iter().filter_map(|event| match event {
            Event::MeterDegraded(meter, quality) => Some((*meter, *quality)),
            Event::MeterRecovered(meter) => Some((*meter, Quality::Live)),
            _ => None,
        });
        self.quality
            .extend(live.chain(unread).chain(told).map(|(meter, quality)| (meter_name(meter), quality)));
    }
}

impl AppTotals {
    fn observe(&mut self, app: &AppOutcome, record: &Record) {
        if self.name.is_empty() {
            self.name = record.app_name(app.app).map(|name| name.as_str().to_owned()).unwrap_or_default();
        }
        count(&mut self.energy, app.flows.figures().filter(|(flow, _)| !flow.starts_with("carbon")));
        self.carbon = self.carbon.saturating_add(app.flows.carbon);
        (self.stored, self.supply) = (app.account.stored, app.supply);
    }
}

fn count(totals: &mut BTreeMap<&'static str, u128>, moved: impl Iterator<Item = (&'static str, u128)>) {
    for (name, figure) in moved.filter(|(_, figure)| *figure > 0) {
        let total = totals.entry(name).or_default();
        *total = total.saturating_add(figure);
    }
}

fn meter_name(meter: Meter) -> &'static str {
    match meter {
        Meter::Solar => "solar",
        Meter::BatteryLevel => "battery_level",
        Meter::Intensity => "intensity",
        Meter::Load => "load",
        Meter::Grid => "grid",
        Meter::BatteryFlow => "battery_flow",
    }
}

fn quality_figure(quality: Quality) -> f64 {
    match quality {
        Quality::Live => 0.0,
        Quality::Held => 1.0,
        Quality::Assumed => 2.0,
    }
}

/// µJ in a J, mW in a W, mg in a g: what base units are divided by.
const MICRO: f64 = 1e6;
const MILLI: f64 = 1e3;

/// The nearest float: the one place where a total becomes advice.
fn float(figure: impl Into<u128>) -> f64 {
    // Through text, because the standard library has no other lossy conversion than `as`.
    figure.into().to_string().parse().unwrap_or(f64::INFINITY)
}

fn joules(energy: impl Into<u128>) -> f64 {
    float(energy) / MICRO
}

impl Collector for Books {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.lock();
        let out = &mut Out(&mut encoder);
        totals.encode_ticks(out)?;
        totals.encode_apps(out)?;
        totals.encode_site(out)
    }
}

impl Totals {
    fn encode_ticks(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Self { ticks, estimated, gaps, .. } = *self;
        out.count("ecovisor_tick", "Ticks settled", ticks)?;
        out.count("ecovisor_estimated_ticks", "Ticks with a figure on a held or assumed reading", estimated)?;
        out.count("ecovisor_gap_ticks", "Ticks that stand for a gap", gaps)?;
        out.level("ecovisor_tick_late_seconds", "Lateness of the last tick", self.late.as_secs_f64())?;
        let overruns = self.overruns.map(|(stage, count)| ([("stage", stage.name())], float(count)));
        out.counters("ecovisor_tick_overruns", "Ticks that did not keep up", overruns)?;
        let Commands { accepted, refused, denied } = self.commands;
        let results = [("accepted", accepted), ("refused", refused), ("denied", denied)];
        let results = results.map(|(result, count)| ([("result", result)], float(count)));
        out.counters("ecovisor_commands", "Calls that change something", results)
    }

    fn encode_apps(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let apps = || self.apps.values().map(|app| (app.name.as_str(), app));
        let flows = apps().flat_map(|(name, app)| {
            app.energy.iter().map(move |(flow, total)| ([("app", name), ("flow", *flow)], joules(*total)))
        });
        out.counters("ecovisor_app_energy_joules", "Flows of an app", flows)?;
        let carbon = apps().map(|(name, app)| ([("app", name)], grams(app.carbon)));
        out.counters("ecovisor_app_carbon_grams", "CO2e charged to an app", carbon)?;
        let stored = apps().map(|(name, app)| ([("app", name)], joules(app.stored.get())));
        out.gauges("ecovisor_app_battery_joules", "Claim of an app on the battery", stored)?;
        let supply = apps().map(|(name, app)| ([("app", name)], float(app.supply.get()) / MILLI));
        out.gauges("ecovisor_app_supply_watts", "What an app may draw in the coming tick", supply)
    }

    fn encode_site(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let entries = self.site.iter().map(|(entry, total)| ([("entry", *entry)], joules(*total)));
        out.counters("ecovisor_site_energy_joules", "Entries of the site", entries)?;
        let levels = self.levels.into_iter().filter(|(entry, _)| !entry.is_empty());
        let levels = levels.map(|(entry, level)| ([("entry", entry)], joules(level.get())));
        out.gauges("ecovisor_site_level_joules", "Levels of the site after the last tick", levels)?;
        let intensity = float(self.intensity.get()) / MILLI;
        out.level("ecovisor_grid_carbon_grams_per_kwh", "Carbon intensity of the last tick", intensity)?;
        let quality =
            self.quality.iter().map(|(meter, quality)| ([("meter", *meter)], quality_figure(*quality)));
        out.gauges("ecovisor_meter_quality", "0 live, 1 held, 2 assumed", quality)
    }
}

/// In grams, from the undivided product: 3.6 × 10¹² of its units are a mg.
fn grams(carbon: Carbon) -> f64 {
    float(carbon.get()) / 3.6e12 / MILLI
}

/// A series' labels.
type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

/// Where series are written.
struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    /// One counter without labels.
    fn count(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        ConstCounter::new(count).encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    /// One gauge without labels.
    fn level(&mut self, name: &str, help: &str, level: f64) -> fmt::Result {
        ConstGauge::new(level).encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    /// The format adds `_total` to a counter's name.
    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| ConstCounter::new(value).encode(family.encode_family(&labels)?))
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values
            .into_iter()
            .try_for_each(|(labels, value)| ConstGauge::new(value).encode(family.encode_family(&labels)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_audit::{Applied, Entry, Snapshot};
    use ecovisor_core::{AppName, AppPolicy, Command, Inputs, Reading, Rules, Share, Site};
    use ecovisor_units::Millis;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    /// A site with one app whose load of 2 J a tick comes from the grid at 360 g/kWh.
    struct Scene {
        state: Snapshot,
        metrics: Arc<Metrics>,
    }

    impl Scene {
        fn new() -> Self {
            let state = Snapshot::new(Site::new(Rules::default()).unwrap());
            Self { state, metrics: Arc::new(Metrics::new()) }
        }

        fn command(&mut self, command: Command) {
            assert!(matches!(self.state.apply(&Entry::Command(command)), Ok(Applied::Accepted(_))));
        }

        fn create(&mut self, name: &str) {
            let share = Share { grid_limit: Power::from_watts(3), ..Share::default() };
            let name = AppName::new(name).unwrap();
            self.command(Command::CreateApp { name, share, policy: AppPolicy::default() });
        }

        fn tick(&mut self, intensity: Option<u64>) {
            self.tick_with(intensity, Some(2));
        }

        fn tick_with(&mut self, intensity: Option<u64>, load: Option<u64>) {
            let mut inputs = Inputs { span: Millis::new(1000), ..Inputs::default() };
            let grams = |grams| Reading::now(CarbonIntensity::from_grams_per_kwh(grams));
            inputs.readings.intensity = intensity.map(grams);
            inputs.readings.load = load.map(|joules| Reading::now(Energy::from_joules(joules)));
            let Ok(Applied::Settled(record)) = self.state.apply(&Entry::Tick(inputs)) else {
                panic!("no tick")
            };
            self.metrics.observe(&record, Duration::from_millis(5), Duration::from_micros(300));
        }

        fn value(&self, series: &str) -> Option<f64> {
            value(&self.metrics.text().unwrap(), series)
        }
    }

    fn value(text: &str, series: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// One GET over a real connection.
    async fn get_over_http(addr: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_scrape_over_http_shows_the_books() {
        let mut scene = Scene::new();
        (0..3).for_each(|_| scene.tick(Some(360)));
        scene.metrics.observe_overruns(&Overruns { late: 2, ..Overruns::default() });
        scene.metrics.count_command(TrailOutcome::Accepted);
        scene.metrics.count_command(TrailOutcome::Denied);
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving =
            tokio::spawn(serve(listener, Arc::clone(&scene.metrics), async { drop(stopped.await) }));
        let answer = get_over_http(addr, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(&format!("content-type: {FORMAT}\r\n")), "{answer}");
        assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
        let expected = [
            ("ecovisor_tick_total", 3.0),
            ("ecovisor_estimated_ticks_total", 0.0),
            ("ecovisor_gap_ticks_total", 0.0),
            ("ecovisor_tick_late_seconds", 0.005),
            ("ecovisor_tick_overruns_total{stage=\"late\"}", 2.0),
            ("ecovisor_tick_overruns_total{stage=\"gather\"}", 0.0),
            ("ecovisor_step_seconds_count", 3.0),
            ("ecovisor_step_seconds_bucket{le=\"0.0002\"}", 0.0),
            ("ecovisor_step_seconds_bucket{le=\"0.0004\"}", 3.0),
            ("ecovisor_app_energy_joules_total{app=\"house\",flow=\"load\"}", 6.0),
            ("ecovisor_app_energy_joules_total{app=\"house\",flow=\"grid_to_load\"}", 6.0),
            // 6 J × 360 g/kWh: 1 kWh is 3.6 MJ.
            ("ecovisor_app_carbon_grams_total{app=\"house\"}", 0.0006),
            ("ecovisor_app_battery_joules{app=\"house\"}", 0.0),
            ("ecovisor_site_energy_joules_total{entry=\"load_booked\"}", 6.0),
            ("ecovisor_site_level_joules{entry=\"deficit\"}", 0.0),
            ("ecovisor_grid_carbon_grams_per_kwh", 360.0),
            ("ecovisor_meter_quality{meter=\"load\"}", 0.0),
            ("ecovisor_commands_total{result=\"accepted\"}", 1.0),
            ("ecovisor_commands_total{result=\"refused\"}", 0.0),
            ("ecovisor_commands_total{result=\"denied\"}", 1.0),
        ];
        for (series, due) in expected {
            assert_eq!(value(&answer, series), Some(due), "{series} in {answer}");
        }
        assert!(get_over_http(addr, "/").await.starts_with("HTTP/1.1 404"));
        stop.send(()).unwrap();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_a_loopback_address_is_served() {
        let refused = bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "metrics are served on a loopback address only, not on 0.0.0.0:0: put an authenticating proxy before it"
        );
        assert!(bind("[::]:0".parse().unwrap()).await.is_err());
        let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(taken.local_addr().unwrap()).await.unwrap_err();
        assert!(error.to_string().starts_with("metrics cannot be served on 127.0.0.1:"), "{error}");
    }

    #[test]
    fn series_end_with_their_app() {
        let mut scene = Scene::new();
        scene.create("web");
        let supply = "ecovisor_app_supply_watts{app=\"web\"}";
        scene.tick(Some(1));
        assert_eq!(scene.value(supply), None, "it holds from the next tick");
        scene.tick(Some(1));
        assert_eq!(scene.value(supply), Some(3.0));
        let app = scene.state.site.find("web").unwrap().id;
        scene.command(Command::DeleteApp(app));
        (0..2).for_each(|_| scene.tick(Some(1)));
        assert_eq!(scene.value(supply), None);
        assert_eq!(
            scene.value("ecovisor_app_supply_watts{app=\"house\"}").map(|watts| watts > 3.0),
            Some(true)
        );
    }

    #[test]
    fn a_degraded_meter_shows() {
        let mut scene = Scene::new();
        let quality = "ecovisor_meter_quality{meter=\"intensity\"}";
        scene.tick(None);
        assert_eq!(scene.value(quality), Some(2.0));
        assert_eq!(scene.value("ecovisor_estimated_ticks_total"), Some(1.0));
        let told: Vec<_> = [Some(5), None, None, None, None, Some(5)]
            .into_iter()
            .map(|intensity| {
                scene.tick(intensity);
                scene.value(quality)
            })
            .collect();
        assert_eq!(told, [Some(0.0), Some(1.0), Some(1.0), Some(1.0), Some(2.0), Some(0.0)]);
    }

    #[test]
    fn a_flow_that_is_read_no_more_is_assumed_until_it_is_read_again() {
        let mut scene = Scene::new();
        let quality = "ecovisor_meter_quality{meter=\"load\"}";
        let told: Vec<_> = [None, Some(2), None, Some(2)]
            .into_iter()
            .map(|load| {
                scene.tick_with(Some(1), load);
                scene.value(quality)
            })
            .collect();
        assert_eq!(told, [None, Some(0.0), Some(2.0), Some(0.0)]);
    }

    #[test]
    fn floats_are_the_nearest() {
        assert_eq!(float(u64::MAX), 18_446_744_073_709_551_616.0);
        assert_eq!(joules(1_500_000_u64), 1.5);
        assert_eq!(grams(Energy::from_watt_hours(1).carbon(CarbonIntensity::from_grams_per_kwh(1000))), 1.0);
    }
}
