//! What can be typed to look after logs: `log export`, `fsck`, `tail`, `proof`, `retract`, `lookup`, `audit-index`, `mirror`
//! and `verify`.

use std::path::PathBuf;

use clap::Args;

use super::ConfigFile;

/// Which log; without arguments the one of this machine's configuration.
#[derive(Args, Clone, Debug)]
pub struct WhichLog {
    /// The key of the log, as `quorix key show` or `quorix log status` prints it.
    #[arg(long = "log", value_name = "VKEY", requires = "urls")]
    pub key: Option<String>,
    /// Where it is served: URL or folder; may be repeated, the preferred one first.
    #[arg(long = "url", value_name = "URL", requires = "key")]
    pub urls: Vec<String>,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `log export`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log export /srv/www/log                     this machine's log, running or stopped
  quorix log export --log \"$VKEY\" --url https://logs.example.org/alice /mnt/usb/alice

Everything is verified before it is written. A second run adds what is new. Any web server, object
store or git repository that carries the folder serves the log: its address is the folder's.

Exit code 0: copied; 1: the log is not what its key signed; 2: wrong use; 3: it could not be read.")]
pub struct Export {
    /// The folder to write; made where it is not there.
    #[arg(value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Which log.
    #[command(flatten)]
    pub which: WhichLog,
}

/// `log fsck`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log fsck                                    this machine's log, while it is stopped
  quorix log fsck /srv/www/log                       a folder that `quorix log export` wrote
  quorix log fsck --log \"$VKEY\" --url https://logs.example.org/alice --resume alice.fsck
  quorix log fsck --log \"$VKEY\" --url https://logs.example.org/alice --policy witnesses.policy

Every entry is hashed, every tile of every level recomputed, every blob compared with the entries
that name it; with --policy every cosignature by its witnesses is verified, and enough of them
have to be there. Nothing is changed. Any log of C2SP tlog-tiles can be checked. Of this machine's
own log it is also said what lies beyond the newest checkpoint: what a crash left over is in order,
and an anchor that shows more than the database holds is not.

Exit code 0: sound; 1: something is wrong; 2: wrong use; 3: it could not be found out.")]
pub struct Fsck {
    /// A folder with the files of a log, instead of a URL or the database.
    #[arg(value_name = "FOLDER", conflicts_with = "urls")]
    pub dir: Option<PathBuf>,
    /// The key of the log; without it the one of the configuration.
    #[arg(long = "log", value_name = "VKEY")]
    pub key: Option<String>,
    /// Where it is served; may be repeated.
    #[arg(long = "url", value_name = "URL", requires = "key")]
    pub urls: Vec<String>,
    /// Note there how far the check has come, and go on from there the next time.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Leave out the blobs that entries name.
    #[arg(long)]
    pub no_blobs: bool,
    /// Check the cosignatures of the checkpoint too: who has to have cosigned it (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `log tail`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log tail                                    the newest ten entries of this machine's log
  quorix log tail --follow
  quorix log tail --log \"$VKEY\" --url https://logs.example.org/alice --from 0 --json

Every entry that is printed is proved to be in the tree that the log's key signed.

Exit code 0: printed; 1: the log is not what its key signed, or shows another past; 2: wrong use; 3: it could not be read.")]
pub struct Tail {
    /// Go on printing what is appended, until stopped.
    #[arg(long, short)]
    pub follow: bool,
    /// The first entry to print, instead of the newest ten.
    #[arg(long, value_name = "INDEX")]
    pub from: Option<u64>,
    /// Print one JSON object an entry.
    #[arg(long)]
    pub json: bool,
    /// Which log.
    #[command(flatten)]
    pub which: WhichLog,
}

/// `mirror`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix mirror --log \"$VKEY\" --url https://logs.example.org/alice --dir /srv/mirror/alice
  quorix mirror --log \"$VKEY\" --url https://logs.example.org/alice --dir alice --once

Keeps a full verified copy of a log, blobs included. The copy serves when the log itself is gone: give
its folder to any web server, or switch on [mirror] in the configuration and run `quorix serve`.

Exit code 0: copied; 1: the log contradicts what it had signed; 2: wrong use; 3: it could not be read.")]
pub struct MirrorLog {
    /// The key of the log.
    #[arg(long = "log", value_name = "VKEY")]
    pub key: String,
    /// Where it is served; may be repeated, the preferred one first.
    #[arg(long = "url", value_name = "URL", required = true)]
    pub urls: Vec<String>,
    /// The folder of the copy; made where it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub dir: PathBuf,
    /// Copy what is there now, and end.
    #[arg(long)]
    pub once: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is; of it only [tls] is read, if it is there.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `log retract`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log retract 1042 --reason 'built on a machine with bad memory'
  quorix log retract /nix/store/…-hello-2.12 --reason 'not reproducible here' --yes

What was said stays in the log for everybody to see; from the retraction on it counts for nothing. The same
statement can be made again later. What is withdrawn is shown and has to be confirmed.

Exit code 0: withdrawn; 1: there is nothing to withdraw; 2: wrong use; 3: the log could not be asked.")]
pub struct Retract {
    /// Which entries: an index, a leaf hash in base64, or a store path for all that was said of it.
    #[arg(value_name = "ENTRY", required = true)]
    pub entries: Vec<String>,
    /// Why, for everybody to read.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `log proof`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log proof /nix/store/…-hello-2.12 -o hello.tlog-proof
  quorix log proof 1042 > entry-1042.tlog-proof
  quorix log proof --log \"$VKEY\" --url https://logs.example.org/alice 7 -o seven.tlog-proof

The file has the entry, its path to the signed root, and the checkpoint with all its cosignatures. Anyone
can check it offline: quorix verify proof FILE --policy FILE

Exit code 0: written; 1: the log has no such entry; 2: wrong use; 3: the log could not be read.")]
pub struct Proof {
    /// Which entry: an index, a leaf hash in base64, or a store path for the newest that still holds of it.
    #[arg(value_name = "ENTRY")]
    pub entry: String,
    /// Where to write it, instead of standard output. An existing file is not overwritten.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which log.
    #[command(flatten)]
    pub which: WhichLog,
}

/// `log lookup`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log lookup /nix/store/…-hello-2.12          this machine's log, which runs
  quorix log lookup /nix/store/…-hello-2.12 --log logs.example.org/alice+… --url https://logs.example.org/alice
  quorix log lookup /nix/store/…-hello-2.12 --log \"$VKEY\" --url URL --policy witnesses.policy --remember alice.known

The log's index answers; every proof is verified here with the log's key. With --policy enough
witnesses have to have cosigned both the log and its index; with --remember the log and its index
have to extend what they showed before.

With --json: `found` is true or false, or null where no answer verifies; `complete` says that
nothing else is said in the first `size` entries; `index_proof` is what the index proved (presence
or absence; null while it covers nothing). Each entry has a `state` (in-force, withdrawn,
withdrawal), `withdrawn_by`, and `shown_by` (index or reading).

Exit code 0: the log says something about it; 1: it says nothing, or its answer does not verify;
3: it did not answer, or keeps no index.")]
pub struct Lookup {
    /// Absolute store path.
    #[arg(value_name = "PATH")]
    pub path: String,
    /// vkey of the log; without it this machine's own log.
    #[arg(long, value_name = "VKEY", requires = "url")]
    pub log: Option<String>,
    /// Where the log is served, instead of where the configuration says.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Who has to have cosigned the log and its index (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The cosignatures may be at most this many seconds old.
    #[arg(long, value_name = "SECONDS", requires = "policy")]
    pub max_age: Option<u64>,
    /// The most entries that are read; all of them are held in memory.
    #[arg(long, value_name = "N", default_value_t = quorix_wire::index::ENTRIES_MAX)]
    pub max_entries: usize,
    /// Compare with the checkpoints in this file, and keep those of the answer there.
    #[arg(long, value_name = "FILE")]
    pub remember: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// `log audit-index`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix log audit-index                             this machine's log, running or stopped
  quorix log audit-index --log \"$VKEY\" --url https://logs.example.org/alice
  quorix log audit-index --log \"$VKEY\" --url https://logs.example.org/alice --policy witnesses.policy

Reads the whole log, checks every entry against its checkpoint, makes the index again and compares every state of the
map that the log signed. The first that is not what the entries give is named; the signed leaf is the evidence.

Exit code 0: the index is right; 1: it is not, or the log is not what its key signed; 2: wrong use; 3: it could not be
found out.")]
pub struct AuditIndex {
    /// Who has to have cosigned the index (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Where the index is made and removed again: a folder with room, instead of that for temporary files.
    #[arg(long, value_name = "FOLDER")]
    pub scratch: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Which log.
    #[command(flatten)]
    pub which: WhichLog,
}

/// `verify …`
#[derive(Debug, clap::Subcommand)]
pub enum VerifyCommand {
    /// Check a proof that a log has an entry, offline.
    Proof(VerifyProof),
    /// Check proof that a log signed two checkpoints that contradict each other, offline.
    Evidence(super::aggregator::VerifyEvidence),
    /// Decide again, offline, from all that a receipt holds.
    Receipt(VerifyReceipt),
}

/// `verify receipt`
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  quorix decide --policy my-policy --receipt hello.receipt /nix/store/…-hello-2.12
  quorix verify receipt hello.receipt --policy my-policy

Exit code 0: accepted, and it follows; 1: it does not hold, or it is a refusal; 2: wrong use.")]
pub struct VerifyReceipt {
    /// The receipt.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The policy that it must be under. Without one it is only said what follows from the receipt's own policy.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `verify proof`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quorix verify proof hello.tlog-proof --policy witnesses.policy
  quorix verify proof hello.tlog-proof --policy witnesses.policy --entry entry.bin

The policy is a C2SP tlog-policy: the keys of logs and witnesses, and how many witnesses are enough:

  log logs.example.org/alice+4f3a…+AaX…
  witness w1 witness.example.org/w1+5c…+BHk…
  quorum w1

Exit code 0: proved; 1: not proved; 2: wrong use.")]
pub struct VerifyProof {
    /// The proof (`.tlog-proof`).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which logs and witnesses are known, and how many of these are enough (C2SP tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// The bytes of the entry, instead of those that the proof carries.
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}
