//! Everything that is kept of logs besides their mirrors, whichever logs they are, for an index that is built anew.

use std::collections::BTreeMap;

use quorix_trust::ports::{Kept, KeptOf, StoreError};

use super::super::{
    CHECKPOINTS, PREFIX_BYTES, RocksIndex, decode_equivocation, encode_equivocation,
};
use super::{
    COSIGNED, EQUIVOCATION, LIFTED, decode_cosigned, decode_kept, decode_lift, encode_cosigned,
    encode_lift,
};
use crate::database::{META, corrupt};

const OPERATION: &str = "reading what is kept of logs";
const TAKING: &str = "taking over what is kept of logs";

type Take<'a> = &'a mut dyn FnMut(KeptOf) -> Result<(), StoreError>;

impl RocksIndex {
    pub(in super::super) fn read_all_kept(&self, take: Take<'_>) -> Result<(), StoreError> {
        for row in self.database.scan(CHECKPOINTS.0, b"", OPERATION)? {
            let (key, value) = row?;
            let (log, size) = split_log(&key)?;
            let kept = Kept::Checkpoint(decode_kept(size, &value, OPERATION)?);
            take(KeptOf { log, kept })?;
        }
        self.each_meta(COSIGNED, take, |bytes| {
            decode_cosigned(bytes, OPERATION).ok().map(Kept::Cosigned)
        })?;
        self.each_meta(EQUIVOCATION, take, |bytes| {
            decode_equivocation(bytes).map(Kept::Equivocation)
        })?;
        self.each_meta(LIFTED, take, |bytes| decode_lift(bytes).map(Kept::Lift))
    }

    fn each_meta(
        &self,
        kind: &[u8],
        take: Take<'_>,
        decode: impl Fn(&[u8]) -> Option<Kept>,
    ) -> Result<(), StoreError> {
        for row in self.database.scan(META, kind, OPERATION)? {
            let (key, value) = row?;
            let Some(key) = key.strip_prefix(kind) else {
                break;
            };
            let (log, _) = split_log(key)?;
            let kept = decode(&value);
            let kept = kept.ok_or_else(|| corrupt(OPERATION, "a stored record is cut off"))?;
            take(KeptOf { log, kept })?;
        }
        Ok(())
    }

    pub(in super::super) fn put_all_kept(&self, kept: &[KeptOf]) -> Result<(), StoreError> {
        let _writer = self.database.lock();
        let mut writes = self.database.batch();
        let mut lifts: BTreeMap<&[u8], u32> = BTreeMap::new();
        for KeptOf { log, kept } in kept {
            if log.len() != PREFIX_BYTES {
                return Err(corrupt(TAKING, "they are of a store of another kind"));
            }
            match kept {
                Kept::Checkpoint(kept) => {
                    let key = [log.as_slice(), &kept.size.to_be_bytes()].concat();
                    let value = [kept.at_s.to_be_bytes().as_slice(), &kept.note].concat();
                    writes.put(CHECKPOINTS.0, &key, &value)?;
                }
                Kept::Cosigned(cosigned) => {
                    writes.put(META, &[COSIGNED, log].concat(), &encode_cosigned(cosigned))?;
                }
                Kept::Equivocation(proof) => {
                    let value = encode_equivocation(proof)?;
                    writes.put(META, &[EQUIVOCATION, log].concat(), &value)?;
                }
                Kept::Lift(lift) => {
                    let number = match lifts.get(log.as_slice()) {
                        Some(last) => last.saturating_add(1),
                        None => self.lifts_of(log)?,
                    };
                    lifts.insert(log, number);
                    let key = [LIFTED, log, &number.to_be_bytes()].concat();
                    writes.put(META, &key, &encode_lift(lift)?)?;
                }
            }
        }
        writes.commit(TAKING)
    }

    /// How many lifts are recorded of a log.
    fn lifts_of(&self, log: &[u8]) -> Result<u32, StoreError> {
        let prefix = [LIFTED, log].concat();
        let mut count = 0_u32;
        for row in self.database.scan(META, &prefix, TAKING)? {
            if !row?.0.starts_with(&prefix) {
                break;
            }
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}

/// Which log a key is of, and the rest of the key.
fn split_log(key: &[u8]) -> Result<(Vec<u8>, &[u8]), StoreError> {
    let split = key.split_at_checked(PREFIX_BYTES);
    let (log, rest) = split.ok_or_else(|| corrupt(OPERATION, "a stored key is cut off"))?;
    Ok((log.to_vec(), rest))
}
