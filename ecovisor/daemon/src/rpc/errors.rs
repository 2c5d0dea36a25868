//! Why a call is refused, as clients see it: the one place where a `tonic::Status` is made. Each reason has one
//! canonical code (errors.proto says which), and the figures behind it travel as `google.rpc.ErrorInfo`.

use crate::engine::handle::{AskError, QUESTIONS_MAX};
use ecovisor_core::Refusal;
use ecovisor_core::tree::LEVELS_MAX;
use ecovisor_proto::v1::Reason;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every error of ours (errors.proto).
pub const DOMAIN: &str = "ecovisor";

/// Longest message, in bytes. What a caller sent may stand in one, and it travels in the headers, percent-encoded and once
/// more in the details: clients take 16 KiB of those by default.
const MESSAGE_BYTES_MAX: usize = 600;

/// What a figure in an error is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliwatts.
    Milliwatts,
    /// Microjoules.
    Microjoules,
    /// Milliseconds.
    Millis,
    /// Parts per million.
    Ppm,
    /// Pieces.
    Count,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Milliwatts => "mw",
            Self::Microjoules => "uj",
            Self::Millis => "ms",
            Self::Ppm => "ppm",
            Self::Count => "count",
        }
    }
}

/// Why a call is refused, before it becomes a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As errors.proto names it.
    pub reason: Reason,
    /// One clause, for people.
    pub message: String,
    /// The field that it is about; only for [`Reason::Invalid`] and its kin.
    pub field: Option<&'static str>,
    /// The bound that was met.
    pub limit: Option<u64>,
    /// The figure that would have been accepted.
    pub acceptable: Option<u64>,
    /// What these two are counted in.
    pub unit: Option<Unit>,
    /// When to come again, where that helps: travels as `google.rpc.RetryInfo`.
    pub retry: Option<Duration>,
}

impl Problem {
    /// A refusal without figures.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = shortened(message.into());
        Self { reason, message, field: None, limit: None, acceptable: None, unit: None, retry: None }
    }

    /// A field whose value is not accepted, and what would be.
    pub fn invalid(field: &'static str, value: impl fmt::Display, accepted: &str) -> Self {
        let message = format!("{field} cannot be {value}: {accepted}");
        Self { field: Some(field), ..Self::new(Reason::Invalid, message) }
    }

    /// A field that must be there.
    pub fn missing(field: &'static str, accepted: &str) -> Self {
        let message = format!("{field} is missing: {accepted}");
        Self { field: Some(field), ..Self::new(Reason::Invalid, message) }
    }

    /// The connection is nobody who may do this.
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(Reason::NotAllowed, message)
    }

    /// The site has nothing that could do this.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::new(Reason::NotSupported, message)
    }

    /// No app has that name.
    pub fn unknown_app(name: &str) -> Self {
        Self { field: Some("app"), ..Self::new(Reason::UnknownApp, format!("there is no app {name:?}")) }
    }

    /// No group has that name.
    pub fn unknown_group(field: &'static str, name: &str) -> Self {
        Self { field: Some(field), ..Self::new(Reason::UnknownGroup, format!("there is no group {name:?}")) }
    }

    /// No container of the app has that name.
    pub fn unknown_container(name: &str) -> Self {
        let message = format!("there is no container {name:?}");
        Self { field: Some("container"), ..Self::new(Reason::UnknownContainer, message) }
    }

    /// The daemon ends.
    pub fn stopping() -> Self {
        Self::new(Reason::Busy, "the ecovisor is stopping")
    }

    /// The ledger cannot be read: nothing that the caller could change. The cause goes to the log, not over the wire.
    pub fn unreadable(cause: &anyhow::Error) -> Self {
        tracing::error!(cause = format!("{cause:#}"), "the ledger cannot be read");
        Self::new(Reason::Busy, "the ledger cannot be read at the moment")
    }

    /// With the bound that was met and the figure that would be accepted.
    #[must_use]
    pub fn bounded(self, limit: u64, acceptable: Option<u64>, unit: Unit) -> Self {
        Self { limit: Some(limit), acceptable, unit: Some(unit), ..self }
    }

    /// With when to come again.
    #[must_use]
    pub fn again_in(self, wait: Duration) -> Self {
        Self { retry: Some(wait), ..self }
    }

    /// With the field it is about.
    #[must_use]
    pub fn about(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// The same where the name that is taken is a container's: the core says only that a name is taken.
    #[must_use]
    pub fn of_container(self) -> Self {
        match self.reason {
            Reason::AppTaken => Self { reason: Reason::ContainerTaken, ..self },
            _ => self,
        }
    }

    /// The same where the name that is taken is a group's.
    #[must_use]
    pub fn of_group(self) -> Self {
        match self.reason {
            Reason::AppTaken => Self { reason: Reason::GroupTaken, ..self },
            _ => self,
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        let figure = |name: &str, figure: Option<u64>| figure.map(|f| (name.to_owned(), f.to_string()));
        let text = |name: &str, text: Option<&str>| text.map(|t| (name.to_owned(), t.to_owned()));
        let entries = [
            figure("limit", self.limit),
            figure("acceptable", self.acceptable),
            text("unit", self.unit.map(Unit::name)),
            text("field", self.field),
        ];
        entries.into_iter().flatten().collect()
    }
}

/// A message that fits, with word of what is missing.
fn shortened(message: String) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    let kept = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    format!("{}... ({} bytes more)", &message[..kept], message.len() - kept)
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let reason = problem.reason.as_str_name();
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, problem.metadata());
        if problem.retry.is_some() {
            details.set_retry_info(problem.retry);
        }
        Self::with_error_details(code(problem.reason), problem.message, details)
    }
}

/// The canonical code of each reason, as errors.proto promises.
const fn code(reason: Reason) -> Code {
    match reason {
        Reason::Unspecified => Code::Unknown,
        Reason::Invalid | Reason::LeaseOutOfRange | Reason::PeriodOutOfRange => Code::InvalidArgument,
        Reason::ExceedsShare
        | Reason::ExceedsFree
        | Reason::NoBattery
        | Reason::NoGrid
        | Reason::Draining
        | Reason::NotDrained
        | Reason::NotSimulated
        | Reason::NoForecast
        | Reason::SafeMode
        | Reason::HasChildren
        | Reason::BelowHeld => Code::FailedPrecondition,
        Reason::UnknownReservation
        | Reason::UnknownContainer
        | Reason::NoSuchTarget
        | Reason::UnknownApp
        | Reason::UnknownGroup => Code::NotFound,
        Reason::ContainerTaken | Reason::AppTaken | Reason::GroupTaken => Code::AlreadyExists,
        Reason::NotOwned | Reason::NotAllowed => Code::PermissionDenied,
        Reason::TooMany => Code::ResourceExhausted,
        Reason::NotSupported => Code::Unimplemented,
        Reason::LedgerPruned => Code::OutOfRange,
        Reason::Busy => Code::Unavailable,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        use Unit::{Count, Microjoules, Millis, Milliwatts};
        let of = |reason| Self::new(reason, refusal.to_string());
        let free = |free: u64, unit| of(Reason::ExceedsFree).bounded(free, Some(free), unit);
        match refusal {
            Refusal::UnknownApp(_) => of(Reason::UnknownApp).about("app"),
            Refusal::UnknownContainer(_) => of(Reason::UnknownContainer).about("container"),
            Refusal::House => of(Reason::Invalid).about("app"),
            Refusal::NameTaken => of(Reason::AppTaken),
            Refusal::Draining => of(Reason::Draining),
            Refusal::HasContainers { containers } => {
                of(Reason::NotDrained).bounded(u64::from(containers), None, Count)
            }
            Refusal::Capacity { free: left, .. } => free(left.get(), Microjoules),
            Refusal::Floor { capacity, .. } => {
                let most = capacity.get();
                of(Reason::Invalid).about("battery_floor_uj").bounded(most, Some(most), Microjoules)
            }
            Refusal::ChargePower { free: left, .. }
            | Refusal::DischargePower { free: left, .. }
            | Refusal::GridLimit { free: left, .. } => free(left.get(), Milliwatts),
            Refusal::BeyondShare { limit, .. } => {
                of(Reason::ExceedsShare).bounded(limit.get(), Some(limit.get()), Milliwatts)
            }
            Refusal::EmptyLease => of(Reason::LeaseOutOfRange).about("lease_ms").bounded(1, Some(1), Millis),
            Refusal::ShortWindow { tick, .. } => {
                of(Reason::Invalid).about("window_ms").bounded(tick.get(), Some(tick.get()), Millis)
            }
            Refusal::NoCeiling => of(Reason::NotSupported),
            Refusal::TooMany { limit } => of(Reason::TooMany).bounded(u64::from(limit), None, Count),
            Refusal::Rules(_) | Refusal::Reservation(_) => of(Reason::Invalid),
            Refusal::UnknownReservation(_) => of(Reason::UnknownReservation).about("id"),
            Refusal::ReservedGrid { free: left, .. } | Refusal::ReservedDischarge { free: left, .. } => {
                free(left.get(), Milliwatts)
            }
            Refusal::ReservedEnergy { free: left, .. } => free(left.get(), Microjoules),
            Refusal::UnknownGroup(_) => of(Reason::UnknownGroup).about("group"),
            Refusal::TooDeep => {
                let most = u64::try_from(LEVELS_MAX).unwrap_or(u64::MAX);
                of(Reason::Invalid).bounded(most, None, Count)
            }
            Refusal::BelowItself => of(Reason::Invalid).about("to"),
            Refusal::Child => of(Reason::NotAllowed),
            Refusal::ChildName => of(Reason::Invalid).about("app"),
            Refusal::HasChildren { children } => {
                of(Reason::HasChildren).bounded(u64::from(children), None, Count)
            }
            Refusal::HeldCapacity { held, .. } => {
                of(Reason::BelowHeld).bounded(held.get(), Some(held.get()), Microjoules)
            }
            Refusal::HeldPower { held, .. } => {
                of(Reason::BelowHeld).bounded(held.get(), Some(held.get()), Milliwatts)
            }
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::Refused(refusal) => refusal.into(),
            AskError::NoWorkload(_) => Self::new(Reason::NoSuchTarget, message).about("target"),
            AskError::Taken(_) => Self::new(Reason::ContainerTaken, message).about("target"),
            AskError::SafeMode(_) => Self::new(Reason::SafeMode, message),
            AskError::Config(_) => Self::new(Reason::Invalid, message).about("config"),
            AskError::Busy => {
                let most = u64::try_from(QUESTIONS_MAX).unwrap_or(u64::MAX);
                Self::new(Reason::TooMany, message).bounded(most, None, Unit::Count)
            }
            AskError::Stopping => Self::new(Reason::Busy, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_core::{AppId, ContainerId};
    use ecovisor_units::{Energy, Millis, Power};

    /// The status and its ErrorInfo as `REASON limit acceptable unit field`, with `-` for what is not there.
    fn shown(problem: Problem) -> (Code, String) {
        let status = Status::from(problem);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.domain, DOMAIN);
        assert!(!status.message().is_empty());
        let of = |name: &str| info.metadata.get(name).cloned().unwrap_or_else(|| "-".into());
        let figures = ["limit", "acceptable", "unit", "field"].map(of).join(" ");
        (status.code(), format!("{} {figures}", info.reason))
    }

    #[test]
    fn every_refusal_of_the_core_has_its_code_reason_and_figures() {
        let check = |refusal: Refusal, code: Code, text: &str| {
            assert_eq!(shown(refusal.into()), (code, text.to_owned()), "{refusal}");
        };
        let (mw, uj) = (Power::new, Energy::new);
        use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted};
        check(Refusal::UnknownApp(AppId::new(1)), NotFound, "REASON_UNKNOWN_APP - - - app");
        let container = ContainerId::new(1);
        check(Refusal::UnknownContainer(container), NotFound, "REASON_UNKNOWN_CONTAINER - - - container");
        check(Refusal::House, InvalidArgument, "REASON_INVALID - - - app");
        check(Refusal::NameTaken, AlreadyExists, "REASON_APP_TAKEN - - - -");
        check(Refusal::Draining, FailedPrecondition, "REASON_DRAINING - - - -");
        let containers = Refusal::HasContainers { containers: 2 };
        check(containers, FailedPrecondition, "REASON_NOT_DRAINED 2 - count -");
        let capacity = Refusal::Capacity { asked: uj(9), free: uj(4) };
        check(capacity, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 uj -");
        let floor = Refusal::Floor { floor: uj(9), capacity: uj(4) };
        check(floor, InvalidArgument, "REASON_INVALID 4 4 uj battery_floor_uj");
        let charge = Refusal::ChargePower { asked: mw(9), free: mw(4) };
        check(charge, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 mw -");
        let discharge = Refusal::DischargePower { asked: mw(9), free: mw(4) };
        check(discharge, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 mw -");
        let grid = Refusal::GridLimit { asked: mw(9), free: mw(4) };
        check(grid, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 mw -");
        let beyond = Refusal::BeyondShare { asked: mw(9), limit: mw(4) };
        check(beyond, FailedPrecondition, "REASON_EXCEEDS_SHARE 4 4 mw -");
        check(Refusal::EmptyLease, InvalidArgument, "REASON_LEASE_OUT_OF_RANGE 1 1 ms lease_ms");
        let window = Refusal::ShortWindow { asked: Millis::new(1), tick: Millis::new(7) };
        check(window, InvalidArgument, "REASON_INVALID 7 7 ms window_ms");
        check(Refusal::NoCeiling, Code::Unimplemented, "REASON_NOT_SUPPORTED - - - -");
        check(Refusal::TooMany { limit: 3 }, ResourceExhausted, "REASON_TOO_MANY 3 - count -");
        check(Refusal::Rules("no"), InvalidArgument, "REASON_INVALID - - - -");
        check(Refusal::Reservation("no"), InvalidArgument, "REASON_INVALID - - - -");
        let unknown = Refusal::UnknownReservation(ecovisor_core::ReservationId::new(7));
        check(unknown, NotFound, "REASON_UNKNOWN_RESERVATION - - - id");
        let reserved = Refusal::ReservedGrid { asked: mw(9), free: mw(4) };
        check(reserved, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 mw -");
        let reserved = Refusal::ReservedDischarge { asked: mw(9), free: mw(4) };
        check(reserved, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 mw -");
        let reserved = Refusal::ReservedEnergy { asked: uj(9), free: uj(4) };
        check(reserved, FailedPrecondition, "REASON_EXCEEDS_FREE 4 4 uj -");
        let group = Refusal::UnknownGroup(ecovisor_core::NodeId::new(1));
        check(group, NotFound, "REASON_UNKNOWN_GROUP - - - group");
        check(Refusal::TooDeep, InvalidArgument, "REASON_INVALID 4 - count -");
        check(Refusal::BelowItself, InvalidArgument, "REASON_INVALID - - - to");
        check(Refusal::Child, Code::PermissionDenied, "REASON_NOT_ALLOWED - - - -");
        check(Refusal::ChildName, InvalidArgument, "REASON_INVALID - - - app");
        let children = Refusal::HasChildren { children: 2 };
        check(children, FailedPrecondition, "REASON_HAS_CHILDREN 2 - count -");
        let held = Refusal::HeldCapacity { asked: uj(4), held: uj(9) };
        check(held, FailedPrecondition, "REASON_BELOW_HELD 9 9 uj -");
        let held = Refusal::HeldPower { limit: "grid", asked: mw(4), held: mw(9) };
        check(held, FailedPrecondition, "REASON_BELOW_HELD 9 9 mw -");
    }

    #[test]
    fn every_error_of_the_engine_has_its_code_and_reason() {
        let check = |error: AskError, code: Code, text: &str| {
            let name = error.to_string();
            assert_eq!(shown(error.into()), (code, text.to_owned()), "{name}");
        };
        check(Refusal::Draining.into(), Code::FailedPrecondition, "REASON_DRAINING - - - -");
        check(AskError::NoWorkload("x".into()), Code::NotFound, "REASON_NO_SUCH_TARGET - - - target");
        check(AskError::Taken("x".into()), Code::AlreadyExists, "REASON_CONTAINER_TAKEN - - - target");
        check(AskError::SafeMode("x".into()), Code::FailedPrecondition, "REASON_SAFE_MODE - - - -");
        check(AskError::Config("x".into()), Code::InvalidArgument, "REASON_INVALID - - - config");
        check(AskError::Busy, Code::ResourceExhausted, "REASON_TOO_MANY 256 - count -");
        check(AskError::Stopping, Code::Unavailable, "REASON_BUSY - - - -");
    }

    #[test]
    fn every_reason_has_the_code_that_errors_proto_names() {
        const PROTO: &str = include_str!("../../../../proto/ecovisor/v1/errors.proto");
        let mut comment = String::new();
        let mut seen = 0;
        for line in PROTO.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("//") {
                comment.push_str(text);
            } else if let Some((name, _)) = line.split_once(" = ").filter(|(n, _)| n.starts_with("REASON_")) {
                let reason = Reason::from_str_name(name).unwrap();
                let said = comment.split("Code ").nth(1).map(|rest| {
                    let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(rest.len());
                    rest[..end].to_owned()
                });
                let is: String = format!("{:?}", code(reason))
                    .chars()
                    .flat_map(|c| c.is_uppercase().then_some('_').into_iter().chain([c.to_ascii_uppercase()]))
                    .collect();
                let is = is.trim_start_matches('_');
                assert_eq!(is, said.as_deref().unwrap_or("UNKNOWN"), "{name}");
                comment.clear();
                seen += 1;
            } else {
                comment.clear();
            }
        }
        assert_eq!(seen, 29);
    }

    #[test]
    fn a_message_stays_short_whatever_the_caller_sent() {
        let long = "ä".repeat(50_000);
        let problem = Problem::unknown_app(&long);
        assert!(problem.message.starts_with("there is no app \"ää"), "{}", problem.message);
        assert!(problem.message.ends_with("ä... (99419 bytes more)"), "{}", problem.message);
        let just = Problem::new(Reason::Invalid, "x".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(just.message.len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_taken_name_is_a_containers_where_a_container_was_meant() {
        let problem = Problem::from(Refusal::NameTaken).of_container();
        assert_eq!(problem.reason, Reason::ContainerTaken);
        assert_eq!(Problem::from(Refusal::Draining).of_container().reason, Reason::Draining);
    }
}
