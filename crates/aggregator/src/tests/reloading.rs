//! Going over to another policy while running.

use std::sync::Arc;
use std::time::Duration;

use quorix_testkit::entries::an_attestation;
use quorix_trust::decision::Outcome;
use quorix_trust::evidence::LogState;

use super::fakes::FakeLog;
use super::world::{World, policy};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn another_policy_is_in_force_once_its_new_logs_were_looked_at() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    let carol = FakeLog::start("carol").await;
    alice.append(&[an_attestation().of("app").bytes()]);
    bob.append(&[an_attestation().of("app").saying("B").bytes()]);
    carol.append(&[an_attestation().of("app").bytes()]);
    let mut world = World::of(&[&alice, &bob]);
    world.look_at_all().await;
    assert_eq!(world.decide("app").await.outcome, Outcome::Conflict);
    let before = world.log("alice");

    let lines: String = [&alice, &carol].iter().map(|log| log.line(&[])).collect();
    let next = policy(&lines, 2, "alice carol", "path");
    world
        .aggregator
        .reload(Arc::new(next), PATIENCE)
        .await
        .unwrap();
    assert_eq!(world.decide("app").await.outcome, Outcome::Accepted);
    assert_eq!(world.state("carol"), LogState::Live);
    assert!(
        Arc::ptr_eq(&before, &world.log("alice")),
        "what is known of a log that stays is kept"
    );
    let shared = world.aggregator.shared();
    assert!(shared.logs.iter().all(|log| log.name != "bob"));
    world.aggregator.shutdown().await;
}

#[tokio::test]
async fn a_log_whose_line_changed_is_looked_at_anew() {
    let alice = FakeLog::start("alice").await;
    alice.append(&[an_attestation().of("app").bytes()]);
    let mut world = World::of(&[&alice]);
    world.look_at_all().await;
    let before = world.log("alice");

    let line = alice.line(&[]).replace("operator=alice", "operator=acme");
    let next = policy(&line, 1, "acme", "path");
    world
        .aggregator
        .reload(Arc::new(next), PATIENCE)
        .await
        .unwrap();
    assert!(!Arc::ptr_eq(&before, &world.log("alice")));
    let decision = world.decide("app").await;
    assert_eq!(decision.outcome, Outcome::Accepted);
    assert_eq!(decision.operators[0].operator, "acme");
    world.aggregator.shutdown().await;
}
