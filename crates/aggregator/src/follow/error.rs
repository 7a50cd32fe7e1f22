//! Why a look at a log failed.
//!
//! None of these says anything against the log: proof of equivocation is a [`Step`](super::Step), not an error.

use quorix_tlog::checkpoint::{CheckpointError, SignedCheckpoint};
use quorix_tlog::hash::Hash;
use quorix_trust::ports::{CommitError, StoreError};
use quorix_wire::fetch::FetchError;

use crate::logs::Condition;

/// What a log is asked for first; all else is asked for because its checkpoint says that it is there.
pub(super) const CHECKPOINT: &str = "the checkpoint";

/// Why a look at a log failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The log gave no answer.
    #[error("{what} could not be fetched: {source}")]
    Fetch {
        /// What was asked for.
        what: String,
        /// Why there is no answer.
        source: FetchError,
    },
    /// The log gave no answer in time.
    #[error("{what} did not come within {limit_ms} ms")]
    Slow {
        /// What was asked for.
        what: String,
        /// Milliseconds waited.
        limit_ms: u128,
    },
    /// What it calls its checkpoint is none of this log.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// It shows an earlier state of the same tree.
    #[error("it shows an older checkpoint of {found} entries, and {held} were seen")]
    Behind {
        /// Entries in the checkpoint that it shows.
        found: u64,
        /// Entries that were seen.
        held: u64,
    },
    /// Its tree is not the one of a checkpoint that it showed, now or before.
    #[error("its {} entries have the root {root}, its checkpoint says {}", kept.checkpoint().size, kept.checkpoint().root)]
    Contradicts {
        /// The checkpoint that was kept.
        kept: Box<SignedCheckpoint>,
        /// The root of as many entries.
        root: Hash,
    },
    /// It answered what does not verify.
    #[error("{reason}")]
    Unverifiable {
        /// What does not verify.
        reason: String,
    },
    /// The aggregator's own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The aggregator's own store did not take the batch.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl StepError {
    /// It shows a checkpoint that an operator disowned when a quarantine was lifted.
    pub(super) fn shows_disowned() -> Self {
        Self::Unverifiable {
            reason: "it shows the contradiction again whose quarantine was lifted".to_owned(),
        }
    }

    /// What state of the log it is.
    pub(crate) fn condition(&self) -> Condition {
        match self {
            _ if self.is_unverifiable() => Condition::Malformed,
            Self::Behind { .. } => Condition::Behind,
            Self::Fetch { what, .. } | Self::Slow { what, .. } if what != CHECKPOINT => {
                Condition::Withholding
            }
            Self::Store(_) | Self::Commit(_) => Condition::Stuck,
            _ => Condition::Unreachable,
        }
    }

    /// True if the log answered, but with what does not verify.
    pub(crate) fn is_unverifiable(&self) -> bool {
        match self {
            Self::Checkpoint(_) | Self::Unverifiable { .. } | Self::Contradicts { .. } => true,
            Self::Fetch { source, .. } => {
                matches!(
                    source,
                    FetchError::Malformed { .. } | FetchError::TooLarge { .. }
                )
            }
            _ => false,
        }
    }

    /// True if there may be a fork behind it, so that it is worth asking the log for its hashes.
    pub(crate) fn may_be_a_fork(&self) -> bool {
        match self {
            Self::Fetch { source, .. } => self.is_unverifiable() || source.is_absent(),
            Self::Unverifiable { .. } | Self::Contradicts { .. } => true,
            _ => false,
        }
    }
}
