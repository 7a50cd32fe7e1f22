//! Aggregators elsewhere that invent: votes, whole logs, quarantines, and proofs with more or less in them than there is.
//! The program decides by itself what it is told, and believes none of it.

use quorix::demo::client::until;
use quorix_testkit::entries::{a_small_entry, an_attestation};
use quorix_testkit::tree::Grower;
use quorix_tlog::hash::leaf_hash;
use quorix_wire::pb;

use super::scene::Scene;
use crate::completing::{Lie, decide, hostile};

/// Everything that bob's log said, made to say what alice's says.
fn puts_alices_value_into_bobs_mouth(answer: &mut pb::GetEvidenceResponse) {
    let forged = an_attestation().bytes();
    for entry in entries(answer) {
        if entry.origin.starts_with("bob") {
            entry.entry.clone_from(&forged);
        }
    }
}

/// Alice's entry once more, as if it were bob's.
fn copies_alices_entry_to_bob(answer: &mut pb::GetEvidenceResponse) {
    for output in &mut answer.outputs {
        output.entries.retain(|one| !one.origin.starts_with("bob"));
        let mut copies: Vec<_> = output.entries.clone();
        for copy in &mut copies {
            "bob.example/log".clone_into(&mut copy.origin);
        }
        output.entries.extend(copies);
    }
}

/// Another log of which everything is in order but that the policy does not name it.
fn brings_strangers(answer: &mut pb::GetEvidenceResponse) {
    let known = answer.logs.first().cloned().unwrap_or_default();
    for number in 0..20 {
        let origin = format!("sybil-{number}.example/log");
        let entry = an_attestation().bytes();
        let head = Grower::new(&origin).grow(&[&entry]).head;
        answer.logs.push(pb::LogEvidence {
            origin: origin.clone(),
            checkpoint: head.checkpoint,
            ..known.clone()
        });
        for output in &mut answer.outputs {
            output.entries.push(pb::LoggedEntry {
                origin: origin.clone(),
                entry: entry.clone(),
                ..Default::default()
            });
        }
    }
}

/// A whole state of bob's log that his key did not sign.
fn signs_for_bob(answer: &mut pb::GetEvidenceResponse) {
    let entry = an_attestation().bytes();
    let forged = Grower::new("mallory.example/log").grow(&[&entry]).head;
    for log in &mut answer.logs {
        if log.origin.starts_with("bob") {
            log.checkpoint.clone_from(&forged.checkpoint);
        }
    }
    for one in entries(answer) {
        if one.origin.starts_with("bob") {
            one.entry.clone_from(&entry);
            one.index = 0;
            one.inclusion_proof.clear();
        }
    }
}

fn adds_a_hash(answer: &mut pb::GetEvidenceResponse) {
    for entry in entries(answer) {
        let surplus = leaf_hash(b"surplus").as_bytes().to_vec();
        entry.inclusion_proof.push(surplus);
    }
}

fn takes_the_proofs_away(answer: &mut pb::GetEvidenceResponse) {
    for entry in entries(answer) {
        entry.inclusion_proof.clear();
    }
}

fn cuts_the_hashes(answer: &mut pb::GetEvidenceResponse) {
    for hash in entries(answer).flat_map(|entry| &mut entry.inclusion_proof) {
        hash.truncate(31);
    }
}

fn points_out_of_range(answer: &mut pb::GetEvidenceResponse) {
    for entry in entries(answer) {
        entry.index = u64::MAX;
    }
}

fn points_at_the_next(answer: &mut pb::GetEvidenceResponse) {
    for entry in entries(answer) {
        entry.index += 1;
    }
}

fn empties_everything(answer: &mut pb::GetEvidenceResponse) {
    for entry in entries(answer) {
        entry.entry.clear();
    }
    for log in &mut answer.logs {
        log.checkpoint.clear();
    }
}

/// Says that alice contradicted herself, and shows nothing for it.
fn quarantines_alice(answer: &mut pb::GetEvidenceResponse) {
    let log = &mut answer.logs[0];
    log.state = pb::LogState::Quarantined.into();
    log.equivocation = None;
}

/// Says so, and shows two checkpoints of which only one is hers.
fn forges_proof_against_alice(answer: &mut pb::GetEvidenceResponse) {
    let log = &mut answer.logs[0];
    let other = Grower::new("mallory.example/log").grow(&[an_attestation().saying("B").bytes()]);
    log.state = pb::LogState::Quarantined.into();
    log.equivocation = Some(pb::Equivocation {
        first_checkpoint: log.checkpoint.clone(),
        second_checkpoint: other.head.checkpoint,
        consistency_proof: Vec::new(),
    });
}

fn entries(answer: &mut pb::GetEvidenceResponse) -> impl Iterator<Item = &mut pb::LoggedEntry> {
    let outputs = answer.outputs.iter_mut();
    outputs.flat_map(|output| &mut output.entries)
}

/// Alice and carol say A of `hello`, bob says B; `alone` is alice's alone.
async fn scene(rules: &str) -> Scene {
    let says = |value: &str, more: std::ops::Range<u64>| {
        let mut all: Vec<Vec<u8>> = more.map(a_small_entry).collect();
        all.insert(1, an_attestation().saying(value).bytes());
        all
    };
    let mut alice = says("A", 0..4);
    alice.push(an_attestation().of("alone").bytes());
    Scene::of(&[("alice", alice), ("bob", says("B", 4..9))], rules).await
}

#[tokio::test]
async fn an_aggregator_elsewhere_that_invents_votes_logs_or_proofs_adds_no_vote() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rules = "voters both all alice bob\nrule main quorum=both level=path\ndefault main\n";
    let scene = scene(rules).await;
    let ask = async |aggregator: &str, name: &str| {
        let ran = decide(&scene.host, aggregator, name, &[]).await;
        (ran.code, ran.json())
    };
    let honest = scene.host.aggregator.to_string();
    until("the honest aggregator answers", async || {
        let (_, told) = ask(&honest, "hello").await;
        (told["outcome"] == "conflict").then_some(())
    })
    .await
    .unwrap();
    let lies: [(&str, Lie); 10] = [
        ("another's value", puts_alices_value_into_bobs_mouth),
        ("a copy of an entry", copies_alices_entry_to_bob),
        ("strangers", brings_strangers),
        ("another's signature", signs_for_bob),
        ("a surplus hash", adds_a_hash),
        ("no proof", takes_the_proofs_away),
        ("short hashes", cuts_the_hashes),
        ("an index out of range", points_out_of_range),
        ("the next index", points_at_the_next),
        ("nothing", empties_everything),
    ];
    for (what, lie) in lies {
        let liar = hostile(&scene.host, lie).await;
        let (code, told) = ask(&liar, "hello").await;
        assert_eq!(code, 1, "{what}: {told}");
        assert_ne!(told["outcome"], "accepted", "{what}: {told}");
        // Bob is never counted for A: at most he is not heard.
        let values = told["values"].as_array().unwrap();
        for value in values {
            let voters = value["voters"].as_array().unwrap();
            assert!(voters.len() < 2, "{what}: {told}");
        }
        let (code, told) = ask(&liar, "alone").await;
        assert_eq!(code, 1, "{what}: {told}");
        assert_ne!(told["outcome"], "accepted", "{what}: {told}");
    }
}

#[tokio::test]
async fn an_aggregator_elsewhere_cannot_quarantine_a_log_without_proof() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rules = "voters one any alice\nrule main quorum=one level=path\ndefault main\n";
    let scene = scene(rules).await;
    for lie in [quarantines_alice as Lie, forges_proof_against_alice] {
        let liar = hostile(&scene.host, lie).await;
        let ran = decide(&scene.host, &liar, "alone", &[]).await;
        let told = ran.json();
        let alice = &told["operators"][0];
        assert_eq!(alice["operator"], "alice", "{told}");
        assert_ne!(alice["state"], "quarantined", "{told}");
    }
    let honest = scene.host.aggregator.to_string();
    let ran = decide(&scene.host, &honest, "alone", &[]).await;
    assert_eq!((ran.code, &ran.json()["outcome"]), (0, &"accepted".into()));
}
