//! Logs that ended with a key rotation: what they said counts, what comes after it is not taken in.

use quorix_testkit::entries::{a_small_entry, an_attestation, bytes_of, log_key};
use quorix_tlog::note::SigningKey;
use quorix_trust::attestation::{Entry, KeyRotation};
use quorix_trust::evidence::LogState;

use super::fakes::FakeLog;
use super::world::World;

/// The bytes of a rotation from `old` to the key of another log.
fn a_rotation(old: &SigningKey) -> Vec<u8> {
    let rotation = KeyRotation::sign(old, &log_key("alice.example/next")).unwrap();
    bytes_of(&Entry::KeyRotation(rotation))
}

#[tokio::test]
async fn nothing_is_taken_in_after_a_key_rotation_also_after_a_restart() {
    let log = FakeLog::start("alice").await;
    log.append(&[an_attestation().bytes(), a_rotation(&log.key)]);
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await && world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Live);

    log.append(&[a_small_entry(1)]);
    let reason = "its entry 2 comes after the key rotation of entry 1, which ends it";
    for _ in 0..2 {
        assert!(!world.look("alice").await);
        assert!(
            world.stale_reason("alice").contains(reason),
            "{}",
            world.stale_reason("alice")
        );
        assert_eq!(world.head(&log).unwrap().size, 2);
        world = world.restarted();
    }
    // Neither does it help to show the rotation and what follows it for the first time together.
    let mut late = World::of(&[&log]);
    assert!(!late.look("alice").await);
    assert!(late.stale_reason("alice").contains(reason));
    assert_eq!(late.head(&log), None);
}

#[tokio::test]
async fn a_rotation_that_is_not_signed_by_the_logs_key_ends_nothing() {
    let log = FakeLog::start("alice").await;
    log.append(&[
        a_rotation(&log_key("mallory.example/log")),
        a_small_entry(1),
    ]);
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await);
    log.append(&[a_small_entry(2)]);
    assert!(world.look("alice").await);
    assert_eq!(world.head(&log).unwrap().size, 3);
}

#[tokio::test]
async fn a_log_that_ended_says_so_and_what_to_put_into_the_policy_also_after_a_restart() {
    let log = FakeLog::start("alice").await;
    log.append(&[an_attestation().bytes()]);
    let mut world = World::of(&[&log]);
    assert!(world.look("alice").await);
    assert_eq!(world.reason("alice"), "");
    log.append(&[a_rotation(&log.key)]);
    let next = log_key("alice.example/next").verifier().to_string();
    let words = format!(
        "it has ended: its entry 1 hands over to the key {next}. What it said counts on. Nobody follows that key unless the \
         policy names it: keep the line of this log and add `builder NAME {next} URL operator=alice`"
    );
    for _ in 0..2 {
        assert!(world.look("alice").await);
        assert_eq!(world.state("alice"), LogState::Live);
        assert_eq!(world.reason("alice"), words);
        world = world.restarted();
    }
}
