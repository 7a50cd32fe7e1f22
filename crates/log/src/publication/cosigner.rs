//! What a log asks of its witnesses: cosignatures on a checkpoint, and what they have seen of it.
//!
//! The log only knows this seam. Who the witnesses are, how many are enough and how they are asked is behind it.

use std::sync::Arc;

use quorix_tlog::hash::Hash;
use quorix_tlog::proof::TileReader;
use quorix_tlog::tile::TileId;
use quorix_trust::ports::Head;

use crate::error::TreeError;
use crate::storage::Reopenable;
use crate::tree::stored_hashes;
use crate::witnesses::{Seen, Witnesses};

/// Collects cosignatures.
#[tonic::async_trait]
pub trait Cosigner: Send + Sync + 'static {
    /// Collects cosignatures on a durable head until the policy is met, and gives the note to publish: the bytes of
    /// `head.checkpoint` followed by lines of cosignatures that were verified, and nothing else.
    ///
    /// Called for one head at a time, in ascending order; again for the same head after a failure, and when the log is
    /// idle, for fresh timestamps. It is dropped when it takes longer than the log waits.
    ///
    /// # Errors
    /// The policy is not met: why.
    async fn cosign(&self, head: &Head, tree: &CommittedTree) -> Result<Vec<u8>, NotCosigned>;

    /// Has *every* witness that the policy counts cosign a stored head, to learn that none of them has cosigned a later
    /// one. Whoever counts in no policy is not asked; where nobody counts, nobody can vouch.
    ///
    /// # Errors
    /// One of them does not cosign it, or there is none.
    async fn vouch(&self, head: &Head, tree: &CommittedTree) -> Result<(), NotCosigned>;
}

/// The witness policy is not met, so nothing new is published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not enough witnesses cosign: {reason}")]
pub struct NotCosigned {
    /// Who did not, and why.
    pub reason: String,
}

/// What a log is told about its witnesses at the start.
#[derive(Clone)]
pub struct Witnessing {
    /// Asked before anything is published.
    pub cosigner: Arc<dyn Cosigner>,
    /// What they have seen of this log. It does not start behind that.
    pub seen: Seen,
}

/// The tiles up to the head to be cosigned, for proofs of consistency. Reading blocks.
#[derive(Clone)]
pub struct CommittedTree {
    read: Arc<ReadHashes>,
}

/// Reads the first so many hashes of a tile.
type ReadHashes = dyn Fn(TileId, u16) -> Result<Vec<Hash>, TreeError> + Send + Sync;

impl CommittedTree {
    /// Everything that is durable.
    pub(crate) fn new(store: Arc<Reopenable>) -> Self {
        Self::read_by(move |id, width| stored_hashes(&*store, id, width))
    }

    /// What this reads.
    pub(crate) fn read_by(
        read: impl Fn(TileId, u16) -> Result<Vec<Hash>, TreeError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            read: Arc::new(read),
        }
    }
}

impl TileReader for CommittedTree {
    type Error = TreeError;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, Self::Error> {
        (self.read)(id, width)
    }
}

#[tonic::async_trait]
impl Cosigner for Witnesses {
    async fn cosign(&self, head: &Head, tree: &CommittedTree) -> Result<Vec<u8>, NotCosigned> {
        self.collect(head, tree).await.map_err(|error| NotCosigned {
            reason: error.to_string(),
        })
    }

    async fn vouch(&self, head: &Head, tree: &CommittedTree) -> Result<(), NotCosigned> {
        self.all_cosign(head, tree)
            .await
            .map_err(|reason| NotCosigned { reason })
    }
}
