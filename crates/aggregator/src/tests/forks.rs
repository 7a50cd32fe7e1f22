//! Equivocation: proved, it quarantines for ever; not proved, it is only what does not verify (SEMANTICS §5).

use quorix_testkit::entries::{a_small_entry, an_attestation};
use quorix_testkit::tree::hash_bytes;
use quorix_tlog::hash::leaf_hash;
use quorix_trust::decision::{OperatorState, Outcome};
use quorix_trust::evidence::LogState;
use quorix_trust::ports::Equivocation;
use quorix_wire::evidence::verify_equivocation;
use quorix_wire::pb;

use super::fakes::{Answer, FakeLog};
use super::world::{World, told};
use crate::events::EventKind;

/// Alice's log with hello and then small entries, followed, together with bob's and carol's.
async fn followed(entries: u64) -> (World, FakeLog, Vec<u8>) {
    let logs = [
        FakeLog::start("alice").await,
        FakeLog::start("bob").await,
        FakeLog::start("carol").await,
    ];
    for log in &logs {
        log.append(&[an_attestation().bytes()]);
    }
    let [alice, ..] = &logs;
    alice.append(&(1..entries).map(a_small_entry).collect::<Vec<_>>());
    let mut world = World::of(&[&logs[0], &logs[1], &logs[2]]);
    world.look_at_all().await;
    assert_eq!(world.decide("hello").await.values[0].voters.len(), 3);
    let checkpoint = alice.checkpoint();
    (world, logs.into_iter().next().unwrap(), checkpoint)
}

/// Another history of the same length.
fn other_history(entries: u64) -> Vec<Vec<u8>> {
    let first = an_attestation().saying("B").bytes();
    std::iter::once(first)
        .chain((1..entries).map(a_small_entry))
        .collect()
}

/// Anyone with the log's key sees from the proof alone that the log contradicted itself.
fn assert_proves(proof: &Equivocation, log: &FakeLog) {
    assert_eq!(verify_equivocation(log.key.verifier(), proof), Ok(()));
}

#[tokio::test]
async fn a_fork_at_equal_size_quarantines_for_ever() {
    let (mut world, log, honest) = followed(5).await;
    let mut watcher = world.aggregator.watch();
    log.rewrite(&other_history(5));
    assert!(!world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Quarantined);
    let proof = world.equivocation(&log).unwrap();
    assert_eq!((&proof.first, &proof.second), (&honest, &log.checkpoint()));
    assert_proves(&proof, &log);
    assert_eq!(
        told(&mut watcher),
        [(EventKind::LogQuarantined, "alice".to_owned())]
    );

    let mut world = world.restarted();
    log.rewrite(&other_history(0));
    log.publish(&honest);
    assert!(!world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Quarantined);
    let listed = world.aggregator.shared().list_logs().await.unwrap().logs;
    assert_eq!(listed[0].state(), pb::LogState::Quarantined);
    assert_eq!(
        listed[0].equivocation.as_ref().unwrap().first_checkpoint,
        honest
    );
}

#[tokio::test]
async fn a_quarantined_log_adds_no_vote_and_its_word_still_counts_as_dissent() {
    let (mut world, log, _) = followed(5).await;
    log.rewrite(&other_history(5));
    world.look_at_all().await;
    let decision = world.decide("hello").await;
    assert_eq!(decision.outcome, Outcome::Accepted);
    assert_eq!(decision.values[0].voters, ["bob", "carol"]);
    assert_eq!(decision.operators[0].state, OperatorState::Quarantined);
    assert_eq!(decision.operators[0].letters, ["A"]);
}

#[tokio::test]
async fn a_fork_at_a_larger_size_is_proved_by_the_hashes_of_the_log_itself() {
    for (before, after) in [(5, 7), (5, 300), (256, 257), (300, 700)] {
        let (mut world, log, honest) = followed(before).await;
        log.rewrite(&other_history(after));
        assert!(!world.look("alice").await);
        assert_eq!(
            world.state("alice"),
            LogState::Quarantined,
            "{before} {after}"
        );
        let proof = world.equivocation(&log).unwrap();
        assert_eq!((&proof.first, &proof.second), (&honest, &log.checkpoint()));
        assert_proves(&proof, &log);
        assert_eq!(world.size(&log), before);
    }
}

#[tokio::test]
async fn a_fork_at_a_smaller_size_is_proved_from_the_mirror() {
    for (before, after) in [(5, 3), (300, 299), (300, 1), (700, 256)] {
        let (mut world, log, honest) = followed(before).await;
        log.rewrite(&other_history(after));
        log.at.requests();
        assert!(!world.look("alice").await);
        assert_eq!(log.at.requests(), ["checkpoint"]);
        assert_eq!(
            world.state("alice"),
            LogState::Quarantined,
            "{before} {after}"
        );
        let proof = world.equivocation(&log).unwrap();
        assert_eq!((&proof.first, &proof.second), (&log.checkpoint(), &honest));
        assert_proves(&proof, &log);
    }
}

#[tokio::test]
async fn a_fork_whose_bundles_are_withheld_is_proved_all_the_same() {
    let (mut world, log, _) = followed(5).await;
    log.rewrite(&other_history(7));
    log.at.instead("tile/entries/000.p/7", Answer::Missing);
    assert!(!world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Quarantined);
    assert_proves(&world.equivocation(&log).unwrap(), &log);
}

#[tokio::test]
async fn garbage_frames_no_honest_log() {
    let (mut world, log, _) = followed(5).await;
    log.append(&[an_attestation().of("six").bytes()]);
    // A mirror on the way serves wrong entries, and hashes that fit them or nothing.
    let wrong: Vec<_> = other_history(6);
    let hashes = |entries: &[Vec<u8>]| {
        hash_bytes(
            &entries
                .iter()
                .map(|entry| leaf_hash(entry))
                .collect::<Vec<_>>(),
        )
    };
    let garbage = [hashes(&wrong), vec![0; 6 * 32], vec![0; 5], Vec::new()];
    log.at.instead(
        "tile/entries/000.p/6",
        Answer::Bytes(quorix_testkit::tree::naive_bundle(&wrong, 0)),
    );
    for tile in garbage {
        log.at.instead("tile/0/000.p/6", Answer::Bytes(tile));
        assert!(!world.look("alice").await);
        assert!(
            world.stale_reason("alice").starts_with("UNVERIFIABLE: "),
            "{}",
            world.stale_reason("alice")
        );
        assert_eq!((world.equivocation(&log), world.size(&log)), (None, 5));
    }
    log.at.heal();
    assert!(world.look("alice").await);
    assert_eq!(
        (world.size(&log), world.state("alice")),
        (6, LogState::Live)
    );
}

#[tokio::test]
async fn a_signed_root_of_nothing_is_no_proof() {
    // The log's key signs a root to which it has no hashes: nothing can be recomputed, so nothing is proved.
    let (mut world, log, _) = followed(5).await;
    log.publish(&log.sign(9, leaf_hash(b"nothing")));
    assert!(!world.look("alice").await);
    assert!(matches!(
        world.state("alice"),
        LogState::Live | LogState::Stale { .. }
    ));
    assert_eq!((world.equivocation(&log), world.size(&log)), (None, 5));
}
