//! Clients of the gRPC services, with limits and errors for people.
//!
//! [`LogClient`] submits to one's own log. [`AggregatorClient`] asks an aggregator that need not be trusted:
//! evidence is verified before it is handed on; everything else that it gives is for showing only.

use std::sync::Arc;

use quorix_tlog::checkpoint::MAX_SIGNED_CHECKPOINT_LENGTH;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::pb;
use crate::pb::log_service_client::LogServiceClient;
use crate::token::Token;

mod aggregator;
mod complete;
mod error;
mod pushback;
mod signer;

use signer::Signer;

pub use aggregator::AggregatorClient;
pub use complete::{Completeness, LeftOut, Shown};
pub use error::ClientError;
pub use pushback::{PUSHBACK_MAX, PUSHBACK_MIN, jittered};

/// Largest gRPC message that is taken, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most entries in one submission.
pub const SUBMITTED_MAX: usize = 1024;
/// How often [`LogClient::submit_patiently`] asks.
const ATTEMPTS: u32 = 5;

/// The write side of a log.
#[derive(Clone, Debug)]
pub struct LogClient {
    service: LogServiceClient<Channel>,
    signer: Option<Arc<Signer>>,
}

/// What a log answers to a submission: every entry is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// For each entry, in order: the index of its leaf, and whether the same bytes had been there before.
    pub indices: Vec<(u64, bool)>,
    /// Signed checkpoint that covers all of them, not opened.
    pub checkpoint: Vec<u8>,
}

impl LogClient {
    /// A client of the log to which the channel leads.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            service: LogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
            signer: None,
        }
    }

    /// The same, signing each submission with a token. Clones share the log's challenge.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.signer = Some(Arc::new(Signer::new(token)));
        self
    }

    /// Appends canonical entries (1 to 1,024) with the blobs that they name: all of them or none. An entry that was
    /// there before keeps its index, so this may be repeated.
    ///
    /// # Errors
    /// The log refuses them or does not answer; without an answer it is not known whether it took them.
    pub async fn submit(
        &self,
        entries: Vec<Vec<u8>>,
        blobs: Vec<Vec<u8>>,
    ) -> Result<Submitted, ClientError> {
        let expected = entries.len();
        if expected == 0 || expected > SUBMITTED_MAX {
            let message = format!(
                "{expected} entries were to be submitted, but it must be 1 to {SUBMITTED_MAX}"
            );
            return Err(ClientError::InvalidRequest(message));
        }
        let request = pb::SubmitRequest { entries, blobs };
        let answer = match &self.signer {
            None => self.send(Request::new(request)).await,
            Some(signer) => self.send_signed(signer, request).await?,
        };
        let answer = answer.map_err(|status| log_error(&status))?;
        submitted(answer, expected)
    }

    /// As [`submit`](Self::submit), coming again when the log asks to be left alone for a while: at most five times, and
    /// never sooner than it says.
    ///
    /// # Errors
    /// As [`submit`](Self::submit); [`ClientError::Pushback`] if it is busy after all.
    pub async fn submit_patiently(
        &self,
        entries: Vec<Vec<u8>>,
        blobs: Vec<Vec<u8>>,
    ) -> Result<Submitted, ClientError> {
        for _ in 1..ATTEMPTS {
            match self.submit(entries.clone(), blobs.clone()).await {
                Err(ClientError::Pushback { wait, .. }) => {
                    tokio::time::sleep(jittered(wait)).await;
                }
                answer => return answer,
            }
        }
        self.submit(entries, blobs).await
    }

    async fn send(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<pb::SubmitResponse, Status> {
        let answer = self.service.clone().submit(request).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Signs and sends; with a challenge that is no longer good once more with a new one.
    async fn send_signed(
        &self,
        signer: &Signer,
        request: pb::SubmitRequest,
    ) -> Result<Result<pb::SubmitResponse, Status>, ClientError> {
        let (is_new, signed) = signer.sign(self, &request).await?;
        let answer = self.send(signed.onto(request.clone())).await;
        match answer {
            Err(status) if status.code() == Code::Unauthenticated && !is_new => {
                signer.forget();
                let (_, signed) = signer.sign(self, &request).await?;
                Ok(self.send(signed.onto(request)).await)
            }
            answer => Ok(answer),
        }
    }

    /// Ends the log with the canonical bytes of a key rotation. The same again is answered with its index, so this may be
    /// repeated.
    ///
    /// # Errors
    /// The log refuses it or does not answer; without an answer it is not known whether it took it.
    pub async fn rotate(&self, entry: Vec<u8>) -> Result<Submitted, ClientError> {
        let request = pb::RotateRequest { entry };
        let answer = self.service.clone().rotate(request).await;
        let answer = answer.map_err(|status| log_error(&status))?.into_inner();
        submitted(answer, 1)
    }

    /// Has a log on this machine make a marked copy of itself in this folder, an absolute path that does not exist yet.
    /// Gives the number of entries in it.
    ///
    /// # Errors
    /// The asker is not the log's owner, the log cannot write there, or does not answer.
    pub async fn backup(&self, dir: String) -> Result<u64, ClientError> {
        let answer = self.service.clone().backup(pb::BackupRequest { dir }).await;
        Ok(answer
            .map_err(|status| log_error(&status))?
            .into_inner()
            .size)
    }

    /// What the log is and how far it has come, as it says.
    ///
    /// # Errors
    /// The log does not answer.
    pub async fn status(&self) -> Result<pb::GetStatusResponse, ClientError> {
        let answer = self
            .service
            .clone()
            .get_status(pb::GetStatusRequest {})
            .await;
        Ok(answer.map_err(|status| log_error(&status))?.into_inner())
    }
}

/// An answer with a receipt for each entry.
fn submitted(answer: pb::SubmitResponse, expected: usize) -> Result<Submitted, ClientError> {
    if answer.receipts.len() != expected || answer.checkpoint.len() > MAX_SIGNED_CHECKPOINT_LENGTH {
        let found = answer.receipts.len();
        let message = format!("the log answered {found} receipts for {expected} entries");
        return Err(ClientError::InvalidAnswer(message));
    }
    let indices = answer
        .receipts
        .iter()
        .map(|receipt| (receipt.index, receipt.duplicate));
    Ok(Submitted {
        indices: indices.collect(),
        checkpoint: answer.checkpoint,
    })
}

fn log_error(status: &Status) -> ClientError {
    match (
        ClientError::from_status("the log", status),
        pushback::of(status),
    ) {
        (ClientError::ResourceExhausted(message), Some(wait)) => {
            ClientError::Pushback { message, wait }
        }
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests;
