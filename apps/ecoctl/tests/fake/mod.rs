//! A daemon for tests: OperatorService over a Unix socket, with answers that never change and a record of what was
//! asked. The program under test is the real one.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod books;
pub mod site;

use ecovisor_sdk::operator::wire;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Iter, iter};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use wire::operator_service_server::{OperatorService, OperatorServiceServer};

/// A daemon that runs until it is dropped.
pub struct Daemon {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Daemon {
    /// Starts one with the books of three ticks; `forge` may change its rows.
    pub async fn start_with(forge: impl FnOnce(&mut Vec<wire::ExportLedgerReply>)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(directory.path().join("ecovisor.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut export = books::export(3);
        forge(&mut export);
        let fake = Fake { asked: Arc::clone(&asked), export };
        let serving = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(OperatorServiceServer::new(fake));
            server.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
        });
        Self { directory, asked, serving }
    }

    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A directory for the test's files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("ecovisor.sock")
    }

    /// Runs `ecoctl` against it.
    pub async fn ecoctl(&self, arguments: &[&str]) -> Output {
        let socket = self.socket();
        ecoctl(&[&["--socket", socket.to_str().unwrap()], arguments].concat()).await
    }

    /// What the last change asked for, in debug form.
    pub fn last_asked(&self) -> String {
        self.asked.lock().unwrap().last().cloned().unwrap_or_default()
    }

    /// What was asked for at that place, in debug form.
    pub fn asked_at(&self, place: usize) -> String {
        self.asked.lock().unwrap().get(place).cloned().unwrap_or_default()
    }

    /// All that was asked for, the names alone.
    pub fn all_asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|one| one.split([' ', '{']).next().unwrap_or_default().to_string()).collect()
    }
}

/// Runs `ecoctl` with nothing of this machine's environment in its answers.
pub async fn ecoctl(arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ecoctl"));
    for variable in
        ["ECOVISOR_OPERATOR_SOCKET", "ECOVISOR_OPERATOR_ADDRESS", "XDG_RUNTIME_DIR", "ECOVISOR_SOCKET"]
    {
        command.env_remove(variable);
    }
    command.env("TZ", "UTC").args(arguments).kill_on_drop(true).output().await.unwrap()
}

/// The service.
struct Fake {
    asked: Arc<Mutex<Vec<String>>>,
    export: Vec<wire::ExportLedgerReply>,
}

impl Fake {
    fn note(&self, asked: &impl std::fmt::Debug) {
        self.asked.lock().unwrap().push(format!("{asked:?}"));
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = Iter<std::vec::IntoIter<Result<T, Status>>>;

fn stream<T>(items: Vec<T>) -> Response<Stream<T>> {
    Response::new(iter(items.into_iter().map(Ok).collect::<Vec<_>>()))
}

/// A refusal as the daemon makes it.
fn refusal(code: Code, reason: &str, message: &str, metadata: &[(&str, &str)]) -> Status {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string()));
    let details = ErrorDetails::with_error_info(
        reason,
        "ecovisor",
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    Status::with_error_details(code, message, details)
}

fn known(app: &str) -> Result<(), Status> {
    match app {
        "web" | "house" => Ok(()),
        "secret" => Err(refusal(Code::PermissionDenied, "REASON_NOT_ALLOWED", "uid 7 is no operator", &[])),
        _ => Err(refusal(Code::NotFound, "REASON_UNKNOWN_APP", &format!("no app is named {app}"), &[])),
    }
}

#[tonic::async_trait]
impl OperatorService for Fake {
    type WatchAllEventsStream = Stream<wire::WatchAllEventsReply>;
    type WatchSiteStream = Stream<wire::SiteTick>;
    type QueryLedgerStream = Stream<wire::LedgerRow>;
    type ExportLedgerStream = Stream<wire::ExportLedgerReply>;
    type BackupStoreStream = Stream<wire::BackupStoreReply>;
    type ReadHistoryStream = Stream<wire::ReadHistoryReply>;

    async fn create_app(&self, request: Request<wire::CreateAppRequest>) -> Answer<wire::AppChangeReply> {
        let request = request.into_inner();
        self.note(&request);
        let share = request.spec.and_then(|spec| spec.share).unwrap_or_default();
        if share.battery_capacity_uj > site::wh(900) {
            let figures = [("limit", "3240000000000"), ("acceptable", "3240000000000"), ("unit", "uj")];
            let message = "battery capacity is beyond what is free, 900 Wh";
            return Err(refusal(Code::FailedPrecondition, "REASON_EXCEEDS_FREE", message, &figures));
        }
        Ok(Response::new(site::change(request.dry_run)))
    }

    async fn create_group(
        &self,
        request: Request<wire::CreateGroupRequest>,
    ) -> Answer<wire::GroupChangeReply> {
        self.note(request.get_ref());
        Ok(Response::new(site::group_change(request.get_ref().dry_run)))
    }

    async fn list_groups(&self, _: Request<wire::ListGroupsRequest>) -> Answer<wire::ListGroupsReply> {
        Ok(Response::new(wire::ListGroupsReply { groups: site::groups() }))
    }

    async fn change_group_share(
        &self,
        request: Request<wire::ChangeGroupShareRequest>,
    ) -> Answer<wire::GroupChangeReply> {
        self.note(request.get_ref());
        Ok(Response::new(site::group_change(request.get_ref().dry_run)))
    }

    async fn delete_group(
        &self,
        request: Request<wire::DeleteGroupRequest>,
    ) -> Answer<wire::GroupChangeReply> {
        self.note(request.get_ref());
        Err(refusal(Code::FailedPrecondition, "REASON_HAS_CHILDREN", "2 shares lie below it", &[]))
    }

    async fn move_share(&self, request: Request<wire::MoveShareRequest>) -> Answer<wire::MoveShareReply> {
        self.note(request.get_ref());
        let dry_run = request.get_ref().dry_run;
        let free = site::group_change(dry_run).free;
        Ok(Response::new(wire::MoveShareReply { holds_from_tick: (!dry_run).then_some(43), free }))
    }

    async fn show_app(&self, request: Request<wire::ShowAppRequest>) -> Answer<wire::App> {
        known(&request.get_ref().app)?;
        Ok(Response::new(site::web()))
    }

    async fn list_apps(&self, _: Request<wire::ListAppsRequest>) -> Answer<wire::ListAppsReply> {
        Ok(Response::new(wire::ListAppsReply { apps: vec![site::web(), site::child(), site::house()] }))
    }

    async fn change_share(&self, request: Request<wire::ChangeShareRequest>) -> Answer<wire::AppChangeReply> {
        self.note(request.get_ref());
        Ok(Response::new(site::change(request.get_ref().dry_run)))
    }

    async fn drain_app(&self, request: Request<wire::DrainAppRequest>) -> Answer<wire::AppChangeReply> {
        self.note(request.get_ref());
        Ok(Response::new(site::change(request.get_ref().dry_run)))
    }

    async fn delete_app(&self, request: Request<wire::DeleteAppRequest>) -> Answer<wire::AppChangeReply> {
        self.note(request.get_ref());
        Err(refusal(Code::FailedPrecondition, "REASON_NOT_DRAINED", "web is active: drain it first", &[]))
    }

    async fn apply_setter(&self, request: Request<wire::ApplySetterRequest>) -> Answer<wire::SettingReply> {
        known(&request.get_ref().app)?;
        self.note(request.get_ref());
        Ok(Response::new(wire::SettingReply { holds_from_tick: 43, lease_ends_ms: None }))
    }

    async fn list_app_containers(
        &self,
        request: Request<wire::ListAppContainersRequest>,
    ) -> Answer<wire::ListContainersReply> {
        known(&request.get_ref().app)?;
        Ok(Response::new(wire::ListContainersReply { containers: vec![site::container()] }))
    }

    async fn attach_app_container(
        &self,
        request: Request<wire::AttachAppContainerRequest>,
    ) -> Answer<wire::AttachContainerReply> {
        self.note(request.get_ref());
        let container = Some(site::container());
        Ok(Response::new(wire::AttachContainerReply { container, holds_from_tick: 43 }))
    }

    async fn detach_app_container(
        &self,
        request: Request<wire::DetachAppContainerRequest>,
    ) -> Answer<wire::DetachContainerReply> {
        self.note(request.get_ref());
        Ok(Response::new(wire::DetachContainerReply { holds_from_tick: 44 }))
    }

    async fn query_app_usage(
        &self,
        request: Request<wire::QueryAppUsageRequest>,
    ) -> Answer<wire::QueryUsageReply> {
        self.note(request.get_ref());
        Ok(Response::new(wire::QueryUsageReply {
            buckets: site::buckets(),
            ..wire::QueryUsageReply::default()
        }))
    }

    async fn watch_all_events(
        &self,
        _: Request<wire::WatchAllEventsRequest>,
    ) -> Answer<Self::WatchAllEventsStream> {
        Ok(stream(site::events()))
    }

    async fn get_site(&self, _: Request<wire::GetSiteRequest>) -> Answer<wire::Site> {
        Ok(Response::new(site::site()))
    }

    async fn watch_site(&self, _: Request<wire::WatchSiteRequest>) -> Answer<Self::WatchSiteStream> {
        Ok(stream(vec![site::tick(42), site::tick(43)]))
    }

    async fn list_devices(&self, _: Request<wire::ListDevicesRequest>) -> Answer<wire::ListDevicesReply> {
        Ok(Response::new(wire::ListDevicesReply { devices: site::devices() }))
    }

    async fn query_ledger(&self, _: Request<wire::QueryLedgerRequest>) -> Answer<Self::QueryLedgerStream> {
        Err(Status::unimplemented("nobody asks for it"))
    }

    async fn export_ledger(&self, _: Request<wire::ExportLedgerRequest>) -> Answer<Self::ExportLedgerStream> {
        Ok(stream(self.export.clone()))
    }

    async fn verify_ledger(&self, _: Request<wire::VerifyLedgerRequest>) -> Answer<wire::VerifyLedgerReply> {
        Err(Status::unimplemented("nobody would believe it"))
    }

    async fn backup_store(
        &self,
        request: Request<wire::BackupStoreRequest>,
    ) -> Answer<Self::BackupStoreStream> {
        self.note(request.get_ref());
        let end = Some(wire::BackupEnd { entries: 9, head: vec![0xab; 32] });
        let halfway = wire::BackupStoreReply { values: 6, bytes: 1_000_000, end: None };
        Ok(stream(vec![halfway, wire::BackupStoreReply { values: 12, bytes: 2_000_000, end }]))
    }

    async fn read_history(&self, _: Request<wire::ReadHistoryRequest>) -> Answer<Self::ReadHistoryStream> {
        Ok(stream(Vec::new()))
    }

    async fn confirm_archive(
        &self,
        request: Request<wire::ConfirmArchiveRequest>,
    ) -> Answer<wire::ConfirmArchiveReply> {
        self.note(request.get_ref());
        Ok(Response::new(wire::ConfirmArchiveReply::default()))
    }

    async fn get_policies(&self, _: Request<wire::GetPoliciesRequest>) -> Answer<wire::Policies> {
        Ok(Response::new(wire::Policies { redistribute: true, export: false, shortfall: 1 }))
    }

    async fn set_policies(
        &self,
        request: Request<wire::SetPoliciesRequest>,
    ) -> Answer<wire::SetPoliciesReply> {
        self.note(request.get_ref());
        let policies = Some(wire::Policies { redistribute: true, export: true, shortfall: 1 });
        Ok(Response::new(wire::SetPoliciesReply { holds_from_tick: 43, policies }))
    }

    async fn get_config(&self, _: Request<wire::GetConfigRequest>) -> Answer<wire::GetConfigReply> {
        let toml = "[site]\nname = \"roof\"\n".into();
        Ok(Response::new(wire::GetConfigReply {
            toml,
            path: "/etc/ecovisor.toml".into(),
            loaded_ms: site::START_MS,
        }))
    }

    async fn list_app_reservations(
        &self,
        request: Request<wire::ListAppReservationsRequest>,
    ) -> Answer<wire::ListReservationsReply> {
        self.note(request.get_ref());
        Ok(Response::new(site::reservations()))
    }

    async fn cancel_app_reservation(
        &self,
        request: Request<wire::CancelReservationRequest>,
    ) -> Answer<wire::CancelReservationReply> {
        self.note(request.get_ref());
        Ok(Response::new(wire::CancelReservationReply { holds_from_tick: 43 }))
    }

    async fn get_site_forecast(
        &self,
        request: Request<wire::GetSiteForecastRequest>,
    ) -> Answer<wire::GetForecastReply> {
        self.note(request.get_ref());
        Ok(Response::new(site::forecast()))
    }

    async fn reload_config(
        &self,
        request: Request<wire::ReloadConfigRequest>,
    ) -> Answer<wire::ReloadConfigReply> {
        let holds_from_tick = (!request.get_ref().dry_run).then_some(43);
        let changed = vec!["policies.export".into()];
        Ok(Response::new(wire::ReloadConfigReply {
            holds_from_tick,
            changed,
            needs_restart: vec!["tick".into()],
        }))
    }
}
