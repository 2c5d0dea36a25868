//! The programs under measurement: an `ecovisord` in a directory of its own, and a bare server beside it.

use crate::process::Process;
use anyhow::{Context as _, Result, bail, ensure};
use ecovisor_sdk::operator::wire;
use prost::Message as _;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use wire::energy_service_client::EnergyServiceClient;
use wire::operator_service_client::OperatorServiceClient;

/// An app's client.
pub type App = EnergyServiceClient<Channel>;

/// Longest that a program may take until it answers, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// The program of that name beside this one.
///
/// # Errors
/// Where there is none.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "{} is missing: run `./spec`, which builds it", path.display());
    Ok(path)
}

/// A site of so many apps, each with a load of 5 W, a share of sun, battery and grid, and ticks of a second.
#[must_use]
pub fn config(apps: u32) -> String {
    // The buffer of solar reserves its peak of the charge power.
    let (peak, charge) = (apps * 10, apps * 15);
    let mut text = format!(
        "[site]\nname = \"spec\"\ntick = \"1 s\"\n[solar]\npeak = \"{peak} W\"\n\
         [battery]\ncapacity = \"{apps} kWh\"\ncharge_limit = \"{charge} W\"\ndischarge_limit = \"{peak} W\"\n\
         [grid]\nimport_limit = \"{peak} W\"\n[carbon]\nzone = \"DE\"\n[host]\nidle = \"0 W\"\npeak = \"60 W\"\n\
         [sim]\nseed = 1\n"
    );
    for app in 0..apps {
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            "[[sim.load]]\napp = \"app-{app}\"\nname = \"one\"\npower = \"5 W\"\n[[app]]\nname = \"app-{app}\"\n\
             solar_weight = 1\nbattery_capacity = \"100 Wh\"\ncharge_limit = \"5 W\"\ndischarge_limit = \"5 W\"\n\
             grid_limit = \"8 W\"\n"
        );
    }
    text
}

/// A directory with a configuration, and a daemon in it.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
    /// The daemon.
    pub daemon: Process,
}

impl Site {
    /// A site of so many apps that has settled a tick.
    ///
    /// # Errors
    /// Where it cannot be started or does not answer.
    pub async fn start(apps: u32) -> Result<Self> {
        let directory = directory()?;
        std::fs::write(directory.path().join("site.toml"), config(apps))?;
        Self::start_in(directory, apps).await
    }

    /// The same in a directory that has a configuration.
    ///
    /// # Errors
    /// As [`Site::start`].
    pub async fn start_in(directory: TempDir, apps: u32) -> Result<Self> {
        let daemon = start_daemon(directory.path())?;
        let mut site = Self { directory, daemon };
        site.until_served(apps).await.with_context(|| site.log())?;
        Ok(site)
    }

    async fn until_served(&mut self, apps: u32) -> Result<()> {
        let began = Instant::now();
        loop {
            self.daemon.ensure_running()?;
            if self.is_served(apps).await.is_ok_and(|served| served) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "not serving after {} s", PATIENCE.as_secs());
            sleep(LOOK).await;
        }
    }

    async fn is_served(&self, apps: u32) -> Result<bool> {
        let shown = self.operator().await?.get_site(wire::GetSiteRequest {}).await?.into_inner();
        // The last app's socket is made last.
        let last = self.app_socket(apps.saturating_sub(1)).exists();
        Ok(shown.last.is_some_and(|tick| tick.tick > 0) && last)
    }

    /// The site's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The nth app's socket.
    #[must_use]
    pub fn app_socket(&self, nth: u32) -> PathBuf {
        self.path().join(format!("run/app/app-{nth}.sock"))
    }

    /// The operator's client.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub async fn operator(&self) -> Result<OperatorServiceClient<Channel>> {
        Ok(OperatorServiceClient::new(connect(&self.path().join("run/ecovisor.sock")).await?))
    }

    /// The nth app's client, over a connection of its own.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub async fn app(&self, nth: u32) -> Result<App> {
        Ok(App::new(connect(&self.app_socket(nth)).await?))
    }

    /// Ticks that did not keep up since the daemon started.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub async fn overruns(&self) -> Result<wire::TickOverruns> {
        let shown = self.operator().await?.get_site(wire::GetSiteRequest {}).await?.into_inner();
        shown.overruns.context("overruns are always present")
    }

    /// A bare server that answers with what this site's first app hears.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub async fn bare(&self) -> Result<BareServer> {
        let mut app = self.app(0).await?;
        let system = app.get_energy_system(wire::GetEnergySystemRequest {}).await?.into_inner();
        let mut ticks = app.watch_ticks(wire::WatchTicksRequest {}).await?.into_inner();
        let tick = ticks.message().await?.context("the site's ticks go on")?;
        BareServer::start(&system, &tick).await
    }

    /// Kills the daemon, as a crash would; its directory.
    ///
    /// # Errors
    /// Where it has ended before.
    pub fn kill(self) -> Result<TempDir> {
        let Self { directory, daemon } = self;
        daemon.kill()?;
        Ok(directory)
    }

    /// The end of the daemon's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path().join("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("the daemon's log ends so:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}

/// A directory for a site.
///
/// # Errors
/// Where it cannot be made.
pub fn directory() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("eco-spec-").tempdir()?)
}

/// Starts a daemon in a directory with a configuration, and does not wait.
///
/// # Errors
/// Where it cannot be started.
pub fn start_daemon(directory: &Path) -> Result<Process> {
    let path = |name: &str| directory.join(name).into_os_string();
    let arguments = [
        "--log".into(),
        "info".into(),
        "run".into(),
        "--config".into(),
        path("site.toml"),
        "--run-dir".into(),
        path("run"),
        "--state-dir".into(),
        path("state"),
    ];
    Process::start(&program("ecovisord")?, arguments, &directory.join("daemon.log"))
}

/// A bare server in a process of its own.
#[derive(Debug)]
pub struct BareServer {
    directory: TempDir,
    /// It.
    pub process: Process,
}

impl BareServer {
    async fn start(system: &wire::EnergySystem, tick: &wire::Tick) -> Result<Self> {
        let directory = directory()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("system"), system.encode_to_vec())?;
        std::fs::write(path("tick"), tick.encode_to_vec())?;
        let arguments = ["bare".into(), "--socket".into(), path("socket").into_os_string()];
        let messages =
            ["--system".into(), path("system").into_os_string(), "--tick".into(), path("tick").into()];
        let own = std::env::current_exe()?;
        let process = Process::start(&own, arguments.into_iter().chain(messages), &path("log"))?;
        let server = Self { directory, process };
        let began = Instant::now();
        while server.client().await.is_err() {
            if began.elapsed() > PATIENCE {
                bail!("the bare server does not answer");
            }
            sleep(LOOK).await;
        }
        Ok(server)
    }

    /// A client over a connection of its own.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn client(&self) -> Result<App> {
        Ok(App::new(connect(&self.directory.path().join("socket")).await?))
    }
}

/// Connects to a socket.
///
/// # Errors
/// Where nobody listens.
pub async fn connect(socket: &Path) -> Result<Channel> {
    let uri = format!("unix:{}", socket.display());
    Endpoint::from_shared(uri)?
        .connect()
        .await
        .with_context(|| format!("cannot connect to {}", socket.display()))
}
