use std::collections::BTreeSet;

use quorix_nix::store_path::{HashPart, StoreDir};
use quorix_wire::entry::{decode, decode_references};

use super::*;

fn a_path(number: usize, name: &str) -> StorePath {
    let mut hash = [0; 20];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    StorePath::new(&HashPart::from_bytes(&hash), name).unwrap()
}

fn facts(references: usize) -> Fingerprint {
    let name = "n".repeat(200);
    Fingerprint {
        store_dir: StoreDir::default(),
        path: a_path(0, "system"),
        nar_hash: NarHash::from_bytes([1; 32]),
        nar_size: 120,
        references: (1..=references)
            .map(|number| a_path(number, &name))
            .collect(),
    }
}

fn build(facts: &Fingerprint) -> Build {
    Build {
        claim: Claim::of(facts),
        content_address: None,
        derivation: None,
        provenance: Provenance::Built,
        system: String::new(),
        nix_signature: None,
        inputs_root: None,
        inputs_blob: None,
        started_at_s: 0,
        finished_at_s: 0,
        environment: Environment::default(),
    }
}

#[test]
fn references_that_do_not_fit_an_entry_are_in_a_blob() {
    let few = facts(200);
    let inline = with_bytes(build(&few), &few, None).unwrap();
    assert_eq!(
        inline.build.claim.references,
        References::Inline(few.references.clone())
    );
    assert_eq!(inline.blobs, Vec::<Vec<u8>>::new());

    let many = facts(400);
    let other_blob = b"inputs\n".to_vec();
    let made = with_bytes(build(&many), &many, Some(other_blob.clone())).unwrap();
    let [first, blob] = made.blobs.as_slice() else {
        panic!("{} blobs", made.blobs.len());
    };
    assert_eq!(*first, other_blob);
    assert_eq!(made.build.claim.references, References::Blob(blob_id(blob)));
    assert_eq!(
        decode(&made.entry),
        Ok(Entry::Build(Box::new(made.build.clone())))
    );
    let listed: BTreeSet<StorePath> = decode_references(blob).unwrap();
    assert_eq!(made.build.claim.facts(Some(&listed)), Ok(Some(many)));
}

#[test]
fn more_references_than_a_blob_holds_are_refused() {
    let facts = facts(20_000);
    assert_eq!(
        with_bytes(build(&facts), &facts, None),
        Err(AttestError::TooManyReferences {
            path: StoreDir::default().join(&facts.path)
        })
    );
}

#[test]
fn a_path_that_was_registered_long_before_its_build_was_rebuilt() {
    let info = PathInfo {
        path: a_path(0, "a"),
        hash: NarHash::from_bytes([1; 32]),
        nar_size: 120,
        references: BTreeSet::new(),
        deriver: None,
        ultimate: true,
        sigs: Vec::new(),
        ca: None,
        registration_time: 1000,
    };
    let at = |noticed_at_s| Request {
        noticed_at_s,
        ..Request::built(info.path.clone())
    };
    assert_eq!(origin(&at(None), &info), (Provenance::Built, 1000));
    assert_eq!(origin(&at(Some(1001)), &info), (Provenance::Built, 1000));
    assert_eq!(origin(&at(Some(1060)), &info), (Provenance::Built, 1000));
    assert_eq!(origin(&at(Some(1061)), &info), (Provenance::Rebuilt, 1061));
}

#[test]
fn odd_evidence_is_left_out_and_no_reason_not_to_vote() {
    assert_eq!(told("x86_64-linux".to_owned()), "x86_64-linux");
    assert_eq!(told("a\nb".to_owned()), "");
    assert_eq!(told("x".repeat(65)), "");
}
