//! What a log checks before it signs anything: that its database holds all that was ever signed, and nothing else.
//!
//! It never repairs. What cannot be explained by a crash between two steps of a commit keeps the log from starting.

use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::{EMPTY_ROOT, Hash};
use quorix_tlog::note::SigningKey;
use quorix_tlog::proof::{ProveError, TileReader, root_of};
use quorix_tlog::tile::TileId;
use quorix_trust::ports::{Anchor, Head, LogBatch, LogStore, TileStore, TreeBatch};

use crate::beginning::Beginning;
use crate::error::{Proof, StartError, TreeError};
use crate::service::Recovery;
use crate::tree::{End, Tree, end_of, stored_hashes, torn_tail};
use crate::witnesses::Seen;

/// A log that may sign on.
pub(crate) struct Opened {
    /// The newest durable head, anchored.
    pub(crate) head: Head,
    /// What the world sees until something is published.
    pub(crate) published: Head,
    pub(crate) tree: Tree,
    /// How the log has ended, if it has.
    pub(crate) end: Option<End>,
    /// What was left over from before, if anything was.
    pub(crate) recovery: Option<Recovery>,
}

/// What is known of a log besides its database.
pub(crate) struct Known<'a> {
    pub(crate) key: &'a SigningKey,
    pub(crate) origin: &'a str,
    pub(crate) anchor: &'a dyn Anchor,
    /// Whether the key may begin a log.
    pub(crate) beginning: &'a dyn Beginning,
    /// Whether checkpoints are published only with witnesses.
    pub(crate) witnessed: bool,
    /// What witnesses have seen of it; `None` without witnesses.
    pub(crate) seen: Option<&'a Seen>,
    /// Has every witness that counts cosign this head now, or says why one does not.
    pub(crate) vouch: &'a dyn Fn(&Head) -> Result<(), String>,
}

impl Known<'_> {
    /// Checks what is stored; signs the checkpoint of the empty tree where nothing is and the key is new.
    pub(crate) fn open(&self, store: &dyn LogStore) -> Result<Opened, StartError> {
        let anchored = self.anchored()?;
        let is_new = self.beginning.is_new().map_err(StartError::Beginning)?;
        let Some(head) = self.stored_head(store)? else {
            self.check_nothing_signed(anchored.as_ref())?;
            if !is_new {
                let origin = self.origin.to_owned();
                return Err(StartError::NotBegun { origin });
            }
            return self.begin(store);
        };
        let tree = self.check_tree(store, &head, anchored.as_ref())?;
        self.check_copy(store, &head)?;
        // A new log may have stopped before its first anchor.
        let may_lack_anchor = head.size == 0 && is_new;
        if anchored.is_none() && !may_lack_anchor && !self.witnesses_know(store, &head)? {
            return Err(StartError::NoAnchor { size: head.size });
        }
        let recovery = recovery(store, &head, anchored.as_ref())?;
        let end = end_of(store, head.size, self.key.verifier())?;
        if anchored.is_none_or(|anchored| anchored.size < head.size) {
            self.anchor
                .write(&head.checkpoint)
                .map_err(StartError::Anchor)?;
        }
        self.has_begun()?;
        let published = self.published(store, &head)?;
        Ok(Opened {
            head,
            published,
            tree,
            end,
            recovery,
        })
    }

    /// Takes what the database holds for the newest state of this log, because its operator says so: a copy is no longer
    /// one, and the anchor follows; an empty database becomes a log of no entries. What is damaged, or behind what is known
    /// to be signed, is refused all the same.
    pub(crate) fn adopt(&self, store: &dyn LogStore, confirmed: u64) -> Result<Head, StartError> {
        let anchored = self.anchored()?;
        let head = self.stored_head(store)?;
        let size = head.as_ref().map_or(0, |head| head.size);
        if size != confirmed {
            return Err(StartError::NotConfirmed { size, confirmed });
        }
        let Some(head) = head else {
            self.check_nothing_signed(anchored.as_ref())?;
            return Ok(self.begin(store)?.head);
        };
        self.check_tree(store, &head, anchored.as_ref())?;
        self.anchor
            .write(&head.checkpoint)
            .map_err(StartError::Anchor)?;
        if store.is_copy()? {
            store.confirm_copy()?;
        }
        self.has_begun()?;
        Ok(head)
    }

    /// An empty database goes only with a log of which nobody has seen an entry.
    fn check_nothing_signed(&self, anchored: Option<&Checkpoint>) -> Result<(), StartError> {
        let anchored = anchored.map_or(0, |anchored| anchored.size);
        let seen = self.seen.map_or(0, Seen::size);
        let by = if anchored > 0 {
            Proof::Anchor
        } else {
            Proof::Witness
        };
        let (stored, signed) = (0, anchored.max(seen));
        if signed > 0 {
            return Err(StartError::Behind { stored, signed, by });
        }
        Ok(())
    }

    /// Before anything is signed that could contradict anything: the key is not new any more.
    fn has_begun(&self) -> Result<(), StartError> {
        self.beginning.has_begun().map_err(StartError::Beginning)
    }

    /// Checks that the database holds this head's tree, and in it all that is known to be signed.
    fn check_tree(
        &self,
        store: &dyn LogStore,
        head: &Head,
        anchored: Option<&Checkpoint>,
    ) -> Result<Tree, StartError> {
        let known = || {
            let anchored = anchored.map(|anchored| (anchored, Proof::Anchor));
            let seen = self.seen.into_iter().flat_map(|seen| &seen.shown);
            // The newest first: that is the one to tell of.
            let seen = seen.rev().map(|shown| (shown, Proof::Witness));
            anchored.into_iter().chain(seen)
        };
        // Before anything is hashed: a database without its end is recognised by its size.
        if let Some((signed, by)) = known().find(|(signed, _)| signed.size > head.size) {
            let (stored, signed) = (head.size, signed.size);
            return Err(StartError::Behind { stored, signed, by });
        }
        let tree = Tree::load(store, head)?;
        for (signed, by) in known() {
            check_prefix(store, (signed.size, signed.root), by)?;
        }
        Ok(tree)
    }

    /// What the anchor says; `None` if it says nothing yet.
    fn anchored(&self) -> Result<Option<Checkpoint>, StartError> {
        let Some(bytes) = self.anchor.read().map_err(StartError::Anchor)? else {
            return Ok(None);
        };
        let signed = SignedCheckpoint::open(&bytes, self.key.verifier(), self.origin);
        let signed = signed.map_err(|problem| StartError::AnchorForeign {
            origin: self.origin.to_owned(),
            problem,
        })?;
        Ok(Some(signed.checkpoint().clone()))
    }

    /// The stored head, its checkpoint verified.
    fn stored_head(&self, store: &dyn LogStore) -> Result<Option<Head>, StartError> {
        let Some(head) = store.head()? else {
            return Ok(None);
        };
        self.check_head(&head)?;
        Ok(Some(head))
    }

    fn check_head(&self, head: &Head) -> Result<(), StartError> {
        let signed = SignedCheckpoint::open(&head.checkpoint, self.key.verifier(), self.origin);
        let signed = signed.map_err(|problem| StartError::Checkpoint {
            origin: self.origin.to_owned(),
            problem,
        })?;
        let checkpoint = signed.checkpoint();
        if (checkpoint.size, checkpoint.root) != (head.size, head.root) {
            return Err(TreeError::Head {
                checkpoint: checkpoint.size,
                head: head.size,
            }
            .into());
        }
        Ok(())
    }

    /// Whether witnesses vouch for the database: each that counts has seen what was published last from here, and cosigns
    /// the newest stored head now, which none does that has cosigned a later one. What they show may be old, and an answer
    /// that they know nothing may come from somebody who was asked at the wrong address; their cosignature is neither.
    fn witnesses_know(&self, store: &dyn LogStore, head: &Head) -> Result<bool, StartError> {
        let (Some(seen), Some(noted)) = (self.seen, store.published()?) else {
            return Ok(false);
        };
        if seen.least.is_none_or(|least| least < noted.size) {
            return Ok(false);
        }
        let vouched = (self.vouch)(head);
        if let Err(reason) = &vouched {
            tracing::warn!(%reason, "the log's witnesses do not confirm its newest checkpoint");
        }
        Ok(vouched.is_ok())
    }

    /// A copy goes on only where it is known that nothing was signed since.
    fn check_copy(&self, store: &dyn LogStore, head: &Head) -> Result<(), StartError> {
        if !store.is_copy()? {
            return Ok(());
        }
        let size = head.size;
        if !self.witnesses_know(store, head)? {
            return Err(StartError::Copy { size });
        }
        tracing::warn!(
            size,
            "the database is a copy that a backup made; the log's witnesses have cosigned nothing newer, so the log goes on"
        );
        Ok(store.confirm_copy()?)
    }

    /// Begins a log: the checkpoint of the empty tree is signed, stored and anchored.
    fn begin(&self, store: &dyn LogStore) -> Result<Opened, StartError> {
        let head = self.empty_head()?;
        let tree = TreeBatch {
            tiles: Vec::new(),
            leaves: Vec::new(),
            blobs: Vec::new(),
            head: head.clone(),
        };
        store.commit(
            0,
            &LogBatch {
                tree,
                retractions: Vec::new(),
            },
        )?;
        self.anchor
            .write(&head.checkpoint)
            .map_err(StartError::Anchor)?;
        self.has_begun()?;
        let published = self.published(store, &head)?;
        tracing::info!(origin = self.origin, "a new log begins");
        Ok(Opened {
            tree: Tree::load(store, &head)?,
            published,
            head,
            end: None,
            recovery: None,
        })
    }

    fn empty_head(&self) -> Result<Head, StartError> {
        let empty = Checkpoint {
            origin: self.origin.to_owned(),
            size: 0,
            root: EMPTY_ROOT,
            extensions: Vec::new(),
        };
        let checkpoint = empty
            .sign(self.key)
            .map_err(|problem| StartError::Checkpoint {
                origin: self.origin.to_owned(),
                problem,
            })?;
        Ok(Head {
            size: 0,
            root: EMPTY_ROOT,
            checkpoint,
        })
    }

    /// What the world sees from the start. Without witnesses the newest head; with them what was published last. A head
    /// with no such note was published before there were witnesses: it goes on as it is, and is noted, so that what
    /// comes after it is told apart.
    fn published(&self, store: &dyn LogStore, head: &Head) -> Result<Head, StartError> {
        let noted = store.published()?;
        if !self.witnessed {
            if noted.is_some() {
                store.note_published(None)?;
            }
            return Ok(head.clone());
        }
        let Some(noted) = noted else {
            store.note_published(Some(head))?;
            return Ok(head.clone());
        };
        self.check_head(&noted)?;
        if noted.size > head.size {
            let (stored, signed, by) = (head.size, noted.size, Proof::Published);
            return Err(StartError::Behind { stored, signed, by });
        }
        check_prefix(store, (noted.size, noted.root), Proof::Published)?;
        Ok(noted)
    }
}

/// What a crash left over, said in the log of this process. Nothing of it was ever acknowledged.
fn recovery(
    store: &dyn LogStore,
    head: &Head,
    anchored: Option<&Checkpoint>,
) -> Result<Option<Recovery>, StartError> {
    let size = head.size;
    let recovery = Recovery {
        anchored: anchored.map_or(size, |anchored| anchored.size),
        kept: size,
        dropped: torn_tail(store, size)?,
    };
    let Recovery {
        anchored, dropped, ..
    } = recovery;
    if anchored < size {
        tracing::warn!(
            anchored,
            stored = size,
            "the log stopped between the commit of its last batch and its anchor; the batch is whole and is kept"
        );
    }
    if dropped > 0 {
        tracing::warn!(
            size,
            dropped,
            "behind the last signed entry lie entries that no checkpoint covers and nobody was told of; they are dropped"
        );
    }
    Ok((anchored < size || dropped > 0).then_some(recovery))
}

/// Whether the stored tree begins with the one of this size and root.
pub(crate) fn check_prefix(
    store: &dyn TileStore,
    (size, root): (u64, Hash),
    by: Proof,
) -> Result<(), StartError> {
    let found = root_of(&Stored(store), size).map_err(|error| match error {
        ProveError::Read(error) => StartError::from(error),
        other => TreeError::Tile(other.to_string()).into(),
    })?;
    if found != root {
        return Err(StartError::Forked { size, by });
    }
    Ok(())
}

struct Stored<'a>(&'a dyn TileStore);

impl TileReader for Stored<'_> {
    type Error = TreeError;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, TreeError> {
        stored_hashes(self.0, id, width)
    }
}
