//! Copies of a log that runs, and logs that are put back from one; and the end of a log by its operator.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use quorix_testkit::entries::a_small_entry;

use crate::dice::Dice;
use crate::hammer::Hammer;
use crate::host::{LogHost, copy, quorix};
use crate::oracle::Oracle;

/// Runs the program about this host's log: exit code, standard output, standard error.
async fn run(log: &LogHost, arguments: &[&str]) -> (i32, String, String) {
    let mut program = tokio::process::Command::new(quorix());
    program
        .args(arguments)
        .arg("--config")
        .arg(log.config())
        .env_remove("QUORIX_CONFIG");
    let ended = program.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = ended.status.code().unwrap();
    (code, text(ended.stdout), text(ended.stderr))
}

/// Text without its line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Puts a copy in the place of the log's database.
fn restore(log: &LogHost, backup: &Path) {
    let database = log.data().join("log");
    fs::remove_dir_all(&database).unwrap();
    copy(backup, &database);
}

async fn append(log: &LogHost, numbers: std::ops::Range<u64>) {
    let entries = numbers.map(a_small_entry).collect();
    log.client().submit(entries, Vec::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_log_is_copied_under_load_and_every_copy_is_whole_and_marked() {
    let (mut log, mut oracle) = (LogHost::new(), Oracle::default());
    log.start().await.unwrap();
    let numbers = Arc::new(AtomicU64::new(0));
    let hammer = Hammer::begin(&log, &numbers, &mut Dice::new(7));
    let mut copies = Vec::new();
    for number in 0..4 {
        let dir = log.path(&format!("copy-{number}"));
        let (code, out, err) = run(&log, &["log", "backup", dir.to_str().unwrap()]).await;
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("was copied to"), "{out}");
        copies.push(dir);
    }
    // Nothing is overwritten, and it says so before it asks.
    let taken = copies[0].to_str().unwrap();
    let (code, _, err) = run(&log, &["log", "backup", taken]).await;
    assert_eq!(code, 2);
    assert!(flat(&err).contains("exists already"), "{err}");
    hammer.end(&mut oracle).await.unwrap();
    oracle.check_everything(&log).await.unwrap();
    log.stop().await;
    for backup in &copies {
        let newest = fs::read(log.data().join("log.anchor")).unwrap();
        restore(&log, backup);
        // Each is older than what the anchor shows, or, the last one perhaps, just as new; none is gone on from.
        let ended = log.start().await.unwrap_err();
        let said = flat(&ended.said);
        let old = said.contains("the anchor shows that this log has signed");
        let marked = said.contains("this database is a copy that a backup made");
        assert!(old || marked, "{said}");
        assert_eq!(fs::read(log.data().join("log.anchor")).unwrap(), newest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_backup_put_back_behind_the_anchor_is_refused_with_what_to_do() {
    let mut log = LogHost::new();
    log.start().await.unwrap();
    append(&log, 0..3).await;
    let backup = log.path("backup");
    let (code, out, err) = run(&log, &["log", "backup", backup.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("with 3 entries"), "{out}");
    append(&log, 3..5).await;
    log.stop().await;
    restore(&log, &backup);
    let refusal = "the database holds 3 entries, but the anchor shows that this log has signed 5: the database is an older \
                   copy or has lost its end. Signing on would contradict what was signed, for everybody to see and for \
                   good. Nothing was signed; restore a copy with at least 5 entries, or begin a new log under a new name";
    let ended = log.start().await.unwrap_err();
    assert!(flat(&ended.said).contains(refusal), "{}", ended.said);
    // Nor does its operator's word help.
    let (code, _, err) = run(&log, &["log", "adopt", "--confirm-size", "3"]).await;
    assert_eq!(code, 3);
    assert!(flat(&err).contains(refusal), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_the_newest_state_goes_on_once_its_operator_says_so() {
    let (mut log, mut oracle) = (LogHost::new(), Oracle::default());
    log.start().await.unwrap();
    append(&log, 0..3).await;
    oracle.check(&log).await.unwrap();
    let backup = log.path("backup");
    run(&log, &["log", "backup", backup.to_str().unwrap()]).await;
    log.stop().await;
    restore(&log, &backup);
    let ended = log.start().await.unwrap_err();
    let copy = "this database is a copy that a backup made, with 3 entries.";
    assert!(flat(&ended.said).contains(copy), "{}", ended.said);
    // Another number than the database's is a wrong argument, and changes nothing: it is a copy as before.
    let (code, _, err) = run(&log, &["log", "adopt", "--confirm-size", "2"]).await;
    assert_eq!(code, 2, "{err}");
    let wrong = "the database holds 3 entries, not the 2 that were confirmed. Nothing was changed; make sure which database \
                 this is before you confirm 3";
    assert!(flat(&err).contains(wrong), "{err}");
    let ended = log.start().await.unwrap_err();
    assert!(flat(&ended.said).contains(copy), "{}", ended.said);
    let (code, _, err) = run(&log, &["log", "adopt", "--confirm-size", "3"]).await;
    assert_eq!(code, 0, "{err}");
    log.start().await.unwrap();
    append(&log, 3..5).await;
    assert_eq!(oracle.check(&log).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_ended_by_its_operator_and_its_key_cannot_go_on() {
    let mut log = LogHost::new();
    log.start().await.unwrap();
    append(&log, 0..3).await;
    let key = log.path("next.key");
    let (file, name) = (key.to_str().unwrap(), "torture.example/next");
    // Without a name no key is made, and without a yes nothing is ended.
    let (code, _, err) = run(&log, &["key", "rotate", file]).await;
    assert_eq!(code, 2, "{err}");
    assert!(
        flat(&err).contains("say how its log is called: --name NAME"),
        "{err}"
    );
    let same = [
        "key",
        "rotate",
        "--name",
        "torture.example/log",
        "--yes",
        file,
    ];
    let (code, _, err) = run(&log, &same).await;
    assert_eq!(code, 2);
    assert!(
        flat(&err).contains("a name stands for one history"),
        "{err}"
    );
    assert!(!key.exists());
    let (code, out, err) = run(&log, &["key", "rotate", "--name", name, "--yes", file]).await;
    assert_eq!(code, 0, "{err}");
    let said = flat(&out);
    let start = "The log torture.example/log has ended: its last entry, 3, hands over to torture.example/next+";
    assert!(said.starts_with(start), "{out}");
    assert!(
        said.contains("builder NAME-2 torture.example/next+"),
        "{out}"
    );
    // Said again, it is the same entry; and also after a restart nothing follows it.
    for _ in 0..2 {
        let (code, out, err) = run(&log, &["key", "rotate", "--yes", "--json", file]).await;
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("\"index\": 3"), "{out}");
        let refused = log
            .client()
            .submit(vec![a_small_entry(9)], Vec::new())
            .await;
        let refused = refused.unwrap_err().to_string();
        let words =
            "the log takes nothing now: this log has ended: its entry 3 hands over to the key";
        assert!(refused.starts_with(words), "{refused}");
        let (code, out, _) = run(&log, &["log", "status"]).await;
        assert_eq!(code, 0);
        assert!(
            out.contains("It has ended. The key that follows: torture.example/next+"),
            "{out}"
        );
        log.stop().await;
        log.start().await.unwrap();
    }
    // The new key on the old database is refused, whatever the configuration says.
    log.stop().await;
    let text = fs::read_to_string(log.config()).unwrap();
    let text = text.replace("torture.example/log", name);
    let old_key = log.path("log.key");
    fs::write(log.config(), text.replace(old_key.to_str().unwrap(), file)).unwrap();
    let ended = log.start().await.unwrap_err();
    let said = flat(&ended.said);
    assert!(
        said.contains("the anchor holds no checkpoint of torture.example/next"),
        "{said}"
    );
    // Beside it, with data of its own, it begins a log.
    for name in ["log", "log-index", "log.anchor"] {
        let (from, to) = (
            log.data().join(name),
            log.data().join(format!("old-{name}")),
        );
        if from.exists() {
            fs::rename(from, to).unwrap();
        }
    }
    log.start().await.unwrap();
    append(&log, 0..1).await;
    let checkpoint = log.get("checkpoint").await.unwrap();
    assert!(checkpoint.starts_with(b"torture.example/next\n1\n"));
}
