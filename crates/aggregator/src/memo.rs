//! Remembers for a while, and in bounded memory, what was asked in vain or fetched.
//!
//! Forgetting is always safe here: what is forgotten is asked again.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorix_trust::attestation::BlobId;

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
    fn kept_blobs_stay_within_their_bytes() {
        let memo = BlobMemo::new(10);
        memo.keep([1; 32], vec![0; 6]);
        memo.keep([2; 32], vec![0; 6]);
        assert_eq!(memo.get(&[1; 32]), None);
        assert_eq!(memo.get(&[2; 32]), Some(vec![0; 6]));
    }
}
