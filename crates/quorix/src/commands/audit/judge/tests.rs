//! What is here, beside what builders say: every state that an installed path can have.

use quorix_host::content::ContentError;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{Attestation, an_attestation, log_key, nix_key};
use quorix_trust::attestation::Entry;
use quorix_trust::decision::decide;
use quorix_trust::evidence::LogState::{Live, Stale};
use quorix_trust::evidence::{Evidence, LogEvidence, Said, Source};
use quorix_trust::policy::Policy;

use super::*;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Two of three builders, or all three, at this level.
fn policy(rule: &str) -> Policy {
    let builders: String = NAMES
        .iter()
        .map(|name| {
            let key = log_key(&format!("logs.example.org/{name}"));
            format!(
                "builder {name} {} https://{name}.example operator={name}\n",
                key.verifier()
            )
        })
        .collect();
    let text = format!(
        "{builders}quorum none\nvoters two 2 alice bob carol\nvoters three 3 alice bob carol\n{rule}\ndefault main\n"
    );
    Policy::parse(&text).unwrap()
}

/// What is known: all logs live, nothing said.
fn known() -> Evidence {
    let log = |name: &&str| {
        let state = LogEvidence {
            state: Live,
            size: 100,
        };
        (format!("logs.example.org/{name}"), state)
    };
    Evidence {
        store_dir: StoreDir::default(),
        logs: NAMES.iter().map(log).collect(),
        ..Evidence::default()
    }
}

fn says(mut evidence: Evidence, name: &str, what: &Attestation, withdrawn: bool) -> Evidence {
    let facts = what.facts();
    let statements = evidence.outputs.entry(facts.path.hash_part()).or_default();
    let index = statements.len() as u64;
    statements.push(Statement {
        source: Source::Log {
            origin: format!("logs.example.org/{name}"),
            index,
        },
        said: Said::Build(Box::new(what.build())),
        facts: Some(facts),
        withdrawn,
    });
    evidence
}

fn here(what: &Attestation) -> Local {
    let facts = what.facts();
    Local {
        path: facts.path.clone(),
        facts,
        built_here: false,
        recomputed: Ok(None),
    }
}

fn judged_under(rule: &str, local: Local, evidence: &Evidence) -> (State, String) {
    let output = local.path.hash_part();
    let decision = decide(&policy(rule), evidence, &output, 0);
    let said = evidence.outputs.get(&output);
    let finding = judge(local, decision, said.map(Vec::as_slice).unwrap_or_default());
    (finding.state, finding.sentence)
}

fn judged(local: Local, evidence: &Evidence) -> (State, String) {
    judged_under("rule main quorum=two level=path", local, evidence)
}

#[test]
fn what_is_here_is_accepted_only_if_it_is_what_was_accepted() {
    let (a, b) = (an_attestation(), an_attestation().saying("B"));
    let evidence = says(says(known(), "alice", &a, false), "bob", &a, false);
    let (state, sentence) = judged(here(&a), &evidence);
    assert_eq!(state, State::Accepted);
    assert!(
        sentence.starts_with("Accepted. alice and bob "),
        "{sentence}"
    );
    assert_eq!(
        judged(here(&b), &evidence),
        (
            State::OtherBytes,
            "Other bytes here. alice and bob built the same bytes, and this store has others."
                .to_owned()
        )
    );
}

#[test]
fn one_builder_too_few_and_nobody_are_told_apart() {
    let a = an_attestation();
    let nobody = known();
    assert_eq!(judged(here(&a), &nobody).0, State::NoData);
    let one = says(nobody, "alice", &a, false);
    assert_eq!(judged(here(&a), &one).0, State::OneBuilder);
    let two = says(one, "bob", &a, false);
    let three = "rule main quorum=three level=path";
    assert_eq!(judged_under(three, here(&a), &two).0, State::TooFew);
}

#[test]
fn builders_disagree_with_each_other_or_with_what_is_here() {
    let (a, b) = (an_attestation(), an_attestation().saying("B"));
    let one = says(known(), "alice", &b, false);
    let (state, sentence) = judged(here(&a), &one);
    assert_eq!(state, State::Disagree);
    assert!(
        sentence.starts_with("Nobody has said what is here: all that is known are other bytes. "),
        "{sentence}"
    );
    let split = says(one, "bob", &a, false);
    assert_eq!(judged(here(&a), &split).0, State::Disagree);
}

#[test]
fn what_was_taken_back_is_revoked_unless_others_still_say_it() {
    let a = an_attestation();
    let withdrawn = says(known(), "alice", &a, true);
    let (state, sentence) = judged(here(&a), &withdrawn);
    assert_eq!(state, State::Revoked);
    assert!(
        sentence.starts_with(
            "Revoked since. What is here was said by a builder who has taken it back. "
        ),
        "{sentence}"
    );
    let others = says(says(withdrawn, "bob", &a, false), "carol", &a, false);
    assert_eq!(judged(here(&a), &others).0, State::Accepted);
    let other_bytes = an_attestation().saying("B");
    let not_ours = says(known(), "alice", &other_bytes, true);
    assert_eq!(judged(here(&a), &not_ours).0, State::NoData);
}

#[test]
fn a_withdrawn_signature_of_a_cache_revokes_nothing() {
    let a = an_attestation();
    let mut evidence = says(known(), "alice", &a, true);
    let Entry::Observation(seen) = a.observed_by(&nix_key("cache-1")) else {
        panic!("an observation was asked for");
    };
    for statements in evidence.outputs.values_mut() {
        statements.first_mut().unwrap().said = Said::Observation(seen.clone());
    }
    assert_ne!(judged(here(&a), &evidence).0, State::Revoked);
}

#[test]
fn a_reference_that_is_not_accepted_blocks_and_a_self_verifying_one_does_not() {
    let glibc = an_attestation().of("glibc");
    let hello = an_attestation().referring_to(&["glibc"]);
    let evidence = says(says(known(), "alice", &hello, false), "bob", &hello, false);
    let rule = "rule main quorum=two level=closure";
    assert_eq!(
        judged_under(rule, here(&hello), &evidence).0,
        State::Blocked
    );
    let mut evidence = evidence;
    evidence
        .self_verified
        .insert(glibc.facts().path.clone(), glibc.facts());
    assert_eq!(
        judged_under(rule, here(&hello), &evidence).0,
        State::Accepted
    );
}

#[test]
fn content_addressed_paths_need_no_votes_and_must_have_their_content() {
    let a = an_attestation();
    let recomputed = Local {
        recomputed: Ok(Some(a.facts())),
        ..here(&a)
    };
    assert_eq!(judged(recomputed, &known()).0, State::SelfVerifying);
    let broken = Local {
        recomputed: Err(ContentError::Wrong {
            reason: "the contents hash to something else".to_owned(),
        }),
        ..here(&a)
    };
    assert_eq!(
        judged(broken, &known()),
        (
            State::OtherBytes,
            "Other bytes here. The path is named after its content, but the contents hash to something else.".to_owned()
        )
    );
}

#[test]
fn a_stale_log_accepts_nothing_and_a_rule_that_denies_is_said() {
    let a = an_attestation();
    let mut evidence = says(says(known(), "alice", &a, false), "bob", &a, false);
    let deny = judged_under("rule main mode=deny", here(&a), &evidence);
    assert_eq!(deny.0, State::Refused);
    for log in evidence.logs.values_mut() {
        log.state = Stale {
            reason: "no verified answer for 90 s".to_owned(),
        };
    }
    let (state, sentence) = judged(here(&a), &evidence);
    assert!(!state.is_good(), "{sentence}");
}
