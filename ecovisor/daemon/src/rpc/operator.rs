//! OperatorService: what the owner of the site sees.

use super::convert::{app_name, app_spec, share, shortfall};
use super::errors::Problem;
use super::ledger::Readers;
use super::narrator::{About, Told};
use super::show::{nesting, site as show_site};
use super::streams::{Answers, Followed, follow};
use super::usage::Whose;
use super::watched::{Thresholds, Watched};
use super::{Behind, backup, containers, forecast, groups, history, ledger, named, reserve, setters, show};
use crate::attach::Claimant;
use crate::engine::handle::{Actor, AskError, Question, Reply, View};
use ecovisor_audit::Grants;
use ecovisor_core::{AppId, Command};
use ecovisor_proto::v1;
use ecovisor_proto::v1::operator_service_server::OperatorService;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// The service.
#[derive(Clone)]
pub struct Operator {
    /// What it needs.
    pub behind: Behind,
    /// Places for readers of the past.
    pub readers: Readers,
    /// Held while policies are read, changed and written back, so that no change undoes another.
    pub policies: Arc<Mutex<()>>,
}

/// Whether something is done or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Real,
    Dry,
}

impl From<bool> for Run {
    fn from(dry_run: bool) -> Self {
        if dry_run { Self::Dry } else { Self::Real }
    }
}

impl Operator {
    async fn command(
        &self,
        actor: Actor,
        arguments: Value,
        command: Command,
        grants: Option<Grants>,
        run: Run,
    ) -> Result<crate::engine::handle::Answer, Problem> {
        let question = Question::Command { command, grants, dry_run: run == Run::Dry };
        match self.behind.engine.ask(actor, arguments, question).await? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Reloaded(_) => Err(AskError::Stopping.into()),
        }
    }

    /// Changes an app, or tries to.
    async fn change(
        &self,
        actor: Actor,
        name: &str,
        command: Command,
        grants: Option<Grants>,
        run: Run,
    ) -> Result<v1::AppChangeReply, Problem> {
        let arguments = json!({ "app": name, "command": command, "dry_run": run == Run::Dry });
        let of = match &command {
            Command::ChangeShare { app, .. } | Command::DeleteApp(app) => Some(*app),
            _ => None,
        };
        let level = |view: &View| {
            let app = view.site.find(name)?;
            Some(view.site.tree(true).leaf(app.id)?.parent)
        };
        let before = level(&self.behind.engine.view());
        let answer = self.command(actor, arguments, command, grants, run).await?;
        let (view, app) = (&answer.view, answer.view.site.find(name));
        let shown = app.filter(|_| run == Run::Real).map(|app| show_site::app(view, &self.behind.paths, app));
        Ok(v1::AppChangeReply {
            holds_from_tick: (run == Run::Real).then_some(answer.accepted.holds_from.0),
            free: Some(nesting::free(view, level(view).or(before).flatten())),
            app: shown,
            to_house_uj: of.map_or(0, |id| show_site::to_house(view, id, app)),
        })
    }

    /// An app's number by name, with who asks.
    fn app<T>(
        &self,
        request: &Request<T>,
        method: &'static str,
        name: &str,
    ) -> Result<(Actor, AppId), Problem> {
        let actor = self.behind.operator(request, method)?;
        let id = named(&self.behind.engine.view(), name).map(|app| app.id);
        Ok((actor.clone(), id.map_err(|problem| self.behind.denied(&actor, problem))?))
    }
}

#[tonic::async_trait]
impl OperatorService for Operator {
    type WatchAllEventsStream = Followed<v1::WatchAllEventsReply>;
    type WatchSiteStream = Followed<v1::SiteTick>;
    type QueryLedgerStream = Answers<v1::LedgerRow>;
    type ExportLedgerStream = Answers<v1::ExportLedgerReply>;
    type BackupStoreStream = Answers<v1::BackupStoreReply>;
    type ReadHistoryStream = Answers<v1::ReadHistoryReply>;

    async fn create_app(&self, request: Request<v1::CreateAppRequest>) -> Answer<v1::AppChangeReply> {
        let actor = self.behind.operator(&request, "CreateApp")?;
        let v1::CreateAppRequest { app, spec, dry_run, group } = request.into_inner();
        let (own_uid, view) = (self.behind.access.own_uid, self.behind.engine.view());
        let parsed = app_name("app", &app)
            .and_then(|name| Ok((name, groups::place(&view, "group", &group)?)))
            .and_then(|placed| Ok((placed, app_spec(spec, own_uid, &self.behind.paths)?)))
            .map_err(|problem| self.behind.denied(&actor, problem))?;
        let ((name, parent), (share, policy, grants)) = parsed;
        let command = match parent {
            None => Command::CreateApp { name, share, policy },
            Some(parent) => Command::CreateAppIn { parent, name, share, policy },
        };
        Ok(Response::new(self.change(actor, &app, command, Some(grants), dry_run.into()).await?))
    }

    async fn create_group(&self, request: Request<v1::CreateGroupRequest>) -> Answer<v1::GroupChangeReply> {
        let actor = self.behind.operator(&request, "CreateGroup")?;
        Ok(Response::new(groups::create(&self.behind, actor, request.into_inner()).await?))
    }

    async fn list_groups(&self, request: Request<v1::ListGroupsRequest>) -> Answer<v1::ListGroupsReply> {
        self.behind.operator(&request, "ListGroups")?;
        let v1::ListGroupsRequest {} = request.into_inner();
        Ok(Response::new(groups::list(&self.behind.engine.view())))
    }

    async fn change_group_share(
        &self,
        request: Request<v1::ChangeGroupShareRequest>,
    ) -> Answer<v1::GroupChangeReply> {
        let actor = self.behind.operator(&request, "ChangeGroupShare")?;
        Ok(Response::new(groups::change_share(&self.behind, actor, request.into_inner()).await?))
    }

    async fn delete_group(&self, request: Request<v1::DeleteGroupRequest>) -> Answer<v1::GroupChangeReply> {
        let actor = self.behind.operator(&request, "DeleteGroup")?;
        Ok(Response::new(groups::delete(&self.behind, actor, request.into_inner()).await?))
    }

    async fn move_share(&self, request: Request<v1::MoveShareRequest>) -> Answer<v1::MoveShareReply> {
        let actor = self.behind.operator(&request, "MoveShare")?;
        Ok(Response::new(groups::relocate(&self.behind, actor, request.into_inner()).await?))
    }

    async fn show_app(&self, request: Request<v1::ShowAppRequest>) -> Answer<v1::App> {
        self.behind.operator(&request, "ShowApp")?;
        let v1::ShowAppRequest { app } = request.into_inner();
        let view = self.behind.engine.view();
        Ok(Response::new(show_site::app(&view, &self.behind.paths, named(&view, &app)?)))
    }

    async fn list_apps(&self, request: Request<v1::ListAppsRequest>) -> Answer<v1::ListAppsReply> {
        self.behind.operator(&request, "ListApps")?;
        let v1::ListAppsRequest {} = request.into_inner();
        let view = self.behind.engine.view();
        let apps = view.site.apps(true).iter().map(|app| show_site::app(&view, &self.behind.paths, app));
        Ok(Response::new(v1::ListAppsReply { apps: apps.collect() }))
    }

    async fn change_share(&self, request: Request<v1::ChangeShareRequest>) -> Answer<v1::AppChangeReply> {
        let (actor, app) = self.app(&request, "ChangeShare", &request.get_ref().app)?;
        let v1::ChangeShareRequest { app: name, share: whole, dry_run } = request.into_inner();
        let share = share(whole).map_err(|problem| self.behind.denied(&actor, problem))?;
        let command = Command::ChangeShare { app, share };
        Ok(Response::new(self.change(actor, &name, command, None, dry_run.into()).await?))
    }

    async fn drain_app(&self, request: Request<v1::DrainAppRequest>) -> Answer<v1::AppChangeReply> {
        let (actor, app) = self.app(&request, "DrainApp", &request.get_ref().app)?;
        let v1::DrainAppRequest { app: name, dry_run } = request.into_inner();
        let change = self.change(actor, &name, Command::DrainApp(app), None, dry_run.into());
        Ok(Response::new(change.await?))
    }

    async fn delete_app(&self, request: Request<v1::DeleteAppRequest>) -> Answer<v1::AppChangeReply> {
        let (actor, app) = self.app(&request, "DeleteApp", &request.get_ref().app)?;
        let v1::DeleteAppRequest { app: name, dry_run } = request.into_inner();
        let change = self.change(actor, &name, Command::DeleteApp(app), None, dry_run.into());
        Ok(Response::new(change.await?))
    }

    async fn apply_setter(&self, request: Request<v1::ApplySetterRequest>) -> Answer<v1::SettingReply> {
        let (actor, app) = self.app(&request, "ApplySetter", &request.get_ref().app)?;
        let v1::ApplySetterRequest { app: _, setter } = request.into_inner();
        let set = setter.and_then(|v1::Setter { set }| set);
        Ok(Response::new(setters::apply(&self.behind, actor, app, set).await?))
    }

    async fn list_app_containers(
        &self,
        request: Request<v1::ListAppContainersRequest>,
    ) -> Answer<v1::ListContainersReply> {
        self.behind.operator(&request, "ListAppContainers")?;
        let v1::ListAppContainersRequest { app } = request.into_inner();
        let view = self.behind.engine.view();
        let containers = show::containers(&view, &self.behind.paths, named(&view, &app)?.id);
        Ok(Response::new(v1::ListContainersReply { containers }))
    }

    async fn attach_app_container(
        &self,
        request: Request<v1::AttachAppContainerRequest>,
    ) -> Answer<v1::AttachContainerReply> {
        let (actor, _) = self.app(&request, "AttachAppContainer", &request.get_ref().app)?;
        let v1::AttachAppContainerRequest { app, attach } = request.into_inner();
        let attach = attach.ok_or_else(|| Problem::missing("attach", "say what to attach"));
        let attach = attach.map_err(|problem| self.behind.denied(&actor, problem))?;
        let app = named(&self.behind.engine.view(), &app)?.clone();
        let made = containers::attach(&self.behind, actor, Claimant::Operator, &app, attach);
        Ok(Response::new(made.await?))
    }

    async fn detach_app_container(
        &self,
        request: Request<v1::DetachAppContainerRequest>,
    ) -> Answer<v1::DetachContainerReply> {
        let (actor, _) = self.app(&request, "DetachAppContainer", &request.get_ref().app)?;
        let v1::DetachAppContainerRequest { app, name } = request.into_inner();
        let app = named(&self.behind.engine.view(), &app)?.clone();
        Ok(Response::new(containers::detach(&self.behind, actor, &app, &name).await?))
    }

    async fn query_app_usage(
        &self,
        request: Request<v1::QueryAppUsageRequest>,
    ) -> Answer<v1::QueryUsageReply> {
        self.behind.operator(&request, "QueryAppUsage")?;
        let v1::QueryAppUsageRequest { app, query } = request.into_inner();
        let view = self.behind.engine.view();
        // Apps that are no more still stand in the ledger, by their names.
        let whose = view.site.find(&app).map_or_else(|| Whose::Name(app.clone()), |app| Whose::Id(app.id));
        let query = query.unwrap_or_default();
        Ok(Response::new(ledger::usage(&self.behind, &self.readers, whose, query).await?))
    }

    async fn watch_all_events(
        &self,
        request: Request<v1::WatchAllEventsRequest>,
    ) -> Answer<Self::WatchAllEventsStream> {
        self.behind.operator(&request, "WatchAllEvents")?;
        let v1::WatchAllEventsRequest { app, thresholds } = request.into_inner();
        let view = self.behind.engine.view();
        let only = app.map(|app| named(&view, &app).map(|app| app.id)).transpose()?;
        let mut watched = Watched::new(Thresholds::try_from(thresholds.unwrap_or_default())?, &view);
        let events = follow(self.behind.narration.listen(), self.behind.stop.clone(), move |told, missed| {
            let lost = missed.saturating_add(told.missed);
            let missed = std::iter::once(lost).chain(std::iter::repeat(0));
            let all = all_events(told, &mut watched, only).into_iter().zip(missed);
            let one = |((app, event), missed)| v1::WatchAllEventsReply { app, event: Some(event), missed };
            Ok(all.map(one).collect())
        });
        Ok(Response::new(events))
    }

    async fn get_site(&self, request: Request<v1::GetSiteRequest>) -> Answer<v1::Site> {
        self.behind.operator(&request, "GetSite")?;
        let v1::GetSiteRequest {} = request.into_inner();
        Ok(Response::new(show_site::site(&self.behind.engine.view(), &self.behind.paths)))
    }

    async fn watch_site(&self, request: Request<v1::WatchSiteRequest>) -> Answer<Self::WatchSiteStream> {
        self.behind.operator(&request, "WatchSite")?;
        let v1::WatchSiteRequest {} = request.into_inner();
        let paths = self.behind.paths.clone();
        let ticks = follow(self.behind.engine.ticks(), self.behind.stop.clone(), move |view, missed| {
            Ok(show_site::tick(view, &paths, missed).into_iter().collect())
        });
        Ok(Response::new(ticks))
    }

    async fn list_devices(&self, request: Request<v1::ListDevicesRequest>) -> Answer<v1::ListDevicesReply> {
        self.behind.operator(&request, "ListDevices")?;
        let v1::ListDevicesRequest {} = request.into_inner();
        let devices = self.behind.engine.view().devices.iter().map(show_site::device).collect();
        Ok(Response::new(v1::ListDevicesReply { devices }))
    }

    async fn query_ledger(
        &self,
        request: Request<v1::QueryLedgerRequest>,
    ) -> Answer<Self::QueryLedgerStream> {
        self.behind.operator(&request, "QueryLedger")?;
        Ok(Response::new(ledger::query(&self.behind, &self.readers, request.into_inner())?))
    }

    async fn export_ledger(
        &self,
        request: Request<v1::ExportLedgerRequest>,
    ) -> Answer<Self::ExportLedgerStream> {
        self.behind.operator(&request, "ExportLedger")?;
        Ok(Response::new(ledger::export(&self.behind, &self.readers, request.into_inner())?))
    }

    async fn verify_ledger(
        &self,
        request: Request<v1::VerifyLedgerRequest>,
    ) -> Answer<v1::VerifyLedgerReply> {
        self.behind.operator(&request, "VerifyLedger")?;
        let asked = request.into_inner();
        let found = self.readers.once(&self.behind, move |history, stop| ledger::check(history, asked, stop));
        Ok(Response::new(found.await?))
    }

    async fn backup_store(
        &self,
        request: Request<v1::BackupStoreRequest>,
    ) -> Answer<Self::BackupStoreStream> {
        let actor = self.behind.operator(&request, "BackupStore")?;
        let v1::BackupStoreRequest { directory } = request.into_inner();
        let place = backup::place(&directory, self.behind.access.own_uid)
            .map_err(|problem| self.behind.denied(&actor, problem))?;
        tracing::info!(actor = %actor.name, %directory, "the store is copied");
        Ok(Response::new(backup::copy(&self.behind, &self.readers, place)?))
    }

    async fn read_history(
        &self,
        request: Request<v1::ReadHistoryRequest>,
    ) -> Answer<Self::ReadHistoryStream> {
        self.behind.operator(&request, "ReadHistory")?;
        Ok(Response::new(history::read(&self.behind, &self.readers, request.into_inner())?))
    }

    async fn confirm_archive(
        &self,
        request: Request<v1::ConfirmArchiveRequest>,
    ) -> Answer<v1::ConfirmArchiveReply> {
        self.behind.operator(&request, "ConfirmArchive")?;
        let asked = request.into_inner();
        let noted = self.readers.once(&self.behind, move |ledger, _| history::confirm(ledger, &asked));
        Ok(Response::new(noted.await?))
    }

    async fn get_policies(&self, request: Request<v1::GetPoliciesRequest>) -> Answer<v1::Policies> {
        self.behind.operator(&request, "GetPolicies")?;
        let v1::GetPoliciesRequest {} = request.into_inner();
        Ok(Response::new(show_site::policies(self.behind.engine.view().site.rules())))
    }

    async fn set_policies(&self, request: Request<v1::SetPoliciesRequest>) -> Answer<v1::SetPoliciesReply> {
        let actor = self.behind.operator(&request, "SetPolicies")?;
        let v1::SetPoliciesRequest { redistribute, export, shortfall: number } = request.into_inner();
        let unsupported = shortfall(number).and_then(|shortfall| match shortfall {
            None => Ok(()),
            Some(_) => {
                Err(Problem::not_supported("what happens at zero supply is each app's own: see AppSpec"))
            }
        });
        unsupported.map_err(|problem| self.behind.denied(&actor, problem.about("shortfall")))?;
        let _alone = self.policies.lock().await;
        let mut rules = self.behind.engine.view().site.rules_staged().clone();
        rules.redistribute = redistribute.unwrap_or(rules.redistribute);
        rules.export = export.unwrap_or(rules.export);
        let arguments = json!({ "redistribute": redistribute, "export": export });
        let command = Command::Reconfigure(rules.clone());
        let answer = self.command(actor, arguments, command, None, Run::Real).await?;
        let policies = Some(show_site::policies(&rules));
        Ok(Response::new(v1::SetPoliciesReply { holds_from_tick: answer.accepted.holds_from.0, policies }))
    }

    async fn get_config(&self, request: Request<v1::GetConfigRequest>) -> Answer<v1::GetConfigReply> {
        self.behind.operator(&request, "GetConfig")?;
        let v1::GetConfigRequest {} = request.into_inner();
        let view = self.behind.engine.view();
        let crate::engine::handle::LoadedConfig { toml, path, loaded_ms } = (*view.config).clone();
        Ok(Response::new(v1::GetConfigReply { toml, path, loaded_ms }))
    }

    async fn reload_config(
        &self,
        request: Request<v1::ReloadConfigRequest>,
    ) -> Answer<v1::ReloadConfigReply> {
        let actor = self.behind.operator(&request, "ReloadConfig")?;
        let v1::ReloadConfigRequest { dry_run } = request.into_inner();
        let arguments = json!({ "dry_run": dry_run });
        let _alone = self.policies.lock().await;
        let asked = self.behind.engine.ask(actor, arguments, Question::Reload { dry_run }).await;
        let Reply::Reloaded(reloaded) = asked.map_err(Problem::from)? else {
            return Err(Problem::stopping().into());
        };
        Ok(Response::new(v1::ReloadConfigReply {
            holds_from_tick: reloaded.holds_from.map(|tick| tick.0),
            changed: reloaded.changed,
            needs_restart: reloaded.needs_restart,
        }))
    }

    async fn list_app_reservations(
        &self,
        request: Request<v1::ListAppReservationsRequest>,
    ) -> Answer<v1::ListReservationsReply> {
        self.behind.operator(&request, "ListAppReservations")?;
        let v1::ListAppReservationsRequest { app } = request.into_inner();
        let view = self.behind.engine.view();
        let app = if app.is_empty() { None } else { Some(named(&view, &app)?) };
        Ok(Response::new(reserve::list(&view, app)))
    }

    async fn cancel_app_reservation(
        &self,
        request: Request<v1::CancelReservationRequest>,
    ) -> Answer<v1::CancelReservationReply> {
        let actor = self.behind.operator(&request, "CancelAppReservation")?;
        Ok(Response::new(reserve::cancel(&self.behind, actor, None, request.into_inner()).await?))
    }

    async fn get_site_forecast(
        &self,
        request: Request<v1::GetSiteForecastRequest>,
    ) -> Answer<v1::GetForecastReply> {
        self.behind.operator(&request, "GetSiteForecast")?;
        let v1::GetSiteForecastRequest { app, query } = request.into_inner();
        let view = self.behind.engine.view();
        let part = match app.as_str() {
            "" => 1.0,
            name => show::solar_part(&view, named(&view, name)?),
        };
        let source = self.behind.forecast.as_deref();
        Ok(Response::new(forecast::forecast(source, &view, part, query.unwrap_or_default())?))
    }
}

/// A tick's events for the operator: each app's own, each reading's once for the site, and what thresholds make of it.
fn all_events(told: &Told, watched: &mut Watched, only: Option<AppId>) -> Vec<(Option<String>, v1::Event)> {
    let view = &told.view;
    let name = |id: AppId| super::find(view, id).map(|app| app.name.to_string());
    let wanted = |id: AppId| only.is_none_or(|only| only == id);
    let mut events: Vec<(Option<String>, v1::Event)> = Vec::new();
    for (about, event) in &told.events {
        match about {
            About::App(id) if wanted(*id) => events.push((name(*id), event.clone())),
            About::Reading(_) | About::Loop if only.is_none() => events.push((None, event.clone())),
            About::App(_) | About::Reading(_) | About::Loop => {}
        }
    }
    for app in view.site.apps(false).iter().filter(|app| wanted(app.id)) {
        let crossed = watched.crossed(view, app);
        events.extend(crossed.into_iter().map(|event| (Some(app.name.to_string()), event)));
    }
    events
}
