//! A running `quorix serve`, with its output in a file.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::output::Failure;

/// How long a process may take to answer, and to end when asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is logged: what the caller asks for, and in any case that the process is ready.
fn filter() -> String {
    let asked = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    format!("{asked},quorix::commands::serve=info")
}

/// A running `quorix serve`. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// What earlier processes had written there before this one started, in bytes.
    said_before: usize,
}

impl Process {
    /// Starts `quorix serve` and waits until it says that all of its roles run and every one of `answers` takes
    /// connections. One alone is not enough: roles start one after another.
    ///
    /// # Errors
    /// It does not start, ends, or does not answer in time; with the end of what it printed.
    pub async fn serve(
        quorix: &Path,
        name: &str,
        config: &Path,
        answers: &[SocketAddr],
    ) -> Result<Self, Failure> {
        let log = config.with_extension("log");
        let open = || File::options().create(true).append(true).open(&log);
        let said_before = fs::read(&log).map_or(0, |said| said.len());
        let (out, err) = (
            open().map_err(Failure::unknown)?,
            open().map_err(Failure::unknown)?,
        );
        let child = Command::new(quorix)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .env("RUST_LOG", filter())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Failure::unknown(format!("{} does not start: {error}", quorix.display()))
            })?;
        let mut process = Self {
            name: name.into(),
            child,
            log,
            said_before,
        };
        process.wait_for(answers).await?;
        Ok(process)
    }

    async fn wait_for(&mut self, answers: &[SocketAddr]) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while !self.is_ready() {
            self.wait_until(end, "is not ready").await?;
        }
        for address in answers {
            while TcpStream::connect(address).await.is_err() {
                let what = format!("does not answer at {address}");
                self.wait_until(end, &what).await?;
            }
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = said.get(self.said_before..).unwrap_or_default();
        String::from_utf8_lossy(said)
            .lines()
            .any(|line| line.ends_with("INFO ready"))
    }

    /// A moment's rest. An error once the process has ended, or at `end`.
    async fn wait_until(&mut self, end: Instant, what: &str) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(self.failed(&format!("ended with {status}")));
        }
        if Instant::now() > end {
            return Err(self.failed(what));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    fn failed(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        Failure::unknown(format!(
            "{} {what}; its last words:\n  {}",
            self.name,
            end.join("\n  ")
        ))
    }

    /// Asks it to stop, as systemd would, and waits for its end.
    ///
    /// # Errors
    /// It does not end in time or fails.
    pub async fn stop(mut self) -> Result<(), Failure> {
        if let Some(id) = self.child.id() {
            let asked = Command::new("kill")
                .arg("-TERM")
                .arg(id.to_string())
                .status()
                .await;
            asked.map_err(|error| Failure::unknown(format!("kill: {error}")))?;
        }
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failed(&format!("ended with {status}"))),
            Ok(Err(error)) => Err(Failure::unknown(error)),
            Err(_) => Err(self.failed("did not stop")),
        }
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(Failure::unknown)
    }
}
