//! Who calls. Derived from the connection alone, once, when it is accepted, and never from a field of a message.
//!
//! | came through | is |
//! | --- | --- |
//! | `<run>/app/<name>.sock`, peer uid = the app's owner, root, or the daemon's own user | that app |
//! | `<run>/ecovisor.sock`, peer is root, the daemon's own user, or in the operator's uids or group | the operator |
//! | `<run>/ecovisor.sock`, another uid that owns exactly one app, its children apart | that app |
//! | TLS, SAN URI `spiffe://<site>/operator` | the operator |
//! | TLS, SAN URI `spiffe://<site>/app/<name>` | that app |
//! | anything else | anonymous: may ask for health, and for nothing else; reflection is for callers with a name |
//!
//! Credentials are those of connect time: a pidfd is taken then and kept with the connection, so that the pid that the
//! audit trail shows cannot come to mean another process while the connection lasts.

use crate::engine::handle::{Actor, View};
use ecovisor_core::{AppId, AppName};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Where things are on this machine; tests use other trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Where the sockets are.
    pub run_dir: PathBuf,
    /// procfs.
    pub proc_root: PathBuf,
    /// cgroup v2.
    pub cgroup_root: PathBuf,
}

impl Paths {
    /// Those of every Linux.
    #[must_use]
    pub fn new(run_dir: PathBuf) -> Self {
        Self { run_dir, proc_root: "/proc".into(), cgroup_root: "/sys/fs/cgroup".into() }
    }

    /// The operator's socket.
    #[must_use]
    pub fn operator_socket(&self) -> PathBuf {
        self.run_dir.join("ecovisor.sock")
    }

    /// Where the apps' sockets are.
    #[must_use]
    pub fn app_dir(&self) -> PathBuf {
        self.run_dir.join("app")
    }

    /// An app's socket.
    #[must_use]
    pub fn app_socket(&self, app: &AppName) -> PathBuf {
        self.app_dir().join(format!("{app}.sock"))
    }
}

/// A process that may have ended, held so that its number cannot come to mean another.
#[derive(Clone, Debug)]
pub struct Held(Arc<OwnedFd>);

impl Held {
    /// Holds the process of that number; `None` where there is none (or where this kernel, before 5.3, cannot).
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(|fd| Self(Arc::new(fd)))
    }

    /// Whether it still runs: what procfs said of its number until now was said of it. A pidfd is readable once the
    /// process has ended.
    #[must_use]
    pub fn runs(&self) -> bool {
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    }
}

/// The process at the other end of a Unix socket, when it connected.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its number; `None` where the kernel does not say.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its other groups; none where it had ended before they could be read.
    pub groups: Vec<u32>,
    /// Its cgroup, below the cgroup root; `None` where it had ended before that could be read.
    pub cgroup: Option<String>,
    /// The process itself.
    pub held: Option<Held>,
}

impl Peer {
    /// The peer with those credentials. Groups and cgroup are read from procfs and believed only if the process still
    /// ran after they were read, and is of the same user.
    #[must_use]
    pub fn new(pid: Option<u32>, uid: u32, gid: u32, proc_root: &Path) -> Self {
        let held = pid.and_then(Held::of);
        let mut peer = Self { pid, uid, gid, groups: Vec::new(), cgroup: None, held };
        let Some((pid, held)) = pid.zip(peer.held.as_ref()) else { return peer };
        let of = proc_root.join(pid.to_string());
        let status = fs::read_to_string(of.join("status")).unwrap_or_default();
        let cgroup = fs::read_to_string(of.join("cgroup")).unwrap_or_default();
        let same_user = status_numbers(&status, "Uid:").get(1) == Some(&uid);
        if held.runs() && same_user {
            peer.groups = status_numbers(&status, "Groups:");
            peer.cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned);
        }
        peer
    }
}

/// The numbers on one line of `/proc/<pid>/status`.
#[must_use]
pub fn status_numbers(status: &str, key: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// What a caller showed.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Its process, over a Unix socket.
    Peer(Peer),
    /// The URI in its certificate, over TLS.
    Certificate(String),
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(Peer { pid: Some(pid), uid, .. }) => write!(f, "uid={uid} pid={pid}"),
            Self::Peer(Peer { pid: None, uid, .. }) => write!(f, "uid={uid}"),
            Self::Certificate(uri) => write!(f, "cert={uri}"),
        }
    }
}

/// Who calls.
#[derive(Clone, Debug)]
pub enum Identity {
    /// An app. The id is that of connect time: it is never given again, so a later app of the same name is another.
    App {
        /// Which.
        id: AppId,
        /// Its name.
        app: AppName,
        /// What it showed.
        by: Credential,
    },
    /// The operator.
    Operator {
        /// What it showed.
        by: Credential,
    },
    /// Nobody who may do anything but ask for health.
    Anonymous {
        /// Why, and what to do instead.
        why: String,
    },
}

impl Identity {
    /// For the audit trail.
    #[must_use]
    pub fn actor(&self, method: &'static str) -> Actor {
        let via = |by: &Credential| match by {
            Credential::Peer(_) => "uds",
            Credential::Certificate(_) => "tls",
        };
        match self {
            Self::App { app, by, .. } => Actor { name: format!("app:{app} {by}"), via: via(by), method },
            Self::Operator { by } => Actor { name: format!("operator {by}"), via: via(by), method },
            Self::Anonymous { .. } => Actor { name: "anonymous".into(), via: "none", method },
        }
    }
}

/// Who is the operator, and by which name the site goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The site, as certificates name it.
    pub site: String,
    /// The user that the daemon runs as.
    pub own_uid: u32,
    /// Users who operate the site besides root and the daemon's own.
    pub operator_uids: Vec<u32>,
    /// The group whose members operate the site.
    pub operator_gid: Option<u32>,
}

impl Access {
    /// Whoever comes through the operator's socket.
    #[must_use]
    pub fn general(&self, peer: Peer, view: &View, paths: &Paths) -> Identity {
        if self.operates(&peer) {
            return Identity::Operator { by: Credential::Peer(peer) };
        }
        let owned = |id: &AppId| view.grants.get(id).and_then(|grants| grants.owner_uid) == Some(peer.uid);
        // A child has its parent's owner and is reached through its own socket.
        let mut apps: Vec<_> = tenants(view).filter(|(id, _)| owned(id)).collect();
        apps.retain(|(_, app)| app.parent().is_none());
        match apps.as_slice() {
            [(id, app)] => Identity::App { id: *id, app: app.clone(), by: Credential::Peer(peer) },
            [] => anonymous(format!(
                "uid {} neither operates this site nor owns an app: an app's socket is {}",
                peer.uid,
                paths.app_dir().join("<name>.sock").display()
            )),
            many => {
                let sockets = many.iter().map(|(_, app)| paths.app_socket(app).display().to_string());
                let sockets: Vec<_> = sockets.collect();
                anonymous(format!(
                    "uid {} owns {} apps: connect to one of {}",
                    peer.uid,
                    many.len(),
                    sockets.join(", ")
                ))
            }
        }
    }

    /// Whoever comes through an app's own socket.
    #[must_use]
    pub fn app(&self, id: AppId, app: &AppName, peer: Peer, view: &View) -> Identity {
        let owner = view.grants.get(&id).and_then(|grants| grants.owner_uid);
        if owner == Some(peer.uid) || peer.uid == 0 || peer.uid == self.own_uid {
            return Identity::App { id, app: app.clone(), by: Credential::Peer(peer) };
        }
        anonymous(format!("uid {} does not own app {app}", peer.uid))
    }

    /// Whoever comes over TLS; the certificate's chain has been verified.
    #[must_use]
    pub fn certificate(&self, der: &[u8], view: &View) -> Identity {
        let uri = match spiffe_uri(der) {
            Ok(uri) => uri,
            Err(why) => return anonymous(why),
        };
        let expected = format!("spiffe://{}/operator or spiffe://{0}/app/<name>", self.site);
        if uri == operator_uri(&self.site) {
            return Identity::Operator { by: Credential::Certificate(uri) };
        }
        let name = uri.strip_prefix(&format!("spiffe://{}/app/", self.site)).and_then(AppName::new);
        let Some(name) = name else {
            return anonymous(format!("the certificate names {uri}, not {expected}"));
        };
        match tenants(view).find(|(_, app)| *app == name) {
            Some((id, app)) => Identity::App { id, app, by: Credential::Certificate(uri) },
            None => anonymous(format!("the certificate names app {name}, which this site does not have")),
        }
    }

    fn operates(&self, peer: &Peer) -> bool {
        let in_group = |gid: u32| peer.gid == gid || peer.groups.contains(&gid);
        peer.uid == 0
            || peer.uid == self.own_uid
            || self.operator_uids.contains(&peer.uid)
            || self.operator_gid.is_some_and(in_group)
    }
}

/// All apps but `house`, those about to be created included.
pub fn tenants(view: &View) -> impl Iterator<Item = (AppId, AppName)> {
    let apps = view.site.apps(true).iter();
    apps.filter(|app| app.id != AppId::HOUSE).map(|app| (app.id, app.name.clone()))
}

/// What an operator's certificate says.
#[must_use]
pub fn operator_uri(site: &str) -> String {
    format!("spiffe://{site}/operator")
}

/// What an app's certificate says.
#[must_use]
pub fn app_uri(site: &str, app: &AppName) -> String {
    format!("spiffe://{site}/app/{app}")
}

fn anonymous(why: String) -> Identity {
    Identity::Anonymous { why }
}

/// The one URI of a certificate's alternative names; X.509-SVID, 2, allows no second.
fn spiffe_uri(der: &[u8]) -> Result<String, String> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| String::from("the certificate cannot be read"))?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect();
    match uris.as_slice() {
        [uri] => Ok((*uri).to_owned()),
        [] => Err("the certificate has no URI that names an app or the operator".into()),
        _ => Err("the certificate has several URIs: exactly one names an app or the operator".into()),
    }
}
