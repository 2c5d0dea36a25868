//! Callers who are refused before the engine hears of them, in the audit trail: each call while they are few, their
//! number when they are many. A line is synced before the caller is answered, so without a bound whoever may ask for
//! nothing could keep the disk busy that the ledger is written to, and push out of the trail what it is kept for.

use crate::clock;
use crate::engine::handle::Actor;
use crate::metrics::Metrics;
use crate::trail::{Trail, TrailEntry, TrailOutcome};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Lines of one caller (an app, the operator, or all the nameless together) in a window: enough to see what it tries.
const LINES_MAX: u32 = 30;

/// How long a window lasts: then a line says how many calls were left out.
const WINDOW: Duration = Duration::from_secs(60);

/// What is told of the refused.
#[derive(Debug)]
pub struct Denied {
    trail: Arc<Trail>,
    metrics: Option<Arc<Metrics>>,
    windows: Mutex<BTreeMap<String, Window>>,
}

/// One caller's window. There are as many as apps that were refused within a minute.
#[derive(Clone, Debug)]
struct Window {
    began_us: u64,
    told: u32,
    untold: u64,
}

impl Denied {
    /// Nobody yet.
    #[must_use]
    pub fn new(trail: Arc<Trail>, metrics: Option<Arc<Metrics>>) -> Self {
        Self { trail, metrics, windows: Mutex::default() }
    }

    /// A call was refused.
    pub fn hear(&self, actor: &Actor, why: &str) {
        self.hear_at(clock::boot_us(), actor, why);
    }

    fn hear_at(&self, now_us: u64, actor: &Actor, why: &str) {
        if let Some(metrics) = &self.metrics {
            metrics.count_command(TrailOutcome::Denied);
        }
        self.sum_up(now_us);
        if self.is_due(now_us, caller(&actor.name)) {
            self.write(&TrailEntry {
                wall_ms: clock::wall_ms(),
                actor: actor.name.clone(),
                via: actor.via.to_owned(),
                method: actor.method.to_owned(),
                arguments: json!({}),
                outcome: TrailOutcome::Denied,
                detail: why.to_owned(),
                holds_from_tick: None,
            });
        }
    }

    fn is_due(&self, now_us: u64, caller: &str) -> bool {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Window { began_us: now_us, told: 0, untold: 0 };
        let window = windows.entry(caller.to_owned()).or_insert_with(new);
        if window.told == LINES_MAX {
            window.untold = window.untold.saturating_add(1);
            return false;
        }
        window.told += 1;
        true
    }

    /// Says how many were left out, for every window that has ended.
    fn sum_up(&self, now_us: u64) {
        let window_us = u64::try_from(WINDOW.as_micros()).unwrap_or(u64::MAX);
        let ended = |window: &Window| now_us.saturating_sub(window.began_us) >= window_us;
        self.close(ended);
    }

    fn close(&self, ended: impl Fn(&Window) -> bool) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let closed: Vec<(String, u64)> = windows
            .iter()
            .filter(|(_, window)| ended(window) && window.untold > 0)
            .map(|(caller, window)| (caller.clone(), window.untold))
            .collect();
        windows.retain(|_, window| !ended(window));
        drop(windows);
        for (caller, untold) in closed {
            self.write(&TrailEntry {
                wall_ms: clock::wall_ms(),
                actor: caller,
                via: "none".into(),
                method: "any".into(),
                arguments: json!({ "calls": untold }),
                outcome: TrailOutcome::Denied,
                detail: format!("{untold} more calls were denied within {} s", WINDOW.as_secs()),
                holds_from_tick: None,
            });
        }
    }

    fn write(&self, entry: &TrailEntry) {
        if let Err(error) = self.trail.write(entry) {
            tracing::error!(%error, detail = entry.detail, "the audit trail cannot be written");
        }
    }

    /// Keeps summing up until `shutdown`, and once more then.
    pub async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        let mut windows = tokio::time::interval(WINDOW);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = windows.tick() => self.sum_up(clock::boot_us()),
            }
        }
        self.close(|_| true);
    }
}

/// Whom calls are counted with: `app:web` of `app:web uid=1000 pid=12`.
fn caller(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    struct Scene {
        directory: TempDir,
        denied: Denied,
    }

    impl Scene {
        fn new() -> Self {
            let directory = TempDir::new().unwrap();
            let trail = Arc::new(Trail::open(&directory.path().join("audit.jsonl")).unwrap());
            Self { directory, denied: Denied::new(trail, None) }
        }

        fn hear(&self, now_us: u64, name: &str, times: u32) {
            let actor = Actor { name: name.into(), via: "uds", method: "GetSite" };
            (0..times).for_each(|_| self.denied.hear_at(now_us, &actor, "no"));
        }

        fn lines(&self) -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    #[test]
    fn each_refused_call_is_told_while_they_are_few() {
        let scene = Scene::new();
        scene.hear(5, "app:web uid=1 pid=2", LINES_MAX);
        scene.hear(60_000_005, "app:web uid=1 pid=2", 1);
        let lines = scene.lines();
        assert_eq!(lines.len(), 31);
        assert!(lines.iter().all(|line| line["detail"] == "no" && line["outcome"] == "denied"));
    }

    #[test]
    fn of_many_refused_calls_the_number_is_told_when_the_minute_is_over() {
        let scene = Scene::new();
        scene.hear(5, "app:web uid=1 pid=2", LINES_MAX + 7);
        // Another connection of the same app has no lines of its own; another app has.
        scene.hear(6, "app:web uid=1 pid=3", 1);
        scene.hear(7, "app:db uid=1 pid=2", 1);
        assert_eq!(scene.lines().len(), 31);
        scene.hear(60_000_006, "app:web uid=1 pid=2", 1);
        let lines = scene.lines();
        assert_eq!(lines.len(), 33);
        assert_eq!(lines[31]["actor"], "app:web");
        assert_eq!(lines[31]["arguments"]["calls"], 8);
        assert_eq!(lines[31]["detail"], "8 more calls were denied within 60 s");
        assert_eq!(lines[32]["detail"], "no");
    }

    #[tokio::test]
    async fn what_was_left_out_is_told_at_the_end_too() {
        let scene = Scene::new();
        scene.hear(clock::boot_us(), "anonymous", LINES_MAX + 2);
        let (denied, stop) = (Arc::new(scene.denied), CancellationToken::new());
        stop.cancel();
        denied.keep(stop).await;
        let text = std::fs::read_to_string(scene.directory.path().join("audit.jsonl")).unwrap();
        assert!(text.lines().last().unwrap().contains("2 more calls"), "{text}");
    }
}
