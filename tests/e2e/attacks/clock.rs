//! Clocks that are put back and forward under a running program, by a library that stands between it and them
//! (`clock.c`, compiled here with `cc`).

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use quorix::demo::world::UserHost;
use quorix_testkit::entries::{a_small_entry, log_key};
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::note::SignedNote;
use quorix_wire::pb::LogState;

use super::scene::history;
use super::site::{Answer, SiteLog};
use super::witnesses::witness_key;
use crate::following::{becomes, machine_of, policy};
use crate::stage::quorix;
use crate::world::text;

const DAY_S: i64 = 86_400;

/// The program with clocks of its own.
pub(super) struct Clocks {
    /// What starts it.
    pub(super) quorix: PathBuf,
    offsets: PathBuf,
}

impl Clocks {
    /// Clocks that are right, with their files in a folder.
    pub(super) fn right(dir: &Path) -> Self {
        let (library, offsets) = (dir.join("clock.so"), dir.join("offsets"));
        compiled("clock.c", &library, &["-shared", "-fPIC"]);
        fs::write(&offsets, [0; 16]).unwrap();
        let program = dir.join("quorix-with-clocks");
        let script = format!(
            "#!/bin/sh\nLD_PRELOAD='{}' CLOCK_OFFSETS='{}' exec '{}' \"$@\"\n",
            text(&library),
            text(&offsets),
            text(&quorix())
        );
        // By a process of its own: what this one has open for writing another thread's child may still hold when it is run.
        let write = "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"";
        let arguments = ["-c", write, "sh", &script, text(&program)];
        let written = Command::new("sh").args(arguments).status();
        assert!(written.unwrap().success());
        Self {
            quorix: program,
            offsets,
        }
    }

    /// The time of day is off by so many seconds from now on.
    pub(super) fn time_of_day_is_off_by(&self, seconds: i64) {
        self.set(0, seconds);
    }

    /// The clock by which the program waits is ahead by so many seconds from now on.
    pub(super) fn waiting_is_ahead_by(&self, seconds: i64) {
        self.set(8, seconds);
    }

    fn set(&self, place: u64, seconds: i64) {
        let file = fs::File::options().write(true).open(&self.offsets).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), place).unwrap();
    }
}

/// Compiles a file of this folder.
pub(super) fn compiled(source: &str, to: &Path, more: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("e2e/attacks")
        .join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    let compiled = compiler.arg(to).arg(source).args(more).output();
    let compiled = compiled.expect("cc is installed (`make test` installs it)");
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
}

/// Entries and time of a checkpoint of alice's that the aggregator of this test cosigned.
fn cosigned(note: &[u8]) -> Option<(u64, u64)> {
    let origin = "alice.example/log";
    let signed = SignedCheckpoint::open(note, log_key(origin).verifier(), origin).ok()?;
    let (note, key) = (SignedNote::parse(note).ok()?, witness_key("aggregator"));
    let mut times = note.signatures().iter();
    let at_s = times.find_map(|line| key.verifier().verify(signed.checkpoint(), line).ok())?;
    Some((signed.checkpoint().size, at_s))
}

/// Waits until the aggregator has cosigned so many entries, and gives the time that it says.
async fn cosigned_at(host: &UserHost, entries: u64) -> u64 {
    let log = becomes(host, "alice", |log| {
        cosigned(&log.cosigned).is_some_and(|(size, _)| size == entries)
    })
    .await;
    cosigned(&log.cosigned).unwrap().1
}

#[tokio::test]
async fn an_aggregator_whose_clock_goes_back_dates_no_cosignature_earlier_than_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks::right(dir.path());
    let mut alice = SiteLog::publish("alice", &history("A", 5)).await;
    let key = dir.path().join("witness.key");
    fs::write(&key, witness_key("aggregator").to_text() + "\n").unwrap();
    let cosigns = format!("witness_key = \"{}\"\n", text(&key));
    let policy = policy(&alice.line(&[]), "alice");
    let mut host = machine_of(&clocks.quorix, dir.path(), "user", &policy, &cosigns, "");
    host.start().await.unwrap();
    let first = cosigned_at(&host, 5).await;
    clocks.time_of_day_is_off_by(-10 * DAY_S);
    alice.append(&[a_small_entry(6)]);
    assert!(cosigned_at(&host, 6).await >= first);
    // Nor after a restart, with the clock still wrong.
    host.stop().await.unwrap();
    host.start().await.unwrap();
    alice.append(&[a_small_entry(7)]);
    assert!(cosigned_at(&host, 7).await >= first);
}

#[tokio::test]
async fn a_clock_that_is_put_back_keeps_no_silent_log_of_a_running_aggregator_alive() {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks::right(dir.path());
    let alice = SiteLog::publish("alice", &history("A", 5)).await;
    let policy = policy(&alice.line(&[]), "alice");
    let mut host = machine_of(&clocks.quorix, dir.path(), "user", &policy, "", "");
    host.start().await.unwrap();
    let lives = async || {
        becomes(&host, "alice", |log| log.state() == LogState::Live).await;
    };
    lives().await;
    // Silent, and then, before it is stale or after, a day earlier.
    alice.at.everything(Answer::Missing);
    clocks.time_of_day_is_off_by(-DAY_S);
    let put_back = "the clock of this machine was put back by 86";
    let log = becomes(&host, "alice", |log| log.reason.contains(put_back)).await;
    assert_eq!(log.state(), LogState::Stale);
    // It answers at that time, and lives no longer by it than always.
    alice.at.heal();
    lives().await;
    alice.at.everything(Answer::Missing);
    let log = becomes(&host, "alice", |log| log.state() == LogState::Stale).await;
    assert!(!log.reason.contains("put back"), "{}", log.reason);
}
