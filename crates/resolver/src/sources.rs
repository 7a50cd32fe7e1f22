//! Where NARs come from: binary caches over HTTP and directories laid out like one, and how they fail.
//!
//! A source is believed in nothing. What it says only chooses what is fetched; what is fetched is hashed.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use quorix_nix::store_path::StoreDir;
use quorix_wire::cache::NarInfoClient;
use quorix_wire::fetch::{FetchError, Fetcher, join};

use crate::error::StartError;

/// Seconds for which a source that could not be reached is asked last.
const REST_S: u64 = 10;

/// A binary cache over HTTP, of which a path is kept, or a directory laid out like one.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    base: String,
}

impl Source {
    /// The source as it may be shown: without a password.
    #[must_use]
    pub fn name(&self) -> String {
        let Some((scheme, rest)) = self.base.split_once("://") else {
            return self.base.clone();
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{path}")
    }
}

impl FromStr for Source {
    type Err = StartError;

    /// Reads `http://…`, `https://…`, `file:///…` or an absolute path.
    fn from_str(text: &str) -> Result<Self, StartError> {
        let source = Self {
            base: text.to_owned(),
        };
        match join(text, "nix-cache-info") {
            Ok(_) => Ok(source),
            Err(FetchError::BadUrl { reason, .. }) => Err(StartError::Source {
                text: source.name(),
                reason: reason.to_owned(),
            }),
            Err(error) => Err(StartError::Source {
                text: source.name(),
                reason: error.to_string(),
            }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name())
    }
}

/// One source passed over for one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFailure {
    /// The source.
    pub source: String,
    /// The output that was wanted: a store path, or a hash part.
    pub output: String,
    /// In which way it failed.
    pub kind: FailureKind,
    /// The same, for people.
    pub reason: String,
    /// POSIX seconds.
    pub at_s: u64,
}

/// The ways in which a source fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// It does not have the output.
    Absent,
    /// It has other bytes for the output, and says so.
    Other,
    /// Its answer cannot be read, or it names the NAR in a way that is not followed.
    Malformed,
    /// It sent bytes that are not what they should be: altered, cut off, too many, or no NAR.
    Corrupt,
    /// It took too long.
    Timeout,
    /// It cannot be reached, or answered with an error.
    Unreachable,
}

impl FailureKind {
    /// One word.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Other => "other_value",
            Self::Malformed => "malformed",
            Self::Corrupt => "corrupt",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }

    /// True if the source may do better soon.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable)
    }

    pub(crate) fn of(error: &FetchError) -> Self {
        match error {
            _ if error.is_absent() => Self::Absent,
            FetchError::Timeout { .. } => Self::Timeout,
            FetchError::BadUrl { .. }
            | FetchError::TooLarge { .. }
            | FetchError::Encoding { .. }
            | FetchError::Malformed { .. } => Self::Malformed,
            _ => Self::Unreachable,
        }
    }
}

/// A source that is in use.
pub(crate) struct Connected {
    pub(crate) name: String,
    pub(crate) client: NarInfoClient,
    resting_until_s: AtomicU64,
}

impl Connected {
    pub(crate) fn new(source: &Source, fetcher: &Fetcher, store_dir: &StoreDir) -> Self {
        Self {
            name: source.name(),
            client: NarInfoClient::new(fetcher.clone(), source.base.clone(), store_dir.clone()),
            resting_until_s: AtomicU64::new(0),
        }
    }

    /// Has a source that costs a timeout each time asked after the others for a while. It is never left out.
    pub(crate) fn rest(&self, now_s: u64) {
        self.resting_until_s
            .store(now_s.saturating_add(REST_S), Ordering::Relaxed);
    }

    pub(crate) fn is_resting(&self, now_s: u64) -> bool {
        let until_s = self.resting_until_s.load(Ordering::Relaxed);
        now_s < until_s && until_s <= now_s.saturating_add(REST_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_url_or_an_absolute_directory() {
        for text in [
            "https://cache.example.org",
            "http://127.0.0.1:80/base/",
            "file:///mnt/usb",
            "/mnt/usb/cache",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().name(), text);
        }
        for text in [
            "",
            "cache.example.org",
            "mnt/usb",
            "s3://bucket",
            "/mnt/../etc",
            "http://",
        ] {
            assert!(
                matches!(text.parse::<Source>(), Err(StartError::Source { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_of_a_source_is_never_shown() {
        let source: Source = "https://me:secret@cache.example.org/base".parse().unwrap();
        assert_eq!(source.name(), "https://cache.example.org/base");
        assert_eq!(
            format!("{source:?}"),
            "Source(https://cache.example.org/base)"
        );
        assert!(
            !"ftp://me:secret@x/y"
                .parse::<Source>()
                .unwrap_err()
                .to_string()
                .contains("secret")
        );
    }
}
