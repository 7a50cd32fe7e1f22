//! Binary caches that sign one thing after another, say nothing, or are spoken for by a log, beside what a log says.

use std::fs;

use quorix_nix::signature::SecretKey;
use quorix_testkit::entries::{Attestation, a_retraction_of, an_attestation, bytes_of, nix_key};
use quorix_trust::attestation::Entry;
use quorix_trust::decision::{OperatorState, Outcome};

use super::scene::{Scene, operator};
use super::site::{Answer, Site, narinfo};

/// What a cache of this key answers for an output.
fn signed(attested: &Attestation, key: &SecretKey) -> String {
    let facts = attested.facts();
    narinfo(&facts, "nar/x.nar", vec![key.sign(&facts)])
}

fn put(site: &Site, attested: &Attestation, text: &str) {
    let path = attested.facts().path;
    site.put(&format!("{}.narinfo", path.hash_part()), text.as_bytes());
}

fn line(key: &SecretKey, site: &Site) -> String {
    format!(
        "cache main {} {} operator=example\n",
        key.public_key(),
        site.url
    )
}

const BOTH: &str = "voters both 2 alice example\n";

#[tokio::test]
async fn no_log_speaks_for_a_cache_and_what_a_cache_signed_before_is_dissent_until_it_is_disregarded()
 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = nix_key("cache-1");
    let site = Site::start().await;
    let of = |name: &str| an_attestation().of(name);
    // A signature over other facts, under the cache's name.
    let Entry::Observation(mut forged) = of("forged").saying("B").observed_by(&key) else {
        panic!("an observation")
    };
    forged.signature = key.sign(&of("forged").facts());
    let forged = bytes_of(&Entry::Observation(forged));
    let old = bytes_of(&of("old").saying("B").observed_by(&key));
    let taken_back = bytes_of(&a_retraction_of(&[&old]));
    let alice = vec![
        of("forged").bytes(),
        forged,
        of("old").bytes(),
        old,
        taken_back,
        of("told").referring_to(&["glibc", "bash"]).bytes(),
    ];
    for name in ["forged", "old"] {
        put(&site, &of(name), &signed(&of(name), &key));
    }
    // The same facts in other words: hashes of another form, another order, and lines that nobody knows.
    let told = of("told").referring_to(&["glibc", "bash"]);
    put(&site, &told, &in_other_words(&signed(&told, &key)));

    let rules = format!(
        "{}{BOTH}rule main quorum=both level=path\ndefault main\n",
        line(&key, &site)
    );
    let scene = Scene::of(&[("alice", alice)], &rules).await;
    let forged = scene.assert("forged", Outcome::Accepted, "main").await;
    assert_eq!(forged.values.len(), 1, "{:?}", forged.values);
    assert_eq!(forged.values[0].voters, ["alice", "example"]);
    scene.assert("told", Outcome::Accepted, "main").await;

    let contradicted = scene.assert("old", Outcome::Conflict, "main").await;
    let cache = operator(&contradicted, "example");
    assert_eq!(cache.state, OperatorState::Contradicted, "{}", cache.reason);
    let (path, digest) = (
        of("old").facts().path,
        of("old").saying("B").facts().digest(),
    );
    let policy = fs::read_to_string(&scene.host.policy).unwrap();
    let named = format!("disregard example /nix/store/{path} {digest}\ndefault main\n");
    fs::write(&scene.host.policy, policy.replace("default main\n", &named)).unwrap();
    quorix::demo::client::until("the policy is in force", async || {
        scene.decide("old").await.is_accepted().then_some(())
    })
    .await
    .unwrap();
}

/// The text of a narinfo as another program could have written it.
fn in_other_words(narinfo: &str) -> String {
    let mut lines: Vec<String> = narinfo.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some(hash) = line.strip_prefix("NarHash: ") {
            let hash: quorix_nix::hash::NarHash = hash.parse().unwrap();
            *line = format!("NarHash: sha256:{}", hex(hash.as_bytes()));
        } else if let Some(references) = line.strip_prefix("References: ") {
            let mut references: Vec<&str> = references.split(' ').collect();
            references.reverse();
            *line = format!("References: {}", references.join(" "));
        }
    }
    lines.push("X-Unknown: 1".to_owned());
    lines.reverse();
    lines.join("\n") + "\n"
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_silent_cache_delays_no_decision_beyond_its_budget_and_opens_no_fallback() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = nix_key("cache-1");
    let site = Site::start().await;
    site.everything(Answer::Endless);
    let rules = format!(
        "{}{BOTH}voters one any alice\nrule alone quorum=one level=path\n\
         rule main quorum=both level=path fallback=alone\ndefault main\n",
        line(&key, &site)
    );
    let names: Vec<String> = (0..8).map(|number| format!("output-{number}")).collect();
    let entries = names.iter().map(|name| an_attestation().of(name).bytes());
    let scene = Scene::of(&[("alice", entries.collect())], &rules).await;
    let started = tokio::time::Instant::now();
    for name in &names {
        scene.assert(name, Outcome::Insufficient, "main").await;
    }
    // Once for the budget of 5 s, and then it is left alone.
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(30), "{took:?}");
    // A cache that says that it has nothing is heard.
    let heard = Site::start().await;
    let policy = fs::read_to_string(&scene.host.policy).unwrap();
    fs::write(&scene.host.policy, policy.replace(&site.url, &heard.url)).unwrap();
    quorix::demo::client::until("the fallback is reached", async || {
        scene.decide(&names[0]).await.is_accepted().then_some(())
    })
    .await
    .unwrap();
}
