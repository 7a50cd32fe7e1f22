//! How a request gets to a server and its answer back: HTTP in the program, a simulated network in a simulation.
//!
//! A transport moves bytes. What may be believed of them and how many there may be, and how long one waits, is decided
//! above it, in [`Fetcher`](super::Fetcher), so that it holds over every transport.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::{Accept, FetchError};

/// The parts of a body as they come.
pub type Parts = BoxStream<'static, Result<Bytes, FetchError>>;

/// A way to servers.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and waits for the head of its answer, however long that takes. Dropping the future gives it up.
    ///
    /// # Errors
    /// There is no answer, with the address that was asked.
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Answer, FetchError>>;
}

/// A request to a server.
#[derive(Debug)]
pub struct Request {
    /// The address as the caller wrote it, for errors.
    pub(super) asked: String,
    pub(super) url: reqwest::Url,
    pub(super) accept: Accept,
    /// What is posted; without it the address is only read.
    pub(super) body: Option<Vec<u8>>,
}

/// The head of an answer, with its body to come. Nothing of it is to be believed.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The length of the body in bytes as the server says, where it does.
    pub length: Option<u64>,
    /// The value of the header `Content-Encoding`, empty where there is none.
    pub encoding: Vec<u8>,
    /// The body. It ends with an error if it breaks off before its end.
    pub parts: Parts,
}

impl Request {
    pub(super) fn get(asked: &str, url: reqwest::Url, accept: Accept) -> Self {
        Self {
            asked: asked.to_owned(),
            url,
            accept,
            body: None,
        }
    }

    /// The address as the caller wrote it, for errors.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// The host that is asked: a name or a bare address; empty if there is none.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, where the address names one that is not its scheme's.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.url.port()
    }

    /// The path, beginning with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// What the header `Accept-Encoding` says.
    #[must_use]
    pub fn accept_encoding(&self) -> &'static str {
        self.accept.header()
    }

    /// What is posted; without it the address is only read.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
