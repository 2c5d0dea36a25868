//! The configuration's text, from a file that may be anything: too large, no text, no file at all.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Largest file. A thousand apps with a page of comments each stay below it.
pub const BYTES_MAX: u64 = 4 << 20;

/// Why a file is no configuration's text.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableConfig {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is a directory, a device, a pipe.
    #[error("cannot read the configuration {0} again: it is no regular file")]
    NoFile(PathBuf),
    /// It is too large to be meant.
    #[error("the configuration {0} has more than the {BYTES_MAX} bytes that one may have")]
    TooLarge(PathBuf),
    /// It is no text.
    #[error("the configuration {path} is no UTF-8 text: byte {at} is {byte:#04x}")]
    NoText {
        /// Which.
        path: PathBuf,
        /// The first byte that is none of a text, counted from 0.
        at: usize,
        /// What it is.
        byte: u8,
    },
}

/// The text of a file. A byte order mark, as some editors write it, is passed over.
///
/// # Errors
/// [`UnreadableConfig`]; nothing but a bounded part of the file is read.
pub fn read(path: &Path) -> Result<String, UnreadableConfig> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| UnreadableConfig::Io { path: path.to_owned(), error })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(UnreadableConfig::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        UnreadableConfig::NoText { path: path.to_owned(), at, byte }
    })?;
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// The same while ticks are settled: a pipe that nobody writes to would hold them up for ever.
///
/// # Errors
/// [`UnreadableConfig`].
pub fn read_again(path: &Path) -> Result<String, UnreadableConfig> {
    match std::fs::metadata(path) {
        Ok(of) if of.is_file() => read(path),
        Ok(_) => Err(UnreadableConfig::NoFile(path.to_owned())),
        Err(error) => Err(UnreadableConfig::Io { path: path.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let refusal = read(file.path()).unwrap_err().to_string();
        refusal.replace(&file.path().display().to_string(), "FILE")
    }

    #[test]
    fn what_is_no_text_is_named() {
        assert_eq!(refusal(b"[site]\n\xff\xfe"), "the configuration FILE is no UTF-8 text: byte 7 is 0xff");
        assert_eq!(refusal(b"\x7fELF\x02\x80"), "the configuration FILE is no UTF-8 text: byte 5 is 0x80");
        let large = vec![b'#'; 10_000_000];
        assert_eq!(
            refusal(&large),
            "the configuration FILE has more than the 4194304 bytes that one may have"
        );
        let endless = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("/dev/zero has more than the 4194304 bytes"), "{endless}");
        let none = read(Path::new("/nowhere/site.toml")).unwrap_err().to_string();
        assert!(none.starts_with("cannot read the configuration /nowhere/site.toml: No such file"), "{none}");
        let directory = read(Path::new("/")).unwrap_err().to_string();
        assert!(directory.starts_with("cannot read the configuration /: Is a directory"), "{directory}");
    }

    #[test]
    fn while_ticks_are_settled_only_a_regular_file_is_read() {
        let refusal = read_again(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(refusal, "cannot read the configuration /dev/zero again: it is no regular file");
        assert!(read_again(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}[site]\r\n").unwrap();
        assert_eq!(read(file.path()).unwrap(), "[site]\r\n");
        assert_eq!(read_again(file.path()).unwrap(), "[site]\r\n");
    }
}
