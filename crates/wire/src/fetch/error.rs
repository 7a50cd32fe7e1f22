//! Why something could not be fetched, in words for people.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::{FetchLimits, location};

/// Something could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No client can be made at all.
    #[error("cannot fetch anything: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
    /// A text is not a URL that is read here, or a name leads out of its directory.
    #[error("`{}` cannot be fetched: {reason}", url.escape_debug())]
    BadUrl {
        /// The text, cut to 200 characters.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The source does not have it.
    #[error("{url}: not found")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// Another answer than 200.
    #[error("{url}: the server answered with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Longer than the caller takes.
    #[error("{url}: larger than the permitted {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// How many bytes are permitted.
        limit: u64,
    },
    /// Took too long.
    #[error("{url}: {waiting} took longer than {} s", after.as_secs_f32())]
    Timeout {
        /// What was asked for.
        url: String,
        /// What was being waited for.
        waiting: Waiting,
        /// How long it may take.
        after: Duration,
    },
    /// The connection or the file failed.
    #[error("{url}: {reason}")]
    Transport {
        /// What was asked for.
        url: String,
        /// The last cause, in words.
        reason: String,
    },
    /// Encoded as nobody asked for.
    #[error("{url}: the server sent the encoding `{}`, which was not asked for", encoding.escape_debug())]
    Encoding {
        /// What was asked for.
        url: String,
        /// The encoding.
        encoding: String,
    },
    /// Fetched, and not what it should be.
    #[error("{url}: {reason}")]
    Malformed {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Every one of several places failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Everywhere(Vec<Self>),
}

/// What was being waited for when the time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waiting {
    /// A connection.
    Connection,
    /// The head of the answer.
    FirstByte,
    /// The next part of the body.
    NextByte,
    /// The last byte of the body.
    Whole,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connection => "connecting",
            Self::FirstByte => "the first byte",
            Self::NextByte => "the next byte",
            Self::Whole => "the whole",
        })
    }
}

impl FetchError {
    /// True if the source answered that it does not have it: not found, or forbidden, as object stores say.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Status { status: 403, .. } => true,
            Self::Everywhere(all) => !all.is_empty() && all.iter().all(Self::is_absent),
            _ => false,
        }
    }

    /// The error of a read from [`Fetched::body`](super::Fetched::body).
    #[must_use]
    pub fn from_io(url: &str, error: io::Error) -> Self {
        error
            .downcast::<Self>()
            .unwrap_or_else(|error| Self::Transport {
                url: location::shown(url),
                reason: error.to_string(),
            })
    }

    pub(crate) fn timeout(url: &str, waiting: Waiting, after: Duration) -> Self {
        Self::Timeout {
            url: location::shown(url),
            waiting,
            after,
        }
    }

    pub(super) fn malformed(url: &str, reason: impl ToString) -> Self {
        Self::Malformed {
            url: location::shown(url),
            reason: reason.to_string(),
        }
    }

    pub(super) fn from_reqwest(url: &str, error: &reqwest::Error, limits: &FetchLimits) -> Self {
        if error.is_timeout() && error.is_connect() {
            return Self::timeout(url, Waiting::Connection, limits.connect_timeout);
        }
        let cause = last_cause(error);
        let reason = if error.is_connect() {
            format!("no connection: {cause}")
        } else if error.is_body() || error.is_decode() {
            format!("the connection broke off: {cause}")
        } else {
            cause
        };
        Self::Transport {
            url: location::shown(url),
            reason,
        }
    }
}

/// The innermost reason, without the number that an operating system gives it.
pub(super) fn last_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
