//! The end of a log, and what may be withdrawn.

use super::*;
use crate::error::EntryProblem;

const NEXT: &str = "logs.example.org/alice-2";

/// The bytes of a rotation from the log's key to the key of this name.
fn rotation_to(next: &str) -> Vec<u8> {
    let rotation = KeyRotation::sign(&log_key(ORIGIN), &log_key(next)).unwrap();
    bytes_of(&Entry::KeyRotation(rotation))
}

fn ended(index: u64, next: &str) -> SubmitError {
    SubmitError::Ended {
        index,
        successor: log_key(next).verifier().to_string(),
    }
}

#[tokio::test]
async fn after_its_key_rotation_a_log_takes_nothing_new_also_after_a_restart() {
    let store = MemoryLog::new();
    let mut log = start(store.clone());
    submit(&log, &small_entries(0..3)).await;
    assert_eq!(log.status().successor, None);
    let rotated = log.rotate(rotation_to(NEXT)).await.unwrap();
    let receipt = |index, duplicate| Receipt { index, duplicate };
    assert_eq!(rotated.receipts, [receipt(3, false)]);
    let checkpoint = verified(&rotated.checkpoint);
    assert_is_in(&log, &checkpoint, 3, &rotation_to(NEXT));
    for _ in 0..2 {
        let refused = log.submit(small_entries(3..4), Vec::new()).await;
        assert_eq!(refused, Err(ended(3, NEXT)));
        // What is there is still answered, and so is the same rotation.
        assert_eq!(submit(&log, &small_entries(1..2)).await, [(1, true)]);
        let again = log.rotate(rotation_to(NEXT)).await.unwrap();
        assert_eq!(again.receipts, [receipt(3, true)]);
        let other = log.rotate(rotation_to("logs.example.org/alice-3")).await;
        assert_eq!(other, Err(ended(3, NEXT)));
        let status = log.status();
        assert_eq!(status.size, 4);
        let successor = log_key(NEXT).verifier().to_string();
        assert_eq!(status.successor, Some(successor));
        log.shutdown().await;
        log = start(store.clone());
    }
    let words = ended(3, NEXT).to_string();
    let vkey = log_key(NEXT).verifier().to_string();
    assert_eq!(
        words,
        format!(
            "this log has ended: its entry 3 hands over to the key {vkey}, and nothing may follow it. Submit to the log of \
             that key"
        )
    );
}

#[tokio::test]
async fn what_waits_behind_a_rotation_in_the_same_commit_is_refused() {
    let store = FaultyLog::default();
    let log = start(store.clone());
    store.hold();
    let first = tokio::spawn({
        let log = log.clone();
        async move { log.submit(small_entries(0..1), Vec::new()).await }
    });
    let held = store.clone();
    tokio::task::spawn_blocking(move || held.wait_until_a_commit_is_held())
        .await
        .unwrap();
    let rotation = log.rotate(rotation_to(NEXT));
    let late = log.submit(small_entries(5..6), Vec::new());
    let release = async {
        // Both are in the queue by now: what sends them does not wait.
        tokio::task::yield_now().await;
        store.release();
    };
    let (rotated, late, ()) = tokio::join!(rotation, late, release);
    assert_eq!(first.await.unwrap().unwrap().receipts[0].index, 0);
    let at = rotated.unwrap().receipts[0].index;
    // Whichever came first, nothing is behind the rotation.
    match late {
        Ok(late) => assert!(late.receipts[0].index < at),
        Err(refused) => assert_eq!(refused, ended(at, NEXT)),
    }
    assert_eq!(log.status().size, at + 1);
}

#[tokio::test]
async fn only_who_has_both_keys_ends_a_log() {
    let log = start(MemoryLog::new());
    let good = KeyRotation::sign(&log_key(ORIGIN), &log_key(NEXT)).unwrap();
    let other = KeyRotation::sign(&log_key("logs.example.org/bob"), &log_key(NEXT)).unwrap();
    let half = KeyRotation {
        new_signature: good.old_signature,
        ..good.clone()
    };
    for (entry, reason) in [
        (
            bytes_of(&Entry::KeyRotation(other)),
            "it is not signed by the key of the log that ends",
        ),
        (
            bytes_of(&Entry::KeyRotation(half)),
            "it is not signed by the key that follows",
        ),
        (a_small_entry(1), "it is another entry"),
    ] {
        let refused = log.rotate(entry).await;
        assert_eq!(refused, Err(SubmitError::NotARotation(reason.to_owned())));
    }
    assert!(matches!(
        log.rotate(b"garbage".to_vec()).await,
        Err(SubmitError::NotARotation(_))
    ));
    // Through the door of builders not even a good one comes in.
    let answer = log.submit(vec![rotation_to(NEXT)], Vec::new()).await;
    assert_eq!(answer, refused(0, EntryProblem::KeyRotation));
    assert_eq!(log.status().size, 0);
}

#[tokio::test]
async fn a_rotation_whose_commit_failed_has_ended_the_log_once_it_is_there() {
    for fault in [Fault::NotWritten, Fault::Written] {
        let store = FaultyLog::default();
        let log = start(store.clone());
        submit(&log, &small_entries(0..2)).await;
        store.fail_next(Step::Commit, fault);
        let failed = log.rotate(rotation_to(NEXT)).await;
        assert!(
            matches!(failed, Err(SubmitError::Unavailable { .. })),
            "{failed:?}"
        );
        let refused = loop {
            match log.submit(small_entries(2..3), Vec::new()).await {
                Err(SubmitError::Unavailable { .. }) => tokio::task::yield_now().await,
                answer => break answer,
            }
        };
        assert_eq!(refused, Err(ended(2, NEXT)), "{fault:?}");
        assert_eq!(log.status().size, 3);
    }
}

#[tokio::test]
async fn a_retraction_cannot_be_withdrawn_neither_a_stored_one_nor_one_beside_it() {
    let log = start(MemoryLog::new());
    let said = a_small_entry(0);
    let withdrawal = bytes_of(&a_retraction_of(&[&said]));
    let of_it = bytes_of(&a_retraction_of(&[&withdrawal]));
    let leaf = leaf_hash(&withdrawal);
    let all = vec![said.clone(), withdrawal.clone(), of_it.clone()];
    let answer = log.submit(all, Vec::new()).await;
    assert_eq!(answer, refused(2, EntryProblem::NoStatement { leaf }));
    assert_eq!(log.status().size, 0);
    submit(&log, &[said.clone(), withdrawal]).await;
    let answer = log.submit(vec![of_it], Vec::new()).await;
    assert_eq!(answer, refused(0, EntryProblem::NoStatement { leaf }));
    let words = EntryProblem::NoStatement { leaf }.to_string();
    assert!(
        words.ends_with(
            "only statements can be withdrawn. What a retraction withdrew can be said again"
        ),
        "{words}"
    );
    assert_eq!(submit(&log, &[said]).await, [(2, false)]);
}

#[tokio::test]
async fn more_than_is_looked_at_is_not_withdrawn_in_one_request() {
    let log = start(MemoryLog::new());
    let leaves = |from: u64| (from..from + 900).map(|n| leaf_hash(&a_small_entry(n)));
    let retractions: Vec<_> = (0..5)
        .map(|n| bytes_of(&a_retraction_of_leaves(leaves(n * 900))))
        .collect();
    let answer = log.submit(retractions, Vec::new()).await;
    assert_eq!(answer, refused(4, EntryProblem::TooManyWithdrawn));
}
