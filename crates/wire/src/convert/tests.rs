//! Round trips, and messages that say nothing valid.

use std::collections::BTreeSet;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_testkit::entries::a_path;
use quorix_trust::decision::{
    Decision, OperatorState, OperatorView, OtherName, Outcome, RuleView, SourceView, ValueView,
};

use super::*;

fn a_decision() -> Decision {
    let facts = Fingerprint {
        store_dir: StoreDir::default(),
        path: a_path("hello"),
        nar_hash: NarHash::from_bytes([1; 32]),
        nar_size: 120,
        references: BTreeSet::from([a_path("glibc")]),
    };
    let fingerprint = facts.digest();
    Decision {
        store_dir: StoreDir::default(),
        asked: a_path("hello").hash_part(),
        path: Some(a_path("hello")),
        outcome: Outcome::Accepted,
        sentence: "Accepted. alice built these bytes.".to_owned(),
        rule: RuleView {
            name: "main".to_owned(),
            line: 7,
            text: "rule\tmain".to_owned(),
        },
        values: vec![ValueView {
            letter: "A".to_owned(),
            fingerprint,
            facts: Some(facts),
            voters: vec!["alice".to_owned()],
        }],
        operators: vec![OperatorView {
            operator: "alice".to_owned(),
            state: OperatorState::Votes,
            letters: vec!["A".to_owned()],
            sources: vec![SourceView {
                letter: "A".to_owned(),
                name: "alice".to_owned(),
                leaf: Some(("logs.example.org/alice".to_owned(), 3, 9)),
                ..SourceView::default()
            }],
            reason: String::new(),
        }],
        steps: vec!["1 of 1 agree".to_owned()],
        accepted: Some(fingerprint),
        blocked_by: None,
        missing: vec![],
        other_names: vec![OtherName {
            path: StorePath::new(&a_path("hello").hash_part(), "goodbye").unwrap(),
            operators: vec!["bob".to_owned()],
            is_self_verified: true,
        }],
        warned: None,
        fallen_from: None,
        valid_until_s: None,
    }
}

#[test]
fn a_decision_is_read_back_as_it_was_written() {
    let mut decision = a_decision();
    decision.fallen_from = Some(Box::new(a_decision()));
    decision.warned = Some(Box::new(Decision {
        outcome: Outcome::BlockedBy,
        blocked_by: Some(a_path("glibc")),
        valid_until_s: Some(1_767_225_600),
        ..a_decision()
    }));
    assert_eq!(
        Decision::try_from(pb::Decision::from(&decision)),
        Ok(decision)
    );
    let unknown = Decision {
        path: None,
        values: vec![],
        accepted: None,
        outcome: Outcome::Unknown,
        ..a_decision()
    };
    assert_eq!(
        Decision::try_from(pb::Decision::from(&unknown)),
        Ok(unknown)
    );
}

#[test]
fn a_hostile_decision_is_an_error_and_never_a_panic() {
    let changed = |change: fn(&mut pb::Decision)| {
        let mut message = pb::Decision::from(&a_decision());
        change(&mut message);
        Decision::try_from(message).unwrap_err()
    };
    for outcome in [0, 10, -1, i32::MIN] {
        let message = pb::Decision {
            outcome,
            ..pb::Decision::from(&a_decision())
        };
        assert_eq!(
            Decision::try_from(message),
            Err(ConvertError::unknown("decision.outcome", outcome))
        );
    }
    assert_eq!(changed(|m| m.store_dir.clear()).field, "decision.store_dir");
    assert_eq!(
        changed(|m| m.path = "/etc/passwd".to_owned()).field,
        "decision.path"
    );
    assert_eq!(
        changed(|m| m.accepted = vec![0; 33]).field,
        "decision.accepted"
    );
    assert_eq!(
        changed(|m| m.blocked_by = "x".to_owned()).field,
        "decision.blocked_by"
    );
    assert_eq!(
        changed(|m| m.operators[0].state = 99),
        ConvertError::unknown("operator.state", 99)
    );
    assert_eq!(
        changed(|m| m.values[0].fingerprint.clear()).field,
        "value.fingerprint"
    );
    assert_eq!(
        changed(|m| m.values[0].nar_hash = "md5:x".to_owned()).field,
        "value.nar_hash"
    );
    assert_eq!(
        changed(|m| m.values[0].references.push("x".to_owned())).field,
        "value.references"
    );
    assert!(Decision::try_from(pb::Decision::default()).is_err());
}

#[test]
fn trustix_a_value_handed_out_beside_a_decision_has_the_digest_that_was_decided() {
    let mut message = pb::Decision::from(&a_decision());
    message.values[0].nar_size += 1;
    let error = Decision::try_from(message).unwrap_err();
    assert_eq!(
        error.to_string(),
        "value.fingerprint is not that of the facts beside it"
    );
}

#[test]
fn decisions_are_not_nested_without_end() {
    let mut message = pb::Decision::from(&a_decision());
    for _ in 0..50 {
        message = pb::Decision {
            warned: Some(Box::new(message)),
            ..pb::Decision::from(&a_decision())
        };
    }
    let error = Decision::try_from(message).unwrap_err();
    assert_eq!(
        error,
        ConvertError::new("decision.warned", "is nested too deep")
    );
}

#[test]
fn proof_of_equivocation_is_read_back_as_it_was_written() {
    let proof = Equivocation {
        first: b"first".to_vec(),
        second: b"second".to_vec(),
        consistency_proof: vec![Hash::from_bytes([1; 32])],
    };
    assert_eq!(
        equivocation(pb::Equivocation::from(&proof)),
        Ok(proof.clone())
    );
    let mut short = pb::Equivocation::from(&proof);
    short.consistency_proof[0].pop();
    assert!(equivocation(short).is_err());
    let mut endless = pb::Equivocation::from(&proof);
    endless.consistency_proof = vec![vec![0; 32]; 129];
    assert!(equivocation(endless).is_err());
}
