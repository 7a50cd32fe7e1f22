//! Binary caches vote on demand, with their own signatures only, and delay nobody.

use std::time::{Duration, Instant};

use quorix_testkit::entries::{a_path, a_retraction_of, an_attestation, bytes_of, nix_key};
use quorix_trust::decision::Outcome;
use quorix_trust::ports::IndexStore;

use super::fakes::{Answer, FakeCache, FakeLog};
use super::world::{World, policy};

const OWN_KEY: &str = "cache.example.org-1";

/// One log, alice's, with hello, and an empty cache, which is to agree with it.
async fn a_log_and_a_cache() -> (World, FakeLog, FakeCache) {
    let (log, cache) = (
        FakeLog::start("alice").await,
        FakeCache::start(nix_key(OWN_KEY)).await,
    );
    log.append(&[an_attestation().bytes()]);
    let mut world = World::new(policy(
        &(log.line(&[]) + &cache.line()),
        2,
        "alice example",
        "path",
    ));
    assert!(world.look("alice").await);
    (world, log, cache)
}

fn narinfo(name: &str) -> String {
    format!("{}.narinfo", a_path(name).hash_part())
}

#[tokio::test]
async fn a_cache_votes_with_its_signature_and_is_asked_once() {
    let (world, _, cache) = a_log_and_a_cache().await;
    cache.put(&an_attestation(), &an_attestation(), &cache.key);
    assert_eq!(
        world.decide("hello").await.values[0].voters,
        ["alice", "example"]
    );
    assert_eq!(cache.at.requests(), [narinfo("hello")]);
    let world = world.restarted();
    assert_eq!(world.decide("hello").await.values[0].voters, ["example"]);
    assert_eq!(cache.at.requests(), [""; 0]);
}

#[tokio::test]
async fn a_cache_that_signed_something_else_dissents() {
    let (world, _, cache) = a_log_and_a_cache().await;
    let other = an_attestation().saying("B");
    cache.put(&other, &other, &cache.key);
    let mut watcher = world.aggregator.watch();
    assert_eq!(world.outcome("hello").await, Outcome::Conflict);
    assert_eq!(
        watcher.try_recv().unwrap().message,
        "Builders disagree about hello."
    );
}

#[tokio::test]
async fn a_forged_foreign_or_malformed_narinfo_never_counts() {
    let (world, _, cache) = a_log_and_a_cache().await;
    let refused = |world: &World, label: &str| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &world.registry).unwrap();
        assert!(
            text.contains(&format!(
                "cache_answers_total{{name=\"main\",result=\"{label}\"}} 1"
            )),
            "{text}"
        );
    };
    let other = an_attestation().saying("B");
    cache.put(&an_attestation(), &other, &cache.key);
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    refused(&world, "forged");
    world.clock.advance(31);
    cache.put(&an_attestation(), &an_attestation(), &nix_key("stranger-1"));
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    refused(&world, "unsigned");
    world.clock.advance(31);
    cache
        .at
        .put(&narinfo("hello"), b"StorePath: nowhere\n".to_vec());
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    refused(&world, "malformed");
    assert!(
        world
            .index
            .statements(&a_path("hello").hash_part())
            .unwrap()
            .len()
            == 1
    );
}

#[tokio::test]
async fn what_a_cache_does_not_have_is_not_asked_for_again_at_once() {
    let (world, _, cache) = a_log_and_a_cache().await;
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    cache.put(&an_attestation(), &an_attestation(), &cache.key);
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    assert_eq!(cache.at.requests(), [narinfo("hello")]);
    world.clock.advance(30);
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
}

#[tokio::test]
async fn a_silent_cache_delays_nobody_beyond_the_budget_and_is_then_left_alone() {
    let (world, _, cache) = a_log_and_a_cache().await;
    cache.at.all_instead(Some(Answer::Silence));
    let started = Instant::now();
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    cache.at.requests();
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);
    assert_eq!(world.outcome("other").await, Outcome::Unknown);
    assert_eq!(cache.at.requests(), [""; 0]);
    cache.at.all_instead(None);
    cache.put(&an_attestation(), &an_attestation(), &cache.key);
    world.clock.advance(11);
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
}

#[tokio::test]
async fn a_long_list_of_references_does_not_keep_a_cache_from_voting() {
    let names: Vec<String> = (0..1_500)
        .map(|number| format!("dependency-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let listed = an_attestation()
        .of("system")
        .referring_to(&names)
        .with_references_in_a_blob();
    let (mut world, log, cache) = a_log_and_a_cache().await;
    log.append(&[listed.bytes()]);
    log.put_blob(&listed.blob());
    assert!(world.look("alice").await);
    cache.put(&listed, &listed, &cache.key);
    assert_eq!(
        world.decide("system").await.values[0].voters,
        ["alice", "example"]
    );
    // Where the list was kept is gone after a restart, so the cache is asked again.
    let mut world = world.restarted();
    assert!(world.look("alice").await);
    assert_eq!(
        world.decide("system").await.values[0].voters,
        ["alice", "example"]
    );
    assert_eq!(cache.at.requests(), [narinfo("system"), narinfo("system")]);
}

#[tokio::test]
async fn a_signature_in_a_log_counts_for_the_cache_whose_it_is() {
    let (mut world, log, cache) = a_log_and_a_cache().await;
    log.append(&[bytes_of(&an_attestation().observed_by(&cache.key))]);
    assert!(world.look("alice").await);
    assert_eq!(
        world.decide("hello").await.values[0].voters,
        ["alice", "example"]
    );
    // It may have signed something else since, which the log does not carry.
    assert_eq!(cache.at.requests(), [narinfo("hello")]);
}

#[tokio::test]
async fn no_log_chooses_which_of_two_signatures_a_cache_votes_with() {
    let (mut world, log, cache) = a_log_and_a_cache().await;
    log.append(&[bytes_of(&an_attestation().observed_by(&cache.key))]);
    assert!(world.look("alice").await);
    let other = an_attestation().saying("B");
    cache.put(&other, &other, &cache.key);
    assert_eq!(world.outcome("hello").await, Outcome::Conflict);
}

#[tokio::test]
async fn no_log_takes_back_the_vote_of_a_cache() {
    let (mut world, log, cache) = a_log_and_a_cache().await;
    let seen = bytes_of(&an_attestation().observed_by(&cache.key));
    log.append(std::slice::from_ref(&seen));
    log.append(&[bytes_of(&a_retraction_of(&[seen]))]);
    assert!(world.look("alice").await);
    assert_eq!(
        world.decide("hello").await.values[0].voters,
        ["alice", "example"]
    );
}

#[tokio::test]
async fn a_forged_signature_in_a_log_neither_counts_nor_keeps_the_cache_from_being_asked() {
    let (mut world, log, cache) = a_log_and_a_cache().await;
    let forged = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob()
        .saying("B");
    let quorix_trust::attestation::Entry::Observation(mut seen) = forged.observed_by(&cache.key)
    else {
        panic!()
    };
    seen.signature = cache.key.sign(&an_attestation().facts());
    log.append(&[bytes_of(&quorix_trust::attestation::Entry::Observation(
        seen,
    ))]);
    log.put_blob(&forged.blob());
    assert!(world.look("alice").await);
    cache.put(&an_attestation(), &an_attestation(), &cache.key);
    assert_eq!(
        world.decide("hello").await.values[0].voters,
        ["alice", "example"]
    );
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
}

#[tokio::test]
async fn a_cache_cut_off_keeps_the_fallback_out_of_reach_and_one_that_has_nothing_does_not() {
    let (log, cache) = (
        FakeLog::start("alice").await,
        FakeCache::start(nix_key(OWN_KEY)).await,
    );
    log.append(&[an_attestation().bytes()]);
    let text = format!(
        "{}{}quorum none\nvoters both 2 alice example\nvoters one 1 alice\n\
         rule weak quorum=one level=path\nrule main quorum=both level=path fallback=weak\n\
         default main\n",
        log.line(&[]),
        cache.line()
    );
    let mut world = World::new(quorix_trust::policy::Policy::parse(&text).unwrap());
    assert!(world.look("alice").await);

    cache.at.all_instead(Some(Answer::Silence));
    assert_eq!(world.outcome("hello").await, Outcome::Insufficient);

    cache.at.all_instead(None);
    world.clock.advance(31);
    let decision = world.decide("hello").await;
    assert_eq!(decision.rule.name, "weak", "{}", decision.sentence);
}
