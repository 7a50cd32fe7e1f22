//! What an output refers to and was built with: cycles, lies deep down, lists that are withheld, and inputs that nobody
//! else has.

use std::collections::BTreeMap;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::StorePath;
use quorix_testkit::entries::{Attestation, a_path, an_attestation, bytes_of};
use quorix_testkit::tree::{blob_id, naive_root};
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_trust::attestation::Entry;
use quorix_trust::decision::Outcome;
use quorix_wire::entry::{encode_inputs, input_line};

use super::scene::{Scene, rule};

type Inputs = BTreeMap<StorePath, FingerprintDigest>;

/// An attestation with a published list of inputs: its entry and its blob.
fn built_with(attested: &Attestation, inputs: &[&Attestation]) -> (Vec<u8>, Vec<u8>) {
    let inputs: Inputs = inputs
        .iter()
        .map(|input| (input.facts().path, input.facts().digest()))
        .collect();
    let leaf = |(path, value): (&StorePath, &FingerprintDigest)| {
        leaf_hash(input_line(path, value).as_bytes())
    };
    let leaves: Vec<Hash> = inputs.iter().map(leaf).collect();
    let blob = encode_inputs(&inputs);
    let mut build = attested.build();
    build.inputs_root = Some(match leaves.is_empty() {
        true => EMPTY_ROOT,
        false => naive_root(&leaves),
    });
    build.inputs_blob = Some(blob_id(&blob));
    (bytes_of(&Entry::Build(Box::new(build))), blob)
}

fn blob_path(blob: &[u8]) -> String {
    format!("blob/{}", Hash::from_bytes(blob_id(blob)).to_hex())
}

const BOTH: &str = "voters both all alice bob\n";

#[tokio::test]
async fn inputs_in_a_circle_and_inputs_that_nobody_else_has_are_not_accepted() {
    let one = |name: &str| an_attestation().of(name);
    let (egg, hen, gcc) = (one("egg"), one("hen"), one("gcc"));
    let trojan = gcc.clone().saying("T");
    let (good, bad, plain) = (one("good"), one("bad"), one("plain"));
    let builds = [
        built_with(&egg, &[&hen]),
        built_with(&hen, &[&egg]),
        built_with(&gcc, &[]),
        built_with(&good, &[&gcc]),
        built_with(&bad, &[&trojan]),
    ];
    let mut entries: Vec<Vec<u8>> = builds.iter().map(|(entry, _)| entry.clone()).collect();
    entries.push(plain.bytes());
    let rules = [
        BOTH,
        &rule("bad", "quorum=both level=resolved"),
        "rule main quorum=both level=build\ndefault main\n",
    ];
    let says = [("alice", entries.clone()), ("bob", entries)];
    let scene = Scene::not_followed_yet(&says, &format!("quorum none\n{}", rules.concat()));
    for log in &scene.logs {
        for (_, blob) in &builds {
            log.put(&blob_path(blob), blob);
        }
    }
    let scene = scene.started(&says).await;

    scene.assert("good", Outcome::Accepted, "main").await;
    for name in ["egg", "hen"] {
        let decision = scene.assert(name, Outcome::BlockedBy, "main").await;
        let last = decision.steps.last().unwrap();
        assert!(last.contains("refers back to"), "{last}");
    }
    // Both built the same bytes with a compiler whose bytes are not those that were accepted.
    let bad = scene.decide("bad").await;
    assert!(!bad.is_accepted(), "{}", bad.sentence);
    assert_eq!(bad.rule.name, "bad");
    // Who does not say what was built with does not vote where that is asked.
    scene.assert("plain", Outcome::Insufficient, "main").await;
}

#[tokio::test]
async fn cycles_and_lies_deep_down_and_withheld_lists_block_and_are_named() {
    let chain = |name: &str, next: &str| an_attestation().of(name).referring_to(&[next]).bytes();
    let listed = |name: &str, references: &[&str]| {
        let attested = an_attestation().of(name).referring_to(references);
        attested.with_references_in_a_blob()
    };
    let shown = listed("shown", &["leaf"]);
    let (withheld, forged) = (listed("withheld", &["a"]), listed("forged", &["b"]));
    let entries = |value: &str| {
        vec![
            chain("top", "middle"),
            chain("middle", "bottom"),
            an_attestation().of("bottom").saying(value).bytes(),
            chain("ring-1", "ring-2"),
            chain("ring-2", "ring-1"),
            an_attestation().of("leaf").bytes(),
            shown.bytes(),
            withheld.bytes(),
            forged.bytes(),
        ]
    };
    let says = [("alice", entries("A")), ("bob", entries("B"))];
    let rules = format!("quorum none\n{BOTH}rule main quorum=both\ndefault main\n");
    let scene = Scene::not_followed_yet(&says, &rules);
    for log in &scene.logs {
        log.put(&blob_path(&shown.blob()), &shown.blob());
        // A list without the reference that it should have, under the name of the list that has it.
        log.put(&blob_path(&forged.blob()), &shown.blob());
    }
    let scene = scene.started(&says).await;

    for name in ["top", "middle"] {
        let decision = scene.assert(name, Outcome::BlockedBy, "main").await;
        assert_eq!(
            decision.blocked_by,
            Some(a_path("bottom")),
            "{}",
            decision.sentence
        );
    }
    scene.assert("bottom", Outcome::Conflict, "main").await;
    for name in ["ring-1", "ring-2"] {
        scene.assert(name, Outcome::BlockedBy, "main").await;
    }
    scene.assert("leaf", Outcome::Accepted, "main").await;
    scene.assert("shown", Outcome::Accepted, "main").await;
    for name in ["withheld", "forged"] {
        let decision = scene.assert(name, Outcome::BlockedBy, "main").await;
        assert_eq!(
            decision.blocked_by,
            Some(a_path(name)),
            "{}",
            decision.sentence
        );
        assert_eq!(
            decision.values[0].voters,
            ["alice", "bob"],
            "the votes stand"
        );
    }
}
