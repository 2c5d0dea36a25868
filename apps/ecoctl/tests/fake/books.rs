//! The books that the daemon for tests exports: ticks of a site without anything.

use ecovisor_audit::{Applied, Checkpoint, Entry, Linked};
use ecovisor_sdk::operator::wire;
use wire::export_ledger_reply::Piece;
use wire::ledger_row::Account;

/// Books of a site without anything: the audit crate's golden snapshot, then ticks, each with its rows.
pub fn export(ticks: usize) -> Vec<wire::ExportLedgerReply> {
    let hex = include_str!("../golden/checkpoint.hex").trim();
    let snapshot: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let checkpoint =
        Checkpoint::decode(&snapshot).expect("the audit crate's format changed: copy its golden bytes");
    let (mut state, mut link) = (checkpoint.snapshot, checkpoint.link);
    let (front, back) = snapshot.split_at(snapshot.len() / 2);
    let mut pieces = vec![Piece::Snapshot(front.to_vec()), Piece::Snapshot(back.to_vec())];
    for _ in 0..ticks {
        let linked = Linked::new(link, Entry::Tick(Default::default()));
        link = linked.link;
        pieces.push(Piece::JournalEntry(linked.encode()));
        let Applied::Settled(record) = state.apply(&linked.entry).unwrap() else { panic!("a tick settles") };
        let outcome = &record.outcome;
        let row = |estimated, account| wire::LedgerRow {
            tick: outcome.tick.0,
            wall_start_ms: outcome.wall.get(),
            span_ms: outcome.span.get(),
            gap: outcome.gap,
            estimated,
            grid_carbon_mg_per_kwh: outcome.intensity.get(),
            account: Some(account),
        };
        let nothing = wire::Flows { carbon_product: "0".into(), ..wire::Flows::default() };
        for app in &outcome.apps {
            let name = record.app_name(app.app).unwrap().to_string();
            let account = wire::AppRow { app: name, flows: Some(nothing.clone()), ..wire::AppRow::default() };
            pieces.push(Piece::Row(row(app.estimated, Account::App(account))));
        }
        let grid_carbon_mg_per_kwh = outcome.intensity.get();
        let flows = wire::SiteFlows {
            grid_carbon_mg_per_kwh,
            carbon_product: "0".into(),
            ..wire::SiteFlows::default()
        };
        pieces.push(Piece::Row(row(false, Account::Site(flows))));
    }
    pieces.into_iter().map(|piece| wire::ExportLedgerReply { piece: Some(piece) }).collect()
}
