//! Keys: one ordered space, a prefix byte for each kind of value, big-endian numbers so that bytes sort as numbers do.
//!
//! | prefix | value | major | minor |
//! | --- | --- | --- | --- |
//! | `j` | journal entry | its number | 0 |
//! | `m` | what the store says of itself | 0 | 0 |
//! | `r` | record | its tick | 0 |
//! | `s` | snapshot | the tick that comes next | how many entries it covers |
//!
//! The last four bytes number the parts into which a value is cut.

use std::fmt;

/// Bytes of a key.
pub const LENGTH: usize = 21;

/// A key.
pub type Key = [u8; LENGTH];

/// Before all keys.
pub const FIRST: Key = [0; LENGTH];

/// After all keys: no room has this byte.
pub const LAST: Key = [u8::MAX; LENGTH];

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// The journal.
    Journal,
    /// The store's own mark.
    Mark,
    /// The records.
    Records,
    /// The snapshots.
    Snapshots,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which kind.
    pub(super) room: Room,
    /// Entry or tick.
    pub(super) major: u64,
    /// Entries covered, for snapshots.
    pub(super) minor: u64,
}

impl Room {
    /// A place in it.
    pub(super) const fn at(self, major: u64) -> Place {
        Place { room: self, major, minor: 0 }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Journal => b'j',
            Self::Mark => b'm',
            Self::Records => b'r',
            Self::Snapshots => b's',
        }
    }
}

impl Place {
    /// The key of one of its parts; part 0 sorts before all others.
    pub(super) fn key(self, part: u32) -> Key {
        let mut key = [0; LENGTH];
        key[0] = self.room.byte();
        key[1..9].copy_from_slice(&self.major.to_be_bytes());
        key[9..17].copy_from_slice(&self.minor.to_be_bytes());
        key[17..].copy_from_slice(&part.to_be_bytes());
        key
    }

    /// The place of a key; `None` where it is none of ours.
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let (room, rest) = key.split_first()?;
        let room = [Room::Journal, Room::Mark, Room::Records, Room::Snapshots]
            .into_iter()
            .find(|known| known.byte() == *room)?;
        let (major, rest) = rest.split_first_chunk()?;
        let (minor, part) = rest.split_first_chunk()?;
        let (major, minor) = (u64::from_be_bytes(*major), u64::from_be_bytes(*minor));
        (part.len() == 4).then_some(Self { room, major, minor })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.room {
            Room::Journal => write!(f, "journal entry {}", self.major),
            Room::Mark => f.write_str("the store's mark"),
            Room::Records => write!(f, "the record of tick {}", self.major),
            Room::Snapshots => write!(f, "the snapshot before tick {}", self.major),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_places_do_and_lead_back() {
        let places = [
            Room::Journal.at(1),
            Room::Journal.at(256),
            Room::Mark.at(0),
            Room::Records.at(0),
            Place { room: Room::Snapshots, major: 7, minor: 1 },
            Place { room: Room::Snapshots, major: 7, minor: 300 },
        ];
        assert!(places.windows(2).all(|two| two[0] < two[1] && two[0].key(9) < two[1].key(0)));
        assert!(places.iter().all(|place| Place::of(&place.key(3)) == Some(*place)));
        assert_eq!(Place::of(b"x"), None);
        assert_eq!(Place::of(&Room::Mark.at(0).key(0)[..20]), None);
    }
}
