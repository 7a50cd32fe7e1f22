//! A log that says too much about what is asked: it costs the others nothing, and gains nothing by it.

use std::time::Duration;

use quorix_testkit::entries::{Attestation, a_path, an_attestation, bytes_of, nix_key};
use quorix_trust::decision::{Decision, OperatorState, OperatorView, Outcome, decide};
use quorix_trust::evidence::LogState;
use quorix_trust::policy::Policy;
use quorix_wire::client::AggregatorClient;
use quorix_wire::pb;

use super::answers::serve;
use super::fakes::{FakeCache, FakeLog};
use super::world::{World, config, policy};
use crate::config::AggregatorConfig;
use crate::gather::SAID_TOO_MUCH;

const LIMIT: usize = 1024 * 1024;

/// What is attested with long names of references, of about 200 bytes each.
fn at_length(attested: Attestation, references: usize) -> Attestation {
    let names: Vec<String> = (0..references)
        .map(|number| format!("{number:0>150}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    attested.referring_to(&names)
}

/// Forty statements of some 55 KB each, of one value of `hello`.
fn forty_times(value: &str) -> Vec<Vec<u8>> {
    let one = at_length(an_attestation().saying(value), 300);
    let statement = |number: u64| one.clone().finished_at(1_767_225_600 + number).bytes();
    (0..40).map(statement).collect()
}

async fn three_logs() -> [FakeLog; 3] {
    [
        FakeLog::start("alice").await,
        FakeLog::start("bob").await,
        FakeLog::start("mallory").await,
    ]
}

fn lines(logs: &[FakeLog]) -> String {
    logs.iter().map(|log| log.line(&[])).collect()
}

/// Of answers of at most so many bytes, after a look at every log.
async fn world(policy: Policy, evidence_bytes_max: usize) -> World {
    let config = AggregatorConfig {
        evidence_bytes_max,
        // A bundle of 16 MiB takes as long as a busy machine takes for it.
        request_timeout: Duration::from_secs(60),
        ..config()
    };
    let mut world = World::with(policy, config, None);
    world.look_at_all().await;
    world
}

fn mallory(decision: &Decision) -> &OperatorView {
    let mut operators = decision.operators.iter();
    operators.find(|view| view.operator == "mallory").unwrap()
}

/// Bytes of what is said in an answer and of what proves it.
fn bytes(answer: &pb::GetEvidenceResponse) -> usize {
    let logged = |one: &pb::LoggedEntry| one.entry.len() + one.inclusion_proof.len() * 32;
    let said = |output: &pb::OutputEvidence| {
        let observations: usize = output.observations.iter().map(Vec::len).sum();
        observations + output.entries.iter().map(logged).sum::<usize>()
    };
    let blobs: usize = answer.blobs.iter().map(Vec::len).sum();
    blobs + answer.outputs.iter().map(said).sum::<usize>()
}

/// Decides here, and by whoever asks for the evidence, to whom mallory is stale: the same.
async fn decided(world: &World, name: &str, closure: bool, limit: usize) -> Decision {
    let here = world.decide(name).await;
    let asked = a_path(name).hash_part();
    let client = AggregatorClient::new(serve(world), world.policy.clone());
    let evidence = client
        .evidence(std::slice::from_ref(&asked), closure)
        .await
        .unwrap();
    let stale = LogState::Stale {
        reason: SAID_TOO_MUCH.to_owned(),
    };
    assert_eq!(evidence.logs["logs.example.org/mallory"].state, stale);
    assert_eq!(
        evidence.logs["logs.example.org/alice"].state,
        LogState::Live
    );
    let there = decide(&world.policy, &evidence, &asked, world.clock.now_s());
    assert_eq!(here, there);

    let paths = [a_path(name).to_string()];
    let answer = world.aggregator.evidence(&paths, closure).await.unwrap();
    assert!(bytes(&answer) <= limit);
    here
}

#[tokio::test]
async fn a_log_that_says_one_thing_too_often_keeps_nobody_from_being_heard() {
    let logs = three_logs().await;
    logs[0].append(&[an_attestation().bytes()]);
    logs[1].append(&[an_attestation().bytes()]);
    logs[2].append(&forty_times("B"));
    let lines = policy(&lines(&logs), 2, "alice bob mallory", "path");
    let decision = decided(&world(lines, LIMIT).await, "hello", false, LIMIT).await;
    assert_eq!(decision.outcome, Outcome::Accepted);
    let mallory = mallory(&decision);
    assert_eq!(mallory.state, OperatorState::Stale);
    assert_eq!(
        mallory.reason,
        "the log of mallory is stale: it said too much about what was asked"
    );
    // Once is enough to dissent.
    assert_eq!((mallory.letters.len(), mallory.sources.len()), (1, 1));
}

#[tokio::test]
async fn a_log_that_names_long_lists_of_references_keeps_nobody_from_being_heard() {
    let logs = three_logs().await;
    logs[0].append(&[an_attestation().bytes()]);
    logs[1].append(&[an_attestation().bytes()]);
    for number in 0..12 {
        let listed = at_length(
            an_attestation().saying(&format!("B{number}")),
            1_000 + number,
        );
        logs[2].append(&[listed.clone().with_references_in_a_blob().bytes()]);
        logs[2].put_blob(&listed.blob());
    }
    let lines = policy(&lines(&logs), 2, "alice bob mallory", "path");
    let world = world(lines, LIMIT).await;
    let decision = decided(&world, "hello", false, LIMIT).await;
    assert_eq!(decision.outcome, Outcome::Accepted);
    // All of its dissent fits without the lists.
    assert_eq!(mallory(&decision).letters.len(), 12);
    let paths = [a_path("hello").to_string()];
    let answer = world.aggregator.evidence(&paths, false).await.unwrap();
    assert_eq!(answer.blobs, Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_closure_of_thousands_of_paths_is_decided_whatever_one_log_says_of_it() {
    const BYTES: usize = 8 * LIMIT;
    let logs = three_logs().await;
    let leaves = |branch: usize| (0..50).map(move |leaf| format!("leaf-{branch}-{leaf}"));
    let branches: Vec<String> = (0..40).map(|branch| format!("branch-{branch}")).collect();
    let refer = |attested: Attestation, to: &[String]| {
        let names: Vec<&str> = to.iter().map(String::as_str).collect();
        attested.referring_to(&names)
    };
    let mut entries = vec![refer(an_attestation().of("app"), &branches).bytes()];
    for (number, branch) in branches.iter().enumerate() {
        let leaves: Vec<String> = leaves(number).collect();
        entries.push(refer(an_attestation().of(branch), &leaves).bytes());
        entries.extend(leaves.iter().map(|leaf| an_attestation().of(leaf).bytes()));
    }
    logs[0].append(&entries);
    logs[1].append(&entries);
    let long = |leaf: String| at_length(an_attestation().of(&leaf).saying("B"), 300).bytes();
    let said: Vec<_> = (0..40).flat_map(leaves).take(800).map(long).collect();
    logs[2].append(&said);
    let lines = policy(&lines(&logs), 2, "alice bob mallory", "closure");
    let world = world(lines, BYTES).await;
    let decision = decided(&world, "app", true, BYTES).await;
    assert_eq!(decision.outcome, Outcome::Accepted, "{}", decision.sentence);
    let paths = [a_path("app").to_string()];
    let answer = world.aggregator.evidence(&paths, true).await.unwrap();
    assert_eq!(answer.outputs.len(), 2_041);
}

#[tokio::test]
async fn the_veto_of_a_log_that_says_too_much_is_unavailable() {
    let logs = three_logs().await;
    let agreed = at_length(an_attestation(), 300).bytes();
    logs[0].append(std::slice::from_ref(&agreed));
    logs[1].append(&[agreed]);
    logs[2].append(&forty_times("A"));
    let text = format!(
        "{}quorum none\nvoters enough 2 alice bob\nvoters no 1 mallory\n\
         rule main quorum=enough veto=no level=path\ndefault main\n",
        lines(&logs)
    );
    let world = world(Policy::parse(&text).unwrap(), LIMIT).await;
    let decision = decided(&world, "hello", false, LIMIT).await;
    assert_eq!(decision.outcome, Outcome::VetoUnavailable);
}

#[tokio::test]
async fn nobody_reaches_a_fallback_by_saying_too_much() {
    let logs = three_logs().await;
    logs[0].append(&[at_length(an_attestation(), 300).bytes()]);
    logs[2].append(&forty_times("A"));
    let text = format!(
        "{}quorum none\nvoters both 2 alice mallory\nvoters one 1 alice\n\
         rule weak quorum=one level=path\nrule main quorum=both level=path fallback=weak\n\
         default main\n",
        lines(&logs)
    );
    let world = world(Policy::parse(&text).unwrap(), LIMIT).await;
    let decision = decided(&world, "hello", false, LIMIT).await;
    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert_eq!(decision.rule.name, "main");
}

#[tokio::test]
async fn what_a_log_that_says_too_much_said_first_still_dissents_when_a_cache_is_heard_later() {
    let (logs, cache) = (
        three_logs().await,
        FakeCache::start(nix_key("cache.example.org-1")).await,
    );
    logs[0].append(&[an_attestation().bytes()]);
    cache.put(&an_attestation(), &an_attestation(), &cache.key);
    let other = an_attestation().saying("B");
    logs[1].append(&[other.bytes()]);
    // A stranger's signature counts for nobody, and hides nothing.
    logs[2].append(&[bytes_of(&other.observed_by(&nix_key("stranger-1")))]);
    logs[2].append(&[other.bytes()]);
    logs[2].append(&forty_times("C"));
    let text = lines(&logs) + &cache.line();
    let lines = policy(&text, 2, "alice bob mallory example", "path");
    let decision = decided(&world(lines, LIMIT).await, "hello", false, LIMIT).await;
    // A has two votes; B would have two if mallory were heard, so neither wins.
    assert_eq!(decision.values[0].voters, ["alice", "example"]);
    assert_eq!(decision.outcome, Outcome::Conflict);
    assert_eq!(mallory(&decision).letters.len(), 2);
}
