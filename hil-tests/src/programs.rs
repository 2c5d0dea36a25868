//! The programs under test: those beside the running test in `target/<profile>`, or in the directory that
//! `ECOVISOR_BINARIES` names. A program that is missing or older than its sources fails the test: a result of other
//! sources would be worse than none.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Names the directory of the programs to test instead of those that were built here, such as installed ones; they are
/// taken as they are.
pub const ENV_BINARIES: &str = "ECOVISOR_BINARIES";

/// How to build what is missing or stale.
const BUILD: &str = "run `cargo build --workspace --bins --examples`, or `./test`, which does";

/// A program of this repository, by its name.
///
/// # Errors
/// Where it is missing, or older than one of its sources; the message names the build command.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os(ENV_BINARIES) {
        let path = Path::new(&directory).join(name);
        ensure!(path.is_file(), "{ENV_BINARIES} has no {name}: {} is missing", path.display());
        return Ok(path);
    }
    fresh(profile_directory()?.join(name))
}

/// An example that is a library of this repository, by its name: a layer that tests put under a program.
///
/// # Errors
/// As [`program`]; it is always one of these sources, whatever programs it is put under.
pub fn layer(name: &str) -> Result<PathBuf> {
    fresh(profile_directory()?.join("examples").join(format!("lib{name}.so")))
}

fn fresh(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.is_file(), "{} is missing: {BUILD}", path.display());
    if let Some(newer) = newer_source(&path)? {
        anyhow::bail!("{} is older than {}: {BUILD}", path.display(), newer.display());
    }
    Ok(path)
}

/// `target/<profile>`: the running test is in its `deps`.
fn profile_directory() -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot find the running test")?;
    let profile =
        test.parent().and_then(Path::parent).context("the running test is not in target/<profile>/deps")?;
    Ok(profile.to_owned())
}

/// The target directory.
///
/// # Errors
/// Where the running test is not in one.
pub fn target_directory() -> Result<PathBuf> {
    let profile = profile_directory()?;
    Ok(profile.parent().context("target/<profile> has a parent")?.to_owned())
}

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// A source that is newer than the program, by the list that cargo writes beside it.
fn newer_source(program: &Path) -> Result<Option<PathBuf>> {
    let built = modified(program)?;
    let list = program.with_extension("d");
    let list =
        std::fs::read_to_string(&list).with_context(|| format!("{} is missing: {BUILD}", list.display()))?;
    // A source that is gone was moved, and the new one is in the list of the next build.
    let newer = |source: &PathBuf| modified(source).map_or(true, |changed| changed > built);
    Ok(sources(&list).into_iter().find(newer))
}

/// The files after the colon of `program: file file`; a space in a name is written `\ `.
fn sources(list: &str) -> Vec<PathBuf> {
    let files = list.split_once(": ").map_or("", |(_, files)| files).trim_end();
    let files = files.replace("\\ ", "\0");
    files
        .split(' ')
        .filter(|file| !file.is_empty())
        .map(|file| PathBuf::from(file.replace('\0', " ")))
        .collect()
}

fn modified(path: &Path) -> Result<SystemTime> {
    path.metadata().and_then(|of| of.modified()).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_older_than_a_source_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, seconds: u64| {
            let path = dir.path().join(name);
            let file = std::fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
            path
        };
        let (program, old, new) = (at("ecovisord", 2), at("a source.rs", 1), at("new.rs", 3));
        let list = |sources: &[&Path]| {
            let names: Vec<_> =
                sources.iter().map(|path| path.display().to_string().replace(' ', "\\ ")).collect();
            std::fs::write(
                program.with_extension("d"),
                format!("{}: {}\n", program.display(), names.join(" ")),
            )
            .unwrap();
        };
        list(&[&old]);
        assert_eq!(newer_source(&program).unwrap(), None);
        list(&[&old, &new]);
        assert_eq!(newer_source(&program).unwrap(), Some(new));
        let gone = dir.path().join("gone.rs");
        list(&[&gone]);
        assert_eq!(newer_source(&program).unwrap(), Some(gone));
    }
}
