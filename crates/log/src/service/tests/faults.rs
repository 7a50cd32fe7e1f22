//! Commits whose outcome is not known, and databases that something else writes to.

use quorix_testkit::faults::Fault;
use quorix_testkit::tree::Grower;

use super::*;

fn unavailable(operation: &str) -> SubmitError {
    SubmitError::Unavailable {
        reason: format!("{operation}: the disk said no"),
    }
}

async fn submit_one(log: &Log, number: u64) -> Result<Vec<(u64, bool)>, SubmitError> {
    log.submit(vec![a_small_entry(number)], Vec::new())
        .await
        .map(|submitted| indices(&submitted))
}

fn checkpoints_by_size(store: &FaultyLog<MemoryLog>) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut signed: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    for batch in store.attempts() {
        signed
            .entry(batch.tree.head.size)
            .or_default()
            .push(batch.tree.head.checkpoint);
    }
    signed
}

/// Whatever happened: one checkpoint a size, and all of one history.
async fn assert_one_history(log: Log, store: &FaultyLog<MemoryLog>) {
    for (size, mut signed) in checkpoints_by_size(store) {
        signed.dedup();
        assert_eq!(signed.len(), 1, "size {size}");
    }
    log.shutdown().await;
    let log = start(store.clone());
    let newest = verified(&log.status().checkpoint);
    for signed in checkpoints_by_size(store).into_values().flatten() {
        let old = verified(&signed);
        let proof = prove_consistency(&Served(&log), old.size, newest.size).unwrap();
        assert_eq!(
            verify_consistency(old.size, newest.size, &old.root, &newest.root, &proof),
            Ok(())
        );
    }
}

#[tokio::test]
async fn what_was_signed_is_committed_before_anything_else_is_signed() {
    for fault in [Fault::NotWritten, Fault::Written] {
        let store = FaultyLog::around(MemoryLog::new());
        let log = start(store.clone());
        assert_eq!(submit_one(&log, 0).await, Ok(vec![(0, false)]));
        store.fail_next_commit(fault);
        assert_eq!(submit_one(&log, 1).await, Err(unavailable("committing")));
        // Not acknowledged, not published.
        assert_eq!(log.status().size, 1);
        // Other entries come first now: the signed batch still precedes them.
        assert_eq!(submit_one(&log, 2).await, Ok(vec![(2, false)]), "{fault:?}");
        assert_eq!(submit_one(&log, 1).await, Ok(vec![(1, true)]), "{fault:?}");
        assert_is_in(
            &log,
            &verified(&log.status().checkpoint),
            1,
            &a_small_entry(1),
        );
        assert_one_history(log, &store).await;
    }
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_tried_again_with_the_same_batch() {
    let store = FaultyLog::around(MemoryLog::new());
    let log = start(store.clone());
    for _ in 0..3 {
        store.fail_next_commit(Fault::NotWritten);
        assert_eq!(submit_one(&log, 0).await, Err(unavailable("committing")));
    }
    store.fail_reads(true);
    assert_eq!(
        submit_one(&log, 0).await,
        Err(unavailable("reading the head"))
    );
    store.fail_reads(false);
    assert_eq!(submit_one(&log, 0).await, Ok(vec![(0, true)]));
    assert_one_history(log, &store).await;
}

#[tokio::test]
async fn a_restart_after_a_failed_commit_continues_from_what_is_stored() {
    for (fault, index) in [(Fault::NotWritten, (0, false)), (Fault::Written, (0, true))] {
        let store = FaultyLog::around(MemoryLog::new());
        let log = start(store.clone());
        store.fail_next_commit(fault);
        assert_eq!(submit_one(&log, 0).await, Err(unavailable("committing")));
        log.shutdown().await;
        let log = start(store.clone());
        assert_eq!(submit_one(&log, 0).await, Ok(vec![index]), "{fault:?}");
        assert_one_history(log, &store).await;
    }
}

#[tokio::test]
async fn a_log_that_is_not_alone_on_its_database_stops() {
    let inner = MemoryLog::new();
    let log = start(inner.clone());
    let tree = Grower::new(ORIGIN).grow(&[a_small_entry(7), a_small_entry(8)]);
    inner
        .commit(
            0,
            &LogBatch {
                tree,
                retractions: Vec::new(),
            },
        )
        .unwrap();
    let answer = submit_one(&log, 0).await;
    let Err(SubmitError::Stopped { reason }) = &answer else {
        panic!("{answer:?}")
    };
    assert!(
        reason.starts_with("the stored tree has 2 entries, not the 0 that this batch extends"),
        "{reason}"
    );
    // For good, and it says so.
    assert_eq!(submit_one(&log, 1).await, answer);
    assert_eq!(log.status().stopped.as_ref(), Some(reason));
    assert_eq!(log.status().size, 0);
}

#[tokio::test]
async fn a_foreign_tree_after_a_failed_commit_stops_the_log() {
    let inner = MemoryLog::new();
    let store = FaultyLog::around(inner.clone());
    let log = start(store.clone());
    store.fail_next_commit(Fault::NotWritten);
    assert_eq!(submit_one(&log, 0).await, Err(unavailable("committing")));
    let tree = Grower::new(ORIGIN).grow(&[a_small_entry(7)]);
    inner
        .commit(
            0,
            &LogBatch {
                tree,
                retractions: Vec::new(),
            },
        )
        .unwrap();
    let answer = submit_one(&log, 0).await;
    assert!(
        matches!(answer, Err(SubmitError::Stopped { .. })),
        "{answer:?}"
    );
    assert_eq!(store.attempts().len(), 2);
}

#[tokio::test]
async fn a_lookup_that_points_to_another_leaf_is_not_believed() {
    let store = MemoryLog::new();
    let log = start(store.clone());
    let wanted = a_small_entry(5);
    // A damaged lookup table: it says that the entry is at index 0, where something else is.
    let mut tree = Grower::new(ORIGIN).grow(&[a_small_entry(7)]);
    tree.leaves.push((leaf_hash(&wanted), 0));
    log.shutdown().await;
    store
        .commit(
            0,
            &LogBatch {
                tree,
                retractions: Vec::new(),
            },
        )
        .unwrap();
    let log = start(store);
    assert_eq!(submit_one(&log, 5).await, Ok(vec![(1, false)]));
    assert_is_in(&log, &verified(&log.status().checkpoint), 1, &wanted);
}
