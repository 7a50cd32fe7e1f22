//! Every rule of `entry.proto`, broken once.

use std::collections::BTreeSet;

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_tlog::hash::Hash;
use quorix_trust::attestation::{
    Build, Claim, Environment, KeyRotation, Observation, Provenance, Raw, Realisation, References,
    Retraction,
};

use super::*;

fn a_path(bytes: [u8; 20], name: &str) -> StorePath {
    StorePath::new(&HashPart::from_bytes(&bytes), name).unwrap()
}

fn hello() -> StorePath {
    a_path([7; 20], "hello-2.12")
}

fn a_claim(references: References) -> Claim {
    let known = match &references {
        References::Inline(paths) => paths.clone(),
        References::Blob(_) => BTreeSet::new(),
    };
    let facts = Fingerprint {
        store_dir: StoreDir::default(),
        path: hello(),
        nar_hash: NarHash::from_bytes([1; 32]),
        nar_size: 120,
        references: known,
    };
    Claim {
        store_dir: facts.store_dir.clone(),
        path: facts.path.clone(),
        fingerprint: facts.digest(),
        nar_hash: facts.nar_hash,
        nar_size: facts.nar_size,
        references,
    }
}

fn a_build() -> Build {
    Build {
        claim: a_claim(References::Inline(BTreeSet::from([
            a_path([5; 20], "glibc"),
            hello(),
        ]))),
        content_address: None,
        derivation: Some((a_path([6; 20], "hello-2.12.drv"), "out".to_owned())),
        provenance: Provenance::Built,
        system: "x86_64-linux".to_owned(),
        nix_signature: None,
        inputs_root: Some(Hash::from_bytes([2; 32])),
        inputs_blob: Some([3; 32]),
        started_at_s: 1_767_225_540,
        finished_at_s: 1_767_225_600,
        environment: Environment {
            nix_implementation: "nix".to_owned(),
            ..Environment::default()
        },
    }
}

fn build_message() -> pb::Build {
    let Some(pb::entry::Kind::Build(build)) = write::message(&Entry::Build(Box::new(a_build())))
        .unwrap()
        .kind
    else {
        panic!("a build is a build")
    };
    build
}

/// What `decode` says of a build after a change to its message.
fn decode_changed(change: impl FnOnce(&mut pb::Build)) -> Result<Entry, EntryError> {
    let mut message = build_message();
    change(&mut message);
    decode(
        &pb::Entry {
            kind: Some(pb::entry::Kind::Build(message)),
        }
        .encode_to_vec(),
    )
}

fn refused(field: &'static str, problem: Problem) -> Result<Entry, EntryError> {
    Err(EntryError::Field { field, problem })
}

#[test]
fn a_build_is_read_back_as_it_was_written() {
    let entry = Entry::Build(Box::new(a_build()));
    assert_eq!(decode(&encode(&entry).unwrap()), Ok(entry));
}

#[test]
fn a_field_of_the_wrong_length_is_refused_by_name() {
    let short = || Problem::Length {
        expected: 32,
        found: 31,
    };
    assert_eq!(
        decode_changed(|build| build.fingerprint = vec![0; 31]),
        refused("build.fingerprint", short())
    );
    assert_eq!(
        decode_changed(|build| build.nar_sha256 = vec![0; 31]),
        refused("build.nar_sha256", short())
    );
    assert_eq!(
        decode_changed(|build| build.inputs_root = vec![0; 31]),
        refused("build.inputs_root", short())
    );
    assert_eq!(
        decode_changed(|build| build.inputs_blob = vec![0; 31]),
        refused("build.inputs_blob", short())
    );
    let missing = Problem::Length {
        expected: 32,
        found: 0,
    };
    assert_eq!(
        decode_changed(|build| build.fingerprint.clear()),
        refused("build.fingerprint", missing)
    );
    let blob_only = |build: &mut pb::Build| {
        build.references.clear();
        build.references_blob = vec![0; 31];
    };
    assert_eq!(
        decode_changed(blob_only),
        refused("build.references_blob", short())
    );
}

#[test]
fn references_are_ascending_store_paths_in_one_place() {
    let field = "build.references";
    assert_eq!(
        decode_changed(|build| build.references.reverse()),
        refused(field, Problem::NotAscending { position: 1 })
    );
    assert_eq!(
        decode_changed(|build| build.references.insert(0, build.references[0].clone())),
        refused(field, Problem::NotAscending { position: 1 })
    );
    let absolute = decode_changed(|build| build.references[0] = build.store_path.clone());
    assert!(
        matches!(
            absolute,
            Err(EntryError::Field {
                field: "build.references",
                problem: Problem::Element { position: 0, .. }
            })
        ),
        "{absolute:?}"
    );
    assert_eq!(
        decode_changed(|build| build.references_blob = vec![0; 32]),
        refused(
            "build.references_blob",
            Problem::Both {
                other: "references"
            }
        )
    );
}

#[test]
fn the_voted_fingerprint_is_that_of_the_stated_facts() {
    let (computed, stated) = (
        a_build().claim.fingerprint,
        FingerprintDigest::from_bytes([0; 32]),
    );
    assert_eq!(
        decode_changed(|build| build.fingerprint = vec![0; 32]),
        refused(
            "build.fingerprint",
            Problem::Fingerprint { computed, stated }
        )
    );
    for change in [
        |build: &mut pb::Build| build.nar_size += 1,
        |build: &mut pb::Build| build.nar_sha256[0] ^= 1,
        |build: &mut pb::Build| build.references.clear(),
    ] {
        let refused = decode_changed(change);
        assert!(
            matches!(
                refused,
                Err(EntryError::Field {
                    problem: Problem::Fingerprint { .. },
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    assert_eq!(
        decode_changed(|build| build.nar_size = 0),
        refused("build.nar_size", Problem::Zero)
    );
}

#[test]
fn derivation_and_output_name_come_together_and_from_the_same_store() {
    assert_eq!(
        decode_changed(|build| build.drv_path.clear()),
        refused("build.output_name", Problem::Without { needs: "drv_path" })
    );
    assert_eq!(
        decode_changed(|build| build.output_name.clear()),
        refused("build.output_name", Problem::Missing)
    );
    let neither = |build: &mut pb::Build| {
        build.drv_path.clear();
        build.output_name.clear();
    };
    assert!(decode_changed(neither).is_ok());
    let store_dir = "/nix/store".to_owned();
    assert_eq!(
        decode_changed(|build| build.drv_path = build.drv_path.replace("/nix/", "/gnu/")),
        refused("build.drv_path", Problem::OtherStoreDir { store_dir })
    );
    assert!(decode_changed(|build| build.drv_path = build.store_path.clone()).is_err());
    let (limit, found) = (OUTPUT_NAME_MAX, OUTPUT_NAME_MAX + 1);
    assert_eq!(
        decode_changed(|build| build.output_name = "o".repeat(found)),
        refused("build.output_name", Problem::TooLong { limit, found })
    );
    assert!(decode_changed(|build| build.output_name = "o u t".to_owned()).is_err());
}

#[test]
fn enumerations_have_known_values_only() {
    for found in [0, 3, -1, i32::MAX] {
        assert_eq!(
            decode_changed(|build| build.provenance = found),
            refused("build.provenance", Problem::UnknownValue { found })
        );
    }
}

#[test]
fn texts_are_bounded_and_have_no_control_characters() {
    let too_long = |limit: usize| Problem::TooLong {
        limit,
        found: limit + 1,
    };
    assert_eq!(
        decode_changed(|build| build.system = "s".repeat(65)),
        refused("build.system", too_long(64))
    );
    assert_eq!(
        decode_changed(|build| build.system = "x86\x1b[2J".to_owned()),
        refused("build.system", Problem::ControlCharacter)
    );
    let kernel =
        |build: &mut pb::Build| build.environment.get_or_insert_default().kernel = "k".repeat(129);
    assert_eq!(
        decode_changed(kernel),
        refused("environment.kernel", too_long(128))
    );
    let version = |build: &mut pb::Build| {
        build.environment.get_or_insert_default().nix_version = "2".repeat(65)
    };
    assert_eq!(
        decode_changed(version),
        refused("environment.nix_version", too_long(64))
    );
}

#[test]
fn signatures_and_addresses_have_one_spelling() {
    for (field, text) in [
        ("build.nix_signature", "no signature"),
        ("build.nix_signature", "alice-1:AAAA"),
        ("build.content_address", "fixed:r:sha256:00"),
    ] {
        let refused = decode_changed(|build| match field {
            "build.nix_signature" => build.nix_signature = text.to_owned(),
            _ => build.content_address = text.to_owned(),
        });
        assert!(
            matches!(&refused, Err(EntryError::Field { field: named, problem: Problem::Invalid { .. } }) if *named == field),
            "{refused:?}"
        );
    }
    // The same address in hexadecimal is another spelling.
    let hex = decode_changed(|build| {
        build.content_address = format!("fixed:r:sha256:{}", "00".repeat(32))
    });
    assert!(
        matches!(
            &hex,
            Err(EntryError::Field {
                field: "build.content_address",
                ..
            })
        ),
        "{hex:?}"
    );
    assert_eq!(
        decode_changed(|build| build.inputs_root.clear()),
        refused(
            "build.inputs_blob",
            Problem::Without {
                needs: "inputs_root"
            }
        )
    );
}

#[test]
fn a_store_path_is_absolute_and_well_formed() {
    for text in [
        "",
        "hello",
        "/nix/store",
        "/nix/store/",
        "nix/store/x",
        "//nix/store/x",
        "/nix/../x",
    ] {
        let refused = decode_changed(|build| build.store_path = text.to_owned());
        assert!(
            matches!(
                &refused,
                Err(EntryError::Field {
                    field: "build.store_path",
                    ..
                })
            ),
            "{text:?}: {refused:?}"
        );
    }
    let dotted =
        |build: &mut pb::Build| build.store_path = build.store_path.replace("/nix/", "/nix/./");
    assert!(decode_changed(dotted).is_err());
}

#[test]
fn retractions_name_ascending_leaf_hashes_within_bounds() {
    let decode_hashes = |leaf_hashes: Vec<Vec<u8>>| {
        let said = pb::Retraction {
            leaf_hashes,
            reason: String::new(),
        };
        decode(
            &pb::Entry {
                kind: Some(pb::entry::Kind::Retraction(said)),
            }
            .encode_to_vec(),
        )
    };
    let numbered = |n: u16| [n.to_be_bytes().as_slice(), &[0; 30]].concat();
    let field = "retraction.leaf_hashes";
    assert_eq!(decode_hashes(vec![]), refused(field, Problem::Missing));
    assert_eq!(
        decode_hashes(vec![numbered(2), numbered(1)]),
        refused(field, Problem::NotAscending { position: 1 })
    );
    assert_eq!(
        decode_hashes(vec![numbered(1), numbered(1)]),
        refused(field, Problem::NotAscending { position: 1 })
    );
    assert!(decode_hashes((0..1000).map(numbered).collect()).is_ok());
    assert_eq!(
        decode_hashes((0..1001).map(numbered).collect()),
        refused(
            field,
            Problem::TooLong {
                limit: 1000,
                found: 1001
            }
        )
    );
    let long = Entry::Retraction(Retraction {
        leaf_hashes: BTreeSet::from([Hash::from_bytes([1; 32])]),
        reason: "r".repeat(1001),
    });
    let too_long = Problem::TooLong {
        limit: 1000,
        found: 1001,
    }
    .of("retraction.reason");
    assert_eq!(encode(&long), Err(too_long));
}

#[test]
fn an_entry_that_decode_would_refuse_is_never_written() {
    let mut build = a_build();
    build.derivation = Some((a_path([6; 20], "hello.drv"), String::new()));
    assert_eq!(
        encode(&Entry::Build(Box::new(build))),
        Err(Problem::Missing.of("build.output_name"))
    );
    let raw = Entry::Raw(Raw {
        protocol: "debian".to_owned(),
        key: vec![0; 4097],
        value: [0; 32],
    });
    let too_long = Problem::TooLong {
        limit: 4096,
        found: 4097,
    };
    assert_eq!(encode(&raw), Err(too_long.of("raw.key")));
    let mut build = a_build();
    let many: BTreeSet<StorePath> = (0..2000_u32)
        .map(|n| {
            a_path(
                [&n.to_be_bytes()[..], &[0; 16]]
                    .concat()
                    .try_into()
                    .unwrap(),
                "x",
            )
        })
        .collect();
    build.claim = a_claim(References::Inline(many));
    let refused = encode(&Entry::Build(Box::new(build)));
    assert!(
        matches!(refused, Err(EntryError::TooLarge { bytes }) if bytes > 65_535),
        "{refused:?}"
    );
}

/// A `Raw` entry, small enough to be spelled by hand: `0x32` is field 6 with a length.
fn a_raw_entry() -> Vec<u8> {
    encode(&Entry::Raw(Raw {
        protocol: "d".to_owned(),
        key: vec![9],
        value: [8; 32],
    }))
    .unwrap()
}

#[test]
fn another_encoding_of_the_same_entry_is_refused() {
    let canonical = a_raw_entry();
    let (body, value) = (&canonical[2..], [&[0x1a, 32][..], &[8; 32]].concat());
    assert_eq!(
        canonical,
        [&[0x32, 40, 0x0a, 1, b'd', 0x12, 1, 9][..], &value].concat()
    );
    let with_body = |body: &[u8]| [&[0x32, u8::try_from(body.len()).unwrap()][..], body].concat();
    let spellings: [(&str, Vec<u8>); 8] = [
        (
            "an unknown field in the entry",
            [&canonical[..], &[0x38, 1]].concat(),
        ),
        (
            "an unknown field in the kind",
            with_body(&[body, &[0x20, 1]].concat()),
        ),
        (
            "fields out of order",
            with_body(&[&[0x12, 1, 9, 0x0a, 1, b'd'][..], &value].concat()),
        ),
        (
            "a field twice",
            with_body(&[&[0x0a, 1, b'd'][..], body].concat()),
        ),
        ("the kind twice", [&canonical[..], &canonical].concat()),
        (
            "an overlong length",
            [&[0x32, 0x80 | 40, 0][..], body].concat(),
        ),
        (
            "an overlong tag",
            [&[0x80 | 0x32, 0, 40][..], body].concat(),
        ),
        (
            "another kind before it",
            [&[0x0a, 0][..], &canonical].concat(),
        ),
    ];
    for (what, bytes) in spellings {
        let refused = decode(&bytes);
        assert!(
            matches!(refused, Err(EntryError::NotCanonical { .. })),
            "{what}: {refused:?}"
        );
    }
}

#[test]
fn a_default_value_is_never_encoded() {
    let no_key = encode(&Entry::Raw(Raw {
        protocol: "d".to_owned(),
        key: vec![],
        value: [8; 32],
    }))
    .unwrap();
    let explicit = [&[0x32, 39, 0x0a, 1, b'd', 0x12, 0][..], &no_key[5..]].concat();
    assert_eq!(
        decode(&explicit),
        Err(EntryError::NotCanonical { offset: 1 })
    );
    // An environment of which nothing is told is absent.
    let empty = |build: &mut pb::Build| build.environment = Some(pb::Environment::default());
    assert!(matches!(
        decode_changed(empty),
        Err(EntryError::NotCanonical { .. })
    ));
    assert!(decode_changed(|build| build.environment = None).is_ok());
}

#[test]
fn bytes_without_a_known_kind_are_refused() {
    assert_eq!(decode(b""), Err(EntryError::UnknownKind));
    assert_eq!(decode(&[0x3a, 0]), Err(EntryError::UnknownKind));
    assert!(matches!(decode(&[0xff]), Err(EntryError::Malformed { .. })));
    assert_eq!(
        decode(&vec![0; 65_536]),
        Err(EntryError::TooLarge { bytes: 65_536 })
    );
}

mod properties;
