//! Where the index is kept: a database that is opened when it is needed, and anew after each error.
//!
//! Who answers reads under one lock and who writes writes under it, so that every answer is of one state.

use std::sync::{PoisonError, RwLock};

use quorix_trust::ports::{CommitError, LogIndexBatch, LogIndexStore, StoreError};

/// Opens the index's database. What it then shows is durable.
pub(super) type OpenIndex =
    Box<dyn Fn() -> Result<Box<dyn LogIndexStore>, StoreError> + Send + Sync>;

/// The database of an index.
pub(super) struct Shelf {
    open: OpenIndex,
    /// `None` while it is closed.
    store: RwLock<Option<Box<dyn LogIndexStore>>>,
}

impl Shelf {
    /// Opens nothing yet.
    pub(super) const fn new(open: OpenIndex) -> Self {
        Self {
            open,
            store: RwLock::new(None),
        }
    }

    /// Opens it, if it is closed.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if store.is_none() {
            *store = Some((self.open)()?);
        }
        Ok(())
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.is_some()
    }

    /// Closes it once nobody reads.
    pub(super) fn close(&self) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads one state of it.
    pub(super) fn read<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(&dyn LogIndexStore) -> Result<T, E>,
    ) -> Result<T, E> {
        match &*self.store.read().unwrap_or_else(PoisonError::into_inner) {
            Some(store) => read(&**store),
            None => Err(closed().into()),
        }
    }

    /// Writes a step, and does `then` before anybody reads it.
    pub(super) fn advance(
        &self,
        expected: u64,
        batch: &LogIndexBatch,
        then: impl FnOnce(),
    ) -> Result<(), CommitError> {
        match &*self.store.write().unwrap_or_else(PoisonError::into_inner) {
            Some(store) => store.advance(expected, batch)?,
            None => return Err(closed().into()),
        }
        then();
        Ok(())
    }
}

fn closed() -> StoreError {
    StoreError {
        operation: "using the index's database".to_owned(),
        reason: "it is not open at present".to_owned(),
    }
}
