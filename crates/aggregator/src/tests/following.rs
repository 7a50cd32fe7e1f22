//! Following one log or several: growth, restarts, bad answers, failover, opaque entries, blobs, retractions.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::{
    a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key,
};
use quorix_testkit::memory::MemoryIndex;
use quorix_testkit::tree::blob_id;
use quorix_tlog::hash::EMPTY_ROOT;
use quorix_tlog::note::SigningKey;
use quorix_trust::decision::Outcome;
use quorix_trust::evidence::LogState;
use quorix_trust::ports::IndexStore;

use super::fakes::{Answer, FakeLog, Origin};
use super::world::{World, absolute, config, fetcher, policy, told};
use crate::config::AggregatorConfig;
use crate::events::EventKind;
use crate::service::Aggregator;

/// Three honest logs that attest hello, and what they are followed into.
async fn three_honest_logs() -> (World, [FakeLog; 3]) {
    let logs = [
        FakeLog::start("alice").await,
        FakeLog::start("bob").await,
        FakeLog::start("carol").await,
    ];
    for log in &logs {
        log.append(&[an_attestation().bytes()]);
    }
    (World::of(&[&logs[0], &logs[1], &logs[2]]), logs)
}

/// A log with five attestations that was followed.
async fn a_followed_log() -> (World, FakeLog) {
    let log = FakeLog::start("alice").await;
    log.append(&attestations(0..5));
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await);
    (world, log)
}

fn attestations(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| an_attestation().of(&format!("package-{number}")).bytes())
        .collect()
}

#[tokio::test]
async fn what_honest_logs_agree_on_is_accepted() {
    let (mut world, logs) = three_honest_logs().await;
    let mut watcher = world.aggregator.watch();
    assert_eq!(world.outcome("hello").await, Outcome::Unknown);
    world.look_at_all().await;
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
    assert_eq!(
        world.head(&logs[0]).unwrap().checkpoint,
        logs[0].checkpoint()
    );
    let live = |name: &str| (EventKind::LogLive, name.to_owned());
    assert_eq!(
        told(&mut watcher),
        [live("alice"), live("bob"), live("carol")]
    );
}

#[tokio::test]
async fn a_log_is_followed_from_where_it_was() {
    let (mut world, log) = a_followed_log().await;
    let mut size = 5;
    for more in [1_u64, 250, 1, 300, 512, 7] {
        log.append(&(size..size + more).map(a_small_entry).collect::<Vec<_>>());
        size += more;
        assert!(world.look("alice").await);
        assert_eq!(world.head(&log).unwrap().checkpoint, log.checkpoint());
    }
    log.at.requests();
    assert!(world.look("alice").await);
    assert_eq!(log.at.requests(), ["checkpoint"]);
}

#[tokio::test]
async fn an_empty_log_is_live() {
    let log = FakeLog::start("alice").await;
    log.append::<&[u8]>(&[]);
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await && world.look("alice").await);
    assert_eq!(
        world.head(&log).map(|head| (head.size, head.root)),
        Some((0, EMPTY_ROOT))
    );
    assert_eq!(world.state("alice"), LogState::Live);
}

#[tokio::test]
async fn a_restart_goes_on_from_the_store_and_no_log_is_live_before_it_answered() {
    let (mut world, log) = a_followed_log().await;
    log.append(&attestations(5..300));
    assert!(world.look("alice").await);
    let mut world = world.restarted();
    assert_eq!(
        world.stale_reason("alice"),
        "not verified yet since the aggregator was started"
    );
    log.append(&attestations(300..310));
    log.at.requests();
    assert!(world.look("alice").await);
    assert_eq!(log.at.requests(), ["checkpoint", "tile/entries/001.p/54"]);
    assert_eq!(world.head(&log).unwrap().checkpoint, log.checkpoint());
    assert_eq!(world.outcome("package-309").await, Outcome::Accepted);
}

#[tokio::test]
async fn a_tampered_bundle_makes_the_log_stale_and_stores_nothing() {
    let (mut world, log) = a_followed_log().await;
    log.append(&[an_attestation().of("six").bytes()]);
    let mut tampered = log.entries();
    tampered[5] = an_attestation().of("six").saying("B").bytes();
    let path = "tile/entries/000.p/6";
    log.at.instead(
        path,
        Answer::Bytes(quorix_testkit::tree::naive_bundle(&tampered, 0)),
    );
    assert!(!world.look("alice").await);
    assert!(
        world.stale_reason("alice").starts_with("UNVERIFIABLE: "),
        "{}",
        world.stale_reason("alice")
    );
    assert!(
        world
            .stale_reason("alice")
            .contains("its 6 entries have the root")
    );
    assert_eq!((world.size(&log), world.equivocation(&log)), (5, None));
    log.at.heal();
    assert!(world.look("alice").await);
    assert_eq!(
        (world.size(&log), world.state("alice")),
        (6, LogState::Live)
    );
}

#[tokio::test]
async fn a_bundle_that_begins_with_other_entries_than_before_is_refused() {
    let (mut world, log) = a_followed_log().await;
    log.append(&[an_attestation().of("six").bytes()]);
    let mut tampered = log.entries();
    tampered[0] = an_attestation().saying("B").bytes();
    log.at.instead(
        "tile/entries/000.p/6",
        Answer::Bytes(quorix_testkit::tree::naive_bundle(&tampered, 0)),
    );
    assert!(!world.look("alice").await);
    assert!(
        world
            .stale_reason("alice")
            .contains("its entry bundle 0 begins with other entries than it had before")
    );
    assert_eq!(world.size(&log), 5);
}

#[tokio::test]
async fn truncated_and_oversized_bundles_are_refused() {
    let (mut world, log) = a_followed_log().await;
    log.append(&[an_attestation().of("six").bytes()]);
    let whole = quorix_testkit::tree::naive_bundle(&log.entries(), 0);
    let surplus = [whole.as_slice(), &[0, 1, 7]].concat();
    let endless = vec![0; 256 * (2 + 65_535) + 1];
    for bad in [
        whole[..whole.len() - 1].to_vec(),
        Vec::new(),
        surplus,
        endless,
    ] {
        log.at.instead("tile/entries/000.p/6", Answer::Bytes(bad));
        assert!(!world.look("alice").await);
        assert!(
            world.stale_reason("alice").starts_with("UNVERIFIABLE: "),
            "{}",
            world.stale_reason("alice")
        );
        assert_eq!(world.size(&log), 5);
    }
}

#[tokio::test]
async fn a_checkpoint_of_another_key_or_another_log_is_never_taken() {
    let (mut world, log) = a_followed_log().await;
    let honest = log.checkpoint();
    let mut impostor = log.clone();
    impostor.key = log_key("logs.example.org/mallory");
    let mut other_name = log.clone();
    other_name.name = "bob".to_owned();
    let other_log = other_name.checkpoint();
    let cut = honest[..honest.len() - 2].to_vec();
    for bad in [
        impostor.checkpoint(),
        other_log,
        cut,
        b"<html>".to_vec(),
        Vec::new(),
    ] {
        log.publish(&bad);
        assert!(!world.look("alice").await);
        assert!(
            world.stale_reason("alice").starts_with("UNVERIFIABLE: "),
            "{}",
            world.stale_reason("alice")
        );
        assert_eq!(world.head(&log).unwrap().checkpoint, honest);
    }
    log.publish(&honest);
    assert!(world.look("alice").await);
    assert_eq!(world.equivocation(&log), None);
}

#[tokio::test]
async fn a_rolled_back_log_loses_nothing_that_was_seen_and_becomes_stale() {
    let (mut world, log) = a_followed_log().await;
    let mut watcher = world.aggregator.watch();
    let all = log.entries();
    log.rewrite(&all[..3]);
    assert!(!world.look("alice").await);
    assert_eq!(
        (world.size(&log), world.state("alice")),
        (5, LogState::Live)
    );
    world.clock.advance(61);
    assert!(!world.look("alice").await);
    assert!(
        world
            .stale_reason("alice")
            .ends_with("it shows an older checkpoint of 3 entries, and 5 were seen")
    );
    assert_eq!(world.outcome("package-4").await, Outcome::Insufficient);
    assert_eq!(
        told(&mut watcher),
        [(EventKind::LogStale, "alice".to_owned())]
    );
    log.rewrite(&all);
    assert!(world.look("alice").await);
    assert_eq!(
        told(&mut watcher),
        [(EventKind::LogLive, "alice".to_owned())]
    );
    assert_eq!(world.equivocation(&log), None);
}

#[tokio::test]
async fn a_frozen_log_that_answers_stays_live_and_one_that_does_not_becomes_stale() {
    let (mut world, log) = a_followed_log().await;
    world.clock.advance(1_000);
    assert!(world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Live);
    log.at.all_instead(Some(Answer::Missing));
    world.clock.advance(60);
    assert!(!world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Live);
    world.clock.advance(1);
    assert!(
        world
            .stale_reason("alice")
            .starts_with("no verified answer for 61 s: ")
    );
}

#[tokio::test]
async fn a_log_that_withholds_what_it_signed_becomes_stale() {
    let (mut world, log) = a_followed_log().await;
    log.append(&attestations(5..6));
    for path in [
        "tile/entries/000.p/6",
        "tile/entries/000",
        "tile/0/000.p/6",
        "tile/0/000",
    ] {
        log.at.instead(path, Answer::Missing);
    }
    world.clock.advance(61);
    assert!(!world.look("alice").await);
    assert!(
        world
            .stale_reason("alice")
            .contains("tile/entries/000.p/6: not found"),
        "{}",
        world.stale_reason("alice")
    );
    assert_eq!(world.size(&log), 5);
}

#[tokio::test]
async fn an_entry_that_does_not_parse_is_kept_and_counted_and_stops_nothing() {
    let (mut world, log) = a_followed_log().await;
    log.append(&[
        b"a kind of the future".to_vec(),
        an_attestation().of("after").bytes(),
    ]);
    assert!(world.look("alice").await);
    assert_eq!(world.outcome("after").await, Outcome::Accepted);
    assert_eq!(world.index.opaque(&log.origin()).unwrap(), 1);
    let listed = world.aggregator.shared().list_logs().await.unwrap().logs;
    assert_eq!(
        (listed[0].size, listed[0].indexed, listed[0].opaque),
        (7, 7, 1)
    );
}

#[tokio::test]
async fn a_withheld_blob_stops_nothing_and_is_fetched_once_it_is_there() {
    let log = FakeLog::start("alice").await;
    let listed = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    log.append(&[listed.bytes()]);
    let mut world = World::new(policy(&log.line(&[]), 1, "alice", "closure"));
    assert!(world.look("alice").await);
    let without = world.decide("hello").await;
    assert_eq!(without.values[0].fingerprint, listed.facts().digest());
    assert_eq!(without.values[0].facts, None);
    log.put_blob(&listed.blob());
    // What was missing is not asked for again at once.
    assert_eq!(world.decide("hello").await.values[0].facts, None);
    world.clock.advance(31);
    assert!(world.look("alice").await);
    assert_eq!(
        world.decide("hello").await.values[0].facts,
        Some(listed.facts())
    );
    assert!(
        world
            .index
            .mirror(&log.origin())
            .blob(&blob_id(&listed.blob()))
            .unwrap()
            .is_some()
    );
    assert_eq!(world.head(&log).unwrap().checkpoint, log.checkpoint());
}

#[tokio::test]
async fn blobs_come_with_the_entries_that_name_them() {
    let log = FakeLog::start("alice").await;
    let listed = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    log.append(&[listed.bytes()]);
    log.put_blob(&listed.blob());
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await);
    assert!(
        world
            .index
            .mirror(&log.origin())
            .blob(&blob_id(&listed.blob()))
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_mirror_is_used_when_the_first_address_fails_or_is_behind() {
    let log = FakeLog::start("alice").await;
    let mut mirror = log.clone();
    mirror.at = Origin::start().await;
    let mut world = World::new(policy(&log.line(&[&mirror.at]), 1, "alice", "path"));
    mirror.append(&attestations(0..5));
    assert!(world.look("alice").await);
    log.append(&attestations(0..3));
    mirror.append(&attestations(5..9));
    assert!(world.look("alice").await);
    assert_eq!(
        (world.size(&log), world.state("alice")),
        (9, LogState::Live)
    );
    log.at.all_instead(Some(Answer::Silence));
    mirror.append(&attestations(9..10));
    assert!(world.look("alice").await);
    assert_eq!(world.size(&log), 10);
}

#[tokio::test]
async fn a_retraction_withdraws_and_what_was_withdrawn_can_be_said_again() {
    let (mut world, logs) = three_honest_logs().await;
    let wrong = an_attestation().saying("B").bytes();
    logs[2].rewrite(std::slice::from_ref(&wrong));
    let mut watcher = world.aggregator.watch();
    world.look_at_all().await;
    assert_eq!(world.decide("hello").await.values.len(), 2);
    logs[2].append(&[
        bytes_of(&a_retraction_of(&[&wrong])),
        an_attestation().bytes(),
    ]);
    assert!(world.look("carol").await);
    let decision = world.decide("hello").await;
    assert_eq!(
        (decision.values.len(), decision.values[0].voters.len()),
        (1, 3)
    );
    let subject = absolute(&a_path("hello"));
    let events = told(&mut watcher);
    let about_outputs: Vec<_> = events
        .into_iter()
        .filter(|(_, about)| *about == subject)
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(
        about_outputs,
        [EventKind::Disagreement, EventKind::Resolved]
    );
}

#[tokio::test]
async fn one_silent_log_delays_no_other() {
    let (silent, log) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    silent.at.all_instead(Some(Answer::Silence));
    log.append(&[an_attestation().bytes()]);
    let lines = silent.line(&[]) + &log.line(&[]);
    let policy = Arc::new(policy(&lines, 1, "alice bob", "path"));
    // The silent one is waited for as long as the test may take.
    let config = AggregatorConfig {
        request_timeout: Duration::from_secs(600),
        ..config()
    };
    let index = Arc::new(MemoryIndex::new());
    let clock = ManualClock::default().as_fn();
    let aggregator = Aggregator::start(
        index,
        policy,
        config,
        fetcher(),
        None,
        clock,
        &mut Registry::default(),
    )
    .unwrap();
    let mut watcher = aggregator.watch();
    while aggregator
        .decide(a_path("hello").as_str())
        .await
        .unwrap()
        .unwrap()
        .outcome
        != Outcome::Accepted
    {
        let event = tokio::time::timeout(Duration::from_secs(60), watcher.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(event.subject, "bob");
    }
    // While one is looked at, being told to look does no harm.
    aggregator.poll_now();
    aggregator.shutdown().await;
}

#[tokio::test]
async fn a_log_that_the_policy_gives_another_key_is_stale_and_fails_no_decision() {
    let ([alice, bob], mut world) = {
        let logs = [FakeLog::start("alice").await, FakeLog::start("bob").await];
        logs.iter()
            .for_each(|log| log.append(&[an_attestation().bytes()]));
        let world = World::of(&[&logs[0], &logs[1]]);
        (logs, world)
    };
    world.look_at_all().await;
    let mut renewed = alice.clone();
    renewed.key = SigningKey::from_seed(alice.origin().parse().unwrap(), [9; 32]);
    let mut world = world.restarted_under(policy(
        &(renewed.line(&[]) + &bob.line(&[])),
        1,
        "alice bob",
        "path",
    ));
    renewed.publish(&renewed.checkpoint());
    world.look_at_all().await;
    assert!(
        world
            .stale_reason("alice")
            .contains("what was mirrored before is not of the policy's key")
    );
    let decision = world.decide("hello").await;
    assert_eq!(
        (decision.outcome, decision.values[0].voters.as_slice()),
        (Outcome::Accepted, &["bob".to_owned()][..])
    );
}

#[tokio::test]
async fn after_a_start_it_is_known_when_every_log_was_looked_at_even_one_that_does_not_answer() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    alice.append(&attestations(0..3));
    bob.at.all_instead(Some(Answer::Missing));
    let mut world = World::of(&[&alice, &bob]);
    let aggregator = world.aggregator.clone();
    let looked_at =
        tokio::spawn(async move { aggregator.looked_at_all(Duration::from_secs(60)).await });

    assert!(world.look("alice").await);
    assert!(!looked_at.is_finished());
    assert!(!world.look("bob").await);

    looked_at.await.unwrap();
    assert_eq!(world.state("alice"), LogState::Live);
    assert_ne!(world.state("bob"), LogState::Live);
}

#[tokio::test]
async fn a_clock_that_is_put_back_by_a_day_keeps_no_silent_log_alive() {
    let log = FakeLog::start("alice").await;
    log.append(&[an_attestation().bytes()]);
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await);
    let day = 24 * 60 * 60;
    let then = world.clock.now_s();
    // Put right by a second, as clocks are all the time.
    world.clock.set(then - 1);
    assert_eq!(world.state("alice"), LogState::Live);
    world.clock.set(then - day);
    let reason =
        format!("the clock of this machine was put back by {day} s, and it has not answered since");
    assert_eq!(world.stale_reason("alice"), reason);
    // It answers, and its age counts from there: silent from then on, it does not live for a day.
    assert!(world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Live);
    let stale_after = config().stale_after.as_secs();
    world.clock.advance(stale_after + 1);
    let reason = format!("no verified answer for {} s", stale_after + 1);
    assert_eq!(world.stale_reason("alice"), reason);
}
