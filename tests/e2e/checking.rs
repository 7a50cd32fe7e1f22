//! Checking, following and quoting a log from outside, where it is long, cut off, cosigned or changed under the reader.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorix::demo::caches;
use quorix::demo::world::BuilderHost;
use quorix_testkit::entries::a_small_entry;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::note::SignedNote;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::stage::{folder, quorix};
use crate::world::{Answer, run, submit, text, unwrapped};

/// A builder's log, running, and its exported folder.
struct Exported {
    host: BuilderHost,
    dir: PathBuf,
    log: PathBuf,
}

impl Exported {
    /// With so many entries.
    async fn of(prefix: &str, entries: u64) -> Self {
        let dir = folder(prefix);
        let mut host = BuilderHost::create(&dir, "alice", &quorix(), None).unwrap();
        host.start().await.unwrap();
        let log = dir.join("exported");
        let exported = Self { host, dir, log };
        exported.grow(0..entries).await;
        exported
    }

    /// More entries, in the folder too.
    async fn grow(&self, numbers: std::ops::Range<u64>) {
        submit(&self.host, numbers.map(a_small_entry).collect()).await;
        let config = text(&self.host.config);
        let ran = run(&["log", "export", text(&self.log), "--config", config]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
    }

    fn vkey(&self) -> String {
        self.host.vkey().to_string()
    }

    /// `log fsck` of this log at this address.
    async fn fsck(&self, url: &str, more: &[&str]) -> Answer {
        let asked = ["log", "fsck", "--log", &self.vkey(), "--url", url];
        run(&[&asked[..], more].concat()).await
    }

    async fn end(mut self) {
        self.host.stop().await.unwrap();
        fs::remove_dir_all(self.dir).unwrap();
    }
}

/// As if the disk or the server failed for one file: a link to itself cannot be opened, and is not absent either.
fn make_unreadable(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    symlink(file.file_name().unwrap(), file).unwrap();
    bytes
}

fn mend(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn an_fsck_that_was_cut_off_goes_on_where_it_stopped_from_a_folder_and_over_http() {
    let log = Exported::of("quorix-e2e-resume-", 700).await;
    let served = caches::serve(&log.log).await.unwrap();
    let (third, first) = (
        log.log.join("tile/entries/002.p/188"),
        log.log.join("tile/entries/000"),
    );
    for url in [text(&log.log), &served] {
        let state = log.dir.join("state");
        let resumed = ["--resume", text(&state)];
        let bytes = make_unreadable(&third);
        let cut = log.fsck(url, &resumed).await;
        assert_eq!(cut.code, 3, "{url}: {}{}", cut.out, cut.err);
        let said = unwrapped(&cut.err);
        assert!(
            said.contains(
                "512 entries were checked run the same command again to go on from there"
            ),
            "{said}"
        );
        mend(&third, &bytes);

        // What was checked before is not read again: it may even be away by now.
        let before = make_unreadable(&first);
        let whole = log.fsck(url, &resumed).await;
        assert_eq!(whole.code, 0, "{url}: {}{}", whole.out, whole.err);
        assert!(
            whole.err.contains("Going on after entry 511."),
            "{}",
            whole.err
        );
        assert!(
            whole.out.contains("is sound: 700 entries, 4 hash tiles"),
            "{}",
            whole.out
        );
        let anew = log.fsck(url, &[]).await;
        assert_eq!(anew.code, 3, "{url}: {}{}", anew.out, anew.err);
        mend(&first, &before);
        fs::remove_file(state).unwrap();
    }
    log.end().await;
}

#[tokio::test]
async fn fsck_verifies_every_cosignature_that_a_policy_asks_for() {
    let log = Exported::of("quorix-e2e-cosigned-", 5).await;
    let [one, two] = [1, 2].map(|number| {
        let name = format!("w{number}.example").parse().unwrap();
        CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [number; 32])
    });
    let policy = log.dir.join("witnesses");
    let lines = format!(
        "witness w1 {}\nwitness w2 {}\ngroup any any w1 w2\nquorum any\n",
        one.verifier(),
        two.verifier()
    );
    fs::write(&policy, lines).unwrap();
    let file = log.log.join("checkpoint");
    let plain = fs::read_to_string(&file).unwrap();
    let fsck = async || {
        let more = ["--policy", text(&policy), "--json"];
        log.fsck(text(&log.log), &more).await
    };
    let problem = |ran: &Answer| {
        ran.json()["named"][0]["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    let bare = fsck().await;
    assert_eq!(bare.code, 1, "{}{}", bare.out, bare.err);
    assert!(
        problem(&bare).contains("the witness quorum is not met"),
        "{}",
        bare.out
    );
    assert_eq!(bare.json()["witness_quorum"]["met"], false);

    let note = SignedNote::parse(plain.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let good = one.cosign(&checkpoint, 1_700_000_000).unwrap();
    fs::write(&file, format!("{plain}{good}\n")).unwrap();
    let cosigned = fsck().await;
    assert_eq!(cosigned.code, 0, "{}{}", cosigned.out, cosigned.err);
    let quorum = &cosigned.json()["witness_quorum"];
    assert_eq!(quorum["witnesses"][0]["name"], "w1");

    // A bad one beside it, although the quorum is met without.
    let other = Checkpoint {
        size: checkpoint.size + 1,
        ..checkpoint
    };
    let bad = two.cosign(&other, 1_700_000_000).unwrap();
    fs::write(&file, format!("{plain}{good}\n{bad}\n")).unwrap();
    let forged = fsck().await;
    assert_eq!(forged.code, 1, "{}{}", forged.out, forged.err);
    assert_eq!(
        problem(&forged),
        "the signature by w2.example is not valid for the checkpoint"
    );
    // Who knows no witness ignores their lines.
    assert_eq!(log.fsck(text(&log.log), &[]).await.code, 0);
    log.end().await;
}

#[tokio::test]
async fn tail_follows_what_is_appended_and_ends_where_a_log_shows_less_than_before() {
    let log = Exported::of("quorix-e2e-tail-", 3).await;
    let earlier = fs::read(log.log.join("checkpoint")).unwrap();
    let mut tail = tokio::process::Command::new(quorix());
    tail.args(["log", "tail", "--follow", "--json", "--from", "2"])
        .args(["--log", &log.vkey(), "--url", text(&log.log)])
        .env_remove("QUORIX_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut tail = tail.spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = lines.next_line().await.unwrap().unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        told["index"].as_u64().unwrap()
    };
    assert_eq!(next().await, 2);
    log.grow(3..5).await;
    assert_eq!([next().await, next().await], [3, 4]);
    fs::write(log.log.join("checkpoint"), earlier).unwrap();
    let ended = tail.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = unwrapped(&String::from_utf8(ended.stderr).unwrap());
    assert!(
        said.contains("shows a checkpoint of 3 entries after one of 5"),
        "{said}"
    );
    log.end().await;
}

#[tokio::test]
async fn an_entry_is_proved_by_its_index_or_leaf_hash_and_one_that_is_not_there_is_not() {
    let log = Exported::of("quorix-e2e-proof-", 300).await;
    let vkey = log.vkey();
    let policy = log.dir.join("policy");
    fs::write(&policy, format!("log {vkey}\nquorum none\n")).unwrap();
    let leaf = quorix_tlog::hash::leaf_hash(&a_small_entry(299)).to_string();
    let url = log.host.url();
    let which = ["--log", &vkey, "--url", &url];
    for (number, entry) in ["299", &leaf].into_iter().enumerate() {
        let proof = log.dir.join(format!("{number}.tlog-proof"));
        let asked = ["log", "proof", entry, "-o", text(&proof)];
        let written = run(&[&asked[..], &which].concat()).await;
        assert_eq!(written.code, 0, "{}", written.err);
        let checked = run(&["verify", "proof", text(&proof), "--policy", text(&policy)]).await;
        assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
        assert!(
            checked.out.contains("at index 299 of 300"),
            "{}",
            checked.out
        );
    }
    let absent = run(&[&["log", "proof", "300"][..], &which].concat()).await;
    assert_eq!(absent.code, 1, "{}", absent.out);
    assert!(
        absent.err.contains("has no such entry among its 300"),
        "{}",
        absent.err
    );
    log.end().await;
}
