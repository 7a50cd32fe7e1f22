//! What a log stands on: a database that can be closed and opened again, and an anchor beside it.
//!
//! After an error of a database nobody knows what it still holds in memory and what of that is on the disk. Only a
//! database that was opened anew says what is there; until then reads fail, and say why.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{Anchor, CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

/// Opens the log's database. What it then shows is durable.
pub type OpenStore = Box<dyn Fn() -> Result<Box<dyn LogStore>, StoreError> + Send + Sync>;

/// Where a log is kept.
pub struct Storage {
    pub(crate) open: OpenStore,
    pub(crate) anchor: Box<dyn Anchor>,
}

impl Storage {
    /// A database that is opened at the start, and again after each error, and an anchor.
    pub fn new<S: LogStore>(
        open: impl Fn() -> Result<S, StoreError> + Send + Sync + 'static,
        anchor: impl Anchor,
    ) -> Self {
        Self {
            open: Box::new(move || Ok(Box::new(open()?) as Box<dyn LogStore>)),
            anchor: Box::new(anchor),
        }
    }
}

/// A database that can be closed and opened again under those who read it.
pub(crate) struct Reopenable {
    open: OpenStore,
    /// `None` while it is closed.
    store: RwLock<Option<Box<dyn LogStore>>>,
}

impl Reopenable {
    /// Opens it for the first time.
    pub(crate) fn open(open: OpenStore) -> Result<Self, StoreError> {
        let store = open()?;
        Ok(Self {
            open,
            store: RwLock::new(Some(store)),
        })
    }

    /// Closes it once nobody reads, and opens it again. After an error it stays closed.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        let old = self
            .store
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Two cannot be open at the same time.
        drop(old);
        let new = (self.open)()?;
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
        Ok(())
    }

    /// Whether it is closed at present.
    pub(crate) fn is_closed(&self) -> bool {
        self.guard().is_none()
    }

    fn guard(&self) -> RwLockReadGuard<'_, Option<Box<dyn LogStore>>> {
        // No panic leaves a half-made store behind: it is there or it is not.
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the open database; it is not closed meanwhile.
    fn with<T, E: From<StoreError>>(
        &self,
        operation: impl FnOnce(&dyn LogStore) -> Result<T, E>,
    ) -> Result<T, E> {
        match &*self.guard() {
            Some(store) => operation(&**store),
            None => Err(StoreError {
                operation: "using the log's database".to_owned(),
                reason: "it is closed after an error, and will be opened again".to_owned(),
            }
            .into()),
        }
    }
}

impl TileStore for Reopenable {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.with(|store| store.head())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|store| store.tile(id))
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|store| store.blob(id))
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.with(|store| store.index_of(leaf))
    }

    fn indices_of(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        self.with(|store| store.indices_of(leaves))
    }

    fn tile_at_hand(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|store| store.tile_at_hand(id))
    }
}

impl LogStore for Reopenable {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.with(|store| store.retraction_of(leaf))
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        self.with(|store| store.commit(expected, batch))
    }

    fn published(&self) -> Result<Option<Head>, StoreError> {
        self.with(|store| store.published())
    }

    fn note_published(&self, head: Option<&Head>) -> Result<(), StoreError> {
        self.with(|store| store.note_published(head))
    }

    fn is_copy(&self) -> Result<bool, StoreError> {
        self.with(|store| store.is_copy())
    }

    fn confirm_copy(&self) -> Result<(), StoreError> {
        self.with(|store| store.confirm_copy())
    }
}
