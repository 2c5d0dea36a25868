//! A disk that forgets what was not synced. The layer in `examples/powercut.rs` tells it what a program does to its files; when
//! the power goes, it says what is left of them.
//!
//! ```text
//!   write, truncate        -> pending, until the file is synced (fsync, fdatasync)
//!   create, rename, remove -> pending, until the directory is synced
//!   sync_file_range        -> nothing: it asks for neither the disk's cache nor the metadata
//!   power cut              -> what was synced, and by a seed: any of the pending writes, torn at sectors, and as many of the
//!                             pending names as were first (file systems write their metadata in order)
//! ```
//!
//! It is stricter than file systems are: a new file's name needs a sync of its directory, and writes to one file reach the disk
//! in any order.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A file's number in its file system.
pub type Inode = u64;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A file.
    File(Inode),
}

/// Which file, however often the file system uses its number again.
type File = usize;

/// A disk, as far as one directory reaches; all paths begin there.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The files that now have these numbers.
    files: BTreeMap<Inode, File>,
    /// What was synced of each file; its place is its [`File`].
    contents: Vec<Vec<u8>>,
    names: BTreeMap<PathBuf, Found>,
    writes: Vec<Write>,
    renames: Vec<Naming>,
}

/// What a synced name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Directory,
    File(File),
}

/// A change of a file that was not synced yet.
#[derive(Clone, Debug)]
enum Write {
    Bytes { file: File, at: usize, bytes: Vec<u8> },
    Length { file: File, length: usize },
}

/// A change of a directory that was not synced yet.
#[derive(Clone, Debug)]
enum Naming {
    New(PathBuf, Found),
    Gone(PathBuf),
    Moved(PathBuf, PathBuf),
}

impl Write {
    fn file(&self) -> File {
        match self {
            Self::Bytes { file, .. } | Self::Length { file, .. } => *file,
        }
    }

    fn apply(self, contents: &mut [Vec<u8>]) {
        let content = &mut contents[self.file()];
        match self {
            Self::Length { length, .. } => content.resize(length, 0),
            Self::Bytes { at, bytes, .. } => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[at..end].copy_from_slice(&bytes);
            }
        }
    }
}

impl Naming {
    fn is_in(&self, directory: &Path) -> bool {
        let within = |path: &Path| path.parent() == Some(directory);
        match self {
            Self::New(path, _) | Self::Gone(path) => within(path),
            Self::Moved(from, to) => within(from) || within(to),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Found>) {
        match self {
            Self::New(path, node) => drop(names.insert(path, node)),
            Self::Gone(path) => drop(names.remove(&path)),
            Self::Moved(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
        }
    }
}

impl Disk {
    /// A file or directory that was there before: all of it was synced.
    pub fn found(&mut self, path: PathBuf, node: Node, content: Vec<u8>) {
        let found = self.new_file(node, content);
        self.names.insert(path, found);
    }

    /// A number that was used before is a new file now.
    fn new_file(&mut self, node: Node, content: Vec<u8>) -> Found {
        let Node::File(inode) = node else { return Found::Directory };
        let file = self.contents.len();
        self.contents.push(content);
        self.files.insert(inode, file);
        Found::File(file)
    }

    /// Bytes were written.
    pub fn wrote(&mut self, inode: Inode, at: usize, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.writes.extend(self.files.get(&inode).map(|&file| Write::Bytes { file, at, bytes }));
    }

    /// A file got another length.
    pub fn resized(&mut self, inode: Inode, length: usize) {
        self.writes.extend(self.files.get(&inode).map(|&file| Write::Length { file, length }));
    }

    /// A file or directory was made.
    pub fn made(&mut self, path: PathBuf, node: Node) {
        let found = self.new_file(node, Vec::new());
        self.renames.push(Naming::New(path, found));
    }

    /// A file or directory was removed.
    pub fn removed(&mut self, path: PathBuf) {
        self.renames.push(Naming::Gone(path));
    }

    /// A file was renamed.
    pub fn renamed(&mut self, from: PathBuf, to: PathBuf) {
        self.renames.push(Naming::Moved(from, to));
    }

    /// A file was synced.
    pub fn synced_file(&mut self, inode: Inode) {
        let Some(&file) = self.files.get(&inode) else { return };
        for write in std::mem::take(&mut self.writes) {
            match write.file() == file {
                true => write.apply(&mut self.contents),
                false => self.writes.push(write),
            }
        }
    }

    /// A directory was synced.
    pub fn synced_directory(&mut self, directory: &Path) {
        for naming in std::mem::take(&mut self.renames) {
            match naming.is_in(directory) {
                true => naming.apply(&mut self.names),
                false => self.renames.push(naming),
            }
        }
    }

    /// The power went. With a seed some of what was not synced is there as well.
    pub fn cut(&mut self, seed: Option<u64>) {
        let (writes, names) = (std::mem::take(&mut self.writes), std::mem::take(&mut self.renames));
        let Some(seed) = seed else { return };
        let mut dice = Dice(seed);
        // Sometimes all of it was written back, sometimes none.
        let chance = dice.below(5);
        for write in writes {
            if dice.below(4) < chance {
                self.tear(write, &mut dice);
            }
        }
        let kept = dice.below(names.len() + 1);
        for naming in names.into_iter().take(kept) {
            naming.apply(&mut self.names);
        }
    }

    /// Of a write of several sectors any number may have come to the disk, from either end.
    fn tear(&mut self, write: Write, dice: &mut Dice) {
        let torn = match write {
            Write::Bytes { file, at, mut bytes } if bytes.len() > SECTOR && dice.below(4) == 0 => {
                // Sectors are where they are on the disk, not where the write begins.
                let first = SECTOR - at % SECTOR;
                let cut = (first + SECTOR * dice.below(bytes.len() / SECTOR)).min(bytes.len());
                match dice.below(2) {
                    0 => Write::Bytes { file, at: at + cut, bytes: bytes.split_off(cut) },
                    _ => {
                        bytes.truncate(cut);
                        Write::Bytes { file, at, bytes }
                    }
                }
            }
            whole => whole,
        };
        torn.apply(&mut self.contents);
    }

    /// What is left, directories before what is in them: paths, and the content where they are files.
    pub fn left(&self) -> impl Iterator<Item = (&Path, Option<&[u8]>)> {
        self.names.iter().filter(|(path, _)| self.is_reached(path)).map(|(path, found)| match found {
            Found::Directory => (path.as_path(), None),
            Found::File(file) => (path.as_path(), Some(self.contents[*file].as_slice())),
        })
    }

    /// What is in a directory whose own name is not there cannot be reached.
    fn is_reached(&self, path: &Path) -> bool {
        let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        above.into_iter().all(|above| self.names.get(above) == Some(&Found::Directory))
    }

    /// Finds all that is in a directory, by a function that reads files.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn find(
        &mut self,
        root: &Path,
        within: &Path,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> io::Result<()> {
        use std::os::unix::fs::DirEntryExt as _;
        for entry in std::fs::read_dir(root.join(within))? {
            let entry = entry?;
            let path = within.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.found(path.clone(), Node::Directory, Vec::new());
                self.find(root, &path, read)?;
            } else if entry.file_type()?.is_file() {
                self.found(path, Node::File(entry.ino()), read(&entry.path())?);
            }
        }
        Ok(())
    }

    /// Whether it knows a file.
    #[must_use]
    pub fn knows(&self, inode: Inode) -> bool {
        self.files.contains_key(&inode)
    }
}

/// Numbers that look thrown, the same for the same seed: splitmix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number from 0 to before `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed >> 33).unwrap_or(0) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Inode = 7;

    fn disk() -> Disk {
        let mut disk = Disk::default();
        disk.found("a".into(), Node::File(FILE), b"old".to_vec());
        disk
    }

    fn left(disk: &Disk) -> Vec<(String, Vec<u8>)> {
        disk.left()
            .map(|(path, content)| (path.display().to_string(), content.unwrap_or_default().to_vec()))
            .collect()
    }

    fn one(path: &str, content: &[u8]) -> Vec<(String, Vec<u8>)> {
        vec![(path.to_owned(), content.to_vec())]
    }

    #[test]
    fn what_was_not_synced_is_gone() {
        let mut disk = disk();
        disk.wrote(FILE, 0, b"new");
        disk.made("b".into(), Node::File(8));
        disk.renamed("a".into(), "c".into());
        disk.cut(None);
        assert_eq!(left(&disk), one("a", b"old"));
    }

    #[test]
    fn what_was_synced_is_there() {
        let mut disk = disk();
        disk.wrote(FILE, 2, b"new");
        disk.synced_file(FILE);
        disk.resized(FILE, 0);
        disk.renamed("a".into(), "c".into());
        disk.synced_directory(Path::new(""));
        disk.cut(None);
        assert_eq!(left(&disk), one("c", b"olnew"));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_file() {
        let mut disk = disk();
        disk.removed("a".into());
        disk.made("b".into(), Node::File(FILE));
        disk.wrote(FILE, 0, b"x");
        disk.synced_file(FILE);
        disk.cut(None);
        assert_eq!(left(&disk), one("a", b"old"));
    }

    #[test]
    fn a_file_without_a_synced_name_is_not_found() {
        let mut disk = Disk::default();
        disk.made("d".into(), Node::Directory);
        disk.made("d/e".into(), Node::File(8));
        disk.wrote(8, 0, b"x");
        disk.synced_file(8);
        let mut inner = disk.clone();
        inner.synced_directory(Path::new("d"));
        inner.cut(None);
        assert_eq!(left(&inner), []);
        disk.synced_directory(Path::new(""));
        disk.synced_directory(Path::new("d"));
        disk.cut(None);
        assert_eq!(left(&disk), [("d".to_owned(), vec![]), ("d/e".to_owned(), b"x".to_vec())]);
    }

    #[test]
    fn a_seed_keeps_some_of_what_was_pending_and_tears_at_sectors() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let mut disk = disk();
            disk.resized(FILE, 0);
            disk.synced_file(FILE);
            disk.wrote(FILE, 0, &[1; 2048]);
            disk.cut(Some(seed));
            let content = left(&disk).remove(0).1;
            assert!(content.chunks(SECTOR).all(|sector| sector.iter().all(|byte| byte == &sector[0])));
            seen.insert((content.len(), content.first().copied()));
        }
        assert!(seen.contains(&(0, None)) && seen.contains(&(2048, Some(1))), "none and all of it: {seen:?}");
        assert!(seen.contains(&(2048, Some(0))) && seen.contains(&(512, Some(1))), "and parts: {seen:?}");
    }
}
