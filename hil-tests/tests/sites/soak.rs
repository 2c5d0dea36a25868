//! A long run at a hundred times real time: meters fail, the grid goes away, clients come and go and ask for anything,
//! the configuration changes, the daemon is killed. All of it follows from a seed. At the end memory is flat, the books
//! meet the meters and verify, and no tick is missing.
//!
//! `ECOVISOR_SOAK=24h` is the long form, `ECOVISOR_SOAK_SEED=7` another life; curve and figures go to `target/soak.json`.

use crate::configs::{NOON, replaced};
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::{balance, process, programs, wait};
use ecovisor_sdk::operator::{Messages, Operator, wire};
use ecovisor_sdk::{
    Address, BudgetAction, CarbonBudget, CarbonMass, CarbonRate, EnergySystem, Lease, Millis, Power, Setting,
    Thresholds, UsageQuery,
};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// How long it runs in every test run.
const QUICK: Duration = Duration::from_secs(60);

/// Virtual time per real time.
const FACTOR: u32 = 100;

/// A tick of ten seconds takes a tenth of one.
const TICK_MS: u64 = 10_000;

/// Most that memory may differ between the second and the last quarter of the last life, in percent.
const RSS_PERCENT: u64 = 5;

/// Ticks at the end in which nothing fails any more.
const CALM_TICKS: u64 = 20;

fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.into_string().expect("plain text"))
}

/// `24h`, `2min`, `90s`.
fn length() -> Duration {
    let asked = environment("ECOVISOR_SOAK").map(|text| text.parse::<Millis>().expect("a time such as 24h"));
    asked.map_or(QUICK, |length| Duration::from_millis(length.get()))
}

/// SplitMix64: everything that happens follows from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.roll(u64::try_from(all.len()).unwrap())).unwrap()]
    }
}

/// The site, with meters that fail and a grid that goes away every few minutes of its time until shortly before the end.
fn config(dice: &mut Dice, length: Duration) -> String {
    let calm = replaced(NOON, "tick = \"60 s\"", "tick = \"10 s\"");
    let mut config = replaced(&calm, "factor = 600", &format!("factor = {FACTOR}"));
    // Device time begins with each daemon, and the last one lives for half of the run.
    let until_ms = u64::try_from(length.as_millis()).unwrap() * u64::from(FACTOR) / 2 * 8 / 10;
    let (mut at, mut all) = (60_000, 0);
    while at < until_ms && all < 5_000 {
        let to = at + 10_000 + dice.roll(120_000);
        let meters = [
            "solar",
            "solar_available",
            "grid_import",
            "grid_export",
            "battery_in",
            "battery_out",
            "battery_level",
            "load",
        ];
        let meter = dice.one_of(&meters);
        let more = match dice.roll(6) {
            0 => "kind = \"silence\"".to_owned(),
            1 => "kind = \"wrap\"".to_owned(),
            2 => "kind = \"restart\"".to_owned(),
            3 => format!("kind = \"jump\"\nenergy = \"{} Wh\"", 1 + dice.roll(500)),
            _ => format!("kind = \"lie\"\nfactor_ppm = {}", dice.roll(2_000_000)),
        };
        config +=
            &format!("[[sim.fault]]\nmeter = \"{meter}\"\n{more}\nfrom = \"{at} ms\"\nto = \"{to} ms\"\n");
        if dice.roll(4) == 0 {
            config += &format!("[[sim.outage]]\nfrom = \"{at} ms\"\nto = \"{to} ms\"\n");
        }
        (at, all) = (to + dice.roll(240_000), all + 1);
    }
    config
}

/// How often what was asked for was done, refused, or met no daemon.
type Counts = Arc<Mutex<BTreeMap<&'static str, u64>>>;

fn count(counts: &Counts, what: &'static str) {
    *counts.lock().unwrap().entry(what).or_default() += 1;
}

/// An app that asks for anything, connects anew every few calls, and now and then watches for a while without reading.
async fn app(socket: PathBuf, mut dice: Dice, counts: Counts) {
    loop {
        let Ok(energy) = EnergySystem::connect_to(&Address::socket(&socket)).await else {
            count(&counts, "no connection");
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut ticks = energy.ticks();
        let _deaf = energy.events(Thresholds::default());
        for _ in 0..dice.roll(40) {
            let asked = match dice.roll(9) {
                0 => energy.state().await.map(drop),
                1 => energy.containers().await.map(drop),
                2 => energy.usage(UsageQuery::default()).await.map(drop),
                3 => match tokio::time::timeout(Duration::from_millis(250), ticks.next()).await {
                    Ok(tick) => tick.map(drop),
                    Err(_) => Ok(()),
                },
                _ => energy.apply(&setting(&mut dice), lease(&mut dice)).await.map(drop),
            };
            count(&counts, if asked.is_ok() { "calls of apps" } else { "refused to apps" });
            tokio::time::sleep(Duration::from_millis(5 + dice.roll(20))).await;
        }
    }
}

fn setting(dice: &mut Dice) -> Setting {
    let power = |dice: &mut Dice, most: u64| (dice.roll(8) > 0).then(|| Power::new(dice.roll(most)));
    match dice.roll(5) {
        0 => Setting::BatteryChargeRate(power(dice, 80_000)),
        1 => Setting::BatteryMaxDischarge(power(dice, 130_000)),
        2 => Setting::ContainerPowerCap { container: "one".into(), cap: power(dice, 120_000) },
        3 => Setting::CarbonRate((dice.roll(2) > 0).then(|| CarbonRate::new(dice.roll(50_000)))),
        _ => Setting::CarbonBudget((dice.roll(2) > 0).then(|| CarbonBudget {
            budget: CarbonMass::new(dice.roll(20_000)),
            window: Millis::new(TICK_MS + dice.roll(3_600_000)),
            action: dice.one_of(&[BudgetAction::Notify, BudgetAction::BlockGrid]),
        })),
    }
}

fn lease(dice: &mut Dice) -> Lease {
    match dice.roll(3) {
        0 => Lease::UntilChanged,
        _ => Lease::For(Millis::new(1 + dice.roll(600_000))),
    }
}

/// An operator who looks at everything, moves shares, and has apps that come and go.
async fn operator(socket: PathBuf, mut dice: Dice, counts: Counts) {
    loop {
        let Ok(operator) = Operator::connect_to(&Address::socket(&socket)).await else {
            count(&counts, "no connection");
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _unread = operator.watch_all_events(wire::WatchAllEventsRequest::default()).await;
        for _ in 0..dice.roll(20) {
            let guest = || String::from("guest");
            let share = Some(wire::AppShare {
                solar_weight: dice.roll(5),
                grid_limit_mw: dice.roll(300_000),
                ..Default::default()
            });
            let asked = match dice.roll(8) {
                0 => operator.list_apps(wire::ListAppsRequest {}).await.map(drop),
                1 => operator.get_site(wire::GetSiteRequest {}).await.map(drop),
                2 => operator.list_devices(wire::ListDevicesRequest {}).await.map(drop),
                3 => {
                    let spec = Some(wire::AppSpec { share, ..Default::default() });
                    operator
                        .create_app(wire::CreateAppRequest {
                            app: guest(),
                            spec,
                            dry_run: false,
                            group: String::new(),
                        })
                        .await
                        .map(drop)
                }
                4 => {
                    operator.drain_app(wire::DrainAppRequest { app: guest(), dry_run: false }).await.map(drop)
                }
                5 => operator
                    .delete_app(wire::DeleteAppRequest { app: guest(), dry_run: false })
                    .await
                    .map(drop),
                6 => {
                    let change = wire::ChangeShareRequest { app: guest(), share, dry_run: dice.roll(2) == 0 };
                    operator.change_share(change).await.map(drop)
                }
                _ => {
                    let (redistribute, export) = (Some(dice.roll(2) == 0), Some(dice.roll(2) == 0));
                    let policies = wire::SetPoliciesRequest { redistribute, export, shortfall: 0 };
                    operator.set_policies(policies).await.map(drop)
                }
            };
            count(&counts, if asked.is_ok() { "calls of the operator" } else { "refused to the operator" });
            tokio::time::sleep(Duration::from_millis(30 + dice.roll(60))).await;
        }
    }
}

/// What was seen of the site's ticks.
struct Watch {
    ticks: Messages<wire::SiteTick>,
    last: wire::SiteTick,
    seen: u64,
    gaps: u64,
}

impl Watch {
    /// A tick that must follow the last one.
    async fn tick(&mut self) {
        let tick = next(&mut self.ticks).await.unwrap();
        balance::check(&tick).unwrap();
        assert_eq!((tick.tick, tick.missed), (self.last.tick + 1, 0), "a tick is lost");
        assert_eq!(
            tick.wall_start_ms,
            self.last.wall_start_ms + self.last.span_ms,
            "tick {}: time is lost",
            tick.tick
        );
        self.gaps += u64::from(tick.gap);
        (self.last, self.seen) = (tick, self.seen + 1);
    }

    /// Goes on after a restart: what was settled unseen meanwhile is in the ledger.
    async fn resume(&mut self, site: &Site) {
        self.ticks = site.ticks().await.unwrap();
        let first = next(&mut self.ticks).await.unwrap();
        assert!(first.tick > self.last.tick, "tick {} was settled once already", first.tick);
        let request = wire::QueryLedgerRequest {
            from_tick: Some(self.last.tick),
            to_tick: Some(first.tick),
            app: Some("house".into()),
            rows_max: 0,
        };
        let mut rows = site.operator().await.unwrap().query_ledger(request).await.unwrap();
        let (mut number, mut end) = (self.last.tick, self.last.wall_start_ms);
        while let Some(row) = wait::answer("a row", rows.next()).await.unwrap() {
            assert_eq!((row.tick, row.wall_start_ms), (number, end), "the ledger misses a tick");
            (number, end) = (row.tick + 1, row.wall_start_ms + row.span_ms);
        }
        assert_eq!((first.tick, first.wall_start_ms), (number, end), "the ledger misses a tick");
        self.last = first;
    }
}

/// A look at the daemon's memory.
struct Sample {
    at: Duration,
    life: usize,
    rss_kib: u64,
}

fn median(samples: &[&Sample]) -> u64 {
    let mut figures: Vec<u64> = samples.iter().map(|sample| sample.rss_kib).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// Moments within a part of the run, in order.
fn moments(dice: &mut Dice, many: u64, from: Duration, to: Duration) -> Vec<Duration> {
    let ms = |moment: Duration| u64::try_from(moment.as_millis()).unwrap();
    let one = |dice: &mut Dice| Duration::from_millis(ms(from) + dice.roll(ms(to) - ms(from)));
    let mut all: Vec<Duration> = (0..many).map(|_| one(dice)).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_long_run_stays_flat_and_balances() {
    let (length, began) = (length(), Instant::now());
    let seed = environment("ECOVISOR_SOAK_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed}, {} s of real time, {FACTOR} times as fast", length.as_secs());
    let mut dice = Dice(seed);
    let config = config(&mut dice, length);
    let mut site = Site::start(&config).await.unwrap();
    let counts = Counts::default();
    let mut clients = vec![tokio::spawn(operator(site.socket(), Dice(seed + 100), counts.clone()))];
    for (i, name) in (0..).zip(["web", "batch", "web"]) {
        clients.push(tokio::spawn(app(site.app_socket(name), Dice(seed + i), counts.clone())));
    }
    // The daemon is killed in the first half; in the second one life is long enough to see whether it grows.
    let many = u64::from(length >= Duration::from_secs(3_600)) * (length.as_secs() / 1_200) + 3;
    let mut kills = moments(&mut dice, many - 1, length / 20, length * 9 / 20);
    kills.push(length / 2);
    let mut reloads = moments(&mut dice, 10 + length.as_secs() / 120, Duration::ZERO, length * 9 / 10);
    kills.reverse();
    reloads.reverse();
    let mut ticks = site.ticks().await.unwrap();
    let last = next(&mut ticks).await.unwrap();
    let mut watch = Watch { ticks, last, seen: 1, gaps: 0 };
    let (mut samples, mut life, mut sampled) = (Vec::new(), 0, Duration::ZERO);
    let every = (length / 240).max(Duration::from_millis(250));
    while began.elapsed() < length {
        watch.tick().await;
        let at = began.elapsed();
        if at >= sampled {
            samples.push(Sample { at, life, rss_kib: process::rss_kib(site.pid().unwrap()).unwrap() });
            sampled = at + every;
        }
        if reloads.pop_if(|moment| at >= *moment).is_some() {
            let weight = format!("solar_weight = {}", 1 + dice.roll(9));
            site.configure(&replaced(&config, "solar_weight = 3", &weight)).unwrap();
            site.signal(Signal::HUP).unwrap();
            count(&counts, "reloads");
        }
        if kills.pop_if(|moment| at >= *moment).is_some() {
            site.kill().await.unwrap();
            site.run(&[]).await.unwrap();
            watch.resume(&site).await;
            count(&counts, "kills");
            life += 1;
        }
    }
    for client in &clients {
        assert!(!client.is_finished(), "a client has panicked");
        client.abort();
    }
    let mut drift = 0;
    for _ in 0..CALM_TICKS {
        watch.tick().await;
        let flows = watch.last.site.clone().unwrap();
        assert_eq!(
            flows.battery_level_metered_uj,
            Some(flows.battery_level_booked_uj),
            "tick {}",
            watch.last.tick
        );
        drift += flows.drift_up_uj + flows.drift_down_uj;
    }
    let verified = site.ecoctl(&["ledger", "verify"]).await.unwrap();
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    println!("{}", verified.stdout.trim());
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let grown = report(seed, length, &samples, life, &watch, drift, &counts.lock().unwrap());
    assert!(
        grown.abs() <= i64::try_from(RSS_PERCENT * 100).unwrap(),
        "memory has changed by {grown} / 100 percent"
    );
}

/// Prints the figures and writes them down; by how much memory has changed in the last life, in hundredths of a percent.
fn report(
    seed: u64,
    length: Duration,
    samples: &[Sample],
    life: usize,
    watch: &Watch,
    drift_uj: u64,
    counts: &BTreeMap<&'static str, u64>,
) -> i64 {
    let own: Vec<&Sample> = samples.iter().filter(|sample| sample.life == life).collect();
    let quarter = own.len() / 4;
    assert!(quarter >= 3, "{} looks at the last life are too few", own.len());
    let (before, after) = (median(&own[quarter..2 * quarter]), median(&own[3 * quarter..]));
    let signed = |figure: u64| i64::try_from(figure).unwrap();
    let grown = (signed(after) - signed(before)) * 10_000 / signed(before);
    println!("{:>8} {:>5} {:>9}", "second", "life", "RSS KiB");
    for sample in samples.iter().step_by((samples.len() / 24).max(1)) {
        println!("{:>8} {:>5} {:>9}", sample.at.as_secs(), sample.life, sample.rss_kib);
    }
    let lives = life + 1;
    println!(
        "{} ticks seen in {lives} lives, {} of them gaps, drift in the last {CALM_TICKS}: {drift_uj} uJ",
        watch.seen, watch.gaps
    );
    for (what, many) in counts {
        println!("{many:>8} {what}");
    }
    println!("last life: {before} KiB in its second quarter, {after} KiB in its last: {grown} / 100 percent");
    let curve: Vec<_> = samples
        .iter()
        .map(|s| serde_json::json!([s.at.as_millis().to_string(), s.life, s.rss_kib]))
        .collect();
    let json = serde_json::json!({
        "seed": seed, "seconds": length.as_secs(), "factor": FACTOR, "ticks": watch.seen, "gaps": watch.gaps,
        "lives": lives, "drift_uj": drift_uj, "counts": counts, "rss_kib_second_quarter": before,
        "rss_kib_last_quarter": after, "at_ms_life_rss_kib": curve,
    });
    std::fs::write(programs::target_directory().unwrap().join("soak.json"), format!("{json}\n")).unwrap();
    grown
}
