//! What needs more than votes: witnesses and time, `also`, grace, inputs, weights, superseded values.

use std::collections::BTreeMap;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::StoreDir;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::hash::Hash;
use quorix_tlog::note::{NoteSignature, SignedNote};

use crate::decision::{Decision, Outcome, decide};
use crate::evidence::{Covering, Earlier, LogState, Said};
use crate::policy::Policy;
use crate::testing::{Known, built, facts, log_key, path, policy_of};

const TWO: [&str; 2] = ["alice", "bob"];
const NOW: u64 = 1_700_000_000;

/// A policy of two builders, with one witness `w` and a quorum of it.
fn witnessed(lines: &str) -> Policy {
    let seed = [7; 32];
    let key = CosignerSigningKey::from_seed("w.example".parse().unwrap(), Algorithm::Ed25519, seed);
    let builders: String = TWO
        .iter()
        .map(|name| crate::testing::builder_line(name))
        .collect();
    let text = format!(
        "{builders}witness w {} https://w.example operator=walter\nquorum w\n\
         voters both all alice bob\n{lines}",
        key.verifier()
    );
    Policy::parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// Two builders that agree, their checkpoints cosigned at these times.
fn agreed(good: &Fingerprint, times: [u64; 2]) -> Known {
    let mut known = Known::live(&TWO).says("alice", good).says("bob", good);
    for (name, time) in TWO.iter().zip(times) {
        let origin = log_key(name).verifier().name().as_str().to_owned();
        let log = known.0.logs.get_mut(&origin).unwrap();
        log.cosigned.insert("w".into(), time);
    }
    known
}

fn at(policy: &Policy, known: &Known, now_s: u64) -> Decision {
    decide(policy, &known.0, &path("hello").hash_part(), now_s)
}

#[test]
fn a_log_without_its_witness_quorum_adds_no_vote() {
    let policy = witnessed("rule main quorum=both level=path\ndefault main\n");
    let good = facts(&path("hello"), "good", &[]);
    let alone = Known::live(&TWO).says("alice", &good).says("bob", &good);
    assert_eq!(at(&policy, &alone, NOW).outcome, Outcome::Insufficient);
    assert!(
        at(&policy, &alone, NOW)
            .sentence
            .contains("`w` has not cosigned")
    );
    assert!(at(&policy, &agreed(&good, [NOW, NOW]), NOW).is_accepted());
}

#[test]
fn a_witness_never_counts_for_a_log_of_its_own_operator() {
    let text = witnessed("rule main quorum=both level=path\ndefault main\n").text;
    let policy = Policy::parse(&text.replace("operator=walter", "operator=alice")).unwrap();
    let good = facts(&path("hello"), "good", &[]);
    let decision = at(&policy, &agreed(&good, [NOW, NOW]), NOW);
    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert_eq!(decision.missing, ["alice"]);
    assert!(
        policy
            .warnings
            .iter()
            .any(|text| text.contains("`alice` can never have its witness quorum"))
    );
}

#[test]
fn a_witness_ahead_of_this_clock_makes_no_log_fresh() {
    let policy = witnessed("rule main quorum=both level=path max-age=1h\ndefault main\n");
    let known = |ahead: u64| agreed(&facts(&path("hello"), "good", &[]), [NOW, NOW + ahead]);
    assert!(at(&policy, &known(60), NOW).is_accepted());
    let decision = at(&policy, &known(61), NOW);
    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert!(
        decision.sentence.contains("61 s ahead of this clock"),
        "{}",
        decision.sentence
    );
    assert_eq!(decision.valid_until_s, Some(NOW + 1));
    assert!(at(&policy, &known(61), NOW + 1).is_accepted());
}

#[test]
fn a_forged_cosignature_or_one_on_another_checkpoint_is_none() {
    let policy = witnessed("rule main quorum=both level=path\ndefault main\n");
    let key = |seed: u8| {
        let name = "w.example".parse().unwrap();
        CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [seed; 32])
    };
    let (own, forger) = (key(7), key(8));
    let checkpoint = |root: u8| Checkpoint {
        origin: "alice.example/log".into(),
        size: 8,
        root: Hash::from_bytes([root; 32]),
        extensions: Vec::new(),
    };
    let (shown, other) = (checkpoint(1), checkpoint(2));
    let note = |cosignature: NoteSignature| {
        let note = SignedNote::assemble(&shown.to_text(), vec![cosignature]).unwrap();
        policy.cosigned(&note.to_bytes())
    };
    let expected = BTreeMap::from([("w".to_owned(), NOW)]);
    assert_eq!(note(own.cosign(&shown, NOW).unwrap()), expected);
    assert_eq!(note(own.cosign(&other, NOW).unwrap()), BTreeMap::new());
    assert_eq!(note(forger.cosign(&shown, NOW).unwrap()), BTreeMap::new());
}

#[test]
fn what_is_older_than_max_age_adds_no_vote_and_the_decision_says_until_when_it_holds() {
    let policy = witnessed("rule main quorum=both level=path max-age=1h\ndefault main\n");
    let good = facts(&path("hello"), "good", &[]);
    let known = agreed(&good, [NOW, NOW - 600]);
    let decision = at(&policy, &known, NOW);
    assert!(decision.is_accepted());
    let until = decision.valid_until_s.unwrap();
    assert_eq!(until, NOW + 3_001);
    assert!(at(&policy, &known, until - 1).is_accepted());
    assert_eq!(at(&policy, &known, until).outcome, Outcome::Insufficient);
}

#[test]
fn a_value_waits_until_it_has_been_observed_for_long_enough() {
    let policy = witnessed("rule main quorum=both level=path min-observed=1d\ndefault main\n");
    let good = facts(&path("hello"), "good", &[]);
    let mut known = agreed(&good, [NOW, NOW]);
    let decision = at(&policy, &known, NOW);
    assert_eq!(
        (decision.outcome, decision.valid_until_s),
        (Outcome::Waiting, Some(NOW + 86_400))
    );
    assert!(at(&policy, &known, NOW + 86_400).is_accepted());
    // An earlier checkpoint that covers the entry dates it, one that does not does not.
    for (size, expected) in [(7, Outcome::Waiting), (8, Outcome::Accepted)] {
        for log in known.0.logs.values_mut() {
            let cosigned = BTreeMap::from([("w".to_owned(), NOW - 90_000)]);
            log.history = vec![Covering { size, cosigned }];
        }
        assert_eq!(at(&policy, &known, NOW).outcome, expected);
    }
}

#[test]
fn an_entry_outside_its_builders_window_does_not_count_and_an_undated_one_is_dissent() {
    let text =
        witnessed("voters one any alice bob\nrule main quorum=one level=path\ndefault main\n").text;
    let text = text.replace("operator=bob", &format!("operator=bob until={}", NOW - 10));
    let policy = Policy::parse(&text).unwrap();
    let hello = path("hello");
    let known = |time: u64| {
        let mut known = agreed(&facts(&hello, "good", &[]), [NOW, time]);
        known.0.outputs.clear();
        known
            .says("alice", &facts(&hello, "good", &[]))
            .says("bob", &facts(&hello, "bad", &[]))
    };
    assert!(at(&policy, &known(NOW), NOW).is_accepted());
    assert_eq!(
        at(&policy, &known(NOW - 10), NOW).outcome,
        Outcome::Conflict
    );
    let mut undated = known(NOW);
    undated.0.logs.values_mut().nth(1).unwrap().cosigned.clear();
    assert_eq!(at(&policy, &undated, NOW).outcome, Outcome::Conflict);
}

#[test]
fn an_undated_entry_may_meet_a_rule_and_never_keeps_one_away() {
    let lines = "voters one any alice bob\nvoters both all alice bob\nrule main quorum=one level=path\ndefault main\n";
    let good = facts(&path("hello"), "good", &[]);
    let mut plain = built("alice", &good);
    if let Said::Build(build) = &mut plain.said {
        build.system.clear();
    }
    let known = |bob: u64, is_there: bool| {
        let mut known = agreed(&good, [NOW, bob]);
        known.0.outputs.clear();
        let origin = log_key("bob").verifier().name().as_str().to_owned();
        if !is_there {
            known.0.logs.remove(&origin);
        }
        known.statement(plain.clone()).says("bob", &good)
    };
    for (condition, is_met) in [
        ("system=x86_64-linux", true),
        ("system=aarch64-linux", false),
        ("when=(system == \"x86_64-linux\")", true),
        ("when=(system == \"aarch64-linux\")", false),
    ] {
        let also = format!("{lines}also more {condition} quorum=both level=path\n");
        let text = witnessed(&also.replace("voters both all alice bob\n", "")).text;
        let until = format!("operator=bob until={}", NOW - 10);
        let policy = Policy::parse(&text.replace("operator=bob", &until)).unwrap();
        // Bob's entry is too late to count and tells nothing, so that nobody told anything; undated it may tell.
        assert!(
            !at(&policy, &known(NOW, true), NOW).is_accepted(),
            "{condition}"
        );
        assert!(
            !at(&policy, &known(NOW, false), NOW).is_accepted(),
            "{condition}"
        );
        // What surely counts was told.
        let dated = at(&policy, &known(NOW - 10, true), NOW);
        assert!(dated.is_accepted(), "both agree: {condition}");
        let told = Known(known(NOW - 10, true).0).stale("alice");
        assert_eq!(
            at(&policy, &told, NOW).is_accepted(),
            !is_met,
            "{condition}"
        );
    }
}

#[test]
fn grace_outlives_staleness_alone_and_for_no_longer_than_it_says() {
    let policy = policy_of(
        &TWO,
        "voters both all alice bob\nrule main quorum=both level=path grace=1d\ndefault main\n",
    );
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let mut known = Known::live(&TWO)
        .says("alice", &good)
        .says("bob", &good)
        .stale("bob");
    assert_eq!(at(&policy, &known, NOW).outcome, Outcome::Insufficient);
    let earlier = Earlier {
        value: good.digest(),
        at_s: NOW - 60,
    };
    known.0.earlier.insert(hello.clone(), earlier);
    assert!(at(&policy, &known, NOW).is_accepted());
    assert!(
        !at(&policy, &known, NOW - 61).is_accepted(),
        "of the future"
    );
    assert!(
        !at(&policy, &known, NOW - 60 + 86_400).is_accepted(),
        "over"
    );
    let disputed = known.clone().says("bob", &facts(&hello, "bad", &[]));
    assert!(
        !at(&policy, &disputed, NOW).is_accepted(),
        "more than staleness changed"
    );
    let quarantined = known.log("bob", LogState::Quarantined);
    assert!(!at(&policy, &quarantined, NOW).is_accepted());
}

#[test]
fn a_new_vote_makes_nothing_wait_that_is_in_force_by_grace() {
    let policy = witnessed(
        "voters one any alice bob\nrule main quorum=one level=path min-observed=1d grace=7d\ndefault main\n",
    );
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let mut both = agreed(&good, [NOW - 200_000, NOW]);
    let earlier = Earlier {
        value: good.digest(),
        at_s: NOW - 60,
    };
    both.0.earlier.insert(hello, earlier);
    let alice = log_key("alice").verifier().name().as_str().to_owned();
    both.0.logs.get_mut(&alice).unwrap().state = LogState::Stale {
        reason: "away".into(),
    };
    let mut alone = both.clone();
    alone
        .0
        .outputs
        .values_mut()
        .for_each(|said| said.truncate(1));
    assert!(at(&policy, &alone, NOW).is_accepted());
    let decision = at(&policy, &both, NOW);
    assert!(decision.is_accepted(), "{}", decision.sentence);
    both.0.earlier.clear();
    assert_eq!(at(&policy, &both, NOW).outcome, Outcome::Waiting);
}

#[test]
fn an_also_rule_holds_by_name_system_drv_or_expression_and_refuses_on_error() {
    let good = facts(&path("hello"), "good", &[]);
    let known = Known::live(&TWO).says("alice", &good);
    for (condition, expected) in [
        ("name=hel*o", Outcome::Insufficient),
        ("name=h?llo", Outcome::Insufficient),
        ("name=hell", Outcome::Accepted),
        ("system=x86_64-linux", Outcome::Insufficient),
        ("system=aarch64-linux", Outcome::Accepted),
        (
            "when=(name.startsWith(\"hel\") && true)",
            Outcome::Insufficient,
        ),
        ("when=(system == \"aarch64-linux\")", Outcome::Accepted),
        // Nobody told the derivation: not known is no way around, and an error refuses.
        (
            "drv=00000000000000000000000000000000-hello.drv",
            Outcome::Insufficient,
        ),
        ("when=(drv == \"x\")", Outcome::Denied),
        ("when=(1/0 == 1)", Outcome::Denied),
        ("when=(name)", Outcome::Denied),
    ] {
        let lines = format!(
            "voters one any alice bob\nvoters both all alice bob\nrule main quorum=one level=path\n\
             also more {condition} quorum=both level=path\ndefault main\n"
        );
        let policy = policy_of(&TWO, &lines);
        assert_eq!(at(&policy, &known, NOW).outcome, expected, "{condition}");
        let both = known.clone().says("bob", &good);
        let accepts = expected != Outcome::Denied;
        assert_eq!(
            at(&policy, &both, NOW).is_accepted(),
            accepts,
            "{condition}"
        );
    }
}

#[test]
fn weights_are_summed_and_superseded_values_do_not_count() {
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let weighted = policy_of(
        &TWO,
        "weighted w 3 alice=2 bob=1\nrule main quorum=w level=path\ndefault main\n",
    );
    let known = Known::live(&TWO).says("alice", &good);
    assert_eq!(at(&weighted, &known, NOW).outcome, Outcome::Insufficient);
    assert!(at(&weighted, &known.clone().says("bob", &good), NOW).is_accepted());

    let contradicted = known.says("bob", &good).says("bob", &bad);
    assert!(!at(&weighted, &contradicted, NOW).is_accepted());
    let lines = format!("disregard bob {hello} {}\n", bad.digest());
    let lines =
        format!("{lines}weighted w 3 alice=2 bob=1\nrule main quorum=w level=path\ndefault main\n");
    assert!(at(&policy_of(&TWO, &lines), &contradicted, NOW).is_accepted());
}

/// Both builders agree on hello, built with gcc, of which they have this value.
fn built_with(gcc: &Fingerprint) -> Known {
    let hello = facts(&path("hello"), "good", &[]);
    let mut known = Known::live(&TWO);
    for name in TWO {
        let mut statement = built(name, &hello);
        statement.inputs = Some(BTreeMap::from([(gcc.path.clone(), gcc.digest())]));
        known = known.statement(statement);
    }
    known
}

#[test]
fn levels_build_and_resolved_ask_for_accepted_inputs_and_accepted_bytes_of_them() {
    let gcc = path("gcc");
    let (good, bad) = (facts(&gcc, "good", &[]), facts(&gcc, "bad", &[]));
    let gcc_says = |mut known: Known, value: &Fingerprint| {
        for name in TWO {
            let mut statement = built(name, value);
            statement.inputs = Some(BTreeMap::new());
            known = known.statement(statement);
        }
        known
    };
    let of = |level: &str| {
        policy_of(
            &TWO,
            &format!(
                "voters both all alice bob\nrule main quorum=both level={level}\ndefault main\n"
            ),
        )
    };
    for level in ["build", "resolved"] {
        let policy = of(level);
        let unknown = at(&policy, &built_with(&good), NOW);
        assert_eq!(
            (unknown.outcome, unknown.blocked_by),
            (Outcome::BlockedBy, Some(gcc.clone()))
        );
        assert!(
            at(&policy, &gcc_says(built_with(&good), &good), NOW).is_accepted(),
            "{level}"
        );
        let other = at(&policy, &gcc_says(built_with(&bad), &good), NOW);
        assert_eq!(other.is_accepted(), level == "build", "{level}");
        let unlisted = facts(&path("hello"), "good", &[]);
        let unlisted = Known::live(&TWO)
            .says("alice", &unlisted)
            .says("bob", &unlisted);
        let unlisted = at(&policy, &unlisted, NOW);
        assert_eq!(unlisted.outcome, Outcome::Insufficient);
        assert!(
            unlisted
                .sentence
                .contains("publishes no list of what it was built with")
        );
    }
}

#[test]
fn the_votes_that_were_witnessed_for_long_enough_are_those_whose_inputs_are_accepted() {
    let (gcc, store) = (path("gcc"), StoreDir::default());
    let policy = witnessed(&format!(
        "voters one any alice bob\nrule inputs path={} quorum=both level=path\n\
         rule main quorum=one level=resolved min-observed=1d\ndefault main\n",
        store.join(&gcc)
    ));
    let (good, bad) = (facts(&gcc, "good", &[]), facts(&gcc, "bad", &[]));
    let mut known = agreed(&good, [NOW, NOW]);
    // Long ago from other bytes by alice, a moment ago from the right ones by bob.
    for (name, inputs, age_s) in [("alice", &bad, 90_000), ("bob", &good, 60)] {
        let mut statement = built(name, &facts(&path("hello"), "good", &[]));
        statement.inputs = Some(BTreeMap::from([(gcc.clone(), inputs.digest())]));
        known = known.statement(statement);
        let log = known
            .0
            .logs
            .get_mut(log_key(name).verifier().name().as_str());
        let cosigned = BTreeMap::from([("w".to_owned(), NOW - age_s)]);
        log.unwrap().history = vec![Covering { size: 8, cosigned }];
    }
    assert_eq!(at(&policy, &known, NOW).outcome, Outcome::BlockedBy);
    assert!(at(&policy, &known, NOW - 60 + 86_400).is_accepted());
}

#[test]
fn a_list_of_inputs_that_cannot_be_had_opens_no_fallback() {
    let policy = policy_of(
        &TWO,
        "voters one any alice bob\nvoters both all alice bob\nrule weak quorum=one level=path\n\
         rule main quorum=both level=build fallback=weak\ndefault main\n",
    );
    let known = |blob: Option<[u8; 32]>| {
        let mut known = Known::live(&TWO);
        for name in TWO {
            let mut statement = built(name, &facts(&path("hello"), "good", &[]));
            let Said::Build(build) = &mut statement.said else {
                panic!("{statement:?}")
            };
            build.inputs_blob = blob;
            known = known.statement(statement);
        }
        known
    };
    let withheld = at(&policy, &known(Some([1; 32])), NOW);
    assert_eq!(withheld.outcome, Outcome::Insufficient);
    // Whoever publishes none was heard all the same.
    assert!(at(&policy, &known(None), NOW).is_accepted());
}

#[test]
fn inputs_that_need_each_other_are_never_accepted() {
    let policy = policy_of(
        &TWO,
        "voters both all alice bob\nrule main quorum=both level=build\ndefault main\n",
    );
    let (hello, gcc) = (
        facts(&path("hello"), "good", &[]),
        facts(&path("gcc"), "good", &[]),
    );
    let mut known = built_with(&gcc);
    for name in TWO {
        let mut statement = built(name, &gcc);
        statement.inputs = Some(BTreeMap::from([(hello.path.clone(), hello.digest())]));
        known = known.statement(statement);
    }
    let decision = at(&policy, &known, NOW);
    assert_eq!(decision.outcome, Outcome::BlockedBy);
    assert!(
        decision.steps.last().unwrap().contains("refers back to"),
        "{:?}",
        decision.steps
    );
}
