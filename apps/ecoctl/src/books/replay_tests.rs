//! The replay against books that are made here: whole, and damaged in every way.

use super::*;
use ecovisor_audit::{Applied, Entry};

/// A checkpoint of a site without anything, as the daemon would export it: the bytes of the audit crate's own golden
/// test, since this program may not make a site.
fn snapshot() -> Vec<u8> {
    hex(include_str!("../../tests/golden/checkpoint.hex").trim())
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Journal entries that tick an empty site, each with its link, and the rows that they give.
fn books(ticks: usize) -> (Vec<Vec<u8>>, Vec<Row>) {
    let checkpoint =
        Checkpoint::decode(&snapshot()).expect("the audit crate's format changed: copy its golden bytes");
    let (mut state, mut link) = (checkpoint.snapshot, checkpoint.link);
    let mut entries = Vec::new();
    let mut rows = Vec::new();
    for _ in 0..ticks {
        let linked = Linked::new(link, Entry::Tick(Default::default()));
        link = linked.link;
        if let Ok(Applied::Settled(record)) = state.apply(&linked.entry) {
            let tick = record.outcome.tick.0;
            for (account, mut row) in recomputed(&record) {
                row.insert("tick".into(), tick.to_string());
                row.insert("account".into(), account);
                rows.push(row);
            }
        }
        entries.push(linked.encode());
    }
    (entries, rows)
}

fn replay(entries: &[Vec<u8>], rows: &[Row], head: Option<&str>) -> Result<Holds, Failure> {
    let mut replay = Replay::new(&snapshot(), !rows.is_empty())?;
    rows.iter().try_for_each(|row| replay.row(row.clone()))?;
    entries.iter().try_for_each(|entry| replay.entry(entry).map(drop))?;
    replay.finish(head)
}

#[test]
fn whole_books_hold() {
    let (entries, rows) = books(3);
    let holds = replay(&entries, &rows, None).unwrap();
    assert_eq!((holds.entries, holds.ticks, holds.compared), (3, 3, 6));
    assert_eq!((holds.first_tick, holds.last_tick), (Some(0), Some(2)));
    assert_eq!(replay(&entries, &rows, Some(&holds.head)), Ok(holds.clone()));
    assert_eq!(replay(&entries, &[], None).unwrap().compared, 0);
}

#[test]
fn a_figure_that_was_changed_is_named() {
    let (entries, mut rows) = books(2);
    let row = rows.iter_mut().find(|row| row["tick"] == "1" && row["account"] == "house").unwrap();
    row.insert("grid_to_load_uj".into(), "41".into());
    let failure = replay(&entries, &rows, None).unwrap_err();
    assert_eq!(failure.kind, Kind::Unverified);
    assert_eq!(
        failure.message,
        "the ledger does not hold: tick 1, house, grid_to_load_uj: shown 41, recomputed 0"
    );
    assert_eq!(failure.details["tick"], 1);
    assert_eq!(failure.details["app"], "house");
    assert_eq!(failure.details["field"], "grid_to_load_uj");
}

#[test]
fn an_entry_that_was_left_out_breaks_the_chain() {
    let (mut entries, rows) = books(3);
    entries.remove(1);
    let failure = replay(&entries, &rows, None).unwrap_err();
    assert!(failure.message.ends_with("does not follow from its predecessor"), "{}", failure.message);
}

#[test]
fn a_flipped_bit_is_found() {
    let (mut entries, _) = books(1);
    *entries[0].last_mut().unwrap() ^= 1;
    assert!(replay(&entries, &[], None).unwrap_err().message.contains("damaged"));
    let mut damaged = snapshot();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(Replay::new(&damaged, false).unwrap_err().kind, Kind::Unverified);
}

#[test]
fn rows_must_be_complete_between_the_first_and_the_last() {
    let (entries, rows) = books(3);
    let without =
        |tick: &str| -> Vec<Row> { rows.iter().filter(|row| row["tick"] != tick).cloned().collect() };
    assert!(replay(&entries, &without("1"), None).unwrap_err().message.ends_with("not shown"));
    assert!(replay(&entries, &without("0"), None).is_ok(), "entries may lead up to the first row");
    assert!(replay(&entries, &without("2"), None).is_ok(), "the last entry may not have its rows yet");
    let failure = replay(&entries[..2], &rows, None).unwrap_err();
    assert!(failure.message.ends_with("the row follows from no journal entry"), "{}", failure.message);
}

#[test]
fn another_head_than_the_one_written_down_is_no_match() {
    let (entries, _) = books(1);
    let failure = replay(&entries, &[], Some("00ff")).unwrap_err();
    assert!(failure.message.contains("not with 00ff"), "{}", failure.message);
}
