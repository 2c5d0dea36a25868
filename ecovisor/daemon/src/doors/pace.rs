//! How many settings an app may make in a second. A setting is journaled and audited, each with a sync, before it is
//! answered; without a bound one tenant could keep the disk and the engine's queue to itself. Questions cost some
//! microseconds and write nothing; they have no such bound.
//!
//! Each app has a bucket: it holds a burst, and fills at a steady rate. It is kept as the moment at which the bucket would
//! be full again (the generic cell rate algorithm of ITU-T I.371), one figure for each app.

use crate::rpc::errors::{Problem, Unit};
use ecovisor_core::{AppId, AppName};
use ecovisor_proto::v1::Reason;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What an app may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Settings in a second, on the average; at least 1.
    pub settings_per_s: u32,
    /// Settings at once; at least 1.
    pub settings_at_once: u32,
}

/// Methods that only ask, by the beginning of their names; whatever has another name changes something.
const QUESTIONS: [&str; 6] = ["Get", "List", "Watch", "Query", "Show", "Run"];

/// Apps whose buckets are kept; those that are full again are forgotten beyond it.
const KEPT_MAX: usize = 1_024;

/// Everybody's buckets.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    /// When each bucket is full again, in µs since boot.
    full_at_us: Mutex<HashMap<AppId, u64>>,
}

impl Pace {
    /// All buckets are full.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, full_at_us: Mutex::default() }
    }

    /// Lets a call pass, or says when to come again.
    ///
    /// # Errors
    /// Where the app has made too many settings.
    pub fn admit(&self, now_us: u64, id: AppId, app: &AppName, path: &str) -> Result<(), Problem> {
        let method = path.rsplit('/').next().unwrap_or_default();
        if QUESTIONS.iter().any(|question| method.starts_with(question)) {
            return Ok(());
        }
        self.take(now_us, id).map_err(|wait_us| {
            let Limits { settings_per_s, settings_at_once } = self.limits;
            let wait = Duration::from_micros(wait_us);
            let message = format!(
                "app {app} has made {settings_at_once} settings at once or more than {settings_per_s} a second: \
                 come again in {} ms",
                wait_us.div_ceil(1_000)
            );
            let problem = Problem::new(Reason::TooMany, message);
            problem.bounded(u64::from(settings_per_s), None, Unit::Count).again_in(wait)
        })
    }

    /// Takes one out of a bucket; how many µs until there is one again, where it is empty.
    fn take(&self, now_us: u64, id: AppId) -> Result<(), u64> {
        let each_us = 1_000_000 / u64::from(self.limits.settings_per_s.max(1));
        let depth_us = each_us.saturating_mul(u64::from(self.limits.settings_at_once.max(1)));
        let mut full_at = self.full_at_us.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() > KEPT_MAX {
            full_at.retain(|_, full_at_us| *full_at_us > now_us);
        }
        let full_at_us = full_at.entry(id).or_insert(now_us);
        let with_this = (*full_at_us).max(now_us).saturating_add(each_us);
        match with_this.saturating_sub(now_us).checked_sub(depth_us) {
            None | Some(0) => {
                *full_at_us = with_this;
                Ok(())
            }
            Some(wait_us) => Err(wait_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(Limits { settings_per_s: 10, settings_at_once: 3 })
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_a_bucket_fills_again() {
        let (pace, app) = (pace(), AppId::new(1));
        let at = |ms: u64| pace.take(ms * 1_000, app);
        assert_eq!([at(0), at(0), at(0)], [Ok(()); 3]);
        assert_eq!(at(0), Err(100_000), "a tenth of a second for each");
        assert_eq!(at(99), Err(1_000));
        assert_eq!((at(100), at(100)), (Ok(()), Err(100_000)));
        assert_eq!([at(5_000), at(5_000), at(5_000)], [Ok(()); 3], "it holds no more than a burst");
        assert!(at(5_000).is_err());
    }

    #[test]
    fn apps_do_not_share_a_bucket_and_questions_need_none() {
        let (pace, name) = (pace(), AppName::new("web").unwrap());
        let set = "/ecovisor.v1.EnergyService/SetCarbonRate";
        let admit = |id, path: &str| pace.admit(0, AppId::new(id), &name, path);
        (0..3).for_each(|_| admit(1, set).unwrap());
        let refused = admit(1, set).unwrap_err();
        assert_eq!(refused.reason, Reason::TooMany);
        assert_eq!(refused.retry, Some(Duration::from_millis(100)));
        assert_eq!(
            refused.message,
            "app web has made 3 settings at once or more than 10 a second: come again in 100 ms"
        );
        admit(2, set).unwrap();
        for question in ["GetEnergySystem", "ListContainers", "WatchTicks", "QueryUsage", "RunLockstep"] {
            admit(1, &format!("/ecovisor.v1.EnergyService/{question}")).unwrap();
        }
        for setting in
            ["AttachContainer", "DetachContainer", "SetBatteryChargeRate", "Reserve", "DivideShare"]
        {
            assert!(admit(1, &format!("/ecovisor.v1.EnergyService/{setting}")).is_err(), "{setting}");
        }
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let pace = pace();
        for id in 0..2_000 {
            pace.take(u64::from(id) * 1_000_000, AppId::new(id)).unwrap();
        }
        assert!(pace.full_at_us.lock().unwrap().len() <= KEPT_MAX + 1);
    }
}
