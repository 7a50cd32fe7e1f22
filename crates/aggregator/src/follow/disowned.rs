//! What an operator disowned by lifting a quarantine: the checkpoints of the history that is not the mirrored one.
//!
//! Whoever has one of them, a peer or an old mirror of the log, can show it for ever. It is nobody's news and no proof: it
//! neither undoes the lift nor keeps the log from being followed.

use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::Hash;
use quorix_tlog::proof::root_of;
use quorix_trust::ports::{Equivocation, IndexStore, StoreError};

use crate::logs::Log;
use crate::mirror::{Hashes, unproved};

/// The checkpoints for which quarantines of one log were lifted and that are not of its mirrored history.
#[derive(Default)]
pub(crate) struct Disowned(Vec<One>);

struct One {
    size: u64,
    root: Hash,
    /// The mirror shows that it is of another history. Where both of a proof go beyond the mirror, it does not yet.
    is_refuted: bool,
}

impl Disowned {
    /// Reads them from what was recorded of lifts.
    pub(crate) fn read(index: &dyn IndexStore, log: &Log) -> Result<Self, StoreError> {
        let mut disowned = Vec::new();
        let lifts = index.lifts(&log.origin)?;
        if lifts.is_empty() {
            return Ok(Self::default());
        }
        let mirror = index.mirror(&log.origin);
        let mirrored = mirror.head()?.map_or(0, |head| head.size);
        for lift in lifts {
            let (mut others, mut is_one_ours) = (Vec::new(), false);
            for (size, root) in of_proof(log, &lift.proof) {
                let is_covered = size <= mirrored;
                if is_covered && root_of(&Hashes(mirror.as_ref()), size).map_err(unproved)? == root
                {
                    is_one_ours = true;
                } else {
                    others.push((size, root, is_covered));
                }
            }
            disowned.extend(others.into_iter().map(|(size, root, is_covered)| One {
                size,
                root,
                is_refuted: is_covered || is_one_ours,
            }));
        }
        Ok(Self(disowned))
    }

    /// Whether this checkpoint is one of them. From a peer it is nothing then.
    pub(crate) fn has(&self, checkpoint: &Checkpoint) -> bool {
        self.find(checkpoint).is_some()
    }

    /// Whether it is one that can never be of the mirrored history. At an address of the log it is that address's failure.
    pub(crate) fn refutes(&self, checkpoint: &Checkpoint) -> bool {
        self.find(checkpoint).is_some_and(|one| one.is_refuted)
    }

    /// Whether a proof has one of them, so that it is of the contradiction whose quarantine was lifted.
    pub(crate) fn has_one_of(&self, log: &Log, proof: &Equivocation) -> bool {
        of_proof(log, proof).any(|(size, root)| {
            self.0
                .iter()
                .any(|one| (one.size, one.root) == (size, root))
        })
    }

    fn find(&self, checkpoint: &Checkpoint) -> Option<&One> {
        let at = (checkpoint.size, checkpoint.root);
        // The same one may be in the proofs of several lifts.
        let mut found = self.0.iter().filter(|one| (one.size, one.root) == at);
        let first = found.next()?;
        Some(found.find(|one| one.is_refuted).unwrap_or(first))
    }
}

/// Size and root of the two checkpoints of a proof.
fn of_proof(log: &Log, proof: &Equivocation) -> impl Iterator<Item = (u64, Hash)> {
    let open = |note: &Vec<u8>| SignedCheckpoint::open(note, &log.key, &log.origin).ok();
    let opened = [&proof.first, &proof.second].map(open);
    let note = |signed: SignedCheckpoint| (signed.checkpoint().size, signed.checkpoint().root);
    opened.into_iter().flatten().map(note)
}
