//! What the program prints: answers to standard output, everything else to standard error, and exit codes.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

/// How a command ended. The same meaning everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Yes, or done.
    Yes,
    /// No: refused, disagreement, not met.
    No,
    /// Used wrongly: arguments, configuration, policy or key.
    WrongUse,
    /// Could not find out.
    Unknown,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::WrongUse => 2,
            Exit::Unknown => 3,
        })
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user can mend it: arguments, configuration, policy, key.
    #[error("{0}")]
    WrongUse(String),
    /// The answer is no.
    #[error("{0}")]
    Refused(String),
    /// Something that was needed did not answer or failed.
    #[error("{0}")]
    Unknown(String),
}

impl Failure {
    /// The user can mend it.
    pub fn wrong(message: impl Display) -> Self {
        Self::WrongUse(message.to_string())
    }

    /// The answer is no.
    pub fn refused(message: impl Display) -> Self {
        Self::Refused(message.to_string())
    }

    /// Something did not answer or failed.
    pub fn unknown(message: impl Display) -> Self {
        Self::Unknown(message.to_string())
    }

    /// The exit code that says which.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::WrongUse(_) => Exit::WrongUse,
            Self::Refused(_) => Exit::No,
            Self::Unknown(_) => Exit::Unknown,
        }
    }
}

/// Prints an answer. A reader that went away (`| head`) is no error.
pub fn answer(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints an answer as it is, without a line feed of its own.
pub fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Prints something that is not part of the answer.
pub fn remark(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints what went wrong.
pub fn error(failure: &Failure) {
    remark(format_args!("error: {failure}"));
}

/// True if a person is looking at standard error: progress bars make sense.
#[must_use]
pub fn has_viewer() -> bool {
    io::stderr().is_terminal()
}
