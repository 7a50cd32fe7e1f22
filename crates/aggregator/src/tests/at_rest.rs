//! What is mirrored, asked without a network.

use std::sync::Arc;

use quorix_testkit::entries::{a_path, an_attestation, nix_key};
use quorix_trust::decision::Outcome;

use super::fakes::{Answer, FakeCache, FakeLog};
use super::world::{World, config, fetcher, policy};
use crate::service::Aggregator;

#[tokio::test]
async fn an_aggregator_at_rest_decides_from_its_mirrors_and_asks_nobody() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    let cache = FakeCache::start(nix_key("cache.example.org-1")).await;
    let lines = alice.line(&[]) + &bob.line(&[]) + &cache.line();
    let listed = an_attestation()
        .of("system")
        .referring_to(&["hello"])
        .with_references_in_a_blob();
    alice.append(&[an_attestation().bytes(), listed.bytes()]);
    bob.append(&[an_attestation().bytes()]);
    let mut world = World::new(policy(&lines, 2, "alice bob example", "path"));
    world.look_at_all().await;
    for origin in [&alice.at, &bob.at, &cache.at] {
        origin.all_instead(Some(Answer::Silence));
        origin.requests();
    }
    world.clock.advance(1_000_000);

    let at_rest = Aggregator::at_rest(
        Arc::new(world.index.clone()),
        &world.policy,
        config(),
        fetcher(),
        world.clock.as_fn(),
    )
    .unwrap();
    let names = ["hello", "system"].map(|name| a_path(name).to_string());
    let decisions = at_rest.decide_many(&names).await.unwrap();
    let outcomes: Vec<Outcome> = decisions.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [Outcome::Accepted, Outcome::Insufficient]);
    for origin in [&alice.at, &bob.at, &cache.at] {
        assert_eq!(origin.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn a_log_of_which_nothing_is_mirrored_is_stale_at_rest_too() {
    let alice = FakeLog::start("alice").await;
    alice.append(&[an_attestation().bytes()]);
    let world = World::of(&[&alice]);
    let at_rest = Aggregator::at_rest(
        Arc::new(world.index.clone()),
        &world.policy,
        config(),
        fetcher(),
        world.clock.as_fn(),
    )
    .unwrap();
    let logs = at_rest.shared().list_logs().await.unwrap().logs;
    assert_eq!(logs[0].reason, "nothing of it is mirrored here yet");
}
