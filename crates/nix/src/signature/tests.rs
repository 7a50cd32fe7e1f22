//! Keys and signatures made by the real Nix, and forgeries.

use proptest::prelude::*;

use super::*;
use crate::{arbitrary, narinfo::NarInfo, store_path::StoreDir};

const SECRET: &str = "quorix-test-1:UQ7izX/n/N4lAV/ftuwxhtJHfUxXVn7cACVC4rupkUGinlB7setNXSwRjX+cUqEATmwE7NeGE2BmiyOWHGYS2w==";
const PUBLIC: &str = "quorix-test-1:op5Qe7HrTV0sEY1/nFKhAE5sBOzXhhNgZosjlhxmEts=";

fn signed_by_nix() -> [(Fingerprint, Signature); 2] {
    [
        include_str!("../../tests/fixtures/a.narinfo"),
        include_str!("../../tests/fixtures/c.narinfo"),
    ]
    .map(|text| {
        let info = NarInfo::parse(text, &StoreDir::default()).unwrap();
        (
            info.fingerprint(&StoreDir::default()),
            info.signatures[0].clone(),
        )
    })
}

#[test]
fn signatures_of_nix_verify_and_ours_are_the_same() {
    let public: PublicKey = PUBLIC.parse().unwrap();
    let secret: SecretKey = SECRET.parse().unwrap();
    assert_eq!(secret.public_key(), public);
    for (fingerprint, signature) in signed_by_nix() {
        assert_eq!(public.verify(&fingerprint, &signature), Ok(()));
        assert_eq!(secret.sign(&fingerprint), signature);
    }
}

#[test]
fn key_files_of_nix_are_printed_as_they_were() {
    assert_eq!(SECRET.parse::<SecretKey>().unwrap().to_text(), SECRET);
    assert_eq!(PUBLIC.parse::<PublicKey>().unwrap().to_string(), PUBLIC);
}

#[test]
fn a_secret_key_is_never_shown() {
    let secret: SecretKey = SECRET.parse().unwrap();
    assert_eq!(format!("{secret:?}"), "SecretKey(quorix-test-1)");
}

#[test]
fn one_flipped_bit_of_a_signature_never_verifies() {
    let public: PublicKey = PUBLIC.parse().unwrap();
    let (fingerprint, signature) = signed_by_nix()[1].clone();
    for at in 0..64 {
        for bit in 0..8 {
            let mut bytes = signature.bytes();
            bytes[at] ^= 1 << bit;
            let forged = Signature::new(signature.key_name().clone(), bytes);
            let error = SignatureError::Forged {
                key: public.name().clone(),
            };
            assert_eq!(public.verify(&fingerprint, &forged), Err(error));
        }
    }
}

#[test]
fn one_flipped_bit_of_the_signed_text_never_verifies() {
    let public: PublicKey = PUBLIC.parse().unwrap();
    let (fingerprint, signature) = signed_by_nix()[0].clone();
    let text = fingerprint.to_string().into_bytes();
    for at in 0..text.len() {
        let mut altered = text.clone();
        altered[at] ^= 1 << (at % 8);
        let error = SignatureError::Forged {
            key: public.name().clone(),
        };
        assert_eq!(public.verify_bytes(&altered, &signature), Err(error));
    }
}

#[test]
fn a_signature_that_names_another_key_is_refused_whoever_made_it() {
    let public: PublicKey = PUBLIC.parse().unwrap();
    let (fingerprint, signature) = signed_by_nix()[0].clone();
    let renamed = Signature::new("other-1".parse().unwrap(), signature.bytes());
    let error = SignatureError::OtherKey {
        key: public.name().clone(),
        signed_by: "other-1".parse().unwrap(),
    };
    assert_eq!(public.verify(&fingerprint, &renamed), Err(error));
}

#[test]
fn a_weak_public_key_is_refused() {
    let name: KeyName = "weak-1".parse().unwrap();
    let mut identity = [0; 32];
    identity[0] = 1;
    for bytes in [[0; 32], identity] {
        assert_eq!(
            PublicKey::from_bytes(name.clone(), &bytes),
            Err(SignatureError::NotAKey)
        );
    }
}

#[test]
fn a_malformed_key_or_signature_is_an_error_that_says_what_is_wrong() {
    let signature = format!("k:{}", "A".repeat(86));
    let cases = [
        (String::new(), SignatureError::NoColon),
        (String::from("junk"), SignatureError::NoColon),
        (format!(":{signature}"), SignatureError::KeyName),
        (format!("a b:{signature}"), SignatureError::KeyName),
        (format!("{}:AAAA", "n".repeat(256)), SignatureError::KeyName),
        (
            String::from("k:AAAA"),
            SignatureError::Length {
                expected: 64,
                found: 3,
            },
        ),
        (
            String::from("k:"),
            SignatureError::Length {
                expected: 64,
                found: 0,
            },
        ),
        (format!("{signature}=!"), SignatureError::Base64),
        (signature.replace('A', "-") + "==", SignatureError::Base64),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Signature>(), Err(error), "{text}");
    }
    assert_eq!(
        PUBLIC.parse::<SecretKey>().unwrap_err(),
        SignatureError::Length {
            expected: 64,
            found: 32
        }
    );
    let halves = SECRET.replacen("UQ7", "UQ8", 1);
    assert_eq!(
        halves.parse::<SecretKey>().unwrap_err(),
        SignatureError::HalvesDiffer
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_a_key_signs_verifies_and_survives_printing(
        secret in arbitrary::secret_key(),
        fingerprint in arbitrary::fingerprint(),
    ) {
        let signature: Signature = secret.sign(&fingerprint).to_string().parse().unwrap();
        let public: PublicKey = secret.public_key().to_string().parse().unwrap();
        prop_assert_eq!(public.verify(&fingerprint, &signature), Ok(()));
        let read: SecretKey = secret.to_text().parse().unwrap();
        prop_assert_eq!(read.sign(&fingerprint), signature);
    }

    #[test]
    fn a_signature_is_good_for_one_fingerprint_only(
        secret in arbitrary::secret_key(),
        signed in arbitrary::fingerprint(),
        other in arbitrary::fingerprint(),
    ) {
        let public = secret.public_key();
        let error = SignatureError::Forged { key: public.name().clone() };
        prop_assert_eq!(public.verify(&other, &secret.sign(&signed)), Err(error));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,10}:?[A-Za-z0-9+/=]{0,90}") {
        let _ = text.parse::<PublicKey>();
        let _ = text.parse::<SecretKey>();
        let _ = text.parse::<Signature>();
    }
}
