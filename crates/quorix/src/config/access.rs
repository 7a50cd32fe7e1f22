//! Who may submit to a log, as it stands in the configuration.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use quorix_log::access::Client;
use serde::Deserialize;

/// A user or group of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a name or a number")]
pub enum Principal {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A client certificate: one of its DNS or URI names, or `sha256:` and the digest of its public key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientName(pub Client);

impl TryFrom<String> for ClientName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(hex) = text.strip_prefix("sha256:") {
            let key = HEXLOWER_PERMISSIVE
                .decode(hex.as_bytes())
                .ok()
                .and_then(|bytes| bytes.try_into().ok());
            return key.map(|key| Self(Client::Key(key))).ok_or_else(|| {
                format!(
                    "`{}`: after `sha256:` come 64 hexadecimal digits",
                    text.escape_debug()
                )
            });
        }
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!(
                "`{}` is no name in a certificate",
                text.escape_debug()
            ));
        }
        Ok(Self(Client::Name(text)))
    }
}

/// `[log] limits`: what each submitter may send. What is not said is as the program has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Submissions a second.
    pub requests_per_second: Option<u64>,
    /// Entries a second.
    pub entries_per_second: Option<u64>,
    /// Bytes of entries and blobs a second.
    pub bytes_per_second: Option<u64>,
    /// Bytes of entries and blobs of one submission.
    pub request_bytes: Option<u64>,
}
