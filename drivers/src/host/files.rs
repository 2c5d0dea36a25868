//! The kernel's small text files: read whole, written without ever creating one.

use crate::error::{ApplyError, ReadError};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::Path;

/// Longest file read, bytes: /proc/stat of a machine with a thousand cores is a tenth of it.
const LENGTH_MAX: u64 = 1 << 20;

/// The text of `path`, bytes that are no UTF-8 replaced.
fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LENGTH_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The text of `path` as a reading.
pub(super) fn read(path: &Path) -> Result<String, ReadError> {
    text(path).map_err(|cause| ReadError::reading(path, cause))
}

/// The text of `path`, where it matters for writing.
pub(super) fn read_back(path: &Path) -> Result<String, ApplyError> {
    text(path).map(|text| text.trim().to_owned()).map_err(|cause| ApplyError::writing(path, cause))
}

/// Writes `line` to the existing file `path`, in one call as the kernel wants it.
pub(super) fn write(path: &Path, line: &str) -> Result<(), ApplyError> {
    let write = || OpenOptions::new().write(true).truncate(true).open(path)?.write_all(line.as_bytes());
    write().map_err(|cause| ApplyError::writing(path, cause))
}

/// Writes `line` and checks that `path` then says so.
pub(super) fn write_checked(path: &Path, line: &str) -> Result<(), ApplyError> {
    write(path, line)?;
    let found = read_back(path)?;
    match found == line {
        true => Ok(()),
        false => Err(ApplyError::NotTaken { path: path.into(), wanted: line.to_owned(), found }),
    }
}
