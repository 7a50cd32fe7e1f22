//! A log and its witnesses over loopback: honest, down, slow, lying and garbled ones.

mod running;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::log_key;
use quorix_testkit::memory::{MemoryLog, MemoryWitness};
use quorix_testkit::tree::Grower;
use quorix_tlog::cosignature::Algorithm;
use quorix_tlog::hash::Hash;
use quorix_tlog::tile::{TileId, parse_hashes};
use quorix_tlog::tlog_policy::Verified;
use quorix_trust::ports::{LogBatch, LogStore as _, TileStore as _, WitnessStore as _};
use quorix_wire::fetch::FetchLimits;
use tokio::net::TcpListener;

use super::*;
use crate::witness::{Witness, WitnessConfig, routes};

const ORIGIN: &str = "logs.example.org/alice";

/// The tiles of a log in memory.
#[derive(Clone)]
struct Tiles(MemoryLog);

impl TileReader for Tiles {
    type Error = String;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, String> {
        let bytes = self.0.tile(id).map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or("no such tile")?;
        let wanted = bytes.get(..usize::from(width) * 32).ok_or("too narrow")?;
        parse_hashes(wanted, width).map_err(|error| error.to_string())
    }
}

struct World {
    clock: ManualClock,
    grower: Grower,
    log: MemoryLog,
}

impl World {
    fn new() -> Self {
        Self {
            clock: ManualClock::default(),
            grower: Grower::new(ORIGIN),
            log: MemoryLog::new(),
        }
    }

    /// Appends entries; the new head is durable.
    fn grow(&mut self, count: u64) -> Head {
        let size = self.grower.size();
        let entries: Vec<String> = (size..size + count).map(|n| format!("entry {n}")).collect();
        let batch = LogBatch {
            tree: self.grower.grow(&entries),
            retractions: Vec::new(),
        };
        self.log.commit(size, &batch).unwrap();
        self.grower.head()
    }

    fn tiles(&self) -> Tiles {
        Tiles(self.log.clone())
    }

    /// An honest witness, and what it keeps.
    async fn honest(&self, number: u8) -> (Site, MemoryWitness) {
        let store = MemoryWitness::default();
        (self.honest_over(number, &store).await, store)
    }

    async fn honest_over(&self, number: u8, store: &MemoryWitness) -> Site {
        let config = WitnessConfig {
            keys: vec![witness_key(number)],
            logs: vec![log_key(ORIGIN).verifier().clone().into()],
            per_minute: 1_000,
        };
        let store = Arc::new(store.clone());
        let registry = &mut Registry::default();
        let witness = Witness::start(config, store, self.clock.as_fn(), registry).unwrap();
        site(number, routes::router(&witness)).await
    }

    /// A client of two of these three.
    fn witnesses(&self, sites: &[Site]) -> Witnesses {
        self.witnesses_with(sites, None).unwrap()
    }

    fn witnesses_with(
        &self,
        sites: &[Site],
        own: Option<CosignerSigningKey>,
    ) -> Result<Witnesses, WitnessesError> {
        let config = WitnessesConfig {
            policy: policy(sites),
            log_keys: vec![log_key(ORIGIN).verifier().clone().into()],
            own,
            patience: Duration::from_secs(5),
        };
        let fetcher = fetcher();
        Witnesses::new(
            config,
            fetcher,
            self.clock.as_fn(),
            &mut Registry::default(),
        )
    }
}

/// A witness's number and where it is.
type Site = (u8, String);

fn fetcher() -> Fetcher {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Fetcher::new(FetchLimits::default()).unwrap()
}

fn witness_key(number: u8) -> CosignerSigningKey {
    let name = format!("witness{number}.example").parse().unwrap();
    let algorithm = if number == 3 {
        Algorithm::MlDsa44
    } else {
        Algorithm::Ed25519
    };
    CosignerSigningKey::from_seed(name, algorithm, [number; 32])
}

fn policy(sites: &[Site]) -> TlogPolicy {
    let mut text = format!("log {}\n", log_key(ORIGIN).verifier());
    let mut group = "group two 2".to_owned();
    for (number, url) in sites {
        let key = witness_key(*number);
        text.push_str(&format!("witness w{number} {} {url}\n", key.verifier()));
        group.push_str(&format!(" w{number}"));
    }
    TlogPolicy::parse(format!("{text}{group}\nquorum two\n").as_bytes()).unwrap()
}

async fn site(number: u8, router: Router) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (number, url)
}

/// A witness that gives everybody this answer.
async fn saying(number: u8, status: StatusCode, body: String) -> Site {
    let handler = move || {
        let body = body.clone();
        async move { (status, body) }
    };
    site(
        number,
        Router::new().route("/add-checkpoint", post(handler)),
    )
    .await
}

/// A witness that takes a request and never answers.
async fn silent(number: u8) -> Site {
    let handler = std::future::pending::<StatusCode>;
    site(
        number,
        Router::new().route("/add-checkpoint", post(handler)),
    )
    .await
}

/// An address where nothing listens.
async fn down(number: u8) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (number, format!("http://{}", listener.local_addr().unwrap()))
}

fn verified(note: &[u8], sites: &[Site]) -> Verified {
    let note = SignedNote::parse(note).unwrap();
    policy(sites).verify(&note).unwrap()
}

fn names(verified: &Verified) -> Vec<&str> {
    let names = verified.witnesses.iter();
    names.map(|witness| witness.name.as_str()).collect()
}

#[tokio::test]
async fn two_of_three_are_enough_and_their_lines_follow_the_logs_own() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (three, _) = world.honest(3).await;
    let sites = [one, down(2).await, three];
    let witnesses = world.witnesses(&sites);
    // From nothing, from where the witness is, and over many entries.
    for count in [1, 4, 300, 0] {
        let head = world.grow(count);
        let note = witnesses.collect(&head, &world.tiles()).await.unwrap();
        assert!(note.starts_with(&head.checkpoint));
        let verified = verified(&note, &sites);
        assert_eq!(names(&verified), ["w1", "w3"]);
        assert_eq!(verified.time, Some(world.clock.now_s()));
        world.clock.advance(60);
    }
}

#[tokio::test]
async fn nobody_waits_for_a_slow_witness() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let sites = [silent(3).await, one, two];
    let head = world.grow(5);
    let note = world.witnesses(&sites).collect(&head, &world.tiles()).await;
    assert_eq!(names(&verified(&note.unwrap(), &sites)), ["w1", "w2"]);
}

#[tokio::test]
async fn it_fails_closed_and_says_who_did_not_cosign_and_why() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let other = witness_key(9);
    let head = world.grow(5);
    let checkpoint =
        Checkpoint::parse(SignedNote::parse(&head.checkpoint).unwrap().text()).unwrap();
    let now = world.clock.now_s();
    let line = |key: &CosignerSigningKey, checkpoint: &Checkpoint, time| {
        format!("{}\n", key.cosign(checkpoint, time).unwrap())
    };
    let foreign = line(&other, &checkpoint, now);
    let smaller = Checkpoint {
        size: 4,
        ..checkpoint.clone()
    };
    let skewed = line(&witness_key(2), &checkpoint, now + 601);
    let ok = StatusCode::OK;
    for (status, body, reason) in [
        (
            ok,
            "<html>".to_owned(),
            "the witness answered something else than 1 to 16 signature lines",
        ),
        (
            ok,
            foreign,
            "the witness answered without a signature by its known key",
        ),
        (
            ok,
            line(&witness_key(2), &smaller, now),
            "the witness answered with a wrong signature by witness2.example",
        ),
        (ok, skewed, "which differs by more than 600 s from ours"),
        (
            StatusCode::FORBIDDEN,
            "no\nthanks\n".into(),
            "it answered with status 403: no thanks",
        ),
        (
            StatusCode::CONFLICT,
            "6\n".into(),
            "it says that it has cosigned 6 entries of this log, more than the 5 there are",
        ),
        (
            StatusCode::CONFLICT,
            "3\n".into(),
            "it keeps saying that another size was cosigned last",
        ),
        (
            StatusCode::CONFLICT,
            "x\n".into(),
            "something else than the size that it cosigned last",
        ),
        (
            ok,
            "x".repeat(100_000),
            "larger than the permitted 65536 bytes",
        ),
    ] {
        let sites = [one.clone(), saying(2, status, body).await];
        let refused = world.witnesses(&sites).collect(&head, &world.tiles()).await;
        let said = refused.unwrap_err().to_string();
        let missing = "the witness quorum is not met: `two` has 1 of 2, without w2; w2: ";
        assert!(said.starts_with(missing) && said.contains(reason), "{said}");
    }
}

#[tokio::test]
async fn lines_by_strangers_beside_a_good_one_are_not_carried() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let head = world.grow(5);
    let checkpoint =
        Checkpoint::parse(SignedNote::parse(&head.checkpoint).unwrap().text()).unwrap();
    let now = world.clock.now_s();
    let lines: String = [9, 2]
        .map(|number| {
            format!(
                "{}\n",
                witness_key(number).cosign(&checkpoint, now).unwrap()
            )
        })
        .concat();
    let sites = [one, saying(2, StatusCode::OK, lines).await];
    let note = world
        .witnesses(&sites)
        .collect(&head, &world.tiles())
        .await
        .unwrap();
    let note = SignedNote::parse(&note).unwrap();
    let carried: Vec<&str> = note
        .signatures()
        .iter()
        .map(|s| s.name().as_str())
        .collect();
    assert_eq!(carried, [ORIGIN, "witness1.example", "witness2.example"]);
}

#[tokio::test]
async fn a_witness_that_is_elsewhere_gets_the_proof_that_it_needs() {
    let mut world = World::new();
    let (one, first) = world.honest(1).await;
    let (two, second) = world.honest(2).await;
    let sites = [one, two];
    let head = world.grow(3);
    world
        .witnesses(&sites)
        .collect(&head, &world.tiles())
        .await
        .unwrap();
    // A client that knows nothing of the witnesses, as after a restart, long after.
    let head = world.grow(700);
    world
        .witnesses(&sites)
        .collect(&head, &world.tiles())
        .await
        .unwrap();
    for store in [first, second] {
        assert_eq!(store.record(ORIGIN).unwrap().unwrap().cosigned.size, 703);
    }
}

#[tokio::test]
async fn an_idle_log_gets_fresh_times() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let sites = [one, two];
    let witnesses = world.witnesses(&sites);
    let head = world.grow(3);
    for _ in 0..3 {
        world.clock.advance(600);
        let note = witnesses.collect(&head, &world.tiles()).await.unwrap();
        assert_eq!(verified(&note, &sites).time, Some(world.clock.now_s()));
    }
}

#[tokio::test]
async fn a_log_with_a_second_key_signs_with_both() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let sites = [one, two];
    let own = |name: &str| {
        let name = name.parse().unwrap();
        CosignerSigningKey::from_seed(name, Algorithm::MlDsa44, [50; 32])
    };
    let witnesses = world.witnesses_with(&sites, Some(own(ORIGIN))).unwrap();
    let head = world.grow(3);
    let note = witnesses.collect(&head, &world.tiles()).await.unwrap();
    let note = SignedNote::parse(&note).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let quantum = LogKey::MlDsa44(own(ORIGIN).verifier().clone());
    assert!(quantum.verifies(&checkpoint, &note.signatures()[1]));
    assert_eq!(note.signatures().len(), 4);

    let refused = world.witnesses_with(&sites, Some(own("other"))).err();
    assert_eq!(
        refused,
        Some(WitnessesError::KeyName {
            name: "other".into(),
            origin: ORIGIN.into()
        })
    );
}

#[tokio::test]
async fn a_policy_that_can_never_be_met_or_names_the_log_itself_is_refused_at_the_start() {
    let world = World::new();
    let refused = |text: String| {
        let config = WitnessesConfig {
            policy: TlogPolicy::parse(text.as_bytes()).unwrap(),
            log_keys: vec![log_key(ORIGIN).verifier().clone().into()],
            own: None,
            patience: PATIENCE,
        };
        let registry = &mut Registry::default();
        Witnesses::new(config, fetcher(), world.clock.as_fn(), registry)
            .err()
            .unwrap()
    };
    let (w1, w2) = (witness_key(1), witness_key(2));
    let text = format!(
        "witness w1 {} http://w1\nwitness w2 {}\ngroup g all w1 w2\nquorum g\n",
        w1.verifier(),
        w2.verifier()
    );
    assert_eq!(
        refused(text).to_string(),
        "the witness policy can never be met: the witness quorum is not met: `g` has 1 of 2, without w2. A witness is \
         reached at the URL at the end of its line in the policy, and there is none"
    );
    // The same bytes as a witness's key: `0x04` instead of `0x01`.
    let seed: [u8; 32] = {
        let text = log_key(ORIGIN).to_text();
        let encoded = text.rsplit('+').next().unwrap().to_owned();
        let whole = text.splitn(5, '+').nth(4).unwrap_or(&encoded).to_owned();
        data_encoding::BASE64.decode(whole.as_bytes()).unwrap()[1..]
            .try_into()
            .unwrap()
    };
    let own = CosignerSigningKey::from_seed("w".parse().unwrap(), Algorithm::Ed25519, seed);
    let text = format!("witness me {} http://w\nquorum me\n", own.verifier());
    assert_eq!(refused(text), WitnessesError::OwnKey { name: "me".into() });
}

#[tokio::test]
async fn a_clock_that_goes_back_keeps_a_log_from_publishing_while_it_is_wrong_and_signs_no_earlier_time()
 {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let (head, tiles) = (world.grow(5), world.tiles());
    let (now, clock) = (world.clock.now_s(), ManualClock::default());
    let second =
        CosignerSigningKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::MlDsa44, [5; 32]);
    let known = second.verifier().clone();
    let config = WitnessesConfig {
        policy: policy(&[one, two]),
        log_keys: vec![log_key(ORIGIN).verifier().clone().into()],
        own: Some(second),
        patience: Duration::from_secs(5),
    };
    let registry = &mut Registry::default();
    let witnesses = Witnesses::new(config, fetcher(), clock.as_fn(), registry).unwrap();
    // The times that the log's second key has signed.
    let own_time = |note: &[u8]| {
        let note = SignedNote::parse(note).unwrap();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        let mut lines = note
            .signatures()
            .iter()
            .filter(|line| known.is_named_by(line));
        known.verify(&checkpoint, lines.next().unwrap()).unwrap()
    };
    clock.set(now);
    let note = witnesses.collect(&head, &tiles).await.unwrap();
    assert_eq!(own_time(&note), now);
    clock.set(now - 600);
    let note = witnesses.collect(&head, &tiles).await.unwrap();
    assert_eq!(own_time(&note), now);
    clock.set(now - 601);
    let refused = witnesses.collect(&head, &tiles).await.unwrap_err();
    let sentence = format!("its time is {now}, which differs by more than 600 s from ours");
    assert!(refused.to_string().contains(&sentence), "{refused}");
    clock.set(now + 1);
    let note = witnesses.collect(&head, &tiles).await.unwrap();
    assert_eq!(own_time(&note), now + 1);
}

#[tokio::test]
async fn what_witnesses_have_seen_is_asked_and_believed_only_with_the_logs_signature() {
    let mut world = World::new();
    let (one, store) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let sites = [one, two];
    let seen = world.witnesses(&sites).seen().await.unwrap();
    // None shows any: that says nothing, not even that there is none.
    assert_eq!(seen, Seen::default());

    let old = world.grow(5);
    world
        .witnesses(&sites)
        .collect(&old, &world.tiles())
        .await
        .unwrap();
    let lone = [sites[0].clone(), down(2).await];
    let newer = world.grow(4);
    // Only one of them gets the newer one.
    let _ = world.witnesses(&lone).collect(&newer, &world.tiles()).await;
    let seen = world.witnesses(&sites).seen().await.unwrap();
    let sizes: Vec<u64> = seen.shown.iter().map(|shown| shown.size).collect();
    assert_eq!((sizes, seen.least), (vec![5, 9], Some(5)));
    assert_eq!(seen.shown[1].root, newer.root);
    let seen = world.witnesses(&lone).seen().await.unwrap();
    assert_eq!((seen.size(), seen.least), (9, None));

    // A witness cannot make a checkpoint up.
    let mut record = store.record(ORIGIN).unwrap().unwrap();
    let stranger = quorix_tlog::note::SigningKey::from_seed(ORIGIN.parse().unwrap(), [9; 32]);
    let text = SignedNote::parse(&newer.checkpoint)
        .unwrap()
        .text()
        .to_owned();
    let forged = SignedNote::sign(&text.replacen("\n9\n", "\n90\n", 1), &[&stranger]).unwrap();
    let before = record.cosigned;
    record.note = forged.to_bytes();
    assert!(store.replace(ORIGIN, Some(&before), &record).unwrap());
    let seen = world.witnesses(&sites).seen().await.unwrap();
    assert_eq!((seen.size(), seen.least), (5, None));
}

#[tokio::test]
async fn a_witness_vouches_with_its_cosignature_and_not_where_it_has_cosigned_more() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let sites = [one, two];
    let old = world.grow(5);
    let witnesses = world.witnesses(&sites);
    assert_eq!(witnesses.all_cosign(&old, &world.tiles()).await, Ok(()));
    let newer = world.grow(4);
    let lone = [sites[0].clone(), down(2).await];
    let tiles = world.tiles();
    let without = world.witnesses(&lone);
    let refused = without.all_cosign(&newer, &tiles).await.unwrap_err();
    assert!(refused.starts_with("w2: "), "{refused}");
    // The first one has cosigned the newer one by now.
    let again = world.witnesses(&sites);
    let refused = again.all_cosign(&old, &tiles).await.unwrap_err();
    assert!(
        refused.starts_with("w1: it says that it has cosigned 9 entries of this log"),
        "{refused}"
    );
    // Where nobody counts, nobody vouches.
    let config = WitnessesConfig {
        policy: TlogPolicy::parse(
            format!(
                "witness w1 {} {}\nquorum none\n",
                witness_key(1).verifier(),
                sites[0].1
            )
            .as_bytes(),
        )
        .unwrap(),
        log_keys: vec![log_key(ORIGIN).verifier().clone().into()],
        own: None,
        patience: PATIENCE,
    };
    let registry = &mut Registry::default();
    let nobody = Witnesses::new(config, fetcher(), world.clock.as_fn(), registry).unwrap();
    let refused = nobody.all_cosign(&newer, &world.tiles()).await;
    assert_eq!(refused, Err("the policy counts no witness".to_owned()));
    let seen = nobody.seen().await.unwrap();
    assert_eq!((seen.size(), seen.least), (9, None));
}

#[tokio::test]
async fn a_log_that_has_shown_two_histories_is_told_so() {
    let mut world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let head = world.grow(5);
    let _ = world
        .witnesses(&[one.clone(), down(2).await])
        .collect(&head, &world.tiles())
        .await;
    let mut other = World::new();
    other.grower.grow(&["another beginning"]);
    let batch = LogBatch {
        tree: Grower::new(ORIGIN).grow(&["another beginning", "b", "c", "d", "e"]),
        retractions: Vec::new(),
    };
    other.log.commit(0, &batch).unwrap();
    let head = batch.tree.head;
    let _ = world
        .witnesses(&[two.clone(), down(1).await])
        .collect(&head, &other.tiles())
        .await;
    let seen = world.witnesses(&[one, two]).seen().await;
    assert_eq!(seen, Err(Contradiction { size: 5 }));
}
