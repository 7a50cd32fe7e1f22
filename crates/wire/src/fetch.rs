//! Bounded reading of files by URL: HTTP, `file://` and plain directories, all untrusted.
//!
//! Every read has a limit on bytes, on each wait and on the whole; nothing is retried here, and nothing that is
//! fetched is believed: the caller checks hashes. Asks for entry bundles with zstd or gzip and for all else as it is;
//! undoes gzip where a server sends it all the same (C2SP tlog-tiles). What was not asked for otherwise is an error. The
//! limit on bytes is on what comes out of a decoder.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::decompress::Reader;
use crate::tls::ClientTls;

mod body;
mod error;
mod http;
mod location;
mod post;
mod tiles;
mod transport;

pub use error::{FetchError, Waiting};
pub use http::REDIRECTS_MAX;
pub use location::join;
pub use tiles::TileClient;
pub use transport::{Answer, Parts, Request, Transport};

use http::Http;
use location::Location;

/// Encodings that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// As it is.
    Identity,
    /// With zstd or gzip.
    Compressed,
}

/// How long a fetch may take, and how it reaches servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// For a connection.
    pub connect_timeout: Duration,
    /// From asking to the head of the answer, connection included.
    pub first_byte_timeout: Duration,
    /// Between two parts of a body.
    pub idle_timeout: Duration,
    /// For the whole of a [`Fetcher::get`].
    pub total_timeout: Duration,
    /// For the whole of a [`Fetcher::get_stream`], until its last byte.
    pub stream_timeout: Duration,
    /// Whether to use the proxies that the environment names.
    pub use_system_proxy: bool,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(15),
            total_timeout: Duration::from_secs(60),
            stream_timeout: Duration::from_secs(60 * 60),
            use_system_proxy: false,
        }
    }
}

/// Fetches by URL. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Fetcher {
    transport: Arc<dyn Transport>,
    limits: FetchLimits,
}

/// A body that is being fetched.
pub struct Fetched {
    /// Its length in bytes as the source says, where it does. Not to be believed.
    pub length: Option<u64>,
    /// The bytes. What goes wrong is an [`std::io::Error`] with a [`FetchError`] in it.
    pub body: Reader,
}

impl Fetcher {
    /// A fetcher that believes the certificates of this machine. The program has installed a rustls provider before.
    ///
    /// # Errors
    /// [`FetchError::Setup`]: no rustls provider is installed.
    pub fn new(limits: FetchLimits) -> Result<Self, FetchError> {
        let tls = ClientTls::new(&[], None).map_err(|error| FetchError::Setup {
            reason: error.to_string(),
        })?;
        Self::with_tls(limits, &tls)
    }

    /// The same with TLS as set up.
    ///
    /// # Errors
    /// [`FetchError::Setup`]: the HTTP client cannot be made.
    pub fn with_tls(limits: FetchLimits, tls: &ClientTls) -> Result<Self, FetchError> {
        let http = Http::new(&limits, tls)?;
        Ok(Self::over(Arc::new(http), limits))
    }

    /// The same over another way to servers, such as a simulated network.
    #[must_use]
    pub fn over(transport: Arc<dyn Transport>, limits: FetchLimits) -> Self {
        Self { transport, limits }
    }

    /// Everything at `url` (`http://`, `https://`, `file:///…` or an absolute path), at most `max_bytes`.
    ///
    /// # Errors
    /// What happened, with the URL.
    pub async fn get(&self, url: &str, max_bytes: u64) -> Result<Bytes, FetchError> {
        self.get_as(url, max_bytes, Accept::Identity).await
    }

    /// The same, in an encoding. The limit is on the decoded bytes.
    pub(crate) async fn get_as(
        &self,
        url: &str,
        max_bytes: u64,
        accept: Accept,
    ) -> Result<Bytes, FetchError> {
        let limit = self.limits.total_timeout;
        let get = async {
            match Location::parse(url)? {
                Location::Http(parsed) => {
                    let fetched = self.http_stream(url, parsed, accept).await?;
                    whole(url, fetched, max_bytes).await
                }
                Location::File(path) => whole_file(url, path, max_bytes).await,
            }
        };
        timeout(limit, get)
            .await
            .unwrap_or_else(|_| Err(FetchError::timeout(url, Waiting::Whole, limit)))
    }

    /// Posts `body` to an `http://` or `https://` address and gives the status and the answer, at most `max_bytes` of
    /// it, whatever the status is. Redirects are not followed: what is posted goes where it was meant to go.
    ///
    /// # Errors
    /// There was no answer, or a larger one.
    pub async fn post(
        &self,
        url: &str,
        body: Vec<u8>,
        max_bytes: u64,
    ) -> Result<(u16, Bytes), FetchError> {
        let limit = self.limits.total_timeout;
        timeout(limit, post::post(self, url, body, max_bytes))
            .await
            .unwrap_or_else(|_| Err(FetchError::timeout(url, Waiting::Whole, limit)))
    }

    /// Opens `url` for reading bit by bit. The reader bounds the number of bytes itself.
    ///
    /// # Errors
    /// What happened until the body began, with the URL.
    pub async fn get_stream(&self, url: &str) -> Result<Fetched, FetchError> {
        match Location::parse(url)? {
            Location::Http(parsed) => self.http_stream(url, parsed, Accept::Identity).await,
            Location::File(path) => file_stream(url, &path).await,
        }
    }

    async fn http_stream(
        &self,
        url: &str,
        parsed: reqwest::Url,
        accept: Accept,
    ) -> Result<Fetched, FetchError> {
        let deadline = Instant::now() + self.limits.stream_timeout;
        let answer = self.send(Request::get(url, parsed, accept)).await?;
        match answer.status {
            200 => {}
            404 | 410 => {
                return Err(FetchError::NotFound {
                    url: location::shown(url),
                });
            }
            status => {
                return Err(FetchError::Status {
                    url: location::shown(url),
                    status,
                });
            }
        }
        self.body_of(url, answer, deadline, accept)
    }

    /// The head of the answer to a request.
    async fn send(&self, request: Request) -> Result<Answer, FetchError> {
        let limit = self.limits.first_byte_timeout;
        let url = request.asked().to_owned();
        timeout(limit, self.transport.send(request))
            .await
            .unwrap_or_else(|_| Err(FetchError::timeout(&url, Waiting::FirstByte, limit)))
    }

    fn body_of(
        &self,
        url: &str,
        answer: Answer,
        deadline: Instant,
        accept: Accept,
    ) -> Result<Fetched, FetchError> {
        let Answer {
            length,
            encoding,
            parts,
            ..
        } = answer;
        let body = body::reader(location::shown(url), parts, self.limits.clone(), deadline);
        match encoding.as_slice() {
            b"" | b"identity" => Ok(Fetched { length, body }),
            b"gzip" | b"x-gzip" => Ok(Fetched {
                length: None,
                body: body::gunzip(body),
            }),
            b"zstd" if accept == Accept::Compressed => Ok(Fetched {
                length: None,
                body: body::unzstd(body),
            }),
            other => Err(FetchError::Encoding {
                url: location::shown(url),
                encoding: String::from_utf8_lossy(other).chars().take(50).collect(),
            }),
        }
    }
}

impl Accept {
    const fn header(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Compressed => "zstd, gzip",
        }
    }
}

/// All of a body, at most `max_bytes`.
async fn whole(url: &str, fetched: Fetched, max_bytes: u64) -> Result<Bytes, FetchError> {
    not_larger(url, fetched.length, max_bytes)?;
    let mut bytes = Vec::new();
    let mut body = fetched.body.take(max_bytes.saturating_add(1));
    body.read_to_end(&mut bytes)
        .await
        .map_err(|error| FetchError::from_io(url, error))?;
    not_larger(url, u64::try_from(bytes.len()).ok(), max_bytes)?;
    Ok(bytes.into())
}

/// All of a file, at most `max_bytes`. In one piece of work: a log in a folder is very many small files.
async fn whole_file(url: &str, path: PathBuf, max_bytes: u64) -> Result<Bytes, FetchError> {
    let asked = url.to_owned();
    let read = move || {
        let failed = |error| file_error(&asked, &error);
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        check_file(&asked, &metadata)?;
        not_larger(&asked, Some(metadata.len()), max_bytes)?;
        let file = std::fs::File::open(&path).map_err(failed)?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        let mut file = file.take(max_bytes.saturating_add(1));
        file.read_to_end(&mut bytes).map_err(failed)?;
        // It may have grown meanwhile.
        not_larger(&asked, u64::try_from(bytes.len()).ok(), max_bytes)?;
        Ok(bytes.into())
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| {
        Err(FetchError::Transport {
            url: location::shown(url),
            reason: format!("reading it was interrupted: {error}"),
        })
    })
}

fn not_larger(url: &str, length: Option<u64>, max_bytes: u64) -> Result<(), FetchError> {
    if length.is_some_and(|length| length > max_bytes) {
        return Err(FetchError::TooLarge {
            url: location::shown(url),
            limit: max_bytes,
        });
    }
    Ok(())
}

async fn file_stream(url: &str, path: &Path) -> Result<Fetched, FetchError> {
    let failed = |error| file_error(url, &error);
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    check_file(url, &metadata)?;
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    Ok(Fetched {
        length: Some(metadata.len()),
        body: Box::new(file),
    })
}

/// Refuses what is no file, before it is opened: opening a pipe would wait for its writer.
fn check_file(url: &str, metadata: &std::fs::Metadata) -> Result<(), FetchError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(FetchError::Transport {
        url: location::shown(url),
        reason: "it is not a file".to_owned(),
    })
}

fn file_error(url: &str, error: &std::io::Error) -> FetchError {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => FetchError::NotFound {
            url: location::shown(url),
        },
        _ => FetchError::Transport {
            url: location::shown(url),
            reason: error.to_string(),
        },
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// The time left until `deadline` or `idle`, whichever is sooner, bounds one wait.
async fn within<T>(
    deadline: Instant,
    idle: Duration,
    wait: impl Future<Output = T>,
) -> Result<T, tokio::time::error::Elapsed> {
    timeout_at(deadline.min(Instant::now() + idle), wait).await
}

#[cfg(test)]
mod tests;
