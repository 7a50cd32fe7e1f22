//! What the sequencer does when it does not know how a write went.
//!
//! Nothing is signed. The database is closed, opened anew and asked for its head: that is either the one before or
//! exactly the one that was attempted, and the attempted batch is completed; anything else stops the log for good.
//! Attempts go on, with a growing pause, until the disk has room or works again; submitters are refused meanwhile.

use std::time::Duration;

use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore as _, StoreError, TileStore as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::commit::not_alone;
use super::{Message, Sequencer, refuse};
use crate::error::{SubmitError, TreeError};
use crate::tree::{Tree, end_of};

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// It is not known what the database holds.
pub(crate) struct Trouble {
    reason: String,
    /// The signed batch whose outcome is not known. Nothing else is signed before it is durable.
    batch: Option<LogBatch>,
    /// Until the next attempt, if that fails too.
    pause: Duration,
}

impl Trouble {
    pub(super) fn refusal(&self) -> SubmitError {
        SubmitError::Unavailable {
            reason: self.reason.clone(),
        }
    }
}

/// Why an attempt did not help.
enum Failure {
    /// The store or the anchor failed again.
    Again(StoreError),
    /// Nothing that is tried again would help.
    Stop(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Again(error)
    }
}

impl Sequencer {
    /// A write failed, or a read elsewhere: from now on nothing is signed until it is known what is stored.
    pub(super) fn in_doubt(&mut self, error: &StoreError, batch: Option<LogBatch>) {
        if self.trouble.is_some() || self.stopped.get().is_some() {
            return;
        }
        tracing::error!(%error, "the log could not write; it opens its database anew and looks what is there");
        self.metrics.in_doubt.set(1);
        self.trouble = Some(Trouble {
            reason: error.to_string(),
            batch,
            pause: self.config.retry_pause,
        });
    }

    /// The next message, once the database is known to be what it should be.
    pub(super) fn next(&mut self, queue: &mut mpsc::Receiver<Message>) -> Option<Message> {
        while let Some(mut trouble) = self.trouble.take() {
            match self.mend(&trouble) {
                Ok(()) => {
                    tracing::info!(size = self.committed.size, "the log commits again");
                    self.metrics.in_doubt.set(0);
                }
                Err(Failure::Stop(reason)) => {
                    self.stop(reason);
                }
                Err(Failure::Again(error)) => {
                    tracing::error!(%error, "the log still cannot write; it tries again");
                    trouble.reason = error.to_string();
                    let pause = trouble.pause;
                    trouble.pause = pause.saturating_mul(2).min(PAUSE_MAX);
                    let refusal = trouble.refusal();
                    self.trouble = Some(trouble);
                    if !self.wait(pause, &refusal, queue) {
                        return None;
                    }
                }
            }
        }
        queue.blocking_recv()
    }

    /// Refuses what comes for a while; `false` if nothing can come any more.
    fn wait(
        &self,
        pause: Duration,
        refusal: &SubmitError,
        queue: &mut mpsc::Receiver<Message>,
    ) -> bool {
        let until = Instant::now() + pause;
        loop {
            let message = async { tokio::time::timeout_at(until, queue.recv()).await };
            match self.timer.block_on(message) {
                Ok(Some(Message::Submit(job))) => refuse([job.reply], refusal),
                Ok(Some(Message::Shutdown)) => queue.close(),
                Ok(Some(Message::Failed(_))) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Opens the database anew, and completes the batch of unknown outcome.
    fn mend(&mut self, trouble: &Trouble) -> Result<(), Failure> {
        self.store.reopen()?;
        let stored = self.store.head()?;
        let head = match &trouble.batch {
            Some(batch) if stored.as_ref() == Some(&batch.tree.head) => batch.tree.head.clone(),
            batch if stored.as_ref() == Some(&*self.committed) => match batch {
                None => Head::clone(&self.committed),
                Some(batch) => self.complete(batch)?,
            },
            _ => {
                let found = stored.map_or(0, |head| head.size);
                return Err(Failure::Stop(format!(
                    "after a failed write the database holds a tree of {found} entries that this process did not sign. \
                     Restart it; if it does not start, restore a backup that is not older than the newest published \
                     checkpoint"
                )));
            }
        };
        let damaged = |error: TreeError| match error {
            TreeError::Store(error) => Failure::Again(error),
            damage => Failure::Stop(format!(
                "after a failed write the database is damaged: {damage}. Restore a backup that is not older than the newest \
                 published checkpoint"
            )),
        };
        self.tree = Tree::load(&*self.store, &head).map_err(damaged)?;
        let end = end_of(&*self.store, head.size, self.key.verifier()).map_err(damaged)?;
        self.anchor.write(&head.checkpoint)?;
        if let Some(end) = end {
            self.end(end);
        }
        if head != *self.committed {
            self.advance(head);
        }
        Ok(())
    }

    /// Commits a batch that turned out not to be written.
    fn complete(&self, batch: &LogBatch) -> Result<Head, Failure> {
        match self.store.commit(self.committed.size, batch) {
            Ok(()) => Ok(batch.tree.head.clone()),
            Err(CommitError::Store(error)) => Err(Failure::Again(error)),
            Err(conflict @ (CommitError::Conflict { .. } | CommitError::Immutable { .. })) => {
                Err(Failure::Stop(not_alone(&conflict)))
            }
        }
    }
}
