//! A resolver whose aggregator is elsewhere and leaves things out: it is believed, or with `complete` the logs are asked.
//! Without Nix: logs, the honest aggregator and the resolvers are processes; the hostile one stands between them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use quorix::demo::client::until;
use quorix::demo::process::Process;
use quorix::demo::world::{BuilderHost, UserHost, free_port};
use quorix_testkit::entries::{a_path, a_retraction_of, an_attestation, bytes_of};
use quorix_wire::pb;

use crate::completing::{decide, hides_bob, hides_retractions, hostile};
use crate::stage::{folder, quorix};
use crate::world::{get, submit, text, unwrapped};

/// A resolver in a process of its own, with an aggregator elsewhere.
struct Elsewhere {
    _process: Process,
    listen: SocketAddr,
}

impl Elsewhere {
    async fn start(user: &UserHost, name: &str, aggregator: &str, complete: bool) -> Self {
        let home = user.config.parent().unwrap().join(name);
        fs::create_dir(&home).unwrap();
        let (config, listen) = (home.join("quorix.toml"), free_port().unwrap());
        let key = user.config.parent().unwrap().join("resolver.key");
        let told = format!(
            "data_dir = \"{}\"\npolicy = \"{}\"\n[resolver]\nlisten = \"{listen}\"\nkey = \"{}\"\nsources = []\n\
             aggregator = \"{aggregator}\"\ncomplete = {complete}\n",
            text(&home.join("data")),
            text(&user.policy),
            text(&key),
        );
        fs::write(&config, told).unwrap();
        Self {
            _process: Process::serve(&quorix(), name, &config, &[listen])
                .await
                .unwrap(),
            listen,
        }
    }

    /// Status and text of the narinfo of the output of this name.
    async fn narinfo(&self, name: &str) -> (u16, String) {
        let url = format!(
            "http://{}/{}.narinfo",
            self.listen,
            a_path(name).hash_part()
        );
        let (status, text) = get(&url).await;
        (status, unwrapped(&text))
    }

    async fn assert_refused(&self, name: &str, reason: &str) {
        let (status, text) = self.narinfo(name).await;
        assert_eq!(status, 404, "{name}: {text}");
        assert!(text.contains(reason), "{name}: {text}");
    }

    async fn assert_served(&self, name: &str) {
        let (status, text) = self.narinfo(name).await;
        assert_eq!(status, 200, "{name}: {text}");
        assert!(text.starts_with("StorePath: /nix/store/"), "{text}");
    }
}

/// Alice and bob agree on `agreed` and `later`, and disagree about `hello`; alice withdrew what she said of `gone`.
async fn builders(dir: &Path) -> [BuilderHost; 2] {
    let create = |name| BuilderHost::create(dir, name, &quorix(), None).unwrap();
    let (mut alice, mut bob) = (create("alice"), create("bob"));
    let said = |name: &str, value: &str| an_attestation().of(name).saying(value).bytes();
    let gone = said("gone", "A");
    let both = [said("agreed", "A"), said("later", "A")];
    alice.start().await.unwrap();
    bob.start().await.unwrap();
    let retraction = bytes_of(&a_retraction_of(&[&gone]));
    submit(
        &alice,
        [&both[..], &[said("hello", "A"), gone, retraction]].concat(),
    )
    .await;
    submit(&bob, [&both[..], &[said("hello", "B")]].concat()).await;
    [alice, bob]
}

/// One of the two is enough, but for `agreed` and `later`, which need both.
fn rules(builders: &[BuilderHost; 2]) -> String {
    let rule = |name: &str| {
        format!(
            "rule {name} path=/nix/store/{} quorum=both level=path\n",
            a_path(name)
        )
    };
    let lines: String = builders.iter().map(BuilderHost::policy_line).collect();
    format!(
        "{lines}quorum none\nvoters one any alice bob\nvoters both all alice bob\n{}{}rule main quorum=one level=path\n\
         default main\n",
        rule("agreed"),
        rule("later"),
    )
}

/// Leaves out what bob says of `hello`, hides retractions, and says that all logs are well.
fn lies(answer: &mut pb::GetEvidenceResponse) {
    hides_retractions(answer);
    let hello = a_path("hello").hash_part().to_string();
    if answer
        .outputs
        .iter()
        .any(|output| output.hash_part == hello)
    {
        hides_bob(answer);
    }
    for log in &mut answer.logs {
        log.set_state(pb::LogState::Live);
    }
}

#[tokio::test]
async fn a_resolver_that_asks_the_logs_serves_nothing_by_what_an_aggregator_elsewhere_leaves_out() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = folder("quorix-e2e-elsewhere-");
    let mut builders = builders(&dir).await;
    let mut user = UserHost::create(&dir, "user", &quorix(), &rules(&builders), &[]).unwrap();
    user.start().await.unwrap();
    let honest = user.aggregator.to_string();
    until("the aggregator has read both logs", async || {
        let told = decide(&user, &honest, "hello", &[]).await.json();
        (told["outcome"] == "conflict").then_some(())
    })
    .await
    .unwrap();
    let liar = hostile(&user, lies).await;

    let believing = Elsewhere::start(&user, "believing", &liar, false).await;
    for name in ["hello", "gone", "agreed"] {
        believing.assert_served(name).await;
    }
    let asking = Elsewhere::start(&user, "asking", &liar, true).await;
    asking.assert_refused("hello", "builders disagree").await;
    asking.assert_refused("gone", "Refused:").await;
    asking.assert_served("agreed").await;
    let asking_who_is_honest = Elsewhere::start(&user, "honest", &honest, true).await;
    asking_who_is_honest.assert_served("agreed").await;

    // A log that is away shows nothing: that the aggregator calls it live adds no vote.
    let [_, bob] = &mut builders;
    bob.stop().await.unwrap();
    believing.assert_served("later").await;
    asking.assert_refused("later", "too few votes").await;
    asking
        .assert_refused("later", "nothing shows that all of it is there")
        .await;

    user.stop().await.unwrap();
    drop((believing, asking, asking_who_is_honest, builders, user));
    fs::remove_dir_all(dir).unwrap();
}
