//! One submission, and whether trying it again can help.

use std::time::Duration;

use quorix_wire::client::{ClientError, LogClient};

/// Why a submission was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SubmitError {
    /// The log looked at it and will not have it.
    Refused(String),
    /// The log did not answer, or cannot take anything now.
    Away(Away),
}

/// A log that takes nothing at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Away {
    /// Why, as far as it is known.
    pub(super) reason: String,
    /// How long the log asks to be left alone, if it does.
    pub(super) wait: Option<Duration>,
}

/// Submits entries with the blobs that they name. They are durable when this is `Ok`.
pub(super) async fn submit(
    client: &LogClient,
    entries: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
) -> Result<(), SubmitError> {
    match client.submit(entries, blobs).await {
        Ok(_) => Ok(()),
        Err(ClientError::InvalidRequest(reason)) => Err(SubmitError::Refused(reason)),
        Err(error) => {
            let wait = match &error {
                ClientError::Pushback { wait, .. } => Some(*wait),
                _ => None,
            };
            let reason = error.to_string();
            Err(SubmitError::Away(Away { reason, wait }))
        }
    }
}
