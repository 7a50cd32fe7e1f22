//! Binding addresses and serving on them until told to stop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use quorix_wire::address::Address;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::output::Failure;

/// How long open requests may take to end after a stop was asked for.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a client may take to send the head of a request, or to answer an HTTP/2 ping.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);
/// The most connections of one listener.
const CONNECTIONS_MAX: usize = 256;
/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address for gRPC.
pub enum Bound {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket that only its owner can reach.
    Unix(UnixListener),
}

/// Binds an HTTP address. `key` names it in errors.
///
/// # Errors
/// The address is taken or not of this machine.
pub async fn tcp(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| taken(key, &address.to_string(), &error))
}

/// Binds a gRPC address. A socket that a dead process left behind is replaced.
///
/// # Errors
/// The address is taken or cannot be made.
pub async fn grpc(key: &str, address: &Address) -> Result<Bound, Failure> {
    match address {
        Address::Tcp(host) => {
            let listener = TcpListener::bind(host)
                .await
                .map_err(|error| taken(key, host, &error))?;
            Ok(Bound::Tcp(listener))
        }
        Address::Unix(path) => {
            let listener = unix(path)
                .await
                .map_err(|error| taken(key, &path.display().to_string(), &error))?;
            Ok(Bound::Unix(listener))
        }
    }
}

/// A socket that nobody but its owner can open at any moment: who can open it can write to the log. It is made
/// under another name and moved into place; what a dead process left there is replaced.
async fn unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::symlink_metadata(path).is_ok() {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let _ = std::fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unfinished, path)?;
    Ok(listener)
}

fn taken(key: &str, address: &str, error: &io::Error) -> Failure {
    Failure::wrong(format!("{key}: cannot listen on {address}: {error}"))
}

/// Serves HTTP until `stop`. Whoever connects and does not ask is let go, and too many at once wait their turn.
///
/// # Errors
/// None in this version.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(HEADER_PATIENCE));
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely too many open files: those who are here have to leave first.
                tracing::warn!("a connection was not taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            // A connection that ends badly is its client's business.
            let _ = connection.await;
            drop(place);
        });
    }
    // What is not done by then ends with the process.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = room
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

/// Serves gRPC until `stop`.
///
/// # Errors
/// The listener failed.
pub async fn serve_grpc(
    bound: Bound,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let stopped = stop.clone();
    let server = Server::builder()
        .timeout(Duration::from_secs(60))
        .concurrency_limit_per_connection(256)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_routes(routes);
    let serving = async move {
        match bound {
            Bound::Tcp(listener) => {
                server
                    .serve_with_incoming_shutdown(
                        TcpListenerStream::new(listener),
                        stop.cancelled_owned(),
                    )
                    .await
            }
            Bound::Unix(listener) => {
                server
                    .serve_with_incoming_shutdown(
                        UnixListenerStream::new(listener),
                        stop.cancelled_owned(),
                    )
                    .await
            }
        }
    };
    let patience = async move {
        stopped.cancelled().await;
        // Streams of events never end by themselves.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        result = serving => result.map_err(|error| Failure::unknown(format!("serving gRPC: {error}"))),
        () = patience => Ok(()),
    }
}
