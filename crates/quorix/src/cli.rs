//! What can be typed. Texts only; what commands do is in `commands`.

pub mod aggregator;
pub mod audit;
pub mod import;
pub mod operate;
pub mod policy;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorix_wire::address::Address;

/// Install a binary because enough independent builders got the same bytes.
#[derive(Debug, Parser)]
#[command(
    name = "quorix",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  quorix demo                                  the whole story on this machine, with real Nix
  quorix serve --config /etc/quorix/quorix.toml
  quorix decide /nix/store/…-hello-2.12        may this be used, and why
  quorix policy check /etc/quorix/policy

Exit codes: 0 yes or done, 1 no, 2 wrong use, 3 could not find out."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How log lines look on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the roles that the configuration switches on, until stopped.
    #[command(after_help = "\
Examples:
  quorix serve
  quorix serve --config alice.toml --log-format json

Says on standard error what it listens on and when all roles run. SIGTERM and Ctrl-C end it in order.
`quorix config check` says beforehand what would keep it from starting.

Exit code 0: stopped when told to; 2: the configuration, a key or a policy is wrong; 3: something else kept it from
starting, or a role failed.")]
    Serve(ConfigFile),
    /// May this store path be used under the policy, and why.
    Decide(Decide),
    /// How what is installed here stands to what builders say.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Play the whole story on this machine: three builders, one lie, one quorum.
    Demo(Demo),
    /// Measure this machine: one line a figure, with its target.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at a policy.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Make and show keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make tokens, with which a builder elsewhere submits to a log.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look at logs, and look after that of this machine.
    #[command(subcommand)]
    Log(LogCommand),
    /// Look after this machine's aggregator.
    #[command(subcommand)]
    Aggregator(aggregator::AggregatorCommand),
    /// Keep a full verified copy of a log.
    Mirror(operate::MirrorLog),
    /// Check proofs offline.
    #[command(subcommand)]
    Verify(operate::VerifyCommand),
    /// Say in this builder's log what it built.
    Attest(Attest),
    /// For Nix to call.
    #[command(subcommand)]
    Hook(HookCommand),
    /// Print completions for a shell.
    #[command(after_help = "\
Examples:
  quorix completions bash > /etc/bash_completion.d/quorix
  quorix completions fish > ~/.config/fish/completions/quorix.fish

Exit code 0: printed; 2: there is no such shell.")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(after_help = "\
Examples:
  quorix man | man -l -
  quorix man --dir /usr/local/share/man/man1

Exit code 0: printed or written; 2: the folder cannot be written.")]
    Man {
        /// Write the pages of all commands into this folder.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(
        long,
        value_name = "FILE",
        env = "QUORIX_CONFIG",
        default_value = "/etc/quorix/quorix.toml"
    )]
    pub config: PathBuf,
}

/// `decide`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix decide /nix/store/…-hello-2.12
  quorix decide --aggregator 127.0.0.1:8481 93a4fjryvg1hz7bxki7wzd9cznsm20yx
  quorix decide --policy my-policy /nix/store/…-hello-2.12   verify and decide here
  quorix decide --policy my-policy --complete /nix/store/…-hello-2.12   ask the logs what was left out

Exit code 0: accepted; 1: refused; 3: the aggregator could not be asked.")]
pub struct Decide {
    /// Store path, its base name, or its 32-character hash.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Where the aggregator answers, instead of what the configuration says.
    #[arg(long, value_name = "ADDRESS")]
    pub aggregator: Option<Address>,
    /// Fetch the evidence, verify every proof and decide here under this policy, whatever the aggregator thinks.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// With --policy: ask each log itself, by its index, what it says, and add what the aggregator left out. PATH has to
    /// be whole. A log that does not show that all of it is there adds no votes.
    #[arg(long, requires = "policy")]
    pub complete: bool,
    /// With --policy: where bytes of content-addressed paths may come from, instead of what the configuration says.
    #[arg(long = "source", value_name = "URL", requires = "policy")]
    pub sources: Vec<String>,
    /// With --policy: write all that the decision follows from into a new file, for `quorix verify receipt`.
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub receipt: Option<PathBuf>,
    /// With --receipt: the receipt of an earlier acceptance, for a rule with `grace=`.
    #[arg(long, value_name = "FILE", requires = "receipt")]
    pub earlier: Option<PathBuf>,
    /// Print the whole decision as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `demo`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix demo                    tell the story, and keep the dashboard open until Ctrl-C
  quorix demo --check            check every step and stop
  quorix demo --samples          where Nix is not installed

Exit code 0: all of it went as told; 1: something did not; 3: it could not be played.")]
pub struct Demo {
    /// Check every step, stop everything, and exit 0 only if all of it is as told.
    #[arg(long)]
    pub check: bool,
    /// Tell the story without Nix: built-in sample trees instead of builds, our own client instead of Nix's.
    #[arg(long)]
    pub samples: bool,
    /// Work in this folder and keep it, instead of a temporary one.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

/// `bench …`
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Let an aggregator follow logs of many claims, then measure catching up, decisions, start and size.
    #[command(after_help = "\
Examples:
  quorix bench aggregator                                 four logs of 126,000 made-up outputs
  quorix bench aggregator --paths nixpkgs-paths.tsv       of real ones: hash part and name in each line
  quorix bench aggregator --outputs 2500000 --dir /mnt/disk/bench --only aggregator.catch_up

Exit code 0: measured, whether a target is met or not; 2: wrong use; 3: it could not be measured.")]
    Aggregator {
        /// Outputs of each log: hash part and name, separated by tabs; made up without it.
        #[arg(long, value_name = "FILE")]
        paths: Option<PathBuf>,
        /// How many outputs each log has.
        #[arg(long, value_name = "N", default_value_t = 126_000)]
        outputs: u64,
        /// How many logs.
        #[arg(long, value_name = "N", default_value_t = 4)]
        logs: u64,
        /// Where logs and database are put; a temporary folder without it.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
        /// Only figures whose name begins like this.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fill a log over gRPC with synced batches, then measure answers, tiles, proofs, start and size.
    #[command(after_help = "\
Examples:
  quorix bench log                                        a million entries in a temporary folder
  quorix bench log --entries 10000000 --dir /mnt/disk/bench   keeps the log, and goes on with it the next time
  quorix bench log --only log.append --json

Exit code 0: measured, whether a target is met or not; 2: wrong use; 3: it could not be measured.")]
    Log {
        /// Entries that the log is filled with.
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        entries: u64,
        /// Where the log is put and kept; a temporary folder without it. The disk of this folder is measured.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
        /// Only figures whose name begins like this.
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration, its keys and its policy, and say what is wrong.
    #[command(after_help = "\
Examples:
  quorix config check
  quorix config check --config alice.toml

Exit code 0: it is good; 2: something is wrong, and where.")]
    Check(ConfigFile),
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read a policy and say what is wrong or worth knowing.
    #[command(after_help = "\
Examples:
  quorix policy check /etc/quorix/policy
  quorix policy check --json my-policy | jq .rules

Exit code 0: it is good, whatever is worth knowing; 2: it has a mistake, and where.")]
    Check {
        /// The policy file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print what was read as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a first policy to begin with; it is good for `policy check`.
    Init(policy::Init),
    /// What would change under another policy, before it is in force.
    Try(policy::Try),
    /// Look after a signed set of paths for which a weaker rule holds.
    #[command(subcommand)]
    Exempt(policy::Exempt),
}

/// `key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a secret key in a new file that only its owner can read, and print the public key.
    #[command(after_help = "\
Examples:
  quorix key generate --kind log --name logs.example.org/alice /etc/quorix/log.key
  quorix key generate --kind nix --name alice-1 /etc/quorix/nix.key
  quorix key generate --kind witness --name alice.example.org/witness /etc/quorix/witness.key

Exit code 0: made; 2: wrong use, or the file is there already; 3: the system gave no randomness.")]
    Generate {
        /// What it signs.
        #[arg(long, value_enum)]
        kind: KeyKind,
        /// The key's name: for a log its origin, for Nix as in `trusted-public-keys`.
        #[arg(long)]
        name: String,
        /// The file to make. An existing one is never overwritten.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// End this machine's log, which must run: its last entry names the key that follows, signed by both.
    #[command(after_help = "\
Examples:
  quorix key rotate --name logs.example.org/alice-2 /etc/quorix/log-2.key
  quorix key rotate --yes /etc/quorix/log-2.key               a key that is there already

For good: the log takes nothing new any more. What it said still counts wherever policies name it. The key that follows has
another name and begins a log of its own; nobody follows it before a policy names it, which the answer tells how to do.

Exit code 0: the log has ended; 1: not confirmed; 2: wrong use; 3: the log could not be asked.")]
    Rotate {
        /// The file of the key that follows. Where it is not there, the key is made and named by --name.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The name of a key that is to be made, which is the origin of its log.
        #[arg(long)]
        name: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print the public key of a secret key file.
    #[command(after_help = "\
Examples:
  quorix key show /etc/quorix/log.key             what a policy names
  quorix key show --index /etc/quorix/log.key     what a witness is told beside it

Exit code 0: printed; 2: this is no secret key, or not one that has such a public key.")]
    Show {
        /// The secret key file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The key of the log's index instead: what a witness is told beside the log's own, so that it cosigns both.
        #[arg(long)]
        index: bool,
    },
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// Checkpoints of a log (C2SP signed-note, Ed25519).
    Log,
    /// Store paths (Nix's key format), for builders and the resolver.
    Nix,
    /// Checkpoints of others, as a witness (C2SP tlog-cosignature, Ed25519).
    Witness,
    /// The same with ML-DSA-44, which resists quantum computers; also a log's second key.
    WitnessPq,
}

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make the token of one builder for one log: the secret in a new file, the log's line on standard output.
    #[command(after_help = "\
Examples:
  quorix token generate --log logs.example.org/alice --name alice-ci token
  quorix token generate --log logs.example.org/alice --name alice-ci token >> tokens   on the log's machine

The secret file stays with the builder (`token` in [builder]); the line goes into the log's token file (`tokens`
in [log]). The log stores no secret: nobody can submit with what is stored there.

Exit code 0: made; 2: wrong use, or the file is there already; 3: the system gave no randomness.")]
    Generate {
        /// The origin of the log that it is for.
        #[arg(long, value_name = "ORIGIN")]
        log: String,
        /// Whose it is: letters, digits, `.`, `_` and `-`.
        #[arg(long)]
        name: String,
        /// The file to make. An existing one is never overwritten.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `log …`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Copy a log into a folder that any web server can serve.
    Export(operate::Export),
    /// Check a whole log: every entry, tile and blob, and the signature over them.
    Fsck(operate::Fsck),
    /// Write a file that shows that a log has an entry.
    Proof(operate::Proof),
    /// Withdraw what this machine's log said.
    Retract(operate::Retract),
    /// Print the newest entries of a log, verified.
    Tail(operate::Tail),
    /// The logs that the aggregator follows and their health; or this machine's own log.
    #[command(after_help = "\
Examples:
  quorix log status
  quorix log status --aggregator 127.0.0.1:8481 --json

Exit code 0: all logs are live, or the own log answers; 1: some are not; 2: wrong use; 3: who was asked did not answer.")]
    Status {
        /// Where the aggregator answers, instead of what the configuration says.
        #[arg(long, value_name = "ADDRESS")]
        aggregator: Option<Address>,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Copy this machine's log, running or stopped, into a new folder. The copy is marked.
    #[command(after_help = "\
Examples:
  quorix log backup /backup/log-2026-11-25

A running log makes the copy itself, so run this as its user or as root; what is submitted meanwhile may or may not be in it.
A log goes on from a copy only once it is confirmed that nothing was signed since: by its witnesses, or by you with
`quorix log adopt`. A log that signs on from an old copy contradicts itself for everybody to see.

Exit code 0: copied; 2: wrong use, or the folder is there already; 3: it could not be copied.")]
    Backup {
        /// The folder to make.
        #[arg(value_name = "FOLDER")]
        dir: PathBuf,
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say that this machine's log, which must be stopped, goes on from what its database holds.
    #[command(after_help = "\
Examples:
  quorix log adopt --confirm-size 1234
  quorix log adopt --confirm-size 0

After a copy was restored, or the anchor was lost. Make sure first that nobody has seen a checkpoint of more entries: ask
whoever follows the log. A database that its anchor or a witness shows to be an older copy is refused all the same.

With size 0 a log is begun whose key was made elsewhere, so that nothing shows that it is new (`quorix key generate` leaves
a mark beside the key). If the key has signed before, do not: bring the log's folder back.

Exit code 0: it goes on from there; 2: wrong use, or the database holds another number of entries; 3: it does not go on
from there, whatever you say.")]
    Adopt {
        /// How many entries the database holds, as the log said when it did not start.
        #[arg(long, value_name = "SIZE")]
        confirm_size: u64,
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// What exactly a log says about an output, with proof that it says nothing else.
    Lookup(operate::Lookup),
    /// Make the index of a log again from its entries, and compare it with what the log signed.
    AuditIndex(operate::AuditIndex),
}

/// `attest`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix attest /nix/store/…-hello-2.12
  quorix attest $(nix-build -A hello)

Only what this machine built is attested: Nix marks it `ultimate`. Bytes are hashed again first.

Exit code 0: all of it is in the log; 2: wrong use, or something of it was not built here; 3: the log could not be asked.")]
pub struct Attest {
    /// Store paths.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// They were built again to check what another had built.
    #[arg(long)]
    pub rebuilt: bool,
    /// Print receipts as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `hook …`
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Nix's `post-build-hook`: note what was built, at once and without ever failing the build.
    #[command(after_help = "\
Example, in /etc/nix/nix.conf, where the hook is a script that calls this:
  post-build-hook = /etc/quorix/post-build-hook

Nix tells by OUT_PATHS and DRV_PATH what was built. It is noted in the outbox, and submitted by `quorix serve`.

Exit code 0, also where nothing could be noted: a hook that fails would fail the build. Standard error says what was wrong.")]
    PostBuild(ConfigFile),
    /// What the outbox holds.
    #[command(after_help = "\
Examples:
  quorix hook status
  quorix hook status --json

Exit code 0: answered; 2: wrong use; 3: the outbox could not be read.")]
    Status {
        /// Print as JSON.
        #[arg(long)]
        json: bool,
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
    },
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;

    /// Names of the commands that do something, for whose help this is not true.
    fn whose_help(command: &Command, name: &str, lacks: fn(&str) -> bool) -> Vec<String> {
        let below: Vec<_> = command
            .get_subcommands()
            .flat_map(|command| {
                whose_help(command, &format!("{name} {}", command.get_name()), lacks)
            })
            .collect();
        let help = command.get_after_help().map(ToString::to_string);
        if command.has_subcommands() || !lacks(&help.unwrap_or_default()) {
            return below;
        }
        vec![name.to_owned()]
    }

    #[test]
    fn every_command_shows_an_example() {
        let found = whose_help(&Cli::command(), "quorix", |help| !help.contains("Example"));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn every_command_ends_its_help_with_its_exit_codes() {
        let found = whose_help(&Cli::command(), "quorix", |help| {
            let last = help.rsplit("\n\n").next().unwrap_or_default();
            !last.starts_with("Exit code 0")
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn the_arguments_of_all_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
