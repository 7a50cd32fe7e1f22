//! Binding addresses and serving on them until told to stop.
//!
//! A listener serves one thing: what is public and what is private never share one. Whoever connects has a few
//! seconds for each step (handshake, first bytes, head of a request), too many at once wait their turn, and who asks for
//! nothing any more is let go.

mod accept;
mod connection;
pub mod deadline;
mod idle;
mod places;
mod serving;
pub mod tls;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};

pub use self::places::Door;
pub use self::serving::{GRACE, serve_grpc, serve_grpc_at, serve_http, serve_web_at};
use self::tls::{Clients, ServerTls};
use crate::config::{Listen, Listens};
use crate::output::Failure;

/// How long a client may take to shake hands, to send its first bytes, to send the head of a request, or to answer
/// an HTTP/2 ping.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);
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
                let missing = || Failure::wrong(listen.without_certificate(key));
                let tls = tls.cloned().ok_or_else(missing)?;
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

#[cfg(test)]
mod tests;
