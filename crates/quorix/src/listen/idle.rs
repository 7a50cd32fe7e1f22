//! The end of connections that ask for nothing, or ask and do not read: each takes a place of its listener, and a client that
//! only answers pings would keep it for ever.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use quorix_log::access::Peer;
use tokio::sync::watch;
use tokio::time::sleep;
use tonic::codegen::Service;

/// How long a connection over HTTP may have nothing open.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// The same over gRPC: those who come now and then keep one connection.
pub(super) const GRPC_IDLE: Duration = Duration::from_secs(5 * 60);

/// How many requests of one connection it is our turn to go on with. One whose client does not take what was answered is not
/// among them.
#[derive(Clone)]
pub(super) struct Open {
    requests: watch::Sender<usize>,
    patience: Duration,
}

impl Open {
    /// None yet; [`idle`](Self::idle) waits for so long.
    pub(super) fn none(patience: Duration) -> Self {
        Self {
            requests: watch::Sender::new(0),
            patience,
        }
    }

    /// Waits until nothing was open for the whole patience at a stretch.
    pub(super) async fn idle(&self) {
        let mut open = self.requests.subscribe();
        loop {
            // The sender is ours, so it does not end.
            let _ = open.wait_for(|open| *open == 0).await;
            tokio::select! {
                () = sleep(self.patience) => return,
                _ = open.changed() => {}
            }
        }
    }

    fn begin(&self) -> OpenRequest {
        self.requests
            .send_modify(|open| *open = open.saturating_add(1));
        OpenRequest(self.requests.clone())
    }
}

/// One open request, until it is dropped.
struct OpenRequest(watch::Sender<usize>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

/// A router that is told who asks, and counts what is open.
#[derive(Clone)]
pub(super) struct Counted {
    pub(super) router: Router,
    pub(super) peer: Peer,
    pub(super) open: Open,
}

impl<B> Service<axum::http::Request<B>> for Counted
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<B>) -> Self::Future {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(self.peer.clone());
        let (open, answer) = (self.open.clone(), self.router.call(request));
        let turn = open.begin();
        Box::pin(async move {
            let answer = answer.await?;
            // Whoever sends the answer asks for its body at once.
            drop(turn);
            let turn = None;
            Ok(answer.map(|body| Body::new(Answered { body, open, turn })))
        })
    }
}

/// A body that is open while it has to be waited for, and not while nobody takes what it has.
struct Answered {
    body: Body,
    open: Open,
    turn: Option<OpenRequest>,
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, open, turn } = &mut *self;
        turn.get_or_insert_with(|| open.begin());
        let polled = Pin::new(body).poll_frame(context);
        if polled.is_ready() {
            *turn = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
