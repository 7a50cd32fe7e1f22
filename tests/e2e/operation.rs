//! Looking after a log: it is exported and followed as files, checked whole, mirrored, proved and withdrawn from.

use std::fs;
use std::path::Path;

use quorix::demo::caches;
use quorix::demo::process::Process;
use quorix::demo::world::free_port;
use quorix_trust::decision::Outcome;
use quorix_wire::pb::LogState;

use crate::world::{Answer, TWO_OF_THREE, World, get, run, text, unwrapped};

impl World {
    /// `log …` about a builder's own log, by its configuration.
    async fn log_of(&self, name: &str, arguments: &[&str]) -> Answer {
        let builder = self
            .builders
            .iter()
            .find(|builder| builder.name == name)
            .unwrap();
        let all = [&["log"], arguments, &["--config", text(&builder.config)]].concat();
        run(&all).await
    }

    /// vkey and public URL of a builder's log.
    fn vkey_and_url(&self, name: &str) -> (String, String) {
        let builder = self
            .builders
            .iter()
            .find(|builder| builder.name == name)
            .unwrap();
        let line = builder.policy_line();
        let vkey = line
            .split_whitespace()
            .find(|word| word.starts_with(&format!("{name}.example/log+")));
        (
            vkey.expect("the policy names the key").to_owned(),
            format!("http://{}", builder.public),
        )
    }
}

/// Flips one bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn an_exported_folder_is_followed_like_the_log_that_it_is_of() {
    let mut world = World::with_builders().await;
    let dir = world.dir.join("exported");
    let exported = world.log_of("alice", &["export", text(&dir)]).await;
    assert_eq!(exported.code, 0, "{}", exported.err);
    assert!(
        exported
            .out
            .contains("holds the log alice.example/log: 5 entries, 5 of them new, all verified."),
        "{}",
        exported.out
    );
    let again = world
        .log_of("alice", &["export", "--json", text(&dir)])
        .await;
    assert_eq!(
        (
            &again.json()["from"],
            &again.json()["size"],
            &again.json()["files"]
        ),
        (&5.into(), &5.into(), &0.into())
    );

    world.builder("alice").stop().await.unwrap();
    let stopped = world
        .log_of(
            "alice",
            &["export", text(&world.dir.join("from-the-database"))],
        )
        .await;
    assert_eq!(stopped.code, 0, "{}", stopped.err);

    // Nobody answers at alice's address any more; her log is a folder now.
    let (_, url) = world.vkey_and_url("alice");
    let policy = world
        .policy_lines()
        .replace(&url, &format!("file://{}", text(&dir)))
        + TWO_OF_THREE;
    let cache = world.honest_cache().await;
    world.add_user(&policy, &[cache]).await;
    world.followed(5).await;
    assert_eq!(world.log("alice").await.state(), LogState::Live);
    assert!(world.decide("hello").await.is_accepted());
}

#[tokio::test]
async fn fsck_finds_one_flipped_byte_in_a_folder_and_over_http() {
    let mut world = World::with_builders().await;
    let dir = world.dir.join("exported");
    assert_eq!(world.log_of("alice", &["export", text(&dir)]).await.code, 0);
    let (vkey, url) = world.vkey_and_url("alice");
    let running = world.log_of("alice", &["fsck"]).await;
    assert_eq!(running.code, 2);
    assert!(
        running
            .err
            .contains(&format!("quorix log fsck --log '{vkey}' --url {url}")),
        "{}",
        running.err
    );
    let served = run(&["log", "fsck", "--log", &vkey, "--url", &url]).await;
    assert_eq!(served.code, 0, "{}{}", served.out, served.err);
    assert!(
        served
            .out
            .starts_with("The log alice.example/log is sound: 5 entries, 1 hash tile and "),
        "{}",
        served.out
    );
    let folder = world.log_of("alice", &["fsck", text(&dir)]).await;
    assert_eq!((folder.code, &folder.out), (0, &served.out));
    world.builder("alice").stop().await.unwrap();
    let own = world.log_of("alice", &["fsck"]).await;
    assert_eq!((own.code, &own.out), (0, &served.out), "{}", own.err);

    let static_url = caches::serve(&dir).await.unwrap();
    flip(&dir.join("tile/0/000.p/5"));
    let tile = run(&[
        "log",
        "fsck",
        "--json",
        "--log",
        &vkey,
        "--url",
        &static_url,
    ])
    .await;
    assert_eq!(tile.code, 1, "{}", tile.err);
    assert_eq!(tile.json()["problems"], 1);
    assert_eq!(tile.json()["named"][0]["what"], "tile/0/000.p/5");
    flip(&dir.join("tile/0/000.p/5"));
    flip(&dir.join("tile/entries/000.p/5"));
    let entries = world.log_of("alice", &["fsck", text(&dir)]).await;
    assert_eq!(entries.code, 1, "{}", entries.err);
    assert!(
        unwrapped(&entries.out).contains("is damaged: 1 thing is wrong"),
        "{}",
        entries.out
    );
    flip(&dir.join("tile/entries/000.p/5"));
    flip(&dir.join("checkpoint"));
    assert_eq!(world.log_of("alice", &["fsck", text(&dir)]).await.code, 1);
}

#[tokio::test]
async fn fsck_says_what_a_crash_left_behind_the_checkpoint_and_changes_nothing() {
    let mut world = World::with_builders().await;
    world.builder("alice").stop().await.unwrap();
    let (data, sound) = (
        world.builder("alice").data_dir.clone(),
        world.log_of("alice", &["fsck"]).await,
    );
    assert_eq!(sound.code, 0, "{}{}", sound.out, sound.err);
    assert!(!sound.out.contains("behind it"), "{}", sound.out);
    let files = fs::read_dir(data.join("log")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let wal = files.filter(|file| file.extension().is_some_and(|kind| kind == "log"));
    let wal = wal.max().unwrap();
    // The head of a record of 1,000 bytes, of which 10 were written.
    let record = [[0, 0, 0, 0, 0xe8, 3, 1].as_slice(), &[7; 10]].concat();
    let whole = fs::read(&wal).unwrap();
    fs::write(&wal, [whole.as_slice(), &record].concat()).unwrap();
    for _ in 0..2 {
        let torn = world.log_of("alice", &["fsck"]).await;
        assert_eq!(torn.code, 0, "{}{}", torn.out, torn.err);
        assert!(
            unwrapped(&torn.out)
                .contains("behind it lies a write that was cut off: 17 bytes after"),
            "{}",
            torn.out
        );
    }
    assert_eq!(fs::read(&wal).unwrap().len(), whole.len() + record.len());
    let told = world.log_of("alice", &["fsck", "--json"]).await.json();
    assert_eq!(told["beyond"]["torn"]["torn_bytes"], 17);
    assert_eq!(
        (&told["beyond"]["anchored"], &told["beyond"]["uncovered"]),
        (&5.into(), &0.into())
    );

    // What keeps the log from starting is a problem.
    let anchor = data.join("log.anchor");
    let kept = fs::read(&anchor).unwrap();
    fs::write(&anchor, vec![0; kept.len()]).unwrap();
    let damaged = world.log_of("alice", &["fsck"]).await;
    assert_eq!(damaged.code, 1, "{}{}", damaged.out, damaged.err);
    assert!(
        unwrapped(&damaged.out).contains("both of its slots are damaged"),
        "{}",
        damaged.out
    );
    fs::write(&anchor, kept).unwrap();
    // The start that drops it says so.
    world.builder("alice").start().await.unwrap();
    let told = world.builder("alice").config.with_extension("log");
    let told = fs::read_to_string(told).unwrap();
    let line = "in the middle of a write: what was written of it is dropped";
    let dropped: Vec<_> = told.lines().filter(|said| said.contains(line)).collect();
    assert!(
        matches!(dropped[..], [said] if said.contains("torn_bytes=17")),
        "{told}"
    );
    assert_eq!(world.log_of("alice", &["fsck"]).await.code, 2);
    assert_eq!(world.log_of("alice", &["status"]).await.code, 0);
}

#[tokio::test]
async fn a_mirror_serves_a_log_that_is_gone() {
    let mut world = World::with_builders().await;
    let (vkey, url) = world.vkey_and_url("alice");
    let data_dir = world.dir.join("mirror-host");
    fs::create_dir(&data_dir).unwrap();
    let (listen, config) = (free_port().unwrap(), data_dir.join("quorix.toml"));
    let toml = format!(
        "data_dir = \"{}\"\n[mirror]\nlisten = \"{listen}\"\npoll_interval = \"100ms\"\n\
         [[mirror.logs]]\nvkey = \"{vkey}\"\nurls = [\"{url}\"]\n",
        text(&data_dir)
    );
    fs::write(&config, toml).unwrap();
    let mirror = Process::serve(&crate::stage::quorix(), "mirror", &config, &[listen])
        .await
        .unwrap();
    let folder = quorix_log_folder("alice.example/log");
    let copy = format!("http://{listen}/{folder}");
    quorix::demo::client::until("the mirror has the log", async || {
        let (status, note) = get(&format!("{copy}/checkpoint")).await;
        (status == 200 && note.contains("\n5\n")).then_some(())
    })
    .await
    .unwrap();

    world.builder("alice").kill().await.unwrap();
    let checked = run(&["log", "fsck", "--log", &vkey, "--url", &copy]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let policy = world.policy_lines().replace(&url, &copy) + TWO_OF_THREE;
    let cache = world.honest_cache().await;
    world.add_user(&policy, &[cache]).await;
    world.followed(5).await;
    assert!(world.decide("hello").await.is_accepted());
    mirror.stop().await.unwrap();

    // By hand, from the copy, with the origin as an address that is tried first.
    let by_hand = world.dir.join("by-hand");
    let copied = run(&[
        "mirror",
        "--log",
        &vkey,
        "--url",
        &url,
        "--dir",
        text(&by_hand),
        "--once",
    ])
    .await;
    assert_eq!(copied.code, 3, "{}", copied.err);
    let kept = data_dir.join("mirror").join(folder);
    let copied = run(&[
        "mirror",
        "--log",
        &vkey,
        "--url",
        &url,
        "--url",
        text(&kept),
        "--dir",
        text(&by_hand),
        "--once",
    ])
    .await;
    assert_eq!(copied.code, 0, "{}", copied.err);
    assert_eq!(
        copied.out,
        "The copy of alice.example/log has 5 entries, 5 of them new, all verified.\n"
    );
}

/// SHA-256 of a log's name, as mirrors use it.
fn quorix_log_folder(origin: &str) -> String {
    quorix_tlog::hash::Hash::from_bytes(quorix_testkit::tree::blob_id(origin.as_bytes())).to_hex()
}

#[tokio::test]
async fn tail_prints_verified_entries_and_retract_withdraws_them() {
    let mut world = World::with_user().await;
    let tail = world
        .log_of("carol", &["tail", "--from", "3", "--json"])
        .await;
    assert_eq!(tail.code, 0, "{}", tail.err);
    let lines: Vec<serde_json::Value> = tail
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (lines.len(), &lines[0]["index"], &lines[0]["kind"]),
        (2, &3.into(), &"built".into())
    );
    let hello = world.absolute("hello");
    let all = world.log_of("carol", &["tail"]).await;
    assert!(
        all.out.lines().count() == 5 && all.out.contains(&hello),
        "{}",
        all.out
    );

    assert_eq!(world.decide("hello").await.outcome, Outcome::Accepted);
    let alone = world
        .log_of("carol", &["retract", &hello, "--reason", "bad memory"])
        .await;
    assert_eq!(alone.code, 2);
    assert!(alone.err.contains("say so with --yes"), "{}", alone.err);
    let withdrawn = world
        .log_of(
            "carol",
            &["retract", &hello, "--reason", "bad memory", "--yes"],
        )
        .await;
    assert_eq!(withdrawn.code, 0, "{}", withdrawn.err);
    assert!(
        withdrawn
            .out
            .starts_with("Withdrawn: 1 entry of carol.example/log, by entry 5.\n"),
        "{}",
        withdrawn.out
    );
    let again = world
        .log_of(
            "carol",
            &["retract", &hello, "--reason", "bad memory", "--yes"],
        )
        .await;
    assert_eq!(again.code, 1);
    assert!(
        again.err.contains("all of them are withdrawn already"),
        "{}",
        again.err
    );
    let newest = world.log_of("carol", &["tail", "--from", "5"]).await;
    assert!(
        newest.out.contains("withdrawn  1 entry: bad memory")
            || newest.out.contains("withdrawn   "),
        "{}",
        newest.out
    );
    let attested = world.attest("carol", &["hello"]).await;
    assert_eq!(attested.code, 0, "{}", attested.err);
    assert!(
        attested.out.contains("is attested as entry 6"),
        "{}",
        attested.out
    );
    world.builder("carol").stop().await.unwrap();
    let checked = world.log_of("carol", &["fsck", "--json"]).await;
    assert_eq!(
        (checked.code, &checked.json()["retractions"]),
        (0, &1.into()),
        "{}",
        checked.out
    );
}

#[tokio::test]
async fn a_proof_in_a_file_is_checked_offline_and_a_tampered_one_is_not_believed() {
    let mut world = World::with_builders().await;
    let (vkey, _) = world.vkey_and_url("alice");
    let (hello, proof) = (world.absolute("hello"), world.dir.join("hello.tlog-proof"));
    let written = world
        .log_of("alice", &["proof", &hello, "-o", text(&proof)])
        .await;
    assert_eq!(written.code, 0, "{}", written.err);
    for name in crate::stage::BUILDERS {
        world.builder(name).stop().await.unwrap();
    }

    let policy = world.dir.join("witnesses.policy");
    fs::write(&policy, format!("log {vkey}\nquorum none\n")).unwrap();
    let verify = async |proof: &Path| {
        run(&["verify", "proof", text(proof), "--policy", text(&policy)]).await
    };
    let proved = verify(&proof).await;
    assert_eq!(proved.code, 0, "{}{}", proved.out, proved.err);
    assert!(
        proved
            .out
            .starts_with("This entry is in the log alice.example/log at index ")
            && proved
                .out
                .contains(" of 5, covered by no witness: this policy asks for none.\n")
            && proved.out.contains(&hello),
        "{}",
        proved.out
    );

    let honest = fs::read_to_string(&proof).unwrap();
    let index: u64 = honest
        .lines()
        .find_map(|line| line.strip_prefix("index "))
        .unwrap()
        .parse()
        .unwrap();
    let tampered = world.dir.join("tampered.tlog-proof");
    let extra = honest.lines().nth(1).unwrap();
    let other = extra.replacen('A', "B", 1);
    for (from, to) in [
        (extra, other.as_str()),
        (
            &format!("index {index}"),
            &format!("index {}", (index + 1) % 5),
        ),
        ("\n5\n", "\n6\n"),
    ] {
        assert_ne!(honest.replace(from, to), honest);
        fs::write(&tampered, honest.replace(from, to)).unwrap();
        let answer = verify(&tampered).await;
        assert_eq!(answer.code, 1, "{from}: {}{}", answer.out, answer.err);
        assert!(answer.out.starts_with("Not proved: "), "{}", answer.out);
    }
    fs::write(&tampered, "not a proof").unwrap();
    assert_eq!(verify(&tampered).await.code, 2);
    fs::write(
        &policy,
        format!("log {}\nquorum none\n", world.vkey_and_url("bob").0),
    )
    .unwrap();
    let unknown = verify(&proof).await;
    assert_eq!(
        (unknown.code, unknown.out.as_str()),
        (
            1,
            "Not proved: the log alice.example/log is not in the policy.\n"
        )
    );
}
