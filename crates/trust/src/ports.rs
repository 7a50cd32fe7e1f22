//! What the core asks of a store. Each port has an implementation on RocksDB and one in memory, and both pass one
//! shared conformance suite (`quorix-testkit`).
//!
//! Ports are small and synchronous; services call them from blocking threads.

mod follow;
mod index;
mod log_index;

pub use follow::{
    AHEAD_MAX, Equivocation, Facet, Facts, Kept, KeptOf, Lift, OTHER_SYSTEMS, PAIRED_VOICES_MAX,
    SYSTEMS_PER_DAY_MAX, StoredCheckpoint, Tally, TallyKey, day_of, forgotten, tallied,
};
pub use index::{
    Counts, FollowBatch, IndexStore, IndexedStatement, Place, Room, STATEMENTS_PER_OUTPUT_MAX,
    STATEMENTS_PER_VOICE_MAX, Standing, StandingChange, UNLOGGED_PER_VOICE_MAX, room_for,
};
pub use log_index::{ListGrowth, LogIndexBatch, LogIndexStore, StoredList};

use std::path::Path;

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::{TILE_WIDTH, TileId};
use quorix_tlog::witness::Cosigned;

use crate::attestation::BlobId;

/// A store failed. The outcome of the operation is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {reason}")]
pub struct StoreError {
    /// What was being done, e.g. `reading tile 0/5 of the log`.
    pub operation: String,
    /// What the store said.
    pub reason: String,
}

/// Why a commit was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The tree had moved on: nothing was written.
    #[error("the stored tree has {found} entries, not the {expected} that this batch extends")]
    Conflict {
        /// Size that the batch extends.
        expected: u64,
        /// Size that the store has.
        found: u64,
    },
    /// The batch would change a tile that is full: nothing was written. Readers keep such tiles for ever.
    #[error("{tile:?} is full and was published as it is; this batch would change it")]
    Immutable {
        /// Which.
        tile: TileId,
    },
    /// The store failed: whether the batch was written is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest state of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Hash,
    /// The signed checkpoint (C2SP tlog-checkpoint) over exactly this size and root.
    pub checkpoint: Vec<u8>,
}

/// What one commit adds to a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeBatch {
    /// Every tile and entry bundle that changed, whole. A wider tile replaces its narrower self, of which it is
    /// an extension; a full tile never changes again.
    pub tiles: Vec<(TileId, Vec<u8>)>,
    /// Leaf hash of each new entry with its index, for deduplication.
    pub leaves: Vec<(Hash, u64)>,
    /// Blobs that the new entries name.
    pub blobs: Vec<(BlobId, Vec<u8>)>,
    /// The head after this batch.
    pub head: Head,
}

/// Tiles, bundles and blobs of one log, as they are served.
pub trait TileStore: Send + Sync + 'static {
    /// The newest head; `None` before the first commit.
    ///
    /// # Errors
    /// The store failed.
    fn head(&self) -> Result<Option<Head>, StoreError>;

    /// The widest stored version of a hash tile (32-byte hashes) or entry bundle.
    ///
    /// # Errors
    /// The store failed.
    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Some neighbouring entries, the one at `index` among them: the index of the first of them, and their bundle. Stores
    /// that need not read a whole bundle for one entry do not. `None` where there is no such bundle; an entry beyond the
    /// end of what is given is not there.
    ///
    /// # Errors
    /// The store failed.
    fn entries_around(&self, index: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let width = u64::from(TILE_WIDTH);
        let number = index.checked_div(width).unwrap_or_default();
        let bundle = self.tile(TileId::entries(number))?;
        Ok(bundle.map(|bundle| (number.saturating_mul(width), bundle)))
    }

    /// A blob by its SHA-256.
    ///
    /// # Errors
    /// The store failed.
    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Index of the newest entry with this leaf hash: of an entry that was withdrawn and appended again, the one
    /// that counts.
    ///
    /// # Errors
    /// The store failed.
    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError>;

    /// The same for many leaf hashes, in their order. Stores that can look them up together do.
    ///
    /// # Errors
    /// The store failed.
    fn indices_of(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        leaves.iter().map(|leaf| self.index_of(leaf)).collect()
    }

    /// A tile or bundle as [`tile`](Self::tile) gives it, if that takes no wait for the disk; `None` says nothing, not
    /// even that it is not there.
    ///
    /// # Errors
    /// The store failed.
    fn tile_at_hand(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = id;
        Ok(None)
    }
}

/// What one commit adds to one's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBatch {
    /// The grown tree.
    pub tree: TreeBatch,
    /// Leaf hashes that the new entries withdraw, with the index of the retraction.
    pub retractions: Vec<(Hash, u64)>,
}

/// The store of one's own log. One writer.
pub trait LogStore: TileStore {
    /// Index of the newest retraction that names this leaf hash. An entry with a lower index is withdrawn by it.
    ///
    /// # Errors
    /// The store failed.
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError>;

    /// Writes the batch in one atomic step that is durable when this returns, if the stored size is still
    /// `expected` (0 with no head).
    ///
    /// # Errors
    /// [`CommitError::Conflict`], [`CommitError::Immutable`]: nothing was written. [`CommitError::Store`]: the outcome is not known; the
    /// caller must read the head again before it does anything else.
    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError>;

    /// What was published last, as [`note_published`](Self::note_published) noted it.
    ///
    /// # Errors
    /// The store failed.
    fn published(&self) -> Result<Option<Head>, StoreError>;

    /// Notes what is published: a head with the checkpoint that the world sees, cosignatures included; `None` forgets
    /// it. Survives the end of the process when this returns, and a power cut once the next commit has returned.
    ///
    /// # Errors
    /// The store failed; whether it is noted is not known.
    fn note_published(&self, head: Option<&Head>) -> Result<(), StoreError>;

    /// Makes a marked copy of what is durable in a folder that does not exist yet, while the log goes on. Gives the number
    /// of entries in the copy.
    ///
    /// # Errors
    /// The folder exists, the disk is full, or the store has no files to copy. No unmarked copy is left under this name.
    fn backup(&self, dir: &Path) -> Result<u64, StoreError>;

    /// Whether this is a copy that a backup made and that nobody has confirmed since.
    ///
    /// # Errors
    /// The store failed.
    fn is_copy(&self) -> Result<bool, StoreError>;

    /// Takes the mark of a copy away, durably.
    ///
    /// # Errors
    /// The store failed; whether the mark is still there is not known.
    fn confirm_copy(&self) -> Result<(), StoreError>;
}

/// The newest checkpoint that a log has signed, kept apart from its database, best on another disk: a database that
/// has lost acknowledged entries, or is an older copy, is found out by it.
pub trait Anchor: Send + Sync + 'static {
    /// The checkpoint written last; `None` if none ever was.
    ///
    /// # Errors
    /// It cannot be read, or what is there is damaged.
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces it by this signed checkpoint, durably. One synced write.
    ///
    /// # Errors
    /// It failed: either the old or the new one is there.
    fn write(&self, checkpoint: &[u8]) -> Result<(), StoreError>;
}

/// What a witness keeps of one log: the newest checkpoint that it cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRecord {
    /// Its size, root and time.
    pub cosigned: Cosigned,
    /// The checkpoint with the log's signature and the witness's cosignatures, as it is shown.
    pub note: Vec<u8>,
}

/// What a witness has cosigned. Losing any of it would let it cosign two histories.
pub trait WitnessStore: Send + Sync + 'static {
    /// The newest record of a log, by its origin; `None` if nothing of it was cosigned.
    ///
    /// # Errors
    /// The store failed.
    fn record(&self, origin: &str) -> Result<Option<WitnessRecord>, StoreError>;

    /// Replaces the record of a log in one atomic step that is durable when this returns, if what is stored is still
    /// `expected`. `false`: something else is stored, and nothing was written.
    ///
    /// # Errors
    /// The store failed: whether it was written is not known, and nothing that was signed for it may be shown.
    fn replace(
        &self,
        origin: &str,
        expected: Option<&Cosigned>,
        record: &WitnessRecord,
    ) -> Result<bool, StoreError>;
}
