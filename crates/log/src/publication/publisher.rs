//! The thread that publishes what witnesses have cosigned.
//!
//! It takes the newest durable head, gets the cosignatures, notes what it publishes so that a restart serves it at
//! once, shows it, and answers all who waited for it. While it fails it tries again, with a pause that grows.

use std::sync::Arc;
use std::time::Duration;

use quorix_tlog::note::SignedNote;
use quorix_trust::ports::{Head, LogStore};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::cosigner::{CommittedTree, Cosigner};
use super::{Problem, Waiting};
use crate::config::LogConfig;
use crate::error::SubmitError;
use crate::metrics::Metrics;
use crate::sequencer::Message;
use crate::storage::Reopenable;

/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Publishes with witnesses.
pub(crate) struct Publisher {
    pub(crate) cosigner: Arc<dyn Cosigner>,
    pub(crate) store: Arc<Reopenable>,
    pub(crate) committed: watch::Receiver<Arc<Head>>,
    pub(crate) waiting: mpsc::UnboundedReceiver<Waiting>,
    pub(crate) published: watch::Sender<Arc<Head>>,
    pub(crate) problem: Problem,
    /// To have the sequencer reopen a store that fails here.
    pub(crate) sequencer: mpsc::WeakSender<Message>,
    pub(crate) config: LogConfig,
    pub(crate) metrics: Metrics,
}

/// Why the publisher looks up.
enum Event {
    Came(Waiting),
    Committed,
    Time,
    /// The sequencer has ended.
    End,
}

impl Publisher {
    /// Works until the sequencer has ended, and publishes once more then.
    pub(crate) async fn run(mut self) {
        let mut held = Vec::new();
        let mut pause = self.config.retry_pause;
        loop {
            let published = self.publish().await;
            let next = if published {
                pause = self.config.retry_pause;
                self.config.republish
            } else {
                let wait = pause;
                pause = pause.saturating_mul(2).min(PAUSE_MAX);
                wait
            };
            self.answer(&mut held);
            if self.wait(next, published, &mut held).await {
                break;
            }
        }
        // Who waited to the end is served if one more attempt does it.
        while let Ok(waiting) = self.waiting.try_recv() {
            held.push(waiting);
        }
        if self.committed.borrow().size > self.published.borrow().size {
            self.publish().await;
        }
        self.answer(&mut held);
        for waiting in held {
            let reason = self.problem.get();
            let reason = reason.unwrap_or_else(|| "it is shutting down".to_owned());
            let _ = waiting.reply.send(Err(SubmitError::Unavailable { reason }));
        }
    }

    /// Waits until there is something to publish; `true` once the sequencer has ended.
    async fn wait(&mut self, time: Duration, published: bool, held: &mut Vec<Waiting>) -> bool {
        let until = Instant::now() + time;
        loop {
            let event = tokio::select! {
                biased;
                came = self.waiting.recv() => came.map_or(Event::End, Event::Came),
                changed = self.committed.changed(), if published => match changed {
                    Ok(()) => Event::Committed,
                    Err(_) => Event::End,
                },
                () = sleep_until(until) => Event::Time,
            };
            match event {
                Event::Came(waiting) => {
                    held.push(waiting);
                    self.answer(held);
                }
                Event::Committed | Event::Time => return false,
                Event::End => return true,
            }
        }
    }

    /// Publishes the newest durable head; whether that went well.
    async fn publish(&mut self) -> bool {
        let head = Arc::clone(&self.committed.borrow_and_update());
        let result = self.cosigned(&head).await;
        let result = result.and_then(|note| {
            let head = Head {
                checkpoint: note,
                ..Head::clone(&head)
            };
            match self.store.note_published(Some(&head)) {
                Ok(()) => Ok(head),
                Err(error) => {
                    // A full queue is no matter: the next failure says it again.
                    if let Some(sequencer) = self.sequencer.upgrade() {
                        let _ = sequencer.try_send(Message::Failed(error.clone()));
                    }
                    Err(error.to_string())
                }
            }
        });
        let problem = match result {
            Ok(head) => {
                self.metrics.published(head.size);
                self.published.send_replace(Arc::new(head));
                None
            }
            Err(reason) => {
                tracing::warn!(%reason, size = head.size, "the log cannot publish; it tries again");
                Some(reason)
            }
        };
        self.metrics.unpublished.set(
            i64::try_from(head.size.saturating_sub(self.published.borrow().size))
                .unwrap_or(i64::MAX),
        );
        let published = problem.is_none();
        self.problem.set(problem);
        published
    }

    /// The note to publish, checked to be this checkpoint with the log's signature first.
    async fn cosigned(&self, head: &Head) -> Result<Vec<u8>, String> {
        let tree = CommittedTree::new(Arc::clone(&self.store));
        let within = self.config.cosign_within;
        let note = timeout(within, self.cosigner.cosign(head, &tree))
            .await
            .map_err(|_| {
                format!(
                    "not enough witnesses cosign: none of them in {} s",
                    within.as_secs()
                )
            })?
            .map_err(|error| error.to_string())?;
        let is_note = SignedNote::parse(&note).is_ok();
        if !is_note || !note.starts_with(&head.checkpoint) {
            return Err("the cosigned note is not of the log's checkpoint".to_owned());
        }
        Ok(note)
    }

    /// Answers all that what is published covers, and lets go of those whose submitter has gone.
    fn answer(&self, held: &mut Vec<Waiting>) {
        let published = Arc::clone(&self.published.borrow());
        let all = std::mem::take(held);
        for waiting in all {
            if waiting.needs() <= published.size {
                waiting.acknowledge(&published, &self.metrics);
            } else if !waiting.reply.is_closed() {
                held.push(waiting);
            }
        }
    }
}
