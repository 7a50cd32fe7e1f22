//! HTTP over the simulated network: as much of it as static files need.

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use quorix_wire::fetch::{Answer, FetchError, Request, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::TcpStream;

/// Where every simulated server listens.
pub(super) const PORT: u16 = 80;
const HEAD_MAX: usize = 4_096;

/// The way to servers of the simulation, by their host names. A connection for each request.
#[derive(Debug)]
pub(super) struct Simulated;

impl Transport for Simulated {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Answer, FetchError>> {
        async move {
            let failed = failed(request.asked());
            exchange(&request).await.map_err(failed)
        }
        .boxed()
    }
}

fn failed(url: &str) -> impl Fn(std::io::Error) -> FetchError + Clone + Send + Sync + use<> {
    let url = url.to_owned();
    move |error| FetchError::Transport {
        url: url.clone(),
        reason: error.to_string(),
    }
}

async fn exchange(request: &Request) -> std::io::Result<Answer> {
    let port = request.port().unwrap_or(PORT);
    let mut stream = TcpStream::connect((request.host(), port)).await?;
    let asking = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
        request.path(),
        request.host()
    );
    stream.write_all(asking.as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    let broken = || std::io::Error::other(format!("not the head of an answer: {head:?}"));
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: u64 = length
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(broken)?;
    let failed = failed(request.asked());
    let parts = stream::try_unfold((stream, length), move |(mut stream, left)| {
        let failed = failed.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let mut part = Vec::with_capacity(1_024);
            match stream.read_buf(&mut part).await.map_err(&failed)? {
                0 => Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
                read => {
                    let left = left.saturating_sub(u64::try_from(read).unwrap());
                    Ok(Some((part.into(), (stream, left))))
                }
            }
        }
    });
    Ok(Answer {
        status: status.ok_or_else(broken)?,
        length: Some(length),
        encoding: Vec::new(),
        parts: parts.boxed(),
    })
}

/// Everything up to the empty line.
pub(super) async fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        head.push(stream.read_u8().await?);
    }
    String::from_utf8(head).map_err(std::io::Error::other)
}
