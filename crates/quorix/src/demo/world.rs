//! Hosts on one machine: folders, keys, configurations, ports and processes. The end-to-end tests play in it too.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use quorix_log::beginning::NewKey;
use quorix_nix::signature::{PublicKey, SecretKey};
use quorix_tlog::note::{SigningKey, VerifierKey};

use super::process::Process;
use crate::output::Failure;

/// A builder: a Nix store, a log, an outbox, one process.
#[derive(Debug)]
pub struct BuilderHost {
    /// Its name, and its operator's.
    pub name: String,
    /// Root of its Nix store.
    pub store: PathBuf,
    /// The executable that Nix calls after each build.
    pub hook: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Where its log is read.
    pub public: SocketAddr,
    /// Where its log takes entries.
    pub submit: PathBuf,
    /// Where its database is.
    pub data_dir: PathBuf,
    /// The key of its log.
    pub log_key: SigningKey,
    /// The key that it signs with for Nix.
    pub nix_key: SecretKey,
    quorix: PathBuf,
    process: Option<Process>,
}

/// A user's machine: aggregator, resolver and dashboard in one process.
#[derive(Debug)]
pub struct UserHost {
    /// Its configuration file.
    pub config: PathBuf,
    /// Its policy file.
    pub policy: PathBuf,
    /// Where the aggregator answers gRPC.
    pub aggregator: SocketAddr,
    /// Where Nix asks.
    pub resolver: SocketAddr,
    /// Where browsers ask.
    pub dashboard: SocketAddr,
    /// Where Prometheus asks.
    pub metrics: SocketAddr,
    /// The only key that this user's Nix trusts.
    pub key: PublicKey,
    quorix: PathBuf,
    process: Option<Process>,
}

impl BuilderHost {
    /// Makes a builder in a folder of its own under `dir`. With `hook_user`, the hook changes to that user first.
    ///
    /// # Errors
    /// Files cannot be made, or no port is free.
    pub fn create(
        dir: &Path,
        name: &str,
        quorix: &Path,
        hook_user: Option<u32>,
    ) -> Result<Self, Failure> {
        Self::with_store(dir, name, quorix, &dir.join(name).join("store"), hook_user)
    }

    /// The same with a Nix store that may be there already. Builders only read it; the hook's builds write it.
    ///
    /// # Errors
    /// Files cannot be made, or no port is free.
    pub fn with_store(
        dir: &Path,
        name: &str,
        quorix: &Path,
        store: &Path,
        hook_user: Option<u32>,
    ) -> Result<Self, Failure> {
        let home = dir.join(name);
        let data_dir = home.join("data");
        fs::create_dir_all(&data_dir).map_err(|error| failed(&home, &error))?;
        let log_key = SigningKey::from_seed(parsed(&format!("{name}.example/log"))?, seed()?);
        let nix_key = SecretKey::from_seed(parsed(&format!("{name}-1"))?, seed()?);
        new_log_key(&home.join("log.key"), &log_key)?;
        secret(&home.join("nix.key"), &nix_key.to_text())?;
        let (submit, public) = (home.join("submit.sock"), free_port()?);
        fs::create_dir_all(store).map_err(|error| failed(store, &error))?;
        let config = home.join("quorix.toml");
        let text = format!(
            r#"data_dir = "{data}"
[log]
origin = "{origin}"
key    = "{home}/log.key"
listen = {{ submit = "unix:{submit}", public = "{public}" }}
[builder]
log     = "unix:{submit}"
nix_key = "{home}/nix.key"
store   = "{store}"
"#,
            data = data_dir.display(),
            origin = log_key.verifier().name().as_str(),
            home = home.display(),
            submit = submit.display(),
            store = store.display(),
        );
        write(&config, &text)?;
        let hook = home.join("post-build-hook");
        let as_user = hook_user.map_or(String::new(), |user| {
            format!("sudo --preserve-env=DRV_PATH,OUT_PATHS,NIX_CONFIG -u '#{user}' ")
        });
        let script = format!(
            "#!/bin/sh\nexec {as_user}'{}' hook post-build --config '{}'\n",
            quorix.display(),
            config.display()
        );
        write(&hook, &script)?;
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))
            .map_err(|error| failed(&hook, &error))?;
        Ok(Self {
            name: name.into(),
            store: store.into(),
            hook,
            config,
            public,
            submit,
            data_dir,
            log_key,
            nix_key,
            quorix: quorix.into(),
            process: None,
        })
    }

    /// Where its log is read, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.public)
    }

    /// The public key of its log.
    #[must_use]
    pub fn vkey(&self) -> &VerifierKey {
        self.log_key.verifier()
    }

    /// Its line in a policy.
    #[must_use]
    pub fn policy_line(&self) -> String {
        let Self { name, nix_key, .. } = self;
        format!(
            "builder {name} {} {} operator={name} nix-key={}\n",
            self.vkey(),
            self.url(),
            nix_key.public_key()
        )
    }

    /// Starts its process.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&mut self) -> Result<(), Failure> {
        self.process =
            Some(Process::serve(&self.quorix, &self.name, &self.config, &[self.public]).await?);
        Ok(())
    }

    /// Stops its process.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }

    /// Kills its process, as a power cut would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }
}

impl UserHost {
    /// Makes a user's machine in a folder of its own under `dir`, with this policy and these sources of bytes.
    ///
    /// # Errors
    /// Files cannot be made, or no port is free.
    pub fn create(
        dir: &Path,
        name: &str,
        quorix: &Path,
        policy: &str,
        sources: &[String],
    ) -> Result<Self, Failure> {
        let home = dir.join(name);
        let data_dir = home.join("data");
        fs::create_dir_all(&data_dir).map_err(|error| failed(&home, &error))?;
        let key = SecretKey::from_seed(parsed(&format!("{name}-resolver-1"))?, seed()?);
        secret(&home.join("resolver.key"), &key.to_text())?;
        let policy_file = home.join("policy");
        write(&policy_file, policy)?;
        let [aggregator, resolver, dashboard, metrics] =
            [free_port()?, free_port()?, free_port()?, free_port()?];
        let sources: Vec<String> = sources.iter().map(|source| format!("{source:?}")).collect();
        let config = home.join("quorix.toml");
        let text = format!(
            r#"data_dir = "{data}"
policy   = "{policy}"
[aggregator]
listen        = "{aggregator}"
poll_interval = "200ms"
stale_after   = "2s"
[resolver]
listen  = "{resolver}"
key     = "{home}/resolver.key"
sources = [{sources}]
[dashboard]
listen = "{dashboard}"
[metrics]
listen = "{metrics}"
"#,
            data = data_dir.display(),
            policy = policy_file.display(),
            home = home.display(),
            sources = sources.join(", "),
        );
        write(&config, &text)?;
        let key = key.public_key();
        let quorix = quorix.into();
        Ok(Self {
            config,
            policy: policy_file,
            aggregator,
            resolver,
            dashboard,
            metrics,
            key,
            quorix,
            process: None,
        })
    }

    /// The substituter's URL.
    #[must_use]
    pub fn substituter(&self) -> String {
        format!("http://{}", self.resolver)
    }

    /// Starts its process.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(&mut self) -> Result<(), Failure> {
        let answers = [self.aggregator, self.resolver, self.dashboard, self.metrics];
        self.process =
            Some(Process::serve(&self.quorix, "the user's quorix", &self.config, &answers).await?);
        Ok(())
    }

    /// Stops its process.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }

    /// Kills its process, as a power cut would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }
}

/// A port that is free now, and that this process was not given before: the system gives one again as soon as nobody
/// listens there, and hosts are configured long before they listen.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<SocketAddr, Failure> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..1000 {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = listener
            .and_then(|listener| listener.local_addr())
            .map_err(|error| Failure::unknown(format!("no free port: {error}")))?;
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(address.port()) {
            return Ok(address);
        }
    }
    Err(Failure::unknown("no free port that was not given before"))
}

/// Removes a folder with stores in it, whose folders are read-only.
pub fn remove(dir: &Path) {
    let script = r#"chmod -R u+w "$1" 2>/dev/null; rm -rf "$1" 2>/dev/null || sudo -n rm -rf "$1""#;
    let _ = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(dir)
        .status();
}

/// Fresh randomness for a key.
///
/// # Errors
/// The system has none.
pub fn seed() -> Result<[u8; 32], Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::unknown(format!("no randomness: {error}")))?;
    Ok(seed)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|error| Failure::unknown(format!("`{text}`: {error}")))
}

/// Writes the key of a log that was never begun, as `quorix key generate` does.
///
/// # Errors
/// The files cannot be made.
pub fn new_log_key(file: &Path, key: &SigningKey) -> Result<(), Failure> {
    secret(file, &key.to_text())?;
    let mark = NewKey::beside(file, key.verifier());
    mark.mark().map_err(|error| failed(mark.path(), &error))
}

fn secret(file: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    made.and_then(|mut made| made.write_all(text.as_bytes()))
        .map_err(|error| failed(file, &error))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &std::io::Error) -> Failure {
    Failure::unknown(format!("{}: {error}", file.display()))
}
