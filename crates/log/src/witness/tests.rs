//! The witness role: what it keeps, what it answers, and what no race and no fault gets out of it.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt as _;
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::log_key;
use quorix_testkit::memory::MemoryWitness;
use quorix_testkit::tree::{Grower, naive_root};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::Algorithm;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::witness::read_cosignatures;
use tower::ServiceExt as _;

use super::routes::router;
use super::*;

const ORIGIN: &str = "logs.example.org/alice";

fn key(algorithm: Algorithm) -> CosignerSigningKey {
    CosignerSigningKey::from_seed("witness.example/w".parse().unwrap(), algorithm, [7; 32])
}

struct World {
    store: MemoryWitness,
    clock: ManualClock,
    grower: Grower,
    leaves: Vec<Hash>,
}

impl World {
    fn new() -> Self {
        Self {
            store: MemoryWitness::default(),
            clock: ManualClock::default(),
            grower: Grower::new(ORIGIN),
            leaves: Vec::new(),
        }
    }

    fn config() -> WitnessConfig {
        WitnessConfig {
            keys: vec![key(Algorithm::Ed25519), key(Algorithm::MlDsa44)],
            logs: vec![log_key(ORIGIN).verifier().clone().into()],
            per_minute: 5,
        }
    }

    fn witness(&self) -> Witness {
        self.witness_with(Self::config()).unwrap()
    }

    fn witness_with(&self, config: WitnessConfig) -> Result<Witness, WitnessStartError> {
        let store = Arc::new(self.store.clone());
        let registry = &mut Registry::default();
        Witness::start(config, store, self.clock.as_fn(), registry)
    }

    /// Appends entries, and asks for the cosignature of what is there then.
    fn grow(&mut self, count: u64) -> (Checkpoint, Vec<u8>) {
        let old = self.grower.size();
        for index in old..old + count {
            let entry = format!("entry {index}");
            self.leaves.push(leaf_hash(entry.as_bytes()));
            self.grower.grow(&[entry]);
        }
        self.request(old)
    }

    /// A request that begins at `old`, with the proof for it.
    fn request(&self, old: u64) -> (Checkpoint, Vec<u8>) {
        let note = SignedNote::parse(&self.grower.head().checkpoint).unwrap();
        let proof = consistency(usize::try_from(old).unwrap(), &self.leaves, true);
        let request = AddCheckpoint::new(old, proof, note).unwrap();
        (request.checkpoint.clone(), request.to_bytes())
    }
}

/// PROOF(m, D) of RFC 6962 §2.1.2.
fn consistency(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == 0 || old == leaves.len() {
        let whole = vec![naive_root(leaves)];
        return if known { Vec::new() } else { whole };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if old <= k {
        (consistency(old, left, known), naive_root(right))
    } else {
        (consistency(old - k, right, false), naive_root(left))
    };
    proof.push(sibling);
    proof
}

/// The times of both cosignatures, verified.
fn times(checkpoint: &Checkpoint, lines: &str) -> Vec<u64> {
    let keys = [key(Algorithm::Ed25519), key(Algorithm::MlDsa44)];
    let keys: Vec<_> = keys.iter().map(CosignerSigningKey::verifier).collect();
    let found = read_cosignatures(lines.as_bytes(), checkpoint, &keys).unwrap();
    found.into_iter().map(|(_, time)| time).collect()
}

fn refused(answer: Result<String, NoCosignature>) -> (u16, String) {
    match answer {
        Err(NoCosignature::Refused(refusal)) => (refusal.status(), refusal.body()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_grows_is_cosigned_step_by_step_with_every_key() {
    let mut world = World::new();
    let witness = world.witness();
    let now = world.clock.now_s();
    for count in [0, 1, 2, 300, 7] {
        let (checkpoint, body) = world.grow(count);
        let lines = witness.add_checkpoint(&body).unwrap();
        assert_eq!(times(&checkpoint, &lines), [now, now]);
        let record = world.store.record(ORIGIN).unwrap().unwrap();
        assert_eq!(record.cosigned.size, checkpoint.size);
        assert_eq!(record.cosigned.root, checkpoint.root);
    }
}

#[test]
fn what_was_cosigned_is_remembered_over_a_restart() {
    let mut world = World::new();
    let (_, first) = world.grow(3);
    assert!(world.witness().add_checkpoint(&first).is_ok());
    let (_, second) = world.grow(2);
    let restarted = world.witness();
    world.clock.advance(REPEAT_WITHIN);
    assert_eq!(
        refused(restarted.add_checkpoint(&first)),
        (409, "3\n".into())
    );
    assert!(restarted.add_checkpoint(&second).is_ok());
    assert_eq!(
        refused(restarted.add_checkpoint(&first)),
        (409, "5\n".into())
    );
}

#[test]
fn another_history_is_never_cosigned() {
    let mut world = World::new();
    let witness = world.witness();
    let (_, body) = world.grow(5);
    assert!(witness.add_checkpoint(&body).is_ok());
    let kept = world.store.record(ORIGIN).unwrap();
    let mut other = World::new();
    other.leaves.push(leaf_hash(b"another beginning"));
    other.grower.grow(&["another beginning"]);
    for (count, old) in [(4, 5), (3, 5)] {
        other.grow(count);
        let (_, body) = other.request(old);
        let (status, sentence) = refused(witness.add_checkpoint(&body));
        assert_eq!(status, 422, "{sentence}");
        assert_eq!(world.store.record(ORIGIN).unwrap(), kept);
    }
}

#[test]
fn the_same_checkpoint_again_gets_a_fresh_time_after_a_while_and_at_once_the_same_lines() {
    let mut world = World::new();
    let witness = world.witness();
    let (checkpoint, body) = world.grow(5);
    let first = witness.add_checkpoint(&body).unwrap();
    let (_, again) = world.request(5);
    world.clock.advance(REPEAT_WITHIN - 1);
    assert_eq!(witness.add_checkpoint(&again), Ok(first));
    world.clock.advance(1);
    let fresh = witness.add_checkpoint(&again).unwrap();
    let now = world.clock.now_s();
    assert_eq!(times(&checkpoint, &fresh), [now, now]);
}

#[test]
fn a_clock_that_goes_back_gives_no_earlier_time() {
    let mut world = World::new();
    let witness = world.witness();
    let (_, body) = world.grow(5);
    witness.add_checkpoint(&body).unwrap();
    let then = world.clock.now_s();
    world.clock.set(then - 60);
    let (checkpoint, body) = world.grow(1);
    let lines = witness.add_checkpoint(&body).unwrap();
    assert_eq!(times(&checkpoint, &lines), [then, then]);
    world.clock.set(then - 61);
    let (_, body) = world.grow(1);
    assert_eq!(refused(witness.add_checkpoint(&body)).0, 503);
}

#[test]
fn a_store_that_fails_gets_nothing_cosigned() {
    let mut world = World::new();
    let witness = world.witness();
    world.store.fail(true);
    let (checkpoint, body) = world.grow(5);
    let failed = witness.add_checkpoint(&body);
    assert!(
        matches!(failed, Err(NoCosignature::Failed { .. })),
        "{failed:?}"
    );
    world.store.fail(false);
    assert_eq!(world.store.record(ORIGIN), Ok(None));
    let lines = witness.add_checkpoint(&body).unwrap();
    assert_eq!(times(&checkpoint, &lines).len(), 2);
}

/// Two processes over one store, as two witnesses that were set up by mistake: the store keeps them apart.
#[test]
fn of_two_histories_that_race_over_one_store_only_one_is_cosigned() {
    for _ in 0..20 {
        let mut world = World::new();
        let (_, body) = world.grow(5);
        let first = world.witness();
        first.add_checkpoint(&body).unwrap();
        let mut other = World::new();
        other.grow(5);
        let (_, left) = world.grow(3);
        other.leaves.push(leaf_hash(b"another entry"));
        other.grower.grow(&["another entry"]);
        let (_, right) = other.request(5);
        let second = world.witness();
        let answers = std::thread::scope(|scope| {
            let left = scope.spawn(|| first.add_checkpoint(&left));
            let right = scope.spawn(|| second.add_checkpoint(&right));
            [left.join().unwrap(), right.join().unwrap()]
        });
        let cosigned = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(cosigned, 1, "{answers:?}");
    }
}

#[test]
fn one_log_has_a_share_of_each_minute() {
    let mut world = World::new();
    let witness = world.witness();
    world.clock.set(world.clock.now_s() / 60 * 60);
    for _ in 0..5 {
        let (_, body) = world.grow(1);
        assert!(witness.add_checkpoint(&body).is_ok());
    }
    let (_, body) = world.grow(1);
    let refused = witness.add_checkpoint(&body);
    assert_eq!(refused, Err(NoCosignature::TooMany { per_minute: 5 }));
    world.clock.advance(60);
    assert!(witness.add_checkpoint(&body).is_ok());
}

#[test]
fn a_witness_without_key_or_log_or_with_a_logs_own_key_does_not_start() {
    let world = World::new();
    let start = |config: WitnessConfig| world.witness_with(config).err();
    let no_key = WitnessConfig {
        keys: Vec::new(),
        ..World::config()
    };
    assert_eq!(start(no_key), Some(WitnessStartError::NoKey));
    let no_log = WitnessConfig {
        logs: Vec::new(),
        ..World::config()
    };
    assert_eq!(start(no_log), Some(WitnessStartError::NoLog));
    let own = quorix_tlog::note::SigningKey::from_seed("other".parse().unwrap(), [7; 32]);
    let shared = WitnessConfig {
        logs: vec![own.verifier().clone().into()],
        ..World::config()
    };
    let origin = "other".to_owned();
    assert_eq!(start(shared), Some(WitnessStartError::SharedKey { origin }));
}

async fn send(witness: &Witness, request: Request<Body>) -> (StatusCode, String, Vec<u8>) {
    let response: Response = router(witness).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let content_type = parts.headers["content-type"].to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    (parts.status, content_type, body)
}

fn post(body: Vec<u8>) -> Request<Body> {
    Request::post("/add-checkpoint")
        .body(Body::from(body))
        .unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn over_http_it_answers_as_the_specification_says() {
    let mut world = World::new();
    let witness = world.witness();
    let (checkpoint, body) = world.grow(5);
    let path = format!("/{}/checkpoint", HEXLOWER.encode(&Sha256::digest(ORIGIN)));
    assert_eq!(send(&witness, get(&path)).await.0, StatusCode::NOT_FOUND);

    let (status, content_type, lines) = send(&witness, post(body.clone())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(content_type, "text/plain; charset=utf-8");
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(times(&checkpoint, &lines).len(), 2);
    assert!(lines.starts_with('\u{2014}') && lines.ends_with('\n'));

    world.grow(1);
    let (_, stale) = world.request(0);
    let (status, content_type, size) = send(&witness, post(stale)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(
        (content_type.as_str(), size),
        ("text/x.tlog.size", b"5\n".to_vec())
    );

    let (status, _, note) = send(&witness, get(&path)).await;
    assert_eq!(status, StatusCode::OK);
    let note = SignedNote::parse(&note).unwrap();
    assert_eq!(note.text(), checkpoint.to_text());
    assert_eq!(note.verify(&[log_key(ORIGIN).verifier()]), Ok(()));
    assert_eq!(note.signatures().len(), 3);

    let garbage = send(&witness, post(b"old 05\n".to_vec())).await;
    assert_eq!(garbage.0, StatusCode::BAD_REQUEST);
    let large = send(&witness, post(vec![b'x'; 1 << 20])).await;
    assert_eq!(large.0, StatusCode::PAYLOAD_TOO_LARGE);
    let method = send(&witness, get("/add-checkpoint")).await;
    assert_eq!(method.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(&witness, get("/x/y/z")).await.0, StatusCode::NOT_FOUND);
    let (status, _, about) = send(&witness, get("/")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(String::from_utf8(about).unwrap().contains(ORIGIN));
}

#[tokio::test]
async fn a_log_that_nobody_listed_is_not_found() {
    let mut world = World::new();
    let config = WitnessConfig {
        logs: vec![log_key("other").verifier().clone().into()],
        ..World::config()
    };
    let witness = world.witness_with(config).unwrap();
    let (_, body) = world.grow(5);
    let (status, _, sentence) = send(&witness, post(body)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let expected = format!("the log {ORIGIN} is not known here\n");
    assert_eq!(String::from_utf8(sentence).unwrap(), expected);
}
