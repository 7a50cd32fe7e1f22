//! Where a log is read from: its static API, a folder of the same files, or a database of this process.
//!
//! Checks only the shape of what it reads; whoever asks checks it against a signed checkpoint.

use std::sync::Arc;

use quorix_tlog::bundle;
use quorix_tlog::hash::Hash;
use quorix_tlog::tile::{TileId, TilePath, hashes_prefix, parse_hashes};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{LogStore, StoreError, TileStore};
use sha2::{Digest as _, Sha256};

use crate::fetch::{FetchError, TileClient};

/// Something of a log could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database does not have it.
    #[error("{what} is missing")]
    Missing {
        /// What, as the path under which it is served.
        what: String,
    },
    /// The database has something else there.
    #[error("{what}: {reason}")]
    Malformed {
        /// What, as the path under which it is served.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ReadError {
    /// True if the log itself is wrong: it lacks what its size implies, or has something else there. False if it could
    /// not be found out.
    #[must_use]
    pub fn is_of_the_log(&self) -> bool {
        match self {
            Self::Fetch(error) => is_of_the_log(error),
            Self::Store(_) => false,
            Self::Missing { .. } | Self::Malformed { .. } => true,
        }
    }
}

fn is_of_the_log(error: &FetchError) -> bool {
    match error {
        FetchError::TooLarge { .. } | FetchError::Malformed { .. } => true,
        FetchError::Everywhere(all) => !all.is_empty() && all.iter().all(is_of_the_log),
        other => other.is_absent(),
    }
}

/// Where a log is read from. Clones read the same.
#[derive(Clone)]
pub enum LogSource {
    /// The static API of C2SP tlog-tiles, or folders with the same files.
    Served(TileClient),
    /// A mirror in a database.
    Stored(Arc<dyn TileStore>),
    /// One's own log, whose look-up tables can be checked too.
    Own(Arc<dyn LogStore>),
}

impl LogSource {
    fn store(&self) -> Option<Arc<dyn TileStore>> {
        match self {
            Self::Served(_) => None,
            Self::Stored(store) => Some(Arc::clone(store)),
            Self::Own(store) => Some(Arc::clone(store) as Arc<dyn TileStore>),
        }
    }

    /// The newest checkpoint: a signed note that the caller has to open.
    ///
    /// # Errors
    /// It cannot be read, or there is none.
    pub async fn checkpoint(&self) -> Result<Vec<u8>, ReadError> {
        let Some(store) = self.store() else {
            return self
                .served(
                    |client| async move { client.checkpoint().await.map(|bytes| bytes.to_vec()) },
                )
                .await;
        };
        let head = blocking(move || Ok(store.head()?)).await?;
        Ok(head.ok_or_else(|| missing("checkpoint"))?.checkpoint)
    }

    /// The first `width` (1 to 256) hashes of a hash tile.
    ///
    /// # Errors
    /// It cannot be read, or is narrower.
    pub async fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, ReadError> {
        let Some(store) = self.store() else {
            return self
                .served(|client| async move { client.hash_tile(id, width).await })
                .await;
        };
        blocking(move || {
            let what = TilePath { id, width }.to_string();
            let tile = store.tile(id)?.ok_or_else(|| missing(&what))?;
            hashes_prefix(&tile, width)
                .and_then(|tile| parse_hashes(tile, width))
                .map_err(|error| malformed(what, &error))
        })
        .await
    }

    /// The first `width` (1 to 256) entries of a bundle, well-formed.
    ///
    /// # Errors
    /// It cannot be read, or has fewer.
    pub async fn bundle(&self, index: u64, width: u16) -> Result<Vec<u8>, ReadError> {
        let Some(store) = self.store() else {
            return self
                .served(|client| async move { client.entry_bundle(index, width).await })
                .await;
        };
        blocking(move || {
            let id = TileId::entries(index);
            let what = TilePath { id, width }.to_string();
            let bytes = store.tile(id)?.ok_or_else(|| missing(&what))?;
            bundle::prefix(&bytes, width)
                .map(<[u8]>::to_vec)
                .map_err(|error| malformed(what, &error))
        })
        .await
    }

    /// A blob: bytes whose SHA-256 is `id`.
    ///
    /// # Errors
    /// It cannot be read, or has another hash.
    pub async fn blob(&self, id: &BlobId) -> Result<Vec<u8>, ReadError> {
        let id = *id;
        let Some(store) = self.store() else {
            return self
                .served(|client| async move { client.blob(&id).await })
                .await;
        };
        blocking(move || {
            let what = format!("blob/{}", Hash::from_bytes(id).to_hex());
            let bytes = store.blob(&id)?.ok_or_else(|| missing(&what))?;
            if Sha256::digest(&bytes)[..] != id[..] {
                return Err(malformed(
                    what,
                    &"it does not have the hash that it is called by",
                ));
            }
            Ok(bytes)
        })
        .await
    }

    /// The client of a served log; a clone, so that the future may outlive the borrow.
    async fn served<T, F>(&self, ask: impl FnOnce(TileClient) -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, FetchError>>,
    {
        match self {
            Self::Served(client) => Ok(ask(client.clone()).await?),
            Self::Stored(_) | Self::Own(_) => Err(missing("the address of the log")),
        }
    }
}

fn missing(what: &str) -> ReadError {
    ReadError::Missing {
        what: what.to_owned(),
    }
}

fn malformed(what: String, reason: &impl ToString) -> ReadError {
    ReadError::Malformed {
        what,
        reason: reason.to_string(),
    }
}

/// A database blocks, so it is read beside the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(ReadError::Store(StoreError {
                operation: "reading a log".to_owned(),
                reason: format!("it was interrupted: {error}"),
            }))
        })
}
