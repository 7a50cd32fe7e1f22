//! Going over to another policy while running.

use std::sync::Arc;
use std::time::Duration;

use quorix_testkit::entries::{a_retraction_of, an_attestation, bytes_of};
use quorix_tlog::hash::leaf_hash;
use quorix_trust::decision::Outcome;
use quorix_trust::evidence::LogState;
use quorix_trust::ports::Equivocation;

use super::fakes::FakeLog;
use super::world::{World, policy, told};
use crate::events::EventKind;

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

/// Whoever answers under the policy before goes on for a moment, and may be told of proof then.
#[tokio::test]
async fn proof_that_comes_in_while_the_policy_is_changed_is_held_under_the_next_one_too() {
    let alice = FakeLog::start("alice").await;
    alice.append(&[an_attestation().of("app").bytes()]);
    let mut world = World::of(&[&alice]);
    world.look_at_all().await;
    let before = world.aggregator.shared();

    let line = alice.line(&[]).replace("operator=alice", "operator=acme");
    let next = Arc::new(policy(&line, 1, "acme", "path"));
    world.aggregator.reload(next, PATIENCE).await.unwrap();
    assert_eq!(world.state("alice"), LogState::Live);
    let proof = Equivocation {
        first: alice.checkpoint(),
        second: alice.sign(1, leaf_hash(b"another history")),
        consistency_proof: Vec::new(),
    };
    before.accept_proof(&before.logs[0], proof).await.unwrap();
    assert_eq!(world.state("alice"), LogState::Quarantined);
    assert_eq!(world.outcome("app").await, Outcome::Insufficient);
    world.aggregator.shutdown().await;
}

#[tokio::test]
async fn of_a_log_that_the_policy_names_no_more_nothing_is_measured() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    for log in [&alice, &bob] {
        log.append(&[an_attestation().of("app").bytes(), vec![7]]);
    }
    let mut world = World::of(&[&alice, &bob]);
    world.look_at_all().await;
    let measured = |world: &World| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &world.registry).unwrap();
        ["alice", "bob"].map(|name| text.matches(&format!("\"{name}\"")).count())
    };
    let [of_alice, of_bob] = measured(&world);
    assert!(of_alice == of_bob && of_bob >= 5, "{of_bob}");

    let next = Arc::new(policy(&alice.line(&[]), 1, "alice", "path"));
    world.aggregator.reload(next, PATIENCE).await.unwrap();
    let [of_alice, of_bob] = measured(&world);
    assert!(of_alice > 0);
    assert_eq!(of_bob, 0);
    world.aggregator.shutdown().await;
}

#[tokio::test]
async fn what_is_being_written_when_nobody_follows_any_more_is_written_alone_and_told() {
    let alice = FakeLog::start("alice").await;
    let app = an_attestation().of("app").bytes();
    alice.append(&[app.clone(), bytes_of(&a_retraction_of(&[app]))]);
    let mut world = World::of(&[&alice]);
    let (log, index, mut watcher) = (
        world.log("alice"),
        world.index.clone(),
        world.aggregator.watch(),
    );
    index.hold();
    let following = tokio::spawn(async move { world.look("alice").await });
    let held = index.clone();
    let until_held = move || held.wait_until_a_step_is_held();
    tokio::task::spawn_blocking(until_held).await.unwrap();
    following.abort();
    assert!(following.await.unwrap_err().is_cancelled());
    let (is_locked, told_before) = (log.commit.try_lock().is_err(), told(&mut watcher));
    index.release();
    assert!(is_locked);
    assert_eq!(told_before, []);
    let _written = log.commit.lock().await;
    assert_eq!(
        told(&mut watcher),
        [(EventKind::Revoked, "alice".to_owned())]
    );
}

#[tokio::test]
async fn a_mirror_has_one_writer_also_while_the_line_of_its_log_is_changed() {
    let alice = FakeLog::start("alice").await;
    let world = World::of(&[&alice]);
    let before = world.log("alice");
    let line = alice.line(&[]).replace("operator=alice", "operator=acme");
    let next = Arc::new(policy(&line, 1, "acme", "path"));
    world.aggregator.reload(next, PATIENCE).await.unwrap();
    assert!(Arc::ptr_eq(&before.commit, &world.log("alice").commit));
    world.aggregator.shutdown().await;
}

/// Else the first goes on waiting for logs that nobody follows any more, and comes into force last.
#[tokio::test]
async fn two_policies_that_come_in_at_once_are_taken_up_one_after_the_other() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    let carol = FakeLog::start("carol").await;
    for log in [&alice, &bob, &carol] {
        log.append(&[an_attestation().of("app").bytes()]);
    }
    let world = World::of(&[&alice]);
    let first = Arc::new(policy(&bob.line(&[]), 1, "bob", "path"));
    let second = Arc::new(policy(&carol.line(&[]), 1, "carol", "path"));
    let patience = Duration::from_secs(2);
    let (one, other) = tokio::join!(
        world.aggregator.reload(first, patience),
        world.aggregator.reload(second, patience)
    );
    one.and(other).unwrap();
    let logs = &world.aggregator.shared().logs;
    let names: Vec<_> = logs.iter().map(|log| log.name.as_str()).collect();
    assert_eq!(names, ["carol"]);
    assert_eq!(world.state("carol"), LogState::Live);
    world.aggregator.shutdown().await;
}
