//! The journal as a file, so that it can be verified where the daemon is not.
//!
//! ```text
//! "ecovisor-journal-1\n"                    what it is
//! u32 little endian, that many bytes        the snapshot, in the ledger's own encoding
//! u32 little endian, that many bytes  ...   journal entries, in order
//! ```

use crate::failure::{Failure, Kind};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What such a file begins with.
const MAGIC: &[u8] = b"ecovisor-journal-1\n";

/// Largest piece that is read: a snapshot of ten thousand apps is 10 MB.
const PIECE_BYTES_MAX: u32 = 256 * 1024 * 1024;

/// A journal file that is being written.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<std::fs::File>,
}

impl Writer {
    /// Begins a file with the snapshot.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn create(path: &Path, snapshot: &[u8]) -> Result<Self, Failure> {
        let file = std::fs::File::create(path).map_err(|cause| unwritable(path, &cause))?;
        let mut writer = Self { path: path.to_path_buf(), file: BufWriter::new(file) };
        writer.file.write_all(MAGIC).map_err(|cause| unwritable(path, &cause))?;
        writer.piece(snapshot)?;
        Ok(writer)
    }

    /// One more piece.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(bytes.len())
            .map_err(|_| Failure::other("a piece of the journal is beyond 4 GB"))?;
        let written = self.file.write_all(&length.to_le_bytes()).and_then(|()| self.file.write_all(bytes));
        written.map_err(|cause| unwritable(&self.path, &cause))
    }

    /// Ends the file; only then it is whole.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.file.flush().map_err(|cause| unwritable(&self.path, &cause))
    }
}

/// Where a file cannot be written.
pub fn unwritable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::other(format!("{} cannot be written: {cause}", path.display()))
}

/// Where a file cannot be read.
pub fn unreadable(path: &Path, cause: &std::io::Error) -> Failure {
    let kind = if cause.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Refused };
    Failure::new(kind, format!("{} cannot be read: {cause}", path.display()))
}

/// The pieces of a journal file: the snapshot, then the entries.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<std::fs::File>,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it cannot be read, or is no journal file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = std::fs::File::open(path).map_err(|cause| unreadable(path, &cause))?;
        let mut reader = Self { path: path.to_path_buf(), file: BufReader::new(file) };
        let mut magic = [0; MAGIC.len()];
        let begun = reader.file.read_exact(&mut magic);
        if begun.is_err() || magic != MAGIC {
            return Err(Failure::other(format!("{} is no journal file", path.display()))
                .hint("`ecoctl ledger export --journal FILE` writes one"));
        }
        Ok(reader)
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Where the file ends within a piece: it is not whole.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut length = [0; 4];
        match self.file.read(&mut length[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(cause) => return Err(unreadable(&self.path, &cause)),
        }
        self.file.read_exact(&mut length[1..]).map_err(|_| self.cut())?;
        let length = u32::from_le_bytes(length);
        if length > PIECE_BYTES_MAX {
            return Err(self.cut());
        }
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(length.into()).read_to_end(&mut bytes);
        read.map_err(|cause| unreadable(&self.path, &cause))?;
        if u32::try_from(bytes.len()) == Ok(length) { Ok(Some(bytes)) } else { Err(self.cut()) }
    }

    fn cut(&self) -> Failure {
        Failure::new(Kind::Unverified, format!("{} ends in the middle of a piece", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_and_a_cut_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut writer = Writer::create(&path, b"snapshot").unwrap();
        writer.piece(b"one").unwrap();
        writer.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.piece(), Ok(Some(b"snapshot".to_vec())));
        assert_eq!(reader.piece(), Ok(Some(b"one".to_vec())));
        assert_eq!(reader.piece(), Ok(None));

        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        reader.piece().unwrap();
        assert_eq!(reader.piece().unwrap_err().kind, Kind::Unverified);
    }

    #[test]
    fn what_is_no_journal_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert_eq!(Reader::open(&path).unwrap_err().kind, Kind::NotFound);
        std::fs::write(&path, "tick,load").unwrap();
        assert!(Reader::open(&path).unwrap_err().message.ends_with("is no journal file"));
    }
}
