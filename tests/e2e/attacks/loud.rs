//! A log that says more of one output than an answer of a running aggregator holds, and somebody who has a log read
//! more at once than it should.

use std::collections::BTreeSet;
use std::fs;

use quorix::demo::client::until;
use quorix::demo::world::BuilderHost;
use quorix_testkit::entries::an_attestation;
use quorix_tlog::index::proven;
use quorix_trust::decision::{OperatorState, Outcome};

use super::scene::{Scene, operator, rule};
use crate::completing;
use crate::stage::quorix;
use crate::world::{covered, submit};

/// So many statements of one value, of 55 kB each by the long names that they refer to.
fn at_length(name: &str, count: u64) -> Vec<Vec<u8>> {
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
