//! What is wrong with a trace file, said so that whoever wrote the file finds the place.

use crate::error::shortened;

/// A trace that cannot be used. The caller refuses to start with it; nothing of the file was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}, column {column}: `{value}` is not {accepted}")]
pub struct TraceError {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Name of the column, or `line` where the line as a whole is wrong.
    pub column: String,
    /// What stands there, shortened.
    pub value: String,
    /// What would be accepted.
    pub accepted: String,
}

impl TraceError {
    pub(super) fn new(file: &str, line: u64, column: &str, value: &str, accepted: &str) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column: column.to_owned(),
            value: shortened(value),
            accepted: accepted.to_owned(),
        }
    }
}
