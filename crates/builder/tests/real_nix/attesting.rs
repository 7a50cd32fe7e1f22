//! A store path as a log entry, or why not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use quorix_builder::attest::{AttestError, Attester, Request};
use quorix_builder::config::BuilderConfig;
use quorix_host::dump::nar_hash;
use quorix_host::store::Store;
use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::leaf_hash;
use quorix_trust::attestation::{Entry, Environment, Provenance, References};
use quorix_wire::entry::{decode, decode_inputs};

use crate::world::World;

pub(crate) fn attester() -> Attester {
    Attester {
        nix_key: Some(quorix_testkit::entries::nix_key("b1-1")),
        environment: Environment {
            nix_implementation: "nix".to_owned(),
            nix_version: "2.8.0".to_owned(),
            kernel: "6.1.0".to_owned(),
            cores: 2,
        },
        config: BuilderConfig::default(),
    }
}

/// Changes a byte of what a file holds, and neither its size nor its mode.
pub(crate) fn corrupt(file: &Path) {
    let mode = fs::metadata(file).unwrap().permissions();
    fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(file).unwrap();
    bytes[0] ^= 1;
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, mode).unwrap();
}

fn absolute(path: &StorePath) -> String {
    StoreDir::default().join(path)
}

#[test]
fn an_attestation_says_everything_that_the_store_knows() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let info = store.path_info(&c).unwrap().unwrap();

    let made = attester()
        .attest(&store, &Request::built(c.clone()))
        .unwrap();
    assert_eq!(
        decode(&made.entry),
        Ok(Entry::Build(Box::new(made.build.clone())))
    );

    let facts = made.build.claim.facts(None).unwrap().unwrap();
    assert_eq!(facts, info.fingerprint(store.location()));
    assert_eq!(
        (facts.nar_hash, facts.nar_size),
        nar_hash(&store.real_path(&c)).unwrap()
    );
    let names: BTreeSet<&str> = facts.references.iter().map(StorePath::name).collect();
    assert_eq!(names, ["a", "b"].into());
    assert!(matches!(made.build.claim.references, References::Inline(_)));

    assert_eq!(
        made.build.derivation,
        Some((info.deriver.unwrap(), "out".to_owned()))
    );
    assert!(
        made.build.system.ends_with("-linux"),
        "{}",
        made.build.system
    );
    assert_eq!(made.build.provenance, Provenance::Built);
    assert_eq!(made.build.finished_at_s, info.registration_time);
    assert_eq!(made.build.environment, attester().environment);

    let key = attester().nix_key.unwrap().public_key();
    assert_eq!(
        key.verify(&facts, &made.build.nix_signature.unwrap()),
        Ok(())
    );
}

#[test]
fn an_attestation_made_again_has_the_same_bytes() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let [first, second] = [(); 2].map(|()| {
        attester()
            .attest(&store, &Request::built(c.clone()))
            .unwrap()
    });
    assert_eq!(first, second);
}

#[test]
fn the_inputs_are_the_closure_of_what_the_build_was_given() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let made = attester()
        .attest(&store, &Request::built(c.clone()))
        .unwrap();

    let blob = &made.blobs[0];
    let inputs: BTreeMap<StorePath, FingerprintDigest> = decode_inputs(blob).unwrap();
    let names: BTreeSet<&str> = inputs.keys().map(|path| path.name()).collect();
    assert_eq!(names, ["a", "b", "busybox"].into());
    for (path, digest) in &inputs {
        let info = store.path_info(path).unwrap().unwrap();
        assert_eq!(*digest, info.fingerprint(store.location()).digest());
    }

    let mut log = CompactRange::new();
    for line in std::str::from_utf8(blob).unwrap().lines() {
        log.push(leaf_hash(line.as_bytes()));
    }
    assert_eq!(made.build.inputs_root, Some(log.root()));
    assert_eq!(
        made.build.inputs_blob,
        Some(quorix_testkit::tree::blob_id(blob))
    );
}

#[test]
fn inputs_that_are_not_to_be_published_leave_only_their_root() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let mut discreet = attester();
    discreet.config.publish_inputs = false;
    let open = attester()
        .attest(&store, &Request::built(c.clone()))
        .unwrap();
    let made = discreet.attest(&store, &Request::built(c)).unwrap();
    assert_eq!(made.blobs, Vec::<Vec<u8>>::new());
    assert_eq!(made.build.inputs_blob, None);
    assert_eq!(made.build.inputs_root, open.build.inputs_root);
}

#[test]
fn inputs_that_are_gone_in_part_are_not_told_at_all() {
    let world = World::new();
    let d = world.build("b1", "d", &[]);
    let a = world.build("b1", "a", &[]);
    let root = world.path("b1");
    world.run(
        "nix-store",
        &["--store", root.to_str().unwrap(), "--delete", &absolute(&a)],
    );
    let store = Store::open(world.store("b1")).unwrap();
    let made = attester().attest(&store, &Request::built(d)).unwrap();
    assert_eq!(made.build.inputs_root, None);
    assert_eq!(made.blobs, Vec::<Vec<u8>>::new());
    assert!(made.build.derivation.is_some());
}

#[test]
fn each_output_has_its_own_name() {
    let world = World::new();
    let out = world.build("b1", "m", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let derivation = store.path_info(&out).unwrap().unwrap().deriver.unwrap();
    for (name, path) in store.derivation_outputs(&derivation).unwrap() {
        let made = attester().attest(&store, &Request::built(path)).unwrap();
        assert_eq!(made.build.derivation, Some((derivation.clone(), name)));
    }
}

/// The predecessor submitted whatever was in the store.
#[test]
fn trustix_what_was_substituted_is_refused_and_what_was_built_is_not() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    world.copy("b1", "client", &c);
    let store = Store::open(world.store("client")).unwrap();
    let request = Request::built(c.clone());

    let refused = attester().attest(&store, &request).unwrap_err();
    assert_eq!(refused, AttestError::NotBuiltHere { path: absolute(&c) });
    assert!(refused.is_final());
    assert!(
        refused
            .to_string()
            .contains("was substituted, not built here"),
        "{refused}"
    );

    let mut trusting = attester();
    trusting.config.include_remote_built = true;
    assert!(trusting.attest(&store, &request).is_ok());
}

#[test]
fn a_substituted_path_that_is_rebuilt_with_the_same_result_can_be_attested() {
    let world = World::new();
    let a = world.build("b1", "a", &[]);
    let derivation = Store::open(world.store("b1"))
        .unwrap()
        .path_info(&a)
        .unwrap()
        .unwrap()
        .deriver
        .unwrap();
    world.copy("b1", "b2", &a);
    world.copy("b1", "b2", &derivation);
    world.build("b2", "a", &["--check"]);

    let store = Store::open(world.store("b2")).unwrap();
    let registered = store.path_info(&a).unwrap().unwrap().registration_time;
    let request = Request {
        noticed_at_s: Some(registered + 3600),
        ..Request::built(a)
    };
    let made = attester().attest(&store, &request).unwrap();
    assert_eq!(made.build.provenance, Provenance::Rebuilt);
    assert_eq!(made.build.finished_at_s, registered + 3600);
}

#[test]
fn a_corrupted_path_is_refused() {
    let world = World::new();
    let a = world.build("b1", "a", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let registered = nar_hash(&store.real_path(&a)).unwrap();
    corrupt(&store.real_path(&a).join("f"));

    let found = nar_hash(&store.real_path(&a)).unwrap();
    let refused = attester()
        .attest(&store, &Request::built(a.clone()))
        .unwrap_err();
    assert!(refused.is_final());
    assert_eq!(
        refused,
        AttestError::Corrupted {
            path: absolute(&a),
            registered,
            found
        }
    );
}

#[test]
fn a_path_that_is_gone_is_refused() {
    let world = World::new();
    let a = world.build("b1", "a", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    fs::rename(store.real_path(&a), world.path("away")).unwrap();
    let gone = attester().attest(&store, &Request::built(a.clone()));
    assert_eq!(gone, Err(AttestError::Gone { path: absolute(&a) }));
    fs::rename(world.path("away"), store.real_path(&a)).unwrap();

    let root = world.path("b1");
    world.run(
        "nix-store",
        &["--store", root.to_str().unwrap(), "--delete", &absolute(&a)],
    );
    let gone = attester().attest(&store, &Request::built(a.clone()));
    assert_eq!(gone, Err(AttestError::NotValid { path: absolute(&a) }));
}
