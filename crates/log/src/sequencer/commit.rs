//! One batch: append in memory, sign, commit, anchor.
//!
//! Two synced writes, one of the database and one of the anchor, however many entries and submitters share the batch.

use std::sync::Arc;
use std::time::Instant;

use quorix_tlog::checkpoint::Checkpoint;
use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore as _, TreeBatch};

use super::{Sequencer, staging};
use crate::error::SubmitError;
use crate::tree::End;

impl Sequencer {
    /// Makes what is staged durable under a new checkpoint, and hands that on to be published.
    pub(super) fn extend(&mut self, staged: staging::Staged) -> Result<(), SubmitError> {
        let end = staged.end.clone();
        let batch = self.append(staged)?;
        let started = Instant::now();
        match self.store.commit(self.committed.size, &batch) {
            Ok(()) => {}
            Err(CommitError::Store(error)) => {
                self.in_doubt(&error, Some(batch));
                let reason = error.to_string();
                return Err(SubmitError::Unavailable { reason });
            }
            Err(conflict @ (CommitError::Conflict { .. } | CommitError::Immutable { .. })) => {
                return Err(self.stop(not_alone(&conflict)));
            }
        }
        self.metrics
            .commit_time
            .observe(started.elapsed().as_secs_f64());
        if let Err(error) = self.anchor.write(&batch.tree.head.checkpoint) {
            self.in_doubt(&error, Some(batch));
            let reason = error.to_string();
            return Err(SubmitError::Unavailable { reason });
        }
        self.advance(batch.tree.head);
        if let Some(end) = end {
            self.end(end);
        }
        Ok(())
    }

    /// Goes on from a head that is durable and anchored.
    pub(super) fn advance(&mut self, head: Head) {
        self.metrics.commits.inc();
        self.committed = Arc::new(head);
        self.publication.committed(&self.committed);
    }

    /// The last entry is durable: nothing new is taken any more. The checkpoint is published on as before.
    pub(super) fn end(&self, end: End) {
        if self.ended.get().is_none() {
            tracing::warn!(
                index = end.index,
                successor = end.successor,
                "the log has ended"
            );
            self.ended.get_or_init(|| end);
        }
    }

    /// Appends to the tree in memory and signs the new checkpoint.
    fn append(&mut self, staged: staging::Staged) -> Result<LogBatch, SubmitError> {
        let mut leaves = Vec::with_capacity(staged.entries.len());
        for entry in &staged.entries {
            leaves.push((entry.leaf, self.tree.size()));
            let appended = self.tree.append(&entry.bytes, entry.leaf);
            appended.map_err(|error| self.stop(format!("an entry cannot be appended: {error}")))?;
        }
        let (size, root) = (self.tree.size(), self.tree.root());
        let checkpoint = Checkpoint {
            origin: self.config.origin.clone(),
            size,
            root,
            extensions: Vec::new(),
        };
        let checkpoint = checkpoint.sign(&self.key);
        let checkpoint = checkpoint
            .map_err(|error| self.stop(format!("the checkpoint cannot be signed: {error}")))?;
        let head = Head {
            size,
            root,
            checkpoint,
        };
        let tree = TreeBatch {
            tiles: self.tree.take_changed(),
            leaves,
            blobs: staged.blobs,
            head,
        };
        Ok(LogBatch {
            tree,
            retractions: staged.retractions,
        })
    }
}

/// What to do where something else has written.
pub(super) fn not_alone(conflict: &CommitError) -> String {
    format!(
        "{conflict}: something else writes to this log's database. Make sure that only one quorix runs on it, then start it \
         again"
    )
}
