//! `ecoctl ledger` against books that hold and books that were changed.
#![allow(clippy::unwrap_used)]

mod fake;

use ecovisor_sdk::operator::wire;
use fake::Daemon;
use wire::export_ledger_reply::Piece;
use wire::ledger_row::Account;

/// Changes what the house is said to have drawn from the grid in tick 1.
fn forge(export: &mut Vec<wire::ExportLedgerReply>) {
    for reply in export {
        if let Some(Piece::Row(row)) = &mut reply.piece
            && let (1, Some(Account::App(app))) = (row.tick, &mut row.account)
        {
            app.flows.as_mut().unwrap().grid_to_load_uj = 41;
        }
    }
}

#[tokio::test]
async fn a_changed_figure_is_named_and_exits_with_6() {
    let daemon = Daemon::start_with(forge).await;
    let output = daemon.ecoctl(&["--json", "ledger", "verify"]).await;
    assert_eq!(output.status.code(), Some(6));
    let said: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let error = &said["error"];
    assert_eq!(
        (&error["tick"], &error["app"], &error["field"]),
        (&1.into(), &"house".into(), &"grid_to_load_uj".into())
    );
    assert_eq!((&error["shown"], &error["recomputed"]), (&"41".into(), &"0".into()));
    assert!(!daemon.all_asked().contains(&"VerifyLedgerRequest".to_string()), "the daemon is not believed");
}

#[tokio::test]
async fn an_export_is_verified_where_the_daemon_is_not() {
    let daemon = Daemon::start().await;
    let file = |name: &str| daemon.directory().join(name).to_str().unwrap().to_string();
    let (csv, journal) = (file("rows.csv"), file("journal"));
    let exported = daemon.ecoctl(&["ledger", "export", "--out", &csv, "--journal", &journal]).await;
    assert_eq!(exported.status.code(), Some(0));
    let table = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(table.lines().count(), 1 + 3 * 2, "a header, and per tick the house and the site");
    assert!(table.starts_with("tick,wall_start_ms,span_ms,account,"), "{table}");

    let verify =
        async |rows: &str| fake::ecoctl(&["ledger", "verify", "--file", &journal, "--rows", rows]).await;
    let whole = verify(&csv).await;
    assert_eq!(whole.status.code(), Some(0), "{}", String::from_utf8_lossy(&whole.stderr));
    let said = String::from_utf8_lossy(&whole.stdout).into_owned();
    assert!(said.contains("3 ticks (0 to 2) replayed from 3 journal entries, 6 rows compared"), "{said}");

    let changed = file("changed.csv");
    std::fs::write(&changed, table.replacen("house,", "horse,", 1)).unwrap();
    assert_eq!(verify(&changed).await.status.code(), Some(6));
    let mut bytes = std::fs::read(&journal).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    assert_eq!(verify(&csv).await.status.code(), Some(6));
    let missing = fake::ecoctl(&["ledger", "verify", "--file", "/nowhere/journal"]).await;
    assert_eq!(missing.status.code(), Some(5));
}
