//! What the service manager is told, in the words of sd_notify(3): ready, reloading, stopping, how the site is, and a kick
//! of the watchdog for each complete tick and for nothing else.
//!
//! ```text
//!   engine thread:  gathered in time, journal synced, invariants held, orders handed over, published
//!        |  a bounded queue
//!        v
//!   the doors' runtime:  WATCHDOG=1
//! ```
//! The kick leaves from the runtime that also answers calls: it says that the site is settled *and* served. A reading that
//! is missing makes a tick no less complete; it shows in `STATUS`. The protocol is one datagram of text to a socket that
//! the manager names, so it is written here; nothing is said, and nothing is wrong, where there is no manager.

use crate::clock;
use crate::engine::handle::{DeviceState, Engine, Mode, View};
use anyhow::Context as _;
use ecovisor_units::Millis;
use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use tokio::sync::mpsc;

/// Complete ticks of which the manager has not been told yet. More are waiting only where the doors' runtime stands still,
/// and then no kick is right.
pub const COMPLETE_AHEAD: usize = 4;

/// Ticks that may be missed before the manager restarts the daemon: a tick that is late once is an overrun, not a death.
const TICKS_PER_WATCH: u64 = 3;

/// Where the manager is, as it tells its services through the environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ManagerPlace {
    /// Set by systemd: the socket that takes notifications.
    #[arg(long, env = "NOTIFY_SOCKET", hide = true)]
    notify_socket: Option<OsString>,
    /// Set by systemd: the longest time between two kicks, in µs.
    #[arg(long, env = "WATCHDOG_USEC", hide = true)]
    watchdog_usec: Option<u64>,
    /// Set by systemd: which process is to kick.
    #[arg(long, env = "WATCHDOG_PID", hide = true)]
    watchdog_pid: Option<u32>,
}

/// The service manager, or nobody.
#[derive(Debug)]
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// The longest time between two kicks in µs; `None` where nobody waits for them.
    watch_us: Option<u64>,
}

impl Manager {
    /// The manager that the environment names.
    ///
    /// # Errors
    /// Where what it names is no socket that can be spoken to.
    pub fn at(place: &ManagerPlace) -> anyhow::Result<Self> {
        let to = place.notify_socket.as_deref().map(connect).transpose()?;
        let ours = place.watchdog_pid.is_none_or(|pid| pid == std::process::id());
        let watch_us = place.watchdog_usec.filter(|us| *us > 0 && ours && to.is_some());
        Ok(Self { to, watch_us })
    }

    /// Says that the doors are open. A watch shorter than [`TICKS_PER_WATCH`] ticks would end a healthy daemon between
    /// two of them, so it is made that long; `tick` is the real length of one.
    pub fn ready(&mut self, tick: Millis) {
        let least_us = tick.get().saturating_mul(1_000 * TICKS_PER_WATCH);
        if let Some(watch_us) = self.watch_us.filter(|us| *us < least_us) {
            tracing::warn!(
                watch_ms = watch_us / 1_000,
                tick_ms = tick.get(),
                raised_to_ms = least_us / 1_000,
                "WatchdogSec is shorter than {TICKS_PER_WATCH} ticks: raised"
            );
            self.watch_us = Some(least_us);
            self.tell(&format!("WATCHDOG_USEC={least_us}"));
        }
        self.tell("READY=1\nSTATUS=serving, waiting for the first tick");
    }

    /// Says that the configuration is being read again; [`Manager::reloaded`] ends it.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_us()));
    }

    /// Says that reading the configuration again has ended, well or not: what holds is served.
    pub fn reloaded(&self) {
        self.tell("READY=1");
    }

    /// Says that the end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Kicks, with the site's status where it has changed.
    fn kick(&self, status: Option<&str>) {
        match (self.watch_us.is_some(), status) {
            (true, None) => self.tell("WATCHDOG=1"),
            (true, Some(status)) => self.tell(&format!("WATCHDOG=1\nSTATUS={status}")),
            (false, Some(status)) => self.tell(&format!("STATUS={status}")),
            (false, None) => {}
        }
    }

    /// Notifications are best effort, as the manual asks; a full queue is the manager's, and its watchdog will say so.
    fn tell(&self, state: &str) {
        let Some((socket, to)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), to) {
            tracing::warn!(%error, state, "the service manager cannot be told");
        }
    }
}

/// A socket, and the address that the manager named: a path, or `@` and a name outside the file system.
fn connect(name: &OsStr) -> anyhow::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(std::io::Error::other("neither an absolute path nor @ and a name")),
    };
    let to = to.with_context(|| format!("NOTIFY_SOCKET={} is no socket", name.to_string_lossy()))?;
    let socket = UnixDatagram::unbound().context("cannot make a socket for NOTIFY_SOCKET")?;
    socket.set_nonblocking(true).context("cannot make a socket for NOTIFY_SOCKET")?;
    Ok((socket, to))
}

/// Kicks once for each complete tick, until the engine is gone.
pub async fn kick_for_ticks(manager: &Manager, engine: &Engine, mut complete: mpsc::Receiver<()>) {
    let mut said = String::new();
    while complete.recv().await.is_some() {
        let status = status(&engine.view());
        manager.kick((status != said).then_some(status.as_str()));
        said = status;
    }
}

/// How the site is, for whoever asks the service manager: it changes when something does, not with every tick.
fn status(view: &View) -> String {
    let ill = view.devices.iter().filter(|device| device.state != DeviceState::Live);
    let ill: Vec<&str> = ill.map(|device| device.name.as_str()).collect();
    match (&view.mode, ill.as_slice()) {
        (Mode::Safe { reason }, _) => format!("safe mode: {}", reason.replace('\n', " ")),
        (Mode::Normal, []) => "running".to_owned(),
        (Mode::Normal, ill) => format!("degraded: no fresh reading of {}", ill.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Systemd {
        _directory: tempfile::TempDir,
        socket: UnixDatagram,
        place: ManagerPlace,
    }

    impl Systemd {
        fn new(watchdog_usec: Option<u64>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            let place =
                ManagerPlace { notify_socket: Some(path.into()), watchdog_usec, ..ManagerPlace::default() };
            Self { _directory: directory, socket, place }
        }

        /// What was said since the last time.
        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 256];
            let mut heard = Vec::new();
            while let Ok(length) = self.socket.recv(&mut buffer) {
                heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
            heard
        }
    }

    #[test]
    fn a_manager_hears_ready_reloading_stopping() {
        let systemd = Systemd::new(Some(30_000_000));
        let mut manager = Manager::at(&systemd.place).unwrap();
        manager.ready(Millis::from_secs(1));
        assert_eq!(systemd.heard(), ["READY=1\nSTATUS=serving, waiting for the first tick"]);
        let before = clock::monotonic_us();
        manager.reloading();
        let heard = systemd.heard();
        let stamp = heard[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!((before..=clock::monotonic_us()).contains(&stamp), "{heard:?}");
        manager.reloaded();
        manager.stopping();
        assert_eq!(systemd.heard(), ["READY=1", "STOPPING=1\nSTATUS=stopping"]);
    }

    #[test]
    fn a_watch_shorter_than_three_ticks_is_raised() {
        let systemd = Systemd::new(Some(2_999_999));
        Manager::at(&systemd.place).unwrap().ready(Millis::from_secs(1));
        assert_eq!(systemd.heard()[0], "WATCHDOG_USEC=3000000");
        let systemd = Systemd::new(Some(3_000_000));
        Manager::at(&systemd.place).unwrap().ready(Millis::from_secs(1));
        assert_eq!(systemd.heard().len(), 1, "long enough as it is");
    }

    #[test]
    fn nobody_is_kicked_who_does_not_watch() {
        let check = |usec, pid, kicks: &[&str]| {
            let systemd = Systemd::new(usec);
            let place = ManagerPlace { watchdog_pid: pid, ..systemd.place.clone() };
            let manager = Manager::at(&place).unwrap();
            manager.kick(None);
            manager.kick(Some("running"));
            assert_eq!(systemd.heard(), kicks, "{usec:?} {pid:?}");
        };
        let own = std::process::id();
        check(Some(9), Some(own), &["WATCHDOG=1", "WATCHDOG=1\nSTATUS=running"]);
        check(Some(9), None, &["WATCHDOG=1", "WATCHDOG=1\nSTATUS=running"]);
        check(Some(9), Some(own + 1), &["STATUS=running"]);
        check(Some(0), None, &["STATUS=running"]);
        check(None, None, &["STATUS=running"]);
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_a_name_that_is_none_is_refused() {
        let mut nobody = Manager::at(&ManagerPlace::default()).unwrap();
        nobody.ready(Millis::from_secs(1));
        nobody.kick(None);
        let at = |name: &str| {
            Manager::at(&ManagerPlace { notify_socket: Some(name.into()), ..ManagerPlace::default() })
        };
        let refused = at("vsock:2:7").unwrap_err();
        assert_eq!(
            format!("{refused:#}"),
            "NOTIFY_SOCKET=vsock:2:7 is no socket: neither an absolute path nor @ and a name"
        );
        let gone = at("/nowhere/at/all").unwrap();
        gone.stopping();
    }

    #[test]
    fn a_name_outside_the_file_system_is_one_too() {
        let name = format!("ecovisor-try-{}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        let place =
            ManagerPlace { notify_socket: Some(format!("@{name}").into()), ..ManagerPlace::default() };
        Manager::at(&place).unwrap().stopping();
        let mut buffer = [0; 64];
        assert_eq!(socket.recv(&mut buffer).unwrap(), "STOPPING=1\nSTATUS=stopping".len());
        assert!(!Path::new(&name).exists());
    }
}
