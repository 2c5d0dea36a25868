//! The witness: the journal's end, in a small file beside the engine's own. An engine that finds its files damaged at their
//! end may take it for what a power cut left and go on without it; the witness knows better.
//!
//! It is written after a commit has returned, in place, and never synced: what it says was durable before it was said, so it
//! may lag behind the store after a power cut, and is never ahead of it.

use super::shelf::{Shelf, Wholes};
use super::{StoreError, key::Room};
use ecovisor_audit::frame::{self, Kind};
use ecovisor_audit::{Link, Linked};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Its name in the store's directory.
pub const FILE: &str = "head";

/// The file.
#[derive(Debug)]
pub struct Witness(File);

/// What it says: how many entries there are at least, and the link after the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Entries.
    pub seq: u64,
    /// The link after them.
    pub link: Link,
}

/// Bytes of a frame with a [`Said`], at most: header, ten bytes of a number, a link.
const LENGTH_MAX: usize = 6 + 10 + 32;

impl Witness {
    /// Opens the file in a store's directory, or makes it.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Ok(Self(options.open(directory.join(FILE))?))
    }

    /// What it says; `None` where it says nothing: a new store, or one that lost power before the file was written back.
    ///
    /// # Errors
    /// Where it cannot be read, or is damaged.
    pub fn said(&self) -> Result<Option<Said>, StoreError> {
        let mut bytes = [0; LENGTH_MAX];
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            let at = u64::try_from(length).unwrap_or(u64::MAX);
            match self.0.read_at(rest, at).map_err(|source| StoreError::Disk { doing: "read", source })? {
                0 => break,
                read => length += read,
            }
        }
        // A file whose size reached the disk and whose bytes did not is all zeros.
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let what = || "what the file `head` says".to_owned();
        let said = frame::decode(Kind::Mark, bytes.get(..length).unwrap_or_default());
        said.map(Some).map_err(|source| StoreError::Damaged { what: what(), source })
    }

    /// Says that much more. Where it cannot be written the store is not the worse for it.
    pub fn say(&self, said: Said) {
        // Numbers only grow, and with them the frame: nothing is left behind it. A store that begins anew has a new file.
        if let Err(error) = self.0.write_all_at(&frame::encode(Kind::Mark, &said), 0) {
            tracing::warn!(%error, "the file `head` beside the store cannot be written: a lost end would not be noticed");
        }
    }
}

/// Whether a shelf's journal, which ends at `head`, holds what was said of it.
///
/// # Errors
/// [`StoreError::Cut`] where its end is lost, [`StoreError::Unlinked`] where it is another journal.
pub fn check(shelf: &impl Shelf, head: Said, said: Said) -> Result<(), StoreError> {
    if said.seq > head.seq {
        return Err(StoreError::Cut { ends: head.seq, committed: said.seq });
    }
    let Some(last) = said.seq.checked_sub(1) else { return Ok(()) };
    let found = match said.seq == head.seq {
        true => Some(head.link),
        false => link_of(shelf, last)?,
    };
    // What was forgotten since cannot be compared.
    if found.is_none_or(|link| link == said.link) { Ok(()) } else { Err(StoreError::Unlinked(last)) }
}

fn link_of(shelf: &impl Shelf, seq: u64) -> Result<Option<Link>, StoreError> {
    let place = Room::Journal.at(seq);
    let Some((_, bytes)) = Wholes::of(shelf, place)? else { return Ok(None) };
    let linked = Linked::decode(&bytes).map_err(|error| super::shelf::damaged(place, error))?;
    Ok(Some(linked.link))
}
