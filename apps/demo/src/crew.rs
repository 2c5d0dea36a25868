//! An app's workers: processes that burn CPU, each a container of the app. `ecoctl run` gives each a cgroup of its own,
//! which can be capped; where that is not possible it is metered by its pid.

use crate::burn::CORE_MILLI;
use anyhow::Context as _;
use ecovisor_sdk::{Capping, Container, EnergySystem, Target};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

/// How long `ecoctl run` may take until its container is there: it makes a cgroup and one call.
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked whether it is there.
const ATTACH_LOOK: Duration = Duration::from_millis(50);
/// How long a worker may take to end after it has been told. One throttled to a hundredth of a core takes a second.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Where the programs and the operator's socket are.
#[derive(Clone, Debug)]
pub struct Tools {
    /// This program.
    pub demo: PathBuf,
    /// `ecoctl`.
    pub ecoctl: PathBuf,
    /// The operator's socket.
    pub operator_socket: PathBuf,
}

/// A worker.
struct Hand {
    container: String,
    child: Child,
    orders: Option<ChildStdin>,
    told: Option<u32>,
}

/// An app's workers.
pub struct Crew {
    hands: Vec<Hand>,
    capping: Capping,
}

impl Crew {
    /// Starts `count` workers of `app`, which do nothing until they are told.
    ///
    /// # Errors
    /// Where a worker cannot be started or attached.
    pub async fn hire(app: &str, count: usize, energy: &EnergySystem, tools: &Tools) -> anyhow::Result<Self> {
        let mut crew = Self { hands: Vec::new(), capping: Capping::Enforced };
        for number in 1..=count {
            let container = format!("{app}-{number}");
            let (hand, capping) = hire_one(app, container, energy, tools).await?;
            crew.hands.push(hand);
            if let Capping::MeteredOnly { .. } = capping {
                crew.capping = capping;
            }
        }
        Ok(crew)
    }

    /// Whether caps are enforced on all of them.
    pub fn is_capped(&self) -> bool {
        self.capping == Capping::Enforced
    }

    /// Their containers.
    pub fn containers(&self) -> impl Iterator<Item = &str> {
        self.hands.iter().map(|hand| hand.container.as_str())
    }

    /// Lets them burn so much together: the first as much as one core has, the next the rest.
    ///
    /// # Errors
    /// Where one of them no longer listens.
    pub async fn work(&mut self, millicores: u32, most_each: u32) -> anyhow::Result<()> {
        let most_each = most_each.min(CORE_MILLI);
        let mut left = millicores;
        for hand in &mut self.hands {
            let part = left.min(most_each);
            left -= part;
            hand.order(part).await?;
        }
        Ok(())
    }

    /// Waits until one of them ends by itself.
    pub async fn loss(&mut self) -> anyhow::Error {
        loop {
            for hand in &mut self.hands {
                if let Ok(Some(status)) = hand.child.try_wait() {
                    return anyhow::anyhow!("worker {} ended: {status}", hand.container);
                }
            }
            sleep(ATTACH_PATIENCE / 10).await;
        }
    }

    /// Ends them all.
    pub async fn dismiss(mut self) {
        // All orders end first, so that all of them end at the same time.
        self.hands.iter_mut().for_each(|hand| drop(hand.orders.take()));
        for mut hand in self.hands {
            if timeout(END_PATIENCE, hand.child.wait()).await.is_err() {
                end(&mut hand.child).await;
            }
        }
    }
}

impl Hand {
    async fn order(&mut self, millicores: u32) -> anyhow::Result<()> {
        if self.told == Some(millicores) {
            return Ok(());
        }
        let gone = || format!("worker {} no longer listens", self.container);
        let orders = self.orders.as_mut().with_context(gone)?;
        orders.write_all(format!("{millicores}\n").as_bytes()).await.with_context(gone)?;
        self.told = Some(millicores);
        Ok(())
    }
}

/// With a cgroup of its own through `ecoctl run`; where that does not work, by its pid.
async fn hire_one(
    app: &str,
    container: String,
    energy: &EnergySystem,
    tools: &Tools,
) -> anyhow::Result<(Hand, Capping)> {
    let mut run = Command::new(&tools.ecoctl);
    run.arg("--socket").arg(&tools.operator_socket).args(["run", "--app", app, "--name", &container, "--"]);
    run.arg(&tools.demo).arg("burn");
    let mut hand = start(run, &container, &tools.ecoctl)?;
    let attached = tokio::select! {
        status = hand.child.wait() => Err(ended(status)),
        found = timeout(ATTACH_PATIENCE, seen(energy, &container)) => Ok(found),
    };
    match attached {
        Ok(Ok(Ok(seen))) => return Ok((hand, seen.capping)),
        Ok(Ok(Err(error))) => return Err(error.into()),
        Ok(Err(_)) => {
            eprintln!("{container}: `ecoctl run` attached nothing; attaching by pid");
            end(&mut hand.child).await;
        }
        Err(why) => eprintln!("{container}: `ecoctl run` {why}; attaching by pid"),
    }
    let mut plain = Command::new(&tools.demo);
    plain.arg("burn");
    let hand = start(plain, &container, &tools.demo)?;
    let pid = hand.child.id().context("the worker has ended already")?;
    let attached = energy.attach(&container, Target::Pid(pid)).await?;
    Ok((hand, attached.capping))
}

fn start(mut command: Command, container: &str, program: &Path) -> anyhow::Result<Hand> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let orders = child.stdin.take();
    Ok(Hand { container: container.to_owned(), child, orders, told: None })
}

fn ended(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| format!("ended ({status})"))
}

async fn seen(energy: &EnergySystem, name: &str) -> Result<Container, ecovisor_sdk::Error> {
    loop {
        let containers = energy.containers().await?;
        if let Some(found) = containers.into_iter().find(|container| container.name == name) {
            return Ok(found);
        }
        sleep(ATTACH_LOOK).await;
    }
}

/// Ends a process: asks, waits, and then does not ask.
pub async fn end(child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may end at the same moment.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        if timeout(END_PATIENCE, child.wait()).await.is_ok() {
            return;
        }
    }
    // Nothing is left to do where even this fails: it is not there.
    let _ = child.kill().await;
}
