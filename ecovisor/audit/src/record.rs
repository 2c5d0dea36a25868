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
