//! What is remembered of logs between two answers that are completed, so that a closure costs few requests of each log, and
//! one that is away is waited for once and not for each path.
//!
//! What a log showed of a path was verified, and counts as its newest word for a while. Nothing here is believed of an
//! aggregator.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorix_nix::store_path::StorePath;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::index::{Behind, LogLookup, Said};

/// Most paths of one log that are remembered.
const PATHS_MAX: usize = 20_000;

/// Most bytes of entries of one log that are remembered.
const BYTES_MAX: usize = 32 << 20;

/// How long logs are waited for, and what of them is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// The longest that one answer is completed. A log that has not said everything by then adds no votes.
    pub(super) total: Duration,
    /// The longest that a log may be asked without any answer.
    pub(super) silence: Duration,
    /// How long a log is not asked that did not answer, or not in time.
    pub(super) left_alone: Duration,
    /// How long what a log showed of a path counts as its newest word.
    pub(super) remembered: Duration,
    /// Look-ups under way at once, of each log.
    pub(super) at_once: usize,
}

impl Pace {
    /// For one question, whose asker waits.
    pub(super) const ONCE: Self = Self {
        total: Duration::from_secs(10 * 60),
        silence: Duration::from_secs(60),
        left_alone: Duration::ZERO,
        remembered: Duration::ZERO,
        at_once: 8,
    };

    /// For many questions, whose askers are programs that give up soon.
    pub(super) const SERVING: Self = Self {
        total: Duration::from_secs(20),
        silence: Duration::from_secs(4),
        left_alone: Duration::from_secs(15),
        remembered: Duration::from_secs(30),
        at_once: 16,
    };
}

/// What is remembered of all logs of a policy, by origin.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, Arc<LogMemory>>>);

impl Memory {
    /// What is remembered of one log.
    pub(super) fn of(&self, origin: &str, pace: Pace) -> Arc<LogMemory> {
        let mut logs = locked(&self.0);
        let log = logs.entry(origin.to_owned());
        log.or_insert_with(|| Arc::new(LogMemory::new(pace)))
            .clone()
    }

    /// Only that no aggregator may give less of a log than it gave before. The logs may be others, or elsewhere.
    pub(super) fn anew(&self, pace: Pace) -> Self {
        let given = self.given_sizes().into_iter();
        let logs = given.map(|(origin, size)| {
            let log = LogMemory::new(pace);
            log.was_given(size);
            (origin, Arc::new(log))
        });
        Self(Mutex::new(logs.collect()))
    }

    /// Size of the largest checkpoint of each log that the aggregator gave. The log itself may have shown a larger one,
    /// which is no reason to call the aggregator's a rollback.
    pub(super) fn given_sizes(&self) -> BTreeMap<String, u64> {
        let logs = locked(&self.0);
        let given = logs.iter().map(|(origin, log)| (origin, log.lock().given));
        given
            .filter_map(|(origin, size)| Some((origin.clone(), size?)))
            .collect()
    }
}

/// What is remembered of one log.
#[derive(Debug)]
pub(super) struct LogMemory {
    pub(super) pace: Pace,
    /// What its index does not cover yet.
    pub(super) behind: Behind,
    places: Semaphore,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Size of the largest checkpoint that an aggregator gave.
    given: Option<u64>,
    /// Until when it is not asked, and why.
    away: Option<(Instant, String)>,
    /// The address that answered last.
    url: Option<String>,
    /// What it showed, and when it was asked for that.
    shown: HashMap<StorePath, (Instant, Arc<Showing>)>,
    bytes: usize,
}

/// What a log showed of a path.
#[derive(Debug)]
pub(super) struct Showing {
    /// The address that answered.
    pub(super) at: LogLookup,
    /// What was verified.
    pub(super) said: Said,
}

impl Showing {
    fn bytes(&self) -> usize {
        let proven = &self.said.proven;
        let notes = [&proven.checkpoint, &proven.index_checkpoint];
        let notes = notes.into_iter().map(|note| note.bytes().len());
        let entries = self.said.entries.iter().map(|(_, entry)| entry.len());
        notes.chain(entries).fold(0, usize::saturating_add)
    }
}

impl LogMemory {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            behind: Behind::default(),
            places: Semaphore::new(pace.at_once),
            kept: Mutex::default(),
        }
    }

    /// A place among the look-ups that are under way, for as long as it is held.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.places.acquire().await.ok()
    }

    /// An aggregator gave a verified checkpoint of this size.
    pub(super) fn was_given(&self, size: u64) {
        let mut kept = self.lock();
        kept.given = kept.given.max(Some(size));
    }

    /// Why the log is not to be asked now, if it is not.
    pub(super) fn away(&self) -> Option<String> {
        let kept = self.lock();
        let (until, reason) = kept.away.as_ref()?;
        (Instant::now() < *until).then(|| reason.clone())
    }

    /// Has the log left alone for a while.
    pub(super) fn leave_alone(&self, reason: &str) {
        let now = Instant::now();
        let until = now.checked_add(self.pace.left_alone).unwrap_or(now);
        self.lock().away = Some((until, reason.to_owned()));
    }

    /// Addresses in the order in which to ask them: first the one that answered last.
    pub(super) fn in_order(&self, mut urls: Vec<String>) -> Vec<String> {
        let kept = self.lock();
        urls.sort_by_key(|url| kept.url.as_ref() != Some(url));
        urls
    }

    /// What the log showed of a path not long ago.
    pub(super) fn shown(&self, path: &StorePath) -> Option<Arc<Showing>> {
        let kept = self.lock();
        let (asked_at, showing) = kept.shown.get(path)?;
        (asked_at.elapsed() < self.pace.remembered).then(|| showing.clone())
    }

    /// Remembers what the log showed of a path when it was asked then, if there is room.
    pub(super) fn remember(&self, path: StorePath, asked_at: Instant, showing: &Arc<Showing>) {
        let mut kept = self.lock();
        kept.url = Some(showing.at.url.clone());
        kept.away = None;
        if self.pace.remembered.is_zero() {
            return;
        }
        let bytes = showing.bytes();
        if !kept.has_room(bytes) {
            kept.forget_older_than(self.pace.remembered);
        }
        if kept.has_room(bytes) {
            kept.bytes = kept.bytes.saturating_add(bytes);
            if let Some((_, old)) = kept.shown.insert(path, (asked_at, showing.clone())) {
                kept.bytes = kept.bytes.saturating_sub(old.bytes());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        locked(&self.kept)
    }
}

impl Kept {
    fn has_room(&self, bytes: usize) -> bool {
        self.shown.len() < PATHS_MAX && self.bytes.saturating_add(bytes) <= BYTES_MAX
    }

    fn forget_older_than(&mut self, age: Duration) {
        self.shown
            .retain(|_, (asked_at, _)| asked_at.elapsed() < age);
        let lengths = self.shown.values().map(|(_, showing)| showing.bytes());
        self.bytes = lengths.fold(0, usize::saturating_add);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use quorix_testkit::entries::{a_path, log_key};
    use quorix_testkit::tree::Grower;
    use quorix_tlog::checkpoint::SignedCheckpoint;
    use quorix_tlog::index::answer::Proven;

    use super::*;
    use crate::fetch::{Answer, FetchError, FetchLimits, Fetcher, Request, Transport};

    const ALICE: &str = "logs.example.org/alice";

    /// Is never asked.
    #[derive(Debug)]
    struct Nobody;

    impl Transport for Nobody {
        fn send(&self, _: Request) -> BoxFuture<'static, Result<Answer, FetchError>> {
            std::future::pending().boxed()
        }
    }

    /// A log that showed one entry of so many bytes.
    fn showing(bytes: usize) -> Arc<Showing> {
        let key = log_key(ALICE).verifier().clone();
        let head = Grower::new(ALICE).head();
        let checkpoint = SignedCheckpoint::open(&head.checkpoint, &key, ALICE).unwrap();
        Arc::new(Showing {
            at: LogLookup {
                fetcher: Fetcher::over(Arc::new(Nobody), FetchLimits::default()),
                url: "https://second.example.org".to_owned(),
                key,
                witnessed: None,
                entries_max: 1,
                bytes_max: 1,
            },
            said: Said {
                proven: Proven {
                    index_checkpoint: checkpoint.clone(),
                    checkpoint,
                    covered: 0,
                    keys: 0,
                    indices: Vec::new(),
                    proof_bytes: 0,
                    proof_steps: 0,
                },
                cosigned: None,
                entries: vec![(0, vec![0; bytes])],
                read_behind: 0,
            },
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_log_showed_is_remembered_for_a_while_and_within_bounds() {
        let memory = LogMemory::new(Pace::SERVING);
        let (first, second) = (a_path("first"), a_path("second"));
        memory.remember(first.clone(), Instant::now(), &showing(BYTES_MAX / 2));
        assert!(memory.shown(&first).is_some());
        memory.remember(second.clone(), Instant::now(), &showing(BYTES_MAX / 2));
        assert!(memory.shown(&second).is_none(), "there is no room");
        tokio::time::advance(Pace::SERVING.remembered).await;
        assert!(memory.shown(&first).is_none(), "it is too old");
        // What is too old makes room.
        memory.remember(second.clone(), Instant::now(), &showing(BYTES_MAX / 2));
        assert!(memory.shown(&second).is_some());
        assert!(memory.shown(&first).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn for_one_question_nothing_is_remembered_but_the_address_that_answered() {
        let memory = LogMemory::new(Pace::ONCE);
        memory.remember(a_path("first"), Instant::now(), &showing(1));
        assert!(memory.shown(&a_path("first")).is_none());
        let urls = ["first", "second"].map(|name| format!("https://{name}.example.org"));
        let [first, second] = urls.clone();
        assert_eq!(memory.in_order(urls.into()), [second, first]);
        memory.leave_alone("it is away");
        assert_eq!(memory.away(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_left_alone_for_its_time_or_until_it_answers() {
        let memory = LogMemory::new(Pace::SERVING);
        memory.leave_alone("it is away");
        assert_eq!(memory.away().as_deref(), Some("it is away"));
        tokio::time::advance(Pace::SERVING.left_alone).await;
        assert_eq!(memory.away(), None);
        memory.leave_alone("it is away");
        memory.remember(a_path("first"), Instant::now(), &showing(1));
        assert_eq!(memory.away(), None);
    }
}
