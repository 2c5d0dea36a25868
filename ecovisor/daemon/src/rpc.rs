//! The wire's two services. A method parses, asks, answers; what is wrong with a question is said in [`errors`], what a
//! message means in [`convert`], how the state looks in [`show`].
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`energy`], [`operator`] | the methods |
//! | [`convert`] | from messages to what the core takes |
//! | [`show`] | from the state to messages |
//! | [`setters`] | one setting, whoever makes it |
//! | [`containers`] | attaching and detaching, whoever does it |
//! | [`groups`], [`children`] | how shares nest: by the operator, by apps |
//! | [`streams`] | subscriptions that may be slow |
//! | [`narrator`] | events of the core, told once for all subscribers |
//! | [`watched`] | events that depend on a subscriber's thresholds |
//! | [`usage`], [`ledger`] | the past |
//! | [`forecast`] | the future |
//! | [`reserve`] | power promised for it |
//! | [`lockstep`] | one round trip a tick |

pub mod backup;
pub mod children;
mod containers;
pub mod convert;
pub mod energy;
pub mod errors;
pub mod forecast;
pub mod groups;
pub mod history;
pub mod ledger;
pub mod lockstep;
pub mod narrator;
pub mod operator;
pub mod reserve;
pub mod setters;
pub mod show;
pub mod streams;
pub mod subscriptions;
pub mod usage;
pub mod watched;

use crate::engine::handle::{Actor, Engine, View};
use crate::forecast::ForecastSource;
use crate::identity::{Access, Identity, Paths};
use crate::store::Store;
use ecovisor_core::{App, AppId};
use errors::Problem;
use narrator::Narration;
use std::sync::Arc;
use subscriptions::Subscriptions;
use tokio_util::sync::CancellationToken;
use tonic::Request;

/// Told of what is refused before the engine hears of it, for the audit trail: who asked, and why not.
pub type Denials = Arc<dyn Fn(&Actor, &str) + Send + Sync>;

/// What both services need.
#[derive(Clone)]
pub struct Behind {
    /// Answers questions.
    pub engine: Engine,
    /// The past.
    pub history: Arc<dyn Store>,
    /// The future; `None` where nothing tells it.
    pub forecast: Option<Arc<dyn ForecastSource>>,
    /// Hears of refusals.
    pub denials: Denials,
    /// Where things are.
    pub paths: Arc<Paths>,
    /// Who is who.
    pub access: Arc<Access>,
    /// Events.
    pub narration: Narration,
    /// Subscriptions that are open.
    pub subscriptions: Subscriptions,
    /// The end.
    pub stop: CancellationToken,
}

/// An app that calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As the register knows it, what is staged included.
    pub app: App,
    /// What it showed.
    pub identity: Arc<Identity>,
    /// What it calls.
    pub method: &'static str,
    /// The state when it called.
    pub view: Arc<View>,
}

impl Caller {
    /// For the audit trail; made only where something is audited, since questions are many.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.identity.actor(self.method)
    }
}

impl Behind {
    /// The app that calls `method`.
    ///
    /// # Errors
    /// Where the caller is no app, or one that is no more.
    pub fn app<T>(&self, request: &Request<T>, method: &'static str) -> Result<Caller, Problem> {
        let identity = identity(request)?;
        let view = self.engine.view();
        match &*identity {
            Identity::App { id, app, .. } => {
                let app = find(&view, *id).cloned().ok_or_else(|| Problem::unknown_app(app.as_str()))?;
                Ok(Caller { app, identity, method, view })
            }
            Identity::Operator { .. } => Err(Problem::not_allowed(
                "the operator is no app: call OperatorService (ShowApp, ApplySetter, ListAppContainers, \
                 AttachAppContainer, DetachAppContainer, QueryAppUsage, WatchAllEvents, WatchSite)",
            )),
            Identity::Anonymous { why } => Err(Problem::not_allowed(why.clone())),
        }
    }

    /// The operator who calls `method`.
    ///
    /// # Errors
    /// Where the caller is somebody else; that is audited.
    pub fn operator<T>(&self, request: &Request<T>, method: &'static str) -> Result<Actor, Problem> {
        let identity = identity(request)?;
        let actor = identity.actor(method);
        let problem = match &*identity {
            Identity::Operator { .. } => return Ok(actor),
            Identity::App { app, .. } => {
                Problem::not_allowed(format!("app {app} is not the operator: call EnergyService"))
            }
            Identity::Anonymous { why } => Problem::not_allowed(why.clone()),
        };
        Err(self.denied(&actor, problem))
    }

    /// The same problem, audited.
    pub fn denied(&self, actor: &Actor, problem: Problem) -> Problem {
        (self.denials)(actor, &problem.message);
        problem
    }
}

/// Who calls; every connection has an identity.
fn identity<T>(request: &Request<T>) -> Result<Arc<Identity>, Problem> {
    let identity = request.extensions().get::<Arc<Identity>>().cloned();
    identity.ok_or_else(|| Problem::not_allowed("the connection has no identity"))
}

/// An app as it stands with what is staged.
#[must_use]
pub fn find(view: &View, id: AppId) -> Option<&App> {
    view.site.apps(true).iter().find(|app| app.id == id)
}

/// An app by name, `house` included.
///
/// # Errors
/// Where there is none.
pub fn named<'a>(view: &'a View, name: &str) -> Result<&'a App, Problem> {
    view.site.find(name).ok_or_else(|| Problem::unknown_app(name))
}
