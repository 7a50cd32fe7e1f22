//! The step from a durable checkpoint to one that the world sees, and the acknowledgements that wait for it.
//!
//! Without witnesses a committed checkpoint is published at once, in the sequencer's thread. With witnesses a thread of
//! its own collects their cosignatures: commits go on meanwhile, several of them share one publication, and whoever
//! waits is answered once what is published covers it. Nothing is published before the policy is met.

pub mod cosigner;
mod publisher;

use std::sync::{Arc, Mutex, PoisonError};

use quorix_trust::ports::Head;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::error::SubmitError;
use crate::metrics::Metrics;
use crate::service::{Receipt, Submitted};

pub(crate) use publisher::Publisher;

/// An answer that waits until what is published covers it.
pub(crate) struct Waiting {
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    /// Its share of the queue, given back when it is answered.
    pub(crate) room: OwnedSemaphorePermit,
}

impl Waiting {
    /// The size of the smallest tree with everything that it is about.
    fn needs(&self) -> u64 {
        let last = self.receipts.iter().map(|receipt| receipt.index).max();
        last.map_or(0, |index| index.saturating_add(1))
    }

    /// Answers. Whoever went away meanwhile will find the entries in the log.
    fn acknowledge(self, published: &Head, metrics: &Metrics) {
        let duplicates = self.receipts.iter().filter(|receipt| receipt.duplicate);
        let duplicates = duplicates.count();
        metrics.entries("duplicate", duplicates);
        metrics.entries("appended", self.receipts.len().saturating_sub(duplicates));
        // The room is free before the answer is there, so that who comes again finds it.
        drop(self.room);
        let _ = self.reply.send(Ok(Submitted {
            receipts: self.receipts,
            checkpoint: published.checkpoint.clone(),
        }));
    }
}

/// Why nothing new is published at present; `None` while all is well. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
    pub(crate) fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// The sequencer's end of the step.
pub(crate) struct Publication {
    /// What the world sees.
    pub(crate) published: watch::Sender<Arc<Head>>,
    pub(crate) metrics: Metrics,
    /// `None` without witnesses.
    pub(crate) witnessed: Option<Witnessed>,
}

/// Where a publisher with witnesses hears of new work.
pub(crate) struct Witnessed {
    /// The newest durable head.
    pub(crate) committed: watch::Sender<Arc<Head>>,
    /// Bounded by the room that each of them holds.
    pub(crate) waiting: mpsc::UnboundedSender<Waiting>,
}

impl Publication {
    /// Takes a head that is durable and anchored.
    pub(crate) fn committed(&self, head: &Arc<Head>) {
        match &self.witnessed {
            None => {
                self.metrics.published(head.size);
                self.published.send_replace(Arc::clone(head));
            }
            Some(witnessed) => {
                witnessed.committed.send_replace(Arc::clone(head));
            }
        }
    }

    /// Answers once what is published covers it. All of it is durable.
    pub(crate) fn acknowledge(&self, waiting: Waiting) {
        let published = Arc::clone(&self.published.borrow());
        match &self.witnessed {
            Some(witnessed) if published.size < waiting.needs() => {
                // The publisher outlives this side; if it is gone, dropping the answer says so.
                let _ = witnessed.waiting.send(waiting);
            }
            _ => waiting.acknowledge(&published, &self.metrics),
        }
    }

    /// Entries that are durable and not published yet.
    pub(crate) fn backlog(&self, committed: &Head) -> u64 {
        committed.size.saturating_sub(self.published.borrow().size)
    }
}
