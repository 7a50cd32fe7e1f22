//! One running log: checks it at start, hands submissions to the sequencer, and tells its state.
//!
//! A [`Log`] is a cheap handle. What is checked before anything is signed is in `start`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use prometheus_client::registry::Registry;
use quorix_tlog::note::{SigningKey, VerifierKey};
use quorix_trust::ports::{Head, LogStore as _, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::config::{LogConfig, REQUEST_BYTES_MAX};
use crate::error::{StartError, SubmitError};
use crate::index::{IndexStatus, LogIndex};
use crate::metrics::Metrics;
use crate::publication::cosigner::{CommittedTree, Witnessing};
use crate::publication::{Problem, Publication, Publisher, Witnessed};
use crate::published::Published;
use crate::request::{Request, check, check_rotation, check_size};
use crate::sequencer::{Job, Message, Sequencer};
use crate::start::Known;
use crate::storage::{Reopenable, Storage};
use crate::tree::End;
use crate::witnesses::Seen;

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
    /// Why nothing new is published at present, if so.
    pub problem: Option<String>,
    /// How far its index has come, if it keeps one.
    pub index: Option<IndexStatus>,
    /// What the start found left over, if anything.
    pub recovery: Option<Recovery>,
    /// vkey of the key that follows, once the log has ended.
    pub successor: Option<String>,
}

/// What a log found at its start that had never been acknowledged: the end of a run that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Entries that the anchor showed to be signed.
    pub anchored: u64,
    /// Entries of the newest whole batch, which is kept.
    pub kept: u64,
    /// Entries behind it that no checkpoint covered: they are dropped.
    pub dropped: u64,
}

/// A handle to a running log.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    config: LogConfig,
    key: VerifierKey,
    recovery: Option<Recovery>,
    ended: Arc<OnceLock<End>>,
    store: Arc<Reopenable>,
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    published: Published,
    /// Why nothing new is published at present.
    problem: Problem,
    stopped: Arc<OnceLock<String>>,
    finished: watch::Receiver<()>,
    metrics: Metrics,
    index: OnceLock<LogIndex>,
}

impl Log {
    /// Checks what is stored, signs the checkpoint of the empty tree where nothing is, and starts the sequencer's
    /// thread, with witnesses also the publisher's. Reads the store: blocks for a moment.
    ///
    /// # Errors
    /// The key is another log's, what is stored is not all that this key has signed, or storage fails.
    pub fn start(
        storage: Storage,
        witnessing: Option<Witnessing>,
        key: SigningKey,
        config: LogConfig,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let key_name = key.verifier().name().as_str();
        if key_name != config.origin {
            let (key, origin) = (key_name.to_owned(), config.origin.clone());
            return Err(StartError::KeyName { key, origin });
        }
        let Storage {
            open,
            open_to_read,
            anchor,
            beginning,
        } = storage;
        let store = Arc::new(Reopenable::open(open, open_to_read)?);
        let known = Known {
            key: &key,
            origin: &config.origin,
            anchor: &*anchor,
            beginning: &*beginning,
            witnessed: witnessing.is_some(),
            seen: witnessing.as_ref().map(|witnessing| &witnessing.seen),
            vouch: &|head| vouch(witnessing.as_ref(), head, &store),
        };
        let opened = known.open(&*store)?;
        let metrics = Metrics::register(registry);
        metrics.published(opened.published.size);
        let verifier = key.verifier().clone();
        let ended = Arc::new(opened.end.map_or_else(OnceLock::new, OnceLock::from));
        let (published, head) = watch::channel(Arc::new(opened.published));
        let (problem, stopped) = (Problem::default(), Arc::new(OnceLock::new()));
        let (queue, messages) = mpsc::channel(config.queue_requests.max(1));
        let (alive, finished) = watch::channel(());
        let committed = Arc::new(opened.head);
        let witnessed = match witnessing {
            None => None,
            Some(witnessing) => {
                let (heads, newest) = watch::channel(Arc::clone(&committed));
                let (waiting, waiters) = mpsc::unbounded_channel();
                let publisher = Publisher {
                    cosigner: witnessing.cosigner,
                    store: Arc::clone(&store),
                    committed: newest,
                    waiting: waiters,
                    published: published.clone(),
                    problem: problem.clone(),
                    sequencer: queue.downgrade(),
                    config: config.clone(),
                    metrics: metrics.clone(),
                };
                let runtime = runtime()?;
                spawn("log-publisher", alive.clone(), move || {
                    runtime.block_on(publisher.run());
                })?;
                Some(Witnessed {
                    committed: heads,
                    waiting,
                })
            }
        };
        let sequencer = Sequencer {
            store: Arc::clone(&store),
            anchor,
            key,
            config: config.clone(),
            tree: opened.tree,
            committed,
            publication: Publication {
                published,
                metrics: metrics.clone(),
                witnessed,
            },
            problem: problem.clone(),
            stopped: Arc::clone(&stopped),
            ended: Arc::clone(&ended),
            metrics: metrics.clone(),
            trouble: None,
            timer: runtime()?,
        };
        spawn("log-sequencer", alive, move || sequencer.run(messages))?;
        let room = config
            .queue_bytes
            .clamp(REQUEST_BYTES_MAX, Semaphore::MAX_PERMITS);
        let inner = Inner {
            config,
            key: verifier,
            recovery: opened.recovery,
            ended,
            published: Published::new(Arc::clone(&store), head),
            store,
            queue,
            room: Arc::new(Semaphore::new(room)),
            problem,
            stopped,
            finished,
            metrics,
            index: OnceLock::new(),
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
        self.submit_within(None, entries, blobs).await
    }

    /// The same with room in the queue that was taken before.
    pub(crate) async fn submit_within(
        &self,
        room: Option<OwnedSemaphorePermit>,
        entries: Vec<Vec<u8>>,
        blobs: Vec<Vec<u8>>,
    ) -> Result<Submitted, SubmitError> {
        let answer = self.try_submit(room, entries, blobs).await;
        self.inner.metrics.request(match &answer {
            Ok(_) => "ok",
            Err(SubmitError::Busy) => "busy",
            Err(SubmitError::Unavailable { .. }) => "unavailable",
            Err(SubmitError::Stopped { .. }) => "stopped",
            Err(SubmitError::Ended { .. }) => "ended",
            Err(_) => "refused",
        });
        answer
    }

    /// The room of its queue, in bytes.
    pub(crate) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.room)
    }

    async fn try_submit(
        &self,
        room: Option<OwnedSemaphorePermit>,
        entries: Vec<Vec<u8>>,
        blobs: Vec<Vec<u8>>,
    ) -> Result<Submitted, SubmitError> {
        let bytes = check_size(&entries, &blobs)?;
        let weight = bytes.saturating_add(entries.len().saturating_mul(ENTRY_OVERHEAD_BYTES));
        let weight = weight.clamp(1, REQUEST_BYTES_MAX);
        let taken = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(weight.saturating_sub(taken)).unwrap_or(u32::MAX);
        let mut more = Arc::clone(&self.inner.room)
            .try_acquire_many_owned(missing)
            .map_err(|_| SubmitError::Busy)?;
        if let Some(taken) = room {
            more.merge(taken);
        }
        let room = more;
        let store = Arc::clone(&self.inner.store);
        let checked = tokio::task::spawn_blocking(move || check(entries, blobs, &*store)).await;
        let request = checked.map_err(|error| SubmitError::Unavailable {
            reason: error.to_string(),
        })??;
        self.queue(request, room).await
    }

    /// Ends the log: its last entry names the key that follows. The same rotation again is answered as any entry that is
    /// there. After it nothing new is taken, and the newest checkpoint is published on.
    ///
    /// # Errors
    /// Not signed by this log's key and the one that follows, or the log has ended otherwise; and as
    /// [`submit`](Self::submit).
    pub async fn rotate(&self, entry: Vec<u8>) -> Result<Submitted, SubmitError> {
        let request = check_rotation(entry, &self.inner.key)?;
        let weight = u32::try_from(request.bytes().clamp(1, REQUEST_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.inner.room)
            .try_acquire_many_owned(weight)
            .map_err(|_| SubmitError::Busy)?;
        self.queue(request, room).await
    }

    /// Makes a marked copy of the log as it is now in a folder that does not exist yet, while the log goes on. Gives the
    /// number of entries in it.
    ///
    /// # Errors
    /// The folder exists or cannot be made, or the database is closed after an error.
    pub async fn backup(&self, dir: PathBuf) -> Result<u64, StoreError> {
        let store = Arc::clone(&self.inner.store);
        let copied = tokio::task::spawn_blocking(move || store.backup(&dir)).await;
        copied.unwrap_or_else(|error| {
            Err(StoreError {
                operation: "making a copy of the log".to_owned(),
                reason: error.to_string(),
            })
        })
    }

    /// Hands a request to the sequencer and waits for its answer.
    async fn queue(
        &self,
        request: Request,
        room: OwnedSemaphorePermit,
    ) -> Result<Submitted, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Submit(Job {
            request,
            reply,
            room,
        });
        self.inner
            .queue
            .try_send(message)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
                mpsc::error::TrySendError::Closed(_) => self.gone(),
            })?;
        match tokio::time::timeout(self.inner.config.acknowledge_within, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(self.gone())),
            Err(_) => {
                let reason = self.inner.problem.get();
                let reason = reason.unwrap_or_else(|| "it takes too long".to_owned());
                Err(SubmitError::Unavailable { reason })
            }
        }
    }

    /// What this log is and how far it has come.
    #[must_use]
    pub fn status(&self) -> Status {
        let head = self.inner.published.head();
        Status {
            origin: self.inner.config.origin.clone(),
            vkey: self.inner.key.to_string(),
            size: head.size,
            checkpoint: head.checkpoint.clone(),
            stopped: self.inner.stopped.get().cloned(),
            problem: self.inner.problem.get(),
            index: self.inner.index.get().map(LogIndex::status),
            recovery: self.inner.recovery,
            successor: self.inner.ended.get().map(|end| end.successor.clone()),
        }
    }

    /// Lets the sequencer finish what waits, and waits for its end. Later submissions are refused.
    pub async fn shutdown(&self) {
        // Fails only if the sequencer has ended already.
        let _ = self.inner.queue.send(Message::Shutdown).await;
        let mut finished = self.inner.finished.clone();
        // The senders live in the log's threads and never send.
        let _ = finished.changed().await;
    }

    /// Has the status of its index told with its own.
    pub(crate) fn tell_of(&self, index: &LogIndex) {
        // A second one is not told of.
        let _ = self.inner.index.set(index.clone());
    }

    /// How it is to work.
    pub(crate) fn config(&self) -> &LogConfig {
        &self.inner.config
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

/// Takes what a stopped log's database holds for its newest state, because its operator says that nothing was signed
/// beyond it: the mark of a copy is taken away, and the anchor follows. An empty database becomes a log of no entries.
/// `seen` is what witnesses show, if there are any. Gives the size. Blocks.
///
/// # Errors
/// The database is damaged, is behind its anchor or a witness, or does not hold `confirmed` entries. Nothing was changed
/// then, unless storage failed.
pub fn adopt(
    storage: Storage,
    key: &SigningKey,
    origin: &str,
    seen: Option<&Seen>,
    confirmed: u64,
) -> Result<u64, StartError> {
    let Storage {
        open,
        anchor,
        beginning,
        ..
    } = storage;
    let store = open()?;
    let known = Known {
        key,
        origin,
        anchor: &*anchor,
        beginning: &*beginning,
        witnessed: false,
        seen,
        vouch: &|_| Err("they are not asked".to_owned()),
    };
    Ok(known.adopt(&*store, confirmed)?.size)
}

/// Has the witnesses cosign a stored head. Blocks, on a thread of its own: this one may run a runtime already.
fn vouch(
    witnessing: Option<&Witnessing>,
    head: &Head,
    store: &Arc<Reopenable>,
) -> Result<(), String> {
    let Some(Witnessing { cosigner, .. }) = witnessing else {
        return Err("there are none".to_owned());
    };
    let tree = CommittedTree::new(Arc::clone(store));
    let asking = || {
        let runtime = runtime().map_err(|error| error.to_string())?;
        let asked = runtime.block_on(cosigner.vouch(head, &tree));
        asked.map_err(|error| error.to_string())
    };
    std::thread::scope(|scope| scope.spawn(asking).join())
        .unwrap_or_else(|_| Err("asking them failed".to_owned()))
}

/// Runs a thread; `alive` is dropped when it has ended.
fn spawn(
    name: &str,
    alive: watch::Sender<()>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), StartError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || {
        work();
        drop(alive);
    });
    thread.map(drop).map_err(|error| StartError::Thread {
        reason: error.to_string(),
    })
}

/// A clock that only measures how long something takes, and what waits for it.
fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| StartError::Thread {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
