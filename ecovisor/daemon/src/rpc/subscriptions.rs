//! How many subscriptions an app may hold open. Each may keep what its reader does not take: the transport buffers up to
//! 400 KB a stream (h2's default), so that without a bound one app's readers could fill the memory of all.

use super::errors::{Problem, Unit};
use ecovisor_core::{App, AppId};
use ecovisor_proto::v1::Reason;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Subscriptions of one app at once: a few for each of its 32 connections, and at most 26 MB of messages unread.
pub const PER_APP_MAX: u32 = 64;

/// Who holds how many.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(Arc<Mutex<HashMap<AppId, u32>>>);

/// A place that is held; it is free again when this is dropped.
#[derive(Debug)]
pub struct Held {
    all: Subscriptions,
    app: AppId,
}

impl Subscriptions {
    /// Takes a place of an app's.
    ///
    /// # Errors
    /// Where it has as many as it may.
    pub fn take(&self, app: &App) -> Result<Held, Problem> {
        let mut held = self.held();
        let of_app = held.entry(app.id).or_insert(0);
        if *of_app >= PER_APP_MAX {
            let message =
                format!("app {} holds {PER_APP_MAX} subscriptions: end one before the next", app.name);
            return Err(Problem::new(Reason::TooMany, message).bounded(
                u64::from(PER_APP_MAX),
                None,
                Unit::Count,
            ));
        }
        *of_app += 1;
        Ok(Held { all: self.clone(), app: app.id })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<AppId, u32>> {
        // A count is written in one step: nobody can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.all.held();
        if let Some(of_app) = held.get_mut(&self.app) {
            *of_app -= 1;
            if *of_app == 0 {
                held.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_core::{Rules, Site};

    #[test]
    fn an_app_has_its_places_and_gets_them_back() {
        let site = Site::new(Rules::default()).unwrap();
        let (places, app) = (Subscriptions::default(), &site.apps(false)[0]);
        let mut held: Vec<Held> = (0..PER_APP_MAX).map(|_| places.take(app).unwrap()).collect();
        assert!(places.take(app).is_err());
        held.pop();
        held.push(places.take(app).unwrap());
        assert!(places.take(app).is_err());
        drop(held);
        assert!(places.held().is_empty());
    }
}
