//! The same entry again: in one request, in one batch, after a restart; and what is not the same.

use super::*;

#[tokio::test]
async fn the_same_entry_again_is_answered_with_its_first_index() {
    let store = MemoryLog::new();
    let log = start(store.clone());
    let (a, b) = (
        an_attestation().bytes(),
        an_attestation().of("world").bytes(),
    );
    assert_eq!(
        submit(&log, &[a.clone(), b.clone()]).await,
        [(0, false), (1, false)]
    );
    assert_eq!(
        submit(&log, &[b.clone(), a.clone()]).await,
        [(1, true), (0, true)]
    );
    // In one request, too.
    let c = an_attestation().of("c").bytes();
    assert_eq!(
        submit(&log, &[c.clone(), a.clone(), c.clone()]).await,
        [(2, false), (0, true), (2, true)]
    );
    // And after a restart.
    log.shutdown().await;
    let log = start(store);
    assert_eq!(
        submit(&log, &[c, b, a]).await,
        [(2, true), (1, true), (0, true)]
    );
    assert_eq!(log.status().size, 3);
}

#[tokio::test]
async fn a_request_of_duplicates_alone_is_answered_without_a_commit() {
    let store = FaultyLog::around(MemoryLog::new());
    let log = start(store.clone());
    submit(&log, &[an_attestation().bytes()]).await;
    let commits = store.count(Step::Commit);
    submit(&log, &[an_attestation().bytes()]).await;
    submit(&log, &[]).await;
    assert_eq!(store.count(Step::Commit), commits);
}

#[tokio::test]
async fn trustix_two_different_values_for_one_output_are_both_kept() {
    let log = start(MemoryLog::new());
    let (first, second) = (
        an_attestation().saying("A").bytes(),
        an_attestation().saying("B").bytes(),
    );
    assert_eq!(
        submit(&log, std::slice::from_ref(&first)).await,
        [(0, false)]
    );
    assert_eq!(
        submit(&log, std::slice::from_ref(&second)).await,
        [(1, false)]
    );
    let checkpoint = verified(&log.status().checkpoint);
    assert_is_in(&log, &checkpoint, 0, &first);
    assert_is_in(&log, &checkpoint, 1, &second);
}

#[tokio::test]
async fn trustix_a_builder_can_take_back_what_it_said_and_say_it_again() {
    let log = start(MemoryLog::new());
    let said = an_attestation().bytes();
    let withdrawal = bytes_of(&a_retraction_of(&[&said]));
    assert_eq!(
        submit(&log, &[said.clone(), withdrawal.clone()]).await,
        [(0, false), (1, false)]
    );
    // Withdrawn, the same bytes are a new entry; not withdrawn, they are not.
    assert_eq!(
        submit(&log, &[said.clone(), said.clone()]).await,
        [(2, false), (2, true)]
    );
    // The same withdrawal concerns the new entry, so it is a new one; after that it is not.
    assert_eq!(
        submit(&log, &[withdrawal.clone(), withdrawal.clone()]).await,
        [(3, false), (3, true)]
    );
    assert_eq!(
        submit(&log, &[withdrawal.clone(), said.clone(), withdrawal]).await,
        [(3, true), (4, false), (5, false)]
    );
    assert_eq!(submit(&log, &[said]).await, [(6, false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_entry_by_two_submitters_of_one_batch_is_appended_once() {
    let store = FaultyLog::around(MemoryLog::new());
    let log = start(store.clone());
    store.hold();
    let first = spawn_submit(&log, 0);
    wait_until_held(&store).await;
    let both = [1, 1].map(|number| spawn_submit(&log, number));
    wait_until_queued(&log, 2).await;
    store.release();
    first.await.unwrap().unwrap();
    let mut taken = Vec::new();
    for answer in both {
        taken.extend(indices(&answer.await.unwrap().unwrap()));
    }
    taken.sort_unstable();
    assert_eq!(taken, [(1, false), (1, true)]);
    assert_eq!(log.status().size, 2);
}

#[tokio::test]
async fn entries_are_the_same_only_if_all_256_bits_of_their_hash_are() {
    // A damaged lookup that answers for a hash of which all but the last bit is the same.
    let store = MemoryLog::new();
    let log = start(store.clone());
    let (said, wanted) = (a_small_entry(0), a_small_entry(1));
    submit(&log, std::slice::from_ref(&said)).await;
    let mut near = *leaf_hash(&wanted).as_bytes();
    near[31] ^= 1;
    log.shutdown().await;
    let mut tree = quorix_testkit::tree::Grower::new(ORIGIN);
    tree.grow(std::slice::from_ref(&said));
    let mut more = tree.grow(&[b"anything"]);
    more.leaves = vec![(Hash::from_bytes(near), 1)];
    let retractions = Vec::new();
    store
        .commit(
            1,
            &LogBatch {
                tree: more,
                retractions,
            },
        )
        .unwrap();
    let log = start(store);
    assert_eq!(submit(&log, &[wanted]).await, [(2, false)]);
    assert_eq!(submit(&log, &[said]).await, [(0, true)]);
}
