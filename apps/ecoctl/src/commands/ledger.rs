//! `ecoctl ledger`: the books, to take along and to check.

use super::archive::Archive;
use super::export_tables;
use super::statement::{self, Statement};
use super::verify::Verify;
use crate::books::file::{Writer, unwritable};
use crate::books::rows;
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::papers::tables::Format;
use clap::{Args, Subcommand};
use ecovisor_sdk::operator::wire;
use std::io::Write;
use std::path::PathBuf;
use wire::export_ledger_reply::Piece;

/// The ledger.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Rows as CSV (on stdout, or to --out), and with --journal what they follow from.
    Export(Export),
    /// An app's energy and carbon over a period, as a page with plots and the tables that it can be recomputed from.
    Statement(Statement),
    /// The script that recomputes a statement from its tables alone, on stdout: Python 3, standard library.
    Auditor,
    /// Replay the ledger here and compare every figure, without trusting the daemon.
    Verify(Verify),
    /// Take raw days along, a file each, before the daemon lets go of them.
    Archive(Archive),
}

/// Which ticks.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Ticks {
    /// First tick [default: the first there is].
    #[arg(long, value_name = "TICK")]
    pub from: Option<u64>,
    /// Tick after the last [default: to the end].
    #[arg(long, value_name = "TICK")]
    pub to: Option<u64>,
}

/// Exports.
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    ticks: Ticks,
    /// Write the rows to this file instead of stdout.
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Write both tables of the ledger with all their figures, recomputed here from the journal, to `apps` and `site` in
    /// this directory.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "journal"])]
    tables: Option<PathBuf>,
    /// How these tables are written.
    #[arg(long, value_enum, default_value_t, requires = "tables")]
    format: Format,
    /// The tables of this file of `--journal` instead of the daemon's.
    #[arg(long, value_name = "FILE", requires = "tables", conflicts_with_all = ["from", "to"])]
    file: Option<PathBuf>,
    /// Also write the snapshot and journal, from which `ledger verify --file` recomputes the rows.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl Ledger {
    /// Does what needs no daemon; `None` where it needs one.
    pub fn offline(&self, output: Output) -> Option<Result<(), Failure>> {
        match self {
            Self::Export(export) => export.offline(output),
            Self::Statement(statement) => statement.is_offline().then(|| statement.offline(output)),
            Self::Auditor => Some(statement::auditor()),
            Self::Verify(verify) => verify.is_offline().then(|| verify.offline(output)),
            Self::Archive(_) => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// Whatever failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Export(export) => export.run(context).await,
            Self::Statement(statement) => statement.online(context).await,
            Self::Auditor => statement::auditor(),
            Self::Verify(verify) => verify.online(context).await,
            Self::Archive(archive) => archive.run(context).await,
        }
    }
}

impl Ticks {
    /// The request for them.
    pub const fn request(self, rows: bool, journal: bool) -> wire::ExportLedgerRequest {
        wire::ExportLedgerRequest { from_tick: self.from, to_tick: self.to, rows, journal }
    }
}

impl Export {
    /// The tables of a file, for which no daemon is needed; `None` where it is.
    pub fn offline(&self, output: Output) -> Option<Result<(), Failure>> {
        let (file, tables) = (self.file.as_ref()?, self.tables.as_ref()?);
        Some(export_tables::offline(output, file, tables, self.format))
    }

    async fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(tables) = &self.tables {
            let request = self.ticks.request(true, true);
            return export_tables::online(context, request, tables, self.format).await;
        }
        let request = self.ticks.request(true, self.journal.is_some());
        let mut pieces = context.ask(context.operator.export_ledger(request)).await?;
        let mut table = Table::new(context.output.json, self.out.clone())?;
        let mut journal = Journal::new(self.journal.clone());
        while let Some(reply) = context.next(&mut pieces).await? {
            match reply.piece {
                Some(Piece::Row(row)) => table.row(&row)?,
                Some(Piece::Snapshot(part)) => journal.snapshot(&part)?,
                Some(Piece::JournalEntry(entry)) => journal.entry(&entry)?,
                None => {}
            }
        }
        let (rows, entries) = (table.finish()?, journal.finish()?);
        let files: Vec<String> =
            [self.out, self.journal].into_iter().flatten().map(|path| path.display().to_string()).collect();
        if files.is_empty() {
            return Ok(());
        }
        // Stdout may be the table itself.
        eprintln!("ecoctl: {rows} rows and {entries} journal entries exported to {}", files.join(" and "));
        Ok(())
    }
}

/// The rows on their way out: CSV, or with `--json` an object a line.
struct Table {
    json: bool,
    path: Option<PathBuf>,
    columns: Vec<String>,
    csv: csv::Writer<Box<dyn Write>>,
    rows: u64,
}

impl Table {
    fn new(json: bool, path: Option<PathBuf>) -> Result<Self, Failure> {
        let out: Box<dyn Write> = match &path {
            Some(path) => Box::new(std::fs::File::create(path).map_err(|cause| unwritable(path, &cause))?),
            None => Box::new(std::io::stdout()),
        };
        let columns = rows::columns();
        let mut table = Self { json, path, columns, csv: csv::Writer::from_writer(out), rows: 0 };
        if !json {
            let header = table.csv.write_record(&table.columns);
            header.map_err(|cause| table.unwritable(cause.into()))?;
        }
        Ok(table)
    }

    fn row(&mut self, row: &wire::LedgerRow) -> Result<(), Failure> {
        self.rows += 1;
        let row = rows::flat(row);
        if self.json {
            return crate::output::print(&serde_json::json!(row).to_string());
        }
        let written = self.csv.write_record(rows::ordered(&row, &self.columns));
        written.map_err(|cause| self.unwritable(cause.into()))
    }

    fn finish(mut self) -> Result<u64, Failure> {
        let flushed = self.csv.flush();
        flushed.map_err(|cause| self.unwritable(cause))?;
        Ok(self.rows)
    }

    fn unwritable(&self, cause: std::io::Error) -> Failure {
        match &self.path {
            Some(path) => unwritable(path, &cause),
            None if cause.kind() == std::io::ErrorKind::BrokenPipe => Failure::new(Kind::ReaderGone, ""),
            None => Failure::other(format!("stdout cannot be written: {cause}")),
        }
    }
}

/// The journal on its way out.
struct Journal {
    path: Option<PathBuf>,
    snapshot: Vec<u8>,
    file: Option<Writer>,
    entries: u64,
}

impl Journal {
    const fn new(path: Option<PathBuf>) -> Self {
        Self { path, snapshot: Vec::new(), file: None, entries: 0 }
    }

    fn snapshot(&mut self, part: &[u8]) -> Result<(), Failure> {
        if self.entries > 0 {
            return Err(Failure::other("unreadable reply: a part of the snapshot after a journal entry"));
        }
        self.snapshot.extend_from_slice(part);
        Ok(())
    }

    /// The file that is begun when the snapshot is whole.
    fn begun(&mut self) -> Result<Option<&mut Writer>, Failure> {
        if let (None, Some(path)) = (&self.file, &self.path) {
            self.file = Some(Writer::create(path, &self.snapshot)?);
        }
        Ok(self.file.as_mut())
    }

    fn entry(&mut self, entry: &[u8]) -> Result<(), Failure> {
        self.entries += 1;
        self.begun()?.map_or(Ok(()), |file| file.piece(entry))
    }

    fn finish(mut self) -> Result<u64, Failure> {
        self.begun()?;
        self.file.map_or(Ok(()), Writer::finish)?;
        Ok(self.entries)
    }
}
