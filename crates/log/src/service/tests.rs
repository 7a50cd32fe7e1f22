//! The running log over stores in memory: order, durability, restarts and faults.

mod again;
mod beginning;
mod blobs;
mod boundaries;
mod faults;
mod matrix;
mod rotation;
mod start;
mod witness;

use std::collections::BTreeMap;
use std::time::Duration;

use quorix_testkit::entries::{
    a_retraction_of, a_retraction_of_leaves, a_small_entry, an_attestation, bytes_of, log_key,
    nix_key,
};
use quorix_testkit::faults::{Fault, FaultyLog, Step};
use quorix_testkit::memory::MemoryLog;
use quorix_testkit::tree::{blob_id, naive_bundle, naive_root, naive_tile};
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::proof::{
    TileReader, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};
use quorix_tlog::tile::{TileId, TilePath, encode_hashes, parse_hashes, tiles_of};
use quorix_trust::attestation::{Entry, KeyRotation};
use quorix_trust::ports::{Head, LogBatch, LogStore, TileStore, TreeBatch};

use super::*;
use crate::error::EntryProblem;

const ORIGIN: &str = "logs.example.org/alice";

/// Stores in memory with their anchor, as a log takes them.
trait Stored: Clone + 'static {
    fn storage(&self) -> Storage;
}

impl Stored for MemoryLog {
    fn storage(&self) -> Storage {
        let store = self.clone();
        Storage::new(move || Ok(store.reopened()), self.anchor())
    }
}

impl Stored for FaultyLog {
    fn storage(&self) -> Storage {
        let store = self.clone();
        Storage::new(move || store.open(), self.anchor())
    }
}

fn start_with(
    store: &impl Stored,
    witnessing: Option<Witnessing>,
    config: LogConfig,
) -> Result<Log, StartError> {
    Log::start(
        store.storage(),
        witnessing,
        log_key(ORIGIN),
        config,
        &mut Registry::default(),
    )
}

fn try_start(store: impl Stored) -> Result<Log, StartError> {
    start_with(&store, None, config())
}

fn start(store: impl Stored) -> Log {
    try_start(store).unwrap()
}

/// No test waits for a disk to come back.
fn config() -> LogConfig {
    LogConfig {
        retry_pause: Duration::from_millis(1),
        ..LogConfig::new(ORIGIN)
    }
}

fn verified(checkpoint: &[u8]) -> Checkpoint {
    let key = log_key(ORIGIN);
    SignedCheckpoint::open(checkpoint, key.verifier(), ORIGIN)
        .unwrap()
        .checkpoint()
        .clone()
}

fn indices(submitted: &Submitted) -> Vec<(u64, bool)> {
    submitted
        .receipts
        .iter()
        .map(|receipt| (receipt.index, receipt.duplicate))
        .collect()
}

fn small_entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(a_small_entry).collect()
}

async fn submit(log: &Log, entries: &[Vec<u8>]) -> Vec<(u64, bool)> {
    indices(&log.submit(entries.to_vec(), Vec::new()).await.unwrap())
}

struct Served<'a>(&'a Log);

impl TileReader for Served<'_> {
    type Error = String;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, String> {
        let tile = self
            .0
            .published()
            .tile(TilePath { id, width })
            .map_err(|error| error.to_string())?;
        parse_hashes(&tile.ok_or("not served")?, width).map_err(|error| error.to_string())
    }
}

fn assert_is_in(log: &Log, checkpoint: &Checkpoint, index: u64, entry: &[u8]) {
    let proof = prove_inclusion(&Served(log), index, checkpoint.size).unwrap();
    assert_eq!(
        verify_inclusion(
            index,
            checkpoint.size,
            &leaf_hash(entry),
            &proof,
            &checkpoint.root
        ),
        Ok(())
    );
}

#[tokio::test]
async fn acknowledged_entries_are_provably_in_the_published_checkpoint() {
    let log = start(MemoryLog::new());
    for (first, last) in [(0, 1), (1, 300), (300, 301), (301, 600)] {
        let entries = small_entries(first..last);
        let submitted = log.submit(entries.clone(), Vec::new()).await.unwrap();
        assert_eq!(submitted.checkpoint, log.status().checkpoint);
        let checkpoint = verified(&submitted.checkpoint);
        assert_eq!(checkpoint.size, last);
        for (receipt, entry) in submitted.receipts.iter().zip(&entries) {
            assert!(!receipt.duplicate);
            assert_is_in(&log, &checkpoint, receipt.index, entry);
        }
    }
}

#[tokio::test]
async fn every_served_tile_is_what_the_definition_says() {
    let log = start(MemoryLog::new());
    let (mut entries, mut leaves) = (Vec::new(), Vec::new());
    for step in [1_u64, 254, 1, 1, 300, 211] {
        let size = u64::try_from(entries.len()).unwrap();
        let new = small_entries(size..size + step);
        submit(&log, &new).await;
        leaves.extend(new.iter().map(|entry| leaf_hash(entry)));
        entries.extend(new);
        assert_eq!(verified(&log.status().checkpoint).root, naive_root(&leaves));
        for (id, width) in tiles_of(log.status().size) {
            let quorix_tlog::tile::TileLevel::Hashes(level) = id.level else {
                panic!("only hash tiles")
            };
            let served = log.published().tile(TilePath { id, width }).unwrap();
            assert_eq!(
                served,
                Some(encode_hashes(&naive_tile(&leaves, level, id.index)))
            );
            if level == 0 {
                let id = TileId::entries(id.index);
                let served = log.published().tile(TilePath { id, width }).unwrap();
                assert_eq!(served, Some(naive_bundle(&entries, id.index)));
            }
        }
    }
}

#[tokio::test]
async fn trustix_an_acknowledged_entry_is_published_without_a_flush() {
    let log = start(MemoryLog::new());
    let entry = an_attestation().bytes();
    let submitted = log.submit(vec![entry.clone()], Vec::new()).await.unwrap();
    // Nothing else is called: the checkpoint that the world reads covers the entry already.
    let published = log.published().head();
    assert_eq!(published.checkpoint, submitted.checkpoint);
    assert_is_in(&log, &verified(&published.checkpoint), 0, &entry);
}

#[tokio::test]
async fn trustix_every_earlier_checkpoint_stays_provable() {
    let log = start(MemoryLog::new());
    let mut history = vec![verified(&log.status().checkpoint)];
    for step in 0..30 {
        submit(&log, &small_entries(step * 23..(step + 1) * 23)).await;
        history.push(verified(&log.status().checkpoint));
    }
    let newest = history.last().unwrap();
    for old in &history {
        let proof = prove_consistency(&Served(&log), old.size, newest.size).unwrap();
        assert_eq!(
            verify_consistency(old.size, newest.size, &old.root, &newest.root, &proof),
            Ok(())
        );
        if old.size > 0 {
            assert_is_in(&log, old, 0, &a_small_entry(0));
        }
    }
}

fn refused(position: usize, problem: EntryProblem) -> Result<Submitted, SubmitError> {
    Err(SubmitError::Entry { position, problem })
}

#[tokio::test]
async fn a_refused_entry_names_its_position_and_nothing_of_its_request_is_stored() {
    let store = MemoryLog::new();
    let log = start(store.clone());
    let mut cut = an_attestation().of("cut").bytes();
    cut.pop();
    let good = an_attestation().bytes();
    let answer = log
        .submit(vec![good.clone(), cut.clone()], Vec::new())
        .await;
    let Err(SubmitError::Entry {
        position: 1,
        problem: EntryProblem::Malformed(_),
    }) = &answer
    else {
        panic!("{answer:?}")
    };
    assert!(answer.unwrap_err().to_string().starts_with("entry 1: "));
    assert_eq!(log.status().size, 0);
    assert_eq!(TileStore::index_of(&store, &leaf_hash(&good)), Ok(None));
    assert_eq!(submit(&log, &[good]).await, [(0, false)]);
}

#[tokio::test]
async fn a_retraction_may_only_name_what_comes_before_it_in_this_log() {
    let log = start(MemoryLog::new());
    let said = an_attestation().bytes();
    let withdrawal = bytes_of(&a_retraction_of(&[&said]));
    let leaf = leaf_hash(&said);
    let unknown = |position| refused(position, EntryProblem::UnknownLeaf { leaf });
    assert_eq!(
        log.submit(vec![withdrawal.clone()], Vec::new()).await,
        unknown(0)
    );
    let wrong_order = vec![a_small_entry(1), withdrawal.clone(), said.clone()];
    assert_eq!(log.submit(wrong_order, Vec::new()).await, unknown(1));
    assert_eq!(log.status().size, 0);
    let never = leaf_hash(b"never said");
    let both = bytes_of(&a_retraction_of_leaves([leaf, never]));
    let answer = log.submit(vec![said.clone(), both], Vec::new()).await;
    assert_eq!(
        answer,
        refused(1, EntryProblem::UnknownLeaf { leaf: never })
    );
    assert_eq!(
        submit(&log, &[said, withdrawal]).await,
        [(0, false), (1, false)]
    );
}

#[tokio::test]
async fn a_key_rotation_cannot_be_submitted() {
    let log = start(MemoryLog::new());
    let new_vkey = log_key("logs.example.org/alice-2").verifier().to_string();
    let rotation = KeyRotation {
        new_vkey,
        old_signature: [1; 64],
        new_signature: [2; 64],
    };
    let answer = log
        .submit(vec![bytes_of(&Entry::KeyRotation(rotation))], Vec::new())
        .await;
    assert_eq!(answer, refused(0, EntryProblem::KeyRotation));
}

#[tokio::test]
async fn requests_beyond_the_limits_are_refused() {
    let log = start(MemoryLog::new());
    let answer = log.submit(vec![Vec::new(); 1_025], Vec::new()).await;
    assert_eq!(answer, Err(SubmitError::TooManyEntries { count: 1_025 }));
    let answer = log
        .submit(Vec::new(), vec![Vec::new(), vec![0; 4 * 1024 * 1024 + 1]])
        .await;
    assert_eq!(
        answer,
        Err(SubmitError::BlobTooLarge {
            position: 1,
            bytes: 4 * 1024 * 1024 + 1
        })
    );
    let answer = log
        .submit(Vec::new(), vec![vec![0; 4 * 1024 * 1024]; 9])
        .await;
    assert_eq!(
        answer,
        Err(SubmitError::TooLarge {
            bytes: 36 * 1024 * 1024
        })
    );
    assert_eq!(submit(&log, &small_entries(0..1_024)).await.len(), 1_024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_submitters_share_a_commit() {
    let store = FaultyLog::around(MemoryLog::new());
    let log = start(store.clone());
    let before = store.count(Step::Commit);
    store.hold();
    let mut submitters = vec![spawn_submit(&log, 0)];
    wait_until_held(&store).await;
    // One commit is being written; whatever comes now waits for the next one.
    submitters.extend((1..=20).map(|number| spawn_submit(&log, number)));
    wait_until_queued(&log, 20).await;
    store.release();
    let mut taken = Vec::new();
    for submitter in submitters {
        taken.extend(indices(&submitter.await.unwrap().unwrap()));
    }
    taken.sort_unstable();
    assert_eq!(
        taken,
        (0..=20).map(|index| (index, false)).collect::<Vec<_>>()
    );
    assert_eq!(store.count(Step::Commit) - before, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_pushes_back_and_nothing_that_was_taken_is_lost() {
    let store = FaultyLog::around(MemoryLog::new());
    let config = LogConfig {
        queue_requests: 2,
        ..config()
    };
    let log = start_with(&store, None, config).unwrap();
    store.hold();
    let mut submitters = vec![spawn_submit(&log, 0)];
    wait_until_held(&store).await;
    submitters.extend([1, 2].map(|number| spawn_submit(&log, number)));
    wait_until_queued(&log, 2).await;
    assert_eq!(
        log.submit(vec![a_small_entry(3)], Vec::new()).await,
        Err(SubmitError::Busy)
    );
    store.release();
    for submitter in submitters {
        submitter.await.unwrap().unwrap();
    }
    assert_eq!(log.status().size, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_waiting_bytes_push_back_as_well() {
    let store = FaultyLog::around(MemoryLog::new());
    let config = LogConfig {
        queue_bytes: 1,
        ..config()
    };
    let log = start_with(&store, None, config).unwrap();
    store.hold();
    let waiting = spawn_submit(&log, 0);
    wait_until_held(&store).await;
    // One request of the largest size would always fit; not behind another one.
    let blobs = vec![vec![0; 4 * 1024 * 1024]; 8];
    assert_eq!(log.submit(Vec::new(), blobs).await, Err(SubmitError::Busy));
    store.release();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_finishes_what_waits_and_then_takes_no_more() {
    let store = FaultyLog::around(MemoryLog::new());
    let log = start(store.clone());
    store.hold();
    let mut submitters = vec![spawn_submit(&log, 0)];
    wait_until_held(&store).await;
    submitters.push(spawn_submit(&log, 1));
    wait_until_queued(&log, 1).await;
    let shutdown = tokio::spawn({
        let log = log.clone();
        async move { log.shutdown().await }
    });
    wait_until_queued(&log, 2).await;
    store.release();
    shutdown.await.unwrap();
    for submitter in submitters {
        submitter.await.unwrap().unwrap();
    }
    assert_eq!(log.status().size, 2);
    let late = log.submit(vec![a_small_entry(2)], Vec::new()).await;
    assert_eq!(
        late,
        Err(SubmitError::Stopped {
            reason: "it is shutting down".to_owned()
        })
    );
    log.shutdown().await;
}

type Answer = tokio::task::JoinHandle<Result<Submitted, SubmitError>>;

fn spawn_submit(log: &Log, number: u64) -> Answer {
    let log = log.clone();
    tokio::spawn(async move { log.submit(vec![a_small_entry(number)], Vec::new()).await })
}

async fn wait_until_held(store: &FaultyLog) {
    let store = store.clone();
    tokio::task::spawn_blocking(move || store.wait_until_a_commit_is_held())
        .await
        .unwrap();
}

async fn wait_until_queued(log: &Log, requests: usize) {
    while log.inner.queue.max_capacity() - log.inner.queue.capacity() < requests {
        tokio::task::yield_now().await;
    }
}

#[test]
fn keys_of_builders_are_not_needed_to_log() {
    // A builder's Nix signature is carried, not judged: whether it counts is the policy's affair.
    let entry = an_attestation().by(&nix_key("alice-1")).bytes();
    let store = MemoryLog::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    assert_eq!(
        runtime.block_on(submit(&start(store), &[entry])),
        [(0, false)]
    );
}
