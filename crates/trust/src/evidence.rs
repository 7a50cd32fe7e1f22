//! Everything known of some outputs at one moment, already verified.
//!
//! Whoever builds an [`Evidence`] has checked inclusion proofs against verified checkpoints; signatures of caches
//! are checked again here, when they are counted. What is not in the evidence does not exist: a missing log, path
//! or blob can only ever lead to a refusal.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::signature::{PublicKey, Signature};
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};

use crate::attestation::{Build, Observation};

/// All verified facts about some outputs at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The store directory that is asked about; claims for another are ignored.
    pub store_dir: StoreDir,
    /// The logs, by origin. A log that the policy names and that is missing here counts as stale.
    pub logs: BTreeMap<String, LogEvidence>,
    /// What was said, by the hash part of the store path.
    pub outputs: BTreeMap<HashPart, Vec<Statement>>,
    /// Keys of the caches that answered about an output: with a signature, or that they do not have it.
    pub caches_heard: BTreeMap<HashPart, BTreeSet<[u8; 32]>>,
    /// Content-addressed paths whose NAR was fetched and whose path was recomputed from it.
    pub self_verified: BTreeMap<StorePath, Fingerprint>,
    /// What was ACCEPTED earlier, shown by a receipt that replays: for `grace=`.
    pub earlier: BTreeMap<StorePath, Earlier>,
}

/// An earlier acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// What was accepted.
    pub value: FingerprintDigest,
    /// When, in POSIX seconds.
    pub at_s: u64,
}

/// Verified cosignatures on one checkpoint: name of the witness in the policy, time in POSIX seconds.
pub type Cosigned = BTreeMap<String, u64>;

/// An earlier checkpoint of a log, verified to be of the same tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covering {
    /// Entries that it covers: those below.
    pub size: u64,
    /// Who cosigned it, and when.
    pub cosigned: Cosigned,
}

/// How a log stood at the moment of the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvidence {
    /// Its state (SEMANTICS §2).
    pub state: LogState,
    /// Size of the checkpoint that the evidence is from.
    pub size: u64,
    /// Who cosigned that checkpoint, and when.
    pub cosigned: Cosigned,
    /// Earlier checkpoints with their cosignatures, which date entries; in any order.
    pub history: Vec<Covering>,
}

/// SEMANTICS §2. Only a live log adds votes; what any log said counts as dissent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogState {
    /// Verified and answering.
    Live,
    /// Too old, not answering, or answering what does not verify.
    Stale {
        /// Why, for people.
        reason: String,
    },
    /// Proof of equivocation is held.
    Quarantined,
}

/// One thing that was said about an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where it stands.
    pub source: Source,
    /// What it says.
    pub said: Said,
    /// The whole fingerprint, where the references are known.
    pub facts: Option<Fingerprint>,
    /// The list of what was present at the build with the values there, where a build publishes it and it was
    /// fetched.
    pub inputs: Option<BTreeMap<StorePath, FingerprintDigest>>,
    /// A later entry of the same log withdraws it. Means nothing for an observation: the signature is the evidence,
    /// and no log can take back what a cache signed.
    pub withdrawn: bool,
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A leaf of a log, its inclusion proved.
    Log {
        /// Name of the log.
        origin: String,
        /// Index of the leaf.
        index: u64,
    },
    /// A cache's signature that no log carries.
    Unlogged,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// "I built this."
    Build(Box<Build>),
    /// "This was signed."
    Observation(Box<Observation>),
}

impl Statement {
    /// The output that it is about.
    #[must_use]
    pub fn path(&self) -> &StorePath {
        &self.claim().path
    }

    /// The value that it says.
    #[must_use]
    pub fn value(&self) -> FingerprintDigest {
        self.claim().fingerprint
    }

    /// The voted facts.
    #[must_use]
    pub fn claim(&self) -> &crate::attestation::Claim {
        match &self.said {
            Said::Build(build) => &build.claim,
            Said::Observation(seen) => &seen.claim,
        }
    }

    /// The builder's or the cache's Nix signature over the fingerprint, unchecked.
    #[must_use]
    pub fn nix_signature(&self) -> Option<&Signature> {
        match &self.said {
            Said::Build(build) => build.nix_signature.as_ref(),
            Said::Observation(seen) => Some(&seen.signature),
        }
    }

    /// True if this is a signature by exactly these key bytes over exactly the facts that it carries. The name
    /// of the key does not matter; a signature over facts that are not known never verifies.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Said::Observation(seen) = &self.said else {
            return false;
        };
        let Some(facts) = &self.facts else {
            return false;
        };
        seen.public_key.as_bytes() == key.as_bytes()
            && facts.digest() == seen.claim.fingerprint
            && seen.public_key.verify(facts, &seen.signature).is_ok()
    }
}

impl Evidence {
    /// True if an output that is refused may yet turn out to need no votes, because its path follows from its
    /// content: whenever that was not seen already. What was said of it does not matter: caches do not sign content
    /// addresses, builders may leave them out, and one that does must not keep anyone from looking at the bytes.
    #[must_use]
    pub fn may_verify_by_itself(&self, output: &HashPart) -> bool {
        let mut verified = self.self_verified.keys();
        !verified.any(|path| path.hash_part() == *output)
    }
}
