//! What can go wrong between a driver and its device, told apart by what the caller does about it.

use ecovisor_units::Millis;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why there is no reading.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// No answer this time. The caller holds its last value by its freshness rule and asks again next tick.
    #[error("{meter} did not answer{}", silence(.silent_for))]
    Transient {
        /// Which meter, file or signal.
        meter: String,
        /// Time since its last good reading, in ms, where the driver knows it.
        silent_for: Option<Millis>,
        /// What the system said, where it said something.
        #[source]
        cause: Option<Arc<io::Error>>,
    },
    /// An answer that cannot be true. The caller treats it as no reading, and counts it: a meter that goes on like
    /// this is broken or mapped wrongly.
    #[error("{meter} cannot be {value}; accepted is {accepted}")]
    Implausible {
        /// Which meter, file or signal.
        meter: String,
        /// What it said.
        value: String,
        /// What would have been accepted.
        accepted: String,
    },
    /// The device or the workload is gone and asking again will not help. The caller tells the operator, or ends
    /// the container whose workload it was.
    #[error("{meter} is gone: {cause}")]
    Lost {
        /// Which meter, file or workload.
        meter: String,
        /// How this is known.
        cause: String,
    },
    /// A right is missing. The caller tells the operator, with the advice, and does not ask again until restarted.
    #[error("no right to read {path}: {advice}")]
    Forbidden {
        /// What was to be read.
        path: PathBuf,
        /// What the operator can do.
        advice: &'static str,
    },
}

/// `, silent for 3 s`, or nothing.
fn silence(silent_for: &Option<Millis>) -> String {
    silent_for.map_or_else(String::new, |time| format!(", silent for {time}"))
}

/// What to do when files of the kernel may not be read.
const READ_ADVICE: &str = "run as root, or as the owner of the workload";

impl ReadError {
    /// No answer, without a cause.
    pub fn transient(meter: impl Into<String>) -> Self {
        Self::Transient { meter: meter.into(), silent_for: None, cause: None }
    }

    /// An answer that cannot be true.
    pub fn implausible(
        meter: impl Into<String>,
        value: impl std::fmt::Display,
        accepted: impl Into<String>,
    ) -> Self {
        let value = shortened(&value.to_string());
        Self::Implausible { meter: meter.into(), value, accepted: accepted.into() }
    }

    /// Reading `path` failed: not found is lost, not permitted is forbidden, anything else transient.
    pub(crate) fn reading(path: &Path, cause: io::Error) -> Self {
        let meter = path.display().to_string();
        match cause.kind() {
            io::ErrorKind::NotFound => Self::Lost { meter, cause: cause.to_string() },
            io::ErrorKind::PermissionDenied => Self::Forbidden { path: path.into(), advice: READ_ADVICE },
            _ if cause.raw_os_error() == Some(NO_SUCH_DEVICE) => {
                Self::Lost { meter, cause: cause.to_string() }
            }
            _ => Self::Transient { meter, silent_for: None, cause: Some(Arc::new(cause)) },
        }
    }
}

/// ENODEV: what the kernel answers on a file of a cgroup that was removed while the file was open.
pub(crate) const NO_SUCH_DEVICE: i32 = 19;

/// Why a set-point or cap could not be applied.
#[derive(Clone, Debug, Error)]
pub enum ApplyError {
    /// A right is missing. The caller tells the operator, with the advice, and runs without this actuator.
    #[error("no right to write {path}: {advice}")]
    Forbidden {
        /// What was to be written.
        path: PathBuf,
        /// What the operator can do.
        advice: &'static str,
    },
    /// This machine does not offer the actuator at all. The caller tells the operator and refuses caps.
    #[error("{what} is not offered here: {advice}")]
    NotOffered {
        /// Which actuator.
        what: &'static str,
        /// What the operator can do.
        advice: &'static str,
    },
    /// The name cannot name a cgroup. The caller refuses whoever chose it.
    #[error(
        "`{name}` cannot name a cgroup; accepted are 1 to 64 letters, digits, `-`, `_` and `.`, not first `.`"
    )]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// What was to be steered has ended. The caller ends the container.
    #[error("{path} is gone")]
    Gone {
        /// What is not there any more.
        path: PathBuf,
    },
    /// Processes still live in the cgroup that was to be removed. The caller stops them first.
    #[error("{path} is busy: {advice}")]
    Busy {
        /// What could not be changed.
        path: PathBuf,
        /// What the caller or operator can do.
        advice: &'static str,
    },
    /// Written, but something else was read back. The caller assumes that the old setting holds, and tells.
    #[error("{path} holds {found} where {wanted} was written")]
    NotTaken {
        /// What was written.
        path: PathBuf,
        /// The text written.
        wanted: String,
        /// The text read back.
        found: String,
    },
    /// It failed this time. The caller tries again at the next chance.
    #[error("{path} could not be written")]
    Transient {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
}

/// What to do when cgroup files may not be written.
const WRITE_ADVICE: &str = "run as root, or delegate this cgroup (systemd: Delegate=cpu)";
/// What to do when a cgroup is busy.
const BUSY_ADVICE: &str = "processes live in it; stop or move them first";

impl ApplyError {
    /// Writing (or making, or removing) `path` failed.
    pub(crate) fn writing(path: &Path, cause: io::Error) -> Self {
        let path = path.to_path_buf();
        match cause.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Forbidden { path, advice: WRITE_ADVICE }
            }
            io::ErrorKind::NotFound => Self::Gone { path },
            io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty => {
                Self::Busy { path, advice: BUSY_ADVICE }
            }
            _ if cause.raw_os_error() == Some(NO_SUCH_DEVICE) => Self::Gone { path },
            _ => Self::Transient { path, cause: Arc::new(cause) },
        }
    }
}

/// Longest piece of foreign text that a message repeats, in characters: enough to recognise it, too little to flood.
const SHOWN_MAX: usize = 60;

/// `text` as a message shows it: control characters escaped, cut at [`SHOWN_MAX`].
pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().flat_map(char::escape_debug).take(SHOWN_MAX).collect();
    if text.chars().flat_map(char::escape_debug).nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_read_and_what_would_be_accepted() {
        let error = ReadError::implausible("register 40149", 70_000, "0 to 65534");
        assert_eq!(error.to_string(), "register 40149 cannot be 70000; accepted is 0 to 65534");
    }

    #[test]
    fn a_missing_right_says_what_to_do() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = ApplyError::writing(Path::new("/x/cpu.max"), refused);
        assert!(error.to_string().contains("run as root"), "{error}");
    }

    #[test]
    fn what_the_kernel_says_of_a_removed_cgroup_is_gone() {
        let error = ApplyError::writing(Path::new("/x"), io::Error::from_raw_os_error(NO_SUCH_DEVICE));
        assert!(matches!(error, ApplyError::Gone { .. }));
    }

    #[test]
    fn foreign_text_is_cut_and_escaped() {
        assert_eq!(shortened("a\u{1}b"), "a\\u{1}b");
        assert_eq!(shortened(&"x".repeat(61)).chars().count(), 61);
        assert_eq!(shortened(&"x".repeat(60)), "x".repeat(60));
    }
}
