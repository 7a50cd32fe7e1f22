//! What a log entry says, in domain types.
//!
//! The canonical bytes are `proto/quorix/v1/entry.proto`; only the wire crate knows them. A value of these types
//! is well-formed, which says nothing of its truth: an attestation is what a builder *says*.

use std::collections::BTreeSet;

use quorix_nix::content_address::ContentAddress;
use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest, Parts};
use quorix_nix::hash::NarHash;
use quorix_nix::signature::{PublicKey, Signature};
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::hash::Hash;
use quorix_tlog::note::{KeyError, SigningKey, VerifierKey};
use quorix_tlog::rotation::{RotationError, sign_rotation, verify_rotation};

/// The most bytes that one entry may have (C2SP tlog-tiles).
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// The most bytes that one blob may have.
pub const BLOB_BYTES_MAX: usize = 4 * 1024 * 1024;

/// SHA-256 of a blob's bytes, its name.
pub type BlobId = [u8; 32];

/// One leaf of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// "I built this output and got this fingerprint."
    Build(Box<Build>),
    /// "This resolved derivation's output is this path."
    Realisation(Realisation),
    /// "This signature over this fingerprint was seen."
    Observation(Box<Observation>),
    /// "These earlier entries of mine no longer hold."
    Retraction(Retraction),
    /// "This key follows."
    KeyRotation(KeyRotation),
    /// An attestation of another reproducible system.
    Raw(Raw),
}

impl Entry {
    /// The store directory and store path that is this entry's index key, where it has one.
    #[must_use]
    pub fn output(&self) -> Option<(&StoreDir, &StorePath)> {
        match self {
            Self::Build(build) => Some((&build.claim.store_dir, &build.claim.path)),
            Self::Observation(seen) => Some((&seen.claim.store_dir, &seen.claim.path)),
            Self::Realisation(realisation) => Some((&realisation.store_dir, &realisation.path)),
            Self::Retraction(_) | Self::KeyRotation(_) | Self::Raw(_) => None,
        }
    }
}

/// What is claimed of an output: the voted facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The store directory, usually `/nix/store`.
    pub store_dir: StoreDir,
    /// The output's store path.
    pub path: StorePath,
    /// The voted value.
    pub fingerprint: FingerprintDigest,
    /// SHA-256 of the NAR.
    pub nar_hash: NarHash,
    /// Size of the NAR in bytes.
    pub nar_size: u64,
    /// The references, or where they are.
    pub references: References,
}

/// The references of a claim: in the entry, or in a blob that the entry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum References {
    /// In the entry.
    Inline(BTreeSet<StorePath>),
    /// One base name a line, in the blob of this name.
    Blob(BlobId),
}

/// Why a claim's facts cannot be had from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The stated facts have another digest than the one that is voted.
    #[error("the facts of {path} have fingerprint {computed}, but the entry votes for {stated}")]
    DigestMismatch {
        /// The output.
        path: StorePath,
        /// Digest of the facts.
        computed: FingerprintDigest,
        /// Digest in the entry.
        stated: FingerprintDigest,
    },
}

impl Claim {
    /// The claim of these facts, with all references in the entry.
    #[must_use]
    pub fn of(facts: &Fingerprint) -> Self {
        Self {
            store_dir: facts.store_dir.clone(),
            path: facts.path.clone(),
            fingerprint: facts.digest(),
            nar_hash: facts.nar_hash,
            nar_size: facts.nar_size,
            references: References::Inline(facts.references.clone()),
        }
    }

    /// The whole fingerprint, if the references are known: from the entry, or from `references`, the parsed
    /// blob. `None` where they are in a blob that was not given.
    ///
    /// # Errors
    /// [`ClaimError::DigestMismatch`] if the facts do not have the digest that is voted (SEMANTICS §2).
    pub fn facts(
        &self,
        references: Option<&BTreeSet<StorePath>>,
    ) -> Result<Option<Fingerprint>, ClaimError> {
        let references = match (&self.references, references) {
            (References::Inline(inline), _) => inline,
            (References::Blob(_), Some(blob)) => blob,
            (References::Blob(_), None) => return Ok(None),
        };
        self.check(references)?;
        Ok(Some(Fingerprint {
            store_dir: self.store_dir.clone(),
            path: self.path.clone(),
            nar_hash: self.nar_hash,
            nar_size: self.nar_size,
            references: references.clone(),
        }))
    }

    /// Checks that the facts with these references have the digest that is voted; what [`Claim::facts`] does, without
    /// giving the facts.
    ///
    /// # Errors
    /// [`ClaimError::DigestMismatch`] if they do not.
    pub fn check(&self, references: &BTreeSet<StorePath>) -> Result<(), ClaimError> {
        let facts = Parts {
            store_dir: &self.store_dir,
            path: &self.path,
            nar_hash: &self.nar_hash,
            nar_size: self.nar_size,
            references,
        };
        let computed = facts.digest();
        if computed == self.fingerprint {
            return Ok(());
        }
        Err(ClaimError::DigestMismatch {
            path: self.path.clone(),
            computed,
            stated: self.fingerprint,
        })
    }
}

/// How the attesting builder came by the bytes. What was merely seen is an [`Observation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Built here.
    Built,
    /// Built again here, to check what another had built.
    Rebuilt,
}

/// "I built this output and got this fingerprint", with evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The voted facts.
    pub claim: Claim,
    /// Nix's content address of the path, where it has one.
    pub content_address: Option<ContentAddress>,
    /// The derivation and the name of the output, where the builder knows them.
    pub derivation: Option<(StorePath, String)>,
    /// How the builder came by the bytes.
    pub provenance: Provenance,
    /// Nix system, e.g. `x86_64-linux`; empty where not told.
    pub system: String,
    /// The builder's own Nix signature over the fingerprint.
    pub nix_signature: Option<Signature>,
    /// RFC 6962 root over the inputs really present in the builder's store.
    pub inputs_root: Option<Hash>,
    /// The blob with the list behind `inputs_root`, where it is published.
    pub inputs_blob: Option<BlobId>,
    /// POSIX seconds, 0 where not told.
    pub started_at_s: u64,
    /// POSIX seconds, 0 where not told.
    pub finished_at_s: u64,
    /// What the build ran on.
    pub environment: Environment,
}

/// What a build ran on: evidence for triage, never part of a vote. Empty or 0 where not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// e.g. `nix`, `lix`.
    pub nix_implementation: String,
    /// e.g. `2.8.0`.
    pub nix_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Cores given to the build.
    pub cores: u32,
}

/// "This resolved derivation's output is this path."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realisation {
    /// The store directory.
    pub store_dir: StoreDir,
    /// The resolved derivation.
    pub derivation: StorePath,
    /// The name of its output.
    pub output_name: String,
    /// The path that the output maps to.
    pub path: StorePath,
    /// How the builder came by it.
    pub provenance: Provenance,
    /// The builder's Nix signature over the realisation, unchecked.
    pub nix_signature: Option<Signature>,
}

/// "This signature by this key over this fingerprint was seen."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The facts that were signed.
    pub claim: Claim,
    /// The key that signed.
    pub public_key: PublicKey,
    /// Its signature.
    pub signature: Signature,
}

/// Withdraws earlier entries of the same log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retraction {
    /// Leaf hashes of the withdrawn entries; never empty.
    pub leaf_hashes: BTreeSet<Hash>,
    /// Why, for people.
    pub reason: String,
}

/// The last entry of a log: its successor's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRotation {
    /// vkey of the key that follows.
    pub new_vkey: String,
    /// By the old key.
    pub old_signature: [u8; 64],
    /// By the new key.
    pub new_signature: [u8; 64],
}

/// A key rotation does not end the log that it is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARotation {
    /// What it names is no key.
    #[error("the key that follows: {0}")]
    Key(#[from] KeyError),
    /// It is not signed by both keys.
    #[error(transparent)]
    Signature(#[from] RotationError),
}

impl KeyRotation {
    /// The rotation from one key to the next, signed by both.
    ///
    /// # Errors
    /// Both keys have one name.
    pub fn sign(old: &SigningKey, new: &SigningKey) -> Result<Self, RotationError> {
        let (old_signature, new_signature) = sign_rotation(old, new)?;
        Ok(Self {
            new_vkey: new.verifier().to_string(),
            old_signature,
            new_signature,
        })
    }

    /// The key that follows, if this ends the log of the key `old`: both signatures are good. A rotation that is not
    /// signed so ends nothing.
    ///
    /// # Errors
    /// What it names is no key, or a signature is wrong.
    pub fn successor_of(&self, old: &VerifierKey) -> Result<VerifierKey, NotARotation> {
        let new: VerifierKey = self.new_vkey.parse()?;
        verify_rotation(old, &new, &self.old_signature, &self.new_signature)?;
        Ok(new)
    }
}

/// An attestation of another reproducible system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Name of the protocol.
    pub protocol: String,
    /// Its key.
    pub key: Vec<u8>,
    /// Digest of its value.
    pub value: [u8; 32],
}
