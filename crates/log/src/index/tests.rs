//! The index beside a running log, over stores in memory: what it answers, and what it does when things go wrong.

mod audit;
mod cosigned;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use prometheus_client::encoding::text::encode;
use quorix_testkit::entries::{
    a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key, nix_key,
};
use quorix_testkit::faults::{Fault, FaultyLog, Step};
use quorix_testkit::memory::{MemoryAnchor, MemoryLog, MemoryLogIndex};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::STEP;
use quorix_tlog::index::answer::{Answer, AnswerError, Proven};
use quorix_trust::attestation::{Entry, Provenance, Realisation};
use quorix_trust::ports::{CommitError, TileStore as _};
use quorix_wire::index::output_key;
use tower::ServiceExt as _;

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

fn new_index(log: &Log, store: &MemoryLogIndex) -> LogIndex {
    let store = store.clone();
    let open = move || Ok(store.clone());
    LogIndex::new(log, open, &log_key(ORIGIN), None, &mut Registry::default()).unwrap()
}

async fn an_index(log: &Log, store: &MemoryLogIndex) -> LogIndex {
    let index = new_index(log, store);
    index.catch_up().await.unwrap();
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
    verified(&index.answer(&key, 0, 0).unwrap(), &key).unwrap()
}

#[tokio::test]
async fn what_is_absent_is_shown_to_be_absent_and_then_present() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let index = an_index(&log, &store).await;
    assert_eq!(
        (
            asked(&index, "hello").covered,
            asked(&index, "hello").indices
        ),
        (0, vec![])
    );
    fill(&log, 0).await;
    index.catch_up().await.unwrap();
    assert_eq!(asked(&index, "hello").covered, STEP);
    assert_eq!(asked(&index, "hello").indices, [0_u64; 0]);
    submit(
        &log,
        vec![said("hello", "A"), said("other", "A"), said("hello", "B")],
    )
    .await;
    fill(&log, 100).await;
    index.catch_up().await.unwrap();
    let proven = asked(&index, "hello");
    assert_eq!((proven.covered, proven.indices), (2 * STEP, vec![16, 18]));
    assert_eq!(asked(&index, "other").indices, [17]);
    assert_eq!(asked(&index, "third").indices, [0_u64; 0]);
}

#[tokio::test]
async fn how_far_it_is_behind_is_told_by_the_log_and_to_whoever_asks() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let index = an_index(&log, &store).await;
    let told = || {
        let status = log.status().index.unwrap();
        (status.covered, status.behind)
    };
    fill(&log, 0).await;
    assert_eq!(told(), (0, STEP));
    index.catch_up().await.unwrap();
    assert_eq!(told(), (STEP, 0));
    submit(&log, (100..120).map(a_small_entry).collect()).await;
    assert_eq!(told(), (STEP, 20));
    index.catch_up().await.unwrap();
    // It grows by a step at a time, so a few are always behind, and that is no delay.
    assert_eq!(told(), (2 * STEP, 4));
    let request = Request::get("/index/status").body(Body::empty()).unwrap();
    let answer = routes::router(&index).oneshot(request).await.unwrap();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        text,
        "covered 32\nbehind 4\nbehind_seconds 0\nkeys 0\nanswering true\n"
    );
}

#[tokio::test]
async fn a_retraction_belongs_to_the_outputs_that_it_withdraws() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let (hello, other) = (said("hello", "A"), said("other", "A"));
    submit(&log, vec![hello.clone(), other.clone()]).await;
    fill(&log, 0).await;
    let index = an_index(&log, &store).await;
    // Withdrawn in a later step, and read from the store.
    submit(&log, vec![bytes_of(&a_retraction_of(&[hello, other]))]).await;
    fill(&log, 100).await;
    index.catch_up().await.unwrap();
    assert_eq!(asked(&index, "hello").indices, [0, 16]);
    assert_eq!(asked(&index, "other").indices, [1, 16]);
}

#[tokio::test]
async fn builds_observations_and_realisations_of_one_output_share_its_key_with_their_retraction() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    let build = an_attestation().of("hello");
    let seen = bytes_of(&build.observed_by(&nix_key("cache-1")));
    let realised = bytes_of(&Entry::Realisation(Realisation {
        store_dir: "/nix/store".parse().unwrap(),
        derivation: a_path("hello.drv"),
        output_name: "out".to_owned(),
        path: a_path("hello"),
        provenance: Provenance::Built,
        nix_signature: None,
    }));
    let entries = vec![
        build.bytes(),
        said("other", "A"),
        seen.clone(),
        realised.clone(),
    ];
    submit(&log, entries).await;
    let withdrawal = bytes_of(&a_retraction_of(&[seen, realised]));
    submit(&log, vec![withdrawal]).await;
    fill(&log, 0).await;
    let index = an_index(&log, &store).await;
    assert_eq!(asked(&index, "hello").indices, [0, 2, 3, 4]);
    assert_eq!(asked(&index, "other").indices, [1]);
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
    let index = an_index(&log, &store).await;
    for n in [0, 1, 500, 999] {
        assert_eq!(asked(&index, &format!("output-{n}")).indices, [n, 1_000]);
    }
}

#[tokio::test]
async fn an_index_that_is_made_again_is_the_same_whatever_the_steps() {
    let log = a_log(MemoryLog::new());
    let first = MemoryLogIndex::default();
    let index = an_index(&log, &first).await;
    for round in 0..5_u64 {
        let entries = (0..37).map(|n| said(&format!("output-{}", n % 11), &format!("{round}-{n}")));
        submit(&log, entries.collect()).await;
        index.catch_up().await.unwrap();
    }
    let again = MemoryLogIndex::default();
    an_index(&log, &again).await;
    assert_eq!(again.head(), first.head());
}

#[tokio::test]
async fn a_step_of_unknown_outcome_is_found_out_and_the_index_goes_on() {
    for fault in [Fault::NotWritten, Fault::Written] {
        let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
        let index = an_index(&log, &store).await;
        submit(&log, vec![said("hello", "A")]).await;
        fill(&log, 0).await;
        store.fail_next_step(fault);
        let failed = index.catch_up().await;
        assert!(
            matches!(failed, Err(IndexError::Commit(CommitError::Store(_)))),
            "{failed:?}"
        );
        // The same process goes on, and so does another one.
        assert_eq!(index.catch_up().await, Ok(()), "{fault:?}");
        let again = an_index(&log, &store).await;
        assert_eq!(asked(&again, "hello").indices, [0]);
        let clean = MemoryLogIndex::default();
        an_index(&log, &clean).await;
        assert_eq!(clean.head(), store.head());
    }
}

#[tokio::test]
async fn an_index_of_another_log_stops_and_says_so_and_the_log_goes_on() {
    let store = MemoryLogIndex::default();
    let log = a_log(MemoryLog::new());
    fill(&log, 0).await;
    an_index(&log, &store).await;
    let other = a_log(MemoryLog::new());
    fill(&other, 100).await;
    let index = new_index(&other, &store);
    let refused = IndexError::OtherLog {
        covered: STEP,
        size: STEP,
        reason: "they have another root".to_owned(),
    };
    assert_eq!(index.catch_up().await, Err(refused.clone()));
    assert!(refused.is_final());
    let reason = refused.to_string();
    assert_eq!(index.status().stopped, Some(reason.clone()));
    assert_eq!(
        index.answer(&key_of("hello"), 0, 0),
        Err(NoAnswer::NotReady { reason })
    );
    submit(&other, vec![said("hello", "A")]).await;
}

#[tokio::test]
async fn how_far_a_stopped_index_is_behind_goes_on_being_measured() {
    let store = MemoryLogIndex::default();
    let first = a_log(MemoryLog::new());
    fill(&first, 0).await;
    an_index(&first, &store).await;
    let log = a_log(MemoryLog::new());
    fill(&log, 100).await;
    let (shared, mut registry) = (store.clone(), Registry::default());
    let open = move || Ok(shared.clone());
    let index = LogIndex::new(&log, open, &log_key(ORIGIN), None, &mut registry).unwrap();
    let running = tokio::spawn(index.clone().run());
    while index.status().stopped.is_none() {
        tokio::task::yield_now().await;
    }
    fill(&log, 200).await;
    let behind = log.status().index.unwrap().behind;
    assert!(behind >= STEP, "{behind}");
    let line = format!("quorix_log_index_behind {behind}\n");
    let mut told = String::new();
    while !told.contains(&line) {
        told.clear();
        encode(&mut told, &registry).unwrap();
        tokio::task::yield_now().await;
    }
    running.abort();
}

/// A power cut takes the note of what was published last, which is not synced where witnesses have it; the index's own
/// step is synced.
#[tokio::test]
async fn an_index_ahead_of_what_is_published_waits_until_that_is_published_again() {
    let store = MemoryLogIndex::default();
    let log = a_log(MemoryLog::new());
    fill(&log, 0).await;
    an_index(&log, &store).await;
    let earlier = a_log(MemoryLog::new());
    let index = new_index(&earlier, &store);
    let waits = IndexError::Ahead {
        covered: STEP,
        size: 0,
    };
    assert_eq!(index.catch_up().await, Err(waits.clone()));
    assert!(!waits.is_final());
    let reason = waits.to_string();
    assert_eq!(index.status().problem, Some(reason.clone()));
    assert!(!index.status().answering);
    let not_yet = Err(NoAnswer::NotReady { reason });
    assert_eq!(index.answer(&key_of("hello"), 0, 0), not_yet);
    // The same entries are published again.
    fill(&earlier, 0).await;
    assert_eq!(index.catch_up().await, Ok(()));
    assert_eq!(asked(&index, "hello").covered, STEP);
}

#[tokio::test]
async fn an_index_that_cannot_be_opened_says_so_and_is_opened_later() {
    let log = a_log(MemoryLog::new());
    fill(&log, 0).await;
    let (store, is_there) = (MemoryLogIndex::default(), Arc::new(AtomicBool::new(false)));
    let (shared, can) = (store.clone(), Arc::clone(&is_there));
    let locked = StoreError {
        operation: "opening the index".to_owned(),
        reason: "another process has it".to_owned(),
    };
    let error = locked.clone();
    let open = move || match can.load(Ordering::SeqCst) {
        true => Ok(shared.clone()),
        false => Err(error.clone()),
    };
    let key = log_key(ORIGIN);
    let index = LogIndex::new(&log, open, &key, None, &mut Registry::default()).unwrap();
    assert_eq!(
        index.catch_up().await,
        Err(IndexError::Store(locked.clone()))
    );
    let reason = locked.to_string();
    let told = index.answer(&key_of("hello"), 0, 0);
    assert_eq!(
        told,
        Err(NoAnswer::NotReady {
            reason: reason.clone()
        })
    );
    // The log says so too, and takes entries all the same.
    assert_eq!(log.status().index.unwrap().problem, Some(reason));
    submit(&log, vec![said("hello", "A")]).await;
    is_there.store(true, Ordering::SeqCst);
    assert_eq!(index.catch_up().await, Ok(()));
    assert_eq!(log.status().index.unwrap().problem, None);
    assert_eq!(asked(&index, "hello").covered, STEP);
}

#[tokio::test]
async fn a_read_that_fails_once_stops_no_index() {
    let faulty = FaultyLog::around(MemoryLog::new());
    let (opened, config) = (faulty.clone(), LogConfig::new(ORIGIN));
    let storage = Storage::new(move || opened.open(), faulty.anchor());
    let key = log_key(ORIGIN);
    let log = Log::start(storage, None, key, config, &mut Registry::default()).unwrap();
    fill(&log, 0).await;
    let store = MemoryLogIndex::default();
    let index = an_index(&log, &store).await;
    submit(&log, vec![said("hello", "A")]).await;
    fill(&log, 100).await;
    // Every read of a tile that one look takes, one after the other.
    let mut failed = 0;
    loop {
        faulty.forget_faults();
        faulty.fail_later(Step::Tile, failed, Fault::NotWritten);
        match index.catch_up().await {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, IndexError::Log(_)), "{error:?}"),
        }
        assert_eq!(index.status().stopped, None);
        failed += 1;
    }
    assert!(failed >= 2, "{failed}");
    assert_eq!(asked(&index, "hello").indices, [16]);
}

#[tokio::test]
async fn a_database_is_opened_anew_after_it_failed() {
    let log = a_log(MemoryLog::new());
    let (store, opened) = (MemoryLogIndex::default(), Arc::new(AtomicUsize::new(0)));
    let (shared, count) = (store.clone(), Arc::clone(&opened));
    let open = move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(shared.clone())
    };
    let key = log_key(ORIGIN);
    let index = LogIndex::new(&log, open, &key, None, &mut Registry::default()).unwrap();
    index.catch_up().await.unwrap();
    fill(&log, 0).await;
    store.fail_next_step(Fault::NotWritten);
    assert!(index.catch_up().await.is_err());
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    index.catch_up().await.unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_bundle_is_read_once_however_many_of_its_entries_are_asked_for() {
    let faulty = FaultyLog::around(MemoryLog::new());
    let (opened, config) = (faulty.clone(), LogConfig::new(ORIGIN));
    let storage = Storage::new(move || opened.open(), faulty.anchor());
    let key = log_key(ORIGIN);
    let log = Log::start(storage, None, key, config, &mut Registry::default()).unwrap();
    submit(&log, (0..600).map(a_small_entry).collect()).await;
    let index = an_index(&log, &MemoryLogIndex::default()).await;
    let before = faulty.count(Step::Tile);
    let asked: Vec<u64> = (300..364).collect();
    let entries = index.entries(600, &asked).unwrap();
    let entries = quorix_tlog::index::proven::parse(&entries).unwrap();
    assert_eq!(entries.len(), 64);
    // The bundle, its hashes, the hashes of the last tile, and the tile above.
    let read = faulty.count(Step::Tile) - before;
    assert!(read <= 5, "{read} reads");
}

#[tokio::test]
async fn entries_that_lie_far_apart_are_answered_in_parts() {
    let log = a_log(MemoryLog::new());
    submit(&log, (0..769).map(a_small_entry).collect()).await;
    let index = an_index(&log, &MemoryLogIndex::default()).await;
    let (asked, root) = ([0, 1, 256, 512, 768], log.published().head().root);
    // As many bytes as one bundle has, so one and the next, and so on.
    let (_, bundle) = reader::Main(&log.published()).bundle(0, 769).unwrap();
    for (bytes_max, expected) in [
        (1, 2),
        (bundle.len(), 2),
        (bundle.len() + 1, 3),
        (usize::MAX, 5),
    ] {
        let bytes = index.entries_within(769, &asked, bytes_max).unwrap();
        let entries = quorix_tlog::index::proven::parse(&bytes).unwrap();
        assert_eq!(entries.len(), expected, "{bytes_max}");
        let verified = quorix_tlog::index::proven::verify(&entries, &asked, 769, &root);
        assert_eq!(verified, Ok(()));
    }
}

#[tokio::test]
async fn a_log_that_hides_an_entry_from_its_answer_is_found_out() {
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    submit(&log, vec![said("hello", "A"), said("hello", "B")]).await;
    fill(&log, 0).await;
    let index = an_index(&log, &store).await;
    store.forget(&key_of("hello"), 1);
    let key = key_of("hello");
    let lying = index.answer(&key, 0, 0).unwrap();
    assert_eq!(lying.indices, [0]);
    assert!(matches!(verified(&lying, &key), Err(AnswerError::Proof(_))));
    store.forget(&key, 0);
    let silent = index.answer(&key, 0, 0).unwrap();
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
    let index = an_index(&log, &store).await;
    let bytes = index.entries(301, &[0, 299, 300]).unwrap();
    let entries = quorix_tlog::index::proven::parse(&bytes).unwrap();
    let head = log.published().head();
    let checked = quorix_tlog::index::proven::verify(&entries, &[0, 299, 300], 301, &head.root);
    assert_eq!(checked, Ok(()));
    assert_eq!(leaf_hash(&entries[2].entry), leaf_hash(&entry));
    assert_eq!(index.entries(302, &[0]), Err(NoAnswer::Beyond));
    assert_eq!(index.entries(300, &[300]), Err(NoAnswer::Beyond));
}
