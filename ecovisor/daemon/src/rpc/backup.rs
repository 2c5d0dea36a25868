//! A copy of the store while the daemon runs. The daemon writes it, since it holds the engine's lock: so it decides where.

use super::Behind;
use super::errors::Problem;
use super::ledger::Readers;
use super::streams::Answers;
use crate::store::Copied;
use ecovisor_proto::v1;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// What would be accepted as a place.
const ACCEPTED: &str = "an absolute path that is not there yet, in a directory that belongs to the daemon's user or root and is \
                        writable to nobody else";

/// Where a copy may be written: nobody but the daemon's user or root could have put anything in its way.
///
/// # Errors
/// Where the path is none, is there already, or others can write beside it.
pub fn place(directory: &str, own_uid: u32) -> Result<PathBuf, Problem> {
    let refused = || Problem::invalid("directory", directory, ACCEPTED);
    let path = Path::new(directory);
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(refused());
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(refused()) };
    let above = above.canonicalize().map_err(|_| refused())?;
    let metadata = above.metadata().map_err(|_| refused())?;
    let is_ours = metadata.uid() == own_uid || metadata.uid() == 0;
    let others_write = metadata.mode() & 0o022 != 0;
    let place = above.join(name);
    let is_free = place.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if metadata.is_dir() && is_ours && !others_write && is_free { Ok(place) } else { Err(refused()) }
}

/// Copies, and tells how far it is.
///
/// # Errors
/// Where too many read.
pub fn copy(
    behind: &Behind,
    readers: &Readers,
    place: PathBuf,
) -> Result<Answers<v1::BackupStoreReply>, Problem> {
    readers.stream(behind, move |history, out| {
        let reply =
            |copied: Copied, end| v1::BackupStoreReply { values: copied.pairs, bytes: copied.bytes, end };
        let copied = history.backup(&place, &mut |copied| out.push(Ok(reply(copied, None))));
        let backup = match copied {
            Ok(Some(backup)) => backup,
            // Nobody waits for it any more.
            Ok(None) => return Ok(()),
            Err(error) => return Err(Problem::unreadable(&error.into())),
        };
        let end = v1::BackupEnd { entries: backup.entries, head: backup.head.bytes().to_vec() };
        let _gone: ControlFlow<()> = out.push(Ok(reply(backup.copied, Some(end))));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_copy_goes_only_where_nobody_else_can_interfere() {
        let dir = tempfile::tempdir().unwrap();
        let own_uid = rustix::process::geteuid().as_raw();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let allowed = |path: &str| place(path, own_uid).is_ok();
        assert_eq!(place(&at("new"), own_uid).unwrap(), dir.path().canonicalize().unwrap().join("new"));
        std::fs::create_dir(at("there")).unwrap();
        std::os::unix::fs::symlink("/nowhere", at("link")).unwrap();
        for path in [&at("there"), &at("link"), &at("missing/new"), &at("there/../new"), "new", "", "/"] {
            assert!(!allowed(path), "{path}");
        }
        let mode =
            |mode| std::fs::set_permissions(at("there"), std::fs::Permissions::from_mode(mode)).unwrap();
        for (bits, fits) in [(0o700, true), (0o755, true), (0o775, false), (0o1777, false)] {
            mode(bits);
            assert_eq!(allowed(&at("there/new")), fits, "{bits:o}");
        }
        let problem = place("new", own_uid).unwrap_err();
        assert!(
            problem.message.contains("cannot be new: ") && problem.message.contains(ACCEPTED),
            "{problem:?}"
        );
    }
}
