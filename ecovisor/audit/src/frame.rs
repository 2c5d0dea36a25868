//! The frame around every stored value: it says what it is, which version wrote it, and whether it is whole.
//!
//! ```text
//! byte  0        1       2..6                             6..
//!       version  kind    CRC-32 of version, kind, payload payload
//!       u8       u8      u32, little endian               postcard
//! ```
//!
//! The version is the first byte so that a later layout may change all the rest. Each kind counts its own versions: it
//! goes up when the kind's payload changes (the golden tests of the payloads fail first), and every earlier one stays
//! readable. The checksum (CRC-32 as in IEEE 802.3)
//! finds every single flipped bit and every burst of up to 32; against deliberate change there is the
//! [chain](crate::chain).

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes before the payload.
const HEADER: usize = 6;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A journal entry with its link of the chain.
    Journal,
    /// A snapshot with the place in the journal that it covers.
    Snapshot,
    /// A tick's record.
    Record,
    /// What a store says of itself.
    Mark,
    /// A piece of a value that is too large for its store.
    Part,
    /// A tick's record with its link of the records' chain.
    LinkedRecord,
    /// What is known of a block without reading it.
    BlockHead,
    /// A stretch of the journal, in columns.
    Block,
    /// Rollups, in columns.
    Rollups,
    /// A day's seal.
    Seal,
}

impl Kind {
    /// The byte that stands for it.
    const fn byte(self) -> u8 {
        match self {
            Self::Journal => 1,
            Self::Snapshot => 2,
            Self::Record => 3,
            Self::Mark => 4,
            Self::Part => 5,
            Self::LinkedRecord => 16,
            Self::BlockHead => 17,
            Self::Block => 18,
            Self::Rollups => 19,
            Self::Seal => 20,
        }
    }

    /// The version that is written. Snapshots are at 2, since shares nest; the others are at their first.
    #[must_use]
    pub const fn version(self) -> u8 {
        if matches!(self, Self::Snapshot) { 2 } else { 1 }
    }
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Shorter than any frame.
    #[error("truncated: {length} bytes are less than the {HEADER} that a frame begins with")]
    Truncated {
        /// What there is.
        length: usize,
    },
    /// Written by a later version: a newer program reads it.
    #[error("written in format version {found}, this program knows versions up to {known}")]
    Newer {
        /// What the frame says.
        found: u8,
        /// The newest that this program knows of what was looked for.
        known: u8,
    },
    /// Written by an earlier version, whose payload is another.
    #[error("written in format version {found}, which is read as that and not as today's")]
    Older {
        /// What the frame says.
        found: u8,
    },
    /// What an earlier version wrote cannot go on as today's: a bug in whoever wrote it.
    #[error("cannot be brought to today's format: {0}")]
    Migration(&'static str),
    /// No version wrote it.
    #[error("format version {found} never existed")]
    NoVersion {
        /// What the frame says.
        found: u8,
    },
    /// Not what was written.
    #[error("damaged: its checksum is {found:08x}, it says {said:08x}")]
    Checksum {
        /// What the frame says.
        said: u32,
        /// What its bytes give.
        found: u32,
    },
    /// Whole, but something else than what was looked for.
    #[error("kind {found} where kind {wanted} was expected")]
    WrongKind {
        /// What was looked for.
        wanted: u8,
        /// What the frame says.
        found: u8,
    },
    /// Whole, but its payload is none of its kind: a bug in whoever wrote it.
    #[error("payload cannot be decoded: {0}")]
    Payload(postcard::Error),
    /// Whole, but with more payload than its kind has: a bug in whoever wrote it.
    #[error("{extra} bytes follow the payload")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

/// Frames raw bytes.
#[must_use]
pub fn seal(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend([kind.version(), kind.byte()]);
    frame.extend(checksum(kind.version(), kind.byte(), payload).to_le_bytes());
    frame.extend(payload);
    frame
}

/// The raw bytes of a frame of the version that is written today.
///
/// # Errors
/// As [`open_any`], and where an older version wrote it.
pub fn open(kind: Kind, frame: &[u8]) -> Result<&[u8], FrameError> {
    let (version, payload) = open_any(kind, frame)?;
    if version < kind.version() {
        return Err(FrameError::Older { found: version });
    }
    Ok(payload)
}

/// The raw bytes of a frame, and the version that wrote them: at most the kind's own.
///
/// # Errors
/// What is wrong with it: too short, of a later version, damaged, of another kind.
pub fn open_any(kind: Kind, frame: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    let [version, found, c0, c1, c2, c3, payload @ ..] = frame else {
        return Err(FrameError::Truncated { length: frame.len() });
    };
    match *version {
        0 => return Err(FrameError::NoVersion { found: 0 }),
        found if found > kind.version() => {
            return Err(FrameError::Newer { found, known: kind.version() });
        }
        _ => {}
    }
    let (said, is) = (u32::from_le_bytes([*c0, *c1, *c2, *c3]), checksum(*version, *found, payload));
    if said != is {
        return Err(FrameError::Checksum { said, found: is });
    }
    if *found != kind.byte() {
        return Err(FrameError::WrongKind { wanted: kind.byte(), found: *found });
    }
    Ok((*version, payload))
}

/// Whether some bytes say that they are a frame of that kind; whether they are whole is another question.
#[must_use]
pub fn is(kind: Kind, frame: &[u8]) -> bool {
    frame.get(1) == Some(&kind.byte())
}

/// Frames a value.
///
/// # Panics
/// Where the value cannot be serialized at all: a bug in its type.
#[must_use]
pub fn encode<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    seal(kind, &pack(value))
}

/// The value in a frame.
///
/// # Errors
/// As [`open`], or where the payload is not one whole value of that type.
pub fn decode<T: DeserializeOwned>(kind: Kind, frame: &[u8]) -> Result<T, FrameError> {
    unpack(open(kind, frame)?)
}

/// Two values in a frame, one after the other.
pub(crate) fn decode_pair<A: DeserializeOwned, B: DeserializeOwned>(
    kind: Kind,
    frame: &[u8],
) -> Result<(A, B), FrameError> {
    let (first, rest) = postcard::take_from_bytes(open(kind, frame)?).map_err(FrameError::Payload)?;
    Ok((first, unpack(rest)?))
}

/// A value as bytes, without a frame.
pub(crate) fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("plain data with known lengths always serializes into memory")
}

/// A value from all of some bytes.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(FrameError::Payload)?;
    if rest.is_empty() { Ok(value) } else { Err(FrameError::Trailing { extra: rest.len() }) }
}

fn checksum(version: u8, kind: u8, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[version, kind]);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_frame_are_fixed() {
        // CRC-32 of 01 04 'a' 'b' 'c'.
        assert_eq!(seal(Kind::Mark, b"abc"), [1, 4, 0x2a, 0xd1, 0x45, 0xbe, b'a', b'b', b'c']);
        let bytes = [Kind::Journal, Kind::Snapshot, Kind::Record, Kind::Mark, Kind::Part].map(Kind::byte);
        assert_eq!(bytes, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_error_names_what_is_wrong() {
        let frame = seal(Kind::Record, b"abc");
        let check = |bytes: &[u8], kind, text: &str| {
            assert_eq!(open(kind, bytes).unwrap_err().to_string(), text);
        };
        check(&[], Kind::Record, "truncated: 0 bytes are less than the 6 that a frame begins with");
        check(&frame[..5], Kind::Record, "truncated: 5 bytes are less than the 6 that a frame begins with");
        check(&frame, Kind::Journal, "kind 3 where kind 1 was expected");
        let newer = [&[2], &frame[1..]].concat();
        check(&newer, Kind::Record, "written in format version 2, this program knows versions up to 1");
        let older = [vec![1, 2], checksum(1, 2, b"abc").to_le_bytes().to_vec(), b"abc".to_vec()].concat();
        check(
            &older,
            Kind::Snapshot,
            "written in format version 1, which is read as that and not as today's",
        );
        assert_eq!(open_any(Kind::Snapshot, &older), Ok((1, &b"abc"[..])));
        check(&[0; 6], Kind::Record, "format version 0 never existed");
        let cut = open(Kind::Record, &frame[..8]).unwrap_err();
        assert!(matches!(cut, FrameError::Checksum { .. }), "{cut}");
        let trailing = decode::<u8>(Kind::Record, &frame).unwrap_err();
        assert_eq!(trailing, FrameError::Trailing { extra: 2 });
        let short = decode::<[u8; 4]>(Kind::Record, &frame).unwrap_err();
        assert_eq!(short, FrameError::Payload(postcard::Error::DeserializeUnexpectedEnd));
    }

    proptest! {
        #[test]
        fn what_is_sealed_can_be_opened(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = seal(Kind::Part, &payload);
            prop_assert_eq!(open(Kind::Part, &frame), Ok(&payload[..]));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(Kind::Part, &bytes);
            let _ = unpack::<crate::Snapshot>(&bytes);
            let _ = unpack::<crate::Entry>(&bytes);
            let _ = unpack::<crate::Record>(&bytes);
        }

        #[test]
        fn any_flipped_bit_is_found(
            payload in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let mut frame = seal(Kind::Part, &payload);
            let at = at.index(frame.len());
            frame[at] ^= 1_u8 << bit;
            prop_assert!(open(Kind::Part, &frame).is_err());
        }
    }
}
