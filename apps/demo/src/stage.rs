//! Where the demo happens: directories of its own, gone at its end, and the programs that were built with it.

use anyhow::{Context as _, bail, ensure};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Directories and programs.
pub struct Stage {
    /// Where the programs lie: beside this one.
    programs: PathBuf,
    /// Sockets: always a short path of its own, since a socket's path holds 107 bytes (unix(7)).
    run: TempDir,
    home: Home,
}

/// Configuration, state and logs.
enum Home {
    /// Gone at the end.
    Passing(TempDir),
    /// As the user asked.
    Kept(PathBuf),
}

impl Stage {
    /// Makes the directories and looks for the programs.
    ///
    /// # Errors
    /// Where a program is missing, or a directory cannot be made or is not empty.
    pub fn set(keep: Option<&Path>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let programs = own.parent().context("this program lies in no directory")?.to_path_buf();
        let home = match keep {
            None => Home::Passing(private_dir()?),
            Some(path) => Home::Kept(kept_dir(path)?),
        };
        let stage = Self { programs, run: private_dir()?, home };
        for program in ["ecovisord", "ecoctl", "ecovisor-demo"] {
            let path = stage.program(program);
            ensure!(
                path.exists(),
                "{} is missing: build it with `cargo build -p ecovisor-daemon -p ecovisor-ecoctl -p ecovisor-demo`, \
                 or start the demo with ./demo, which does",
                path.display()
            );
        }
        Ok(stage)
    }

    /// One of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Where sockets are made.
    pub fn run_dir(&self) -> &Path {
        self.run.path()
    }

    /// The operator's socket.
    pub fn operator_socket(&self) -> PathBuf {
        self.run_dir().join("ecovisor.sock")
    }

    /// An app's socket.
    pub fn app_socket(&self, app: &str) -> PathBuf {
        self.run_dir().join("app").join(format!("{app}.sock"))
    }

    /// A file or directory of the demo.
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.home {
            Home::Passing(dir) => dir.path().join(name),
            Home::Kept(path) => path.join(name),
        }
    }

    /// Where everything stays; `None` where nothing does.
    pub fn kept(&self) -> Option<&Path> {
        match &self.home {
            Home::Passing(_) => None,
            Home::Kept(path) => Some(path),
        }
    }
}

fn private_dir() -> anyhow::Result<TempDir> {
    tempfile::Builder::new().prefix("ecovisor-demo-").tempdir().context("cannot make a temporary directory")
}

fn kept_dir(path: &Path) -> anyhow::Result<PathBuf> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    if entries.next().is_some() {
        bail!(
            "--keep {} is not empty: a site goes on from the ledger it finds, the demo begins a new one",
            path.display()
        );
    }
    path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(kept_dir(&dir.path().join("new")).is_ok());
        assert!(kept_dir(dir.path()).unwrap_err().to_string().contains("is not empty"));
    }
}
