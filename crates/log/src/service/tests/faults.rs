//! Writes whose outcome is not known, and databases that something else writes to.

use quorix_testkit::faults::Fault;
use quorix_testkit::tree::Grower;

use super::*;

const FAULTS: [Fault; 3] = [Fault::NotWritten, Fault::Written, Fault::NotSynced];

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

/// Submits until it is taken; all that may come before that is a request to come again.
async fn submit_patiently(log: &Log, number: u64) -> Vec<(u64, bool)> {
    loop {
        match submit_one(log, number).await {
            Ok(taken) => return taken,
            Err(SubmitError::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

fn checkpoints_by_size(store: &FaultyLog) -> BTreeMap<u64, Vec<Vec<u8>>> {
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
async fn assert_one_history(log: Log, store: &FaultyLog) {
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
    for (step, operation) in [
        (Step::Commit, "committing"),
        (Step::Anchor, "writing the anchor"),
    ] {
        for fault in FAULTS {
            let store = FaultyLog::around(MemoryLog::new());
            let log = start(store.clone());
            assert_eq!(submit_one(&log, 0).await, Ok(vec![(0, false)]));
            store.fail_next(step, fault);
            assert_eq!(submit_one(&log, 1).await, Err(unavailable(operation)));
            // Other entries come first now: the signed batch still precedes them.
            assert_eq!(
                submit_one(&log, 2).await,
                Ok(vec![(2, false)]),
                "{step:?} {fault:?}"
            );
            assert_eq!(submit_one(&log, 1).await, Ok(vec![(1, true)]));
            assert_is_in(
                &log,
                &verified(&log.status().checkpoint),
                1,
                &a_small_entry(1),
            );
            assert_one_history(log, &store).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_published_while_the_outcome_of_a_write_is_unknown() {
    for step in [Step::Commit, Step::Anchor] {
        for fault in FAULTS {
            let store = FaultyLog::around(MemoryLog::new());
            let log = start(store.clone());
            store.fail_next(step, fault);
            // It cannot look what is stored.
            store.fail_always(Step::Open, Some(Fault::NotWritten));
            for _ in 0..3 {
                assert!(submit_one(&log, 0).await.is_err());
                assert_eq!(log.status().size, 0, "{step:?} {fault:?}");
            }
            store.forget_faults();
            assert_eq!(submit_patiently(&log, 0).await, [(0, true)]);
            assert_eq!(log.status().size, 1);
            assert_one_history(log, &store).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_the_same_batch_is_completed_when_there_is_room() {
    for step in [Step::Open, Step::Head, Step::Commit, Step::Anchor] {
        let store = FaultyLog::around(MemoryLog::new());
        let log = start(store.clone());
        store.fail_next(Step::Commit, Fault::NotWritten);
        store.fail_always(step, Some(Fault::NotWritten));
        for _ in 0..3 {
            let answer = submit_one(&log, 0).await;
            assert!(
                matches!(answer, Err(SubmitError::Unavailable { .. })),
                "{answer:?}"
            );
        }
        store.forget_faults();
        assert_eq!(submit_patiently(&log, 0).await, [(0, true)], "{step:?}");
        let attempts = store.attempts();
        // The empty tree, and one batch however often it was tried.
        assert!(attempts[2..].iter().all(|batch| *batch == attempts[1]));
        assert_one_history(log, &store).await;
    }
}

#[tokio::test]
async fn a_restart_after_a_failed_commit_continues_from_what_is_stored() {
    for (fault, index) in [
        (Fault::NotWritten, (0, false)),
        (Fault::Written, (0, true)),
        (Fault::NotSynced, (0, true)),
    ] {
        let store = FaultyLog::around(MemoryLog::new());
        let log = start(store.clone());
        // It cannot look what is stored before it is ended.
        store.fail_always(Step::Open, Some(Fault::NotWritten));
        store.fail_next(Step::Commit, fault);
        assert!(submit_one(&log, 0).await.is_err());
        log.shutdown().await;
        store.forget_faults();
        let log = start(store.clone());
        assert_eq!(submit_one(&log, 0).await, Ok(vec![index]), "{fault:?}");
        assert_one_history(log, &store).await;
    }
}

#[tokio::test]
async fn while_the_database_is_closed_reads_say_so() {
    let store = FaultyLog::around(MemoryLog::new());
    let log = start(store.clone());
    assert_eq!(submit_one(&log, 0).await, Ok(vec![(0, false)]));
    store.fail_always(Step::Open, Some(Fault::NotWritten));
    store.fail_next(Step::Commit, Fault::NotWritten);
    assert!(submit_one(&log, 1).await.is_err());
    while !log.published().is_closed() {
        tokio::task::yield_now().await;
    }
    let tile = TilePath {
        id: TileId::hashes(0, 0),
        width: 1,
    };
    let error = log.published().tile(tile).unwrap_err();
    assert_eq!(
        error.reason,
        "it is closed after an error, and will be opened again"
    );
    // The checkpoint needs no database.
    assert_eq!(log.status().size, 1);
    store.forget_faults();
    submit_patiently(&log, 1).await;
    assert!(log.published().tile(tile).unwrap().is_some());
}

#[tokio::test]
async fn while_the_database_does_not_open_what_is_published_is_read_and_nothing_is_written() {
    let store = FaultyLog::around(MemoryLog::new());
    let (on_disk, opened) = (store.inner().clone(), store.clone());
    let storage = Storage::new(move || opened.open(), store.anchor());
    let reads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&reads);
    let storage = storage.read_meanwhile(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(on_disk.clone())
    });
    let registry = &mut Registry::default();
    let log = Log::start(storage, None, log_key(ORIGIN), config(), registry).unwrap();
    assert_eq!(submit_one(&log, 0).await, Ok(vec![(0, false)]));
    store.fail_always(Step::Open, Some(Fault::NotWritten));
    // All of it lies on the disk, but it is not known to stay there.
    store.fail_next(Step::Commit, Fault::NotSynced);
    assert!(submit_one(&log, 1).await.is_err());
    while reads.load(std::sync::atomic::Ordering::SeqCst) < 2 || log.published().is_closed() {
        tokio::task::yield_now().await;
    }
    let path = |width| TilePath {
        id: TileId::hashes(0, 0),
        width,
    };
    let mut tile = log.published().tile(path(1));
    while tile.is_err() {
        // Just being opened again.
        tokio::task::yield_now().await;
        tile = log.published().tile(path(1));
    }
    assert_eq!(
        tile.unwrap().unwrap(),
        leaf_hash(&a_small_entry(0)).as_bytes()
    );
    // What is not published is not shown, and nothing new is taken.
    assert_eq!(log.published().tile(path(2)), Ok(None));
    assert!(submit_one(&log, 2).await.is_err());
    assert_eq!(log.status().size, 1);
    store.forget_faults();
    submit_patiently(&log, 2).await;
    assert_eq!(log.status().size, 3);
    assert_one_history(log, &store).await;
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
    store.fail_always(Step::Open, Some(Fault::NotWritten));
    store.fail_next(Step::Commit, Fault::NotWritten);
    assert!(submit_one(&log, 0).await.is_err());
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
    store.forget_faults();
    let reason = loop {
        match submit_one(&log, 0).await {
            Err(SubmitError::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(SubmitError::Stopped { reason }) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(
        reason.starts_with(
            "after a failed write the database holds a tree of 1 entries that this process did not sign"
        ),
        "{reason}"
    );
    // Nothing was tried on top of it.
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
