//! The sequencer: the one thread that gives entries their order.
//!
//! Each round takes everything that waits, appends it, signs the new checkpoint, commits all of it in one durable
//! step, and only then publishes the checkpoint and acknowledges. While a commit is written the next round gathers, so
//! that the more is submitted, the more shares a commit.
//!
//! Where the outcome of a commit is not known nothing else is signed: exactly that batch, with the checkpoint that was
//! signed for it, is completed first. A log never signs two histories.

mod staging;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::note::SigningKey;
use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore, TreeBatch};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::error::SubmitError;
use crate::metrics::Metrics;
use crate::request::Request;
use crate::service::{Receipt, Submitted};
use crate::tree::Tree;
use staging::Staging;

/// What the sequencer is asked.
pub(crate) enum Message {
    /// To append entries.
    Submit(Job),
    /// To finish what waits, and end.
    Shutdown,
}

/// A request that waits.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Submitted, SubmitError>>,
    /// Its share of the queue, given back when it is answered.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// The one writer of a log.
pub(crate) struct Sequencer {
    pub(crate) store: Arc<dyn LogStore>,
    pub(crate) key: SigningKey,
    pub(crate) origin: String,
    pub(crate) tree: Tree,
    pub(crate) published: watch::Sender<Arc<Head>>,
    pub(crate) stopped: Arc<OnceLock<String>>,
    pub(crate) metrics: Metrics,
    pub(crate) commit_entries: usize,
    pub(crate) commit_bytes: usize,
    /// A signed batch of which it is not known whether it was written.
    pub(crate) unfinished: Option<LogBatch>,
}

type Accepted = (Job, Vec<Receipt>);

impl Sequencer {
    /// Works until it is told to stop or nobody is left who could ask.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(message) = queue.blocking_recv() {
            let Message::Submit(first) = message else {
                queue.close();
                continue;
            };
            let jobs = self.gather(first, &mut queue);
            self.round(jobs);
        }
    }

    /// The first request and all that wait behind it, up to what one commit takes.
    fn gather(&self, first: Job, queue: &mut mpsc::Receiver<Message>) -> Vec<Job> {
        let (mut entries, mut bytes) = (first.request.entries.len(), first.request.bytes());
        let mut jobs = vec![first];
        while entries < self.commit_entries && bytes < self.commit_bytes {
            match queue.try_recv() {
                Ok(Message::Submit(job)) => {
                    entries = entries.saturating_add(job.request.entries.len());
                    bytes = bytes.saturating_add(job.request.bytes());
                    jobs.push(job);
                }
                Ok(Message::Shutdown) => queue.close(),
                Err(_) => break,
            }
        }
        jobs
    }

    fn round(&mut self, jobs: Vec<Job>) {
        if let Err(error) = self.finish_unfinished() {
            return refuse(jobs, &error);
        }
        let mut staging = Staging::new(&*self.store, self.tree.size());
        let mut accepted = Vec::new();
        for job in jobs {
            match staging.take(&job.request) {
                Ok(receipts) => accepted.push((job, receipts)),
                Err(error) => refuse(vec![job], &error),
            }
        }
        let staged = staging.finish();
        if !staged.entries.is_empty() {
            match self.append(staged) {
                Ok(batch) => self.unfinished = Some(batch),
                Err(error) => {
                    return refuse(accepted.into_iter().map(|(job, _)| job).collect(), &error);
                }
            }
            if let Err(error) = self.commit_unfinished() {
                refuse(accepted.into_iter().map(|(job, _)| job).collect(), &error);
                // Not told to anyone yet: what comes next finds out how it went.
                return;
            }
        }
        self.acknowledge(accepted);
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
            origin: self.origin.clone(),
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

    /// Commits the signed batch and publishes its checkpoint.
    fn commit_unfinished(&mut self) -> Result<(), SubmitError> {
        let Some(batch) = &self.unfinished else {
            return Ok(());
        };
        let started = Instant::now();
        let expected = self.published.borrow().size;
        match self.store.commit(expected, batch) {
            Ok(()) => {
                self.metrics.commit_time.observe(started.elapsed().as_secs_f64());
                self.publish();
                Ok(())
            }
            Err(CommitError::Store(error)) => {
                tracing::error!(%error, "the log could not commit; it tries again with the next submission");
                Err(SubmitError::Unavailable { reason: error.to_string() })
            }
            Err(error @ CommitError::Conflict { .. }) => Err(self.stop(format!(
                "{error}: something else writes to this log's database. Make sure that only one quorix runs on it, then \
                 start it again"
            ))),
        }
    }

    /// Finds out how the commit of unknown outcome went, and completes it if it was not written.
    fn finish_unfinished(&mut self) -> Result<(), SubmitError> {
        if let Some(reason) = self.stopped.get() {
            return Err(SubmitError::Stopped {
                reason: reason.clone(),
            });
        }
        let Some(batch) = &self.unfinished else {
            return Ok(());
        };
        let attempted = batch.tree.head.clone();
        let stored = self
            .store
            .head()
            .map_err(|error| SubmitError::Unavailable {
                reason: error.to_string(),
            })?;
        if stored.as_ref() == Some(&attempted) {
            self.publish();
        } else if stored.as_ref() == Some(&**self.published.borrow()) {
            self.commit_unfinished()?;
        } else {
            let found = stored.map_or(0, |head| head.size);
            return Err(self.stop(format!(
                "after a failed write the database holds a tree of {found} entries that this process did not sign. Restart \
                 it; if it does not start, restore a backup that is not older than the newest published checkpoint"
            )));
        }
        let tree = Tree::load(&*self.store, &attempted);
        self.tree = tree.map_err(|error| {
            self.stop(format!(
                "after a failed write the database is damaged: {error}"
            ))
        })?;
        tracing::info!(size = attempted.size, "the log commits again");
        Ok(())
    }

    /// Publishes the head of the batch that has become durable.
    fn publish(&mut self) {
        let Some(batch) = self.unfinished.take() else {
            return;
        };
        self.metrics.commits.inc();
        self.metrics.entries("appended", batch.tree.leaves.len());
        self.metrics
            .size
            .set(i64::try_from(batch.tree.head.size).unwrap_or(i64::MAX));
        self.published.send_replace(Arc::new(batch.tree.head));
    }

    fn acknowledge(&self, accepted: Vec<Accepted>) {
        let checkpoint = self.published.borrow().checkpoint.clone();
        for (job, receipts) in accepted {
            self.metrics.entries(
                "duplicate",
                receipts.iter().filter(|receipt| receipt.duplicate).count(),
            );
            // Whoever went away meanwhile will find the entries in the log.
            let _ = job.reply.send(Ok(Submitted {
                receipts,
                checkpoint: checkpoint.clone(),
            }));
        }
    }

    /// Stops for good: nothing is signed any more.
    fn stop(&self, reason: String) -> SubmitError {
        tracing::error!(%reason, "the log has stopped");
        self.metrics.stopped.set(1);
        let reason = self.stopped.get_or_init(|| reason).clone();
        SubmitError::Stopped { reason }
    }
}

fn refuse(jobs: Vec<Job>, error: &SubmitError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
