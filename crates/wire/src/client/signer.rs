//! Signing submissions with a token: the log's challenge is asked for once and used until it is refused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tonic::Request;
use tonic::metadata::MetadataValue;

use super::{ClientError, LogClient};
use crate::pb;
use crate::token::{AUTHORIZATION, Authorization, Challenge, Token, body_digest};

/// A token and where in the log's challenge it is.
#[derive(Debug)]
pub(super) struct Signer {
    token: Token,
    /// The log's challenge, and the next number to use with it.
    session: Mutex<Option<(Challenge, u64)>>,
}

/// A signature over a request that was not sent yet.
pub(super) struct Signed(Authorization);

impl Signer {
    pub(super) fn new(token: Token) -> Self {
        Self {
            token,
            session: Mutex::default(),
        }
    }

    /// Signs a request. True if the challenge was asked for just now.
    pub(super) async fn sign(
        &self,
        log: &LogClient,
        request: &pb::SubmitRequest,
    ) -> Result<(bool, Signed), ClientError> {
        let body = body_digest(&request.entries, &request.blobs);
        let known = self.next();
        let (challenge, sequence) = match known {
            Some(known) => known,
            None => {
                let challenge = self.ask(log).await?;
                *self.session() = Some((challenge, 1));
                (challenge, 0)
            }
        };
        let authorization = self.token.authorize(challenge, sequence, body);
        Ok((known.is_none(), Signed(authorization)))
    }

    /// The challenge is no longer good.
    pub(super) fn forget(&self) {
        *self.session() = None;
    }

    async fn ask(&self, log: &LogClient) -> Result<Challenge, ClientError> {
        let status = log.status().await?;
        if status.origin != self.token.origin() {
            let found: String = status
                .origin
                .chars()
                .filter(|c| !c.is_control())
                .take(255)
                .collect();
            return Err(ClientError::Other(format!(
                "the token is for the log {}, but the log there is {found}",
                self.token.origin()
            )));
        }
        Challenge::read(status.challenge).ok_or_else(|| {
            let message = "the log takes no tokens: its configuration has none";
            ClientError::Other(message.to_owned())
        })
    }

    fn next(&self) -> Option<(Challenge, u64)> {
        let mut session = self.session();
        let (challenge, next) = (*session)?;
        // After the last number a new challenge is needed.
        *session = next.checked_add(1).map(|after| (challenge, after));
        Some((challenge, next))
    }

    fn session(&self) -> MutexGuard<'_, Option<(Challenge, u64)>> {
        // Nothing panics while it is held.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Signed {
    /// The request with its signature.
    pub(super) fn onto(self, request: pb::SubmitRequest) -> Request<pb::SubmitRequest> {
        let mut request = Request::new(request);
        let value = MetadataValue::from_bytes(&self.0.encode());
        request.metadata_mut().insert_bin(AUTHORIZATION, value);
        request
    }
}
