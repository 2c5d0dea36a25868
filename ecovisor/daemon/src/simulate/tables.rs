//! A simulation's tables, written on a thread of their own: the loop fills pages of rows, the thread turns them into text,
//! and the pages come back to be filled again.
//!
//! ```text
//!   loop --(full page)--> thread --> apps.csv, site.csv
//!     ^                     |
//!     +----(empty page)-----+
//! ```

use anyhow::Context as _;
use ecovisor_audit::TickRows;
use ecovisor_audit::table::{TableError, TableWriter};
use ecovisor_core::{AppId, AppName, Outcome};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Ticks on a page: enough that the threads seldom wake each other, few enough that the pages stay in the cache.
const PAGE_TICKS: usize = 64;

/// Pages under way: one that is filled, one that is written, and two between them.
const PAGES: usize = 4;

/// Bytes that are gathered before they are written to a file.
const FILE_BYTES: usize = 1 << 18;

type Page = Vec<TickRows>;

/// Both tables on their way out.
pub struct Tables {
    page: Page,
    filled: usize,
    full: SyncSender<Page>,
    empty: Receiver<Page>,
    thread: JoinHandle<Result<(), TableError>>,
}

impl Tables {
    /// Begins `apps.csv` and `site.csv` in a directory.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub fn create(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let writer = TableWriter::new(file(directory, "apps.csv")?, file(directory, "site.csv")?)?;
        let (full, pages) = sync_channel::<Page>(PAGES);
        let (back, empty) = channel();
        for _ in 1..PAGES {
            // The other end is in this function.
            let _ = back.send(Page::new());
        }
        let thread = std::thread::Builder::new().name("tables".to_owned());
        let thread = thread.spawn(move || write(writer, &pages, &back)).context("cannot start a thread")?;
        Ok(Self { page: Page::new(), filled: 0, full, empty, thread })
    }

    /// Adds a tick.
    ///
    /// # Errors
    /// Where the tables cannot be written any more; [`Self::finish`] says why.
    pub fn tick(&mut self, outcome: &Outcome, names: &[(AppId, AppName)]) -> std::io::Result<()> {
        if self.page.len() == self.filled {
            self.page.push(TickRows::default());
        }
        if let Some(rows) = self.page.get_mut(self.filled) {
            rows.become_of(outcome, names);
        }
        self.filled += 1;
        if self.filled == PAGE_TICKS { self.turn() } else { Ok(()) }
    }

    /// Hands the page over and takes an empty one.
    fn turn(&mut self) -> std::io::Result<()> {
        let gone = || std::io::Error::other("the tables cannot be written");
        let next = self.empty.recv().map_err(|_| gone())?;
        let page = std::mem::replace(&mut self.page, next);
        self.filled = 0;
        self.full.send(page).map_err(|_| gone())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Where the tables could not be written.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.page.truncate(self.filled);
        // Where the thread has ended early, it says why below.
        let _ = self.full.send(self.page);
        drop(self.full);
        let written = self.thread.join().map_err(|_| anyhow::anyhow!("the tables' thread panicked"))?;
        written.context("the tables cannot be written")
    }
}

fn file(directory: &Path, name: &str) -> anyhow::Result<BufWriter<File>> {
    let path = directory.join(name);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::with_capacity(FILE_BYTES, file))
}

fn write(
    mut writer: TableWriter<BufWriter<File>, BufWriter<File>>,
    pages: &Receiver<Page>,
    back: &Sender<Page>,
) -> Result<(), TableError> {
    for page in pages {
        page.iter().try_for_each(|tick| writer.write(tick))?;
        // At the end nobody waits for it any more.
        let _ = back.send(page);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_core::{Rules, Site, Tick};

    #[test]
    fn every_tick_is_written_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(Rules::default()).unwrap();
        let names: Vec<_> = site.apps(false).iter().map(|app| (app.id, app.name.clone())).collect();
        for ticks in [0, 1, PAGE_TICKS, PAGE_TICKS * 7 + 3] {
            let mut tables = Tables::create(dir.path()).unwrap();
            for tick in (0..).take(ticks) {
                let outcome = Outcome { tick: Tick(tick), ..Outcome::default() };
                tables.tick(&outcome, &names).unwrap();
            }
            tables.finish().unwrap();
            let text = std::fs::read_to_string(dir.path().join("site.csv")).unwrap();
            let found: Vec<_> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
            let due: Vec<_> = (0..ticks).map(|tick| tick.to_string()).collect();
            assert_eq!(found, due);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let said = Tables::create(Path::new("/proc/none")).err().unwrap().to_string();
        assert_eq!(said, "cannot make /proc/none");
    }
}
