//! Policies over witnesses: the grammar with the place of every mistake, and what a checkpoint is
//! worth.

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::Checkpoint,
    cosignature::{Algorithm, CosignerSigningKey},
    hash::leaf_hash,
    note::{NoteSignature, SignedNote, SigningKey},
};

const ORIGIN: &str = "logs.example.org/alice";
const NOW: u64 = 1_790_000_000;

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().unwrap(), [1; 32])
}

fn witness_key(seed: u8) -> CosignerSigningKey {
    let name = format!("witness.example/{seed}").parse().unwrap();
    CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [seed; 32])
}

/// The policy of the specification's example, with six witnesses of seeds 11 to 16.
fn example() -> String {
    let mut text = format!("log {}\n\n", log_key().verifier());
    for (position, name) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().enumerate() {
        let key = witness_key(u8::try_from(position).unwrap() + 11);
        text.push_str(&format!("witness {name} {}\n", key.verifier()));
    }
    text.push_str(
        "group X-witnesses 2 X1 X2 X3\n# by another organisation\ngroup Y-witnesses any Y1 Y2 Y3\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
    );
    text
}

fn parse(text: &str) -> Result<TlogPolicy, TlogPolicyError> {
    TlogPolicy::parse(text.as_bytes())
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size: 7,
        root: leaf_hash(b"root"),
        extensions: Vec::new(),
    }
}

/// The checkpoint signed by the log and cosigned by these seeds at these times.
fn note(cosigned: &[(u8, u64)]) -> SignedNote {
    let mut lines = vec![log_key().sign(&checkpoint().to_text())];
    for (seed, time) in cosigned {
        lines.push(witness_key(*seed).cosign(&checkpoint(), *time).unwrap());
    }
    SignedNote::assemble(&checkpoint().to_text(), lines).unwrap()
}

#[test]
fn the_example_of_the_specification_is_read() {
    let policy = parse(&example()).unwrap();
    assert_eq!(policy.logs.len(), 1);
    assert_eq!(policy.witnesses.len(), 6);
    let named: Vec<String> = policy.groups.iter().map(|g| g.name.to_string()).collect();
    assert_eq!(named, ["X-witnesses", "Y-witnesses", "X-and-Y"]);
    let thresholds: Vec<usize> = policy.groups.iter().map(|g| g.threshold).collect();
    assert_eq!(thresholds, [2, 1, 2]);
    assert_eq!(
        policy.groups[2].members,
        [Member::Group(0), Member::Group(1)]
    );
    assert_eq!(policy.quorum, Quorum::Of(Member::Group(2)));
    assert_eq!(policy.counted(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn order_spaces_tabs_comments_urls_and_octets_that_are_not_utf8_are_permitted() {
    let (log, witness) = (log_key(), witness_key(11));
    let mut text = format!(
        " \t# comment\n\t witness\tcaf\u{e9} \t{}  https://w.example/ \n\n\
         quorum caf\u{e9}\nlog {} https://logs.example.org/alice\n",
        witness.verifier(),
        log.verifier()
    )
    .into_bytes();
    text.extend_from_slice(b"# \xff\xfe\n");
    let policy = TlogPolicy::parse(&text).unwrap();
    assert_eq!(policy.quorum, Quorum::Of(Member::Witness(0)));
    let urls = (&policy.witnesses[0].url, &policy.logs[0].url);
    assert_eq!(urls.0.as_deref(), Some("https://w.example/"));
    assert_eq!(urls.1.as_deref(), Some("https://logs.example.org/alice"));

    // A Kelvin sign is not a K.
    let kelvin = format!("witness \u{212a} {}\nquorum K\n", witness.verifier());
    let error = parse(&kelvin).unwrap_err();
    assert_eq!(error.message, "`K` is not defined on a line above");
    assert_eq!(parse("quorum none\n").unwrap().quorum, Quorum::None);
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    let (l, w) = (
        log_key().verifier().to_string(),
        witness_key(11).verifier().to_string(),
    );
    let other_name = log_key().renamed("other".parse().unwrap());
    let renamed = witness_key(11).renamed("w2".parse().unwrap());
    let (l2, w2) = (
        other_name.verifier().to_string(),
        renamed.verifier().to_string(),
    );
    let v = witness_key(12).verifier().to_string();
    for (text, line, column, message) in [
        (String::new(), 1, 1, "no quorum is defined"),
        (format!("log {l}\n"), 1, 1, "no quorum is defined"),
        (
            "quorum none".into(),
            1,
            1,
            "the last line does not end with a line feed",
        ),
        ("quorum none\r\n".into(), 1, 12, "control character"),
        ("quorum none\u{7f}\n".into(), 1, 12, "control character"),
        (
            "quorum none\nquorum none\n".into(),
            2,
            1,
            "the quorum is defined twice",
        ),
        ("quorum\n".into(), 1, 7, "`quorum` needs a name"),
        ("quorum a b\n".into(), 1, 10, "`b` is one word too many"),
        (
            "quorum a\n".into(),
            1,
            8,
            "`a` is not defined on a line above",
        ),
        ("Quorum none\n".into(), 1, 1, "`Quorum` is not known"),
        (
            "quorum none # comment\n".into(),
            1,
            13,
            "`#` is one word too many",
        ),
        ("log\n".into(), 1, 4, "`log` needs the log's key"),
        (
            format!("log {l} url more\n"),
            1,
            l.len() + 10,
            "`more` is one word too many",
        ),
        (
            format!("log {l}\nlog {l2}\n"),
            2,
            5,
            "this log's key is on line 1 already",
        ),
        (
            format!("log {w}\n"),
            1,
            5,
            "not a usable key: the key witness.example/11 is of type 0x04; expected here is a log's key, \
             Ed25519 (0x01) or ML-DSA-44 (0x06)",
        ),
        (
            format!("witness a {l}\n"),
            1,
            11,
            "not a usable key: the key logs.example.org/alice is of type 0x01; expected here is a cosigner's \
             key, Ed25519 (0x04) or ML-DSA-44 (0x06)",
        ),
        (
            "witness a\n".into(),
            1,
            10,
            "`witness` needs the witness's key",
        ),
        (
            "witness a b\n".into(),
            1,
            11,
            "not a usable key: not a verifier key: expected name+id+base64",
        ),
        (
            format!("witness a {w}\nwitness b {w2}\n"),
            2,
            11,
            "this key is that of witness `a` on line 1",
        ),
        (
            format!("witness a {w}\nwitness a {v}\n"),
            2,
            9,
            "`a` is defined already",
        ),
        (
            format!("witness none {w}\n"),
            1,
            9,
            "`none` is defined already",
        ),
        (
            format!("witness a {w}\ngroup a any a\n"),
            2,
            7,
            "`a` is defined already",
        ),
        (
            format!("witness a {w}\ngroup g any b\n"),
            2,
            13,
            "`b` is not defined on a line above",
        ),
        (
            "group g any g\n".into(),
            1,
            13,
            "`g` is not defined on a line above",
        ),
        (
            "group g any none\n".into(),
            1,
            13,
            "`none` cannot be a member",
        ),
        ("group g\n".into(), 1, 8, "`group` needs a threshold"),
        (
            "group g all\n".into(),
            1,
            12,
            "`group` needs at least one member",
        ),
        (
            format!("witness a {w}\ngroup g any a a\n"),
            2,
            15,
            "`a` is a member of a group already",
        ),
        (
            format!("witness a {w}\ngroup g any a\ngroup h any a\n"),
            3,
            13,
            "`a` is a member of a group already",
        ),
        (
            format!("witness a {w}\ngroup g 2 a\n"),
            2,
            9,
            "group `g` needs 2 of 1 members",
        ),
        (
            format!("witness a {w}\ngroup g 0 a\n"),
            2,
            9,
            "group `g` needs 0 of 1 members",
        ),
        (
            format!("witness a {w}\ngroup g 01 a\n"),
            2,
            9,
            "group `g` needs 01 of 1 members",
        ),
        (
            format!("witness a {w}\ngroup g Any a\n"),
            2,
            9,
            "group `g` needs Any of 1 members",
        ),
        (format!("witness é {w}\n\u{e9}\n"), 2, 1, "`é` is not known"),
        (
            format!("witness é {w} u x\n"),
            1,
            w.len() + 14,
            "`x` is one word too many",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        let found = (error.line, error.column, error.message.as_str());
        assert_eq!(found, (line, column, message), "{text}");
        assert!(!error.hint.is_empty());
    }
}

#[test]
fn an_error_shows_the_line_and_points_at_the_place() {
    let key = witness_key(11);
    let text = format!("witness a {}\ngroup g 4 a\nquorum g\n", key.verifier());
    assert_eq!(
        parse(&text).unwrap_err().to_string(),
        "witness policy line 2, column 9: group `g` needs 4 of 1 members\n  group g 4 a\n          \
         ^ use a number from 1 to 1, `any`, or `all`"
    );
    assert_eq!(
        parse("# nothing\n").unwrap_err().to_string(),
        "witness policy line 1: no quorum is defined\n  \
         add `quorum NAME`, or `quorum none` if no cosignature is asked for"
    );
}

#[test]
fn more_definitions_than_permitted_are_refused_and_32_of_each_are_read() {
    let witness = |n: usize| {
        let seed: [u8; 32] = std::array::from_fn(|i| if i < 8 { n.to_be_bytes()[i] } else { 7 });
        let name = format!("w{n}").parse().unwrap();
        let key = CosignerSigningKey::from_seed(name, Algorithm::Ed25519, seed);
        format!("witness w{n} {}\ngroup g{n} all w{n}\n", key.verifier())
    };
    let text: String = (0..32).map(witness).collect();
    let logs: String = (0..32)
        .map(|n| SigningKey::from_seed(format!("log{n}").parse().unwrap(), [n; 32]))
        .map(|key| format!("log {}\n", key.verifier()))
        .collect();
    assert!(parse(&format!("{text}{logs}quorum g31\n")).is_ok());
    let text: String = (0..257).map(witness).collect();
    let error = parse(&text).unwrap_err();
    assert_eq!(
        (error.line, error.message.as_str()),
        (513, "more than 256 witnesses")
    );
    let large = vec![b'#'; MAX_POLICY_LENGTH + 1];
    let error = TlogPolicy::parse(&large).unwrap_err();
    assert_eq!(error.message, "the policy is larger than 1 MiB");
}

#[test]
fn a_checkpoint_is_believed_with_its_quorum_and_dated_by_the_latest_time_that_still_meets_it() {
    let policy = parse(&example()).unwrap();
    // X: 2 of 100, 300, 200 → 200; Y: any of 150 → 150; both: 150.
    let cosigned = [(11, 100), (12, 300), (13, 200), (14, 150)];
    let verified = policy.verify(&note(&cosigned)).unwrap();
    assert_eq!(verified.checkpoint, checkpoint());
    assert_eq!(verified.time, Some(150));
    let seen: Vec<(&str, u64)> = verified
        .witnesses
        .iter()
        .map(|w| (w.name.as_str(), w.time))
        .collect();
    assert_eq!(seen, [("X1", 100), ("X2", 300), ("X3", 200), ("Y1", 150)]);
    // A witness that cosigned again counts once, with its latest time.
    let again = [(11, 100), (12, 300), (14, 150), (14, 250), (14, 240)];
    assert_eq!(policy.verify(&note(&again)).unwrap().time, Some(100));
}

#[test]
fn what_a_quorum_lacks_is_said_by_name() {
    let policy = parse(&example()).unwrap();
    let refused = policy.verify(&note(&[(11, NOW), (14, NOW)])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the witness quorum is not met: `X-and-Y` has 1 of 2, without X-witnesses; \
         `X-witnesses` has 1 of 2, without X2, X3"
    );
    let refused = policy.verify(&note(&[])).unwrap_err();
    let Violation::QuorumNotMet { missing } = refused else {
        panic!("{refused}");
    };
    let names: Vec<&str> = missing.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["X-and-Y", "X-witnesses", "Y-witnesses"]);
    // The same witness twice is one witness.
    assert!(policy.verify(&note(&[(11, 1), (11, 2), (14, 3)])).is_err());

    let one = format!("witness w {}\nquorum w\n", witness_key(11).verifier());
    let one = parse(&format!("log {}\n{one}", log_key().verifier())).unwrap();
    assert_eq!(
        one.verify(&note(&[])).unwrap_err().to_string(),
        "the witness quorum is not met: `w` has not cosigned"
    );
    // A cosignature without a time says nothing about the largest tree.
    assert!(one.verify(&note(&[(11, 0)])).is_err());
    assert!(one.verify(&note(&[(11, 1)])).is_ok());
}

#[test]
fn the_log_must_be_known_and_have_signed_and_no_known_key_may_be_forged() {
    let none = |log: &SigningKey| parse(&format!("log {}\nquorum none\n", log.verifier())).unwrap();
    let policy = none(&log_key());
    assert_eq!(policy.verify(&note(&[])).unwrap().time, None);
    let stranger = SigningKey::from_seed("stranger".parse().unwrap(), [1; 32]);
    let origin = ORIGIN.to_owned();
    assert_eq!(
        none(&stranger).verify(&note(&[])),
        Err(Violation::UnknownLog {
            origin: origin.clone()
        })
    );
    let other = SigningKey::from_seed(ORIGIN.parse().unwrap(), [2; 32]);
    assert_eq!(
        none(&other).verify(&note(&[])),
        Err(Violation::NotSigned {
            origin: origin.clone()
        })
    );
    // The log's own cosignature is no substitute for a policy that lists its Ed25519 key.
    let only_witness = note(&[(11, NOW)]).signatures()[1].clone();
    let unsigned = SignedNote::assemble(&checkpoint().to_text(), vec![only_witness]).unwrap();
    assert_eq!(
        parse(&example()).unwrap().verify(&unsigned),
        Err(Violation::NotSigned { origin })
    );

    for position in [0, 2] {
        let full = note(&[(11, NOW), (12, NOW), (13, NOW), (14, NOW)]);
        let mut lines = full.signatures().to_vec();
        let mut bytes = lines[position].bytes().to_vec();
        bytes[20] ^= 1;
        let name = lines[position].name().clone();
        lines[position] = NoteSignature::new(name.clone(), lines[position].id(), bytes);
        let forged = SignedNote::assemble(full.text(), lines).unwrap();
        assert_eq!(
            parse(&example()).unwrap().verify(&forged),
            Err(Violation::BadSignature { name })
        );
    }
}

#[test]
fn a_policy_without_logs_serves_who_knows_the_log_already() {
    let policy = parse("quorum none\n").unwrap();
    assert!(matches!(
        policy.verify(&note(&[])),
        Err(Violation::UnknownLog { .. })
    ));
    let key = LogKey::from(log_key().verifier().clone());
    assert!(policy.verify_log(&note(&[]), &[&key]).is_ok());
}

#[test]
fn freshness_is_the_age_of_the_quorum_and_the_future_is_not_fresh() {
    let policy = parse(&example()).unwrap();
    let at = |time| {
        let cosigned = [(11, time), (12, time), (14, time)];
        policy
            .verify(&note(&cosigned))
            .unwrap()
            .check_fresh(NOW, 600)
    };
    assert_eq!(at(NOW), Ok(()));
    assert_eq!(at(NOW - 600), Ok(()));
    assert_eq!(
        at(NOW - 601),
        Err(NotFresh::Old {
            age: 601,
            max_age: 600
        })
    );
    assert_eq!(at(NOW + 60), Ok(()));
    assert_eq!(at(NOW + 61), Err(NotFresh::Future { ahead: 61 }));
    let undated = parse(&format!("log {}\nquorum none\n", log_key().verifier())).unwrap();
    let verified = undated.verify(&note(&[])).unwrap();
    assert_eq!(verified.check_fresh(NOW, 600), Err(NotFresh::NoTime));
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        words in "((log|witness|group|quorum|none|any|all|a|b|1|2|#)[ \t\n]){0,30}",
    ) {
        let _ = TlogPolicy::parse(&noise);
        let _ = parse(&words);
    }

    /// The time of a quorum is the latest T such that the cosignatures of T and later meet it.
    #[test]
    fn the_time_of_a_quorum_is_the_latest_that_still_meets_it(
        times in proptest::collection::vec(proptest::option::of(1..20_u64), 6),
    ) {
        let policy = parse(&example()).unwrap();
        let meets = |from: u64| {
            let later: Vec<bool> = times.iter().map(|t| t.is_some_and(|t| t >= from)).collect();
            let count = |range: std::ops::Range<usize>| later[range].iter().filter(|b| **b).count();
            count(0..3) >= 2 && count(3..6) >= 1
        };
        let expected = (1..20).rev().find(|from| meets(*from));
        match policy.standing(&times) {
            Standing::Met { time } => prop_assert_eq!(time, expected),
            Standing::NotMet { missing } => {
                prop_assert_eq!(expected, None);
                prop_assert!(!missing.is_empty());
            }
        }
    }
}
