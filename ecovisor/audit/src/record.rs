//! A tick's record: what it led to, with the names of that time, so that a ledger can be read alone.

use crate::digest::LinkedRecord;
use crate::frame::{self, FrameError, Kind};
use ecovisor_core::{AppId, AppName, ContainerId, ContainerName, Outcome, Site};
use serde::{Deserialize, Serialize};

/// What a tick led to, readable alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it led to.
    pub outcome: Outcome,
    /// The apps that were settled, in the order of the outcome, `house` last.
    pub app_names: Vec<(AppId, AppName)>,
    /// The containers that were settled, and whose they are.
    pub container_names: Vec<(ContainerId, AppId, ContainerName)>,
}

impl Record {
    /// A record without its outcome: who is there before a step.
    #[must_use]
    pub fn names_of(site: &Site) -> Self {
        Self {
            outcome: Outcome::default(),
            app_names: site.apps(false).iter().map(|app| (app.id, app.name.clone())).collect(),
            container_names: site.containers(false).iter().map(|c| (c.id, c.app, c.name.clone())).collect(),
        }
    }

    /// Whether these are the names of who is there; a number never gets another name.
    #[must_use]
    pub fn names(&self, site: &Site) -> bool {
        let (apps, containers) = (site.apps(false), site.containers(false));
        self.app_names.iter().map(|(id, _)| id).eq(apps.iter().map(|app| &app.id))
            && self.container_names.iter().map(|(id, ..)| id).eq(containers.iter().map(|c| &c.id))
    }

    /// With the names of apps that came with the step and have something already.
    pub(crate) fn with_newcomers(mut self, site: &Site) -> Self {
        if self.outcome.apps.len() == self.app_names.len() {
            return self;
        }
        for app in site.apps(false) {
            let stands = self.outcome.apps.iter().any(|of| of.app == app.id);
            if stands && self.app_name(app.id).is_none() {
                let before_house = self.app_names.len().saturating_sub(1);
                self.app_names.insert(before_house, (app.id, app.name.clone()));
            }
        }
        self
    }

    /// An app's name at that tick.
    #[must_use]
    pub fn app_name(&self, app: AppId) -> Option<&AppName> {
        self.app_names.iter().find(|(id, _)| *id == app).map(|(_, name)| name)
    }

    /// As a frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        frame::encode(Kind::Record, self)
    }

    /// From a frame, of a record alone or of one with its link.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        LinkedRecord::decode(bytes).map(|linked| linked.record)
    }
}
