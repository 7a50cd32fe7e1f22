//! What this crate takes from the machine besides clock and network, which it is given: threads that may block, and
//! chance.
//!
//! Nothing else here asks for either. In a simulation (`tests/simulation`) both are the simulation's, so that a run is
//! the same again from its seed.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use quorix_trust::ports::StoreError;
use tokio::sync::Semaphore;

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
pub(crate) struct Cores(Arc<Semaphore>);

impl Cores {
    /// Those of this machine.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism();
        Self(Arc::new(Semaphore::new(cores.map_or(2, NonZero::get))))
    }

    /// Runs store work as [`blocking`] does, when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Never closed. Held by the work itself, which goes on where nobody waits for it any more.
        let turn = self.0.clone().acquire_owned().await;
        let done = move || {
            let _turn = turn;
            work()
        };
        blocking(operation, done).await
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
