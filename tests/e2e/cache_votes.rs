//! A binary cache of the policy votes by its signatures: one builder and the cache that a user has today are two
//! voters. And `mode=warn`: the stricter rule is computed and shown, today's is in force.

use std::fs;

use quorix::demo::caches;
use quorix_nix::signature::SecretKey;
use quorix_trust::decision::{OperatorState, Outcome};

use crate::world::{World, run, text};

/// A key of this name; another seed is another key.
fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed("cache.example.org-1".parse().unwrap(), [seed; 32])
}

impl World {
    /// Serves bob's builds as a cache signed with this key.
    async fn signed_cache(&self, key: &SecretKey, attributes: &[&str]) -> String {
        let (file, cache) = (self.dir.join("cache.key"), self.dir.join("signed-cache"));
        fs::write(&file, key.to_text()).unwrap();
        let paths = attributes
            .iter()
            .map(|attribute| self.stage.path(attribute));
        let settings = format!("compression=xz&secret-key={}", file.display());
        self.nix_client()
            .nix
            .export(&self.stage.store("bob"), paths, &cache, &settings)
            .await
            .unwrap();
        caches::serve(&cache).await.unwrap()
    }

    /// A user of that cache and of alice's log.
    async fn add_user_of_cache(&mut self, cache: &str, rules: &str) {
        let alice = self.builders[0].policy_line();
        let line = format!(
            "cache main {} {cache} operator=example\n",
            key(1).public_key()
        );
        let policy = format!("{alice}{line}quorum none\n{rules}");
        self.add_user(&policy, &[cache.to_owned()]).await;
        self.followed(5).await;
    }
}

const BOTH: &str =
    "voters both all alice example\nrule main quorum=both level=closure\ndefault main\n";

#[tokio::test]
async fn a_caches_signature_counts_as_its_operators_vote() {
    let mut world = World::with_builders().await;
    let cache = world.signed_cache(&key(1), &["hello", "clock"]).await;
    world.add_user_of_cache(&cache, BOTH).await;

    let decision = world.decide("hello").await;
    assert_eq!(
        decision.sentence,
        "Accepted. alice and example built the same bytes."
    );
    let clock = world.decide("clock").await;
    assert_eq!(
        clock.outcome,
        Outcome::Conflict,
        "a cache can disagree: {}",
        clock.sentence
    );

    let client = world.nix_client();
    let ran = world.install(&client, &["hello"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let (_, narinfo) = world.narinfo("hello").await;
    assert!(narinfo.contains("\nSig: cache.example.org-1:"), "{narinfo}");
}

#[tokio::test]
async fn a_signature_forged_under_a_caches_name_counts_for_nobody() {
    let mut world = World::with_builders().await;
    let cache = world.signed_cache(&key(2), &["hello"]).await;
    world.add_user_of_cache(&cache, BOTH).await;

    let decision = world.decide("hello").await;
    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert_eq!(
        decision.sentence,
        "Refused: too few votes. Only alice has built this. An agreeing vote by example would help. \
         example does not count: the cache main gave no answer that counts."
    );
    let example = decision
        .operators
        .iter()
        .find(|one| one.operator == "example")
        .unwrap();
    assert_eq!(
        (example.state, example.letters.len()),
        (OperatorState::Silent, 0)
    );
    let (status, body) = world.narinfo("hello").await;
    assert_eq!(status, 404, "{body}");
}

#[tokio::test]
async fn in_warn_mode_todays_cache_serves_and_the_stricter_rule_says_what_it_would_do() {
    let mut world = World::with_builders().await;
    let cache = world.signed_cache(&key(1), &["hello", "clock"]).await;
    let rules = "voters today 1 example\nvoters both all alice example\nrule today quorum=today level=path\n\
        rule main quorum=both level=closure mode=warn fallback=today\ndefault main\n";
    world.add_user_of_cache(&cache, rules).await;

    let agreed = world.decide("hello").await;
    assert!(agreed.is_accepted() && agreed.warned.unwrap().is_accepted());
    let clock = world.decide("clock").await;
    assert!(clock.is_accepted(), "{}", clock.sentence);
    assert!(
        clock
            .sentence
            .contains(" Rule main is in warn mode and would say: Refused: builders disagree. "),
        "{}",
        clock.sentence
    );
    let warned = clock.warned.unwrap();
    assert_eq!(
        (warned.outcome, warned.rule.name.as_str()),
        (Outcome::Conflict, "main")
    );
    assert_eq!(clock.rule.name, "today");

    let (code, json) = world.decide_json("clock").await;
    assert_eq!(
        (code, &json["outcome"], &json["warned"]["outcome"]),
        (0, &"accepted".into(), &"conflict".into())
    );
    let client = world.nix_client();
    let ran = world.install(&client, &["hello", "clock"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let bobs = world
        .stage
        .store("bob")
        .join("nix/store")
        .join(world.path("clock").as_str())
        .join("built");
    assert_eq!(
        client.read(&world.path("clock"), "built"),
        fs::read_to_string(bobs).unwrap()
    );

    let checked = run(&["policy", "check", text(&world.user().policy)]).await;
    assert_eq!(checked.code, 0);
    assert!(
        checked
            .out
            .contains("under rule `today` the word of `example` alone is enough"),
        "{}",
        checked.out
    );
}
