//! Takes in what a log has beyond what is known, in steps, each proved to be part of the signed tree before it is
//! handed out.
//!
//! Every bundle of a step is hashed whole, the partial one at the right edge again and again until it is full, so that
//! a log which changes what it had said before is noticed at once. Forks are told apart from mere failures.

use futures::{StreamExt as _, stream};
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::proof::verify_older_root;
use quorix_tlog::tile::{TILE_WIDTH, TileId};

use super::levels::Levels;
use super::source::blocking;
use super::{LogSource, ReadError, older_root};

/// Bundles under way at once.
const BUNDLES_AT_ONCE: usize = 8;
/// Most bundles of one step.
const BUNDLES_PER_STEP: u64 = 64;
/// Bytes after which a step fetches no further bundle.
const BYTES_PER_STEP: usize = 16 * 1024 * 1024;

const WIDTH: u64 = TILE_WIDTH as u64;

/// A log could not be taken in further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrowError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read is not of the signed tree.
    #[error("{reason}")]
    Unverified {
        /// How that shows.
        reason: String,
    },
    /// The signed tree does not begin with what was signed before.
    #[error("its first {size} entries are not those that it had signed before")]
    Forked {
        /// The size that was known.
        size: u64,
    },
    /// The checkpoint is older than what is known.
    #[error("it shows a checkpoint of {found} entries, and {known} are known already")]
    Behind {
        /// Its size.
        found: u64,
        /// The size that is known.
        known: u64,
    },
}

/// One bundle of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrownBundle {
    /// Its number.
    pub index: u64,
    /// How many entries it has, 1 to 256.
    pub width: u16,
    /// The bundle as it is served.
    pub bytes: Vec<u8>,
}

impl GrownBundle {
    /// The entries with their indices.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let entries = bundle::parse(&self.bytes, self.width).unwrap_or_default();
        (self.index.saturating_mul(WIDTH)..).zip(entries)
    }
}

/// What one step adds. All of it is part of the signed tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The bundles, from the first that was not full before.
    pub bundles: Vec<GrownBundle>,
    /// The hash tiles that became full; at the goal also the partial ones of exactly that size.
    pub tiles: Vec<(TileId, Vec<Hash>)>,
    /// Entries from the beginning of the log to the end of this step.
    pub size: u64,
    /// The goal is reached.
    pub is_done: bool,
}

/// How much of a log is known.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// Up to the last full bundle.
    levels: Levels,
    /// The newest verified size, with its root.
    known: Option<(u64, Hash)>,
}

impl Growth {
    /// Nothing is known.
    #[must_use]
    pub fn from_the_beginning() -> Self {
        Self::default()
    }

    /// Everything up to `checkpoint` is known: it was verified before, and `source` has its hash tiles.
    ///
    /// # Errors
    /// The tiles cannot be read, or are not of that checkpoint.
    pub async fn known(source: &LogSource, checkpoint: &Checkpoint) -> Result<Self, GrowError> {
        Self::skipping(source, checkpoint.size, checkpoint).await
    }

    /// Begins at the bundle with the entry `index`, of the tree of a verified checkpoint. What is before is not read,
    /// only proved to be the beginning of that tree.
    ///
    /// # Errors
    /// The tiles cannot be read, or are not of that checkpoint.
    pub async fn skipping(
        source: &LogSource,
        index: u64,
        checkpoint: &Checkpoint,
    ) -> Result<Self, GrowError> {
        let size = checkpoint.size;
        let base = index.min(size) / WIDTH * WIDTH;
        let levels = Levels::load(source, base, size).await?;
        prove_part(source, base, levels.root(), checkpoint).await?;
        Ok(Self {
            levels,
            known: Some((size, checkpoint.root)),
        })
    }

    /// The newest verified size with its root, if there is one.
    #[must_use]
    pub fn head(&self) -> Option<(u64, Hash)> {
        self.known
    }

    /// Fetches and verifies what follows, up to the size of `goal`, which is a verified checkpoint, but no more than
    /// one step. Without effect where it fails.
    ///
    /// # Errors
    /// See [`GrowError`].
    pub async fn step(
        &mut self,
        source: &LogSource,
        goal: &Checkpoint,
    ) -> Result<Grown, GrowError> {
        if let Some((known, root)) = self.known {
            if goal.size < known {
                let found = goal.size;
                return Err(GrowError::Behind { found, known });
            }
            if goal.size == known && goal.root != root {
                return Err(GrowError::Forked { size: known });
            }
        }
        let bundles = fetch(source, self.levels.size(), goal.size).await?;
        let (levels, known) = (self.levels.clone(), self.known);
        let (full, edge, bundles, tiles) =
            blocking(move || Ok(hash(levels, known, bundles))).await??;
        let (size, root) = (edge.size(), edge.root());
        if size == goal.size {
            if root != goal.root {
                return Err(not_signed(size, root, goal));
            }
        } else {
            prove_part(source, size, root, goal).await?;
        }
        let is_done = size == goal.size;
        let mut grown = Grown {
            bundles,
            tiles,
            size,
            is_done,
        };
        if is_done {
            grown.tiles.extend(edge.partial().cloned());
        }
        self.levels = full;
        if self.known.is_none_or(|(known, _)| known <= size) {
            self.known = Some((size, root));
        }
        Ok(grown)
    }
}

/// Bundles from entry `from` (a multiple of 256) on, until `goal` or until a step is full.
async fn fetch(source: &LogSource, from: u64, goal: u64) -> Result<Vec<GrownBundle>, GrowError> {
    let first = from / WIDTH;
    let last = goal
        .div_ceil(WIDTH)
        .min(first.saturating_add(BUNDLES_PER_STEP));
    let fetching = stream::iter(first..last).map(|index| {
        let (source, width) = (source.clone(), TileId::entries(index).width_at(goal));
        async move {
            let bytes = source.bundle(index, width).await?;
            Ok::<_, ReadError>(GrownBundle {
                index,
                width,
                bytes,
            })
        }
    });
    let mut fetching = fetching.buffered(BUNDLES_AT_ONCE);
    let (mut bundles, mut bytes) = (Vec::new(), 0_usize);
    while let Some(bundle) = fetching.next().await {
        let bundle = bundle?;
        bytes = bytes.saturating_add(bundle.bytes.len());
        bundles.push(bundle);
        if bytes >= BYTES_PER_STEP {
            break;
        }
    }
    Ok(bundles)
}

/// The tree up to the last full bundle, the whole tree, the bundles, and the tiles that became full.
type Hashed = (Levels, Levels, Vec<GrownBundle>, Vec<(TileId, Vec<Hash>)>);

fn hash(
    mut levels: Levels,
    known: Option<(u64, Hash)>,
    bundles: Vec<GrownBundle>,
) -> Result<Hashed, GrowError> {
    let mut tiles = Vec::new();
    let mut full = None;
    for bundle in &bundles {
        if bundle.width < TILE_WIDTH {
            full = Some(levels.clone());
        }
        for (_, entry) in bundle.entries() {
            levels.push(leaf_hash(entry));
            if let Some((size, root)) = known
                && levels.size() == size
                && levels.root() != root
            {
                return Err(GrowError::Forked { size });
            }
        }
        tiles.extend(levels.completed());
    }
    let full = full.unwrap_or_else(|| levels.clone());
    Ok((full, levels, bundles, tiles))
}

/// Checks with the log's own hash tiles that the first `size` entries of the signed tree have this root.
async fn prove_part(
    source: &LogSource,
    size: u64,
    root: Hash,
    goal: &Checkpoint,
) -> Result<(), GrowError> {
    let proof = older_root(source, size, goal.size).await?;
    match verify_older_root(size, goal.size, &goal.root, &proof) {
        Ok(proved) if proved == root => Ok(()),
        Ok(_) => Err(not_signed(size, root, goal)),
        Err(error) => Err(GrowError::Unverified {
            reason: format!("its hash tiles do not fit its checkpoint: {error}"),
        }),
    }
}

fn not_signed(size: u64, root: Hash, goal: &Checkpoint) -> GrowError {
    GrowError::Unverified {
        reason: format!(
            "its first {size} entries (root {root}) are not those of its checkpoint of {} entries",
            goal.size
        ),
    }
}
