//! Reading a log over the static API of C2SP tlog-tiles, from any of its addresses.
//!
//! Checks only that what comes has the right shape; whether it belongs to the log is checked against a verified
//! checkpoint by whoever asks. Asks each address once, in order, and never remembers which one worked.

use bytes::Bytes;
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::MAX_SIGNED_CHECKPOINT_LENGTH;
use quorix_tlog::hash::{HASH_LENGTH, Hash};
use quorix_tlog::tile::{TILE_WIDTH, TileId, TileLevel, TilePath};
use quorix_trust::attestation::{BLOB_BYTES_MAX, BlobId};
use sha2::{Digest as _, Sha256};

use super::{Accept, FetchError, Fetcher, join};

/// Most bytes of an entry bundle: 256 entries with their lengths.
const BUNDLE_BYTES_MAX: u64 = 256 * (2 + 65_535);

/// Reads one log.
#[derive(Clone, Debug)]
pub struct TileClient {
    fetcher: Fetcher,
    prefixes: Vec<String>,
}

impl TileClient {
    /// A log with its addresses (URL prefixes or directories), the preferred one first.
    #[must_use]
    pub fn new(fetcher: Fetcher, prefixes: Vec<String>) -> Self {
        Self { fetcher, prefixes }
    }

    /// The newest checkpoint: a signed note that the caller has to open. At most 128 KiB.
    ///
    /// # Errors
    /// No address has it.
    pub async fn checkpoint(&self) -> Result<Bytes, FetchError> {
        let limit = u64::try_from(MAX_SIGNED_CHECKPOINT_LENGTH).unwrap_or(u64::MAX);
        self.first(
            |prefix| async move { self.fetcher.get(&join(prefix, "checkpoint")?, limit).await },
        )
        .await
    }

    /// The first `width` hashes (1 to 256) of a hash tile, which the caller has to check against a checkpoint.
    ///
    /// # Errors
    /// No address has such a tile of that width or of full width.
    pub async fn hash_tile(&self, id: TileId, width: u16) -> Result<Vec<Hash>, FetchError> {
        self.first(|prefix| async move {
            self.widest(prefix, id, width, full_tile_bytes(), |bytes, found| {
                if bytes.len() != usize::from(found) * HASH_LENGTH {
                    return Err(format!(
                        "a tile of {found} hashes does not have {} bytes",
                        bytes.len()
                    ));
                }
                let (hashes, _) = bytes.as_chunks::<HASH_LENGTH>();
                Ok(hashes
                    .iter()
                    .take(usize::from(width))
                    .copied()
                    .map(Hash::from_bytes)
                    .collect())
            })
            .await
        })
        .await
    }

    /// An entry bundle with the first `width` (1 to 256) entries of the bundle `index`: well-formed, and of
    /// exactly that many entries, whose hashes the caller has to check.
    ///
    /// # Errors
    /// No address has such a bundle of that width or of full width.
    pub async fn entry_bundle(&self, index: u64, width: u16) -> Result<Vec<u8>, FetchError> {
        self.first(|prefix| async move {
            self.widest(
                prefix,
                TileId::entries(index),
                width,
                BUNDLE_BYTES_MAX,
                |bytes, found| {
                    bundle::parse(bytes, found).map_err(|error| error.to_string())?;
                    bundle::prefix(bytes, width)
                        .map(<[u8]>::to_vec)
                        .map_err(|error| error.to_string())
                },
            )
            .await
        })
        .await
    }

    /// A blob that an entry names: bytes whose SHA-256 is `id`. At most 4 MiB.
    ///
    /// # Errors
    /// No address has these bytes.
    pub async fn blob(&self, id: &BlobId) -> Result<Vec<u8>, FetchError> {
        let limit = u64::try_from(BLOB_BYTES_MAX).unwrap_or(u64::MAX);
        let name = &format!("blob/{}", Hash::from_bytes(*id).to_hex());
        self.first(|prefix| async move {
            let url = join(prefix, name)?;
            let bytes = self.fetcher.get(&url, limit).await?;
            if Sha256::digest(&bytes)[..] != id[..] {
                return Err(FetchError::malformed(
                    &url,
                    "the blob does not have the hash that it is called by",
                ));
            }
            Ok(bytes.to_vec())
        })
        .await
    }

    /// A tile of one address: of the asked width, else the full one of which that is a prefix (C2SP tlog-tiles
    /// lets a log delete partial tiles then).
    async fn widest<T>(
        &self,
        prefix: &str,
        id: TileId,
        width: u16,
        limit: u64,
        read: impl Fn(&[u8], u16) -> Result<T, String>,
    ) -> Result<T, FetchError> {
        if width == 0 || width > TILE_WIDTH {
            return Err(FetchError::malformed(
                prefix,
                "a tile has 1 to 256 hashes or entries",
            ));
        }
        let accept = match id.level {
            TileLevel::Entries => Accept::Compressed,
            TileLevel::Hashes(_) => Accept::Identity,
        };
        let url = join(prefix, &TilePath { id, width }.to_string())?;
        match self.fetcher.get_as(&url, limit, accept).await {
            Ok(bytes) => read(&bytes, width).map_err(|reason| FetchError::malformed(&url, reason)),
            Err(error) if error.is_absent() && width < TILE_WIDTH => {
                let full = join(
                    prefix,
                    &TilePath {
                        id,
                        width: TILE_WIDTH,
                    }
                    .to_string(),
                )?;
                let Ok(bytes) = self.fetcher.get_as(&full, limit, accept).await else {
                    return Err(error);
                };
                read(&bytes, TILE_WIDTH).map_err(|reason| FetchError::malformed(&full, reason))
            }
            Err(error) => Err(error),
        }
    }

    /// The first answer of an address that has one.
    async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a str) -> F) -> Result<T, FetchError>
    where
        F: Future<Output = Result<T, FetchError>>,
    {
        let mut errors = Vec::new();
        for prefix in &self.prefixes {
            match ask(prefix).await {
                Ok(answer) => return Ok(answer),
                Err(error) => errors.push(error),
            }
        }
        match (errors.pop(), errors.is_empty()) {
            (Some(only), true) => Err(only),
            (Some(last), false) => {
                errors.push(last);
                Err(FetchError::Everywhere(errors))
            }
            (None, _) => Err(FetchError::Setup {
                reason: "the log has no address".to_owned(),
            }),
        }
    }
}

fn full_tile_bytes() -> u64 {
    u64::from(TILE_WIDTH) * 32
}
