//! What a Nix store's database says of its paths. Read only, while Nix may be writing.
//!
//! The database is a claim about the past: whoever signs something must dump the path and compare. Its schema (10) has
//! been that of every Nix since 2.3; what is read here is `ValidPaths`, `Refs` and `DerivationOutputs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorix_nix::content_address::ContentAddress;
use quorix_nix::derivation::Derivation;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::signature::Signature;
use quorix_nix::store_path::StorePath;
use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction};

use crate::location::Location;

/// The most paths that a closure may have.
pub const CLOSURE_PATHS_MAX: usize = 1_000_000;
/// The most bytes that a derivation may have.
pub const DERIVATION_BYTES_MAX: u64 = quorix_nix::derivation::MAX_SIZE as u64;

const BUSY_PATIENCE: Duration = Duration::from_secs(5);
const ROWS_MAX: u32 = 1_000_000;

/// One Nix store on this machine, opened for reading.
#[derive(Debug)]
pub struct Store {
    location: Location,
    connection: Mutex<Connection>,
    warning: Option<String>,
}

/// What the database says of one valid path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// SHA-256 of its NAR when it was registered.
    pub hash: NarHash,
    /// Bytes in its NAR.
    pub nar_size: u64,
    /// The paths it refers to, itself included where it does.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it first; arbitrary where several make the same path.
    pub deriver: Option<StorePath>,
    /// Whether this store built it, rather than got it from elsewhere.
    pub ultimate: bool,
    /// Signatures that came with it or were made here. Malformed ones are left out.
    pub sigs: Vec<Signature>,
    /// Its content address, where it has one of a kind known here.
    pub ca: Option<ContentAddress>,
    /// When it became valid in this store, POSIX seconds.
    pub registration_time: u64,
}

impl PathInfo {
    /// The facts that a signature over this path would cover, as the database has them.
    #[must_use]
    pub fn fingerprint(&self, location: &Location) -> Fingerprint {
        Fingerprint {
            store_dir: location.store_dir.clone(),
            path: self.path.clone(),
            nar_hash: self.hash,
            nar_size: self.nar_size,
            references: self.references.clone(),
        }
    }
}

impl Store {
    /// Opens the store. Where its database cannot be opened with locks (it belongs to another user, or lies on a
    /// read-only file system), it is read as it is on disk, and [`Self::warning`] says so.
    ///
    /// # Errors
    /// When there is no database, it cannot be read, or it has another schema.
    pub fn open(location: Location) -> Result<Self, StoreError> {
        let database = location.database();
        let fail = |error: &rusqlite::Error| StoreError::Open {
            database: database.clone(),
            reason: error.to_string(),
        };
        match database.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::NoDatabase { database }),
            Err(error) => {
                let reason = error.to_string();
                return Err(StoreError::Open { database, reason });
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&database, flags).and_then(probe);
        let (connection, warning) = match opened {
            Ok(connection) => (connection, None),
            Err(error) if cannot_lock(&error) => {
                let url = immutable_url(&database);
                let connection =
                    Connection::open_with_flags(url, flags | OpenFlags::SQLITE_OPEN_URI)
                        .and_then(probe)
                        .map_err(|error| fail(&error))?;
                let warning = format!(
                    "{} cannot be opened with locks ({error}): what Nix is writing at this moment may be missed",
                    database.display()
                );
                (connection, Some(warning))
            }
            Err(error) => return Err(fail(&error)),
        };
        Ok(Self {
            location,
            connection: Mutex::new(connection),
            warning,
        })
    }

    /// Where the store is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// What the operator should know of how the database was opened.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Where the bytes of a path really are.
    #[must_use]
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.location.real_path(path)
    }

    /// What the database says of a path; `None` where the path is not valid.
    ///
    /// # Errors
    /// When the database cannot be read or says something malformed.
    pub fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, StoreError> {
        self.read(|snapshot| snapshot.path_info(path))
    }

    /// The paths and everything that they refer to, directly or not.
    ///
    /// # Errors
    /// When one of them is not valid, there are more than [`CLOSURE_PATHS_MAX`], or as [`Self::path_info`].
    pub fn closure(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeMap<StorePath, PathInfo>, StoreError> {
        self.read(|snapshot| {
            let mut closure = BTreeMap::new();
            let mut open: Vec<StorePath> = paths.iter().cloned().collect();
            while let Some(path) = open.pop() {
                if closure.contains_key(&path) {
                    continue;
                }
                let Some(info) = snapshot.path_info(&path)? else {
                    return Err(StoreError::NotValid { path });
                };
                if closure.len() == CLOSURE_PATHS_MAX {
                    return Err(StoreError::ClosureTooLarge);
                }
                open.extend(
                    info.references
                        .iter()
                        .filter(|path| !closure.contains_key(*path))
                        .cloned(),
                );
                closure.insert(path, info);
            }
            Ok(closure)
        })
    }

    /// Every valid path that is no derivation, with what the database says of it.
    ///
    /// # Errors
    /// When there are more than [`CLOSURE_PATHS_MAX`], or as [`Self::path_info`].
    pub fn all(&self) -> Result<BTreeMap<StorePath, PathInfo>, StoreError> {
        let query = "SELECT path FROM ValidPaths WHERE path NOT LIKE '%.drv' LIMIT ?1";
        let limit = i64::try_from(CLOSURE_PATHS_MAX)
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        self.read(|snapshot| {
            let paths: Vec<String> = snapshot
                .transaction
                .prepare(query)
                .and_then(|mut statement| statement.query_map([limit], |row| row.get(0))?.collect())
                .map_err(|error| query_error(&self.location, &error))?;
            if paths.len() > CLOSURE_PATHS_MAX {
                return Err(StoreError::TooManyPaths);
            }
            let mut all = BTreeMap::new();
            for text in paths {
                let path = self.location.store_dir.parse(&text).map_err(|error| {
                    query_text_error(&self.location, &format!("the path {text:?}: {error}"))
                })?;
                if let Some(info) = snapshot.path_info(&path)? {
                    all.insert(path, info);
                }
            }
            Ok(all)
        })
    }

    /// The outputs of a derivation by name, valid or not; empty where the derivation is not in the store, or its
    /// outputs are not known before they are built.
    ///
    /// # Errors
    /// As [`Self::path_info`].
    pub fn derivation_outputs(
        &self,
        derivation: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, StoreError> {
        let query = "SELECT o.id, o.path FROM DerivationOutputs o JOIN ValidPaths v ON v.id = o.drv \
                     WHERE v.path = ?1 ORDER BY o.id LIMIT ?2";
        self.read(|snapshot| {
            let rows = snapshot.rows(query, derivation, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.into_iter()
                .map(|(name, path): (String, String)| {
                    Ok((name, snapshot.parse_path(derivation, "output", &path)?))
                })
                .collect()
        })
    }

    /// The derivations in the store of which `output` is an output, with the output's name. Several may make the same
    /// path.
    ///
    /// # Errors
    /// As [`Self::path_info`].
    pub fn valid_derivers(
        &self,
        output: &StorePath,
    ) -> Result<BTreeMap<StorePath, String>, StoreError> {
        let query = "SELECT v.path, o.id FROM DerivationOutputs o JOIN ValidPaths v ON v.id = o.drv \
                     WHERE o.path = ?1 ORDER BY v.id LIMIT ?2";
        self.read(|snapshot| {
            let rows = snapshot.rows(query, output, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.into_iter()
                .map(|(path, name): (String, String)| {
                    Ok((snapshot.parse_path(output, "deriver", &path)?, name))
                })
                .collect()
        })
    }

    /// Reads a derivation from the store.
    ///
    /// # Errors
    /// When its file is not there, cannot be read, has more than [`DERIVATION_BYTES_MAX`] or is no derivation.
    pub fn read_derivation(&self, path: &StorePath) -> Result<Derivation, StoreError> {
        read_derivation(&self.location, path)
    }

    fn read<T>(
        &self,
        run: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // A panic while reading leaves nothing half-done behind.
        let connection: MutexGuard<'_, Connection> = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .unchecked_transaction()
            .map_err(|error| query_error(&self.location, &error))?;
        run(&Snapshot {
            location: &self.location,
            transaction,
        })
    }
}

/// Reads a derivation's file in a store whose database need not be there.
///
/// # Errors
/// As [`Store::read_derivation`].
pub fn read_derivation(location: &Location, path: &StorePath) -> Result<Derivation, StoreError> {
    let fail = |reason: String| StoreError::Derivation {
        path: path.clone(),
        reason,
    };
    let file = File::open(location.real_path(path)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::NotValid { path: path.clone() },
        _ => fail(error.to_string()),
    })?;
    let mut text = Vec::new();
    file.take(DERIVATION_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut text)
        .map_err(|error| fail(error.to_string()))?;
    if text.len() as u64 > DERIVATION_BYTES_MAX {
        return Err(fail(format!(
            "it has more than {DERIVATION_BYTES_MAX} bytes"
        )));
    }
    Derivation::parse(&text, &location.store_dir).map_err(|error| fail(error.to_string()))
}

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No Nix store is there.
    #[error("there is no Nix store database at {}", database.display())]
    NoDatabase {
        /// Where it should be.
        database: PathBuf,
    },
    /// The database cannot be read.
    #[error("opening the Nix store database {}: {reason}", database.display())]
    Open {
        /// The database.
        database: PathBuf,
        /// What was said.
        reason: String,
    },
    /// A query failed: the database is busy, damaged or of another schema.
    #[error("reading the Nix store database {}: {reason}", database.display())]
    Query {
        /// The database.
        database: PathBuf,
        /// What was said.
        reason: String,
    },
    /// The database says something that cannot be understood.
    #[error("the Nix store database has a malformed {field} for {path}: {reason}")]
    Malformed {
        /// The path asked for.
        path: StorePath,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The path is not in the store (any more).
    #[error("{path} is not in the store")]
    NotValid {
        /// The path.
        path: StorePath,
    },
    /// More than [`CLOSURE_PATHS_MAX`] paths.
    #[error("the closure has more than {CLOSURE_PATHS_MAX} paths")]
    ClosureTooLarge,
    /// The store has more than [`CLOSURE_PATHS_MAX`] paths.
    #[error("the store has more than {CLOSURE_PATHS_MAX} paths")]
    TooManyPaths,
    /// A derivation cannot be read.
    #[error("the derivation {path}: {reason}")]
    Derivation {
        /// Its path.
        path: StorePath,
        /// What is wrong with it.
        reason: String,
    },
}

/// One consistent view of the database.
struct Snapshot<'a> {
    location: &'a Location,
    transaction: Transaction<'a>,
}

impl Snapshot<'_> {
    fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, StoreError> {
        let query = "SELECT id, hash, narSize, deriver, ultimate, sigs, ca, registrationTime \
                     FROM ValidPaths WHERE path = ?1";
        let absolute = self.location.store_dir.join(path);
        let row = self
            .transaction
            .prepare(query)
            .and_then(|mut statement| statement.query_row([&absolute], RawInfo::of).optional())
            .map_err(|error| query_error(self.location, &error))?;
        row.map(|raw| self.parse_info(path, raw)).transpose()
    }

    fn parse_info(&self, path: &StorePath, raw: RawInfo) -> Result<PathInfo, StoreError> {
        let malformed = |field, reason: String| StoreError::Malformed {
            path: path.clone(),
            field,
            reason,
        };
        let deriver = raw.deriver.filter(|deriver| !deriver.is_empty());
        let number = |field, number: Option<i64>| {
            u64::try_from(number.unwrap_or(-1)).map_err(|_| malformed(field, format!("{number:?}")))
        };
        let query = "SELECT v.path FROM Refs r JOIN ValidPaths v ON v.id = r.reference WHERE r.referrer = ?1 LIMIT ?2";
        let references: Vec<String> = self.rows(query, raw.id, |row| row.get(0))?;
        Ok(PathInfo {
            path: path.clone(),
            hash: raw
                .hash
                .parse()
                .map_err(|error| malformed("hash", format!("{error}")))?,
            nar_size: number("size", raw.nar_size)?,
            references: references
                .iter()
                .map(|reference| self.parse_path(path, "reference", reference))
                .collect::<Result<_, _>>()?,
            deriver: deriver
                .map(|deriver| self.parse_path(path, "deriver", &deriver))
                .transpose()?,
            ultimate: raw.ultimate.unwrap_or(0) != 0,
            sigs: raw
                .sigs
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|signature| signature.parse().ok())
                .collect(),
            ca: raw.ca.and_then(|ca| ca.parse().ok()),
            registration_time: number("registration time", raw.registration_time)?,
        })
    }

    fn rows<T>(
        &self,
        query: &str,
        key: impl SqlKey,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.transaction
            .prepare(query)
            .and_then(|mut statement| {
                statement
                    .query_map((key.value(self.location), ROWS_MAX), read)?
                    .collect()
            })
            .map_err(|error| query_error(self.location, &error))
    }

    fn parse_path(
        &self,
        of: &StorePath,
        field: &'static str,
        absolute: &str,
    ) -> Result<StorePath, StoreError> {
        self.location
            .store_dir
            .parse(absolute)
            .map_err(|error| StoreError::Malformed {
                path: of.clone(),
                field,
                reason: error.to_string(),
            })
    }
}

/// What rows are asked for by: a row's id, or a path's absolute text.
trait SqlKey {
    fn value(self, location: &Location) -> rusqlite::types::Value;
}

impl SqlKey for i64 {
    fn value(self, _: &Location) -> rusqlite::types::Value {
        self.into()
    }
}

impl SqlKey for &StorePath {
    fn value(self, location: &Location) -> rusqlite::types::Value {
        location.store_dir.join(self).into()
    }
}

/// A row of `ValidPaths`, not understood yet.
struct RawInfo {
    id: i64,
    hash: String,
    nar_size: Option<i64>,
    deriver: Option<String>,
    ultimate: Option<i64>,
    sigs: Option<String>,
    ca: Option<String>,
    registration_time: Option<i64>,
}

impl RawInfo {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        fn get<T: FromSql>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
            row.get(index)
        }
        Ok(Self {
            id: get(row, 0)?,
            hash: get(row, 1)?,
            nar_size: get(row, 2)?,
            deriver: get(row, 3)?,
            ultimate: get(row, 4)?,
            sigs: get(row, 5)?,
            ca: get(row, 6)?,
            registration_time: get(row, 7)?,
        })
    }
}

fn probe(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY_PATIENCE)?;
    connection.query_row(
        "SELECT count(*) FROM (SELECT id, ca, ultimate FROM ValidPaths LIMIT 1)",
        [],
        |_| Ok(()),
    )?;
    Ok(connection)
}

/// The database is there, but its shared memory, log or lock cannot be made or opened.
fn cannot_lock(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    )
}

fn immutable_url(database: &std::path::Path) -> String {
    let mut url = String::from("file:");
    for &byte in database.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02x}"));
        }
    }
    url.push_str("?immutable=1");
    url
}

fn query_error(location: &Location, error: &rusqlite::Error) -> StoreError {
    query_text_error(location, &error.to_string())
}

fn query_text_error(location: &Location, reason: &str) -> StoreError {
    StoreError::Query {
        database: location.database(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
