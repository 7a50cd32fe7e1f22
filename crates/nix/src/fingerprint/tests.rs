//! The text that Nix signs.

use proptest::prelude::*;

use super::*;
use crate::arbitrary;

/// `c` of the fixtures, as Nix 2.8.0 signed it (see the tests of signatures).
const C: &str = "1;/nix/store/dzrlcrf04x1fp0wyznwnff2nimphgw6g-c;\
    sha256:0djly1h4x53a23bdj2qcqzylzb15f7k4xb4gqsmprfq49y881m54;984;\
    /nix/store/bg0an8vzs1wsbc9hr4sc2kj7d1ia4pqf-a,/nix/store/dzrlcrf04x1fp0wyznwnff2nimphgw6g-c";

fn c(nar_hash: &str) -> Fingerprint {
    Fingerprint {
        store_dir: StoreDir::default(),
        path: "dzrlcrf04x1fp0wyznwnff2nimphgw6g-c".parse().unwrap(),
        nar_hash: nar_hash.parse().unwrap(),
        nar_size: 984,
        references: [
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-c".parse().unwrap(),
            "bg0an8vzs1wsbc9hr4sc2kj7d1ia4pqf-a".parse().unwrap(),
        ]
        .into(),
    }
}

#[test]
fn trustix_the_fingerprint_is_over_nix32_whatever_form_the_hash_came_in() {
    let forms = [
        "sha256-pNSAkE8Eu3yrxo+sTuZxJaxP/ccMC9nWEGqUTmDwVDY=",
        "sha256:pNSAkE8Eu3yrxo+sTuZxJaxP/ccMC9nWEGqUTmDwVDY=",
        "sha256:a4d480904f04bb7cabc68fac4ee67125ac4ffdc70c0bd9d6106a944e60f05436",
        "sha256:0djly1h4x53a23bdj2qcqzylzb15f7k4xb4gqsmprfq49y881m54",
    ];
    for form in forms {
        assert_eq!(c(form).to_string(), C, "{form}");
        assert_eq!(c(form).digest(), c(forms[0]).digest());
    }
}

#[test]
fn a_path_without_references_ends_in_a_semicolon() {
    let mut fingerprint = c("sha256-pNSAkE8Eu3yrxo+sTuZxJaxP/ccMC9nWEGqUTmDwVDY=");
    fingerprint.references.clear();
    assert!(fingerprint.to_string().ends_with(";984;"));
}

#[test]
fn only_the_form_that_nix_signs_is_read() {
    let dir = StoreDir::default();
    assert!(Fingerprint::parse(C, &dir).is_ok());
    let (front, references) = C.rsplit_once(';').unwrap();
    let (first, second) = references.split_once(',').unwrap();
    for wrong in [
        String::new(),
        C.replacen('1', "2", 1),
        C.replace(";984;", ";0984;"),
        C.replace(";984;", ";+984;"),
        C.replace(";984;", ";;"),
        format!("{C};"),
        format!("{C},"),
        front.to_owned(),
        format!("{front};{second},{first}"),
        format!("{front};{first},{first}"),
        C.replace(
            "sha256:0djly1h4x53a23bdj2qcqzylzb15f7k4xb4gqsmprfq49y881m54",
            "sha256-pNSAkE8Eu3yrxo+sTuZxJaxP/ccMC9nWEGqUTmDwVDY=",
        ),
    ] {
        assert_eq!(
            Fingerprint::parse(&wrong, &dir),
            Err(FingerprintError),
            "{wrong}"
        );
    }
}

#[test]
fn one_flipped_bit_never_gives_the_same_facts() {
    let dir = StoreDir::default();
    let facts = Fingerprint::parse(C, &dir).unwrap();
    for at in 0..C.len() {
        for bit in 0..8 {
            let mut bytes = C.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                let found = Fingerprint::parse(&text, &dir);
                assert!(found.as_ref() != Ok(&facts), "{text}");
                assert!(found.is_err() || found.unwrap().digest() != facts.digest());
            }
        }
    }
}

#[test]
fn a_digest_is_sha256_of_the_text_in_hex() {
    let digest = c("sha256-pNSAkE8Eu3yrxo+sTuZxJaxP/ccMC9nWEGqUTmDwVDY=").digest();
    assert_eq!(digest.as_bytes(), &<[u8; 32]>::from(Sha256::digest(C)));
    let text = digest.to_string();
    assert_eq!(text.parse(), Ok(digest));
    assert_eq!(digest.short(), format!("{}…{}", &text[..7], &text[60..]));
    for wrong in [
        "",
        "00",
        &text.to_uppercase(),
        &text[1..],
        &format!("{text}0"),
        &format!("{text}00"),
    ] {
        assert_eq!(
            wrong.parse::<FingerprintDigest>(),
            Err(FingerprintDigestError),
            "{wrong}"
        );
    }
}

proptest! {
    #[test]
    fn parsing_undoes_printing(fingerprint in arbitrary::fingerprint()) {
        let text = fingerprint.to_string();
        prop_assert_eq!(Fingerprint::parse(&text, &StoreDir::default()), Ok(fingerprint));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "(1;)?\\PC{0,80}") {
        let _ = Fingerprint::parse(&text, &StoreDir::default());
        let _ = text.parse::<FingerprintDigest>();
    }
}
