//! The ticks as tables in files, `apps` and `site`, CSV or Parquet. A file has its name when it is whole, not before.

use crate::books::file::unwritable;
use crate::failure::Failure;
use ecovisor_audit::TickRows;
#[cfg(feature = "parquet")]
use ecovisor_audit::parquet::{Origin, ParquetTableError, ParquetWriter};
use ecovisor_audit::table::{TableError, TableWriter};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How tables are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text with commas.
    #[default]
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// How the names of its files end.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// A table that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `apps` or `site`.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Written {
    /// Its name, without where it lies.
    pub fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// What the files say of their origin, where the format has a place for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The site's name.
    pub site: String,
    /// Where the chain ended, in hex; empty where there is none.
    pub chain_head: String,
    /// The first tick, and the one after the last.
    pub ticks: Option<(u64, u64)>,
}

/// Both tables on their way out.
pub struct Tables {
    apps: Part,
    site: Part,
    writer: Writer,
}

enum Writer {
    Csv(TableWriter<Out, Out>),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetWriter<Out, Out>>),
}

impl Tables {
    /// Begins `<stem>apps.csv` and `<stem>site.csv`, or the same as Parquet; the stem is a path.
    ///
    /// # Errors
    /// Where they cannot be written, or this program has no Parquet.
    pub fn create(stem: &Path, format: Format) -> Result<Self, Failure> {
        let [apps, site] = ["apps", "site"].map(|name| Part::create(stem, name, format));
        let ((apps, apps_out), (site, site_out)) = (apps?, site?);
        let begun = match format {
            Format::Csv => TableWriter::new(apps_out, site_out).map(Writer::Csv).map_err(csv_failure),
            Format::Parquet => parquet(apps_out, site_out),
        };
        let writer = begun.map_err(|cause| apps.failed(&cause))?;
        Ok(Self { apps, site, writer })
    }

    /// Adds a tick.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&mut self, tick: &TickRows) -> Result<(), Failure> {
        let written = match &mut self.writer {
            Writer::Csv(writer) => writer.write(tick).map_err(csv_failure),
            #[cfg(feature = "parquet")]
            Writer::Parquet(writer) => writer.write(tick).map_err(parquet_failure),
        };
        written.map_err(|cause| self.apps.failed(&cause))
    }

    /// Ends both files and gives them their names.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn finish(self, about: About) -> Result<Vec<Written>, Failure> {
        let ended = match self.writer {
            Writer::Csv(writer) => writer.finish().map_err(csv_failure),
            #[cfg(feature = "parquet")]
            Writer::Parquet(writer) => {
                let About { site, chain_head, ticks } = about;
                writer.finish(&Origin { site, chain_head, ticks }).map_err(parquet_failure)
            }
        };
        ended.map_err(|cause| self.apps.failed(&cause))?;
        [self.apps, self.site].into_iter().map(Part::finish).collect()
    }
}

#[cfg(feature = "parquet")]
fn parquet(apps: Out, site: Out) -> Result<Writer, std::io::Error> {
    ParquetWriter::new(apps, site).map(|writer| Writer::Parquet(Box::new(writer))).map_err(parquet_failure)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: Out, _: Out) -> Result<Writer, std::io::Error> {
    Err(std::io::Error::other("this ecoctl was built without its feature `parquet`"))
}

#[cfg(feature = "parquet")]
fn parquet_failure(error: ParquetTableError) -> std::io::Error {
    std::io::Error::other(error)
}

fn csv_failure(error: TableError) -> std::io::Error {
    match error {
        TableError::Io(cause) => cause,
        other => std::io::Error::other(other),
    }
}

/// One of the files; without its last name until it is whole, and gone where it never is.
struct Part {
    name: &'static str,
    path: PathBuf,
    partial: PathBuf,
    hash: Arc<Mutex<Sha256>>,
}

impl Part {
    fn create(stem: &Path, name: &'static str, format: Format) -> Result<(Self, Out), Failure> {
        let path = with_suffix(stem, &format!("{name}.{}", format.ending()));
        let partial = with_suffix(&path, ".part");
        let file = File::create(&partial).map_err(|cause| unwritable(&partial, &cause))?;
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let out = Out { file: BufWriter::with_capacity(OUT_BYTES, Hashed { file, hash: hash.clone() }) };
        Ok((Self { name, path, partial, hash }, out))
    }

    fn failed(&self, cause: &std::io::Error) -> Failure {
        unwritable(&self.path, cause)
    }

    fn finish(self) -> Result<Written, Failure> {
        std::fs::rename(&self.partial, &self.path).map_err(|cause| self.failed(&cause))?;
        let hash =
            self.hash.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |hash| hash.clone());
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Written { name: self.name, path: self.path.clone(), sha256 })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Where the file is whole it has another name by now.
        let _ = std::fs::remove_file(&self.partial);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Bytes that are gathered before they are hashed and written.
const OUT_BYTES: usize = 256 * 1024;

/// A file whose bytes are hashed on their way.
struct Out {
    file: BufWriter<Hashed>,
}

struct Hashed {
    file: File,
    hash: Arc<Mutex<Sha256>>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Ok(mut hash) = self.hash.lock() {
            hash.update(bytes.get(..written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_name_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let stem = dir.path().join("web.");
        let names = || {
            let entries = std::fs::read_dir(dir.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let tables = Tables::create(&stem, Format::Csv).unwrap();
        assert_eq!(names(), ["web.apps.csv.part", "web.site.csv.part"]);
        drop(tables);
        assert!(names().is_empty(), "{:?}", names());
        let written = Tables::create(&stem, Format::Csv).unwrap().finish(About::default()).unwrap();
        assert_eq!(names(), ["web.apps.csv", "web.site.csv"]);
        for table in written {
            let bytes = std::fs::read(&table.path).unwrap();
            let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(table.sha256, hash);
            assert_eq!(table.file_name(), format!("web.{}.csv", table.name));
        }
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let failure = Tables::create(Path::new("/nowhere/x."), Format::Csv).err().unwrap();
        assert!(failure.message.starts_with("/nowhere/x.apps.csv.part cannot be written"), "{failure:?}");
    }
}
