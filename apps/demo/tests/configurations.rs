//! The configurations in `etc/` are what the daemon understands.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What `ecovisord check` says of a file.
fn check(config: &Path) -> Output {
    let ecovisord = Path::new(env!("CARGO_BIN_EXE_ecovisor-demo")).with_file_name("ecovisord");
    assert!(ecovisord.exists(), "{} is missing: `cargo build -p ecovisor-daemon`", ecovisord.display());
    Command::new(ecovisord).arg("check").arg("--config").arg(config).output().unwrap()
}

fn understood(name: &str) -> String {
    let output = check(&repository().join("etc").join(name));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_is_understood_whole() {
    let said = understood("site.example.toml");
    for expected in ["buffered", "4 kWh usable", "import 5 kW, export 2 kW", "app       web", "emulated"] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
}

/// Lines of the example that are comments show fields too: with them uncommented it is still understood, but for what
/// excludes what stands beside it.
#[test]
fn the_fields_that_the_example_only_mentions_exist() {
    let example = std::fs::read_to_string(repository().join("etc/site.example.toml")).unwrap();
    let excluded = ["file =", "factor =", "energy ="];
    let shown = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let is_field =
            rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        (is_field && !excluded.iter().any(|field| rest.starts_with(field))).then(|| rest.to_owned())
    };
    let all: Vec<String> =
        example.lines().map(|line| shown(line).unwrap_or_else(|| line.to_owned())).collect();
    assert!(all.iter().any(|line| line.starts_with("[tls]")), "the example no longer shows [tls]");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    std::fs::write(&path, all.join("\n")).unwrap();
    let output = check(&path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_machine_alone_needs_nothing_emulated() {
    let said = understood("laptop-only.toml");
    assert!(said.contains("battery   none") && !said.contains("emulated"), "{said}");
}
