//! `quorix serve`: runs the configured roles until SIGINT or SIGTERM.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::configuration;
use crate::output::{Exit, Failure};
use crate::wiring;

pub(super) async fn serve(file: &Path) -> Result<Exit, Failure> {
    let config = configuration(file)?;
    let stop = CancellationToken::new();
    // Before anything is served: whoever is answered may tell this process to stop at once.
    let mut signals = Signals::new()?;
    let mut node = wiring::start(&config, stop.clone()).await?;
    notify("READY=1");
    tracing::info!("ready");
    let reason = tokio::select! {
        reason = signals.next() => reason,
        () = node.failed() => "a role ended by itself",
    };
    tracing::info!("stopping: {reason}");
    notify("STOPPING=1");
    stop.cancel();
    node.ended().await?;
    tracing::info!("stopped");
    Ok(Exit::Yes)
}

/// What tells the process to stop, from when this was made.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let no_signals = |error: std::io::Error| Failure::unknown(format!("signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(no_signals)?,
            interrupt: signal(SignalKind::interrupt()).map_err(no_signals)?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Tells systemd, if it asked to be told (`Type=notify`).
fn notify(message: &str) {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Ok(socket) = std::env::var("NOTIFY_SOCKET") else {
        return;
    };
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!("systemd was not told {message}: {error}");
    }
}
