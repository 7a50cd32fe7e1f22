//! A host with nothing but a log: its folder, key, configuration and process, to be started, killed and asked.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use quorix::demo::world::{free_port, new_log_key};
use quorix_testkit::entries::log_key;
use quorix_tlog::note::SigningKey;
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// How long a process may take to answer, far beyond what it ever needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of every log in these tests.
pub(crate) const ORIGIN: &str = "torture.example/log";

/// A host. Its process is killed and its folder removed when it is dropped.
pub(crate) struct LogHost {
    folder: TempDir,
    /// Where its log is read.
    pub(crate) public: SocketAddr,
    /// What its environment has besides.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// What goes before the program on the command line.
    pub(crate) launcher: Vec<OsString>,
    process: Option<Child>,
    http: reqwest::Client,
}

/// What a process said that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl LogHost {
    /// A host with an empty log that does not run.
    pub(crate) fn new() -> Self {
        // A second installation fails, and is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new()
            .prefix("quorix-torture-")
            .tempdir()
            .unwrap();
        let host = Self {
            public: free_port().unwrap(),
            folder,
            environment: Vec::new(),
            launcher: Vec::new(),
            process: None,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        new_log_key(&host.path("log.key"), &Self::key()).unwrap();
        host.configure("");
        host
    }

    /// Writes its configuration, with these lines more in the section of the log.
    pub(crate) fn configure(&self, lines: &str) {
        let text = format!(
            "data_dir = \"{data}\"\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{key}\"\n\
             listen = {{ submit = \"unix:{socket}\", public = \"{public}\" }}\n{lines}",
            data = self.data().display(),
            key = self.path("log.key").display(),
            socket = self.socket().display(),
            public = self.public,
        );
        fs::write(self.config(), text).unwrap();
    }

    /// The key of the log.
    pub(crate) fn key() -> SigningKey {
        log_key(ORIGIN)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where everything is that must outlive a power cut.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("quorix.toml")
    }

    fn socket(&self) -> PathBuf {
        self.path("submit.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.public)
    }

    /// Starts the process and does not wait for anything.
    pub(crate) fn spawn(&mut self) {
        let output = || {
            let mut file = fs::File::options();
            file.create(true)
                .append(true)
                .open(self.path("output"))
                .unwrap()
        };
        let mut words = self.launcher.clone();
        words.extend([
            quorix().into(),
            "serve".into(),
            "--config".into(),
            self.config().into(),
        ]);
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .envs(self.environment.iter().cloned())
            .env_remove("QUORIX_CONFIG")
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
    }

    /// Waits until the log answers.
    pub(crate) async fn ready(&mut self) -> Result<(), Ended> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if self.get("checkpoint").await.is_some() {
                return Ok(());
            }
            if let Some(status) = self.process.as_mut().unwrap().try_wait().unwrap() {
                self.process = None;
                let said = fs::read_to_string(self.path("output")).unwrap();
                return Err(Ended { status, said });
            }
            assert!(tokio::time::Instant::now() < end, "the log does not answer");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts the process and waits until the log answers.
    pub(crate) async fn start(&mut self) -> Result<(), Ended> {
        let _ = fs::remove_file(self.path("output"));
        self.spawn();
        self.ready().await
    }

    /// SIGKILL, and waits for its end.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// Asks it to stop, as systemd would, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        let asked = std::process::Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
        let status = self.process.take().unwrap().wait().await.unwrap();
        assert!(status.success(), "{status}");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id().unwrap()
    }

    /// A client of its own connection.
    pub(crate) fn client(&self) -> LogClient {
        LogClient::new(channel::connect(&Address::Unix(self.socket())).unwrap())
    }

    /// A resource of the log; `None` where it does not answer with one.
    pub(crate) async fn get(&self, path: &str) -> Option<Vec<u8>> {
        get(&self.http, &self.url(), path).await
    }

    /// What asks for resources of the log beside this host.
    pub(crate) fn reader(&self) -> (reqwest::Client, String) {
        (self.http.clone(), self.url())
    }
}

/// A resource of a log; `None` where it does not answer with one.
pub(crate) async fn get(http: &reqwest::Client, log: &str, path: &str) -> Option<Vec<u8>> {
    let mut answer = http.get(format!("{log}/{path}")).send().await;
    if answer.is_err() {
        // A connection of the process before, perhaps.
        answer = http.get(format!("{log}/{path}")).send().await;
    }
    let answer = answer.ok()?;
    if !answer.status().is_success() {
        return None;
    }
    Some(answer.bytes().await.ok()?.to_vec())
}

/// The program under test.
pub(crate) fn quorix() -> PathBuf {
    let path = std::env::var_os("QUORIX_BIN");
    let path = path.expect(
        "QUORIX_BIN must be the path of the program: `make test` builds it and sets QUORIX_BIN",
    );
    PathBuf::from(path)
}

/// A copy of a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let place = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &place);
        } else {
            fs::copy(file.path(), place).unwrap();
        }
    }
}
