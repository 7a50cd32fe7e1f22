//! One running log: checks it at start, hands submissions to the sequencer, and tells its state.
//!
//! A [`Log`] is a cheap handle. Nothing is signed unless what is stored is exactly the tree that the stored checkpoint
//! says, under this log's own key.

use std::sync::{Arc, OnceLock};

use prometheus_client::registry::Registry;
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::EMPTY_ROOT;
use quorix_tlog::note::SigningKey;
use quorix_trust::ports::{Head, LogBatch, LogStore, TreeBatch};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::config::{LogConfig, REQUEST_BYTES_MAX};
use crate::error::{StartError, SubmitError, TreeError};
use crate::metrics::Metrics;
use crate::published::Published;
use crate::request::{check, check_size};
use crate::sequencer::{Job, Message, Sequencer};
use crate::tree::Tree;

/// What an entry costs in the queue besides its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// Where a submitted entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Index of the leaf; the first one where the same bytes had been appended before.
    pub index: u64,
    /// The same bytes were in the log already.
    pub duplicate: bool,
}

/// The answer to a submission: durable, signed and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// One a submitted entry, in its order.
    pub receipts: Vec<Receipt>,
    /// The signed checkpoint that covers every receipt.
    pub checkpoint: Vec<u8>,
}

/// What a log is and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub origin: String,
    /// vkey of its key.
    pub vkey: String,
    /// Entries in the published tree.
    pub size: u64,
    /// The published checkpoint.
    pub checkpoint: Vec<u8>,
    /// Why it takes no more entries, if it has stopped for good.
    pub stopped: Option<String>,
}

/// A handle to a running log.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    config: LogConfig,
    vkey: String,
    store: Arc<dyn LogStore>,
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    published: Published,
    stopped: Arc<OnceLock<String>>,
    ended: watch::Receiver<()>,
    metrics: Metrics,
}

impl Log {
    /// Checks what is stored, signs the checkpoint of the empty tree where nothing is, and starts the sequencer's
    /// thread. Reads the store: blocks for a moment.
    ///
    /// # Errors
    /// The key is another log's, what is stored is not a tree that this key signed, or the store fails.
    pub fn start(
        store: Arc<dyn LogStore>,
        key: SigningKey,
        config: LogConfig,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let key_name = key.verifier().name().as_str();
        if key_name != config.origin {
            let (key, origin) = (key_name.to_owned(), config.origin.clone());
            return Err(StartError::KeyName { key, origin });
        }
        let head = open_head(&*store, &key, &config.origin)?;
        let tree = Tree::load(&*store, &head)?;
        let metrics = Metrics::register(registry);
        metrics
            .size
            .set(i64::try_from(head.size).unwrap_or(i64::MAX));
        let vkey = key.verifier().to_string();
        let (publisher, published) = watch::channel(Arc::new(head));
        let stopped = Arc::new(OnceLock::new());
        let (queue, waiting) = mpsc::channel(config.queue_requests.max(1));
        let sequencer = Sequencer {
            store: Arc::clone(&store),
            key,
            origin: config.origin.clone(),
            tree,
            published: publisher,
            stopped: Arc::clone(&stopped),
            metrics: metrics.clone(),
            commit_entries: config.commit_entries,
            commit_bytes: config.commit_bytes,
            unfinished: None,
        };
        let ended = spawn(sequencer, waiting)?;
        let room = Arc::new(Semaphore::new(
            config
                .queue_bytes
                .clamp(REQUEST_BYTES_MAX, Semaphore::MAX_PERMITS),
        ));
        let published = Published::new(Arc::clone(&store), published);
        let inner = Inner {
            config,
            vkey,
            store,
            queue,
            room,
            published,
            stopped,
            ended,
            metrics,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Appends entries with the blobs that they name, all or none. Answers when they are durable, in the tree, and
    /// the tree is signed and published; the same bytes again are answered with where they were before.
    ///
    /// # Errors
    /// See [`SubmitError`]. After [`SubmitError::Unavailable`] the same entries can be sent again without harm.
    pub async fn submit(
        &self,
        entries: Vec<Vec<u8>>,
        blobs: Vec<Vec<u8>>,
    ) -> Result<Submitted, SubmitError> {
        let answer = self.try_submit(entries, blobs).await;
        self.inner.metrics.request(match &answer {
            Ok(_) => "ok",
            Err(SubmitError::Busy) => "busy",
            Err(SubmitError::Unavailable { .. }) => "unavailable",
            Err(SubmitError::Stopped { .. }) => "stopped",
            Err(_) => "refused",
        });
        answer
    }

    async fn try_submit(
        &self,
        entries: Vec<Vec<u8>>,
        blobs: Vec<Vec<u8>>,
    ) -> Result<Submitted, SubmitError> {
        let bytes = check_size(&entries, &blobs)?;
        let weight = bytes.saturating_add(entries.len().saturating_mul(ENTRY_OVERHEAD_BYTES));
        let weight = u32::try_from(weight.clamp(1, REQUEST_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.inner.room)
            .try_acquire_many_owned(weight)
            .map_err(|_| SubmitError::Busy)?;
        let store = Arc::clone(&self.inner.store);
        let checked = tokio::task::spawn_blocking(move || check(entries, blobs, &*store)).await;
        let request = checked.map_err(|error| SubmitError::Unavailable {
            reason: error.to_string(),
        })??;
        let (reply, answer) = oneshot::channel();
        let message = Message::Submit(Job {
            request,
            reply,
            _room: room,
        });
        self.inner
            .queue
            .try_send(message)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
                mpsc::error::TrySendError::Closed(_) => self.gone(),
            })?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// What this log is and how far it has come.
    #[must_use]
    pub fn status(&self) -> Status {
        let head = self.inner.published.head();
        Status {
            origin: self.inner.config.origin.clone(),
            vkey: self.inner.vkey.clone(),
            size: head.size,
            checkpoint: head.checkpoint.clone(),
            stopped: self.inner.stopped.get().cloned(),
        }
    }

    /// Lets the sequencer finish what waits, and waits for its end. Later submissions are refused.
    pub async fn shutdown(&self) {
        // Fails only if the sequencer has ended already.
        let _ = self.inner.queue.send(Message::Shutdown).await;
        let mut ended = self.inner.ended.clone();
        // The sender lives in the sequencer's thread and never sends.
        let _ = ended.changed().await;
    }

    /// What the world may see.
    pub(crate) fn published(&self) -> Published {
        self.inner.published.clone()
    }

    fn gone(&self) -> SubmitError {
        let reason = self.inner.stopped.get().cloned();
        SubmitError::Stopped {
            reason: reason.unwrap_or_else(|| "it is shutting down".to_owned()),
        }
    }
}

fn spawn(
    sequencer: Sequencer,
    waiting: mpsc::Receiver<Message>,
) -> Result<watch::Receiver<()>, StartError> {
    let (alive, ended) = watch::channel(());
    let work = move || {
        sequencer.run(waiting);
        drop(alive);
    };
    let thread = std::thread::Builder::new()
        .name("log-sequencer".to_owned())
        .spawn(work);
    thread.map_err(|error| StartError::Thread {
        reason: error.to_string(),
    })?;
    Ok(ended)
}

/// The stored head, its checkpoint verified; a new one for the empty tree where there is none.
fn open_head(store: &dyn LogStore, key: &SigningKey, origin: &str) -> Result<Head, StartError> {
    let problem = |problem| StartError::Checkpoint {
        origin: origin.to_owned(),
        problem,
    };
    if let Some(head) = store.head()? {
        let signed =
            SignedCheckpoint::open(&head.checkpoint, key.verifier(), origin).map_err(problem)?;
        let checkpoint = signed.checkpoint();
        if (checkpoint.size, checkpoint.root) != (head.size, head.root) {
            return Err(TreeError::Head {
                checkpoint: checkpoint.size,
                head: head.size,
            }
            .into());
        }
        return Ok(head);
    }
    let empty = Checkpoint {
        origin: origin.to_owned(),
        size: 0,
        root: EMPTY_ROOT,
        extensions: Vec::new(),
    };
    let head = Head {
        size: 0,
        root: EMPTY_ROOT,
        checkpoint: empty.sign(key).map_err(problem)?,
    };
    let tree = TreeBatch {
        tiles: Vec::new(),
        leaves: Vec::new(),
        blobs: Vec::new(),
        head: head.clone(),
    };
    store.commit(
        0,
        &LogBatch {
            tree,
            retractions: Vec::new(),
        },
    )?;
    tracing::info!(%origin, "a new log begins");
    Ok(head)
}

#[cfg(test)]
mod tests;
