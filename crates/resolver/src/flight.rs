//! One piece of work for everyone who wants its result at the same time.
//!
//! The work belongs to nobody who waits: it goes on when all of them have left, so it must be bounded by itself. How
//! much of it is under way at once is bounded here: whoever would start more is told so at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::memo::locked;

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;
type Flying<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLanded {
    /// Too much is under way, so the work was not begun.
    Full,
    /// The work broke off.
    BrokeOff,
}

/// What is under way, by key.
pub(crate) struct Flights<K, V>
where
    V: Clone,
{
    flying: Flying<K, V>,
    flying_max: usize,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most so many pieces of work at once.
    pub(crate) fn new(flying_max: usize) -> Self {
        Self {
            flying: Arc::default(),
            flying_max,
        }
    }

    /// Waits for the work under way for this key, or starts it.
    pub(crate) async fn join<F>(&self, key: &K, work: impl FnOnce() -> F) -> Result<V, NotLanded>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut flying = locked(&self.flying);
            match flying.get(key) {
                Some(flight) => flight.clone(),
                None if flying.len() >= self.flying_max => return Err(NotLanded::Full),
                None => {
                    let landing = Landing {
                        key: key.clone(),
                        flying: self.flying.clone(),
                    };
                    let work = work();
                    let task = tokio::spawn(async move {
                        let _landing = landing;
                        work.await
                    });
                    let flight = async move { task.await.ok() }.boxed().shared();
                    flying.insert(key.clone(), flight.clone());
                    flight
                }
            }
        };
        flight.await.ok_or(NotLanded::BrokeOff)
    }
}

/// Takes a flight off the list when its work ends, however it ends.
struct Landing<K: Eq + Hash, V: Clone> {
    key: K,
    flying: Flying<K, V>,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        locked(&self.flying).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_who_want_the_same_share_one_piece_of_work() {
        let (flights, started, go) = (
            Flights::new(10),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Notify::new()),
        );
        let work = || {
            let (started, go) = (started.clone(), go.clone());
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                7
            }
        };
        let waiting = futures::future::join_all((0..10).map(|_| flights.join(&"a", work)));
        let release = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (results, ()) = tokio::join!(waiting, release);
        assert_eq!(results, vec![Ok(7); 10]);
        assert_eq!(started.load(Ordering::SeqCst), 1);
        go.notify_one();
        assert_eq!(flights.join(&"a", work).await, Ok(7));
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn work_that_panics_leaves_nobody_waiting() {
        let flights: Flights<&str, u8> = Flights::new(10);
        let broken = async { panic!("on purpose") };
        assert_eq!(
            flights.join(&"a", || broken).await,
            Err(NotLanded::BrokeOff)
        );
        assert_eq!(flights.join(&"a", || async { 1 }).await, Ok(1));
    }

    #[tokio::test]
    async fn work_beyond_the_limit_is_not_begun_and_what_is_under_way_is_joined() {
        let (flights, go) = (Flights::new(2), Arc::new(Notify::new()));
        let work = || {
            let go = go.clone();
            async move { go.notified().await }
        };
        let mut under_way = [&"a", &"b", &"a"].map(|key| Box::pin(flights.join(key, work)));
        for one in &mut under_way {
            assert!(futures::poll!(one).is_pending());
        }
        assert_eq!(flights.join(&"c", work).await, Err(NotLanded::Full));
        tokio::task::yield_now().await;
        go.notify_waiters();
        assert_eq!(futures::future::join_all(under_way).await, [Ok(()); 3]);
        go.notify_one();
        assert_eq!(flights.join(&"c", work).await, Ok(()));
    }
}
