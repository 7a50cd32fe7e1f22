//! A resolver that asks the logs themselves what its aggregator leaves out.

use std::time::Duration;

use axum::http::StatusCode;
use quorix_testkit::entries::{a_retraction_of, bytes_of};
use quorix_trust::policy::Policy;
use tokio::time::Instant;

use super::outputs::{Output, output};
use super::world::{Answer, TWO_OF_THREE, World, builder_key, origin, policy, policy_text};

const ONE_OF_THREE: &str =
    "voters one any alice bob carol\nrule main quorum=one level=closure\ndefault main\n";

/// A world in which the resolver asks the logs, and one in which it does not.
fn asking_or_not(rules: &str) -> [World; 2] {
    let believing = World::with(policy(rules), &[], |_| {});
    [World::completing(policy(rules)), believing]
}

fn hello() -> Output {
    output("hello-2.12", "hello\n")
}

fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    let words: Vec<&str> = answer.text().split_whitespace().collect();
    assert!(words.join(" ").contains(reason), "{}", answer.text());
}

#[tokio::test]
async fn dissent_that_the_aggregator_leaves_out_is_counted() {
    let [asking, believing] = asking_or_not(ONE_OF_THREE);
    for world in [&asking, &believing] {
        world.attest(&hello(), &["alice"]);
        world.attest(&hello().altered(), &["bob"]);
        world.aggregator.withhold(&origin("bob"));
    }
    believing.narinfo(&hello()).await.narinfo();
    assert_refused(&asking.narinfo(&hello()).await, "builders disagree");
    let metrics = asking.metrics();
    assert!(
        metrics.contains("quorix_resolver_left_out_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_retraction_that_the_aggregator_leaves_out_is_counted() {
    let [asking, believing] = asking_or_not(TWO_OF_THREE);
    for world in [&asking, &believing] {
        world.attest(&hello(), &["alice", "bob"]);
        let withdrawn = hello().built(&builder_key("bob"));
        let retraction = bytes_of(&a_retraction_of(&[withdrawn]));
        world.aggregator.append(&origin("bob"), retraction);
    }
    believing.narinfo(&hello()).await.narinfo();
    assert_refused(&asking.narinfo(&hello()).await, "too few votes");
}

#[tokio::test]
async fn dissent_of_a_builder_that_no_rule_names_keeps_a_fallback_out_of_reach() {
    let rules = "voters one any alice\nvoters both all alice bob\nrule weak quorum=one level=path\n\
         rule main quorum=both level=path fallback=weak\ndefault main\n";
    let [asking, believing] = asking_or_not(rules);
    for world in [&asking, &believing] {
        world.attest(&hello(), &["alice"]);
        world.attest(&hello().altered(), &["carol"]);
        world.aggregator.withhold(&origin("carol"));
    }
    believing.narinfo(&hello()).await.narinfo();
    assert_refused(&asking.narinfo(&hello()).await, "builders disagree");
}

#[tokio::test(start_paused = true)]
async fn an_honest_answer_is_served_and_each_log_is_asked_once_for_each_path() {
    let world = World::completing(policy(TWO_OF_THREE));
    let leaves = ["zlib-1.3", "glibc-2.40"].map(|name| output(name, name));
    let hello = hello().referring_to(&[&leaves[0], &leaves[1]]);
    for one in [&leaves[0], &leaves[1], &hello] {
        world.attest(one, &["alice", "bob"]);
    }
    world.narinfo(&hello).await.narinfo();
    let each_three_times = ["alice", "bob", "carol"].map(|builder| [builder; 3]);
    assert_eq!(world.logs().lookups(), each_three_times.concat());

    // Decided anew, from what the logs showed a moment ago.
    world.clock.advance(5);
    world.aggregator.questions();
    for one in [&hello, &leaves[0], &leaves[1]] {
        world.narinfo(one).await.narinfo();
    }
    assert_ne!(world.aggregator.questions(), []);
    assert_eq!(world.logs().lookups(), Vec::<String>::new());

    // What a log showed is its newest word for half a minute, and no longer.
    tokio::time::advance(Duration::from_secs(30)).await;
    world.clock.advance(5);
    world.attest(&leaves[0].altered(), &["bob"]);
    world.aggregator.lag_behind(&origin("bob"), 1);
    assert_refused(&world.narinfo(&hello).await, "zlib-1.3");
    assert_eq!(world.logs().lookups(), each_three_times.concat());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_silent_adds_no_votes_and_is_waited_for_once() {
    let world = World::completing(policy(TWO_OF_THREE));
    let (zlib, other) = (output("zlib-1.3", "zlib\n"), output("other-1", "other\n"));
    world.attest(&hello(), &["alice", "bob"]);
    world.attest(&zlib, &["alice", "bob"]);
    world.attest(&other, &["alice", "carol"]);
    world.logs().set_silent("carol", true);

    let begun = Instant::now();
    world.narinfo(&hello()).await.narinfo();
    assert_eq!(begun.elapsed().as_secs(), 4);
    // For the next ones nobody waits, with it or without.
    world.logs().lookups();
    world.narinfo(&zlib).await.narinfo();
    let refused = world.narinfo(&other).await;
    assert_eq!(begun.elapsed().as_secs(), 4);
    assert_eq!(world.logs().lookups(), ["alice", "alice", "bob", "bob"]);
    assert_refused(&refused, "too few votes");
    assert_refused(&refused, "did not answer within 4 s (asked a moment ago)");

    world.logs().set_silent("carol", false);
    tokio::time::advance(Duration::from_secs(15)).await;
    world.clock.advance(5);
    world.narinfo(&other).await.narinfo();
}

#[tokio::test(start_paused = true)]
async fn of_a_log_with_an_address_that_is_dead_the_other_is_asked_and_remembered() {
    let text = policy_text(TWO_OF_THREE).replace(
        " https://alice.example.org ",
        " https://dead.example.org https://alice.example.org ",
    );
    let world = World::completing(Policy::parse(&text).unwrap());
    let zlib = output("zlib-1.3", "zlib\n");
    world.attest(&hello(), &["alice", "bob"]);
    world.attest(&zlib, &["alice", "bob"]);
    let begun = Instant::now();
    world.narinfo(&hello()).await.narinfo();
    assert_eq!(begun.elapsed().as_secs(), 2);
    world.narinfo(&zlib).await.narinfo();
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_decision_is_used_again_although_completing_it_took_longer_than_that() {
    let world = World::completing(policy(TWO_OF_THREE));
    world.attest(&hello(), &["alice", "bob"]);
    world.logs().slow_down(&world.clock, 4);
    world.narinfo(&hello()).await.narinfo();
    world.aggregator.questions();
    world.clock.advance(4);
    world.narinfo(&hello()).await.narinfo();
    assert_eq!(world.aggregator.questions(), []);
}

#[tokio::test]
async fn what_nobody_names_is_refused_without_asking_any_log() {
    let world = World::completing(policy(TWO_OF_THREE));
    world.attest(&hello(), &["alice", "bob"]);
    for builder in ["alice", "bob", "carol"] {
        world.aggregator.withhold(&origin(builder));
    }
    assert_refused(&world.narinfo(&hello()).await, "Refused: no data");
    assert_eq!(world.logs().lookups(), Vec::<String>::new());
}

#[tokio::test]
async fn an_aggregator_that_has_read_less_than_a_log_showed_has_rolled_nothing_back() {
    let world = World::completing(policy(TWO_OF_THREE));
    let zlib = output("zlib-1.3", "zlib\n");
    for one in [&zlib, &hello()] {
        world.attest(one, &["alice", "bob"]);
    }
    world.attest(&hello().altered(), &["bob"]);
    world.aggregator.lag_behind(&origin("bob"), 1);
    assert_refused(&world.narinfo(&hello()).await, "bob");
    world.narinfo(&zlib).await.narinfo();

    // What it gave once it may not take back, also under another policy.
    world.aggregator.lag_behind(&origin("bob"), 2);
    world.resolver.reload(policy(TWO_OF_THREE).into());
    assert_refused(&world.narinfo(&zlib).await, "rollback");
}

#[tokio::test]
async fn an_aggregator_that_says_nothing_of_a_log_does_not_keep_its_dissent_back() {
    let world = World::completing(policy(ONE_OF_THREE));
    world.attest(&hello(), &["alice"]);
    world.attest(&hello().altered(), &["bob"]);
    world.aggregator.hide(&origin("bob"));
    assert_refused(&world.narinfo(&hello()).await, "builders disagree");
}
