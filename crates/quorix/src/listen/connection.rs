//! One taken connection: its bytes, who is at its other end, and how long it may be silent at first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorix_log::access::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::places::Place;
use super::tls;

/// Bytes until it is clear what the client speaks: the preface of HTTP/2. No request is much shorter.
const GREETING_BYTES: usize = 24;

/// How the bytes travel.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that takes up one place of its listener until it is dropped.
pub(super) struct Connection {
    transport: Transport,
    peer: Peer,
    greeting: Option<Greeting>,
    _place: Place,
}

/// The first bytes that have not come yet. Nothing in hyper waits for them with a limit.
struct Greeting {
    missing: usize,
    patience: Pin<Box<Sleep>>,
}

impl Connection {
    pub(super) fn new(transport: Transport, patience: Duration, place: Place) -> io::Result<Self> {
        let peer = peer(&transport)?;
        Ok(Self {
            transport,
            peer,
            greeting: Some(Greeting {
                missing: GREETING_BYTES,
                patience: Box::pin(sleep(patience)),
            }),
            _place: place,
        })
    }

    /// Who is at its other end.
    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }
}

fn peer(transport: &Transport) -> io::Result<Peer> {
    let certificate = match transport {
        Transport::Unix(stream) => {
            let process = stream.peer_cred()?;
            let (uid, gid) = (process.uid(), process.gid());
            return Ok(Peer::Process { uid, gid });
        }
        Transport::Tcp(_) => None,
        Transport::Tls(stream) => stream.get_ref().1.peer_certificates(),
    };
    let certificate = certificate.and_then(<[_]>::first);
    let certificate = certificate.map(tls::certificate).transpose()?;
    Ok(Peer::Network {
        certificate: certificate.map(Arc::new),
    })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Self {
            transport,
            greeting,
            ..
        } = &mut *self;
        let read = match transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let Some(waiting) = greeting else {
            return read;
        };
        if read.is_pending() {
            ready!(waiting.patience.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let came = buffer.filled().len().saturating_sub(before);
        waiting.missing = waiting.missing.saturating_sub(came);
        if waiting.missing == 0 {
            *greeting = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Transport::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(stream) => stream.is_write_vectored(),
            Transport::Unix(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Transport::Unix(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
