//! What can be typed to give an aggregator signatures in bulk: `aggregator import-observations`.

use std::path::PathBuf;

use clap::Args;

use super::ConfigFile;

/// `aggregator import-observations`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cat /srv/cache/*.narinfo | quorix aggregator import-observations -
  quorix aggregator import-observations dump.narinfos --resume import.state
  nix path-info --all | quorix aggregator import-observations --paths -      asks each cache of the policy
  quorix aggregator import-observations --paths paths.txt --cache main --resume import.state

A dump is one narinfo after the other. Only a signature that verifies under the key of a cache of the policy is
kept; everything else is counted and never counts. Each cache is asked by itself: one that is slow or down delays
no other.

Exit code 0: done; 1: done, and some signatures are forged; 2: wrong use; 3: a cache did not answer.")]
pub struct ImportObservations {
    /// The dump or the list; `-` for standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file is a list of store paths, one a line: ask the caches about each.
    #[arg(long)]
    pub paths: bool,
    /// Only signatures of this cache of the policy.
    #[arg(long, value_name = "NAME")]
    pub cache: Option<String>,
    /// Questions to one cache at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub at_once: u16,
    /// Note there how far the import has come, and go on from there the next time.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}
