//! Taking connections: a bounded number, each after its handshake, none waiting for another's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::{Connection, Transport};
use super::places::{Door, Place, Places, Who};
use super::{Bound, HEADER_PATIENCE, Handshake, Socket};

/// The most connections of one listener, those in their handshake included.
const CONNECTIONS_MAX: usize = 256;
/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections after their handshake that wait to be served.
const READY_MAX: usize = 16;

/// Connections that are ready to be served, as hyper and tonic take them. Taking ends when this is dropped.
pub(super) struct Connections(mpsc::Receiver<Connection>);

impl Connections {
    /// Begins to take them. Must be called inside a Tokio runtime.
    pub(super) fn of(bound: Bound) -> Self {
        let (sender, receiver) = mpsc::channel(READY_MAX);
        tokio::spawn(async move {
            let gone = sender.clone();
            tokio::select! {
                () = take(bound, sender) => {}
                () = gone.closed() => {}
            }
        });
        Self(receiver)
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_recv(context)
            .map(|connection| connection.map(Ok))
    }
}

/// A connection before its handshake.
enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn take(bound: Bound, ready: mpsc::Sender<Connection>) {
    let Bound { socket, tls, door } = bound;
    let tls = tls.map(Arc::new);
    let places = Places::default();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // What is in it ends with it.
    let mut handshakes = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (raw, who) = match accept(&socket, door.as_ref()).await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely too many open files: those who are here have to leave first.
                tracing::warn!("a connection was not taken: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(permit, who) else {
            tracing::debug!(
                ?who,
                "a connection was not taken: there are too many from there"
            );
            continue;
        };
        let (ready, tls) = (ready.clone(), tls.clone());
        handshakes.spawn(async move {
            match begin(raw, tls.as_deref(), place).await {
                // Fails only if nobody serves any more.
                Ok(connection) => drop(ready.send(connection).await),
                Err(error) => tracing::debug!("a connection ended in its handshake: {error}"),
            }
        });
        while handshakes.try_join_next().is_some() {}
    }
}

/// The next connection, and whom it is counted for.
async fn accept(socket: &Socket, door: Option<&Door>) -> io::Result<(Raw, Option<Who>)> {
    Ok(match socket {
        Socket::Tcp(listener) => {
            let (stream, from) = listener.accept().await?;
            stream.set_nodelay(true)?;
            (Raw::Tcp(stream), Who::of(from.ip()))
        }
        Socket::Unix(listener) => {
            let (stream, _) = listener.accept().await?;
            let Some(door) = door else {
                // Nobody but its owner can open it.
                return Ok((Raw::Unix(stream), None));
            };
            let process = stream.peer_cred()?;
            let user = process.uid();
            let who = if door(user, process.gid()) {
                Who::User(user)
            } else {
                Who::Stranger
            };
            (Raw::Unix(stream), Some(who))
        }
    })
}

async fn begin(raw: Raw, tls: Option<&Handshake>, place: Place) -> io::Result<Connection> {
    let transport = match (raw, tls) {
        (Raw::Unix(stream), _) => Transport::Unix(stream),
        (Raw::Tcp(stream), None) => Transport::Tcp(stream),
        (
            Raw::Tcp(stream),
            Some(Handshake {
                tls,
                clients,
                protocols,
            }),
        ) => {
            let shaking = tls.acceptor(*clients, protocols)?.accept(stream);
            let stream = timeout(HEADER_PATIENCE, shaking)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Transport::Tls(Box::new(stream))
        }
    };
    Connection::new(transport, HEADER_PATIENCE, place)
}
