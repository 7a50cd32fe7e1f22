//! The published vectors in `tests/vectors/`: made from fixed seeds, compared byte by byte, and
//! every verdict asked of this crate. Their form is described in `tests/vectors/README.md`.
//!
//! After a change on purpose, `QUORIX_REGENERATE=1 cargo test -p quorix-tlog --test vectors` writes
//! them anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and these read and write files"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use quorix_tlog::{
    cosignature::{Algorithm, CosignerSigningKey},
    hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash},
    log_key::LogKey,
    note::{SignedNote, SigningKey},
    tlog_policy::TlogPolicy,
    tlog_proof::TlogProof,
    witness::{AddCheckpoint, Cosigned, WitnessedLog, judge},
};

#[path = "vectors/seeds.rs"]
mod seeds;
#[path = "vectors/vector_files.rs"]
mod vector_files;

use seeds::{
    ORIGIN, TIME, by, checkpoint, inclusion, leaves, log, log_quantum, note, own, root, witness,
};
use vector_files::{Files, compare_or_write};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors"))
}

/// All that a policy can use: the log under both of its keys, three witnesses, two of them needed.
fn full_policy() -> String {
    let mut text = format!(
        "log {}\nlog {}\n",
        log().verifier(),
        log_quantum().verifier()
    );
    for number in 1..=3 {
        text.push_str(&format!(
            "witness w{number} {}\n",
            witness(number).verifier()
        ));
    }
    text + "group two-of-three 2 w1 w2 w3\nquorum two-of-three\n"
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn policies(files: &mut Files) {
    let line = |number: u8| format!("witness w{number} {}\n", witness(number).verifier());
    let (w1, w2) = (line(1), line(2));
    let log = format!("log {}\n", log().verifier());
    let nested =
        format!("{log}{w1}{w2}group inner any w1\ngroup outer all inner w2\nquorum outer\n");
    let spaced = format!(
        "\t# tabs, spaces, URLs\n\n {log}\twitness  w1\t{} https://w.example/ \nquorum\tw1\n",
        witness(1).verifier()
    );
    let kelvin = format!(
        "witness \u{212a} {}\nquorum \u{212a}\n",
        witness(1).verifier()
    );
    for (name, text) in [
        ("full", full_policy()),
        ("log-only", format!("{log}quorum none\n")),
        ("no-log", "quorum none\n".to_owned()),
        ("one-witness", format!("{log}{w1}quorum w1\n")),
        ("nested", nested),
        ("spaces-and-urls", spaced),
        ("non-ascii-name", kelvin.clone()),
        ("quorum-before-log", format!("quorum none\n{log}")),
    ] {
        files.add(format!("policies/accepted/{name}.policy"), text.as_bytes());
    }
    let same_key = witness(1).renamed("other".parse().unwrap());
    let twice = format!("{w1}witness again {}\nquorum none\n", same_key.verifier());
    let k_is_not_kelvin = kelvin.replace("quorum \u{212a}", "quorum K");
    for (name, text, expected) in [
        ("no-quorum", log.clone(), "1:1 no quorum is defined"),
        (
            "two-quorums",
            "quorum none\nquorum none\n".into(),
            "2:1 the quorum is defined twice",
        ),
        (
            "not-ended",
            "quorum none".into(),
            "1:1 the last line does not end with a line feed",
        ),
        (
            "carriage-return",
            "quorum none\r\n".into(),
            "1:12 control character",
        ),
        (
            "comment-after-words",
            "quorum none # why\n".into(),
            "1:13 `#` is one word too many",
        ),
        (
            "unknown-word",
            "threshold 2\n".into(),
            "1:1 `threshold` is not known",
        ),
        (
            "same-log-twice",
            format!("{log}{log}quorum none\n"),
            "2:5 this log's key is on line 1 already",
        ),
        (
            "same-witness-twice",
            twice,
            "2:15 this key is that of witness `w1` on line 1",
        ),
        (
            "same-name-twice",
            format!("{w1}{}", w2.replace("w2", "w1")),
            "2:9 `w1` is defined already",
        ),
        (
            "named-none",
            w1.replace("w1", "none"),
            "1:9 `none` is defined already",
        ),
        (
            "none-as-member",
            format!("{w1}group g any w1 none\nquorum g\n"),
            "2:16 `none` cannot be a member",
        ),
        (
            "used-before-defined",
            format!("group g any w1\n{w1}quorum g\n"),
            "1:13 `w1` is not defined on a line above",
        ),
        (
            "quorum-before-witness",
            format!("quorum w1\n{w1}"),
            "1:8 `w1` is not defined on a line above",
        ),
        (
            "member-of-itself",
            "group g any g\nquorum g\n".into(),
            "1:13 `g` is not defined on a line above",
        ),
        (
            "member-of-two-groups",
            format!("{w1}{w2}group g any w1\ngroup h any w1 w2\nquorum h\n"),
            "4:13 `w1` is a member of a group already",
        ),
        (
            "threshold-too-large",
            format!("{w1}group g 2 w1\nquorum g\n"),
            "2:9 group `g` needs 2 of 1 members",
        ),
        (
            "threshold-zero",
            format!("{w1}group g 0 w1\nquorum g\n"),
            "2:9 group `g` needs 0 of 1 members",
        ),
        (
            "threshold-leading-zero",
            format!("{w1}group g 01 w1\nquorum g\n"),
            "2:9 group `g` needs 01 of 1 members",
        ),
        (
            "group-without-members",
            "group g any\n".into(),
            "1:12 `group` needs at least one member",
        ),
        (
            "kelvin-is-not-k",
            k_is_not_kelvin,
            "2:8 `K` is not defined on a line above",
        ),
        (
            "witness-key-as-log",
            format!("log {}\nquorum none\n", witness(1).verifier()),
            "1:5 not a usable key: the key witness1.example is of type 0x04; expected here is a log's key, Ed25519 (0x01) or ML-DSA-44 (0x06)",
        ),
    ] {
        files.expect(
            "policies/refused",
            &format!("{name}.policy"),
            text.as_bytes(),
            expected,
        );
    }
}

fn checkpoints(files: &mut Files) {
    let quantum = log_quantum().cosign(&checkpoint(7), TIME).unwrap();
    let all = vec![
        own(7),
        quantum.clone(),
        by(1, 7, TIME),
        by(2, 7, TIME + 5),
        by(3, 7, TIME + 9),
    ];
    let forged = {
        let other = by(1, 8, TIME);
        note(7, vec![own(7), other, by(2, 7, TIME), by(3, 7, TIME)])
    };
    let stranger =
        CosignerSigningKey::from_seed("w1".parse().unwrap(), Algorithm::Ed25519, [99; 32]);
    let unknown = stranger.cosign(&checkpoint(7), TIME).unwrap();
    let met = |time: u64| format!("accepted {time}");
    let lacking = "the witness quorum is not met: `two-of-three` has 1 of 2, without";
    for (name, note, expected) in [
        ("three-types", note(7, all.clone()), met(TIME + 5)),
        (
            "two-cosignatures",
            note(7, vec![own(7), by(1, 7, TIME), by(3, 7, TIME + 9)]),
            met(TIME),
        ),
        (
            "log-by-ml-dsa-only",
            note(7, vec![quantum, by(1, 7, TIME), by(2, 7, TIME)]),
            met(TIME),
        ),
        (
            "unknown-lines-ignored",
            note(
                7,
                vec![unknown.clone(), own(7), by(1, 7, TIME), by(2, 7, TIME)],
            ),
            met(TIME),
        ),
        (
            "one-cosignature",
            note(7, vec![own(7), by(1, 7, TIME)]),
            format!("refused {lacking} w2, w3"),
        ),
        (
            "one-witness-twice",
            note(7, vec![own(7), by(1, 7, TIME), by(1, 7, TIME + 1)]),
            format!("refused {lacking} w2, w3"),
        ),
        (
            "unknown-does-not-count",
            note(7, vec![own(7), by(3, 7, TIME), unknown]),
            format!("refused {lacking} w1, w2"),
        ),
        (
            "no-time-does-not-count",
            note(7, vec![own(7), by(1, 7, TIME), by(3, 7, 0)]),
            format!("refused {lacking} w2, w3"),
        ),
        (
            "not-by-the-log",
            note(7, all.get(2..).unwrap().to_vec()),
            format!("refused none of the known keys of the log {ORIGIN} signed the checkpoint"),
        ),
        (
            "bad-cosignature-beside-a-quorum",
            forged,
            "refused the signature by witness1.example is not valid for the checkpoint".into(),
        ),
    ] {
        files.expect(
            "checkpoints",
            &format!("{name}.checkpoint"),
            &note.to_bytes(),
            &expected,
        );
    }
}

fn proofs(files: &mut Files) {
    let signed = |size| note(size, vec![own(size), by(1, size, TIME), by(2, size, TIME)]);
    let proof = |index: usize, size: u64, extra: Option<&[u8]>| TlogProof {
        extra: extra.map(<[u8]>::to_vec),
        index: index as u64,
        proof: inclusion(index, &leaves(size)),
        note: signed(size),
    };
    let mut surplus = proof(2, 7, None);
    surplus.proof.push(EMPTY_ROOT);
    let mut short = proof(2, 7, None);
    short.proof.pop();
    let mut moved = proof(2, 7, None);
    moved.index = 3;
    let mut beyond = proof(2, 7, None);
    beyond.index = 7;
    let mut alone = proof(2, 7, None);
    alone.note = note(7, vec![own(7)]);
    let not_shown = "refused the entry is not shown to be in the log:";
    let computed = node_hash(&leaves(4)[3], &leaves(3)[2]);
    let left = node_hash(&root(&leaves(2)), &computed);
    let wrong = node_hash(&left, &root(&leaves(7)[4..]));
    for (name, proof, expected) in [
        (
            "entry-2-of-7",
            proof(2, 7, None),
            format!("accepted {TIME}"),
        ),
        ("entry-0-of-1", proof(0, 1, None), "refused-leaf".to_owned()),
        (
            "entry-2-of-300-with-extra",
            proof(2, 300, Some(b"nobody vouches for this")),
            format!("accepted {TIME}"),
        ),
        (
            "surplus-hash",
            surplus,
            format!("{not_shown} the proof of 4 hashes is too long"),
        ),
        (
            "missing-hash",
            short,
            format!("{not_shown} the proof of 2 hashes is too short"),
        ),
        (
            "another-index",
            moved,
            format!(
                "{not_shown} the proof leads to the root {wrong}, not to {}",
                root(&leaves(7))
            ),
        ),
        (
            "index-out-of-range",
            beyond,
            format!("{not_shown} index 7 is not in a tree of 7 entries"),
        ),
        (
            "quorum-not-met",
            alone,
            "refused the witness quorum is not met: `two-of-three` has 0 of 2, without w1, w2, w3"
                .into(),
        ),
    ] {
        let expected = if expected == "refused-leaf" {
            let only = leaf_hash(b"entry 0");
            format!(
                "{not_shown} the proof leads to the root {}, not to {only}",
                leaf_hash(b"entry 2")
            )
        } else {
            expected
        };
        files.expect(
            "proofs",
            &format!("{name}.tlog-proof"),
            &proof.to_bytes(),
            &expected,
        );
    }
}

/// Each asked of a witness that cosigned size 4 last.
fn requests(files: &mut Files) {
    let body = |old: u64, proof: Vec<Hash>, note: SignedNote| {
        AddCheckpoint::new(old, proof, note).unwrap().to_bytes()
    };
    let grown = vec![root(&leaves(7)[4..])];
    let by_log = |size| note(size, vec![own(size)]);
    let foreign = {
        let text = checkpoint(7).to_text().replace("alice", "bob");
        let key = SigningKey::from_seed("logs.example.org/bob".parse().unwrap(), [1; 32]);
        SignedNote::sign(&text, &[&key]).unwrap()
    };
    let mut padded = body(4, grown.clone(), by_log(7));
    padded.splice(..5, *b"old 04");
    for (name, bytes, expected) in [
        ("extends", body(4, grown.clone(), by_log(7)), "200"),
        ("same-size", body(4, vec![], by_log(4)), "200"),
        ("leading-zero", padded, "400"),
        ("old-above-new", body(5, vec![], by_log(4)), "400"),
        (
            "not-by-the-log",
            body(4, grown.clone(), note(7, vec![by(1, 7, TIME)])),
            "403",
        ),
        ("another-log", body(4, grown.clone(), foreign), "404"),
        ("first-time", body(0, vec![], by_log(7)), "409 4"),
        ("behind", body(2, vec![leaves(4)[2]], by_log(3)), "409 4"),
        ("no-proof", body(4, vec![], by_log(7)), "422"),
        ("wrong-proof", body(4, vec![EMPTY_ROOT], by_log(7)), "422"),
        (
            "surplus-proof",
            body(4, [grown, vec![EMPTY_ROOT]].concat(), by_log(7)),
            "422",
        ),
    ] {
        files.expect(
            "requests",
            &format!("{name}.add-checkpoint"),
            &bytes,
            expected,
        );
    }
}

fn keys(files: &mut Files) {
    let mut text = format!("{}\n{}\n", log().verifier(), log_quantum().verifier());
    for number in 1..=3 {
        text.push_str(&format!("{}\n", witness(number).verifier()));
    }
    files.add("keys.txt".into(), text.as_bytes());
    let mut secret = format!("{}\n{}\n", log().to_text(), log_quantum().to_text());
    for number in 1..=3 {
        secret.push_str(&format!("{}\n", witness(number).to_text()));
    }
    files.add("secret-keys.txt".into(), secret.as_bytes());
}

#[test]
fn the_published_vectors_are_what_the_fixed_seeds_give() {
    let mut files = Files::default();
    keys(&mut files);
    policies(&mut files);
    checkpoints(&mut files);
    proofs(&mut files);
    requests(&mut files);
    compare_or_write(&folder(), &files);
}

/// Name and expected verdict of every file in a folder, and its bytes.
fn cases(name: &str) -> BTreeMap<String, (String, Vec<u8>)> {
    let folder = folder().join(name);
    let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
    let cases: BTreeMap<_, _> = expected
        .lines()
        .map(|line| {
            let (file, verdict) = line.split_once(' ').unwrap();
            let bytes = fs::read(folder.join(file)).unwrap();
            (file.to_owned(), (verdict.to_owned(), bytes))
        })
        .collect();
    assert!(!cases.is_empty());
    cases
}

fn published_policy() -> TlogPolicy {
    TlogPolicy::parse(&fs::read(folder().join("policies/accepted/full.policy")).unwrap()).unwrap()
}

#[test]
fn every_accepted_policy_is_read_and_every_refused_one_is_refused_for_the_reason_given() {
    let accepted = fs::read_dir(folder().join("policies/accepted")).unwrap();
    let mut count = 0;
    for file in accepted {
        let path = file.unwrap().path();
        let read = TlogPolicy::parse(&fs::read(&path).unwrap());
        assert!(read.is_ok(), "{}: {read:?}", path.display());
        count += 1;
    }
    assert!(count > 5);
    for (file, (expected, bytes)) in cases("policies/refused") {
        let error = TlogPolicy::parse(&bytes).unwrap_err();
        let said = format!("{}:{} {}", error.line, error.column, error.message);
        assert_eq!(said, expected, "{file}");
    }
}

#[test]
fn every_checkpoint_has_the_verdict_given() {
    let policy = published_policy();
    for (file, (expected, bytes)) in cases("checkpoints") {
        let note = SignedNote::parse(&bytes).unwrap();
        assert_eq!(note.to_bytes(), bytes, "{file}");
        let verdict = match policy.verify(&note) {
            Ok(verified) => format!("accepted {}", verified.time.unwrap()),
            Err(error) => format!("refused {error}"),
        };
        assert_eq!(verdict, expected, "{file}");
    }
}

#[test]
fn every_proof_of_the_entry_2_has_the_verdict_given() {
    let policy = published_policy();
    for (file, (expected, bytes)) in cases("proofs") {
        let proof = TlogProof::parse(&bytes).unwrap();
        assert_eq!(proof.to_bytes(), bytes, "{file}");
        let verdict = match proof.verify(&leaf_hash(b"entry 2"), &policy) {
            Ok(verified) => format!("accepted {}", verified.time.unwrap()),
            Err(error) => format!("refused {error}"),
        };
        assert_eq!(verdict, expected, "{file}");
    }
}

#[test]
fn every_request_to_a_witness_that_cosigned_size_4_has_the_status_given() {
    let keys = [LogKey::from(log().verifier().clone())];
    let latest = Some(Cosigned {
        size: 4,
        root: root(&leaves(4)),
        time: TIME,
    });
    let log = WitnessedLog {
        keys: &keys,
        latest,
    };
    for (file, (expected, bytes)) in cases("requests") {
        let judged = AddCheckpoint::parse(&bytes)
            .map_err(Into::into)
            .and_then(|request| {
                let known = (request.checkpoint.origin == ORIGIN).then_some(&log);
                judge(&request, known, TIME)
            });
        let verdict = match judged {
            Ok(_) => "200".to_owned(),
            Err(refusal) if refusal.status() == 409 => format!("409 {}", refusal.body().trim_end()),
            Err(refusal) => refusal.status().to_string(),
        };
        assert_eq!(verdict, expected, "{file}");
    }
}

#[test]
fn the_published_keys_read_back() {
    let public = fs::read_to_string(folder().join("keys.txt")).unwrap();
    let secret = fs::read_to_string(folder().join("secret-keys.txt")).unwrap();
    let (mut public, mut secret) = (public.lines(), secret.lines());
    let log: SigningKey = secret.next().unwrap().parse().unwrap();
    assert_eq!(log.verifier().to_string(), public.next().unwrap());
    for text in secret {
        let key: CosignerSigningKey = text.parse().unwrap();
        assert_eq!(key.verifier().to_string(), public.next().unwrap());
    }
    assert_eq!(public.next(), None);
}
