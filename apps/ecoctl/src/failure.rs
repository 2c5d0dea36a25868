//! What can go wrong, how it is said, and with which code `ecoctl` then exits.

use ecovisor_sdk::{Error, Figure, Refusal};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Kinds of failure, by what a script would do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The daemon refused, or anything that has no code of its own.
    Refused,
    /// The command line is wrong.
    Usage,
    /// No daemon answers.
    Unreachable,
    /// This caller may not do that.
    NotAllowed,
    /// What was named does not exist.
    NotFound,
    /// The ledger does not hold.
    Unverified,
    /// Whoever read our output has gone: nothing is left to say.
    ReaderGone,
}

/// The exit codes, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the daemon, or failed otherwise
  2  the command line is wrong
  3  no daemon can be reached
  4  not allowed
  5  not found
  6  verification failed: the ledger does not hold
`ecoctl run` exits with the code of its command, 128 + the signal that ended it,
126 where it cannot be executed, 127 where it is not found.";

impl Kind {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotAllowed => 4,
            Self::NotFound => 5,
            Self::Unverified => 6,
        }
    }

    /// Its name in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::NotAllowed => "not_allowed",
            Self::NotFound => "not_found",
            Self::Unverified => "unverified",
            Self::ReaderGone => "reader_gone",
        }
    }
}

/// A failure: one clause that says what and with which value, and a hint at what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// What, with the value.
    pub message: String,
    /// What to do. Empty: there is nothing to say.
    pub hint: String,
    /// More keys for JSON: reason, limits, tick, app, field.
    pub details: Map<String, Value>,
}

impl Failure {
    /// A failure of some kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: String::new(), details: Map::new() }
    }

    /// A failure without a code of its own.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// With one more key for JSON.
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }

    /// What the SDK said, where `target` names the daemon that was tried.
    pub fn from_sdk(error: Error, target: &str) -> Self {
        match error {
            Error::Unreachable { cause } => Self::new(Kind::Unreachable, unreachable(&cause, target))
                .hint("is ecovisord running? start it, or name its socket with --socket (ECOVISOR_OPERATOR_SOCKET)")
                .detail("tried", target),
            Error::Busy { message } => {
                Self::other(format!("the daemon is busy: {message}")).hint("try again in a moment")
            }
            Error::Refused(refusal) => Self::from_refusal(refusal),
            Error::NotAllowed { reason, message } => {
                Self::new(Kind::NotAllowed, format!("not allowed: {message}"))
                    .hint("operators are root and the members of the daemon's operator group; over TLS, certificates of the operator role")
                    .detail("reason", crate::json::reason(reason))
            }
            Error::Invalid { field, message } => {
                let failure = Self::new(Kind::Usage, format!("invalid: {message}"));
                field.map_or(failure.clone(), |field| failure.detail("field", field))
            }
            Error::NotFound { reason, message } => {
                Self::new(Kind::NotFound, message).detail("reason", crate::json::reason(reason))
            }
            Error::NotSupported { message } => Self::other(format!("not supported by this site: {message}")),
            Error::Unreadable { what } => Self::other(format!("unreadable reply: {what}"))
                .hint("ecoctl and ecovisord must be of one version: compare `ecoctl --version` with `ecoctl site`"),
            Error::Failed { code, message } => {
                Self::other(format!("the daemon failed: {code}: {message}")).hint("its log says more")
            }
        }
    }

    fn from_refusal(refusal: Refusal) -> Self {
        let Refusal { reason, limit, acceptable, message } = refusal;
        let mut failure =
            Self::other(format!("refused: {message}")).detail("reason", crate::json::reason(reason));
        if let Some(limit) = limit {
            failure = failure.detail(format!("limit{}", suffix(limit)), base_units(limit));
        }
        match acceptable {
            Some(figure) => failure
                .detail(format!("acceptable{}", suffix(figure)), base_units(figure))
                .hint(format!("{} would be accepted", crate::show::figure(figure))),
            None => failure,
        }
    }

    /// As one object.
    fn json(&self) -> Value {
        let mut error = self.details.clone();
        error.insert("kind".into(), json!(self.kind.name()));
        error.insert("exit_code".into(), json!(self.kind.code()));
        error.insert("message".into(), json!(self.message));
        if !self.hint.is_empty() {
            error.insert("hint".into(), json!(self.hint));
        }
        json!({ "error": error })
    }

    /// As one line.
    fn line(&self) -> String {
        let hint = if self.hint.is_empty() { String::new() } else { format!("; {}", self.hint) };
        format!("ecoctl: {}{hint}", self.message)
    }

    /// Says it on stderr; its exit code.
    pub fn tell(&self, json: bool) -> ExitCode {
        match (self.kind, json) {
            (Kind::ReaderGone, _) => {}
            (_, true) => eprintln!("{}", self.json()),
            (_, false) => eprintln!("{}", self.line()),
        }
        ExitCode::from(self.kind.code())
    }
}

/// The SDK's cause names the socket already where it failed to connect.
fn unreachable(cause: &str, target: &str) -> String {
    let cause = cause.strip_prefix(target).map_or(cause, |rest| rest.trim_start_matches(": "));
    format!("no daemon answers at {target}: {cause}")
}

/// The unit of a figure, as the suffix of its key.
const fn suffix(figure: Figure) -> &'static str {
    match figure {
        Figure::Power(_) => "_mw",
        Figure::Energy(_) => "_uj",
        Figure::Time(_) => "_ms",
        Figure::CarbonMass(_) => "_mg",
        Figure::CarbonRate(_) => "_mg_per_h",
        Figure::CarbonIntensity(_) => "_mg_per_kwh",
        Figure::Count(_) => "",
    }
}

/// A figure in its base unit.
const fn base_units(figure: Figure) -> u64 {
    match figure {
        Figure::Power(figure) => figure.get(),
        Figure::Energy(figure) => figure.get(),
        Figure::Time(figure) => figure.get(),
        Figure::CarbonMass(figure) => figure.get(),
        Figure::CarbonRate(figure) => figure.get(),
        Figure::CarbonIntensity(figure) => figure.get(),
        Figure::Count(figure) => figure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ecovisor_sdk::{Energy, Reason};

    #[test]
    fn a_refusal_says_what_would_be_accepted() {
        let refusal = Refusal {
            reason: Reason::ExceedsFree,
            limit: Some(Figure::Energy(Energy::from_watt_hours(200))),
            acceptable: Some(Figure::Energy(Energy::from_watt_hours(200))),
            message: "battery capacity 300 Wh is more than what is free".into(),
        };
        let failure = Failure::from_sdk(Error::Refused(refusal), "/s");
        assert_eq!(
            failure.line(),
            "ecoctl: refused: battery capacity 300 Wh is more than what is free; 200 Wh would be accepted"
        );
        let said = failure.json();
        assert_eq!(said["error"]["acceptable_uj"], 720_000_000_000_u64);
        assert_eq!(said["error"]["reason"], "exceeds_free");
        assert_eq!(said["error"]["exit_code"], 1);
    }

    #[test]
    fn the_socket_that_was_tried_is_named_once() {
        let error = Error::Unreachable { cause: "/run/x.sock: No such file or directory".into() };
        let failure = Failure::from_sdk(error, "/run/x.sock");
        assert_eq!(failure.message, "no daemon answers at /run/x.sock: No such file or directory");
        assert_eq!(failure.kind.code(), 3);
        assert!(failure.hint.contains("is ecovisord running?"));
    }

    #[test]
    fn each_kind_has_its_code() {
        let reason = Reason::Unspecified;
        let check = |error, code| assert_eq!(Failure::from_sdk(error, "s").kind.code(), code);
        check(Error::NotAllowed { reason, message: String::new() }, 4);
        check(Error::NotFound { reason, message: String::new() }, 5);
        check(Error::Invalid { field: None, message: String::new() }, 2);
        check(Error::Busy { message: String::new() }, 1);
        check(Error::NotSupported { message: String::new() }, 1);
        assert_eq!(Kind::Unverified.code(), 6);
    }
}
