//! A log store that fails, stalls and counts as a test tells it to.
//!
//! The two ways in which a commit can fail without a word on its outcome are both here: nothing was written, or
//! everything was.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing was written.
    NotWritten,
    /// An error, although everything was written.
    Written,
}

/// A log store around another one. Clones are the same store.
#[derive(Clone, Debug)]
pub struct FaultyLog<S> {
    inner: S,
    control: Arc<(Mutex<Control>, Condvar)>,
}

#[derive(Debug, Default)]
struct Control {
    attempts: Vec<LogBatch>,
    commits: usize,
    faults: VecDeque<Fault>,
    reads_fail: bool,
    held: bool,
    waiting: bool,
}

impl<S> FaultyLog<S> {
    /// No faults so far.
    #[must_use]
    pub fn around(inner: S) -> Self {
        Self {
            inner,
            control: Arc::default(),
        }
    }

    /// The next commit fails in this way; several faults queue up.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.control().faults.push_back(fault);
    }

    /// Whether reads of the head fail.
    pub fn fail_reads(&self, fail: bool) {
        self.control().reads_fail = fail;
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

    /// How many batches were written.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.control().commits
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control
            .0
            .lock()
            .expect("no test panics while it controls the store")
    }

    fn enter_commit(&self, batch: &LogBatch) -> Option<Fault> {
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
        control.faults.pop_front()
    }
}

fn disk_error(operation: &str) -> StoreError {
    StoreError {
        operation: operation.to_owned(),
        reason: "the disk said no".to_owned(),
    }
}

impl<S: LogStore> TileStore for FaultyLog<S> {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        if self.control().reads_fail {
            return Err(disk_error("reading the head"));
        }
        self.inner.head()
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.tile(id)
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.blob(id)
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.inner.index_of(leaf)
    }
}

impl<S: LogStore> LogStore for FaultyLog<S> {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.inner.retraction_of(leaf)
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        let fault = self.enter_commit(batch);
        if fault != Some(Fault::NotWritten) {
            self.inner.commit(expected, batch)?;
            self.control().commits += 1;
        }
        match fault {
            Some(_) => Err(disk_error("committing").into()),
            None => Ok(()),
        }
    }
}
