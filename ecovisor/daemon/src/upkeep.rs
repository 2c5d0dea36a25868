//! `ecovisord store`: what an operator does with a store while no daemon runs on it.

use crate::Failure;
use crate::serve::UserPlaces;
use crate::store::{self, Copied, Engine, Measured, Report, Saved, StoreError};
use anyhow::{Context as _, anyhow};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// Subcommands of `store`.
#[derive(clap::Subcommand)]
pub enum StoreCommand {
    /// Copies a store byte for byte into an empty directory, for the same engine or another, and reads it back.
    Copy(FromTo),
    /// Checks every checksum, link and number, replays the journal, and compares every record and snapshot with it.
    Verify(Verify),
    /// Saves what is whole of a damaged store into an empty directory, and names what is lost.
    Salvage(FromTo),
    /// Says what an engine costs on this disk: writes ticks of a made-up site into an empty directory.
    Measure(Measure),
}

/// Arguments of `measure`.
#[derive(clap::Args)]
pub struct Measure {
    /// Where to write; empty or not there yet. What was written stays there.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Which engine.
    #[arg(long, value_enum, default_value = "sled")]
    engine: Engine,
    /// Apps of the site, with a container each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    apps: u32,
    /// Ticks to commit.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    ticks: u64,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `copy` and `salvage`.
#[derive(clap::Args)]
pub struct FromTo {
    /// The store, or the state directory that holds it.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Where to; empty or not there yet.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Which engine keeps the new one; the same as the old one where nothing is said.
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `verify`.
#[derive(clap::Args)]
pub struct Verify {
    /// The store, or the state directory that holds it; the one of the configuration where nothing is said.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The configuration that says where the state is.
    #[arg(long, short, default_value = "/etc/ecovisor/site.toml")]
    config: PathBuf,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    user: UserPlaces,
}

/// Does it.
///
/// # Errors
/// [`Failure::Start`] where it could not be done, [`Failure::Damaged`] where the store is.
pub fn run(command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Copy(arguments) => copy(&arguments),
        StoreCommand::Verify(arguments) => verify(&arguments),
        StoreCommand::Salvage(arguments) => salvage(&arguments),
        StoreCommand::Measure(arguments) => measure(&arguments),
    }
}

/// Damage is told from what could be mended by calling otherwise.
fn failure(error: StoreError, context: String) -> Failure {
    let is_damage = error.is_damage();
    let error = anyhow::Error::new(error).context(context);
    if is_damage { Failure::Damaged(error) } else { Failure::Start(error) }
}

fn copy(arguments: &FromTo) -> Result<(), Failure> {
    let from = store::store_in(&arguments.from);
    let engine = arguments.engine.or(Engine::of(&from)).unwrap_or_default();
    let shown = std::io::stderr().is_terminal();
    let mut progress = |copied: Copied| {
        if shown {
            eprint!("\r{} values, {} MB", copied.pairs, copied.bytes / 1_000_000);
        }
    };
    let copied = store::copy(&from, &arguments.to, engine, &mut progress);
    if shown {
        eprintln!();
    }
    let copied = copied.map_err(|error| failure(error, format!("cannot copy {}", from.display())))?;
    let report = store::verify(&arguments.to)
        .map_err(|error| failure(error, format!("cannot verify the copy {}", arguments.to.display())))?;
    if arguments.json {
        print_json(&report)?;
    } else {
        let (from, to, pairs, bytes) = (from.display(), arguments.to.display(), copied.pairs, copied.bytes);
        println!(
            "copied {pairs} values, {bytes} bytes, from {from} to {to} ({engine}): the copy is the same"
        );
        print!("{}", in_words(&report));
    }
    judge(&report, &arguments.to)
}

fn verify(arguments: &Verify) -> Result<(), Failure> {
    let named = match &arguments.directory {
        Some(directory) => directory.clone(),
        None => configured(arguments).map_err(Failure::Start)?,
    };
    let directory = store::store_in(&named);
    let verified = store::verify(&directory);
    let report =
        verified.map_err(|error| failure(error, format!("cannot verify {}", directory.display())))?;
    if arguments.json {
        print_json(&report)?;
    } else {
        print!("{}", in_words(&report));
    }
    judge(&report, &directory)
}

/// The state directory of a configuration.
fn configured(arguments: &Verify) -> anyhow::Result<PathBuf> {
    let (config, _) = crate::read_config(&arguments.config)
        .context("name the store, or the configuration that says where it is")?;
    Ok(config.state_dir(&arguments.user.places()))
}

fn salvage(arguments: &FromTo) -> Result<(), Failure> {
    let from = store::store_in(&arguments.from);
    let engine = arguments.engine.or(Engine::of(&from)).unwrap_or_default();
    let saved = store::salvage(&from, &arguments.to, engine)
        .map_err(|error| failure(error, format!("cannot salvage {}", from.display())))?;
    let report = store::verify(&arguments.to)
        .map_err(|error| failure(error, format!("cannot verify {}", arguments.to.display())))?;
    if arguments.json {
        print_json(&saved)?;
    } else {
        println!("saved into {} ({engine}):", arguments.to.display());
        print!("{}", saved_in_words(&saved));
    }
    judge(&report, &arguments.to)
}

fn measure(arguments: &Measure) -> Result<(), Failure> {
    let Measure { to, engine, apps, ticks, json } = arguments;
    let measured = store::measure(to, *engine, *apps, *ticks)
        .map_err(|error| failure(error, format!("cannot measure {engine} in {}", to.display())))?;
    if *json {
        return print_json(&measured);
    }
    let Measured { commit_us_p50, commit_us_p99, commit_us_max, cpu_us_per_tick, .. } = measured;
    println!("{engine}, {apps} apps, {ticks} ticks as fast as they go");
    println!("commit    {commit_us_p50} us p50, {commit_us_p99} us p99, {commit_us_max} us at most");
    println!("cpu       {cpu_us_per_tick} us a tick");
    println!("memory    {} KiB, {} KiB before", measured.rss_kib_after, measured.rss_kib_before);
    println!("disk      {} bytes for {} bytes of values", measured.disk_bytes, measured.value_bytes);
    println!("open      {} us, {} us after a kill", measured.open_us, measured.open_killed_us);
    Ok(())
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).context("a report as JSON").map_err(Failure::Start)?;
    println!("{text}");
    Ok(())
}

fn judge(report: &Report, directory: &Path) -> Result<(), Failure> {
    match report.fault_count {
        0 => Ok(()),
        1 => Err(Failure::Damaged(anyhow!("{} is damaged: one fault", directory.display()))),
        faults => Err(Failure::Damaged(anyhow!("{} is damaged: {faults} faults", directory.display()))),
    }
}

fn in_words(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(report, &mut out);
    out
}

fn write_report(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "store     {}, layout {}, {} values, {} bytes",
        report.engine, report.layout, report.pairs, report.bytes
    )?;
    writeln!(out, "journal   {} entries in order, {} of them commands", report.entries, report.commands)?;
    writeln!(
        out,
        "replay    {} ticks, {} snapshots, {} records as they are due",
        report.ticks_replayed, report.snapshots, report.records_replayed
    )?;
    writeln!(out, "records   {} whole", report.records)?;
    if report.past_ticks > 0 {
        let (ticks, commands, seals) = (report.past_ticks, report.past_commands, report.past_seals);
        writeln!(out, "past      {ticks} ticks replayed, {commands} commands, {seals} seals")?;
    }
    writeln!(out, "goes on   with tick {}, after {} entries", report.next_tick, report.head_seq)?;
    writeln!(out, "head      {}", report.head)?;
    writeln!(out, "digest    {}", report.digest)?;
    let known = &report.known_losses;
    if *known != Default::default() {
        writeln!(
            out,
            "lost      earlier, as a salvage noted: entries {}, records of ticks {}",
            ranges(&known.entries),
            ranges(&known.records)
        )?;
    }
    for fault in &report.faults {
        writeln!(out, "FAULT     {fault}")?;
    }
    match &report.savable {
        Some(saved) => write!(out, "`ecovisord store salvage` can save:\n{}", saved_in_words(saved)),
        None if report.holds() => writeln!(out, "nothing is wrong"),
        None => writeln!(out, "nothing can be saved that a site could go on from: restore a backup"),
    }
}

fn saved_in_words(saved: &Saved) -> String {
    let mut out = String::new();
    let _ = write_saved(saved, &mut out);
    out
}

fn write_saved(saved: &Saved, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "  {} entries, {} snapshots, {} records, {} more made again",
        saved.entries, saved.snapshots, saved.records, saved.records_made_again
    )?;
    writeln!(
        out,
        "  the site goes on with tick {}, after {} entries",
        saved.next_tick, saved.ends_after_entries
    )?;
    if saved.cut_entries > 0 {
        writeln!(out, "  lost: {} entries after that", saved.cut_entries)?;
    }
    if !saved.lost_entries.is_empty() {
        writeln!(out, "  lost: entries {}", ranges(&saved.lost_entries))?;
    }
    if !saved.lost_records.is_empty() {
        writeln!(out, "  lost: records of ticks {}", ranges(&saved.lost_records))?;
    }
    saved.because.iter().try_for_each(|why| writeln!(out, "  because {why}"))
}

/// `3, 7 to 9`; none where there are none.
fn ranges(ranges: &[(u64, u64)]) -> String {
    let one = |(from, to): &(u64, u64)| match to.saturating_sub(1) {
        last if last == *from => from.to_string(),
        last => format!("{from} to {last}"),
    };
    if ranges.is_empty() { "none".to_owned() } else { ranges.iter().map(one).collect::<Vec<_>>().join(", ") }
}

/// Names a panic of an engine's own code for what it is, whichever thread it comes from, and ends the process: engines do not
/// answer every damage, nor every error of the disk, with an error. `damaged` and `refused` are the exit codes for the two.
pub fn name_engine_panics(damaged: u8, refused: u8) {
    let otherwise = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let engine = panic.location().and_then(|location| Engine::whose(location.file()));
        let Some(engine) = engine else { return otherwise(panic) };
        let (code, told) = match panic.payload_as_str().unwrap_or("it does not say why").replace('\n', " ") {
            said if is_of_the_disk(&said) => (refused, format!("the disk refuses: {said}")),
            said => (
                damaged,
                format!("it is damaged: {said}: restore a backup, or try `ecovisord store salvage`"),
            ),
        };
        eprintln!("ecovisord: {engine} cannot go on with the store, {told}");
        std::process::exit(i32::from(code));
    }));
}

/// Whether a panic's message is that of an `unwrap` of an error of the operating system.
fn is_of_the_disk(said: &str) -> bool {
    said.contains("Os { code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_disk_is_no_damage() {
        let error = std::io::Error::from_raw_os_error(28);
        assert!(is_of_the_disk(&format!("called `Result::unwrap()` on an `Err` value: {error:?}")));
        assert!(!is_of_the_disk("index out of bounds: the len is 3 but the index is 4"));
    }

    #[test]
    fn ranges_are_said_as_people_say_them() {
        assert_eq!(ranges(&[]), "none");
        assert_eq!(ranges(&[(3, 4), (7, 10)]), "3, 7 to 9");
    }
}
