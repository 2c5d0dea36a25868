//! A copy of a store, pair by pair, so that journal, links, snapshots and records are the same bytes whatever engine holds
//! them. The mark goes last: a copy that did not come to its end is known as one.

use super::super::engine::Engine;
use super::super::key::{FIRST, Key, LAST, Room};
use super::super::shelf::{Moment, Pair, Shelf, Shelved};
use super::super::{DIRECTORY, PAST, StoreError, layout, sync_parent};
use super::{engine_of, is_engines, make_target};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

/// Bytes that are written in one batch: large enough to be quick, small enough for any memory.
const BATCH_BYTES: usize = 1 << 20;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Keys with their values.
    pub pairs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Which keys are copied.
type Wanted<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// Hears how far it is, and may end it.
type Heard<'a> = dyn FnMut(Copied) -> ControlFlow<()> + 'a;

/// Copies a store into an empty or missing directory, for an engine. `said` hears how much was copied so far.
///
/// # Errors
/// Where the source is no store, is in use, of a newer layout or unreadable; where the target is not empty or cannot be
/// written; where it does not read back as it was written.
pub fn copy(
    from: &Path,
    to: &Path,
    engine: Engine,
    said: &mut dyn FnMut(Copied),
) -> Result<Copied, StoreError> {
    let source = engine_of(from)?.shelf(from)?;
    layout::known(layout::of(&*source)?.ok_or(StoreError::NoMark)?)?;
    outside(from, to)?;
    make_target(to)?;
    let mut heard = |copied| {
        said(copied);
        ControlFlow::Continue(())
    };
    let copied = onto(&*source, from, to, engine, &|_| true, &mut heard)?;
    Ok(copied.unwrap_or_default())
}

/// Copies what an open store in `from` held at a moment, for the same engine, as a state directory: the store, and after it the
/// past that lies beside it, since what the one forgets is in the other before. `None` where it was ended. Nothing is left of
/// a copy that did not come to its end.
///
/// # Errors
/// As [`copy`].
pub fn moment(
    source: &dyn Shelf,
    from: &Path,
    to: &Path,
    moment: &Moment,
    said: &mut Heard<'_>,
) -> Result<Option<Copied>, StoreError> {
    outside(from, to)?;
    make_target(to)?;
    let copied = state(source, from, to, &|key| moment.has(key), said);
    if !matches!(copied, Ok(Some(_)))
        && let Err(error) = std::fs::remove_dir_all(to)
    {
        tracing::warn!(%error, directory = %to.display(), "a copy that did not come to its end is left behind");
    }
    copied
}

fn state(
    source: &dyn Shelf,
    from: &Path,
    to: &Path,
    wanted: &Wanted<'_>,
    said: &mut Heard<'_>,
) -> Result<Option<Copied>, StoreError> {
    let store = to.join(DIRECTORY);
    let Some(copied) = onto(source, from, &store, engine_of(from)?, wanted, said)? else { return Ok(None) };
    let disk = |source| StoreError::Disk { doing: "copy what lies beside", source };
    let past = from.parent().map(|state| state.join(PAST)).filter(|past| past.is_dir());
    past.map_or(Ok(()), |past| tree(&past, &to.join(PAST))).map_err(disk)?;
    File::open(to).and_then(|to| to.sync_all()).map_err(disk)?;
    sync_parent(to).map_err(disk)?;
    Ok(Some(copied))
}

/// A copy within the store would be copied itself.
fn outside(from: &Path, to: &Path) -> Result<(), StoreError> {
    let real = |path: &Path| path.ancestors().find_map(|above| above.canonicalize().ok());
    match (real(from), real(to)) {
        (Some(from), Some(to)) if to.starts_with(&from) => Err(StoreError::WithinItself(to)),
        _ => Ok(()),
    }
}

/// Copies the wanted part of a shelf in `from` to a new one in `to`, and reads it back.
fn onto(
    source: &dyn Shelf,
    from: &Path,
    to: &Path,
    engine: Engine,
    wanted: &Wanted<'_>,
    said: &mut Heard<'_>,
) -> Result<Option<Copied>, StoreError> {
    let target = engine.shelf(to)?;
    let Some(copied) = pairs(source, &*target, wanted, said)? else { return Ok(None) };
    files(from, to).map_err(|source| StoreError::Disk { doing: "copy the files beside", source })?;
    compare(source, &*target, wanted)?;
    // Opening finds the journal's end and tells the witness.
    Shelved::open_in(target, to).map(|_| Some(copied))
}

/// All wanted pairs, the mark last.
fn pairs(
    source: &dyn Shelf,
    target: &dyn Shelf,
    wanted: &Wanted<'_>,
    said: &mut Heard<'_>,
) -> Result<Option<Copied>, StoreError> {
    let mark = Room::Mark.at(0).key(0);
    let (mut copied, mut batch, mut pending) = (Copied::default(), Vec::new(), 0);
    let mut marks = Vec::new();
    for pair in source.range(FIRST, LAST) {
        let (key, value) = keyed(pair)?;
        if !wanted(&key) {
            continue;
        }
        copied.pairs += 1;
        let length = key.len() + value.len();
        copied.bytes += u64::try_from(length).unwrap_or(u64::MAX);
        if key == mark {
            marks.push((key, value));
            continue;
        }
        pending += length;
        batch.push((key, value));
        if pending >= BATCH_BYTES {
            target.write(std::mem::take(&mut batch), Vec::new())?;
            pending = 0;
            if said(copied).is_break() {
                return Ok(None);
            }
        }
    }
    target.write(batch, Vec::new())?;
    target.write(marks, Vec::new())?;
    Ok(said(copied).is_continue().then_some(copied))
}

/// Whether both hold the same, byte by byte.
fn compare(source: &dyn Shelf, target: &dyn Shelf, wanted: &Wanted<'_>) -> Result<(), StoreError> {
    let is_wanted = |pair: &Pair| pair.as_ref().map_or(true, |(key, _)| wanted(key));
    let (mut left, mut right) = (source.range(FIRST, LAST).filter(is_wanted), target.range(FIRST, LAST));
    loop {
        let (one, other) = (left.next().transpose()?, right.next().transpose()?);
        if one != other {
            let key = one.or(other).map(|(key, _)| key).unwrap_or_default();
            let place = super::super::key::Place::of(&key);
            let what = place.map_or_else(|| format!("the key {key:02x?}"), |place| place.to_string());
            return Err(StoreError::CopyDiffers(what));
        }
        if one.is_none() {
            return Ok(());
        }
    }
}

fn keyed(pair: Pair) -> Result<(Key, Vec<u8>), StoreError> {
    let (key, value) = pair?;
    let what = || format!("the key {key:02x?}");
    Ok((Key::try_from(&key[..]).map_err(|_| StoreError::Misplaced(what()))?, value))
}

/// What lies beside the engine's files, as it is.
fn files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_none_or(|name| !is_engines(name)) {
            tree(&entry.path(), &to.join(name))?;
        }
    }
    File::open(to)?.sync_all()
}

/// A file, or a directory and all that is in it; synced.
pub fn tree(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        std::fs::copy(from, to)?;
        return File::open(to)?.sync_all();
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    File::open(to)?.sync_all()
}
