//! Binding addresses and serving on them until told to stop.
//!
//! A listener serves one thing: what is public and what is private never share one. Whoever connects has a few
//! seconds for each step (handshake, first bytes, head of a request), and too many at once wait their turn.

mod accept;
mod connection;
pub mod tls;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use self::accept::Connections;
use self::tls::{Clients, ServerTls};
use crate::config::{Listen, Listens};
use crate::output::Failure;

/// How long open requests may take to end after a stop was asked for.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a client may take to shake hands, to send its first bytes, to send the head of a request, or to answer
/// an HTTP/2 ping.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);
/// The most HTTP/2 requests of one connection at once.
const STREAMS_MAX: u32 = 256;

/// The longest HTTP/2 frame that is taken over gRPC: batches of entries come in a few pieces instead of dozens.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// What the network may say over gRPC.
const GRPC: &[&str] = &["h2"];
/// What the network may say over HTTP.
const HTTP: &[&str] = &["h2", "http/1.1"];

/// A bound address.
pub struct Bound {
    socket: Socket,
    tls: Option<Handshake>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// How a listener shakes hands.
struct Handshake {
    tls: Arc<ServerTls>,
    clients: Clients,
    protocols: &'static [&'static str],
}

impl From<TcpListener> for Bound {
    /// Without TLS.
    fn from(listener: TcpListener) -> Self {
        Self {
            socket: Socket::Tcp(listener),
            tls: None,
        }
    }
}

/// Binds addresses for HTTP. `key` names them in errors.
///
/// # Errors
/// An address is taken or not of this machine, or TLS is asked for and there is no certificate.
pub async fn http(
    key: &str,
    listens: &Listens,
    tls: Option<&Arc<ServerTls>>,
) -> Result<Vec<Bound>, Failure> {
    bind_all(key, listens, tls, (Clients::Everyone, HTTP), 0o600).await
}

/// Binds addresses for gRPC; `clients` says which certificates a `tls://` listener asks for, `others` whether a socket
/// can be opened by other users than its owner. One that a dead process left behind is replaced.
///
/// # Errors
/// An address is taken or cannot be made, or TLS is asked for and there is no certificate.
pub async fn grpc(
    key: &str,
    listens: &Listens,
    tls: Option<&Arc<ServerTls>>,
    clients: Clients,
    others: bool,
) -> Result<Vec<Bound>, Failure> {
    let mode = if others { 0o666 } else { 0o600 };
    bind_all(key, listens, tls, (clients, GRPC), mode).await
}

async fn bind_all(
    key: &str,
    listens: &Listens,
    tls: Option<&Arc<ServerTls>>,
    (clients, protocols): (Clients, &'static [&'static str]),
    mode: u32,
) -> Result<Vec<Bound>, Failure> {
    let mut all = Vec::new();
    for listen in listens.iter() {
        all.push(match listen {
            Listen::Plain(host) => bind(key, host).await?.into(),
            Listen::Unix(path) => Bound {
                socket: Socket::Unix(
                    unix(path, mode)
                        .await
                        .map_err(|error| taken(key, &path.display().to_string(), &error))?,
                ),
                tls: None,
            },
            Listen::Tls(host) => {
                let tls = tls.cloned().ok_or_else(|| {
                    Failure::wrong(format!(
                        "{key}: `{listen}` needs a certificate; add [tls] with `cert` and `key`"
                    ))
                })?;
                let socket = Socket::Tcp(bind(key, host).await?);
                let tls = Some(Handshake {
                    tls,
                    clients,
                    protocols,
                });
                Bound { socket, tls }
            }
        });
    }
    Ok(all)
}

async fn bind(key: &str, host: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(host)
        .await
        .map_err(|error| taken(key, host, &error))
}

/// A socket with this mode, which nobody but its owner can open at any moment before it has it. It is made under
/// another name and moved into place; what a dead process left there is replaced.
async fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
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
    let unfinished = PathBuf::from(unfinished);
    let _ = std::fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&unfinished, path)?;
    Ok(listener)
}

fn taken(key: &str, address: &str, error: &io::Error) -> Failure {
    Failure::wrong(format!("{key}: cannot listen on {address}: {error}"))
}

/// Serves HTTP until `stop`: HTTP/1.1 and HTTP/2, as the client begins.
///
/// # Errors
/// None in this version.
pub async fn serve_http(
    bound: impl Into<Bound>,
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
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(HEADER_PATIENCE));
    let graceful = GracefulShutdown::new();
    let mut connections = Connections::of(bound.into());
    loop {
        let accepted = tokio::select! {
            accepted = connections.next() => accepted,
            () = stop.cancelled() => break,
        };
        let Some(Ok(connection)) = accepted else {
            break;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(connection), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            // A connection that ends badly is its client's business.
            let _ = connection.await;
        });
    }
    drop(connections);
    // What is not done by then ends with the process.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// Serves the same gRPC on several addresses until `stop`.
///
/// # Errors
/// The first failure of a listener.
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
    let serving = Server::builder()
        .timeout(Duration::from_secs(60))
        .concurrency_limit_per_connection(256)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(Connections::of(bound), stop.cancelled_owned());
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

#[cfg(test)]
mod tests;
