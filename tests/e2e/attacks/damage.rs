//! Damage on the disk of a log, and acceptances that are kept longer than they hold.

use std::fs;
use std::path::{Path, PathBuf};

use quorix::demo::world::BuilderHost;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{a_path, a_small_entry, an_attestation};

use super::scene::Scene;
use crate::stage::quorix;
use crate::world::{checkpoint_of, covered, run, submit, text};

fn files(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.is_file()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_log_over_a_damaged_database_signs_nothing_that_it_did_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    alice.start().await.unwrap();
    submit(&alice, (0..300).map(a_small_entry).collect()).await;
    let before = checkpoint_of(alice.public, 300).await;
    alice.stop().await.unwrap();
    let database = alice.data_dir.join("log");
    let whole: Vec<(PathBuf, Vec<u8>)> = files(&database)
        .into_iter()
        .map(|file| (file.clone(), fs::read(&file).unwrap()))
        .collect();
    let mut refused = 0;
    let large = whole.iter().filter(|(file, bytes)| {
        bytes.len() > 4_096
            && file
                .extension()
                .is_some_and(|kind| kind == "sst" || kind == "log")
    });
    for (file, bytes) in large {
        for part in [1, 2] {
            let mut damaged = bytes.clone();
            let middle = bytes.len() * part / 3;
            damaged[middle..middle + 64]
                .iter_mut()
                .for_each(|byte| *byte ^= 0x55);
            fs::write(file, damaged).unwrap();
            match alice.start().await {
                Ok(()) => {
                    assert_eq!(checkpoint_of(alice.public, 300).await, before);
                    alice.stop().await.unwrap();
                }
                Err(failure) => {
                    refused += 1;
                    let said = format!("{failure:?}");
                    assert!(said.contains("error"), "{said}");
                }
            }
            for (file, bytes) in &whole {
                fs::write(file, bytes).unwrap();
            }
        }
    }
    assert!(refused > 0, "some of it was damage that matters");
    // Put back whole, it goes on.
    alice.start().await.unwrap();
    submit(&alice, vec![a_small_entry(300)]).await;
    checkpoint_of(alice.public, 301).await;
    alice.stop().await.unwrap();
}

#[tokio::test]
async fn a_log_whose_index_is_damaged_starts_and_goes_on_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    alice.start().await.unwrap();
    submit(&alice, (0..16).map(a_small_entry).collect()).await;
    covered(&alice, 16).await;
    alice.stop().await.unwrap();
    let index = alice.data_dir.join("log-index");
    let current = files(&index)
        .into_iter()
        .find(|file| file.ends_with("CURRENT"))
        .unwrap();
    fs::write(&current, "MANIFEST-of-nothing\n").unwrap();
    alice.start().await.unwrap();
    submit(&alice, (16..32).map(a_small_entry).collect()).await;
    checkpoint_of(alice.public, 32).await;
    let path = StoreDir::default().join(&a_path("hello"));
    let config = alice.config.clone();
    let asked = ["log", "lookup", &path, "--config", text(&config)];
    let no_answer = run(&asked).await;
    assert_eq!(
        (no_answer.code, no_answer.out.as_str()),
        (3, ""),
        "{}",
        no_answer.err
    );
    alice.stop().await.unwrap();
    // An index is made again from the entries.
    fs::remove_dir_all(&index).unwrap();
    alice.start().await.unwrap();
    covered(&alice, 32).await;
    let answer = run(&asked).await;
    assert_eq!(answer.code, 1, "{}", answer.err);
    assert!(answer.out.contains("says nothing about"), "{}", answer.out);
    alice.stop().await.unwrap();
}

#[tokio::test]
async fn grace_keeps_an_acceptance_over_a_stale_log_and_over_nothing_else() {
    let hello = an_attestation().bytes();
    let logs = [("alice", vec![hello.clone()]), ("bob", vec![hello])];
    let rules =
        "voters both all alice bob\nrule main quorum=both level=path grace=1h\ndefault main\n";
    let mut scene = Scene::of(&logs, rules).await;
    let (config, policy) = (scene.host.config.clone(), scene.host.policy.clone());
    let path = StoreDir::default().join(&a_path("hello"));
    let receipt = scene.dir.path().join("receipt");
    let decide = async |more: &[&str]| {
        let about = [
            "decide",
            "--json",
            "--config",
            text(&config),
            "--policy",
            text(&policy),
        ];
        let ran = run(&[&about, more, &[path.as_str()]].concat()).await;
        let told = ran.json();
        (ran.code, told["outcome"].as_str().unwrap().to_owned())
    };
    let accepted = (0, "accepted".to_owned());
    assert_eq!(decide(&["--receipt", text(&receipt)]).await, accepted);
    scene.cut("bob").await;
    assert_eq!(decide(&[]).await, (1, "insufficient".to_owned()));
    let next = scene.dir.path().join("next");
    let with_grace = ["--receipt", text(&next), "--earlier", text(&receipt)];
    assert_eq!(decide(&with_grace).await, accepted);

    // Somebody says something else: that it was accepted before keeps nothing.
    scene
        .log("alice")
        .append(&[an_attestation().saying("B").bytes()]);
    crate::following::becomes(&scene.host, "alice", |log| log.indexed == 2).await;
    let last = scene.dir.path().join("last");
    let changed = ["--receipt", text(&last), "--earlier", text(&receipt)];
    assert_eq!(decide(&changed).await, (1, "conflict".to_owned()));
}
