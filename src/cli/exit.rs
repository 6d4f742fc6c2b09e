//! Exit statuses: the only code that turns an error into one.

use std::process::ExitCode;

use hls_cache::maintain::Refused;

use super::{output_error, report};

/// A command line that cannot be carried out; nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    has_remedy: bool,
}

impl UsageError {
    /// Adds a reference to the command's help, because `message` has no remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), has_remedy: false }
    }

    /// `message` contains the remedy.
    pub fn with_remedy(message: String) -> Self {
        Self { message, has_remedy: true }
    }
}

/// How a run ended. The order is precedence: of two results, the greater one is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done,
    /// Done, with a finding: damage, a limit not met, an entry kept because it is in use.
    Finding,
    /// Something could not be read, locked or removed; the rest was done.
    Error,
    /// Another maintainer is at work; nothing was done.
    Busy,
    /// Wrong usage; nothing was done.
    Usage,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Finding => 3,
            Self::Busy => 4,
        }
    }

    /// The exit status for an error that stopped `command`, and the message to print.
    pub fn of_error(error: &anyhow::Error, command: &str) -> (Self, String) {
        match (error.downcast_ref(), error.downcast_ref()) {
            (Some(UsageError { message, has_remedy: true }), _) => (Self::Usage, message.clone()),
            (Some(UsageError { message, has_remedy: false }), _) => {
                (Self::Usage, format!("{message}; see 'hls-cache {command} --help'"))
            }
            (None, Some(Refused::Busy { holders, waited })) => {
                (Self::Busy, report::busy(holders, *waited))
            }
            (None, _) => (Self::Error, error.to_string()),
        }
    }

    /// Prints clap's usage error, or the requested help or version.
    pub fn of_clap(error: &clap::Error) -> Self {
        if error.use_stderr() {
            report::print_usage_error(error);
            return Self::Usage;
        }
        match report::print_help(error) {
            Ok(()) => Self::Done,
            Err(reason) => {
                report::report_error(&output_error(reason));
                Self::Error
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hls_cache::{Error, Operation};
    use std::time::Duration;

    #[test]
    fn an_error_wins_over_a_finding() {
        assert_eq!(Exit::Finding.max(Exit::Error).code(), 1);
        assert_eq!(Exit::Done.max(Exit::Finding).code(), 3);
    }

    #[test]
    fn the_type_of_an_error_decides_the_exit_status() {
        let busy = Refused::Busy { holders: Vec::new(), waited: Duration::ZERO };
        let unreadable = || Error::new(Operation::ReadRoot, "/c", std::io::Error::other("so"));
        let stopped: [(anyhow::Error, u8, &str); 5] = [
            (UsageError::new("no").into(), 2, "no; see 'hls-cache sweep --help'"),
            (UsageError::with_remedy("write 1G".into()).into(), 2, "write 1G"),
            (
                busy.into(),
                4,
                "another maintainer is at work in this cache; add --wait DUR to wait for it",
            ),
            (unreadable().into(), 1, "/c: cannot read the cache root: so"),
            (Refused::Unreadable(unreadable()).into(), 1, "/c: cannot read the cache root: so"),
        ];
        for (error, code, sentence) in stopped {
            let (exit, said) = Exit::of_error(&error, "sweep");
            assert_eq!((exit.code(), said.as_str()), (code, sentence));
        }
    }
}
