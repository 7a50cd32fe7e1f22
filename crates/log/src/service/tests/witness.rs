//! A witness in memory that fails and stalls as a test tells it to, and what a log does with one.

use std::collections::VecDeque;
use std::sync::Mutex;

use quorix_testkit::faults::Fault;
use quorix_tlog::note::SignedNote;
use quorix_tlog::proof::root_of;
use tokio::sync::Notify;

use super::*;
use crate::publication::cosigner::{CommittedTree, Cosigner, NotCosigned, Witnessing};
use crate::witnesses::Seen;

/// Cosigns what extends all that it has cosigned, like a C2SP witness.
#[derive(Clone, Default)]
pub(super) struct Witness(Arc<State>);

#[derive(Default)]
struct State {
    now: Mutex<Now>,
    changed: Notify,
}

#[derive(Default)]
struct Now {
    seen: Vec<Checkpoint>,
    asked: usize,
    faults: VecDeque<Fault>,
    always: bool,
    held: bool,
    answer: Option<Vec<u8>>,
}

impl Witness {
    /// Fails the next time: before it has taken the checkpoint, or after that.
    pub(super) fn fail_next(&self, fault: Fault) {
        self.now().faults.push_back(fault);
    }

    /// How many faults have not happened yet.
    pub(super) fn queued(&self) -> usize {
        self.now().faults.len()
    }

    /// Cosigns nothing from now on, or again.
    fn refuse(&self, refuse: bool) {
        self.now().always = refuse;
    }

    /// Answers nobody from now on, or again.
    fn hold(&self, held: bool) {
        self.now().held = held;
        self.0.changed.notify_waiters();
    }

    /// Answers with these bytes instead of a note.
    fn answer_with(&self, bytes: Option<Vec<u8>>) {
        self.now().answer = bytes;
    }

    /// Everything that it has cosigned.
    pub(super) fn seen(&self) -> Vec<Checkpoint> {
        self.now().seen.clone()
    }

    /// It has cosigned this one too.
    pub(super) fn has_seen(&self, checkpoint: Checkpoint) {
        self.now().seen.push(checkpoint);
    }

    fn asked(&self) -> usize {
        self.now().asked
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.now.lock().unwrap()
    }

    pub(super) fn witnessing(&self) -> Witnessing {
        let newest = self.seen().last().cloned();
        Witnessing {
            cosigner: Arc::new(self.clone()),
            seen: Seen {
                least: newest.as_ref().map(|newest| newest.size),
                shown: newest.into_iter().collect(),
            },
        }
    }
}

/// The line that the witness adds.
fn cosignature(checkpoint: &Checkpoint) -> String {
    let key = SigningKey::from_seed("witness.example.org".parse().unwrap(), [7; 32]);
    let note = SignedNote::sign(&checkpoint.to_text(), &[&key]).unwrap();
    format!("{}\n", note.signatures()[0])
}

#[tonic::async_trait]
impl Cosigner for Witness {
    async fn cosign(&self, head: &Head, tree: &CommittedTree) -> Result<Vec<u8>, NotCosigned> {
        self.now().asked += 1;
        loop {
            let changed = self.0.changed.notified();
            if !self.now().held {
                break;
            }
            changed.await;
        }
        let refused = |reason: &str| NotCosigned {
            reason: reason.to_owned(),
        };
        let mut now = self.now();
        let fault = now.faults.pop_front();
        if now.always || fault == Some(Fault::NotWritten) {
            return Err(refused("the wire is cut"));
        }
        let checkpoint = verified(&head.checkpoint);
        if let Some(old) = now.seen.last() {
            if old.size > checkpoint.size {
                return Err(refused("that is older than what was cosigned"));
            }
            let root = root_of(tree, old.size).map_err(|_| refused("no proof"))?;
            assert_eq!(root, old.root, "the log has two histories");
        }
        now.seen.push(checkpoint.clone());
        if fault.is_some() {
            return Err(refused("the wire was cut"));
        }
        if let Some(answer) = &now.answer {
            return Ok(answer.clone());
        }
        Ok([
            head.checkpoint.clone(),
            cosignature(&checkpoint).into_bytes(),
        ]
        .concat())
    }

    async fn vouch(&self, head: &Head, tree: &CommittedTree) -> Result<(), NotCosigned> {
        self.cosign(head, tree).await.map(drop)
    }
}

fn start_witnessed(store: &impl Stored, witness: &Witness, config: LogConfig) -> Log {
    start_with(store, Some(witness.witnessing()), config).unwrap()
}

/// Nobody waits for an answer that is not there yet.
fn impatient() -> LogConfig {
    LogConfig {
        acknowledge_within: Duration::ZERO,
        ..config()
    }
}

async fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

async fn wait_until_committed(store: &MemoryLog, size: u64) {
    wait_until(|| store.head().unwrap().unwrap().size >= size).await;
}

#[tokio::test]
async fn what_is_published_carries_the_logs_signature_first_and_then_the_cosignatures() {
    let log = start_witnessed(&MemoryLog::new(), &Witness::default(), config());
    let submitted = log
        .submit(vec![a_small_entry(0)], Vec::new())
        .await
        .unwrap();
    let checkpoint = verified(&submitted.checkpoint);
    let note = SignedNote::parse(&submitted.checkpoint).unwrap();
    let signers: Vec<_> = note
        .signatures()
        .iter()
        .map(|signature| signature.name().as_str())
        .collect();
    assert_eq!(signers, [ORIGIN, "witness.example.org"]);
    assert_eq!(log.status().checkpoint, submitted.checkpoint);
    assert_is_in(&log, &checkpoint, 0, &a_small_entry(0));
}

#[tokio::test]
async fn nothing_is_published_or_acknowledged_before_it_is_cosigned_and_entries_stay() {
    let (store, witness) = (MemoryLog::new(), Witness::default());
    let log = start_witnessed(&store, &witness, impatient());
    witness.refuse(true);
    let entries = small_entries(0..3);
    for _ in 0..3 {
        // The first time they are appended; after that they are duplicates that nobody may rely on yet.
        let answer = log.submit(entries.clone(), Vec::new()).await;
        assert!(
            matches!(answer, Err(SubmitError::Unavailable { .. })),
            "{answer:?}"
        );
        wait_until_committed(&store, 3).await;
        assert_eq!(log.status().size, 0);
    }
    wait_until(|| log.status().problem.is_some()).await;
    assert_eq!(
        log.status().problem.as_deref(),
        Some("not enough witnesses cosign: the wire is cut")
    );
    witness.refuse(false);
    wait_until(|| log.status().size == 3).await;
    let answer = log.submit(entries, Vec::new()).await.unwrap();
    assert_eq!(indices(&answer), [(0, true), (1, true), (2, true)]);
    assert_eq!(answer.checkpoint, log.status().checkpoint);
    assert_eq!(log.status().problem, None);
}

#[tokio::test]
async fn commits_go_on_while_witnesses_are_asked_and_share_one_publication() {
    let (store, witness) = (MemoryLog::new(), Witness::default());
    let log = start_witnessed(&store, &witness, config());
    wait_until(|| witness.asked() == 1).await;
    wait_until(|| log.status().checkpoint.len() > 200).await;
    witness.hold(true);
    let mut waiting = Vec::new();
    for number in 0..10 {
        waiting.push(spawn_submit(&log, number));
        wait_until_committed(&store, number + 1).await;
    }
    assert_eq!(log.status().size, 0);
    let before = witness.seen().len();
    witness.hold(false);
    for answer in waiting {
        let answer = answer.await.unwrap().unwrap();
        let checkpoint = verified(&answer.checkpoint);
        assert!(checkpoint.size > answer.receipts[0].index);
    }
    wait_until(|| log.status().size == 10).await;
    // The one that was held, and one for all the others.
    assert!(witness.seen().len() - before <= 2);
}

#[tokio::test]
async fn a_restart_serves_what_was_published_and_the_rest_only_once_it_is_cosigned() {
    let (store, witness) = (MemoryLog::new(), Witness::default());
    let log = start_witnessed(&store, &witness, impatient());
    let _ = log.submit(vec![a_small_entry(0)], Vec::new()).await;
    wait_until(|| log.status().size == 1).await;
    let published = log.status().checkpoint;
    witness.refuse(true);
    let _ = log.submit(vec![a_small_entry(1)], Vec::new()).await;
    wait_until_committed(&store, 2).await;
    log.shutdown().await;

    let log = start_witnessed(&store, &witness, impatient());
    assert_eq!(log.status().checkpoint, published);
    wait_until(|| log.status().problem.is_some()).await;
    assert_eq!(log.status().checkpoint, published);
    witness.refuse(false);
    wait_until(|| log.status().size == 2).await;
    log.shutdown().await;

    // Nor does a power cut right after a commit publish what nobody cosigned.
    witness.refuse(true);
    let log = start_witnessed(&store, &witness, impatient());
    let _ = log.submit(vec![a_small_entry(2)], Vec::new()).await;
    wait_until_committed(&store, 3).await;
    log.shutdown().await;
    store.cut_power();
    let log = start_witnessed(&store, &witness, impatient());
    assert_eq!(log.status().size, 2);
}

#[tokio::test]
async fn an_idle_log_publishes_again_with_fresh_cosignatures() {
    let witness = Witness::default();
    let config = LogConfig {
        republish: Duration::from_millis(1),
        ..config()
    };
    let log = start_witnessed(&MemoryLog::new(), &witness, config);
    submit(&log, &[a_small_entry(0)]).await;
    let before = witness.asked();
    wait_until(|| witness.asked() > before + 3).await;
    assert_eq!(log.status().size, 1);
}

#[tokio::test]
async fn a_note_that_is_not_the_logs_own_checkpoint_is_never_published() {
    let witness = Witness::default();
    let log = start_witnessed(&MemoryLog::new(), &witness, impatient());
    let own = log.status().checkpoint;
    let other = quorix_testkit::tree::Grower::new(ORIGIN).grow(&[a_small_entry(9)]);
    for answer in [
        Vec::new(),
        b"garbage".to_vec(),
        other.head.checkpoint,
        [&own[..], b"\n"].concat(),
    ] {
        witness.answer_with(Some(answer));
        let _ = log.submit(vec![a_small_entry(0)], Vec::new()).await;
        let asked = witness.asked();
        wait_until(|| witness.asked() > asked + 1).await;
        assert_eq!(log.status().size, 0);
        assert_eq!(
            log.status().problem.as_deref(),
            Some("the cosigned note is not of the log's checkpoint")
        );
    }
}

#[tokio::test]
async fn what_waits_for_witnesses_is_bounded() {
    let (store, witness) = (MemoryLog::new(), Witness::default());
    let config = LogConfig {
        unpublished_entries: 5,
        ..impatient()
    };
    let log = start_witnessed(&store, &witness, config);
    witness.refuse(true);
    for number in 0..20 {
        let _ = log.submit(vec![a_small_entry(number)], Vec::new()).await;
    }
    wait_until_committed(&store, 6).await;
    // The queue is empty once the sequencer has ended.
    log.shutdown().await;
    assert_eq!(store.head().unwrap().unwrap().size, 6);
}

#[tokio::test]
async fn a_log_that_gets_witnesses_goes_on_from_what_it_had_published() {
    let (store, witness) = (MemoryLog::new(), Witness::default());
    let log = start(store.clone());
    submit(&log, &[a_small_entry(0)]).await;
    log.shutdown().await;
    witness.refuse(true);
    let log = start_witnessed(&store, &witness, impatient());
    assert_eq!(log.status().size, 1);
    let _ = log.submit(vec![a_small_entry(1)], Vec::new()).await;
    wait_until_committed(&store, 2).await;
    log.shutdown().await;
    // It does not take what was committed since for published.
    let log = start_witnessed(&store, &witness, impatient());
    assert_eq!(log.status().size, 1);
    log.shutdown().await;
    // Without witnesses again, the newest is published.
    assert_eq!(start(store).status().size, 2);
}
