//! What the gRPC service answers: evidence that verifies, decisions in order, pages, search, events, refusals.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::StorePath;
use quorix_testkit::entries::{a_path, a_retraction_of, an_attestation, bytes_of, nix_key};
use quorix_trust::decision::{Outcome, decide};
use quorix_trust::evidence::LogState;
use quorix_wire::client::AggregatorClient;
use quorix_wire::content::ContentVerifier;
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use tonic::transport::{Channel, Server};
use tonic::{Code, Status};

use super::fakes::{FakeCache, FakeLog};
use super::world::{World, absolute, config, policy};
use crate::config::AggregatorConfig;
use crate::events::{Event, EventKind, WATCHER_BACKLOG};

/// The world's service, in this process.
pub(crate) fn serve(world: &World) -> Channel {
    let (channel, incoming) = quorix_wire::channel::in_memory();
    let service = crate::grpc::server(world.aggregator.clone());
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    channel
}

fn client(world: &World) -> AggregatorServiceClient<Channel> {
    AggregatorServiceClient::new(serve(world))
}

/// Alice and bob, who agree on `app` and disagree about `lib-0` to `lib-6`; alice withdrew something.
async fn two_logs_that_disagree() -> (World, [FakeLog; 2]) {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    let app = an_attestation().of("app").referring_to(&["lib-0"]);
    let lib = |number: u64| an_attestation().of(&format!("lib-{number}"));
    let mistake = an_attestation().of("app").saying("Z").bytes();
    alice.append(&[
        mistake.clone(),
        app.clone().with_references_in_a_blob().bytes(),
    ]);
    alice.put_blob(&app.blob());
    alice.append(&[bytes_of(&a_retraction_of(&[mistake]))]);
    bob.append(&[app.bytes()]);
    for number in 0..7 {
        alice.append(&[lib(number).bytes()]);
        bob.append(&[lib(number).saying("B").bytes()]);
    }
    let mut world = World::of(&[&alice, &bob]);
    world.look_at_all().await;
    (world, [alice, bob])
}

#[tokio::test]
async fn evidence_verifies_in_the_client_and_decides_as_here() {
    let (alice, cache) = (
        FakeLog::start("alice").await,
        FakeCache::start(nix_key("cache-1")).await,
    );
    let app = an_attestation().of("app").referring_to(&["app", "lib"]);
    let mistake = an_attestation().of("app").saying("Z").bytes();
    alice.append(&[
        mistake.clone(),
        app.clone().with_references_in_a_blob().bytes(),
    ]);
    alice.append(&[
        bytes_of(&a_retraction_of(&[mistake])),
        an_attestation().of("lib").bytes(),
    ]);
    alice.append(
        &(0..600)
            .map(quorix_testkit::entries::a_small_entry)
            .collect::<Vec<_>>(),
    );
    alice.put_blob(&app.blob());
    for attested in [&app, &an_attestation().of("lib")] {
        cache.put(attested, attested, &cache.key);
    }
    let mut world = World::new(policy(
        &(alice.line(&[]) + &cache.line()),
        2,
        "alice example",
        "closure",
    ));
    world.look_at_all().await;
    let client = AggregatorClient::new(serve(&world), world.policy.clone());
    let evidence = client
        .evidence(&[a_path("app").hash_part()], true)
        .await
        .unwrap();
    assert_eq!(evidence.logs[&alice.origin()].state, LogState::Live);
    assert_eq!(evidence.outputs[&a_path("app").hash_part()].len(), 3);
    let there = decide(
        &world.policy,
        &evidence,
        &a_path("app").hash_part(),
        world.clock.now_s(),
    );
    assert_eq!(there.outcome, Outcome::Accepted, "{}", there.sentence);
    assert_eq!(there, world.decide("app").await);
}

#[tokio::test]
async fn evidence_of_an_equivocating_log_carries_the_proof() {
    let (mut world, [alice, _]) = two_logs_that_disagree().await;
    let honest = alice.checkpoint();
    alice.rewrite(&[b"another history"]);
    world.look_at_all().await;
    let request = pb::GetEvidenceRequest {
        paths: vec![a_path("app").to_string()],
        closure: false,
    };
    let answer = client(&world)
        .get_evidence(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.logs[0].state(), pb::LogState::Quarantined);
    let proof = answer.logs[0].equivocation.clone().unwrap();
    assert_eq!(
        (proof.first_checkpoint, proof.second_checkpoint),
        (alice.checkpoint(), honest)
    );
    // What it said is still there, for it counts as dissent.
    assert_eq!(answer.outputs[0].entries.len(), 3);
}

#[tokio::test]
async fn decisions_come_in_the_order_of_the_paths_in_any_spelling() {
    let (world, _) = two_logs_that_disagree().await;
    let (app, lib) = (a_path("app"), a_path("lib-3"));
    let paths = vec![
        lib.to_string(),
        absolute(&app),
        lib.hash_part().to_string(),
        a_path("nothing").to_string(),
    ];
    let answer = client(&world)
        .decide_many(pb::DecideManyRequest {
            paths,
            closure: false,
        })
        .await
        .unwrap()
        .into_inner();
    let decided: Vec<_> = answer
        .decisions
        .iter()
        .map(|decision| (decision.path.clone(), decision.outcome()))
        .collect();
    let (conflict, accepted, unknown) = (
        pb::Outcome::Conflict,
        pb::Outcome::Accepted,
        pb::Outcome::Unknown,
    );
    assert_eq!(
        decided[..3],
        [
            (absolute(&lib), conflict),
            (absolute(&app), accepted),
            (absolute(&lib), conflict)
        ]
    );
    assert_eq!(decided[3].1, unknown);
    let one = client(&world)
        .decide(pb::DecideRequest {
            path: absolute(&app),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(one.decision.as_ref(), answer.decisions.get(1));
}

#[tokio::test]
async fn disagreements_come_in_pages_and_can_be_filtered() {
    let (world, _) = two_logs_that_disagree().await;
    let mut client = client(&world);
    let (mut seen, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = pb::ListDisagreementsRequest {
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = client
            .list_disagreements(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.outputs.len() <= 3);
        seen.extend(page.outputs);
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut names: Vec<_> = seen
        .iter()
        .map(|output| output.store_path.clone())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), seen.len(), pages), (7, 7, 3));
    assert_eq!(seen[0].standing(), pb::Standing::Disagree);
    let mut said: Vec<_> = seen[0]
        .values
        .iter()
        .map(|value| value.builders.clone())
        .collect();
    said.sort();
    assert_eq!(said, [["alice"], ["bob"]]);

    let filtered = |name: &str, builder: &str| pb::ListDisagreementsRequest {
        name: name.to_owned(),
        builder: builder.to_owned(),
        ..Default::default()
    };
    let only = client
        .list_disagreements(filtered("b-4", "bob"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        only.outputs
            .iter()
            .map(|output| &output.store_path)
            .collect::<Vec<_>>(),
        [&absolute(&a_path("lib-4"))]
    );
    assert_eq!(
        client
            .list_disagreements(filtered("app", ""))
            .await
            .unwrap()
            .into_inner()
            .outputs,
        []
    );
    // A name that the policy no longer has is a filter that nothing passes, not an error.
    let unknown = client.list_disagreements(filtered("", "mallory")).await;
    assert_eq!(unknown.unwrap().into_inner().outputs, []);
}

#[tokio::test]
async fn search_finds_by_name_by_hash_part_and_by_path() {
    let (world, _) = two_logs_that_disagree().await;
    let mut client = client(&world);
    let mut found = async |query: &str, limit: u32| {
        let request = pb::SearchRequest {
            query: query.to_owned(),
            limit,
        };
        let outputs = client.search(request).await.unwrap().into_inner().outputs;
        outputs
            .into_iter()
            .map(|output| output.store_path)
            .collect::<Vec<_>>()
    };
    let app = a_path("app");
    assert_eq!(found("lib-", 0).await.len(), 7);
    assert_eq!(found("lib-", 2).await.len(), 2);
    for exact in [
        "app".to_owned(),
        app.hash_part().to_string(),
        app.to_string(),
        format!("  {}", absolute(&app)),
    ] {
        assert_eq!(found(&exact, 0).await, [absolute(&app)]);
    }
    assert_eq!(found("nothing", 0).await, [""; 0]);
    assert_eq!(found(a_path("nothing").as_str(), 0).await, [""; 0]);
}

#[tokio::test]
async fn the_overview_counts_outputs_by_how_they_stand() {
    let (world, _) = two_logs_that_disagree().await;
    let overview = client(&world)
        .get_overview(pb::GetOverviewRequest {})
        .await
        .unwrap()
        .into_inner();
    let expected = pb::GetOverviewResponse {
        outputs: 8,
        agree: 1,
        disagree: 7,
        one_builder: 0,
        now_s: world.clock.now_s(),
    };
    assert_eq!(overview, expected);
}

#[tokio::test]
async fn a_bad_argument_is_refused_by_name() {
    let (world, _) = two_logs_that_disagree().await;
    let mut client = client(&world);
    let invalid = |status: Status, begins: &str| {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(begins), "{}", status.message());
    };
    for path in [
        "",
        "hello",
        "/gnu/store/x",
        "../x",
        "/nix/store/",
        &"a".repeat(31),
        &"e".repeat(32),
    ] {
        let refused = client
            .decide(pb::DecideRequest {
                path: path.to_owned(),
            })
            .await
            .unwrap_err();
        invalid(refused, "path: ");
    }
    let paths = vec![a_path("app").to_string(), "x".to_owned()];
    invalid(
        client
            .decide_many(pb::DecideManyRequest {
                paths: paths.clone(),
                closure: false,
            })
            .await
            .unwrap_err(),
        "paths[1]: \"x\"",
    );
    let request = pb::GetEvidenceRequest {
        paths,
        closure: true,
    };
    invalid(
        client.get_evidence(request).await.unwrap_err(),
        "paths[1]: \"x\"",
    );
    let paths = vec![a_path("app").to_string(); 10_001];
    let refused = client
        .decide_many(pb::DecideManyRequest {
            paths,
            closure: false,
        })
        .await
        .unwrap_err();
    invalid(
        refused,
        "paths: 10001 were given, at most 10000 are allowed",
    );
    let request = pb::ListDisagreementsRequest {
        page_size: 501,
        ..Default::default()
    };
    invalid(
        client.list_disagreements(request).await.unwrap_err(),
        "page_size: 501 were asked for, at most 500",
    );
    let request = pb::ListDisagreementsRequest {
        page_token: "x".to_owned(),
        ..Default::default()
    };
    invalid(
        client.list_disagreements(request).await.unwrap_err(),
        "page_token: ",
    );
    let request = pb::SearchRequest {
        query: " ".to_owned(),
        limit: 0,
    };
    invalid(
        client.search(request).await.unwrap_err(),
        "query: it is empty",
    );
}

#[tokio::test]
async fn an_answer_beyond_its_bounds_is_refused_by_the_bound() {
    let log = FakeLog::start("alice").await;
    log.append(&[an_attestation().referring_to(&["a", "b", "c"]).bytes()]);
    let lines = policy(&log.line(&[]), 1, "alice", "closure");
    let few = AggregatorConfig {
        outputs_max: 3,
        ..config()
    };
    let mut world = World::with(lines, few, None);
    world.look_at_all().await;
    let request = || pb::GetEvidenceRequest {
        paths: vec![a_path("hello").to_string()],
        closure: true,
    };
    let refused = client(&world).get_evidence(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.message(),
        "the answer would have more than 3 outputs; ask for fewer paths at once"
    );
}

#[tokio::test]
async fn where_all_say_about_the_same_too_much_is_an_error_and_no_log_is_left_out() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    let names: Vec<String> = (0..100).map(|number| format!("lib-{number}")).collect();
    for name in &names {
        alice.append_without_checkpoint(&[an_attestation().of(name).bytes()]);
        bob.append_without_checkpoint(&[an_attestation().of(name).saying("B").bytes()]);
    }
    alice.append(&[an_attestation().bytes()]);
    bob.append(&[an_attestation().bytes()]);
    let lines = alice.line(&[]) + &bob.line(&[]);
    let small = AggregatorConfig {
        evidence_bytes_max: 50_000,
        ..config()
    };
    let mut world = World::with(policy(&lines, 2, "alice bob", "path"), small, None);
    world.look_at_all().await;
    let paths: Vec<String> = names.iter().map(|name| a_path(name).to_string()).collect();
    let request = pb::DecideManyRequest {
        paths: paths.clone(),
        closure: false,
    };
    let refused = client(&world).decide_many(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.message(),
        "the answer would have more than 50000 bytes; ask for fewer paths at once"
    );
    let request = pb::GetEvidenceRequest {
        paths,
        closure: false,
    };
    let as_evidence = client(&world).get_evidence(request).await.unwrap_err();
    assert_eq!(as_evidence.message(), refused.message());
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
}

#[tokio::test]
async fn events_reach_who_watches_and_who_falls_behind_is_told_and_dropped() {
    let (mut world, [alice, bob]) = two_logs_that_disagree().await;
    let mut client = client(&world);
    let mut events = client
        .watch_events(pb::WatchEventsRequest {})
        .await
        .unwrap()
        .into_inner();
    alice.append(&[an_attestation().bytes()]);
    bob.append(&[an_attestation().saying("B").bytes()]);
    world.look_at_all().await;
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(
        (event.kind(), event.subject),
        (pb::EventKind::Disagreement, absolute(&a_path("hello")))
    );

    // Nobody reads while more happens than is kept for a watcher.
    let subject = "x".repeat(4_096);
    for at_s in 0..4 * u64::try_from(WATCHER_BACKLOG).unwrap() {
        let event = Event {
            at_s,
            kind: EventKind::LogLive,
            subject: subject.clone(),
            message: String::new(),
        };
        world.aggregator.shared().events.tell(event);
    }
    let rest: Vec<_> = events.collect().await;
    let (last, before) = rest.split_last().unwrap();
    assert_eq!(last.as_ref().unwrap_err().code(), Code::DataLoss);
    assert!(before.iter().all(Result::is_ok));
}

/// Knows some content-addressed paths and counts what it is asked.
#[derive(Default)]
struct Content {
    known: BTreeMap<StorePath, Fingerprint>,
    asked: Mutex<Vec<StorePath>>,
}

impl ContentVerifier for Content {
    fn verify<'a>(
        &'a self,
        path: &'a StorePath,
    ) -> BoxFuture<'a, Result<Option<Fingerprint>, String>> {
        self.asked.lock().unwrap().push(path.clone());
        std::future::ready(Ok(self.known.get(path).cloned())).boxed()
    }
}

#[tokio::test]
async fn sources_that_nobody_voted_on_are_recomputed_from_their_content() {
    let log = FakeLog::start("alice").await;
    log.append(&[an_attestation().referring_to(&["src-1", "src-2"]).bytes()]);
    let facts = |name: &str, references: &[&str]| {
        let facts = an_attestation().of(name).referring_to(references).facts();
        (facts.path.clone(), facts)
    };
    let known = BTreeMap::from([
        facts("src-1", &["src-3"]),
        facts("src-2", &[]),
        facts("src-3", &[]),
    ]);
    let content = Arc::new(Content {
        known,
        ..Content::default()
    });
    let lines = policy(&log.line(&[]), 1, "alice", "closure");
    let mut world = World::with(lines, config(), Some(content.clone()));
    world.look_at_all().await;
    assert_eq!(world.outcome("hello").await, Outcome::Accepted);
    assert_eq!(world.outcome("src-2").await, Outcome::Accepted);
    assert_eq!(world.outcome("nothing").await, Outcome::Unknown);
    let asked = content.asked.lock().unwrap().clone();
    let mut distinct = asked.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4, "{asked:?}");
}

#[tokio::test]
async fn only_so_many_paths_are_recomputed_for_one_question() {
    let log = FakeLog::start("alice").await;
    let names: Vec<String> = (0..9).map(|number| format!("src-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    log.append(&[an_attestation().referring_to(&names).bytes()]);
    let known = names
        .iter()
        .map(|name| an_attestation().of(name).facts())
        .map(|facts| (facts.path.clone(), facts));
    let content = Arc::new(Content {
        known: known.collect(),
        ..Content::default()
    });
    let lines = policy(&log.line(&[]), 1, "alice", "closure");
    let mut world = World::with(
        lines,
        AggregatorConfig {
            content_checks: 5,
            ..config()
        },
        Some(content.clone()),
    );
    world.look_at_all().await;
    assert_eq!(world.outcome("hello").await, Outcome::BlockedBy);
    assert_eq!(content.asked.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn one_log_that_claims_endless_references_keeps_no_closure_from_being_decided() {
    let logs = [
        FakeLog::start("alice").await,
        FakeLog::start("bob").await,
        FakeLog::start("mallory").await,
    ];
    let names: Vec<String> = (0..50).map(|number| format!("junk-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let app = an_attestation().of("app").referring_to(&["lib"]);
    for log in &logs[..2] {
        log.append(&[app.bytes(), an_attestation().of("lib").bytes()]);
    }
    logs[2].append(&[an_attestation().of("app").referring_to(&names).bytes()]);
    let lines: String = logs.iter().map(|log| log.line(&[])).collect();
    let mut world = World::with(
        policy(&lines, 2, "alice bob mallory", "closure"),
        AggregatorConfig {
            outputs_max: 20,
            ..config()
        },
        None,
    );
    world.look_at_all().await;
    assert_eq!(world.outcome("app").await, Outcome::Accepted);
}

#[tokio::test]
async fn a_log_that_withholds_a_list_does_not_keep_others_from_being_asked_for_it() {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    let listed = an_attestation()
        .referring_to(&["lib"])
        .with_references_in_a_blob();
    // Alice names it first and has not got it; bob has it.
    alice.append(&[listed.bytes()]);
    bob.append(&[listed.clone().by(&nix_key("bob-1")).bytes()]);
    bob.put_blob(&listed.blob());
    let mut world = World::of(&[&alice, &bob]);
    assert!(world.look("alice").await);
    assert!(world.look("bob").await);
    let decision = world.decide("hello").await;
    assert_eq!(decision.accepted_facts(), Some(&listed.facts()));
}
