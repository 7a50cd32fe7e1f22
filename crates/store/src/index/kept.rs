//! What is kept of a log besides its mirror: checkpoints that it showed, proof against it, and lifted quarantines.

use quorix_trust::ports::{Equivocation, Lift, StoreError, StoredCheckpoint, forgotten};

use super::{CHECKPOINTS, RocksIndex, decode_equivocation, encode_equivocation, prefix_of};
use crate::database::{META, corrupt};
use crate::tree::{Cut, Tree, split_u64};

mod all;

const COSIGNED: &[u8] = b"cosigned/";
const LIFTED: &[u8] = b"lifted/";
pub(super) const EQUIVOCATION: &[u8] = b"equivocation/";

impl RocksIndex {
    pub(super) fn put_checkpoint(
        &self,
        origin: &str,
        kept: &StoredCheckpoint,
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "keeping a checkpoint";
        let _writer = self.database.lock();
        let key = checkpoint_key(origin, kept.size);
        if self.database.get(CHECKPOINTS.0, &key, OPERATION)?.is_some() {
            return Ok(());
        }
        let is_ahead = kept.size > self.mirrored(&prefix_of(origin))?;
        let forgotten = match is_ahead {
            true => forgotten(&self.seen_ahead(origin)?, kept.size),
            false => None,
        };
        if forgotten == Some(kept.size) {
            return Ok(());
        }
        let mut writes = self.database.batch();
        let value = [kept.at_s.to_be_bytes().as_slice(), &kept.note].concat();
        writes.put(CHECKPOINTS.0, &key, &value)?;
        if let Some(size) = forgotten {
            writes.delete(CHECKPOINTS.0, &checkpoint_key(origin, size))?;
        }
        writes.commit(OPERATION)
    }

    /// When the kept checkpoints ahead of the mirror were first seen, and their sizes.
    fn seen_ahead(&self, origin: &str) -> Result<Vec<(u64, u64)>, StoreError> {
        let ahead = self.beyond_the_mirror(origin)?.into_iter();
        Ok(ahead.map(|kept| (kept.at_s, kept.size)).collect())
    }

    pub(super) fn replace_checkpoint(
        &self,
        origin: &str,
        size: u64,
        note: &[u8],
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "amending a checkpoint";
        let _writer = self.database.lock();
        let key = checkpoint_key(origin, size);
        let Some(kept) = self.database.get(CHECKPOINTS.0, &key, OPERATION)? else {
            return Ok(());
        };
        let (at_s, _) =
            split_u64(&kept).ok_or_else(|| corrupt(OPERATION, "a stored checkpoint is cut off"))?;
        let mut writes = self.database.batch();
        let value = [at_s.to_be_bytes().as_slice(), note].concat();
        writes.put(CHECKPOINTS.0, &key, &value)?;
        writes.commit(OPERATION)
    }

    pub(super) fn read_checkpoints(
        &self,
        origin: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        const OPERATION: &str = "reading kept checkpoints";
        let prefix = prefix_of(origin);
        let rows = self
            .database
            .scan(CHECKPOINTS.0, &checkpoint_key(origin, from), OPERATION)?;
        let mut kept = Vec::new();
        for row in rows.take(limit) {
            let (key, value) = row?;
            let Some(size) = key.strip_prefix(&prefix) else {
                break;
            };
            kept.push(decode_kept(size, &value, OPERATION)?);
        }
        Ok(kept)
    }

    pub(super) fn read_newest_checkpoint(
        &self,
        origin: &str,
    ) -> Result<Option<StoredCheckpoint>, StoreError> {
        const OPERATION: &str = "reading the newest kept checkpoint";
        let last = self.database.last_up_to(
            CHECKPOINTS.0,
            &checkpoint_key(origin, u64::MAX),
            OPERATION,
        )?;
        let Some((key, value)) = last else {
            return Ok(None);
        };
        let size = key.strip_prefix(&prefix_of(origin));
        size.map(|size| decode_kept(size, &value, OPERATION))
            .transpose()
    }

    pub(super) fn put_cosigned(
        &self,
        origin: &str,
        cosigned: &StoredCheckpoint,
    ) -> Result<(), StoreError> {
        let mut writes = self.database.batch();
        let key = [COSIGNED, &prefix_of(origin)].concat();
        writes.put(META, &key, &encode_cosigned(cosigned))?;
        writes.commit("keeping a cosigned checkpoint")
    }

    pub(super) fn read_cosigned(
        &self,
        origin: &str,
    ) -> Result<Option<StoredCheckpoint>, StoreError> {
        const OPERATION: &str = "reading a cosigned checkpoint";
        let key = [COSIGNED, &prefix_of(origin)].concat();
        let Some(bytes) = self.database.get(META, &key, OPERATION)? else {
            return Ok(None);
        };
        decode_cosigned(&bytes, OPERATION).map(Some)
    }

    pub(super) fn put_equivocation(
        &self,
        origin: &str,
        proof: &Equivocation,
    ) -> Result<(), StoreError> {
        let _writer = self.database.lock();
        if self.read_equivocation(origin)?.is_some()
            || self
                .read_lifts(origin)?
                .iter()
                .any(|lift| lift.proof.is_of_the_same_checkpoints(proof))
        {
            return Ok(());
        }
        let mut writes = self.database.batch();
        let bytes = encode_equivocation(proof)?;
        writes.put(META, &[EQUIVOCATION, &prefix_of(origin)].concat(), &bytes)?;
        writes.commit("committing a proof of equivocation")
    }

    pub(super) fn read_equivocation(
        &self,
        origin: &str,
    ) -> Result<Option<Equivocation>, StoreError> {
        const OPERATION: &str = "reading a proof of equivocation";
        let key = [EQUIVOCATION, &prefix_of(origin)].concat();
        let Some(bytes) = self.database.get(META, &key, OPERATION)? else {
            return Ok(None);
        };
        let proof = decode_equivocation(&bytes)
            .ok_or_else(|| corrupt(OPERATION, "the stored proof is cut off"))?;
        Ok(Some(proof))
    }

    pub(super) fn put_lift(
        &self,
        origin: &str,
        at_s: u64,
        reason: &str,
    ) -> Result<Option<Lift>, StoreError> {
        let _writer = self.database.lock();
        let Some(proof) = self.read_equivocation(origin)? else {
            return Ok(None);
        };
        let number = u32::try_from(self.read_lifts(origin)?.len()).unwrap_or(u32::MAX);
        let lift = Lift {
            at_s,
            reason: reason.to_owned(),
            proof,
        };
        let value = encode_lift(&lift)?;
        let prefix = prefix_of(origin);
        let mut writes = self.database.batch();
        let key = [LIFTED, &prefix, &number.to_be_bytes()].concat();
        writes.put(META, &key, &value)?;
        writes.delete(META, &[EQUIVOCATION, &prefix].concat())?;
        for kept in self.beyond_the_mirror(origin)? {
            writes.delete(CHECKPOINTS.0, &checkpoint_key(origin, kept.size))?;
        }
        writes.commit("lifting a quarantine")?;
        Ok(Some(lift))
    }

    /// The kept checkpoints of more entries than are mirrored.
    fn beyond_the_mirror(&self, origin: &str) -> Result<Vec<StoredCheckpoint>, StoreError> {
        match self.mirrored(&prefix_of(origin))?.checked_add(1) {
            Some(next) => self.read_checkpoints(origin, next, usize::MAX),
            None => Ok(Vec::new()),
        }
    }

    fn mirrored(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let database = &self.database;
        let cut = Cut::Pieces;
        let tree = Tree {
            database,
            prefix,
            cut,
        };
        let head = tree.head()?;
        Ok(head.map_or(0, |head| head.size))
    }

    pub(super) fn read_lifts(&self, origin: &str) -> Result<Vec<Lift>, StoreError> {
        const OPERATION: &str = "reading lifted quarantines";
        let prefix = [LIFTED, &prefix_of(origin)].concat();
        let mut lifts = Vec::new();
        for row in self.database.scan(META, &prefix, OPERATION)? {
            let (key, value) = row?;
            if !key.starts_with(&prefix) {
                break;
            }
            let lift = decode_lift(&value)
                .ok_or_else(|| corrupt(OPERATION, "a stored record is cut off"))?;
            lifts.push(lift);
        }
        Ok(lifts)
    }
}

/// A kept checkpoint, from the size in its key and its value.
fn decode_kept(size: &[u8], value: &[u8], operation: &str) -> Result<StoredCheckpoint, StoreError> {
    let read = split_u64(size).zip(split_u64(value));
    let ((size, _), (at_s, note)) =
        read.ok_or_else(|| corrupt(operation, "a stored checkpoint is cut off"))?;
    let note = note.to_vec();
    Ok(StoredCheckpoint { at_s, size, note })
}

fn encode_cosigned(cosigned: &StoredCheckpoint) -> Vec<u8> {
    [
        cosigned.at_s.to_be_bytes().as_slice(),
        &cosigned.size.to_be_bytes(),
        &cosigned.note,
    ]
    .concat()
}

fn decode_cosigned(bytes: &[u8], operation: &str) -> Result<StoredCheckpoint, StoreError> {
    let read = split_u64(bytes)
        .and_then(|(at_s, rest)| split_u64(rest).map(|(size, note)| (at_s, size, note)));
    let (at_s, size, note) =
        read.ok_or_else(|| corrupt(operation, "the stored checkpoint is cut off"))?;
    let note = note.to_vec();
    Ok(StoredCheckpoint { at_s, size, note })
}

fn checkpoint_key(origin: &str, size: u64) -> Vec<u8> {
    [prefix_of(origin).as_slice(), &size.to_be_bytes()].concat()
}

fn encode_lift(lift: &Lift) -> Result<Vec<u8>, StoreError> {
    let length = u32::try_from(lift.reason.len())
        .map_err(|_| corrupt("lifting a quarantine", "the reason is too long"))?;
    Ok([
        lift.at_s.to_be_bytes().as_slice(),
        &length.to_be_bytes(),
        lift.reason.as_bytes(),
        &encode_equivocation(&lift.proof)?,
    ]
    .concat())
}

fn decode_lift(bytes: &[u8]) -> Option<Lift> {
    let (at_s, rest) = split_u64(bytes)?;
    let (reason, proof) = super::split_note(rest)?;
    Some(Lift {
        at_s,
        reason: String::from_utf8(reason).ok()?,
        proof: decode_equivocation(proof)?,
    })
}
