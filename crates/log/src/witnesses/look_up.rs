//! What witnesses have seen of a log, asked before it signs anything: whoever restores an old copy must not sign on.
//!
//! A witness is believed only where it shows the log's own signature, so none can make one up; it can only keep silent.

use data_encoding::HEXLOWER;
use futures::future::join_all;
use quorix_tlog::checkpoint::{Checkpoint, MAX_SIGNED_CHECKPOINT_LENGTH};
use quorix_tlog::hash::EMPTY_ROOT;
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::SignedNote;
use quorix_wire::fetch::join;
use sha2::{Digest as _, Sha256};

use super::Witnesses;
use super::peer::Peer;

/// Two checkpoints that this log signed contradict each other: one key, one size, two roots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this log has signed two different trees of {size} entries, as its witnesses show: it has shown two histories, and \
     nobody can believe it any more. Begin a new log under a new name"
)]
pub struct Contradiction {
    /// Their size.
    pub size: u64,
}

/// What the witnesses have seen of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The newest checkpoint, signed by the log, that one of them has cosigned; of size 0 where none shows any.
    pub newest: Checkpoint,
    /// Whether every witness that the policy counts has answered. Only then is what is not shown known not to be there.
    pub complete: bool,
}

impl Witnesses {
    /// What the witnesses have seen of this log, asked of all of them at the same time.
    ///
    /// # Errors
    /// The log has contradicted itself.
    pub async fn seen(&self) -> Result<Seen, Contradiction> {
        let inner = &self.inner;
        let origin = inner.config.log_keys.first().map(LogKey::name);
        let origin = origin.map(ToString::to_string).unwrap_or_default();
        let name = format!("{}/checkpoint", HEXLOWER.encode(&Sha256::digest(&origin)));
        let answers = join_all(inner.peers.iter().map(|peer| self.shown(peer, &name))).await;
        let mut newest = Checkpoint {
            origin,
            size: 0,
            root: EMPTY_ROOT,
            extensions: Vec::new(),
        };
        let mut silent = inner.config.policy.counted();
        for (peer, shown) in inner.peers.iter().zip(answers) {
            let shown = match shown {
                Ok(shown) => shown,
                Err(reason) => {
                    tracing::warn!(witness = %peer.name, %reason, "a witness does not say what it has seen of this log");
                    continue;
                }
            };
            silent.retain(|index| *index != peer.index);
            match shown {
                Some(shown) if shown.size == newest.size && shown.root != newest.root => {
                    return Err(Contradiction { size: shown.size });
                }
                Some(shown) if shown.size > newest.size => newest = shown,
                _ => {}
            }
        }
        let complete = silent.is_empty();
        Ok(Seen { newest, complete })
    }

    /// What one witness shows; `None` if it has cosigned nothing of this log.
    async fn shown(&self, peer: &Peer, name: &str) -> Result<Option<Checkpoint>, String> {
        let inner = &self.inner;
        let url = join(&peer.url, name).map_err(|error| error.to_string())?;
        let limit = u64::try_from(MAX_SIGNED_CHECKPOINT_LENGTH).unwrap_or(u64::MAX);
        let asked = inner.fetcher.get(&url, limit);
        let answer = tokio::time::timeout(inner.config.patience, asked).await;
        let bytes = match answer {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(quorix_wire::fetch::FetchError::NotFound { .. })) => return Ok(None),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("no answer in time".to_owned()),
        };
        let note = SignedNote::parse(&bytes).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        let is_ours = note.signatures().iter().any(|signature| {
            let mut keys = inner.config.log_keys.iter();
            keys.any(|key| key.verifies(&checkpoint, signature))
        });
        if is_ours {
            Ok(Some(checkpoint))
        } else {
            Err("it shows a checkpoint that this log has not signed".to_owned())
        }
    }
}
