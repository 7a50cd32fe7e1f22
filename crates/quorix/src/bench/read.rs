//! How many full hash tiles a second are served over HTTP on loopback, to clients that keep their connections.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::figure::{Report, Target, float};
use super::stand::Stand;
use crate::output::Failure;

const CONNECTIONS: u64 = 16;
const TIME: Duration = Duration::from_secs(5);
const TILE_BYTES: usize = 8192;

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
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(16 * 1024, stream);
    let (mut requests, mut place, mut body) = (0_u64, seed, vec![0; TILE_BYTES]);
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
        stream.get_mut().write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut body).await?;
        requests = requests.saturating_add(1);
    }
    Ok(requests)
}

async fn read_answer(stream: &mut BufReader<TcpStream>, body: &mut [u8]) -> std::io::Result<()> {
    let mut line = String::new();
    let (mut is_first, mut length) = (true, None);
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        if std::mem::take(&mut is_first) && !line.starts_with("HTTP/1.1 200") {
            return Err(std::io::Error::other(format!("answered {}", line.trim())));
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    if length != Some(body.len()) {
        return Err(std::io::Error::other("a full tile has 8,192 bytes"));
    }
    stream.read_exact(body).await?;
    Ok(())
}
