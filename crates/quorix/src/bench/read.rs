//! How many full hash tiles a second are served over HTTP on loopback, to clients that keep their connections.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::figure::{Report, Target, float};
use super::stand::Stand;
use crate::output::Failure;

const CONNECTIONS: u64 = 16;
const TIME: Duration = Duration::from_secs(5);
const TILE_BYTES: usize = 8192;
const ANSWER_BYTES_MAX: usize = 2 * TILE_BYTES;

/// Reads full tiles of level 0 from all over the log for some seconds.
pub(super) async fn tiles(stand: &Stand, report: &mut Report) -> Result<(), Failure> {
    let full = stand.size() / 256;
    if full == 0 {
        return Ok(());
    }
    let until = Instant::now() + TIME;
    let mut connections = JoinSet::new();
    for number in 0..CONNECTIONS {
        connections.spawn(read_until(stand.public, number, full, until));
    }
    let mut requests = 0_u64;
    while let Some(read) = connections.join_next().await {
        let read = read.map_err(Failure::unknown)?;
        let read = read.map_err(|error| Failure::unknown(format!("reading tiles: {error}")))?;
        requests = requests.saturating_add(read);
    }
    let rate = float(requests) / TIME.as_secs_f64();
    report.add(
        "log.tile_rate",
        rate,
        "requests/s",
        Target::AtLeast(30_000.0),
    );
    Ok(())
}

async fn read_until(
    address: std::net::SocketAddr,
    seed: u64,
    full: u64,
    until: Instant,
) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut requests, mut place, mut buffer) = (0_u64, seed, vec![0; ANSWER_BYTES_MAX]);
    while Instant::now() < until {
        place = place
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let index = (place >> 16) % full;
        let path = quorix_tlog::tile::TilePath {
            id: quorix_tlog::tile::TileId::hashes(0, index),
            width: quorix_tlog::tile::TILE_WIDTH,
        };
        let request = format!("GET /{path} HTTP/1.1\r\nhost: bench\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut buffer).await?;
        requests = requests.saturating_add(1);
    }
    Ok(requests)
}

/// Reads one answer, which has to be a full tile, and nothing beyond it.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        let read = stream.read(rest).await?;
        if read == 0 {
            return Err(std::io::Error::other("the answer is cut off, or too long"));
        }
        filled = filled.saturating_add(read);
        let answer = buffer.get(..filled).unwrap_or_default();
        let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        if filled < head.saturating_add(4 + TILE_BYTES) {
            continue;
        }
        let is_tile = |head: &[u8]| {
            head.starts_with(b"HTTP/1.1 200 ") && contains(head, b"\r\ncontent-length: 8192\r\n")
        };
        let whole = filled == head.saturating_add(4 + TILE_BYTES);
        if !whole || !answer.get(..head.saturating_add(2)).is_some_and(is_tile) {
            let head = String::from_utf8_lossy(answer.get(..head).unwrap_or_default());
            let message = format!("this is not the answer with a full tile: {head}");
            return Err(std::io::Error::other(message));
        }
        return Ok(());
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
