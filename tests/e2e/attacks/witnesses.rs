//! A running log among witnesses that lie, say nothing or claim to know more, and a running witness before a log that shows
//! many histories at once.

use std::fs;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get as on_get, post};
use quorix::demo::client::{PATIENCE, until};
use quorix::demo::process::Process;
use quorix::demo::world::{BuilderHost, free_port};
use quorix_testkit::entries::{a_small_entry, log_key};
use quorix_testkit::tree::{Grower, blob_id};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::{SignedNote, SigningKey};
use quorix_tlog::witness::AddCheckpoint;
use quorix_wire::channel;
use quorix_wire::client::LogClient;

use crate::stage::quorix;
use crate::world::{checkpoint_of, get, run, submit, text, unwrapped};

/// How a witness of the test answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As it should.
    Good,
    /// As it should, with lines by others before and after its own.
    Smuggles,
    /// With its signature on another checkpoint.
    SignsAnother,
    /// With the signature of somebody else under its name.
    Forges,
    /// With a time that is a year ahead.
    DatesAhead,
    /// With what is no signature.
    Garbage,
    /// That it has cosigned a hundred entries.
    ClaimsMore,
    /// Never.
    Silent,
}

struct Memory {
    way: Way,
    /// Sizes that it was asked to cosign.
    asked: Vec<u64>,
    /// What it shows as its newest.
    shows: Option<Vec<u8>>,
}

/// A witness of the test.
#[derive(Clone)]
pub(super) struct Witness {
    name: String,
    url: String,
    memory: Arc<Mutex<Memory>>,
}

impl Witness {
    pub(super) async fn start(name: &str, way: Way) -> Self {
        let memory = Memory {
            way,
            asked: Vec::new(),
            shows: None,
        };
        let memory = Arc::new(Mutex::new(memory));
        let router = Router::new()
            .route("/add-checkpoint", post(add_checkpoint))
            .route("/{origin}/checkpoint", on_get(shown))
            .with_state((name.to_owned(), memory.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let name = name.to_owned();
        Self { name, url, memory }
    }

    fn does(&self, way: Way) {
        self.memory.lock().unwrap().way = way;
    }

    fn shows(&self, checkpoint: &[u8]) {
        self.memory.lock().unwrap().shows = Some(checkpoint.to_vec());
    }

    fn was_asked_for(&self, size: u64) -> bool {
        self.memory.lock().unwrap().asked.contains(&size)
    }

    pub(super) fn line(&self) -> String {
        let (name, url) = (&self.name, &self.url);
        format!("witness {name} {} {url}\n", witness_key(name).verifier())
    }
}

/// The key of the witness of this name.
pub(super) fn witness_key(name: &str) -> CosignerSigningKey {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    let name = format!("{name}.example/witness").parse().unwrap();
    CosignerSigningKey::from_seed(name, Algorithm::Ed25519, seed)
}

type Shared = State<(String, Arc<Mutex<Memory>>)>;

async fn shown(State((_, memory)): Shared) -> Result<Vec<u8>, StatusCode> {
    let shows = memory.lock().unwrap().shows.clone();
    shows.ok_or(StatusCode::NOT_FOUND)
}

async fn add_checkpoint(State((name, memory)): Shared, body: Bytes) -> (StatusCode, String) {
    let asked = AddCheckpoint::parse(&body).unwrap().checkpoint;
    let way = {
        let mut memory = memory.lock().unwrap();
        memory.asked.push(asked.size);
        memory.way
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    let line = |name: &str, checkpoint: &Checkpoint, at_s| {
        format!("{}\n", witness_key(name).cosign(checkpoint, at_s).unwrap())
    };
    let other = Checkpoint {
        root: leaf_hash(b"another"),
        ..asked.clone()
    };
    let lines = match way {
        Way::Good => line(&name, &asked, now),
        Way::Smuggles => {
            line("stranger", &asked, now)
                + &line(&name, &asked, now)
                + &line("another", &other, now)
        }
        Way::SignsAnother => line(&name, &other, now),
        Way::Forges => {
            let renamed = format!("{name}.example/witness").parse().unwrap();
            let forger = CosignerSigningKey::from_seed(renamed, Algorithm::Ed25519, [9; 32]);
            format!("{}\n", forger.cosign(&asked, now).unwrap())
        }
        Way::DatesAhead => line(&name, &asked, now + 31_536_000),
        Way::Garbage => "<html>".to_owned(),
        Way::ClaimsMore => return (StatusCode::CONFLICT, "100\n".to_owned()),
        Way::Silent => std::future::pending().await,
    };
    (StatusCode::OK, lines)
}

/// Alice's log, which publishes what two of these witnesses cosigned.
fn witnessed(dir: &std::path::Path, witnesses: &[Witness]) -> BuilderHost {
    let alice = BuilderHost::create(dir, "alice", &quorix(), None).unwrap();
    let lines: String = witnesses.iter().map(Witness::line).collect();
    let names: Vec<&str> = witnesses.iter().map(|one| one.name.as_str()).collect();
    let policy = format!(
        "log {}\n{lines}group two-of-them 2 {}\nquorum two-of-them\n",
        alice.vkey(),
        names.join(" ")
    );
    let file = dir.join("witnesses");
    fs::write(&file, policy).unwrap();
    let config = fs::read_to_string(&alice.config).unwrap();
    let log = format!("witness_policy = \"{}\"\n[builder]", text(&file));
    fs::write(&alice.config, config.replacen("[builder]", &log, 1)).unwrap();
    alice
}

/// Who signed a published checkpoint, as the lines say.
fn signers(checkpoint: &str) -> Vec<String> {
    let note = SignedNote::parse(checkpoint.as_bytes()).unwrap();
    let signatures = note.signatures().iter();
    signatures
        .map(|one| one.name().as_str().to_owned())
        .collect()
}

#[tokio::test]
async fn witnesses_that_lie_or_say_nothing_neither_stop_a_running_log_nor_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut witnesses = Vec::new();
    for (name, way) in [
        ("forger", Way::Forges),
        ("elsewhere", Way::SignsAnother),
        ("ahead", Way::DatesAhead),
        ("garbled", Way::Garbage),
        ("boaster", Way::ClaimsMore),
        ("silent", Way::Silent),
        ("smuggler", Way::Smuggles),
        ("good", Way::Good),
    ] {
        witnesses.push(Witness::start(name, way).await);
    }
    let good = witnesses.last().unwrap().clone();
    let mut alice = witnessed(dir.path(), &witnesses);
    alice.start().await.unwrap();
    submit(&alice, vec![a_small_entry(1)]).await;
    let published = checkpoint_of(alice.public, 1).await;
    assert_eq!(
        signers(&published),
        [
            "alice.example/log",
            "smuggler.example/witness",
            "good.example/witness"
        ]
    );

    // One honest answer is not two, whatever all the others say.
    good.does(Way::Garbage);
    let client = LogClient::new(
        channel::connect(&format!("unix:{}", alice.submit.display()).parse().unwrap()).unwrap(),
    );
    let waiting =
        tokio::spawn(async move { client.submit(vec![a_small_entry(2)], Vec::new()).await });
    until("all of them were asked about two entries", async || {
        witnesses
            .iter()
            .all(|one| one.was_asked_for(2))
            .then_some(())
    })
    .await
    .unwrap();
    let (_, still) = get(&format!("{}/checkpoint", alice.url())).await;
    assert_eq!(still, published);
    assert!(!waiting.is_finished());
    good.does(Way::Good);
    waiting.await.unwrap().unwrap();
    let published = checkpoint_of(alice.public, 2).await;
    assert_eq!(signers(&published).len(), 3);
    alice.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_witness_shows_is_believed_by_a_starting_log_only_with_its_own_signature() {
    let dir = tempfile::tempdir().unwrap();
    let one = Witness::start("one", Way::Good).await;
    let two = Witness::start("two", Way::Good).await;
    let mut alice = witnessed(dir.path(), &[one.clone(), two.clone()]);
    alice.start().await.unwrap();
    submit(&alice, vec![a_small_entry(1)]).await;
    let shown = checkpoint_of(alice.public, 1).await;
    alice.stop().await.unwrap();

    let signed = |key: &SigningKey, size: u64, root: Hash| {
        let checkpoint = Checkpoint {
            origin: "alice.example/log".to_owned(),
            size,
            root,
            extensions: Vec::new(),
        };
        checkpoint.sign(key).unwrap()
    };
    let stranger = SigningKey::from_seed("alice.example/log".parse().unwrap(), [9; 32]);
    one.shows(&signed(&stranger, 100, leaf_hash(b"x")));
    two.shows(b"garbage");
    alice.start().await.unwrap();
    submit(&alice, vec![a_small_entry(2)]).await;
    checkpoint_of(alice.public, 2).await;
    alice.stop().await.unwrap();

    let refused = async || {
        let serve = ["serve", "--config", text(&alice.config)];
        let ran = tokio::time::timeout(PATIENCE, run(&serve)).await;
        let ran = ran.expect("it ends instead of starting");
        assert_eq!(ran.code, 3, "{}", ran.err);
        unwrapped(&ran.err)
    };
    one.shows(&signed(&alice.log_key, 100, leaf_hash(b"x")));
    let said = refused().await;
    assert!(
        said.contains("holds 2 entries, but a witness shows that this log has signed 100"),
        "{said}"
    );
    // Two histories, at sizes that the log has.
    let forged = signed(&alice.log_key, 1, leaf_hash(b"x"));
    for (other, message) in [
        (
            shown.into_bytes(),
            "this log has signed two different trees of 1 entries, as its witnesses show",
        ),
        (
            signed(&alice.log_key, 2, leaf_hash(b"y")),
            "that a witness shows to be signed: it is of another history. Nothing was signed",
        ),
    ] {
        one.shows(&forged);
        two.shows(&other);
        let said = refused().await;
        assert!(said.contains(message), "{said}");
    }
}

#[tokio::test]
async fn of_many_histories_that_a_log_shows_a_running_witness_at_once_it_cosigns_one() {
    const ORIGIN: &str = "alice.example/log";
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("witness.key");
    fs::write(&file, witness_key("real").to_text() + "\n").unwrap();
    let address = free_port().unwrap();
    let config = dir.path().join("quorix.toml");
    let home = dir.path().display();
    let toml = format!(
        "data_dir = \"{home}/data\"\n[witness]\nkey = \"{home}/witness.key\"\nlogs = [\"{}\"]\nlisten = \"{address}\"\n",
        log_key(ORIGIN).verifier()
    );
    fs::write(&config, toml).unwrap();
    let serve = async || Process::serve(&quorix(), "witness", &config, &[address]).await;
    let process = serve().await.unwrap();

    let history = |number: u64| {
        let mut grower = Grower::new(ORIGIN);
        grower
            .grow(&[a_small_entry(number), a_small_entry(100)])
            .head
            .checkpoint
    };
    let ask = async |checkpoint: Vec<u8>| {
        let note = SignedNote::parse(&checkpoint).unwrap();
        let body = AddCheckpoint::new(0, Vec::new(), note).unwrap().to_bytes();
        let asked = reqwest::Client::new().post(format!("http://{address}/add-checkpoint"));
        asked.body(body).send().await.unwrap().status().as_u16()
    };
    let all = futures::future::join_all((0..20).map(|number| ask(history(number)))).await;
    let cosigned: Vec<usize> = (0..20).filter(|number| all[*number] == 200).collect();
    assert_eq!(cosigned.len(), 1, "{all:?}");
    let hash = Hash::from_bytes(blob_id(ORIGIN.as_bytes())).to_hex();
    let url = format!("http://{address}/{hash}/checkpoint");
    let winner = history(u64::try_from(cosigned[0]).unwrap());
    let body = |note: &str| note.lines().take(3).map(str::to_owned).collect::<Vec<_>>();
    let (_, shown) = get(&url).await;
    assert_eq!(body(&shown), body(&String::from_utf8(winner).unwrap()));

    // It is remembered over a kill.
    process.kill().await.unwrap();
    let process = serve().await.unwrap();
    let losers = (0..20).filter(|number| !cosigned.contains(number));
    for number in losers.take(3) {
        let status = ask(history(u64::try_from(number).unwrap())).await;
        assert_eq!(status, 409);
    }
    let (_, still) = get(&url).await;
    assert_eq!(body(&still), body(&shown));
    process.stop().await.unwrap();
}
