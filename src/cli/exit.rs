//! What the process says by its exit status.

use std::process::ExitCode;

/// How a run ended. The order is precedence: of two things to say, the greater is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done,
    /// Done, with a finding: damage, a limit not met, an entry left because it is pinned.
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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_wins_over_a_finding() {
        assert_eq!(Exit::Finding.max(Exit::Error).code(), 1);
        assert_eq!(Exit::Done.max(Exit::Finding).code(), 3);
    }
}
