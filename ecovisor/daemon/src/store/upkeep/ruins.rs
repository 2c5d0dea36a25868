//! What lies in redb's file, without redb: where its roots are damaged it opens nothing, but the pages with our values are still
//! there, each at a multiple of its page size, and every value says by itself whether it is whole.
//!
//! ```text
//! a leaf:  1 | ? | pairs: u16 | ends of the values: u32 each | keys: 21 bytes each | values
//! ```
//! Pages that redb has given up lie there too. Journal, records and snapshots are never changed once written, so an older page
//! has the same values; what was forgotten on purpose may come back.

use super::super::key::{Key, LENGTH, Place, Room};
use super::super::memory::Memory;
use super::super::shelf::Shelf;
use super::super::{StoreError, redb};
use ecovisor_audit::frame::{self, Kind};
use std::collections::BTreeMap;
use std::path::Path;

/// The size of redb's smallest page; larger ones begin at a multiple of it as well.
const PAGE: usize = 4096;

/// The first byte of a leaf.
const LEAF: u8 = 1;

/// All pairs of journal, records and snapshots that can be made out.
///
/// # Errors
/// Where the file cannot be read.
pub fn pairs(directory: &Path) -> Result<Memory, StoreError> {
    let read = std::fs::read(directory.join(redb::FILE));
    let file = read.map_err(|source| StoreError::Disk { doing: "read", source })?;
    let mut found = BTreeMap::new();
    for at in (0..file.len()).step_by(PAGE) {
        for (key, value) in leaf(&file[at..]).unwrap_or_default() {
            take(&mut found, key, value);
        }
    }
    let shelf = Memory::default();
    shelf.write(found.into_iter().map(|(key, value)| (key, value.to_vec())).collect(), Vec::new())?;
    Ok(shelf)
}

/// Of several values for a key one that is whole is kept.
fn take<'a>(found: &mut BTreeMap<Key, &'a [u8]>, key: Key, value: &'a [u8]) {
    let kind = match Place::of(&key).map(|place| place.room) {
        Some(Room::Journal) => Kind::Journal,
        Some(Room::Records) => Kind::Record,
        Some(Room::Snapshots) => Kind::Snapshot,
        Some(Room::Mark) | None => return,
    };
    let known = found.entry(key).or_insert(value);
    if frame::open_any(kind, known).is_err() && frame::open_any(kind, value).is_ok() {
        *known = value;
    }
}

/// The pairs of a leaf that begins here; `None` where none does.
fn leaf(page: &[u8]) -> Option<Vec<(Key, &[u8])>> {
    let (&[kind, _, low, high], rest) = page.split_first_chunk::<4>()?;
    let pairs = usize::from(u16::from_le_bytes([low, high]));
    if kind != LEAF || pairs == 0 {
        return None;
    }
    let (ends, rest) = rest.split_at_checked(4 * pairs)?;
    let (keys, _) = rest.split_at_checked(LENGTH * pairs)?;
    let mut begin = 4 + (4 + LENGTH) * pairs;
    let mut found = Vec::with_capacity(pairs);
    for (end, key) in ends.chunks_exact(4).zip(keys.chunks_exact(LENGTH)) {
        let end = usize::try_from(u32::from_le_bytes(end.try_into().ok()?)).ok()?;
        // A page of which a part is damaged still gives what comes before.
        let Some(value) = page.get(begin..end) else { break };
        found.push((Key::try_from(key).ok()?, value));
        begin = end;
    }
    Some(found)
}
