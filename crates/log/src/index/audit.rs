//! Makes the index of a log again from its entries, and compares it with what the log signed.
//!
//! Every leaf of the output log follows from the log alone, so its root does: one comparison of roots compares all of
//! them. Only where they differ are the signed leaves read, to name the first that is not what the entries give. The
//! log's entries are hashed against its checkpoint, and the signed leaves against that of the output log.

use std::sync::Arc;

use quorix_tlog::bundle;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::STEP;
use quorix_tlog::index::statement::Statement;
use quorix_tlog::tile::{TILE_WIDTH, TileId};
use quorix_trust::ports::{CommitError, Head, LogIndexStore, StoreError};
use quorix_wire::scan::{GrowError, Grown, Growth, LogSource, ReadError};

use super::IndexError;
use super::follower::WRITE_ENTRIES;
use super::maker::Maker;
use crate::tree::{Tree, stored_leaf};

const WIDTH: u64 = TILE_WIDTH as u64;

/// What is compared.
pub struct Audit {
    /// The log.
    pub log: LogSource,
    /// A checkpoint of it that was verified, not older than that of the output log.
    pub checkpoint: Checkpoint,
    /// The output log.
    pub output: LogSource,
    /// A checkpoint of it that was verified.
    pub output_checkpoint: Checkpoint,
    /// Empty; the index is made there.
    pub scratch: Arc<dyn LogIndexStore>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Entries that the signed index covers.
    pub covered: u64,
    /// Leaves of the output log.
    pub leaves: u64,
    /// Keys in the index as it was made here.
    pub keys: u64,
    /// Where what was signed begins to differ; `None` if all of it is what the entries give.
    pub differs: Option<Difference>,
}

/// The first leaf of the output log that is not what the entries give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How many entries it is about.
    pub size: u64,
    /// What the log signed, as it is; its bytes if they are no state of a map.
    pub signed: Result<Statement, Vec<u8>>,
    /// What the entries give.
    pub made: Statement,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let made = &self.made;
        match &self.signed {
            Err(_) => f.write_str("the signed leaf is no state of a map"),
            Ok(signed) if signed.input_size != made.input_size => {
                write!(
                    f,
                    "the signed leaf says that it is of {} entries",
                    signed.input_size
                )
            }
            Ok(signed) if signed.input_root != made.input_root => {
                f.write_str("the signed leaf is of other entries than the log's")
            }
            Ok(signed) if signed.keys != made.keys => write!(
                f,
                "the signed map has {} keys, and the entries give {}",
                signed.keys, made.keys
            ),
            Ok(signed) => write!(
                f,
                "the signed map has the root {}, and the entries give {}",
                signed.map_root, made.map_root
            ),
        }
    }
}

/// The comparison could not be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The log could not be read, or its entries are not what it signed.
    #[error(transparent)]
    Log(#[from] GrowError),
    /// The output log could not be read.
    #[error("its index: {0}")]
    Output(#[from] ReadError),
    /// The output log is longer than the log.
    #[error("its index is signed for {covered} entries, and the log has {size}")]
    Longer {
        /// Entries that the signed index covers.
        covered: u64,
        /// Entries of the log.
        size: u64,
    },
    /// What is served of the output log is not what its checkpoint says.
    #[error("its index: {reason}")]
    NotSigned {
        /// What does not fit.
        reason: String,
    },
    /// The index could not be made here.
    #[error("the index could not be made here: {0}")]
    Scratch(String),
}

impl AuditError {
    /// True if the log is at fault; false if it could not be found out.
    #[must_use]
    pub fn is_of_the_log(&self) -> bool {
        match self {
            Self::Log(GrowError::Read(error)) | Self::Output(error) => error.is_of_the_log(),
            Self::Log(_) | Self::Longer { .. } | Self::NotSigned { .. } => true,
            Self::Scratch(_) => false,
        }
    }
}

impl Audit {
    /// Makes the index and compares; `progress` is told how many entries are done.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub async fn run(&self, mut progress: impl FnMut(u64)) -> Result<Audited, AuditError> {
        let (leaves, size) = (self.output_checkpoint.size, self.checkpoint.size);
        let covered = leaves.saturating_mul(STEP);
        if covered > size {
            return Err(AuditError::Longer { covered, size });
        }
        let mut making = Making::new(Arc::clone(&self.scratch), covered)?;
        let mut growth = Growth::from_the_beginning();
        while making.maker.covered() < covered {
            let grown = growth.step(&self.log, &self.checkpoint).await?;
            let reached = grown.size.min(covered);
            making = take_in(making, grown).await?;
            progress(reached);
        }
        let keys = making.maker.keys();
        let head = making.write()?;
        let is_same = head.root == self.output_checkpoint.root;
        let differs = if is_same {
            None
        } else {
            Some(self.difference(&head).await?)
        };
        Ok(Audited {
            covered,
            leaves,
            keys,
            differs,
        })
    }

    /// The first leaf that differs. The signed ones are hashed against their checkpoint.
    async fn difference(&self, made: &Head) -> Result<Difference, AuditError> {
        let size = self.output_checkpoint.size;
        let (mut signed, mut first) = (CompactRange::new(), None);
        for tile in 0..size.div_ceil(WIDTH) {
            let id = TileId::hashes(0, tile);
            let hashes = self.output.hashes(id, id.width_at(size)).await?;
            for (index, hash) in (tile.saturating_mul(WIDTH)..).zip(&hashes) {
                if first.is_none() && self.made_leaf(made, index)? != *hash {
                    first = Some((index, *hash));
                }
                signed.push(*hash);
            }
        }
        match first {
            Some((index, hash)) if signed.root() == self.output_checkpoint.root => {
                self.told(index, &hash).await
            }
            _ => Err(AuditError::NotSigned {
                reason: "its hash tiles are not those of its checkpoint".to_owned(),
            }),
        }
    }

    fn made_leaf(&self, made: &Head, index: u64) -> Result<Hash, AuditError> {
        let leaf = stored_leaf(&*self.scratch, made.size, index);
        let leaf = leaf.map_err(|error| AuditError::Scratch(error.to_string()))?;
        leaf.ok_or_else(|| AuditError::Scratch("it is too short".to_owned()))
    }

    /// Both leaves at an index, in words.
    async fn told(&self, index: u64, signed: &Hash) -> Result<Difference, AuditError> {
        let (bundle, size) = (index / WIDTH, self.output_checkpoint.size);
        let width = TileId::entries(bundle).width_at(size);
        let bytes = self.output.bundle(bundle, width).await?;
        let found = leaf_at(&bytes, width, index).filter(|found| leaf_hash(found) == *signed);
        let signed = found.ok_or_else(|| AuditError::NotSigned {
            reason: format!("its leaf {index} does not have the hash that is in its tree"),
        })?;
        let scratch = |error: String| AuditError::Scratch(error);
        let made = self.scratch.tile(TileId::entries(bundle));
        let made = made
            .map_err(|error| scratch(error.to_string()))?
            .and_then(|bytes| Statement::parse(leaf_at(&bytes, width, index)?));
        Ok(Difference {
            size: index.saturating_add(1).saturating_mul(STEP),
            signed: Statement::parse(signed).ok_or_else(|| signed.to_vec()),
            made: made.ok_or_else(|| scratch("a leaf is missing".to_owned()))?,
        })
    }
}

fn leaf_at(bytes: &[u8], width: u16, index: u64) -> Option<&[u8]> {
    let bytes = bundle::prefix(bytes, width).ok()?;
    let leaves = bundle::parse(bytes, width).ok()?;
    let position = usize::try_from(index % WIDTH).ok()?;
    leaves.get(position).copied()
}

/// The index as far as it is made.
struct Making {
    scratch: Arc<dyn LogIndexStore>,
    maker: Maker,
    /// Entries that are to be covered.
    goal: u64,
    /// Entries of a step that is not full yet.
    pending: Vec<Vec<u8>>,
    /// Leaves of the output log that are written.
    written: u64,
}

impl Making {
    fn new(scratch: Arc<dyn LogIndexStore>, goal: u64) -> Result<Self, AuditError> {
        let empty = Head {
            size: 0,
            root: quorix_tlog::hash::EMPTY_ROOT,
            checkpoint: Vec::new(),
        };
        let output = Tree::load(&*scratch, &empty);
        let output = output.map_err(|error| AuditError::Scratch(error.to_string()))?;
        Ok(Self {
            scratch,
            maker: Maker::new(output, CompactRange::new(), 0),
            goal,
            pending: Vec::new(),
            written: 0,
        })
    }

    /// Takes in one entry.
    fn push(&mut self, entry: &[u8]) -> Result<(), AuditError> {
        if self.maker.covered() >= self.goal {
            return Ok(());
        }
        self.pending.push(entry.to_vec());
        if self.pending.len() as u64 == STEP {
            let entries = std::mem::take(&mut self.pending);
            let entries = entries.iter().map(Vec::as_slice);
            self.maker.step(&*self.scratch, entries).map_err(unmade)?;
        }
        let unwritten = self.maker.output().size().saturating_sub(self.written);
        if unwritten.saturating_mul(STEP) >= WRITE_ENTRIES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is made, and gives the output log's head.
    fn write(&mut self) -> Result<Head, AuditError> {
        let output = self.maker.output();
        let head = Head {
            size: output.size(),
            root: output.root(),
            checkpoint: Vec::new(),
        };
        let batch = self.maker.take(head.clone());
        let written = self.scratch.advance(self.written, &batch);
        written.map_err(|error: CommitError| AuditError::Scratch(error.to_string()))?;
        self.written = head.size;
        Ok(head)
    }
}

/// Hashing and writing blocks.
async fn take_in(mut making: Making, grown: Grown) -> Result<Making, AuditError> {
    let working = tokio::task::spawn_blocking(move || {
        for bundle in &grown.bundles {
            for (_, entry) in bundle.entries() {
                making.push(entry)?;
            }
        }
        Ok(making)
    });
    let done = working.await;
    done.unwrap_or_else(|error| Err(AuditError::Scratch(error.to_string())))
}

fn unmade(error: IndexError) -> AuditError {
    AuditError::Scratch(match error {
        IndexError::Store(StoreError { operation, reason }) => format!("{operation}: {reason}"),
        error => error.to_string(),
    })
}
