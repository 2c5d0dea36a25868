//! The processes of the demo: the daemon, the apps, the live view. Each has a process group of its own but the view, so
//! that Ctrl-C reaches the demo alone and it can end the others in order.

use crate::crew::end;
use crate::scene::{App, CORE, Scene};
use crate::stage::Stage;
use anyhow::{Context as _, bail};
use ecovisor_sdk::Address;
use ecovisor_sdk::operator::Operator;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long the daemon may take to open its socket: it makes a store and reads built-in data.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts to connect.
const CONNECT_WAIT: Duration = Duration::from_millis(50);
/// How long an app may take to end: its own patience with its workers, and one more second.
const WORKER_PATIENCE: Duration = Duration::from_secs(8);
/// How much of a log is shown where its process failed.
const LOG_LINES: usize = 12;

/// An app's process. It ends when its stdin does: also where the demo is killed.
struct Worker {
    app: App,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// Everybody on stage.
#[derive(Default)]
pub struct Cast {
    daemon: Option<Child>,
    workers: Vec<Worker>,
    view: Option<Child>,
    /// Who left before the end, and how.
    pub lost: Vec<String>,
}

impl Cast {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// Where it does not, with what it said.
    pub async fn start_daemon(&mut self, stage: &Stage, scene: &Scene) -> anyhow::Result<Operator> {
        let config = stage.path("site.toml");
        std::fs::write(&config, scene.toml())
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = Command::new(stage.program("ecovisord"));
        command.arg("run").arg("--config").arg(&config).arg("--run-dir").arg(stage.run_dir());
        command.arg("--state-dir").arg(stage.path("state"));
        let daemon = self.daemon.insert(spawn(command, stage, "ecovisord")?);
        let address = Address::socket(stage.operator_socket());
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match Operator::connect_to(&address).await {
                Ok(operator) => return Ok(operator),
                Err(error) if Instant::now() > deadline => {
                    bail!("ecovisord does not answer: {error}\n{}", log_end(&stage.path("ecovisord.log")));
                }
                Err(_) => {}
            }
            if let Some(status) = daemon.try_wait()? {
                bail!("ecovisord ended ({status}):\n{}", log_end(&stage.path("ecovisord.log")));
            }
            sleep(CONNECT_WAIT).await;
        }
    }

    /// Starts the apps.
    ///
    /// # Errors
    /// Where one cannot be started.
    pub fn start_workers(&mut self, stage: &Stage) -> anyhow::Result<()> {
        for app in App::ALL {
            let mut command = Command::new(stage.program("ecovisor-demo"));
            command.args(["worker", "--app", app.name(), "--core-power", &format!("{} mW", CORE.get())]);
            command.arg("--socket").arg(stage.app_socket(app.name()));
            command.arg("--operator-socket").arg(stage.operator_socket());
            command.stdin(Stdio::piped());
            let mut child = spawn(command, stage, app.name())?;
            let stdin = child.stdin.take();
            self.workers.push(Worker { app, child, stdin });
        }
        Ok(())
    }

    /// Opens the live view on this terminal. It shares the demo's process group, since only that may read the terminal.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start_view(&mut self, stage: &Stage) -> anyhow::Result<()> {
        let mut command = Command::new(stage.program("ecoctl"));
        command.arg("--socket").arg(stage.operator_socket()).arg("top").kill_on_drop(true);
        self.view = Some(command.spawn().context("cannot start `ecoctl top`")?);
        Ok(())
    }

    /// Waits until the view is closed; forever where there is none.
    pub async fn view_closed(&mut self) {
        match &mut self.view {
            Some(view) => {
                // Closed is closed, however it ended.
                let _ = view.wait().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Looks whether everybody is still there: notes apps that are not.
    ///
    /// # Errors
    /// Where the daemon has ended.
    pub fn look(&mut self, stage: &Stage) -> anyhow::Result<()> {
        if let Some(status) = self.daemon.as_mut().and_then(ended) {
            self.daemon = None;
            bail!("ecovisord ended ({status}):\n{}", log_end(&stage.path("ecovisord.log")));
        }
        let lost = &mut self.lost;
        self.workers.retain_mut(|worker| match ended(&mut worker.child) {
            None => true,
            Some(status) => {
                let name = worker.app.name();
                let said = log_end(&stage.path(&format!("{name}.log")));
                lost.push(format!(
                    "{name} ended early ({status}): {}",
                    said.lines().last().unwrap_or("it said nothing")
                ));
                false
            }
        });
        Ok(())
    }

    /// Closes the view, so that the terminal is as it was.
    pub async fn end_view(&mut self) {
        if let Some(mut view) = self.view.take() {
            end(&mut view).await;
        }
    }

    /// Ends the apps, which end their workers.
    pub async fn end_workers(&mut self) {
        self.workers.iter_mut().for_each(|worker| drop(worker.stdin.take()));
        for mut worker in std::mem::take(&mut self.workers) {
            if timeout(WORKER_PATIENCE, worker.child.wait()).await.is_err() {
                end(&mut worker.child).await;
            }
        }
    }

    /// Ends the daemon.
    pub async fn end_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            end(&mut daemon).await;
        }
    }
}

/// A process with its own group and a log file for what it says.
fn spawn(mut command: Command, stage: &Stage, name: &str) -> anyhow::Result<Child> {
    let path = stage.path(&format!("{name}.log"));
    let log = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let beside = log.try_clone().with_context(|| format!("cannot write {}", path.display()))?;
    command.stdout(log).stderr(beside).process_group(0).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot start {name}"))
}

fn ended(child: &mut Child) -> Option<ExitStatus> {
    // A process that cannot be asked is not there either, but has no status to tell: it is found by its silence.
    child.try_wait().ok().flatten()
}

/// The end of a log.
fn log_end(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, (0..20).map(|i| format!("{i}\n")).collect::<String>()).unwrap();
        let end = log_end(&path);
        assert!(end.starts_with("8\n") && end.ends_with("19"), "{end}");
        assert_eq!(log_end(&dir.path().join("none")), "");
    }
}
