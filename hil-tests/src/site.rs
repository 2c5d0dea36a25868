//! A daemon in a directory of its own, with its clients. It ends with the value, whatever became of the test; where the
//! test failed, the end of its log is shown.

use crate::programs::program;
use crate::wait::{PATIENCE, answer, until};
use anyhow::{Context as _, Result, bail};
use ecovisor_sdk::operator::{Messages, Operator, wire};
use ecovisor_sdk::{Address, EnergySystem, Error};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Lines of the daemon's log that a failed test shows.
const LOG_LINES: usize = 40;

/// A directory with a configuration, and a daemon that may run in it.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
    daemon: Option<Child>,
    surroundings: Vec<(&'static str, OsString)>,
}

/// How a program ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Site {
    /// A site that does not run yet.
    ///
    /// # Errors
    /// Where its directory cannot be made.
    pub fn new(config: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("eco-").tempdir()?;
        // Others must be able to reach the sockets that are theirs.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let site = Self { directory, daemon: None, surroundings: Vec::new() };
        site.configure(config)?;
        Ok(site)
    }

    /// A site that runs and answers.
    ///
    /// # Errors
    /// Where it cannot be started; the message holds the end of its log.
    pub async fn start(config: &str) -> Result<Self> {
        let mut site = Self::new(config)?;
        site.run(&[]).await?;
        Ok(site)
    }

    /// Replaces the configuration file. `DIR` in it becomes the site's directory.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn configure(&self, config: &str) -> Result<()> {
        let config = config.replace("DIR", &self.directory.path().display().to_string());
        Ok(std::fs::write(self.path("site.toml"), config)?)
    }

    /// A path in the site's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Environment variables for the daemons that are started from now on, in place of those of before.
    pub fn surround(&mut self, variables: Vec<(&'static str, OsString)>) {
        self.surroundings = variables;
    }

    /// Runs another subcommand of `ecovisord`.
    ///
    /// # Errors
    /// Where it cannot be started, or does not end in time.
    pub async fn ecovisord(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(program("ecovisord")?);
        command.args(arguments).current_dir(self.directory.path());
        ended(&mut command).await
    }

    /// The operator's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/ecovisor.sock")
    }

    /// An app's socket.
    #[must_use]
    pub fn app_socket(&self, app: &str) -> PathBuf {
        self.path(&format!("run/app/{app}.sock"))
    }

    /// The audit trail, as it is now.
    ///
    /// # Errors
    /// Where there is none.
    pub fn trail(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.path("state/audit.jsonl"))?)
    }

    /// The daemon's arguments up to where configuration, sockets and state are.
    ///
    /// # Errors
    /// Where the program is missing or stale.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(program("ecovisord")?);
        command.args(["--log", "info", "run", "--config"]).arg(self.path("site.toml"));
        command.arg("--run-dir").arg(self.path("run")).arg("--state-dir").arg(self.path("state"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// Starts the daemon and waits until it has settled a tick and every app has its socket.
    ///
    /// # Errors
    /// Where it ends instead, or does not answer in time.
    pub async fn run(&mut self, more: &[&str]) -> Result<()> {
        self.run_with(more, &[]).await
    }

    /// [`Site::run`] with more in its environment.
    ///
    /// # Errors
    /// As [`Site::run`].
    pub async fn run_with(&mut self, more: &[&str], environment: &[(&str, String)]) -> Result<()> {
        self.spawn_with(more, environment)?;
        let outcome = self.until_it_answers().await;
        outcome.map_err(|error| error.context(format!("the daemon's log ends so:\n{}", self.log())))
    }

    /// Starts the daemon and does not wait.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(&mut self, more: &[&str]) -> Result<()> {
        self.spawn_with(more, &[])
    }

    fn spawn_with(&mut self, more: &[&str], environment: &[(&str, String)]) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path("daemon.log"))?;
        let mut command = self.command()?;
        command.args(more).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone()?).stderr(log).envs(self.surroundings.iter().cloned());
        self.daemon = Some(command.spawn().context("cannot start ecovisord")?);
        Ok(())
    }

    /// The same with no more open files than that.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn_with_files(&mut self, most: u32) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path("daemon.log"))?;
        let daemon = self.command()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]);
        shell.arg(daemon.as_std().get_program()).args(daemon.as_std().get_args());
        shell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.daemon = Some(shell.spawn().context("cannot start ecovisord")?);
        Ok(())
    }

    async fn until_it_answers(&mut self) -> Result<()> {
        let socket = Address::socket(self.socket());
        let daemon = self.daemon.as_mut().context("the daemon was not started")?;
        let answered = until("the daemon answers", async || {
            if let Ok(Some(status)) = daemon.try_wait() {
                return Some(Err(anyhow::anyhow!("the daemon ended instead: {status}")));
            }
            let operator = Operator::connect_to(&socket).await.ok()?;
            operator.get_site(wire::GetSiteRequest {}).await.ok()?.last?;
            let apps = operator.list_apps(wire::ListAppsRequest {}).await.ok()?.apps;
            apps.iter().all(|app| app.socket.is_empty() || Path::new(&app.socket).exists()).then_some(Ok(()))
        });
        answered.await?
    }

    /// The daemon's process.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn pid(&self) -> Result<u32> {
        self.daemon.as_ref().and_then(Child::id).context("the daemon does not run")
    }

    /// Whether the daemon runs.
    pub fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| matches!(daemon.try_wait(), Ok(None)))
    }

    /// Sends the daemon a signal.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("a process's number is not zero")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until the daemon ends; its exit code, `None` where a signal ended it.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        let mut daemon = self.daemon.take().context("the daemon does not run")?;
        match tokio::time::timeout(PATIENCE, daemon.wait()).await {
            Ok(status) => Ok(status?.code()),
            Err(_) => bail!("the daemon did not end within {} s", PATIENCE.as_secs()),
        }
    }

    /// Ends the daemon in good order; its exit code.
    ///
    /// # Errors
    /// Where it does not run, or does not end in time.
    pub async fn stop(&mut self) -> Result<Option<i32>> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// Ends the daemon at once, as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// Where it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().await.map(drop)
    }

    /// The operator's client.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub async fn operator(&self) -> Result<Operator> {
        answer("the operator connects", Operator::connect_to(&Address::socket(self.socket()))).await
    }

    /// An app's client, over its own socket.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub async fn app(&self, app: &str) -> Result<EnergySystem> {
        let address = Address::socket(self.app_socket(app));
        answer("an app connects", EnergySystem::connect_to(&address)).await
    }

    /// The site's ticks from now on.
    ///
    /// # Errors
    /// Where the daemon does not answer.
    pub async fn ticks(&self) -> Result<Messages<wire::SiteTick>> {
        answer("the site's ticks are watched", self.operator().await?.watch_site(wire::WatchSiteRequest {}))
            .await
    }

    /// Runs `ecoctl` against this site.
    ///
    /// # Errors
    /// Where it cannot be started, or does not end in time.
    pub async fn ecoctl(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(program("ecoctl")?);
        command.arg("--socket").arg(self.socket()).args(arguments).current_dir(self.directory.path());
        ended(&mut command).await
    }

    /// The end of the daemon's log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log ends so:\n{}", self.log());
        }
    }
}

/// Runs a program to its end.
///
/// # Errors
/// Where it cannot be started, or does not end in time.
pub async fn ended(command: &mut Command) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child =
        command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
    let output = answer("a program ends", child.wait_with_output()).await?;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The next message of a stream that must go on.
///
/// # Errors
/// Where none comes in time, or the stream ends.
pub async fn next<T>(messages: &mut Messages<T>) -> Result<T> {
    let message = answer::<_, Error>("the next message", messages.next()).await?;
    message.context("the stream ended")
}

/// A port of this machine that nobody listens on.
///
/// # Errors
/// Where there is none.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

/// A program of this machine, as a command.
#[must_use]
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.kill_on_drop(true);
    command
}
