//! Proves equivocation, where there is some (SEMANTICS §5).
//!
//! A proof that merely fails proves nothing. Only one that recomputes the larger signed root exactly, and from it
//! another smaller root than the signed one, is kept; whoever served its hashes cannot have made that up.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::Hash;
use quorix_tlog::proof::{ProveError, TileReader, prove_older_root, root_of, verify_older_root};
use quorix_tlog::tile::TileId;
use quorix_wire::fetch::TileClient;

use super::{Follower, Step, StepError, within};
use crate::machine::blocking;
use crate::mirror::{Hashes, unproved};

/// Tiles that one consistency proof may need: well above the two or three a level of a tree of any size.
const TILES_MAX: usize = 64;

impl Follower {
    /// Asks the log for the proof that `shown` extends `signed`, and quarantines it if its own hashes prove that it
    /// does not. `None` if they prove nothing.
    pub(super) async fn accuse(
        &self,
        client: &TileClient,
        signed: &SignedCheckpoint,
        shown: &SignedCheckpoint,
    ) -> Result<Option<Step>, StepError> {
        let (old, new) = (signed.checkpoint().size, shown.checkpoint().size);
        match older_root_proof(client, self.shared.config.request_timeout, old, new).await {
            Ok(proof) => self.quarantine_if_proved(signed, shown, proof).await,
            Err(error) => {
                tracing::debug!(log = self.log.name, %error, "no proof of a fork to be had");
                Ok(None)
            }
        }
    }

    /// The same, whichever of the two is the larger one.
    pub(super) async fn accuse_either(
        &self,
        client: &TileClient,
        one: &SignedCheckpoint,
        other: &SignedCheckpoint,
    ) -> Result<Option<Step>, StepError> {
        match one.checkpoint().size.cmp(&other.checkpoint().size) {
            Ordering::Less => self.accuse(client, one, other).await,
            Ordering::Greater => self.accuse(client, other, one).await,
            Ordering::Equal => Ok(None),
        }
    }

    /// The same for a smaller checkpoint than the one that is held: the proof is from our own mirror.
    pub(super) async fn accuse_of_another_past(
        &self,
        shown: &SignedCheckpoint,
        signed: &SignedCheckpoint,
    ) -> Result<Option<Step>, StepError> {
        let (old, new) = (shown.checkpoint().size, signed.checkpoint().size);
        let (origin, index) = (self.log.origin.clone(), self.shared.index.clone());
        let proof = blocking("proving a fork", move || {
            prove_older_root(&Hashes(index.mirror(&origin).as_ref()), old, new).map_err(unproved)
        })
        .await?;
        self.quarantine_if_proved(shown, signed, proof).await
    }

    async fn quarantine_if_proved(
        &self,
        smaller: &SignedCheckpoint,
        larger: &SignedCheckpoint,
        proof: Vec<Hash>,
    ) -> Result<Option<Step>, StepError> {
        let (old, new) = (smaller.checkpoint(), larger.checkpoint());
        match verify_older_root(old.size, new.size, &new.root, &proof) {
            Ok(proved) if proved != old.root => {
                self.quarantine(smaller, larger, proof).await.map(Some)
            }
            // It fits after all, or shows nothing.
            _ => Ok(None),
        }
    }

    /// Root of the first `size` entries of the mirror.
    pub(super) async fn mirrored_root(&self, size: u64) -> Result<Hash, StepError> {
        let (origin, index) = (self.log.origin.clone(), self.shared.index.clone());
        let root = blocking("computing a root from a mirror", move || {
            root_of(&Hashes(index.mirror(&origin).as_ref()), size).map_err(unproved)
        });
        Ok(root.await?)
    }
}

/// Computes from the log's own hash tiles what root the first `old` entries of its tree of `new` have, for
/// [`verify_older_root`]; each request within `limit`.
pub(super) async fn older_root_proof(
    client: &TileClient,
    limit: Duration,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, StepError> {
    let mut fetched = Fetched(BTreeMap::new());
    loop {
        let (id, width) = match prove_older_root(&fetched, old, new) {
            Ok(proof) => return Ok(proof),
            Err(ProveError::Read(wanted)) if fetched.0.len() < TILES_MAX => wanted,
            Err(error) => {
                let reason =
                    format!("its hash tiles give no proof from {old} to {new} entries: {error:?}");
                return Err(StepError::Unverifiable { reason });
            }
        };
        let hashes = within(
            limit,
            &format!("the hash tile {id:?}"),
            client.hash_tile(id, width),
        )
        .await?;
        fetched.0.insert(id, hashes);
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
