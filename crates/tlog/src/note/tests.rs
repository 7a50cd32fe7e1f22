//! Notes and keys: the vectors of C2SP and of Go's `sumdb/note`, and what must be refused.

use proptest::prelude::*;

use super::*;

/// The vector of the C2SP specification.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const TEXT: &str = "This is an example message.\n";
const LINE: &str = "\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// The example of Go's package documentation: a secret key, its public key, and what it signs.
const SECRET: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name.parse().unwrap(), [seed; 32])
}

fn parse(text: &str) -> Result<SignedNote, NoteError> {
    SignedNote::parse(text.as_bytes())
}

#[test]
fn the_vector_of_the_specification_verifies() {
    let key: VerifierKey = VKEY.parse().unwrap();
    assert_eq!(key.name().as_str(), "example.com/foo");
    assert_eq!(key.id(), [0x53, 0x0d, 0x90, 0x3a]);
    assert_eq!(key.to_string(), VKEY);

    let bytes = format!("{TEXT}\n{LINE}").into_bytes();
    let note = SignedNote::parse(&bytes).unwrap();
    assert_eq!(note.text(), TEXT);
    assert_eq!(note.verify(&[&key]), Ok(()));
    assert_eq!(note.to_bytes(), bytes);
}

#[test]
fn a_secret_key_of_gos_tools_makes_the_same_signature() {
    let secret: SigningKey = SECRET.parse().unwrap();
    assert_eq!(secret.to_text(), SECRET);
    assert_eq!(secret.verifier().to_string(), PUBLIC);
    let note = SignedNote::sign(GO_TEXT, &[&secret]).unwrap();
    assert_eq!(
        String::from_utf8(note.to_bytes()).unwrap(),
        format!("{GO_TEXT}\n{GO_LINE}")
    );
}

#[test]
fn a_key_under_another_name_has_the_same_bytes_and_another_id() {
    let ours = key("logs.example.org/alice", 7);
    let index = ours.renamed("logs.example.org/alice/index".parse().unwrap());
    assert_eq!(index.verifier().as_bytes(), ours.verifier().as_bytes());
    assert_ne!(index.verifier().id(), ours.verifier().id());
    assert_eq!(
        ours.verifier().renamed(index.verifier().name().clone()),
        *index.verifier()
    );
    let note = SignedNote::sign("text\n", &[&index]).unwrap();
    assert_eq!(note.verify(&[index.verifier()]), Ok(()));
    assert_eq!(
        note.verify(&[ours.verifier()]),
        Err(NoteError::NoKnownSignature)
    );
}

#[test]
fn debug_output_never_shows_a_secret_key() {
    let secret = key("log.example", 7);
    let shown = format!("{secret:?}");
    assert!(shown.contains("log.example"));
    for text in [
        secret.to_text(),
        "7, 7, 7".to_owned(),
        "0707".to_owned(),
        "BwcH".to_owned(),
    ] {
        assert!(!shown.contains(&text), "{shown}");
    }
}

#[test]
fn no_one_bit_change_of_a_note_verifies() {
    let signer = key("log.example", 1);
    let bytes = SignedNote::sign("a\n\nb\n", &[&signer]).unwrap().to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened = SignedNote::parse(&changed).and_then(|note| note.verify(&[signer.verifier()]));
        assert!(
            opened.is_err(),
            "bit {bit}: {:?}",
            String::from_utf8_lossy(&changed)
        );
    }
}

#[test]
fn signatures_of_unknown_keys_are_ignored_and_a_bad_one_of_a_known_key_rejects_all() {
    let (ours, witness, stranger) = (key("log", 1), key("witness", 2), key("stranger", 3));
    let note = SignedNote::sign("text\n", &[&stranger, &ours, &witness]).unwrap();
    assert_eq!(note.verify(&[ours.verifier()]), Ok(()));
    assert_eq!(note.verify(&[ours.verifier(), witness.verifier()]), Ok(()));
    assert_eq!(note.verify(&[]), Err(NoteError::NoKnownSignature));
    // Another key of the same name has another id, and so is unknown.
    assert_eq!(
        note.verify(&[key("log", 4).verifier()]),
        Err(NoteError::NoKnownSignature)
    );

    let mut forged = note.clone();
    forged.signatures[2].signature[0] ^= 1;
    let bad = NoteError::BadSignature {
        name: "witness".parse().unwrap(),
    };
    assert_eq!(
        forged.verify(&[ours.verifier(), witness.verifier()]),
        Err(bad)
    );
    assert_eq!(forged.verify(&[ours.verifier()]), Ok(()));

    let mut cut = note;
    cut.signatures[1].signature.truncate(63);
    let bad = NoteError::BadSignature {
        name: "log".parse().unwrap(),
    };
    assert_eq!(cut.verify(&[ours.verifier()]), Err(bad));
}

#[test]
fn sixteen_signatures_of_the_largest_kind_are_read_and_65_are_not() {
    let large = |position: usize| {
        let name = format!("witness{position}").parse().unwrap();
        NoteSignature::new(name, [0; 4], vec![1; 2428])
    };
    let mut note = SignedNote::sign("text\n", &[&key("log", 1)]).unwrap();
    note.signatures.extend((0..15).map(large));
    let read = SignedNote::parse(&note.to_bytes()).unwrap();
    assert_eq!(read, note);
    assert_eq!(read.verify(&[key("log", 1).verifier()]), Ok(()));

    note.signatures.extend((15..64).map(large));
    assert_eq!(
        SignedNote::parse(&note.to_bytes()),
        Err(NoteError::TooManySignatures { count: 65 })
    );
}

#[test]
fn what_is_not_a_note_is_refused_with_the_place() {
    let too_long = "x".repeat(MAX_NOTE_LENGTH + 1);
    assert_eq!(
        parse(&too_long),
        Err(NoteError::TooLong {
            length: MAX_NOTE_LENGTH + 1
        })
    );
    assert_eq!(
        SignedNote::parse(b"ab\xff\n"),
        Err(NoteError::NotUtf8 { offset: 2 })
    );
    assert_eq!(
        parse("a\r\n\nb\n"),
        Err(NoteError::ControlCharacter { offset: 1 })
    );
    assert_eq!(parse("a\0"), Err(NoteError::ControlCharacter { offset: 1 }));
    for text in ["", "\n", "a", "a\n", "a\n\n", "a\nb\n"] {
        assert_eq!(parse(text), Err(NoteError::NoSignatures), "{text:?}");
    }
    for line in [
        "no dash",
        "\u{2014}",
        "\u{2014} name",
        "\u{2014}name AAAAAAA=",
        "- name AAAAAAA=",
        "\u{2014} name  AAAAAAA=",
        "\u{2014} name AAAAAAA= ",
        "\u{2014}  AAAAAAA=",
        "\u{2014} na+me AAAAAAA=",
        "\u{2014} na\u{a0}me AAAAAAA=",
        // Not padded, url-safe, trailing bits, and an id without a signature.
        "\u{2014} name AAAAAAA",
        "\u{2014} name -AAAAAA=",
        "\u{2014} name AAAAAAB=",
        "\u{2014} name AAAAAA==",
    ] {
        let text = format!("text\n\n{LINE}{line}\n");
        assert_eq!(
            parse(&text),
            Err(NoteError::MalformedSignature { line: 2 }),
            "{line:?}"
        );
    }
}

#[test]
fn a_text_that_could_not_be_read_back_is_never_signed() {
    let signer = key("log", 1);
    let sign = |text: &str| SignedNote::sign(text, &[&signer]);
    assert_eq!(sign(""), Err(NoteError::NoSignatures));
    assert_eq!(sign("no end"), Err(NoteError::NoSignatures));
    assert_eq!(
        sign("tab\t\n"),
        Err(NoteError::ControlCharacter { offset: 3 })
    );
    assert_eq!(
        sign("a\n\nb"),
        Err(NoteError::MalformedSignature { line: 1 })
    );
    assert_eq!(SignedNote::sign("a\n", &[]), Err(NoteError::NoSignatures));
    assert!(sign("a\n\n\nb\n\n").is_ok());
}

#[test]
fn no_one_character_change_of_a_key_is_read() {
    for position in 0..PUBLIC.len() {
        for replacement in ['A', 'b', '0', '+', ' '] {
            let mut changed: Vec<char> = PUBLIC.chars().collect();
            if std::mem::replace(&mut changed[position], replacement) == replacement {
                continue;
            }
            let changed: String = changed.into_iter().collect();
            assert!(changed.parse::<VerifierKey>().is_err(), "{changed}");
            assert!(
                format!("PRIVATE+KEY+{changed}")
                    .parse::<SigningKey>()
                    .is_err()
            );
        }
    }
}

#[test]
fn a_wrong_key_is_refused_with_what_is_wrong() {
    let name: KeyName = "n".parse().unwrap();
    let parse = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    assert_eq!(parse(SECRET), KeyError::SecretGiven);
    assert_eq!(
        PUBLIC.parse::<SigningKey>().unwrap_err(),
        KeyError::NotASecretKey
    );
    assert_eq!(
        "PRIVATE+KEY+n+00".parse::<SigningKey>().unwrap_err(),
        KeyError::NotASecretKey
    );
    assert_eq!(parse(""), KeyError::NotAVerifierKey);
    assert_eq!(parse("n+00000000"), KeyError::NotAVerifierKey);
    assert_eq!(parse("+00000000+AQ=="), KeyError::BadName);
    assert_eq!(
        parse("n+0000000A+AQ=="),
        KeyError::BadId { name: name.clone() }
    );
    assert_eq!(
        parse("n+000000+AQ=="),
        KeyError::BadId { name: name.clone() }
    );
    assert_eq!(
        parse("n+00000000+"),
        KeyError::BadEncoding { name: name.clone() }
    );
    assert_eq!(
        parse("n+00000000+AQ=="),
        KeyError::BadEncoding { name: name.clone() }
    );
    let cosigner = KeyError::UnsupportedType {
        name: name.clone(),
        found: 4,
        expected: "a key that signs notes, Ed25519 (0x01)",
    };
    assert_eq!(parse("n+00000000+BA=="), cosigner);
    // A point of small order, under which anyone could make signatures of anything.
    let weak = format!(
        "n+00000000+{}",
        BASE64.encode(&[[1].as_slice(), &[0; 32]].concat())
    );
    assert_eq!(parse(&weak), KeyError::NotAPoint { name });
}

#[test]
fn names_are_one_word_of_bounded_length() {
    for name in [
        "a",
        "logs.example.org/alice",
        "é",
        &"x".repeat(MAX_KEY_NAME_LENGTH),
    ] {
        assert_eq!(name.parse::<KeyName>().unwrap().as_str(), name);
    }
    for name in [
        "",
        "a b",
        "a+b",
        "a\nb",
        "a\u{2003}b",
        "a\u{7f}",
        &"x".repeat(256),
    ] {
        assert_eq!(name.parse::<KeyName>(), Err(KeyError::BadName), "{name:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_reprint_as_they_were(
        text in "[a\n]{0,4}(\n\n(— [a+ é]{1,3} [A-Za-z+/]{4,8}={0,2}\n){0,3})?[\n\u{0}]{0,1}",
        noise in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(note) = SignedNote::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_bytes(), text.as_bytes());
        }
        prop_assert!(SignedNote::parse(&noise).is_err());
        let _ = String::from_utf8_lossy(&noise).parse::<VerifierKey>();
    }

    #[test]
    fn every_text_and_key_read_back(
        text in "([^\\p{Cc}]{0,20}\n){1,5}", name in "[a-z./]{1,20}", seed in any::<[u8; 32]>(),
    ) {
        let signer = SigningKey::from_seed(name.parse().unwrap(), seed);
        let restored: SigningKey = signer.to_text().parse().unwrap();
        let verifier: VerifierKey = restored.verifier().to_string().parse().unwrap();
        let note = SignedNote::sign(&text, &[&signer]).unwrap();
        let read = SignedNote::parse(&note.to_bytes()).unwrap();
        prop_assert_eq!(read.text(), text);
        prop_assert_eq!(read.verify(&[&verifier]), Ok(()));
    }
}
