//! Checkpoints: one text per state, one log per checkpoint.

use proptest::prelude::*;

use super::*;
use crate::note::KeyName;

const ORIGIN: &str = "logs.example.org/alice";
const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn key(name: &str, seed: u8) -> SigningKey {
    let name: KeyName = name.parse().unwrap();
    SigningKey::from_seed(name, [seed; 32])
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root: EMPTY_ROOT,
        extensions: Vec::new(),
    }
}

#[test]
fn a_checkpoint_is_an_origin_a_size_and_a_root_each_on_a_line() {
    let text = format!("{ORIGIN}\n70000\n{ROOT}\n");
    assert_eq!(checkpoint(70_000).to_text(), text);
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint(70_000)));

    let extended = Checkpoint {
        extensions: vec!["one".into(), " ".into()],
        ..checkpoint(1)
    };
    let text = format!("{ORIGIN}\n1\n{ROOT}\none\n \n");
    assert_eq!(extended.to_text(), text);
    assert_eq!(Checkpoint::parse(&text), Ok(extended));
}

#[test]
fn what_is_not_a_checkpoint_is_refused_with_the_line() {
    use CheckpointError::{BadRoot, BadSize, EmptyLine, NotACheckpoint, TooLong};
    let root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (text, error) in [
        (String::new(), NotACheckpoint),
        ("\n".to_owned(), NotACheckpoint),
        (format!("o\n1\n{root}"), NotACheckpoint),
        ("o\n1\n".to_owned(), NotACheckpoint),
        (format!("\n1\n{root}\n"), EmptyLine { line: 1 }),
        (format!("o\n\n{root}\n"), BadSize),
        (format!("o\n01\n{root}\n"), BadSize),
        (format!("o\n+1\n{root}\n"), BadSize),
        (format!("o\n9223372036854775808\n{root}\n"), BadSize),
        ("o\n1\nAAAA\n".to_owned(), BadRoot),
        (format!("o\n1\n{root} \n"), BadRoot),
        (format!("o\n1\n{root}\n\n"), EmptyLine { line: 4 }),
        (format!("o\n1\n{root}\none\n\ntwo\n"), EmptyLine { line: 5 }),
        (
            format!("{}\n", "x".repeat(4096)),
            TooLong {
                length: 4097,
                limit: 4096,
            },
        ),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
    }
    assert!(Checkpoint::parse(&format!("o\n9223372036854775807\n{root}\n")).is_ok());
}

#[test]
fn a_log_without_entries_has_the_empty_root_and_no_other() {
    let root = Hash::from_bytes([0; 32]);
    let wrong = Checkpoint {
        root,
        ..checkpoint(0)
    };
    let refused = CheckpointError::EmptyTreeWithRoot { root };
    assert_eq!(Checkpoint::parse(&wrong.to_text()), Err(refused.clone()));
    assert_eq!(wrong.sign(&key(ORIGIN, 1)), Err(refused));
    assert!(checkpoint(0).sign(&key(ORIGIN, 1)).is_ok());
}

#[test]
fn a_signed_checkpoint_opens_with_its_key_and_its_origin_only() {
    let signer = key(ORIGIN, 1);
    let bytes = checkpoint(7).sign(&signer).unwrap();
    let opened = SignedCheckpoint::open(&bytes, signer.verifier(), ORIGIN).unwrap();
    assert_eq!(opened.checkpoint(), &checkpoint(7));
    assert_eq!(opened.bytes(), bytes);

    let stranger = SignedCheckpoint::open(&bytes, key(ORIGIN, 2).verifier(), ORIGIN);
    assert_eq!(
        stranger,
        Err(CheckpointError::Note(NoteError::NoKnownSignature))
    );
}

#[test]
fn no_one_bit_change_of_a_signed_checkpoint_opens() {
    let signer = key(ORIGIN, 1);
    let bytes = checkpoint(70_000).sign(&signer).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(
            SignedCheckpoint::open(&changed, signer.verifier(), ORIGIN).is_err(),
            "bit {bit}"
        );
    }
}

#[test]
fn a_checkpoint_that_would_read_as_another_is_never_signed() {
    let signer = key(ORIGIN, 1);
    let injected = format!("{ORIGIN}\n9\n{ROOT}");
    let origin = Checkpoint {
        origin: injected,
        ..checkpoint(7)
    };
    assert_eq!(origin.sign(&signer), Err(CheckpointError::LineFeed));
    let extension = Checkpoint {
        extensions: vec!["a\nb".into()],
        ..checkpoint(7)
    };
    assert_eq!(extension.sign(&signer), Err(CheckpointError::LineFeed));
    let empty = Checkpoint {
        origin: String::new(),
        ..checkpoint(7)
    };
    assert_eq!(
        empty.sign(&signer),
        Err(CheckpointError::EmptyLine { line: 1 })
    );
    assert_eq!(
        checkpoint(1 << 63).sign(&signer),
        Err(CheckpointError::BadSize)
    );
    let tab = Checkpoint {
        origin: "a\tb".into(),
        ..checkpoint(7)
    };
    let offset = NoteError::ControlCharacter { offset: 1 };
    assert_eq!(tab.sign(&signer), Err(CheckpointError::Note(offset)));
}

#[test]
fn a_signed_checkpoint_of_more_than_64_kib_is_not_even_read() {
    let length = MAX_SIGNED_CHECKPOINT_LENGTH + 1;
    let opened = SignedCheckpoint::open(&vec![b'x'; length], key(ORIGIN, 1).verifier(), ORIGIN);
    let limit = MAX_SIGNED_CHECKPOINT_LENGTH;
    assert_eq!(opened, Err(CheckpointError::TooLong { length, limit }));
}

#[test]
fn trustix_a_head_of_one_log_is_refused_for_another_log_of_the_same_key() {
    let shared = key("operator.example", 1);
    let bytes = checkpoint(7).sign(&shared).unwrap();
    let swapped = SignedCheckpoint::open(&bytes, shared.verifier(), "logs.example.org/bob");
    let (found, expected) = (ORIGIN.to_owned(), "logs.example.org/bob".to_owned());
    assert_eq!(
        swapped,
        Err(CheckpointError::WrongOrigin { found, expected })
    );
}

#[test]
fn trustix_a_head_that_is_not_signed_is_never_opened() {
    let unsigned = checkpoint(7).to_text();
    let key = key(ORIGIN, 1);
    for bytes in [unsigned.clone(), format!("{unsigned}\n"), String::new()] {
        let opened = SignedCheckpoint::open(bytes.as_bytes(), key.verifier(), ORIGIN);
        assert_eq!(opened, Err(CheckpointError::Note(NoteError::NoSignatures)));
    }
}

proptest! {
    #[test]
    fn every_checkpoint_reads_back(
        origin in "[^\\p{Cc}]{1,40}", size in 1..=MAX_TREE_SIZE, root in any::<[u8; 32]>(),
        extensions in proptest::collection::vec("[^\\p{Cc}]{1,40}", 0..4),
    ) {
        let checkpoint = Checkpoint { origin, size, root: Hash::from_bytes(root), extensions };
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_text()), Ok(checkpoint.clone()));
        let signer = key("log", 1);
        let bytes = checkpoint.sign(&signer).unwrap();
        let opened = SignedCheckpoint::open(&bytes, signer.verifier(), &checkpoint.origin).unwrap();
        prop_assert_eq!(opened.checkpoint(), &checkpoint);
    }

    #[test]
    fn arbitrary_text_never_panics_and_reprints_as_it_was(
        text in "[a\n]{0,3}\n[0-9]{0,2}\n([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=|.{0,3})\n([a\n]{0,3}\n)?",
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.to_text(), text);
        }
        let signer = key("log", 1);
        prop_assert!(SignedCheckpoint::open(&noise, signer.verifier(), "log").is_err());
    }
}
