//! The records' chain: every tick's record carries the SHA-256 of its predecessor's link and of its own books.
//!
//! What is hashed is the tick's tables ([`TickRows`]) and not the bytes in which a record happens to be stored: so the
//! chain outlives changes of that layout, and whoever has the exported rows can compute it. All numbers are LEB128
//! (seven bits a byte, the lowest first), in this order:
//!
//! ```text
//! 1 (this layout)  tick  wall_start_ms  span_ms  gap (0 or 1)  grid_carbon_mg_per_kwh
//! metered: solar grid_import grid_export battery_in battery_out load level, each as 0 (no reading) or 1 + its figure
//! the site's 28 flows, in the order of the ledger's columns
//! how many apps; for each: number, bytes of its name, the name, estimated (0 or 1), its 34 flows,
//!   stored debt loan buffered carbon_content, passed: claim buffer debt loan
//! ```
//! A tick in which something came to an app from its parent or a child is hashed in layout 2: it begins with 2, and each
//! app ends with what came: claim buffer debt loan.

use crate::books::{AppRow, Passed, SiteRow, TickRows};
use crate::cells::{put, wide};
use crate::chain::Link;
use crate::frame::{self, FrameError, Kind};
use crate::record::Record;
use ecovisor_units::Energy;

/// The layout that is hashed where nothing came to an app from another.
const LAYOUT: u128 = 1;

/// The layout of the other ticks.
const LAYOUT_WITH_CAME: u128 = 2;

/// Flows of an app that layout 1 knows; later ones do not count in it.
const APP_FLOWS: usize = 34;

/// Flows of the site that layout 1 knows.
const SITE_FLOWS: usize = 28;

/// The link after a tick whose tables are these.
#[must_use]
pub fn after(before: Link, rows: &TickRows) -> Link {
    before.after(&bytes(rows))
}

/// What is hashed of a tick.
#[must_use]
pub fn bytes(rows: &TickRows) -> Vec<u8> {
    let mut bytes = Vec::new();
    let came = rows.apps.iter().any(|app| app.came != Passed::default());
    let front = [
        if came { LAYOUT_WITH_CAME } else { LAYOUT },
        rows.tick.into(),
        rows.wall_start.get().into(),
        rows.span.get().into(),
        rows.gap.into(),
        rows.site.intensity.get().into(),
    ];
    front.into_iter().for_each(|figure| put(&mut bytes, figure));
    put_site(&mut bytes, &rows.site);
    put(&mut bytes, wide(rows.apps.len()));
    for app in &rows.apps {
        put_app(&mut bytes, app);
        if came {
            put_passed(&mut bytes, &app.came);
        }
    }
    bytes
}

fn put_site(bytes: &mut Vec<u8>, site: &SiteRow) {
    let m = &site.metered;
    for meter in [m.solar, m.grid_import, m.grid_export, m.battery_in, m.battery_out, m.load, m.level] {
        put(bytes, meter.map_or(0, |figure: Energy| 1 + u128::from(figure.get())));
    }
    site.flows.figures().take(SITE_FLOWS).for_each(|(_, figure)| put(bytes, figure));
}

fn put_app(bytes: &mut Vec<u8>, app: &AppRow) {
    put(bytes, app.id.get().into());
    put(bytes, wide(app.app.len()));
    bytes.extend(app.app.as_bytes());
    put(bytes, app.estimated.into());
    app.flows.figures().take(APP_FLOWS).for_each(|(_, figure)| put(bytes, figure));
    let account = &app.account;
    let stands = [
        account.stored.get().into(),
        account.debt.get(),
        account.loan.get(),
        account.buffered.get().into(),
        account.carbon_content.get(),
    ];
    stands.into_iter().for_each(|figure| put(bytes, figure));
    put_passed(bytes, &app.passed);
}

fn put_passed(bytes: &mut Vec<u8>, passed: &Passed) {
    let Passed { claim, buffer, debt, loan } = *passed;
    let figures = [claim.get().into(), buffer.get().into(), debt.get(), loan.get()];
    figures.into_iter().for_each(|figure| put(bytes, figure));
}

/// A record with its link of the chain: what a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedRecord {
    /// The link after the record; `None` for one that was written before records were linked.
    pub link: Option<Link>,
    /// The record.
    pub record: Record,
}

impl LinkedRecord {
    /// The record that follows `before`.
    #[must_use]
    pub fn new(before: Link, record: Record) -> Self {
        Self { link: Some(after(before, &TickRows::from(&record))), record }
    }

    /// As a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self.link {
            Some(link) => {
                frame::seal(Kind::LinkedRecord, &[&link.bytes()[..], &frame::pack(&self.record)].concat())
            }
            None => self.record.encode(),
        }
    }

    /// From a frame, of linked records or of those from before.
    ///
    /// # Errors
    /// What is wrong with it. Whether it follows its predecessor is another question.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if frame::is(Kind::Record, bytes) {
            return Ok(Self { link: None, record: frame::decode(Kind::Record, bytes)? });
        }
        let (link, record) = frame::decode_pair(Kind::LinkedRecord, bytes)?;
        Ok(Self { link: Some(link), record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use ecovisor_core::{Flows, SiteFlows};

    #[test]
    fn the_hash_of_a_tick_is_fixed() {
        assert_eq!((Flows::FIELDS.len(), SiteFlows::FIELDS.len()), (APP_FLOWS, SITE_FLOWS));
        let empty = TickRows { tick: 300, ..TickRows::default() };
        let mut due = vec![1, 0xac, 2, 0, 0, 0, 0];
        due.extend([0; 7 + SITE_FLOWS + 1]);
        assert_eq!(bytes(&empty), due);
        let life = life(1, 3);
        let link = life.records.iter().fold(Link::ORIGIN, |link, record| after(link, &record.into()));
        assert_eq!(link.to_string(), "b6cdb8d4964fec898e72ec2149f151e7975c6aaf6eba93f5f9f3ee414cc23869");
    }

    #[test]
    fn every_figure_of_the_tables_counts() {
        let life = life(2, 40);
        let record = life.records.iter().find(|record| record.outcome.apps.len() > 2).unwrap();
        let rows = TickRows::from(record);
        let differs = |change: &dyn Fn(&mut TickRows), what: &str| {
            let mut changed = rows.clone();
            change(&mut changed);
            assert_ne!(after(Link::ORIGIN, &changed), after(Link::ORIGIN, &rows), "{what}");
        };
        for field in Flows::FIELDS {
            differs(&|rows| rows.apps[0].flows.set(field, 987_654_321).unwrap(), field);
        }
        for field in SiteFlows::FIELDS {
            differs(&|rows| rows.site.flows.set(field, 987_654_321).unwrap(), field);
        }
        differs(&|rows| rows.apps[0].app.push('x'), "name");
        differs(&|rows| rows.apps[0].account.stored = Energy::MAX, "stored");
        differs(&|rows| rows.apps[0].passed.claim = Energy::MAX, "claim");
        differs(&|rows| rows.apps[0].came.claim = Energy::MAX, "claim that came");
        differs(&|rows| rows.site.metered.level = Some(Energy::MAX), "level");
        differs(&|rows| drop(rows.apps.remove(0)), "an app");
    }

    #[test]
    fn a_linked_record_survives_its_bytes_and_so_does_one_from_before() {
        let record = life(3, 1).records.remove(0);
        let linked = LinkedRecord::new(Link::ORIGIN.after(b"x"), record.clone());
        assert_eq!(Record::decode(&linked.encode()), Ok(record.clone()));
        assert_eq!(LinkedRecord::decode(&linked.encode()), Ok(linked));
        let before = LinkedRecord { link: None, record: record.clone() };
        assert_eq!(LinkedRecord::decode(&record.encode()), Ok(before));
    }
}
