//! Texts printed by the real Nix, and properties.

use proptest::prelude::*;

use super::*;
use crate::arbitrary;

/// The four texts of the hashes of `data\n`, by `nix hash file`: hex, nix32, base64, SRI.
const DATA: [(Algorithm, [&str; 4]); 4] = [
    (
        Algorithm::Md5,
        [
            "md5:6137cde4893c59f76f005a8123d8e8e6",
            "md5:76x3c270as01pzfn9wi7jcsdv1",
            "md5:YTfN5Ik8WfdvAFqBI9jo5g==",
            "md5-YTfN5Ik8WfdvAFqBI9jo5g==",
        ],
    ),
    (
        Algorithm::Sha1,
        [
            "sha1:c5d84736ba451747dd5f0eb9d17e104f3697ef47",
            "sha1:8zprfdjg21zd3f8fbzflf5s5p8v4gn65",
            "sha1:xdhHNrpFF0fdXw650X4QTzaX70c=",
            "sha1-xdhHNrpFF0fdXw650X4QTzaX70c=",
        ],
    ),
    (
        Algorithm::Sha256,
        [
            "sha256:6667b2d1aab6a00caa5aee5af8ad9f1465e567abf1c209d15727d57b3e8f6e5f",
            "sha256:0pvfiwz7pm97az8hkhpimdkyar8lkynzhnpfbam0r85nmb8v4rv6",
            "sha256:Zmey0aq2oAyqWu5a+K2fFGXlZ6vxwgnRVyfVez6Pbl8=",
            "sha256-Zmey0aq2oAyqWu5a+K2fFGXlZ6vxwgnRVyfVez6Pbl8=",
        ],
    ),
    (
        Algorithm::Sha512,
        [
            "sha512:73651d654c5ba73dd4b687f9dbbbdfc00884bf3dc1674e4cdcf762ff31778b2911e61e02b2a97c4055523eed2c4e6051b9902b0f91b4ca5b95e4c53cdf940b3d",
            "sha512:0yhp56z7k2y95avras923rbj2wm2q2f5knkwljm81yakch23vk12acbfwqzyqppvi64wry17nzq8260vyxxpyc7nva3v9sv9ijisrbk",
            "sha512:c2UdZUxbpz3Utof527vfwAiEvz3BZ05M3Pdi/zF3iykR5h4Csql8QFVSPu0sTmBRuZArD5G0yluV5MU835QLPQ==",
            "sha512-c2UdZUxbpz3Utof527vfwAiEvz3BZ05M3Pdi/zF3iykR5h4Csql8QFVSPu0sTmBRuZArD5G0yluV5MU835QLPQ==",
        ],
    ),
];

#[test]
fn hashes_are_those_of_nix_in_all_four_texts() {
    for (algorithm, [hex, nix32, base64, sri]) in DATA {
        let hash = Hash::of(algorithm, b"data\n");
        assert_eq!(
            (
                hash.to_hex().as_str(),
                hash.to_string().as_str(),
                hash.to_sri().as_str()
            ),
            (hex, nix32, sri)
        );
        for text in [hex, nix32, base64, sri] {
            assert_eq!(text.parse::<Hash>(), Ok(hash.clone()), "{text}");
        }
    }
}

#[test]
fn trustix_the_value_of_a_hash_does_not_depend_on_its_text() {
    let expected = NarHash::of(b"data\n");
    for text in DATA[2].1 {
        let hash: NarHash = text.parse().unwrap();
        assert_eq!(hash, expected, "{text}");
        assert_eq!(hash.to_string(), DATA[2].1[1]);
    }
    assert_eq!(
        (expected.to_hex().as_str(), expected.to_sri().as_str()),
        (DATA[2].1[0], DATA[2].1[3])
    );
}

#[test]
fn upper_case_hex_is_read_as_nix_reads_it() {
    let hex = DATA[0].1[0].replace("6137cde4", "6137CDE4");
    assert_eq!(hex.parse::<Hash>(), Ok(Hash::of(Algorithm::Md5, b"data\n")));
}

#[test]
fn a_bad_hash_is_an_error_that_says_what_is_wrong() {
    let zeros = "0".repeat(64);
    let cases = [
        (String::new(), HashError::NoAlgorithm),
        (zeros.clone(), HashError::NoAlgorithm),
        (
            format!("sha3:{zeros}"),
            HashError::UnknownAlgorithm {
                name: String::from("sha3"),
            },
        ),
        (
            format!("SHA256:{zeros}"),
            HashError::UnknownAlgorithm {
                name: String::from("SHA256"),
            },
        ),
        (
            String::from("sha256:"),
            HashError::TextLength {
                algorithm: Algorithm::Sha256,
                found: 0,
            },
        ),
        (
            format!("sha256-{zeros}"),
            HashError::TextLength {
                algorithm: Algorithm::Sha256,
                found: 64,
            },
        ),
        (
            format!("sha256:{}g", &zeros[1..]),
            HashError::Hex { position: 63 },
        ),
        (
            format!("sha256:{}", "z".repeat(52)),
            HashError::Nix32(Nix32Error::Overflow),
        ),
        (
            format!("sha256-{}", "=".repeat(44)),
            HashError::Base64 { position: 0 },
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Hash>(), Err(error), "{text}");
    }
    let error = HashError::NotSha256 {
        algorithm: Algorithm::Md5,
    };
    assert_eq!(DATA[0].1[0].parse::<NarHash>(), Err(error));
    let error = HashError::DigestLength {
        algorithm: Algorithm::Sha1,
        found: 2,
    };
    assert_eq!(Hash::new(Algorithm::Sha1, b"no"), Err(error));
}

proptest! {
    #[test]
    fn parsing_undoes_printing_in_each_text(hash in arbitrary::hash()) {
        for text in [hash.to_string(), hash.to_hex(), hash.to_sri()] {
            prop_assert_eq!(text.parse(), Ok(hash.clone()));
        }
    }

    #[test]
    fn a_hash_in_pieces_is_the_hash_of_the_whole(algorithm in arbitrary::algorithm(), left: Vec<u8>, right: Vec<u8>) {
        let mut context = Context::new(algorithm);
        context.update(&left);
        context.update(&right);
        prop_assert_eq!(context.finish(), Hash::of(algorithm, &[left, right].concat()));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(md5|sha1|sha256|sha512|\\PC{0,4})[:-]?\\PC{0,70}") {
        let _ = text.parse::<Hash>();
    }
}
