//! Test data with names: paths, keys and log entries, each made in one line and always the same.
//!
//! Everything is well-formed and consistent unless a test asks for something else. Keys are made from their names:
//! they protect nothing.

use std::collections::BTreeSet;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::signature::{KeyName as NixKeyName, SecretKey};
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::{KeyName, SigningKey};
use quorix_trust::attestation::{
    Build, Claim, Entry, Environment, Observation, Provenance, Raw, References, Retraction,
};
use quorix_wire::entry::{encode, encode_references};
use sha2::{Digest, Sha256};

use crate::tree::blob_id;

fn digest(kind: &str, text: &str) -> [u8; 32] {
    Sha256::digest(format!("{kind} {text}")).into()
}

/// The store path of this name; the same name gives the same path.
#[must_use]
pub fn a_path(name: &str) -> StorePath {
    let mut hash_part = [0; 20];
    hash_part.copy_from_slice(&digest("path", name)[..20]);
    StorePath::new(&HashPart::from_bytes(&hash_part), name).expect("tests use valid names")
}

/// The signing key of the log of this name.
#[must_use]
pub fn log_key(origin: &str) -> SigningKey {
    let name: KeyName = origin.parse().expect("tests use valid origins");
    SigningKey::from_seed(name, digest("log key", origin))
}

/// The Nix key of this name.
#[must_use]
pub fn nix_key(name: &str) -> SecretKey {
    let name: NixKeyName = name.parse().expect("tests use valid key names");
    let seed = digest("nix key", name.as_str());
    SecretKey::from_seed(name, seed)
}

/// The NAR hash that a value letter stands for.
#[must_use]
pub fn a_nar_hash(value: &str) -> NarHash {
    NarHash::from_bytes(digest("nar", value))
}

/// An attestation of `hello` with the value A, to be altered by the methods of [`Attestation`].
#[must_use]
pub fn an_attestation() -> Attestation {
    Attestation {
        name: "hello".to_owned(),
        value: "A".to_owned(),
        references: BTreeSet::new(),
        in_blob: false,
        provenance: Provenance::Built,
        finished_at_s: 1_767_225_600,
        signed_by: None,
    }
}

/// An attestation in the making.
#[derive(Clone)]
pub struct Attestation {
    name: String,
    value: String,
    references: BTreeSet<StorePath>,
    in_blob: bool,
    provenance: Provenance,
    finished_at_s: u64,
    signed_by: Option<SecretKey>,
}

impl Attestation {
    /// Of the output of this name.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Saying this value: another letter is another NAR hash.
    #[must_use]
    pub fn saying(mut self, value: &str) -> Self {
        value.clone_into(&mut self.value);
        self
    }

    /// Referring to the outputs of these names.
    #[must_use]
    pub fn referring_to(mut self, names: &[&str]) -> Self {
        self.references = names.iter().map(|name| a_path(name)).collect();
        self
    }

    /// With its references in a blob.
    #[must_use]
    pub fn with_references_in_a_blob(mut self) -> Self {
        self.in_blob = true;
        self
    }

    /// Of a check build.
    #[must_use]
    pub fn rebuilt(mut self) -> Self {
        self.provenance = Provenance::Rebuilt;
        self
    }

    /// Finished at this POSIX second: other bytes for the same value.
    #[must_use]
    pub fn finished_at(mut self, seconds: u64) -> Self {
        self.finished_at_s = seconds;
        self
    }

    /// By the builder with this Nix key, whose signature over the fingerprint it carries.
    #[must_use]
    pub fn by(mut self, key: &SecretKey) -> Self {
        self.signed_by = Some(key.clone());
        self
    }

    /// What is fingerprinted.
    #[must_use]
    pub fn facts(&self) -> Fingerprint {
        Fingerprint {
            store_dir: StoreDir::default(),
            path: a_path(&self.name),
            nar_hash: a_nar_hash(&self.value),
            nar_size: 120,
            references: self.references.clone(),
        }
    }

    /// The blob with the references.
    #[must_use]
    pub fn blob(&self) -> Vec<u8> {
        encode_references(&self.references)
    }

    /// The claim.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let facts = self.facts();
        let references = match self.in_blob {
            true => References::Blob(blob_id(&self.blob())),
            false => References::Inline(self.references.clone()),
        };
        Claim {
            store_dir: facts.store_dir.clone(),
            path: facts.path.clone(),
            fingerprint: facts.digest(),
            nar_hash: facts.nar_hash,
            nar_size: facts.nar_size,
            references,
        }
    }

    /// The build.
    #[must_use]
    pub fn build(&self) -> Build {
        Build {
            claim: self.claim(),
            content_address: None,
            derivation: Some((a_path(&format!("{}.drv", self.name)), "out".to_owned())),
            provenance: self.provenance,
            system: "x86_64-linux".to_owned(),
            nix_signature: self.signed_by.as_ref().map(|key| key.sign(&self.facts())),
            inputs_root: None,
            inputs_blob: None,
            started_at_s: self.finished_at_s.saturating_sub(60),
            finished_at_s: self.finished_at_s,
            environment: Environment::default(),
        }
    }

    /// The log entry.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry::Build(Box::new(self.build()))
    }

    /// The canonical bytes of the log entry.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        bytes_of(&self.entry())
    }

    /// The same facts as an observation of a signature by this key.
    #[must_use]
    pub fn observed_by(&self, key: &SecretKey) -> Entry {
        let (public_key, signature) = (key.public_key(), key.sign(&self.facts()));
        Entry::Observation(Box::new(Observation {
            claim: self.claim(),
            public_key,
            signature,
        }))
    }
}

/// The canonical bytes of an entry.
#[must_use]
pub fn bytes_of(entry: &Entry) -> Vec<u8> {
    encode(entry).expect("tests make entries that encode")
}

/// The retraction of entries with these bytes.
#[must_use]
pub fn a_retraction_of<E: AsRef<[u8]>>(entries: &[E]) -> Entry {
    a_retraction_of_leaves(entries.iter().map(|entry| leaf_hash(entry.as_ref())))
}

/// The retraction of these leaf hashes.
#[must_use]
pub fn a_retraction_of_leaves(leaves: impl IntoIterator<Item = Hash>) -> Entry {
    let reason = "the machine had a faulty memory module".to_owned();
    Entry::Retraction(Retraction {
        leaf_hashes: leaves.into_iter().collect(),
        reason,
    })
}

/// The `number`th of many different small entries.
#[must_use]
pub fn a_small_entry(number: u64) -> Vec<u8> {
    let key = number.to_be_bytes().to_vec();
    bytes_of(&Entry::Raw(Raw {
        protocol: "test".to_owned(),
        key,
        value: [7; 32],
    }))
}
