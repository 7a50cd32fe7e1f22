//! What a log showed is remembered even if its entries never came: forks in the window of an interrupted catch-up, forks
//! that one mirror hides, and the state that each failure has.

use quorix_testkit::entries::{a_small_entry, an_attestation, log_key};
use quorix_testkit::memory::MemoryIndex;
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::note::SignedNote;
use quorix_trust::evidence::LogState;
use quorix_trust::ports::{AHEAD_MAX, IndexStore};
use quorix_wire::evidence::verify_equivocation;
use quorix_wire::pb;

use super::fakes::{Answer, FakeLog, Origin};
use super::world::{World, config, policy};
use crate::config::AggregatorConfig;
use crate::logs::Condition;
use crate::reindex::rebuild;

fn entries(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(a_small_entry).collect()
}

/// Another history of the same length.
fn others(length: u64) -> Vec<Vec<u8>> {
    let first = an_attestation().saying("B").bytes();
    std::iter::once(first)
        .chain((1..length).map(a_small_entry))
        .collect()
}

/// A world that showed interest in 700 entries and got only the first 512.
async fn interrupted() -> (World, FakeLog) {
    let log = FakeLog::start("alice").await;
    let config = AggregatorConfig {
        batch_entries: 256,
        ..config()
    };
    let mut world = World::with(policy(&log.line(&[]), 1, "alice", "path"), config, None);
    log.append(&entries(0..700));
    log.at.instead("tile/entries/002.p/188", Answer::Missing);
    assert!(!world.look("alice").await);
    assert_eq!(world.size(&log), 512);
    log.at.heal();
    (world, log)
}

fn condition(world: &World, name: &str) -> Condition {
    let shared = &world.aggregator.shared();
    let log = shared.logs.iter().find(|log| log.name == name).unwrap();
    log.standing(world.clock.now_s(), shared.config.stale_after)
        .condition
}

fn assert_quarantined(world: &World, log: &FakeLog) {
    assert_eq!(world.state("alice"), LogState::Quarantined);
    let proof = world.equivocation(log).unwrap();
    assert_eq!(verify_equivocation(log.key.verifier(), &proof), Ok(()));
}

#[tokio::test]
async fn a_fork_at_equal_size_in_the_window_of_an_interrupted_catch_up_is_found() {
    let (world, log) = interrupted().await;
    let mut world = world.restarted();
    log.rewrite(&others(700));
    assert!(!world.look("alice").await);
    assert_quarantined(&world, &log);
}

#[tokio::test]
async fn a_fork_at_larger_size_in_the_window_of_an_interrupted_catch_up_is_found() {
    let (world, log) = interrupted().await;
    let mut world = world.restarted();
    log.rewrite(&others(900));
    assert!(!world.look("alice").await);
    assert_quarantined(&world, &log);
}

#[tokio::test]
async fn a_fork_behind_what_is_mirrored_of_an_interrupted_catch_up_is_found() {
    let (mut world, log) = interrupted().await;
    let mut other = entries(0..900);
    other[650] = an_attestation().saying("B").bytes();
    log.rewrite(&other);
    assert!(!world.look("alice").await);
    assert_quarantined(&world, &log);
    assert_eq!(world.size(&log), 512, "nothing of it was committed");
}

#[tokio::test]
async fn an_interrupted_catch_up_goes_on_to_what_the_log_shows_now() {
    let (world, log) = interrupted().await;
    let mut world = world.restarted();
    log.append(&entries(700..900));
    assert!(world.look("alice").await);
    assert_eq!(world.size(&log), 900);
    let kept = world.index.checkpoints(&log.origin(), 0, 10).unwrap();
    let sizes: Vec<u64> = kept.iter().map(|kept| kept.size).collect();
    assert_eq!(sizes, [700, 900]);
}

/// A peer was shown so many entries of another history with the same key, or of the same one, and tells of it here.
async fn hear_of(world: &World, log: &FakeLog, shown: &[Vec<u8>]) {
    let elsewhere = FakeLog {
        at: Origin::start().await,
        ..log.clone()
    };
    elsewhere.append(shown);
    let seen = pb::SeenCheckpoint {
        origin: log.origin(),
        checkpoint: elsewhere.checkpoint(),
    };
    let shared = world.aggregator.shared();
    shared.hear(vec![seen], Vec::new()).await;
}

fn kept(world: &World, log: &FakeLog) -> Vec<u64> {
    let kept = world.index.checkpoints(&log.origin(), 0, 10).unwrap();
    kept.iter().map(|kept| kept.size).collect()
}

#[tokio::test]
async fn another_history_that_a_peer_was_shown_is_found_although_its_part_was_mirrored_by_then() {
    let (mut world, log) = interrupted().await;
    hear_of(&world, &log, &others(300)).await;
    assert_eq!(kept(&world, &log), [300, 700]);
    let rebuilt = rebuild(&world.index, &MemoryIndex::new(), &world.policy, 7);
    assert_eq!(
        rebuilt.unwrap(),
        512,
        "what contradicts a mirror damages none"
    );
    assert!(!world.look("alice").await);
    assert_quarantined(&world, &log);
}

#[tokio::test]
async fn what_a_peer_was_shown_of_the_part_that_is_mirrored_is_nothing_new() {
    let (mut world, log) = interrupted().await;
    hear_of(&world, &log, &entries(0..300)).await;
    assert_eq!(kept(&world, &log), [700]);
    assert!(world.look("alice").await);
    assert_eq!(world.state("alice"), LogState::Live);
}

#[tokio::test]
async fn a_flood_of_trees_that_are_never_given_hides_nothing_that_a_peer_was_shown_before() {
    let log = FakeLog::start("alice").await;
    let mut world = World::of(&[&log]);
    let flood = 301 + u64::try_from(AHEAD_MAX).unwrap();
    let (all, mut grown) = (entries(0..flood), CompactRange::new());
    for entry in &all {
        grown.push(leaf_hash(entry));
        let size = grown.size();
        if size == 100 || size > 300 {
            log.publish(&log.sign(size, grown.root()));
            world.clock.advance(10);
            assert!(!world.look("alice").await, "{size}");
        }
        if size == 300 {
            hear_of(&world, &log, &others(300)).await;
        }
    }
    assert_eq!(world.size(&log), 0);
    log.append(&all);
    assert!(!world.look("alice").await);
    assert_quarantined(&world, &log);
}

/// Whoever serves a note can add lines to it.
#[tokio::test]
async fn of_what_a_log_or_a_peer_shows_only_signatures_that_count_are_kept() {
    let log = FakeLog::start("alice").await;
    let mut world = World::of(&[&log]);
    log.append(&entries(0..5));
    let with_junk = |checkpoint: &[u8]| {
        let note = SignedNote::parse(checkpoint).unwrap();
        let junk = |number: u64| log_key(&format!("junk.example.org/{number}"));
        let signed = |key| SignedNote::sign(note.text(), &[&key]).unwrap();
        let lines = (0..60).flat_map(|number| signed(junk(number)).signatures().to_vec());
        let lines = note.signatures().iter().cloned().chain(lines).collect();
        SignedNote::assemble(note.text(), lines).unwrap().to_bytes()
    };
    let bare = log.checkpoint();
    log.publish(&with_junk(&bare));
    assert!(world.look("alice").await);
    let shown = log.sign(9, leaf_hash(b"nine"));
    let seen = pb::SeenCheckpoint {
        origin: log.origin(),
        checkpoint: with_junk(&shown),
    };
    let shared = world.aggregator.shared();
    shared.hear(vec![seen], Vec::new()).await;
    let kept = world.index.checkpoints(&log.origin(), 0, 9).unwrap();
    let notes: Vec<_> = kept.into_iter().map(|kept| kept.note).collect();
    assert_eq!(notes, [bare.clone(), shown.clone()]);
    let told = shared.seen().await.unwrap();
    let told: Vec<_> = told.into_iter().map(|seen| seen.checkpoint).collect();
    assert_eq!(told, [bare, shown]);
}

#[tokio::test]
async fn a_fork_that_one_mirror_hides_is_found_on_the_other() {
    let log = FakeLog::start("alice").await;
    let elsewhere = FakeLog {
        at: Origin::start().await,
        ..log.clone()
    };
    let mut world = World::new(policy(&log.line(&[&elsewhere.at]), 1, "alice", "path"));
    log.append(&entries(0..5));
    elsewhere.append(&entries(0..5));
    assert!(world.look("alice").await);
    elsewhere.rewrite(&others(4));
    assert!(!world.look("alice").await);
    assert_quarantined(&world, &log);
}

#[tokio::test]
async fn a_slow_loris_mirror_keeps_nobody_from_following_the_others() {
    let log = FakeLog::start("alice").await;
    let silent = Origin::start().await;
    silent.all_instead(Some(Answer::Silence));
    let lines = format!(
        "builder alice {} {} {} operator=alice\n",
        log.key.verifier(),
        silent.url,
        log.at.url
    );
    let mut world = World::new(policy(&lines, 1, "alice", "path"));
    log.append(&entries(0..300));
    assert!(world.look("alice").await);
    assert_eq!(world.size(&log), 300);
}

#[tokio::test]
async fn tiles_come_from_a_mirror_when_the_origin_withholds_them() {
    let log = FakeLog::start("alice").await;
    let mirror = FakeLog {
        at: Origin::start().await,
        ..log.clone()
    };
    let mut world = World::new(policy(&log.line(&[&mirror.at]), 1, "alice", "path"));
    log.append(&entries(0..300));
    mirror.append(&entries(0..300));
    log.at.instead("tile/entries/001.p/44", Answer::Missing);
    assert!(world.look("alice").await);
    assert_eq!(world.size(&log), 300);
}

#[tokio::test]
async fn each_failure_has_its_own_state() {
    let log = FakeLog::start("alice").await;
    let mut world = World::of(&[&log]);
    assert_eq!(condition(&world, "alice"), Condition::Untried);
    log.append(&entries(0..3));
    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Following);

    world.clock.advance(61);
    assert_eq!(condition(&world, "alice"), Condition::Overdue);

    log.at.all_instead(Some(Answer::Missing));
    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Unreachable);
    log.at.all_instead(None);

    let three = log.checkpoint();
    log.append(&entries(3..5));
    log.at.instead("tile/entries/000.p/5", Answer::Missing);
    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Withholding);
    log.at.heal();

    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Following);
    log.publish(&three);
    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Behind);

    log.publish(b"garbage");
    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Malformed);

    log.rewrite(&others(5));
    world.look("alice").await;
    assert_eq!(condition(&world, "alice"), Condition::Quarantined);
}

#[tokio::test]
async fn a_larger_checkpoint_that_was_shown_once_is_not_forgotten() {
    let log = FakeLog::start("alice").await;
    let mut world = World::of(&[&log]);
    log.append(&entries(0..3));
    world.look("alice").await;
    let three = log.checkpoint();
    log.append(&entries(3..5));
    log.at.instead("tile/entries/000.p/5", Answer::Missing);
    world.look("alice").await;
    log.publish(&three);
    let mut world = world.restarted();
    assert!(!world.look("alice").await);
    assert_eq!(condition(&world, "alice"), Condition::Behind);
    assert_ne!(world.state("alice"), LogState::Live);
}

#[tokio::test]
async fn a_folder_is_followed_like_a_log() {
    let log = FakeLog::start("alice").await;
    log.append(&entries(0..5));
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in log.at.files_of(5) {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let line = format!(
        "builder alice {} file://{} operator=alice\n",
        log.key.verifier(),
        dir.path().display()
    );
    let mut world = World::new(policy(&line, 1, "alice", "path"));
    assert!(world.look("alice").await);
    assert_eq!(world.size(&log), 5);
}
