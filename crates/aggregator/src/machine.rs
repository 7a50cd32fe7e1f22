//! What this crate takes from the machine besides clock and network, which it is given: threads that may block, and
//! chance.
//!
//! Nothing else here asks for either. In a simulation (`tests/simulation`) both are the simulation's, so that a run is
//! the same again from its seed.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorix_trust::ports::StoreError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::memo::locked;

/// Runs store work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    #[cfg(test)]
    if simulated::is_simulated() {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(StoreError {
                operation: operation.to_owned(),
                reason: format!("it was interrupted: {error}"),
            })
        })
}

/// As many threads at once as there are cores, for work that reads and computes: more of them would each take longer and
/// hold memory meanwhile.
///
/// A thread goes on while there is work: to wake one for each piece would take longer than many a piece itself.
pub(crate) struct Cores {
    queue: Arc<Queue>,
    /// Threads of the runtime that do short work themselves at this moment.
    here: AtomicUsize,
}

struct Queue {
    waiting: Mutex<Waiting>,
    threads_max: usize,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Threads that work it off.
    threads: usize,
}

impl Cores {
    /// Those of this machine.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism();
        let queue = Queue {
            waiting: Mutex::default(),
            threads_max: cores.map_or(2, NonZero::get),
        };
        Self {
            queue: Arc::new(queue),
            here: AtomicUsize::new(0),
        }
    }

    /// Runs store work that takes a fraction of a millisecond where nothing is read from the disk: on this thread of the
    /// runtime, since to hand it over would take as long. One thread of the runtime always stays free of it, however long it
    /// takes after all; what finds no other is run as by [`run`](Self::run).
    pub(crate) async fn run_short<T: Send + 'static>(
        &self,
        operation: &str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let threads = Handle::current().metrics().num_workers();
        match Here::enter(&self.here, threads.saturating_sub(1)) {
            // As in a queue: a panic is an interruption to whoever waits.
            Some(_here) => {
                catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(interrupted(operation)))
            }
            None => self.run(operation, work).await,
        }
    }

    /// Runs store work as [`blocking`] does, when it is its turn. What nobody waits for any more then is not begun; what was
    /// begun goes on.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        #[cfg(test)]
        if simulated::is_simulated() {
            return work();
        }
        let (done, result) = oneshot::channel();
        let wanted = Wanted(Arc::new(Mutex::new(Some(work))));
        let when_it_is_its_turn = Arc::clone(&wanted.0);
        self.put(Box::new(move || {
            let work = locked(&when_it_is_its_turn).take();
            if let Some(work) = work {
                // Whoever asked may have gone meanwhile.
                let _ = done.send(work());
            }
        }));
        result.await.unwrap_or_else(|_| Err(interrupted(operation)))
    }

    fn put(&self, work: Box<dyn FnOnce() + Send>) {
        let mut waiting = locked(&self.queue.waiting);
        waiting.work.push_back(work);
        if waiting.threads < self.queue.threads_max {
            let queue = Arc::clone(&self.queue);
            tokio::task::spawn_blocking(move || queue.work_off());
            // It waits for this lock before it takes anything; what could not be begun is not counted.
            waiting.threads = waiting.threads.saturating_add(1);
        }
    }
}

fn interrupted(operation: &str) -> StoreError {
    StoreError {
        operation: operation.to_owned(),
        reason: "it was interrupted".to_owned(),
    }
}

/// A place among the threads of the runtime that do short work themselves.
struct Here<'a>(&'a AtomicUsize);

impl<'a> Here<'a> {
    fn enter(here: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |here| Some(here + 1).filter(|here| *here <= most);
        let entered = here.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        entered.is_ok().then(|| Self(here))
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Work that somebody waits for. Where nobody does any more it is dropped with all that it holds, though its place in the
/// queue stays.
struct Wanted<W>(Arc<Mutex<Option<W>>>);

impl<W> Drop for Wanted<W> {
    fn drop(&mut self) {
        let unwanted = locked(&self.0).take();
        drop(unwanted);
    }
}

impl Queue {
    fn work_off(&self) {
        while let Some(work) = self.next() {
            // A panic is told of where it happens, and as an interruption to whoever waits; the others' work goes on.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    /// What is to be done next. Without any the thread that asks ends, and is no longer counted.
    fn next(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut waiting = locked(&self.waiting);
        let work = waiting.work.pop_front();
        if work.is_none() {
            waiting.threads = waiting.threads.saturating_sub(1);
        }
        work
    }
}

/// Up to a tenth of the wait, at random, so that many followers do not ask at one moment.
pub(crate) fn jitter(wait: Duration) -> Duration {
    let random = u32::try_from(random() % 1_000).unwrap_or(0);
    (wait / 10_000).saturating_mul(random)
}

fn random() -> u64 {
    #[cfg(test)]
    if let Some(random) = simulated::random() {
        return random;
    }
    RandomState::new().build_hasher().finish()
}

/// The machine of a simulation: one thread, on which nothing happens at once, and seeded dice.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::RefCell;

    use crate::tests::dice::Dice;

    thread_local! {
        static DICE: RefCell<Option<Dice>> = const { RefCell::new(None) };
    }

    /// Until it is dropped, this thread is a simulated machine.
    pub(crate) struct Machine;

    impl Machine {
        pub(crate) fn new(dice: Dice) -> Self {
            DICE.set(Some(dice));
            Self
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            DICE.set(None);
        }
    }

    pub(super) fn is_simulated() -> bool {
        DICE.with_borrow(Option::is_some)
    }

    pub(super) fn random() -> Option<u64> {
        DICE.with_borrow_mut(|dice| dice.as_mut().map(Dice::next))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn failed(reason: &str) -> StoreError {
        StoreError {
            operation: "working".to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn one_thread() -> Cores {
        let queue = Queue {
            waiting: Mutex::default(),
            threads_max: 1,
        };
        Cores {
            queue: Arc::new(queue),
            here: AtomicUsize::new(0),
        }
    }

    #[tokio::test]
    async fn a_thread_goes_on_with_what_waits_and_what_panics_takes_nothing_with_it() {
        let cores = one_thread();
        let (let_go, held) = mpsc::channel::<()>();
        let panics = cores.run("working", move || -> Result<(), _> {
            let _ = held.recv();
            panic!("as it should")
        });
        let fails = cores.run("working", || Err::<(), _>(failed("it cannot")));
        let thread = || Ok(std::thread::current().id());
        let (one, other) = (cores.run("working", thread), cores.run("working", thread));
        let mut all = Box::pin(async { tokio::join!(panics, fails, one, other) });
        assert!(futures::poll!(&mut all).is_pending());
        drop(let_go);
        let (panicked, failed_work, one, other) = all.await;
        assert_eq!(panicked, Err(failed("it was interrupted")));
        assert_eq!(failed_work, Err(failed("it cannot")));
        assert_eq!(one.unwrap(), other.unwrap());
        assert_eq!(cores.run("working", || Ok(1)).await, Ok(1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn short_work_is_done_at_once_and_never_by_all_threads_of_the_runtime() {
        let cores = Arc::new(one_thread());
        let (let_go, held) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let busy = Arc::clone(&cores);
        let busy = tokio::spawn(async move {
            let short = move || {
                let _ = begun.send(());
                Ok(held.recv().is_err())
            };
            busy.run_short("working", short).await
        });
        has_begun.await.unwrap();
        let mut other = Box::pin(cores.run_short("working", || Ok(1)));
        assert!(futures::poll!(&mut other).is_pending(), "handed over");
        assert_eq!(other.await, Ok(1));
        drop(let_go);
        assert_eq!(busy.await.unwrap(), Ok(true));
        let at_once = futures::poll!(Box::pin(cores.run_short("working", || Ok(2))));
        assert_eq!(at_once, std::task::Poll::Ready(Ok(2)));
        let panics = || -> Result<(), _> { panic!("as it should") };
        let panicked = cores.run_short("working", panics).await;
        assert_eq!(panicked, Err(failed("it was interrupted")));
        let at_once = futures::poll!(Box::pin(cores.run_short("working", || Ok(3))));
        assert_eq!(at_once, std::task::Poll::Ready(Ok(3)));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_dropped_and_not_begun() {
        let cores = one_thread();
        let (let_go, held) = mpsc::channel::<()>();
        let busy = cores.run("working", move || Ok(held.recv().is_err()));
        let (begun, was_begun) = mpsc::channel();
        let holds = Arc::new(());
        let held_by_work = Arc::clone(&holds);
        let unwanted = cores.run("working", move || {
            let _ = begun.send(held_by_work);
            Ok(())
        });
        let mut busy = Box::pin(busy);
        assert!(futures::poll!(&mut busy).is_pending());
        {
            let mut unwanted = Box::pin(unwanted);
            assert!(futures::poll!(&mut unwanted).is_pending());
            assert_eq!(Arc::strong_count(&holds), 2);
        }
        assert_eq!(Arc::strong_count(&holds), 1, "dropped while it waited");
        drop(let_go);
        assert_eq!(busy.await, Ok(true));
        // The queue is in order: once this is done, so is what came before it.
        assert_eq!(cores.run("working", || Ok(1)).await, Ok(1));
        assert!(was_begun.try_recv().is_err());
    }
}
