//! An error about one path, so that a run can report it, go on, and end with 1.

use std::fmt;
use std::path::PathBuf;

use crate::escape::Escaped;

/// What could not be read, locked or removed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path that the operation failed on, absolute where the root is.
    pub path: PathBuf,
    /// What was tried and the system's reason, one line.
    pub message: String,
}

impl Problem {
    /// `action` is what was tried, as in "cannot read".
    pub fn new(path: impl Into<PathBuf>, action: &str, reason: impl fmt::Display) -> Self {
        Self { path: path.into(), message: format!("{action}: {reason}") }
    }
}

impl fmt::Display for Problem {
    /// On one line, whatever the path is called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped::new(&self.path), Escaped::new(&self.message))
    }
}

impl std::error::Error for Problem {}
