//! The audit trail: who asked for what, and what came of it, one JSON object a line, appended and on the disk before the
//! caller is answered. Refused and denied calls are here and nowhere else.
//!
//! ```json
//! {"wall_ms":0,"actor":"app:web uid=1000 pid=12","via":"uds","method":"SetBatteryChargeRate",
//!  "arguments":{"rate_mw":5000},"outcome":"accepted","detail":"","holds_from_tick":7}
//! ```
//!
//! The file is readable by its owner alone: arguments tell what tenants plan. At [`FILE_BYTES_MAX`] it is renamed, with
//! `.1` at its end, and replaces the one that was renamed before, so that the trail never takes more than twice that.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Largest file. 64 MiB are about 300,000 calls of 200 bytes: weeks of a busy site, and little beside its ledger.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Owner alone.
const MODE: u32 = 0o600;

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrailEntry {
    /// When, in ms since the Unix epoch.
    pub wall_ms: u64,
    /// Who, as the connection told: `app:web uid=1000 pid=12`, `operator uid=0`.
    pub actor: String,
    /// How the call came: `uds`, `tls`, or `config` where nobody called.
    pub via: String,
    /// The method's name.
    pub method: String,
    /// What was asked.
    pub arguments: serde_json::Value,
    /// What came of it.
    pub outcome: TrailOutcome,
    /// Why, for people; empty where there is nothing to add.
    pub detail: String,
    /// The tick from which it holds; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds_from_tick: Option<u64>,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrailOutcome {
    /// It holds.
    Accepted,
    /// The site's rules do not allow it.
    Refused,
    /// The caller may not ask for it.
    Denied,
}

/// A trail.
#[derive(Debug)]
pub struct Trail {
    path: PathBuf,
    file: Mutex<Current>,
    bytes_max: u64,
}

#[derive(Debug)]
struct Current {
    file: File,
    bytes: u64,
}

impl Trail {
    /// Opens the trail of that path, or begins one there.
    ///
    /// # Errors
    /// Where the file cannot be opened, or its mode cannot be set.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, FILE_BYTES_MAX)
    }

    fn with_limit(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = Mutex::new(Current::open(path)?);
        Ok(Self { path: path.to_path_buf(), file, bytes_max })
    }

    /// Appends an entry; it is on the disk when this returns. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Where it could not be written: the call must not be answered as done.
    pub fn write(&self, entry: &TrailEntry) -> io::Result<()> {
        self.write_all(std::slice::from_ref(entry))
    }

    /// Appends entries with one sync for all; they are on the disk when this returns.
    ///
    /// # Errors
    /// As [`Trail::write`], for all of them.
    pub fn write_all(&self, entries: &[TrailEntry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            // JSON escapes line ends, so an entry is always one line, whatever the caller sent.
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let length = u64::try_from(lines.len()).map_err(io::Error::other)?;
        let mut current = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if current.bytes > 0 && current.bytes + length > self.bytes_max {
            std::fs::rename(&self.path, old(&self.path))?;
            *current = Current::open(&self.path)?;
        }
        current.append(&lines, length)
    }
}

/// Where the file before is kept.
fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

impl Current {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).read(true).mode(MODE).open(path)?;
        // The mode above holds for a new file only.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(MODE))?;
        // The name is to outlive a power cut too.
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        let mut current = Self { bytes: file.metadata()?.len(), file };
        current.end_torn_line()?;
        Ok(current)
    }

    /// A line that a power cut tore gets its end, so that what follows can be read.
    fn end_torn_line(&mut self) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut last = [b'\n'];
        if let Some(at) = self.bytes.checked_sub(1) {
            self.file.read_exact_at(&mut last, at)?;
        }
        if last == *b"\n" { Ok(()) } else { self.append(b"\n", 1) }
    }

    fn append(&mut self, line: &[u8], length: u64) -> io::Result<()> {
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.bytes += length,
            // Half a line must not swallow the next entry; where even that fails, the next open ends it.
            Err(_) => drop(self.file.set_len(self.bytes)),
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const NAME: &str = "audit.jsonl";
    const OLD_NAME: &str = "audit.jsonl.1";

    fn entry(method: &str) -> TrailEntry {
        TrailEntry {
            wall_ms: 5,
            actor: "app:web uid=1000 pid=12".into(),
            via: "uds".into(),
            method: method.into(),
            arguments: serde_json::json!({ "rate_mw": 5000 }),
            outcome: TrailOutcome::Accepted,
            detail: String::new(),
            holds_from_tick: Some(7),
        }
    }

    fn read(directory: &TempDir, name: &str) -> String {
        fs::read_to_string(directory.path().join(name)).unwrap()
    }

    #[test]
    fn an_entry_is_one_line_of_json() {
        let directory = TempDir::new().unwrap();
        let trail = Trail::open(&directory.path().join(NAME)).unwrap();
        trail.write(&entry("SetBatteryChargeRate")).unwrap();
        let denied = TrailEntry {
            outcome: TrailOutcome::Denied,
            via: "tls".into(),
            detail: "not\nyours".into(),
            holds_from_tick: None,
            ..entry("AttachContainer")
        };
        trail.write(&denied).unwrap();
        assert_eq!(
            read(&directory, NAME),
            "{\"wall_ms\":5,\"actor\":\"app:web uid=1000 pid=12\",\"via\":\"uds\",\
             \"method\":\"SetBatteryChargeRate\",\"arguments\":{\"rate_mw\":5000},\"outcome\":\"accepted\",\
             \"detail\":\"\",\"holds_from_tick\":7}\n\
             {\"wall_ms\":5,\"actor\":\"app:web uid=1000 pid=12\",\"via\":\"tls\",\
             \"method\":\"AttachContainer\",\"arguments\":{\"rate_mw\":5000},\"outcome\":\"denied\",\
             \"detail\":\"not\\nyours\"}\n"
        );
    }

    #[test]
    fn only_its_owner_reads_it() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(NAME);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Trail::open(&directory.path().join(NAME)).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn it_goes_on_after_a_restart_and_ends_a_torn_line() {
        let directory = TempDir::new().unwrap();
        Trail::open(&directory.path().join(NAME)).unwrap().write(&entry("A")).unwrap();
        let torn = read(&directory, NAME) + "{\"wall_";
        fs::write(directory.path().join(NAME), torn).unwrap();
        Trail::open(&directory.path().join(NAME)).unwrap().write(&entry("B")).unwrap();
        let text = read(&directory, NAME);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("\"A\"") && lines[1] == "{\"wall_" && lines[2].contains("\"B\""), "{text}");
    }

    #[test]
    fn it_keeps_one_old_file_and_is_bounded() {
        let directory = TempDir::new().unwrap();
        let length = u64::try_from(serde_json::to_vec(&entry("1")).unwrap().len()).unwrap() + 1;
        let trail = Trail::with_limit(&directory.path().join(NAME), 2 * length).unwrap();
        let methods = |name: &str| -> Vec<String> {
            let text = read(&directory, name);
            let method =
                |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["method"].clone();
            text.lines().map(|line| method(line).as_str().unwrap().to_owned()).collect()
        };
        ["1", "2"].into_iter().for_each(|method| trail.write(&entry(method)).unwrap());
        assert_eq!(methods(NAME), ["1", "2"]);
        assert!(!directory.path().join(OLD_NAME).exists());
        ["3", "4", "5"].into_iter().for_each(|method| trail.write(&entry(method)).unwrap());
        assert_eq!((methods(OLD_NAME), methods(NAME)), (vec!["3".into(), "4".into()], vec!["5".into()]));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_write_that_fails_is_told() {
        let directory = TempDir::new().unwrap();
        let trail = Trail::with_limit(&directory.path().join(NAME), 1).unwrap();
        trail.write(&entry("1")).unwrap();
        // The rotation finds no directory any more.
        directory.close().unwrap();
        assert!(trail.write(&entry("2")).is_err());
    }
}
