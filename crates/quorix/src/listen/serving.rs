//! Serving what was taken, each connection until its client has asked for nothing for a while or the process stops.

use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::accept::Connections;
use super::connection::Connection;
use super::idle::{Counted, GRPC_IDLE, IDLE, Open};
use super::{Bound, HEADER_PATIENCE, deadline};
use crate::output::Failure;

/// How long open requests may take to end after a stop was asked for.
pub const GRACE: Duration = Duration::from_secs(10);
/// The same over gRPC: streams of events never end by themselves.
const GRPC_GRACE: Duration = Duration::from_secs(1);

/// The most HTTP/2 requests of one connection at once.
const STREAMS_MAX: u32 = 256;
/// The longest HTTP/2 frame that is taken over gRPC: batches of entries come in a few pieces instead of dozens.
const FRAME_BYTES_MAX: u32 = 256 << 10;
/// How often a client of gRPC is asked whether it is still there.
const GRPC_PING: Duration = Duration::from_secs(30);

/// Serves HTTP until `stop`: HTTP/1.1 and HTTP/2, as the client begins.
///
/// # Errors
/// None in this version.
pub async fn serve_http(
    bound: impl Into<Bound>,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut protocol = protocol(HEADER_PATIENCE);
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE);
    let serving = Serving {
        protocol,
        router,
        idle: IDLE,
        grace: GRACE,
    };
    serving.until(stop, bound.into()).await;
    Ok(())
}

/// Serves the same gRPC on several addresses until `stop`.
///
/// # Errors
/// None in this version.
pub async fn serve_grpc_at(
    bound: Vec<Bound>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let serving = bound
        .into_iter()
        .map(|bound| serve_grpc(bound, routes.clone(), stop.clone()));
    futures::future::join_all(serving)
        .await
        .into_iter()
        .collect()
}

/// Serves gRPC until `stop`. How long a caller waits is [honoured](deadline::honoured).
///
/// # Errors
/// None in this version.
pub async fn serve_grpc(
    bound: Bound,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let router = routes.prepare().into_axum_router();
    let serving = Serving {
        protocol: grpc().http2_only(),
        router: router.layer(from_fn(deadline::honoured)),
        idle: GRPC_IDLE,
        grace: GRPC_GRACE,
    };
    serving.until(stop, bound).await;
    Ok(())
}

/// Serves gRPC, grpc-web and HTTP/1.1 on several addresses until `stop`. The routes honour themselves how long a caller
/// waits: only they know in which of these it asked.
///
/// # Errors
/// None in this version.
pub async fn serve_web_at(
    bound: Vec<Bound>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let router = routes.prepare().into_axum_router();
    let serving = bound.into_iter().map(|bound| {
        let mut protocol = grpc();
        protocol
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE);
        let serving = Serving {
            protocol,
            router: router.clone(),
            idle: GRPC_IDLE,
            grace: GRPC_GRACE,
        };
        serving.until(stop.clone(), bound)
    });
    futures::future::join_all(serving).await;
    Ok(())
}

type Protocol = auto::Builder<TokioExecutor>;

fn protocol(ping: Duration) -> Protocol {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(ping));
    protocol
}

fn grpc() -> Protocol {
    let mut protocol = protocol(GRPC_PING);
    protocol.http2().max_frame_size(FRAME_BYTES_MAX);
    protocol
}

/// How a listener is served.
struct Serving {
    protocol: Protocol,
    router: Router,
    /// How long a connection may have no open request.
    idle: Duration,
    /// How long open requests may take to end after a stop.
    grace: Duration,
}

impl Serving {
    async fn until(self, stop: CancellationToken, bound: Bound) {
        let mut connections = Connections::of(bound);
        let mut served = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = connections.next() => accepted,
                () = stop.cancelled() => break,
            };
            let Some(Ok(connection)) = accepted else {
                break;
            };
            while served.try_join_next().is_some() {}
            self.begin(connection, &stop, &mut served);
        }
        drop(connections);
        let ending = async { while served.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.grace, ending).await;
        // What is not done by then ends with the process.
        served.detach_all();
    }

    fn begin(&self, connection: Connection, stop: &CancellationToken, served: &mut JoinSet<()>) {
        let open = Open::none(self.idle);
        let service = TowerToHyperService::new(Counted {
            router: self.router.clone(),
            peer: connection.peer().clone(),
            open: open.clone(),
        });
        let connection = self
            .protocol
            .serve_connection(TokioIo::new(connection), service)
            .into_owned();
        let stop = stop.clone();
        served.spawn(async move {
            tokio::pin!(connection);
            tokio::select! {
                // A connection that ends badly is its client's business.
                _ = connection.as_mut() => return,
                () = open.idle() => {}
                () = stop.cancelled() => {}
            }
            connection.as_mut().graceful_shutdown();
            // What is open is answered to its end; who stays after that without asking is let go.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = open.idle() => {}
            }
        });
    }
}
