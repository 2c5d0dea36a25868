//! Papers that others recompute: a statement and its tables go through the auditor's script, whole and tampered with.

use crate::configs::{NOON, replaced};
use crate::simulate::JULY;
use crate::skip;
use ecovisor_hil_tests::programs::program;
use ecovisor_hil_tests::site::{Ended, Site, command, ended, next};
use sha2::Digest as _;
use std::path::{Path, PathBuf};

/// Whether there is a Python to run the script with.
async fn has_python() -> bool {
    let mut python = command("python3");
    ended(python.arg("--version")).await.is_ok_and(|ended| ended.code == Some(0))
}

/// The script as `ecoctl` prints it.
async fn auditor(site: &Site) -> PathBuf {
    let printed = site.ecoctl(&["ledger", "auditor"]).await.unwrap();
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let path = site.path("recompute.py");
    std::fs::write(&path, printed.stdout).unwrap();
    path
}

async fn recompute(script: &Path, statement: &Path) -> Ended {
    let mut python = command("python3");
    ended(python.arg(script).arg(statement)).await.unwrap()
}

/// A simulated day, and the statement of one of its apps.
async fn simulated(config: &str, app: &str) -> (Site, PathBuf) {
    let site = Site::new(config).unwrap();
    let mut simulate = command(program("ecovisord").unwrap());
    simulate.args(["simulate", "--config"]).arg(site.path("site.toml"));
    simulate.args(["--for", "1d", "--out"]).arg(site.path("tables"));
    let done = ended(&mut simulate).await.unwrap();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let (tables, out) = (site.path("tables"), site.path(&format!("{app}.html")));
    let arguments = ["ledger", "statement", "--app", app, "--site", "july", "--tables"];
    let made = site
        .ecoctl(&[&arguments[..], &[tables.to_str().unwrap(), "--out", out.to_str().unwrap()]].concat())
        .await
        .unwrap();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    (site, out)
}

#[tokio::test]
async fn statements_of_a_simulated_day_recompute_from_their_tables_alone() {
    if !has_python().await {
        skip!("python3 is not installed");
    }
    // The buffer brings balances of its own.
    let rules = ["live", "buffered"].map(|rule| replaced(JULY, "\"live\"", &format!("\"{rule}\"")));
    for config in rules {
        for app in ["web", "house"] {
            let (site, statement) = simulated(&config, app).await;
            let script = auditor(&site).await;
            let checked = recompute(&script, &statement).await;
            assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
            assert!(checked.stdout.contains(&format!("{app} at july, ticks ")), "{}", checked.stdout);
            for kind in ["balances", "carbon: drawn x intensity", "meters", "figures as they are shown"] {
                assert!(checked.stdout.contains(kind), "{kind} in {}", checked.stdout);
            }
        }
    }
}

/// One cell of a table, changed; the statement gets the changed table's hash, so that only the figures can tell.
fn change_cell(statement: &Path, table: &str, at: usize, column: &str, change: impl Fn(&str) -> String) {
    let path = statement.with_extension(format!("{table}.csv"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let place = lines[0].split(',').position(|name| name == column).unwrap();
    let mut cells: Vec<String> = lines[at].split(',').map(str::to_owned).collect();
    cells[place] = change(&cells[place]);
    lines[at] = cells.join(",");
    let changed = lines.join("\n") + "\n";
    assert_ne!(changed, text, "{column} of line {at}");
    let page = std::fs::read_to_string(statement).unwrap();
    let page = page.replace(&hash(text.as_bytes()), &hash(changed.as_bytes()));
    std::fs::write(statement, page).unwrap();
    std::fs::write(path, changed).unwrap();
}

fn hash(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one_more(cell: &str) -> String {
    (cell.parse::<u128>().unwrap() + 1).to_string()
}

#[tokio::test]
async fn every_tampered_figure_is_named() {
    if !has_python().await {
        skip!("python3 is not installed");
    }
    let (site, statement) = simulated(JULY, "web").await;
    let script = auditor(&site).await;
    let paths =
        [statement.clone(), statement.with_extension("apps.csv"), statement.with_extension("site.csv")];
    let whole = paths.clone().map(|path| std::fs::read(path).unwrap());
    let refused = async |what: &str, due: &str| {
        let checked = recompute(&script, &statement).await;
        assert_eq!(checked.code, Some(1), "{what}: {}{}", checked.stdout, checked.stderr);
        assert!(checked.stderr.starts_with("DIFFERS: "), "{what}: {}", checked.stderr);
        assert!(checked.stderr.contains(due), "{what}: {} where {due} is due", checked.stderr);
        paths.iter().zip(&whole).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    };

    // In the middle of the day, any app: line 302 is batch's, since the first tick has the house alone.
    let app_columns = [
        ("load_uj", "load_uj"),
        ("solar_in_uj", "solar_in_uj"),
        ("grid_to_load_uj", "load_uj"),
        ("given_uj", "spilled_uj"),
        ("carbon_product", "carbon_product"),
        ("stored_uj", "stored_uj"),
        ("charge_loss_uj", "stored_uj"),
        ("debt_incurred_uj", "debt_uj"),
        ("passed_loan_uj", "loan_uj"),
        ("span_ms", "tick 100"),
    ];
    for (column, due) in app_columns {
        change_cell(&statement, "apps", 300, column, one_more);
        refused(column, due).await;
    }
    let site_columns = [
        ("intensity_mg_per_kwh", "carbon_product"),
        ("grid_import_booked_uj", "grid_import_booked_uj"),
        ("metered_solar_uj", "metered_solar_uj"),
        ("load_booked_uj", "load_booked_uj"),
        ("level_booked_uj", "level_booked_uj"),
        ("drift_up_uj", "house, stored_uj"),
    ];
    for (column, due) in site_columns {
        change_cell(&statement, "site", 150, column, one_more);
        refused(column, due).await;
    }
    // Nothing in the tables speaks against this one but the statement itself.
    change_cell(&statement, "apps", 302, "estimated", |_| "true".to_owned());
    refused("estimated", "estimated_").await;

    // A table that the statement was not made of.
    let csv = statement.with_extension("apps.csv");
    std::fs::write(&csv, std::fs::read_to_string(&csv).unwrap() + "\n").unwrap();
    refused("the hash", "SHA-256").await;

    // The statement itself: a figure of its JSON, what stands for it on the page, and a day that is left out.
    let page = std::fs::read_to_string(&statement).unwrap();
    let change = |from: &str, to: &str| {
        assert_eq!(page.matches(from).count(), 1, "{from}");
        std::fs::write(&statement, page.replace(from, to)).unwrap();
    };
    let load = page.rsplit("\"load_uj\": \"").next().unwrap().split('"').next().unwrap();
    change(
        &format!("\"load_uj\": \"{load}\",\n    \"loan"),
        &format!("\"load_uj\": \"{load}1\",\n    \"loan"),
    );
    refused("the total in the JSON", "load_uj").await;
    change(
        "data-figure=\"figures/charge_loss_uj\" data-unit=\"Wh\">",
        "data-figure=\"figures/charge_loss_uj\" data-unit=\"Wh\">9",
    );
    refused("a figure on the page", "figures/charge_loss_uj").await;
    change("\"first_tick\": 1,", "\"first_tick\": 0,");
    refused("the range", "ticks and times").await;
    assert_eq!(recompute(&script, &statement).await.code, Some(0), "put back, it holds again");
}

#[tokio::test]
async fn a_running_sites_statement_names_the_head_of_its_chain() {
    let mut site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..8 {
        next(&mut ticks).await.unwrap();
    }
    let directory = site.path("");
    let path = |name: &str| directory.join(name).display().to_string();
    let (page, journal) = (path("web.html"), path("ledger.eco"));
    let made = site.ecoctl(&["--json", "ledger", "statement", "--app", "web", "--out", &page]).await.unwrap();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let last: u64 =
        serde_json::from_str::<serde_json::Value>(&made.stdout).unwrap()["last_tick"].as_u64().unwrap();
    let end = (last + 1).to_string();
    let exported = site
        .ecoctl(&["ledger", "export", "--to", &end, "--out", &path("rows.csv"), "--journal", &journal])
        .await;
    assert_eq!(exported.unwrap().code, Some(0));
    let nobody =
        site.ecoctl(&["ledger", "statement", "--app", "nobody", "--out", &path("x.html")]).await.unwrap();
    assert_eq!(nobody.code, Some(5), "{}", nobody.stderr);
    assert!(!site.path("x.apps.csv").exists(), "no table of a statement that is none");
    assert_eq!(site.stop().await.unwrap(), Some(0));

    let text = std::fs::read_to_string(&page).unwrap();
    let head = text.split("\"chain_head\": \"").nth(1).unwrap().split('"').next().unwrap();
    let verified = site.ecoctl(&["ledger", "verify", "--file", &journal, "--head", head]).await.unwrap();
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);

    // The journal alone gives the same tables, by whichever way.
    let again = path("again.html");
    let made =
        site.ecoctl(&["ledger", "statement", "--app", "web", "--file", &journal, "--out", &again]).await;
    assert_eq!(made.unwrap().code, Some(0));
    let tables = path("tables");
    let exported = site.ecoctl(&["ledger", "export", "--file", &journal, "--tables", &tables]).await.unwrap();
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    for name in ["apps", "site"] {
        let [first, second] =
            ["web", "again"].map(|stem| std::fs::read(site.path(&format!("{stem}.{name}.csv"))).unwrap());
        assert!(first == second, "{name}");
        let third = std::fs::read(site.path("tables").join(format!("{name}.csv"))).unwrap();
        assert!(first == third, "{name} of the export");
    }
    if !has_python().await {
        skip!("python3 is not installed");
    }
    let script = auditor(&site).await;
    let checked = recompute(&script, Path::new(&page)).await;
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
}

/// Reads a table of Parquet and prints it as CSV, with `true`, `false` and empty cells as the ledger has them.
const AS_CSV: &str = r#"
import sys
try:
    import pyarrow.parquet as parquet
except ImportError:
    sys.exit(77)
table = parquet.read_table(sys.argv[1])
print(",".join(table.column_names))
said = lambda cell: "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)
for row in zip(*(column.to_pylist() for column in table.columns)):
    print(",".join(map(said, row)))
print(table.schema.metadata[b"ecovisor.chain_head"].decode(), file=sys.stderr)
"#;

#[tokio::test]
async fn other_programs_read_the_parquet_as_the_csv() {
    let site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..5 {
        next(&mut ticks).await.unwrap();
    }
    let path = |name: &str| site.path(name).display().to_string();
    let mut heads = Vec::new();
    for format in ["csv", "parquet"] {
        let export =
            ["--json", "ledger", "export", "--to", "5", "--format", format, "--tables", &path("tables")];
        let exported = site.ecoctl(&export).await.unwrap();
        assert_eq!(exported.code, Some(0), "{}", exported.stderr);
        let said: serde_json::Value = serde_json::from_str(&exported.stdout).unwrap();
        assert_eq!((&said["first_tick"], &said["last_tick"]), (&0.into(), &4.into()));
        heads.push(said["head"].as_str().unwrap().to_owned());
    }
    assert_eq!(heads[0], heads[1]);
    let python = crate::python::python().unwrap_or_else(|_| PathBuf::from("python3"));
    for name in ["apps", "site"] {
        let mut reader = command(&python);
        let read = reader.args(["-c", AS_CSV]).arg(site.path("tables").join(format!("{name}.parquet")));
        let Ok(read) = ended(read).await else { skip!("python3 is not installed") };
        if read.code == Some(77) {
            skip!("{} has no pyarrow: `pip install pyarrow` there", python.display());
        }
        assert_eq!(read.code, Some(0), "{}", read.stderr);
        let csv = std::fs::read_to_string(site.path("tables").join(format!("{name}.csv"))).unwrap();
        assert_eq!(read.stdout, csv, "{name}");
        assert_eq!(read.stderr.trim(), heads[0]);
    }
}
