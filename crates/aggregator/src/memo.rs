//! Remembers for a while, and in bounded memory, what was asked in vain or fetched.
//!
//! Forgetting is always safe here: what is forgotten is asked again.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorix_trust::attestation::BlobId;
use quorix_trust::evidence::Cosigned;

/// A set of keys, each until a moment.
pub(crate) struct Memo<K> {
    until_s: Mutex<HashMap<K, u64>>,
    capacity: usize,
}

impl<K: Eq + Hash> Memo<K> {
    /// Remembers at most `capacity` keys.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            until_s: Mutex::new(HashMap::new()),
            capacity,
        }
    }

    /// Remembers a key until a moment in POSIX seconds. Where there is no room, everything is forgotten.
    pub(crate) fn remember(&self, key: K, now_s: u64, until_s: u64) {
        let mut map = locked(&self.until_s);
        if map.len() >= self.capacity {
            map.retain(|_, until_s| *until_s > now_s);
        }
        if map.len() >= self.capacity {
            map.clear();
        }
        map.insert(key, until_s);
    }

    /// True if the key is remembered now.
    pub(crate) fn knows(&self, key: &K, now_s: u64) -> bool {
        locked(&self.until_s)
            .get(key)
            .is_some_and(|until_s| *until_s > now_s)
    }
}

/// The verified cosignatures of the checkpoints that a log was seen with last. Under one policy.
#[derive(Default)]
pub(crate) struct CosignedMemo {
    seen: Mutex<HashMap<String, Vec<Seen>>>,
}

/// A checkpoint's bytes and its cosignatures.
type Seen = (Vec<u8>, Cosigned);

impl CosignedMemo {
    /// Checkpoints of one log: the one of its mirror, and the same with fresher cosignatures.
    const OF_A_LOG: usize = 2;

    /// The cosignatures of a checkpoint of the log with this origin, verified once.
    pub(crate) fn of(
        &self,
        origin: &str,
        checkpoint: &[u8],
        verify: impl FnOnce() -> Cosigned,
    ) -> Cosigned {
        let find = |seen: &Vec<Seen>| {
            let mut seen = seen.iter();
            let known = seen.find(|(bytes, _)| bytes == checkpoint);
            known.map(|(_, cosigned)| cosigned.clone())
        };
        if let Some(known) = locked(&self.seen).get(origin).and_then(find) {
            return known;
        }
        let cosigned = verify();
        let mut all = locked(&self.seen);
        let of_log = all.entry(origin.to_owned()).or_default();
        of_log.truncate(Self::OF_A_LOG.saturating_sub(1));
        of_log.insert(0, (checkpoint.to_vec(), cosigned.clone()));
        cosigned
    }
}

/// Blobs of observations that no log carries, and so no mirror keeps.
pub(crate) struct BlobMemo {
    blobs: Mutex<(BTreeMap<BlobId, Vec<u8>>, usize)>,
    capacity: usize,
}

impl BlobMemo {
    /// Keeps at most `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            blobs: Mutex::new((BTreeMap::new(), 0)),
            capacity,
        }
    }

    /// Keeps a blob. Where there is no room, all others are forgotten.
    pub(crate) fn keep(&self, id: BlobId, bytes: Vec<u8>) {
        let mut guard = locked(&self.blobs);
        let (blobs, used) = &mut *guard;
        if used.saturating_add(bytes.len()) > self.capacity {
            blobs.clear();
            *used = 0;
        }
        *used = used.saturating_add(bytes.len());
        blobs.insert(id, bytes);
    }

    /// The blob, if it is kept.
    pub(crate) fn get(&self, id: &BlobId) -> Option<Vec<u8>> {
        locked(&self.blobs).0.get(id).cloned()
    }
}

/// A value behind a lock, also after another holder panicked: what is kept under our locks is whole between any
/// two statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_until_its_moment() {
        let memo = Memo::new(10);
        memo.remember("a", 100, 130);
        assert!(memo.knows(&"a", 129));
        assert!(!memo.knows(&"a", 130));
        assert!(!memo.knows(&"b", 100));
    }

    #[test]
    fn a_full_memo_forgets_what_is_over_first_and_stays_bounded() {
        let memo = Memo::new(2);
        memo.remember(1, 100, 110);
        memo.remember(2, 100, 200);
        memo.remember(3, 150, 200);
        assert!(memo.knows(&2, 150) && memo.knows(&3, 150));
        memo.remember(4, 150, 200);
        assert!(!memo.knows(&2, 150) && memo.knows(&4, 150));
    }

    #[test]
    fn cosignatures_are_verified_once_for_each_of_the_last_two_checkpoints_of_a_log() {
        let memo = CosignedMemo::default();
        let verified = std::cell::Cell::new(0);
        let of = |origin: &str, checkpoint: &[u8]| {
            memo.of(origin, checkpoint, || {
                verified.set(verified.get() + 1);
                Cosigned::from([(format!("by {origin}"), verified.get())])
            })
        };
        let first = of("a", b"1");
        assert_eq!((of("a", b"1"), verified.get()), (first.clone(), 1));
        of("a", b"2");
        of("b", b"1");
        assert_eq!((of("a", b"1"), verified.get()), (first, 3));
        of("a", b"3");
        of("a", b"1");
        assert_eq!(verified.get(), 5);
    }

    #[test]
    fn kept_blobs_stay_within_their_bytes() {
        let memo = BlobMemo::new(10);
        memo.keep([1; 32], vec![0; 6]);
        memo.keep([2; 32], vec![0; 6]);
        assert_eq!(memo.get(&[1; 32]), None);
        assert_eq!(memo.get(&[2; 32]), Some(vec![0; 6]));
    }
}
