//! Defects of the predecessor that must not come back, one test each.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use quorix_nix::hash::NarHash;
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::{a_path, an_attestation};
use quorix_testkit::memory::MemoryIndex;
use quorix_trust::decision::Outcome;
use quorix_trust::evidence::LogState;

use super::fakes::{Answer, FakeLog};
use super::world::{World, config, fetcher, policy};
use crate::service::Aggregator;

async fn logs() -> [FakeLog; 3] {
    [
        FakeLog::start("alice").await,
        FakeLog::start("bob").await,
        FakeLog::start("carol").await,
    ]
}

#[tokio::test]
async fn trustix_the_denominator_is_the_configured_set_so_one_answering_log_of_three_is_no_quorum()
{
    let [alice, bob, carol] = logs().await;
    alice.append(&[an_attestation().bytes()]);
    bob.at.all_instead(Some(Answer::Missing));
    carol.at.all_instead(Some(Answer::Missing));
    let mut world = World::of(&[&alice, &bob, &carol]);
    world.look_at_all().await;
    let decision = world.decide("hello").await;
    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert_eq!(decision.missing, ["bob", "carol"]);
}

#[tokio::test]
async fn trustix_an_unreachable_log_at_the_start_crashes_nothing() {
    let [alice, ..] = logs().await;
    // A port that nobody listens on any more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let line = alice.line(&[]).replace(&alice.at.url, &url);
    let policy = Arc::new(policy(&line, 1, "alice", "path"));
    let aggregator = Aggregator::start(
        Arc::new(MemoryIndex::new()),
        policy,
        config(),
        fetcher(),
        None,
        ManualClock::default().as_fn(),
        &mut Registry::default(),
    )
    .unwrap();
    let mut watcher = aggregator.watch();
    let decision = aggregator
        .decide(a_path("hello").as_str())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(decision.outcome, Outcome::Unknown);
    let logs = aggregator.shared().list_logs().await.unwrap().logs;
    if logs[0].reason.starts_with("not verified yet") {
        watcher.recv().await.unwrap();
    }
    let logs = aggregator.shared().list_logs().await.unwrap().logs;
    assert!(logs[0].reason.starts_with(&url), "{}", logs[0].reason);
    aggregator.shutdown().await;
}

#[tokio::test]
async fn trustix_a_log_without_a_head_does_not_fail_every_decision() {
    let [alice, bob, carol] = logs().await;
    alice.append(&[an_attestation().bytes()]);
    bob.append(&[an_attestation().bytes()]);
    let mut world = World::of(&[&alice, &bob, &carol]);
    world.look_at_all().await;
    assert!(matches!(world.state("carol"), LogState::Stale { .. }));
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
    let evidence = world
        .aggregator
        .evidence(&[a_path("hello").to_string()], true)
        .await
        .unwrap();
    assert_eq!(evidence.logs[2].checkpoint, [0; 0]);
}

#[tokio::test]
async fn trustix_same_size_and_different_root_is_kept_as_evidence_and_stops_the_log_from_voting() {
    let [alice, bob, carol] = logs().await;
    for log in [&alice, &bob] {
        log.append(&[an_attestation().bytes()]);
    }
    carol.append(&[an_attestation().saying("B").bytes()]);
    let mut world = World::of(&[&alice, &bob, &carol]);
    world.look_at_all().await;
    let first = alice.checkpoint();
    alice.rewrite(&[an_attestation().saying("B").bytes()]);
    world.look_at_all().await;
    let proof = world.equivocation(&alice).unwrap();
    assert_eq!((proof.first, proof.second), (first, alice.checkpoint()));
    assert_eq!(world.outcome("hello").await, Outcome::Conflict);
}

#[tokio::test]
async fn trustix_an_empty_consistency_proof_panics_nothing() {
    let [alice, ..] = logs().await;
    alice.append(&[an_attestation().bytes()]);
    let mut world = World::of(&[&alice]);
    assert!(world.look("alice").await);
    alice.append(&[an_attestation().of("more").bytes()]);
    alice
        .at
        .instead("tile/entries/000.p/2", Answer::Bytes(Vec::new()));
    alice
        .at
        .instead("tile/0/000.p/2", Answer::Bytes(Vec::new()));
    assert!(!world.look("alice").await);
    assert!(world.stale_reason("alice").starts_with("UNVERIFIABLE: "));
    assert_eq!(world.equivocation(&alice), None);
}

#[tokio::test]
async fn trustix_values_are_compared_as_digests_and_not_as_text() {
    let [alice, bob, carol] = logs().await;
    let facts = an_attestation().facts();
    // The same hash read from each text form that versions of Nix print.
    let forms = [
        facts.nar_hash.to_string(),
        facts.nar_hash.to_hex(),
        facts.nar_hash.to_sri(),
    ];
    for (log, form) in [&alice, &bob, &carol].into_iter().zip(forms) {
        let mut build = an_attestation().build();
        build.claim.nar_hash = form.parse::<NarHash>().unwrap();
        log.append(&[quorix_testkit::entries::bytes_of(
            &quorix_trust::attestation::Entry::Build(Box::new(build)),
        )]);
    }
    let mut world = World::of(&[&alice, &bob, &carol]);
    world.look_at_all().await;
    let decision = world.decide("hello").await;
    assert_eq!(
        (decision.values.len(), decision.values[0].voters.len()),
        (1, 3)
    );
}

#[tokio::test]
async fn trustix_a_tie_is_a_conflict_every_time_and_never_broken_at_random() {
    let [alice, bob, _] = logs().await;
    alice.append(&[an_attestation().bytes()]);
    bob.append(&[an_attestation().saying("B").bytes()]);
    let lines = alice.line(&[]) + &bob.line(&[]);
    let mut world = World::new(policy(&lines, 1, "alice bob", "path"));
    world.look_at_all().await;
    for _ in 0..50 {
        assert_eq!(world.outcome("hello").await, Outcome::Conflict);
    }
}

#[tokio::test]
async fn trustix_a_second_value_of_one_log_is_not_dropped() {
    let [alice, ..] = logs().await;
    alice.append(&[
        an_attestation().bytes(),
        an_attestation().saying("B").bytes(),
    ]);
    let mut world = World::of(&[&alice]);
    world.look_at_all().await;
    let decision = world.decide("hello").await;
    assert_eq!(
        (decision.values.len(), decision.outcome),
        (2, Outcome::Conflict)
    );
    assert!(decision.values.iter().all(|value| value.voters.is_empty()));
}
