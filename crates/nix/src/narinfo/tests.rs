//! Narinfos of the real Nix, what caches send, and what must be refused.

use proptest::prelude::*;

use super::*;
use crate::{arbitrary, signature::PublicKey};

const A: &str = include_str!("../../tests/fixtures/a.narinfo");
const C: &str = include_str!("../../tests/fixtures/c.narinfo");
const PUBLIC: &str = "quorix-test-1:op5Qe7HrTV0sEY1/nFKhAE5sBOzXhhNgZosjlhxmEts=";

fn parse(text: &str) -> Result<NarInfo, NarInfoError> {
    NarInfo::parse(text, &StoreDir::default())
}

fn error(line: usize, kind: NarInfoErrorKind) -> Result<NarInfo, NarInfoError> {
    Err(NarInfoError { line, kind })
}

#[test]
fn a_narinfo_of_nix_is_read_and_printed_as_it_was() {
    for text in [A, C] {
        assert_eq!(parse(text).unwrap().print(&StoreDir::default()), text);
    }
    let info = parse(C).unwrap();
    assert_eq!(
        info.url,
        "nar/0djly1h4x53a23bdj2qcqzylzb15f7k4xb4gqsmprfq49y881m54.nar"
    );
    assert_eq!(
        (info.compression, info.file_size, info.nar_size),
        (Compression::None, Some(984), 984)
    );
    assert_eq!(info.references.len(), 2);
    assert_eq!(
        info.deriver.unwrap().as_str(),
        "vp0wcvkwx1kbj4vc7mw8xffyq5f12y4z-c.drv"
    );
}

#[test]
fn an_empty_list_of_references_keeps_its_space() {
    let info = parse(A).unwrap();
    assert!(info.references.is_empty());
    assert!(
        info.print(&StoreDir::default())
            .contains("\nReferences: \n")
    );
    assert_eq!(
        parse(&A.replace("References: \n", "References:\n")),
        Ok(info.clone())
    );
    assert_eq!(parse(&A.replace("References: \n", "")), Ok(info));
}

#[test]
fn trustix_references_are_printed_as_base_names() {
    let text = parse(C).unwrap().print(&StoreDir::default());
    let line =
        "\nReferences: bg0an8vzs1wsbc9hr4sc2kj7d1ia4pqf-a dzrlcrf04x1fp0wyznwnff2nimphgw6g-c\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn trustix_references_as_full_paths_are_refused() {
    let text = C.replace("References: ", "References: /nix/store/");
    let (key, source) = ("References", StorePathError::Absolute);
    assert_eq!(
        parse(&text),
        error(8, NarInfoErrorKind::StorePath { key, source })
    );
}

#[test]
fn trustix_unknown_fields_and_more_signatures_are_fine() {
    let more = format!(
        "{A}Colour: blue\nSig: other-1:{}==\nSystem: x\n",
        "A".repeat(86)
    );
    let info = parse(&more).unwrap();
    assert_eq!(info.signatures.len(), 2);
    let public: PublicKey = PUBLIC.parse().unwrap();
    assert_eq!(
        public.verify(&info.fingerprint(&StoreDir::default()), &info.signatures[0]),
        Ok(())
    );
}

#[test]
fn trustix_the_fingerprint_does_not_depend_on_the_text_of_the_hash() {
    let nix32 = "NarHash: sha256:0djly1h4x53a23bdj2qcqzylzb15f7k4xb4gqsmprfq49y881m54";
    let expected = parse(C).unwrap();
    for form in [
        "NarHash: sha256-pNSAkE8Eu3yrxo+sTuZxJaxP/ccMC9nWEGqUTmDwVDY=",
        "NarHash: sha256:a4d480904f04bb7cabc68fac4ee67125ac4ffdc70c0bd9d6106a944e60f05436",
    ] {
        let text = C.replace(nix32, form);
        assert!(text.contains(form));
        assert_eq!(parse(&text), Ok(expected.clone()));
    }
}

#[test]
fn malformed_signatures_are_dropped_and_counted() {
    let info = parse(&format!("{A}Sig: junk\nSig: other-1:AAAA\nSig: \n")).unwrap();
    assert_eq!((info.signatures.len(), info.malformed_signatures), (1, 3));
    assert_eq!(info.print(&StoreDir::default()), A);
}

#[test]
fn what_is_missing_or_unknown_has_the_meaning_that_nix_gives_it() {
    let info = parse(&A.replace("Compression: none\n", "")).unwrap();
    assert_eq!(info.compression, Compression::Bzip2);
    let info = parse(&A.replace("Compression: none\n", "Compression: \n")).unwrap();
    assert_eq!(info.compression, Compression::Bzip2);
    let info =
        parse(&A.replace("l4r1344lafl3lxppravc4lp21xg7z9p2-a.drv", "unknown-deriver")).unwrap();
    assert_eq!(info.deriver, None);
    let info = parse(&format!(
        "{A}CA: fixed:git:sha1:8zprfdjg21zd3f8fbzflf5s5p8v4gn65\n"
    ))
    .unwrap();
    assert_eq!(info.ca, None);
    assert_eq!(parse(&format!("{A}CA: \n")).unwrap().ca, None);
    let info = parse(&A.replace("URL: nar/", "URL: https://other.example/nar/")).unwrap();
    assert!(info.url.starts_with("https://other.example/nar/0addc"));
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let ca = "CA: text:sha256:08nx6s451sjsffbckgm19hc0xk000pk33khs078n8n8g701si6z3";
    let both = format!("{A}{ca}\n");
    for line in both.lines().filter(|line| !line.starts_with("Sig")) {
        let doubled = format!("{both}{line}\n");
        let Err(NarInfoError {
            line: 12,
            kind: NarInfoErrorKind::Duplicate { key },
        }) = parse(&doubled)
        else {
            panic!("{line} was there twice");
        };
        assert!(line.starts_with(key));
    }
}

#[test]
fn a_missing_required_key_is_named() {
    for key in ["StorePath", "URL", "NarHash", "NarSize"] {
        let without: String = A
            .split_inclusive('\n')
            .filter(|line| !line.starts_with(key))
            .collect();
        assert_eq!(parse(&without), error(9, NarInfoErrorKind::Missing { key }));
    }
    assert_eq!(
        parse(""),
        error(1, NarInfoErrorKind::Missing { key: "StorePath" })
    );
}

#[test]
fn a_malformed_value_is_refused_with_its_line() {
    use NarInfoErrorKind::{Number, Word};
    let in_store = StorePathError::NotInStore {
        store_dir: StoreDir::default(),
    };
    let hash = HashError::NotSha256 {
        algorithm: crate::hash::Algorithm::Sha1,
    };
    let cases = [
        (
            "StorePath: /nix",
            "StorePath: /gnu",
            1,
            NarInfoErrorKind::StorePath {
                key: "StorePath",
                source: in_store,
            },
        ),
        ("URL: nar/0", "URL: nar/ 0", 2, Word { key: "URL" }),
        ("URL: nar/0", "URL: nar/\t0", 2, Word { key: "URL" }),
        (
            "Compression: none",
            "Compression: no ne",
            3,
            Word { key: "Compression" },
        ),
        (
            "FileSize: 288",
            "FileSize: x",
            5,
            Number { key: "FileSize" },
        ),
        ("NarSize: 288", "NarSize: 0", 7, Number { key: "NarSize" }),
        (
            "NarSize: 288",
            "NarSize: +288",
            7,
            Number { key: "NarSize" },
        ),
        ("NarSize: 288", "NarSize: -1", 7, Number { key: "NarSize" }),
        ("NarSize: 288", "NarSize: ", 7, Number { key: "NarSize" }),
        (
            "NarSize: 288",
            "NarSize: 18446744073709551616",
            7,
            Number { key: "NarSize" },
        ),
        (
            "NarSize: 288",
            "NarSize:288",
            7,
            NarInfoErrorKind::NotKeyValue,
        ),
        (
            "NarSize: 288\n",
            "NarSize: 288\r\n",
            7,
            Number { key: "NarSize" },
        ),
        (
            "NarSize: 288\n",
            "NarSize: 288\n\n",
            8,
            NarInfoErrorKind::NotKeyValue,
        ),
        (
            "NarHash: sha256:0addczm9fjxkwraq3rf9z66ndy1w8scg7pi05xdyf4rjpl2h73gj",
            "NarHash: sha1:8zprfdjg21zd3f8fbzflf5s5p8v4gn65",
            6,
            NarInfoErrorKind::Hash {
                key: "NarHash",
                source: hash,
            },
        ),
    ];
    for (from, to, line, kind) in cases {
        let text = A.replacen(from, to, 1);
        assert_ne!(text, A);
        assert_eq!(parse(&text), error(line, kind), "{to}");
    }
    let bad = format!("{A}CA: fixed:sha256:x\n");
    assert!(matches!(
        parse(&bad),
        Err(NarInfoError {
            line: 11,
            kind: NarInfoErrorKind::ContentAddress(_)
        })
    ));
}

#[test]
fn a_narinfo_that_was_cut_off_is_refused() {
    for end in 1..C.len() {
        assert!(
            C[..end].ends_with('\n') || parse(&C[..end]).is_err(),
            "{end}"
        );
    }
    assert_eq!(parse(C.trim_end()), error(10, NarInfoErrorKind::CutOff));
}

#[test]
fn size_and_signatures_are_limited() {
    let padded = format!("{A}Padding: {}\n", "x".repeat(MAX_SIZE));
    assert_eq!(
        parse(&padded),
        error(
            1,
            NarInfoErrorKind::TooLarge {
                found: padded.len()
            }
        )
    );
    let signed = format!("{A}{}", "Sig: junk\n".repeat(MAX_SIGNATURES));
    assert_eq!(
        parse(&signed),
        error(10 + MAX_SIGNATURES, NarInfoErrorKind::TooManySignatures)
    );
    let url = A.replace("URL: ", &format!("URL: {}", "x".repeat(MAX_URL)));
    assert_eq!(parse(&url), error(2, NarInfoErrorKind::Word { key: "URL" }));
}

#[test]
fn a_url_cannot_add_a_line() {
    let mut info = parse(A).unwrap();
    info.url = String::from("nar/x\nSig: k:AAAA\r\n");
    info.compression = Compression::Other(String::from("none\nCA: x"));
    let printed = info.print(&StoreDir::default());
    assert_eq!(printed.lines().count(), A.lines().count());
    assert!(printed.contains("\nURL: nar/xSig:k:AAAA\nCompression: noneCA:x\n"));
}

#[test]
fn one_flipped_bit_of_the_signed_facts_or_the_signature_never_verifies() {
    let public: PublicKey = PUBLIC.parse().unwrap();
    let dir = StoreDir::default();
    let facts = parse(C).unwrap().fingerprint(&dir);
    let mut start = 0;
    for line in C.split_inclusive('\n') {
        let signed = ["StorePath", "NarHash", "NarSize", "References", "Sig"]
            .iter()
            .any(|key| line.starts_with(key));
        for at in (start..start + line.len()).filter(|_| signed) {
            for bit in 0..8 {
                let mut bytes = C.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let Ok(info) = String::from_utf8(bytes)
                    .map_err(drop)
                    .and_then(|text| parse(&text).map_err(drop))
                else {
                    continue;
                };
                let found = info.fingerprint(&dir);
                let verified = info
                    .signatures
                    .iter()
                    .any(|signature| public.verify(&found, signature).is_ok());
                assert!(!verified, "{}", info.print(&dir));
                assert!(
                    line.starts_with("Sig") || found != facts,
                    "{}",
                    info.print(&dir)
                );
            }
        }
        start += line.len();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn parsing_undoes_printing(info in arbitrary::nar_info()) {
        prop_assert_eq!(parse(&info.print(&StoreDir::default())), Ok(info));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text: String, at: prop::sample::Index) {
        let _ = parse(&text);
        let _ = parse(&format!("{}{text}\n", &C[..at.index(C.len())]));
    }
}
