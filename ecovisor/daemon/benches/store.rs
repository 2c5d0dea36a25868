//! Both engines under the daemon's own workload, each in a process of its own: `cargo bench -p ecovisor-daemon --bench store`.
//! `-- --quick` commits fewer ticks; `-- --json FILE` writes the figures as a JSON array.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Apps and the ticks to commit.
const SIZES: [(u32, u32); 2] = [(10, 6_000), (1_000, 1_000)];

/// The same for a look.
const QUICK: [(u32, u32); 2] = [(10, 600), (1_000, 60)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().position(|word| word == "--json").and_then(|at| arguments.get(at + 1));
    let sizes = if arguments.iter().any(|word| word == "--quick") { QUICK } else { SIZES };
    match measure(&sizes, json.map(Path::new)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(sizes: &[(u32, u32)], json: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:6} {:>5} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "engine",
        "apps",
        "ticks",
        "p50 us",
        "p99 us",
        "cpu us",
        "rss KiB",
        "disk KiB",
        "open us",
        "killed us"
    );
    let mut all = Vec::new();
    for (apps, ticks) in sizes {
        for engine in ["sled", "redb"] {
            let figures = one(engine, *apps, *ticks)?;
            let figure = |name: &str| figures[name].as_u64().unwrap_or(0);
            println!(
                "{engine:6} {apps:>5} {ticks:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
                figure("commit_us_p50"),
                figure("commit_us_p99"),
                figure("cpu_us_per_tick"),
                figure("rss_kib_after") - figure("rss_kib_before"),
                figure("disk_bytes") / 1024,
                figure("open_us"),
                figure("open_killed_us"),
            );
            all.push(figures);
        }
    }
    println!("rss is what the store added to the process; killed is the time to open what `kill -9` leaves");
    match json {
        Some(file) => Ok(std::fs::write(file, serde_json::to_vec_pretty(&all)?)?),
        None => Ok(()),
    }
}

/// One engine at one size, by the program that ships.
fn one(engine: &str, apps: u32, ticks: u32) -> Result<Value, Box<dyn std::error::Error>> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{engine}-{apps}"));
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecovisord"));
    command.args(["store", "measure", "--json", "--engine", engine, "--to"]).arg(&directory);
    command.args(["--apps", &apps.to_string(), "--ticks", &ticks.to_string()]);
    let output = command.output()?;
    std::fs::remove_dir_all(&directory)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
