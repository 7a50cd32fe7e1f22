//! What lies beyond the newest checkpoint of a log that does not run, for whoever checks it. Nothing is changed.

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::note::VerifierKey;
use quorix_trust::ports::{Head, LogStore};

use crate::error::{Proof, StartError};
use crate::start::check_prefix;
use crate::tree::torn_tail;

/// What a database and its anchor show beside the newest checkpoint of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Entries that the anchor shows to be signed; `None` where there is no anchor or it says nothing.
    pub anchored: Option<u64>,
    /// Entries that the world was shown, where that is noted: with witnesses.
    pub published: Option<u64>,
    /// Entries behind the newest checkpoint that none covers: no part of the log, dropped when it starts.
    pub uncovered: u64,
}

/// Looks beyond the head of a stored log; `anchored` is what its anchor holds.
///
/// # Errors
/// What its anchor or what it published shows is not in the database: the log would not start. Or the store failed.
pub fn look(
    store: &dyn LogStore,
    key: &VerifierKey,
    anchored: Option<&[u8]>,
) -> Result<Beyond, StartError> {
    let size = store.head()?.map_or(0, |head| head.size);
    let mut beyond = Beyond {
        uncovered: torn_tail(store, size)?,
        ..Beyond::default()
    };
    if let Some(note) = anchored {
        let origin = key.name().to_string();
        let signed = SignedCheckpoint::open(note, key, &origin)
            .map_err(|problem| StartError::AnchorForeign { origin, problem })?;
        let signed = signed.checkpoint();
        let head = Head {
            size: signed.size,
            root: signed.root,
            checkpoint: Vec::new(),
        };
        check(store, size, &head, Proof::Anchor)?;
        beyond.anchored = Some(signed.size);
    }
    if let Some(published) = store.published()? {
        check(store, size, &published, Proof::Published)?;
        beyond.published = Some(published.size);
    }
    Ok(beyond)
}

/// Checks that a database of `stored` entries holds the tree of this head.
fn check(store: &dyn LogStore, stored: u64, head: &Head, by: Proof) -> Result<(), StartError> {
    if head.size > stored {
        let signed = head.size;
        return Err(StartError::Behind { stored, signed, by });
    }
    check_prefix(store, (head.size, head.root), by)
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::log_key;
    use quorix_testkit::memory::MemoryLog;
    use quorix_testkit::tree::Grower;
    use quorix_trust::ports::LogBatch;

    use super::*;

    const ORIGIN: &str = "logs.example.org/alice";

    /// A log of so many entries with this text, and its head.
    fn log(size: u64, text: &str) -> (MemoryLog, Head) {
        let (store, mut grower) = (MemoryLog::new(), Grower::new(ORIGIN));
        for index in 0..size {
            let tree = grower.grow(&[format!("{text} {index}")]);
            let retractions = Vec::new();
            let batch = LogBatch { tree, retractions };
            store.commit(index, &batch).unwrap();
        }
        (store, grower.head())
    }

    fn look_at(store: &MemoryLog, anchored: Option<&Head>) -> Result<Beyond, StartError> {
        let key = log_key(ORIGIN);
        look(
            store,
            key.verifier(),
            anchored.map(|head| head.checkpoint.as_slice()),
        )
    }

    #[test]
    fn an_anchor_at_the_head_or_one_batch_behind_it_is_in_order() {
        let (store, head) = log(3, "entry");
        let anchored = |size| Beyond {
            anchored: size,
            ..Beyond::default()
        };
        assert_eq!(look_at(&store, Some(&head)), Ok(anchored(Some(3))));
        let (_, before) = log(2, "entry");
        assert_eq!(look_at(&store, Some(&before)), Ok(anchored(Some(2))));
        assert_eq!(look_at(&store, None), Ok(anchored(None)));
    }

    #[test]
    fn an_anchor_beyond_the_head_or_beside_it_is_a_contradiction() {
        let (store, _) = log(3, "entry");
        let (by, size) = (Proof::Anchor, 3);
        let (stored, signed) = (3, 4);
        assert_eq!(
            look_at(&store, Some(&log(4, "entry").1)),
            Err(StartError::Behind { stored, signed, by })
        );
        assert_eq!(
            look_at(&store, Some(&log(3, "another past").1)),
            Err(StartError::Forked { size, by })
        );
    }

    #[test]
    fn what_was_published_beyond_the_head_is_a_contradiction() {
        let (store, _) = log(3, "entry");
        let (_, later) = log(4, "entry");
        store.note_published(Some(&later)).unwrap();
        let (stored, signed, by) = (3, 4, Proof::Published);
        assert_eq!(
            look_at(&store, None),
            Err(StartError::Behind { stored, signed, by })
        );
    }

    #[test]
    fn entries_that_no_checkpoint_covers_are_counted() {
        // As after a crash between two writes of a store without atomic batches.
        let (store, mut grower) = (MemoryLog::new(), Grower::new(ORIGIN));
        let old = grower.grow(&["entry 0", "entry 1", "entry 2"]);
        let mut ahead = grower.grow(&["entry 3", "entry 4"]);
        ahead.head = old.head.clone();
        ahead.leaves.clear();
        for (size, tree) in [(0, old), (3, ahead)] {
            let retractions = Vec::new();
            store.commit(size, &LogBatch { tree, retractions }).unwrap();
        }
        assert_eq!(look_at(&store, None).map(|beyond| beyond.uncovered), Ok(2));
    }
}
