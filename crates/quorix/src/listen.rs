//! Binding addresses and serving on them until told to stop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use quorix_wire::address::Address;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::output::Failure;

/// How long open requests may take to end after a stop was asked for.
pub const GRACE: Duration = Duration::from_secs(10);

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

/// Serves HTTP until `stop`.
///
/// # Errors
/// The listener failed.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let stopped = stop.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    let patience = async move {
        stopped.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serving.into_future() => result.map_err(|error| Failure::unknown(format!("serving HTTP: {error}"))),
        () = patience => Ok(()),
    }
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
