//! Which narinfos are served, and what a refusal says.

use std::time::Duration;

use axum::http::StatusCode;
use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::StoreDir;
use quorix_trust::decision::Outcome;
use quorix_trust::policy::Policy;

use super::fakes::{FakeCache, Reply};
use super::outputs::{Output, content_addressed, output};
use super::world::{
    TWO_OF_THREE, World, builder_key, cache_key, nar_path, narinfo_path, origin, policy,
    resolver_key,
};

#[tokio::test]
async fn an_accepted_output_is_described_by_its_voted_facts_and_signed_by_the_resolver_and_who_agrees()
 {
    let world = World::new(&[]);
    let (zlib, glibc) = (
        output("zlib-1.3", "zlib\n"),
        output("glibc-2.40", "glibc\n"),
    );
    let hello = output("hello-2.12", "hello\n").referring_to(&[&zlib, &glibc]);
    for one in [&zlib, &glibc, &hello] {
        world.attest(one, &["alice", "bob"]);
    }
    let answer = world.narinfo(&hello).await;
    let facts = hello.facts();
    let references: Vec<String> = facts.references.iter().map(ToString::to_string).collect();
    let expected = format!(
        "StorePath: /nix/store/{}\nURL: nar/{}.nar\nCompression: none\nFileHash: {}\nFileSize: 120\nNarHash: {}\n\
         NarSize: 120\nReferences: {}\nDeriver: {}\nSig: {}\nSig: {}\nSig: {}\n",
        hello.path,
        facts.nar_hash.nix32(),
        facts.nar_hash,
        facts.nar_hash,
        references.join(" "),
        quorix_testkit::entries::a_path("hello-2.12.drv"),
        resolver_key().sign(&facts),
        builder_key("alice").sign(&facts),
        builder_key("bob").sign(&facts),
    );
    assert_eq!(answer.text(), expected);
    let narinfo = NarInfo::parse(answer.text(), &StoreDir::default()).unwrap();
    assert_eq!(
        resolver_key().public_key().verify(
            &narinfo.fingerprint(&StoreDir::default()),
            &narinfo.signatures[0]
        ),
        Ok(())
    );
}

/// 2 of 3, and what was accepted stays in force for an hour while logs are merely stale.
fn with_grace() -> Policy {
    policy(&TWO_OF_THREE.replace("level=closure", "level=closure grace=1h"))
}

#[tokio::test]
async fn what_was_accepted_outlives_stale_logs_and_a_restart_for_the_grace_of_its_rule() {
    let world = World::with(with_grace(), &[], |_| {});
    let zlib = output("zlib-1.3", "zlib\n");
    let hello = output("hello-2.12", "hello\n").referring_to(&[&zlib]);
    let other = output("other-1", "other\n");
    for one in [&zlib, &hello, &other] {
        world.attest(one, &["alice", "bob"]);
    }
    world.narinfo(&hello).await.narinfo();
    world.clock.advance(600);
    world.aggregator.set_live(&origin("bob"), false);
    let answer = world.narinfo(&hello).await;
    answer.narinfo();
    // Its closure was accepted with it; what was never accepted has no grace.
    world.narinfo(&zlib).await.narinfo();
    let answer = world.narinfo(&other).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    assert!(answer.text().contains("too few votes"), "{}", answer.text());

    let world = world.restarted();
    world.clock.advance(2_990);
    world.narinfo(&hello).await.narinfo();
    // What grace kept in force was not accepted again by that.
    world.clock.advance(10);
    for one in [&hello, &zlib] {
        let answer = world.narinfo(one).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    }
    world.aggregator.set_live(&origin("bob"), true);
    world.clock.advance(10);
    world.narinfo(&hello).await.narinfo();
}

#[tokio::test]
async fn grace_outlives_neither_dissent_nor_another_policy() {
    let world = World::with(with_grace(), &[], |_| {});
    let (hello, zlib) = (
        output("hello-2.12", "hello\n"),
        output("zlib-1.3", "zlib\n"),
    );
    for one in [&hello, &zlib] {
        world.attest(one, &["alice", "bob"]);
        world.narinfo(one).await.narinfo();
    }
    world.aggregator.set_live(&origin("bob"), false);
    world.attest(&zlib.altered(), &["bob"]);
    world.clock.advance(10);
    world.narinfo(&hello).await.narinfo();
    let disputed = world.narinfo(&zlib).await;
    assert_eq!(
        disputed.status,
        StatusCode::NOT_FOUND,
        "{}",
        disputed.text()
    );

    let other = TWO_OF_THREE.replace("level=closure", "level=closure grace=2h");
    world.resolver.reload(policy(&other).into());
    let answer = world.narinfo(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    world.resolver.reload(with_grace().into());
    let answer = world.narinfo(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
}

#[tokio::test]
async fn another_policy_forgets_nothing_of_what_logs_have_shown() {
    let world = World::new(&[]);
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello, &["alice", "bob", "carol"]);
    world.attest(&output("later-1", "later\n"), &["alice", "bob"]);
    world.narinfo(&hello).await.narinfo();
    world.aggregator.go_back(&origin("alice"));
    world.aggregator.go_back(&origin("bob"));

    world.resolver.reload(policy(TWO_OF_THREE).into());
    let answer = world.narinfo(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    assert!(answer.text().contains("rollback"), "{}", answer.text());
}

#[tokio::test]
async fn every_refusal_is_a_404_that_says_why() {
    let world = World::new(&[]);
    let lonely = output("lonely-1", "lonely\n");
    world.attest(&lonely, &["alice"]);
    let contested = output("contested-1", "one\n");
    world.attest(&contested, &["alice"]);
    world.attest(&contested.altered(), &["bob"]);
    let blocked = output("blocked-1", "blocked\n").referring_to(&[&lonely]);
    world.attest(&blocked, &["alice", "bob", "carol"]);
    let unheard = output("unheard-1", "unheard\n");
    for (output, sentence) in [
        (
            &lonely,
            "Refused: too few votes. Only alice has built this.",
        ),
        (&contested, "Refused: builders disagree."),
        (&blocked, "lonely-1"),
        (&unheard, "Refused:"),
    ] {
        let answer = world.narinfo(output).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-store");
        // The first paragraph, which is wrapped.
        let first = answer.text().split("\n\n").next().unwrap();
        let first = first.replace('\n', " ");
        assert!(first.contains(sentence), "{}", answer.text());
        assert!(
            answer.text().contains("How it was decided:"),
            "{}",
            answer.text()
        );
        let nar = world.nar(output).await;
        assert_eq!(nar.status, StatusCode::NOT_FOUND, "{}", nar.text());
    }
}

#[tokio::test]
async fn two_honest_builders_win_over_a_tampered_one() {
    let world = World::new(&[]);
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello.altered(), &["alice"]);
    world.attest(&hello, &["bob", "carol"]);
    assert_eq!(world.narinfo(&hello).await.narinfo().nar_hash, hello.hash());
}

#[tokio::test]
async fn a_cache_votes_by_its_signature_and_its_signature_is_handed_on() {
    let rules = "voters enough 2 alice example\nrule main quorum=enough level=path\ndefault main\n";
    let world = World::with(policy(rules), &[], |_| {});
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello, &["alice"]);
    assert_eq!(world.narinfo(&hello).await.status, StatusCode::NOT_FOUND);
    world.aggregator.observe(hello.observed(&cache_key()));
    world.clock.advance(5);
    let signatures = world.narinfo(&hello).await.narinfo().signatures;
    let facts = hello.facts();
    let expected = [resolver_key(), builder_key("alice"), cache_key()].map(|key| key.sign(&facts));
    assert_eq!(signatures, expected);
}

/// A cache signs everything that it has, sources too, and its signature does not say which are content-addressed.
#[tokio::test]
async fn a_caches_vote_alone_keeps_no_content_addressed_path_from_proving_itself() {
    let rules =
        "voters enough 2 alice example\nrule main quorum=enough level=closure\ndefault main\n";
    let source = content_addressed("source.txt", "source\n", &[]);
    let hello = output("hello-2.12", "hello\n").referring_to(&[&source]);
    let cache = FakeCache::of(&[&hello, &source]).await;
    let world = World::with(policy(rules), &[&cache.url], |_| {});
    world.attest(&hello, &["alice"]);
    for signed in [&hello, &source] {
        world.aggregator.observe(signed.observed(&cache_key()));
    }
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
    assert_eq!(world.substitute(&source).await.body, source.nar);
}

#[tokio::test]
async fn an_aggregator_that_does_not_answer_is_no_decision_and_forgets_none_was_made() {
    let world = World::new(&[]);
    let (hello, other) = (
        output("hello-2.12", "hello\n"),
        output("other-1", "other\n"),
    );
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.narinfo(&hello).await.status, StatusCode::OK);
    world.aggregator.set_down(true);
    let answer = world.narinfo(&other).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (answer.header("retry-after"), answer.header("cache-control")),
        ("1", "no-store")
    );
    assert!(
        answer
            .text()
            .starts_with("Could not find out whether this may be served: the aggregator"),
        "{}",
        answer.text()
    );
    // Even what was accepted a moment ago, and its NAR.
    assert_eq!(
        world.narinfo(&hello).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        world.nar(&hello).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    world.aggregator.set_down(false);
    assert_eq!(world.narinfo(&hello).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_is_held_for_so_long_and_no_longer() {
    let world = World::with(policy(TWO_OF_THREE), &[], |config| {
        config.hold = Duration::from_millis(50)
    });
    world.aggregator.set_silent();
    let answer = world.narinfo(&output("hello-2.12", "hello\n")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.text().contains("still being fetched"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn whoever_asks_for_too_many_different_outputs_is_told_to_ask_again() {
    let world = World::with(policy(TWO_OF_THREE), &[], |config| {
        config.hold = Duration::from_millis(200);
        config.decisions_at_once = 2;
    });
    world.aggregator.set_silent();
    let outputs = ["one-1", "two-1", "three-1", "one-1"].map(|name| output(name, name));
    let answers = futures::future::join_all(outputs.iter().map(|output| world.narinfo(output)));
    let answers = answers.await;
    let why = ["still being fetched", "2 other outputs are being decided"];
    for (answer, why) in answers.iter().zip([why[0], why[0], why[1], why[0]]) {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "1");
        let text = answer.text().replace('\n', " ");
        assert!(text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn looking_for_what_nobody_knows_keeps_no_other_decision_waiting() {
    let hello = output("hello-2.12", "hello\n");
    let unknown: Vec<Output> = (0..8)
        .map(|number| output(&format!("unknown-{number}"), "?\n"))
        .collect();
    let silent = FakeCache::start().await;
    for one in &unknown {
        silent.set(&narinfo_path(one), Reply::Silence);
    }
    let world = World::new(&[&silent]);
    world.attest(&hello, &["alice", "bob"]);
    let mut refusals = futures::future::join_all(unknown.iter().map(|one| world.narinfo(one)));
    let served = world.narinfo(&hello);
    tokio::select! {
        biased;
        _ = &mut refusals => panic!("a decision waited for sources that it does not need"),
        answer = served => assert_eq!(answer.status, StatusCode::OK),
    }
}

/// Base in force, and a stricter rule that is only shown.
const TRIED_OUT: &str = "voters one 1 alice\nvoters enough 2 alice bob carol\n\
    rule base quorum=one level=path\n\
    rule strict quorum=enough level=closure mode=warn fallback=base\ndefault strict\n";

#[tokio::test]
async fn what_a_rule_would_decide_that_is_tried_out_is_shown_from_the_whole_closure() {
    let world = World::with(policy(TRIED_OUT), &[], |_| {});
    let leaf = output("leaf-1", "leaf\n");
    let top = output("top-1", "top\n").referring_to(&[&leaf]);
    for one in [&leaf, &top] {
        world.attest(one, &["alice", "bob"]);
    }
    let decision = world.resolver.decide(&top.path.hash_part()).await.unwrap();
    let outcomes = (
        decision.outcome,
        decision.warned.as_ref().map(|one| one.outcome),
    );
    assert_eq!(outcomes, (Outcome::Accepted, Some(Outcome::Accepted)));
    assert_eq!(closures_asked(&world), [false, true]);
}

#[tokio::test]
async fn without_the_closure_for_showing_the_rule_in_force_decides_all_the_same() {
    let world = World::with(policy(TRIED_OUT), &[], |_| {});
    let leaf = output("leaf-1", "leaf\n");
    let top = output("top-1", "top\n").referring_to(&[&leaf]);
    world.attest(&top, &["alice", "bob"]);
    world.aggregator.refuse_closures();
    let decision = world.resolver.decide(&top.path.hash_part()).await.unwrap();
    let outcomes = (
        decision.outcome,
        decision.warned.as_ref().map(|one| one.outcome),
    );
    assert_eq!(outcomes, (Outcome::Accepted, Some(Outcome::BlockedBy)));
    assert_eq!(closures_asked(&world), [false, true, false]);
}

fn closures_asked(world: &World) -> Vec<bool> {
    let asked = world.aggregator.questions();
    asked.into_iter().map(|(_, closure)| closure).collect()
}

#[tokio::test]
async fn a_lost_quorum_is_a_404_for_narinfo_and_nar_once_the_decision_is_too_old() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
    world.aggregator.set_live(&origin("bob"), false);
    world.clock.advance(4);
    assert_eq!(world.nar(&hello).await.status, StatusCode::OK);
    world.clock.advance(1);
    for path in [narinfo_path(&hello), nar_path(&hello)] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(
            answer
                .text()
                .starts_with("Refused: too few votes. Only alice has built this."),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_decision_from_the_future_is_not_used() {
    let world = World::new(&[]);
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.narinfo(&hello).await.status, StatusCode::OK);
    world.aggregator.set_live(&origin("bob"), false);
    world.clock.set(world.clock.now_s() - 3600);
    assert_eq!(world.narinfo(&hello).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_closure_is_asked_for_once_for_all_of_its_narinfos() {
    let cache = FakeCache::start().await;
    let world = World::new(&[&cache]);
    let leaves: Vec<Output> = (0..20)
        .map(|number| output(&format!("leaf-{number}"), "leaf\n"))
        .collect();
    let top = output("top-1", "top\n").referring_to(&leaves.iter().collect::<Vec<_>>());
    for one in leaves.iter().chain([&top]) {
        world.attest(one, &["alice", "bob"]);
    }
    assert_eq!(world.narinfo(&top).await.status, StatusCode::OK);
    let asked = world.aggregator.questions();
    assert_eq!(
        asked
            .iter()
            .map(|(_, closure)| *closure)
            .collect::<Vec<_>>(),
        [false, true]
    );
    for leaf in &leaves {
        assert_eq!(world.narinfo(leaf).await.status, StatusCode::OK);
    }
    assert_eq!(world.aggregator.questions(), []);
    // What has its votes is not looked for at the sources.
    assert_eq!(cache.requests(), Vec::<String>::new());
    world.clock.advance(5);
    assert_eq!(world.narinfo(&leaves[0]).await.status, StatusCode::OK);
    assert_eq!(world.aggregator.questions().len(), 1);
}

#[tokio::test]
async fn what_an_aggregator_with_another_policy_did_not_follow_is_asked_for_by_name() {
    let world = World::new(&[]);
    let leaves = ["leaf-1", "leaf-2"].map(|name| output(name, name));
    let middle = output("middle-1", "middle\n").referring_to(&[&leaves[0], &leaves[1]]);
    let top = output("top-1", "top\n").referring_to(&[&middle]);
    for one in [&leaves[0], &leaves[1], &middle, &top] {
        world.attest(one, &["alice", "bob"]);
    }
    world
        .aggregator
        .follow_no_further_to(&[&leaves[0], &leaves[1], &middle]);
    assert_eq!(world.narinfo(&top).await.status, StatusCode::OK);
    let asked = world.aggregator.questions();
    let asked: Vec<usize> = asked.iter().map(|(paths, _)| paths.len()).collect();
    assert_eq!(asked, [1, 1, 2, 4]);
}

#[tokio::test]
async fn completing_an_answer_that_leaves_everything_out_ends() {
    let world = World::new(&[]);
    let mut chain = vec![output("link-0", "link\n")];
    for number in 1..30 {
        let next = output(&format!("link-{number}"), "link\n").referring_to(&[&chain[number - 1]]);
        chain.push(next);
    }
    for link in &chain {
        world.attest(link, &["alice", "bob"]);
    }
    world
        .aggregator
        .follow_no_further_to(&chain.iter().collect::<Vec<_>>());
    let answer = world.narinfo(&chain[29]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    assert_eq!(world.aggregator.questions().len(), 2 + 8);
}

#[tokio::test]
async fn junk_references_of_a_minority_keep_no_blocked_decision_from_being_remembered() {
    let world = World::new(&[]);
    let (lonely, junk) = (output("lonely-1", "lonely\n"), output("junk-1", "junk\n"));
    let middle = output("middle-1", "middle\n").referring_to(&[&lonely]);
    let top = output("top-1", "top\n").referring_to(&[&middle]);
    world.attest(&lonely, &["alice"]);
    for one in [&middle, &top] {
        world.attest(one, &["alice", "bob"]);
    }
    world.attest(&top.altered().referring_to(&[&junk]), &["carol"]);
    world.aggregator.follow_no_further_to(&[&junk]);
    assert_eq!(world.narinfo(&top).await.status, StatusCode::NOT_FOUND);
    world.aggregator.questions();
    let answer = world.narinfo(&middle).await;
    assert!(answer.text().contains("lonely-1"), "{}", answer.text());
    assert_eq!(world.aggregator.questions(), []);
}

#[tokio::test]
async fn a_hundred_requests_for_one_output_are_one_question() {
    let world = World::new(&[]);
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello, &["alice", "bob"]);
    let answers = futures::future::join_all((0..100).map(|_| world.narinfo(&hello))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(world.aggregator.questions().len(), 1);
}

#[tokio::test]
async fn a_deriver_that_does_not_fit_or_that_builders_disagree_on_is_left_out() {
    let world = World::new(&[]);
    let (first, second) = (output("first-1", "first\n"), output("second-1", "second\n"));
    for builder in ["alice", "bob"] {
        world.aggregator.append(
            &origin(builder),
            first.built_from("other-1.drv", &builder_key(builder)),
        );
    }
    world.aggregator.append(
        &origin("alice"),
        second.built_from("second-1.drv", &builder_key("alice")),
    );
    world.aggregator.append(
        &origin("bob"),
        second.built_from("mirror-2.drv", &builder_key("bob")),
    );
    assert_eq!(world.narinfo(&first).await.narinfo().deriver, None);
    assert_eq!(world.narinfo(&second).await.narinfo().deriver, None);
}

#[tokio::test]
async fn decisions_are_counted_by_outcome() {
    let world = World::new(&[]);
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello, &["alice", "bob"]);
    world.narinfo(&hello).await;
    world.narinfo(&output("unheard-1", "unheard\n")).await;
    let metrics = world.metrics();
    for line in [
        "decisions_total{outcome=\"accepted\"} 1",
        "decisions_total{outcome=\"unknown\"} 1",
        "answers_total{status=\"200\"} 1",
    ] {
        assert!(
            metrics.contains(&format!("quorix_resolver_{line}")),
            "{metrics}"
        );
    }
}
