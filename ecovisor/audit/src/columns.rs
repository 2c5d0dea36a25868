//! The columns of the ledger's two tables, and a tick's cells in their order: what every form of the tables shares.
//!
//! Columns end in their unit: `_uj` is µJ, `_product` is µJ × mg CO2e/kWh (3.6 × 10¹² of them are 1 mg).

use crate::books::{AppRow, TickRows};
use ecovisor_core::{Flows, SiteFlows};

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, with its unit.
    pub name: String,
    /// What its cells hold.
    pub holds: Holds,
}

/// What a column's cells hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// `true` or `false`.
    Flag,
    /// A count below 2⁶⁴.
    Whole,
    /// A count below 2¹²⁸.
    Wide,
    /// A count below 2⁶⁴, or nothing where a meter had no reading.
    Reading,
    /// A name.
    Text,
}

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Of a flag's column.
    Flag(bool),
    /// Of a column of counts.
    Count(u128),
    /// Of a column of names.
    Text(&'a str),
    /// A reading that there was not.
    Absent,
}

const BEGIN: [(&str, Holds); 4] = [
    ("tick", Holds::Whole),
    ("wall_start_ms", Holds::Whole),
    ("span_ms", Holds::Whole),
    ("gap", Holds::Flag),
];

/// The columns of the table of apps that are no flows.
const APP: [(&str, Holds); 3] = [("estimated", Holds::Flag), ("app_id", Holds::Whole), ("app", Holds::Text)];
const ACCOUNT: [(&str, Holds); 13] = [
    ("stored_uj", Holds::Whole),
    ("debt_uj", Holds::Wide),
    ("loan_uj", Holds::Wide),
    ("buffered_uj", Holds::Whole),
    ("carbon_content_product", Holds::Wide),
    ("passed_claim_uj", Holds::Whole),
    ("passed_buffer_uj", Holds::Whole),
    ("passed_debt_uj", Holds::Wide),
    ("passed_loan_uj", Holds::Wide),
    ("came_claim_uj", Holds::Whole),
    ("came_buffer_uj", Holds::Whole),
    ("came_debt_uj", Holds::Wide),
    ("came_loan_uj", Holds::Wide),
];

/// The columns of the table of the site that are no flows.
const INTENSITY: (&str, Holds) = ("intensity_mg_per_kwh", Holds::Whole);
const METERED: [(&str, Holds); 7] = [
    ("metered_solar_uj", Holds::Reading),
    ("metered_grid_import_uj", Holds::Reading),
    ("metered_grid_export_uj", Holds::Reading),
    ("metered_battery_in_uj", Holds::Reading),
    ("metered_battery_out_uj", Holds::Reading),
    ("metered_load_uj", Holds::Reading),
    ("metered_level_uj", Holds::Reading),
];

/// The columns of the table of apps.
#[must_use]
pub fn app_columns() -> Vec<Column> {
    let flows = Flows::FIELDS.iter().map(|field| flow(field, |wide| Flows::default().set(field, wide)));
    let begin = BEGIN.into_iter().chain(APP).map(plain);
    begin.chain(flows).chain(ACCOUNT.map(plain)).collect()
}

/// The columns of the table of the site.
#[must_use]
pub fn site_columns() -> Vec<Column> {
    let flows =
        SiteFlows::FIELDS.iter().map(|field| flow(field, |wide| SiteFlows::default().set(field, wide)));
    let begin = BEGIN.into_iter().chain([INTENSITY]).map(plain);
    begin.chain(flows).chain(METERED.map(plain)).collect()
}

fn plain((name, holds): (&str, Holds)) -> Column {
    Column { name: name.to_owned(), holds }
}

/// A flow's column; the field itself says whether it holds what 64 bits do not.
fn flow(field: &str, set: impl FnOnce(u128) -> Option<()>) -> Column {
    let unit = if field.starts_with("carbon") { "product" } else { "uj" };
    let holds = if set(u128::MAX).is_some() { Holds::Wide } else { Holds::Whole };
    Column { name: format!("{field}_{unit}"), holds }
}

/// Shows `take` the cells of an app's row, in the order of [`app_columns`].
pub fn app_cells<'a>(tick: &TickRows, row: &'a AppRow, mut take: impl FnMut(Cell<'a>)) {
    begin_cells(tick, &mut take);
    take(Cell::Flag(row.estimated));
    take(Cell::Count(row.id.get().into()));
    take(Cell::Text(&row.app));
    row.flows.figures().for_each(|(_, figure)| take(Cell::Count(figure)));
    let (account, passed, came) = (&row.account, &row.passed, &row.came);
    let balances: [u128; 13] = [
        account.stored.get().into(),
        account.debt.get(),
        account.loan.get(),
        account.buffered.get().into(),
        account.carbon_content.get(),
        passed.claim.get().into(),
        passed.buffer.get().into(),
        passed.debt.get(),
        passed.loan.get(),
        came.claim.get().into(),
        came.buffer.get().into(),
        came.debt.get(),
        came.loan.get(),
    ];
    balances.into_iter().for_each(|figure| take(Cell::Count(figure)));
}

/// Shows `take` the cells of the site's row, in the order of [`site_columns`].
pub fn site_cells(tick: &TickRows, mut take: impl FnMut(Cell<'static>)) {
    let (site, m) = (&tick.site, &tick.site.metered);
    begin_cells(tick, &mut take);
    take(Cell::Count(site.intensity.get().into()));
    site.flows.figures().for_each(|(_, figure)| take(Cell::Count(figure)));
    for metered in [m.solar, m.grid_import, m.grid_export, m.battery_in, m.battery_out, m.load, m.level] {
        take(metered.map_or(Cell::Absent, |energy| Cell::Count(energy.get().into())));
    }
}

fn begin_cells<'a>(tick: &TickRows, take: &mut impl FnMut(Cell<'a>)) {
    let counts = [tick.tick, tick.wall_start.get(), tick.span.get()];
    counts.into_iter().for_each(|count| take(Cell::Count(count.into())));
    take(Cell::Flag(tick.gap));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;

    #[test]
    fn every_cell_is_of_its_columns_kind() {
        let fits = |column: &Column, cell: Cell<'_>| match (column.holds, cell) {
            (Holds::Flag, Cell::Flag(_)) | (Holds::Text, Cell::Text(_)) => true,
            (Holds::Whole | Holds::Reading, Cell::Count(count)) => u64::try_from(count).is_ok(),
            (Holds::Wide, Cell::Count(_)) | (Holds::Reading, Cell::Absent) => true,
            _ => false,
        };
        for record in life(3, 40).records {
            let tick = TickRows::from(&record);
            for row in &tick.apps {
                let (mut columns, mut cells) = (app_columns().into_iter(), 0);
                app_cells(&tick, row, |cell| {
                    let column = columns.next().unwrap();
                    assert!(fits(&column, cell), "{}: {cell:?}", column.name);
                    cells += 1;
                });
                assert_eq!((cells, columns.next()), (app_columns().len(), None));
            }
            let mut columns = site_columns().into_iter();
            site_cells(&tick, |cell| assert!(fits(&columns.next().unwrap(), cell)));
            assert_eq!(columns.next(), None);
        }
    }

    #[test]
    fn a_fields_own_width_is_its_columns() {
        let holds = |name: &str| app_columns().into_iter().find(|column| column.name == name).unwrap().holds;
        assert_eq!(holds("load_uj"), Holds::Whole);
        assert_eq!(holds("lent_uj"), Holds::Wide);
        assert_eq!(holds("carbon_product"), Holds::Wide);
    }
}
