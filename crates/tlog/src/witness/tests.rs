//! The witness protocol: every refusal with its status, and answers that are not to be believed.

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    cosignature::{Algorithm, CosignerSigningKey},
    hash::{EMPTY_ROOT, Hash, leaf_hash},
    log_key::LogKey,
    note::{NoteSignature, SignedNote, SigningKey},
    oracle,
    proof::ProofError,
};

const ORIGIN: &str = "logs.example.org/alice";
const NOW: u64 = 1_790_000_000;

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().unwrap(), [1; 32])
}

fn witness_key(seed: u8, algorithm: Algorithm) -> CosignerSigningKey {
    CosignerSigningKey::from_seed("witness.example/w".parse().unwrap(), algorithm, [seed; 32])
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root: oracle::root(&leaves(size)),
        extensions: Vec::new(),
    }
}

fn signed(checkpoint: &Checkpoint, keys: &[&SigningKey]) -> SignedNote {
    SignedNote::sign(&checkpoint.to_text(), keys).unwrap()
}

fn request(old: u64, size: u64) -> AddCheckpoint {
    let proof = oracle::consistency(usize::try_from(old).unwrap(), &leaves(size));
    AddCheckpoint::new(old, proof, signed(&checkpoint(size), &[&log_key()])).unwrap()
}

fn cosigned(size: u64) -> Option<Cosigned> {
    (size > 0).then(|| Cosigned {
        size,
        root: checkpoint(size).root,
        time: NOW - 10,
    })
}

fn judged(request: &AddCheckpoint, latest: Option<Cosigned>) -> Result<Accepted, Refusal> {
    let keys = [LogKey::from(log_key().verifier().clone())];
    let keys = keys.as_slice();
    judge(request, Some(&WitnessedLog { keys, latest }), NOW)
}

#[test]
fn a_request_reads_back_and_prints_as_it_was() {
    for (old, size) in [(0, 0), (0, 5), (3, 5), (4, 8), (5, 5), (7, 300)] {
        let request = request(old, size);
        let bytes = request.to_bytes();
        assert_eq!(AddCheckpoint::parse(&bytes), Ok(request));
        assert!(bytes.starts_with(format!("old {old}\n").as_bytes()));
    }
}

#[test]
fn what_is_not_a_request_is_refused_with_the_line() {
    let note = String::from_utf8(signed(&checkpoint(5), &[&log_key()]).to_bytes()).unwrap();
    let hash = leaf_hash(b"").to_string();
    let lines = |count: usize| format!("{hash}\n").repeat(count);
    for (text, error) in [
        (String::new(), RequestError::BadOldSize),
        ("old 3".into(), RequestError::BadOldSize),
        (format!("\n{note}"), RequestError::BadOldSize),
        (format!("old 03\n\n{note}"), RequestError::BadOldSize),
        (format!("old  3\n\n{note}"), RequestError::BadOldSize),
        (format!("Old 3\n\n{note}"), RequestError::BadOldSize),
        (format!("old 3\r\n\n{note}"), RequestError::BadOldSize),
        ("old 3\n".into(), RequestError::NoCheckpoint),
        (format!("old 3\n{hash}\n"), RequestError::NoCheckpoint),
        (format!("old 3\n{note}"), RequestError::BadHash { line: 2 }),
        (
            format!("old 3\n{hash}\n{hash} \n\n{note}"),
            RequestError::BadHash { line: 3 },
        ),
        (
            format!("old 3\n{}\n{note}", lines(64)),
            RequestError::ProofTooLong,
        ),
        (
            "x".repeat(MAX_REQUEST_LENGTH + 1),
            RequestError::TooLong {
                length: MAX_REQUEST_LENGTH + 1,
            },
        ),
        (
            "old 3\n\no\n".into(),
            RequestError::Note(crate::note::NoteError::NoSignatures),
        ),
        (
            format!("old 3\n\n{}", note.replacen("\n5\n", "\n05\n", 1)),
            RequestError::Checkpoint(CheckpointError::BadSize),
        ),
    ] {
        assert_eq!(AddCheckpoint::parse(text.as_bytes()), Err(error), "{text}");
    }
    assert!(AddCheckpoint::parse(format!("old 3\n{}\n{note}", lines(63)).as_bytes()).is_ok());
}

#[test]
fn a_witness_cosigns_what_extends_its_latest_with_each_of_its_keys() {
    let keys = [
        witness_key(2, Algorithm::Ed25519),
        witness_key(3, Algorithm::MlDsa44),
    ];
    let keys: Vec<&CosignerSigningKey> = keys.iter().collect();
    for (old, size) in [(0, 0), (0, 7), (7, 7), (7, 12), (8, 12)] {
        let accepted = judged(&request(old, size), cosigned(old)).unwrap();
        assert_eq!(accepted.state().size, size);
        assert_eq!(accepted.state().time, NOW);
        let cosignatures = accepted.cosign(&keys).unwrap();
        for (key, cosignature) in keys.iter().zip(&cosignatures) {
            let verified = key.verifier().verify(&checkpoint(size), cosignature);
            assert_eq!(verified, Ok(NOW));
        }
        let note = accepted.note(&cosignatures).unwrap();
        assert_eq!(note.signatures().len(), 3);
        assert_eq!(note.verify(&[log_key().verifier()]), Ok(()));
    }
}

#[test]
fn every_refusal_has_the_status_of_the_specification() {
    let statuses = |request: &AddCheckpoint, latest| judged(request, latest).unwrap_err().status();
    assert_eq!(
        judge(&request(0, 5), None, NOW).unwrap_err(),
        Refusal::UnknownOrigin {
            origin: ORIGIN.into()
        }
    );
    assert_eq!(judge(&request(0, 5), None, NOW).unwrap_err().status(), 404);

    let mut above = request(5, 5);
    above.old = 6;
    assert_eq!(
        judged(&above, cosigned(6)),
        Err(Refusal::OldAboveNew { old: 6, size: 5 })
    );
    assert_eq!(statuses(&above, cosigned(6)), 400);

    let stranger = SigningKey::from_seed(ORIGIN.parse().unwrap(), [9; 32]);
    let unsigned = AddCheckpoint::new(0, Vec::new(), signed(&checkpoint(5), &[&stranger])).unwrap();
    assert_eq!(
        judged(&unsigned, None),
        Err(Refusal::NotSigned {
            origin: ORIGIN.into()
        })
    );
    assert_eq!(statuses(&unsigned, None), 403);

    let stale = judged(&request(3, 5), cosigned(4)).unwrap_err();
    assert_eq!(stale, Refusal::Stale { latest: 4, old: 3 });
    assert_eq!(stale.status(), 409);
    assert_eq!(stale.content_type(), "text/x.tlog.size");
    assert_eq!(stale.body(), "4\n");
    assert_eq!(
        judged(&request(3, 5), None).unwrap_err().body(),
        "0\n",
        "nothing was cosigned yet"
    );

    let mut surplus = request(0, 5);
    surplus.proof.push(leaf_hash(b""));
    assert_eq!(
        judged(&surplus, None),
        Err(Refusal::NotConsistent(ProofError::Surplus { given: 1 }))
    );
    let mut wrong = request(3, 5);
    wrong.proof.pop();
    assert_eq!(statuses(&wrong, cosigned(3)), 422);
    let other = Some(Cosigned {
        root: leaf_hash(b"another history"),
        ..cosigned(5).unwrap()
    });
    assert!(matches!(
        judged(&request(5, 5), other),
        Err(Refusal::NotConsistent(ProofError::Forked { size: 5, .. }))
    ));
    assert_eq!(statuses(&request(5, 5), other), 422);
    let empty = Checkpoint {
        root: leaf_hash(b""),
        ..checkpoint(0)
    };
    let empty = AddCheckpoint::new(0, Vec::new(), signed(&empty, &[&log_key()])).unwrap();
    assert_eq!(AddCheckpoint::parse(&empty.to_bytes()), Ok(empty.clone()));
    assert_eq!(statuses(&empty, None), 422);
}

#[test]
fn a_bad_signature_by_a_known_key_refuses_even_beside_a_good_one() {
    let good = log_key().sign(&checkpoint(5).to_text());
    let mut bytes = good.bytes().to_vec();
    bytes[0] ^= 1;
    let bad = NoteSignature::new(good.name().clone(), good.id(), bytes);
    for lines in [vec![bad.clone()], vec![good, bad]] {
        let note = SignedNote::assemble(&checkpoint(5).to_text(), lines).unwrap();
        let refused = judged(&AddCheckpoint::new(0, Vec::new(), note).unwrap(), None).unwrap_err();
        assert_eq!(
            refused,
            Refusal::BadSignature {
                name: ORIGIN.parse().unwrap()
            }
        );
        assert_eq!(refused.status(), 403);
    }
}

#[test]
fn no_signature_is_carried_that_was_not_verified() {
    let stranger = SigningKey::from_seed("stranger".parse().unwrap(), [9; 32]);
    let note = signed(&checkpoint(5), &[&stranger, &log_key(), &log_key()]);
    let accepted = judged(&AddCheckpoint::new(0, Vec::new(), note).unwrap(), None).unwrap();
    let note = accepted.note(&[]).unwrap();
    assert_eq!(note, signed(&checkpoint(5), &[&log_key()]));
}

#[test]
fn times_never_decrease_and_a_clock_far_behind_cosigns_nothing() {
    let at = |time| {
        Some(Cosigned {
            time,
            ..cosigned(5).unwrap()
        })
    };
    let state = |time| judged(&request(5, 6), at(time)).map(|accepted| accepted.state().time);
    assert_eq!(state(NOW - 1), Ok(NOW));
    assert_eq!(state(NOW + CLOCK_TOLERANCE), Ok(NOW + CLOCK_TOLERANCE));
    let latest = NOW + CLOCK_TOLERANCE + 1;
    assert_eq!(
        state(latest),
        Err(Refusal::ClockBehind { now: NOW, latest })
    );
    assert_eq!(state(latest).unwrap_err().status(), 503);
}

#[test]
fn an_answer_is_believed_only_as_far_as_it_verifies() {
    let (ours, other) = (
        witness_key(2, Algorithm::Ed25519),
        witness_key(3, Algorithm::Ed25519),
    );
    let known = [ours.verifier()];
    let line = |key: &CosignerSigningKey, size, time| {
        format!("{}\n", key.cosign(&checkpoint(size), time).unwrap())
    };
    let read = |body: &str| read_cosignatures(body.as_bytes(), &checkpoint(5), &known);
    let good = line(&ours, 5, NOW);
    let name = || "witness.example/w".parse().unwrap();

    let found = read(&format!("{}{good}{good}", line(&other, 5, NOW))).unwrap();
    assert_eq!(found, [(ours.cosign(&checkpoint(5), NOW).unwrap(), NOW)]);
    for (body, error) in [
        (String::new(), ReplyError::NotSignatures),
        ("\n".into(), ReplyError::NotSignatures),
        ("<html>\n".into(), ReplyError::NotSignatures),
        (good.trim_end().into(), ReplyError::NotSignatures),
        (format!("{good}\n"), ReplyError::NotSignatures),
        (good.repeat(17), ReplyError::NotSignatures),
        (line(&other, 5, NOW), ReplyError::NoKnownSignature),
        (
            line(&ours, 6, NOW),
            ReplyError::BadSignature { name: name() },
        ),
        (
            format!("{good}{}", line(&ours, 6, NOW)),
            ReplyError::BadSignature { name: name() },
        ),
        (line(&ours, 5, 0), ReplyError::NoTime { name: name() }),
    ] {
        assert_eq!(read(&body), Err(error), "{body}");
    }
    assert_eq!(
        read_cosignatures(b"\xff\n", &checkpoint(5), &known),
        Err(ReplyError::NotSignatures)
    );
}

#[test]
fn the_size_of_a_conflict_is_a_number_and_nothing_else() {
    assert_eq!(read_size(b"0\n"), Ok(0));
    assert_eq!(read_size(b"20852163\n"), Ok(20_852_163));
    for body in ["", "5", "05\n", "5\n\n", "5\r\n", "9223372036854775808\n"] {
        assert_eq!(read_size(body.as_bytes()), Err(ReplyError::NotASize));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_requests_print_as_they_were(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 0..600_usize, flip in 0..600_usize,
    ) {
        prop_assert!(AddCheckpoint::parse(&noise).is_err());
        prop_assert!(read_cosignatures(&noise, &checkpoint(1), &[]).is_err());
        let _ = read_size(&noise);
        let mut bytes = request(3, 9).to_bytes();
        let position = flip % bytes.len();
        bytes[position] ^= 1;
        if let Ok(read) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes.clone());
            prop_assert!(judged(&read, cosigned(3)).is_err());
        }
        bytes.truncate(cut);
        if let Ok(read) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_witness_cosigns_a_chain_of_trees_that_extend_one_another_and_no_other(
        sizes in proptest::collection::vec(0..40_u64, 1..12),
    ) {
        let mut latest: Option<Cosigned> = None;
        for size in sizes {
            let old = latest.map_or(0, |cosigned| cosigned.size);
            if size < old {
                let stale = judged(&request(size, size), latest).unwrap_err();
                prop_assert_eq!(stale, Refusal::Stale { latest: old, old: size });
                continue;
            }
            let accepted = judged(&request(old, size), latest).unwrap();
            prop_assert_eq!(accepted.state().root, if size == 0 { EMPTY_ROOT } else { checkpoint(size).root });
            latest = Some(accepted.state());
        }
    }
}
