//! What can go wrong, by what the caller would do about it; read from the gRPC code and `google.rpc.ErrorInfo`.

use ecovisor_proto::v1;
use ecovisor_units::{CarbonIntensity, CarbonMass, CarbonRate, Energy, Millis, Power};
use std::collections::HashMap;
use std::fmt;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why the daemon said no: the enum of the wire, since its names are what refusals mean.
pub use ecovisor_proto::v1::Reason;

/// Domain of the daemon's `ErrorInfo`; other domains' reasons are not ours to read.
const DOMAIN: &str = "ecovisor";

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answers, or the connection broke: try again later. A [`Session`](crate::Session) does so by itself.
    #[error("no ecovisor answers: {cause}")]
    Unreachable {
        /// What the transport said.
        cause: String,
    },
    /// The daemon answers but not now (starting, stopping, overloaded): try again.
    #[error("the ecovisor is busy: {message}")]
    Busy {
        /// What the daemon said.
        message: String,
    },
    /// The rules say no: ask for what the refusal calls acceptable, or for something else.
    #[error("{0}")]
    Refused(Refusal),
    /// This connection may not do that: a matter for the operator.
    #[error("not allowed: {message}")]
    NotAllowed {
        /// Why: not the caller's, or no app at all.
        reason: Reason,
        /// What the daemon said.
        message: String,
    },
    /// The request itself is wrong: a bug in the caller.
    #[error("invalid: {message}")]
    Invalid {
        /// The field that is wrong, where the daemon named it.
        field: Option<String>,
        /// What the daemon, or the SDK before sending, said.
        message: String,
    },
    /// What was named does not exist.
    #[error("{message}")]
    NotFound {
        /// What kind of thing: container, app, target.
        reason: Reason,
        /// What the daemon said.
        message: String,
    },
    /// The site has nothing that could do this.
    #[error("not supported: {message}")]
    NotSupported {
        /// What the daemon said.
        message: String,
    },
    /// The reply is none this SDK understands: the daemon is of another version.
    #[error("unreadable reply: {what}")]
    Unreadable {
        /// What is missing or malformed.
        what: String,
    },
    /// The daemon failed in a way that has no name: tell its operator.
    #[error("{code}: {message}")]
    Failed {
        /// The gRPC code, by name.
        code: String,
        /// What the daemon said.
        message: String,
    },
}

/// A refusal by the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule.
    pub reason: Reason,
    /// The bound that was met, where there is a figure to it.
    pub limit: Option<Figure>,
    /// The figure that would have been accepted, where one would.
    pub acceptable: Option<Figure>,
    /// The same in one clause, for people.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.message)?;
        match self.acceptable {
            Some(figure) => write!(f, " (acceptable: {figure})"),
            None => Ok(()),
        }
    }
}

/// A figure with its unit, as refusals carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// A power.
    Power(Power),
    /// An energy.
    Energy(Energy),
    /// A time.
    Time(Millis),
    /// A mass of CO2e.
    CarbonMass(CarbonMass),
    /// A carbon rate.
    CarbonRate(CarbonRate),
    /// A carbon intensity.
    CarbonIntensity(CarbonIntensity),
    /// Parts per million, or a count of things.
    Count(u64),
}

impl Figure {
    fn read(figure: &str, unit: Option<&str>) -> Option<Self> {
        let figure = figure.parse().ok()?;
        Some(match unit {
            Some("mw") => Self::Power(Power::new(figure)),
            Some("uj") => Self::Energy(Energy::new(figure)),
            Some("ms") => Self::Time(Millis::new(figure)),
            Some("mg") => Self::CarbonMass(CarbonMass::new(figure)),
            Some("mg_per_h") => Self::CarbonRate(CarbonRate::new(figure)),
            Some("mg_per_kwh") => Self::CarbonIntensity(CarbonIntensity::new(figure)),
            _ => Self::Count(figure),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(figure) => figure.fmt(f),
            Self::Energy(figure) => figure.fmt(f),
            Self::Time(figure) => figure.fmt(f),
            Self::CarbonMass(figure) => figure.fmt(f),
            Self::CarbonRate(figure) => figure.fmt(f),
            Self::CarbonIntensity(figure) => figure.fmt(f),
            Self::Count(figure) => figure.fmt(f),
        }
    }
}

impl Error {
    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } => true,
            Self::Refused(_)
            | Self::NotAllowed { .. }
            | Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::NotSupported { .. }
            | Self::Unreadable { .. }
            | Self::Failed { .. } => false,
        }
    }

    pub(crate) fn unreadable(what: impl Into<String>) -> Self {
        Self::Unreadable { what: what.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { field: None, message: message.into() }
    }
}

/// Reason and metadata of the daemon's `ErrorInfo`; nothing where there is none, or it is another domain's.
fn error_info(status: &Status) -> (Reason, HashMap<String, String>) {
    match status.get_details_error_info() {
        Some(info) if info.domain == DOMAIN => {
            (Reason::from_str_name(&info.reason).unwrap_or(Reason::Unspecified), info.metadata)
        }
        _ => (Reason::Unspecified, HashMap::new()),
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let (reason, metadata) = error_info(&status);
        let message = status.message().to_string();
        let figure = |key: &str| Figure::read(metadata.get(key)?, metadata.get("unit").map(String::as_str));
        match status.code() {
            Code::Unavailable if reason == Reason::Busy => Self::Busy { message },
            // A transport that breaks says UNKNOWN or INTERNAL and has a source; a daemon's own status has none.
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                Self::Unreachable { cause: message }
            }
            Code::Unknown | Code::Internal if std::error::Error::source(&status).is_some() => {
                Self::Unreachable { cause: message }
            }
            Code::PermissionDenied | Code::Unauthenticated => Self::NotAllowed { reason, message },
            Code::NotFound => Self::NotFound { reason, message },
            Code::Unimplemented => Self::NotSupported { message },
            Code::InvalidArgument if matches!(reason, Reason::Invalid | Reason::Unspecified) => {
                Self::Invalid { field: metadata.get("field").cloned(), message }
            }
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Aborted => Self::Refused(Refusal {
                reason,
                limit: figure("limit"),
                acceptable: figure("acceptable"),
                message,
            }),
            code @ (Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss) => {
                Self::Failed { code: format!("{code:?}"), message }
            }
        }
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Self::Unreachable { cause }
    }
}

/// What the wire says is always there.
pub(crate) fn present<T>(part: Option<T>, what: &'static str) -> Result<T, Error> {
    part.ok_or_else(|| Error::unreadable(format!("{what} is missing")))
}

/// A refusal told in a tick of the lock step instead of in a status.
pub(crate) fn refused_setter(refusal: v1::SetterRefusal, unit: &str) -> Refusal {
    let v1::SetterRefusal { index: _, reason, message, limit, acceptable } = refusal;
    let figure = |figure: u64| Figure::read(&figure.to_string(), Some(unit));
    Refusal {
        reason: Reason::try_from(reason).unwrap_or(Reason::Unspecified),
        limit: limit.and_then(figure),
        acceptable: acceptable.and_then(figure),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    fn status(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect();
        Status::with_error_details(code, "no", ErrorDetails::with_error_info(reason, DOMAIN, metadata))
    }

    #[test]
    fn a_refusal_carries_its_figures_with_their_unit() {
        let metadata = [("limit", "40000"), ("acceptable", "39000"), ("unit", "mw")];
        let error = Error::from(status(Code::FailedPrecondition, "REASON_EXCEEDS_SHARE", &metadata));
        let Error::Refused(refusal) = &error else { panic!("{error:?}") };
        assert_eq!(refusal.reason, Reason::ExceedsShare);
        assert_eq!(refusal.limit, Some(Figure::Power(Power::from_watts(40))));
        assert_eq!(error.to_string(), "refused: no (acceptable: 39 W)");
    }

    #[test]
    fn codes_become_what_a_caller_can_act_on() {
        let from = |code, reason| Error::from(status(code, reason, &[("field", "rate_mw")]));
        assert!(matches!(from(Code::Unavailable, "REASON_BUSY"), Error::Busy { .. }));
        assert!(matches!(from(Code::Unavailable, ""), Error::Unreachable { .. }));
        assert!(matches!(from(Code::PermissionDenied, "REASON_NOT_OWNED"), Error::NotAllowed { .. }));
        assert!(matches!(
            from(Code::InvalidArgument, "REASON_INVALID"),
            Error::Invalid { field: Some(_), .. }
        ));
        assert!(matches!(from(Code::InvalidArgument, "REASON_LEASE_OUT_OF_RANGE"), Error::Refused(_)));
        assert!(matches!(from(Code::NotFound, "REASON_UNKNOWN_CONTAINER"), Error::NotFound { .. }));
        assert!(matches!(from(Code::Internal, ""), Error::Failed { .. }));
    }

    #[test]
    fn a_reason_this_sdk_does_not_know_is_no_reason() {
        let error = Error::from(status(Code::FailedPrecondition, "REASON_OF_TOMORROW", &[]));
        assert!(matches!(error, Error::Refused(Refusal { reason: Reason::Unspecified, .. })));
    }
}
