//! The core beside the executable model of the rules (hil-tests/model): the same ticks, compared to the microjoule.
//!
//! Twenty times as many ticks and other seeds:
//! `python3 hil-tests/model/emit.py 100000 7 | cargo run --release -p ecovisor-core --example settle_json`

#[path = "../examples/settle_json.rs"]
mod settle_json;

use std::path::Path;
use std::process::{Command, Stdio};

/// Ticks compared on every run: about two seconds of Python.
const TICKS: usize = 3_000;

const SEED: &str = "1";

#[test]
fn the_core_agrees_with_the_model_to_the_microjoule() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hil-tests/model/emit.py");
    let ticks = TICKS.to_string();
    let python = Command::new("python3").arg(script).args([&ticks, SEED]).stderr(Stdio::inherit()).output();
    let emitted = match python {
        Ok(emitted) => emitted,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: because python3 is not installed");
            return;
        }
        Err(error) => panic!("python3 cannot be started: {error}"),
    };
    assert!(emitted.status.success(), "the model ends with {}", emitted.status);
    let lines = String::from_utf8(emitted.stdout).expect("JSON is text");
    let mut compared = 0;
    for line in lines.lines() {
        let tick = serde_json::from_str(line).expect("the model writes JSON");
        let answer = settle_json::answer(&tick).expect("the core settles what the model settles");
        settle_json::compare(&tick, &tick["books"], &answer).unwrap_or_else(|e| panic!("seed {SEED}: {e}"));
        compared += 1;
    }
    assert_eq!(compared, TICKS);
}
