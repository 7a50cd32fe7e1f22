//! What witnesses have seen of a log, asked before it signs anything: whoever restores an old copy must not sign on.
//!
//! A witness is believed only where it shows the log's own signature, so none can make one up; it can only keep silent.

use data_encoding::HEXLOWER;
use futures::future::join_all;
use quorix_tlog::checkpoint::{Checkpoint, MAX_SIGNED_CHECKPOINT_LENGTH};
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::SignedNote;
use quorix_tlog::proof::TileReader;
use quorix_trust::ports::Head;
use quorix_wire::fetch::{FetchError, join};
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Every checkpoint, signed by the log, that one of them shows, ascending by size and each once.
    pub shown: Vec<Checkpoint>,
    /// The smallest size that a witness shows which the policy counts. `None` unless there are such witnesses and each of
    /// them shows a checkpoint: who shows none may know more than can be read where it was asked.
    pub least: Option<u64>,
}

impl Seen {
    /// The size of the newest checkpoint that one of them shows; 0 where none shows any.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shown.last().map_or(0, |newest| newest.size)
    }
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
        let mut shown: Vec<Checkpoint> = Vec::new();
        let mut sizes = vec![None; inner.config.policy.witnesses.len()];
        for (peer, answer) in inner.peers.iter().zip(answers) {
            match answer {
                Ok(checkpoint) => {
                    if let Some(size) = sizes.get_mut(peer.index) {
                        *size = Some(checkpoint.size);
                    }
                    shown.push(checkpoint);
                }
                Err(reason) => {
                    tracing::warn!(witness = %peer.name, %reason, "a witness does not show what it has seen of this log");
                }
            }
        }
        shown.sort_by_key(|checkpoint| checkpoint.size);
        shown.dedup_by(|one, other| (one.size, one.root) == (other.size, other.root));
        for (one, other) in shown.iter().zip(shown.iter().skip(1)) {
            if one.size == other.size {
                return Err(Contradiction { size: one.size });
            }
        }
        let counted = inner.config.policy.counted();
        let counted = counted.iter().map(|index| sizes.get(*index).copied()?);
        let least = counted.collect::<Option<Vec<u64>>>();
        let least = least.and_then(|sizes| sizes.into_iter().min());
        Ok(Seen { shown, least })
    }

    /// Has every witness that the policy counts cosign this head.
    pub(crate) async fn all_cosign<R>(&self, head: &Head, tree: &R) -> Result<(), String>
    where
        R: TileReader + Clone + Send + Sync + 'static,
        R::Error: std::fmt::Display + Send,
    {
        let inner = &self.inner;
        let note = SignedNote::parse(&head.checkpoint).map_err(|error| error.to_string())?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        let mut silent = inner.config.policy.counted();
        if silent.is_empty() {
            return Err("the policy counts no witness".to_owned());
        }
        let peers = inner.peers.iter();
        let counted = peers.filter(|peer| silent.contains(&peer.index));
        let asked = counted.map(|peer| inner.ask(peer, &checkpoint, &note, tree));
        for (peer, answer) in join_all(asked).await {
            answer.map_err(|reason| format!("{}: {reason}", peer.name))?;
            silent.retain(|index| *index != peer.index);
        }
        if silent.is_empty() {
            Ok(())
        } else {
            Err("a witness that the policy counts has no address in it".to_owned())
        }
    }

    /// What one witness shows, or why that is not known. Having nothing to show where it was asked is no answer: the
    /// address is that of submissions, and a witness may be read elsewhere, or not at all.
    async fn shown(&self, peer: &Peer, name: &str) -> Result<Checkpoint, String> {
        let inner = &self.inner;
        let url = join(&peer.url, name).map_err(|error| error.to_string())?;
        let limit = u64::try_from(MAX_SIGNED_CHECKPOINT_LENGTH).unwrap_or(u64::MAX);
        let asked = inner.fetcher.get(&url, limit);
        let answer = tokio::time::timeout(inner.config.patience, asked).await;
        let bytes = match answer {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(FetchError::NotFound { .. })) => {
                return Err("it shows nothing of it at this address".to_owned());
            }
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
            Ok(checkpoint)
        } else {
            Err("it shows a checkpoint that this log has not signed".to_owned())
        }
    }
}
