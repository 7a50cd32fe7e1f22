//! Proofs from a log's own hash tiles, fetched as they are needed.
//!
//! Nothing is checked here: a proof from wrong tiles does not verify.

use std::collections::BTreeMap;

use quorix_tlog::hash::Hash;
use quorix_tlog::proof::{ProveError, TileReader, prove_inclusion, prove_older_root};
use quorix_tlog::tile::TileId;

use super::{GrowError, LogSource};

/// Tiles that one proof may need: well above the two or three a level of a tree of any size.
const TILES_MAX: usize = 64;

/// What root the first `old` entries of the tree of `new` have, for
/// [`verify_older_root`](quorix_tlog::proof::verify_older_root).
///
/// # Errors
/// A tile cannot be read, or the tiles give no proof.
pub async fn older_root(source: &LogSource, old: u64, new: u64) -> Result<Vec<Hash>, GrowError> {
    prove(source, |tiles| prove_older_root(tiles, old, new)).await
}

/// The proof that the leaf at `index` is in the tree of `size`, for
/// [`verify_inclusion`](quorix_tlog::proof::verify_inclusion).
///
/// # Errors
/// The index is not in the tree, a tile cannot be read, or the tiles give no proof.
pub async fn inclusion(source: &LogSource, index: u64, size: u64) -> Result<Vec<Hash>, GrowError> {
    prove(source, |tiles| prove_inclusion(tiles, index, size)).await
}

async fn prove(
    source: &LogSource,
    prove: impl Fn(&Fetched) -> Result<Vec<Hash>, ProveError<(TileId, u16)>>,
) -> Result<Vec<Hash>, GrowError> {
    let mut fetched = Fetched(BTreeMap::new());
    loop {
        match prove(&fetched) {
            Ok(proof) => return Ok(proof),
            Err(ProveError::Read((id, width))) if fetched.0.len() < TILES_MAX => {
                let hashes = source.hashes(id, width).await?;
                fetched.0.insert(id, hashes);
            }
            Err(error) => {
                let reason = format!("its hash tiles give no proof: {error:?}");
                return Err(GrowError::Unverified { reason });
            }
        }
    }
}

/// Tiles fetched so far; reading another one fails with what is wanted.
struct Fetched(BTreeMap<TileId, Vec<Hash>>);

impl TileReader for Fetched {
    type Error = (TileId, u16);

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, Self::Error> {
        self.0.get(&id).cloned().ok_or((id, width))
    }
}
