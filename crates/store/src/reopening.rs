//! A database that is opened anew after a failed write.
//!
//! RocksDB keeps answering from memory what a failed write or sync may not have put on the disk, and takes no more writes
//! after some errors. Only a database that was opened anew says what is there (docs/adr/0011). So the first failed write
//! closes it, and whoever comes next opens it again, or is told why that fails.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use quorix_trust::ports::{CommitError, StoreError};

use crate::database::{Database, Layout, OpenError};

pub(crate) struct Reopening {
    dir: PathBuf,
    layout: &'static Layout,
    /// `None` after a failed write, until the next use.
    database: RwLock<Option<Database>>,
    /// Held from a write until it is known whether the database has to be closed: nothing is written to it in between.
    writer: Mutex<()>,
}

/// An error of a write, as far as it says whether its outcome is known.
pub(crate) trait WriteError: From<StoreError> {
    /// Whether the write may have happened, or not.
    fn is_unknown(&self) -> bool;
}

impl WriteError for StoreError {
    fn is_unknown(&self) -> bool {
        true
    }
}

impl WriteError for CommitError {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

impl Reopening {
    pub(crate) fn open(dir: &Path, layout: &'static Layout) -> Result<Self, OpenError> {
        let database = Database::open(dir, layout)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            layout,
            database: RwLock::new(Some(database)),
            writer: Mutex::new(()),
        })
    }

    /// Reads from the open database.
    pub(crate) fn read<T>(
        &self,
        reading: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(reading)
    }

    /// Writes, and closes the database where it is not known how that went.
    pub(crate) fn write<T, E: WriteError>(
        &self,
        writing: impl FnOnce(&Database) -> Result<T, E>,
    ) -> Result<T, E> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.with(writing);
        if written.as_ref().is_err_and(WriteError::is_unknown) {
            *self
                .database
                .write()
                .unwrap_or_else(PoisonError::into_inner) = None;
        }
        written
    }

    fn with<T, E: From<StoreError>>(
        &self,
        doing: impl FnOnce(&Database) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(database) = &*self.guard() {
            return doing(database);
        }
        self.reopen()?;
        match &*self.guard() {
            Some(database) => doing(database),
            // Another write has failed meanwhile.
            None => Err(StoreError {
                operation: format!("using the database in {}", self.dir.display()),
                reason: "a write failed; it is opened anew".to_owned(),
            }
            .into()),
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            let opened = Database::open(&self.dir, self.layout);
            *database = Some(opened.map_err(|error| StoreError {
                operation: "opening a database anew after a failed write".to_owned(),
                reason: error.to_string(),
            })?);
        }
        Ok(())
    }

    fn guard(&self) -> RwLockReadGuard<'_, Option<Database>> {
        // It is open or it is not; no panic leaves anything between.
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::META;

    const LAYOUT: Layout = Layout {
        schema: "test 1",
        columns: &[],
    };

    fn failed() -> StoreError {
        StoreError {
            operation: "writing".to_owned(),
            reason: "the disk said no".to_owned(),
        }
    }

    fn put(store: &Reopening, value: &[u8]) -> Result<(), StoreError> {
        store.write(|database| {
            let mut batch = database.batch();
            batch.put(META, b"key", value)?;
            batch.commit("writing")
        })
    }

    fn value(store: &Reopening) -> Result<Option<Vec<u8>>, StoreError> {
        store.read(|database| database.get(META, b"key", "reading"))
    }

    #[test]
    fn a_failed_write_closes_the_database_and_the_next_use_opens_it_anew() {
        let dir = tempfile::tempdir().unwrap();
        let store = Reopening::open(dir.path(), &LAYOUT).unwrap();
        put(&store, b"before").unwrap();
        let result: Result<(), StoreError> = store.write(|_| Err(failed()));
        assert_eq!(result, Err(failed()));
        // Closed: another one can have it, and nothing is answered from the memory of the old one.
        let other = Database::open(dir.path(), &LAYOUT).unwrap();
        let refused = value(&store).unwrap_err();
        assert!(
            refused.reason.contains("another quorix process"),
            "{refused}"
        );
        drop(other);
        assert_eq!(value(&store), Ok(Some(b"before".to_vec())));
        assert_eq!(put(&store, b"after"), Ok(()));
        assert_eq!(value(&store), Ok(Some(b"after".to_vec())));
    }

    #[test]
    fn a_refused_batch_leaves_the_database_open() {
        let dir = tempfile::tempdir().unwrap();
        let store = Reopening::open(dir.path(), &LAYOUT).unwrap();
        let conflict = CommitError::Conflict {
            expected: 1,
            found: 0,
        };
        let result: Result<(), CommitError> = store.write(|_| Err(conflict.clone()));
        assert_eq!(result, Err(conflict));
        assert!(Database::open(dir.path(), &LAYOUT).is_err());
    }
}
