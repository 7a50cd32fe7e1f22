//! The verifiable index of this log: follows what is published, keeps the map, signs its states in the output log, and
//! answers look-ups.
//!
//! No part of acknowledgement: it only reads what is published, in its own time, and a log without it loses nothing.
//! Whatever is wrong with it, the log starts and goes on. Where the log has witnesses, they cosign the output log under
//! its own origin, and no state of the map is shown before enough of them have. Each step is one synced write of its own
//! database; after a crash the next step begins where the last one ended. All of it follows from the log, so its folder
//! can be deleted, and what is made again is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use quorix_tlog::hash::Hash;
use quorix_tlog::index as verifiable;
use quorix_tlog::note::{SignedNote, SigningKey};
use quorix_tlog::tile::TileId;
use quorix_trust::ports::{Head, LogIndexStore, StoreError};
use tokio::sync::Semaphore;

use crate::error::TreeError;
use crate::publication::cosigner::{CommittedTree, Cosigner};
use crate::published::Published;
use crate::service::Log;
use crate::tree::{first_hashes, stored_hashes};
use crate::witnesses::Witnesses;

mod answers;
pub mod audit;
mod error;
mod follower;
mod maker;
mod metrics;
mod reader;
pub mod routes;
mod shelf;

pub use error::{IndexError, NoAnswer};
use follower::{Follower, Step};
use metrics::IndexMetrics;
use shelf::Shelf;

/// How often the follower looks for something new.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often it does where witnesses have to cosign: they take 60 checkpoints a minute of one origin, where not told
/// otherwise.
const COSIGN_EVERY: Duration = Duration::from_secs(1);

/// How long it waits after the first failure; twice as long after each further one.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The longest wait after a failure.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Look-ups that read at the same time. Reading blocks, and the threads for it are the submitters' too.
const READS_AT_ONCE: usize = 8;

/// Collects cosignatures on the output log, as a [`Cosigner`] does for the log itself, and knows which notes have enough.
pub trait IndexCosigner: Cosigner {
    /// Whether a note of the output log that was stored is one that may be shown.
    fn is_cosigned(&self, note: &[u8]) -> bool;
}

impl IndexCosigner for Witnesses {
    fn is_cosigned(&self, note: &[u8]) -> bool {
        self.accepts(note)
    }
}

/// How far the index has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexStatus {
    /// Entries that it covers.
    pub covered: u64,
    /// Published entries behind them. Up to 15 always are: the index grows by 16 at a time.
    pub behind: u64,
    /// For how many seconds 16 or more have been behind.
    pub behind_s: u64,
    /// Keys in the map.
    pub keys: u64,
    /// Whether it answers look-ups.
    pub answering: bool,
    /// What is wrong at present; it tries again.
    pub problem: Option<String>,
    /// Why it does not go on, if it does not.
    pub stopped: Option<String>,
}

/// A handle to the index of a running log.
#[derive(Clone)]
pub struct LogIndex {
    inner: Arc<Inner>,
}

struct Inner {
    published: Published,
    shelf: Shelf,
    key: SigningKey,
    cosigner: Option<Arc<dyn IndexCosigner>>,
    /// How long collecting cosignatures may take.
    cosign_within: Duration,
    /// After how long the same checkpoint is cosigned again.
    cosign_again: Duration,
    reads: Semaphore,
    state: std::sync::Mutex<State>,
    metrics: IndexMetrics,
}

struct State {
    covered: u64,
    keys: u64,
    /// When 16 or more entries were last not behind.
    caught_up: Instant,
    /// Size of the output log whose stored checkpoint may be shown. Changes only while nobody reads.
    shown: Option<u64>,
    /// When it was last cosigned by this process.
    cosigned: Option<Instant>,
    problem: Option<String>,
    stopped: Option<String>,
}

impl LogIndex {
    /// The index of a running log, which tells of it in its status from now on. Opens nothing yet: that happens when it
    /// first [catches up](LogIndex::catch_up), and again after each error.
    ///
    /// # Errors
    /// [`IndexError::Name`]: this log cannot have an index.
    pub fn new<S: LogIndexStore>(
        log: &Log,
        open: impl Fn() -> Result<S, StoreError> + Send + Sync + 'static,
        key: &SigningKey,
        cosigner: Option<Arc<dyn IndexCosigner>>,
        registry: &mut Registry,
    ) -> Result<Self, IndexError> {
        let key = verifiable::signer_of(key).map_err(|_| IndexError::Name)?;
        let open = move || Ok(Box::new(open()?) as Box<dyn LogIndexStore>);
        let state = State {
            covered: 0,
            keys: 0,
            caught_up: Instant::now(),
            shown: None,
            cosigned: None,
            problem: None,
            stopped: None,
        };
        let index = Self {
            inner: Arc::new(Inner {
                published: log.published(),
                shelf: Shelf::new(Box::new(open)),
                key,
                cosigner,
                cosign_within: log.config().cosign_within,
                cosign_again: log.config().republish,
                reads: Semaphore::new(READS_AT_ONCE),
                state: std::sync::Mutex::new(state),
                metrics: IndexMetrics::register(registry),
            }),
        };
        log.tell_of(&index);
        Ok(index)
    }

    /// Follows the log until it is dropped. Never fails: what goes wrong is told by the log, the metrics and
    /// [`LogIndex::status`], and is tried again where that can help.
    pub async fn run(self) {
        self.follow().await;
        // It has stopped. How far the log gets ahead of it goes on being measured.
        loop {
            self.measure();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when it has stopped for good.
    async fn follow(&self) {
        let mut pause = RETRY_AFTER;
        loop {
            let index = self.clone();
            // In a task of its own, so that a panic is told as well.
            let caught_up = tokio::spawn(async move { index.catch_up().await }).await;
            let wait = match caught_up {
                Ok(Ok(())) if self.inner.cosigner.is_some() => COSIGN_EVERY,
                Ok(Ok(()) | Err(IndexError::Ahead { .. })) => LOOK_EVERY,
                Ok(Err(error)) if error.is_final() => {
                    tracing::error!(%error, "the log's index has stopped; the log itself goes on");
                    return;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the log's index could not go on; it tries again");
                    let wait = pause;
                    pause = pause.saturating_mul(2).min(RETRY_AFTER_MAX);
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, "the log's index has stopped; the log itself goes on");
                    self.lock().stopped = Some(error.to_string());
                    return;
                }
            };
            pause = RETRY_AFTER;
            tokio::time::sleep(wait).await;
        }
    }

    /// Covers everything that is published, but for the last entries that are fewer than a step.
    ///
    /// # Errors
    /// See [`IndexError`]. What was written before stays.
    pub async fn catch_up(&self) -> Result<(), IndexError> {
        let result = self.go_on().await;
        if let Err(IndexError::Store(_) | IndexError::Commit(_)) = &result {
            // Nobody knows what a database has in memory and what on the disk after an error.
            self.inner.shelf.close();
        }
        let problem = result.as_ref().err().map(ToString::to_string);
        let mut state = self.lock();
        if result.as_ref().is_err_and(IndexError::is_final) {
            state.stopped.clone_from(&problem);
        }
        state.problem = problem;
        drop(state);
        self.measure();
        result
    }

    async fn go_on(&self) -> Result<(), IndexError> {
        let mut follower = None;
        loop {
            let index = self.clone();
            let (loaded, step) = blocking(move || index.prepare(follower)).await?;
            let Some(step) = step else {
                return Ok(());
            };
            let (step, is_shown) = self.cosigned(step).await?;
            let index = self.clone();
            follower = Some(blocking(move || index.write(loaded, &step, is_shown)).await?);
        }
    }

    /// Opens what is stored, so that it is answered from at once where it may be shown, before anybody
    /// [follows](LogIndex::run) the log. What goes wrong is told when that begins.
    pub async fn open(&self) {
        let index = self.clone();
        // It is loaded again there, and fails again.
        let _ = blocking(move || index.load()).await;
    }

    fn load(&self) -> Result<Follower, IndexError> {
        let Inner {
            published,
            shelf,
            key,
            ..
        } = &*self.inner;
        shelf.open()?;
        let follower = shelf.read(|store| Follower::load(published, store, key))?;
        self.recognise(follower.head());
        self.progress(&follower);
        Ok(follower)
    }

    /// The next write, if there is one, and the follower that was loaded for it. Blocks.
    fn prepare(&self, follower: Option<Follower>) -> Result<(Follower, Option<Step>), IndexError> {
        let Inner {
            published,
            shelf,
            key,
            ..
        } = &*self.inner;
        let is_first = follower.is_none();
        let mut follower = match follower {
            Some(follower) => follower,
            None => self.load()?,
        };
        let mut step = shelf.read(|store| follower.prepare(published, store, key))?;
        if step.is_none() && is_first && self.is_due(follower.head()) {
            step = Some(follower.same(key)?);
        }
        self.progress(&follower);
        Ok((follower, step))
    }

    /// Whether what is stored may be shown.
    fn recognise(&self, head: &Head) {
        if self.lock().shown == Some(head.size) {
            return;
        }
        let cosigner = self.inner.cosigner.as_ref();
        let is_good = cosigner.is_none_or(|cosigner| cosigner.is_cosigned(&head.checkpoint));
        self.lock().shown = is_good.then_some(head.size);
    }

    /// Whether the stored checkpoint needs new cosignatures.
    fn is_due(&self, head: &Head) -> bool {
        let state = self.lock();
        let is_fresh = |at: Instant| at.elapsed() < self.inner.cosign_again;
        self.inner.cosigner.is_some()
            && !(state.shown == Some(head.size) && state.cosigned.is_some_and(is_fresh))
    }

    /// The step with the note that is to be shown, and whether it may be. The witnesses are asked before it is written,
    /// so that the state before is answered from until then. While far behind nobody is asked: they may have seen more
    /// of an index that is being made again, and no answer from so far behind is of use.
    async fn cosigned(&self, mut step: Step) -> Result<(Step, bool), IndexError> {
        let Some(cosigner) = &self.inner.cosigner else {
            return Ok((step, true));
        };
        if !step.is_last {
            return Ok((step, false));
        }
        let head = &step.batch.output.head;
        let tree = self.tree_of(&step);
        let reason = |reason: String| IndexError::NotCosigned { reason };
        let within = self.inner.cosign_within;
        let note = tokio::time::timeout(within, cosigner.cosign(head, &tree)).await;
        let note = note
            .map_err(|_| reason(format!("no quorum in {} s", within.as_secs())))?
            .map_err(|error| reason(error.reason))?;
        if SignedNote::parse(&note).is_err() || !note.starts_with(&head.checkpoint) {
            return Err(reason(
                "the cosigned note is not of the index's checkpoint".to_owned(),
            ));
        }
        step.batch.output.head.checkpoint = note;
        self.lock().cosigned = Some(Instant::now());
        Ok((step, true))
    }

    /// The tiles of the output log as they will be after a step.
    fn tree_of(&self, step: &Step) -> CommittedTree {
        let tiles = step.batch.output.tiles.iter().cloned();
        let (new, index): (BTreeMap<TileId, Vec<u8>>, _) = (tiles.collect(), self.clone());
        CommittedTree::read_by(move |id, width| -> Result<Vec<Hash>, TreeError> {
            match new.get(&id) {
                Some(tile) => first_hashes(tile, id, width),
                None => index
                    .inner
                    .shelf
                    .read(|store| stored_hashes(store, id, width)),
            }
        })
    }

    /// Writes a step. Blocks.
    fn write(
        &self,
        mut follower: Follower,
        step: &Step,
        is_shown: bool,
    ) -> Result<Follower, IndexError> {
        let head = &step.batch.output.head;
        self.inner.shelf.advance(step.expected, &step.batch, || {
            self.lock().shown = is_shown.then_some(head.size);
        })?;
        follower.written(head.clone());
        self.progress(&follower);
        Ok(follower)
    }

    /// How far it has come.
    #[must_use]
    pub fn status(&self) -> IndexStatus {
        let size = self.inner.published.head().size;
        let state = self.lock();
        let behind = size.saturating_sub(state.covered);
        IndexStatus {
            covered: state.covered,
            behind,
            behind_s: if behind < verifiable::STEP {
                0
            } else {
                state.caught_up.elapsed().as_secs()
            },
            keys: state.keys,
            answering: state.shown.is_some() && state.stopped.is_none() && state.covered <= size,
            problem: state.problem.clone(),
            stopped: state.stopped.clone(),
        }
    }

    fn progress(&self, follower: &Follower) {
        let size = self.inner.published.head().size;
        let mut state = self.lock();
        state.covered = follower.stored();
        state.keys = follower.keys();
        if size.saturating_sub(state.covered) < verifiable::STEP {
            state.caught_up = Instant::now();
        }
        drop(state);
        self.measure();
    }

    fn measure(&self) {
        self.inner.metrics.set(&self.status());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Databases block, so they are used beside the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(IndexError::Damaged {
            reason: format!("it could not be worked on: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests;
