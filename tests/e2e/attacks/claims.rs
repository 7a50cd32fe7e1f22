//! Entries that are well signed and say what they should not: to reach a weaker rule, to stand in another's place, or to
//! make those who agree look as if they did not.

use std::fs;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_testkit::entries::{Attestation, a_path, an_attestation, bytes_of};
use quorix_trust::attestation::{Build, Entry, Environment, References};
use quorix_trust::decision::Outcome;

use super::scene::{Scene, rule, says};
use crate::world::{run, text, unwrapped};

/// A build that is altered before it is signed.
fn altered(attested: &Attestation, alter: impl FnOnce(&mut Build)) -> Vec<u8> {
    let mut build = attested.build();
    alter(&mut build);
    bytes_of(&Entry::Build(Box::new(build)))
}

/// A build of these facts, which are consistent and not those of the output that `attested` names.
fn of_facts(attested: &Attestation, facts: &Fingerprint) -> Vec<u8> {
    altered(attested, |build| {
        build.claim.store_dir = facts.store_dir.clone();
        build.claim.path = facts.path.clone();
        build.claim.fingerprint = facts.digest();
        build.claim.references = References::Inline(facts.references.clone());
    })
}

#[tokio::test]
async fn nothing_that_a_builder_tells_reaches_a_weaker_rule_or_gets_around_a_stricter_one() {
    let guarded = a_path("guarded.drv");
    let exempt = StorePath::new(&a_path("elsewhere").hash_part(), "exempt").unwrap();
    let mut as_exempt = an_attestation().facts();
    as_exempt.path = exempt.clone();
    let untold = |name: &str| {
        altered(&an_attestation().of(name), |build| {
            build.derivation = None;
            build.system = String::new();
        })
    };
    let alice = vec![
        says("exempt", "A"),
        of_facts(&an_attestation(), &as_exempt),
        altered(&an_attestation().of("disguised"), |build| {
            build.derivation = Some((a_path("exempt.drv"), "out".to_owned()));
        }),
        untold("guarded-by-system"),
        untold("guarded-by-drv"),
        says("odd", "A"),
        says("plain", "A"),
    ];
    let rules = [
        "voters one any alice\nvoters both all alice bob\n",
        &rule("exempt", "quorum=one level=path"),
        &rule("disguised", "quorum=one level=path"),
        &rule("guarded-by-system", "quorum=one level=path"),
        &rule("guarded-by-drv", "quorum=one level=path"),
        &rule("odd", "quorum=one level=path"),
        &rule("plain", "quorum=one level=path"),
        "rule main quorum=both level=path\n\
         also by-name name=disguis* quorum=both level=path\n\
         also by-system system=riscv64-linux quorum=both level=path\n",
        &format!("also by-drv drv=/nix/store/{guarded} quorum=both level=path\n"),
        "also odd-ones when=(name == \"odd\" && 1/0 == 1) quorum=one level=path\ndefault main\n",
    ];
    let scene = Scene::of(&[("alice", alice), ("bob", Vec::new())], &rules.concat()).await;
    scene.assert("exempt", Outcome::Accepted, "exempt").await;
    let named_alike = scene.decide_path(&exempt).await;
    assert_eq!(
        (named_alike.outcome, named_alike.rule.name.as_str()),
        (Outcome::Insufficient, "main")
    );
    for name in ["disguised", "guarded-by-system", "guarded-by-drv"] {
        let decision = scene.decide(name).await;
        assert_eq!(
            decision.outcome,
            Outcome::Insufficient,
            "{name}: {decision:#?}"
        );
    }
    assert_eq!(scene.decide("odd").await.outcome, Outcome::Denied);
    // Who tells that it is of another system, and of another derivation, is asked for nothing more.
    scene.assert("plain", Outcome::Accepted, "plain").await;
}

#[tokio::test]
async fn two_paths_under_one_hash_and_another_store_directory_are_accepted_by_nobody() {
    let twin = StorePath::new(&a_path("one").hash_part(), "another").unwrap();
    let mut as_twin = an_attestation().of("one").facts();
    as_twin.path = twin.clone();
    let mut foreign = an_attestation().of("foreign").facts();
    foreign.store_dir = "/other/store".parse::<StoreDir>().unwrap();
    let both = vec![
        says("one", "A"),
        of_facts(&an_attestation(), &as_twin),
        of_facts(&an_attestation(), &foreign),
        says("known", "A"),
    ];
    let logs = [("alice", both.clone()), ("bob", both)];
    let rules = "voters both all alice bob\nrule main quorum=both level=path\ndefault main\n";
    let scene = Scene::of(&logs, rules).await;
    scene.assert("known", Outcome::Accepted, "main").await;
    scene.assert("one", Outcome::Conflict, "main").await;
    assert_eq!(scene.decide_path(&twin).await.outcome, Outcome::Conflict);
    let foreign = scene.assert("foreign", Outcome::Unknown, "main").await;
    assert_eq!(foreign.values, []);
}

#[tokio::test]
async fn builders_of_the_same_bytes_agree_however_each_of_them_tells_it() {
    let same = an_attestation().referring_to(&["glibc", "bash", "zlib"]);
    let listed = same.clone().with_references_in_a_blob();
    let told = altered(
        &same.clone().rebuilt().finished_at(1_700_000_000),
        |build| {
            build.derivation = Some((a_path("another.drv"), "lib".to_owned()));
            build.system = "aarch64-linux".to_owned();
            build.environment = Environment {
                nix_implementation: "lix".to_owned(),
                ..Environment::default()
            };
        },
    );
    let logs = [
        ("alice", vec![same.bytes()]),
        ("bob", vec![listed.bytes()]),
        ("carol", vec![told]),
        ("mallory", vec![same.saying("B").bytes()]),
    ];
    let rules =
        "voters three 3 alice bob carol mallory\nrule main quorum=three level=path\ndefault main\n";
    let scene = Scene::of(&logs, rules).await;
    let decision = scene.assert("hello", Outcome::Accepted, "main").await;
    assert_eq!(decision.values[0].voters, ["alice", "bob", "carol"]);
    assert_eq!(decision.values[0].fingerprint, listed.facts().digest());
    assert_eq!(decision.values[1].voters, ["mallory"]);
}

#[tokio::test]
async fn an_expression_that_is_huge_or_deep_or_loops_is_refused_by_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let line = quorix_testkit::entries::log_key("a.example/log");
    let check = async |expression: &str| {
        let policy = format!(
            "builder a {} https://a.example operator=a\nquorum none\nvoters one any a\nrule main quorum=one level=path\n\
             also odd when=({expression}) quorum=one level=path\ndefault main\n",
            line.verifier()
        );
        let file = dir.path().join("policy");
        fs::write(&file, policy).unwrap();
        run(&["policy", "check", text(&file)]).await
    };
    assert_eq!(check("name == \"hello\"").await.code, 0);
    let deep = |depth: usize| format!("{}true{}", "[".repeat(depth), "]".repeat(depth));
    for (expression, message) in [
        (
            format!("name == \"{}\"", "x".repeat(4 * 1024)),
            "the expression is larger than 4 KiB",
        ),
        (deep(33), "column"),
        (deep(1_900), "column"),
        ("[1, 2].all(x, x > 0)".to_owned(), "all"),
        (
            "[1, 2].map(x, [1, 2].map(y, x * y)).size() > 1".to_owned(),
            "map",
        ),
    ] {
        let refused = check(&expression).await;
        assert_eq!(refused.code, 2, "{expression:.40}: {}", refused.out);
        let said = unwrapped(&refused.err);
        assert!(said.contains("policy line 5, column"), "{said:.400}");
        assert!(said.contains(message), "{expression:.40}: {said:.400}");
    }
}
