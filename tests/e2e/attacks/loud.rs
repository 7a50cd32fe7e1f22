//! A log that says more of one output than an answer of a running aggregator holds, names a system in every entry, or makes
//! thousands of outputs change how they stand; and somebody who has a log read more at once than it should.

use std::collections::BTreeSet;
use std::fs;

use quorix::demo::client::until;
use quorix::demo::world::BuilderHost;
use quorix_testkit::entries::{an_attestation, bytes_of};
use quorix_tlog::index::proven;
use quorix_trust::attestation::Entry;
use quorix_trust::decision::{OperatorState, Outcome};
use quorix_wire::channel;
use quorix_wire::pb;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use quorix_wire::pb::{EventKind, LogState};
use tonic::transport::Channel;

use super::scene::{Scene, operator, rule, says};
use crate::completing;
use crate::following::becomes;
use crate::stage::quorix;
use crate::world::{covered, submit};

/// So many statements of one value, of 55 kB each by the long names that they refer to.
pub(super) fn at_length(name: &str, count: u64) -> Vec<Vec<u8>> {
    let names: Vec<String> = (0..300).map(|number| format!("{number:0>150}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let one = an_attestation().of(name).saying("B").referring_to(&names);
    let statement = |number: u64| one.clone().finished_at(1_767_000_000 + number).bytes();
    (0..count).map(statement).collect()
}

#[tokio::test]
async fn a_log_that_says_more_than_an_answer_holds_silences_nobody_and_opens_no_fallback() {
    let flood = at_length("hello", 930);
    let bytes: usize = flood.iter().map(Vec::len).sum();
    assert!(bytes > 48 << 20, "{bytes}");
    let hello = vec![an_attestation().bytes()];
    let logs = [("alice", hello.clone()), ("bob", hello), ("mallory", flood)];
    let others = "voters honest all alice bob\n";
    let main = "rule main quorum=honest level=path\ndefault main\n";
    let rules = format!(
        "{others}{}{main}",
        rule("hello", "quorum=honest level=path")
    );
    let scene = Scene::of(&logs, &rules).await;
    let heard = scene.assert("hello", Outcome::Accepted, "hello").await;
    assert_eq!(heard.values[0].voters, ["alice", "bob"]);
    let mallory = operator(&heard, "mallory");
    assert_eq!(mallory.state, OperatorState::Stale, "{}", mallory.reason);
    let reason = "the log of mallory is stale: it said too much about what was asked";
    assert_eq!(mallory.reason, reason);
    assert_eq!(mallory.letters.len(), 1, "once is enough to dissent");
    // Whoever decides by itself gets an answer that it can take, and decides the same.
    let honest = scene.host.aggregator.to_string();
    let there = completing::decide(&scene.host, &honest, "hello", &[]).await;
    assert_eq!(
        (there.code, &there.json()["outcome"]),
        (0, &"accepted".into())
    );

    // Where it is asked, what it did counts for nobody who would profit from its silence.
    let policy = fs::read_to_string(&scene.host.policy).unwrap();
    let builders = policy.split("quorum none\n").next().unwrap();
    let stricter = [
        "voters honest all alice bob\nvoters with-her all alice mallory\nvoters she any mallory\n\
         rule alone quorum=honest level=path\n",
        &rule("hello", "quorum=honest veto=she level=path"),
        main,
    ];
    let in_force = async |rules: &str, outcome: Outcome| {
        fs::write(
            &scene.host.policy,
            format!("{builders}quorum none\n{rules}"),
        )
        .unwrap();
        until("the decision is another", async || {
            (scene.decide("hello").await.outcome == outcome).then_some(())
        })
        .await
        .unwrap();
    };
    in_force(&stricter.concat(), Outcome::Vetoed).await;
    let fallback = stricter.concat().replace(
        "quorum=honest veto=she level=path",
        "quorum=with-her level=path fallback=alone",
    );
    in_force(&fallback, Outcome::Conflict).await;
    scene.assert("hello", Outcome::Conflict, "hello").await;
}

#[tokio::test]
async fn sixty_four_entries_of_large_bundles_are_answered_in_parts_by_a_running_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    alice.start().await.unwrap();
    let all = at_length("hello", 976);
    let bytes: usize = all.iter().map(Vec::len).sum();
    assert!(
        bytes > 48 << 20,
        "four bundles, of which one request reads 32 MiB and what it has begun: {bytes}"
    );
    for part in all.chunks(176) {
        submit(&alice, part.to_vec()).await;
    }
    covered(&alice, 976).await;
    // From all four bundles in turn, as somebody would ask who wants each of them read often.
    let mut wanted: BTreeSet<u64> = (0..64).map(|number| number % 4 * 256 + number).collect();
    assert_eq!(wanted.len(), 64);
    let mut asked = 0;
    while !wanted.is_empty() {
        let list: Vec<String> = wanted.iter().map(u64::to_string).collect();
        let url = format!("{}/index/entries/976/{}", alice.url(), list.join(","));
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.status(), 200);
        let given = proven::parse(&answer.bytes().await.unwrap()).unwrap();
        assert!(!given.is_empty() && given.len() <= wanted.len());
        for one in given {
            let at = usize::try_from(one.index).unwrap();
            assert_eq!(one.entry, all[at]);
            assert!(wanted.remove(&one.index), "{} was asked for", one.index);
        }
        asked += 1;
    }
    assert_eq!(asked, 2, "each bundle was read once, and not all at once");
    alice.stop().await.unwrap();
}

/// The service of a scene that tells what was counted and what happened.
fn asked(scene: &Scene) -> FollowServiceClient<Channel> {
    let address = scene.host.aggregator.to_string().parse().unwrap();
    FollowServiceClient::new(channel::connect(&address).unwrap())
}

/// Rules under which two of three votes are enough.
const TWO: &str = "voters two 2 alice bob carol\nrule main quorum=two level=path\ndefault main\n";

#[tokio::test]
async fn a_log_that_names_a_new_system_in_every_entry_takes_no_more_than_the_rows_of_a_day() {
    let of_system = |number: u64| {
        let mut build = an_attestation().of(&format!("output-{number}")).build();
        build.system = format!("system-{number:04}");
        bytes_of(&Entry::Build(Box::new(build)))
    };
    let mallory: Vec<_> = (0..1_000).map(of_system).collect();
    let honest = vec![an_attestation().bytes()];
    let logs = [("alice", honest.clone()), ("bob", honest)];
    let mut scene = Scene::of(&[&logs[..], &[("carol", Vec::new())]].concat(), TWO).await;
    scene.log("carol").append(&mallory);
    becomes(&scene.host, "carol", |log| log.indexed == 1_000).await;
    let tallies = asked(&scene).get_tallies(pb::GetTalliesRequest {}).await;
    let days = tallies.unwrap().into_inner().days;
    // Around midnight the honest ones may be of the day before.
    assert!((65..=66).contains(&days.len()), "{}", days.len());
    let all = |count: fn(&pb::DayTally) -> u64| days.iter().map(count).sum::<u64>();
    assert_eq!(
        all(|row| row.agree),
        1,
        "what others say is counted as ever"
    );
    assert_eq!(all(|row| row.one_builder), 1_000, "nothing is left out");
    let others = days.iter().find(|row| row.system == "(others)");
    assert!(others.is_some_and(|row| row.one_builder >= 936), "{days:?}");
}

/// Waits until something is told of this log in these words, and gives all that is told.
async fn told(scene: &Scene, log: &str, words: &str) -> Vec<pb::Event> {
    until("the event is told", async || {
        let told = asked(scene).list_events(pb::ListEventsRequest {}).await;
        let events = told.ok()?.into_inner().events;
        let is = |event: &pb::Event| event.subject == log && event.message.contains(words);
        events.iter().any(is).then_some(events)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn outputs_that_change_how_they_stand_by_the_thousand_drown_no_other_event() {
    let all = |value: &str| -> Vec<Vec<u8>> {
        let of = |number: u64| says(&format!("output-{number}"), value);
        (0..2_000).map(of).collect()
    };
    let logs = [
        ("alice", all("A")),
        ("bob", Vec::new()),
        ("carol", Vec::new()),
    ];
    let mut scene = Scene::of(&logs, TWO).await;
    scene.cut("carol").await;
    told(&scene, "carol", "adds no votes for now").await;
    scene.log("bob").append(&all("B"));
    let events = told(&scene, "bob", "1936").await;
    let of = |kind: EventKind| events.iter().filter(move |event| event.kind() == kind);
    assert_eq!(of(EventKind::Disagreement).count(), 64 + 1);
    let stale: Vec<_> = of(EventKind::LogStale)
        .map(|event| &event.subject)
        .collect();
    assert_eq!(stale, ["carol"]);
    let log = becomes(&scene.host, "bob", |log| log.state() == LogState::Live).await;
    assert_eq!(log.indexed, 2_000);
}
