//! Unix sockets: the operator's, and one for each app, which appear and go with their apps.
//!
//! A socket is bound under a private directory, given its owner and mode, and moved to its place: at no moment can
//! somebody connect who should not. What a peer may do is decided by its credentials; modes are the first fence.

use super::connection::{Entrance, Wire};
use super::quiet::Quiet;
use crate::engine::handle::View;
use crate::identity::{Identity, Peer, tenants};
use anyhow::{Context as _, bail, ensure};
use ecovisor_core::{AppId, AppName};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The longest path of a Unix socket, in bytes: `sun_path` holds 108 with the zero at its end (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// Anybody may pass through to the sockets.
const RUN_DIR_MODE: u32 = 0o755;

/// Anybody may pass, nobody need list: names of apps are their own.
const APP_DIR_MODE: u32 = 0o711;

/// Nobody else passes where sockets are made.
const MAKING_DIR_MODE: u32 = 0o700;

/// After a connection could not be accepted (too many open files, most likely), the next try waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whose a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ownership {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
}

/// Opens the operator's socket and those of all apps there are, and keeps them in step with the apps until the shutdown.
///
/// # Errors
/// Where a directory or the operator's socket cannot be made, or another process listens there.
pub fn listen(entrance: Entrance, shutdown: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    let paths = entrance.paths.clone();
    let making = paths.run_dir.join(".new");
    for (dir, mode) in
        [(&paths.run_dir, RUN_DIR_MODE), (&paths.app_dir(), APP_DIR_MODE), (&making, MAKING_DIR_MODE)]
    {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let set = fs::set_permissions(dir, Permissions::from_mode(mode));
        set.with_context(|| format!("cannot set the mode of {}", dir.display()))?;
    }
    let operator = bind(&paths.operator_socket(), &making, &operator_ownership(&entrance))?;
    sweep(&paths.app_dir())?;
    let mut keeper = Keeper { entrance, making, apps: BTreeMap::new() };
    keeper.follow(&keeper.entrance.engine.view());
    let general = tokio::spawn(accept_general(operator, keeper.entrance.clone()));
    Ok(tokio::spawn(async move {
        let mut changes = keeper.entrance.engine.changes();
        loop {
            let view = tokio::select! {
                () = shutdown.cancelled() => break,
                changed = changes.changed() => match changed {
                    Ok(()) => changes.borrow_and_update().clone(),
                    Err(_) => break,
                },
            };
            keeper.follow(&view);
        }
        shutdown.cancelled().await;
        general.abort();
        keeper.close_all();
        remove(&paths.operator_socket());
    }))
}

/// The operator's socket is for its group where there is one, for everybody where single users are named (the kernel
/// tells who they are), else for the daemon's own user alone.
fn operator_ownership(entrance: &Entrance) -> Ownership {
    let access = &entrance.access;
    let others = access.operator_uids.iter().any(|uid| *uid != access.own_uid && *uid != 0);
    let mode = match (others, access.operator_gid) {
        (true, _) => 0o666,
        (false, Some(_)) => 0o660,
        (false, None) => 0o600,
    };
    Ownership { uid: None, gid: access.operator_gid, mode }
}

/// Keeps a socket for each app.
struct Keeper {
    entrance: Entrance,
    making: PathBuf,
    apps: BTreeMap<AppId, AppDoor>,
}

/// An app's socket.
struct AppDoor {
    path: PathBuf,
    owner: Ownership,
    accepting: JoinHandle<()>,
}

impl Keeper {
    /// Opens what is missing, closes what is no more, and makes owners right.
    fn follow(&mut self, view: &View) {
        let wanted: BTreeMap<AppId, AppName> = tenants(view).collect();
        let gone: Vec<AppId> = self.apps.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        for id in gone {
            self.close(id);
        }
        for (id, app) in wanted {
            let owner = self.owner(view, id);
            if self.apps.get(&id).is_some_and(|door| door.owner == owner) {
                continue;
            }
            self.close(id);
            match self.open(id, &app, owner) {
                Ok(door) => drop(self.apps.insert(id, door)),
                Err(error) => tracing::error!(%app, error = format!("{error:#}"), "an app has no socket"),
            }
        }
    }

    /// Only root can give a socket to somebody else.
    fn owner(&self, view: &View, id: AppId) -> Ownership {
        let owner = view.grants.get(&id).and_then(|grants| grants.owner_uid);
        let uid = owner.filter(|_| self.entrance.access.own_uid == 0);
        Ownership { uid, gid: None, mode: 0o600 }
    }

    fn open(&self, id: AppId, app: &AppName, owner: Ownership) -> anyhow::Result<AppDoor> {
        let path = self.entrance.paths.app_socket(app);
        let listener = bind(&path, &self.making, &owner)?;
        let accepting = tokio::spawn(accept_app(listener, self.entrance.clone(), id, app.clone()));
        Ok(AppDoor { path, owner, accepting })
    }

    fn close(&mut self, id: AppId) {
        if let Some(door) = self.apps.remove(&id) {
            door.accepting.abort();
            remove(&door.path);
        }
    }

    fn close_all(&mut self) {
        for id in self.apps.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
    }
}

async fn accept_general(listener: UnixListener, entrance: Entrance) {
    let identify = |peer: Peer, entrance: &Entrance| {
        entrance.access.general(peer, &entrance.engine.view(), &entrance.paths)
    };
    accept(listener, entrance, identify).await;
}

async fn accept_app(listener: UnixListener, entrance: Entrance, id: AppId, app: AppName) {
    let identify =
        move |peer: Peer, entrance: &Entrance| entrance.access.app(id, &app, peer, &entrance.engine.view());
    accept(listener, entrance, identify).await;
}

async fn accept(listener: UnixListener, entrance: Entrance, identify: impl Fn(Peer, &Entrance) -> Identity) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                after_failed_accept(&error, &entrance.lines.unaccepted).await;
                continue;
            }
        };
        let identity = match stream.peer_cred() {
            Ok(peer) => {
                let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
                identify(Peer::new(pid, peer.uid(), peer.gid(), &entrance.paths.proc_root), &entrance)
            }
            Err(error) => {
                Identity::Anonymous { why: format!("the peer's credentials cannot be read: {error}") }
            }
        };
        entrance.enter(identity, Wire::Unix(stream)).await;
    }
}

/// A connection that broke before it was accepted is nothing; anything else will be so again in a moment.
pub async fn after_failed_accept(error: &io::Error, quiet: &Quiet) {
    if matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    ) {
        return;
    }
    if let Some(untold) = quiet.due() {
        tracing::warn!(%error, untold, "a connection cannot be accepted: trying again in a moment");
    }
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Binds a socket in the private directory, gives it its owner and mode, and moves it to its place.
fn bind(path: &Path, making: &Path, owner: &Ownership) -> anyhow::Result<UnixListener> {
    let length = path.as_os_str().len();
    ensure!(
        length <= SOCKET_PATH_MAX,
        "{} is longer than the {SOCKET_PATH_MAX} bytes of a socket's path",
        path.display()
    );
    clear(path)?;
    let bind = || -> io::Result<UnixListener> {
        let new = making.join("socket");
        remove(&new);
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(owner.mode))?;
        if owner.uid.is_some() || owner.gid.is_some() {
            chown(&new, owner.uid, owner.gid)?;
        }
        fs::rename(&new, path)?;
        Ok(listener)
    };
    bind().with_context(|| format!("cannot make the socket {}", path.display()))
}

/// Makes way for a socket: one on which nobody listens is a leftover; anything else stays.
fn clear(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => bail!("another process listens on {}: is an ecovisord running already?", path.display()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused && is_socket(path) => {
            remove(path);
            Ok(())
        }
        Err(error) => bail!("{} is in the way: {error}", path.display()),
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    path.symlink_metadata().is_ok_and(|of| of.file_type().is_socket())
}

/// Removes what a process that did not end well has left of apps that may be no more.
fn sweep(app_dir: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(app_dir).with_context(|| format!("cannot list {}", app_dir.display()))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|end| end == "sock") && is_socket(&path) {
            clear(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "a socket cannot be removed"),
    }
}
