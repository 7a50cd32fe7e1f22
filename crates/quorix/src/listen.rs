//! Binding addresses and serving on them until told to stop.
//!
//! A listener serves one thing: what is public and what is private never share one. Whoever connects has a few
//! seconds for each step (handshake, first bytes, head of a request), and too many at once wait their turn.

mod accept;
mod connection;
pub mod deadline;
mod idle;
mod places;
pub mod tls;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use self::accept::Connections;
use self::idle::{Counted, Open};
pub use self::places::Door;
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
    /// Who may use a socket that everybody can open.
    door: Option<Door>,
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
            door: None,
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
    bind_all(key, listens, tls, (Clients::Everyone, HTTP), None).await
}

/// Binds addresses for gRPC; `clients` says which certificates a `tls://` listener asks for, `others` which users may use a
/// socket besides its owner: without it nobody else can open it. One that a dead process left behind is replaced.
///
/// # Errors
/// An address is taken or cannot be made, or TLS is asked for and there is no certificate.
pub async fn grpc(
    key: &str,
    listens: &Listens,
    tls: Option<&Arc<ServerTls>>,
    clients: Clients,
    others: Option<Door>,
) -> Result<Vec<Bound>, Failure> {
    bind_all(key, listens, tls, (clients, GRPC), others).await
}

/// The same for gRPC, grpc-web and HTTP on one address.
///
/// # Errors
/// As [`grpc`].
pub async fn web(
    key: &str,
    listens: &Listens,
    tls: Option<&Arc<ServerTls>>,
    clients: Clients,
) -> Result<Vec<Bound>, Failure> {
    bind_all(key, listens, tls, (clients, HTTP), None).await
}

async fn bind_all(
    key: &str,
    listens: &Listens,
    tls: Option<&Arc<ServerTls>>,
    (clients, protocols): (Clients, &'static [&'static str]),
    others: Option<Door>,
) -> Result<Vec<Bound>, Failure> {
    let mode = if others.is_some() { 0o666 } else { 0o600 };
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
                door: others.clone(),
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
                Bound {
                    socket,
                    tls,
                    door: None,
                }
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
    if let Ok(found) = std::fs::symlink_metadata(path) {
        // A key, say, refuses connections as a dead socket does.
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file that is no socket; it was left as it is. Name another path, or move it away",
            ));
        }
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
    let mut connections = Connections::of(bound.into());
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
        let (router, open) = (router.clone(), Open::none());
        let service = TowerToHyperService::new(Counted {
            router,
            open: open.clone(),
        });
        let connection = server.serve_connection(TokioIo::new(connection), service);
        let (connection, stop) = (connection.into_owned(), stop.clone());
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
    drop(connections);
    // What is not done by then ends with the process.
    let ending = async { while served.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, ending).await;
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

/// Serves gRPC, grpc-web and HTTP/1.1 on several addresses until `stop`.
///
/// # Errors
/// The first failure of a listener.
pub async fn serve_web_at(
    bound: Vec<Bound>,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let serving = bound
        .into_iter()
        .map(|bound| serve(bound, routes.clone(), stop.clone(), true));
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
    serve(bound, routes, stop, false).await
}

async fn serve(
    bound: Bound,
    routes: Routes,
    stop: CancellationToken,
    http1: bool,
) -> Result<(), Failure> {
    let stopped = stop.clone();
    let serving = Server::builder()
        .accept_http1(http1)
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
