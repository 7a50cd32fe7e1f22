//! A store path as a log entry, or why not.
//!
//! Only what this store built itself is attested, and only after its bytes were dumped and hashed again: the database
//! is a claim about the past. A path that was downloaded is somebody else's to attest. What is merely evidence
//! (derivation, inputs, environment) is left out where it cannot be had; the voted facts never are.

use std::collections::BTreeMap;

use quorix_host::dump::{DumpError, nar_hash};
use quorix_host::location::Location;
use quorix_host::store::{PathInfo, Store, StoreError};
use quorix_nix::derivation::Derivation;
use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::hash::NarHash;
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StorePath;
use quorix_trust::attestation::{
    BLOB_BYTES_MAX, BlobId, Build, Claim, Entry, Environment, Provenance, References,
};
use quorix_wire::entry::{EntryError, SHORT_TEXT_MAX, encode, encode_inputs, encode_references};
use sha2::{Digest, Sha256};

use crate::config::BuilderConfig;
use crate::inputs::inputs_root;

/// How long after its registration a path's own build may run the hook, in seconds.
const HOOK_DELAY_MAX_S: u64 = 60;

/// Makes attestations of one builder.
#[derive(Debug)]
pub struct Attester {
    /// The builder's Nix key, if it signs for Nix clients too.
    pub nix_key: Option<SecretKey>,
    /// What builds run on here.
    pub environment: Environment,
    /// What the operator chose.
    pub config: BuilderConfig,
}

/// What is to be attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The output.
    pub path: StorePath,
    /// The derivation that was built, where it is known; the store may know several.
    pub derivation: Option<StorePath>,
    /// How the builder came by the bytes.
    pub provenance: Provenance,
    /// When a hook noticed the build, POSIX seconds. A path that was registered long before was rebuilt then.
    pub noticed_at_s: Option<u64>,
    /// Cores given to the build, where it is known.
    pub cores: Option<u32>,
}

impl Request {
    /// A path that was built here, of which nothing more is known than the store knows.
    #[must_use]
    pub fn built(path: StorePath) -> Self {
        Self {
            path,
            derivation: None,
            provenance: Provenance::Built,
            noticed_at_s: None,
            cores: None,
        }
    }
}

/// An attestation, ready to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What it says.
    pub build: Build,
    /// Its canonical bytes.
    pub entry: Vec<u8>,
    /// The blobs that it names.
    pub blobs: Vec<Vec<u8>>,
}

impl Attester {
    /// Attests one path. Reads all of it, so that big ones take their time; call it from a blocking thread.
    ///
    /// # Errors
    /// Why it is not attested.
    pub fn attest(&self, store: &Store, request: &Request) -> Result<Attestation, AttestError> {
        let path = &request.path;
        let absolute = || store.location().store_dir.join(path);
        let info = store
            .path_info(path)?
            .ok_or_else(|| match store.warning() {
                None => AttestError::NotValid { path: absolute() },
                Some(_) => AttestError::NotSeen { path: absolute() },
            })?;
        if !info.ultimate && !self.config.include_remote_built {
            return Err(AttestError::NotBuiltHere { path: absolute() });
        }
        let (found_hash, found_size) =
            nar_hash(&store.real_path(path)).map_err(|error| match error.is_gone() {
                true => AttestError::Gone { path: absolute() },
                false => AttestError::Dump(error),
            })?;
        if store.path_info(path)?.as_ref() != Some(&info) {
            return Err(AttestError::Changed { path: absolute() });
        }
        if (found_hash, found_size) != (info.hash, info.nar_size) {
            return Err(AttestError::Corrupted {
                path: absolute(),
                registered: (info.hash, info.nar_size),
                found: (found_hash, found_size),
            });
        }
        self.encode(store, request, &info)
    }

    fn encode(
        &self,
        store: &Store,
        request: &Request,
        info: &PathInfo,
    ) -> Result<Attestation, AttestError> {
        let location = store.location();
        let facts = info.fingerprint(location);
        let derivation = find_derivation(store, request, info)?;
        let file = derivation
            .as_ref()
            .and_then(|(path, _)| store.read_derivation(path).ok());
        let inputs = match &file {
            Some(file) => inputs_present(store, file)?,
            None => None,
        };
        let inputs_blob = inputs
            .as_ref()
            .filter(|_| self.config.publish_inputs)
            .map(encode_inputs)
            .filter(|blob| blob.len() <= BLOB_BYTES_MAX);
        let (provenance, finished_at_s) = origin(request, info);
        let build = Build {
            claim: Claim::of(&facts),
            content_address: info.ca.clone(),
            derivation,
            provenance,
            system: file.map(|file| told(file.system)).unwrap_or_default(),
            nix_signature: self.nix_key.as_ref().map(|key| key.sign(&facts)),
            inputs_root: inputs.as_ref().map(inputs_root),
            inputs_blob: inputs_blob.as_deref().map(blob_id),
            started_at_s: 0,
            finished_at_s,
            environment: Environment {
                cores: request.cores.unwrap_or(self.environment.cores),
                ..self.environment.clone()
            },
        };
        with_bytes(build, &facts, inputs_blob)
    }
}

/// Why a path is not attested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// Not in the store: deleted since, or never there.
    #[error("{path} is not in the store (any more)")]
    NotValid {
        /// The path.
        path: String,
    },
    /// Not in the store's database as it is on disk. Without Nix's locks, which this user cannot take, the newest
    /// builds are not in it yet.
    #[error(
        "{path} is not in the store's database yet, as far as it can be read without Nix's locks"
    )]
    NotSeen {
        /// The path.
        path: String,
    },
    /// The store says that it is there, but it is not.
    #[error("{path} is in the store's database, but (a part of) it is gone from disk")]
    Gone {
        /// The path.
        path: String,
    },
    /// The store got it from elsewhere.
    #[error(
        "{path} was substituted, not built here; only a build can be attested (a rebuild with `--check` makes it one)"
    )]
    NotBuiltHere {
        /// The path.
        path: String,
    },
    /// The bytes on disk are not those that were registered.
    #[error(
        "{path} is corrupted: it was registered as {} with {} bytes, but is {} with {} bytes now",
        registered.0, registered.1, found.0, found.1
    )]
    Corrupted {
        /// The path.
        path: String,
        /// Hash and size of its NAR in the database.
        registered: (NarHash, u64),
        /// Hash and size of its NAR now.
        found: (NarHash, u64),
    },
    /// The store changed its mind about it meanwhile.
    #[error("{path} changed in the store's database while it was read")]
    Changed {
        /// The path.
        path: String,
    },
    /// So many references that not even a blob holds them.
    #[error("{path} has more references than fit into 4 MiB")]
    TooManyReferences {
        /// The path.
        path: String,
    },
    /// The path cannot be read.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is to be said cannot be said in an entry.
    #[error("the log entry: {0}")]
    Entry(#[from] EntryError),
}

impl AttestError {
    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotValid { .. }
            | Self::Gone { .. }
            | Self::NotBuiltHere { .. }
            | Self::Corrupted { .. }
            | Self::TooManyReferences { .. }
            | Self::Entry(_)
            | Self::Dump(
                DumpError::Kind { .. } | DumpError::TooManyEntries { .. } | DumpError::Write { .. },
            )
            | Self::Store(
                StoreError::NoDatabase { .. }
                | StoreError::Malformed { .. }
                | StoreError::NotValid { .. },
            ) => true,
            Self::NotSeen { .. } | Self::Changed { .. } | Self::Dump(_) | Self::Store(_) => false,
        }
    }
}

/// How the builder came by the bytes, and when. Nix registers a path when its build ends and runs the hook right
/// after; a check build leaves the time of registration as it was.
fn origin(request: &Request, info: &PathInfo) -> (Provenance, u64) {
    let registered = info.registration_time;
    match request.noticed_at_s {
        Some(noticed) if noticed > registered.saturating_add(HOOK_DELAY_MAX_S) => {
            (Provenance::Rebuilt, noticed)
        }
        _ => (request.provenance, registered),
    }
}

/// The canonical bytes; the references move into a blob if the entry would be too large with them.
fn with_bytes(
    mut build: Build,
    facts: &Fingerprint,
    inputs_blob: Option<Vec<u8>>,
) -> Result<Attestation, AttestError> {
    let mut blobs: Vec<Vec<u8>> = inputs_blob.into_iter().collect();
    let entry = match encode(&Entry::Build(Box::new(build.clone()))) {
        Err(EntryError::TooLarge { .. }) => {
            let blob = encode_references(&facts.references);
            if blob.len() > BLOB_BYTES_MAX {
                return Err(AttestError::TooManyReferences {
                    path: facts.store_dir.join(&facts.path),
                });
            }
            build.claim.references = References::Blob(blob_id(&blob));
            blobs.push(blob);
            encode(&Entry::Build(Box::new(build.clone())))?
        }
        result => result?,
    };
    Ok(Attestation {
        build,
        entry,
        blobs,
    })
}

/// The derivation that was built, if it or the database says that this is its output; else one that does.
fn find_derivation(
    store: &Store,
    request: &Request,
    info: &PathInfo,
) -> Result<Option<(StorePath, String)>, StoreError> {
    let derivers = store.valid_derivers(&info.path)?;
    for candidate in request.derivation.iter().chain(&info.deriver) {
        if let Some(name) = derivers.get(candidate) {
            return Ok(Some((candidate.clone(), name.clone())));
        }
        let outputs = store
            .read_derivation(candidate)
            .map(|file| file.outputs)
            .unwrap_or_default();
        if let Some((name, _)) = outputs
            .iter()
            .find(|(_, output)| output.path() == Some(&info.path))
        {
            return Ok(Some((candidate.clone(), name.clone())));
        }
    }
    Ok(derivers.into_iter().next())
}

/// The closure of the derivation's direct inputs with their fingerprints, as this store has them; `None` where the
/// store has not all of them any more, since a partial list would say that the rest was not used.
fn inputs_present(
    store: &Store,
    derivation: &Derivation,
) -> Result<Option<BTreeMap<StorePath, FingerprintDigest>>, StoreError> {
    let mut direct = derivation.input_sources.clone();
    for (input, names) in &derivation.input_derivations {
        let outputs = store.derivation_outputs(input)?;
        for name in names {
            let Some(path) = outputs.get(name) else {
                return Ok(None);
            };
            direct.insert(path.clone());
        }
    }
    let closure = match store.closure(&direct) {
        Ok(closure) => closure,
        Err(StoreError::NotValid { .. } | StoreError::ClosureTooLarge) => return Ok(None),
        Err(error) => return Err(error),
    };
    let digest = |info: &PathInfo, location: &Location| info.fingerprint(location).digest();
    let with_digest = |(path, info)| (path, digest(&info, store.location()));
    Ok(Some(closure.into_iter().map(with_digest).collect()))
}

/// The text, or nothing where an entry cannot hold it: evidence that is odd is no reason not to vote.
fn told(text: String) -> String {
    let fits = text.len() <= SHORT_TEXT_MAX && !text.chars().any(char::is_control);
    if fits { text } else { String::new() }
}

fn blob_id(blob: &[u8]) -> BlobId {
    Sha256::digest(blob).into()
}

#[cfg(test)]
mod tests;
