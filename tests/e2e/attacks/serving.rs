//! Logs and mirrors that serve something else than what they signed: nothing of it is taken in, nobody is framed, and
//! those who answer are followed.

use quorix::demo::world::UserHost;
use quorix_testkit::entries::{a_small_entry, an_attestation, log_key};
use quorix_testkit::tree::{Grower, hash_bytes, naive_bundle};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::leaf_hash;
use quorix_trust::decision::Outcome;
use quorix_wire::pb::{LogCondition, LogState};

use super::scene::history;
use super::site::{Answer, Site, SiteLog};
use crate::following::{becomes, client_of, log_of, machine};

const BUNDLE: &str = "tile/entries/000.p/7";
const HASHES: &str = "tile/0/000.p/7";

/// What is done to a log that signed seven entries, of which five were seen before.
type Tamper = fn(&SiteLog);

fn serve_entries(log: &SiteLog, alter: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut entries = log.entries().to_vec();
    alter(&mut entries);
    log.at
        .instead(BUNDLE, Answer::Bytes(naive_bundle(&entries, 0)));
}

fn serve_bundle(log: &SiteLog, alter: impl FnOnce(&mut Vec<u8>)) {
    let mut bundle = naive_bundle(log.entries(), 0);
    alter(&mut bundle);
    log.at.instead(BUNDLE, Answer::Bytes(bundle));
}

fn serve_checkpoint(log: &SiteLog, bytes: Vec<u8>) {
    log.at.instead("checkpoint", Answer::Bytes(bytes));
}

/// Another entry in the place of one, and hashes that fit it: as a mirror would that wants to frame the log.
fn frame(log: &SiteLog, hashes: Option<Vec<u8>>) {
    let mut entries = log.entries().to_vec();
    entries[0] = an_attestation().saying("B").bytes();
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let hashes = hashes.unwrap_or_else(|| hash_bytes(&leaves));
    log.at.instead(HASHES, Answer::Bytes(hashes));
    log.at
        .instead(BUNDLE, Answer::Bytes(naive_bundle(&entries, 0)));
}

/// A checkpoint by a key that is called like the log, over entries that the log has.
fn impostor(log: &SiteLog) {
    let mut own = Grower::new("mallory.example/log");
    let head = own.grow(log.entries()).head;
    let checkpoint = Checkpoint {
        origin: log.origin(),
        size: head.size,
        root: head.root,
        extensions: Vec::new(),
    };
    let seed = [9; 32];
    let key = quorix_tlog::note::SigningKey::from_seed(log.origin().parse().unwrap(), seed);
    serve_checkpoint(log, checkpoint.sign(&key).unwrap());
}

/// Twice as many zeros as anybody wants, in a few hundred bytes: a Zstandard frame of nothing but repeated bytes.
fn a_bomb() -> Vec<u8> {
    const BLOCK: u32 = 128 * 1024;
    // Magic number, a frame without checksum and content size, and a window of 128 KiB.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let blocks = 8_192_u32;
    for number in 0..blocks {
        let is_last = u32::from(number + 1 == blocks);
        let header = (BLOCK << 3) | (1 << 1) | is_last;
        bomb.extend_from_slice(&header.to_le_bytes()[..3]);
        bomb.push(0);
    }
    bomb
}

/// The name of a log, what it does, how it stands then, and a part of why.
const CASES: &[(&str, Tamper, LogCondition, &str)] = &[
    (
        "tampered",
        |log| {
            serve_entries(log, |all| {
                all[6] = an_attestation().of("seventh").saying("B").bytes()
            })
        },
        LogCondition::Malformed,
        "its 7 entries have the root",
    ),
    (
        "another-past",
        |log| serve_entries(log, |all| all[0] = an_attestation().saying("B").bytes()),
        LogCondition::Malformed,
        "its entry bundle 0 begins with other entries than it had before",
    ),
    (
        "reordered",
        |log| serve_entries(log, |all| all.swap(5, 6)),
        LogCondition::Malformed,
        "its 7 entries have the root",
    ),
    (
        "one-too-few",
        |log| serve_entries(log, |all| drop(all.pop())),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "one-too-many",
        |log| serve_entries(log, |all| all.push(a_small_entry(9))),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "truncated",
        |log| serve_bundle(log, |bundle| bundle.truncate(bundle.len() - 1)),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "empty",
        |log| serve_bundle(log, Vec::clear),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "oversized",
        |log| serve_bundle(log, |bundle| bundle.resize(256 * (2 + 65_535) + 1, 0)),
        LogCondition::Malformed,
        "16777472",
    ),
    (
        "bomb",
        |log| log.at.instead(BUNDLE, Answer::Encoded("zstd", a_bomb())),
        LogCondition::Malformed,
        "16777472",
    ),
    (
        "not-what-it-says",
        |log| {
            log.at.instead(
                BUNDLE,
                Answer::Encoded("gzip", naive_bundle(log.entries(), 0)),
            )
        },
        LogCondition::Withholding,
        "Invalid gzip header",
    ),
    (
        "withheld",
        |log| {
            for path in [BUNDLE, "tile/entries/000", HASHES, "tile/0/000"] {
                log.at.instead(path, Answer::Missing);
            }
        },
        LogCondition::Withholding,
        "tile/entries/000.p/7: not found",
    ),
    (
        "framed",
        |log| frame(log, None),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "framed-with-nothing",
        |log| frame(log, Some(Vec::new())),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "framed-with-zeros",
        |log| frame(log, Some(vec![0; 7 * 32])),
        LogCondition::Malformed,
        "entry bundle 0",
    ),
    (
        "impostor",
        impostor,
        LogCondition::Malformed,
        "none of the known keys signed the note",
    ),
    (
        "another-log",
        |log| {
            let mut other = Grower::new("other.example/log");
            serve_checkpoint(log, other.grow(log.entries()).head.checkpoint);
        },
        LogCondition::Malformed,
        "none of the known keys signed the note",
    ),
    (
        "another-log-of-its-key",
        |log| {
            let other = Checkpoint {
                origin: "other.example/log".to_owned(),
                size: 7,
                root: quorix_tlog::hash::EMPTY_ROOT,
                extensions: Vec::new(),
            };
            serve_checkpoint(log, other.sign(&log_key(&log.origin())).unwrap());
        },
        LogCondition::Malformed,
        "other.example/log",
    ),
    (
        "not-a-note",
        |log| serve_checkpoint(log, b"<html>".to_vec()),
        LogCondition::Malformed,
        "note",
    ),
    (
        "rolled-back",
        |log| {
            let mut earlier = Grower::new(&log.origin());
            serve_checkpoint(log, earlier.grow(&log.entries()[..3]).head.checkpoint);
        },
        LogCondition::Behind,
        "it shows an older checkpoint of 3 entries, and 5 were seen",
    ),
];

/// A log of five entries, the first of which says `hello`.
async fn five(name: &str) -> SiteLog {
    SiteLog::publish(name, &history("A", 5)).await
}

/// A machine that follows these logs, each of which is enough for an acceptance.
async fn follower(dir: &std::path::Path, lines: &str, names: &[&str]) -> UserHost {
    let policy = format!(
        "{lines}quorum none\nvoters one any {}\nrule main quorum=one level=path\ndefault main\n",
        names.join(" ")
    );
    let mut host = machine(dir, "user", &policy, "", "");
    host.start().await.unwrap();
    host
}

#[tokio::test]
async fn whatever_a_log_serves_instead_of_what_it_signed_nothing_of_it_is_taken_in_and_nobody_is_framed()
 {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Vec::new();
    for (name, ..) in CASES {
        logs.push(five(name).await);
    }
    let lines: String = logs.iter().map(|log| log.line(&[])).collect();
    let names: Vec<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    let host = follower(dir.path(), &lines, &names).await;
    for name in &names {
        becomes(&host, name, |log| {
            log.indexed == 5 && log.state() == LogState::Live
        })
        .await;
    }

    for (log, (_, tamper, ..)) in logs.iter_mut().zip(CASES) {
        // Everything is in its place before the checkpoint that covers it can be seen.
        let seventh = an_attestation().of("seventh").bytes();
        log.append_unseen(&[a_small_entry(6), seventh]);
        tamper(log);
        log.at.put("checkpoint", &log.checkpoint());
    }
    for (name, _, condition, reason) in CASES {
        let log = becomes(&host, name, |log| {
            log.condition() == *condition && log.state() == LogState::Stale
        })
        .await;
        assert!(log.reason.contains(reason), "{name}: {}", log.reason);
        assert_eq!((log.indexed, log.size), (5, 5), "{name}");
        assert_eq!(log.equivocation, None, "{name}");
    }
    let decide = async |name: &str| {
        let path = quorix_testkit::entries::a_path(name);
        client_of(&host).decide(&path).await.unwrap()
    };
    assert_eq!(decide("seventh").await.outcome, Outcome::Unknown);
    // What each of them said before is dissent still, and no vote.
    assert_eq!(decide("hello").await.outcome, Outcome::Insufficient);

    for log in &logs {
        log.at.heal();
    }
    for name in &names {
        let log = becomes(&host, name, |log| log.state() == LogState::Live).await;
        assert_eq!((log.indexed, log.equivocation), (7, None), "{name}");
    }
    assert_eq!(decide("seventh").await.values[0].voters.len(), names.len());
}

#[tokio::test]
async fn a_slow_loris_a_mirror_without_tiles_and_a_silent_log_delay_nobody_who_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (loris, hollow) = (Site::start().await, Site::start().await);
    loris.everything(Answer::Endless);
    let (mut alice, mut bob) = (five("alice").await, five("bob").await);
    let silent = five("silent").await;
    silent.at.everything(Answer::Endless);
    // Alice's first address never ends an answer; bob's first one has checkpoints and nothing else.
    let through = |log: &SiteLog, first: &Site| {
        let line = log.line(&[&log.at]);
        line.replacen(&log.at.url, &first.url, 1)
    };
    hollow.put("checkpoint", &bob.checkpoint());
    let lines = through(&alice, &loris) + &through(&bob, &hollow) + &silent.line(&[]);
    let host = follower(dir.path(), &lines, &["alice", "bob", "silent"]).await;
    for log in [&alice, &bob] {
        becomes(&host, &log.name, |log| {
            log.indexed == 5 && log.state() == LogState::Live
        })
        .await;
    }
    for log in [&mut alice, &mut bob] {
        log.append(&(10..300).map(a_small_entry).collect::<Vec<_>>());
    }
    hollow.put("checkpoint", &bob.checkpoint());
    for log in [&alice, &bob] {
        becomes(&host, &log.name, |log| log.indexed == 295).await;
    }
    let silent = log_of(&host, "silent").await.unwrap();
    assert_eq!((silent.state(), silent.indexed), (LogState::Stale, 0));
    let path = quorix_testkit::entries::a_path("hello");
    let hello = client_of(&host).decide(&path).await.unwrap();
    assert_eq!(hello.values[0].voters, ["alice", "bob"]);
}
