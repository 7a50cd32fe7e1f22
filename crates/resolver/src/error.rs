//! Why a resolver does not start, and why a request has no positive answer, in words for clients.
//!
//! Refused and not found out are different things: a client remembers the first for an hour and asks again after
//! the second.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use quorix_nix::hash::NarHash;
use quorix_nix::store_path::StorePath;
use quorix_trust::decision::Decision;
use quorix_trust::explain;

use crate::sources::SourceFailure;

/// A resolver cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A setting with which it cannot work.
    #[error("the resolver's `{field}` must be {allowed}")]
    Config {
        /// The setting.
        field: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A source that cannot be read.
    #[error("the source `{}` cannot be used: {reason}", text.escape_debug())]
    Source {
        /// The text.
        text: String,
        /// Why.
        reason: String,
    },
    /// The spool directory cannot be used.
    #[error("cannot use the spool directory {}: {reason}", directory.display())]
    Spool {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        reason: String,
    },
}

impl StartError {
    pub(crate) fn spool(directory: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self::Spool {
            directory: directory.into(),
            reason: error.to_string(),
        }
    }
}

/// Why a request has no positive answer.
#[derive(Clone, Debug)]
pub enum NoAnswer {
    /// The policy does not accept it.
    Refused(Arc<Decision>),
    /// The references of what was accepted are not known, so no narinfo can be written.
    NoFacts(StorePath),
    /// Accepted, and larger than is served here.
    TooLarge {
        /// The output.
        path: StorePath,
        /// Bytes of its NAR.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// No decision that is remembered led to this NAR.
    NotPromised(NarHash),
    /// Another NAR is accepted by now.
    Superseded {
        /// The output.
        path: StorePath,
        /// The NAR that was asked for.
        asked: NarHash,
    },
    /// It could not be found out whether it is accepted.
    Unavailable(String),
    /// Accepted, and no source has the right bytes.
    Nowhere {
        /// The output.
        path: StorePath,
        /// Why each source does not.
        failures: Arc<Vec<SourceFailure>>,
    },
    /// The spool directory failed.
    Spool(String),
}

impl NoAnswer {
    /// True if asking again soon may bring another answer than asking now: then nothing was refused.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Spool(_) => true,
            Self::Nowhere { failures, .. } => {
                failures.iter().any(|failure| failure.kind.is_passing())
            }
            _ => false,
        }
    }

    /// First what, in a sentence; then why.
    #[must_use]
    pub fn explained(&self) -> String {
        match self {
            Self::Refused(decision) => explain::terminal(decision),
            Self::NoFacts(path) => format!(
                "Refused: nobody has supplied the list of what {path} refers to, so it cannot be described to Nix.\n"
            ),
            Self::TooLarge { path, size, limit } => format!(
                "Refused: the NAR of {path} has {size} bytes, and this resolver serves at most {limit}.\n"
            ),
            Self::NotPromised(hash) => format!(
                "Not found: this resolver knows of no accepted output with the NAR {hash}. Ask for the narinfo first.\n"
            ),
            Self::Superseded { path, asked } => {
                format!(
                    "Refused: {path} is accepted with other bytes than {asked} by now. Ask for the narinfo again.\n"
                )
            }
            Self::Unavailable(reason) => format!(
                "Could not find out whether this may be served: {reason}. Nothing is served meanwhile; ask again.\n"
            ),
            Self::Nowhere { path, failures } => {
                let mut text = format!("{path} is accepted, and no source has its bytes.\n");
                if failures.is_empty() {
                    text.push_str(
                        "\nThe resolver has no sources: name some in its configuration.\n",
                    );
                }
                for failure in failures.iter() {
                    let _ = writeln!(text, "  {}: {}", failure.source, failure.reason);
                }
                text
            }
            Self::Spool(reason) => format!("The resolver has no room for the NAR: {reason}.\n"),
        }
    }
}
