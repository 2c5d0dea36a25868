//! Files that survive a power cut: what was synced is there afterwards, whole; what was not is cut off or swept away.
//!
//! A file is a line that says what it is, then pieces: four bytes of length, little endian, and a
//! [frame](crate::frame), which has a checksum of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What the name of a file ends with while it is being written.
const UNFINISHED: &str = ".unfinished";

/// Largest piece: a snapshot of ten thousand apps is 10 MB.
pub(super) const PIECE_BYTES_MAX: u32 = 256 << 20;

/// Bytes before a piece.
const LENGTH: u64 = 4;

/// Where a piece stands in its file: its frame, without the length before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Place {
    /// Where the next piece begins.
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(self.length.into())
    }
}

/// Adds a piece to bytes that are written later.
pub(super) fn put(bytes: &mut Vec<u8>, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length <= PIECE_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a piece of history is too large"))?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(frame);
    Ok(())
}

/// Makes a file, whole or not at all: written beside its name, synced, renamed, and the name synced.
pub(super) fn make(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(UNFINISHED);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_name(path)
}

/// Makes a file's name durable.
pub(super) fn sync_name(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

/// Writes at `offset`, cuts off whatever stood there and beyond, and syncs.
pub(super) fn append(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(offset)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes what was being written when the power went.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// One piece of a file.
pub(super) fn read(file: &mut File, place: Place) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(place.offset))?;
    let mut bytes = Vec::new();
    file.take(place.length.into()).read_to_end(&mut bytes)?;
    match u32::try_from(bytes.len()) == Ok(place.length) {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Where the pieces of a file stand, as far as they are whole; a length that cannot be ends them.
pub(super) fn places(file: &mut File, magic: &[u8]) -> io::Result<Vec<Place>> {
    let size = file.metadata()?.len();
    let mut at = u64::try_from(magic.len()).unwrap_or(u64::MAX);
    let mut places = Vec::new();
    loop {
        let mut length = [0; 4];
        if size < at.saturating_add(LENGTH) {
            return Ok(places);
        }
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut length)?;
        let place = Place { offset: at + LENGTH, length: u32::from_le_bytes(length) };
        if place.length == 0 || place.length > PIECE_BYTES_MAX || place.end() > size {
            return Ok(places);
        }
        at = place.end();
        places.push(place);
    }
}

/// Opens a file, which must begin with `magic`.
pub(super) fn open(path: &Path, magic: &[u8]) -> io::Result<File> {
    let mut file = File::open(path)?;
    let mut begins = Vec::new();
    (&mut file).take(u64::try_from(magic.len()).unwrap_or(u64::MAX)).read_to_end(&mut begins)?;
    match begins == magic {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as such a file does")),
    }
}

/// The pieces of a whole file that is in memory; `None` where it is none.
pub(super) fn pieces<'a>(bytes: &'a [u8], magic: &[u8]) -> Option<Vec<&'a [u8]>> {
    let mut rest = bytes.strip_prefix(magic)?;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (piece, after) = after.split_at_checked(length)?;
        pieces.push(piece);
        rest = after;
    }
    Some(pieces)
}
