//! One address of a log: a server of static files that is honest, broken or hostile, as its mood is.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt as _;
use turmoil::net::{TcpListener, TcpStream};

use super::history::View;
use super::network::{PORT, read_head};
use super::world::World;

/// One address of a log.
pub(super) struct Site {
    /// Its host name.
    pub(super) host: String,
    /// Position of its log.
    pub(super) log: usize,
    /// The history that it shows.
    pub(super) branch: usize,
    pub(super) mood: Mood,
    pub(super) is_up: bool,
    pub(super) is_reachable: bool,
}

/// How a site answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// With what there is.
    Well,
    /// With what there was at some moment.
    Frozen(View),
    /// With checkpoints, and with nothing of what they cover.
    Withholding,
    /// Never.
    Silent,
    /// With a flipped bit in everything but its checkpoints.
    Corrupting,
    /// With half of what it promised.
    BreakingOff,
    /// With noise for a checkpoint.
    Babbling,
    /// With the checkpoint of another log.
    Mistaken,
    /// With its own key over the name of another's: a checkpoint that it did not sign.
    Forging,
    /// That something went wrong.
    Failing,
}

/// What goes back over the connection.
pub(super) enum Reply {
    /// Status and body.
    Whole(u16, Vec<u8>),
    /// The head of the whole, and half of the body.
    Half(Vec<u8>),
    Nothing,
}

/// Serves a site until its host dies.
pub(super) async fn serve(world: Rc<RefCell<World>>, site: usize) -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let world = world.clone();
        tokio::task::spawn_local(async move {
            // Whoever asks may hang up at any moment.
            let _ = answer(world, site, stream).await;
        });
    }
}

async fn answer(
    world: Rc<RefCell<World>>,
    site: usize,
    mut stream: TcpStream,
) -> std::io::Result<()> {
    let head = read_head(&mut stream).await?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let reply = world.borrow_mut().reply(site, path.trim_start_matches('/'));
    let (status, length, body) = match reply {
        Reply::Whole(status, body) => (status, body.len(), body),
        Reply::Half(mut body) => {
            let length = body.len();
            body.truncate(length / 2);
            (200, length, body)
        }
        Reply::Nothing => return std::future::pending().await,
    };
    let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}
