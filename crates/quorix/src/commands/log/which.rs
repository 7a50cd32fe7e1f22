//! Which log a command is about, and how it is read: by URL, from a folder, or this machine's own from its database
//! while it is stopped and over HTTP while it runs.

use std::path::Path;
use std::sync::Arc;

use quorix_log::anchor::{HeldAnchor, HoldError};
use quorix_store::RocksLog;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::note::VerifierKey;
use quorix_wire::fetch::{Fetcher, TileClient};
use quorix_wire::scan::{GrowError, LogSource, ReadError};

use crate::cli::operate::WhichLog;
use crate::commands::{configuration, fetcher};
use crate::config::{Config, Listen, LogSection};
use crate::output::Failure;
use crate::wiring::keys;

/// A log to read.
pub(in crate::commands) struct Opened {
    /// Its key, whose name is the log's.
    pub(in crate::commands) key: VerifierKey,
    /// Where it is read.
    pub(in crate::commands) source: LogSource,
    /// Fetches from there and elsewhere.
    pub(in crate::commands) fetcher: Fetcher,
    /// Where it is read from this machine's database.
    pub(in crate::commands) own: Option<OwnLog>,
}

/// This machine's log, which does not run. Nothing of it is changed.
pub(in crate::commands) struct OwnLog {
    /// Its database.
    pub(in crate::commands) store: Arc<RocksLog>,
    /// Its anchor, where it has one. Keeps the log from starting meanwhile.
    pub(in crate::commands) anchor: Option<HeldAnchor>,
}

/// How one's own log may be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Own {
    /// From the database, and only from there.
    Database,
    /// From the database, or over HTTP while it runs.
    Either,
    /// Over HTTP: it runs.
    Served,
}

/// The log of these arguments, else that of the configuration.
pub(in crate::commands) fn open(which: &WhichLog, own: Own) -> Result<Opened, Failure> {
    match &which.key {
        Some(key) => {
            let key = parse_key("--log", key)?;
            served(key, which.urls.clone(), &which.config.config)
        }
        None => open_own(&which.config.config, own),
    }
}

/// A log at these URLs or folders, believed as the configuration in `file` says, if there is one.
pub(in crate::commands) fn served(
    key: VerifierKey,
    urls: Vec<String>,
    file: &Path,
) -> Result<Opened, Failure> {
    let fetcher = fetcher(file)?;
    Ok(Opened {
        key,
        source: LogSource::Served(TileClient::new(fetcher.clone(), urls)),
        fetcher,
        own: None,
    })
}

/// Reads the vkey of an option.
pub(in crate::commands) fn parse_key(option: &str, text: &str) -> Result<VerifierKey, Failure> {
    text.parse().map_err(|error: quorix_tlog::note::KeyError| {
        Failure::wrong(format!(
            "{option}: {error}\n  `quorix log status` prints the key of a log"
        ))
    })
}

/// The key of this machine's log.
pub(in crate::commands) fn own_key(file: &Path) -> Result<VerifierKey, Failure> {
    let section = own_section(&configuration(file)?, file)?;
    Ok(keys::log_key(&section.key, &section.origin)?
        .verifier()
        .clone())
}

/// `[log]` of the configuration.
pub(in crate::commands) fn own_section(
    config: &Config,
    file: &Path,
) -> Result<LogSection, Failure> {
    config.log.clone().ok_or_else(|| {
        Failure::wrong(format!(
            "{} has no [log]; say which log: --log VKEY --url URL",
            file.display()
        ))
    })
}

fn open_own(file: &Path, own: Own) -> Result<Opened, Failure> {
    let config = configuration(file)?;
    let section = own_section(&config, file)?;
    let key = keys::log_key(&section.key, &section.origin)?
        .verifier()
        .clone();
    let url = public_url(&section)?;
    if own == Own::Served {
        return served(key, vec![url], file);
    }
    let dir = config.role_dir("log");
    if !dir.join("CURRENT").exists() {
        let dir = dir.display();
        return Err(Failure::wrong(format!(
            "there is no log in {dir} yet: `quorix serve` begins one"
        )));
    }
    let anchor = match HeldAnchor::hold(&config.log_anchor(&section)) {
        Ok(anchor) => anchor,
        Err(HoldError::InUse) if own == Own::Either => return served(key, vec![url], file),
        Err(HoldError::InUse) => {
            return Err(Failure::wrong(format!(
                "the log is running, and its database changes meanwhile\n  \
                 stop it first, or check what it serves: quorix log fsck --log '{key}' --url {url}"
            )));
        }
        Err(error @ HoldError::Failed(_)) => return Err(Failure::unknown(error)),
    };
    let store = RocksLog::open_to_read(&dir).map_err(Failure::unknown)?;
    let store = Arc::new(store);
    Ok(Opened {
        key,
        source: LogSource::Own(store.clone()),
        fetcher: fetcher(file)?,
        own: Some(OwnLog { store, anchor }),
    })
}

/// Where this machine's log is read while it runs.
pub(in crate::commands) fn public_url(section: &LogSection) -> Result<String, Failure> {
    let of = |listen: &Listen| match listen {
        Listen::Plain(host) => Some(("http", host.clone())),
        Listen::Tls(host) => Some(("https", host.clone())),
        Listen::Unix(_) => None,
    };
    let mut listens: Vec<_> = section.listen.public.iter().filter_map(of).collect();
    // A certificate is seldom made out for this machine's own addresses: the plain one first, where there is one.
    listens.sort_by_key(|(scheme, _)| *scheme);
    let nowhere = || Failure::wrong("log.listen.public: this log is read nowhere; add HOST:PORT");
    let (scheme, host) = listens.into_iter().next().ok_or_else(nowhere)?;
    let host = match host.parse::<std::net::SocketAddr>() {
        Ok(mut address) if address.ip().is_unspecified() => {
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
            address.to_string()
        }
        _ => host,
    };
    Ok(format!("{scheme}://{host}"))
}

impl Opened {
    /// Name of the log.
    pub(in crate::commands) fn origin(&self) -> &str {
        self.key.name().as_str()
    }

    /// The newest checkpoint, its signature verified.
    pub(in crate::commands) async fn checkpoint(&self) -> Result<SignedCheckpoint, Problem> {
        let note = self.source.checkpoint().await.map_err(Problem::Read)?;
        SignedCheckpoint::open(&note, &self.key, self.origin())
            .map_err(|error| Problem::Log(format!("the checkpoint of {}: {error}", self.origin())))
    }
}

/// A log is wrong, or could not be read.
pub(in crate::commands) enum Problem {
    /// It could not be read.
    Read(ReadError),
    /// It is not what its key signed.
    Log(String),
}

impl From<GrowError> for Problem {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Read(error) => Self::Read(error),
            other => Self::Log(other.to_string()),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Read(error) => Self::unknown(format!("the log could not be read: {error}")),
            Problem::Log(reason) => Self::Refused(reason),
        }
    }
}
