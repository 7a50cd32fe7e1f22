//! Room for what is being sent: bytes take their place in the log's queue as they arrive, before they are kept.
//!
//! Without it everybody who may submit could have the log hold as much as all their connections carry at once. One
//! submitter gets a share: the others still find room while it sends as much as it can.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;

use super::status_of;
use crate::access::Admitted;
use crate::config::REQUEST_BYTES_MAX;
use crate::error::SubmitError;

/// The most requests of one submitter at once, besides the log's owner's.
const REQUESTS_MAX: usize = 64;

/// The room of one log, and each submitter's share of it.
#[derive(Clone)]
pub(super) struct Room {
    queue: Arc<Semaphore>,
    /// Bytes of one submitter.
    share: usize,
    /// By name. Names are of the configuration, so there is an end to them.
    shares: Arc<Mutex<HashMap<Arc<str>, Share>>>,
}

#[derive(Clone)]
struct Share {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// What one request has taken so far. Clones are the same.
#[derive(Clone)]
pub(super) struct Reservation(Arc<Mutex<Taken>>);

struct Taken {
    queue: Arc<Semaphore>,
    bytes: Option<Arc<Semaphore>>,
    /// Bytes of the body that came.
    came: usize,
    /// Of the queue; none before the first byte.
    room: Option<OwnedSemaphorePermit>,
    /// Of the submitter's share: bytes and the request itself.
    held: Vec<OwnedSemaphorePermit>,
}

impl Room {
    /// `queue` has so many bytes in all.
    pub(super) fn of(queue: Arc<Semaphore>) -> Self {
        let share = (queue.available_permits() / 2).max(REQUEST_BYTES_MAX);
        Self {
            queue,
            share,
            shares: Arc::default(),
        }
    }

    /// Room for a request of this submitter, none of whose bytes have come yet.
    ///
    /// # Errors
    /// It has as many requests open as it may.
    pub(super) fn enter(&self, admitted: &Admitted) -> Result<Reservation, Status> {
        let mut taken = Taken {
            queue: Arc::clone(&self.queue),
            bytes: None,
            came: 0,
            room: None,
            held: Vec::new(),
        };
        if !admitted.is_unlimited {
            let share = self.share_of(&admitted.submitter);
            let request = share.requests.try_acquire_owned();
            taken.held.push(request.map_err(|_| busy())?);
            taken.bytes = Some(share.bytes);
        }
        Ok(Reservation(Arc::new(Mutex::new(taken))))
    }

    fn share_of(&self, submitter: &Arc<str>) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares
            .entry(Arc::clone(submitter))
            .or_insert_with(|| Share {
                requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
                bytes: Arc::new(Semaphore::new(self.share)),
            });
        share.clone()
    }
}

impl Reservation {
    /// The body, each of whose bytes takes room; it ends with an error where there is none, and where as many came as
    /// `may_go_on` does not allow this submitter.
    pub(super) fn metered(
        &self,
        body: Body,
        may_go_on: impl Fn(usize) -> Result<(), Status> + Send + 'static,
    ) -> Body {
        let taken = self.clone();
        let mut came = 0_usize;
        let chunks = body.into_data_stream().map(move |chunk| {
            let chunk: Bytes = chunk?;
            came = came.saturating_add(chunk.len());
            may_go_on(came)?;
            taken.take(chunk.len()).map(|()| chunk)
        });
        Body::new(axum::body::Body::from_stream(chunks))
    }

    fn take(&self, bytes: usize) -> Result<(), Status> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What a message adds around its entries is not counted: the largest request has to find room.
        let left = REQUEST_BYTES_MAX.saturating_sub(taken.came);
        let count = u32::try_from(bytes.min(left)).unwrap_or(u32::MAX);
        taken.came = taken.came.saturating_add(bytes);
        if let Some(share) = &taken.bytes {
            let share = Arc::clone(share).try_acquire_many_owned(count);
            let share = share.map_err(|_| busy())?;
            hold(&mut taken.held, share);
        }
        let room = Arc::clone(&taken.queue).try_acquire_many_owned(count);
        let room = room.map_err(|_| busy())?;
        match &mut taken.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
        Ok(())
    }

    /// The room that was taken of the queue, for whoever keeps the request from now on.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.room.take()
    }
}

/// Adds to the second one, where there is one: the first is the request's.
fn hold(held: &mut Vec<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held.get_mut(1) {
        Some(all) => all.merge(more),
        None => held.push(more),
    }
}

fn busy() -> Status {
    status_of(&SubmitError::Busy)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn admitted(name: &str, is_unlimited: bool) -> Admitted {
        Admitted {
            submitter: Arc::from(name),
            body: None,
            is_unlimited,
        }
    }

    fn body(chunks: usize) -> Body {
        let chunks = (0..chunks).map(|_| Ok::<_, Status>(Bytes::from(vec![0; MIB])));
        Body::new(axum::body::Body::from_stream(futures::stream::iter(chunks)))
    }

    /// How many MiB of a body came through.
    async fn read(reserved: &Reservation, chunks: usize) -> Result<usize, Code> {
        read_while(reserved, chunks, |_| Ok(())).await
    }

    async fn read_while(
        reserved: &Reservation,
        chunks: usize,
        may_go_on: impl Fn(usize) -> Result<(), Status> + Send + 'static,
    ) -> Result<usize, Code> {
        let mut body = reserved.metered(body(chunks), may_go_on).into_data_stream();
        let mut bytes = 0;
        while let Some(chunk) = body.next().await {
            bytes += chunk.map_err(|status| status.code())?.len();
        }
        Ok(bytes / MIB)
    }

    fn room(mib: usize) -> (Room, Arc<Semaphore>) {
        let queue = Arc::new(Semaphore::new(mib * MIB));
        (Room::of(Arc::clone(&queue)), queue)
    }

    #[tokio::test]
    async fn what_is_sent_takes_room_as_it_arrives_and_gives_it_back() {
        let (room, queue) = room(96);
        let reserved = room.enter(&admitted("alice", false)).unwrap();
        assert_eq!(queue.available_permits(), 96 * MIB);
        assert_eq!(read(&reserved, 10).await, Ok(10));
        assert_eq!(queue.available_permits(), 86 * MIB);
        // It goes with the request into the queue, and no further byte is taken there.
        let kept = reserved.room().unwrap();
        drop(reserved);
        assert_eq!(kept.num_permits(), 10 * MIB);
        assert_eq!(queue.available_permits(), 86 * MIB);
        drop(kept);
        assert_eq!(queue.available_permits(), 96 * MIB);
        // And back where nothing becomes of it.
        let reserved = room.enter(&admitted("alice", false)).unwrap();
        assert_eq!(read(&reserved, 10).await, Ok(10));
        drop(reserved);
        assert_eq!(queue.available_permits(), 96 * MIB);
    }

    #[tokio::test]
    async fn one_submitter_has_its_share_and_others_find_room_meanwhile() {
        let (room, queue) = room(96);
        let (mallory, alice) = (admitted("mallory", false), admitted("alice", false));
        let mut held = Vec::new();
        let mut taken = 0;
        for _ in 0..100 {
            let Ok(reserved) = room.enter(&mallory) else {
                break;
            };
            match read(&reserved, 20).await {
                Ok(mib) => taken += mib,
                Err(code) => assert_eq!(code, Code::ResourceExhausted),
            }
            held.push(reserved);
        }
        // Nothing more than its share is held, however many requests it opens.
        assert_eq!((taken, held.len()), (40, REQUESTS_MAX));
        assert_eq!(queue.available_permits(), 48 * MIB);
        let refused = room.enter(&mallory).err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.metadata().contains_key(super::super::PUSHBACK));
        let reserved = room.enter(&alice).unwrap();
        assert_eq!(read(&reserved, 32).await, Ok(32));
        held.clear();
        assert!(room.enter(&mallory).is_ok());
    }

    #[tokio::test]
    async fn the_owner_has_all_that_there_is_and_no_more() {
        let (room, queue) = room(64);
        let owner = admitted("owner", true);
        let held: Vec<_> = (0..100).map(|_| room.enter(&owner).unwrap()).collect();
        for reserved in &held[..2] {
            assert_eq!(read(reserved, 32).await, Ok(32));
        }
        assert_eq!(queue.available_permits(), 0);
        assert_eq!(read(&held[2], 1).await, Err(Code::ResourceExhausted));
    }

    #[tokio::test]
    async fn the_largest_message_finds_room_in_the_smallest_queue() {
        let (room, queue) = room(32);
        let reserved = room.enter(&admitted("alice", false)).unwrap();
        // Its last bytes are what protobuf adds.
        assert_eq!(read(&reserved, 33).await, Ok(33));
        assert_eq!(queue.available_permits(), 0);
    }

    #[tokio::test]
    async fn a_request_that_its_submitter_may_not_send_takes_no_more_room_than_that() {
        let (room, queue) = room(96);
        let reserved = room.enter(&admitted("alice", false)).unwrap();
        let four = |came: usize| match came {
            0..=4_194_304 => Ok(()),
            _ => Err(Status::invalid_argument("too large")),
        };
        let read = read_while(&reserved, 20, four).await;
        assert_eq!(read, Err(Code::InvalidArgument));
        assert_eq!(queue.available_permits(), 92 * MIB);
    }
}
