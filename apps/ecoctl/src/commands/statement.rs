//! `ecoctl ledger statement`: an app's energy and carbon over a period, on a page that others can recompute.

use crate::books::file::unwritable;
use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::papers::figures::{About, Figures};
use crate::papers::source::{self, Ended, Period};
use crate::papers::tables::{Format, Tables, Written};
use crate::papers::{page, tables};
use crate::time::Point;
use clap::Args;
use ecovisor_sdk::operator::wire;
use std::path::{Path, PathBuf};

/// The auditor's script, as it is.
const AUDITOR: &str = include_str!("../../auditor/recompute.py");

/// A statement.
#[derive(Debug, Args)]
pub struct Statement {
    /// Whose.
    #[arg(long)]
    app: String,
    /// Start: a time ago by the site's clock (`7d`), or a time (`2026-11-01T00:00:00Z`) [default: all there is].
    #[arg(long, value_name = "TIME")]
    since: Option<Point>,
    /// End, exclusive [default: the last settled tick].
    #[arg(long, value_name = "TIME")]
    until: Option<Point>,
    /// The page; its tables are written beside it, as FILE.apps.csv and FILE.site.csv.
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
    /// From a file of `ledger export --journal` instead of the daemon.
    #[arg(long, value_name = "FILE", conflicts_with = "tables")]
    file: Option<PathBuf>,
    /// From apps.csv and site.csv in this directory, as `ledger export --tables` and `ecovisord simulate` write them; there
    /// is no chain of hashes behind such a statement.
    #[arg(long, value_name = "DIR")]
    tables: Option<PathBuf>,
    /// The site's name, where no daemon says it.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
}

impl Statement {
    /// Whether no daemon is needed.
    pub const fn is_offline(&self) -> bool {
        self.file.is_some() || self.tables.is_some()
    }

    /// Makes one of files.
    ///
    /// # Errors
    /// Where they cannot be read or do not hold, or the page cannot be written.
    pub fn offline(&self, output: Output) -> Result<(), Failure> {
        let period = source::written_period(self.since, self.until)?;
        let mut draft = Draft::begin(self)?;
        let ended = match (&self.file, &self.tables) {
            (Some(file), _) => source::journal(file, period, &mut |tick| draft.tick(tick)),
            (None, Some(tables)) => source::tables(tables, period, &mut |tick| draft.tick(tick)),
            (None, None) => Err(Failure::usage("--file or --tables is missing")),
        }?;
        let site = self.site.clone().unwrap_or_default();
        self.said(output, draft.end(About { site, ..About::default() }, ended)?)
    }

    /// Makes one of the daemon's ledger.
    ///
    /// # Errors
    /// Where it cannot be had or does not hold, or the page cannot be written.
    pub async fn online(&self, context: &Context) -> Result<(), Failure> {
        let period = source::period(context, self.since, self.until).await?;
        let (from_tick, to_tick) = match period {
            Period::ALL => (None, None),
            _ => source::range(context, period).await?,
        };
        let request =
            wire::ExportLedgerRequest { from_tick, to_tick, ..wire::ExportLedgerRequest::default() };
        let mut draft = Draft::begin(self)?;
        let ended = source::daemon(context, request, period, &mut |tick| draft.tick(tick)).await?;
        let told = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?;
        let site = self.site.clone().unwrap_or(told.name);
        let about = About { site, daemon: Some(told.version), ..About::default() };
        self.said(context.output, draft.end(about, ended)?)
    }

    fn said(&self, output: Output, (figures, written): (Figures, Vec<Written>)) -> Result<(), Failure> {
        let (first, end) = figures.ticks().unwrap_or_default();
        let files: Vec<String> = written.iter().map(|table| table.path.display().to_string()).collect();
        let json = serde_json::json!({
            "app": self.app, "first_tick": first, "last_tick": end.saturating_sub(1),
            "statement": self.out.display().to_string(), "tables": files,
        });
        let text = format!(
            "{}: {}, ticks {first} to {}; it rests on {}",
            self.out.display(),
            self.app,
            end.saturating_sub(1),
            files.join(" and ")
        );
        output.answer(&json, &text)
    }
}

/// A statement in the making.
struct Draft<'a> {
    out: &'a Path,
    figures: Figures,
    tables: Tables,
}

impl<'a> Draft<'a> {
    fn begin(statement: &'a Statement) -> Result<Self, Failure> {
        let stem = statement.out.with_extension("");
        let mut stem = stem.into_os_string();
        stem.push(".");
        let tables = Tables::create(Path::new(&stem), Format::Csv)?;
        Ok(Self { out: &statement.out, figures: Figures::new(&statement.app), tables })
    }

    fn tick(&mut self, tick: &ecovisor_audit::TickRows) -> Result<(), Failure> {
        self.figures.add(tick);
        self.tables.write(tick)
    }

    fn end(self, about: About, ended: Ended) -> Result<(Figures, Vec<Written>), Failure> {
        if self.figures.ticks().is_none() {
            let app = self.figures.app();
            return Err(Failure::new(
                Kind::NotFound,
                format!("no settled tick of the period has an app {app}"),
            )
            .hint("`ecoctl app list` shows the apps there are"));
        }
        let written = self.tables.finish(tables::About::default())?;
        let software = format!("ecoctl {}", env!("CARGO_PKG_VERSION"));
        let about = About { software, chain_head: ended.chain_head, ..about };
        let html = page::html(&self.figures, &about, &written);
        std::fs::write(self.out, html).map_err(|cause| unwritable(self.out, &cause))?;
        Ok((self.figures, written))
    }
}

/// `ecoctl ledger auditor`: the script that recomputes a statement, on stdout.
///
/// # Errors
/// Where stdout cannot be written.
pub fn auditor() -> Result<(), Failure> {
    crate::output::print(AUDITOR.trim_end())
}
