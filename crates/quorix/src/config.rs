//! The one configuration file: TOML, a section for each role that is switched on.
//!
//! Unknown keys are errors that name the key. Reading it opens no other file and binds nothing; `check` looks at
//! what the roles need of each other.

mod access;
mod check;
mod duration;
mod following;
mod listen;
#[cfg(test)]
mod tests;
mod witness;

pub use access::{ClientName, LimitsSection, Principal};
pub use duration::Period;
pub use following::{PeerSection, WebhookSection};
pub use listen::{Listen, Listens};
pub use witness::WitnessSection;

use std::path::{Path, PathBuf};

use quorix_wire::address::Address;
use serde::Deserialize;

/// The most bytes that a configuration file may have.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the roles keep their state, a folder each.
    pub data_dir: PathBuf,
    /// The policy file. Needed by aggregator, resolver and dashboard.
    pub policy: Option<PathBuf>,
    /// This builder's log.
    pub log: Option<LogSection>,
    /// The outbox of the post-build hook.
    pub builder: Option<BuilderSection>,
    /// Follows logs.
    pub aggregator: Option<AggregatorSection>,
    /// The substituter.
    pub resolver: Option<ResolverSection>,
    /// The web pages.
    pub dashboard: Option<DashboardSection>,
    /// Cosigns the logs of others.
    pub witness: Option<WitnessSection>,
    /// Copies of logs.
    pub mirror: Option<MirrorSection>,
    /// Prometheus.
    pub metrics: Option<MetricsSection>,
    /// Certificates.
    #[serde(default)]
    pub tls: TlsSection,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// Name of the log, and of its key.
    pub origin: String,
    /// The file with its secret key.
    pub key: PathBuf,
    /// Where it listens.
    pub listen: LogListen,
    /// Whether it keeps a verifiable index, so that anyone can ask what it says about an output, with proof.
    #[serde(default = "yes")]
    pub index: bool,
    /// Who must have cosigned a checkpoint before it is published: a file in the form of C2SP tlog-policy.
    pub witness_policy: Option<PathBuf>,
    /// With witnesses: after how long without news the newest checkpoint is cosigned and published again.
    #[serde(default = "Period::ten_minutes")]
    pub republish: Period,
    /// A second key, which signs every checkpoint too and resists quantum computers (ML-DSA-44).
    pub pq_key: Option<PathBuf>,
    /// The token file: who may submit from elsewhere.
    pub tokens: Option<PathBuf>,
    /// Client certificates, of an authority in `client_ca` of `[tls]`, that may submit.
    #[serde(default)]
    pub clients: Vec<ClientName>,
    /// Users of this machine that may submit through the socket, besides the one that runs the log.
    #[serde(default)]
    pub users: Vec<Principal>,
    /// Groups of this machine that may.
    #[serde(default)]
    pub groups: Vec<Principal>,
    /// Who submits through the socket needs a token too.
    #[serde(default)]
    pub token_on_socket: bool,
    /// What each submitter may send.
    #[serde(default)]
    pub limits: LimitsSection,
    /// The file with its newest signed checkpoint, best on another disk than `data_dir`: `data_dir/log.anchor` where
    /// not told.
    pub anchor: Option<PathBuf>,
}

/// `listen` of `[log]`: writing and reading are never on one address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogListen {
    /// Where entries are submitted: `unix:PATH`, or `tls://HOST:PORT` with tokens or certificates.
    pub submit: Listens,
    /// Where everybody reads: `HOST:PORT` or `tls://HOST:PORT`.
    pub public: Listens,
}

/// `[builder]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuilderSection {
    /// Where its log takes entries.
    #[serde(deserialize_with = "from_text")]
    pub log: Address,
    /// The token to submit with, as `quorix token generate` made it.
    pub token: Option<PathBuf>,
    /// The Nix secret key with which attested outputs are signed.
    pub nix_key: Option<PathBuf>,
    /// Root folder of a Nix store that is not the system's (`nix-build --store FOLDER`).
    pub store: Option<PathBuf>,
    /// Publish what each output was built from, so that others can find the first difference.
    #[serde(default = "yes")]
    pub publish_inputs: bool,
    /// Also attest outputs that this machine had built by another.
    #[serde(default)]
    pub include_remote_built: bool,
}

/// `[aggregator]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregatorSection {
    /// Where it answers gRPC, grpc-web and JSON: `127.0.0.1:8481` where not told.
    #[serde(default = "aggregator_address")]
    pub listen: Listens,
    /// Origins (`https://example.org`) whose pages may read what is answered over HTTP; none where not told.
    #[serde(default)]
    pub allow_origins: Vec<String>,
    /// Answers everybody who reaches a `tls://` listener, also without a certificate of `client_ca`.
    #[serde(default)]
    pub public: bool,
    /// How often each log is asked for news.
    #[serde(default = "Period::ten_seconds")]
    pub poll_interval: Period,
    /// After how long without a verified answer a log no longer adds votes.
    #[serde(default = "Period::one_minute")]
    pub stale_after: Period,
    /// The secret key (of kind witness) with which it cosigns the logs that it follows; of its own, never a log's.
    pub witness_key: Option<PathBuf>,
    /// Aggregators with which checkpoints are compared: `[[aggregator.peers]]`.
    #[serde(default)]
    pub peers: Vec<PeerSection>,
    /// How often they are compared.
    #[serde(default = "Period::one_minute")]
    pub gossip_interval: Period,
    /// Where events are posted to: `[[aggregator.webhooks]]`.
    #[serde(default)]
    pub webhooks: Vec<WebhookSection>,
}

/// `[resolver]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolverSection {
    /// Where Nix asks.
    pub listen: Listens,
    /// The Nix secret key with which answers are signed.
    pub key: PathBuf,
    /// Where bytes come from: URLs or folders of binary caches, the first one first. None is trusted.
    pub sources: Vec<String>,
    /// An aggregator elsewhere; without it the one in this file.
    #[serde(default, deserialize_with = "maybe_from_text")]
    pub aggregator: Option<Address>,
    /// Asks the logs themselves what the aggregator elsewhere left out; a log that does not show it adds no votes.
    #[serde(default)]
    pub complete: bool,
    /// What Nix is told about when to ask here; lower is earlier.
    #[serde(default = "thirty")]
    pub priority: u32,
}

/// `[dashboard]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DashboardSection {
    /// Where browsers ask.
    pub listen: Listens,
    /// An aggregator elsewhere; without it the one in this file.
    #[serde(default, deserialize_with = "maybe_from_text")]
    pub aggregator: Option<Address>,
}

/// `[mirror]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorSection {
    /// Where the copies are read, each log below the SHA-256 of its name.
    pub listen: Listens,
    /// The key with which it cosigns what it has on its disk; never a witness's. Without it nothing is cosigned.
    pub key: Option<PathBuf>,
    /// How often each log is asked for news.
    #[serde(default = "Period::ten_seconds")]
    pub poll_interval: Period,
    /// The logs that are copied: `[[mirror.logs]]`.
    pub logs: Vec<MirroredSection>,
}

/// `[[mirror.logs]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirroredSection {
    /// Key of the log.
    pub vkey: String,
    /// Where it is served, the preferred address first.
    pub urls: Vec<String>,
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// Where Prometheus asks, at `/metrics`; `/health` answers too.
    pub listen: Listens,
}

/// `[tls]`: PEM files. Read at the start and again when they change or at SIGHUP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The certificate of the `tls://` listeners, with its chain.
    pub cert: Option<PathBuf>,
    /// Its secret key.
    pub key: Option<PathBuf>,
    /// Authorities of the clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// Authorities that this process believes as a client, besides those of the machine.
    pub ca: Option<PathBuf>,
    /// The certificate that this process shows to servers that ask for one.
    pub client_cert: Option<PathBuf>,
    /// Its secret key.
    pub client_key: Option<PathBuf>,
}

/// What is wrong with a configuration file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration {}: {message}", file.display())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong and where.
    pub message: String,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, has an unknown or missing key or a bad value, or its roles do not fit
    /// together.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let error = |message: String| ConfigError {
            file: file.into(),
            message,
        };
        let length = std::fs::metadata(file)
            .map_err(|reason| error(format!("cannot be read: {reason}")))?
            .len();
        if length > CONFIG_BYTES_MAX {
            return Err(error("is larger than 1 MiB".into()));
        }
        let text = std::fs::read_to_string(file)
            .map_err(|reason| error(format!("cannot be read: {reason}")))?;
        Self::parse(&text).map_err(error)
    }

    /// Parses and checks the text of a file.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        check::check(&config)?;
        Ok(config)
    }

    /// The anchor of the log.
    #[must_use]
    pub fn log_anchor(&self, section: &LogSection) -> PathBuf {
        let beside = || self.data_dir.join("log.anchor");
        section.anchor.clone().unwrap_or_else(beside)
    }

    /// The folder of one role.
    #[must_use]
    pub fn role_dir(&self, role: &str) -> PathBuf {
        self.data_dir.join(role)
    }
}

fn aggregator_address() -> Listens {
    Listens::one(Listen::Plain("127.0.0.1:8481".into()))
}

fn yes() -> bool {
    true
}

fn thirty() -> u32 {
    30
}

fn from_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn maybe_from_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Address>, D::Error> {
    from_text(deserializer).map(Some)
}
