//! The operator's client: a call, a stream, and a refusal. The other methods are made by the same two macros.
#![cfg(feature = "operator")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod site;

use ecovisor_proto::v1::operator_service_server::{OperatorService, OperatorServiceServer};
use ecovisor_sdk::operator::{Operator, wire};
use ecovisor_sdk::{Address, Energy, Error, Figure, Reason};
use std::pin::Pin;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct Desk;

macro_rules! desk {
    (streams { $($stream:ident: $told:ident,)* } calls { $($call:ident($asked:ident) -> $reply:ty;)* } $($rest:tt)*) => {
        #[tonic::async_trait]
        impl OperatorService for Desk {
            $(type $stream = Told<wire::$told>;)*
            $(async fn $call(&self, _: Request<wire::$asked>) -> Result<Response<$reply>, Status> {
                Err(Status::unimplemented("not at this desk"))
            })*
            $($rest)*
        }
    };
}

desk! {
    streams {
        WatchAllEventsStream: WatchAllEventsReply,
        WatchSiteStream: SiteTick,
        QueryLedgerStream: LedgerRow,
        ExportLedgerStream: ExportLedgerReply,
        BackupStoreStream: BackupStoreReply,
        ReadHistoryStream: ReadHistoryReply,
    }
    calls {
        show_app(ShowAppRequest) -> wire::App;
        list_apps(ListAppsRequest) -> wire::ListAppsReply;
        change_share(ChangeShareRequest) -> wire::AppChangeReply;
        drain_app(DrainAppRequest) -> wire::AppChangeReply;
        delete_app(DeleteAppRequest) -> wire::AppChangeReply;
        apply_setter(ApplySetterRequest) -> wire::SettingReply;
        list_app_containers(ListAppContainersRequest) -> wire::ListContainersReply;
        attach_app_container(AttachAppContainerRequest) -> wire::AttachContainerReply;
        detach_app_container(DetachAppContainerRequest) -> wire::DetachContainerReply;
        query_app_usage(QueryAppUsageRequest) -> wire::QueryUsageReply;
        list_devices(ListDevicesRequest) -> wire::ListDevicesReply;
        verify_ledger(VerifyLedgerRequest) -> wire::VerifyLedgerReply;
        get_policies(GetPoliciesRequest) -> wire::Policies;
        set_policies(SetPoliciesRequest) -> wire::SetPoliciesReply;
        get_config(GetConfigRequest) -> wire::GetConfigReply;
        reload_config(ReloadConfigRequest) -> wire::ReloadConfigReply;
        get_site_forecast(GetSiteForecastRequest) -> wire::GetForecastReply;
        list_app_reservations(ListAppReservationsRequest) -> wire::ListReservationsReply;
        cancel_app_reservation(CancelReservationRequest) -> wire::CancelReservationReply;
        create_group(CreateGroupRequest) -> wire::GroupChangeReply;
        list_groups(ListGroupsRequest) -> wire::ListGroupsReply;
        change_group_share(ChangeGroupShareRequest) -> wire::GroupChangeReply;
        delete_group(DeleteGroupRequest) -> wire::GroupChangeReply;
        move_share(MoveShareRequest) -> wire::MoveShareReply;
        watch_all_events(WatchAllEventsRequest) -> Self::WatchAllEventsStream;
        query_ledger(QueryLedgerRequest) -> Self::QueryLedgerStream;
        export_ledger(ExportLedgerRequest) -> Self::ExportLedgerStream;
        backup_store(BackupStoreRequest) -> Self::BackupStoreStream;
        read_history(ReadHistoryRequest) -> Self::ReadHistoryStream;
        confirm_archive(ConfirmArchiveRequest) -> wire::ConfirmArchiveReply;
    }

    async fn get_site(&self, _: Request<wire::GetSiteRequest>) -> Result<Response<wire::Site>, Status> {
        Ok(Response::new(wire::Site { name: String::from("roof"), ..wire::Site::default() }))
    }

    async fn watch_site(&self, _: Request<wire::WatchSiteRequest>) -> Result<Response<Self::WatchSiteStream>, Status> {
        let ticks = [1, 2].map(|tick| Ok(wire::SiteTick { tick, ..wire::SiteTick::default() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(ticks))))
    }

    async fn create_app(&self, _: Request<wire::CreateAppRequest>) -> Result<Response<wire::AppChangeReply>, Status> {
        let metadata = [("acceptable", "3600000000"), ("unit", "uj")];
        Err(site::refusal(Code::FailedPrecondition, Reason::ExceedsFree, &metadata))
    }
}

#[tokio::test]
async fn the_operator_asks_watches_and_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("eco.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    tokio::spawn(
        Server::builder().add_service(OperatorServiceServer::new(Desk)).serve_with_incoming(incoming),
    );
    let operator = Operator::connect_to(&Address::socket(socket)).await.unwrap();

    assert_eq!(operator.get_site(wire::GetSiteRequest {}).await.unwrap().name, "roof");
    let mut ticks = operator.watch_site(wire::WatchSiteRequest {}).await.unwrap();
    assert_eq!(ticks.next().await.unwrap().unwrap().tick, 1);
    assert_eq!(ticks.next().await.unwrap().unwrap().tick, 2);
    assert_eq!(ticks.next().await.unwrap(), None);
    let Error::Refused(refusal) = operator.create_app(wire::CreateAppRequest::default()).await.unwrap_err()
    else {
        panic!("the desk refuses every app")
    };
    assert_eq!(refusal.acceptable, Some(Figure::Energy(Energy::from_watt_hours(1))));
    assert!(matches!(operator.list_apps(wire::ListAppsRequest {}).await, Err(Error::NotSupported { .. })));
}
