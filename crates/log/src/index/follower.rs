//! Growing the index behind a running log: published entries in, one step of the map for every 16 of them, several steps
//! a write.
//!
//! What it reads is checked: the hashes of the entries that it saw have to give the root that the log's tiles have at
//! that size, before a state of the map is signed.

use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{EMPTY_ROOT, Hash};
use quorix_tlog::index::STEP;
use quorix_tlog::index::statement::Statement;
use quorix_tlog::note::SigningKey;
use quorix_tlog::proof::{ProveError, TileReader, root_of};
use quorix_tlog::tile::{Edge, EdgeError, TILE_WIDTH};
use quorix_trust::ports::{Head, LogIndexBatch, LogIndexStore, StoreError, TreeBatch};

use super::IndexError;
use super::maker::{Maker, damaged};
use super::reader::{Main, Output};
use crate::error::TreeError;
use crate::published::Published;
use crate::tree::Tree;

/// Most entries of one write.
pub(super) const WRITE_ENTRIES: u64 = 8_192;

/// The index in memory, ahead of the store by at most one write.
pub(super) struct Follower {
    maker: Maker,
    /// The head that is stored.
    head: Head,
    stored: u64,
}

/// One write.
pub(super) struct Step {
    /// Leaves of the output log before it.
    pub(super) expected: u64,
    /// What is written.
    pub(super) batch: LogIndexBatch,
    /// Whether it covers all that is published, but for less than a step of the map.
    pub(super) is_last: bool,
}

impl Follower {
    /// Loads what is stored and checks that it is of this log.
    pub(super) fn load(
        published: &Published,
        store: &dyn LogIndexStore,
        key: &SigningKey,
    ) -> Result<Self, IndexError> {
        let head = match store.head()? {
            Some(head) => head,
            None => begin(store, key)?,
        };
        let origin = key.verifier().name().as_str();
        let signed = SignedCheckpoint::open(&head.checkpoint, key.verifier(), origin)
            .map_err(|error| damaged(error.to_string()))?;
        let checkpoint = signed.checkpoint();
        if (checkpoint.size, checkpoint.root) != (head.size, head.root) {
            return Err(damaged("its checkpoint is of another tree".to_owned()));
        }
        let output = Tree::load(store, &head).map_err(|error| match error {
            TreeError::Store(error) => IndexError::Store(error),
            error => damaged(error.to_string()),
        })?;
        let (covered, root, keys) = match head.size.checked_sub(1) {
            None => (0, EMPTY_ROOT, 0),
            Some(last) => {
                let statement = Statement::parse(&Output(store).leaf(last)?)
                    .filter(|found| Statement::input_size_at(last) == Some(found.input_size));
                let statement =
                    statement.ok_or_else(|| damaged("its last leaf is no state".to_owned()))?;
                (statement.input_size, statement.input_root, statement.keys)
            }
        };
        let input = covered_range(published, covered, &root)?;
        Ok(Self {
            maker: Maker::new(output, input, keys),
            head,
            stored: covered,
        })
    }

    /// Entries that were covered by the last write.
    pub(super) const fn stored(&self) -> u64 {
        self.stored
    }

    /// The head that was written last.
    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    pub(super) const fn keys(&self) -> u64 {
        self.maker.keys()
    }

    /// Takes note that a write went well.
    pub(super) fn written(&mut self, head: Head) {
        self.head = head;
        self.stored = self.maker.covered();
    }

    /// The next write; `None` where less than a step is new. The follower is of no use any more where that, or the
    /// write, fails.
    pub(super) fn prepare(
        &mut self,
        published: &Published,
        store: &dyn LogIndexStore,
        key: &SigningKey,
    ) -> Result<Option<Step>, IndexError> {
        let size = published.head().size;
        let last = self.maker.covered().saturating_add(WRITE_ENTRIES);
        let expected = self.maker.output().size();
        while self.maker.covered() < last && size.saturating_sub(self.maker.covered()) >= STEP {
            self.bundle(published, store, size.min(last))?;
        }
        let output = self.maker.output();
        if output.size() == expected {
            return Ok(None);
        }
        self.check_input(published)?;
        let head = signed_head(key, output.size(), output.root())?;
        Ok(Some(Step {
            expected,
            batch: self.maker.take(head),
            is_last: size.saturating_sub(self.maker.covered()) < STEP,
        }))
    }

    /// A write of nothing but the same head again, to be given another note.
    pub(super) fn same(&self, key: &SigningKey) -> Result<Step, IndexError> {
        let head = signed_head(key, self.head.size, self.head.root)?;
        Ok(Step {
            expected: self.head.size,
            batch: only(head),
            is_last: true,
        })
    }

    /// All whole steps of one bundle of entries, up to `end`.
    fn bundle(
        &mut self,
        published: &Published,
        store: &dyn LogIndexStore,
        end: u64,
    ) -> Result<(), IndexError> {
        let width = u64::from(TILE_WIDTH);
        let first = self.maker.covered();
        let bundle_end = (first / width).saturating_add(1).saturating_mul(width);
        let end = end.min(bundle_end);
        let end = end.saturating_sub(end % STEP);
        let entries = Main(published)
            .entries(first, end)
            .map_err(IndexError::Log)?;
        for step in entries.chunks(usize::try_from(STEP).unwrap_or(usize::MAX)) {
            self.maker.step(store, step.iter().map(Vec::as_slice))?;
        }
        Ok(())
    }

    /// The entries that were read have to be those of the log's tiles.
    fn check_input(&self, published: &Published) -> Result<(), IndexError> {
        let covered = self.maker.covered();
        let expected = root_of(&Main(published), covered).map_err(|error| match error {
            ProveError::Read(error) => IndexError::Log(error),
            error => other_log(published, covered, &error.to_string()),
        })?;
        if expected != self.maker.input_root() {
            return Err(other_log(published, covered, "they have another root"));
        }
        Ok(())
    }
}

/// The compact range over the covered entries, from the log's tiles, with the root that was signed for them.
///
/// That less is published than was covered is no contradiction: what was published last is not synced where witnesses
/// have it, and is published again soon.
fn covered_range(
    published: &Published,
    covered: u64,
    root: &Hash,
) -> Result<CompactRange, IndexError> {
    let size = published.head().size;
    if covered > size {
        return Err(IndexError::Ahead { covered, size });
    }
    let main = Main(published);
    let edge = Edge::load(covered, |id, width| main.hashes(id, width).map(Some));
    let edge = edge.map_err(|error: EdgeError<StoreError>| match error {
        EdgeError::Read(error) => IndexError::Log(error),
        error => other_log(published, covered, &error.to_string()),
    })?;
    if edge.root() != *root {
        return Err(other_log(published, covered, "they have another root"));
    }
    Ok(edge.compact_range().clone())
}

fn other_log(published: &Published, covered: u64, reason: &str) -> IndexError {
    IndexError::OtherLog {
        covered,
        size: published.head().size,
        reason: reason.to_owned(),
    }
}

/// Signs the checkpoint of the empty output log.
fn begin(store: &dyn LogIndexStore, key: &SigningKey) -> Result<Head, IndexError> {
    let head = signed_head(key, 0, EMPTY_ROOT)?;
    store.advance(0, &only(head.clone()))?;
    Ok(head)
}

/// Nothing but a head.
fn only(head: Head) -> LogIndexBatch {
    LogIndexBatch {
        pages: Vec::new(),
        lists: Vec::new(),
        leaves: Vec::new(),
        output: TreeBatch {
            tiles: Vec::new(),
            leaves: Vec::new(),
            blobs: Vec::new(),
            head,
        },
    }
}

fn signed_head(key: &SigningKey, size: u64, root: Hash) -> Result<Head, IndexError> {
    let checkpoint = Checkpoint {
        origin: key.verifier().name().as_str().to_owned(),
        size,
        root,
        extensions: Vec::new(),
    };
    let checkpoint = checkpoint
        .sign(key)
        .map_err(|error| damaged(error.to_string()))?;
    Ok(Head {
        size,
        root,
        checkpoint,
    })
}
