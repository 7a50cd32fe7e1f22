//! Arguments of `quorix policy init` and `quorix policy exempt`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use quorix_wire::address::Address;

/// For whom a first policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum For {
    /// One user: the cache of today and an independent builder, in warn mode.
    Single,
    /// An organisation: more than half of its builders must agree.
    Organisation,
    /// Anybody's word is in force, and where two differ the path is refused; what a majority says is shown.
    Audit,
}

/// `policy init`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix policy init --for single \\
    --cache 'main cache.example.org-1:KEY https://cache.example.org operator=example' \\
    --builder 'alice logs.example.org/alice+ID+KEY https://alice.example.org operator=alice' \\
    > policy
  quorix policy check policy

Exit code 0: printed; 2: a line is wrong.")]
pub struct Init {
    /// For whom.
    #[arg(long = "for", value_enum)]
    pub whom: For,
    /// A builder, as in a policy: `NAME VKEY URL operator=OP …`.
    #[arg(long = "builder", value_name = "LINE")]
    pub builders: Vec<String>,
    /// A cache, as in a policy: `NAME KEY URL operator=OP`.
    #[arg(long = "cache", value_name = "LINE")]
    pub caches: Vec<String>,
}

/// `policy try`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix policy try stricter-policy --closure /nix/store/…-nixos-system
  quorix policy try stricter-policy --all

Only logs and caches that the aggregator's own policy names are heard.

Exit code 0: everything that is accepted stays so; 1: something does not, or could not be tried;
2: wrong use; 3: the aggregator could not be asked.")]
#[command(group(clap::ArgGroup::new("what").required(true).args(["closure", "all"])))]
pub struct Try {
    /// The policy to try.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The store path to try it on, with everything that it refers to.
    #[arg(long, value_name = "PATH")]
    pub closure: Option<String>,
    /// Try it on every output that the aggregator knows.
    #[arg(long)]
    pub all: bool,
    /// Where bytes of content-addressed paths may come from, instead of what the configuration says.
    #[arg(long = "source", value_name = "URL")]
    pub sources: Vec<String>,
    /// Where the aggregator answers, instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    pub aggregator: Option<Address>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: super::ConfigFile,
}

/// `policy exempt …`
#[derive(Debug, Subcommand)]
pub enum Exempt {
    /// Put a path into a set, and sign it again.
    #[command(after_help = "\
Example:
  quorix policy exempt add --key set.key --until 2027-03-01 \\
    --reason 'embeds a date, issue 12' odd.set /nix/store/…-hello

In the policy: rule odd set=odd.set set-key=VKEY quorum=VOTERS

Exit code 0: added; 2: wrong use, or the set is not signed by this key.")]
    Add {
        /// The key that signs the set (`quorix key generate --kind log`).
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// When it ends: a date, or `never`.
        #[arg(long)]
        until: String,
        /// Why, for people.
        #[arg(long)]
        reason: String,
        /// The set; made if it is not there.
        #[arg(value_name = "SET")]
        set: PathBuf,
        /// The store path.
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Take out everything that has ended, and sign the set again.
    #[command(after_help = "\
Example:
  quorix policy exempt prune --key set.key odd.set

Exit code 0: nothing in it has ended any more; 2: wrong use, or the set is not signed by this key.")]
    Prune {
        /// The key that signs the set.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The set.
        #[arg(value_name = "SET")]
        set: PathBuf,
    },
    /// Show a set.
    #[command(after_help = "\
Examples:
  quorix policy exempt list --vkey odd.example.org+4f3a…+AaX… odd.set
  quorix policy exempt list --vkey odd.example.org+4f3a…+AaX… --json odd.set

Exit code 0: nothing in it has ended; 1: something has; 2: wrong use, or the set is not signed by this key.")]
    List {
        /// The vkey that it must be signed by.
        #[arg(long, value_name = "VKEY")]
        vkey: String,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
        /// The set.
        #[arg(value_name = "SET")]
        set: PathBuf,
    },
}
