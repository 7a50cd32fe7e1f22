//! Since when entries are witnessed: `min-observed`, `since` and `until` over a log that goes on growing and is cosigned
//! again and again. Whoever asks for the evidence decides the same.

use std::sync::Arc;

use quorix_testkit::entries::{a_path, a_small_entry, an_attestation};
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_trust::decision::{Decision, Outcome, decide};
use quorix_trust::policy::Policy;
use quorix_trust::ports::IndexStore;
use quorix_wire::client::AggregatorClient;

use super::answers::serve;
use super::fakes::FakeLog;
use super::world::World;

const DAY_S: u64 = 86_400;

fn witness(name: &str) -> CosignerSigningKey {
    let seed = [name.as_bytes()[0]; 32];
    let name = format!("{name}.example").parse().unwrap();
    CosignerSigningKey::from_seed(name, Algorithm::Ed25519, seed)
}

/// A world of alice's log, whose checkpoints both witnesses have to cosign, under this rule and with these options of
/// her line.
async fn world(options: &str, rule: &str) -> (World, FakeLog) {
    let log = FakeLog::start("alice").await;
    let line = log.line(&[]);
    let text = format!(
        "{} {options}\nwitness v {} https://v.example\nwitness w {} https://w.example\n\
         group both all v w\nquorum both\nvoters one any alice\nrule main quorum=one level=path {rule}\ndefault main\n",
        line.trim_end(),
        witness("v").verifier(),
        witness("w").verifier(),
    );
    let policy = Policy::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    (World::new(policy), log)
}

/// Publishes what the log has, cosigned by both now, and looks at it.
async fn witnessed(world: &mut World, log: &FakeLog) {
    let now_s = world.clock.now_s();
    log.publish_cosigned(&[(&witness("v"), now_s), (&witness("w"), now_s)]);
    assert!(world.look("alice").await);
}

/// What the aggregator decides, which is what a client of its evidence decides.
async fn decided(world: &World, name: &str) -> Decision {
    let here = world.decide(name).await;
    let client = AggregatorClient::new(serve(world), world.policy.clone());
    let output = a_path(name).hash_part();
    let evidence = client.evidence(std::slice::from_ref(&output), false).await;
    let there = decide(
        &world.policy,
        &evidence.unwrap(),
        &output,
        world.clock.now_s(),
    );
    assert_eq!(there, here);
    here
}

#[tokio::test]
async fn a_value_waits_until_it_was_observed_for_long_enough_while_the_log_goes_on_growing() {
    let (mut world, log) = world("", "min-observed=1d").await;
    let first_s = world.clock.now_s();
    log.append_without_checkpoint(&[an_attestation().of("hello").bytes()]);
    witnessed(&mut world, &log).await;
    for number in 0..8 {
        let decision = decided(&world, "hello").await;
        assert_eq!(
            (decision.outcome, decision.valid_until_s),
            (Outcome::Waiting, Some(first_s + DAY_S))
        );
        world.clock.advance(DAY_S / 8);
        if number % 2 == 0 {
            log.append_without_checkpoint(&[a_small_entry(number)]);
        }
        witnessed(&mut world, &log).await;
    }
    assert_eq!(decided(&world, "hello").await.outcome, Outcome::Accepted);
    // What came last waits by itself.
    log.append_without_checkpoint(&[an_attestation().of("late").bytes()]);
    witnessed(&mut world, &log).await;
    assert_eq!(decided(&world, "late").await.outcome, Outcome::Waiting);
    assert_eq!(decided(&world, "hello").await.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_checkpoint_that_is_cosigned_later_counts_since_its_quorum_was_first_met() {
    let (mut world, log) = world("", "min-observed=1d max-age=1h").await;
    let first_s = world.clock.now_s();
    log.append_without_checkpoint(&[an_attestation().of("hello").bytes()]);
    log.publish_cosigned(&[(&witness("v"), first_s)]);
    assert!(world.look("alice").await);
    assert_eq!(
        decided(&world, "hello").await.outcome,
        Outcome::Insufficient
    );

    world.clock.advance(10);
    log.publish_cosigned(&[(&witness("v"), first_s + 10), (&witness("w"), first_s + 10)]);
    assert!(world.look("alice").await);
    for _ in 0..3 {
        let decision = decided(&world, "hello").await;
        assert_eq!(decision.outcome, Outcome::Waiting);
        // Cosigned again, it is fresh; it is there since the first time.
        world.clock.advance(1_800);
        witnessed(&mut world, &log).await;
    }
    let kept = world.index.checkpoints(&log.origin(), 0, 9).unwrap();
    assert_eq!((kept.len(), kept[0].at_s), (1, first_s));
    let cosigned = world.policy.cosigned(&kept[0].note);
    assert_eq!(
        cosigned.into_iter().collect::<Vec<_>>(),
        [("v".to_owned(), first_s), ("w".to_owned(), first_s + 10)]
    );
    world.clock.set(first_s + 9 + DAY_S);
    witnessed(&mut world, &log).await;
    assert_eq!(decided(&world, "hello").await.outcome, Outcome::Waiting);
    world.clock.advance(1);
    let decision = decided(&world, "hello").await;
    assert_eq!(decision.outcome, Outcome::Accepted);
    // Once nobody cosigns it any more, it is too old.
    world.clock.advance(3_600);
    log.publish_cosigned(&[]);
    assert!(world.look("alice").await);
    assert_eq!(
        decided(&world, "hello").await.outcome,
        Outcome::Insufficient
    );
}

#[tokio::test]
async fn what_was_witnessed_inside_a_builders_window_counts_after_it_and_nothing_else_does() {
    let (until_s, since_s) = (1_767_225_600 + 100, 1_767_225_600 + 50);
    let (mut world, log) = world(&format!("since={since_s} until={until_s}"), "").await;
    for (name, passing) in [
        ("early", 60),
        ("inside", 60),
        ("late", 5_000),
        ("later", 60),
    ] {
        log.append_without_checkpoint(&[an_attestation().of(name).bytes()]);
        witnessed(&mut world, &log).await;
        world.clock.advance(passing);
    }
    for (name, expected) in [
        ("early", Outcome::Unknown),
        ("inside", Outcome::Accepted),
        ("late", Outcome::Unknown),
        ("later", Outcome::Unknown),
    ] {
        assert_eq!(decided(&world, name).await.outcome, expected, "{name}");
    }
}

#[tokio::test]
async fn earlier_checkpoints_are_bounded_and_only_there_where_they_are_asked_for() {
    for (rule, expected) in [("min-observed=1h", 50), ("max-age=1h", 0)] {
        let (mut world, log) = world("", rule).await;
        let mut outputs = Vec::new();
        for number in 0..100 {
            let name = format!("output-{number}");
            log.append_without_checkpoint(&[an_attestation().of(&name).bytes()]);
            witnessed(&mut world, &log).await;
            world.clock.advance(100);
            outputs.push(a_path(&name).hash_part());
        }
        assert!(world.look("alice").await);
        let client = AggregatorClient::new(serve(&world), Arc::clone(&world.policy));
        let evidence = client.evidence(&outputs, false).await.unwrap();
        let history = &evidence.logs[&log.origin()].history;
        // Two entries share one; the newest is covered by the checkpoint of the answer alone.
        assert_eq!(history.len(), expected - expected / 50, "{rule}");
        let now_s = world.clock.now_s();
        let accepted = |index: usize| {
            decide(&world.policy, &evidence, &outputs[index], now_s).outcome == Outcome::Accepted
        };
        assert!(accepted(0));
        assert_eq!(accepted(99), expected == 0);
    }
}

#[tokio::test]
async fn an_entry_from_before_there_was_a_witness_is_dated_by_what_came_soon_after() {
    let (mut world, log) = world("", "min-observed=1h").await;
    log.append_without_checkpoint(&[an_attestation().of("hello").bytes()]);
    for number in 0..100 {
        log.append_without_checkpoint(&[a_small_entry(number)]);
        log.publish_cosigned(&[]);
        assert!(world.look("alice").await);
    }
    for number in 100..250 {
        world.clock.advance(60);
        log.append_without_checkpoint(&[a_small_entry(number)]);
        witnessed(&mut world, &log).await;
    }
    assert_eq!(decided(&world, "hello").await.outcome, Outcome::Accepted);
}
