//! Two processes on one database.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use quorix_testkit::entries::a_small_entry;

use crate::dice::Dice;
use crate::hammer::Hammer;
use crate::host::{LogHost, quorix};
use crate::oracle::Oracle;

/// The second process has addresses of its own: it is the anchor that keeps it out, and then the database, not a port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_one_database_says_so_and_disturbs_nobody() {
    let (mut first, mut oracle) = (LogHost::new(), Oracle::default());
    first.start().await.unwrap();
    let numbers = Arc::new(AtomicU64::new(0));
    let hammer = Hammer::begin(&first, &numbers, &mut Dice::new(1));
    let second = LogHost::new();
    let text = fs::read_to_string(second.config()).unwrap();
    let (theirs, shared) = (second.data(), first.data());
    let text = text.replace(theirs.to_str().unwrap(), shared.to_str().unwrap());
    fs::write(second.config(), text).unwrap();
    for _ in 0..3 {
        let mut rival = tokio::process::Command::new(quorix());
        rival
            .arg("serve")
            .arg("--config")
            .arg(second.config())
            .env_remove("QUORIX_CONFIG");
        let ended = rival.output().await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(3), "{said}");
        let sentence = format!(
            "opening the anchor {}: another quorix process has it open",
            first.data().join("log.anchor").display()
        );
        assert!(said.contains(&sentence), "{said}");
        oracle.check(&first).await.unwrap();
    }
    let answer = first
        .client()
        .submit(vec![a_small_entry(u64::MAX)], Vec::new())
        .await
        .unwrap();
    oracle.saw(&answer.checkpoint).unwrap();
    // With an anchor of its own it is the database's lock that keeps it out.
    let anchor = second.path("other.anchor");
    let text = fs::read_to_string(second.config()).unwrap();
    let line = format!("anchor = \"{}\"\n", anchor.display());
    fs::write(second.config(), text + &line).unwrap();
    let mut rival = tokio::process::Command::new(quorix());
    rival
        .arg("serve")
        .arg("--config")
        .arg(second.config())
        .env_remove("QUORIX_CONFIG");
    let ended = rival.output().await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    let sentence = format!(
        "another quorix process has this database open: {}",
        first.data().join("log").display()
    );
    assert!(said.contains(&sentence), "{said}");
    oracle.check(&first).await.unwrap();
    hammer.end(&mut oracle).await.unwrap();
    first.kill().await;
    first.start().await.unwrap();
    oracle.check_everything(&first).await.unwrap();
}
