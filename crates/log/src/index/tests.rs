//! The index beside a running log, over stores in memory: what it answers, and what it does when things go wrong.

use quorix_testkit::entries::{
    a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key,
};
use quorix_testkit::faults::Fault;
use quorix_testkit::memory::{MemoryAnchor, MemoryLog, MemoryLogIndex};
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::STEP;
use quorix_tlog::index::answer::{Answer, AnswerError, Proven};
use quorix_trust::ports::TileStore;
use quorix_wire::index::output_key;

use super::*;
use crate::config::LogConfig;
use crate::storage::Storage;

const ORIGIN: &str = "logs.example.org/alice";

fn a_log(store: MemoryLog) -> Log {
    let config = LogConfig::new(ORIGIN);
    Log::start(
        Storage::new(move || Ok(store.clone()), MemoryAnchor::new()),
        None,
        log_key(ORIGIN),
        config,
        &mut Registry::default(),
    )
    .unwrap()
}

fn try_index(log: &Log, store: &MemoryLogIndex) -> Result<LogIndex, IndexError> {
    let store = Arc::new(store.clone());
    LogIndex::open(log, store, &log_key(ORIGIN), &mut Registry::default())
}

fn an_index(log: &Log, store: &MemoryLogIndex) -> LogIndex {
    let index = try_index(log, store).unwrap();
    index.catch_up().unwrap();
    index
}

fn key_of(name: &str) -> Key {
    output_key(&"/nix/store".parse().unwrap(), &a_path(name))
}

fn said(name: &str, value: &str) -> Vec<u8> {
    an_attestation().of(name).saying(value).bytes()
}

async fn submit(log: &Log, entries: Vec<Vec<u8>>) {
    for part in entries.chunks(crate::config::ENTRIES_PER_REQUEST_MAX) {
        log.submit(part.to_vec(), Vec::new()).await.unwrap();
    }
}

/// Entries about nothing that is asked here, until the index covers all before them.
async fn fill(log: &Log, from: u64) {
    let size = log.status().size;
    let missing = STEP - size % STEP;
    submit(log, (from..from + missing).map(a_small_entry).collect()).await;
}

fn verified(answer: &Answer, key: &Key) -> Result<Proven, AnswerError> {
    let log = log_key(ORIGIN);
    Answer::parse(&answer.to_bytes())?.verify(key, log.verifier(), None)
}

fn asked(index: &LogIndex, name: &str) -> Proven {
    let key = key_of(name);
    verified(&index.answer(&key, 0).unwrap().unwrap(), &key).unwrap()
}

#[tokio::test]
async fn what_is_absent_is_shown_to_be_absent_and_then_present() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let index = an_index(&log, &store);
    assert_eq!(
        (
            asked(&index, "hello").covered,
            asked(&index, "hello").indices
        ),
        (0, vec![])
    );
    fill(&log, 0).await;
    index.catch_up().unwrap();
    assert_eq!(asked(&index, "hello").covered, STEP);
    assert_eq!(asked(&index, "hello").indices, [0_u64; 0]);
    submit(
        &log,
        vec![said("hello", "A"), said("other", "A"), said("hello", "B")],
    )
    .await;
    fill(&log, 100).await;
    index.catch_up().unwrap();
    let proven = asked(&index, "hello");
    assert_eq!((proven.covered, proven.indices), (2 * STEP, vec![16, 18]));
    assert_eq!(asked(&index, "other").indices, [17]);
    assert_eq!(asked(&index, "third").indices, [0_u64; 0]);
}

#[tokio::test]
async fn a_retraction_belongs_to_the_outputs_that_it_withdraws() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let (hello, other) = (said("hello", "A"), said("other", "A"));
    submit(&log, vec![hello.clone(), other.clone()]).await;
    fill(&log, 0).await;
    let index = an_index(&log, &store);
    // Withdrawn in a later step, and read from the store.
    submit(&log, vec![bytes_of(&a_retraction_of(&[hello, other]))]).await;
    fill(&log, 100).await;
    index.catch_up().unwrap();
    assert_eq!(asked(&index, "hello").indices, [0, 16]);
    assert_eq!(asked(&index, "other").indices, [1, 16]);
}

#[tokio::test]
async fn a_retraction_of_a_thousand_entries_belongs_to_a_thousand_outputs() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let entries: Vec<_> = (0..1_000)
        .map(|n| said(&format!("output-{n}"), "A"))
        .collect();
    submit(&log, entries.clone()).await;
    submit(&log, vec![bytes_of(&a_retraction_of(&entries))]).await;
    fill(&log, 0).await;
    let index = an_index(&log, &store);
    for n in [0, 1, 500, 999] {
        assert_eq!(asked(&index, &format!("output-{n}")).indices, [n, 1_000]);
    }
}

#[tokio::test]
async fn an_index_that_is_made_again_is_the_same_whatever_the_steps() {
    let log = a_log(MemoryLog::new());
    let first = MemoryLogIndex::default();
    let index = an_index(&log, &first);
    for round in 0..5_u64 {
        let entries = (0..37).map(|n| said(&format!("output-{}", n % 11), &format!("{round}-{n}")));
        submit(&log, entries.collect()).await;
        index.catch_up().unwrap();
    }
    let again = MemoryLogIndex::default();
    an_index(&log, &again);
    assert_eq!(again.head(), first.head());
}

#[tokio::test]
async fn a_step_of_unknown_outcome_is_found_out_and_the_index_goes_on() {
    for fault in [Fault::NotWritten, Fault::Written] {
        let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
        let index = an_index(&log, &store);
        submit(&log, vec![said("hello", "A")]).await;
        fill(&log, 0).await;
        store.fail_next_step(fault);
        let failed = index.catch_up();
        assert!(
            matches!(failed, Err(IndexError::Commit(CommitError::Store(_)))),
            "{failed:?}"
        );
        // The same process goes on, and so does another one.
        assert_eq!(index.catch_up(), Ok(()), "{fault:?}");
        let again = an_index(&log, &store);
        assert_eq!(asked(&again, "hello").indices, [0]);
        let clean = MemoryLogIndex::default();
        an_index(&log, &clean);
        assert_eq!(clean.head(), store.head());
    }
}

#[tokio::test]
async fn an_index_of_another_log_is_refused() {
    let store = MemoryLogIndex::default();
    let log = a_log(MemoryLog::new());
    fill(&log, 0).await;
    an_index(&log, &store);
    // Rolled back behind the index, and rewritten.
    let shorter = a_log(MemoryLog::new());
    let refused = IndexError::OtherLog {
        covered: STEP,
        size: 0,
        reason: "the log is shorter".to_owned(),
    };
    assert_eq!(try_index(&shorter, &store).err(), Some(refused));
    fill(&shorter, 100).await;
    let refused = IndexError::OtherLog {
        covered: STEP,
        size: STEP,
        reason: "they have another root".to_owned(),
    };
    assert_eq!(try_index(&shorter, &store).err(), Some(refused));
}

#[tokio::test]
async fn a_log_that_hides_an_entry_from_its_answer_is_found_out() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    submit(&log, vec![said("hello", "A"), said("hello", "B")]).await;
    fill(&log, 0).await;
    let index = an_index(&log, &store);
    store.forget(&key_of("hello"), 1);
    let key = key_of("hello");
    let lying = index.answer(&key, 0).unwrap().unwrap();
    assert_eq!(lying.indices, [0]);
    assert!(matches!(verified(&lying, &key), Err(AnswerError::Proof(_))));
    store.forget(&key, 0);
    let silent = index.answer(&key, 0).unwrap().unwrap();
    assert!(matches!(
        verified(&silent, &key),
        Err(AnswerError::Proof(_))
    ));
}

#[tokio::test]
async fn entries_come_with_their_proofs() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let entry = said("hello", "A");
    submit(
        &log,
        (0..300).map(a_small_entry).chain([entry.clone()]).collect(),
    )
    .await;
    let index = an_index(&log, &store);
    let bytes = index.entries(301, &[0, 299, 300]).unwrap().unwrap();
    let entries = quorix_tlog::index::proven::parse(&bytes).unwrap();
    let head = log.published().head();
    let checked = quorix_tlog::index::proven::verify(&entries, &[0, 299, 300], 301, &head.root);
    assert_eq!(checked, Ok(()));
    assert_eq!(leaf_hash(&entries[2].entry), leaf_hash(&entry));
    assert_eq!(index.entries(302, &[0]), Ok(None));
    assert_eq!(index.entries(300, &[300]), Ok(None));
}
