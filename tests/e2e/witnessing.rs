//! Two builders, each a process with a log and a witness, that witness each other by two lines of configuration each.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use quorix::demo::client::until;
use quorix::demo::world::{BuilderHost, free_port};
use quorix_testkit::entries::a_small_entry;
use quorix_tlog::index::verifier_of;
use quorix_tlog::note::SignedNote;
use quorix_tlog::tlog_policy::{TlogPolicy, Verified};
use quorix_wire::channel;
use quorix_wire::client::{ClientError, LogClient, Submitted};

use crate::stage::{folder, quorix};
use crate::world::{get, run, text, unwrapped};

/// A builder with a witness of its own.
struct Builder {
    host: BuilderHost,
    witness: SocketAddr,
    witness_vkey: String,
}

impl Builder {
    async fn create(dir: &Path, name: &str) -> Self {
        let host = BuilderHost::create(dir, name, &quorix(), None).unwrap();
        let file = dir.join(name).join("witness.key");
        let key = format!("{name}.example/witness");
        let made = run(&[
            "key",
            "generate",
            "--kind",
            "witness",
            "--name",
            &key,
            text(&file),
        ])
        .await;
        assert_eq!(made.code, 0, "{}", made.err);
        let shown = run(&["key", "show", text(&file)]).await;
        assert_eq!(shown.out, made.out);
        Self {
            host,
            witness: free_port().unwrap(),
            witness_vkey: made.out.trim().to_owned(),
        }
    }

    /// Adds what makes this builder the witness of `other`, and `other` its own.
    fn witnesses(&self, other: &Self) {
        let home = self.host.config.parent().unwrap();
        let policy = format!(
            "log {}\nwitness {name} {} http://{}\nquorum {name}\n",
            self.host.vkey(),
            other.witness_vkey,
            other.witness,
            name = other.host.name,
        );
        fs::write(home.join("witnesses"), policy).unwrap();
        let config = fs::read_to_string(&self.host.config).unwrap();
        let log = format!(
            "witness_policy = \"{}/witnesses\"\nrepublish = \"1s\"\n[builder]",
            home.display()
        );
        let config = config.replacen("[builder]", &log, 1);
        let two_lines = format!(
            "key = \"{}/witness.key\"\nlogs = [\"{}\", \"{}\"]\n",
            home.display(),
            other.host.vkey(),
            verifier_of(other.host.vkey()).unwrap()
        );
        // On one machine, two witnesses cannot have the same port.
        let listen = format!("listen = \"{}\"\n", self.witness);
        fs::write(
            &self.host.config,
            format!("{config}[witness]\n{two_lines}{listen}"),
        )
        .unwrap();
    }

    fn policy(&self) -> TlogPolicy {
        let file = self.host.config.parent().unwrap().join("witnesses");
        TlogPolicy::parse(&fs::read(file).unwrap()).unwrap()
    }

    async fn submit(&self, what: u64) -> Result<Submitted, ClientError> {
        let address = format!("unix:{}", self.host.submit.display());
        let client = LogClient::new(channel::connect(&address.parse().unwrap()).unwrap());
        let entry = a_small_entry(what);
        client.submit(vec![entry], Vec::new()).await
    }

    /// Where its witnesses show what they have cosigned of its log.
    fn shown(&self) -> String {
        let origin = self.host.vkey().name().as_str();
        let hash = quorix_testkit::tree::blob_id(origin.as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}/checkpoint")
    }

    fn verified(&self, checkpoint: &[u8]) -> Verified {
        let note = SignedNote::parse(checkpoint).unwrap();
        self.policy().verify(&note).unwrap()
    }
}

/// What the builder's log says of an output that it never built, once its index is cosigned, which its witness does only
/// if it was told of it.
async fn looked_up(builder: &Builder) -> String {
    let key = builder.host.config.parent().unwrap().join("log.key");
    let shown = run(&["key", "show", "--index", text(&key)]).await;
    let index = verifier_of(builder.host.vkey()).unwrap();
    assert_eq!(shown.out, format!("{index}\n"), "{}", shown.err);
    let path = "/nix/store/ljrl0g85yi69ngs2c828fwibw5fmchxk-hello-2.12";
    let policy = builder.host.config.parent().unwrap().join("witnesses");
    let config = ["--config", text(&builder.host.config)];
    let asked = [
        "log",
        "lookup",
        path,
        "--policy",
        text(&policy),
        "--max-age",
        "60",
    ];
    until("the index is cosigned", async || {
        let ran = run(&[&asked[..], &config].concat()).await;
        (ran.code == 1 && ran.out.contains("says nothing about")).then_some(ran.out)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn two_builders_that_witness_each_other_publish_only_what_the_other_cosigned() {
    let dir = folder("quorix-e2e-witness-");
    let mut alice = Builder::create(&dir, "alice").await;
    let mut bob = Builder::create(&dir, "bob").await;
    alice.witnesses(&bob);
    bob.witnesses(&alice);
    for builder in [&alice, &bob] {
        let checked = run(&["config", "check", "--config", text(&builder.host.config)]).await;
        assert_eq!(checked.code, 0, "{}", checked.err);
        assert!(
            checked.out.contains("log, builder, witness"),
            "{}",
            checked.out
        );
    }
    alice.host.start().await.unwrap();
    bob.host.start().await.unwrap();

    for (builder, other) in [(&alice, &bob), (&bob, &alice)] {
        let submitted = builder.submit(1).await.unwrap();
        let acknowledged = builder.verified(&submitted.checkpoint);
        assert_eq!(acknowledged.checkpoint.size, 1);
        let (status, published) = get(&format!("{}/checkpoint", builder.host.url())).await;
        assert_eq!(status, 200);
        let published = builder.verified(published.as_bytes());
        assert_eq!(published.witnesses[0].name, other.host.name);
        let status = run(&["log", "status", "--config", text(&builder.host.config)]).await;
        assert_eq!(status.code, 0, "{}", status.err);
        let said = format!("Cosigned by {}", other.host.name);
        assert!(status.out.contains(&said), "{}", status.out);
    }

    let looked = looked_up(&alice).await;
    let by = format!("index: Cosigned by {}", bob.host.name);
    assert!(looked.contains(&by), "{looked}");

    // Without its witness a log publishes nothing; with it again, all that it holds.
    bob.host.stop().await.unwrap();
    let before = get(&format!("{}/checkpoint", alice.host.url())).await.1;
    let waiting = tokio::spawn({
        let address = format!("unix:{}", alice.host.submit.display());
        async move {
            let client = LogClient::new(channel::connect(&address.parse().unwrap()).unwrap());
            let entry = a_small_entry(2);
            client.submit(vec![entry], Vec::new()).await
        }
    });
    let size = |checkpoint: &str| checkpoint.lines().nth(1).unwrap().to_owned();
    assert_eq!(size(&before), "1");
    bob.host.start().await.unwrap();
    let late = waiting.await.unwrap().unwrap();
    assert_eq!(alice.verified(&late.checkpoint).checkpoint.size, 2);
    alice.host.stop().await.unwrap();
    bob.host.stop().await.unwrap();
    fs::remove_dir_all(dir).unwrap();
}

/// What `quorix serve` says that does not start.
async fn refused(builder: &Builder) -> String {
    let answer = run(&["serve", "--config", text(&builder.host.config)]).await;
    assert_eq!(answer.code, 3, "{}", answer.err);
    unwrapped(&answer.err)
}

/// Makes a marked copy of the log of a stopped builder.
async fn backup(builder: &Builder, copy: &Path) -> PathBuf {
    let config = text(&builder.host.config);
    let made = run(&["log", "backup", text(copy), "--config", config]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    copy.to_owned()
}

/// Takes the log of a stopped builder away, with its anchor.
fn lose_the_log(builder: &Builder) {
    fs::remove_dir_all(builder.host.data_dir.join("log")).unwrap();
    fs::remove_file(builder.host.data_dir.join("log.anchor")).unwrap();
}

#[tokio::test]
async fn an_old_backup_put_back_behind_running_witnesses_refuses_to_sign() {
    let dir = folder("quorix-e2e-backup-");
    let mut alice = Builder::create(&dir, "alice").await;
    let mut bob = Builder::create(&dir, "bob").await;
    alice.witnesses(&bob);
    bob.witnesses(&alice);
    alice.host.start().await.unwrap();
    bob.host.start().await.unwrap();
    alice.submit(1).await.unwrap();
    alice.host.stop().await.unwrap();
    let database = alice.host.data_dir.join("log");
    let old = backup(&alice, &dir.join("old")).await;
    alice.host.start().await.unwrap();
    alice.submit(2).await.unwrap();
    alice.host.stop().await.unwrap();
    let newest = backup(&alice, &dir.join("newest")).await;
    let (_, shown) = get(&format!("http://{}/{}", bob.witness, alice.shown())).await;

    // The disk of the log is gone: nothing there tells it from a log that never ran.
    lose_the_log(&alice);
    let said = refused(&alice).await;
    let behind = "shows that this log has signed 2";
    assert!(
        said.contains(&format!("holds 0 entries, but a witness {behind}")),
        "{said}"
    );
    // An old copy.
    let _ = fs::remove_dir_all(&database);
    copy(&old, &database);
    let said = refused(&alice).await;
    assert!(
        said.contains(&format!("holds 1 entries, but a witness {behind}")),
        "{said}"
    );
    let config = text(&alice.host.config);
    let adopted = run(&["log", "adopt", "--confirm-size", "1", "--config", config]).await;
    assert_eq!(adopted.code, 3, "{}", adopted.out);
    assert!(unwrapped(&adopted.err).contains(behind), "{}", adopted.err);
    // Nothing was signed: the witness shows what it showed.
    let (_, now) = get(&format!("http://{}/{}", bob.witness, alice.shown())).await;
    assert_eq!(now.lines().nth(1), shown.lines().nth(1));

    // While the witness is away, neither nothing nor a copy is begun with.
    bob.host.stop().await.unwrap();
    lose_the_log(&alice);
    let said = refused(&alice).await;
    assert!(said.contains("there is no log here"), "{said}");
    let _ = fs::remove_dir_all(&database);
    copy(&old, &database);
    let said = refused(&alice).await;
    assert!(
        said.contains("this database is a copy that a backup made"),
        "{said}"
    );
    // Nor behind one that answers and knows nothing.
    let memory = bob.host.data_dir.join("witness");
    let kept = dir.join("kept");
    fs::rename(&memory, &kept).unwrap();
    bob.host.start().await.unwrap();
    let said = refused(&alice).await;
    assert!(
        said.contains("this database is a copy that a backup made"),
        "{said}"
    );
    bob.host.stop().await.unwrap();
    fs::remove_dir_all(&memory).unwrap();
    fs::rename(&kept, &memory).unwrap();

    // The newest one goes on by itself: its witness cosigns it as its newest.
    bob.host.start().await.unwrap();
    lose_the_log(&alice);
    copy(&newest, &database);
    alice.host.start().await.unwrap();
    let submitted = alice.submit(3).await.unwrap();
    assert_eq!(alice.verified(&submitted.checkpoint).checkpoint.size, 3);
    alice.host.stop().await.unwrap();
    bob.host.stop().await.unwrap();
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn two_processes_never_have_the_memory_of_one_witness() {
    let dir = folder("quorix-e2e-rival-witness-");
    let mut alice = Builder::create(&dir, "alice").await;
    let bob = Builder::create(&dir, "bob").await;
    alice.witnesses(&bob);
    bob.witnesses(&alice);
    alice.host.start().await.unwrap();
    let home = alice.host.config.parent().unwrap().to_owned();
    // The witness alone, on another port, over the same folder.
    let rival = dir.join("rival.toml");
    let config = format!(
        "data_dir = \"{}\"\n[witness]\nkey = \"{}/witness.key\"\nlogs = [\"{}\"]\nlisten = \"{}\"\n",
        alice.host.data_dir.display(),
        home.display(),
        bob.host.vkey(),
        free_port().unwrap(),
    );
    fs::write(&rival, config).unwrap();
    let answer = run(&["serve", "--config", text(&rival)]).await;
    assert_eq!(answer.code, 3, "{}", answer.err);
    let sentence = format!(
        "another quorix process has this database open: {}",
        alice.host.data_dir.join("witness").display()
    );
    assert!(unwrapped(&answer.err).contains(&sentence), "{}", answer.err);
    alice.host.stop().await.unwrap();
    fs::remove_dir_all(dir).unwrap();
}

/// A copy of a folder of files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
