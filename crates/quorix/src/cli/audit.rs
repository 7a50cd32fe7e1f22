//! What can be typed to look at what is installed: `audit system` and `audit path`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use quorix_wire::address::Address;

use super::ConfigFile;

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Everything that the running system and the profiles of this machine consist of.
    #[command(after_help = "\
Examples:
  quorix audit system
  quorix audit system --json > audit.json
  quorix audit system --offline                      from what the aggregator has mirrored, without a network
  quorix audit system --tolerate one-builder --tolerate no-data   fails only on what is worse

What this machine has is compared with what builders say, under the policy; every proof is verified here.
Content-addressed paths are hashed again instead.

Exit code 0: all accepted, self-verifying or tolerated; 1: something else; 2: wrong use; 3: it could not be found out.")]
    System {
        /// Every path of the store that is no derivation, whether in use or not.
        #[arg(long)]
        all: bool,
        /// How.
        #[command(flatten)]
        how: How,
    },
    /// Paths and everything that they refer to.
    #[command(after_help = "\
Examples:
  quorix audit path ./result
  quorix audit path /nix/store/…-hello-2.12 --policy my-policy --aggregator 127.0.0.1:8481

Exit code 0: all accepted, self-verifying or tolerated; 1: something else; 2: wrong use; 3: it could not be found out.")]
    Path {
        /// Store paths, or links to them such as `./result`.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<String>,
        /// How.
        #[command(flatten)]
        how: How,
    },
}

/// How an audit is made.
#[derive(Args, Debug)]
pub struct How {
    /// Root folder of a Nix store that is not the system's.
    #[arg(long, value_name = "FOLDER")]
    pub store: Option<PathBuf>,
    /// The policy, instead of the one of the configuration.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where the aggregator answers, instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    pub aggregator: Option<Address>,
    /// Ask nobody: read what the aggregator of this machine has mirrored, running or not. Logs count as they were then.
    #[arg(long)]
    pub offline: bool,
    /// States that are no reason to fail; may be repeated.
    #[arg(long, value_enum, value_name = "STATE")]
    pub tolerate: Vec<State>,
    /// Print every path as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// How one installed path stands, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum State {
    /// The bytes that are here are not those that were accepted, or not those that the path is named after.
    OtherBytes,
    /// Who said these bytes has taken it back.
    Revoked,
    /// Builders disagree with each other, or with what is here.
    Disagree,
    /// The policy refuses it for another reason.
    Refused,
    /// It has its votes, something that it refers to is not accepted.
    Blocked,
    /// Only one has said these bytes.
    OneBuilder,
    /// More than one has said these bytes, and the policy wants more.
    TooFew,
    /// Nobody that the policy names has said anything.
    NoData,
    /// Accepted, with the bytes that are here.
    Accepted,
    /// Content-addressed, and hashed again: it needs nobody's word.
    SelfVerifying,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [Self; 10] = [
        Self::OtherBytes,
        Self::Revoked,
        Self::Disagree,
        Self::Refused,
        Self::Blocked,
        Self::OneBuilder,
        Self::TooFew,
        Self::NoData,
        Self::Accepted,
        Self::SelfVerifying,
    ];

    /// As it is typed and in JSON.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::OtherBytes => "other-bytes",
            Self::Revoked => "revoked",
            Self::Disagree => "disagree",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
            Self::OneBuilder => "one-builder",
            Self::TooFew => "too-few",
            Self::NoData => "no-data",
            Self::Accepted => "accepted",
            Self::SelfVerifying => "self-verifying",
        }
    }

    /// True if nothing is left to wish for.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Accepted | Self::SelfVerifying)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_typed_as_it_is_printed() {
        for state in State::ALL {
            let value = state.to_possible_value().unwrap();
            assert_eq!(value.get_name(), state.id());
        }
        assert_eq!(State::ALL.len(), State::value_variants().len());
    }
}
