//! `ecoctl ledger export --tables`: both tables of the ledger with all their figures, recomputed here from the journal.

use crate::connect::Context;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::papers::source::{self, Ended, Period};
use crate::papers::tables::{About, Format, Tables};
use ecovisor_sdk::operator::wire;
use std::path::Path;

/// Exports the daemon's ledger.
///
/// # Errors
/// Where it cannot be had or does not hold, or the tables cannot be written.
pub async fn online(
    context: &Context,
    request: wire::ExportLedgerRequest,
    directory: &Path,
    format: Format,
) -> Result<(), Failure> {
    let mut tables = begin(directory, format)?;
    let ended = source::daemon(context, request, Period::ALL, &mut |tick| tables.write(tick)).await?;
    let site = context.ask(context.operator.get_site(wire::GetSiteRequest {})).await?.name;
    end(context.output, tables, site, ended)
}

/// Exports a file of `ledger export --journal`.
///
/// # Errors
/// Where it cannot be read or does not hold, or the tables cannot be written.
pub fn offline(output: Output, file: &Path, directory: &Path, format: Format) -> Result<(), Failure> {
    let mut tables = begin(directory, format)?;
    let ended = source::journal(file, Period::ALL, &mut |tick| tables.write(tick))?;
    end(output, tables, String::new(), ended)
}

fn begin(directory: &Path, format: Format) -> Result<Tables, Failure> {
    std::fs::create_dir_all(directory)
        .map_err(|cause| Failure::other(format!("{} cannot be made: {cause}", directory.display())))?;
    Tables::create(&directory.join(""), format)
}

fn end(output: Output, tables: Tables, site: String, ended: Ended) -> Result<(), Failure> {
    let Some((first, after)) = ended.ticks else {
        return Err(Failure::new(
            Kind::NotFound,
            "no tick is settled in that range: there is nothing to export",
        ));
    };
    let chain_head = ended.chain_head.unwrap_or_default();
    let about = About { site, chain_head: chain_head.clone(), ticks: Some((first, after)) };
    let written = tables.finish(about)?;
    let last = after.saturating_sub(1);
    let files: Vec<_> = written
        .iter()
        .map(|table| serde_json::json!({ "path": table.path.display().to_string(), "sha256": table.sha256 }))
        .collect();
    let json = serde_json::json!({
        "first_tick": first, "last_tick": last, "head": chain_head, "tables": files,
    });
    let paths: Vec<_> = written.iter().map(|table| table.path.display().to_string()).collect();
    let text = format!("ticks {first} to {last} exported to {}\nhead {chain_head}", paths.join(" and "));
    output.answer(&json, &text)
}
