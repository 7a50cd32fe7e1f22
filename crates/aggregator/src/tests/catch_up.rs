//! Catching up with a log that grew by more than one batch.

use quorix_testkit::entries::{a_small_entry, an_attestation};
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_trust::decision::Outcome;
use quorix_trust::evidence::LogState;

use super::fakes::{Answer, FakeLog};
use super::world::{World, config, policy};
use crate::config::AggregatorConfig;

/// A world in which at most 256 entries are taken in at a time.
fn small_batches(log: &FakeLog) -> World {
    let config = AggregatorConfig {
        batch_entries: 256,
        ..config()
    };
    World::with(policy(&log.line(&[]), 1, "alice", "path"), config, None)
}

fn entries(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(a_small_entry).collect()
}

#[tokio::test]
async fn a_log_larger_than_a_batch_is_caught_up_in_several() {
    let log = FakeLog::start("alice").await;
    let mut world = small_batches(&log);
    let mut size = 0;
    for more in [1_000, 1, 700, 256] {
        log.append(&entries(size..size + more));
        size += more;
        assert!(world.look("alice").await);
        assert_eq!(world.head(&log).unwrap().checkpoint, log.checkpoint());
        assert_eq!(world.size(&log), size);
    }
}

#[tokio::test]
async fn a_batch_also_ends_by_its_bytes() {
    let log = FakeLog::start("alice").await;
    let config = AggregatorConfig {
        batch_bytes: 1,
        ..config()
    };
    let mut world = World::with(policy(&log.line(&[]), 1, "alice", "path"), config, None);
    log.append(&entries(0..700));
    assert!(world.look("alice").await);
    assert_eq!(world.head(&log).unwrap().checkpoint, log.checkpoint());
    assert!(
        log.at.requests().contains(&"tile/1/000.p/2".to_owned()),
        "each batch is proved to be of the signed tree"
    );
}

#[tokio::test]
async fn what_was_caught_up_in_part_stays_and_evidence_is_from_the_checkpoint_before() {
    let log = FakeLog::start("alice").await;
    let mut world = small_batches(&log);
    log.append(&[an_attestation().bytes()]);
    assert!(world.look("alice").await);
    let before = log.checkpoint();
    let mut more = entries(1..999);
    more[100] = an_attestation().of("in-the-middle").bytes();
    log.append(&more);
    log.at.instead("tile/entries/003.p/231", Answer::Missing);
    assert!(!world.look("alice").await);
    let head = world.head(&log).unwrap();
    assert_eq!((head.size, &head.checkpoint), (768, &before));
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
    assert_eq!(world.outcome("in-the-middle").await, Outcome::Unknown);

    let mut world = world.restarted();
    log.at.heal();
    log.at.requests();
    assert!(world.look("alice").await);
    assert!(!log.at.requests().contains(&"tile/entries/000".to_owned()));
    assert_eq!(world.head(&log).unwrap().checkpoint, log.checkpoint());
    assert_eq!(world.outcome("in-the-middle").await, Outcome::Accepted);
}

#[tokio::test]
async fn a_tampered_hash_tile_keeps_a_batch_from_being_committed() {
    let log = FakeLog::start("alice").await;
    let mut world = small_batches(&log);
    log.append(&entries(0..700));
    log.at.instead("tile/1/000.p/2", Answer::Bytes(vec![7; 64]));
    assert!(!world.look("alice").await);
    assert!(
        world.stale_reason("alice").starts_with("UNVERIFIABLE: "),
        "{}",
        world.stale_reason("alice")
    );
    assert_eq!(world.head(&log), None);
}

#[tokio::test]
async fn a_tampered_bundle_in_the_middle_is_noticed_before_its_batch_is_committed() {
    let log = FakeLog::start("alice").await;
    let mut world = small_batches(&log);
    log.append(&entries(0..700));
    let mut tampered = log.entries();
    tampered[300] = an_attestation().bytes();
    log.at.instead(
        "tile/entries/001",
        Answer::Bytes(quorix_testkit::tree::naive_bundle(&tampered, 1)),
    );
    assert!(!world.look("alice").await);
    assert!(
        world
            .stale_reason("alice")
            .contains("its first 512 entries are not those of its checkpoint of 700")
    );
    let head = world.head(&log).unwrap();
    assert_eq!((head.size, head.checkpoint.is_empty()), (256, true));
    // Without a checkpoint that covers them, entries are no evidence.
    assert_eq!(world.aggregator.shared().stand().unwrap().logs[0].size(), 0);
    log.at.heal();
    assert!(world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Live);
}

#[tokio::test]
async fn a_log_of_126_000_entries_is_followed_from_the_start() {
    let log = FakeLog::start("alice").await;
    let mut all = entries(0..126_000);
    all[100_000] = an_attestation().bytes();
    log.append(&all);
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await);
    let head = world.head(&log).unwrap();
    let signed =
        SignedCheckpoint::open(&head.checkpoint, log.key.verifier(), &log.origin()).unwrap();
    assert_eq!((head.size, head.root), (126_000, signed.checkpoint().root));
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
}
