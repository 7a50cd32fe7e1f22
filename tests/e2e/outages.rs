//! What is served while a log or the aggregator is away: what can still be verified, and nothing else.

use std::fs;
use std::path::PathBuf;

use quorix::demo::process::Process;
use quorix::demo::world::free_port;
use quorix_trust::decision::{OperatorState, Outcome};
use quorix_wire::pb::LogState;

use crate::stage::quorix;
use crate::world::{TWO_OF_THREE, World, get, run, text, unwrapped};

/// The denominator there was the logs that answered: whoever cut the others off decided alone.
#[tokio::test]
async fn trustix_a_log_that_is_away_stays_in_the_denominator() {
    let mut world = World::with_user().await;
    world.builder("carol").stop().await.unwrap();
    world.log_becomes("carol", LogState::Stale).await;
    let hello = world.decide("hello").await;
    assert!(
        hello.is_accepted(),
        "two of three are still there: {}",
        hello.sentence
    );
    let carol = hello
        .operators
        .iter()
        .find(|one| one.operator == "carol")
        .unwrap();
    assert_eq!(
        (carol.state, carol.letters.len()),
        (OperatorState::Stale, 1),
        "her dissent is not forgotten"
    );
    let ran = world
        .install(&world.nix_client(), &["hello", "manual"])
        .await;
    assert!(ran.is_success, "{}", ran.err);

    world.builder("bob").stop().await.unwrap();
    world.log_becomes("bob", LogState::Stale).await;
    let body = world.narinfo_becomes("greeting", 404).await;
    assert!(
        unwrapped(&body).starts_with("Refused: too few votes. Only alice has built this."),
        "{body}"
    );
    assert!(
        unwrapped(&body).contains("bob does not count: "),
        "it says who is not heard: {body}"
    );
    world.narinfo_becomes("hello", 404).await;
    let late = world.nix_client();
    assert!(!world.install(&late, &["hello"]).await.is_success);
    assert!(!late.has(&world.path("hello")).await && !late.has(&world.path("greeting")).await);
    let status = run(&["log", "status", "--config", text(&world.user().config)]).await;
    assert_eq!(status.code, 1);
    assert!(
        status.out.starts_with("1 of 3 logs are live.\n"),
        "{}",
        status.out
    );

    for name in ["bob", "carol"] {
        world.builder(name).start().await.unwrap();
        world.log_becomes(name, LogState::Live).await;
    }
    world.narinfo_becomes("hello", 200).await;
    let ran = world
        .install(&world.nix_client(), &["hello", "manual"])
        .await;
    assert!(ran.is_success, "{}", ran.err);
    let status = run(&["log", "status", "--config", text(&world.user().config)]).await;
    assert_eq!(status.code, 0, "{}", status.out);
}

/// Aggregator and resolver as on two machines.
struct Apart {
    aggregator: PathBuf,
    resolver: PathBuf,
    asked: std::net::SocketAddr,
    substituter: std::net::SocketAddr,
    aggregates: Option<Process>,
    _resolves: Process,
}

impl Apart {
    async fn start(world: &World) -> (Self, String) {
        let (asked, substituter) = (free_port().unwrap(), free_port().unwrap());
        let dir = world.dir.display();
        let policy = world.dir.join("policy");
        fs::write(&policy, world.policy_lines() + TWO_OF_THREE).unwrap();
        let key = world.dir.join("apart.key");
        let made = run(&[
            "key",
            "generate",
            "--kind",
            "nix",
            "--name",
            "apart-1",
            text(&key),
        ])
        .await;
        assert_eq!(made.code, 0, "{}", made.err);
        let (aggregator, resolver) = (
            world.dir.join("aggregator.toml"),
            world.dir.join("resolver.toml"),
        );
        let text = format!(
            "data_dir = \"{dir}/aggregator\"\npolicy = \"{dir}/policy\"\n\
             [aggregator]\nlisten = \"{asked}\"\npoll_interval = \"200ms\"\nstale_after = \"2s\"\n"
        );
        fs::write(&aggregator, text).unwrap();
        let source = world.honest_cache().await;
        let text = format!(
            "data_dir = \"{dir}/resolver\"\npolicy = \"{dir}/policy\"\n\
             [resolver]\nlisten = \"{substituter}\"\nkey = \"{dir}/apart.key\"\nsources = [\"{source}\"]\naggregator = \"{asked}\"\n"
        );
        fs::write(&resolver, text).unwrap();
        // In this order the resolver also shows that it starts without an aggregator.
        let resolves = Process::serve(&quorix(), "resolver", &resolver, &[substituter])
            .await
            .unwrap();
        let apart = Self {
            aggregator,
            resolver,
            asked,
            substituter,
            aggregates: None,
            _resolves: resolves,
        };
        (apart, made.out.trim().to_owned())
    }

    async fn start_aggregator(&mut self) {
        let process =
            Process::serve(&quorix(), "aggregator", &self.aggregator, &[self.asked]).await;
        self.aggregates = Some(process.unwrap());
    }

    async fn narinfo_becomes(&self, world: &World, attribute: &str, status: u16) -> String {
        let url = format!(
            "http://{}/{}.narinfo",
            self.substituter,
            world.path(attribute).hash_part()
        );
        quorix::demo::client::until(&format!("{attribute} has status {status}"), async || {
            let (found, text) = get(&url).await;
            (found == status).then_some(text)
        })
        .await
        .unwrap()
    }

    async fn install(&self, world: &World, key: &str, attribute: &str) -> (bool, bool) {
        let client = world.nix_client();
        let (path, url) = (
            world.path(attribute),
            format!("http://{}", self.substituter),
        );
        let ran = client
            .nix
            .install(&client.store, &[&path], &url, key)
            .await
            .unwrap();
        (ran.is_success, client.has(&path).await)
    }
}

#[tokio::test]
async fn without_its_aggregator_a_resolver_serves_nothing() {
    let world = World::with_builders().await;
    let (mut apart, key) = Apart::start(&world).await;
    let unknown = "Could not find out whether this may be served: ";
    let body = apart.narinfo_becomes(&world, "hello", 503).await;
    assert!(body.starts_with(unknown), "{body}");
    assert_eq!(apart.install(&world, &key, "hello").await, (false, false));

    apart.start_aggregator().await;
    apart.narinfo_becomes(&world, "hello", 200).await;
    assert_eq!(apart.install(&world, &key, "hello").await, (true, true));

    apart.aggregates.take().unwrap().kill().await.unwrap();
    for attribute in ["greeting", "hello"] {
        let body = apart.narinfo_becomes(&world, attribute, 503).await;
        assert!(body.starts_with(unknown), "{body}");
    }
    assert_eq!(apart.install(&world, &key, "hello").await, (false, false));
    let decided = run(&[
        "decide",
        "--config",
        text(&apart.resolver),
        &world.absolute("hello"),
    ])
    .await;
    assert_eq!(decided.code, 3, "{}", decided.out);
    assert!(
        decided.err.contains(&format!("(asked at {})", apart.asked)),
        "{}",
        decided.err
    );

    apart.start_aggregator().await;
    apart.narinfo_becomes(&world, "hello", 200).await;
    assert_eq!(apart.install(&world, &key, "hello").await, (true, true));
}

/// A log without a head made every decision fail there, and one that could not be reached ended the process.
#[tokio::test]
async fn trustix_a_log_that_never_answered_spoils_no_decision_of_the_others() {
    let mut world = World::with_silent_builders().await;
    for name in ["alice", "bob"] {
        world.note_builds(name);
        world.builder(name).start().await.unwrap();
        world.attested(name, 5).await;
    }
    let (policy, cache) = (
        world.policy_lines() + TWO_OF_THREE,
        world.honest_cache().await,
    );
    world.add_user(&policy, &[cache]).await;
    let body = world.narinfo_becomes("hello", 200).await;
    assert!(body.contains("StorePath: "), "{body}");
    let carol = world.log("carol").await;
    assert_eq!((carol.state(), carol.indexed), (LogState::Stale, 0));
    assert_eq!(world.decide("alarm").await.outcome, Outcome::BlockedBy);
}
