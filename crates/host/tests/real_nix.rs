//! The database and the paths of stores that the installed Nix made.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "real_nix/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use quorix_host::dump::nar_hash;
use quorix_host::location::{HookEnvironment, Location};
use quorix_host::machine::NixVersion;
use quorix_host::store::Store;
use world::World;

#[test]
fn every_path_of_a_real_store_dumps_to_the_hash_and_size_in_its_database() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    let store = Store::open(world.store("b1")).unwrap();

    let closure = store.closure(&[c.clone()].into()).unwrap();
    let names: Vec<&str> = closure
        .keys()
        .map(|path| path.name())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    for (path, info) in closure {
        assert_eq!(
            nar_hash(&store.real_path(&path)),
            Ok((info.hash, info.nar_size)),
            "{path}"
        );
    }
}

#[test]
fn trustix_what_was_built_here_and_what_was_copied_are_told_apart() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    world.copy("b1", "client", &c);
    let built = Store::open(world.store("b1"))
        .unwrap()
        .path_info(&c)
        .unwrap()
        .unwrap();
    let copied = Store::open(world.store("client"))
        .unwrap()
        .path_info(&c)
        .unwrap()
        .unwrap();
    assert!(built.ultimate);
    assert!(!copied.ultimate);
    assert_eq!(
        built.fingerprint(&Location::system()),
        copied.fingerprint(&Location::system())
    );
}

/// The predecessor read `nix path-info --json`, whose shape changed twice; the database's has not.
#[test]
fn trustix_the_database_is_read_so_that_the_formats_of_path_info_do_not_matter() {
    let world = World::new();
    let key = world.run("nix", &["key", "generate-secret", "--key-name", "b1-1"]);
    fs::write(world.path("key"), &key.stdout).unwrap();
    let c = world.build(
        "b1",
        "c",
        &["--secret-key-files", world.path("key").to_str().unwrap()],
    );
    let store = Store::open(world.store("b1")).unwrap();
    let info = store.path_info(&c).unwrap().unwrap();

    let key = quorix_host::key::SecretKeyFile::read(&world.path("key"))
        .unwrap()
        .key;
    let fingerprint = info.fingerprint(store.location());
    let [signature] = info.sigs.as_slice() else {
        panic!("{info:?}")
    };
    assert_eq!(*signature, key.sign(&fingerprint));
    assert_eq!(key.public_key().verify(&fingerprint, signature), Ok(()));
}

#[test]
fn derivations_and_their_outputs_are_read_from_a_real_store() {
    let world = World::new();
    let out = world.build("b1", "m", &[]);
    let store = Store::open(world.store("b1")).unwrap();
    let deriver = store.path_info(&out).unwrap().unwrap().deriver.unwrap();

    let outputs = store.derivation_outputs(&deriver).unwrap();
    assert_eq!(outputs.get("out"), Some(&out));
    assert_eq!(outputs.len(), 2);
    assert_eq!(
        store.valid_derivers(outputs.get("dev").unwrap()),
        Ok([(deriver.clone(), "dev".to_owned())].into())
    );
    let derivation = store.read_derivation(&deriver).unwrap();
    assert_eq!(derivation.outputs.len(), 2);
    let source = store
        .path_info(derivation.input_sources.first().unwrap())
        .unwrap()
        .unwrap();
    assert!(source.ca.is_some());
    assert!(!source.ultimate);
}

#[test]
fn a_hook_of_the_installed_nix_leads_to_the_store_that_it_runs_for() {
    let world = World::new();
    let hook = world.path("hook");
    fs::write(
        &hook,
        "#!/bin/sh\nprintf %s \"$NIX_CONFIG\" > hook-settings\n",
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let out = world.build(
        "b1",
        "a",
        &["--option", "post-build-hook", hook.to_str().unwrap()],
    );

    let settings = fs::read_to_string(world.path("hook-settings")).unwrap();
    let location = Location::of_hook(&HookEnvironment {
        nix_config: Some(&settings),
        ..HookEnvironment::default()
    });
    assert_eq!(location, Ok(world.store("b1")));
    assert!(
        Store::open(world.store("b1"))
            .unwrap()
            .path_info(&out)
            .unwrap()
            .is_some()
    );
}

#[test]
fn the_installed_nix_tells_its_version() {
    let found = NixVersion::ask(Path::new("nix"), Duration::from_secs(60)).unwrap();
    assert_eq!(found.implementation, "nix");
    assert!(found.version.starts_with("2."), "{found:?}");
}
