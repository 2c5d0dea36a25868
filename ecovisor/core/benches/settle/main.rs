//! What a tick costs per app, beside a plain loop over columns that does the same sums in the same run.
//!
//! A plain program, since what is wanted is one table:
//!
//! ```text
//! cargo bench -p ecovisor-core --bench settle                           everything, about two minutes
//! cargo bench -p ecovisor-core --bench settle -- --quick --json FILE    below twenty seconds, figures to FILE
//! cargo bench -p ecovisor-core --bench settle -- 50 5000                these counts of apps
//! cargo bench -p ecovisor-core --bench settle -- 1000 --profile common  100 ticks of one scene and nothing else
//! ```
//!
//! Each figure is the median over ticks, in wall time on one thread; those that stand in a ratio are taken in turns.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

mod plain;
mod scenes;
mod sites;

use plain::Plain;
use scenes::Scene;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// What is measured at one count of apps, in ns per app and tick.
struct Figures {
    apps: usize,
    settle: f64,
    plain: f64,
    pool: f64,
    hard: f64,
    /// `None` where creating that many apps would take longer than all the rest.
    step: Option<f64>,
}

/// How much is measured.
struct Effort {
    counts: Vec<usize>,
    /// The most apps that are created by commands, for the figure of a whole step.
    step_apps_max: usize,
    /// The least wall time that a median is taken over.
    each: Duration,
}

impl Effort {
    fn asked(args: &[String]) -> Self {
        let counts: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
        let quick = args.iter().any(|arg| arg == "--quick");
        // Without `--bench` this is a test run: it only has to work.
        let timed = args.iter().any(|arg| arg == "--bench");
        let (default, step_apps_max, each) = match (timed, quick) {
            (false, _) => (vec![10], 10, 1),
            (true, true) => (vec![1_000, 10_000, 100_000, 1_000_000], 1_000, 300),
            (true, false) => (vec![1_000, 10_000, 100_000, 1_000_000], 10_000, 3_000),
        };
        let counts = if counts.is_empty() { default } else { counts };
        Self { counts, step_apps_max, each: Duration::from_millis(each) }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let effort = Effort::asked(&args);
    if let Some(scene) = value_of(&args, "--profile") {
        return profile(scene, effort.counts[0]);
    }
    plain::compare(1_000, 20);
    let one_app = sites::one_app_step_ns(effort.each);
    println!("ns per app and tick; a tick with one app and house, step included: {one_app:.0} ns");
    println!(
        "{:>9}  {:>8}  {:>8}  {:>6}  {:>8}  {:>8}  {:>8}",
        "apps", "settle", "plain", "ratio", "pool", "hard", "step"
    );
    let mut measured = Vec::new();
    for &apps in &effort.counts {
        let figures = measure(apps, &effort);
        println!("{}", row(&figures));
        measured.push(figures);
    }
    println!("{}", scenes::LEGEND);
    if let Some(file) = value_of(&args, "--json") {
        std::fs::write(file, json(&measured, one_app)).expect("the file for the figures can be written");
    }
}

fn value_of<'a>(args: &'a [String], name: &str) -> Option<&'a String> {
    args.iter().skip_while(|arg| *arg != name).nth(1)
}

/// For whoever looks with a profiler: a hundred ticks, less what building the scene costs.
fn profile(scene: &str, apps: usize) {
    let mut scene = match scene {
        "common" => Scene::common(apps),
        "pool" => Scene::pool(apps),
        "hard" => Scene::hard(apps),
        other => panic!("there is no scene {other}: common, pool or hard"),
    };
    (0..100).for_each(|_| scene.tick());
}

fn measure(apps: usize, effort: &Effort) -> Figures {
    let mut common = Scene::common(apps);
    let mut plain = Plain::new(&common);
    let (settle, plain) = in_turns(effort.each, || common.tick(), || plain.tick());
    let mut pool = Scene::pool(apps);
    let mut hard = Scene::hard(apps);
    let (pool, hard) = in_turns(effort.each, || pool.tick(), || hard.tick());
    let step = (apps <= effort.step_apps_max).then(|| sites::step_ns(apps, effort.each));
    let per_app = |ns: f64| ns / sites::float(apps);
    Figures {
        apps,
        settle: per_app(settle),
        plain: per_app(plain),
        pool: per_app(pool),
        hard: per_app(hard),
        step: step.map(per_app),
    }
}

/// Ticks taken before any is timed.
const WARM: usize = 3;

/// Median ns of each of two things that are done in turns, for at least that long and seven times.
fn in_turns(least: Duration, mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while ones.len() < WARM + 7 || began.elapsed() < least {
        ones.push(timed(&mut one));
        others.push(timed(&mut other));
    }
    (median(ones), median(others))
}

fn timed(what: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.drain(..WARM);
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1e9
}

fn row(f: &Figures) -> String {
    let step = f.step.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.0}"));
    let ratio = f.settle / f.plain;
    let Figures { apps, settle, plain, pool, hard, .. } = f;
    format!("{apps:>9}  {settle:>8.1}  {plain:>8.1}  {ratio:>6.2}  {pool:>8.1}  {hard:>8.1}  {step:>8}")
}

/// One flat object, the count of apps at the end of each name: `settle_ns_per_app_1k`.
fn json(measured: &[Figures], one_app: f64) -> String {
    let mut text = format!("{{\n  \"step_ns_one_app\": {one_app:.1}");
    for f in measured {
        let count = match f.apps {
            n if n % 1_000_000 == 0 => format!("{}m", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{}k", n / 1_000),
            n => n.to_string(),
        };
        let figures = [
            ("settle_ns_per_app", Some(f.settle)),
            ("plain_ns_per_app", Some(f.plain)),
            ("settle_to_plain", Some(f.settle / f.plain)),
            ("settle_pool_ns_per_app", Some(f.pool)),
            ("settle_hard_ns_per_app", Some(f.hard)),
            ("step_ns_per_app", f.step),
        ];
        for (name, figure) in figures {
            let Some(figure) = figure else { continue };
            write!(text, ",\n  \"{name}_{count}\": {figure:.2}").expect("a string takes all");
        }
    }
    text + "\n}\n"
}
