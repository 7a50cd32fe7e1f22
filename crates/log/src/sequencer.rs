//! The sequencer: the one thread that gives entries their order.
//!
//! Each round takes everything that waits, appends it, signs the new checkpoint, commits all of it in one durable
//! step, anchors the checkpoint, and only then hands it on to be published and acknowledged. While a commit is written
//! the next round gathers, so that the more is submitted, the more shares a commit.
//!
//! Where the outcome of a commit or of the anchor is not known nothing else is signed: the database is opened anew and
//! asked what it has, and exactly that batch, with the checkpoint that was signed for it, is completed first. A log
//! never signs two histories.

mod commit;
mod mend;
mod staging;

use std::sync::{Arc, OnceLock};

use quorix_tlog::note::SigningKey;
use quorix_trust::ports::{Anchor, Head, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::config::LogConfig;
use crate::error::SubmitError;
use crate::metrics::Metrics;
use crate::publication::{Problem, Publication, Waiting};
use crate::request::Request;
use crate::service::Submitted;
use crate::storage::Reopenable;
use crate::tree::{End, Tree};
use mend::Trouble;
use staging::Staging;

/// What the sequencer is asked.
pub(crate) enum Message {
    /// To append entries.
    Submit(Job),
    /// To open the database anew: it failed elsewhere.
    Failed(StoreError),
    /// To finish what waits, and end.
    Shutdown,
}

/// A request that waits.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    /// Its share of the queue, given back when it is answered.
    pub(crate) room: OwnedSemaphorePermit,
}

/// The one writer of a log.
pub(crate) struct Sequencer {
    pub(crate) store: Arc<Reopenable>,
    pub(crate) anchor: Box<dyn Anchor>,
    pub(crate) key: SigningKey,
    pub(crate) config: LogConfig,
    pub(crate) tree: Tree,
    /// The newest head that is durable and anchored.
    pub(crate) committed: Arc<Head>,
    pub(crate) publication: Publication,
    /// Why nothing is published at present.
    pub(crate) problem: Problem,
    pub(crate) stopped: Arc<OnceLock<String>>,
    /// Set for good once the last entry is durable.
    pub(crate) ended: Arc<OnceLock<End>>,
    pub(crate) metrics: Metrics,
    /// There while it is not known what the database holds.
    pub(crate) trouble: Option<Trouble>,
    /// Waits beside the queue while the database is in trouble.
    pub(crate) timer: tokio::runtime::Runtime,
}

/// Where an answer goes.
type Reply = oneshot::Sender<Result<Submitted, SubmitError>>;

impl Sequencer {
    /// Works until it is told to stop or nobody is left who could ask.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(message) = self.next(&mut queue) {
            match message {
                Message::Submit(first) => {
                    let jobs = self.gather(first, &mut queue);
                    self.round(jobs);
                }
                Message::Failed(error) => self.in_doubt(&error, None),
                Message::Shutdown => queue.close(),
            }
        }
    }

    /// The first request and all that wait behind it, up to what one commit takes.
    fn gather(&mut self, first: Job, queue: &mut mpsc::Receiver<Message>) -> Vec<Job> {
        let (mut entries, mut bytes) = (first.request.entries.len(), first.request.bytes());
        let mut jobs = vec![first];
        while entries < self.config.commit_entries && bytes < self.config.commit_bytes {
            match queue.try_recv() {
                Ok(Message::Submit(job)) => {
                    entries = entries.saturating_add(job.request.entries.len());
                    bytes = bytes.saturating_add(job.request.bytes());
                    jobs.push(job);
                }
                Ok(Message::Failed(error)) => {
                    self.in_doubt(&error, None);
                    break;
                }
                Ok(Message::Shutdown) => queue.close(),
                Err(_) => break,
            }
        }
        jobs
    }

    fn round(&mut self, jobs: Vec<Job>) {
        if let Err(error) = self.may_sign() {
            return refuse(jobs.into_iter().map(|job| job.reply), &error);
        }
        let mut staging = Staging::new(&*self.store, self.tree.size(), self.ended.get().cloned());
        let mut accepted = Vec::new();
        for job in jobs {
            let Job {
                request,
                reply,
                room,
            } = job;
            match staging.take(request) {
                Ok(receipts) => accepted.push(Waiting {
                    receipts,
                    reply,
                    room,
                }),
                Err(error) => refuse([reply], &error),
            }
        }
        let staged = staging.finish();
        if !staged.entries.is_empty()
            && let Err(error) = self.extend(staged)
        {
            return refuse(accepted.into_iter().map(|waiting| waiting.reply), &error);
        }
        for waiting in accepted {
            self.publication.acknowledge(waiting);
        }
    }

    /// Whether anything may be appended now.
    fn may_sign(&self) -> Result<(), SubmitError> {
        if let Some(reason) = self.stopped.get() {
            let reason = reason.clone();
            return Err(SubmitError::Stopped { reason });
        }
        if let Some(trouble) = &self.trouble {
            return Err(trouble.refusal());
        }
        if self.publication.backlog(&self.committed) > self.config.unpublished_entries {
            let reason = self.problem.get();
            let reason = reason.unwrap_or_else(|| {
                "too much waits to be cosigned by the log's witnesses".to_owned()
            });
            return Err(SubmitError::Unavailable { reason });
        }
        Ok(())
    }

    /// Stops for good: nothing is signed any more.
    fn stop(&self, reason: String) -> SubmitError {
        tracing::error!(%reason, "the log has stopped");
        self.metrics.stopped.set(1);
        let reason = self.stopped.get_or_init(|| reason).clone();
        SubmitError::Stopped { reason }
    }
}

fn refuse(replies: impl IntoIterator<Item = Reply>, error: &SubmitError) {
    for reply in replies {
        // Who went away meanwhile hears nothing.
        let _ = reply.send(Err(error.clone()));
    }
}
