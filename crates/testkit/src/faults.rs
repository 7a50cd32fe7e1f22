//! A log store with its anchor that fail, stall and count as a test tells them to.
//!
//! Each step can fail in the ways in which disks do: nothing was written, everything was, or everything was and the
//! sync was not, so that it is there until the power goes.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{Anchor, CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

use crate::memory::{MemoryAnchor, MemoryLog};

/// How a step fails. A step that only reads just fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing was written.
    NotWritten,
    /// An error, although everything was written and is durable.
    Written,
    /// An error: everything was written, but it is gone after a power cut.
    NotSynced,
}

/// What a log does with its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Opening the database.
    Open,
    /// Reading its head.
    Head,
    /// Reading a tile.
    Tile,
    /// Looking up a leaf or a retraction.
    Lookup,
    /// The synced write of a batch.
    Commit,
    /// Noting what is published.
    Note,
    /// Writing the anchor.
    Anchor,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Head,
        Self::Tile,
        Self::Lookup,
        Self::Commit,
        Self::Note,
        Self::Anchor,
    ];

    const fn operation(self) -> &'static str {
        match self {
            Self::Open => "opening",
            Self::Head => "reading the head",
            Self::Tile => "reading a tile",
            Self::Lookup => "looking up a leaf",
            Self::Commit => "committing",
            Self::Note => "noting what is published",
            Self::Anchor => "writing the anchor",
        }
    }

    fn error(self) -> StoreError {
        StoreError {
            operation: self.operation().to_owned(),
            reason: "the disk said no".to_owned(),
        }
    }
}

/// A log store around one in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct FaultyLog {
    inner: MemoryLog,
    control: Arc<(Mutex<Control>, Condvar)>,
}

/// The anchor beside a [`FaultyLog`].
#[derive(Clone, Debug)]
pub struct FaultyAnchor {
    inner: MemoryAnchor,
    store: FaultyLog,
}

#[derive(Debug, Default)]
struct Control {
    attempts: Vec<LogBatch>,
    counts: BTreeMap<Step, usize>,
    faults: BTreeMap<Step, VecDeque<Option<Fault>>>,
    always: BTreeMap<Step, Fault>,
    held: bool,
    waiting: bool,
}

impl FaultyLog {
    /// No faults so far.
    #[must_use]
    pub fn around(inner: MemoryLog) -> Self {
        Self {
            inner,
            control: Arc::default(),
        }
    }

    /// The store behind it.
    #[must_use]
    pub fn inner(&self) -> &MemoryLog {
        &self.inner
    }

    /// The anchor beside it, which fails as told here.
    #[must_use]
    pub fn anchor(&self) -> FaultyAnchor {
        FaultyAnchor {
            inner: self.inner.anchor(),
            store: self.clone(),
        }
    }

    /// The store opened anew.
    ///
    /// # Errors
    /// It was told to fail.
    pub fn open(&self) -> Result<Self, StoreError> {
        match self.enter(Step::Open) {
            Some(_) => Err(Step::Open.error()),
            None => Ok(Self {
                inner: self.inner.reopened(),
                control: Arc::clone(&self.control),
            }),
        }
    }

    /// The next time this step fails in this way; several faults queue up.
    pub fn fail_next(&self, step: Step, fault: Fault) {
        self.fail_later(step, 0, fault);
    }

    /// The step fails in this way after it went well this many times.
    pub fn fail_later(&self, step: Step, after: usize, fault: Fault) {
        let mut control = self.control();
        let faults = control.faults.entry(step).or_default();
        faults.extend(std::iter::repeat_n(None, after));
        faults.push_back(Some(fault));
    }

    /// The step fails in this way each time from now on, or no longer.
    pub fn fail_always(&self, step: Step, fault: Option<Fault>) {
        let mut control = self.control();
        match fault {
            Some(fault) => control.always.insert(step, fault),
            None => control.always.remove(&step),
        };
    }

    /// All that is still queued up will not happen.
    pub fn forget_faults(&self) {
        let mut control = self.control();
        control.faults.clear();
        control.always.clear();
    }

    /// How many faults of this step were queued up and have not happened.
    #[must_use]
    pub fn queued(&self, step: Step) -> usize {
        let control = self.control();
        let queue = control.faults.get(&step);
        queue.map_or(0, |queue| queue.iter().flatten().count())
    }

    /// Commits wait from now on until [`release`](Self::release).
    pub fn hold(&self) {
        self.control().held = true;
    }

    /// Waits until a commit is held.
    pub fn wait_until_a_commit_is_held(&self) {
        let mut control = self.control();
        while !control.waiting {
            control = self
                .control
                .1
                .wait(control)
                .expect("no test panics while it controls the store");
        }
    }

    /// Lets commits pass again.
    pub fn release(&self) {
        self.control().held = false;
        self.control.1.notify_all();
    }

    /// Every batch that was to be committed, in order, whatever became of it.
    #[must_use]
    pub fn attempts(&self) -> Vec<LogBatch> {
        self.control().attempts.clone()
    }

    /// How often this step was taken, whatever became of it.
    #[must_use]
    pub fn count(&self, step: Step) -> usize {
        self.control().counts.get(&step).copied().unwrap_or(0)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control
            .0
            .lock()
            .expect("no test panics while it controls the store")
    }

    /// Counts a step and says how it fails.
    fn enter(&self, step: Step) -> Option<Fault> {
        let mut control = self.control();
        *control.counts.entry(step).or_default() += 1;
        let next = control.faults.get_mut(&step).and_then(VecDeque::pop_front);
        next.flatten()
            .or_else(|| control.always.get(&step).copied())
    }

    fn read(&self, step: Step) -> Result<(), StoreError> {
        match self.enter(step) {
            Some(_) => Err(step.error()),
            None => Ok(()),
        }
    }

    fn enter_commit(&self, batch: &LogBatch) {
        let mut control = self.control();
        control.attempts.push(batch.clone());
        control.waiting = control.held;
        self.control.1.notify_all();
        while control.held {
            control = self
                .control
                .1
                .wait(control)
                .expect("no test panics while it controls the store");
        }
        control.waiting = false;
    }
}

impl TileStore for FaultyLog {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.read(Step::Head)?;
        self.inner.head()
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(Step::Tile)?;
        self.inner.tile(id)
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.blob(id)
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.read(Step::Lookup)?;
        self.inner.index_of(leaf)
    }
}

impl LogStore for FaultyLog {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.read(Step::Lookup)?;
        self.inner.retraction_of(leaf)
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        self.enter_commit(batch);
        match self.enter(Step::Commit) {
            None => return self.inner.commit(expected, batch),
            Some(Fault::NotWritten) => {}
            Some(Fault::Written) => self.inner.commit(expected, batch)?,
            Some(Fault::NotSynced) => self.inner.commit_unsynced(expected, batch)?,
        }
        Err(Step::Commit.error().into())
    }

    fn published(&self) -> Result<Option<Head>, StoreError> {
        self.inner.published()
    }

    fn note_published(&self, head: Option<&Head>) -> Result<(), StoreError> {
        let fault = self.enter(Step::Note);
        if fault != Some(Fault::NotWritten) {
            self.inner.note_published(head)?;
        }
        match fault {
            Some(_) => Err(Step::Note.error()),
            None => Ok(()),
        }
    }

    fn backup(&self, dir: &Path) -> Result<u64, StoreError> {
        self.inner.backup(dir)
    }

    fn is_copy(&self) -> Result<bool, StoreError> {
        self.inner.is_copy()
    }

    fn confirm_copy(&self) -> Result<(), StoreError> {
        self.inner.confirm_copy()
    }
}

impl Anchor for FaultyAnchor {
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read()
    }

    fn write(&self, checkpoint: &[u8]) -> Result<(), StoreError> {
        match self.store.enter(Step::Anchor) {
            None => return self.inner.write(checkpoint),
            Some(Fault::NotWritten) => {}
            Some(Fault::Written) => self.inner.write(checkpoint)?,
            Some(Fault::NotSynced) => self.inner.write_unsynced(checkpoint),
        }
        Err(Step::Anchor.error())
    }
}
