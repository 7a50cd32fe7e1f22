//! Cosignatures: what each kind signs, and all that must not verify.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::{
    hash::leaf_hash,
    note::{KeyError, SignedNote, SigningKey, VerifierKey},
};

const ORIGIN: &str = "example.com/behind-the-sofa";
const TIME: u64 = 1_679_315_147;

fn key(name: &str, algorithm: Algorithm, seed: u8) -> CosignerSigningKey {
    CosignerSigningKey::from_seed(name.parse().unwrap(), algorithm, [seed; 32])
}

fn both(seed: u8) -> [CosignerSigningKey; 2] {
    [Algorithm::Ed25519, Algorithm::MlDsa44].map(|algorithm| key("witness/w1", algorithm, seed))
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 20_852_163,
        root: leaf_hash(b"root"),
        extensions: Vec::new(),
    }
}

#[test]
fn each_kind_signs_the_message_of_the_specification() {
    let [classic, quantum] = both(1);
    let text = checkpoint().to_text();
    assert_eq!(
        classic.verifier().message(&checkpoint(), TIME).unwrap(),
        format!("cosignature/v1\ntime 1679315147\n{text}").into_bytes()
    );
    let expected = [
        b"subtree/v1\n\0\x0awitness/w1".as_slice(),
        &[0, 0, 0, 0, 0x64, 0x18, 0x50, 0xcb],
        b"\x1bexample.com/behind-the-sofa",
        &[0; 8],
        &[0, 0, 0, 0, 0x01, 0x3e, 0x2d, 0xc3],
        leaf_hash(b"root").as_bytes(),
    ]
    .concat();
    assert_eq!(
        quantum.verifier().message(&checkpoint(), TIME).unwrap(),
        expected
    );
}

#[test]
fn a_key_adds_its_own_cosignature_once_and_keeps_those_of_others() {
    let log = SigningKey::from_seed(ORIGIN.parse().unwrap(), [1; 32]);
    let signed = checkpoint().sign(&log).unwrap();
    let open = |bytes: &[u8]| SignedCheckpoint::open(bytes, log.verifier(), ORIGIN).unwrap();
    for key in both(2) {
        let once = key.cosign_onto(&open(&signed), 5).unwrap();
        let twice = key.cosign_onto(&open(&once.to_bytes()), 7).unwrap();
        let [by_log, by_key] = twice.signatures() else {
            panic!("{twice:?}")
        };
        assert_eq!(by_log.name(), log.verifier().name());
        assert_eq!(key.verifier().verify(&checkpoint(), by_key), Ok(7));
    }
}

#[test]
fn a_cosignature_is_a_time_and_a_signature_after_the_id() {
    for (key, length) in both(1).into_iter().zip([8 + 64, 8 + 2420]) {
        let line = key.cosign(&checkpoint(), TIME).unwrap();
        assert_eq!(line.bytes().len(), length);
        assert_eq!(line.bytes()[..8], TIME.to_be_bytes());
        assert_eq!(key.verifier().verify(&checkpoint(), &line), Ok(TIME));
        // Deterministic: the same statement has the same bytes.
        assert_eq!(key.cosign(&checkpoint(), TIME).unwrap(), line);
    }
}

#[test]
fn an_id_is_of_name_kind_and_key() {
    for key in both(3) {
        let verifier = key.verifier();
        let digest = Sha256::new()
            .chain_update("witness/w1\n")
            .chain_update([verifier.algorithm().type_byte()])
            .chain_update(verifier.public_bytes())
            .finalize();
        assert_eq!(verifier.id()[..], digest[..4]);
    }
}

#[test]
fn another_checkpoint_time_key_or_name_does_not_verify() {
    for key in both(1) {
        let line = key.cosign(&checkpoint(), TIME).unwrap();
        let bad = Err(CosignatureError::BadSignature {
            name: key.verifier().name().clone(),
        });
        let changes: [fn(&mut Checkpoint); 3] = [
            |c| c.origin.push('x'),
            |c| c.size += 1,
            |c| c.root = leaf_hash(b"other"),
        ];
        for change in changes {
            let mut other = checkpoint();
            change(&mut other);
            assert_eq!(key.verifier().verify(&other, &line), bad);
        }
        let mut bytes = line.bytes().to_vec();
        bytes[7] ^= 1;
        let later = NoteSignature::new(line.name().clone(), line.id(), bytes);
        assert_eq!(key.verifier().verify(&checkpoint(), &later), bad);
        let short = NoteSignature::new(line.name().clone(), line.id(), vec![0; 7]);
        assert_eq!(key.verifier().verify(&checkpoint(), &short), bad);

        let renamed = key.renamed("witness/w2".parse().unwrap());
        assert_eq!(
            renamed.verifier().public_bytes(),
            key.verifier().public_bytes()
        );
        let name = renamed.verifier().name().clone();
        assert_eq!(
            renamed.verifier().verify(&checkpoint(), &line),
            Err(CosignatureError::NotThisKey { name })
        );
    }
}

#[test]
fn only_the_kind_that_resists_quantum_computers_commits_to_the_name_and_leaves_extensions_out() {
    let extended = Checkpoint {
        extensions: vec!["extension".into()],
        ..checkpoint()
    };
    let [classic, quantum] = both(1);
    let relabel = |key: &CosignerSigningKey, line: &NoteSignature| {
        let other = key.renamed("witness/w2".parse().unwrap());
        let verifier = other.verifier();
        let moved = NoteSignature::new(
            verifier.name().clone(),
            verifier.id(),
            line.bytes().to_vec(),
        );
        verifier.verify(&checkpoint(), &moved)
    };
    let line = classic.cosign(&checkpoint(), TIME).unwrap();
    assert!(classic.verifier().verify(&extended, &line).is_err());
    assert_eq!(relabel(&classic, &line), Ok(TIME));
    let line = quantum.cosign(&checkpoint(), TIME).unwrap();
    assert_eq!(quantum.verifier().verify(&extended, &line), Ok(TIME));
    assert!(relabel(&quantum, &line).is_err());
}

#[test]
fn no_one_bit_change_of_a_cosignature_verifies() {
    for key in both(1) {
        let line = key.cosign(&checkpoint(), TIME).unwrap();
        // Every bit of the small one; of the large one every bit of every 64th byte.
        let step = if line.bytes().len() > 100 { 64 } else { 1 };
        for byte in (0..line.bytes().len()).step_by(step) {
            for bit in 0..8 {
                let mut bytes = line.bytes().to_vec();
                bytes[byte] ^= 1 << bit;
                let changed = NoteSignature::new(line.name().clone(), line.id(), bytes);
                assert!(
                    key.verifier().verify(&checkpoint(), &changed).is_err(),
                    "byte {byte}, bit {bit}"
                );
            }
        }
    }
}

#[test]
fn times_and_origins_that_no_cosignature_can_have_are_refused() {
    let [classic, quantum] = both(1);
    for key in [&classic, &quantum] {
        let timestamp = MAX_TIMESTAMP + 1;
        let refused = Err(CosignatureError::BadTimestamp { timestamp });
        assert_eq!(key.cosign(&checkpoint(), timestamp), refused);
        assert!(key.cosign(&checkpoint(), MAX_TIMESTAMP).is_ok());
        let bytes = [timestamp.to_be_bytes().as_slice(), &[0; 64]].concat();
        let verifier = key.verifier();
        let line = NoteSignature::new(verifier.name().clone(), verifier.id(), bytes);
        assert_eq!(
            verifier.verify(&checkpoint(), &line),
            Err(CosignatureError::BadTimestamp { timestamp })
        );
    }
    let long = Checkpoint {
        origin: "o".repeat(256),
        ..checkpoint()
    };
    assert!(classic.cosign(&long, TIME).is_ok());
    assert_eq!(
        quantum.cosign(&long, TIME),
        Err(CosignatureError::OriginTooLong { length: 256 })
    );
}

#[test]
fn a_subtree_is_signed_without_a_time_and_by_one_kind_only() {
    let [classic, quantum] = both(1);
    let subtree = Subtree {
        origin: ORIGIN,
        start: 8,
        end: 13,
        hash: leaf_hash(b"subtree"),
    };
    let line = quantum.cosign_subtree(&subtree).unwrap();
    assert_eq!(line.bytes()[..8], [0; 8]);
    assert_eq!(quantum.verifier().verify_subtree(&subtree, &line), Ok(()));
    let other = Subtree { end: 14, ..subtree };
    assert!(quantum.verifier().verify_subtree(&other, &line).is_err());
    // A checkpoint's signature says more, and is not one of a subtree.
    let dated = quantum.cosign(&checkpoint(), TIME).unwrap();
    assert!(quantum.verifier().verify_subtree(&subtree, &dated).is_err());

    let name = classic.verifier().name().clone();
    assert_eq!(
        classic.cosign_subtree(&subtree),
        Err(CosignatureError::CannotSignSubtrees { name })
    );
    let (start, end) = (4, 9);
    assert_eq!(
        quantum.cosign_subtree(&Subtree {
            start,
            end,
            ..subtree
        }),
        Err(CosignatureError::NotASubtree { start, end })
    );
}

#[test]
fn subtrees_begin_where_their_width_divides() {
    for (start, end) in [(0, 1), (0, 7), (4, 8), (8, 13), (5, 6), (0, u64::MAX)] {
        assert!(is_subtree(start, end), "{start} to {end}");
    }
    for (start, end) in [(0, 0), (3, 3), (4, 3), (4, 9), (2, 5), (1, u64::MAX)] {
        assert!(!is_subtree(start, end), "{start} to {end}");
    }
}

#[test]
fn the_text_of_every_key_reads_back_and_names_its_kind() {
    for key in both(9) {
        let text = key.verifier().to_string();
        assert_eq!(text.parse::<CosignerKey>().unwrap(), *key.verifier());
        assert_eq!(text.parse::<CosignerKey>().unwrap().to_string(), text);
        let restored: CosignerSigningKey = key.to_text().parse().unwrap();
        assert_eq!(restored.verifier(), key.verifier());
        assert_eq!(restored.to_text(), key.to_text());
        assert_eq!(
            restored.cosign(&checkpoint(), TIME),
            key.cosign(&checkpoint(), TIME)
        );
        assert_eq!(
            key.to_text().parse::<CosignerKey>(),
            Err(KeyError::SecretGiven)
        );
        let shown = format!("{key:?}");
        assert!(
            !shown.contains("PRIVATE") && !shown.contains("CQkJ"),
            "{shown}"
        );
    }
}

#[test]
fn a_logs_key_and_a_cosigners_key_are_never_mistaken_for_each_other() {
    let log = SigningKey::from_seed("n".parse().unwrap(), [1; 32]);
    let refused = log.verifier().to_string().parse::<CosignerKey>();
    assert_eq!(
        refused,
        Err(KeyError::UnsupportedType {
            name: "n".parse().unwrap(),
            found: 1,
            expected: "a cosigner's key, Ed25519 (0x04) or ML-DSA-44 (0x06)",
        })
    );
    assert!(log.to_text().parse::<CosignerSigningKey>().is_err());
    for key in both(1) {
        assert!(key.verifier().to_string().parse::<VerifierKey>().is_err());
        assert!(key.to_text().parse::<SigningKey>().is_err());
    }
}

#[test]
fn a_key_whose_text_was_changed_is_refused() {
    for key in both(5) {
        let text = key.verifier().to_string();
        let name: KeyName = "witness/w1".parse().unwrap();
        let renamed = text.replacen("w1", "w2", 1);
        assert!(matches!(
            renamed.parse::<CosignerKey>(),
            Err(KeyError::WrongId { .. })
        ));
        let (short, _) = text.split_at(text.len() - 4);
        assert!(matches!(
            short.parse::<CosignerKey>(),
            Err(KeyError::BadEncoding { name: found }) if found == name
        ));
        // The last character may only carry bits that are not used.
        for position in 0..text.len().min(100) {
            let mut changed = text.clone().into_bytes();
            changed[position] ^= 1;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            assert!(changed.parse::<CosignerKey>().is_err(), "{changed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_cosigned_verifies_in_a_note_that_is_read_back(
        size in 1..=crate::MAX_TREE_SIZE, time in 0..=MAX_TIMESTAMP, seed in any::<[u8; 32]>(),
        kind in prop_oneof![Just(Algorithm::Ed25519), Just(Algorithm::MlDsa44)],
    ) {
        let signer = CosignerSigningKey::from_seed("w".parse().unwrap(), kind, seed);
        let checkpoint = Checkpoint { size, ..checkpoint() };
        let line = signer.cosign(&checkpoint, time).unwrap();
        let note = SignedNote::assemble(&checkpoint.to_text(), vec![line]).unwrap();
        let read = SignedNote::parse(&note.to_bytes()).unwrap();
        let found = Checkpoint::parse(read.text()).unwrap();
        prop_assert_eq!(signer.verifier().verify(&found, &read.signatures()[0]), Ok(time));
    }

    #[test]
    fn arbitrary_signatures_never_panic(noise in proptest::collection::vec(any::<u8>(), 1..2500)) {
        for key in both(1) {
            let verifier = key.verifier();
            let line = NoteSignature::new(verifier.name().clone(), verifier.id(), noise.clone());
            prop_assert!(verifier.verify(&checkpoint(), &line).is_err());
        }
    }
}
