//! Copies of a log by `quorix mirror`, of a log that shows it something else each time or names blobs that are nowhere, and
//! logs that have ended or that somebody else would end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use quorix::demo::client::until;
use quorix::demo::process::Process;
use quorix::demo::world::free_port;
use quorix_testkit::entries::{a_small_entry, an_attestation, bytes_of, log_key};
use quorix_testkit::tree::{Grower, blob_id, naive_bundle};
use quorix_tlog::hash::Hash;
use quorix_trust::attestation::{Entry, KeyRotation};
use quorix_wire::pb::{LogCondition, LogState};

use super::scene::history;
use super::site::{Answer, SiteLog};
use super::witnesses::witness_key;
use crate::following::{becomes, log_of, machine, policy};
use crate::stage::quorix;
use crate::world::{Answer as Ran, get, run, text, unwrapped};

/// All files of a folder, by their path in it.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for file in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = file.path();
            if file.file_type().unwrap().is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap();
                found.insert(text(name).to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Without what is kept beside the copy as proof.
fn copied(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(dir);
    all.retain(|name, _| !name.starts_with("fork/"));
    all
}

async fn mirror(log: &SiteLog, dir: &Path) -> Ran {
    let (vkey, url) = (log.vkey(), log.at.url.clone());
    run(&[
        "mirror",
        "--log",
        &vkey,
        "--url",
        &url,
        "--dir",
        text(dir),
        "--once",
    ])
    .await
}

#[tokio::test]
async fn nothing_is_copied_that_the_logs_key_did_not_sign() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let mut log = SiteLog::publish("alice", &history("A", 5)).await;
    let first = mirror(&log, &copy).await;
    assert_eq!(first.code, 0, "{}", first.err);
    let before = files(&copy);
    log.append(&[a_small_entry(5)]);
    let wrong = history("B", 6);
    let stranger = Grower::new("mallory.example/log")
        .grow(log.entries())
        .head
        .checkpoint;
    for (path, answer) in [
        ("tile/entries/000.p/6", naive_bundle(&wrong, 0)),
        ("tile/entries/000.p/6", Vec::new()),
        ("tile/entries/000.p/6", naive_bundle(&wrong[..5], 0)),
        ("checkpoint", stranger),
        ("checkpoint", b"<html>".to_vec()),
    ] {
        log.at.instead(path, Answer::Bytes(answer));
        let refused = mirror(&log, &copy).await;
        assert_ne!(refused.code, 0, "{path}: {}", refused.out);
        assert_eq!(files(&copy), before, "{path}");
        log.at.heal();
    }
    let whole = mirror(&log, &copy).await;
    assert_eq!(whole.code, 0, "{}", whole.err);
    let grown = files(&copy);
    assert_eq!(grown["checkpoint"], log.checkpoint());

    // A file that is there and is not of this log is never overwritten.
    let spoilt = dir.path().join("spoilt");
    let tile = spoilt.join("tile/entries/000.p/6");
    fs::create_dir_all(tile.parent().unwrap()).unwrap();
    fs::write(&tile, "somebody's diary").unwrap();
    let refused = mirror(&log, &spoilt).await;
    assert_ne!(refused.code, 0, "{}", refused.out);
    assert_eq!(fs::read_to_string(&tile).unwrap(), "somebody's diary");
    assert!(!spoilt.join("checkpoint").exists());
}

#[tokio::test]
async fn a_log_that_shows_its_mirror_another_past_or_less_changes_nothing_of_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    for (size, is_fork) in [(300, true), (200, true), (500, true), (200, false)] {
        let copy = dir.path().join(format!("copy-{size}-{is_fork}"));
        let mut log = SiteLog::publish("alice", &history("A", 300)).await;
        assert_eq!(mirror(&log, &copy).await.code, 0);
        let before = files(&copy);
        log.rewrite(&history(if is_fork { "B" } else { "A" }, size));
        for _ in 0..2 {
            let refused = mirror(&log, &copy).await;
            assert_ne!(refused.code, 0, "{size}: {}", refused.out);
            assert_eq!(copied(&copy), before, "{size}");
            assert_eq!(
                copy.join("fork/first").exists(),
                is_fork,
                "{size}: {}",
                refused.err
            );
        }
        if is_fork {
            // Its copy is stopped for good, whatever the log shows from now on.
            log.rewrite(&history("A", 310));
            let stopped = mirror(&log, &copy).await;
            assert_ne!(stopped.code, 0, "{size}: {}", stopped.out);
            assert_eq!(copied(&copy), before, "{size}");
        }
    }
}

/// The bytes of a rotation from `old` to the key of another log.
fn a_rotation(old: &str) -> Vec<u8> {
    let rotation = KeyRotation::sign(&log_key(old), &log_key("alice.example/next")).unwrap();
    bytes_of(&Entry::KeyRotation(rotation))
}

#[tokio::test]
async fn nobody_else_ends_a_log_and_nothing_behind_its_end_is_followed_or_copied() {
    let dir = tempfile::tempdir().unwrap();
    let forged = a_rotation("mallory.example/log");
    let mut alice = SiteLog::publish("alice", &[an_attestation().bytes(), forged]).await;
    let mut host = machine(
        dir.path(),
        "user",
        &policy(&alice.line(&[]), "alice"),
        "",
        "",
    );
    host.start().await.unwrap();
    becomes(&host, "alice", |log| {
        log.indexed == 2 && log.state() == LogState::Live
    })
    .await;
    alice.append(&[a_small_entry(1)]);
    let going_on = becomes(&host, "alice", |log| log.indexed == 3).await;
    assert_eq!(
        (going_on.state(), going_on.reason.as_str()),
        (LogState::Live, "")
    );

    // With both keys it ends, and nobody follows the next one by itself.
    alice.append(&[a_rotation("alice.example/log")]);
    let ended = becomes(&host, "alice", |log| {
        log.indexed == 4 && !log.reason.is_empty()
    })
    .await;
    let next = log_key("alice.example/next").verifier().to_string();
    assert!(
        ended.reason.starts_with(&format!(
            "it has ended: its entry 3 hands over to the key {next}."
        )),
        "{}",
        ended.reason
    );
    assert_eq!(log_of(&host, "next").await, None);

    let behind = "its entry 4 comes after the key rotation of entry 3, which ends it";
    alice.append(&[an_attestation().of("late").bytes()]);
    for _ in 0..2 {
        let log = becomes(&host, "alice", |log| {
            log.condition() == LogCondition::Malformed
        })
        .await;
        assert!(log.reason.contains(behind), "{}", log.reason);
        assert_eq!((log.indexed, log.equivocation), (4, None));
        host.stop().await.unwrap();
        host.start().await.unwrap();
    }
    let copy = dir.path().join("copy");
    let refused = mirror(&alice, &copy).await;
    assert_ne!(refused.code, 0, "{}", refused.out);
    let said = unwrapped(&refused.err);
    assert!(
        said.contains("rotation") || said.contains("ended"),
        "{said}"
    );
    assert!(!copy.join("tile/entries/000.p/5").exists());
}

/// An entry that names a blob of its own, and that blob.
fn naming_a_blob(number: u64) -> (Vec<u8>, Vec<u8>) {
    let reference = format!("dependency-{number}");
    let named = an_attestation()
        .referring_to(&[&reference])
        .with_references_in_a_blob();
    (named.bytes(), named.blob())
}

/// Where a blob is in a log.
fn name_of(blob: &[u8]) -> String {
    format!("blob/{}", Hash::from_bytes(blob_id(blob)).to_hex())
}

/// A mirror of a log that cosigns what it has, and where its copy is read.
async fn cosigning_mirror(log: &SiteLog, dir: &Path) -> (Process, String) {
    let (address, key) = (free_port().unwrap(), dir.join("mirror.key"));
    fs::write(&key, witness_key("mirror").to_text() + "\n").unwrap();
    let config = dir.join("mirror.toml");
    let toml = format!(
        "data_dir = \"{}/mirror\"\n[mirror]\nlisten = \"{address}\"\nkey = \"{}\"\npoll_interval = \"100ms\"\n\
         [[mirror.logs]]\nvkey = \"{}\"\nurls = [\"{}\"]\n",
        text(dir),
        text(&key),
        log.vkey(),
        log.at.url
    );
    fs::write(&config, toml).unwrap();
    let mirror = Process::serve(&quorix(), "the mirror", &config, &[address]).await;
    let folder = Hash::from_bytes(blob_id(log.origin().as_bytes())).to_hex();
    (mirror.unwrap(), format!("http://{address}/{folder}"))
}

#[tokio::test]
async fn blobs_without_end_that_are_nowhere_keep_a_running_mirror_from_nothing_but_its_cosignature()
{
    let dir = tempfile::tempdir().unwrap();
    let named: Vec<_> = (0..300).map(naming_a_blob).collect();
    let entries: Vec<_> = named.iter().map(|(entry, _)| entry.clone()).collect();
    let mut log = SiteLog::publish("alice", &entries).await;
    let (mirror, copy) = cosigning_mirror(&log, dir.path()).await;
    let shows = async |size: u64, signatures: usize| {
        let wanted = format!("the copy has {size} entries and {signatures} signatures");
        let url = format!("{copy}/checkpoint");
        until(&wanted, async || {
            let (status, note) = get(&url).await;
            let lines = note.split("\n\n").nth(1)?.lines().count();
            let is = status == 200 && note.contains(&format!("\n{size}\n")) && lines == signatures;
            is.then_some(())
        })
        .await
        .unwrap();
    };
    shows(300, 1).await;

    // Each is asked for in its turn, and one that is there after all is found whatever the others are.
    until("every blob was asked for", async || {
        let asked = log.at.asked();
        let asked: BTreeSet<&String> = asked
            .iter()
            .filter(|path| path.starts_with("blob/"))
            .collect();
        (asked.len() == named.len()).then_some(())
    })
    .await
    .unwrap();
    let (_, found) = &named[217];
    log.at.put(&name_of(found), found);
    let url = format!("{copy}/{}", name_of(found));
    until("the blob is in the copy", async || {
        (get(&url).await.0 == 200).then_some(())
    })
    .await
    .unwrap();
    log.append(&[a_small_entry(1)]);
    shows(301, 1).await;

    for (_, blob) in &named {
        log.at.put(&name_of(blob), blob);
    }
    shows(301, 2).await;
    mirror.stop().await.unwrap();
}
