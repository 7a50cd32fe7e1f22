//! Aggregators and the logs that they follow: a log that goes on where its origin ended, logs that show each aggregator
//! another history, what an operator does about that, and the index built anew. Without Nix: logs are folders and
//! processes.

use std::fs;
use std::path::{Path, PathBuf};

use quorix::demo::client::{Client, until};
use quorix::demo::process::Process;
use quorix::demo::world::{UserHost, free_port};
use quorix_testkit::entries::{
    a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key, nix_key,
};
use quorix_testkit::tree::{Grower, blob_id};
use quorix_tlog::tile::TilePath;
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use quorix_wire::pb::{LogCondition, LogState, LogStatus};

use crate::stage::quorix;
use crate::world::{get, run, text, unwrapped};

/// A log that somebody publishes as a folder of files.
pub(crate) struct FolderLog {
    /// Its name, and its operator's.
    pub(crate) name: String,
    dir: PathBuf,
    /// What it has.
    pub(crate) grower: Grower,
}

impl FolderLog {
    /// The log of this name with these entries in a folder.
    pub(crate) fn publish(dir: PathBuf, name: &str, entries: &[Vec<u8>]) -> Self {
        let mut log = Self {
            name: name.to_owned(),
            dir,
            grower: Grower::new(&format!("{name}.example/log")),
        };
        log.append(entries);
        log
    }

    /// Appends entries; the checkpoint comes last, and at once.
    pub(crate) fn append(&mut self, entries: &[Vec<u8>]) {
        let checkpoint = self.grow_unseen(entries);
        self.put("checkpoint.new", &checkpoint);
        self.publish_new();
    }

    /// Appends entries without showing a checkpoint over them, which it gives.
    pub(crate) fn grow_unseen(&mut self, entries: &[Vec<u8>]) -> Vec<u8> {
        let batch = self.grower.grow(entries);
        let size = batch.head.size;
        for (id, bytes) in &batch.tiles {
            let width = id.width_at(size);
            self.put(&TilePath { id: *id, width }.to_string(), bytes);
        }
        batch.head.checkpoint
    }

    /// Shows at once what was put as `checkpoint.new`.
    pub(crate) fn publish_new(&self) {
        let checkpoint = self.dir.join("checkpoint");
        fs::rename(self.dir.join("checkpoint.new"), checkpoint).unwrap();
    }

    /// Puts a file into its folder.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let file = self.dir.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    /// Its line in a policy.
    pub(crate) fn line(&self) -> String {
        let (name, vkey, dir) = (&self.name, self.vkey(), self.dir.display());
        format!("builder {name} {vkey} file://{dir} operator={name}\n")
    }

    /// Its public key.
    pub(crate) fn vkey(&self) -> String {
        log_key(&format!("{}.example/log", self.name))
            .verifier()
            .to_string()
    }
}

/// A policy that these voters agree under.
pub(crate) fn policy(lines: &str, voters: &str) -> String {
    format!(
        "{lines}quorum none\nvoters everybody all {voters}\nrule main quorum=everybody level=path\ndefault main\n"
    )
}

/// A machine with an aggregator; `more` goes into its section, `tables` to the end of the file.
pub(crate) fn machine(dir: &Path, name: &str, policy: &str, more: &str, tables: &str) -> UserHost {
    machine_of(&quorix(), dir, name, policy, more, tables)
}

/// The same with another way to start the program.
pub(crate) fn machine_of(
    quorix: &Path,
    dir: &Path,
    name: &str,
    policy: &str,
    more: &str,
    tables: &str,
) -> UserHost {
    let host = UserHost::create(dir, name, quorix, policy, &[]).unwrap();
    let config = fs::read_to_string(&host.config).unwrap();
    let config = config.replace("[aggregator]\n", &format!("[aggregator]\n{more}"));
    fs::write(&host.config, config + tables).unwrap();
    host
}

/// A client of a machine.
pub(crate) fn client_of(host: &UserHost) -> Client {
    // A second installation fails, and is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(host.aggregator, &host.substituter()).unwrap()
}

/// How a log stands with an aggregator.
pub(crate) async fn log_of(host: &UserHost, name: &str) -> Option<LogStatus> {
    let logs = client_of(host).logs().await.ok()?;
    logs.into_iter().find(|log| log.name == name)
}

/// Waits until a log stands like this with an aggregator.
pub(crate) async fn becomes(
    host: &UserHost,
    name: &str,
    is: impl Fn(&LogStatus) -> bool,
) -> LogStatus {
    let wanted = async || log_of(host, name).await.filter(|log| is(log));
    match until("a log stands as expected", wanted).await {
        Ok(log) => log,
        Err(error) => panic!("{error}: {:?}", log_of(host, name).await),
    }
}

fn entries(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(a_small_entry).collect()
}

/// Alice's log as two aggregators see it: of one key, and of two histories.
fn two_views(dir: &Path, here: u64, there: u64) -> [FolderLog; 2] {
    let view = |folder: &str, value: &str, size: u64| {
        let mut all = vec![an_attestation().saying(value).bytes()];
        all.extend(entries(1..size));
        FolderLog::publish(dir.join(folder), "alice", &all)
    };
    [view("here", "A", here), view("there", "B", there)]
}

/// Two aggregators of which the first asks the second, each looking at another folder of alice's.
pub(crate) async fn two_machines(dir: &Path, logs: &[FolderLog; 2]) -> [UserHost; 2] {
    let policy = |log: &FolderLog| policy(&log.line(), "alice");
    let mut other = machine(dir, "other", &policy(&logs[1]), "", "");
    let peer = format!(
        "[[aggregator.peers]]\nname = \"other\"\naddress = \"{}\"\n",
        other.aggregator
    );
    let often = "gossip_interval = \"200ms\"\n";
    let mut one = machine(dir, "one", &policy(&logs[0]), often, &peer);
    other.start().await.unwrap();
    one.start().await.unwrap();
    [one, other]
}

/// The only file of proof that a machine has kept.
async fn evidence_of(host: &UserHost) -> PathBuf {
    let folder = host.config.with_file_name("data").join("evidence");
    until("proof is kept as a file", async || {
        let mut files = fs::read_dir(&folder).ok()?.map(|file| file.unwrap().path());
        let file = files.find(|file| file.extension().is_some_and(|ending| ending == "evidence"));
        assert_eq!(files.next(), None);
        file
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn two_aggregators_that_are_shown_two_histories_find_out_and_keep_proof_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (mine, theirs)) in [(5, 5), (300, 700)].into_iter().enumerate() {
        let dir = dir.path().join(number.to_string());
        let logs = two_views(&dir, mine, theirs);
        for host in &two_machines(&dir, &logs).await {
            becomes(host, "alice", |log| log.state() == LogState::Quarantined).await;
            let file = evidence_of(host).await;
            let verify =
                async |key: &str| run(&["verify", "evidence", text(&file), "--vkey", key]).await;
            let proved = verify(&logs[0].vkey()).await;
            assert_eq!(proved.code, 0, "{}{}", proved.out, proved.err);
            let expected = "Proved: the log alice.example/log signed two checkpoints that contradict each other.";
            assert!(proved.out.starts_with(expected), "{}", proved.out);

            let stranger = log_key("bob.example/log").verifier().to_string();
            let framed = verify(&stranger).await;
            assert_eq!(framed.code, 1, "{}{}", framed.out, framed.err);
            assert!(
                framed
                    .out
                    .starts_with("Not proved against the log bob.example/log: "),
                "{}",
                framed.out
            );
            let mut bytes = fs::read(&file).unwrap();
            let position = bytes.len() / 3;
            bytes[position] ^= 1;
            let forged = dir.join("forged");
            fs::write(&forged, bytes).unwrap();
            let vkey = logs[0].vkey();
            let forged = run(&["verify", "evidence", text(&forged), "--vkey", &vkey]).await;
            assert!([1, 2].contains(&forged.code), "{}", forged.out);
        }
    }
}

#[tokio::test]
async fn a_quarantine_ends_only_by_an_operator_and_that_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let logs = two_views(dir.path(), 5, 5);
    let [mut one, other] = two_machines(dir.path(), &logs).await;
    for host in [&one, &other] {
        becomes(host, "alice", |log| log.state() == LogState::Quarantined).await;
    }
    let config = one.config.clone();
    let lift = async |log: &str, reason: &str| {
        let lift = ["aggregator", "quarantine", "lift", log, "--reason", reason];
        run(&[&lift[..], &["--config", text(&config)]].concat()).await
    };
    let busy = lift("alice", "a restored disk").await;
    assert_eq!(busy.code, 3, "{}{}", busy.out, busy.err);
    assert!(
        unwrapped(&busy.err).contains("Stop the aggregator first"),
        "{}",
        busy.err
    );

    one.stop().await.unwrap();
    let nobody = lift("bob", "a restored disk").await;
    assert_eq!(nobody.code, 2, "{}", nobody.err);
    assert!(
        unwrapped(&nobody.err).contains("the policy has no builder and no log called `bob`"),
        "{}",
        nobody.err
    );
    assert_eq!(lift("alice", "  ").await.code, 2);
    let lifted = lift("alice", "a restored disk").await;
    assert_eq!(lifted.code, 0, "{}", lifted.err);
    assert!(
        lifted.out.starts_with(
            "The quarantine of alice is lifted, and that is recorded with your reason.\n"
        ),
        "{}",
        lifted.out
    );
    let again = lift("alice.example/log", "a restored disk").await;
    assert_eq!(
        (again.code, again.out.as_str()),
        (1, "alice is not quarantined.\n")
    );

    // The peer goes on telling of the same contradiction.
    one.start().await.unwrap();
    let log = becomes(&one, "alice", |log| log.state() == LogState::Live).await;
    assert_eq!(log.lifts.len(), 1);
    assert_eq!(log.lifts[0].reason, "a restored disk");
    let status = run(&["log", "status", "--config", text(&config)]).await;
    assert_eq!(status.code, 0, "{}", status.out);
    assert!(
        status.out.contains("a quarantine was lifted") && status.out.contains(": a restored disk"),
        "{}",
        status.out
    );
    let told = log_of(&other, "alice").await.unwrap();
    assert_eq!(told.state(), LogState::Quarantined);

    // Another contradiction is another quarantine.
    let mut all = vec![an_attestation().saying("C").bytes()];
    all.extend(entries(1..9));
    fs::remove_dir_all(dir.path().join("here")).unwrap();
    FolderLog::publish(dir.path().join("here"), "alice", &all);
    becomes(&one, "alice", |log| log.state() == LogState::Quarantined).await;
}

#[tokio::test]
async fn a_log_is_followed_on_at_its_mirror_when_its_origin_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("alice");
    fs::create_dir_all(&home).unwrap();
    let origin = "alice.example/log";
    let key = home.join("log.key");
    let made = run(&[
        "key",
        "generate",
        "--kind",
        "log",
        "--name",
        origin,
        text(&key),
    ])
    .await;
    assert_eq!(made.code, 0, "{}", made.err);
    let vkey = run(&["key", "show", text(&key)])
        .await
        .out
        .trim()
        .to_owned();
    let (public, socket) = (free_port().unwrap(), home.join("submit.sock"));
    let config = home.join("quorix.toml");
    let toml = format!(
        "data_dir = \"{home}/data\"\n[log]\norigin = \"{origin}\"\nkey = \"{home}/log.key\"\n\
         listen = {{ submit = \"unix:{home}/submit.sock\", public = \"{public}\" }}\n",
        home = text(&home)
    );
    fs::write(&config, toml).unwrap();
    let log = Process::serve(&quorix(), "alice", &config, &[public])
        .await
        .unwrap();
    let submit = LogClient::new(channel::connect(&Address::Unix(socket)).unwrap());
    submit
        .submit(vec![an_attestation().bytes()], Vec::new())
        .await
        .unwrap();

    let mirror_home = dir.path().join("mirror");
    fs::create_dir_all(&mirror_home).unwrap();
    let (copies, config) = (free_port().unwrap(), mirror_home.join("quorix.toml"));
    let toml = format!(
        "data_dir = \"{}/data\"\n[mirror]\nlisten = \"{copies}\"\npoll_interval = \"100ms\"\n\
         [[mirror.logs]]\nvkey = \"{vkey}\"\nurls = [\"http://{public}\"]\n",
        text(&mirror_home)
    );
    fs::write(&config, toml).unwrap();
    let mirror = Process::serve(&quorix(), "mirror", &config, &[copies])
        .await
        .unwrap();
    let folder = quorix_tlog::hash::Hash::from_bytes(blob_id(origin.as_bytes())).to_hex();
    let copy = format!("http://{copies}/{folder}");
    let line = format!("builder alice {vkey} http://{public} {copy} operator=alice\n");
    let mut user = machine(dir.path(), "user", &policy(&line, "alice"), "", "");
    user.start().await.unwrap();
    becomes(&user, "alice", |log| {
        log.indexed == 1 && log.state() == LogState::Live
    })
    .await;

    // While nobody looks the log grows, its mirror sees that, and the log is gone for good.
    user.stop().await.unwrap();
    submit.submit(entries(1..700), Vec::new()).await.unwrap();
    until("the mirror has all of the log", async || {
        let (status, note) = get(&format!("{copy}/checkpoint")).await;
        (status == 200 && note.contains("\n700\n")).then_some(())
    })
    .await
    .unwrap();
    log.kill().await.unwrap();
    user.start().await.unwrap();
    let log = becomes(&user, "alice", |log| log.indexed == 700).await;
    assert_eq!(
        (log.state(), log.condition()),
        (LogState::Live, LogCondition::Following)
    );
    assert_eq!(log.shown, 700);

    // Without any address it is unreachable, and no longer live.
    mirror.kill().await.unwrap();
    let log = becomes(&user, "alice", |log| log.state() == LogState::Stale).await;
    assert_eq!(log.condition(), LogCondition::Unreachable);
}

#[tokio::test]
async fn an_index_that_is_built_anew_is_the_same_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let cache = nix_key("cache-1");
    let (hello, lib) = (an_attestation(), an_attestation().of("lib"));
    let app = an_attestation().of("app").referring_to(&["lib"]);
    let mut alice = vec![hello.bytes(), lib.bytes(), app.bytes()];
    alice.push(bytes_of(&hello.observed_by(&cache)));
    alice.push(b"a new kind of entry".to_vec());
    let mut alice = FolderLog::publish(dir.path().join("a"), "alice", &alice);
    let mut bob = vec![hello.bytes(), lib.saying("B").bytes()];
    bob.extend(entries(2..600));
    let bob = FolderLog::publish(dir.path().join("b"), "bob", &bob);
    let builders = alice.line() + &bob.line();
    let with_cache = format!(
        "{builders}cache main {} http://127.0.0.1:1 operator=example\n",
        cache.public_key()
    );
    let voters = "alice bob";
    let mut host = machine(dir.path(), "user", &policy(&with_cache, voters), "", "");
    host.start().await.unwrap();
    becomes(&host, "bob", |log| log.indexed == 600).await;
    becomes(&host, "alice", |log| log.indexed == 5).await;
    alice.append(&[bytes_of(&a_retraction_of(&[app.bytes()]))]);
    alice.append(&entries(6..300));
    becomes(&host, "alice", |log| log.indexed == 300).await;
    let config = host.config.clone();
    // While it runs, nothing is touched and nothing else is said.
    let running = run(&["aggregator", "reindex", "--config", text(&config)]).await;
    assert_eq!(running.code, 3, "{}", running.out);
    assert!(
        unwrapped(&running.err).contains("another quorix process has this database open"),
        "{}",
        running.err
    );
    host.stop().await.unwrap();

    let reindex = async |more: &[&str]| {
        let arguments = [
            &["aggregator", "reindex"],
            more,
            &["--config", text(&config)],
        ];
        run(&arguments.concat()).await
    };
    let same = "The index is exactly what the mirrored logs give: 900 entries read again.\n";
    for more in [&["--check"][..], &[]] {
        let answer = reindex(more).await;
        assert_eq!(
            (answer.code, answer.out.as_str()),
            (0, same),
            "{}",
            answer.err
        );
    }

    // Under a policy without the cache its signature is only alice's saying: the index has to change.
    fs::write(&host.policy, policy(&builders, voters)).unwrap();
    let other = reindex(&["--check"]).await;
    assert_eq!(other.code, 1, "{}{}", other.out, other.err);
    assert!(
        other.out.starts_with("The index is not what the mirrored logs give (900 entries read again). Nothing was changed;"),
        "{}",
        other.out
    );
    let built = reindex(&[]).await;
    assert_eq!(built.code, 0, "{}", built.err);
    assert!(
        built
            .out
            .starts_with("The index was built anew from 900 entries. The old database is "),
        "{}",
        built.out
    );
    let twice = reindex(&["--check"]).await;
    assert_eq!(twice.code, 2);
    assert!(
        unwrapped(&twice.err).contains("is there from an earlier run"),
        "{}",
        twice.err
    );
    a_rename_that_was_cut_off(&host).await;
    let answer = reindex(&["--check"]).await;
    assert_eq!(
        (answer.code, answer.out.as_str()),
        (0, same),
        "{}",
        answer.err
    );

    host.start().await.unwrap();
    becomes(&host, "alice", |log| {
        log.indexed == 300 && log.state() == LogState::Live
    })
    .await;
    let client = client_of(&host);
    assert!(client.decide(&a_path("hello")).await.unwrap().is_accepted());
    assert!(!client.decide(&a_path("lib")).await.unwrap().is_accepted());
    assert!(!client.decide(&a_path("app")).await.unwrap().is_accepted());
}

/// Building an index anew that was cut off between two renames: nobody begins an empty database then.
async fn a_rename_that_was_cut_off(host: &UserHost) {
    let data = host.config.with_file_name("data");
    let (dir, kept) = (data.join("aggregator"), data.join("aggregator.old"));
    fs::rename(&dir, data.join("aside")).unwrap();
    for arguments in [&["serve"][..], &["aggregator", "reindex"]] {
        let refused = run(&[arguments, &["--config", text(&host.config)]].concat()).await;
        assert_eq!(refused.code, 2, "{}{}", refused.out, refused.err);
        assert!(
            unwrapped(&refused.err).contains("building the index anew was cut off"),
            "{}",
            refused.err
        );
    }
    fs::rename(data.join("aside"), &dir).unwrap();
    fs::remove_dir_all(kept).unwrap();
}

#[tokio::test]
async fn keys_of_an_aggregator_are_its_own_or_the_configuration_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&dir.path().join(name)).to_owned();
    for (kind, name, file) in [
        ("log", "alice.example/log", "log.key"),
        ("log", "alice.example/events", "events.key"),
        ("witness", "alice.example/aggregator", "witness.key"),
    ] {
        let made = run(&[
            "key",
            "generate",
            "--kind",
            kind,
            "--name",
            name,
            &path(file),
        ])
        .await;
        assert_eq!(made.code, 0, "{}", made.err);
    }
    // The log's own key in the form of a witness's, by its seed.
    let seed = [7; 32];
    let log = quorix_tlog::note::SigningKey::from_seed("alice.example/log".parse().unwrap(), seed);
    let algorithm = quorix_tlog::cosignature::Algorithm::Ed25519;
    let witness = quorix_tlog::cosignature::CosignerSigningKey::from_seed(
        "alice.example/witness".parse().unwrap(),
        algorithm,
        seed,
    );
    fs::write(path("own.key"), log.to_text() + "\n").unwrap();
    fs::write(path("as-witness.key"), witness.to_text() + "\n").unwrap();
    let followed = FolderLog::publish(dir.path().join("f"), "bob", &entries(0..3));
    fs::write(path("policy"), policy(&followed.line(), "bob")).unwrap();
    fs::write(path("bob.key"), log_key("bob.example/log").to_text() + "\n").unwrap();

    let check = async |witness_key: &str, webhook_key: &str| {
        let text = format!(
            "data_dir = \"{data}\"\npolicy = \"{policy}\"\n[log]\norigin = \"alice.example/log\"\nkey = \"{own}\"\n\
             listen = {{ submit = \"unix:{data}/s\", public = \"127.0.0.1:1\" }}\n\
             [aggregator]\nwitness_key = \"{witness}\"\n\
             [[aggregator.webhooks]]\nurl = \"https://hooks.example.org/\"\nkey = \"{hook}\"\n",
            data = path("data"),
            policy = path("policy"),
            own = path("own.key"),
            witness = path(witness_key),
            hook = path(webhook_key),
        );
        fs::write(path("quorix.toml"), text).unwrap();
        run(&["config", "check", "--config", &path("quorix.toml")]).await
    };
    let good = check("witness.key", "events.key").await;
    assert_eq!(good.code, 0, "{}", good.err);
    for (witness_key, webhook_key, expected) in [
        (
            "as-witness.key",
            "events.key",
            "aggregator.witness_key: that is the key of [log] too, and a key signs for one thing only",
        ),
        (
            "witness.key",
            "own.key",
            "aggregator.webhooks: that is the key of [log] too, and a key signs for one thing only",
        ),
        (
            "witness.key",
            "bob.key",
            "aggregator.webhooks: that is the key of the log bob.example/log, which is followed, too",
        ),
        (
            "log.key",
            "events.key",
            "is a log's key, and a key of kind witness is needed",
        ),
        (
            "witness.key",
            "witness.key",
            "is a witness's key, and a key of kind log is needed for a webhook",
        ),
    ] {
        let refused = check(witness_key, webhook_key).await;
        assert_eq!(refused.code, 2, "{}", refused.out);
        assert!(
            unwrapped(&refused.err).contains(expected),
            "{}",
            refused.err
        );
    }
}
