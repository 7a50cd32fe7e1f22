//! What is found by derivation, NAR hash and system, what is counted, and the same index built anew.

use quorix_testkit::entries::{a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of};
use quorix_testkit::memory::MemoryIndex;
use quorix_tlog::hash::leaf_hash;
use quorix_trust::ports::{Equivocation, IndexStore, StoredCheckpoint, Tally, TallyKey};
use quorix_wire::pb;
use quorix_wire::pb::find_outputs_request::By;

use super::fakes::FakeLog;
use super::world::{World, absolute, policy, told};
use crate::events::EventKind;
use crate::reindex::rebuild;

/// Alice and bob agree on hello, disagree about lib; alice withdrew app, which bob has.
async fn followed() -> (World, [FakeLog; 2]) {
    let logs = [FakeLog::start("alice").await, FakeLog::start("bob").await];
    let mut world = World::of(&[&logs[0], &logs[1]]);
    world.clock.set(3 * 86_400 + 5);
    let (hello, lib, app) = (
        an_attestation(),
        an_attestation().of("lib"),
        an_attestation().of("app"),
    );
    logs[0].append(&[hello.bytes(), lib.bytes(), app.bytes()]);
    logs[1].append(&[hello.bytes(), lib.saying("B").bytes()]);
    world.look_at_all().await;
    world.clock.set(5 * 86_400);
    logs[0].append(&[bytes_of(&a_retraction_of(&[app.bytes()]))]);
    logs[0].append(&(10..700).map(a_small_entry).collect::<Vec<_>>());
    logs[1].append(&[app.bytes()]);
    world.look_at_all().await;
    (world, logs)
}

async fn found(world: &World, by: By) -> Vec<String> {
    let request = pb::FindOutputsRequest {
        by: Some(by),
        ..Default::default()
    };
    let answer = world
        .aggregator
        .shared()
        .find_outputs(request)
        .await
        .unwrap();
    answer
        .outputs
        .into_iter()
        .map(|output| output.store_path)
        .collect()
}

#[tokio::test]
async fn outputs_are_found_by_what_was_said_of_them() {
    let (world, _) = followed().await;
    let claim = an_attestation().of("lib").saying("B").claim();
    let nar_hash = By::NarHash(claim.nar_hash.as_bytes().to_vec());
    assert!(
        found(&world, nar_hash)
            .await
            .contains(&absolute(&a_path("lib")))
    );
    let build = an_attestation().build();
    let (drv, _) = build.derivation.unwrap();
    assert!(
        found(&world, By::Derivation(absolute(&drv)))
            .await
            .contains(&absolute(&a_path("hello")))
    );
    assert!(
        found(&world, By::System(build.system))
            .await
            .contains(&absolute(&a_path("app")))
    );
    assert_eq!(found(&world, By::System("other".to_owned())).await, [""; 0]);
    assert_eq!(found(&world, By::NarHash(vec![1; 32])).await, [""; 0]);
}

#[tokio::test]
async fn outputs_are_counted_by_the_day_of_the_checkpoint_and_by_pairs() {
    let (world, logs) = followed().await;
    let tallies = world.index.tallies(99, 99).unwrap();
    let system = an_attestation().build().system;
    let of = |key: &TallyKey| {
        let found = tallies.iter().find(|(other, _)| other == key);
        found.map(|(_, tally)| *tally)
    };
    let day = TallyKey::Day { day: 3, system };
    let expected = Tally {
        agree: 1,
        disagree: 1,
        one_builder: 1,
        none: 0,
    };
    assert_eq!(of(&day), Some(expected));
    let pair = TallyKey::Pair {
        one: logs[0].origin(),
        other: logs[1].origin(),
    };
    let expected = Tally {
        agree: 1,
        disagree: 1,
        ..Tally::default()
    };
    assert_eq!(of(&pair), Some(expected));
}

#[tokio::test]
async fn an_index_that_is_built_anew_is_the_same() {
    let (world, logs) = followed().await;
    let (old, new) = (&world.index, MemoryIndex::new());
    assert_eq!(rebuild(old, &new, &world.policy, 99 * 86_400).unwrap(), 697);
    assert_eq!(new.tallies(99, 99), old.tallies(99, 99));
    assert_eq!(new.counts(), old.counts());
    assert_eq!(new.by_name("", 2_000), old.by_name("", 2_000));
    for log in &logs {
        let origin = log.origin();
        assert_eq!(new.mirror(&origin).head(), old.mirror(&origin).head());
        assert_eq!(
            new.checkpoints(&origin, 0, 99),
            old.checkpoints(&origin, 0, 99)
        );
    }
    for name in ["hello", "lib", "app"] {
        let output = a_path(name).hash_part();
        assert_eq!(new.statements(&output), old.statements(&output));
    }
}

#[tokio::test]
async fn what_is_kept_of_a_log_that_the_policy_names_no_more_outlives_an_index_built_anew() {
    let (world, [alice, bob]) = followed().await;
    let old = &world.index;
    let proof = |number: u64| Equivocation {
        first: bob.sign(number, leaf_hash(b"one")),
        second: bob.sign(number, leaf_hash(b"other")),
        consistency_proof: Vec::new(),
    };
    old.quarantine(&bob.origin(), &proof(900)).unwrap();
    old.lift(&bob.origin(), 7, "a restored disk").unwrap();
    old.quarantine(&bob.origin(), &proof(901)).unwrap();
    let cosigned = StoredCheckpoint {
        at_s: 8,
        size: 3,
        note: bob.checkpoint(),
    };
    old.keep_cosigned(&bob.origin(), &cosigned).unwrap();

    let (new, without_bob) = (
        MemoryIndex::new(),
        policy(&alice.line(&[]), 1, "alice", "path"),
    );
    rebuild(old, &new, &without_bob, 99 * 86_400).unwrap();
    let origin = bob.origin();
    assert_eq!(new.equivocation(&origin), Ok(Some(proof(901))));
    assert_eq!(new.lifts(&origin), old.lifts(&origin));
    assert_eq!(new.lifts(&origin).unwrap().len(), 1);
    assert_eq!(new.cosigned(&origin), Ok(Some(cosigned)));
    assert_eq!(
        new.checkpoints(&origin, 0, 99),
        old.checkpoints(&origin, 0, 99)
    );
    assert!(!new.checkpoints(&origin, 0, 99).unwrap().is_empty());
}

#[tokio::test]
async fn a_system_with_a_control_character_is_refused() {
    let (world, _) = followed().await;
    let request = pb::FindOutputsRequest {
        by: Some(By::System("x86_64-linux\0".to_owned())),
        ..Default::default()
    };
    let refused = world.aggregator.shared().find_outputs(request).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "system: it has a control character, which no system has"
    );
}

#[tokio::test]
async fn a_withdrawal_is_told() {
    let log = FakeLog::start("alice").await;
    let mut world = World::of(&[&log]);
    log.append(&[an_attestation().bytes()]);
    world.look("alice").await;
    let mut watcher = world.aggregator.watch();
    log.append(&[bytes_of(&a_retraction_of(&[an_attestation().bytes()]))]);
    world.look("alice").await;
    assert_eq!(
        told(&mut watcher),
        [(EventKind::Revoked, "alice".to_owned())]
    );
    let newest = world.aggregator.shared().events.newest();
    assert_eq!(
        newest[0].message,
        "alice published a retraction of one entry."
    );
}
