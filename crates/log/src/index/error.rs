//! What can go wrong with an index, and why it does not answer.

use quorix_trust::ports::{CommitError, StoreError};

/// The index does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The log's name is too long.
    #[error("the log's name is too long to be extended to that of its index")]
    Name,
    /// What is stored of the output log is not a tree, or not one that this key signed.
    #[error(
        "the stored index is damaged: {reason}. Stop the log and delete its folder log-index: the index is made again \
         from the log"
    )]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The index is of another log, or the log was rolled back behind it.
    #[error(
        "the index covers {covered} entries that are not those of the log, which has {size}: {reason}. If the log was \
         restored from a backup, restore one that is not older than what it published. If the folder log-index is of \
         another log, stop the log and delete the folder: the index is made again"
    )]
    OtherLog {
        /// Entries that the index covers.
        covered: u64,
        /// Entries of the log.
        size: u64,
        /// What does not fit.
        reason: String,
    },
    /// Less is published than was covered. What was published last may be lost in a power cut, and comes again.
    #[error(
        "the index covers {covered} entries, and {size} are published: it waits until they are published again"
    )]
    Ahead {
        /// Entries that the index covers.
        covered: u64,
        /// Published entries.
        size: u64,
    },
    /// The log's witnesses do not cosign the output log.
    #[error(
        "the newest state of the index is not cosigned, so it is not shown: {reason}. A witness has to know the index by its own key, \
         which `quorix key show --index` prints"
    )]
    NotCosigned {
        /// Who did not, and why.
        reason: String,
    },
    /// The index's database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Tiles or entries of the log cannot be read at present.
    #[error("the log cannot be read: {0}")]
    Log(#[source] StoreError),
}

impl IndexError {
    /// True if trying again cannot help.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Name | Self::Damaged { .. } | Self::OtherLog { .. }
        )
    }
}

/// Why a look-up has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing may be shown at present.
    #[error("the log's index does not answer at present: {reason}")]
    NotReady {
        /// Why.
        reason: String,
    },
    /// The asker knows more of the log or its index than is published, or asks for an entry beyond it.
    #[error("this log has published less of itself or of its index than is asked for")]
    Beyond,
    /// The log or its index cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
