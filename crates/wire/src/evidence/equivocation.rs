//! Checks proof that a log signed two checkpoints that contradict each other (SEMANTICS §5).
//!
//! Garbage must not frame an honest log: only what the log's own key signed counts, and a consistency proof that
//! merely fails proves nothing.

use quorix_tlog::checkpoint::{CheckpointError, SignedCheckpoint};
use quorix_tlog::note::VerifierKey;
use quorix_tlog::proof::{MAX_PROOF_LENGTH, ProofError, verify_older_root};
use quorix_trust::ports::Equivocation;

/// Something is no proof of equivocation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EquivocationError {
    /// One of the checkpoints is not one that this log signed.
    #[error("not a checkpoint of this log: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The consistency proof does not lead to the larger tree.
    #[error("the proof shows nothing: {0}")]
    Proof(#[from] ProofError),
    /// The consistency proof has more hashes than any tree needs.
    #[error("the proof has {found} hashes, more than any tree needs")]
    TooLong {
        /// How many it has.
        found: usize,
    },
    /// The two checkpoints fit together.
    #[error("the two checkpoints do not contradict each other")]
    NoContradiction,
}

/// Checks that the log with this key, whose name is its origin, signed two checkpoints that contradict each other.
///
/// # Errors
/// Why it proves nothing.
pub fn verify_equivocation(
    key: &VerifierKey,
    proof: &Equivocation,
) -> Result<(), EquivocationError> {
    let open = |bytes: &[u8]| SignedCheckpoint::open(bytes, key, key.name().as_str());
    let (first, second) = (open(&proof.first)?, open(&proof.second)?);
    let (mut smaller, mut larger) = (first.checkpoint(), second.checkpoint());
    if smaller.size > larger.size {
        std::mem::swap(&mut smaller, &mut larger);
    }
    let found = proof.consistency_proof.len();
    // One more than an inclusion proof: the smaller root may stand before it.
    if found > MAX_PROOF_LENGTH.saturating_add(1) {
        return Err(EquivocationError::TooLong { found });
    }
    let proved = verify_older_root(
        smaller.size,
        larger.size,
        &larger.root,
        &proof.consistency_proof,
    )?;
    if proved == smaller.root {
        Err(EquivocationError::NoContradiction)
    } else {
        Ok(())
    }
}
