//! `ecoctl ledger archive`: raw days, one file each, to be kept where the daemon's retention does not reach. Every day is
//! replayed and laid beside its seal before it counts as taken.

use crate::books::file::unwritable;
use crate::books::replay::broken;
use crate::connect::Context;
use crate::failure::Failure;
use crate::time::Point;
use clap::Args;
use ecovisor_audit::Seal;
use ecovisor_audit::history::{archive_name, archived, check_archived};
use ecovisor_sdk::operator::wire;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use wire::read_history_reply::Piece;

/// What the name of a day in an archive ends with.
pub const EXTENSION: &str = "day";

/// A day, in ms.
const DAY_MS: u64 = 86_400_000;

/// Takes raw days that have ended into an archive.
#[derive(Debug, Args)]
pub struct Archive {
    /// The directory, which is made where it is missing; days that are in it are not taken again.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only days that ended before: a date (`2026-11-24`), a time, or a time ago [default: all that have ended].
    #[arg(long, value_name = "DATE")]
    until: Option<Point>,
}

/// A day on its way.
struct Day {
    seal: Seal,
    raw: Vec<u8>,
}

/// What was taken.
#[derive(Default)]
struct Taken {
    files: Vec<String>,
    ticks: u64,
    bytes: u64,
    /// Days of which the raw readings had gone before.
    gone: u64,
    last: Option<Seal>,
}

impl Archive {
    /// Does it.
    ///
    /// # Errors
    /// Where a day does not hold, or cannot be had or written.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.to).map_err(|cause| unwritable(&self.to, &cause))?;
        let until = self.until.map(|point| point.resolve(crate::time::now_ms()));
        let from_day = next_day(&self.to)?;
        let request = wire::ReadHistoryRequest { from_day, raw: true, ..wire::ReadHistoryRequest::default() };
        let mut pieces = context.ask(context.operator.read_history(request)).await?;
        let (mut taken, mut day) = (Taken::default(), None::<Day>);
        while let Some(reply) = context.next(&mut pieces).await? {
            match reply.piece {
                Some(Piece::Seal(bytes)) => {
                    self.take(&mut taken, day.take())?;
                    let seal = Seal::decode(&bytes).map_err(broken)?;
                    if until.is_some_and(|until| seal.day().get().saturating_add(DAY_MS) > until) {
                        break;
                    }
                    day = Some(Day { seal, raw: Vec::new() });
                }
                Some(Piece::Raw(part)) => {
                    if let Some(day) = &mut day {
                        day.raw.extend(part.bytes);
                    }
                }
                Some(Piece::Kept(_) | Piece::Minutes(_) | Piece::Hours(_)) | None => {}
            }
        }
        self.take(&mut taken, day)?;
        if let Some(last) = &taken.last {
            let (days, seals_head) = (last.number + 1, last.link().bytes().to_vec());
            context
                .ask(context.operator.confirm_archive(wire::ConfirmArchiveRequest { days, seals_head }))
                .await?;
        }
        self.said(context, &taken)
    }

    /// Checks a day and writes it: whole or not at all.
    fn take(&self, taken: &mut Taken, day: Option<Day>) -> Result<(), Failure> {
        let Some(Day { seal, raw }) = day else { return Ok(()) };
        if raw.is_empty() {
            taken.gone += 1;
            return Ok(());
        }
        let name = archive_name(&seal);
        let bytes = archived(&raw, &seal).map_err(|cause| unwritable(&self.to, &cause))?;
        let checked = check_archived(&bytes).map_err(|cause| broken(format!("{name}: {cause}")))?;
        let path = self.to.join(&name);
        write(&path, &bytes).map_err(|cause| unwritable(&path, &cause))?;
        taken.ticks += checked.ticks;
        taken.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        taken.files.push(name);
        taken.last = Some(seal);
        Ok(())
    }

    fn said(&self, context: &Context, taken: &Taken) -> Result<(), Failure> {
        let Taken { files, ticks, bytes, gone, last } = taken;
        let head = last.as_ref().map(|seal| seal.link().to_string());
        let json = serde_json::json!({
            "files": files, "ticks": ticks, "bytes": bytes, "days_gone": gone, "seals_head": head,
        });
        let mut text = match head {
            None => format!("nothing to take: every day that has ended is in {}", self.to.display()),
            Some(head) => format!(
                "{} days with {ticks} ticks taken into {} ({bytes} bytes), each replayed to its seal\nhead {head}",
                files.len(),
                self.to.display()
            ),
        };
        if *gone > 0 {
            text.push_str(&format!(
                "\n{gone} days had let go of their raw readings before: only their seals are left"
            ));
        }
        context.output.answer(&json, &text)
    }
}

/// The day after the last one in an archive.
fn next_day(directory: &Path) -> Result<u64, Failure> {
    let numbers = days(directory)?.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        name.split_once('-')?.0.parse::<u64>().ok()
    });
    Ok(numbers.max().map_or(0, |last| last + 1))
}

/// The files of an archive, oldest day first.
///
/// # Errors
/// Where the directory cannot be read.
pub fn days(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        std::fs::read_dir(directory).map_err(|cause| crate::books::file::unreadable(directory, &cause))?;
    let mut days: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
        .collect();
    days.sort();
    Ok(days)
}

/// Writes a file whole or not at all, on the disk when it returns.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("unfinished");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
