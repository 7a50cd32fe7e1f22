//! One RocksDB database: opened, checked and tuned; reads and synced writes with plain errors.
//!
//! Knows nothing of what is stored. Never repairs: a database that is damaged, of another role or of a newer version
//! is not opened.

mod tail;
mod tuning;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorix_trust::ports::StoreError;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, Direction, ErrorKind, IteratorMode,
    ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

pub use tail::TornTail;
pub(crate) use tuning::Shape;

/// Name of the column family that every database has. Holds the schema and a few small values.
pub(crate) const META: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

const SCHEMA: &[u8] = b"schema";

/// A database could not be opened. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("another quorix process has this database open: {}", dir.display())]
    Locked {
        /// Its directory.
        dir: PathBuf,
    },
    /// It is of another role or of a version that this program does not know.
    #[error(
        "the database in {} is \"{found}\", this program reads \"{expected}\": point data_dir at another directory, or use \
         the version of quorix that wrote it",
        dir.display()
    )]
    Schema {
        /// Its directory.
        dir: PathBuf,
        /// What it is.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// RocksDB refused: damaged files, no permission, a full disk.
    #[error("the database in {} does not open: {reason}", dir.display())]
    Failed {
        /// Its directory.
        dir: PathBuf,
        /// What RocksDB said.
        reason: String,
    },
}

/// One row.
pub(crate) type KeyAndValue = (Box<[u8]>, Box<[u8]>);

/// What a database consists of.
pub(crate) struct Layout {
    /// Role and version, e.g. `quorix log 1`.
    pub(crate) schema: &'static str,
    /// Column families besides [`META`].
    pub(crate) columns: &'static [(&'static str, Shape)],
}

/// An open database.
pub(crate) struct Database {
    db: DB,
    /// Held from the check of a precondition until the write that depends on it is durable.
    writer: Mutex<()>,
    /// What was dropped when it was opened, or is passed over.
    torn: Option<TornTail>,
    /// Reads nothing from the disk.
    at_hand: ReadOptions,
}

impl Database {
    /// Opens the database in `dir`, or makes it there.
    pub(crate) fn open(dir: &Path, layout: &Layout) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::Failed {
            dir: dir.to_path_buf(),
            reason,
        };
        make_dir(dir).map_err(|error| failed(error.to_string()))?;
        Self::open_as(dir, layout, false)
    }

    /// Opens the database in `dir` as it is on the disk now, also while another process writes it. Nothing is ever
    /// written; a database that is not there is not made.
    pub(crate) fn open_to_read(dir: &Path, layout: &Layout) -> Result<Self, OpenError> {
        if !dir.join("CURRENT").exists() {
            return Err(OpenError::Failed {
                dir: dir.to_path_buf(),
                reason: "there is none yet".to_owned(),
            });
        }
        Self::open_as(dir, layout, true)
    }

    fn open_as(dir: &Path, layout: &Layout, only_to_read: bool) -> Result<Self, OpenError> {
        let options = tuning::database();
        check_columns(dir, layout, &options)?;
        let caches = tuning::Caches::new();
        let columns = std::iter::once((META, Shape::Small)).chain(layout.columns.iter().copied());
        let columns = columns
            .map(|(name, shape)| ColumnFamilyDescriptor::new(name, tuning::column(shape, &caches)));
        let torn = tail::look(dir);
        let db = if only_to_read {
            DB::open_cf_descriptors_read_only(&options, dir, columns, false)
        } else {
            DB::open_cf_descriptors(&options, dir, columns)
        };
        let mut at_hand = ReadOptions::default();
        at_hand.set_read_tier(ReadTier::BlockCache);
        let database = Self {
            db: db.map_err(|error| open_error(dir, &error))?,
            writer: Mutex::new(()),
            torn,
            at_hand,
        };
        database.check_schema(dir, layout)?;
        Ok(database)
    }

    fn check_schema(&self, dir: &Path, layout: &Layout) -> Result<(), OpenError> {
        let failed = |error: StoreError| OpenError::Failed {
            dir: dir.to_path_buf(),
            reason: error.to_string(),
        };
        let schema = |found: String| OpenError::Schema {
            dir: dir.to_path_buf(),
            found,
            expected: layout.schema.to_owned(),
        };
        if let Some(found) = self
            .get(META, SCHEMA, "reading the schema")
            .map_err(failed)?
        {
            if found == layout.schema.as_bytes() {
                return Ok(());
            }
            return Err(schema(String::from_utf8_lossy(&found).into_owned()));
        }
        // The schema is the first thing written, so without it there is nothing else.
        let mut values = self.scan(META, b"", "looking for values").map_err(failed)?;
        if values.next().is_some() {
            return Err(schema("a database without a schema".to_owned()));
        }
        let mut batch = self.batch();
        batch
            .put(META, SCHEMA, layout.schema.as_bytes())
            .map_err(failed)?;
        batch.commit("writing the schema").map_err(failed)
    }

    /// The unfinished write that was dropped when it was opened, or is passed over by who only reads, if there was one.
    pub(crate) const fn torn(&self) -> Option<&TornTail> {
        self.torn.as_ref()
    }

    /// The value of a key.
    pub(crate) fn get(
        &self,
        column: &str,
        key: &[u8],
        operation: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .get_cf(self.column(column)?, key)
            .map_err(|error| store_error(operation, &error))
    }

    /// The values of many keys, in their order.
    pub(crate) fn get_many(
        &self,
        column: &str,
        keys: &[Vec<u8>],
        operation: &str,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let values = self
            .db
            .batched_multi_get_cf(self.column(column)?, keys, false);
        let values = values.into_iter();
        let value = |value: Result<Option<DBPinnableSlice<'_>>, _>| match value {
            Ok(value) => Ok(value.map(|value| value.to_vec())),
            Err(error) => Err(store_error(operation, &error)),
        };
        values.map(value).collect()
    }

    /// The value of a key if it is in memory; `None` if it is empty, not there or not in memory.
    pub(crate) fn get_at_hand(
        &self,
        column: &str,
        key: &[u8],
        operation: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let column = self.column(column)?;
        match self.db.get_cf_opt(column, key, &self.at_hand) {
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(None),
            // Where not even the file is open RocksDB says that there is a value, and gives an empty one.
            value => value
                .map(|value| value.filter(|value| !value.is_empty()))
                .map_err(|error| store_error(operation, &error)),
        }
    }

    /// Keys and values from `from` on, ascending.
    pub(crate) fn scan<'a>(
        &'a self,
        column: &str,
        from: &[u8],
        operation: &'a str,
    ) -> Result<impl Iterator<Item = Result<KeyAndValue, StoreError>> + 'a, StoreError> {
        let mode = IteratorMode::From(from, Direction::Forward);
        let rows = self.db.iterator_cf(self.column(column)?, mode);
        Ok(rows.map(move |row| row.map_err(|error| store_error(operation, &error))))
    }

    /// Rows whose keys are not above `from`, descending.
    pub(crate) fn scan_back<'a>(
        &'a self,
        column: &str,
        from: &[u8],
        operation: &'a str,
    ) -> Result<impl Iterator<Item = Result<KeyAndValue, StoreError>> + 'a, StoreError> {
        let mode = IteratorMode::From(from, Direction::Reverse);
        let rows = self.db.iterator_cf(self.column(column)?, mode);
        Ok(rows.map(move |row| row.map_err(|error| store_error(operation, &error))))
    }

    /// The last row whose key is not above `key`.
    pub(crate) fn last_up_to(
        &self,
        column: &str,
        key: &[u8],
        operation: &str,
    ) -> Result<Option<KeyAndValue>, StoreError> {
        let mode = IteratorMode::From(key, Direction::Reverse);
        let row = self.db.iterator_cf(self.column(column)?, mode).next();
        row.transpose()
            .map_err(|error| store_error(operation, &error))
    }

    /// Waits to be the only writer of this process.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        // The guard protects no value in memory that a panic could leave half-changed.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a copy of everything that is durable in a new folder; large files are shared by hard links.
    pub(crate) fn copy(&self, dir: &Path, operation: &str) -> Result<(), StoreError> {
        Checkpoint::new(&self.db)
            .and_then(|copy| copy.create_checkpoint(dir))
            .map_err(|error| store_error(operation, &error))
    }

    /// Writes what a column family still has in memory into files, and merges them.
    pub(crate) fn flush(&self, column: &str) -> Result<(), StoreError> {
        let column = self.column(column)?;
        self.db
            .flush_cf(column)
            .map_err(|error| store_error("writing out a column family", &error))?;
        self.db
            .compact_range_cf(column, None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    /// Opens files of these column families, no more than are held open beside others: otherwise whoever first reads from a
    /// file waits until it is open. What is damaged says so when it is asked for.
    pub(crate) fn open_files(&self, columns: &[&str]) {
        let files = self.db.live_files().unwrap_or_default();
        let wanted = files
            .iter()
            .filter(|file| columns.contains(&file.column_family_name.as_str()));
        for file in wanted.take(tuning::FILES_OPENED_AHEAD) {
            let key = file.start_key.as_deref().unwrap_or_default();
            let _ = self.get(&file.column_family_name, key, "opening a file");
        }
    }

    /// Bytes of a column family in files on the disk.
    pub(crate) fn bytes_on_disk(&self, column: &str) -> Result<u64, StoreError> {
        const OPERATION: &str = "asking for sizes on disk";
        let column = self.column(column)?;
        let of = |property: &str| {
            let bytes = self.db.property_int_value_cf(column, property);
            bytes
                .map(Option::unwrap_or_default)
                .map_err(|error| store_error(OPERATION, &error))
        };
        let tables = of("rocksdb.live-sst-files-size")?;
        let blobs = of("rocksdb.live-blob-file-size")?;
        Ok(tables.saturating_add(blobs))
    }

    /// An empty batch.
    pub(crate) fn batch(&self) -> Batch<'_> {
        self.batch_of(0)
    }

    /// An empty batch with room for this many bytes: one that grows is copied each time that it doubles.
    pub(crate) fn batch_of(&self, bytes: usize) -> Batch<'_> {
        Batch {
            database: self,
            batch: WriteBatch::with_capacity_bytes(bytes),
        }
    }

    fn column(&self, name: &str) -> Result<&ColumnFamily, StoreError> {
        self.db
            .cf_handle(name)
            .ok_or_else(|| corrupt("looking up a column family", format!("there is no {name}")))
    }
}

/// Writes that happen together or not at all.
pub(crate) struct Batch<'a> {
    database: &'a Database,
    batch: WriteBatch,
}

impl Batch<'_> {
    /// Sets a key.
    pub(crate) fn put(&mut self, column: &str, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.batch.put_cf(self.database.column(column)?, key, value);
        Ok(())
    }

    /// Where many keys of one column family are set.
    pub(crate) fn column(&mut self, name: &str) -> Result<Column<'_>, StoreError> {
        Ok(Column {
            column: self.database.column(name)?,
            batch: &mut self.batch,
        })
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, column: &str, key: &[u8]) -> Result<(), StoreError> {
        self.batch.delete_cf(self.database.column(column)?, key);
        Ok(())
    }

    /// Writes everything without waiting for the disk: it survives the end of the process, and a power cut only once a
    /// later [`commit`](Self::commit) has returned.
    pub(crate) fn write(self, operation: &str) -> Result<(), StoreError> {
        self.database
            .db
            .write(self.batch)
            .map_err(|error| store_error(operation, &error))
    }

    /// Writes everything and waits until it is on the disk.
    pub(crate) fn commit(self, operation: &str) -> Result<(), StoreError> {
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        self.database
            .db
            .write_opt(self.batch, &durable)
            .map_err(|error| store_error(operation, &error))
    }
}

/// One column family in a batch.
pub(crate) struct Column<'a> {
    column: &'a ColumnFamily,
    batch: &'a mut WriteBatch,
}

impl Column<'_> {
    /// Sets a key.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.column, key, value);
    }
}

/// Stored bytes that are not what was written.
pub(crate) fn corrupt(operation: &str, reason: impl Into<String>) -> StoreError {
    StoreError {
        operation: operation.to_owned(),
        reason: reason.into(),
    }
}

fn store_error(operation: &str, error: &rocksdb::Error) -> StoreError {
    StoreError {
        operation: operation.to_owned(),
        reason: error.to_string(),
    }
}

/// Makes a folder and syncs those that it and its parents were made in: RocksDB syncs what is in the folder, and a power
/// cut could still take the whole folder away.
fn make_dir(dir: &Path) -> std::io::Result<()> {
    let parents: Vec<&Path> = dir.ancestors().skip(1).collect();
    let missing = parents.iter().take_while(|parent| !parent.exists()).count();
    std::fs::create_dir_all(dir)?;
    // Also where the folder was there already: whoever made it may have died before this.
    for parent in parents.iter().take(missing.saturating_add(1)) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        std::fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Makes the name of a file or folder durable.
pub(crate) fn sync_parent(of: &Path) -> std::io::Result<()> {
    match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
        _ => std::fs::File::open(".")?.sync_all(),
    }
}

/// A newer version may have column families that this one does not know; RocksDB's own message would not say so.
fn check_columns(dir: &Path, layout: &Layout, options: &rocksdb::Options) -> Result<(), OpenError> {
    if !dir.join("CURRENT").exists() {
        return Ok(());
    }
    let found = DB::list_cf(options, dir).map_err(|error| open_error(dir, &error))?;
    let is_known =
        |name: &String| name == META || layout.columns.iter().any(|(known, _)| known == name);
    let unknown: Vec<_> = found.into_iter().filter(|name| !is_known(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(OpenError::Schema {
        dir: dir.to_path_buf(),
        found: format!("another kind of database, with {}", unknown.join(", ")),
        expected: layout.schema.to_owned(),
    })
}

fn open_error(dir: &Path, error: &rocksdb::Error) -> OpenError {
    let (dir, reason) = (dir.to_path_buf(), error.to_string());
    let said = reason.strip_prefix("IO error: ").unwrap_or_default();
    let is_lock =
        said.starts_with("While lock file") || said.starts_with("lock hold by current process");
    if error.kind() == ErrorKind::IOError && is_lock {
        return OpenError::Locked { dir };
    }
    OpenError::Failed { dir, reason }
}
