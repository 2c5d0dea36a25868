//! Other languages: a generic client that knows the site by reflection alone, a Python client with the SDK's duties, and
//! the documentation of it, whose code is run as it stands.

use crate::configs::NOON;
use crate::skip;
use crate::tls::site_with_tls;
use ecovisor_hil_tests::machine::all_is_provided;
use ecovisor_hil_tests::programs::{repository, target_directory};
use ecovisor_hil_tests::site::{Ended, Site, command, ended};
use std::path::PathBuf;

/// The Python that `./test` has given its gRPC packages; `Err` says why there is none.
pub fn python() -> Result<PathBuf, String> {
    let venv = target_directory().unwrap().join("python-venv");
    let python = venv.join("bin/python");
    if venv.join(".complete").is_file() && python.exists() {
        return Ok(python);
    }
    let why = format!(
        "{} has no Python environment with grpcio: run `./test` once, which makes it",
        venv.display()
    );
    assert!(!all_is_provided(), "{why}");
    Err(why)
}

/// Runs a Python program against a site, with the stubs that are made from `proto/` on the spot.
async fn run(site: &Site, port: u16, python: PathBuf, program: PathBuf) -> Ended {
    let stubs = site.path("stubs");
    std::fs::create_dir_all(&stubs).unwrap();
    let mut protoc = command(&python);
    protoc.args(["-m", "grpc_tools.protoc", "-I"]).arg(repository().join("proto"));
    for out in ["--python_out", "--grpc_python_out"] {
        protoc.arg(format!("{out}={}", stubs.display()));
    }
    let files = ["energy", "errors", "flows", "operator", "quantities"];
    let made = ended(protoc.args(files.map(|file| format!("ecovisor/v1/{file}.proto")))).await.unwrap();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let mut run = command(python);
    let path = format!("{}:{}", stubs.display(), repository().join("hil-tests/python").display());
    run.arg(program).env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(site.path(""));
    run.env("ECOVISOR_SOCKET", site.app_socket("web")).env("ECOVISOR_OPERATOR_SOCKET", site.socket());
    run.env("ECOVISOR_ADDRESS", format!("localhost:{port}")).env("ECOVISOR_CA", site.path("ca/ca.pem"));
    run.env("ECOVISOR_CERT", site.path("ca/app-web.pem")).env("ECOVISOR_KEY", site.path("ca/app-web.key"));
    ended(&mut run).await.unwrap()
}

fn assert_ok(ran: &Ended) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.ends_with("ok\n"), "it did not come to its end:\n{}{}", ran.stdout, ran.stderr);
}

#[tokio::test]
async fn a_python_client_does_what_the_sdk_does() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => skip!("{why}"),
    };
    let (site, port) = site_with_tls(NOON).await;
    assert_ok(&run(&site, port, python, repository().join("hil-tests/python/check_client.py")).await);
}

#[tokio::test]
async fn a_generic_client_finds_health_and_both_reflections() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => skip!("{why}"),
    };
    let (site, port) = site_with_tls(NOON).await;
    assert_ok(&run(&site, port, python, repository().join("hil-tests/python/check_generic.py")).await);
}

/// The blocks of a page in one language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines() {
        match (&mut block, line) {
            (None, line) if line.strip_prefix("```") == Some(language) => block = Some(String::new()),
            (None, _) => {}
            (Some(text), "```") => found.push(std::mem::take(text)),
            (Some(text), line) => text.extend([line, "\n"]),
        }
        if line == "```" {
            block = None;
        }
    }
    found
}

#[test]
fn the_blocks_of_a_page_are_those_of_one_language() {
    let page = "a\n```sh\nls\n```\n```python\nx = 1\n\ny = 2\n```\nb\n```python\nz\n```\n";
    assert_eq!(blocks(page, "python"), ["x = 1\n\ny = 2\n", "z\n"]);
    assert_eq!(blocks(page, "sh"), ["ls\n"]);
}

#[tokio::test]
async fn the_documented_python_runs_as_it_stands() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => skip!("{why}"),
    };
    let page = std::fs::read_to_string(repository().join("docs/python.md")).unwrap();
    let (site, port) = site_with_tls(NOON).await;
    let script = blocks(&page, "python");
    assert!(script.len() >= 6, "docs/python.md has {} blocks of python", script.len());
    let program = site.path("documented.py");
    std::fs::write(&program, format!("{}\nprint('ok')\n", script.join("\n"))).unwrap();
    assert_ok(&run(&site, port, python, program).await);
}

#[tokio::test]
async fn the_documented_way_to_the_stubs_makes_them() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => skip!("{why}"),
    };
    let page = std::fs::read_to_string(repository().join("docs/python.md")).unwrap();
    let site = Site::new(NOON).unwrap();
    std::os::unix::fs::symlink(repository().join("proto"), site.path("proto")).unwrap();
    let [script] = &blocks(&page, "sh")[..] else { panic!("docs/python.md has one block of sh") };
    let mut shell = command("bash");
    shell.args(["-euc", script]).current_dir(site.path(""));
    let bin = python.parent().unwrap();
    shell.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let made = ended(&mut shell).await.unwrap();
    assert_eq!(made.code, Some(0), "{}{}", made.stdout, made.stderr);
    assert!(site.path("stubs/ecovisor/v1/energy_pb2_grpc.py").is_file());
}
