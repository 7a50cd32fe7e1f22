//! What a log promises, held against it after every way in which its storage and its witness can fail.
//!
//! The oracle: each acknowledged entry is where it was said to be, proven under the published checkpoint; every
//! checkpoint that was signed and could be seen is of the one tree that is stored; nothing that was signed is lost; all
//! tiles are what the entries hash to, a check of the whole log (that of `quorix log fsck`) finds nothing wrong with entries,
//! tiles, blobs and look-up tables, and the log starts again.

mod lost_sync;

use quorix_testkit::faults::Fault;
use quorix_tlog::bundle;
use quorix_tlog::tile::{TileLevel, width_at};
use quorix_wire::scan::{Check, LogSource, State, check};

use super::witness::Witness;
use super::*;

/// One log through its restarts, with all that it ever said.
struct World {
    store: FaultyLog,
    witness: Option<Witness>,
    log: Log,
    acknowledged: Vec<(u64, Vec<u8>)>,
    published: Vec<Checkpoint>,
}

impl World {
    fn new(witnessed: bool) -> Self {
        let store = FaultyLog::around(MemoryLog::new());
        let witness = witnessed.then(Witness::default);
        let log = start_in(&store, witness.as_ref());
        Self {
            store,
            witness,
            log,
            acknowledged: Vec::new(),
            published: Vec::new(),
        }
    }

    /// Submits once. Whatever is acknowledged is remembered.
    async fn submit(&mut self, entries: &[Vec<u8>]) -> bool {
        let named = naming_a_blob();
        let is_there = entries.contains(&named.bytes());
        let blobs = is_there.then(|| named.blob()).into_iter().collect();
        match self.log.submit(entries.to_vec(), blobs).await {
            Ok(submitted) => {
                let published = verified(&submitted.checkpoint);
                for (receipt, entry) in submitted.receipts.iter().zip(entries) {
                    assert!(receipt.index < published.size);
                    self.acknowledged.push((receipt.index, entry.clone()));
                }
                self.published.push(published);
                true
            }
            Err(SubmitError::Unavailable { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn submit_patiently(&mut self, entries: &[Vec<u8>]) {
        while !self.submit(entries).await {
            tokio::task::yield_now().await;
        }
    }

    /// The process dies before it can look what is stored; the power may go with it.
    async fn crash(&mut self, power: bool) {
        self.store.fail_always(Step::Open, Some(Fault::NotWritten));
        self.log.shutdown().await;
        self.store.forget_faults();
        if power {
            self.store.inner().cut_power();
        }
        self.log = start_in(&self.store, self.witness.as_ref());
    }

    /// Every checkpoint that anybody could have seen.
    fn signed(&self) -> Vec<Checkpoint> {
        let anchored = self.store.inner().anchor().writes();
        let anchored = anchored.iter().map(|checkpoint| verified(checkpoint));
        let witnessed = self.witness.iter().flat_map(Witness::seen);
        anchored
            .chain(witnessed)
            .chain(self.published.iter().cloned())
            .collect()
    }

    /// The retraction is in the tables as well: what it withdrew is a new entry when it comes again.
    async fn assert_withdrawn(&mut self, context: &str) {
        self.submit_patiently(&[a_small_entry(WITHDRAWN)]).await;
        let (index, _) = self.acknowledged.last().unwrap();
        assert_eq!(index + 1, self.log.status().size, "{context}");
    }

    /// The oracle. `and` are checkpoints besides those that could be seen.
    async fn assert_kept_its_word(&mut self, and: &[Checkpoint], context: &str) {
        self.store.forget_faults();
        self.log.shutdown().await;
        let signed = [self.signed(), and.to_vec()].concat();
        self.log = start_in(&self.store, self.witness.as_ref());
        let store = self.store.inner();
        let head = store.head().unwrap().unwrap();
        let entries = entries_of(store, head.size);
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        for (id, width) in tiles_of(head.size) {
            let TileLevel::Hashes(level) = id.level else {
                panic!("only hash tiles")
            };
            let tile = store.tile(id).unwrap().unwrap();
            let expected = encode_hashes(&naive_tile(&leaves, level, id.index));
            assert_eq!(expected.len(), usize::from(width) * 32);
            assert_eq!(tile, expected, "{context}: {id:?}");
        }
        let newest = verified(&head.checkpoint);
        assert_eq!((newest.size, newest.root), (head.size, head.root));
        for checkpoint in signed {
            assert!(checkpoint.size <= head.size, "{context}: lost");
            let size = usize::try_from(checkpoint.size).unwrap();
            assert_eq!(checkpoint.root, naive_root(&leaves[..size]), "{context}");
        }
        // With a witness a restart shows what was published last, and more once that is cosigned.
        let needed = self.acknowledged.iter().map(|(index, _)| index + 1).max();
        while self.log.status().size < needed.unwrap_or(0) {
            tokio::task::yield_now().await;
        }
        let published = verified(&self.log.status().checkpoint);
        for (index, entry) in &self.acknowledged {
            assert_eq!(entries.get(usize::try_from(*index).unwrap()), Some(entry));
            assert_is_in(&self.log, &published, *index, entry);
        }
        // And nothing is in it twice.
        let distinct: std::collections::BTreeSet<_> = leaves.iter().collect();
        assert_eq!(distinct.len(), leaves.len(), "{context}");
        assert_is_sound(store, &newest, context).await;
    }
}

/// What `quorix log fsck` does to a log in a database.
async fn assert_is_sound(store: &MemoryLog, newest: &Checkpoint, context: &str) {
    let asked = Check {
        key: log_key(ORIGIN).verifier().clone(),
        blobs: true,
        at_once: 1,
        from: State::default(),
    };
    let source = LogSource::Own(Arc::new(store.clone()));
    let counts = check(&source, newest, asked, |_| ()).await.unwrap();
    assert_eq!(counts.problems, 0, "{context}: {:?}", counts.named);
    assert_eq!(counts.entries, newest.size, "{context}");
}

fn naming_a_blob() -> quorix_testkit::entries::Attestation {
    an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob()
}

/// What is written while something fails: all that a batch can have, namely entries over the end of a bundle, a blob, and a
/// retraction of an entry from before.
fn of_every_kind() -> Vec<Vec<u8>> {
    let withdrawal = bytes_of(&a_retraction_of(&[a_small_entry(WITHDRAWN)]));
    let mut entries = small_entries(254..257);
    entries.extend([naming_a_blob().bytes(), withdrawal]);
    entries
}

/// The number of the entry that is withdrawn.
const WITHDRAWN: u64 = 3;

fn start_in(store: &FaultyLog, witness: Option<&Witness>) -> Log {
    let config = LogConfig {
        retry_pause: Duration::ZERO,
        // A witness that is not heard before a crash is not waited for.
        acknowledge_within: Duration::from_millis(200),
        ..config()
    };
    start_with(store, witness.map(Witness::witnessing), config).unwrap()
}

fn entries_of(store: &MemoryLog, size: u64) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    for index in 0..size.div_ceil(256) {
        let bytes = store.tile(TileId::entries(index)).unwrap().unwrap();
        let parsed = bundle::parse(&bytes, width_at(size, 0, index)).unwrap();
        entries.extend(parsed.into_iter().map(<[u8]>::to_vec));
    }
    entries
}

/// A step of the log that fails, of its storage or of the network.
#[derive(Clone, Copy, Debug)]
enum Failing {
    Storage(Step, Fault),
    Witness(Fault),
}

impl Failing {
    /// All steps, each in all ways in which it can fail.
    fn all() -> Vec<Self> {
        let both = [Fault::NotWritten, Fault::Written];
        let mut all = Vec::new();
        for step in Step::ALL {
            let faults: &[Fault] = match step {
                Step::Commit | Step::Anchor => {
                    &[Fault::NotWritten, Fault::Written, Fault::NotSynced]
                }
                Step::Note => &both,
                Step::Open | Step::Head | Step::Tile | Step::Lookup => &[Fault::NotWritten],
            };
            all.extend(faults.iter().map(|fault| Self::Storage(step, *fault)));
        }
        all.extend(both.map(Self::Witness));
        all
    }

    fn arm(self, world: &World) {
        match (self, &world.witness) {
            (Self::Storage(step, fault), _) => world.store.fail_next(step, fault),
            (Self::Witness(fault), Some(witness)) => witness.fail_next(fault),
            (Self::Witness(_), None) => {}
        }
    }
}

impl Failing {
    /// Whether it happens in a log that works. The others happen only while something else is mended, or at a start: there
    /// they are played apart.
    fn happens_alone(self, witnessed: bool) -> bool {
        match self {
            // Tiles are read back for what comes again, and for proofs.
            Self::Storage(Step::Commit | Step::Anchor | Step::Lookup | Step::Tile, _) => true,
            // Only what witnesses have cosigned is noted.
            Self::Storage(Step::Note, _) | Self::Witness(_) => witnessed,
            Self::Storage(Step::Open | Step::Head, _) => false,
        }
    }

    fn has_happened(self, world: &World) -> bool {
        match (self, &world.witness) {
            (Self::Storage(step, _), _) => world.store.queued(step) == 0,
            (Self::Witness(_), Some(witness)) => witness.queued() == 0,
            (Self::Witness(_), None) => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Retry {
    Same,
    Different,
}

fn attempted(world: &World) -> Vec<Checkpoint> {
    let attempts = world.store.attempts();
    attempts
        .iter()
        .map(|batch| verified(&batch.tree.head.checkpoint))
        .collect()
}

/// Around the end of a bundle, so that full and partial tiles are written.
async fn begun(witnessed: bool) -> World {
    let mut world = World::new(witnessed);
    world.submit_patiently(&small_entries(0..254)).await;
    world
}

/// One failure, then the same or other entries, in a process that lives on.
async fn play(witnessed: bool, faults: &[Failing], retry: Retry) {
    let context = format!("{faults:?}, {retry:?}, witnessed: {witnessed}");
    let mut world = begun(witnessed).await;
    faults.iter().for_each(|fault| fault.arm(&world));
    let (first, second) = (of_every_kind(), small_entries(1_000..1_004));
    if !world.submit(&first).await
        && let Retry::Different = retry
    {
        world.submit_patiently(&second).await;
    }
    world.submit_patiently(&first).await;
    // A cell whose fault does not happen shows nothing.
    if let [fault] = faults {
        let (expected, happened) = (fault.happens_alone(witnessed), fault.has_happened(&world));
        assert_eq!(happened, expected, "{context}");
    }
    // In a process that lives on, whatever was signed is of one history, seen or not.
    let attempted = attempted(&world);
    world.assert_kept_its_word(&attempted, &context).await;
    world.assert_withdrawn(&context).await;
}

/// One failure, then a crash with or without a power cut, then the same or other entries.
async fn play_with_crash(witnessed: bool, fault: Failing, retry: Retry, power: bool) {
    let context = format!("{fault:?}, {retry:?}, witnessed: {witnessed}, power cut: {power}");
    let mut world = begun(witnessed).await;
    fault.arm(&world);
    // Nothing is looked up again before the crash.
    if !matches!(fault, Failing::Storage(Step::Open, _)) {
        world.store.fail_always(Step::Open, Some(Fault::NotWritten));
    }
    let (first, second) = (of_every_kind(), small_entries(1_000..1_004));
    world.submit(&first).await;
    if matches!(
        fault,
        Failing::Storage(Step::Commit | Step::Anchor | Step::Lookup, _)
    ) {
        assert!(fault.has_happened(&world), "{context}");
    }
    world.crash(power).await;
    if let Retry::Different = retry {
        world.submit_patiently(&second).await;
    }
    world.submit_patiently(&first).await;
    world.assert_kept_its_word(&[], &context).await;
    world.assert_withdrawn(&context).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_every_step_fails_once_and_the_process_lives_on() {
    for witnessed in [false, true] {
        for fault in Failing::all() {
            for retry in [Retry::Same, Retry::Different] {
                play(witnessed, &[fault], retry).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_every_step_fails_while_another_failure_is_mended() {
    for witnessed in [false, true] {
        for first in Failing::all() {
            for second in Failing::all() {
                for retry in [Retry::Same, Retry::Different] {
                    play(witnessed, &[first, second], retry).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_every_step_fails_and_then_the_process_dies() {
    for witnessed in [false, true] {
        for fault in Failing::all() {
            for retry in [Retry::Same, Retry::Different] {
                for power in [false, true] {
                    play_with_crash(witnessed, fault, retry, power).await;
                }
            }
        }
    }
}

/// The steps of a start, each failing in it: the log does not start, and the next start is as good as any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_every_step_of_a_start_fails_once() {
    for witnessed in [false, true] {
        for fault in Failing::all() {
            let Failing::Storage(Step::Open | Step::Head | Step::Tile | Step::Anchor, _) = fault
            else {
                continue;
            };
            let context = format!("{fault:?} at a start, witnessed: {witnessed}");
            let mut world = begun(witnessed).await;
            world.log.shutdown().await;
            // The anchor is one behind, as after a crash before it was written.
            let anchored = world.store.inner().anchor().writes();
            let before = anchored.len().saturating_sub(2);
            world
                .store
                .inner()
                .anchor()
                .set(anchored.get(before).map(Vec::as_slice));
            fault.arm(&world);
            let started = start_with(
                &world.store,
                world.witness.as_ref().map(Witness::witnessing),
                config(),
            );
            assert!(started.is_err(), "{context}");
            assert!(fault.has_happened(&world), "{context}");
            world.log = start_in(&world.store, world.witness.as_ref());
            world.submit_patiently(&small_entries(254..257)).await;
            let attempted = attempted(&world);
            world.assert_kept_its_word(&attempted, &context).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_matrix_two_submitters_of_one_failed_batch_are_both_served() {
    for step in [Step::Commit, Step::Anchor] {
        for fault in [Fault::NotWritten, Fault::Written, Fault::NotSynced] {
            let mut world = World::new(false);
            world.submit_patiently(&small_entries(0..3)).await;
            world.store.hold();
            let held = spawn_submit(&world.log, 10);
            wait_until_held(&world.store).await;
            let both = [11, 12].map(|number| spawn_submit(&world.log, number));
            wait_until_queued(&world.log, 2).await;
            // The held batch passes its commit; the one that the two share fails.
            world.store.fail_later(step, 1, fault);
            world.store.release();
            held.await.unwrap().unwrap();
            for answer in both {
                assert!(matches!(
                    answer.await.unwrap(),
                    Err(SubmitError::Unavailable { .. })
                ));
            }
            for number in [12, 11, 10] {
                world.submit_patiently(&[a_small_entry(number)]).await;
            }
            let attempted = attempted(&world);
            let context = format!("{step:?} {fault:?}");
            world.assert_kept_its_word(&attempted, &context).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_costs_one_synced_write_and_one_anchor_however_many_share_it() {
    for witnessed in [false, true] {
        let world = World::new(witnessed);
        let (store, log) = (&world.store, &world.log);
        let counts = || [Step::Commit, Step::Anchor].map(|step| store.count(step));
        let before = counts();
        store.hold();
        let mut answers = vec![spawn_submit(log, 0)];
        wait_until_held(store).await;
        answers.extend((1..=20).map(|number| spawn_submit(log, number)));
        wait_until_queued(log, 20).await;
        store.release();
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        // One batch of the first, one of the twenty that waited.
        assert_eq!(counts(), before.map(|count| count + 2));
        // Duplicates cost nothing.
        submit(log, &small_entries(0..21)).await;
        assert_eq!(counts(), before.map(|count| count + 2));
        if !witnessed {
            assert_eq!(store.count(Step::Note), 0);
        }
    }
}
