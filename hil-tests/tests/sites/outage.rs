//! What tests of outages share: a site that commits often, commands that are sent until it dies, and whether all that was
//! acknowledged is there.

use crate::configs::{NOON, replaced};
use ecovisor_hil_tests::site::{Ended, Site};
use ecovisor_hil_tests::wait::{self, PATIENCE};
use ecovisor_powercut::Dice;
use ecovisor_sdk::operator::wire;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The engines under test.
pub const ENGINES: [&str; 2] = ["sled", "redb"];

/// A site that settles a tick of a minute every 50 ms and makes a snapshot every tenth.
pub fn config(engine: &str) -> String {
    let quick = replaced(NOON, "factor = 600", "factor = 1200");
    format!("{quick}[store]\nengine = \"{engine}\"\nsnapshot_ticks = 10\n")
}

/// How many outages are asked for by an environment variable, or else in every run.
pub fn asked(variable: &str, otherwise: u64) -> u64 {
    let asked = std::env::var_os(variable);
    asked.map_or(otherwise, |asked| {
        asked.to_str().and_then(|asked| asked.parse().ok()).expect("a number of outages")
    })
}

/// What was sent, and what of it was acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Commands that were sent.
    pub tried: u64,
    /// Commands that were acknowledged.
    pub acknowledged: u64,
    /// The last share that was sent; they only grow.
    pub last_tried: u64,
    /// The last share that was acknowledged.
    pub last_acknowledged: u64,
}

/// `batch` draws 50 W or a little more.
const SHARE_MW: u64 = 50_000;

impl Sent {
    /// Changes the share of `batch` again and again, until the daemon dies or cannot go on; waits for one that is starting.
    pub async fn send(&mut self, site: &Site) {
        let Ok(operator) = site.operator().await else { return };
        let Ok(app) = operator.show_app(wire::ShowAppRequest { app: "batch".into() }).await else { return };
        let share = app.spec.and_then(|spec| spec.share).unwrap();
        loop {
            let next = self.last_tried.max(SHARE_MW) + 1;
            (self.tried, self.last_tried) = (self.tried + 1, next);
            let share = Some(wire::AppShare { grid_limit_mw: next, ..share });
            let request = wire::ChangeShareRequest { app: "batch".into(), share, dry_run: false };
            match operator.change_share(request).await {
                Ok(_) => (self.acknowledged, self.last_acknowledged) = (self.acknowledged + 1, next),
                Err(_) => return,
            }
        }
    }

    /// Sends for a while.
    pub async fn send_for(&mut self, site: &Site, time: Duration) {
        // Whatever is under way then was never answered.
        let _over = tokio::time::timeout(time, self.send(site)).await;
    }

    /// Sends until the daemon is gone; its exit code, `None` where a signal ended it.
    pub async fn send_until_it_ends(&mut self, site: &mut Site) -> Option<i32> {
        let sending = async {
            loop {
                if site.socket().exists() {
                    self.send(site).await;
                }
                tokio::task::yield_now().await;
                if !site.is_running() {
                    break;
                }
                tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>())
                    .await
                    .unwrap_err();
            }
        };
        if tokio::time::timeout(PATIENCE, sending).await.is_err() {
            panic!("the daemon lives on: {self:?}\n{}", site.log());
        }
        site.ended().await.unwrap()
    }

    /// Whether a running site holds what was acknowledged last, or what was sent last.
    pub async fn holds(&self, site: &Site) -> Result<(), String> {
        let held = share_of_batch(site).await;
        if self.last_acknowledged == 0 || (self.last_acknowledged..=self.last_tried).contains(&held) {
            return Ok(());
        }
        Err(format!(
            "{held} mW holds, {} mW were acknowledged, {} sent",
            self.last_acknowledged, self.last_tried
        ))
    }

    /// Whether the store of a daemon that is gone is whole and has all acknowledged commands, looked at in a copy: the next
    /// daemon must mend what is to be mended by itself.
    pub async fn kept(&self, site: &Site, base: u64) -> Result<Value, String> {
        let copy = site.path("looked-at");
        copy_tree(&site.path("state"), &copy);
        let report = verified(site, "looked-at").await;
        std::fs::remove_dir_all(&copy).unwrap();
        let report = report?;
        let commands = commands_of(&report);
        let least = base + self.acknowledged;
        if commands < least || commands > base + self.tried {
            return Err(format!(
                "{commands} commands in the journal, {base} were there first, then {self:?}"
            ));
        }
        Ok(report)
    }
}

/// What `ecovisord store verify` says of a state directory, or why it is damaged.
pub async fn verified(site: &Site, directory: &str) -> Result<Value, String> {
    let Ended { code, stdout, stderr } =
        site.ecovisord(&["store", "verify", directory, "--json"]).await.unwrap();
    match code {
        Some(0) => Ok(serde_json::from_str(&stdout).unwrap()),
        code => Err(format!("verify ended with {code:?}: {stdout}{stderr}")),
    }
}

/// How many commands are in the journal of a site that ran once and was stopped.
pub async fn commands(site: &Site) -> u64 {
    commands_of(&verified(site, "state").await.unwrap())
}

/// Those that the store has, and those of the past beside it.
fn commands_of(report: &Value) -> u64 {
    report["commands"].as_u64().unwrap() + report["past_commands"].as_u64().unwrap()
}

/// Ends well: started without any layer, the site holds what was acknowledged; stopped in order, its last snapshot is
/// what an uninterrupted replay of the whole journal leads to.
pub async fn goes_on(site: &mut Site, sent: &Sent, base: u64) {
    site.surround(Vec::new());
    site.run(&[]).await.unwrap();
    sent.holds(site).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let report = sent.kept(site, base).await.unwrap();
    assert_eq!(report["fault_count"], 0);
}

async fn share_of_batch(site: &Site) -> u64 {
    let operator = site.operator().await.unwrap();
    let app = wait::answer("batch is shown", operator.show_app(wire::ShowAppRequest { app: "batch".into() }));
    app.await.unwrap().spec.unwrap().share.unwrap().grid_limit_mw
}

pub fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// A time from nothing to before `most_ms`, by a dice.
pub fn some_time(dice: &mut Dice, most_ms: usize) -> Duration {
    Duration::from_millis(u64::try_from(dice.below(most_ms)).unwrap())
}
