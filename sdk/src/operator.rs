//! The client of OperatorService, for tools that run a site. It speaks in the messages of the wire, re-exported as
//! [`wire`]: a tool shows them field by field, and their comments say unit, zero and absence.

use crate::{Address, Error};
use ecovisor_proto::v1::operator_service_client::OperatorServiceClient;
use tonic::Streaming;
use tonic::transport::Channel;

/// The messages of the wire.
pub use ecovisor_proto::v1 as wire;

/// Largest message taken: a tick of a site with ten thousand apps of one container each is 10 MB.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The operator's view of a site. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Operator {
    service: OperatorServiceClient<Channel>,
}

/// Messages of a stream, which ends with the daemon or with what was asked for.
#[derive(Debug)]
pub struct Messages<T>(Streaming<T>);

impl<T> Messages<T> {
    /// Waits for the next one; `None` at the end.
    ///
    /// # Errors
    /// Why the stream broke; open it again where [`Error::is_passing`].
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        Ok(self.0.message().await?)
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $reply:ident;)*) => {
        impl Operator {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// A refusal with its reason, or why the daemon could not be asked.
                pub async fn $name(&self, request: wire::$request) -> Result<wire::$reply, Error> {
                    Ok(self.service.clone().$name(request).await?.into_inner())
                }
            )*
        }
    };
}

macro_rules! streams {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $reply:ident;)*) => {
        impl Operator {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Why the stream could not be opened.
                pub async fn $name(&self, request: wire::$request) -> Result<Messages<wire::$reply>, Error> {
                    Ok(Messages(self.service.clone().$name(request).await?.into_inner()))
                }
            )*
        }
    };
}

impl Operator {
    /// Connects to where the environment says the daemon is, see [`Address::from_env`].
    ///
    /// # Errors
    /// [`Error::Unreachable`] where nobody answers there, [`Error::Invalid`] where the environment contradicts itself.
    pub async fn connect() -> Result<Self, Error> {
        Self::connect_to(&Address::from_env()?).await
    }

    /// Connects to a daemon.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where nobody answers there, [`Error::Invalid`] where a PEM file cannot be read.
    pub async fn connect_to(address: &Address) -> Result<Self, Error> {
        Ok(Self::over(address.channel().await?))
    }

    /// Speaks over a channel that was made elsewhere.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self { service: OperatorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX) }
    }
}

calls! {
    /// Admits an app, or with a dry run says what would be left.
    create_app(CreateAppRequest) -> AppChangeReply;
    /// One app with its energy system.
    show_app(ShowAppRequest) -> App;
    /// All apps in the order of creation, `house` last.
    list_apps(ListAppsRequest) -> ListAppsReply;
    /// Gives an app another share, or with a dry run says what would be left.
    change_share(ChangeShareRequest) -> AppChangeReply;
    /// Takes no new settings and containers from an app and settles its debts.
    drain_app(DrainAppRequest) -> AppChangeReply;
    /// Deletes a drained app; its claim, debts and loans pass to the house.
    delete_app(DeleteAppRequest) -> AppChangeReply;
    /// Makes one setting of an app, as the app could.
    apply_setter(ApplySetterRequest) -> SettingReply;
    /// An app's containers.
    list_app_containers(ListAppContainersRequest) -> ListContainersReply;
    /// Makes anything at the site an app's container.
    attach_app_container(AttachAppContainerRequest) -> AttachContainerReply;
    /// Ends an app's container.
    detach_app_container(DetachAppContainerRequest) -> DetachContainerReply;
    /// An app's energy and carbon over a period.
    query_app_usage(QueryAppUsageRequest) -> QueryUsageReply;
    /// The site as it stands.
    get_site(GetSiteRequest) -> Site;
    /// All devices.
    list_devices(ListDevicesRequest) -> ListDevicesReply;
    /// The daemon replays its own ledger.
    verify_ledger(VerifyLedgerRequest) -> VerifyLedgerReply;
    /// Notes that raw days were taken into an archive.
    confirm_archive(ConfirmArchiveRequest) -> ConfirmArchiveReply;
    /// Policies in force.
    get_policies(GetPoliciesRequest) -> Policies;
    /// Changes policies until the next change or reload.
    set_policies(SetPoliciesRequest) -> SetPoliciesReply;
    /// The configuration as loaded.
    get_config(GetConfigRequest) -> GetConfigReply;
    /// Reads the configuration file again, or with a dry run says what would change.
    reload_config(ReloadConfigRequest) -> ReloadConfigReply;
    /// A forecast for the whole site, or for one app's part.
    get_site_forecast(GetSiteForecastRequest) -> GetForecastReply;
    /// The reservations of all apps, or of one.
    list_app_reservations(ListAppReservationsRequest) -> ListReservationsReply;
    /// Ends an app's reservation before its time.
    cancel_app_reservation(CancelReservationRequest) -> CancelReservationReply;
    /// Makes a group, or with a dry run says what would be left.
    create_group(CreateGroupRequest) -> GroupChangeReply;
    /// All groups in the order of creation, each with what its apps use.
    list_groups(ListGroupsRequest) -> ListGroupsReply;
    /// Gives a group another share, or with a dry run says what would be left.
    change_group_share(ChangeGroupShareRequest) -> GroupChangeReply;
    /// Deletes a group that nothing lies below.
    delete_group(DeleteGroupRequest) -> GroupChangeReply;
    /// Moves an app or a group, with all below it, to another group or to the site.
    move_share(MoveShareRequest) -> MoveShareReply;
}

streams! {
    /// What happens to all apps and to the site, from now on.
    watch_all_events(WatchAllEventsRequest) -> WatchAllEventsReply;
    /// One message per settled tick with the flows of the site and of all apps.
    watch_site(WatchSiteRequest) -> SiteTick;
    /// Rows of the ledger, oldest first.
    query_ledger(QueryLedgerRequest) -> LedgerRow;
    /// Rows together with the snapshot and journal that they follow from.
    export_ledger(ExportLedgerRequest) -> ExportLedgerReply;
    /// Copies the store into a new directory of the daemon's machine; its last message is the end.
    backup_store(BackupStoreRequest) -> BackupStoreReply;
    /// The past as it is kept: seals, and where asked for the rollups and raw readings that they vouch for.
    read_history(ReadHistoryRequest) -> ReadHistoryReply;
}
