//! What can be typed to look after an aggregator: `aggregator …` and `verify evidence`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quorix_wire::address::Address;

use super::ConfigFile;
use super::import::ImportObservations;

/// `aggregator …`
#[derive(Debug, Subcommand)]
pub enum AggregatorCommand {
    /// Take signatures of the policy's caches in bulk into this machine's aggregator, which must be stopped.
    ImportObservations(ImportObservations),
    /// Logs that signed two checkpoints that contradict each other.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Build the index anew from the mirrored logs, while the aggregator is stopped.
    Reindex(Reindex),
    /// Find outputs by derivation, NAR hash or system, or list all of them.
    Find(Find),
    /// How many outputs stand how: by day and system, and by pairs of builders.
    Tallies(Tallies),
}

/// `aggregator quarantine …`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Let a quarantined log count again, while the aggregator is stopped. It is recorded for good.
    Lift(Lift),
}

/// `aggregator quarantine lift`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix aggregator quarantine lift alice --reason 'fork of 2026-11-25 was a restored disk; alice published why'

The log's key signed two histories. Lift this only if you know why, and trust the key all the same. What the
log said before stays mirrored; the history that contradicts it is still refused, and any other contradiction
quarantines the log again. The reason and the proof are kept and shown for ever.

Exit code 0: lifted; 1: the log is not quarantined; 2: wrong use; 3: the database could not be opened.")]
pub struct Lift {
    /// The builder's name in the policy, or the log's origin.
    #[arg(value_name = "LOG")]
    pub log: String,
    /// Why, for everybody to read.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `aggregator reindex`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix aggregator reindex --check      compare only: is the index what the mirrored logs give
  quorix aggregator reindex

Every mirrored entry is hashed and read again; all times come from stored checkpoints. Where the index
was another one, the old database is kept beside the new one as aggregator.old.

Exit code 0: done, or the same; 1: with --check, the index is another one; 2: wrong use; 3: it could
not be opened or read.")]
pub struct Reindex {
    /// Change nothing, and say whether the index is what the logs give.
    #[arg(long)]
    pub check: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `aggregator tallies`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix aggregator tallies
  quorix aggregator tallies --json --aggregator 127.0.0.1:8481

A day counts the outputs that were first spoken of then, by system, as they stand now. A pair counts the outputs of
which both said something. Withdrawn: all that was said of it was withdrawn.

Exit code 0: answered; 2: wrong use; 3: the aggregator could not be asked.")]
pub struct Tallies {
    /// Where the aggregator answers, instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    pub aggregator: Option<Address>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `aggregator find`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix aggregator find --derivation /nix/store/…-hello-2.12.drv
  quorix aggregator find --nar-hash sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
  quorix aggregator find --system aarch64-linux --limit 1000
  quorix aggregator find --all --json | jq -r 'select(.standing == \"disagree\").path'

One line an output, ascending by hash part: how it stands and its path. With --json one object a line.

Exit code 0: there are some; 1: there are none; 2: wrong use; 3: the aggregator could not be asked.")]
#[command(group(clap::ArgGroup::new("by").required(true).args(["derivation", "nar_hash", "system", "all"])))]
pub struct Find {
    /// Outputs that were said to be of this derivation: its path, base name or hash part.
    #[arg(long, value_name = "PATH")]
    pub derivation: Option<String>,
    /// Outputs that were said to have this NAR: its SHA-256 as Nix writes it (`sha256-…` or `sha256:…`).
    #[arg(long, value_name = "HASH")]
    pub nar_hash: Option<String>,
    /// Outputs that were said to be built for this system.
    #[arg(long, value_name = "SYSTEM")]
    pub system: Option<String>,
    /// Every output of which something was said.
    #[arg(long)]
    pub all: bool,
    /// The most outputs that are listed.
    #[arg(long, value_name = "N")]
    pub limit: Option<std::num::NonZero<usize>>,
    /// Where the aggregator answers, instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    pub aggregator: Option<Address>,
    /// Print as JSON, one object a line.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `verify evidence`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix verify evidence alice.evidence --vkey logs.example.org/alice+4f3a…+AaX…

Needs nothing but the log's key: no network, no aggregator. Garbage proves nothing, whoever made the file.

Exit code 0: the log signed two checkpoints that contradict each other; 1: this file does not show that; 2: wrong use.")]
pub struct VerifyEvidence {
    /// The file, as an aggregator keeps it in its folder `evidence`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The key of the log.
    #[arg(long, value_name = "VKEY")]
    pub vkey: String,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}
