//! Why a gRPC service gave no answer, in words for people.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status};

/// Longest message that is taken over from a service, in characters.
const MESSAGE_MAX: usize = 1000;

/// A service gave no valid answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It cannot be reached or did not answer in time. Asking again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// It refuses the request, which has to be changed.
    #[error("{0}")]
    InvalidRequest(String),
    /// It, or this client, has a limit that the request or its answer exceeds.
    #[error("{0}")]
    ResourceExhausted(String),
    /// It has too much to do, or this client asks for too much, and it says when to come back.
    #[error("{message}")]
    Pushback {
        /// What it says.
        message: String,
        /// When to come back, from [`PUSHBACK_MIN`](super::PUSHBACK_MIN) to [`PUSHBACK_MAX`](super::PUSHBACK_MAX).
        wait: Duration,
    },
    /// What it answered is not an answer.
    #[error("{0}")]
    InvalidAnswer(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<Status> for ClientError {
    /// What a failed call to an aggregator means.
    fn from(status: Status) -> Self {
        Self::from_status("the aggregator", &status)
    }
}

impl ClientError {
    pub(super) fn from_status(service: &str, status: &Status) -> Self {
        let said: String = status
            .message()
            .chars()
            .filter(|c| !c.is_control())
            .take(MESSAGE_MAX)
            .collect();
        match status.code() {
            // A failed connection comes as `Unknown` or `Unavailable`, with its cause in the chain.
            Code::Unavailable | Code::Unknown if status.source().is_some() => Self::Unavailable(
                format!("{service} cannot be reached: {}", last_cause(status)),
            ),
            Code::Unavailable => Self::Unavailable(format!("{service} is not available: {said}")),
            Code::DeadlineExceeded | Code::Cancelled => {
                Self::Unavailable(format!("{service} did not answer in time"))
            }
            // It is the service that has to change, not the request: a log that has stopped or is stopping.
            Code::FailedPrecondition => {
                Self::Unavailable(format!("{service} takes nothing now: {said}"))
            }
            Code::InvalidArgument | Code::OutOfRange | Code::NotFound => Self::InvalidRequest(said),
            Code::ResourceExhausted => Self::ResourceExhausted(said),
            Code::Unimplemented => Self::Other(format!(
                "{service} does not know this request; is it of this version?"
            )),
            Code::Unauthenticated | Code::PermissionDenied => {
                Self::Other(format!("{service} does not permit this: {said}"))
            }
            _ => Self::Other(format!("{service} failed: {said}")),
        }
    }
}

/// The innermost reason of a failed call, without the number that an operating system gives it.
fn last_cause(status: &Status) -> String {
    let mut cause = status.source();
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
