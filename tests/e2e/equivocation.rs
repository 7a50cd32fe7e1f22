//! A log that shows two pasts: its database is replaced, and the key signs another tree. What it ever said still
//! counts as dissent, and it adds no vote again.

use std::fs;

use quorix_trust::decision::{OperatorState, Outcome};
use quorix_wire::pb::LogState;

use crate::world::{World, get, run, text, unwrapped};

/// Everything by which a log knows what it has signed, and where it is kept while the log has forgotten it. Where only a
/// part of it is put back the log does not start.
const PARTS: [(&str, &str); 3] = [
    ("log", "log.before"),
    ("log.anchor", "anchor.before"),
    ("log-index", "index.before"),
];

impl World {
    /// Takes alice's database away and starts her log again, empty, with the same key at the same address.
    async fn alice_forgets(&mut self) {
        let alice = self.builder("alice");
        alice.stop().await.unwrap();
        for (part, before) in PARTS {
            fs::rename(alice.data_dir.join(part), alice.data_dir.join(before)).unwrap();
        }
        // A key that has signed begins no log by itself: alice has to lie about it.
        let refused = run(&["serve", "--config", text(&alice.config)]).await;
        assert_eq!(refused.code, 3, "{}", refused.out);
        assert!(
            unwrapped(&refused.err).contains("there is no log here"),
            "{}",
            refused.err
        );
        let config = text(&alice.config);
        let lied = run(&["log", "adopt", "--confirm-size", "0", "--config", config]).await;
        assert_eq!(lied.code, 0, "{}", lied.err);
        alice.start().await.unwrap();
    }

    /// What alice's log forgot is put back, and what it said since is set aside.
    async fn alice_remembers(&mut self) {
        let alice = self.builder("alice");
        alice.stop().await.unwrap();
        for (part, before) in PARTS {
            let after = alice.data_dir.join(format!("{part}-after"));
            fs::rename(alice.data_dir.join(part), after).unwrap();
            fs::rename(alice.data_dir.join(before), alice.data_dir.join(part)).unwrap();
        }
        alice.start().await.unwrap();
    }

    /// What everybody can see of alice's equivocation.
    async fn assert_quarantined(&self) {
        let log = self.log_becomes("alice", LogState::Quarantined).await;
        assert_eq!(
            log.reason,
            "it signed two checkpoints that contradict each other"
        );

        let config = text(&self.user().config);
        let status = run(&["log", "status", "--config", config]).await;
        assert_eq!(status.code, 1);
        assert!(
            status.out.starts_with("2 of 3 logs are live.\n"),
            "{}",
            status.out
        );
        assert!(
            status
                .out
                .contains("quarantined: signed two contradicting checkpoints"),
            "{}",
            status.out
        );
        let status = run(&["log", "status", "--json", "--config", config]).await;
        assert_eq!(
            (status.code, &status.json()["logs"][0]["state"]),
            (1, &"quarantined".into())
        );

        let greeting = self.decide("greeting").await;
        assert!(greeting.is_accepted(), "{}", greeting.sentence);
        assert_eq!(greeting.operators[0].state, OperatorState::Quarantined);
        let sentence = "Accepted. bob and carol built the same bytes. alice does not count: the log of alice signed two contradicting checkpoints.";
        assert!(
            greeting.sentence.starts_with(sentence),
            "{}",
            greeting.sentence
        );
        let decided = run(&["decide", "--config", config, &self.absolute("greeting")]).await;
        assert_eq!(decided.code, 0);
        assert!(
            unwrapped(&decided.out).starts_with(sentence),
            "{}",
            decided.out
        );
        // Verified here rather than believed: the proof of equivocation travels with the evidence.
        let policy = text(&self.user().policy);
        let decided = run(&[
            "decide",
            "--config",
            config,
            "--policy",
            policy,
            &self.absolute("greeting"),
        ])
        .await;
        assert_eq!(decided.code, 0, "{}", decided.err);
        assert!(
            unwrapped(&decided.out).starts_with(sentence),
            "{}",
            decided.out
        );

        for page in ["/", "/logs/alice"] {
            let (status, html) = get(&format!("http://{}{page}", self.user().dashboard)).await;
            assert_eq!(status, 200);
            assert!(html.contains("quarantined"), "{page}: {html}");
        }
    }
}

#[tokio::test]
async fn a_log_that_signs_two_trees_of_one_size_stops_counting_and_everybody_can_see_it() {
    let mut world = World::with_user().await;
    assert!(world.decide("hello").await.is_accepted());
    let ran = world.install(&world.nix_client(), &["hello"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let first = world.attested("alice", 5).await;

    world.alice_forgets().await;
    let answer = world
        .attest("alice", &["alarm", "clock", "manual", "hello", "greeting"])
        .await;
    assert_eq!(answer.code, 0, "{}", answer.err);
    let second = world.attested("alice", 5).await;
    assert_ne!(first, second);
    world.assert_quarantined().await;

    // With alice's vote gone, bob is alone against carol.
    let hello = world.decide("hello").await;
    assert_eq!(hello.outcome, Outcome::Conflict, "{}", hello.sentence);
    world.narinfo_becomes("hello", 404).await;
    let late = world.nix_client();
    assert!(!world.install(&late, &["hello"]).await.is_success);
    assert!(!late.has(&world.path("hello")).await);

    for name in ["first", "second"] {
        let url = format!(
            "http://{}/logs/alice/{name}-checkpoint",
            world.user().dashboard
        );
        let (status, _) = get(&url).await;
        assert_eq!(status, 200, "{url}");
    }
    world.user_mut().kill().await.unwrap();
    world.user_mut().start().await.unwrap();
    world.log_becomes("bob", LogState::Live).await;
    world.log_becomes("carol", LogState::Live).await;
    world.assert_quarantined().await;
    world.alice_remembers().await;
    assert_eq!(world.attested("alice", 5).await, first);
    world.assert_quarantined().await;
}

#[tokio::test]
async fn a_larger_tree_that_does_not_contain_the_one_before_is_proved_from_its_own_hashes() {
    let mut world = World::with_silent_builders().await;
    for name in ["bob", "carol"] {
        world.note_builds(name);
        world.builder(name).start().await.unwrap();
        world.attested(name, 5).await;
    }
    world.builder("alice").start().await.unwrap();
    assert_eq!(
        world
            .attest("alice", &["greeting", "hello", "manual"])
            .await
            .code,
        0
    );
    let cache = world.honest_cache().await;
    let policy = world.policy_lines() + crate::world::TWO_OF_THREE;
    world.add_user(&policy, &[cache]).await;
    world.followed(3).await;

    world.alice_forgets().await;
    let answer = world
        .attest("alice", &["alarm", "clock", "manual", "hello", "greeting"])
        .await;
    assert_eq!(answer.code, 0, "{}", answer.err);
    world.assert_quarantined().await;
}

/// A backup that was put back is bad, but no lie: it must not be framed as one.
#[tokio::test]
async fn a_log_that_shows_an_earlier_state_is_stale_and_not_quarantined() {
    let mut world = World::with_user().await;
    world.alice_forgets().await;
    let log = world.log_becomes("alice", LogState::Stale).await;
    assert!(
        log.reason
            .contains("it shows an older checkpoint of 0 entries, and 5 were seen"),
        "{}",
        log.reason
    );
    let hello = world.decide("hello").await;
    assert!(!hello.is_accepted());

    world.alice_remembers().await;
    world.log_becomes("alice", LogState::Live).await;
    assert!(world.decide("hello").await.is_accepted());
}
