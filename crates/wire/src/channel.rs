//! gRPC channels: over TCP, with TLS or without, over a Unix socket, and inside this process.
//!
//! A channel is lazy: making one opens nothing, the first call does, and it reconnects by itself. No call waits for
//! ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::DuplexStream;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::codegen::http::uri::InvalidUri;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::address::Address;
use crate::tls::ClientTls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until an answer begins; a stream of events may then last.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes on their way between the two ends of an in-memory connection.
const DUPLEX_BYTES: usize = 256 * 1024;
/// In-memory connections that wait to be accepted.
const WAITING_MAX: usize = 16;

/// An address to which no channel leads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no gRPC channel leads to {address}: {reason}")]
pub struct ChannelError {
    /// The address.
    pub address: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A channel to a service, over TLS with the roots of this machine where the address says so. Opens nothing yet.
/// Must be called inside a Tokio runtime.
///
/// # Errors
/// The address is not one that HTTP can express, or TLS is not there. That nobody answers is found by the first call.
pub fn connect(address: &Address) -> Result<Channel, ChannelError> {
    let tls = match address {
        Address::Tls(_) => Some(ClientTls::new(&[], None).map_err(|error| ChannelError {
            address: address.to_string(),
            reason: error.to_string(),
        })?),
        _ => None,
    };
    connect_with(address, tls.as_ref())
}

/// The same with TLS as set up.
///
/// # Errors
/// The address is not one that HTTP can express, or needs TLS and none is given.
pub fn connect_with(address: &Address, tls: Option<&ClientTls>) -> Result<Channel, ChannelError> {
    let refused = |reason: String| ChannelError {
        address: address.to_string(),
        reason,
    };
    match address {
        Address::Tls(authority) => {
            let tls = tls.ok_or_else(|| refused("no TLS is set up".to_owned()))?;
            over_tls(authority, tls).map_err(refused)
        }
        Address::Tcp(authority) => {
            let endpoint = Endpoint::from_shared(format!("http://{authority}"))
                .map_err(|error| refused(error.to_string()))?;
            Ok(with_timeouts(endpoint).connect_lazy())
        }
        Address::Unix(path) => {
            let path = path.clone();
            let connector = tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            Ok(with_timeouts(nominal_endpoint()).connect_with_connector_lazy(connector))
        }
    }
}

/// TCP, a handshake in which the server proves its name, HTTP/2 inside.
fn over_tls(authority: &str, tls: &ClientTls) -> Result<Channel, String> {
    // The connector speaks TLS itself, so that one setting of rustls serves here and for fetching; tonic must not.
    let endpoint =
        Endpoint::from_shared(format!("http://{authority}")).map_err(|error| error.to_string())?;
    let origin: Uri = format!("https://{authority}")
        .parse()
        .map_err(|error: InvalidUri| error.to_string())?;
    let endpoint = endpoint.origin(origin);
    let host = endpoint.uri().host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::new(tls.speaking(&["h2"])));
    let authority: Arc<str> = authority.into();
    let connect = tower::service_fn(move |_| {
        let (authority, name, connector) = (authority.clone(), name.clone(), connector.clone());
        async move {
            let stream = TcpStream::connect(&*authority).await?;
            stream.set_nodelay(true)?;
            let stream = connector.connect(name, stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(io::Error::other(
                    "the server speaks TLS but no HTTP/2, so it is no gRPC service",
                ));
            }
            Ok(TokioIo::new(stream))
        }
    });
    Ok(with_timeouts(endpoint).connect_with_connector_lazy(connect))
}

/// A channel to a service in this process, and the connections to serve, as tonic's `serve_with_incoming` takes
/// them. The stream ends once the channel and all its clones are gone.
#[must_use]
pub fn in_memory() -> (Channel, Incoming) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let connector = tower::service_fn(move |_| {
        let sender = sender.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(DUPLEX_BYTES);
            let gone =
                |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the service has stopped");
            sender.send(theirs).await.map_err(gone)?;
            Ok::<_, io::Error>(TokioIo::new(ours))
        }
    });
    let channel = with_timeouts(nominal_endpoint()).connect_with_connector_lazy(connector);
    (channel, Incoming(receiver))
}

/// Connections to a service in this process.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<DuplexStream>);

impl Stream for Incoming {
    type Item = Result<DuplexStream, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_recv(context)
            .map(|connection| connection.map(Ok))
    }
}

/// Where the connector decides where to connect; HTTP only needs some authority.
fn nominal_endpoint() -> Endpoint {
    Endpoint::from_static("http://quorix.invalid")
}

fn with_timeouts(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
}
