//! The ledger as two CSV tables: one row for each app and tick, one row for each tick of the site. They hold all figures
//! of the books, undivided, so that whoever has them can check every sum and balance without the daemon.
//!
//! The [columns](crate::columns) end in their unit. A meter without a reading is an empty cell; two-way choices are `true`
//! and `false`.

use crate::books::{AppRow, Difference, Passed, SiteRow, TickRows};
use crate::columns::{Cell, app_cells, app_columns, site_cells, site_columns};
use ecovisor_core::{Account, AppId, Flows, Metered, SiteFlows};
use ecovisor_units::{Carbon, CarbonIntensity, Energy, EnergySum, Millis};
use std::io::{Read, Write};
use std::iter::Peekable;
use thiserror::Error;

/// The names of [`app_columns`].
#[must_use]
pub fn app_header() -> Vec<String> {
    app_columns().into_iter().map(|column| column.name).collect()
}

/// The names of [`site_columns`].
#[must_use]
pub fn site_header() -> Vec<String> {
    site_columns().into_iter().map(|column| column.name).collect()
}

/// The cells of an app's row as text, in the order of [`app_header`].
#[must_use]
pub fn app_texts(tick: &TickRows, row: &AppRow) -> Vec<String> {
    let mut texts = Vec::new();
    app_cells(tick, row, |cell| texts.push(text(cell)));
    texts
}

/// The cells of the site's row as text, in the order of [`site_header`].
#[must_use]
pub fn site_texts(tick: &TickRows) -> Vec<String> {
    let mut texts = Vec::new();
    site_cells(tick, |cell| texts.push(text(cell)));
    texts
}

fn text(cell: Cell<'_>) -> String {
    let mut line = Line::default();
    line.cell(cell);
    String::from_utf8_lossy(&line.bytes).trim_end_matches(',').to_owned()
}

/// A line of a table in the making; kept from line to line, so that none needs memory of its own.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    digits: itoa::Buffer,
}

impl Line {
    fn cell(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Flag(true) => self.bytes.extend_from_slice(b"true"),
            Cell::Flag(false) => self.bytes.extend_from_slice(b"false"),
            Cell::Count(count) => self.count(count),
            Cell::Text(name) => self.name(name),
            Cell::Absent => {}
        }
        self.bytes.push(b',');
    }

    /// A name has nothing in it that CSV would quote, unless it came from somebody else's table.
    fn name(&mut self, name: &str) {
        if name.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            let quoted = name.replace('"', "\"\"");
            self.bytes.extend([b"\"", quoted.as_bytes(), b"\""].into_iter().flatten());
        } else {
            self.bytes.extend_from_slice(name.as_bytes());
        }
    }

    /// Most figures of a tick are nothing, and few need more than 64 bits: both are cheaper to write.
    fn count(&mut self, count: u128) {
        match u64::try_from(count) {
            Ok(0) => self.bytes.push(b'0'),
            Ok(count) => self.bytes.extend_from_slice(self.digits.format(count).as_bytes()),
            Err(_) => self.bytes.extend_from_slice(self.digits.format(count).as_bytes()),
        }
    }

    /// Writes the line and begins the next.
    fn end(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        if let Some(last) = self.bytes.last_mut() {
            *last = b'\n';
        }
        let written = out.write_all(&self.bytes);
        self.bytes.clear();
        written
    }
}

/// Why a table cannot be read or written.
#[derive(Debug, Error)]
pub enum TableError {
    /// The file.
    #[error("cannot read the table")]
    Csv(#[from] csv::Error),
    /// Where it is written to.
    #[error("cannot write the table")]
    Io(#[from] std::io::Error),
    /// Not this table, or of another version.
    #[error("column {place} is {found:?} where {wanted:?} was expected")]
    Header {
        /// Counted from 1.
        place: usize,
        /// What there is.
        found: String,
        /// What was expected.
        wanted: String,
    },
    /// A cell that holds no figure of its column.
    #[error("line {line}: {column} cannot be {cell:?}")]
    Cell {
        /// Counted from 1, the header's.
        line: u64,
        /// Which column.
        column: String,
        /// What it holds.
        cell: String,
    },
    /// Apps without a row of the site, or the other way round.
    #[error("tick {tick} is in one table and not in the other")]
    Apart {
        /// Which.
        tick: u64,
    },
    /// The figures do not add up.
    #[error(transparent)]
    Books(#[from] Difference),
}

/// Writes both tables. It writes line by line: what it writes to should gather them.
pub struct TableWriter<A: Write, S: Write> {
    apps: A,
    site: S,
    line: Line,
}

impl<A: Write, S: Write> TableWriter<A, S> {
    /// Begins both tables with their headers.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn new(mut apps: A, mut site: S) -> Result<Self, TableError> {
        writeln!(apps, "{}", app_header().join(","))?;
        writeln!(site, "{}", site_header().join(","))?;
        Ok(Self { apps, site, line: Line::default() })
    }

    /// Adds a tick.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&mut self, tick: &TickRows) -> Result<(), TableError> {
        for row in &tick.apps {
            app_cells(tick, row, |cell| self.line.cell(cell));
            self.line.end(&mut self.apps)?;
        }
        site_cells(tick, |cell| self.line.cell(cell));
        Ok(self.line.end(&mut self.site)?)
    }

    /// Ends both tables.
    ///
    /// # Errors
    /// Where what is left cannot be written.
    pub fn finish(mut self) -> Result<(), TableError> {
        self.apps.flush()?;
        Ok(self.site.flush()?)
    }
}

/// Reads both tables back, tick by tick.
pub struct TableReader<A: Read, S: Read> {
    apps: Peekable<csv::StringRecordsIntoIter<A>>,
    site: csv::StringRecordsIntoIter<S>,
    app_columns: Vec<String>,
    site_columns: Vec<String>,
}

impl<A: Read, S: Read> TableReader<A, S> {
    /// Reads the headers.
    ///
    /// # Errors
    /// Where they are not what [`app_header`] and [`site_header`] say.
    pub fn new(apps: A, site: S) -> Result<Self, TableError> {
        let (mut apps, mut site) = (csv::Reader::from_reader(apps), csv::Reader::from_reader(site));
        let (app_columns, site_columns) = (app_header(), site_header());
        same_header(apps.headers()?, &app_columns)?;
        same_header(site.headers()?, &site_columns)?;
        let apps = apps.into_records().peekable();
        Ok(Self { apps, site: site.into_records(), app_columns, site_columns })
    }

    fn tick(&mut self, record: &csv::StringRecord) -> Result<TickRows, TableError> {
        let mut tick = read_site(&mut Cells::new(record, &self.site_columns))?;
        while let Some(record) = self.apps.next_if(|app| is_of(app, tick.tick)) {
            let (of, row) = read_app(&mut Cells::new(&record?, &self.app_columns))?;
            let site = (tick.wall_start, tick.span, tick.gap);
            if (of.wall_start, of.span, of.gap) != site {
                return Err(TableError::Apart { tick: tick.tick });
            }
            tick.apps.push(row);
        }
        if tick.apps.is_empty() {
            return Err(TableError::Apart { tick: tick.tick });
        }
        Ok(tick)
    }
}

/// Whether a row is of that tick; one that cannot be read is, so that its error is seen there.
fn is_of(record: &Result<csv::StringRecord, csv::Error>, tick: u64) -> bool {
    record.as_ref().map_or(true, |cells| {
        cells.get(0).and_then(|cell| cell.parse().ok()).is_none_or(|found: u64| found == tick)
    })
}

fn same_header(found: &csv::StringRecord, wanted: &[String]) -> Result<(), TableError> {
    for place in 0..found.len().max(wanted.len()) {
        let (found, wanted) = (found.get(place).unwrap_or_default(), wanted.get(place));
        if wanted.map(String::as_str) != Some(found) {
            let (found, wanted) = (found.to_owned(), wanted.cloned().unwrap_or_default());
            return Err(TableError::Header { place: place + 1, found, wanted });
        }
    }
    Ok(())
}

impl<A: Read, S: Read> Iterator for TableReader<A, S> {
    type Item = Result<TickRows, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.site.next() {
            Some(record) => Some(record.map_err(TableError::from).and_then(|record| self.tick(&record))),
            // Apps of a tick that the site's table does not have.
            None => self.apps.next().map(|record| {
                let record = record?;
                let (tick, _) = read_app(&mut Cells::new(&record, &self.app_columns))?;
                Err(TableError::Apart { tick: tick.tick })
            }),
        }
    }
}

/// A row's cells, read from left to right.
struct Cells<'a> {
    record: &'a csv::StringRecord,
    columns: &'a [String],
    next: usize,
}

impl<'a> Cells<'a> {
    fn new(record: &'a csv::StringRecord, columns: &'a [String]) -> Self {
        Self { record, columns, next: 0 }
    }

    fn read<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, TableError> {
        let cell = self.record.get(self.next).unwrap_or_default();
        let column = self.columns.get(self.next).cloned().unwrap_or_default();
        self.next += 1;
        let line = self.record.position().map_or(0, csv::Position::line);
        parse(cell).ok_or_else(|| TableError::Cell { line, column, cell: cell.to_owned() })
    }

    fn plain<T: std::str::FromStr>(&mut self) -> Result<T, TableError> {
        self.read(|cell| cell.parse().ok())
    }

    fn energy(&mut self) -> Result<Energy, TableError> {
        self.plain().map(Energy::new)
    }

    fn sum(&mut self) -> Result<EnergySum, TableError> {
        self.plain().map(EnergySum::new)
    }

    fn metered(&mut self) -> Result<Option<Energy>, TableError> {
        self.read(
            |cell| if cell.is_empty() { Some(None) } else { Some(Some(Energy::new(cell.parse().ok()?))) },
        )
    }

    fn begin(&mut self) -> Result<TickRows, TableError> {
        Ok(TickRows {
            tick: self.plain()?,
            wall_start: Millis::new(self.plain()?),
            span: Millis::new(self.plain()?),
            gap: self.plain()?,
            ..TickRows::default()
        })
    }
}

fn read_app(cells: &mut Cells<'_>) -> Result<(TickRows, AppRow), TableError> {
    let tick = cells.begin()?;
    let estimated = cells.plain()?;
    let id = AppId::new(cells.plain()?);
    let app = cells.plain()?;
    let mut flows = Flows::default();
    for field in Flows::FIELDS {
        cells.read(|cell| flows.set(field, cell.parse().ok()?))?;
    }
    let account = Account {
        stored: cells.energy()?,
        debt: cells.sum()?,
        loan: cells.sum()?,
        buffered: cells.energy()?,
        carbon_content: Carbon::new(cells.plain()?),
    };
    let (passed, came) = (read_passed(cells)?, read_passed(cells)?);
    Ok((tick, AppRow { id, app, estimated, flows, account, passed, came }))
}

fn read_passed(cells: &mut Cells<'_>) -> Result<Passed, TableError> {
    Ok(Passed { claim: cells.energy()?, buffer: cells.energy()?, debt: cells.sum()?, loan: cells.sum()? })
}

fn read_site(cells: &mut Cells<'_>) -> Result<TickRows, TableError> {
    let tick = cells.begin()?;
    let intensity = CarbonIntensity::new(cells.plain()?);
    let mut flows = SiteFlows::default();
    for field in SiteFlows::FIELDS {
        cells.read(|cell| flows.set(field, cell.parse().ok()?))?;
    }
    let metered = Metered {
        solar: cells.metered()?,
        grid_import: cells.metered()?,
        grid_export: cells.metered()?,
        battery_in: cells.metered()?,
        battery_out: cells.metered()?,
        load: cells.metered()?,
        level: cells.metered()?,
    };
    Ok(TickRows { site: SiteRow { flows, intensity, metered }, ..tick })
}

/// What a check of tables found in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many ticks.
    pub ticks: u64,
    /// The first and the last of them.
    pub range: Option<(u64, u64)>,
}

/// Reads both tables and checks every sum and balance in them. The first tick's balances are taken as given.
///
/// # Errors
/// The first row that cannot be read, or the first figure that does not add up.
pub fn check(apps: impl Read, site: impl Read) -> Result<Checked, TableError> {
    let (mut checked, mut before) = (Checked::default(), None);
    for tick in TableReader::new(apps, site)? {
        let tick = tick?;
        tick.check()?;
        if let Some(before) = &before {
            tick.check_after(before)?;
        }
        checked.ticks += 1;
        checked.range = Some((checked.range.map_or(tick.tick, |(first, _)| first), tick.tick));
        before = Some(tick);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use proptest::prelude::*;

    fn written(rows: &[TickRows]) -> (Vec<u8>, Vec<u8>) {
        let (mut apps, mut site) = (Vec::new(), Vec::new());
        let mut writer = TableWriter::new(&mut apps, &mut site).unwrap();
        rows.iter().for_each(|tick| writer.write(tick).unwrap());
        writer.finish().unwrap();
        (apps, site)
    }

    fn rows(seed: u64, ticks: u32) -> Vec<TickRows> {
        life(seed, ticks).records.iter().map(TickRows::from).collect()
    }

    #[test]
    fn the_headers_are_fixed() {
        assert_eq!(
            app_header().join(","),
            "tick,wall_start_ms,span_ms,gap,estimated,app_id,app,load_uj,solar_in_uj,solar_to_load_uj,\
             solar_to_lenders_uj,solar_to_battery_uj,spilled_uj,given_uj,exported_uj,curtailed_uj,kept_uj,\
             spill_to_overdraft_uj,received_uj,received_to_load_uj,received_to_lenders_uj,received_to_battery_uj,\
             battery_to_load_uj,forced_to_load_uj,grid_to_load_uj,grid_to_lenders_uj,grid_to_battery_uj,\
             overdraft_grid_uj,overdraft_from_spill_uj,overdraft_lent_uj,lent_uj,repaid_in_uj,charge_loss_uj,\
             discharge_loss_uj,adjusted_down_uj,debt_incurred_uj,debt_repaid_uj,loan_granted_uj,loan_repaid_uj,\
             carbon_product,carbon_credit_product,stored_uj,debt_uj,loan_uj,buffered_uj,carbon_content_product,\
             passed_claim_uj,passed_buffer_uj,passed_debt_uj,passed_loan_uj,came_claim_uj,came_buffer_uj,\
             came_debt_uj,came_loan_uj"
        );
        assert_eq!(
            site_header().join(","),
            "tick,wall_start_ms,span_ms,gap,intensity_mg_per_kwh,solar_booked_uj,solar_over_uj,solar_short_uj,\
             grid_import_booked_uj,grid_import_over_uj,grid_import_short_uj,grid_export_booked_uj,\
             grid_export_over_uj,grid_export_short_uj,battery_in_booked_uj,battery_in_over_uj,battery_in_short_uj,\
             battery_out_booked_uj,battery_out_over_uj,battery_out_short_uj,load_booked_uj,unmetered_load_uj,\
             overbooked_load_uj,grid_netting_uj,netting_gain_uj,conversion_loss_uj,drift_up_uj,drift_down_uj,\
             freed_uj,buffer_adjusted_uj,buffer_uj,deficit_uj,level_booked_uj,metered_solar_uj,\
             metered_grid_import_uj,metered_grid_export_uj,metered_battery_in_uj,metered_battery_out_uj,\
             metered_load_uj,metered_level_uj"
        );
    }

    /// What the csv crate writes of the same cells.
    fn by_the_csv_crate(rows: &[TickRows]) -> (Vec<u8>, Vec<u8>) {
        let [mut apps, mut site] =
            [csv::Writer::from_writer(Vec::new()), csv::Writer::from_writer(Vec::new())];
        apps.write_record(app_header()).unwrap();
        site.write_record(site_header()).unwrap();
        for tick in rows {
            for row in &tick.apps {
                let mut cells = Vec::new();
                app_cells(tick, row, |cell| cells.push(plainly(cell)));
                apps.write_record(cells).unwrap();
            }
            let mut cells = Vec::new();
            site_cells(tick, |cell| cells.push(plainly(cell)));
            site.write_record(cells).unwrap();
        }
        (apps.into_inner().unwrap(), site.into_inner().unwrap())
    }

    fn plainly(cell: Cell<'_>) -> String {
        match cell {
            Cell::Flag(flag) => flag.to_string(),
            Cell::Count(count) => count.to_string(),
            Cell::Text(text) => text.to_owned(),
            Cell::Absent => String::new(),
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_csv_crate() {
        let mut rows = rows(11, 60);
        rows[7].apps[0].app = "a \"name\", of\nsomebody else".to_owned();
        rows[8].apps[0].flows.carbon = Carbon::new(u128::MAX);
        rows[8].apps[0].flows.lent = EnergySum::new(u128::from(u64::MAX) + 1);
        assert_eq!(written(&rows), by_the_csv_crate(&rows));
    }

    #[test]
    fn tables_come_back_as_they_went() {
        let rows = rows(11, 30);
        let (apps, site) = written(&rows);
        let back: Vec<TickRows> =
            TableReader::new(&apps[..], &site[..]).unwrap().map(Result::unwrap).collect();
        assert_eq!(back, rows);
        let checked = check(&apps[..], &site[..]).unwrap();
        assert_eq!(checked, Checked { ticks: 30, range: Some((0, 29)) });
    }

    #[test]
    fn an_error_names_the_place() {
        let (apps, site) = written(&rows(12, 3));
        let (apps, site) = (String::from_utf8(apps).unwrap(), String::from_utf8(site).unwrap());
        let said = |apps: &str, site: &str| check(apps.as_bytes(), site.as_bytes()).unwrap_err().to_string();
        let other = apps.replacen("load_uj", "load_mj", 1);
        assert_eq!(said(&other, &site), "column 8 is \"load_mj\" where \"load_uj\" was expected");
        let long = site.replacen("level_booked_uj", "level_booked_uj,more", 1);
        assert!(said(&apps, &long).starts_with("column 34 is \"more\" where \"metered_solar_uj\""));
        let no_number = apps.replacen("\n1,", "\nx,", 1);
        assert!(said(&no_number, &site).contains("tick cannot be \"x\""), "{}", said(&no_number, &site));
        let mut lines: Vec<&str> = site.lines().collect();
        lines.remove(2);
        assert_eq!(said(&apps, &lines.join("\n")), "tick 2 is in one table and not in the other");
        assert_eq!(
            said(&apps, lines[..2].join("\n").as_str()),
            "tick 1 is in one table and not in the other"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// The checks know nothing of the settlement, so they must find a change of any figure that takes part in a
        /// sum or a balance.
        #[test]
        fn any_changed_figure_is_found(
            seed in 0_u64..8, tick in 1_usize..11, at in any::<prop::sample::Index>(), by in 1_u128..1000,
        ) {
            let mut rows = rows(seed, 12);
            let row = &mut rows[tick].apps;
            let app = at.index(row.len());
            let field = Flows::FIELDS[at.index(Flows::FIELDS.len())];
            let flows = &mut row[app].flows;
            let old = flows.figures().find(|(name, _)| *name == field).unwrap().1;
            flows.set(field, old + by).unwrap();
            let (apps, site) = written(&rows);
            prop_assert!(check(&apps[..], &site[..]).is_err(), "{field} of app {app} in tick {tick}");
        }

        #[test]
        fn any_changed_balance_is_found(seed in 0_u64..8, tick in 1_usize..11, which in 0..3, by in 1_u64..1000) {
            let mut rows = rows(seed, 12);
            let account = &mut rows[tick].apps[0].account;
            match which {
                0 => account.stored += Energy::new(by),
                1 => account.debt += Energy::new(by),
                _ => account.loan += Energy::new(by),
            }
            let (apps, site) = written(&rows);
            prop_assert!(check(&apps[..], &site[..]).is_err());
        }
    }
}
