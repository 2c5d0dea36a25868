//! The services over real sockets and real certificates, in one process, with real books behind them.

mod access;
mod apps;
mod bounds;
mod floats;
mod hostile;
mod operator;
mod papers;
mod reserve;
mod streams;
mod who;

use super::bench::*;
use crate::clock::ClockKind;
use crate::forecast::{ForecastSource, Look, Quantity, Told};
use ecovisor_forecast::{LeadError, Quantiles};
use ecovisor_proto::v1;
use ecovisor_proto::v1::energy_service_client::EnergyServiceClient;
use ecovisor_proto::v1::operator_service_client::OperatorServiceClient;
use ecovisor_proto::v1::setter::Set;
use ecovisor_units::Power;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

/// Code and reason of a refusal.
fn refusal(status: &Status) -> (Code, String) {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!(refusal(&status), (code, reason.to_owned()), "{status}");
    status
}

fn rate(rate_mw: u64) -> v1::SetBatteryChargeRateRequest {
    v1::SetBatteryChargeRateRequest { rate_mw: Some(rate_mw), lease_ms: None }
}

fn this_process(name: &str) -> v1::AttachContainerRequest {
    let target = v1::container_target::Target::Pid(std::process::id());
    v1::AttachContainerRequest {
        name: name.into(),
        target: Some(v1::ContainerTarget { target: Some(target) }),
    }
}
