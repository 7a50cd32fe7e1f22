//! Takes in what a log grew by: fetches bundles, hashes every entry, and commits only what the signed root covers.
//!
//! A log that grew by more than one batch is caught up in several: each is committed only after the log's own hash
//! tiles proved, up to the signed root, that the mirror with this batch is the beginning of the signed tree. So memory
//! is bounded by `batch_entries` and `batch_bytes`, whatever a log's size. Until the last batch, the mirror's head
//! keeps the checkpoint that it had before, and evidence is from that one.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::VerifierKey;
use quorix_tlog::proof::{root_of, verify_older_root};
use quorix_tlog::tile::{Edge, TILE_WIDTH, TileId};
use quorix_trust::attestation::BlobId;
use quorix_trust::policy::Cache;
use quorix_trust::ports::{
    FollowBatch, Head, IndexStore, StandingChange, StoreError, StoredCheckpoint, TileStore,
    TreeBatch, day_of,
};
use quorix_wire::fetch::TileClient;

use super::fork::older_root_proof;
use super::{Follower, Step, StepError};
use crate::events::{Event, EventKind};
use crate::index::{Added, read, read_with_facts};
use crate::logs::Log;
use crate::machine::blocking;
use crate::mirror::{Entries, Hashes, missing, unproved};
use crate::service::Shared;

/// Bundles under way at once.
const BUNDLES_AT_ONCE: usize = 4;
/// Kept checkpoints read at a time.
const KEPT_AT_ONCE: usize = 256;

/// Neighbouring bundles as fetched: the number of each, and its bytes.
pub(crate) struct Chunk {
    pub(crate) bundles: Vec<(u64, Vec<u8>)>,
    /// Entries of the tree up to the end of the last of them.
    pub(crate) end: u64,
}

/// A mirror with one chunk more, not committed yet.
pub(crate) struct Grown {
    pub(crate) edge: Edge,
    pub(crate) batch: FollowBatch,
    /// Blobs that the new entries name and the mirror has not.
    pub(crate) wanted: Vec<BlobId>,
}

impl Follower {
    /// Takes in everything up to `target`. `signed` is the checkpoint that the mirror is under.
    pub(super) async fn extend(
        &mut self,
        client: &TileClient,
        target: &SignedCheckpoint,
        signed: Option<&SignedCheckpoint>,
    ) -> Result<Step, StepError> {
        let goal = target.checkpoint();
        let mut edge = match self.edge.take() {
            Some(edge) => edge,
            None => self.load_edge().await?,
        };
        let from = edge.size();
        loop {
            let expected = edge.size();
            let chunk = self.fetch_chunk(client, expected, goal.size).await?;
            let mut grown = match self.grow(edge, chunk).await? {
                Ok(grown) => grown,
                Err(error @ StepError::Contradicts { .. }) => {
                    return self.accuse_with(client, error, target).await;
                }
                Err(error) => return Err(error),
            };
            self.check_part_of(client, &grown.edge, target).await?;
            let covering = if grown.edge.size() == goal.size {
                Some(target)
            } else {
                signed
            };
            grown.batch.tree.head.checkpoint = covering
                .map(|signed| signed.bytes().to_vec())
                .unwrap_or_default();
            if grown.edge.size() < goal.size {
                self.log.catching_up(grown.edge.size(), goal.size);
            }
            grown.batch.tree.blobs = self.shared.fetch_blobs(&self.log, &grown.wanted).await;
            self.commit(expected, grown.batch).await?;
            edge = grown.edge;
            if edge.size() >= goal.size {
                break;
            }
        }
        if let Some(step) = self.compare_kept(target, signed).await? {
            return Ok(step);
        }
        self.log.caught_up();
        self.edge = Some(edge);
        Ok(Step::Advanced {
            from,
            to: goal.size,
        })
    }

    /// Compares the mirror, now that it is under `target`, with what was kept since the checkpoint that it was under before:
    /// also with what peers told while it was caught up with, of trees that were hashed by then.
    async fn compare_kept(
        &self,
        target: &SignedCheckpoint,
        signed: Option<&SignedCheckpoint>,
    ) -> Result<Option<Step>, StepError> {
        let (log, index) = (self.log.clone(), self.shared.index.clone());
        let from = signed.map_or(0, |signed| signed.checkpoint().size);
        let end = target.checkpoint().size;
        let other = blocking("comparing kept checkpoints with a mirror", move || {
            let mirror = index.mirror(&log.origin);
            for (size, root, _) in Kept::load(index.as_ref(), &log.key, from, end)?.0 {
                let is_ours = |root: &Hash| {
                    let mirrored = root_of(&Hashes(mirror.as_ref()), size).map_err(unproved)?;
                    Ok::<_, StoreError>(mirrored == *root)
                };
                if size < end
                    && let Some(root) = root
                    && !is_ours(&root)?
                {
                    return note_of(index.as_ref(), &log.key, size);
                }
            }
            Ok(None)
        })
        .await?;
        match other {
            Some(other) => self.accuse_of_another_past(&other, target).await,
            None => Ok(None),
        }
    }

    async fn load_edge(&self) -> Result<Edge, StepError> {
        let (origin, index) = (self.log.origin.clone(), self.shared.index.clone());
        let edge = blocking("loading the right edge of a mirror", move || {
            let mirror = index.mirror(&origin);
            let Some(head) = mirror.head()? else {
                return Ok(Edge::empty());
            };
            let damaged = |reason| StoreError {
                operation: format!("loading the mirror of {origin}"),
                reason,
            };
            let edge = Edge::load(head.size, |id, width| {
                Hashes(mirror.as_ref()).load(id, width)
            })
            .map_err(|error| damaged(error.to_string()))?;
            if edge.root() != head.root {
                return Err(damaged(format!(
                    "its tiles have the root {}, its head says {}",
                    edge.root(),
                    head.root
                )));
            }
            Ok(edge)
        });
        Ok(edge.await?)
    }

    /// Fetches bundles from that of entry `from` on, until `goal` or until a batch is full.
    async fn fetch_chunk(
        &self,
        client: &TileClient,
        from: u64,
        goal: u64,
    ) -> Result<Chunk, StepError> {
        let width = u64::from(TILE_WIDTH);
        let config = &self.shared.config;
        let last = goal.min(from.saturating_add(config.batch_entries));
        let mut chunk = Chunk {
            bundles: Vec::new(),
            end: from,
        };
        if from >= goal {
            return Ok(chunk);
        }
        let numbers = from / width..last.div_ceil(width);
        let mut fetched = stream::iter(numbers)
            .map(|number| async move {
                let expected = TileId::entries(number).width_at(goal);
                let what = format!("the entry bundle {number}");
                let bytes = self
                    .within(&what, client.entry_bundle(number, expected))
                    .await?;
                Ok::<_, StepError>((number, expected, bytes))
            })
            .buffered(BUNDLES_AT_ONCE);
        let mut bytes_fetched = 0_usize;
        while let Some((number, expected, bytes)) = fetched.try_next().await? {
            bytes_fetched = bytes_fetched.saturating_add(bytes.len());
            chunk.end = number
                .saturating_mul(width)
                .saturating_add(u64::from(expected));
            chunk.bundles.push((number, bytes));
            if bytes_fetched >= config.batch_bytes {
                break;
            }
        }
        Ok(chunk)
    }

    /// The tree of `target` is not that of a checkpoint before it: proves that with the log's own tiles, if they do.
    async fn accuse_with(
        &self,
        client: &TileClient,
        error: StepError,
        target: &SignedCheckpoint,
    ) -> Result<Step, StepError> {
        if let StepError::Contradicts { kept, .. } = &error
            && let Some(step) = self.accuse_either(client, kept, target).await?
        {
            return Ok(step);
        }
        Err(error)
    }

    /// Hashes a chunk's entries onto the edge. The inner error says what does not verify.
    async fn grow(&self, edge: Edge, chunk: Chunk) -> Result<Result<Grown, StepError>, StepError> {
        let (key, index) = (self.log.key.clone(), self.shared.index.clone());
        let policy = self.shared.policy.clone();
        let now_s = (self.shared.clock)();
        let read = move || {
            let (index, caches) = (index.as_ref(), policy.caches.as_slice());
            grow(edge, chunk, &key, index, caches, now_s, Compared::Yes)
        };
        let cores = &self.shared.catching_up;
        Ok(cores.run("reading fetched entries", read).await?)
    }

    /// Checks that the grown tree is the signed one, or the beginning of it.
    async fn check_part_of(
        &self,
        client: &TileClient,
        edge: &Edge,
        target: &SignedCheckpoint,
    ) -> Result<(), StepError> {
        let (size, root, goal) = (edge.size(), edge.root(), target.checkpoint());
        if size == goal.size {
            let reason = format!(
                "its {size} entries have the root {root}, its checkpoint says {}",
                goal.root
            );
            return if root == goal.root {
                Ok(())
            } else {
                Err(StepError::Unverifiable { reason })
            };
        }
        let proof =
            older_root_proof(client, self.shared.config.request_timeout, size, goal.size).await?;
        let why = match verify_older_root(size, goal.size, &goal.root, &proof) {
            Ok(proved) if proved == root => return Ok(()),
            Ok(proved) => format!("their root is {root}, its hash tiles say {proved}"),
            Err(error) => format!("its hash tiles do not fit its checkpoint: {error}"),
        };
        let whole = goal.size;
        let reason =
            format!("its first {size} entries are not those of its checkpoint of {whole}: {why}");
        Err(StepError::Unverifiable { reason })
    }

    async fn commit(&self, expected: u64, batch: FollowBatch) -> Result<(), StepError> {
        let (log, shared) = (self.log.clone(), self.shared.clone());
        let one_at_a_time = log.commit.clone().lock_owned().await;
        // A conflict is no failure of the store, but that of the batch.
        let commit = move || {
            // Here, so that what is written is locked until it is, and is told, also if nobody waits for it any more.
            let _one_at_a_time = one_at_a_time;
            let advanced = shared.index.advance(&log.origin, expected, &batch);
            log.committed();
            let changes = match advanced {
                Ok(changes) => changes,
                Err(error) => return Ok(Err(error)),
            };
            tell(&shared, &log, expected, &batch, &changes);
            Ok(Ok(()))
        };
        let cores = &self.shared.catching_up;
        Ok(cores.run("committing to a mirror", commit).await??)
    }
}

/// Counts what was committed, and tells of it.
fn tell(
    shared: &Shared,
    log: &Log,
    expected: u64,
    batch: &FollowBatch,
    changes: &[StandingChange],
) {
    let Shared {
        metrics,
        events,
        clock,
        config,
        ..
    } = shared;
    let (name, size) = (&log.name, batch.tree.head.size);
    metrics.advanced(name, size, size.saturating_sub(expected), batch.opaque);
    let at_s = clock();
    let named = batch.retractions.len();
    if named > 0 {
        events.tell(Event {
            at_s,
            kind: EventKind::Revoked,
            subject: name.clone(),
            message: match named {
                1 => format!("{name} published a retraction of one entry."),
                _ => format!("{name} published retractions of {named} entries."),
            },
        });
    }
    events.tell_standings(at_s, name, &config.store_dir, changes);
}

/// Whether a tree is compared with the checkpoints that were kept of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    /// What contradicts one is an error.
    Yes,
    /// They only say when entries were there: the tree as a whole is compared with a root that was verified before.
    Later,
}

/// Hashes the entries of a chunk onto the edge and reads what they say. The inner error says what does not verify.
pub(crate) fn grow(
    mut edge: Edge,
    chunk: Chunk,
    key: &VerifierKey,
    index_store: &dyn IndexStore,
    caches: &[Cache],
    now_s: u64,
    compared: Compared,
) -> Result<Result<Grown, StepError>, StoreError> {
    let unverifiable = |reason: String| Ok(Err(StepError::Unverifiable { reason }));
    let origin = key.name().as_str();
    let mirror: Arc<dyn TileStore> = index_store.mirror(origin).into();
    let from = edge.size();
    let mut ended = end_of(&mirror, from, key)?;
    let mut kept = Kept::load(index_store, key, from, chunk.end)?;
    let mut batch = FollowBatch {
        tree: TreeBatch {
            tiles: Vec::new(),
            leaves: Vec::new(),
            blobs: Vec::new(),
            head: Head {
                size: from,
                root: edge.root(),
                checkpoint: Vec::new(),
            },
        },
        statements: Vec::new(),
        retractions: Vec::new(),
        opaque: 0,
        facts: Vec::new(),
    };
    let mut named = Vec::new();
    for (number, bytes) in chunk.bundles {
        let id = TileId::entries(number);
        let first = number.saturating_mul(u64::from(TILE_WIDTH));
        let known = u16::try_from(from.saturating_sub(first))
            .unwrap_or(TILE_WIDTH)
            .min(TILE_WIDTH);
        let entries = match bundle::parse(&bytes, id.width_at(chunk.end)) {
            Ok(entries) => entries,
            Err(error) => return unverifiable(format!("its entry bundle {number}: {error}")),
        };
        if known > 0 && !begins_as_mirrored(mirror.as_ref(), id, &bytes, known)? {
            return unverifiable(format!(
                "its entry bundle {number} begins with other entries than it had before"
            ));
        }
        for (index, entry) in (first..).zip(entries).skip(usize::from(known)) {
            if let Some(rotation) = ended {
                return unverifiable(format!(
                    "its entry {index} comes after the key rotation of entry {rotation}, which ends it"
                ));
            }
            let leaf = leaf_hash(entry);
            edge.push(leaf);
            batch.tree.leaves.push((leaf, index));
            let (added, blobs, facts) = read_with_facts(entry, origin, index, caches);
            if let Added::Rotation(rotation) = &added {
                ended = rotation.successor_of(key).is_ok().then_some(index);
            }
            let seen_s = kept.covering(index).unwrap_or(now_s);
            if let Some(facts) = facts {
                let day = day_of(seen_s);
                batch.facts.push(facts.at(index, day));
            }
            add(&mut batch, added, index);
            if compared == Compared::Yes
                && kept.is_contradicted(&edge)
                && let Some(kept) = note_of(index_store, key, edge.size())?
            {
                let (kept, root) = (Box::new(kept), edge.root());
                return Ok(Err(StepError::Contradicts { kept, root }));
            }
            named.extend(blobs);
        }
        batch.tree.tiles.push((id, bytes));
    }
    let hashes = |hashes: Vec<Hash>| hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    batch.tree.tiles.extend(
        edge.take_changed()
            .into_iter()
            .map(|(id, tile)| (id, hashes(tile))),
    );
    batch.tree.head = Head {
        size: edge.size(),
        root: edge.root(),
        checkpoint: Vec::new(),
    };
    let wanted = not_mirrored(mirror.as_ref(), named)?;
    Ok(Ok(Grown {
        edge,
        batch,
        wanted,
    }))
}

/// The kept checkpoints of what a chunk covers, ascending: size, root if the log's key signed it, and when it was first
/// seen. Their notes are read again where one is needed.
struct Kept(VecDeque<(u64, Option<Hash>, u64)>);

impl Kept {
    /// Those that cover more than `from` entries, up to the first that covers `end`: at most one for each entry.
    fn load(
        index: &dyn IndexStore,
        key: &VerifierKey,
        from: u64,
        end: u64,
    ) -> Result<Self, StoreError> {
        let origin = key.name().as_str();
        let (mut all, mut next) = (VecDeque::new(), from.saturating_add(1));
        while next <= end || all.is_empty() {
            let some = index.checkpoints(origin, next, KEPT_AT_ONCE)?;
            let Some(last) = some.last() else { break };
            let reached = last.size;
            all.extend(
                some.into_iter()
                    .map(|kept| (kept.size, root_in(&kept, key), kept.at_s)),
            );
            if reached >= end {
                break;
            }
            next = reached.saturating_add(1);
        }
        Ok(Self(all))
    }

    /// When the earliest of them that covers this entry was first seen.
    fn covering(&mut self, index: u64) -> Option<u64> {
        while self.0.front().is_some_and(|(size, _, _)| *size <= index) {
            self.0.pop_front();
        }
        self.0.front().map(|(_, _, at_s)| *at_s)
    }

    /// Whether there is one that is of as many entries as the edge and of another root.
    fn is_contradicted(&self, edge: &Edge) -> bool {
        self.0.front().is_some_and(|(size, root, _)| {
            *size == edge.size() && root.is_some_and(|root| root != edge.root())
        })
    }
}

fn root_in(kept: &StoredCheckpoint, key: &VerifierKey) -> Option<Hash> {
    let signed = SignedCheckpoint::open(&kept.note, key, key.name().as_str()).ok()?;
    Some(signed.checkpoint().root)
}

/// The kept checkpoint of exactly this size, if the log's key signed it.
fn note_of(
    index: &dyn IndexStore,
    key: &VerifierKey,
    size: u64,
) -> Result<Option<SignedCheckpoint>, StoreError> {
    let origin = key.name().as_str();
    let kept = index.checkpoints(origin, size, 1)?.pop();
    let kept = kept.filter(|kept| kept.size == size);
    Ok(kept.and_then(|kept| SignedCheckpoint::open(&kept.note, key, origin).ok()))
}

/// Puts what the entry at `index` adds into the batch.
fn add(batch: &mut FollowBatch, added: Added, index: u64) {
    match added {
        Added::Statement(statement) => batch.statements.push(statement),
        Added::Retraction(leaves) => batch
            .retractions
            .extend(leaves.into_iter().map(|leaf| (leaf, index))),
        Added::Opaque => batch.opaque = batch.opaque.saturating_add(1),
        Added::Rotation(_) | Added::Nothing => {}
    }
}

/// Index of the last mirrored entry, if that is the rotation of the log's key: nothing may follow it.
fn end_of(
    mirror: &Arc<dyn TileStore>,
    size: u64,
    key: &VerifierKey,
) -> Result<Option<u64>, StoreError> {
    Ok(successor_in(mirror, size, key)?.map(|(index, _)| index))
}

/// The last mirrored entry and the key that follows, if that entry is the rotation of the log's key.
pub(super) fn successor_in(
    mirror: &Arc<dyn TileStore>,
    size: u64,
    key: &VerifierKey,
) -> Result<Option<(u64, VerifierKey)>, StoreError> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(None);
    };
    let bytes = Entries::new(Arc::clone(mirror), 0).entry(last)?;
    Ok(match read(&bytes, key.name().as_str(), last, &[]).0 {
        Added::Rotation(rotation) => rotation.successor_of(key).ok().map(|key| (last, key)),
        _ => None,
    })
}

/// True if a bundle begins with the `known` entries that are mirrored of it.
fn begins_as_mirrored(
    mirror: &dyn TileStore,
    id: TileId,
    bytes: &[u8],
    known: u16,
) -> Result<bool, StoreError> {
    let stored = mirror.tile(id)?.ok_or_else(|| missing(id))?;
    Ok(
        match (bundle::prefix(&stored, known), bundle::prefix(bytes, known)) {
            (Ok(stored), Ok(fetched)) => stored == fetched,
            _ => false,
        },
    )
}

fn not_mirrored(mirror: &dyn TileStore, mut named: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError> {
    named.sort_unstable();
    named.dedup();
    let mut wanted = Vec::new();
    for id in named {
        if mirror.blob(&id)?.is_none() {
            wanted.push(id);
        }
    }
    Ok(wanted)
}
