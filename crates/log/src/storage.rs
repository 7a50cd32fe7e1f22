//! What a log stands on: a database that can be closed and opened again, and an anchor beside it.
//!
//! After an error of a database nobody knows what it still holds in memory and what of that is on the disk. Only a
//! database that was opened anew says what is there; until then reads fail, and say why.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{Anchor, CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

use crate::beginning::{Anew, Beginning};

/// Opens the log's database. What it then shows is durable.
pub type OpenStore = Box<dyn Fn() -> Result<Box<dyn LogStore>, StoreError> + Send + Sync>;

/// Where a log is kept.
pub struct Storage {
    pub(crate) open: OpenStore,
    pub(crate) open_to_read: Option<OpenStore>,
    pub(crate) anchor: Box<dyn Anchor>,
    pub(crate) beginning: Box<dyn Beginning>,
}

impl Storage {
    /// A database that is opened at the start, and again after each error, and an anchor. Where both are empty a log is
    /// begun: whoever keeps one longer than a process says with [`begun_only_by`](Self::begun_only_by) when it may be.
    pub fn new<S: LogStore>(
        open: impl Fn() -> Result<S, StoreError> + Send + Sync + 'static,
        anchor: impl Anchor,
    ) -> Self {
        Self {
            open: Box::new(move || Ok(Box::new(open()?) as Box<dyn LogStore>)),
            open_to_read: None,
            anchor: Box::new(anchor),
            beginning: Box::new(Anew),
        }
    }

    /// How the database is read while it cannot be opened, on a full disk for example. Only what is published is read from
    /// it, and that is durable.
    #[must_use]
    pub fn read_meanwhile<S: LogStore>(
        self,
        open: impl Fn() -> Result<S, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open_to_read: Some(Box::new(move || Ok(Box::new(open()?) as Box<dyn LogStore>))),
            ..self
        }
    }

    /// Has a log begun only where this says that its key is new.
    #[must_use]
    pub fn begun_only_by(self, beginning: impl Beginning) -> Self {
        Self {
            beginning: Box::new(beginning),
            ..self
        }
    }
}

/// A database that can be closed and opened again under those who read it.
pub(crate) struct Reopenable {
    open: OpenStore,
    open_to_read: Option<OpenStore>,
    store: RwLock<Opened>,
}

enum Opened {
    /// As it should be.
    Whole(Box<dyn LogStore>),
    /// It does not open, but can be read as it lies on the disk.
    ToRead(Box<dyn LogStore>),
    Closed,
}

impl Reopenable {
    /// Opens it for the first time.
    pub(crate) fn open(
        open: OpenStore,
        open_to_read: Option<OpenStore>,
    ) -> Result<Self, StoreError> {
        let store = open()?;
        Ok(Self {
            open,
            open_to_read,
            store: RwLock::new(Opened::Whole(store)),
        })
    }

    /// Closes it once nobody reads, and opens it again. After an error it stays closed, or is there for readers alone.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        // Two cannot be open at the same time.
        self.set(Opened::Closed);
        match (self.open)() {
            Ok(new) => {
                self.set(Opened::Whole(new));
                Ok(())
            }
            Err(error) => {
                let to_read = self.open_to_read.as_ref().map(|open| open());
                match to_read {
                    Some(Ok(store)) => self.set(Opened::ToRead(store)),
                    Some(Err(error)) => tracing::warn!(%error, "nor can the database be read"),
                    None => {}
                }
                Err(error)
            }
        }
    }

    fn set(&self, opened: Opened) {
        let old = {
            let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *store, opened)
        };
        drop(old);
    }

    /// Whether it is closed at present.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*self.guard(), Opened::Closed)
    }

    fn guard(&self) -> RwLockReadGuard<'_, Opened> {
        // No panic leaves a half-made store behind: it is there or it is not.
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the open database; it is not closed meanwhile.
    fn with<T, E: From<StoreError>>(
        &self,
        operation: impl FnOnce(&dyn LogStore) -> Result<T, E>,
    ) -> Result<T, E> {
        match &*self.guard() {
            Opened::Whole(store) => operation(&**store),
            Opened::ToRead(_) | Opened::Closed => Err(closed().into()),
        }
    }

    /// Reads what may be published, from a database that is there for readers alone too.
    fn read<T>(
        &self,
        operation: impl FnOnce(&dyn LogStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*self.guard() {
            Opened::Whole(store) | Opened::ToRead(store) => operation(&**store),
            Opened::Closed => Err(closed()),
        }
    }
}

fn closed() -> StoreError {
    StoreError {
        operation: "using the log's database".to_owned(),
        reason: "it is closed after an error, and will be opened again".to_owned(),
    }
}

impl TileStore for Reopenable {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.with(|store| store.head())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.tile(id))
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.blob(id))
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

    fn backup(&self, dir: &Path) -> Result<u64, StoreError> {
        self.with(|store| store.backup(dir))
    }

    fn is_copy(&self) -> Result<bool, StoreError> {
        self.with(|store| store.is_copy())
    }

    fn confirm_copy(&self) -> Result<(), StoreError> {
        self.with(|store| store.confirm_copy())
    }
}
