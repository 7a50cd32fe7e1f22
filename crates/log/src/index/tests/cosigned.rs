//! The index of a log with witnesses: nothing of it is shown before they have cosigned, and the log waits for nothing.

use std::sync::Mutex;

use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::proof::{prove_consistency, verify_consistency};

use super::*;
use crate::publication::cosigner::NotCosigned;

/// A witness that cosigns what extends what it saw before.
struct OneWitness {
    key: CosignerSigningKey,
    is_there: AtomicBool,
    seen: Mutex<Vec<Head>>,
}

impl OneWitness {
    fn new() -> Arc<Self> {
        let name = "witness.example".parse().unwrap();
        Arc::new(Self {
            key: CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [9; 32]),
            is_there: AtomicBool::new(true),
            seen: Mutex::default(),
        })
    }

    fn sizes(&self) -> Vec<u64> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|head| head.size).collect()
    }
}

#[tonic::async_trait]
impl Cosigner for OneWitness {
    async fn cosign(&self, head: &Head, tree: &CommittedTree) -> Result<Vec<u8>, NotCosigned> {
        let refuse = |reason: &str| NotCosigned {
            reason: reason.to_owned(),
        };
        if !self.is_there.load(Ordering::SeqCst) {
            return Err(refuse("the witness is away"));
        }
        let mut seen = self.seen.lock().unwrap();
        if let Some(last) = seen.last() {
            if last.size > head.size {
                return Err(refuse("the witness has seen more"));
            }
            let proof = prove_consistency(tree, last.size, head.size).unwrap();
            verify_consistency(last.size, head.size, &last.root, &head.root, &proof).unwrap();
        }
        seen.push(head.clone());
        let note = SignedNote::parse(&head.checkpoint).unwrap();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        let mut lines = note.signatures().to_vec();
        lines.push(self.key.cosign(&checkpoint, 1_700_000_000).unwrap());
        Ok(SignedNote::assemble(note.text(), lines).unwrap().to_bytes())
    }

    /// Only a log that starts asks for it.
    async fn vouch(&self, _: &Head, _: &CommittedTree) -> Result<(), NotCosigned> {
        Err(NotCosigned {
            reason: "an index asks nobody to vouch for it".to_owned(),
        })
    }
}

impl IndexCosigner for OneWitness {
    fn is_cosigned(&self, note: &[u8]) -> bool {
        SignedNote::parse(note).is_ok_and(|note| note.signatures().len() == 2)
    }
}

fn cosigned(log: &Log, store: &MemoryLogIndex, witness: &Arc<OneWitness>) -> LogIndex {
    let (store, key) = (store.clone(), log_key(ORIGIN));
    let open = move || Ok(store.clone());
    let cosigner = Some(Arc::clone(witness) as Arc<dyn IndexCosigner>);
    LogIndex::new(log, open, &key, cosigner, &mut Registry::default()).unwrap()
}

fn lines(checkpoint: &[u8]) -> usize {
    SignedNote::parse(checkpoint).unwrap().signatures().len()
}

#[tokio::test]
async fn nothing_of_an_index_is_shown_before_its_witnesses_have_cosigned_and_the_log_waits_for_nothing()
 {
    let (log, store, witness) = (
        a_log(MemoryLog::new()),
        MemoryLogIndex::default(),
        OneWitness::new(),
    );
    witness.is_there.store(false, Ordering::SeqCst);
    let index = cosigned(&log, &store, &witness);
    fill(&log, 0).await;
    let refused = IndexError::NotCosigned {
        reason: "the witness is away".to_owned(),
    };
    assert_eq!(index.catch_up().await, Err(refused.clone()));
    let reason = refused.to_string();
    let not_ready = NoAnswer::NotReady {
        reason: reason.clone(),
    };
    assert_eq!(index.answer(&key_of("hello"), 0, 0), Err(not_ready.clone()));
    assert_eq!(index.checkpoint(), Err(not_ready));
    assert_eq!(log.status().index.unwrap().problem, Some(reason));
    submit(&log, vec![said("hello", "A")]).await;

    witness.is_there.store(true, Ordering::SeqCst);
    assert_eq!(index.catch_up().await, Ok(()));
    assert_eq!(asked(&index, "hello").covered, STEP);
    assert_eq!(lines(&index.checkpoint().unwrap()), 2);

    // The state before is answered from until the next one is cosigned.
    witness.is_there.store(false, Ordering::SeqCst);
    fill(&log, 100).await;
    assert_eq!(index.catch_up().await, Err(refused));
    assert_eq!(asked(&index, "hello").covered, STEP);
    assert!(index.status().answering);
    witness.is_there.store(true, Ordering::SeqCst);
    assert_eq!(index.catch_up().await, Ok(()));
    assert_eq!(asked(&index, "hello").indices, [16]);
    assert_eq!(witness.sizes(), [1, 2]);
}

#[tokio::test]
async fn what_was_cosigned_before_is_shown_again_at_once_and_what_was_not_is_not() {
    let (log, store, witness) = (
        a_log(MemoryLog::new()),
        MemoryLogIndex::default(),
        OneWitness::new(),
    );
    fill(&log, 0).await;
    cosigned(&log, &store, &witness).catch_up().await.unwrap();
    witness.is_there.store(false, Ordering::SeqCst);
    let again = cosigned(&log, &store, &witness);
    // Fresh cosignatures are wanted and not there; the stored ones are good.
    assert!(again.catch_up().await.is_err());
    assert_eq!(asked(&again, "hello").covered, STEP);

    // Made by a log that had no witnesses then.
    let bare = MemoryLogIndex::default();
    an_index(&log, &bare).await;
    let index = cosigned(&log, &bare, &witness);
    assert!(index.catch_up().await.is_err());
    assert!(index.answer(&key_of("hello"), 0, 0).is_err());
    witness.is_there.store(true, Ordering::SeqCst);
    assert_eq!(index.catch_up().await, Ok(()));
    assert_eq!(lines(&index.checkpoint().unwrap()), 2);
}

#[tokio::test]
async fn an_index_that_is_made_again_shows_its_witnesses_nothing_older_than_they_have_seen() {
    let (log, witness) = (a_log(MemoryLog::new()), OneWitness::new());
    let size = follower::WRITE_ENTRIES + 3 * STEP;
    submit(&log, (0..size).map(a_small_entry).collect()).await;
    let first = MemoryLogIndex::default();
    cosigned(&log, &first, &witness).catch_up().await.unwrap();
    let again = MemoryLogIndex::default();
    let index = cosigned(&log, &again, &witness);
    assert_eq!(index.catch_up().await, Ok(()));
    assert_eq!(witness.sizes(), [size / STEP, size / STEP]);
    assert_eq!(asked(&index, "hello").covered, size);
}

#[tokio::test]
async fn an_idle_index_is_cosigned_again_so_that_it_stays_fresh() {
    let (store, witness) = (MemoryLogIndex::default(), OneWitness::new());
    let config = LogConfig {
        republish: Duration::ZERO,
        ..LogConfig::new(ORIGIN)
    };
    let memory = MemoryLog::new();
    let storage = Storage::new(move || Ok(memory.clone()), MemoryAnchor::new());
    let log = Log::start(
        storage,
        None,
        log_key(ORIGIN),
        config,
        &mut Registry::default(),
    )
    .unwrap();
    fill(&log, 0).await;
    let index = cosigned(&log, &store, &witness);
    index.catch_up().await.unwrap();
    assert_eq!(witness.sizes(), [1]);
    index.catch_up().await.unwrap();
    assert_eq!(witness.sizes(), [1, 1]);
    assert_eq!(lines(&index.checkpoint().unwrap()), 2);
}
