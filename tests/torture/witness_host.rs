//! The witness of a log, to be started and killed.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quorix::demo::world::free_port;
use quorix_tlog::cosignature::{Algorithm, CosignerKey, CosignerSigningKey};
use tokio::process::{Child, Command};

use crate::host::{LogHost, quorix};

/// The witness of one log, in a process of its own. Killed when dropped.
pub(crate) struct WitnessHost {
    config: PathBuf,
    data: PathBuf,
    address: SocketAddr,
    key: CosignerSigningKey,
    /// What its environment has besides.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    process: Option<Child>,
}

impl WitnessHost {
    /// Its files are in the folder of the log's host; it does not run yet.
    pub(crate) fn of(log: &LogHost) -> Self {
        let name = "witness.example".parse().unwrap();
        let key = CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [5; 32]);
        let (file, config) = (log.path("witness.key"), log.path("witness.toml"));
        fs::write(&file, key.to_text()).unwrap();
        let (address, data) = (free_port().unwrap(), log.path("witness-data"));
        let text = format!(
            "data_dir = \"{data}\"\n[witness]\nkey = \"{key}\"\nlogs = [\"{log}\"]\nlisten = \"{address}\"\n\
             per_minute = 1000000\n",
            data = data.display(),
            key = file.display(),
            log = LogHost::key().verifier(),
        );
        fs::write(&config, text).unwrap();
        Self {
            config,
            data,
            address,
            key,
            environment: Vec::new(),
            process: None,
        }
    }

    /// Where all is that it must not forget.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) const fn key(&self) -> &CosignerKey {
        self.key.verifier()
    }

    /// Starts the process and does not wait for anything.
    pub(crate) fn spawn(&mut self) {
        let mut command = Command::new(quorix());
        command
            .args(["serve", "--config"])
            .arg(&self.config)
            .envs(self.environment.iter().cloned())
            .env_remove("QUORIX_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
    }

    /// Starts it and waits until it answers; an error if it ends instead.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        self.spawn();
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.process.as_mut().unwrap().try_wait().unwrap() {
                self.process = None;
                return Err(format!("the witness does not start: {status}"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// SIGKILL, and waits for its end.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    pub(crate) fn policy(&self) -> String {
        format!(
            "log {}\nwitness w {} http://{}\nquorum w\n",
            LogHost::key().verifier(),
            self.key(),
            self.address
        )
    }
}
