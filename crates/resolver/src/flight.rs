//! One piece of work for everyone who wants its result at the same time.
//!
//! The work belongs to nobody who waits: it goes on when all of them have left, so it must be bounded by itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::memo::locked;

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;
type Flying<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

/// What is under way, by key.
pub(crate) struct Flights<K, V>
where
    V: Clone,
{
    flying: Flying<K, V>,
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self {
            flying: Arc::default(),
        }
    }

    /// Waits for the work under way for this key, or starts it. `None` if the work broke off.
    pub(crate) async fn join<F>(&self, key: &K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut flying = locked(&self.flying);
            match flying.get(key) {
                Some(flight) => flight.clone(),
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
        flight.await
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
            Flights::new(),
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
        assert_eq!(results, vec![Some(7); 10]);
        assert_eq!(started.load(Ordering::SeqCst), 1);
        go.notify_one();
        assert_eq!(flights.join(&"a", work).await, Some(7));
        assert_eq!(started.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn work_that_panics_leaves_nobody_waiting() {
        let flights: Flights<&str, u8> = Flights::new();
        let broken = async { panic!("on purpose") };
        assert_eq!(flights.join(&"a", || broken).await, None);
        assert_eq!(flights.join(&"a", || async { 1 }).await, Some(1));
    }
}
